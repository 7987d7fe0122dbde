"""The tables in PostgreSQL: made, migrated and refused; and what a user must be granted."""

from __future__ import annotations

import asyncio
import traceback
from urllib.parse import quote

import pytest

from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, StoreFailed
from e2ee.storage import Put, Remove
from e2ee.stores import postgres_schema, turns
from e2ee.stores.postgres import PostgresStore
from e2ee.stores.postgres_schema import SCHEMA, migrate
from tests.support.leaks import Canary, everything_printable
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.postgres_stores import connected, get, put

pytestmark = pytest.mark.slow

ME = ("juliet@capulet.lit",)
A = (*ME, "a")
GRANTS = """
    GRANT USAGE ON SCHEMA xmpp_e2ee TO {0};
    GRANT SELECT ON xmpp_e2ee.store TO {0};
    GRANT SELECT, INSERT, UPDATE, DELETE ON xmpp_e2ee.entry, xmpp_e2ee.receipt TO {0};
"""


async def refused(dsn: str) -> ErrorCode:
    with pytest.raises(StoreFailed) as failure:
        await PostgresStore.open(dsn)
    return failure.value.code


async def tables(dsn: str) -> list[tuple[str, ...]]:
    async with connected(dsn) as looking:
        found = await looking.fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'xmpp_e2ee' ORDER BY 1, 2"
        )
    return [tuple(row) for row in found]


async def test_a_store_is_made_by_command_only(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.create_database()
    assert await refused(dsn) is ErrorCode.STORE_TOO_OLD
    assert await tables(dsn) == []
    assert await migrate(dsn) == (0, SCHEMA)
    made = await tables(dsn)
    async with await PostgresStore.open(dsn) as store:
        await put(store, A)
        assert await migrate(dsn) == (SCHEMA, SCHEMA)
        assert await get(store, A) == b"1"
    assert await tables(dsn) == made


async def test_several_may_make_it_at_once(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.create_database()
    results = await asyncio.gather(*(migrate(dsn) for _ in range(8)))
    assert sorted(results) == [(0, SCHEMA)] + [(SCHEMA, SCHEMA)] * 7


async def test_r_09_tables_of_an_earlier_form_are_migrated_all_or_not(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await PostgresStore.open(dsn)
    await put(store, A)
    made = await tables(dsn)
    monkeypatch.setattr(postgres_schema, "SCHEMA", SCHEMA + 1)
    assert await refused(dsn) is ErrorCode.STORE_TOO_OLD
    step = (
        "ALTER TABLE xmpp_e2ee.entry ADD COLUMN colour text;"
        f"UPDATE xmpp_e2ee.store SET number = {SCHEMA + 1};"
    )
    known = postgres_schema._STEPS
    monkeypatch.setattr(postgres_schema, "_STEPS", (*known, step + "SELECT 1/0"))
    with pytest.raises(StoreFailed):
        await migrate(dsn)
    assert await tables(dsn) == made
    await put(store, A, b"2")
    monkeypatch.setattr(postgres_schema, "_STEPS", (*known, step))
    assert await migrate(dsn) == (SCHEMA, SCHEMA + 1)
    assert len(await tables(dsn)) == len(made) + 1
    monkeypatch.undo()

    # A release that knows nothing of it writes nothing, not even where it was at work before.
    with pytest.raises(StoreFailed) as failure:
        await put(store, A, b"3")
    assert failure.value.code is ErrorCode.STORE_TOO_NEW
    await store.close()
    assert await refused(dsn) is ErrorCode.STORE_TOO_NEW
    with pytest.raises(StoreFailed) as failure:
        await migrate(dsn)
    assert failure.value.code is ErrorCode.STORE_TOO_NEW
    async with connected(dsn) as looking:
        assert await looking.fetchval("SELECT value FROM xmpp_e2ee.entry") == b"2"


async def test_r_09_a_migration_waits_for_the_blocks_at_work(dsn: str) -> None:
    async with await PostgresStore.open(dsn) as store:
        async with store.exclusive(A) as transaction:
            migrating = asyncio.create_task(migrate(dsn))
            await asyncio.sleep(0.1)
            assert not migrating.done()
            await transaction.commit([Put(A, b"1")])
        assert await migrating == (SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("DROP SCHEMA xmpp_e2ee CASCADE", ErrorCode.STORE_TOO_OLD),
        ("DROP TABLE xmpp_e2ee.store", ErrorCode.STORE_TOO_OLD),
        ("DELETE FROM xmpp_e2ee.store", ErrorCode.STORE_CORRUPT),
        ("UPDATE xmpp_e2ee.store SET number = -1", ErrorCode.STORE_CORRUPT),
    ],
)
async def test_r_04_tables_that_are_gone_or_have_no_number_are_told(
    dsn: str, damage: str, code: ErrorCode
) -> None:
    async with await PostgresStore.open(dsn) as store:
        await put(store, A)
        async with connected(dsn) as rival:
            await rival.execute(damage)
        with pytest.raises(StoreFailed) as failure:
            await put(store, A)
        assert failure.value.code is code
    assert await refused(dsn) is code


async def test_r_07_a_user_needs_no_more_than_what_is_documented(
    postgres_server: PostgresServer, dsn: str
) -> None:
    database = dsn.rpartition("/")[2]
    role = f"component_{database}"
    mine = postgres_server.dsn(database, role)
    assert postgres_schema.__doc__ is not None
    for line in GRANTS.split(";"):
        assert line.strip().format("component") in postgres_schema.__doc__
    async with connected(dsn) as owner:
        await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        assert await refused(mine) is ErrorCode.STORE_FORBIDDEN
        with pytest.raises(StoreFailed) as failure:
            await migrate(mine)
        assert failure.value.code is ErrorCode.STORE_FORBIDDEN
        await owner.execute(GRANTS.format(role))
        async with await PostgresStore.open(mine) as store:
            await put(store, A)
            await put(store, A, b"2")
            assert await get(store, A) == b"2"
            async with store.exclusive(()) as transaction:
                assert await transaction.scan(()) == [(A, b"2")]
                await transaction.commit([Remove(A)])
            await owner.execute(f"REVOKE UPDATE ON xmpp_e2ee.entry FROM {role}")
            with pytest.raises(StoreFailed) as failure:
                await put(store, A)
            assert failure.value.code is ErrorCode.STORE_FORBIDDEN
            assert await get(store, A) is None
        assert await migrate(mine) == (SCHEMA, SCHEMA)


async def test_a_user_may_make_it_in_a_schema_of_their_own(
    postgres_server: PostgresServer,
) -> None:
    dsn = postgres_server.create_database()
    database = dsn.rpartition("/")[2]
    role = f"owner_{database}"
    async with connected(dsn) as superuser:
        await superuser.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        with pytest.raises(StoreFailed) as failure:
            await migrate(postgres_server.dsn(database, role))
        assert failure.value.code is ErrorCode.STORE_FORBIDDEN
        await superuser.execute(f"CREATE SCHEMA xmpp_e2ee AUTHORIZATION {role}")
    assert await migrate(postgres_server.dsn(database, role)) == (0, SCHEMA)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("", ErrorCode.STORE_FORBIDDEN),
        ("@127.0.0.1:1/x", ErrorCode.STORE_UNREACHABLE),
        ("@no.such.host.invalid/x", ErrorCode.STORE_UNREACHABLE),
        ("@127.0.0.1:port/x", ErrorCode.API_MISUSE),
        ("@127.0.0.1:99999/x", None),
        ("@127.0.0.1/x?sslmode=perhaps", ErrorCode.API_MISUSE),
        ("@127.0.0.1/x?sslmode=verify-full&sslrootcert=/nowhere/at.all", None),
        ("@127.0.0.1/x\0", None),
        ("@127.0.0.1/\ud800", None),
    ],
)
async def test_no_address_that_fails_gives_away_its_password(
    postgres_server: PostgresServer, wrong: str, code: ErrorCode | None
) -> None:
    canary = Canary("dKq7Rz81WxYpLm42")
    addresses = [f"postgresql://postgres:{canary.text}{wrong}"]
    if not wrong:
        addresses = [
            postgres_server.dsn().replace(quote(PASSWORD, safe=""), canary.text),
            postgres_server.dsn(user="nobody").replace(quote(PASSWORD, safe=""), canary.text),
        ]
    for address in addresses:
        for call in (PostgresStore.open, migrate):
            with pytest.raises(E2eeError) as failure:
                await call(address)
            assert code is None or failure.value.code is code
            error = failure.value
            for printed in (repr(error), str(error), *traceback.format_exception(error)):
                canary.assert_absent(printed, "an error")


