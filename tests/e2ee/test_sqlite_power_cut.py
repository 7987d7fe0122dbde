"""The power fails at any moment of a SQLite store's work; nothing acknowledged is lost, none half.

The row R-02 of the threat model, and R-01 for what the disk remembers of a killed process.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from e2ee.stores.sqlite import SqliteStore
from tests.support.counting import count, reached
from tests.support.peers import require_program
from tests.support.power import Cut, Disk, record

# Says which number it begins to commit, and which it has committed.
PREAMBLE = """
import asyncio, os, sqlite3, sys
from contextlib import closing, contextmanager
from e2ee.stores.sqlite import SqliteStore
from tests.support.counting import count

PATH = sys.argv[1]
reached = 0

async def commit(times, finish=lambda: None):
    global reached
    async with await SqliteStore.open(PATH) as store:
        for _ in range(times):
            os.write(1, b"begin %d" % (reached + 1))
            reached = await count(store)
            os.write(1, b"done %d" % reached)
        finish()

@contextmanager
def log_held():
    # As long as somebody reads, nothing is removed from the log.
    with closing(sqlite3.connect(PATH, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sqlite_master").fetchall()
        yield
"""
PROGRAMS = {
    "one process after another": """
asyncio.run(commit(4))
asyncio.run(commit(2))
""",
    "a long log": """
async def main():
    async with await SqliteStore.open(PATH):
        with log_held():
            await commit(4)
        await commit(2)
asyncio.run(main())
""",
    "a process that was killed": """
asyncio.run(commit(1))
child = os.fork()
if not child:
    with log_held():
        asyncio.run(commit(3, lambda: os._exit(0)))
os.waitpid(child, 0)
reached += 3
asyncio.run(commit(2))
""",
}


class Outage:
    """Cuts the power after each thing that a program did, and looks at what is left."""

    def __init__(self, program: str, directory: Path) -> None:
        self._disk = Disk(directory / "disk", ignored="-shm")  # that one lives in memory
        self._image = directory / "image"
        (directory / "disk").mkdir(mode=0o700)
        script = PREAMBLE + program
        self._events = record(require_program("strace"), script, directory / "disk" / "store.db")
        self._seen: set[int] = set()

    async def strike(self, random: Random, times: int) -> int:
        """Return how many different images were found good."""
        begun = done = 0
        for event in self._events:
            if event.call == "say":
                word, number = event.data.split()
                begun, done = (int(number), done) if word == b"begin" else (begun, int(number))
            else:
                self._disk.take(event)
            torn = [self._disk.torn(random) for _ in range(times)]
            for cut in (*self._disk.cuts(), *torn):
                await self._check(cut, done, begun)
        return len(self._seen)

    async def _check(self, cut: Cut, done: int, begun: int) -> None:
        seen = hash((done, begun, *((name, cut.contents.get(n)) for name, n in cut.files.items())))
        if seen in self._seen:
            return
        self._seen.add(seen)
        cut.write(self._image)
        path = self._image / "store.db"
        number = await reached(path)
        assert number in (done, begun), (done, begun, cut.files)
        async with await SqliteStore.open(path) as store:
            assert await count(store) == number + 1
        shutil.rmtree(self._image)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
async def test_r_02_a_power_cut_at_any_moment_loses_nothing_acknowledged(
    tmp_path: Path, program: str
) -> None:
    assert await Outage(program, tmp_path).strike(Random(1), 2) > 200


@pytest.mark.soak
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
async def test_r_02_nor_whatever_a_power_cut_leaves_of_it(
    tmp_path: Path, program: str, soak_random: Random
) -> None:
    assert await Outage(program, tmp_path).strike(soak_random, 20) > 1000
