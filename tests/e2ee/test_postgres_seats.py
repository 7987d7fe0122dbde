"""Who has one of the PostgreSQL store's connections, who waits for it, and what ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.storage import Key, Put
from e2ee.stores import turns
from e2ee.stores.postgres import PostgresStore
from tests.support.postgres_stores import connected, failed, get, put, until_it_is_so

pytestmark = pytest.mark.slow

ME = ("juliet@capulet.lit",)
YOU = ("romeo@montague.lit",)
A = (*ME, "a")


@pytest.fixture
async def rival(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    async with connected(dsn) as rival:
        yield rival


class Holder:
    """A task that holds a scope until it is told to end, and then commits."""

    def __init__(self, store: PostgresStore, scope: Key) -> None:
        self._held, self._ended = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._hold(store, scope))

    async def held(self) -> None:
        await self._held.wait()

    async def end(self) -> None:
        self._ended.set()
        await self._task

    async def _hold(self, store: PostgresStore, scope: Key) -> None:
        async with store.exclusive(scope) as transaction:
            self._held.set()
            await self._ended.wait()
            await transaction.commit([Put((*(scope or ME), "held"), b"1")])


async def hold(store: PostgresStore, scope: Key) -> Holder:
    holder = Holder(store, scope)
    await holder.held()
    return holder


async def test_a_full_pool_is_waited_for_no_longer_than_the_bound(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await PostgresStore.open(dsn, connections=3) as store:
        holders = [await hold(store, (letter,)) for letter in "abc"]
        monkeypatch.setattr(turns, "_LOCK_WAIT", 0.05)
        assert await failed(put(store, A)) is ErrorCode.STORE_LOCKED
        monkeypatch.undo()
        for holder in holders:
            await holder.end()
        await put(store, A)


@pytest.mark.parametrize("connections", [1, 2])
async def test_r_06_accounts_held_elsewhere_stall_no_others(
    dsn: str, rival: asyncpg.Connection[asyncpg.Record], connections: int
) -> None:
    scopes = [ME, YOU, (*ME, "a"), ("benvolio@montague.lit",)]
    async with (
        await PostgresStore.open(dsn) as other,
        await PostgresStore.open(dsn, connections=connections) as mine,
    ):
        holders = [await hold(other, scope) for scope in (ME, YOU, scopes[3])]
        waiting = [asyncio.create_task(put(mine, (*scope, "x"))) for scope in scopes]
        await until_it_is_so(rival, "wait_event_type = 'Lock'")
        for number in range(20):
            await put(mine, (f"{number}@capulet.lit", "a"))
        assert not any(task.done() for task in waiting)
        for holder in holders:
            await holder.end()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("scope", [ME, ()])
async def test_r_06_whoever_is_busy_elsewhere_lets_others_in(dsn: str, scope: Key) -> None:
    async with await PostgresStore.open(dsn) as other, await PostgresStore.open(dsn) as mine:

        async def work(number: int) -> None:
            while True:
                await put(other, (*ME, str(number)))
                await put(other, (f"{number}@capulet.lit", "a"))

        busy = [asyncio.create_task(work(number)) for number in range(4)]
        await asyncio.sleep(0.1)
        for _ in range(5):
            async with mine.exclusive(scope) as transaction:
                await transaction.commit([Put(A, b"1")])
        for task in busy:
            assert not task.done()
            task.cancel()
        await asyncio.wait(busy)


async def test_close_lets_in_those_who_came_before_it_and_nobody_after(dsn: str) -> None:
    store = await PostgresStore.open(dsn)
    holder = await hold(store, ME)
    in_line = asyncio.create_task(put(store, A))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    for scope in (ME, YOU, ()):
        with pytest.raises(ApiMisuse):
            async with store.exclusive(scope):
                pass
    assert not in_line.done()
    assert not closing.done()
    await holder.end()
    await closing
    assert in_line.done()
    with pytest.raises(ApiMisuse):
        await put(store, A)
    await store.close()
    async with await PostgresStore.open(dsn) as store, store.exclusive(()) as transaction:
        assert [*await transaction.scan(())] == [(A, b"1"), ((*ME, "held"), b"1")]
        with pytest.raises(ApiMisuse):
            await store.close()
        await transaction.commit([Put(A, b"2")])


async def test_close_comes_to_an_end_under_load(
    dsn: str, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    store = await PostgresStore.open(dsn)

    async def work(number: int) -> None:
        while True:
            await put(store, (str(number), "a"))

    busy = [asyncio.create_task(work(number)) for number in range(3)]
    await asyncio.sleep(0.1)
    await store.close()
    ends = await asyncio.gather(*busy, return_exceptions=True)
    assert [type(end) for end in ends] == [ApiMisuse] * 3
    await no_others(rival)


async def test_close_leaves_no_connection_behind_when_it_has_waited_too_long(
    dsn: str, rival: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await PostgresStore.open(dsn)
    holder = await hold(store, ME)
    await put(store, (*YOU, "a"))
    in_line = asyncio.create_task(put(store, A))
    await asyncio.sleep(0)
    monkeypatch.setattr(turns, "_LOCK_WAIT", 0.05)
    for _ in range(2):
        with pytest.raises(StoreFailed) as failure:
            await store.close()
        assert failure.value.code is ErrorCode.STORE_LOCKED
    monkeypatch.undo()
    await holder.end()
    await in_line
    await no_others(rival)
    async with await PostgresStore.open(dsn) as store:
        assert await get(store, A) == b"1"


async def no_others(rival: asyncpg.Connection[asyncpg.Record]) -> None:
    """Wait until the rival's connection is the only one to the database."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    while await rival.fetchval(count) > 1:
        await asyncio.sleep(0.01)
