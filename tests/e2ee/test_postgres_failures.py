"""What fails under the PostgreSQL store is typed, or is tried again; and then work goes on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Put
from e2ee.stores import postgres_schema, turns
from e2ee.stores.postgres import PostgresStore
from e2ee.stores.postgres_schema import migrate
from e2ee.stores.rows import key_bytes
from tests.support.postgres import PASSWORD, PostgresServer, start_server
from tests.support.postgres_stores import MARKED, connected, failed, get, put, until_it_is_so

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


async def raise_at_writes(
    rival: asyncpg.Connection[asyncpg.Record], state: str, times: int, *, deferred: bool = False
) -> None:
    """Let the next writes fail with a SQLSTATE; a deferred one fails in COMMIT."""
    await rival.execute(
        f"""
        CREATE SEQUENCE IF NOT EXISTS tries;
        SELECT setval('tries', 1, false);
        CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') <= {times} THEN
                RAISE '{MARKED.replace("'", "''")}' USING ERRCODE = '{state}';
            END IF;
            RETURN new;
        END $$;
        DROP TRIGGER IF EXISTS fail ON xmpp_e2ee.entry;
        CREATE {"CONSTRAINT" if deferred else ""} TRIGGER fail
            {"AFTER" if deferred else "BEFORE"} INSERT OR UPDATE ON xmpp_e2ee.entry
            {"DEFERRABLE INITIALLY DEFERRED" if deferred else ""}
            FOR EACH ROW EXECUTE FUNCTION fail();
        """
    )


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("53100", ErrorCode.STORE_FULL),
        ("42501", ErrorCode.STORE_FORBIDDEN),
        ("25006", ErrorCode.STORE_FORBIDDEN),
        ("XX001", ErrorCode.STORE_CORRUPT),
        ("XX002", ErrorCode.STORE_CORRUPT),
        ("23514", ErrorCode.STORE_FAILED),
        ("58030", ErrorCode.STORE_FAILED),
        ("P0001", ErrorCode.STORE_FAILED),
        ("ZZ9ZZ", ErrorCode.STORE_FAILED),
        ("57P03", ErrorCode.STORE_UNREACHABLE),
    ],
)
async def test_r_03_what_the_server_refuses_is_typed_and_nothing_of_it_is_kept(
    store: PostgresStore,
    rival: asyncpg.Connection[asyncpg.Record],
    state: str,
    code: ErrorCode,
    deferred: bool,
) -> None:
    await put(store, A)
    await raise_at_writes(rival, state, 1, deferred=deferred)
    async with store.exclusive(ME) as transaction:
        assert await failed(transaction.commit([Put(A, b"2"), Put(B, b"2")])) is code
    assert await get(store, A) == b"1"
    assert await get(store, B) is None
    await put(store, A, b"3")
    assert await get(store, A) == b"3"


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_collision_in_a_commit_is_tried_again(
    store: PostgresStore, rival: asyncpg.Connection[asyncpg.Record], state: str
) -> None:
    await raise_at_writes(rival, state, 5)
    async with store.exclusive(ME) as transaction:
        writing = asyncio.create_task(transaction.commit([Put(A, b"1"), Put(B, b"1")]))
        await asyncio.sleep(0)
        meanwhile = asyncio.create_task(put(store, B, b"2"))
        await writing
    await meanwhile
    assert await get(store, A) == b"1"
    assert await get(store, B) == b"2"


async def test_collisions_without_end_are_given_up(
    store: PostgresStore,
    rival: asyncpg.Connection[asyncpg.Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await raise_at_writes(rival, "40001", 1000)
    async with store.exclusive(ME) as transaction:
        monkeypatch.setattr(turns, "_LOCK_WAIT", 0.1)
        assert await failed(transaction.commit([Put(A, b"1")])) is ErrorCode.STORE_LOCKED
    monkeypatch.undo()
    await raise_at_writes(rival, "40001", 1, deferred=True)
    assert await failed(put(store, A)) is ErrorCode.STORE_LOCKED  # its locks were gone with it
    await put(store, A, b"2")
    assert await get(store, A) == b"2"


async def test_a_collision_at_the_beginning_or_in_a_read_is_tried_again(
    postgres_server: PostgresServer, dsn: str, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    """A policy of the rows fails for whoever reads them, but for the tables' owner."""
    database = dsn.rpartition("/")[2]
    role = f"reader_{database}"
    await rival.execute(
        f"""
        CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}';
        GRANT USAGE ON SCHEMA xmpp_e2ee TO {role};
        GRANT ALL ON ALL TABLES IN SCHEMA xmpp_e2ee TO {role};
        CREATE SEQUENCE tries;
        GRANT ALL ON SEQUENCE tries TO {role};
        CREATE FUNCTION collide() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') % 3 > 0 THEN RAISE 'collision' USING ERRCODE = '40001'; END IF;
            RETURN true;
        END $$;
        """
    )
    async with await PostgresStore.open(postgres_server.dsn(database, role)) as store:
        await put(store, A)
        for table in ("entry", "store"):
            await rival.execute(
                f"""
                ALTER TABLE xmpp_e2ee.{table} ENABLE ROW LEVEL SECURITY;
                CREATE POLICY colliding ON xmpp_e2ee.{table} USING (collide()) WITH CHECK (true);
                """
            )
        async with store.exclusive(ME) as transaction:
            assert await transaction.get(A) == b"1"
            assert await transaction.scan(ME) == [(A, b"1")]
            assert await transaction.get(B) is None
        assert await rival.fetchval("SELECT last_value FROM tries") >= 9


