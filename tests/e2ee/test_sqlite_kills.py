"""Processes at work on a SQLite store are killed; nothing acknowledged is lost, and nothing half.

The row R-01 of the threat model; and R-06, where others are at work at the same time.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.support.laboratory import Laboratory, numbers
from tests.support.programs import run
from tests.support.syscalls import CALLS

# A kill before a call that changes nothing is as good as one before the next that does.
CHANGING_CALLS = sorted(CALLS.keys() - {"fcntl", "mmap", "newfstatat", "pread64"})

# Forks a child that dies at the n-th line of our code, for more and more lines until one lives on.
DIE_AT_LINES = """
import asyncio, os, sys
from pathlib import Path
from e2ee.stores.sqlite import SqliteStore
from tests.support.counting import count, reached

PATH, LANE, STEP = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def die_at(line):
    left = line
    def trace(frame, event, argument):
        nonlocal left
        if "stores" not in frame.f_code.co_filename:
            return None
        if event == "line":
            if left == 0:
                os.kill(os.getpid(), 9)
            left -= 1
        return trace
    sys.settrace(trace)

async def live():
    async with await SqliteStore.open(PATH) as store:
        os.write(acknowledge, b"%d" % await count(store))

line, before, killed = 0, 0, 9
while killed:
    if LANE == "create":
        PATH.unlink(missing_ok=True)
        before = 0
    listen, acknowledge = os.pipe()
    child = os.fork()
    if not child:
        die_at(line)
        asyncio.run(live())
        os._exit(0)
    os.close(acknowledge)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert killed in (0, -9), killed
    acknowledged = int(os.read(listen, 9) or 0)
    os.close(listen)
    after = asyncio.run(reached(PATH))
    assert after in (before, before + 1) and after >= acknowledged, (line, before, after)
    before = after
    line += STEP
assert acknowledged and line > 100, line
"""

# Writers count for ever, and acknowledge each number. One is killed after some of its numbers, at
# a random moment; the others have to go on, and are killed then.
DIE_AT_RANDOM = """
import asyncio, os, sys, time
from pathlib import Path
from random import Random
from e2ee.stores.sqlite import SqliteStore
from tests.support.counting import count, reached

PATH, WRITERS, TIMES, SEED = Path(sys.argv[1]), *map(int, sys.argv[2:])
random = Random(SEED)

class Writer:
    def __init__(self):
        listen, self.acknowledge = os.pipe()
        self.process = os.fork()
        if not self.process:
            asyncio.run(self.work())
        os.close(self.acknowledge)
        self.lines = os.fdopen(listen)
        self.numbers = []

    async def work(self):
        async with await SqliteStore.open(PATH) as store:
            while True:
                os.write(self.acknowledge, b"%d\\n" % await count(store))

    def read(self):
        self.numbers.append(int(self.lines.readline()))

    def kill(self):
        os.kill(self.process, 9)
        assert os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1]) == -9
        with self.lines:
            self.numbers += map(int, self.lines)

before = 0
for _ in range(TIMES):
    victim, *others = writers = [Writer() for _ in range(WRITERS)]
    for _ in range(random.randrange(5)):
        victim.read()
    time.sleep(random.random() / 100)
    victim.kill()
    reached_then = max(victim.numbers, default=before)
    for other in others:
        while not other.numbers or other.numbers[-1] < reached_then + 3:
            other.read()
    for other in others:
        other.kill()
    acknowledged = [number for writer in writers for number in writer.numbers]
    after = asyncio.run(reached(PATH))
    assert all(writer.numbers == sorted(writer.numbers) for writer in writers)
    assert len(acknowledged) == len(set(acknowledged)), "two commits became one"
    assert set(acknowledged) <= set(range(before + 1, after + 1)), "one is lost"
    assert after - before - len(acknowledged) <= WRITERS, "one was made up"
    before = after
"""


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["create", "commit"])
def test_r_01_a_kill_at_every_fifth_line_leaves_all_or_nothing(tmp_path: Path, lane: str) -> None:
    run(DIE_AT_LINES, tmp_path / "store.db", lane, 5)


@pytest.mark.soak
@pytest.mark.parametrize("lane", ["create", "commit"])
def test_r_01_a_kill_at_every_line_leaves_all_or_nothing(tmp_path: Path, lane: str) -> None:
    run(DIE_AT_LINES, tmp_path / "store.db", lane, 1)


@pytest.mark.slow
@pytest.mark.parametrize("call", CHANGING_CALLS)
async def test_r_01_a_kill_at_every_system_call_leaves_all_or_nothing(
    dying: Laboratory, call: str
) -> None:
    for life in dying.meet(call, "signal=KILL"):
        assert numbers(life) in ([], [dying.start + 1], [dying.start + 1, dying.start + 2])
        await dying.check(life)


@pytest.mark.slow
def test_r_01_two_hundred_kills_at_random_lose_nothing_acknowledged(tmp_path: Path) -> None:
    run(DIE_AT_RANDOM, tmp_path / "store.db", 1, 200, 1)


@pytest.mark.slow
def test_r_06_a_killed_writer_holds_up_no_other(tmp_path: Path) -> None:
    run(DIE_AT_RANDOM, tmp_path / "store.db", 2, 40, 1)


@pytest.mark.soak
@pytest.mark.parametrize(("writers", "times"), [(1, 2000), (2, 500), (4, 50)])
def test_r_06_however_many_write_a_kill_loses_nothing_acknowledged(
    tmp_path: Path, writers: int, times: int, soak_random: Random
) -> None:
    seed = soak_random.randrange(2**32)
    run(DIE_AT_RANDOM, tmp_path / "store.db", writers, times, seed)
