"""A SQLite store's file, log and index, damaged or of another time: never read as data (R-04)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Remove
from e2ee.stores.sqlite import SqliteStore
from tests.support.source import ROOT
from tests.support.sqlite_files import ME, ROWS, contents, fill, read, refusal, unfinished


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


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


# -- the log and its companions


async def test_r_04_a_log_is_recovered_and_without_it_the_store_is_as_before(path: Path) -> None:
    await fill(path)
    left = await unfinished(path, "0", b"new")
    for suffix in left:
        path.with_name(f"store.db{suffix}").unlink()
    assert await read(path) == ROWS
    for suffix, content in left.items():
        path.with_name(f"store.db{suffix}").write_bytes(content)
        path.with_name(f"store.db{suffix}").chmod(0o600)
    assert await read(path) == {**ROWS, (*ME, "0"): b"new"}


async def test_r_04_an_index_of_another_log_is_made_anew(path: Path) -> None:
    await fill(path)
    await unfinished(path, "0", b"new")
    for foreign in (b"", bytes(32768), Random(4).randbytes(32768)):
        path.with_name("store.db-shm").write_bytes(foreign)
        path.with_name("store.db-shm").chmod(0o600)
        assert await read(path) == {**ROWS, (*ME, "0"): b"new"}


@pytest.mark.parametrize("name", ["0", "39", "new"])
async def test_r_04_a_log_of_another_copy_brings_nothing_that_was_never_written(
    path: Path, name: str
) -> None:
    """SQLite cannot tell whose log it is; what does not fit together is found all the same."""
    await fill(path)
    left = await unfinished(path, name, b"later" * 700)
    async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
        await transaction.commit([Remove(key) for key in list(ROWS)[5:]])
    path.with_name("store.db-wal").write_bytes(left["-wal"])
    path.with_name("store.db-wal").chmod(0o600)
    written = {*ROWS.items(), ((*ME, name), b"later" * 700)}
    try:
        async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
            assert set(await transaction.scan(ME)) <= written
    except StoreFailed as failure:
        found = failure.code
    else:
        found = ErrorCode.STORE_CORRUPT
    assert found is ErrorCode.STORE_CORRUPT


@pytest.mark.parametrize("content", [b"", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600)])
async def test_r_04_a_journal_of_another_program_is_refused_and_kept(
    path: Path, content: bytes
) -> None:
    await fill(path)
    path.with_name("store.db-journal").write_bytes(content)
    before = contents(path.parent)
    assert await refusal(path) is ErrorCode.STORE_CORRUPT
    assert contents(path.parent) == before


@pytest.mark.slow
async def test_r_06_several_processes_recover_one_log(path: Path) -> None:
    await fill(path)
    program = (
        "import asyncio, sys\n"
        "from e2ee.stores.sqlite import SqliteStore\n"
        "async def main():\n"
        "    async with await SqliteStore.open(sys.argv[1]) as store:\n"
        "        async with store.exclusive(()) as transaction:\n"
        "            print((await transaction.get(('juliet@capulet.lit', '0'))).decode())\n"
        "asyncio.run(main())\n"
    )
    for number in range(3):
        await unfinished(path, "0", b"%d" % number)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(path)], cwd=ROOT, stdout=subprocess.PIPE
            )
            for _ in range(4)
        ]
        assert [process.communicate()[0] for process in processes] == [b"%d\n" % number] * 4
