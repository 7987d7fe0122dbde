"""Lanes: tasks of this process that want one account wait here in line, and not inside a server.

Rule: who of this process goes first; other processes are kept out by whatever holds the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from e2ee.errors import ApiMisuse
from e2ee.storage import Key
from e2ee.stores.turns import Turn, deadline, locked

__all__ = ["Lanes", "waited"]


class Lanes:
    """Lets one task at a time into each account, in the order in which they came.

    An account is what the first part of a scope names; the whole store is a lane of its own beside
    them, so that its blocks are kept apart from the accounts' elsewhere. A lane exists while
    somebody is in it, so that idle accounts cost no memory.
    """

    def __init__(self) -> None:
        self._lanes: dict[Key, _Lane] = {}
        self._inside: set[asyncio.Task[Any] | None] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False

    @asynccontextmanager
    async def take(self, scope: Key) -> AsyncIterator[Turn]:
        """Wait for the turn of this task in its lane, and hold it for the length of the block.

        Args:
            scope: where reads and changes may lie; ``()`` for the whole store.

        Raises:
            ApiMisuse: the scope is none; the task is inside already; the lanes are closed.
            StoreFailed: ``store-locked`` after a bounded wait.
        """
        turn = Turn(scope)
        task = self._outside()
        if self._closed:
            raise ApiMisuse("the store is closed")
        lane = self._lanes.setdefault(scope[:1], _Lane())
        lane.users += 1
        self._empty.clear()
        try:
            await waited(lane.lock.acquire(), turn.deadline)
            self._inside.add(task)
            try:
                yield turn
            finally:
                turn.end()
                self._inside.remove(task)
                lane.lock.release()
        finally:
            lane.users -= 1
            if not lane.users:
                del self._lanes[scope[:1]]
            if not self._lanes:
                self._empty.set()

    def close(self) -> None:
        """Let nobody get in line any more.

        Raises:
            ApiMisuse: the task is inside itself.
        """
        self._outside()
        self._closed = True

    async def emptied(self) -> None:
        """Wait until nobody is inside or in line.

        Raises:
            StoreFailed: ``store-locked`` after a bounded wait.
        """
        await waited(self._empty.wait(), deadline())

    def _outside(self) -> asyncio.Task[Any] | None:
        task = asyncio.current_task()
        if task in self._inside:
            raise ApiMisuse("blocks of one task do not nest")
        return task


async def waited(waiting: Awaitable[object], until: float) -> None:
    """Await ``waiting``, but no longer than to the event loop's time ``until``.

    Raises:
        StoreFailed: ``store-locked`` when it took too long.
    """
    try:
        async with asyncio.timeout_at(until):
            await waiting
    except TimeoutError:
        raise locked() from None


class _Lane:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0  # inside and in line
