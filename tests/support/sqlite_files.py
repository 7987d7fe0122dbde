"""A SQLite store's file with something in it, to be spoiled and opened again.

Rule: opens stores as a caller does; what is done to the file is the test's business.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key, Put
from e2ee.stores.sqlite import SqliteStore
from tests.support.source import ROOT

__all__ = ["ME", "ROWS", "contents", "fill", "read", "refusal", "unfinished"]

ME = ("juliet@capulet.lit",)
ROWS: dict[Key, bytes] = {
    (*ME, str(number)): Random(number).randbytes((5, 300, 3000, 9000)[number % 4])
    for number in range(40)
}


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


async def unfinished(path: Path, key: str, value: bytes) -> dict[str, bytes]:
    """Commit and be killed before the log is moved to the file; return log and index."""
    program = (
        "import asyncio, os, sys\n"
        "from e2ee.storage import Put\n"
        "from e2ee.stores.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = await SqliteStore.open(sys.argv[1])\n"
        "    async with store.exclusive(()) as transaction:\n"
        "        changes = [Put(('juliet@capulet.lit', sys.argv[2]), sys.argv[3].encode())]\n"
        "        await transaction.commit(changes)\n"
        "        os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(path), key, value.decode()]
    subprocess.run(command, check=True, cwd=ROOT)
    return {suffix: path.with_name(f"store.db{suffix}").read_bytes() for suffix in ("-wal", "-shm")}
