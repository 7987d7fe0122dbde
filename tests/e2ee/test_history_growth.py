"""The cost of a history that is full: by the rows that are read and written, never by the clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest

from e2ee import limits
from e2ee.history import History, Sighting
from e2ee.storage import Change, Key, Transaction
from e2ee.stores.sqlite import SqliteStore
from tests.support.sightings import ME, NOW, digest, place, rows

PAGE: Final = 500
READS: Final = 10  # its tip and content; a size, the turn, content and tip of two forgotten ones
WRITES: Final = 9  # its tip, content and turn; the same of two that are forgotten
ONCE: Final = 4  # of the node, of its size before and now, and of all


class Counted:
    """``storage.Transaction`` that counts the rows that are read."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.read = 0

    async def get(self, key: Key) -> bytes | None:
        self.read += 1
        return await self._tx.get(key)

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        self.read += limit
        return await self._tx.scan(prefix, after, limit)

    async def commit(self, changes: Sequence[Change]) -> None:
        await self._tx.commit(changes)


async def page(store: SqliteStore, numbers: Sequence[int]) -> tuple[set[Sighting], int, int]:
    """See a page; return what its sightings are, and how many rows it reads and writes."""
    async with store.exclusive(ME) as tx:
        counted = Counted(tx)
        history = History(counted, ME)
        seen = [
            await history.saw(place(str(number)), "cipher", digest(str(number)), None, NOW)
            for number in numbers
        ]
        changes = history.changes()
        await tx.commit(changes)
    return {each.sighting for each in seen}, counted.read, len(changes)


@pytest.mark.slow
async def test_r_13_a_sighting_costs_the_same_beside_100000_others(tmp_path: Path) -> None:
    known = limits.MAX_HISTORY_ITEMS
    assert known == 100_000
    random = Random(13)
    async with await SqliteStore.open(tmp_path / "store.db") as store:
        for first in range(0, known + 4 * PAGE, PAGE):
            sightings, read, written = await page(store, range(first, first + PAGE))
            assert sightings == {Sighting.FIRST}
            assert read <= READS * PAGE + ONCE
            assert written <= WRITES * PAGE + ONCE
        assert len(await rows(store)) == 3 * known + 3
        recent = [known + 4 * PAGE - 1 - random.randrange(known // 10) for _ in range(PAGE)]
        assert await page(store, recent) == ({Sighting.SAME}, 2 * PAGE + 1, 0)
        early = [4 * PAGE + number for number in range(PAGE)]
        sightings, read, written = await page(store, early)
        assert (sightings, read) == ({Sighting.SAME}, 2 * PAGE + 1)
        assert written == 3 * PAGE + 1, "content, old turn and new turn, so that they stay"
        assert len(await rows(store)) == 3 * known + 3
        forgotten = range(PAGE)
        assert (await page(store, forgotten))[0] == {Sighting.FIRST}
