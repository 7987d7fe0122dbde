"""PostgresStore: the store of components, tables in a PostgreSQL database that many share.

Rule: rows and transactions only; connections are judged and kept in ``postgres_connection.py`` and
``postgres_pool.py``, tables and locks are made and named in ``postgres_schema.py``, documents are
indexed and found in ``postgres_search.py``.

Everything of a block happens in one transaction, which takes the advisory locks of its scope before
it sees anything. Since a block keeps to its scope, what others have committed meanwhile is never in
its view: one snapshot, without the failures of stricter isolation levels.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeVar

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.search import Document, Forgotten, Hit, Query, SearchTransaction
from e2ee.secret import Secret
from e2ee.storage import Change, Key, Put
from e2ee.stores.lanes import Lanes
from e2ee.stores.postgres_connection import STATEMENT_TIME, Connection, retried
from e2ee.stores.postgres_pool import Pool, Seat
from e2ee.stores.postgres_rows import intact, page, scan, split_key
from e2ee.stores.postgres_schema import SCHEMA, begin, check_schema
from e2ee.stores.postgres_search import change_documents, find_documents, read_documents
from e2ee.stores.rows import checksum, key_bytes
from e2ee.stores.turns import Turn, deadline

if TYPE_CHECKING:
    import asyncpg

__all__ = ["PostgresStore"]

_T = TypeVar("_T")

_PART: Final = 8 * 1024 * 1024  # bytes of keys and values in one statement
_IN_LINE: Final = 0.05  # seconds that a connection waits for an account; most blocks take less
_ASKING_TIME: Final = 30.0  # seconds to ask what became of a commit
_NO_REASONS: Final = {ErrorCode.STORE_UNREACHABLE, ErrorCode.STORE_FAILED}  # to refuse a commit

_SAVE: Final = f"""
    SAVEPOINT begun;
    SELECT FROM xmpp_e2ee.store WHERE number = {SCHEMA};
"""
_SAVED: Final = "SELECT 1"  # what the server says of one row
_GET: Final = """
    SELECT head || tail, value, checksum FROM xmpp_e2ee.entry WHERE head = $1 AND digest = $2
"""
_SCAN: Final = scan("entry")
_CHANGE: Final = """
    WITH gone AS (
        DELETE FROM xmpp_e2ee.entry
        USING unnest($1::bytea[], $2::bytea[]) AS key (head, digest)
        WHERE entry.head = key.head AND entry.digest = key.digest
    ), put AS (
        INSERT INTO xmpp_e2ee.entry (head, digest, tail, value, checksum)
        SELECT * FROM unnest($3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])
        ON CONFLICT (head, digest)
        DO UPDATE SET value = excluded.value, checksum = excluded.checksum
    )
    INSERT INTO xmpp_e2ee.receipt (client, seat, number, written) VALUES ($8, $9, $10, now())
    ON CONFLICT (client, seat) DO UPDATE SET number = excluded.number, written = excluded.written
"""
_RENEW_RECEIPT: Final = """
    UPDATE xmpp_e2ee.receipt SET written = now()
    WHERE client = $1 AND seat = $2 AND number = $3 RETURNING number
"""
_NEW_CLIENT: Final = """
    SELECT uuid_send(gen_random_uuid()),
           current_setting('server_encoding') = 'UTF8'
           AND bool_and(has_table_privilege('xmpp_e2ee.document', wanted))
    FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted
"""
_FORGET: Final = """
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    DELETE FROM xmpp_e2ee.receipt WHERE (client, seat) IN (
        SELECT client, seat FROM xmpp_e2ee.receipt
        WHERE written < now() - interval '1 day' FOR UPDATE SKIP LOCKED
    );
    COMMIT;
