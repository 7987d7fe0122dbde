"""Which files a SQLite store opens, which it refuses, and how it makes its own."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Put
from e2ee.stores.sqlite import SqliteStore
from e2ee.stores.sqlite_schema import NEWEST_SCHEMA
from tests.support.sqlite_files import ME, ROWS, contents, fill, read, refusal, unfinished

OTHER_USER = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == 0o777 and os.geteuid() != 0:
        pytest.skip("under such a umask only root can make a directory that it can use")
    before = os.umask(request.param)
    yield
    os.umask(before)


async def test_a_store_is_made_once_and_opened_again(path: Path) -> None:
    await fill(path)
    assert await read(path) == ROWS
    assert [found.name for found in path.parent.iterdir()] == ["store.db"]


async def test_a_relative_path_is_fixed_when_the_store_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    await fill(Path("a store?mode=ro#%00"))
    assert [found.name for found in path.parent.iterdir()] == ["a store?mode=ro#%00"]


async def test_r_06_a_store_that_another_process_makes_first_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path)
    monkeypatch.setattr(os.path, "lexists", lambda path: False)  # it was not there just before
    assert await read(path) == ROWS
    assert [found.name for found in path.parent.iterdir()] == ["store.db"]


@pytest.mark.usefixtures("umask")
async def test_r_07_every_file_is_for_this_user_alone(path: Path) -> None:
    async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
        await transaction.commit([Put((*ME, "a"), b"1")])
        modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-shm": 0o600, "store.db-wal": 0o600}


def symlinked(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.db")


def log_symlinked(path: Path) -> None:
    path.with_name("store.db-wal").symlink_to("elsewhere")


def log_readable(path: Path) -> None:
    path.with_name("store.db-wal").touch(mode=0o644)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


def group_readable(path: Path) -> None:
    path.chmod(0o640)


def others_writable(path: Path) -> None:
    path.chmod(0o602)


def read_only(path: Path) -> None:
    path.chmod(0o400)


def directory_of_the_group(path: Path) -> None:
    path.parent.chmod(0o770)


def directory_of_everybody(path: Path) -> None:
    path.parent.chmod(0o1777)


def hard_linked(path: Path) -> None:
    path.with_name("second.db").hardlink_to(path)


def owned_by_another(path: Path) -> None:
    os.chown(path, OTHER_USER, -1)


def directory_owned_by_another(path: Path) -> None:
    os.chown(path.parent, OTHER_USER, -1)


@pytest.mark.parametrize(
    "expose",
    [
        symlinked, dangling, log_symlinked, log_readable, pipe, folder, group_readable,
        others_writable, read_only, directory_of_the_group, directory_of_everybody,
        hard_linked, owned_by_another, directory_owned_by_another,
    ],
)  # fmt: skip
async def test_r_07_a_file_that_others_reach_is_refused(
    path: Path, expose: Callable[[Path], None]
) -> None:
    if "another" in expose.__name__ and os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    await fill(path)
    expose(path)
    names = set(os.listdir(path.parent))
    assert await refusal(path) is ErrorCode.STORE_FORBIDDEN
    assert set(os.listdir(path.parent)) == names


async def test_r_07_a_directory_below_one_of_everybody_is_refused(tmp_path: Path) -> None:
    above, below = tmp_path / "above", tmp_path / "above" / "deeper" / "below"
    below.mkdir(parents=True, mode=0o700)
    await fill(below / "store.db")
    above.chmod(0o777)
    assert await refusal(below / "store.db") is ErrorCode.STORE_FORBIDDEN
    (tmp_path / "way").symlink_to(below)
    assert await refusal(tmp_path / "way" / "store.db") is ErrorCode.STORE_FORBIDDEN
    above.chmod(0o1777)  # as /tmp: what is not theirs, they can neither rename nor remove
    assert await read(tmp_path / "way" / "store.db") == ROWS


async def test_r_07_the_second_name_that_a_killed_maker_left_is_removed(path: Path) -> None:
    await fill(path)
    draft = path.with_name(".store.db-killed")
    draft.mkdir(mode=0o700)
    draft.joinpath("draft").hardlink_to(path)
    assert await read(path) == ROWS
    assert [found.name for found in path.parent.iterdir()] == ["store.db"]


async def test_a_directory_that_is_not_there_is_not_made(path: Path) -> None:
    assert await refusal(path / "deeper" / "store.db") is ErrorCode.STORE_FAILED
    assert not list(path.parent.iterdir())


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_bytes(b"dear diary\n" * 1000)


def invalid_table(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"CREATE TAB\xcc\xcc"))


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 0")


def other_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE diary (page)")


def no_schema_number(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")


@pytest.mark.parametrize(
    "spoil", [empty, text, invalid_table, other_database, other_tables, no_schema_number]
)
async def test_r_04_what_is_no_store_is_refused_and_kept(
    path: Path, spoil: Callable[[Path], None]
) -> None:
    await fill(path)
    spoil(path)
    before = contents(path.parent)
    assert await refusal(path) is ErrorCode.STORE_CORRUPT
    assert contents(path.parent) == before


@pytest.mark.parametrize("where", ["in the file", "in the log"])
async def test_r_09_a_newer_schema_is_refused_and_every_byte_kept(path: Path, where: str) -> None:
    await fill(path)
    upgrade = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        f"connection.execute('PRAGMA user_version = {NEWEST_SCHEMA + 1}')\n"
        "if sys.argv[2] == 'in the file': connection.close()\n"
        "os._exit(0)\n"  # killed: the log is left as it is
    )
    subprocess.run([sys.executable, "-c", upgrade, str(path), where], check=True)
    assert path.with_name("store.db-wal").exists() == (where == "in the log")
    before = contents(path.parent)
    assert await refusal(path) is ErrorCode.STORE_TOO_NEW
    assert contents(path.parent) == before


STALE = (
    (NEWEST_SCHEMA + 1, ErrorCode.STORE_TOO_NEW),
    (NEWEST_SCHEMA - 1, ErrorCode.STORE_CORRUPT),
    (0, ErrorCode.STORE_CORRUPT),
)


async def test_r_09_a_schema_that_becomes_newer_meanwhile_is_refused(path: Path) -> None:
    async with await SqliteStore.open(path) as store:
        for schema, code in STALE:
            with closing(sqlite3.connect(path)) as other:
                other.execute(f"PRAGMA user_version = {schema}")
            with pytest.raises(StoreFailed) as failure:
                async with store.exclusive(ME):
                    pass
            assert failure.value.code is code
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"PRAGMA user_version = {NEWEST_SCHEMA}")
        async with store.exclusive(ME) as transaction:
            await transaction.commit([Put((*ME, "a"), b"1")])


# -- read-only media


@contextmanager
def mounted_read_only(directory: Path) -> Iterator[None]:
    """Let the kernel refuse every write below ``directory``, even to root."""
    try:
        for arguments in (("--bind", directory, directory), ("-o", "remount,bind,ro", directory)):
            subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        subprocess.run(["umount", directory], check=False, capture_output=True)
        pytest.skip("only root of a whole machine can mount")
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("log", [False, True])
async def test_r_03_read_only_media_are_refused_and_kept(path: Path, log: bool) -> None:
    await fill(path)
    if log:
        await unfinished(path, "0", b"new")
    before = contents(path.parent)
    with mounted_read_only(path.parent):
        for attempt in (path, path.with_name("new.db")):
            with pytest.raises(StoreFailed, match="read-only") as failure:
                await SqliteStore.open(attempt)
            assert failure.value.code is ErrorCode.STORE_FORBIDDEN
        assert contents(path.parent) == before
    assert await read(path) == (ROWS | {(*ME, "0"): b"new"} if log else ROWS)


# -- settings


async def test_the_settings_hold_on_every_connection(path: Path) -> None:
    async with await SqliteStore.open(path), await SqliteStore.open(path) as store:
        settings = {
            "trusted_schema": 0, "cell_size_check": 1, "mmap_size": 0, "temp_store": 2,
            "journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "secure_delete": 1,
            "busy_timeout": 0,
        }  # fmt: skip
        for name, value in settings.items():
            assert store._database.run(f"PRAGMA {name}") in ([(value,)], []), name


async def test_a_file_system_without_a_write_ahead_log_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    # Another virtual file system of SQLite's own, which shares no memory between processes.
    monkeypatch.setattr(
        sqlite3, "connect", lambda name, **also: connect(f"{name}&vfs=unix-none", **also)
    )
    assert await refusal(path) is ErrorCode.STORE_FAILED
    assert not list(path.parent.iterdir())
