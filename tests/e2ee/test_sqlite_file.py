"""Which files a SQLite store opens, which it refuses, and how it makes its own."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key, Put
from e2ee.stores.sqlite import SqliteStore

ME = ("juliet@capulet.lit",)
ROWS: dict[Key, bytes] = {
    (*ME, str(number)): Random(number).randbytes((5, 300, 3000, 9000)[number % 4])
    for number in range(40)
}
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


async def fill(path: Path) -> None:
    async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
        await transaction.commit([Put(key, value) for key, value in ROWS.items()])


async def read(path: Path) -> dict[Key, bytes]:
    """Read every row both ways; both must find the same."""
    async with await SqliteStore.open(path) as store, store.exclusive(()) as transaction:
        found = {key: await transaction.get(key) for key in ROWS}
        assert dict(await transaction.scan(())) == found
        return {key: value for key, value in found.items() if value is not None}


async def refusal(path: Path) -> ErrorCode:
    with pytest.raises(StoreFailed) as failure:
        await SqliteStore.open(path)
    return failure.value.code


def contents(directory: Path) -> dict[str, bytes]:
    return {
        found.name: found.read_bytes()
        for found in directory.iterdir()
        if not found.name.endswith("-shm") and found.stat().st_size  # locks are no content
    }


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


def owned_by_another(path: Path) -> None:
    os.chown(path, OTHER_USER, -1)


def directory_owned_by_another(path: Path) -> None:
    os.chown(path.parent, OTHER_USER, -1)


@pytest.mark.parametrize(
    "expose",
    [
        symlinked, dangling, log_symlinked, log_readable, pipe, folder, group_readable,
        others_writable, read_only, directory_of_the_group, directory_of_everybody,
        owned_by_another, directory_owned_by_another,
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
        "connection.execute('PRAGMA user_version = 2')\n"
        "if sys.argv[2] == 'in the file': connection.close()\n"
        "os._exit(0)\n"  # killed: the log is left as it is
    )
    subprocess.run([sys.executable, "-c", upgrade, str(path), where], check=True)
    assert path.with_name("store.db-wal").exists() == (where == "in the log")
    before = contents(path.parent)
    assert await refusal(path) is ErrorCode.STORE_TOO_NEW
    assert contents(path.parent) == before


async def test_r_09_a_schema_that_becomes_newer_meanwhile_is_refused(path: Path) -> None:
    async with await SqliteStore.open(path) as store:
        for schema, code in ((2, ErrorCode.STORE_TOO_NEW), (0, ErrorCode.STORE_CORRUPT)):
            with closing(sqlite3.connect(path)) as other:
                other.execute(f"PRAGMA user_version = {schema}")
            with pytest.raises(StoreFailed) as failure:
                async with store.exclusive(ME):
                    pass
            assert failure.value.code is code
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA user_version = 1")
        async with store.exclusive(ME) as transaction:
            await transaction.commit([Put((*ME, "a"), b"1")])


async def survives(path: Path) -> None:
    """Damage is found, or has done no harm; what is read is what was written."""
    found: ErrorCode | None = None
    try:
        assert await read(path) == ROWS
    except StoreFailed as failure:
        found = failure.code
    assert found in (None, ErrorCode.STORE_CORRUPT, ErrorCode.STORE_TOO_NEW)


async def test_r_04_a_truncated_file_is_never_read_as_data(path: Path) -> None:
    await fill(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 4096):
        path.write_bytes(whole[:length])
        assert await refusal(path) is ErrorCode.STORE_CORRUPT
    for length in Random(4).sample(range(len(whole)), 20):  # the end of a page may be unused
        path.write_bytes(whole[:length])
        await survives(path)
    path.write_bytes(whole)
    assert await read(path) == ROWS


async def test_r_04_a_zero_page_is_never_read_as_data(path: Path) -> None:
    await fill(path)
    whole = path.read_bytes()
    for start in range(0, len(whole), 4096):
        path.write_bytes(whole[:start] + bytes(4096) + whole[start + 4096 :])
        await survives(path)


async def flip_bits(path: Path, random: Random, tries: int) -> None:
    await fill(path)
    whole = path.read_bytes()
    for number in range(tries):
        damaged = bytearray(whole)
        page = 4096 * random.randrange(len(whole) // 4096)
        # Every second time among the first bytes of a page, where its structure is written.
        damaged[page + random.randrange(80 if number % 2 else 4096)] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        await survives(path)


async def test_r_04_a_flipped_bit_is_never_read_as_data(path: Path) -> None:
    await flip_bits(path, Random(4), 250)


@pytest.mark.soak
async def test_r_04_many_flipped_bits_are_never_read_as_data(
    path: Path, soak_random: Random
) -> None:
    await flip_bits(path, soak_random, 10_000)
