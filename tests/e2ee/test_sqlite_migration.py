"""Stores of earlier schemas: every frozen sample opens, whole, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key, Put
from e2ee.stores.rows import checksum, key_bytes
from e2ee.stores.sqlite import SqliteStore
from e2ee.stores.sqlite_file import schema_of_file
from e2ee.stores.sqlite_schema import NEWEST_SCHEMA
from tests.frozen.sqlite import rows, sample
from tests.support.peers import require_program
from tests.support.source import ROOT

SCHEMAS = range(1, NEWEST_SCHEMA + 1)
CHANGING_CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink")
ENOUGH = 1000  # calls of one kind in a migration, and more
OPEN = """
import asyncio, sys
from e2ee.errors import StoreFailed
from e2ee.stores.sqlite import SqliteStore
async def main():
    try:
        async with await SqliteStore.open(sys.argv[1]):
            pass
    except StoreFailed as failure:
        print(failure.code.value, end="")
asyncio.run(main())
"""


def thaw(path: Path, schema: int = 1) -> Path:
    shutil.copyfile(sample(schema), path)
    path.chmod(0o600)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return thaw(tmp_path / "store.db")


async def everything(path: Path) -> dict[Key, bytes]:
    async with await SqliteStore.open(path) as store, store.exclusive(()) as transaction:
        return dict(await transaction.scan(()))


async def refusal(path: Path) -> ErrorCode:
    with pytest.raises(StoreFailed) as failure:
        await SqliteStore.open(path)
    return failure.value.code


def schema_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(schema,)] = connection.execute("PRAGMA user_version").fetchall()
        return int(schema)


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_r_09_every_frozen_store_opens_with_exactly_its_content(
    tmp_path: Path, schema: int
) -> None:
    path = thaw(tmp_path / "store.db", schema)
    assert schema_of(path) == schema
    assert schema_of_file(path) == schema
    async with await SqliteStore.open(path) as store, store.exclusive(()) as transaction:
        for key, value in rows().items():
            assert await transaction.get(key) == value
        assert list(await transaction.scan(())) == sorted(rows().items())
        await transaction.commit([Put(("new",), b"1")])
    assert schema_of(path) == NEWEST_SCHEMA
    assert await everything(path) == {**rows(), ("new",): b"1"}
    assert [found.name for found in tmp_path.iterdir()] == ["store.db"]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_to_ask_for_the_schema_changes_nothing(tmp_path: Path, schema: int) -> None:
    path = thaw(tmp_path / "store.db", schema)
    assert schema_of_file(path) == schema
    assert path.read_bytes() == sample(schema).read_bytes()


async def test_a_migrated_store_is_like_a_new_one(path: Path, tmp_path: Path) -> None:
    await everything(path)
    new = tmp_path / "new.db"
    await everything(new)
    tables = []
    for store in (path, new):
        with closing(sqlite3.connect(store)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            tables.append(
                connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
            )
    assert tables[0] == tables[1]


async def test_an_empty_store_of_the_first_schema_is_migrated(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM entry")
    assert await everything(path) == {}
    assert schema_of(path) == NEWEST_SCHEMA


async def test_what_a_killed_process_left_in_the_log_is_migrated_too(path: Path) -> None:
    row = (key_bytes(("late",)), b"1", checksum(key_bytes(("late",)), b"1"))
    program = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        f"connection.execute('INSERT INTO entry VALUES (?, ?, ?)', {row!r})\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert path.with_name("store.db-wal").exists()
    assert await everything(path) == {**rows(), ("late",): b"1"}


async def test_r_09_a_release_that_has_the_store_open_finds_it_newer(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as earlier:
        assert earlier.execute("SELECT count(*) FROM entry").fetchall() == [(len(rows()),)]
        assert await everything(path) == rows()
        earlier.execute("BEGIN IMMEDIATE")  # what every release asks first inside a block
        assert earlier.execute("PRAGMA user_version").fetchall() == [(NEWEST_SCHEMA,)]


async def test_r_06_opening_waits_for_the_block_of_an_earlier_release(path: Path) -> None:
    row = (key_bytes(("late",)), b"1", checksum(key_bytes(("late",)), b"1"))
    with closing(sqlite3.connect(path, isolation_level=None)) as earlier:
        earlier.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(everything(path))
        await asyncio.sleep(0.01)
        assert not opening.done()
        earlier.execute("INSERT INTO entry VALUES (?, ?, ?)", row)
        earlier.execute("COMMIT")
        assert await opening == {**rows(), ("late",): b"1"}


DAMAGES = {
    "another value": "UPDATE entry SET value = x'32' WHERE key = ?",
    "another checksum": "UPDATE entry SET checksum = zeroblob(16) WHERE key = ?",
    "a value as a number": "UPDATE entry SET value = 1 WHERE key = ?",
    "a value as text": "UPDATE entry SET value = CAST(value AS TEXT) WHERE key = ?",
    "another key": "UPDATE entry SET key = x'' WHERE key = ?",
    "a key as a number": "UPDATE entry SET key = 7 WHERE key = ?",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_r_04_a_damaged_store_is_refused_before_it_is_migrated(
    path: Path, damage: str
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage, (key_bytes(("romeo@montague.lit", "log", "7")),))
    before = path.read_bytes()
    assert await refusal(path) is ErrorCode.STORE_CORRUPT
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == ["store.db"]


@pytest.mark.parametrize("limit", [0, 4096, 50_000, 100_000])
async def test_r_03_a_migration_that_fails_changes_nothing(path: Path, limit: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        assert await refusal(path) is ErrorCode.STORE_FAILED
        assert path.read_bytes() == sample(1).read_bytes()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await everything(path) == rows()


@pytest.mark.slow
async def test_r_06_several_processes_migrate_once(path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    for process in processes:
        assert process.communicate()[0] == b""
        assert process.returncode == 0
    assert schema_of(path) == NEWEST_SCHEMA
    assert await everything(path) == rows()


@pytest.mark.slow
@pytest.mark.parametrize("call", CHANGING_CALLS)
async def test_r_01_a_migration_killed_at_any_system_call_is_wholly_done_or_not_at_all(
    path: Path, call: str
) -> None:
    strace = require_program("strace")
    for number in range(1, ENOUGH):
        thaw(path)
        done = await inject(strace, path, call, f"signal=KILL:when={number}")
        assert schema_of_copy(path) in (1, NEWEST_SCHEMA)
        assert await everything(path) == rows()
        if done is not None:
            assert done == ""
            break
    else:
        pytest.fail("it was never let live")


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "fsync", "ftruncate"])
async def test_r_03_a_migration_on_a_failing_disk_is_wholly_done_or_not_at_all(
    path: Path, call: str, error: str
) -> None:
    strace = require_program("strace")
    refusals = {"", ErrorCode.STORE_FAILED.value}
    if (call, error) == ("pwrite64", "ENOSPC"):
        refusals.add(ErrorCode.STORE_FULL.value)
    for number in range(1, ENOUGH):
        thaw(path)
        done = await inject(strace, path, call, f"error={error}:when={number}+")
        assert done in refusals
        assert schema_of_copy(path) in (1, NEWEST_SCHEMA)
        assert await everything(path) == rows()
        if done == "":
            break
    else:
        pytest.fail("it was never let through")


async def inject(strace: str, path: Path, call: str, fault: str) -> str | None:
    """Open the store under a fault; return the error's code, empty without one; None if killed."""
    traced = await asyncio.create_subprocess_exec(
        *(strace, "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"),
        *("-e", f"inject={call}:{fault}", sys.executable, "-c", OPEN, str(path)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    output, _ = await traced.communicate()
    return output.decode() if traced.returncode == 0 else None


def schema_of_copy(path: Path) -> int:
    """Return the schema that would be found, but leave the files to be found by others."""
    copy = path.with_name("copy")
    copy.mkdir(exist_ok=True)
    for suffix in ("", "-wal"):
        found = path.with_name(f"{path.name}{suffix}")
        if found.exists():
            shutil.copyfile(found, copy / found.name)
    schema = schema_of(copy / path.name)
    shutil.rmtree(copy)
    return schema