@pytest.mark.parametrize("scheme", ["http", "sqlite", "postgres+asyncpg"])
async def test_what_is_no_address_is_refused(scheme: str) -> None:
    with pytest.raises(ApiMisuse):
        await PostgresStore.open(f"{scheme}://localhost/x")


async def test_a_store_does_not_print_its_password(dsn: str) -> None:
    canary = Canary(PASSWORD)
    async with await PostgresStore.open(dsn) as store:
        await put(store, A)
        for subject in (store, store._pool, *store._pool._free, store._pool._free[-1]._connection):
            for where, printed in everything_printable(subject):
                canary.assert_absent(printed, where)


async def test_a_database_that_is_not_there_is_told(postgres_server: PostgresServer) -> None:
    assert await refused(postgres_server.dsn("nowhere")) is ErrorCode.STORE_FAILED


async def test_no_connections_are_refused(dsn: str) -> None:
    with pytest.raises(ApiMisuse):
        await PostgresStore.open(dsn, connections=0)


async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(dsn: str) -> None:
    assert await refused(f"{dsn}?sslmode=require") is ErrorCode.STORE_UNREACHABLE


async def test_a_migration_waits_no_longer_than_the_bound(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await PostgresStore.open(dsn) as store, store.exclusive(ME):
        monkeypatch.setattr(turns, "_LOCK_WAIT", 0.1)
        with pytest.raises(StoreFailed) as failure:
            await migrate(dsn)
        assert failure.value.code is ErrorCode.STORE_LOCKED
