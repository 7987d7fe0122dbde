"""AnchorFiles: one number an account that only grows, whatever happens to its file."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.stores import turns
from e2ee.stores.anchor_files import AnchorFiles
from tests.support.source import ROOT

ME = "juliet@capulet.lit"
SLOTS = (slice(0, 48), slice(4096, 4144))

RAISE = """
import asyncio, sys
from e2ee.stores.anchor_files import AnchorFiles
anchors = AnchorFiles(sys.argv[1])

async def main():
    for number in range(int(sys.argv[2]), 1000, 2):
        await anchors.raise_to("juliet@capulet.lit", number)
        assert await anchors.highest("juliet@capulet.lit") >= number
asyncio.run(main())
"""

# The second slot lies beyond what a file may hold.
NO_SPACE = """
import asyncio, resource, sys
from e2ee.errors import StoreFailed
from e2ee.stores.anchor_files import AnchorFiles
anchors = AnchorFiles(sys.argv[1])

async def main():
    await anchors.raise_to("juliet@capulet.lit", 1)
    await anchors.raise_to("juliet@capulet.lit", 2)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), most))
    for account in ("juliet@capulet.lit", "romeo@montague.lit"):
        try:
            await anchors.raise_to(account, 3)
        except StoreFailed as error:
            print(error.code)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert await anchors.highest("juliet@capulet.lit") == 2
    assert await anchors.highest("romeo@montague.lit") is None
    await anchors.raise_to("juliet@capulet.lit", 4)
    await anchors.raise_to("romeo@montague.lit", 4)
    assert await anchors.highest("juliet@capulet.lit") == 4