"""


class PostgresStore:
    """``storage.Store`` in a PostgreSQL database (13 or later); make it with :meth:`open`.

    Blocks whose scopes do not overlap run side by side, in this process, in others and on other
    hosts, as many in this store as it has connections; tasks that want one account (the first part
    of a scope) wait in line without one, and so do those whose account is held elsewhere, but for
    the moments in which they try it. A block of the whole store, ``()``, keeps out all others, also
    while it waits: it is for maintenance. Whoever holds a scope and vanishes with their host is
    given up after a minute, as is a block that asks nothing for so long.

    What fails for a moment is tried again: a connection that died while it was idle, a deadlock, a
    serialisation failure. A connection that breaks in a block ends the block, with nothing kept.
    When it breaks in a commit, or the answer is open to doubt, the store connects again and looks
    for the receipt that each commit leaves. It renews a receipt that it finds, so that whoever must
    have this second commit, be it disk or standby, has the first one too. So success and
    ``store-unreachable`` are both certain; ``store-uncertain`` is left for when the server, or the
    standby that it waits for, does not come back in time.

    The store belongs to one event loop of one process; after a fork, the child opens its own. A
    pooler between must give a transaction one server process (PgBouncer's transaction mode, with
    its ``max_prepared_statements`` above 0).

    Every row carries a checksum. PostgreSQL keeps deleted rows and their words in its files until
    they are vacuumed, and longer in its write-ahead log, replicas and backups: whoever wants them
    unreadable puts a ``SealedStore`` around this one, and has no index.

    Documents are found by the stems of their language, in 22 of them; in others, and where it is
    not known, as the words stand.
    """

    def __init__(self, pool: Pool, client: bytes, *, searchable: bool) -> None:
        self._pool = pool
        self._client = client
        self._searchable = searchable
        self._lanes = Lanes()

    @classmethod
    async def open(cls, dsn: str, *, connections: int = 10) -> Self:
        """Open the store in a database that ``postgres_schema.migrate`` has prepared.

        Args:
            dsn: the database's address, ``postgresql://user:password@host:port/database?…``, and
                whatever else asyncpg takes from it and from libpq's environment variables. TLS is
                asked for in it: ``sslmode=verify-full`` checks the server's certificate and name;
                by default neither is checked, and a server without TLS is accepted. With several
                hosts, ``target_session_attrs=primary`` finds the one that takes writes.
            connections: at most; opened when they are needed.

        Raises:
            ApiMisuse: the address is none; asyncpg is not installed; no connections.
            StoreFailed: ``store-too-old`` when the tables are to be made or migrated first;
                ``store-too-new`` when a later release migrated them; ``store-forbidden`` when the
                server refuses this user, takes no writes, or has its ``fsync`` or
                ``full_page_writes`` off; ``store-unreachable``; ``store-corrupt`` and
                ``store-failed`` otherwise.
        """
        if connections < 1:
            raise ApiMisuse("a store has at least one connection")
        pool = Pool(Secret(dsn.encode("utf-8", "surrogatepass")), connections)
        try:
            async with pool.seat(deadline()) as seat:
                connection = await seat.connection()
                await check_schema(connection)
                await connection.script(_FORGET)
                [(client, searchable)] = await connection.rows(_NEW_CLIENT)
        except BaseException:
            await pool.close()
            raise
        return cls(pool, client, searchable=searchable)

    @property
    def searchable(self) -> bool:
        """Whether there is an index: the database is in UTF-8, and this user may use the table."""
        return self._searchable

    async def close(self) -> None:
        """Close all connections, after the blocks that came before. A second call does nothing.

        Raises:
            ApiMisuse: this task is inside a block, or the process is a fork.
            StoreFailed: ``store-locked`` after a bounded wait for the other blocks. They go on, and
                their connections are closed when they end.
        """
        self._pool.refuse_fork()
        self._lanes.close()
        try:
            await self._lanes.emptied()
        finally:
            await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @asynccontextmanager
    async def exclusive(self, scope: Key) -> AsyncIterator[SearchTransaction]:
        """Open a transaction as the only one in ``scope``; see ``storage.Store.exclusive``.

        Raises:
            ApiMisuse: this task is inside a block, the store is closed, or the process is a fork.
            StoreFailed: ``store-locked`` after a bounded wait; ``store-too-new`` when a later
                release has migrated the tables meanwhile; otherwise as in :meth:`open`.
        """
        self._pool.refuse_fork()
        async with self._lanes.take(scope) as turn, AsyncExitStack() as stack:
            # Each time on a seat taken anew: one that waits would be missed by other accounts.
            begin = partial(self._begun, scope, turn)
            yield await retried(lambda: stack.enter_async_context(begin()), turn.deadline)

    @asynccontextmanager
    async def _begun(self, scope: Key, turn: Turn) -> AsyncIterator[SearchTransaction]:
        async with self._pool.seat(turn.deadline) as seat:
            transaction = _PostgresTransaction(seat, self._client, scope, turn)
            await transaction.begin()
            yield transaction


class _PostgresTransaction:
    """Reads see one snapshot because nobody else commits inside the scope."""

    # The one on which the transaction began; there is no going on with it on another.
    _connection: Connection

    def __init__(self, seat: Seat, client: bytes, scope: Key, turn: Turn) -> None:
        self._seat = seat
        self._client = client
        self._scope = scope
        self._turn = turn

    async def begin(self) -> None:
        time = max(0, self._turn.deadline - asyncio.get_running_loop().time())
        if self._scope:  # who waits for the whole store keeps the others out anyhow
            time = min(time, _IN_LINE)
        self._connection, said = await self._enter(time, _SAVE)
        if said != _SAVED:
            await check_schema(self._connection)

    async def get(self, key: Key) -> bytes | None:
        self._turn.check_get(key)
        raw_key = key_bytes(key)
        head, digest, _ = split_key(raw_key)
        for row in await self._rows(_GET, head, digest):
            return intact(row, raw_key, raw_key)
        return None

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        self._turn.check_scan(prefix, after, limit)
        return await page(self._rows, _SCAN, prefix, after, limit)

    async def documents(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[Document]:
        self._turn.check_scan(prefix, after, limit)
        return await read_documents(self._rows, prefix, after, limit)

    async def search(
        self, query: Query, limit: int = 20, after: Hit | None = None
    ) -> Sequence[Hit]:
        self._turn.check_search(query, limit, after)
        return await find_documents(self._rows, self._scope, query, limit, after)

    async def commit(
        self, changes: Sequence[Change], documents: Sequence[Document | Forgotten] = ()
    ) -> None:
        final, indexed = self._turn.finish_indexed(changes, documents)
        if not final and not indexed:
            return
        async with self._seat.use:
            self._seat.commits += 1
            await self._again(partial(self._write, final, indexed))
            try:
                await self._connection.commit(STATEMENT_TIME)
            except StoreFailed as failure:
                in_doubt = not self._connection.usable or failure.code in _NO_REASONS
                if not in_doubt or not await self._is_kept():
                    raise

    async def _enter(self, time: float, then: str) -> tuple[Connection, str]:
        """Begin the transaction, on a connection that is alive; return what ``then`` answers."""
        while True:
            reused = self._seat.taken
            connection = await self._seat.connection()
            try:
                return connection, await connection.script(begin(self._scope, time) + then, time)
            except StoreFailed as failure:
                await self._seat.tidy()
                if failure.code is ErrorCode.STORE_CORRUPT:
                    await check_schema(connection)  # which says better what is wrong
                if not reused or failure.code is not ErrorCode.STORE_UNREACHABLE:
                    raise
                await self._seat.drop()  # it had died before; nobody asked it for anything

    async def _rows(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        async with self._seat.use:
            return await self._again(partial(self._connection.rows, statement, *values))

    async def _again(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Make the attempt, and again while it collides; from each failure the block goes on.

        What was locked before the savepoint stays locked.
        """

        async def once() -> _T:
            try:
                return await attempt()
            except StoreFailed:
                if self._connection.usable:
                    await self._connection.script("ROLLBACK TO SAVEPOINT begun")
                raise

        self._connection.refuse_fork()
        return await retried(once, deadline())

    async def _write(
        self, changes: Sequence[Change], documents: Sequence[Document | Forgotten]
    ) -> None:
        for columns in _statements(changes):
            await self._connection.rows(
                _CHANGE, *columns, self._client, self._seat.number, self._seat.commits
            )
        await change_documents(self._connection.rows, documents)

    async def _is_kept(self) -> bool:
        """Find out, over another connection, what became of a commit whose answer is in doubt.

        The locks are taken anew, so that the server is through with the commit when it is asked.
        The receipt alone may be that of a commit which a standby that counts does not have yet; it
        counts when one more commit, which cannot be there without it, has gone all the way.

        Raises:
            StoreFailed: ``store-uncertain`` when nobody could be asked in time.
        """
        until = asyncio.get_running_loop().time() + _ASKING_TIME
        try:
            # Whatever it answers may pass: a server that starts, or is still a standby.
            return await retried(partial(self._has_receipt, until), until, frozenset(ErrorCode))
        except StoreFailed:
            raise StoreFailed(
                ErrorCode.STORE_UNCERTAIN,
                "a commit was put in doubt, and nobody could be asked in time",
            ) from None

    async def _has_receipt(self, until: float) -> bool:
        now = asyncio.get_running_loop().time
        await self._seat.drop()
        connection, _ = await self._enter(max(0, until - now()), "")
        receipt = (self._client, self._seat.number, self._seat.commits)
        found = await connection.rows(_RENEW_RECEIPT, *receipt)
        if found:
            await connection.commit(max(0, until - now()))
        return bool(found)


def _statements(changes: Sequence[Change]) -> Iterator[list[list[bytes]]]:
    """Yield the changes as the columns of ``_CHANGE``, no more at once than a message may carry."""
    columns: list[list[bytes]] = [[] for _ in range(7)]
    size = 0
    for change in changes:
        raw_key = key_bytes(change.key)
        head, digest, tail = split_key(raw_key)
        cells = [head, digest]
        if isinstance(change, Put):
            cells += [tail, change.value, checksum(raw_key, change.value)]
        of_its_kind = columns[2:] if isinstance(change, Put) else columns[:2]
        for column, cell in zip(of_its_kind, cells, strict=True):
            column.append(cell)
            size += len(cell)
        if size > _PART:
            yield columns
            columns = [[] for _ in range(7)]
            size = 0
    yield columns
