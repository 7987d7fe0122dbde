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
from e2ee.search import Document, Forgotten, Hit, Query, SearchTransaction
from e2ee.storage import Change, Key
from e2ee.stores.rows import AFTER_PREFIX, key_bytes
from e2ee.stores.sqlite_errors import translated
from e2ee.stores.sqlite_file import OpenFile, open_file
from e2ee.stores.sqlite_rows import change_rows, read_row, read_rows
from e2ee.stores.sqlite_schema import check_same_schema
from e2ee.stores.sqlite_search import list_documents, put_documents, search_documents
from e2ee.stores.turns import Turn, Turns, deadline, locked

__all__ = ["SqliteStore"]

_T = TypeVar("_T")

_FIRST_PAUSE: Final = 0.001  # seconds; about as long as a commit
_LONGEST_PAUSE: Final = 0.004  # seconds
_LONGEST_STINT: Final = 0.25  # seconds of one block after the other
_MAX_LOGGED_BLOCKS: Final = 16  # how much a busy task may leave in the log; a flush costs a commit


class SqliteStore:
    """``storage.Store`` in a SQLite file; make it with :meth:`open`.

    It belongs to one event loop of one process; after a fork, the child opens its own. Blocks take
    turns, whatever their scopes, across tasks and processes. Every value carries a checksum, and
    every row a link to the next, so that damage and missing rows are found where they are read.

    A value that a block deletes or overwrites is gone from the file and its write-ahead log when
    the event loop comes round after the block: the task that ended it goes on, and sends what it
    has to send, before the flushes that this takes. A task that never lets the loop come round
    empties the log with every sixteenth block, and where another process was at work just then,
    it is emptied after the next block. What is beyond reach: what the file system and the disk
    keep; the names of deleted rows, which may stay in unused bytes of the file; and an older copy
    in the place of the file when it is opened, or a log that is not its own. The file never
    shrinks; a copy of the store is as small as can be.
    """

    searchable: Final = True

    def __init__(self, file: OpenFile) -> None:
        self._database = _Database(file)
        self._turns = Turns()
        self._stint = (0.0, 0.0)  # when blocks without a pause between began, and the last ended
        self._logged = 0  # blocks since the log was emptied

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the store at ``path``, made first (mode 0600) where there is none.

        The directory must exist, belong to this user or root, and not be writable by others; none
        above it may be writable by everybody, but for those with the sticky bit. A store of an
        earlier release is brought to the present schema at once, after which that release refuses
        it; this rewrites the file and may take seconds for 100,000 rows.

        Raises:
            ApiMisuse: no file can have that name.
            StoreFailed: ``store-forbidden`` when another user could read or replace the file, or
                it cannot be written to; ``store-corrupt`` when it is damaged or no store;
                ``store-too-new`` when a later release wrote it; ``store-locked`` after a bounded
                wait; ``store-full`` or ``store-failed`` otherwise. Whatever was there is left as
                it was.
        """
        try:
            absolute = Path(os.fsdecode(os.fsencode(path))).absolute()
        except ValueError:  # a lone surrogate
            raise ApiMisuse("no file can have the name of this store") from None
        if "\0" in str(absolute):
            raise ApiMisuse("no file can have the name of this store")
        return cls(await _unlocked(lambda: open_file(absolute), deadline()))

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
    async def exclusive(self, scope: Key) -> AsyncIterator[SearchTransaction]:
        """Open a transaction as the only writer; see ``storage.Store.exclusive``.

        Raises:
            ApiMisuse: this task is inside a block, the store is closed, or the process is a fork.
            StoreFailed: ``store-locked`` after a bounded wait; ``store-too-new`` when a later
                release has migrated the file meanwhile; ``store-corrupt`` when it was removed, or
                replaced by another one; ``store-forbidden`` when it is read-only.
        """
        self._database.live()  # or a fork would wait for a turn that ends in its parent
        async with self._turns.take(scope) as turn:
            await self._give_way()
            await _unlocked(self._database.begin, turn.deadline)
            try:
                yield _SqliteTransaction(self._database, turn, scope)
            finally:
                self._database.undo()
                self._empty_log_soon()
                self._stint = (self._stint[0], asyncio.get_running_loop().time())

    def _empty_log_soon(self) -> None:
        """Empty the log when the event loop comes round, or now when it has not for long."""
        self._logged += 1
        if self._logged < _MAX_LOGGED_BLOCKS:
            asyncio.get_running_loop().call_soon(self._empty_log)
        else:
            self._empty_log()

    def _empty_log(self) -> None:
        # Inside another task's block it would be refused; the end of that block comes here, too.
        if self._logged and self._database.is_idle():
            self._logged = 0
            # The commits are durable whatever happens here; what fails is tried again next time.
            with suppress(StoreFailed):
                self._database.empty_log()

    async def _give_way(self) -> None:
        """Pause now and then between blocks, or the tasks here would leave other processes none."""
        now = asyncio.get_running_loop().time()
        began, ended = self._stint
        if now - ended > _LONGEST_PAUSE:
            self._stint = (now, now)
        elif now - began > _LONGEST_STINT:
            await asyncio.sleep(2 * _LONGEST_PAUSE)
            now = asyncio.get_running_loop().time()
            self._stint = (now, now)


class _SqliteTransaction:
    """Reads see one snapshot because nobody else can write."""

    def __init__(self, database: _Database, turn: Turn, scope: Key) -> None:
        self._database = database
        self._turn = turn
        self._scope = scope

    async def get(self, key: Key) -> bytes | None:
        self._turn.check_get(key)
        return self._database.read(key_bytes(key))

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        self._turn.check_scan(prefix, after, limit)
        return self._database.read_page(*_range(prefix, after), limit)

    async def commit(
        self, changes: Sequence[Change], documents: Sequence[Document | Forgotten] = ()
    ) -> None:
        self._database.commit(*self._turn.finish_indexed(changes, documents))

    async def search(
        self, query: Query, limit: int = 20, after: Hit | None = None
    ) -> Sequence[Hit]:
        self._turn.check_search(query, limit, after)
        return self._database.search(query, *_range(self._scope), limit, after)

    async def documents(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[Document]:
        self._turn.check_scan(prefix, after, limit)
        return self._database.documents(*_range(prefix, after), limit)


def _range(prefix: Key, after: Key | None = None) -> tuple[bytes, bytes]:
    """Return from where and up to where the keys lie that begin so, beyond ``after``."""
    first = start = key_bytes(prefix)
    if after is not None:
        first = max(start, key_bytes(after) + b"\x00")  # the least that is beyond ``after``
    return first, start + AFTER_PREFIX


class _Database:
    """The connection, refused to forks, with its transaction and its write-ahead log."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = file.connection
        self._process = os.getpid()
        self._in_doubt = False

    def begin(self) -> None:
        """Begin a transaction as the only one that may write."""
        if self._in_doubt:
            self.empty_log()
            self._in_doubt = False
        # Deferred, a transaction would be refused its first write after somebody else's commit.
        self.run("BEGIN IMMEDIATE")
        try:
            with translated():
                self._file.check_same()
                check_same_schema(self.live())
        except StoreFailed:
            self.run("ROLLBACK")
            raise

    def read(self, raw_key: bytes) -> bytes | None:
        with translated():
            return read_row(self.live(), raw_key)

    def read_page(self, first: bytes, end: bytes, limit: int) -> list[tuple[Key, bytes]]:
        with translated():
            return read_rows(self.live(), first, end, limit)

    def search(
        self, query: Query, first: bytes, end: bytes, limit: int, after: Hit | None
    ) -> list[Hit]:
        with translated():
            return search_documents(self.live(), query, first, end, limit, after)

    def documents(self, first: bytes, end: bytes, limit: int) -> list[Document]:
        with translated():
            return list_documents(self.live(), first, end, limit)

    def commit(self, changes: Sequence[Change], documents: Sequence[Document | Forgotten]) -> None:
        with translated():
            change_rows(self.live(), changes)
            put_documents(self.live(), documents)
        try:
            self.run("COMMIT")
        except StoreFailed as failure:
            if failure.code is ErrorCode.STORE_FAILED:
                self._disown()
            raise

    def undo(self) -> None:
        """Undo what was not committed."""
        if self.live().in_transaction:
            self.run("ROLLBACK")

    def is_idle(self) -> bool:
        """Return whether it may be used here, and no block is open."""
        if self._connection is None or os.getpid() != self._process:
            return False
        return not self._connection.in_transaction

    def close(self) -> None:
        if not self.closed:
            self.undo()
            with suppress(StoreFailed):
                self.empty_log()
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

    def run(self, statement: str) -> list[Any]:
        with translated():
            # To the end, because an unfinished statement would hold the log.
            return self.live().execute(statement).fetchall()

    def _disown(self) -> None:
        """Make sure that a commit whose flush failed is not found in the log after a crash.

        Raises:
            StoreFailed: ``store-uncertain`` when the log cannot be emptied. The next block begins
                only when it can.
        """
        try:
            if self.live().in_transaction:
                self.run("ROLLBACK")
            self.empty_log()
        except StoreFailed:
            self._in_doubt = True
            raise StoreFailed(
                ErrorCode.STORE_UNCERTAIN, "a commit failed, and could not be undone for certain"
            ) from None

    def empty_log(self) -> None:
        """Move what is in the log to the file, and cut the log to nothing.

        Raises:
            StoreFailed: ``store-locked`` when another process is at work; others as they come.
        """
        [(busy, _, _)] = self.run("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise locked()


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
