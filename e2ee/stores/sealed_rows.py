"""Sealed rows: how a key is hidden and a value encrypted under the data key of a sealed store.

Rule: pure functions of the data key over keys and bytes; which store they lie in is its own
business.

A hidden key has as many parts as the real one. Its part *i* is a keyed hash of the real parts 0 to
*i*, so that keys with a common prefix still have one, and equal parts below different ones look
different. A sealed value is a format byte, a random nonce of 12 bytes, and AES-256-GCM over the
length of the real key (4 bytes, big-endian), the real key and the value. Its key is a keyed hash of
the hidden key, so that random nonces never run out; format and hidden key are associated data.

All keyed hashes are BLAKE2b (RFC 7693) under the data key, each for one purpose alone by its
personalisation.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

from e2ee.errors import CannotDecrypt, ErrorCode, StoreFailed
from e2ee.ports import Primitives
from e2ee.secret import Secret
from e2ee.storage import Key
from e2ee.stores.rows import key_bytes, parse_key_bytes

__all__ = ["SealedRows", "looks_sealed"]

_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_NONCE_END: Final = len(_FORMAT) + _NONCE_BYTES
_LENGTH_BYTES: Final = 4
_SHORTEST: Final = _NONCE_END + _LENGTH_BYTES + 16  # its tag
_HIDDEN_PART: Final = re.compile("[0-9a-f]{32}")


class SealedRows:
    """Hides keys and seals values for one data key."""

    def __init__(self, data_key: Secret, primitives: Primitives) -> None:
        """Take the data key of 32 bytes."""
        self._primitives = primitives
        # Ready to be copied, which is cheaper than setting the key anew for each hash.
        self._name = blake2b(key=data_key.reveal(), digest_size=16, person=b"e2ee row name")
        self._key = blake2b(key=data_key.reveal(), digest_size=32, person=b"e2ee row key")

    def hide(self, key: Key) -> Key:
        """Return the key under which the row of ``key`` lies, or the prefix of a prefix's rows.

        Each of its parts has 32 hexadecimal digits.
        """
        path = self._name.copy()
        hidden = []
        for part in key:
            raw = part.encode("utf-8", "surrogatepass")
            path.update(len(raw).to_bytes(_LENGTH_BYTES, "big") + raw)
            hidden.append(path.hexdigest())
        return tuple(hidden)

    def seal(self, key: Key, hidden: Key, value: bytes) -> bytes:
        """Encrypt the row of ``key``, whose hidden key is ``hidden``."""
        nonce = self._primitives.random(_NONCE_BYTES)
        raw_key = key_bytes(key)
        place = _place(hidden)
        return (
            _FORMAT
            + nonce
            + self._primitives.seal_aes_gcm(
                self._row_key(place),
                nonce,
                len(raw_key).to_bytes(_LENGTH_BYTES, "big") + raw_key + value,
                _FORMAT + place,
            )
        )

    def open(self, hidden: Key, sealed: bytes, asked: Key) -> tuple[Key, bytes]:
        """Return the real key and the value of a row.

        Args:
            hidden: the key at which it lies.
            sealed: the value that lies there.
            asked: the real key, or the leading parts of it that are known.

        Raises:
            StoreFailed: ``store-corrupt`` when it is not what :meth:`seal` made for this place, or
                is the row of another key than was asked for.
        """
        if not sealed.startswith(_FORMAT) or len(sealed) < _SHORTEST:
            raise _altered()
        place = _place(hidden)
        try:
            plain = self._primitives.open_aes_gcm(
                self._row_key(place),
                sealed[len(_FORMAT) : _NONCE_END],
                sealed[_NONCE_END:],
                _FORMAT + place,
            )
        except CannotDecrypt:
            raise _altered() from None
        value_at = _LENGTH_BYTES + int.from_bytes(plain[:_LENGTH_BYTES], "big")
        key = parse_key_bytes(plain[_LENGTH_BYTES:value_at])
        if len(key) != len(hidden) or key[: len(asked)] != asked:
            raise _altered()
        return key, plain[value_at:]

    def _row_key(self, place: bytes) -> Secret:
        digest = self._key.copy()
        digest.update(place)
        return Secret(digest.digest())


def looks_sealed(key: Key, value: bytes) -> bool:
    """Say whether a row may be one that some data key sealed."""
    return (
        value.startswith(_FORMAT)
        and len(value) >= _SHORTEST
        and all(_HIDDEN_PART.fullmatch(part) for part in key)
    )


def _place(hidden: Key) -> bytes:
    """Return a hidden key as bytes; another one has the same only with another number of parts."""
    return "\0".join(hidden).encode("utf-8", "surrogatepass")


def _altered() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a sealed row was altered")
