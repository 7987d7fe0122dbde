"""What lies in the database: the tables, the number of their form, and the locks of scopes.

Rule: what every release must know of the others'; rows are read and written in ``postgres.py``.

By hand, ``migrate`` needs no more than to own the schema ``xmpp_e2ee``, or to create it in the
database. Whoever only uses the store needs less::

    GRANT USAGE ON SCHEMA xmpp_e2ee TO component;
    GRANT SELECT ON xmpp_e2ee.store TO component;
    GRANT SELECT, INSERT, UPDATE, DELETE ON xmpp_e2ee.entry, xmpp_e2ee.receipt TO component;

and, for a store with an index::

    GRANT SELECT, INSERT, UPDATE, DELETE ON xmpp_e2ee.document TO component;
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.secret import Secret
from e2ee.storage import Key
from e2ee.stores.postgres_connection import STATEMENT_TIME, Connection, connect
from e2ee.stores.rows import key_bytes
from e2ee.stores.turns import deadline

__all__ = ["SCHEMA", "begin", "check_schema", "migrate", "read_schema"]

SCHEMA: Final = 2
"""The number of the tables' form that this release reads and writes."""

_IDLE_TIME: Final = 60.0  # seconds, after which a host that vanished in its block is given up

_MAKE_SCHEMA: Final = """
    DO $$ BEGIN
        IF to_regnamespace('xmpp_e2ee') IS NULL THEN CREATE SCHEMA xmpp_e2ee; END IF;
    END $$;
"""
_STEPS: Final = (
    """
    CREATE TABLE xmpp_e2ee.store (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        number integer NOT NULL
    );
    INSERT INTO xmpp_e2ee.store (number) VALUES (1);

    -- An index holds no more than some 2,700 bytes of a row: of a long key, its head and a digest.
    CREATE TABLE xmpp_e2ee.entry (
        head bytea NOT NULL,
        digest bytea NOT NULL,
        tail bytea NOT NULL,
        value bytea NOT NULL,
        checksum bytea NOT NULL,
        PRIMARY KEY (head, digest)
    );

    -- The last commit of each seat in each open store, for whoever was cut off in a commit.
    CREATE TABLE xmpp_e2ee.receipt (
        client bytea NOT NULL,
        seat integer NOT NULL,
        number bigint NOT NULL,
        written timestamptz NOT NULL,
        PRIMARY KEY (client, seat)
    ) WITH (fillfactor = 50);
    """,
    """
    UPDATE xmpp_e2ee.store SET number = 2;

    -- What is found by its words; see postgres_vectors.py for the vector.
    CREATE TABLE xmpp_e2ee.document (
        head bytea NOT NULL,
        digest bytea NOT NULL,
        tail bytea NOT NULL,
        value bytea NOT NULL,
        checksum bytea NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        account bytea NOT NULL,
        tongue text,
        published bigint,  -- microseconds since 1970
        line text,
        vector tsvector NOT NULL,
        PRIMARY KEY (head, digest)
    ) WITH (toast_tuple_target = 256);  -- a search passes over rows that it does not unpack
    CREATE INDEX document_vector ON xmpp_e2ee.document USING gin (vector);
    CREATE INDEX document_tongue ON xmpp_e2ee.document (tongue, account) WHERE tongue IS NOT NULL;
    """,
)
"""What makes each form out of the one before, from nothing on, and its number."""


