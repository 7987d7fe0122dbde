"""History against a model that keeps a log of all that was seen and works it out anew each time.

The model knows no rows and forgets nothing. Where the history forgets, only its rows are checked:
that they are bounded, and that each has those that it needs.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from e2ee import limits
from e2ee.history import History, Seen, Sighting
from e2ee.names import ItemPlace
from e2ee.stores.memory import MemoryStore
from tests.support.sightings import ME, NOW, Sight, at, digest, place, rows, see_all

T = TypeVar("T")

FIRST, SAME, REPLACED, ROLLED_BACK, MOVED = Sighting
PLACES = tuple(place(item, node) for item in "12" for node in ("blog", "other"))
DATES = dict(zip("abcdef", (None, 1, 2, 2, 3, None), strict=True))
"""When each content is dated, for an author dates one content once."""

sights = st.builds(
    lambda where, content, line: Sight(where, content, DATES[content], line),
    st.sampled_from(PLACES),
    st.sampled_from(sorted(DATES)),
    st.sampled_from(("cipher", "juliet@capulet.lit")),
)


class Model:
    """All that happened, oldest first: a sight, or a place that was retracted."""

    def __init__(self) -> None:
        self.log: list[Sight | ItemPlace] = []

    def _seen(self, line: str) -> Iterator[Sight]:
        return (each for each in self.log if isinstance(each, Sight) and each.line == line)

    def places(self, sight: Sight) -> list[ItemPlace]:
        """Where this content was seen, in order."""
        return list(
            dict.fromkeys(e.place for e in self._seen(sight.line) if e.content == sight.content)
        )

    def versions(self, where: ItemPlace, line: str) -> tuple[list[str], bool]:
        """The contents that were seen there, newest last, and whether they were retracted since."""
        versions: list[str] = []
        gone = False
        for event in self.log:
            if event == where:
                gone = bool(versions)
            elif isinstance(event, Sight) and (event.place, event.line) == (where, line):
                if event.content in versions:
                    continue
                dates = [date for each in versions if (date := DATES[each]) is not None]
                if event.dated is None or not dates or event.dated >= max(dates):
                    versions.append(event.content)
                    gone = False
                else:
                    versions.insert(0, event.content)
        return versions, gone

    def judge(self, sight: Sight) -> Sighting:
        places = self.places(sight)
        if places and places[0] != sight.place:
            return MOVED
        before, gone = self.versions(sight.place, sight.line)
        if sight.content in before:
            return SAME if sight.content == before[-1] and not gone else ROLLED_BACK
        self.log.append(sight)
        after, _ = self.versions(sight.place, sight.line)
        self.log.pop()
        if after[-1] != sight.content:
            return ROLLED_BACK
        return REPLACED if before else FIRST


class HistoryMachine(RuleBasedStateMachine):
    """A history, one page after the other, beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = MemoryStore()
        self.model = Model()

    def teardown(self) -> None:
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @rule(page=st.lists(sights, min_size=1, max_size=5))
    def see(self, page: list[Sight]) -> None:
        for sight, seen in zip(page, self.run(see_all(self.store, page)), strict=True):
            elsewhere = tuple(each for each in self.model.places(sight) if each != sight.place)
            assert seen == Seen(self.model.judge(sight), NOW, elsewhere), (sight, self.model.log)
            self.model.log.append(sight)

    @rule(page=st.lists(sights, max_size=3))
    def see_in_vain(self, page: list[Sight]) -> None:
        self.run(self._operate(page, None, commit=False))

    @rule(where=st.sampled_from(PLACES))
    def retract(self, where: ItemPlace) -> None:
        self.run(self._operate([], where, commit=True))
        self.model.log.append(where)

    async def _operate(self, page: list[Sight], gone: ItemPlace | None, *, commit: bool) -> None:
        async with self.store.exclusive(ME) as tx:
            history = History(tx, ME)
            for each in page:
                stamp = None if each.dated is None else at(each.dated)
                await history.saw(each.place, each.line, digest(each.content), stamp, NOW)
            if gone is not None:
                await history.retracted(gone)
            if commit:
                await tx.commit(history.changes())

    @invariant()
    def rows_have_what_they_need(self) -> None:
        check_rows(self.run(rows(self.store)))


def check_rows(stored: dict[tuple[str, ...], bytes]) -> None:
    """Check that contents, turns, tips, shares and the count agree."""
    by_kind: dict[str, dict[tuple[str, ...], Any]] = {}
    for key, raw in stored.items():
        by_kind.setdefault(key[2], {})[key[3:]] = json.loads(raw)
    turns = by_kind.get("turn", {})
    remembered = {
        (*key, where): turn
        for key, content in by_kind.get("content", {}).items()
        for where, turn, *_ in content["places"]
    }
    assert {(t["line"], t["content"], t["place"]): int(key[-1]) for key, t in turns.items()} == (
        remembered
    )
    for (where, line), tip in by_kind.get("tip", {}).items():
        assert (line, tip["newest"], where) in remembered
    shares = Counter(key[0] for key in turns)
    assert {key[0]: row["sightings"] for key, row in by_kind.get("share", {}).items()} == shares
    sizes = {(key[1], row["sightings"]) for key, row in by_kind.get("size", {}).items()}
    assert sizes == set(shares.items())
    assert sorted(by_kind.get("size", {})) == sorted(
        by_kind.get("size", {}), key=lambda key: (-shares[key[1]], key[1])
    )
    if stored:
        count = by_kind["count"][()]
        assert count["sightings"] == len(turns)
        assert count["last"] >= max([0, *remembered.values()])


TestHistory = HistoryMachine.TestCase
TestHistory.settings = settings(max_examples=settings().max_examples // 2)


@given(pages=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6), max_size=20))
def test_r_13_what_is_forgotten_leaves_nothing_behind(pages: list[list[int]]) -> None:
    """However often it is seen again, and whichever version or copy goes first."""
    store = MemoryStore()

    async def see_pages() -> None:
        for page in pages:
            contents = [Sight(PLACES[n % 4], f"{n // 2}", n // 8 or None) for n in page]
            await see_all(store, contents)
            stored = await rows(store)
            check_rows(stored)
            held = sum(key[2] == "turn" for key in stored)
            assert held <= limits.MAX_HISTORY_ITEMS + max(map(len, pages))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_HISTORY_ITEMS", 8)
        asyncio.run(see_pages())


@given(
    order=st.permutations(range(8)),
    cuts=st.lists(st.integers(1, 8), max_size=3),
    again=st.integers(0, 7),
)
def test_r_12_no_order_makes_the_newest_version_a_rollback(
    order: list[int], cuts: list[int], again: int
) -> None:
    """Pages of an archive are read in any order: where versions are dated, only dates count."""
    store = MemoryStore()
    bounds = [0, *sorted(set(cuts)), 8]

    async def read() -> None:
        highest = -1
        for start, end in pairwise(bounds):
            page = [Sight(PLACES[0], f"{number}", number) for number in order[start:end]]
            for sight, seen in zip(page, await see_all(store, page), strict=True):
                assert sight.dated is not None
                assert (seen.sighting is ROLLED_BACK) == (sight.dated < highest)
                highest = max(highest, sight.dated)
        (seen,) = await see_all(store, [Sight(PLACES[0], f"{again}", again)])
        assert seen.sighting is (SAME if again == 7 else ROLLED_BACK)

    asyncio.run(read())
