"""What the tests of the PostgreSQL store share: short ways in, and a look from outside.

Rule: no test, and nothing that another store's tests need.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key, Put
from e2ee.stores.postgres import PostgresStore

__all__ = ["MARKED", "connected", "failed", "get", "put", "terminate_others", "until_it_is_so"]

MARKED: Final = "an error's own text"
"""What a server's error says, and no error of ours may repeat."""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect with the bare driver for the length of the block."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


async def put(store: PostgresStore, key: Key, value: bytes = b"1") -> None:
    """Commit one row, in a block of its account."""
    async with store.exclusive(key[:1]) as transaction:
        await transaction.commit([Put(key, value)])


async def get(store: PostgresStore, key: Key) -> bytes | None:
    """Read one row, in a block of its account."""
    async with store.exclusive(key[:1]) as transaction:
        return await transaction.get(key)


async def failed(work: Awaitable[object]) -> ErrorCode:
    """Await what must fail; return the code of its one typed error."""
    with pytest.raises(StoreFailed) as failure:
        await work
    assert MARKED not in str(failure.value)
    assert failure.value.__cause__ is None
    assert failure.value.__context__ is None or failure.value.__suppress_context__
    return failure.value.code


async def terminate_others(rival: asyncpg.Connection[asyncpg.Record]) -> None:
    """End all other connections to the database, as an administrator would."""
    await rival.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def until_it_is_so(rival: asyncpg.Connection[asyncpg.Record], condition: str) -> None:
    """Wait until one of the other connections is in a state."""
    count = (
        "SELECT count(*) FROM pg_stat_activity"
        f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
    )
    while not await rival.fetchval(count):
        await asyncio.sleep(0.005)
        await rival.execute("SELECT pg_stat_clear_snapshot()")  # which a transaction would keep
