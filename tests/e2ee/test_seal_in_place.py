"""Sealing a plain store: nothing plain stays behind, and a kill leaves one store or the other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from shutil import copyfile

import pytest

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.storage import Key, Put, Remove, Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sealed import SealedStore, read_seal, seal_in_place
from e2ee.stores.sealing import SealingKey
from e2ee.stores.sqlite import SqliteStore
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import waiting
from tests.support.peers import require_program
from tests.support.source import ROOT
from tests.support.syscalls import strike, take_census

KEY = SealingKey(Secret(b"\1" * 32))
NATIVE = NativePrimitives()
CANARY = b"canary of a plain row"
ROWS: dict[Key, bytes] = {
    (f"canary-{account}@capulet.lit", "oxps", str(number)): CANARY * (number * 20)
    for account in "abc"
    for number in range(30)
}

PREAMBLE = """
import asyncio, os, sys
from e2ee.errors import ApiMisuse
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.storage import Put
from e2ee.stores.sealed import SealedStore, seal_in_place
from e2ee.stores.sealing import SealingKey
from e2ee.stores.sqlite import SqliteStore
from tests.support.syscalls import relive

DIRECTORY = sys.argv[1]
"""

SEAL_AND_DIE = """
class Repeating(NativePrimitives):
    # So that every life names its rows alike, and writes as many pages.
    def random(self, count):
        return bytes(count)

async def live(number):
    store = await SqliteStore.open(os.path.join(DIRECTORY, f"{number}.db"))
    await seal_in_place(store, SealingKey(Secret(b"\\1" * 32)), Repeating())
    print("sealed", flush=True)
relive(live)
"""

CREATE = """
async def main():
    mine = os.urandom(32)
    async with await SqliteStore.open(os.path.join(DIRECTORY, "store.db")) as inner:
        sys.stdin.read(1)  # all begin together
        try:
            store = await SealedStore.create(inner, SealingKey(Secret(mine)), NativePrimitives())
        except ApiMisuse:
            return
        async with store.exclusive(("a",)) as tx:
            await tx.commit([Put(("a",), b"1")])
    print(mine.hex())
asyncio.run(main())
"""


async def fill(store: Store, rows: dict[Key, bytes] = ROWS) -> None:
    async with store.exclusive(()) as tx:
        await tx.commit([Put(key, value) for key, value in rows.items()])


async def everything(store: Store) -> dict[Key, bytes]:
    async with store.exclusive(()) as tx:
        return dict(await tx.scan((), limit=1000))


async def is_sealed(store: Store, rows: dict[Key, bytes] = ROWS) -> bool:
    """Say whether all rows are sealed; otherwise all are plain."""
    if await read_seal(store) is None:
        assert await everything(store) == rows
        return False
    assert await everything(await SealedStore.open(store, KEY, NATIVE)) == rows
    assert len(await everything(store)) == len(rows) + 1
    return True


async def test_a_store_is_sealed_where_it_lies() -> None:
    store = MemoryStore()
    await fill(store)
    await seal_in_place(store, KEY, NATIVE)
    assert await is_sealed(store)


async def test_an_empty_store_is_sealed_too() -> None:
    store = MemoryStore()
    await seal_in_place(store, KEY, NATIVE)
    assert await everything(await SealedStore.open(store, KEY, NATIVE)) == {}


async def test_nothing_is_sealed_twice() -> None:
    store = MemoryStore()
    await fill(store)
    await seal_in_place(store, KEY, NATIVE)
    before = await everything(store)
    with pytest.raises(ApiMisuse):
        await seal_in_place(store, KEY, NATIVE)
    assert await everything(store) == before


async def test_rows_that_lost_their_seal_are_not_sealed_anew() -> None:
    store = MemoryStore()
    await fill(store)
    await seal_in_place(store, KEY, NATIVE)
    [seal] = [key for key in await everything(store) if len(key) == 1]
    async with store.exclusive(()) as tx:
        await tx.commit([Remove(seal), Put(("a plain row",), b"")])
    before = await everything(store)
    with pytest.raises(StoreFailed) as failure:
        await seal_in_place(store, KEY, NATIVE)
    assert failure.value.code is ErrorCode.STORE_CORRUPT
    assert await everything(store) == before


async def test_r_11_sealing_in_place_is_cancelled_as_a_whole() -> None:
    ends = set()
    for step in range(20):
        store = MemoryStore()
        await fill(store)
        attempt = asyncio.create_task(cancel_at(seal_in_place(waiting(store), KEY, NATIVE), step))
        await asyncio.wait([attempt])
        ends.add((attempt.cancelled(), await is_sealed(store)))
    assert ends == {(True, False), (True, True), (False, True)}


async def test_r_08_no_plain_byte_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with await SqliteStore.open(path) as store:
        await fill(store)
        await asyncio.sleep(0)  # the log is emptied when the event loop comes round
        assert CANARY in path.read_bytes()
        await seal_in_place(store, KEY, NATIVE)
        await asyncio.sleep(0)
        for found in tmp_path.iterdir():  # the write-ahead log, too
            for plain in (CANARY, CANARY[:8], b"canary-", b"capulet"):
                assert plain not in found.read_bytes()
        assert await is_sealed(store)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "ftruncate"])
async def test_r_01_a_kill_while_sealing_in_place_leaves_one_store_or_the_other(
    tmp_path: Path, call: str
) -> None:
    strace = require_program("strace")
    plain = tmp_path / "plain.db"
    rows = dict(list(ROWS.items())[::9])  # each page that is written costs a life
    async with await SqliteStore.open(plain) as store:
        await fill(store, rows)

    def laid_out(name: str, lives: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number in range(lives + 1):
            copyfile(plain, folder / f"{number}.db")
            (folder / f"{number}.db").chmod(0o600)
        return folder

    census = take_census(strace, PREAMBLE + SEAL_AND_DIE, laid_out("counted", 1))
    folder = laid_out("struck", max(census.numbers(call)))
    states = []
    for life in strike(strace, call, "signal=KILL", census, PREAMBLE + SEAL_AND_DIE, folder):
        async with await SqliteStore.open(folder / f"{life.number}.db") as store:
            sealed = await is_sealed(store, rows)
            assert sealed or not life.lines  # what was acknowledged is so
            states.append(sealed)
            if not sealed:
                await seal_in_place(store, KEY, NATIVE)
                assert await is_sealed(store, rows)
    assert states == sorted(states)  # one moment is the commit
    assert len(set(states)) == 2


@pytest.mark.slow
async def test_r_06_of_two_processes_that_create_at_once_one_is_refused(tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PREAMBLE + CREATE, str(folder)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        keys = [process.communicate("\n")[0].strip() for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        [key] = filter(None, keys)
        async with await SqliteStore.open(folder / "store.db") as inner:
            unlock = SealingKey(Secret(bytes.fromhex(key)))
            assert await everything(await SealedStore.open(inner, unlock, NATIVE)) == {("a",): b"1"}
