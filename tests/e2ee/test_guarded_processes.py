"""A guarded SQLite store and several processes: no kill and no other process is a false alarm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2ee.storage import Store
from tests.support.anchors import GuardedFile
from tests.support.peers import require_program
from tests.support.source import ROOT

ME = ("juliet@capulet.lit",)

PREAMBLE = """
import asyncio, os, sys
from e2ee.storage import Put
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.sqlite import SqliteStore

FOLDER, ARGUMENT = sys.argv[1:]
ME = ("juliet@capulet.lit",)

async def count_up(store):
    async with store.exclusive(ME) as tx:
        number = int(await tx.get((*ME, "count")) or 0) + 1
        await tx.commit([Put((*ME, "count"), str(number).encode())])
    return number

async def opened():
    store = await SqliteStore.open(FOLDER + "/store.db")
    return store, GuardedStore(store, AnchorFiles(FOLDER + "/anchors"))
"""

COUNT = """
async def main():
    inner, store = await opened()
    for _ in range(int(ARGUMENT)):
        os.write(1, b"%d\\n" % await count_up(store))
    await inner.close()
asyncio.run(main())
"""

# Forks a child that dies at the n-th line of our code, for every n until one lives to its end.
DIE_AT_EVERY_LINE = """
import shutil

def die_at(line):
    left = line
    def trace(frame, event, argument):
        nonlocal left
        if not frame.f_code.co_filename.endswith(("guarded.py", "anchor_files.py")):
            return trace
        if event == "line":
            if left == 0:
                os.kill(os.getpid(), 9)
            left -= 1
        return trace
    sys.settrace(trace)

async def live():
    inner, store = await opened()
    if ARGUMENT == "commit":
        await count_up(store)
    die_at(line)
    os.write(acknowledge, b"%d" % await count_up(store))
    sys.settrace(None)

async def reached():
    inner, store = await opened()
    async with store.exclusive(ME) as tx:
        number = int(await tx.get((*ME, "count")) or 0)
    await inner.close()
    return number

line, killed = 0, 9
while killed:
    for name in os.listdir(FOLDER):
        there = os.path.join(FOLDER, name)
        shutil.rmtree(there) if os.path.isdir(there) else os.unlink(there)
    listen, acknowledge = os.pipe()
    child = os.fork()
    if not child:
        asyncio.run(live())
        os._exit(0)
    os.close(acknowledge)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert killed in (0, -9), killed
    acknowledged = int(os.read(listen, 9) or 0)
    os.close(listen)
    before = 1 if ARGUMENT == "commit" else 0
    assert asyncio.run(reached()) in (before, before + 1), line
    assert asyncio.run(reached()) >= acknowledged, line
    line += 1
assert acknowledged and line > 50, line
"""


async def reached(store: Store) -> int:
    async with store.exclusive(ME) as tx:
        return int(await tx.get((*ME, "count")) or 0)


def start(script: str, folder: Path, argument: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, str(folder), str(argument)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )


@pytest.mark.slow
async def test_r_06_many_commits_of_two_processes_raise_no_false_alarm(tmp_path: Path) -> None:
    file = GuardedFile(tmp_path)
    processes = [start(COUNT, file.folder, 300) for _ in range(2)]
    numbers = [int(line) for each in processes for line in each.communicate()[0].split()]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(numbers) == [*range(1, 601)]
    async with file.opened() as store:
        assert await reached(store) == 600


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["create", "commit"])
def test_r_05_a_kill_at_any_line_raises_no_false_alarm(tmp_path: Path, lane: str) -> None:
    process = start(DIE_AT_EVERY_LINE, tmp_path, lane)
    process.communicate()
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "call", ["pwrite64", "fdatasync", "fsync", "write", "link", "mkdir", "chmod", "fchmod"]
)
async def test_r_05_a_kill_at_any_system_call_raises_no_false_alarm(
    tmp_path: Path, call: str
) -> None:
    strace = require_program("strace")
    for fresh in (True, False):
        before = 0
        for number in range(1, 200):
            file = GuardedFile(tmp_path / (str(number) if fresh else "one"))
            file.folder.mkdir(exist_ok=True)
            kill = f"inject={call}:signal=KILL:when={number}"
            traced = subprocess.run(
                [
                    *(strace, "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", kill),
                    *(sys.executable, "-c", PREAMBLE + COUNT, str(file.folder), "1"),
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                check=False,
            )
            async with file.opened() as store:
                after = await reached(store)
            assert after in (before, before + 1)
            assert after >= int(traced.stdout or 0)
            if traced.returncode == 0:
                break
            before = 0 if fresh else after
        else:
            pytest.fail("it was never let live")
