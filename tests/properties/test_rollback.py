"""Every short history of a guarded store: refused exactly when something is missing.

Not drawn at random, because the histories that tell a good guard from a worse one are few.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key, Put
from e2ee.stores.guarded import GuardedStore
from tests.support.anchors import HookedAnchor, memory_with
from tests.support.ox_world import dump

ME = ("juliet@capulet.lit",)
HISTORY = (*ME, "history")
STEPS = 4  # after a first commit; as many as it takes to come back to a commit that was given up


@dataclass(frozen=True)
class Moment:
    """Where a history has come to, and what the model knows of it.

    Attributes:
        rows: of the store; its row of history has the number of every commit.
        kept: by the anchor.
        left: the commits that somebody outside may know of.
        given_up: by each renewal.
        copies: all stores that there were, the last one at the end.
    """

    rows: Mapping[Key, bytes] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    left: frozenset[int] = frozenset()
    given_up: Mapping[int, frozenset[int]] = field(default_factory=dict)
    copies: tuple[Mapping[Key, bytes], ...] = ({},)

    @property
    def there(self) -> frozenset[int]:
        return frozenset(map(int, self.rows.get(HISTORY, b"").split()))

    @property
    def generation(self) -> int:
        return int(
            json.loads(self.rows.get((*ME, "\0generation"), b'{"generation":0}'))["generation"]
        )

    @property
    def is_whole(self) -> bool:
        return self.left <= self.there.union(*(self.given_up.get(each, ()) for each in self.there))


class Crashing(HookedAnchor):
    """Kills whoever raises it for the given time, from 0."""

    def __init__(self, kept: Mapping[str, int], crash: int | None) -> None:
        super().__init__()
        self.kept = dict(kept)
        self.left = crash

    async def raise_to(self, account: str, generation: int) -> None:
        if self.left is not None:
            if self.left == 0:
                raise asyncio.CancelledError
            self.left -= 1
        await super().raise_to(account, generation)


async def work(now: Moment, number: int, crash: int | None, *, renewing: bool) -> Moment:
    """Commit, or be killed while the anchor is raised."""
    memory, anchor = await memory_with(now.rows), Crashing(now.kept, crash)
    store = GuardedStore(memory, anchor)
    left, refused = now.left, None
    try:
        async with store.renewal(ME) if renewing else store.exclusive(ME) as tx:
            raw = await tx.get(HISTORY) or b""
            if not renewing:
                left |= now.there  # whoever has read may tell the world
            await tx.commit([Put(HISTORY, raw + b" %d" % number)])
        left |= {*now.there, number}
    except asyncio.CancelledError:
        assert crash is not None
    except StoreFailed as error:
        refused = error.code
    assert refused == (None if now.is_whole or renewing else ErrorCode.STORE_ROLLED_BACK)
    if anchor.kept.get(ME[0]) == now.generation:
        left |= now.there  # a renewal, killed after it had made sure of the last commit
    rows = await dump(memory)
    copies = now.copies if rows in now.copies else (*now.copies, rows)
    given_up = {**now.given_up, number: now.left} if renewing else now.given_up
    return Moment(rows, anchor.kept, left, given_up, copies)


async def check(now: Moment) -> bool:
    """Return whether the store may be read, after making sure that it is as it should be."""
    store = GuardedStore(await memory_with(now.rows), Crashing(now.kept, None))
    refused = None
    try:
        async with store.exclusive(ME):
            pass
    except StoreFailed as error:
        refused = error.code
    assert refused == (None if now.is_whole else ErrorCode.STORE_ROLLED_BACK)
    return now.is_whole


async def explore(now: Moment, number: int, outcomes: Counter[bool]) -> None:
    outcomes[await check(now)] += 1
    if number > STEPS + 1:
        return
    for renewing in (False, True):
        for crash in (None, 0, 1):
            then = await work(now, number, crash, renewing=renewing)
            await explore(then, number + 1, outcomes)
    for copy in now.copies:
        if copy != now.rows:
            await explore(replace(now, rows=copy), number + 1, outcomes)


async def test_r_05_a_store_is_refused_exactly_when_something_that_left_is_missing() -> None:
    outcomes: Counter[bool] = Counter()
    await explore(await work(Moment(), 1, None, renewing=False), 2, outcomes)
    assert min(outcomes[True], outcomes[False]) > 1000
