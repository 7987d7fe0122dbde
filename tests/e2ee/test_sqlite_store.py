"""What the SQLite store does beyond the contract: full disks, locks, and what it erases."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from shutil import copyfile
from tempfile import TemporaryDirectory

import pytest

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.storage import Change, Key, Put, Remove
from e2ee.stores import turns
from e2ee.stores.sqlite import SqliteStore
from tests.support.cancellation import cancel_at
from tests.support.peers import require_program
from tests.support.source import ROOT

ME = ("juliet@capulet.lit",)
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with await SqliteStore.open(path) as opened:
        yield opened


async def put(store: SqliteStore, **values: bytes) -> None:
    async with store.exclusive(ME) as transaction:
        await transaction.commit([Put((*ME, name), value) for name, value in values.items()])


async def read(store: SqliteStore) -> dict[str, bytes]:
    async with store.exclusive(ME) as transaction:
        return {key[-1]: value for key, value in await transaction.scan(ME)}


async def refusal(store: SqliteStore, **values: bytes) -> ErrorCode:
    with pytest.raises(StoreFailed) as failure:
        await put(store, **values)
    return failure.value.code


@contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """Lock the database as another process would."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@contextmanager
def unprivileged(directory: str) -> Iterator[None]:
    """Be somebody whom permissions bind; root is not."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(directory, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_closed_store_refuses_and_closes_once(path: Path) -> None:
    store = await SqliteStore.open(path)
    async with store.exclusive(ME):
        with pytest.raises(ApiMisuse):
            await store.close()
    await store.close()
    await store.close()
    with pytest.raises(ApiMisuse):
        await put(store, a=b"1")


async def test_closing_waits_for_the_block_before(path: Path) -> None:
    store = await SqliteStore.open(path)
    async with store.exclusive(ME) as transaction:
        closing_task = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        await transaction.commit([Put((*ME, "a"), b"1")])
    await closing_task
    async with await SqliteStore.open(path) as again:
        assert await read(again) == {"a": b"1"}


# -- full disks, failing disks, disks that only read


async def test_r_03_a_full_disk_keeps_what_was_and_works_again(store: SqliteStore) -> None:
    await put(store, a=b"old")
    store._database.run("PRAGMA max_page_count = 5")
    assert await refusal(store, a=b"new", b=bytes(100_000)) is ErrorCode.STORE_FULL
    assert await read(store) == {"a": b"old"}
    await put(store, a=b"small")
    store._database.run("PRAGMA max_page_count = 1000")
    await put(store, a=b"new", b=bytes(100_000))
    assert await read(store) == {"a": b"new", "b": bytes(100_000)}


@pytest.mark.parametrize("limit", [0, 4096, 20_000, 60_000])
async def test_r_03_a_failing_write_keeps_what_was_and_works_again(
    store: SqliteStore, path: Path, limit: int
) -> None:
    await put(store, a=b"old")
    await asyncio.sleep(0)  # with an old commit in the log, what failed cannot always be undone
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        assert await refusal(store, a=b"new", b=bytes(100_000)) is ErrorCode.STORE_FAILED
        assert await read(store) == {"a": b"old"}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await read(store) == {"a": b"old"}
    await put(store, a=b"new")
    async with await SqliteStore.open(path) as again:
        assert await read(again) == {"a": b"new"}


async def test_r_03_what_becomes_read_only_keeps_what_was_and_works_again(
    store: SqliteStore,
) -> None:
    await put(store, a=b"old")
    store._database.run("PRAGMA query_only = ON")
    assert await refusal(store, a=b"new") is ErrorCode.STORE_FORBIDDEN
    store._database.run("PRAGMA query_only = OFF")
    assert await read(store) == {"a": b"old"}
    await put(store, a=b"new")


async def test_r_03_a_directory_that_is_read_only_is_refused_and_kept() -> None:
    with TemporaryDirectory() as directory, unprivileged(directory):
        path = Path(directory, "store.db")
        async with await SqliteStore.open(path) as store:
            await put(store, a=b"1")
        path.parent.chmod(0o500)
        for attempt in (path, path.with_name("new.db")):
            with pytest.raises(StoreFailed) as failure:
                async with await SqliteStore.open(attempt) as store:
                    await put(store, a=b"2")
            assert failure.value.code is ErrorCode.STORE_FORBIDDEN
        path.parent.chmod(0o700)
        assert [found.name for found in path.parent.iterdir()] == ["store.db"]
        async with await SqliteStore.open(path) as store:
            assert await read(store) == {"a": b"1"}


PUT_AND_BE_KILLED = """
import asyncio, os, sys
from e2ee.errors import StoreFailed
from e2ee.storage import Put
from e2ee.stores.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(sys.argv[1])
    try:
        async with store.exclusive(()) as transaction:
            await transaction.commit([Put(("juliet@capulet.lit", "a"), b"new")])
        os.write(1, b"kept")
    except StoreFailed as failure:
        os.write(1, failure.code.value.encode())
    os._exit(0)
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("truncating", [True, False])
async def test_r_03_a_commit_whose_flush_fails_is_undone_or_said_to_be_uncertain(
    path: Path, truncating: bool
) -> None:
    """Its frames lie whole in the log, where the next process would find them."""
    strace = require_program("strace")
    broken = [] if truncating else ["-e", "inject=ftruncate:error=EIO"]
    outcomes: set[str] = set()
    for number in range(1, 6):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"store.db{suffix}").unlink(missing_ok=True)
        async with await SqliteStore.open(path) as store:
            await put(store, a=b"old")
        traced = subprocess.run(
            [
                *(strace, "-f", "-qq", "-o", os.devnull, "-P", f"{path}-wal"),
                *("-e", "trace=fdatasync,ftruncate"),
                *("-e", f"inject=fdatasync:error=EIO:when={number}+", *broken),
                *(sys.executable, "-c", PUT_AND_BE_KILLED, str(path)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        outcome = traced.stdout.decode()
        outcomes.add(outcome)
        async with await SqliteStore.open(path) as store:
            found = await read(store)
        if outcome != ErrorCode.STORE_UNCERTAIN:
            assert found == {"a": b"new" if outcome == "kept" else b"old"}
    doubt = {ErrorCode.STORE_FAILED if truncating else ErrorCode.STORE_UNCERTAIN}
    assert outcomes == {"kept", *doubt}


async def test_r_03_after_an_uncertain_commit_the_log_is_emptied_first(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, a=b"old")
    database = store._database
    run = database.run

    def failing(statement: str) -> list[object]:
        if statement == "COMMIT":
            raise StoreFailed(ErrorCode.STORE_FAILED, "injected")
        if "checkpoint" in statement:
            raise StoreFailed(ErrorCode.STORE_FAILED, "injected as well")
        return run(statement)

    monkeypatch.setattr(database, "run", failing)
    assert await refusal(store, a=b"new") is ErrorCode.STORE_UNCERTAIN
    assert await refusal(store, a=b"new") is ErrorCode.STORE_FAILED  # the block did not begin
    monkeypatch.undo()
    assert await read(store) == {"a": b"old"}
    await put(store, a=b"new")
    assert await read(store) == {"a": b"new"}


# -- another process has the database


async def test_r_06_a_wait_for_another_process_is_bounded_and_blocks_nothing(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    await put(store, a=b"1")
    monkeypatch.setattr(turns, "_LOCK_WAIT", 0.02)
    ticking = asyncio.create_task(tick())
    with held(path):
        assert await refusal(store, a=b"2") is ErrorCode.STORE_LOCKED
    ticking.cancel()
    assert ticks > 10
    assert await read(store) == {"a": b"1"}


async def test_r_06_tasks_that_never_pause_leave_another_process_its_turn(
    store: SqliteStore, path: Path
) -> None:
    """The other one only asks now and then whether the database is free."""
    blocks = 0
    done = asyncio.Event()

    async def never_pause() -> None:
        nonlocal blocks
        while not done.is_set() and blocks < 500:
            async with store.exclusive(ME):
                await asyncio.sleep(0.02)
                blocks += 1

    async with await SqliteStore.open(path) as other, asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(never_pause())
        await put(other, a=b"1")
        done.set()
    assert blocks < 500


@pytest.mark.parametrize("replacement", ["nothing", "a copy", "another store"])
async def test_r_05_a_file_that_was_replaced_while_it_was_open_is_refused(
    store: SqliteStore, path: Path, replacement: str
) -> None:
    """Commits would be acknowledged, and go where nobody looks."""
    await put(store, a=b"1")
    copy = path.with_name("copy.db")
    copyfile(path, copy)
    copy.chmod(0o600)
    path.unlink()
    if replacement == "a copy":
        copy.replace(path)
    elif replacement == "another store":
        await (await SqliteStore.open(path)).close()
    before = path.read_bytes() if path.exists() else None
    assert await refusal(store, a=b"2") is ErrorCode.STORE_CORRUPT
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
async def test_r_14_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ApiMisuse):
        await SqliteStore.open(f"{tmp_path}/{name}")


async def test_r_06_opening_waits_for_another_process_but_not_for_ever(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, a=b"1")
    await store.close()
    monkeypatch.setattr(turns, "_LOCK_WAIT", 0.02)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreFailed) as failure:
            await SqliteStore.open(path)
        assert failure.value.code is ErrorCode.STORE_LOCKED
    async with await SqliteStore.open(path) as again:
        assert await read(again) == {"a": b"1"}


async def test_r_06_a_block_begins_as_soon_as_the_other_process_has_ended_its_own(
    store: SqliteStore, path: Path
) -> None:
    with held(path):
        waiting = asyncio.create_task(put(store, a=b"1"))
        await asyncio.sleep(0.005)
        assert not waiting.done()
    await waiting
    assert await read(store) == {"a": b"1"}


async def test_r_11_cancellation_while_another_process_is_inside_leaves_nothing_open(
    store: SqliteStore, path: Path
) -> None:
    await put(store, a=b"1")
    for step in range(4):
        with held(path):
            waiting = asyncio.create_task(cancel_at(put(store, a=b"2"), step))
            await asyncio.wait([waiting])
            assert waiting.cancelled()
        with held(path):
            assert not store._database.live().in_transaction
    assert await read(store) == {"a": b"1"}


# -- what is deleted is gone


async def erase(store: SqliteStore, path: Path, random: Random, blocks: int) -> None:
    """Write, overwrite and remove; after every block, look for what must be gone."""
    alive: dict[Key, bytes] = {}
    dead: list[bytes] = []
    for _ in range(blocks):
        changes: dict[Key, Change] = {}
        for _ in range(random.randrange(1, 6)):
            key = (*ME, random.choice("abcdefghijkl"), "x" * random.randrange(3))
            if (old := alive.pop(key, None)) is not None:
                dead.append(old[:16])
            changes[key] = Remove(key)
            if random.randrange(3):
                # Sixteen bytes again and again, so that the smallest remainder shows.
                alive[key] = random.randbytes(16) * random.choice((1, 2, 30, 70, 200, 900))
                changes[key] = Put(key, alive[key])
        async with store.exclusive(ME) as transaction:
            await transaction.commit(list(changes.values()))
        await asyncio.sleep(0)
        files = b"".join(found.read_bytes() for found in path.parent.iterdir())
        assert all(value[:16] in files for value in alive.values())
        assert not [secret for secret in dead if secret in files]
    assert dead


async def test_r_08_what_a_block_deletes_or_overwrites_is_in_no_file(
    store: SqliteStore, path: Path
) -> None:
    await erase(store, path, Random(8), 150)  # with values in the entries, copies were left behind


@pytest.mark.soak
async def test_r_08_what_many_blocks_delete_or_overwrite_is_in_no_file(
    store: SqliteStore, path: Path, soak_random: Random
) -> None:
    await erase(store, path, soak_random, 10_000)


async def test_r_08_what_a_busy_task_deletes_stays_for_few_blocks(
    store: SqliteStore, path: Path
) -> None:
    secret = Random(8).randbytes(16)
    blocks = 0
    await put(store, a=secret)
    await put(store, a=b"")
    while any(secret in found.read_bytes() for found in path.parent.iterdir()):
        await put(store, b=b"%d" % blocks)  # never lets the event loop come round
        blocks += 1
    assert blocks <= 16


async def test_r_08_blocks_of_many_tasks_leave_nothing_behind(
    store: SqliteStore, path: Path
) -> None:
    secret = Random(8).randbytes(16)

    async def busy(name: str) -> None:
        for _ in range(5):
            async with store.exclusive(ME) as transaction:
                await asyncio.sleep(0)  # the event loop comes round inside the block
                await transaction.commit([Put((*ME, name), secret)])
            await put(store, **{name: b""})

    await asyncio.gather(*map(busy, "abcdefgh"))
    await asyncio.sleep(0)
    assert not [found for found in path.parent.iterdir() if secret in found.read_bytes()]


async def test_r_08_what_a_failed_commit_wrote_is_in_no_file(
    store: SqliteStore, path: Path
) -> None:
    secret = Random(8).randbytes(16)
    store._database.run("PRAGMA cache_size = 5")  # writes to the log before the commit
    store._database.run("PRAGMA max_page_count = 40")
    assert await refusal(store, a=secret * 3000, b=secret * 9000) is ErrorCode.STORE_FULL
    await asyncio.sleep(0)
    assert not [found for found in path.parent.iterdir() if secret in found.read_bytes()]


async def test_r_08_what_another_process_hindered_is_made_good(
    store: SqliteStore, path: Path
) -> None:
    secret = Random(8).randbytes(16)
    log = path.with_name("store.db-wal")
    await put(store, a=secret)
    await asyncio.sleep(0)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM entry").fetchall()  # a snapshot that needs the log
        await put(store, a=b"")
        await asyncio.sleep(0)
        assert secret in path.read_bytes() + log.read_bytes()
    await read(store)
    await asyncio.sleep(0)
    assert secret not in path.read_bytes() + log.read_bytes()


async def test_r_08_what_another_process_hindered_is_made_good_by_whoever_comes_next(
    store: SqliteStore, path: Path
) -> None:
    secret = Random(8).randbytes(16)
    log = path.with_name("store.db-wal")
    await put(store, a=secret)
    async with await SqliteStore.open(path) as other:
        await read(other)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM entry").fetchall()
            await put(store, a=b"")
            await asyncio.sleep(0)
        assert secret in path.read_bytes() + log.read_bytes()
        await read(other)
        await asyncio.sleep(0)
        assert secret not in path.read_bytes() + log.read_bytes()
