"""SqliteStore: the default store, one SQLite file on the standard library's ``sqlite3``.

Rule: rows and transactions only; the file itself is made, checked and opened in ``sqlite_file.py``.

SQLite's write lock, taken when a block begins, keeps other processes out; ``Turns`` keeps the tasks
of this process in line before it. Nothing waits inside SQLite: a locked database is tried again,
with pauses in which the event loop runs.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.storage import Change, Key, Put, Transaction
from e2ee.stores.rows import AFTER_PREFIX, checksum, key_bytes, parse_key_bytes
from e2ee.stores.sqlite_file import check_schema, connect, translated
from e2ee.stores.turns import Turn, Turns, deadline, locked

__all__ = ["SqliteStore"]

_T = TypeVar("_T")

_FIRST_PAUSE: Final = 0.001  # seconds; about as long as a commit
_LONGEST_PAUSE: Final = 0.016  # seconds

_GET: Final = "SELECT key, value, checksum FROM entry WHERE key = ?"
_SCAN: Final = (
    "SELECT key, value, checksum FROM entry WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
)
_BEFORE: Final = "SELECT key, value, checksum FROM entry WHERE key < ? ORDER BY key DESC LIMIT 1"
_FROM: Final = "SELECT key, value, checksum FROM entry WHERE key >= ? ORDER BY key LIMIT 1"
_PUT: Final = (
    "INSERT INTO entry (key, value, checksum) VALUES (?, ?, ?) ON CONFLICT (key) "
    "DO UPDATE SET value = excluded.value, checksum = excluded.checksum"
)
_DELETE: Final = "DELETE FROM entry WHERE key = ?"


class SqliteStore:
    """``storage.Store`` in a SQLite file; make it with :meth:`open`.

    It belongs to one event loop of one process; after a fork, the child opens its own. Blocks take
    turns, whatever their scopes, across tasks and processes. Every row carries a checksum.

    What a block deletes or overwrites is gone from the file and its write-ahead log when the block
    has ended or, where another process was at work just then, after the next one. That makes four
    flushes of the disk out of one, which is why an operation commits once. What the file system
    and the disk keep is beyond our reach; and no checksum finds a row missing that was taken out
    whole, or a file that was replaced by an older copy of itself.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._database = _Database(connection)
        self._turns = Turns()

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the store at ``path``, made first (mode 0600) where there is none.

        The directory must exist, belong to this user or root, and not be writable by others.

        Raises:
            StoreFailed: ``store-forbidden`` when another user could read or replace the file;
                ``store-corrupt`` when it is damaged or no store; ``store-too-new`` when a later
                release wrote it; ``store-locked`` after a bounded wait; ``store-full`` or
                ``store-failed`` otherwise. Whatever was there is left as it was.
        """
        absolute = Path(path).absolute()
        return cls(await _unlocked(lambda: connect(absolute), deadline()))

    async def close(self) -> None:
        """Close the file, after the blocks that came before. A second call does nothing.

        Raises:
            ApiMisuse: this task is inside a block, or the process is a fork.
            StoreFailed: ``store-locked`` after a bounded wait for the other blocks.
        """
        if not self._database.closed:
            self._database.live()
            async with self._turns.take(()):
                self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @asynccontextmanager
    async def exclusive(self, scope: Key) -> AsyncIterator[Transaction]:
        """Open a transaction as the only writer; see ``storage.Store.exclusive``.

        Raises:
            ApiMisuse: this task is inside a block, the store is closed, or the process is a fork.
            StoreFailed: ``store-locked`` after a bounded wait; ``store-too-new`` when a later
                release has migrated the file meanwhile; ``store-forbidden`` when it is read-only.
        """
        self._database.live()  # or a fork would wait for a turn that ends in its parent
        async with self._turns.take(scope) as turn:
            await _unlocked(self._database.begin, turn.deadline)
            try:
                yield _SqliteTransaction(self._database, turn)
            finally:
                self._database.end()


class _SqliteTransaction:
    """Reads see one snapshot because nobody else can write."""

    def __init__(self, database: _Database, turn: Turn) -> None:
        self._database = database
        self._turn = turn

    async def get(self, key: Key) -> bytes | None:
        self._turn.check_get(key)
        raw_key = key_bytes(key)
        for _, value in self._database.rows(_GET, raw_key):
            return value
        self._check_around(raw_key, raw_key)
        return None

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        self._turn.check_scan(prefix, after, limit)
        start = first = key_bytes(prefix)
        if after is not None:
            first = max(start, key_bytes(after) + b"\x00")  # the least that is beyond ``after``
        end = start + AFTER_PREFIX
        page = self._database.rows(_SCAN, first, end, limit)
        self._check_around(first, end)
        return page

    async def commit(self, changes: Sequence[Change]) -> None:
        self._turn.finish(changes)
        self._database.commit(changes)

    def _check_around(self, start: bytes, end: bytes) -> None:
        """Make sure that no row is missing because its key was altered.

        Rows are in order (the file was checked when it was opened), so a row whose key was altered
        to lie outside is the next one outside.
        """
        self._database.rows(_BEFORE, start)
        self._database.rows(_FROM, end)


class _Database:
    """The connection, refused to forks, with its transaction and its write-ahead log."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._process = os.getpid()
        self._log_is_empty = False  # a process that was killed leaves its own behind

    def run(self, statement: str, *values: bytes | int) -> list[Any]:
        with translated():
            # To the end, because an unfinished statement would hold the log.
            return self.live().execute(statement, values).fetchall()

    def rows(self, statement: str, *values: bytes | int) -> list[tuple[Key, bytes]]:
        return [_intact(*row) for row in self.run(statement, *values)]

    def begin(self) -> None:
        # Deferred, a transaction would be refused its first write after somebody else's commit.
        self.run("BEGIN IMMEDIATE")
        try:
            with translated():
                check_schema(self.live())
        except StoreFailed:
            self.run("ROLLBACK")
            raise

    def commit(self, changes: Sequence[Change]) -> None:
        self._log_is_empty = False
        for change in changes:
            raw_key = key_bytes(change.key)
            if isinstance(change, Put):
                self.run(_PUT, raw_key, change.value, checksum(raw_key, change.value))
            else:
                self.run(_DELETE, raw_key)
        self.run("COMMIT")

    def end(self) -> None:
        """Undo what was not committed, and move what was from the log to the file."""
        if self.live().in_transaction:
            self.run("ROLLBACK")
        if not self._log_is_empty:
            # The commit is durable whatever happens here; what fails is tried again next time.
            with suppress(StoreFailed):
                [(busy, _, _)] = self.run("PRAGMA wal_checkpoint(TRUNCATE)")
                self._log_is_empty = not busy

    def close(self) -> None:
        if not self.closed:
            self.end()
            self.live().close()
            self._connection = None

    @property
    def closed(self) -> bool:
        return self._connection is None

    def live(self) -> sqlite3.Connection:
        """Return the connection while it may be used."""
        if self._connection is None:
            raise ApiMisuse("the store is closed")
        if os.getpid() != self._process:
            raise ApiMisuse("the store was opened before this process was forked; open it anew")
        return self._connection


def _intact(raw_key: object, value: object, written: object) -> tuple[Key, bytes]:
    if (
        isinstance(raw_key, bytes)
        and isinstance(value, bytes)
        and written == checksum(raw_key, value)
    ):
        return parse_key_bytes(raw_key), value
    raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored row was altered")


async def _unlocked(attempt: Callable[[], _T], until: float) -> _T:
    """Call ``attempt`` until no other process has the database locked."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return attempt()
        except StoreFailed as failure:
            if failure.code is not ErrorCode.STORE_LOCKED:
                raise
        if asyncio.get_running_loop().time() + pause > until:
            raise locked()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
