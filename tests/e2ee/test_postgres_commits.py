"""What a commit says is so, also where the server, a standby or a pooler leaves it in doubt."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import asyncpg
import pytest

from e2ee.errors import ErrorCode
from e2ee.storage import Put
from e2ee.stores import postgres, postgres_connection
from e2ee.stores.postgres import PostgresStore
from tests.support.postgres import PostgresServer
from tests.support.postgres_stores import connected, failed, get, put, until_it_is_so
from tests.support.relay import relay

pytestmark = pytest.mark.slow

ME = ("juliet@capulet.lit",)
A = (*ME, "a")


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.open(dsn, connections=2) as store:
        yield store


@pytest.fixture
async def rival(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    async with connected(dsn) as rival:
        yield rival


async def demand_standby(rival: asyncpg.Connection[asyncpg.Record], name: str) -> None:
    """Let commits wait for a standby from now on, or for none."""
    await rival.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await rival.execute("SELECT pg_reload_conf()")
    while await rival.fetchval("SHOW synchronous_standby_names") != name:
        await asyncio.sleep(0.01)


@pytest.fixture
async def away(rival: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[None]:
    """Let commits wait for a standby that is not there."""
    await demand_standby(rival, "away")
    yield
    await demand_standby(rival, "")


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("returns", [False, True])
@pytest.mark.parametrize("ended_by", ["the driver", "an administrator"])
async def test_r_01_a_commit_that_no_standby_has_is_not_acknowledged(
    store: PostgresStore,
    rival: asyncpg.Connection[asyncpg.Record],
    monkeypatch: pytest.MonkeyPatch,
    ended_by: str,
    returns: bool,
) -> None:
    """A server that is asked to stop waiting for a standby says that it has committed."""
    if ended_by == "the driver":
        monkeypatch.setattr(postgres_connection, "_GRACE", 0.1)
        monkeypatch.setattr(postgres, "STATEMENT_TIME", 0.1)
    if not returns:
        monkeypatch.setattr(postgres_connection, "_GRACE", 0.1)
        monkeypatch.setattr(postgres, "_ASKING_TIME", 0.5)
    writing = asyncio.create_task(put(store, A))
    await until_it_is_so(rival, "wait_event = 'SyncRep'")
    first = await rival.fetchval("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    if ended_by == "an administrator":
        await rival.execute("SELECT pg_cancel_backend($1)", first)
    asked = asyncio.create_task(until_it_is_so(rival, f"wait_event = 'SyncRep' AND pid <> {first}"))
    await asyncio.wait({writing, asked}, return_when=asyncio.FIRST_COMPLETED)
    assert asked.done()
    if returns:
        await demand_standby(rival, "")
        await writing
    else:
        assert await failed(writing) is ErrorCode.STORE_UNCERTAIN
        await demand_standby(rival, "")
    monkeypatch.undo()
    assert await get(store, A) == b"1"


def error(state: str) -> bytes:
    """Return a server's message that something failed, and that it is ready for more."""
    fields = f"SERROR\0VERROR\0C{state}\0Mthe server is gone\0\0".encode()
    return b"E" + struct.pack("!I", len(fields) + 4) + fields + b"Z\0\0\0\x05I"


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("state", ["08006", "08007", "08P01", "40003", "58000"])
async def test_r_01_a_commit_for_which_a_pooler_answers_is_looked_for(
    postgres_server: PostgresServer, dsn: str, state: str, kept: bool
) -> None:
    async with relay(postgres_server.port) as running:
        through = dsn.replace(f":{postgres_server.port}/", f":{running.port}/")
        async with await PostgresStore.open(f"{through}?sslmode=disable") as store:
            await put(store, A)
            running.instead = error(state)
            async with store.exclusive(ME) as transaction:
                if kept:
                    running.lose_answer = b"COMMIT\0"
                else:
                    running.lose = b"COMMIT\0"
                if kept:
                    await transaction.commit([Put(A, b"2")])
                else:
                    code = await failed(transaction.commit([Put(A, b"2")]))
                    assert code in (ErrorCode.STORE_UNREACHABLE, ErrorCode.STORE_FAILED)
            assert running.lost == 1
            assert await get(store, A) == (b"2" if kept else b"1")


async def test_a_read_that_fails_beside_a_commit_takes_nothing_out_of_it(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        postgres,
        "_SCAN",
        "SELECT $1::bytea, $2::bytea, $3::bytea, $4::bytea, 1 / ($5::bigint - 1000)",
    )
    async with store.exclusive(ME) as transaction:
        read, kept = await asyncio.gather(
            failed(transaction.scan(ME)), transaction.commit([Put(A, b"1")])
        )
    assert (read, kept) == (ErrorCode.STORE_FAILED, None)
    assert await get(store, A) == b"1"


async def test_what_a_block_leaves_at_work_is_not_done_in_the_next_one(
    dsn: str, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Although there is one connection, which both have used."""
    await rival.execute(
        """
        CREATE SEQUENCE tries;
        CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') < 6 THEN RAISE 'collision' USING ERRCODE = '40001'; END IF;
            RETURN new;
        END $$;
        CREATE TRIGGER collide BEFORE INSERT ON xmpp_e2ee.entry
            FOR EACH ROW EXECUTE FUNCTION collide();
        """
    )
    async with await PostgresStore.open(dsn, connections=1) as store:
        async with store.exclusive(ME) as transaction:
            left = asyncio.create_task(transaction.commit([Put(A, b"1")]))
            while not await rival.fetchval("SELECT is_called FROM tries"):
                await asyncio.sleep(0.001)
        async with store.exclusive(("romeo@montague.lit",)) as transaction:
            assert left.done()
            await left
        assert await get(store, A) == b"1"
