"""A pool of connections to PostgreSQL, each given back clean or not at all.

Rule: who has which connection, and for how long; nothing is known of what they do with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from e2ee.errors import StoreFailed
from e2ee.secret import Secret
from e2ee.stores.lanes import waited
from e2ee.stores.postgres_connection import Connection, connect, refuse_fork

__all__ = ["Pool", "Seat"]

_IDLE_TIME: Final = 300.0  # seconds, after which a connection may have died without a word


class Seat:
    """One of the pool's places, with a connection from its first use on.

    Attributes:
        number: which of the places it is, from 0.
        commits: how many were begun here, over all of its connections.
        use: held over everything that belongs together, by whoever the seat is lent to.
    """

    def __init__(self, number: int, dsn: Secret) -> None:
        self.number = number
        self.commits = 0
        self.use = asyncio.Lock()
        self._dsn = dsn
        self._connection: Connection | None = None
        self._idle_since = 0.0

    @property
    def taken(self) -> bool:
        """Whether there is a connection, which may have been in use before."""
        return self._connection is not None

    @property
    def at_rest(self) -> bool:
        """Whether nothing need be done to leave it to the next one."""
        return not self.use.locked() and (self._connection is None or self._connection.at_rest)

    async def connection(self) -> Connection:
        """Return a usable connection, made first where there is none."""
        now = monotonic()
        if self._connection is not None and (
            not self._connection.usable
            or (self._connection.at_rest and now > self._idle_since + _IDLE_TIME)
        ):
            await self.drop()
        if self._connection is None:
            self._connection = await connect(self._dsn)
            self._idle_since = now
        return self._connection

    async def drop(self) -> None:
        """Close the connection, if there is one."""
        dropped, self._connection = self._connection, None
        if dropped is not None:
            await dropped.drop()

    async def tidy(self) -> None:
        """End what was begun on the connection, or close it where that is in doubt."""
        if self._connection is not None and self._connection.usable:
            try:
                await self._connection.script("ROLLBACK")
            except StoreFailed:
                await self.drop()
        else:
            await self.drop()

    def leave(self) -> None:
        """Note since when the connection is idle."""
        self._idle_since = monotonic()


class Pool:
    """Lends its connections, each to one at a time, in the order in which they are asked for."""

    def __init__(self, dsn: Secret, seats: int) -> None:
        self._free = [Seat(number, dsn) for number in range(seats)]
        self._places = asyncio.Semaphore(seats)
        self._tidying: set[asyncio.Task[None]] = set()
        self._process = os.getpid()
        self._closed = False

    def refuse_fork(self) -> None:
        """Refuse to be used by a process that inherited it; see ``postgres_connection``."""
        refuse_fork(self._process)

    @asynccontextmanager
    async def seat(self, until: float) -> AsyncIterator[Seat]:
        """Lend a seat for the length of the block.

        Args:
            until: the event loop's time to which it is waited for.

        Raises:
            StoreFailed: ``store-locked`` when none became free in time.
        """
        await waited(self._places.acquire(), until)
        seat = self._free.pop()  # the one used last, so that few are connected where few are busy
        try:
            yield seat
        finally:
            if seat.at_rest and not self._closed:
                self._take_back(seat)
            else:
                # A task of its own: locks are let go of whoever is cancelled meanwhile.
                tidying = asyncio.create_task(self._tidy(seat))
                self._tidying.add(tidying)
                tidying.add_done_callback(lambda done: self._tidied(done, seat))
                await asyncio.shield(tidying)

    async def close(self) -> None:
        """Close all connections, those that are lent when they are given back."""
        self._closed = True
        while self._tidying:
            await asyncio.wait(self._tidying)
        for seat in self._free:
            await seat.drop()

    async def _tidy(self, seat: Seat) -> None:
        async with seat.use:  # after what the block has left at work
            if self._closed:
                await seat.drop()
            else:
                await seat.tidy()

    def _tidied(self, tidying: asyncio.Task[None], seat: Seat) -> None:
        self._tidying.remove(tidying)
        self._take_back(seat)

    def _take_back(self, seat: Seat) -> None:
        seat.leave()
        self._free.append(seat)
        self._places.release()
