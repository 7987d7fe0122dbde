"""Benchmark of the stores against the bare drivers underneath them, in one run.

Rule: figures are ratios against the bare driver on the same machine in the same run; nothing here
asserts. What counts as committed is durable, but for what is in memory.

    python -m benchmarks.stores [--seconds 1]

A bare driver runs the statements that a store needs, and nothing else: no lock that holds across
processes, no checksums, no rules. ``sqlite3, log emptied`` also moves its log into the file after
every commit; ours does after sixteen of a task that never lets the event loop come round.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    closing,
)
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final, Protocol

from e2ee.storage import Put, Store
from tests.support.postgres import PostgresServer, start_server
from tests.support.stores import made, opened

LENGTH = 512  # bytes of a value: a keychain, a ring of one key
PAGE = 1000  # rows, and as many has an account
ROWS = 3  # of a commit, as most operations make them
TASKS = 32  # at once, each on an account of its own
CONNECTIONS = 10
ROUNDS = 5

Rates = tuple[float, ...]
"""Commits, reads and pages a second, and commits a second of many tasks together."""


class Subject(Protocol):
    """What is measured."""

    async def commit(self, account: int, numbers: range, value: bytes) -> None:
        """Write rows of an account in one transaction."""

    async def get(self, account: int, number: int) -> None:
        """Read one row."""

    async def page(self, account: int) -> None:
        """Read all rows of an account, in order."""


Opener = Callable[[Path, PostgresServer], AbstractAsyncContextManager[Subject]]
"""Makes a subject in an empty folder or on a server, and opens it."""


class _Store:
    """A store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def commit(self, account: int, numbers: range, value: bytes) -> None:
        scope = (f"user{account}@capulet.lit",)
        async with self._store.exclusive(scope) as tx:
            await tx.commit([Put((*scope, "row", f"{number:08}"), value) for number in numbers])

    async def get(self, account: int, number: int) -> None:
        scope = (f"user{account}@capulet.lit",)
        async with self._store.exclusive(scope) as tx:
            value = await tx.get((*scope, "row", f"{number:08}"))
        check(len(value or b"") == LENGTH)

    async def page(self, account: int) -> None:
        scope = (f"user{account}@capulet.lit",)
        async with self._store.exclusive(scope) as tx:
            check(len(await tx.scan(scope, limit=PAGE)) == PAGE)


class _Sqlite3:
    """The standard library's sqlite3, with the settings of our store."""

    def __init__(self, connection: sqlite3.Connection, emptied: bool) -> None:
        self._connection = connection
        self._emptied = emptied
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
            "CREATE TABLE entry (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
        )

    async def commit(self, account: int, numbers: range, value: bytes) -> None:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        for number in numbers:
            run(
                "INSERT INTO entry VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (raw_key(account, number), value),
            )
        run("COMMIT")
        if self._emptied:
            run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    async def get(self, account: int, number: int) -> None:
        found = self._connection.execute(
            "SELECT value FROM entry WHERE key = ?", (raw_key(account, number),)
        )
        check([len(value) for (value,) in found.fetchall()] == [LENGTH])

    async def page(self, account: int) -> None:
        found = self._connection.execute(
            "SELECT key, value FROM entry WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
            (raw_key(account, 0), raw_key(account, 99_999_999), PAGE),
        )
        check(len(found.fetchall()) == PAGE)


class _Asyncpg:
    """The bare driver of PostgreSQL, with a pool."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def commit(self, account: int, numbers: range, value: bytes) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.executemany(
                "INSERT INTO bare VALUES ($1, $2) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [(raw_key(account, number), value) for number in numbers],
            )

    async def get(self, account: int, number: int) -> None:
        async with self._pool.acquire() as connection:
            query = "SELECT value FROM bare WHERE key = $1"
            value = await connection.fetchval(query, raw_key(account, number))
        check(len(value or b"") == LENGTH)

    async def page(self, account: int) -> None:
        async with self._pool.acquire() as connection:
            found = await connection.fetch(
                "SELECT key, value FROM bare WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3",
                *(raw_key(account, 0), raw_key(account, 99_999_999), PAGE),
            )
            check(len(found) == PAGE)


def raw_key(account: int, number: int) -> bytes:
    """Return a key of a bare driver."""
    return f"user{account}@capulet.lit\0row\0{number:08}\0".encode()


def check(right: bool) -> None:
    """Stop where a figure would be of something else."""
    if not right:
        raise SystemExit("other rows than were written")


@asynccontextmanager
async def store(kind: str, folder: Path, server: PostgresServer) -> AsyncIterator[Subject]:
    """Make and open a store of ours."""
    async with opened(await made(kind, folder, server.create_database)) as store:
        yield _Store(store)


@asynccontextmanager
async def bare_sqlite3(
    emptied: bool, folder: Path, server: PostgresServer
) -> AsyncIterator[Subject]:
    """Make and open a file with the bare sqlite3."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        yield _Sqlite3(connection, emptied)


