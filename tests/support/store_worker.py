"""A process at work on a store that other processes share, or that is killed at its work.

    python -m tests.support.store_worker count PLACE NAME TIMES
    python -m tests.support.store_worker die PLACE

One who counts takes numbers from a counter that all share, and notes each that they got. One who
dies does so at the first await of a life with two commits, in the next life at the second await,
and so on, until they live to the end; between two lives it is checked what is left.

Rule: what a program does that knows nothing of the others, or of its death.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

from e2ee.storage import Key, Put, Remove, Store
from tests.support.cancellation import kill_at
from tests.support.hooked_store import waiting
from tests.support.stores import Place, opened

__all__ = ["COUNTER", "ME", "command", "life"]

ME: Key = ("juliet@capulet.lit",)
COUNTER: Key = (*ME, "count")
_COMMITS = 2  # in a life
_KILLED = -9


def command(role: str, place: Place, *options: str) -> list[str]:
    """Return the command line of a role."""
    return [sys.executable, "-m", "tests.support.store_worker", role, place.to_text(), *options]


async def _count(place: Place, name: str, times: str) -> None:
    async with opened(place) as store:
        for turn in range(int(times)):
            async with store.exclusive(ME) as transaction:
                number = b"%d" % (int(await transaction.get(COUNTER) or 0) + 1)
                await transaction.commit(
                    [Put(COUNTER, number), Put((*ME, name, str(turn)), number)]
                )


async def life(place: Place, acknowledge: int) -> None:
    """Make the next commits, each of rows of different sizes; acknowledge each."""
    async with opened(place, waiting) as store:
        for _ in range(_COMMITS):
            async with store.exclusive(ME) as transaction:
                before = int(await transaction.get(COUNTER) or 0)
                number = b"%d" % (before + 1)
                await transaction.commit(
                    [
                        Put(COUNTER, number),
                        Put((*ME, "large"), number * 5000),
                        Remove((*ME, "log", str(before))),
                        Put((*ME, "log", str(before + 1)), number),
                    ]
                )
            os.write(acknowledge, number + b"\n")


async def _reached(store: Store) -> int:
    """Return the number that the rows of the store agree on."""
    async with store.exclusive(()) as transaction:
        rows = dict(await transaction.scan(()))
    number = rows.get(COUNTER, b"0")
    assert rows == (
        {(*ME, "log", number.decode()): number, COUNTER: number, (*ME, "large"): number * 5000}
        if rows
        else {}
    )
    return int(number)


async def _left(place: Place) -> int:
    async with opened(place) as store:
        return await _reached(store)


def _die(place: Place) -> None:
    before = 0
    for step in count():
        listen, acknowledge = os.pipe()
        child = os.fork()
        if not child:
            asyncio.run(kill_at(life(place, acknowledge), step))
            os._exit(0)
        os.close(acknowledge)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with os.fdopen(listen, "rb") as lines:
            acknowledged = max(map(int, lines), default=before)
        assert ended in (0, _KILLED), ended
        after = asyncio.run(_left(place))
        assert acknowledged <= after <= acknowledged + 1, (step, before, acknowledged, after)
        if ended == 0:
            assert after == before + _COMMITS
            print(step)
            return
        before = after


if __name__ == "__main__":
    if sys.argv[1] == "die":
        _die(Place.from_text(sys.argv[2]))
    else:
        asyncio.run(_count(Place.from_text(sys.argv[2]), *sys.argv[3:]))
