"""The PostgreSQL store's rows and blocks on a healthy server, and what damaged rows are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from random import Random

import pytest

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.storage import Key, Put, Remove
from e2ee.stores import postgres, turns
from e2ee.stores.postgres import PostgresStore
from e2ee.stores.postgres_rows import split_key
from e2ee.stores.postgres_schema import migrate
from e2ee.stores.rows import key_bytes
from tests.support.postgres import PostgresServer
from tests.support.postgres_stores import connected, get, put

pytestmark = pytest.mark.slow

ME = ("juliet@capulet.lit",)
YOU = ("romeo@montague.lit",)
A = (*ME, "a")


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.open(dsn, connections=3) as store:
        yield store


async def test_a_database_is_a_world_of_its_own(
    postgres_server: PostgresServer, store: PostgresStore
) -> None:
    dsn = postgres_server.create_database()
    await migrate(dsn)
    async with await PostgresStore.open(dsn) as other, store.exclusive(()) as transaction:
        await put(other, A, b"2")  # although the whole of the first is locked
        assert await transaction.scan(()) == []
        assert await get(other, A) == b"2"


async def test_accounts_go_side_by_side_and_the_tasks_of_one_account_hold_one_connection(
    store: PostgresStore,
) -> None:
    held, ended = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with store.exclusive(ME):
            held.set()
            await ended.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(hold())
        await held.wait()
        in_line = [group.create_task(put(store, A, b"%d" % number)) for number in range(10)]
        for number in range(10):
            await put(store, (f"{number}@montague.lit", "a"))
        assert not any(task.done() for task in in_line)
        ended.set()
    assert await get(store, A) == b"9"


async def test_r_13_accounts_that_are_idle_cost_no_memory(store: PostgresStore) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(put(store, (f"{number}@capulet.lit", "a")))
    assert not store._lanes._lanes
    assert not store._lanes._inside
    assert len(store._pool._free) == 3


async def test_r_06_another_process_waits_no_longer_than_the_bound(
    dsn: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, A)
    async with await PostgresStore.open(dsn, connections=1) as other:
        async with store.exclusive(ME) as transaction:
            monkeypatch.setattr(turns, "_LOCK_WAIT", 0.2)
            for scope in (ME, A, ()):
                with pytest.raises(StoreFailed) as failure:
                    async with other.exclusive(scope):
                        pass
                assert failure.value.code is ErrorCode.STORE_LOCKED
            await transaction.commit([Put(A, b"2")])
        monkeypatch.undo()
        assert await get(other, A) == b"2"


async def test_reads_of_one_block_may_be_asked_for_together(store: PostgresStore) -> None:
    keys = [(*ME, str(number)) for number in range(20)]
    async with store.exclusive(ME) as transaction:
        await transaction.commit([Put(key, key[1].encode()) for key in keys])
    async with store.exclusive(ME) as transaction:
        found = await asyncio.gather(*(transaction.get(key) for key in keys))
    assert found == [key[1].encode() for key in keys]


async def test_a_commit_larger_than_a_statement_is_whole(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_PART", 100)
    rows = {(*ME, f"{number:03d}"): b"%d" % number * 30 for number in range(100)}
    async with store.exclusive(ME) as transaction:
        await transaction.commit([Put(key, value) for key, value in rows.items()])
    async with store.exclusive(ME) as transaction:
        assert dict(await transaction.scan(ME)) == rows
        await transaction.commit([Remove(key) for key in rows])
    async with store.exclusive(ME) as transaction:
        assert await transaction.scan(ME) == []


async def test_r_06_a_fork_is_refused_and_disturbs_nobody(store: PostgresStore) -> None:
    await put(store, A)
    async with store.exclusive(ME) as transaction:
        child = os.fork()
        if not child:
            refused = 0
            try:
                for attempt in (transaction.get(A), transaction.commit([Put(A, b"2")])):
                    try:
                        await attempt
                    except ApiMisuse:
                        refused += 1
                for attempt in (put(store, A), store.close()):
                    try:
                        await attempt
                    except ApiMisuse:
                        refused += 1
            finally:
                os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
        assert await transaction.get(A) == b"1"
        await transaction.commit([Put(A, b"3")])
    assert await get(store, A) == b"3"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE xmpp_e2ee.entry SET value = value || '\\x00'",
        "UPDATE xmpp_e2ee.entry SET value = ''",
        "UPDATE xmpp_e2ee.entry SET checksum = ''",
        "UPDATE xmpp_e2ee.entry SET tail = tail || '\\x6100'",
        "UPDATE xmpp_e2ee.entry AS one SET value = two.value, checksum = two.checksum"
        " FROM xmpp_e2ee.entry AS two WHERE one.head <> two.head",
        "ALTER TABLE xmpp_e2ee.entry RENAME COLUMN value TO valve",
        "ALTER TABLE xmpp_e2ee.entry RENAME TO entries",
        "ALTER TABLE xmpp_e2ee.entry ALTER COLUMN value TYPE text USING value::text",
    ],
)
async def test_r_04_a_damaged_row_is_told_and_the_others_are_left_alone(
    dsn: str, store: PostgresStore, damage: str
) -> None:
    await put(store, A, b"1")
    await put(store, (*YOU, "a"), b"2")
    async with connected(dsn) as rival:
        await rival.execute(damage)
    for key in (A, (*YOU, "a")):
        async with store.exclusive(key[:1]) as transaction:
            for read in (transaction.get(key), transaction.scan(key[:1]), transaction.get(key)):
                with pytest.raises(StoreFailed) as failure:
                    await read
                assert failure.value.code is ErrorCode.STORE_CORRUPT
    if "ALTER" not in damage:
        await put(store, ("benvolio@montague.lit", "a"))


async def test_r_13_reads_of_100000_rows_go_through_the_index(
    dsn: str, store: PostgresStore
) -> None:
    """Whether or not the server knows yet how many there are; a long key is as quick as others."""
    random = Random(13)
    long = "".join(chr(random.randrange(0x20, 0xD7FF)) for _ in range(2000))
    keys: list[Key] = [(f"{each % 1000}@capulet.lit", f"{each:06d}") for each in range(100_000)]
    keys += [(*ME, long, str(number)) for number in range(1000)]
    async with store.exclusive(()) as transaction:
        await transaction.commit([Put(key, b"value") for key in keys])
    head, digest, _ = split_key(key_bytes(keys[5]))
    first = split_key(key_bytes(keys[5][:1]))
    end = split_key(key_bytes(keys[5][:1]) + b"\xff")
    async with connected(dsn) as rival:
        for plan_cache in ("force_custom_plan", "force_generic_plan"):
            for analyze in (False, True):
                if analyze:
                    await rival.execute("ANALYZE xmpp_e2ee.entry")
                await rival.execute(f"SET plan_cache_mode = {plan_cache}")
                for statement, values in (
                    (postgres._GET, (head, digest)),
                    (postgres._SCAN, (first[0], first[2], end[0], end[2], 1000)),
                    (postgres._SCAN, (b"", b"", b"\xff", b"", 1000)),
                ):
                    plan = await rival.fetch(f"EXPLAIN (ANALYZE, COSTS off) {statement}", *values)
                    text = "\n".join(line for (line,) in plan)
                    assert "entry_pkey" in text, text
                    assert "Seq Scan" not in text, text
                    if values[-1] == 1000 and not values[0]:
                        assert "Incremental Sort" in text, text
    async with store.exclusive(ME) as transaction:
        assert await transaction.get((*ME, long, "999")) == b"value"
        assert len(await transaction.scan((*ME, long), limit=10_000)) == 1000
