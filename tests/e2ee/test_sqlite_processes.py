"""One SQLite store and several processes: nothing lost, nothing half, whoever is killed when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from e2ee.stores.sqlite import SqliteStore
from tests.support.peers import require_program
from tests.support.source import ROOT

ME = ("juliet@capulet.lit",)
NAMES = ("a", "b", "c")

PREAMBLE = """
import asyncio, os, sys
from e2ee.errors import ApiMisuse
from e2ee.storage import Remove, Put
from e2ee.stores.sqlite import SqliteStore

PATH, ARGUMENT = sys.argv[1:]
ME = ("juliet@capulet.lit",)

async def count(store):
    # Three rows of different sizes that always change together, and one that moves on.
    async with store.exclusive(ME) as transaction:
        number = int(await transaction.get((*ME, "a")) or 0)
        value = str(number + 1).encode()
        await transaction.commit([
            Put((*ME, "a"), value),
            Remove((*ME, "log", str(number))),
            Put((*ME, "b"), value * 300),
            Put((*ME, "log", str(number + 1)), value),
            Put((*ME, "c"), value * 5000),
        ])
    return number + 1
"""

COUNT = """
async def main():
    async with await SqliteStore.open(PATH) as store:
        for _ in range(int(ARGUMENT)):
            await count(store)
asyncio.run(main())
"""

COUNT_ONCE = """
async def main():
    async with await SqliteStore.open(PATH) as store:
        os.write(1, b"%d" % await count(store))
asyncio.run(main())
"""

COUNT_FOREVER = """
async def main():
    async with await SqliteStore.open(PATH) as store:
        while True:
            os.write(1, b"%d\\n" % await count(store))
asyncio.run(main())
"""

# Forks a child that dies at the n-th line of our code, for every n until one lives to its end.
DIE_AT_EVERY_LINE = """
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

async def reached():
    async with await SqliteStore.open(PATH) as store, store.exclusive(ME) as transaction:
        rows = dict(await transaction.scan(ME))
    number = int(rows.get((*ME, "a"), b"0"))
    value = str(number).encode()
    assert rows == ({} if not number else {
        (*ME, "a"): value, (*ME, "b"): value * 300, (*ME, "c"): value * 5000,
        (*ME, "log", str(number)): value,
    }), number
    return number

line, before, killed = 0, 0, 9
while killed:
    if ARGUMENT == "create" and os.path.lexists(PATH):
        os.unlink(PATH)
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
    after = asyncio.run(reached())
    assert after in (before, before + 1) and after >= acknowledged, (line, before, after)
    before = after
    line += 1
assert acknowledged and line > 100, line
"""

FORK = """
async def misused(attempt):
    try:
        await attempt
    except ApiMisuse:
        return 1
    return 0

async def anew(store):
    refused = await misused(count(store)) + await misused(store.close())
    async with await SqliteStore.open(PATH) as mine:
        return refused + await count(mine)

async def main():
    async with await SqliteStore.open(PATH) as store:
        await count(store)
        async with store.exclusive(ME) as transaction:
            child = os.fork()
            if not child:
                refused = await misused(transaction.get((*ME, "a")))
                refused += await misused(transaction.commit([Put((*ME, "a"), b"forked")]))
                os._exit(refused + asyncio.run(misused(count(store))))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
            assert await transaction.get((*ME, "a")) == b"1"
        child = os.fork()
        if not child:
            os._exit(asyncio.run(anew(store)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2 + 2
        assert await count(store) == 3
asyncio.run(main())
"""


CHANGING_CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "link", "unlink")


def start(script: str, path: Path, argument: object = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, str(path), str(argument)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )


def run(script: str, path: Path, argument: object = "") -> None:
    process = start(script, path, argument)
    process.communicate()
    assert process.returncode == 0


async def reached(path: Path) -> int:
    """Return the number that the rows of the store agree on."""
    async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
        rows = dict(await transaction.scan(ME))
    if not rows:
        return 0
    number = int(rows[(*ME, "a")])
    value = str(number).encode()
    assert rows == {
        (*ME, "a"): value,
        (*ME, "b"): value * 300,
        (*ME, "c"): value * 5000,
        (*ME, "log", str(number)): value,
    }
    return number


async def test_r_06_a_store_is_refused_to_a_fork_of_its_process(tmp_path: Path) -> None:
    run(FORK, tmp_path / "store.db")
    assert await reached(tmp_path / "store.db") == 3


@pytest.mark.slow
async def test_r_06_no_update_of_four_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    processes = [start(COUNT, path, 250) for _ in range(4)]  # each may be the one to make the file
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    assert await reached(path) == 1000
    assert [found.name for found in tmp_path.iterdir()] == ["store.db"]


@pytest.mark.slow
async def test_r_01_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    random = Random(1)
    acknowledged = 0
    for _ in range(30):
        process = start(COUNT_FOREVER, path)
        assert process.stdout is not None
        for _ in range(random.randrange(1, 12)):
            acknowledged = int(process.stdout.readline())
        process.kill()
        rest = process.communicate()[0].split()
        acknowledged = int(rest[-1]) if rest else acknowledged
        assert await reached(path) in (acknowledged, acknowledged + 1)
        acknowledged = await reached(path)


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["create", "commit"])
async def test_r_01_a_kill_at_every_line_leaves_all_or_nothing(tmp_path: Path, lane: str) -> None:
    path = tmp_path / "store.db"
    async with await SqliteStore.open(path):
        pass
    run(DIE_AT_EVERY_LINE, path, lane)


@pytest.mark.slow
@pytest.mark.parametrize("call", CHANGING_CALLS)
async def test_r_01_a_kill_at_every_system_call_leaves_all_or_nothing(
    tmp_path: Path, call: str
) -> None:
    strace = require_program("strace")
    for create in (True, False):
        before = 0
        for number in range(1, 100):
            path = tmp_path / (f"{number}.db" if create else "store.db")
            kill = f"inject={call}:signal=KILL:when={number}"
            traced = subprocess.run(
                [
                    *(strace, "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", kill),
                    *(sys.executable, "-c", PREAMBLE + COUNT_ONCE, str(path), ""),
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                check=False,
            )
            after = await reached(path)
            assert after in (before, before + 1)
            assert after >= int(traced.stdout or 0)
            if traced.returncode == 0:
                assert traced.stdout
                break
            before = 0 if create else after
        else:
            pytest.fail("it was never let live")
