"""Targeted items of which a service shows any version anywhere, in any order, again and again.

What must hold: each says what it said when it was written; none is lost by what a service shows,
but by a newer version in the place where it is kept; and what is lost is known for what it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from e2ee.errors import ErrorCode
from e2ee.history import Sighting
from e2ee.trust import BlindTrustOnFirstSight
from e2ee.xmltree import Element
from pubsub_encryption.targeted_reading import OpenedTargeted, UnreadableTargeted
from tests.support.omemo_world import Party, World, copied
from tests.support.targeted_world import at, kept, published, said, stood, targeted

PLACES = ("1", "2", "3")
VERSIONS = 3
CURRENT = (Sighting.FIRST, Sighting.SAME, Sighting.REPLACED)

SHOWN = st.tuples(st.integers(0, len(PLACES) * VERSIONS - 1), st.sampled_from(PLACES))
FORGOTTEN = st.sampled_from(PLACES)
STEPS = st.lists(st.one_of(st.lists(SHOWN, min_size=1, max_size=4), FORGOTTEN), max_size=10)


@dataclass(frozen=True)
class Template:
    """Romeo before he read anything, and all that Juliet published.

    Attributes:
        romeo: whose store is copied for each life.
        payloads: by their numbers, each version of a place a minute after the one before.
    """

    romeo: Party
    payloads: tuple[Element, ...]


@cache
def template() -> Template:
    async def made() -> Template:
        world = World()
        juliet, romeo = [
            await world.device(jid, trust=BlindTrustOnFirstSight())
            for jid in ("juliet@capulet.lit", "romeo@montague.lit")
        ]
        await romeo.hear_of(juliet)
        payloads: list[Element] = []
        for place in PLACES:
            for _ in range(VERSIONS):
                text = f"number {len(payloads)}"
                payloads.append(await published(juliet, romeo, text=text, place=at(place)))
                world.wait(timedelta(minutes=1))
        return Template(romeo, tuple(payloads))

    return asyncio.run(made())


class Life:
    """One reader, and what must be true of what is kept."""

    def __init__(self, party: Party, payloads: Sequence[Element]) -> None:
        self.party = party
        self.payloads = payloads
        self.kept: dict[str, int] = {}
        self.seen: dict[int, set[str]] = {}  # where each content was shown, once it was opened
        self.used: set[int] = set()  # of which the key is used up

    async def show(self, page: Sequence[tuple[int, str]]) -> None:
        """Show a page, and check each result."""
        shown = [(self.payloads[number], stood(at(place))) for number, place in page]
        results = await targeted(self.party).decrypt_many(shown)
        for (number, place), result in zip(page, results, strict=True):
            seen = self.seen.get(number, set())
            is_kept = any(self.kept.get(each) == number for each in {place, *seen})
            assert isinstance(result, OpenedTargeted) == (is_kept or number not in self.used)
            if isinstance(result, OpenedTargeted):
                assert said(result) == f"number {number}"
                assert seen or result.seen.sighting is not Sighting.MOVED
                if not is_kept and result.seen.sighting in CURRENT:
                    self.kept[place] = number
                    self.used.add(number)
            else:
                assert isinstance(result, UnreadableTargeted)
                assert result.error.code is ErrorCode.REPLAY
                assert result.seen is not None
            self.seen.setdefault(number, set()).add(place)

    async def forget(self, place: str) -> None:
        """Forget what is kept of a place."""
        await targeted(self.party).cache.forget(at(place))
        self.kept.pop(place, None)

    async def check(self) -> None:
        """Compare what is kept."""
        for place in PLACES:
            item = await kept(self.party, at(place))
            number = self.kept.get(place)
            assert (item and said(item)) == (None if number is None else f"number {number}")
        assert await self.party.sessions.undelivered() == ()


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_n_13_o_36_whatever_a_service_shows(steps: list[list[tuple[int, str]] | str]) -> None:
    begun = template()

    async def live() -> None:
        life = Life(begun.romeo.reopened(await copied(begun.romeo.store)), begun.payloads)
        for step in steps:
            if isinstance(step, str):
                await life.forget(step)
            else:
                await life.show(step)
            await life.check()

    asyncio.run(live())