@asynccontextmanager
async def bare_asyncpg(folder: Path, server: PostgresServer) -> AsyncIterator[Subject]:
    """Make and open a database with the bare asyncpg."""
    import asyncpg

    dsn = server.create_database()
    async with asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await pool.execute("CREATE TABLE bare (key bytea PRIMARY KEY, value bytea NOT NULL)")
        yield _Asyncpg(pool)


GROUPS: Final[tuple[dict[str, Opener], ...]] = (
    {
        "sqlite3, bare": partial(bare_sqlite3, False),
        "sqlite3, log emptied": partial(bare_sqlite3, True),
        "SqliteStore": partial(store, "sqlite"),
        "sealed SQLite": partial(store, "sealed-sqlite"),
        "guarded SQLite": partial(store, "guarded-sqlite"),
        "MemoryStore": partial(store, "memory"),
    },
    {
        "asyncpg, bare": bare_asyncpg,
        "PostgresStore": partial(store, "postgres"),
        "sealed PostgreSQL": partial(store, "sealed-postgres"),
    },
)
"""What is measured; in each group the others are told as ratios of the first."""


async def measure(group: dict[str, Subject], seconds: float) -> dict[str, Rates]:
    """Measure each of a group's rates for so long, in rounds: what slows a machine slows all."""
    for subject in group.values():
        for account in range(TASKS):
            await subject.commit(account, range(PAGE), bytes(LENGTH))
    rounds: dict[str, list[Rates]] = {name: [] for name in group}
    for _ in range(ROUNDS):
        for name, subject in group.items():
            rounds[name].append(await one_round(subject, seconds / ROUNDS))
    return {name: tuple(map(median, zip(*rates, strict=True))) for name, rates in rounds.items()}


async def one_round(subject: Subject, seconds: float) -> Rates:
    """Measure one subject, each of its rates for so long."""
    turns = count(int(time.monotonic() * 1000))

    async def commit(account: int) -> None:
        turn = next(turns)
        first = turn * ROWS % (PAGE - ROWS)
        value = turn.to_bytes(8, "big") * (LENGTH // 8)  # the same again would write nothing
        await subject.commit(account, range(first, first + ROWS), value)

    together = [rate(partial(commit, each), seconds) for each in range(TASKS)]
    return (
        await rate(lambda: commit(0), seconds),
        await rate(lambda: subject.get(0, next(turns) % PAGE), seconds),
        await rate(lambda: subject.page(0), seconds),
        sum(await asyncio.gather(*together)),
    )


async def rate(work: Callable[[], Awaitable[None]], seconds: float) -> float:
    """Return how often a second something can be done, after the first time."""
    await work()
    begun = time.perf_counter()
    for done in count(1):
        await work()
        if (lasted := time.perf_counter() - begun) >= seconds:
            return done / lasted
        await asyncio.sleep(0)  # what never waits would keep the other tasks out
    raise AssertionError


async def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each of the figures")
    seconds = parser.parse_args().seconds
    columns = ("commits/s", "gets/s", f"scans of {PAGE}/s", f"commits/s of {TASKS} tasks")
    print(f"{'':<22}" + "".join(f"{column:>26}" for column in columns))
    with (
        tempfile.TemporaryDirectory(prefix="b-") as files,
        tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as data,
        start_server(Path(data)) as server,
    ):
        for openers in GROUPS:
            async with AsyncExitStack() as stack:
                group = {}
                for name, opener in openers.items():
                    folder = Path(tempfile.mkdtemp(dir=files))
                    group[name] = await stack.enter_async_context(opener(folder, server))
                rates = await measure(group, seconds)
            bare = next(iter(rates.values()))
            for name, found in rates.items():
                pairs = zip(found, bare, strict=True)
                print(f"{name:<22}" + "".join(f"{x:>17.0f} (×{x / y:>5.2f})" for x, y in pairs))


if __name__ == "__main__":
    asyncio.run(main())