async def migrate(dsn: str) -> tuple[int, int]:
    """Make the tables in the database, or bring those of an earlier release up to date.

    All of it happens or none, after the blocks that are at work; those that come later find the
    new form. Several may call it at once.

    Args:
        dsn: the database's address, as for ``PostgresStore.open``.

    Returns:
        The number of the tables' form before, 0 where there were none, and after.

    Raises:
        ApiMisuse: the address is none.
        StoreFailed: ``store-too-new`` when a later release was here; ``store-locked`` after a
            bounded wait for the blocks at work; ``store-forbidden`` when this user may not, and
            for the same reasons as in ``PostgresStore.open``; ``store-unreachable``, also when the
            connection broke at the end: then look again.
    """
    connection = await connect(Secret(dsn.encode("utf-8", "surrogatepass")))
    try:
        time = deadline() - asyncio.get_running_loop().time()
        await connection.script(begin((), time), time)
        before = await _number(connection)
        if before > SCHEMA:
            raise _too_new(before)
        if before < SCHEMA:
            make = "" if before else _MAKE_SCHEMA
            await connection.script(make + "".join(_STEPS[before:]))
        await connection.commit(STATEMENT_TIME)
    finally:
        await connection.drop()
    return before, SCHEMA


async def read_schema(dsn: str) -> int:
    """Return the number of the tables' form in the database, 0 where there are none.

    Args:
        dsn: the database's address, as for ``PostgresStore.open``.

    Raises:
        ApiMisuse: the address is none.
        StoreFailed: ``store-too-new``; as ``PostgresStore.open`` otherwise.
    """
    connection = await connect(Secret(dsn.encode("utf-8", "surrogatepass")))
    try:
        number = await _number(connection)
    finally:
        await connection.drop()
    if number > SCHEMA:
        raise _too_new(number)
    return number


def begin(scope: Key, time: float) -> str:
    """Return the statements that begin a transaction as the only one in ``scope``.

    Whatever the operator has set for this user, the transaction writes, sees what was committed
    before each of its statements, is flushed to the disk, and is told what a commit may lack. A
    scope's lock is exclusive, and shared are those of the scopes around it, the widest first. All
    of them end with the transaction, so that a pooler between may give each transaction another
    server process.

    Args:
        scope: ``()`` for the whole store.
        time: seconds to wait for each of the locks.
    """
    around = [f"pg_advisory_xact_lock_shared({_lock(scope[:size])})" for size in range(len(scope))]
    return f"""
        BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
        SET LOCAL statement_timeout = {_milliseconds(STATEMENT_TIME)};
        SET LOCAL lock_timeout = {_milliseconds(time)};
        SET LOCAL client_min_messages = warning;
        SET LOCAL idle_in_transaction_session_timeout = {_milliseconds(_IDLE_TIME)};
        SELECT set_config('synchronous_commit', 'on', true)
            WHERE current_setting('synchronous_commit') IN ('off', 'local');
        SELECT {", ".join((*around, f"pg_advisory_xact_lock({_lock(scope)})"))};
        SET LOCAL lock_timeout = 0;
    """


async def check_schema(connection: Connection) -> None:
    """Refuse tables that are not of this release's form.

    Raises:
        StoreFailed: ``store-too-old`` also where there are none; ``store-too-new``;
            ``store-corrupt``.
    """
    number = await _number(connection)
    if number > SCHEMA:
        raise _too_new(number)
    if number < SCHEMA:
        raise StoreFailed(
            ErrorCode.STORE_TOO_OLD,
            f"the database has schema {number}, this release needs {SCHEMA}: migrate it first",
        )


async def _number(connection: Connection) -> int:
    [(exists,)] = await connection.rows("SELECT to_regclass('xmpp_e2ee.store') IS NOT NULL")
    if not exists:
        return 0
    numbers = [number for (number,) in await connection.rows("SELECT number FROM xmpp_e2ee.store")]
    if len(numbers) != 1 or numbers[0] < 1:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the store has no schema number")
    return int(numbers[0])


def _too_new(number: int) -> StoreFailed:
    return StoreFailed(
        ErrorCode.STORE_TOO_NEW, f"the store has schema {number}, this release knows {SCHEMA}"
    )


def _lock(scope: Key) -> int:
    """Return the id of a scope's advisory lock: 64 bits that mean us to other users of them."""
    digest = blake2b(key_bytes(scope), digest_size=8, person=b"e2ee store lock")
    return int.from_bytes(digest.digest(), "big", signed=True)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # 0 would be for ever
