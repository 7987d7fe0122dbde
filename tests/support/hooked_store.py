"""A store that lets a test step in wherever another one would touch its file.

Rule: passes everything on unchanged; what happens at a moment is the test's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto

from e2ee.storage import Change, Key, Store, Transaction

__all__ = ["HookedStore", "Moment", "waiting"]


class Moment(Enum):
    """When the hook is called."""

    ENTER = auto()
    GET = auto()
    SCAN = auto()
    BEFORE_COMMIT = auto()
    AFTER_COMMIT = auto()
    LEAVE = auto()


Hook = Callable[[Moment], Awaitable[None]]


class HookedStore:
    """``storage.Store`` that calls a hook at every moment."""

    def __init__(self, store: Store, hook: Hook) -> None:
        self._store = store
        self._hook = hook

    @asynccontextmanager
    async def exclusive(self, scope: Key) -> AsyncIterator[Transaction]:
        """Open a transaction; see ``storage.Store.exclusive``."""
        await self._hook(Moment.ENTER)
        async with self._store.exclusive(scope) as tx:
            yield _HookedTransaction(tx, self._hook)
        await self._hook(Moment.LEAVE)


class _HookedTransaction:
    def __init__(self, tx: Transaction, hook: Hook) -> None:
        self._tx = tx
        self._hook = hook

    async def get(self, key: Key) -> bytes | None:
        await self._hook(Moment.GET)
        return await self._tx.get(key)

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        await self._hook(Moment.SCAN)
        return await self._tx.scan(prefix, after, limit)

    async def commit(self, changes: Sequence[Change]) -> None:
        await self._hook(Moment.BEFORE_COMMIT)
        await self._tx.commit(changes)
        await self._hook(Moment.AFTER_COMMIT)


def waiting(store: Store) -> Store:
    """Return ``store`` so that others get their turn at every moment."""

    async def give_way(moment: Moment) -> None:
        await asyncio.sleep(0)

    return HookedStore(store, give_way)
