"""PostgreSQL is killed at any moment: what was acknowledged is there, what was refused is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key, Put
from e2ee.stores.postgres import PostgresStore
from e2ee.stores.postgres_schema import migrate
from tests.support.postgres import PostgresServer, start_server
from tests.support.postgres_stores import get, put

ACCOUNTS = ("juliet@capulet.lit", "nurse@capulet.lit")
STORES = 2  # as many processes would have
TASKS = 4  # in each, so that there is somebody in every account whenever the server dies


class Work:
    """Numbered commits of two rows and a counter, and what became of each."""

    def __init__(self) -> None:
        self.acknowledged: set[Key] = set()
        self.refused: set[Key] = set()
        self.uncertain: set[Key] = set()
        self._outcomes = {
            ErrorCode.STORE_UNREACHABLE: self.refused,
            ErrorCode.STORE_UNCERTAIN: self.uncertain,
        }

    async def go_on(self, store: PostgresStore, name: str, random: Random) -> None:
        """Commit until cancelled."""
        number = 0
        while True:
            number += 1
            account = random.choice(ACCOUNTS)
            await self._commit(store, account, (account, "done", name, str(number)))

    async def _commit(self, store: PostgresStore, account: str, key: Key) -> None:
        try:
            async with store.exclusive((account,)) as transaction:
                count = int(await transaction.get((account, "count")) or 0) + 1
                value = b"%d" % count
                await transaction.commit(
                    [Put((account, "count"), value), Put(key, value), Put((*key, "twin"), value)]
                )
        except StoreFailed as failure:
            self._outcomes[failure.code].add(key)
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.uncertain.add(key)
            raise
        else:
            self.acknowledged.add(key)

    async def check(self, store: PostgresStore) -> None:
        """Compare what is there with what was said."""
        async with store.exclusive(()) as transaction:
            rows = dict(await transaction.scan((), limit=1_000_000))
        done = {key: value for key, value in rows.items() if len(key) == 4}
        assert done == {key[:4]: value for key, value in rows.items() if key[-1] == "twin"}
        assert self.acknowledged <= done.keys() <= self.acknowledged | self.uncertain
        for account in ACCOUNTS:
            numbers = sorted(int(value) for key, value in done.items() if key[0] == account)
            assert numbers == list(range(1, int(rows[account, "count"]) + 1))


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Return a server of the test's own: one with few files, which recovers quickly."""
    with TemporaryDirectory(prefix="pg-") as folder, start_server(Path(folder)) as server:
        yield server


async def kill_at_random(server: PostgresServer, kills: int, random: Random) -> Work:
    dsn = server.create_database()
    await migrate(dsn)
    work = Work()
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(await PostgresStore.open(dsn)) for _ in range(STORES)
        ]
        workers = [
            asyncio.create_task(work.go_on(store, f"{place} {task}", Random(random.random())))
            for place, store in enumerate(stores)
            for task in range(TASKS)
        ]
        try:
            for _ in range(kills):
                enough = len(work.acknowledged) + random.randrange(1, 40)
                while len(work.acknowledged) < enough:
                    assert not any(worker.done() for worker in workers), workers
                    await asyncio.sleep(0.001)
                await asyncio.sleep(random.uniform(0, 0.003))
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
        await work.check(stores[0])
    assert work.refused
    return work


async def unreachable(work: Awaitable[object]) -> bool:
    with pytest.raises(StoreFailed) as failure:
        await work
    return failure.value.code is ErrorCode.STORE_UNREACHABLE


@pytest.mark.slow
async def test_a_server_that_stops_and_starts_again_is_found_again(server: PostgresServer) -> None:
    dsn = server.create_database()
    await migrate(dsn)
    key = (ACCOUNTS[0], "a")
    async with await PostgresStore.open(dsn) as store:
        for end in (server.stop, server.kill):
            await put(store, key)
            async with store.exclusive(key) as transaction:
                end()
                assert await unreachable(transaction.get(key))
            assert await unreachable(put(store, key, b"2"))
            assert await unreachable(PostgresStore.open(dsn))
            server.start()
            assert await get(store, key) == b"1"


@pytest.mark.slow
async def test_r_01_a_killed_server_has_kept_what_it_acknowledged(server: PostgresServer) -> None:
    work = await kill_at_random(server, 30, Random(1))
    assert len(work.uncertain) <= STORES * TASKS  # those that were cancelled at the end


@pytest.mark.soak
async def test_r_01_a_server_killed_often_has_kept_what_it_acknowledged(
    server: PostgresServer, soak_random: Random
) -> None:
    await kill_at_random(server, 500, soak_random)
