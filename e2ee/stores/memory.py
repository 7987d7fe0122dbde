"""MemoryStore: a store that lives as long as its process; for tests and throw-away accounts.

Rule: pure Python without I/O, so that it runs wherever the library does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import takewhile

from e2ee.storage import Change, Key, Put, Transaction
from e2ee.stores.turns import Turn, Turns

__all__ = ["MemoryStore"]


class MemoryStore:
    """``storage.Store`` in memory. Blocks take turns, whatever their scopes."""

    def __init__(self) -> None:
        self._rows = _Rows()
        self._turns = Turns()

    @asynccontextmanager
    async def exclusive(self, scope: Key) -> AsyncIterator[Transaction]:
        """Open a transaction as the only writer; see ``storage.Store.exclusive``."""
        async with self._turns.take(scope) as turn:
            yield _MemoryTransaction(self._rows, turn)


class _Rows:
    def __init__(self) -> None:
        self.values: dict[Key, bytes] = {}
        self.keys: list[Key] = []  # the same keys in order, for pages

    def put(self, key: Key, value: bytes) -> None:
        if key not in self.values:
            self.keys.insert(bisect_left(self.keys, key), key)
        self.values[key] = value

    def delete(self, key: Key) -> None:
        if self.values.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]


class _MemoryTransaction:
    """Reads see one snapshot because nobody else is inside."""

    def __init__(self, rows: _Rows, turn: Turn) -> None:
        self._rows = rows
        self._turn = turn

    async def get(self, key: Key) -> bytes | None:
        self._turn.check_get(key)
        return self._rows.values.get(key)

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        self._turn.check_scan(prefix, after, limit)
        keys = self._rows.keys
        first = bisect_left(keys, prefix)
        if after is not None:
            first = max(first, bisect_right(keys, after))
        page = keys[first : first + limit]
        within = takewhile(lambda key: key[: len(prefix)] == prefix, page)
        return [(key, self._rows.values[key]) for key in within]

    async def commit(self, changes: Sequence[Change]) -> None:
        for change in self._turn.finish(changes):  # checked, so that none can fail half way
            if isinstance(change, Put):
                self._rows.put(change.key, change.value)
            else:
                self._rows.delete(change.key)
