"""The rows of a SQLite store: a chain in key order, in which none is missed and none slips in.

Rule: rows inside of an open transaction; who may begin one, and when, is decided in ``sqlite.py``.

Each row carries a link to the next one; before the first stands a row with the empty key. Whoever
reads rows checks the links from the row before them to the row after them. Whoever adds or removes
a row checks the links around it before they are written anew, so that no loss is covered up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final, NamedTuple

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Change, Key, Put
from e2ee.stores.rows import END, key_bytes, link, parse_key_bytes
from e2ee.stores.sqlite_slots import occupy, overwrite, vacate, value_in

__all__ = ["change_rows", "read_row", "read_rows"]

_FIRST: Final = b"\x00"  # the least key that a row can have
_MOST: Final = 2**32  # rows in a page, so that the statement gets a number that it can hold

# Values are read of the rows that were asked for alone: those of their neighbours may be long.
_CHAIN: Final = """
    SELECT key, link, key >= :end, slot, content
    FROM entry LEFT JOIN slot ON slot.id = entry.slot AND key >= :first AND key < :end
    WHERE key BETWEEN (SELECT max(key) FROM entry WHERE key < :first)
        AND (SELECT ifnull(min(key), x'ff') FROM entry WHERE key >= :end)
    ORDER BY key LIMIT :rows
"""
_LAST_TWO: Final = "SELECT key, link, slot FROM entry WHERE key <= ? ORDER BY key DESC LIMIT 2"
_INSERT: Final = "INSERT INTO entry (key, slot, link) VALUES (?, ?, ?)"
_RELINK: Final = "UPDATE entry SET link = ? WHERE key = ?"
_DELETE: Final = "DELETE FROM entry WHERE key = ?"

_Found = tuple[Any, ...]  # as _CHAIN says; damage may have given a column any type


def read_row(connection: sqlite3.Connection, raw_key: bytes) -> bytes | None:
    """Return the value at ``raw_key``, or ``None``.

    Raises:
        StoreFailed: ``store-corrupt`` when the row was altered, is missing, or was never put in.
    """
    for *_, content in _place(connection, raw_key)[1:-1]:
        return value_in(raw_key, content)
    return None


def read_rows(
    connection: sqlite3.Connection, first: bytes, end: bytes, limit: int
) -> list[tuple[Key, bytes]]:
    """Return up to ``limit`` rows from the key ``first`` on that lie before ``end``.

    Raises:
        StoreFailed: ``store-corrupt`` when a row was altered, is missing, or was never put in.
    """
    first = max(first, _FIRST)
    if first >= end:
        return []
    chain = _chain(connection, first, end, min(limit, _MOST))
    return [(parse_key_bytes(row[0]), value_in(row[0], row[4])) for row in chain[1:-1]]


def change_rows(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Make ``changes``, one for a key.

    They are made from the last key to the first, so that each new row's next one is known, and a
    row before many new ones is linked anew once. A value that is only overwritten has no part in
    the chain.

    Raises:
        StoreFailed: ``store-corrupt`` when a row is missing, or was never put in, where one is
            added or removed.
    """
    raw = ((key_bytes(c.key), c.value if isinstance(c, Put) else None) for c in changes)
    gap: _Gap | None = None
    for raw_key, value in sorted(raw, key=itemgetter(0), reverse=True):
        if gap and raw_key < gap.before:
            _close(connection, gap)
            gap = None
        if not gap or raw_key == gap.before:  # else nothing lies there
            if value is not None and overwrite(connection, raw_key, value):
                continue
            gap = _widen(connection, gap) if gap else _open(connection, raw_key)
        if value is not None:
            gap = _fill(connection, gap, raw_key, value)
    if gap:
        _close(connection, gap)


class _Gap(NamedTuple):
    """A place without rows, in which changes are made.

    Attributes:
        before: the key of the row before it; empty for the row that begins the table.
        after: the key of the row after it, or ``END``.
        changed: whether the row before it must be linked to the row after it.
    """

    before: bytes
    after: bytes
    changed: bool


def _open(connection: sqlite3.Connection, raw_key: bytes) -> _Gap:
    """Return the place of ``raw_key``, from which its row, if there is one, has been removed."""
    chain = _place(connection, raw_key)
    for row in chain[1:-1]:
        _remove(connection, raw_key, row[3])
    return _Gap(chain[0][0], chain[-1][0], len(chain) == 3)


def _widen(connection: sqlite3.Connection, gap: _Gap) -> _Gap:
    """Remove the row before ``gap``, whose own link was checked when that was opened."""
    last, *before = connection.execute(_LAST_TWO, (gap.before,)).fetchall()
    _check_links([*before, last], gap.before)
    _remove(connection, gap.before, last[2])
    return _Gap(before[0][0], gap.after, True)


def _fill(connection: sqlite3.Connection, gap: _Gap, raw_key: bytes, value: bytes) -> _Gap:
    """Insert a row, and return what remains of ``gap`` before it."""
    slot = occupy(connection, raw_key, value)
    connection.execute(_INSERT, (raw_key, slot, link(raw_key, gap.after)))
    return _Gap(gap.before, raw_key, True)


def _remove(connection: sqlite3.Connection, raw_key: bytes, slot: object) -> None:
    vacate(connection, raw_key, slot)
    connection.execute(_DELETE, (raw_key,))


def _close(connection: sqlite3.Connection, gap: _Gap) -> None:
    """Link the rows around ``gap``."""
    if gap.changed:
        connection.execute(_RELINK, (link(gap.before, gap.after), gap.before))


def _place(connection: sqlite3.Connection, raw_key: bytes) -> list[_Found]:
    """Return the row before ``raw_key``, the one at it if there is one, and the one after it."""
    return _chain(connection, raw_key, raw_key + b"\x00", 1)


def _chain(connection: sqlite3.Connection, first: bytes, end: bytes, limit: int) -> list[_Found]:
    """Return up to ``limit`` rows from ``first`` on, before ``end``, between their neighbours.

    Where no row comes after them, ``END`` stands for it. All links are right, but for that of the
    last one.
    """
    place = {"first": first, "end": end, "rows": limit + 2}
    chain: list[_Found] = connection.execute(_CHAIN, place).fetchall()
    if not chain or (len(chain) < limit + 2 and not chain[-1][2]):
        chain.append((END,))
    _check_links(chain, first)
    return chain


def _check_links(chain: Sequence[_Found], first: bytes) -> None:
    """Make sure that a row before ``first`` is linked to the next, and so on to the last one."""
    start = chain[0][0]
    if not (
        isinstance(start, bytes)  # then all keys are: SQLite sorts bytes behind all else
        and start < first
        and all(row[1] == link(row[0], following[0]) for row, following in pairwise(chain))
    ):
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored row is missing, or was never stored")
