"""Rows: how a key and its value lie in a table, in the order of keys, with a checksum and a link.

Rule: pure functions over bytes; which table the bytes lie in is the store's own business.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from e2ee.storage import Key

__all__ = ["AFTER_PREFIX", "END", "checksum", "key_bytes", "link", "parse_key_bytes"]

AFTER_PREFIX: Final = b"\xff"
"""``key_bytes(prefix) + AFTER_PREFIX`` lies beyond every key that begins with ``prefix``."""

END: Final = b"\xff"
"""Lies beyond every key; the last row is linked to it."""


def key_bytes(key: Key) -> bytes:
    """Encode ``key`` so that the order of the bytes is the order of the keys.

    Each part is UTF-8, with U+0000 as ``01 01`` and U+0001 as ``01 02``, and ends with ``00``. So
    the bytes of a prefix begin the bytes of every key that begins with it, and of no other key.
    Lone surrogates keep their place in the order of code points.
    """
    return b"".join(
        part.encode("utf-8", "surrogatepass")
        .replace(b"\x01", b"\x01\x02")
        .replace(b"\x00", b"\x01\x01")
        + b"\x00"
        for part in key
    )


def parse_key_bytes(raw: bytes) -> Key:
    """Decode what :func:`key_bytes` wrote; the row's checksum has vouched for it."""
    return tuple(
        part.replace(b"\x01\x01", b"\x00")
        .replace(b"\x01\x02", b"\x01")
        .decode("utf-8", "surrogatepass")
        for part in raw.split(b"\x00")[:-1]
    )


def checksum(raw_key: bytes, value: bytes) -> bytes:
    """Return 16 bytes that bind ``value`` to its key.

    It finds damage and rows that changed places. It is no MAC: it does not keep out someone who
    writes to the file on purpose.
    """
    digest = blake2b(digest_size=16, person=b"e2ee store row")
    digest.update(len(raw_key).to_bytes(8, "big"))
    digest.update(raw_key)
    digest.update(value)
    return digest.digest()


def link(raw_key: bytes, raw_next: bytes) -> bytes:
    """Return 16 bytes that bind a key to the next one in order, or to :data:`END`.

    It finds rows that were taken out or put in whole. Like the checksum, it is no MAC.
    """
    return blake2b(
        len(raw_key).to_bytes(8, "big") + raw_key + raw_next,
        digest_size=16,
        person=b"e2ee store link",
    ).digest()