async def test_a_real_deadlock_is_tried_again(
    dsn: str, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    await rival.execute(f"ALTER DATABASE {dsn.rpartition('/')[2]} SET deadlock_timeout = '300ms'")
    await rival.execute("SET deadlock_timeout = '30s'")
    async with await PostgresStore.open(dsn) as store:
        async with store.exclusive(ME) as transaction:
            await transaction.commit([Put(A, b"1"), Put(B, b"1")])
        update = "UPDATE xmpp_e2ee.entry SET tail = tail WHERE head = $1"
        await rival.execute("BEGIN")
        await rival.execute(update, key_bytes(B))
        async with store.exclusive(ME) as transaction:
            writing = asyncio.create_task(transaction.commit([Put(A, b"2"), Put(B, b"2")]))
            await until_it_is_so(rival, "wait_event_type = 'Lock'")
            await rival.execute(update, key_bytes(A))  # they wait for each other
            await asyncio.sleep(0.05)
            await rival.execute("COMMIT")
            await writing
        assert await get(store, A) == await get(store, B) == b"2"
        found = await rival.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        assert found in (0, 1)  # statistics come late; what counts is that it went on


async def test_a_locked_table_is_waited_for_no_longer_than_the_bound(
    store: PostgresStore,
    rival: asyncpg.Connection[asyncpg.Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await put(store, A)
    monkeypatch.setattr(postgres_schema, "STATEMENT_TIME", 0.1)
    monkeypatch.setattr(turns, "_LOCK_WAIT", 0.5)
    async with rival.transaction():
        await rival.execute("LOCK TABLE xmpp_e2ee.entry")
        async with store.exclusive(ME) as transaction:
            assert await failed(transaction.get(A)) is ErrorCode.STORE_LOCKED
            assert await failed(transaction.commit([Put(A, b"2")])) is ErrorCode.STORE_LOCKED
    assert await get(store, A) == b"1"


async def test_what_an_operator_has_set_changes_nothing(
    dsn: str, store: PostgresStore, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    await put(store, A)
    for setting in (
        "default_transaction_isolation = serializable",
        "default_transaction_read_only = on",
        "default_transaction_deferrable = on",
        "synchronous_commit = off",
        "search_path = nowhere",
        "statement_timeout = 60000",
        "idle_in_transaction_session_timeout = 1",
        "bytea_output = escape",
        "enable_indexscan = off",
    ):
        await rival.execute(f"ALTER DATABASE {dsn.rpartition('/')[2]} SET {setting}")
    async with await PostgresStore.open(dsn) as other:
        async with other.exclusive(ME) as transaction:
            assert await transaction.get(A) == b"1"
            await asyncio.sleep(0.01)
            shown = [
                (await transaction._connection.rows(f"SHOW {name}"))[0][0]  # type: ignore[attr-defined]
                for name in ("synchronous_commit", "transaction_isolation")
            ]
            assert shown == ["on", "read committed"]
            await transaction.commit([Put(A, b"2")])
        assert await asyncio.gather(*(get(other, A) for _ in range(5))) == [b"2"] * 5


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_r_02_a_server_that_does_not_keep_what_it_acknowledges_is_refused(
    dsn: str, rival: asyncpg.Connection[asyncpg.Record], setting: str
) -> None:
    async def now(statement: str, state: str) -> None:
        await rival.execute(statement)
        await rival.execute("SELECT pg_reload_conf()")
        while await rival.fetchval(f"SHOW {setting}") != state:
            await asyncio.sleep(0.01)

    await now(f"ALTER SYSTEM SET {setting} = off", "off")
    try:
        assert await failed(PostgresStore.open(dsn)) is ErrorCode.STORE_FORBIDDEN
    finally:
        await now(f"ALTER SYSTEM RESET {setting}", "on")
    await (await PostgresStore.open(dsn)).close()


async def test_a_server_without_a_free_connection_is_away(
    postgres_server: PostgresServer, dsn: str, rival: asyncpg.Connection[asyncpg.Record]
) -> None:
    role = f"one_{dsn.rpartition('/')[2]}"
    await rival.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 1;"
        f"GRANT USAGE ON SCHEMA xmpp_e2ee TO {role};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA xmpp_e2ee TO {role}"
    )
    mine = postgres_server.dsn(dsn.rpartition("/")[2], role)
    async with await PostgresStore.open(mine, connections=2) as store, store.exclusive(ME):
        in_the_way = asyncio.create_task(put(store, ("romeo@montague.lit", "a")))
        assert await failed(in_the_way) is ErrorCode.STORE_UNREACHABLE
        assert await failed(PostgresStore.open(mine)) is ErrorCode.STORE_UNREACHABLE


@pytest.fixture
def server_with_a_small_disk() -> Iterator[PostgresServer]:
    """Return a server with a tablespace ``small``, if such a disk can be mounted here."""
    with TemporaryDirectory(prefix="pg-") as folder, start_server(Path(folder)) as server:
        small = Path(folder, "small")
        small.mkdir()
        owner = Path(folder, "data").stat()
        options = f"size=12m,uid={owner.st_uid},gid={owner.st_gid}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(small)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no small disk can be mounted here")
        try:
            server.execute(f"CREATE TABLESPACE small LOCATION '{small}'")
            yield server
        finally:
            server.kill()
            subprocess.run(["umount", str(small)], check=True)


async def test_r_03_a_full_disk_is_told_and_what_was_there_is_read(
    server_with_a_small_disk: PostgresServer,
) -> None:
    dsn = server_with_a_small_disk.create_database()
    await migrate(dsn)
    async with connected(dsn) as rival, await PostgresStore.open(dsn) as store:
        await rival.execute("ALTER TABLE xmpp_e2ee.entry SET TABLESPACE small")
        await rival.execute("ALTER TABLE xmpp_e2ee.entry ALTER value SET STORAGE EXTERNAL")
        kept = 0
        code = None
        while code is None:
            try:
                await put(store, (*ME, str(kept)), bytes([kept]) * 1_000_000)
                kept += 1
            except StoreFailed as failure:
                code = failure.code
        assert code is ErrorCode.STORE_FULL
        assert kept > 3
        async with store.exclusive(ME) as transaction:
            found = await transaction.scan(ME)
        assert dict(found) == {
            (*ME, str(number)): bytes([number]) * 1_000_000 for number in range(kept)
        }
        await rival.execute("ALTER TABLE xmpp_e2ee.entry SET TABLESPACE pg_default")
        await put(store, (*ME, "more"), b"!" * 1_000_000)