asyncio.run(main())
"""


@pytest.fixture
def anchors(tmp_path: Path) -> AnchorFiles:
    return AnchorFiles(tmp_path / "anchors")


def the_file(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "anchors").iterdir()
    return found


@contextmanager
def failing(code: ErrorCode) -> Iterator[None]:
    with pytest.raises(StoreFailed) as caught:
        yield
    assert caught.value.code is code
    assert caught.value.__cause__ is None


async def test_an_anchor_is_only_ever_raised(anchors: AnchorFiles) -> None:
    assert await anchors.highest(ME) is None
    for generation, highest in ((0, 0), (5, 5), (3, 5), (5, 5), (6, 6), (0, 6), (2**128 - 1,) * 2):
        await anchors.raise_to(ME, generation)
        assert await anchors.highest(ME) == highest


@given(st.lists(st.integers(0, 2**128 - 1), min_size=1))
def test_any_anchor_is_the_highest_of_all(
    tmp_path_factory: pytest.TempPathFactory, generations: list[int]
) -> None:
    anchors = AnchorFiles(tmp_path_factory.mktemp("any") / "anchors")

    async def raised() -> None:
        for count, generation in enumerate(generations, 1):
            await anchors.raise_to(ME, generation)
            assert await anchors.highest(ME) == max(generations[:count])

    asyncio.run(raised())


async def test_accounts_stay_apart_and_are_not_named(anchors: AnchorFiles, tmp_path: Path) -> None:
    accounts = [ME, "romeo@montague.lit", "", "\0", "\ud800", "../../etc/passwd", "x" * 5000]
    for number, account in enumerate(accounts):
        await anchors.raise_to(account, number)
    assert [await anchors.highest(account) for account in accounts] == [*range(len(accounts))]
    names = [found.name for found in (tmp_path / "anchors").iterdir()]
    assert len(names) == len(accounts)
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in names)


async def test_what_a_release_has_written_is_read(tmp_path: Path) -> None:
    directory = tmp_path / "anchors"
    directory.mkdir(0o700)
    there = directory / "1ca786a36cf10bf84323412f2cb291c0"
    shutil.copyfile(ROOT / "tests" / "frozen" / "anchor-1", there)
    there.chmod(0o600)
    anchors = AnchorFiles(directory)
    assert await anchors.highest(ME) == (2 << 64) + 7
    await anchors.raise_to(ME, 3 << 64)
    assert await anchors.highest(ME) == 3 << 64


async def test_files_are_for_this_user_alone_whatever_the_umask(
    anchors: AnchorFiles, tmp_path: Path
) -> None:
    before = os.umask(0o777)
    try:
        await anchors.raise_to(ME, 1)
    finally:
        os.umask(before)
    assert (tmp_path / "anchors").stat().st_mode & 0o7777 == 0o700
    assert the_file(tmp_path).stat().st_mode & 0o7777 == 0o600
    assert await anchors.highest(ME) == 1


@pytest.mark.parametrize("where", ["above", "directory", "file"])
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o777])
async def test_r_08_anchors_that_others_can_change_are_refused(
    anchors: AnchorFiles, tmp_path: Path, where: str, mode: int
) -> None:
    await anchors.raise_to(ME, 1)
    place = {"above": tmp_path, "directory": tmp_path / "anchors", "file": the_file(tmp_path)}[
        where
    ]
    before = place.stat().st_mode
    place.chmod(mode | (0 if where == "file" else 0o100))
    for use in (anchors.highest(ME), anchors.raise_to(ME, 2)):
        with failing(ErrorCode.STORE_FORBIDDEN):
            await use
    place.chmod(before)
    assert await anchors.highest(ME) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("where", ["directory", "file"])
async def test_r_08_anchors_of_somebody_else_are_refused(
    anchors: AnchorFiles, tmp_path: Path, where: str
) -> None:
    await anchors.raise_to(ME, 1)
    os.chown(the_file(tmp_path) if where == "file" else tmp_path / "anchors", 12345, -1)
    for use in (anchors.highest(ME), anchors.raise_to(ME, 2)):
        with failing(ErrorCode.STORE_FORBIDDEN):
            await use


@pytest.mark.parametrize("kind", ["directory", "file", "dangling", "folder", "pipe"])
async def test_r_08_what_is_no_plain_file_is_refused(
    anchors: AnchorFiles, tmp_path: Path, kind: str
) -> None:
    await anchors.raise_to(ME, 1)
    there = tmp_path / "anchors" if kind == "directory" else the_file(tmp_path)
    away = tmp_path / "away"
    there.rename(away)
    match kind:
        case "folder":
            there.mkdir(0o700)
        case "pipe":
            os.mkfifo(there, 0o600)
        case _:
            there.symlink_to(tmp_path / "nothing" if kind == "dangling" else away)
    for use in (anchors.highest(ME), anchors.raise_to(ME, 2)):
        with failing(ErrorCode.STORE_FAILED if kind == "folder" else ErrorCode.STORE_FORBIDDEN):
            await use
    assert not (tmp_path / "nothing").exists()


async def test_r_04_no_flipped_bit_changes_what_is_read(
    anchors: AnchorFiles, tmp_path: Path
) -> None:
    await anchors.raise_to(ME, 3)
    await anchors.raise_to(ME, 4)
    file = the_file(tmp_path)
    sound = file.read_bytes()
    for slot in SLOTS:
        for place in range(slot.start, slot.stop):
            file.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
            assert await anchors.highest(ME) in (3, 4)
    first, second = SLOTS
    damage = (
        *(b"", b"\0", bytes(len(sound)), sound[: first.stop - 1], b"x" * 9000),
        sound[second] + sound[first.stop : second.start] + sound[first],  # slots in wrong places
    )
    for damaged in damage:
        file.write_bytes(damaged)
        for use in (anchors.highest(ME), anchors.raise_to(ME, 5)):
            with failing(ErrorCode.STORE_CORRUPT):
                await use
        assert file.read_bytes() == damaged
    file.write_bytes(sound)
    await anchors.raise_to(ME, 5)
    assert await anchors.highest(ME) == 5


async def test_r_04_a_slot_that_was_written_in_part_leaves_the_other(
    anchors: AnchorFiles, tmp_path: Path
) -> None:
    for generation in range(4):
        await anchors.raise_to(ME, generation)
    file = the_file(tmp_path)
    for generation in range(4, 10):
        before = file.read_bytes()
        await anchors.raise_to(ME, generation)
        after = file.read_bytes()
        (slot,) = (slot for slot in SLOTS if before[slot] != after[slot])
        for place in range(slot.start, slot.stop + 1):
            file.write_bytes(before[: slot.start] + after[slot.start : place] + before[place:])
            assert await anchors.highest(ME) in (generation - 1, generation)
        file.write_bytes(after)


async def test_r_04_two_anchors_that_changed_places_are_noticed(
    anchors: AnchorFiles, tmp_path: Path
) -> None:
    await anchors.raise_to(ME, 1)
    mine = the_file(tmp_path)
    raw = mine.read_bytes()
    await anchors.raise_to("romeo@montague.lit", 2)
    (theirs,) = set((tmp_path / "anchors").iterdir()) - {mine}
    mine.write_bytes(theirs.read_bytes())
    with failing(ErrorCode.STORE_CORRUPT):
        await anchors.highest(ME)
    mine.write_bytes(raw)
    assert await anchors.highest(ME) == 1


async def test_a_directory_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    with failing(ErrorCode.STORE_FAILED):
        await AnchorFiles(tmp_path / "nothing" / "anchors").raise_to(ME, 1)
    (tmp_path / "file").touch()
    with failing(ErrorCode.STORE_FORBIDDEN):
        await AnchorFiles(tmp_path / "file").raise_to(ME, 1)


async def test_r_06_who_raises_waits_for_who_is_raising(
    anchors: AnchorFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await anchors.raise_to(ME, 1)
    with the_file(tmp_path).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        raising = asyncio.create_task(anchors.raise_to(ME, 2))
        for _ in range(10):
            await asyncio.sleep(0)
        assert await anchors.highest(ME) == 1
        assert not raising.done()
        fcntl.flock(other, fcntl.LOCK_UN)
        await raising
        assert await anchors.highest(ME) == 2
        fcntl.flock(other, fcntl.LOCK_EX)
        monkeypatch.setattr(turns, "_LOCK_WAIT", 0.0)
        with failing(ErrorCode.STORE_LOCKED):
            await anchors.raise_to(ME, 3)
    await anchors.raise_to(ME, 3)


@pytest.mark.slow
async def test_r_06_two_processes_raise_one_anchor(anchors: AnchorFiles, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RAISE, str(tmp_path / "anchors")]
    processes = [subprocess.Popen([*command, first], cwd=ROOT) for first in ("0", "1")]
    assert [process.wait() for process in processes] == [0, 0]
    assert await anchors.highest(ME) == 999
    assert len(list((tmp_path / "anchors").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("room", ["0", "20", "4110"])
def test_r_03_without_space_nothing_is_raised_and_work_goes_on(tmp_path: Path, room: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_SPACE, str(tmp_path / "anchors"), room],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["store-full"] * 2


def test_what_can_be_no_directory_is_refused_at_once() -> None:
    with pytest.raises(ApiMisuse):
        AnchorFiles("anchors\0")
