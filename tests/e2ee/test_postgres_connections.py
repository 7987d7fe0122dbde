"""Connections to PostgreSQL that die, fall silent or lose an answer, at every stage of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from e2ee.errors import ErrorCode
from e2ee.storage import Put
from e2ee.stores import postgres, postgres_connection, postgres_schema
from e2ee.stores.postgres import PostgresStore
from tests.support.postgres import PostgresServer
from tests.support.postgres_stores import (
    connected,
    failed,
    get,
    put,
    terminate_others,
    until_it_is_so,
)
from tests.support.relay import Relay, relay

pytestmark = pytest.mark.slow

ME = ("juliet@capulet.lit",)
A, B = (*ME, "a"), (*ME, "b")


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.open(dsn, connections=2) as store:
        yield store


@pytest.fixture
async def rival(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    async with connected(dsn) as rival:
        yield rival


async def test_a_connection_that_died_while_it_was_idle_is_replaced(
    store: PostgresStore, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    for _ in range(3):
        await asyncio.gather(put(store, A), put(store, ("romeo@montague.lit", "a")))
        await terminate_others(rival)
        await asyncio.gather(put(store, A), put(store, ("romeo@montague.lit", "a")))


async def test_a_connection_that_was_idle_for_long_is_replaced(
    store: PostgresStore,
    rival: asyncpg.Connection[asyncpg.Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pids = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() ORDER BY pid"
    await put(store, A)
    before = await rival.fetch(pids)
    await put(store, A)
    assert await rival.fetch(pids) == before
    monkeypatch.setattr("e2ee.stores.postgres_pool._IDLE_TIME", 0.0)
    await put(store, A)
    assert len(await rival.fetch(pids)) == len(before)
    assert await rival.fetch(pids) != before


async def test_a_connection_that_dies_in_a_block_ends_the_block(
    store: PostgresStore, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    await put(store, A)
    async with store.exclusive(ME) as transaction:
        assert await transaction.get(A) == b"1"
        await terminate_others(rival)
        assert await failed(transaction.get(A)) is ErrorCode.STORE_UNREACHABLE
        assert await failed(transaction.scan(ME)) is ErrorCode.STORE_UNREACHABLE
        unreachable = await failed(transaction.commit([Put(A, b"2")]))
        assert unreachable is ErrorCode.STORE_UNREACHABLE
    assert await get(store, A) == b"1"
    await put(store, A, b"3")


async def test_a_connection_that_dies_in_line_is_replaced_and_waits_again(
    store: PostgresStore,
    rival: asyncpg.Connection[asyncpg.Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await put(store, A)
    monkeypatch.setattr(postgres, "_IN_LINE", 30.0)
    lock = f"pg_advisory_xact_lock({postgres_schema._lock(ME)})"
    async with rival.transaction():
        await rival.execute(f"SELECT {lock}")
        waiting = asyncio.create_task(put(store, A, b"2"))
        await until_it_is_so(rival, "wait_event_type = 'Lock'")
        await terminate_others(rival)
        await until_it_is_so(rival, "wait_event_type = 'Lock'")
        assert not waiting.done()
        await terminate_others(rival)
        assert await failed(waiting) is ErrorCode.STORE_UNREACHABLE  # it was not idle any more
    assert await get(store, A) == b"1"


async def test_a_block_that_does_nothing_for_long_is_given_up(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, A)
    monkeypatch.setattr(postgres_schema, "_IDLE_TIME", 0.05)
    async with store.exclusive(ME) as transaction:
        await asyncio.sleep(0.2)
        assert await failed(transaction.commit([Put(A, b"2")])) is ErrorCode.STORE_UNREACHABLE
    monkeypatch.undo()
    assert await get(store, A) == b"1"


async def test_r_01_a_connection_that_dies_in_a_commit_has_kept_nothing(
    store: PostgresStore, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    await put(store, A)
    await rival.execute(
        """
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep(60); RETURN new;
        END $$;
        CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE ON xmpp_e2ee.entry
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();
        """
    )
    writing = asyncio.create_task(put(store, A, b"2"))
    await until_it_is_so(rival, "query = 'COMMIT' AND wait_event = 'PgSleep'")
    await terminate_others(rival)
    assert await failed(writing) is ErrorCode.STORE_UNREACHABLE
    assert await get(store, A) == b"1"
    await rival.execute("DROP TRIGGER wait ON xmpp_e2ee.entry")
    await put(store, A, b"3")


@pytest.fixture
async def relayed(
    postgres_server: PostgresServer, dsn: str
) -> AsyncIterator[tuple[PostgresStore, Relay]]:
    """Return a store behind a relay, with its address changed to that of the relay."""
    async with relay(postgres_server.port) as running:
        through = dsn.replace(f":{postgres_server.port}/", f":{running.port}/")
        async with await PostgresStore.open(through) as store:
            yield store, running


async def test_r_01_a_commit_whose_answer_is_lost_is_known_to_be_kept(
    relayed: tuple[PostgresStore, Relay],
) -> None:
    store, running = relayed
    for number in range(5):
        running.lose_answer = b"COMMIT\0"
        async with store.exclusive(ME) as transaction:
            await transaction.commit([Put(A, b"%d" % number), Put(B, b"%d" % number)])
        assert running.lost == number + 1
        assert await get(store, A) == await get(store, B) == b"%d" % number


async def test_r_01_a_commit_that_is_lost_is_known_not_to_be_kept(
    relayed: tuple[PostgresStore, Relay], dsn: str
) -> None:
    """Even when somebody else has been in the account before it could be asked."""
    store, running = relayed
    await put(store, A)
    running.lose = b"COMMIT\0"
    async with await PostgresStore.open(dsn) as other, store.exclusive(ME) as transaction:
        meanwhile = asyncio.create_task(put(other, A, b"3"))
        await asyncio.sleep(0.05)
        assert await failed(transaction.commit([Put(A, b"2")])) is ErrorCode.STORE_UNREACHABLE
        await meanwhile
    assert running.lost == 1
    assert await get(store, A) == b"3"


@pytest.mark.parametrize("kept", [False, True])
async def test_r_01_a_commit_is_uncertain_when_nobody_can_be_asked(
    relayed: tuple[PostgresStore, Relay], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, running = relayed
    await put(store, A)
    monkeypatch.setattr(postgres, "_ASKING_TIME", 0.2)
    async with store.exclusive(ME) as transaction:
        if kept:
            running.lose_answer = b"COMMIT\0"
        else:
            running.lose = b"COMMIT\0"
        running.refuse = True
        assert await failed(transaction.commit([Put(A, b"2")])) is ErrorCode.STORE_UNCERTAIN
    assert await failed(get(store, A)) is ErrorCode.STORE_UNREACHABLE
    running.refuse = False
    assert await get(store, A) == (b"2" if kept else b"1")
    await put(store, A, b"3")


async def test_a_server_that_is_silent_is_away(
    relayed: tuple[PostgresStore, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, running = relayed
    await put(store, A)
    monkeypatch.setattr(postgres_connection, "_GRACE", 0.1)
    monkeypatch.setattr(postgres_connection, "_DROP_TIME", 0.1)
    monkeypatch.setattr(postgres_connection, "STATEMENT_TIME", 0.1)
    async with store.exclusive(ME) as transaction:
        running.silent = True
        assert await failed(transaction.get(A)) is ErrorCode.STORE_UNREACHABLE
        assert await failed(transaction.commit([Put(A, b"2")])) is ErrorCode.STORE_UNREACHABLE
        running.silent = False
    monkeypatch.undo()
    assert await get(store, A) == b"1"
