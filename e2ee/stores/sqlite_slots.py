"""The slots of a SQLite store: where values lie, so that nothing of them is left behind.

Rule: a slot is never removed, grows or shrinks; it is overwritten in place, and zeros mean vacant.

SQLite zeroes what is deleted, but not the copies that it makes: when it makes room in a page of a
B-tree, an old copy of a row may stay in the unused bytes of the page, and outlive the row. Slots
are only ever added at the end of their table and keep their size, so that their pages are never
rearranged. Each belongs to one key, or a damaged entry could overwrite somebody else's value.
"""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.stores.rows import checksum

__all__ = ["SLOT_INDEX", "SLOT_TABLE", "occupy", "overwrite", "vacate", "value_in"]

SLOT_TABLE: Final = (
    "CREATE TABLE slot (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, owner BLOB NOT NULL, "
    "content BLOB NOT NULL)"
)
SLOT_INDEX: Final = "CREATE INDEX vacancy ON slot (size) WHERE owner = zeroblob(16)"

_CHECKSUM: Final = slice(0, 16)  # of the content
_LENGTH: Final = slice(16, 24)
_VALUE: Final = 24  # where it begins

_VACANT: Final = "SELECT id FROM slot WHERE owner = zeroblob(16) AND size = ? LIMIT 1"
_OCCUPY: Final = (
    "UPDATE slot SET owner = ?, content = ? "
    "WHERE id = ? AND owner = zeroblob(16) AND content = zeroblob(size)"
)
_ADD: Final = "INSERT INTO slot (size, owner, content) VALUES (?, ?, ?)"
_VACATE: Final = (
    "UPDATE slot SET owner = zeroblob(16), content = zeroblob(size) WHERE id = ? AND owner = ?"
)
_OVERWRITE: Final = (
    "UPDATE slot SET content = ? WHERE id = (SELECT slot FROM entry WHERE key = ?) "
    "AND owner = ? AND size = ?"
)


def occupy(connection: sqlite3.Connection, raw_key: bytes, value: bytes) -> int:
    """Write ``value`` into a vacant slot, or a new one, and return its id."""
    content, owner = _content(raw_key, value), _owner(raw_key)
    for (slot,) in connection.execute(_VACANT, (len(content),)).fetchall():
        _one(connection.execute(_OCCUPY, (owner, content, slot)))
        return int(slot)
    return connection.execute(_ADD, (len(content), owner, content)).lastrowid or 0


def overwrite(connection: sqlite3.Connection, raw_key: bytes, value: bytes) -> bool:
    """Write ``value`` in the place of the one at ``raw_key``; return whether it fits there.

    Where the slot is another's, or nothing lies at the key, it does not.
    """
    content = _content(raw_key, value)
    new = (content, raw_key, _owner(raw_key), len(content))
    return connection.execute(_OVERWRITE, new).rowcount == 1


def vacate(connection: sqlite3.Connection, raw_key: bytes, slot: object) -> None:
    """Write zeros over the value at ``raw_key``, which lies in ``slot``.

    Raises:
        StoreFailed: ``store-corrupt`` when the slot is another's.
    """
    if not isinstance(slot, int):
        raise _broken()
    _one(connection.execute(_VACATE, (slot, _owner(raw_key))))


def value_in(raw_key: bytes, content: object) -> bytes:
    """Return the value at ``raw_key`` out of the content of its slot; there is none without one.

    Raises:
        StoreFailed: ``store-corrupt`` when it was altered, is missing, or is another's.
    """
    if isinstance(content, bytes):
        value = content[_VALUE : _VALUE + int.from_bytes(content[_LENGTH], "big")]
        if content[_CHECKSUM] == checksum(raw_key, value):
            return value
    raise _broken()


def _content(raw_key: bytes, value: bytes) -> bytes:
    """Return checksum, length and value, with zeros up to one of at most 16 sizes per doubling."""
    length = _VALUE + len(value)
    unit = max(16, 1 << (length.bit_length() - 4))
    size = -(-length // unit) * unit
    head = checksum(raw_key, value) + len(value).to_bytes(8, "big")
    return (head + value).ljust(size, b"\x00")


def _owner(raw_key: bytes) -> bytes:
    return blake2b(raw_key, digest_size=16, person=b"e2ee store slot").digest()


def _one(changed: sqlite3.Cursor) -> None:
    if changed.rowcount != 1:
        raise _broken()


def _broken() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a stored value was altered, or lies elsewhere")
