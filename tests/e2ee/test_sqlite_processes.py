"""One SQLite store and several processes: no update lost, and none that a fork could make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.counting import reached
from tests.support.programs import run, start

COUNT = """
import asyncio, sys
from e2ee.stores.sqlite import SqliteStore
from tests.support.counting import count

async def main():
    async with await SqliteStore.open(sys.argv[1]) as store:
        for _ in range(int(sys.argv[2])):
            await count(store)

asyncio.run(main())
"""

FORK = """
import asyncio, os, sys
from e2ee.errors import ApiMisuse
from e2ee.storage import Put
from e2ee.stores.sqlite import SqliteStore
from tests.support.counting import ME, count

PATH = sys.argv[1]

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


async def test_r_06_a_store_is_refused_to_a_fork_of_its_process(tmp_path: Path) -> None:
    run(FORK, tmp_path / "store.db")
    assert await reached(tmp_path / "store.db") == 3


@pytest.mark.slow
async def test_r_06_no_update_of_four_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    processes = [start(COUNT, path, 250) for _ in range(4)]  # each may be the one to make the file
    assert [process.wait() for process in processes] == [0] * 4
    assert await reached(path) == 1000
    assert [found.name for found in tmp_path.iterdir()] == ["store.db"]
