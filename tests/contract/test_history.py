"""A history on every store: what it recognises, and that it forgets."""

from __future__ import annotations

import pytest

from e2ee import limits
from e2ee.history import CIPHER_LINE, History, Sighting
from e2ee.storage import Store
from tests.support.sightings import ME, Sight, digest, rows, see, see_all
from tests.support.sightings import place as at_id
from tests.support.stores import Place, opened

FIRST, SAME, REPLACED, ROLLED_BACK, MOVED = Sighting
ONE, TWO = at_id("1"), at_id("2")


async def test_it_recognises_what_it_saw(store: Store) -> None:
    assert await see(store, ONE, "a") is FIRST
    assert await see(store, ONE, "b") is REPLACED
    assert await see(store, ONE, "a") is ROLLED_BACK
    assert await see(store, TWO, "b") is MOVED
    assert await see(store, ONE, "b") is SAME


async def test_it_says_where_a_content_was_seen_and_changes_nothing_by_that(store: Store) -> None:
    await see_all(store, [Sight(ONE, "a"), Sight(TWO, "a"), Sight(ONE, "b")])
    before = await rows(store)
    async with store.exclusive(ME) as tx:
        history = History(tx, ME)
        assert await history.places(CIPHER_LINE, digest("a")) == (ONE, TWO)
        assert await history.places(CIPHER_LINE, digest("c")) == ()
        assert await history.places("another line", digest("a")) == ()
        assert history.changes() == []
    assert await rows(store) == before


async def test_r_14_hostile_names_are_kept_apart(store: Store) -> None:
    """Each is a line, a node and an item, and none is taken for another."""
    names = (
        "'; drop table entry; --",
        "/",
        "a",
        "a/b",
        "é",
        "e\u0301",
        "%",
        "b" * 4096,
        "\U0001f600",
    )
    sights = [
        Sight(at_id(item, node), f"{line} {node} {item}", None, line)
        for line in names
        for node in names
        for item in names
    ]
    for expected in (FIRST, SAME):
        seen = await see_all(store, sights)
        assert {each.sighting for each in seen} == {expected}
        assert {each.elsewhere for each in seen} == {()}


async def test_it_outlives_the_process(place: Place) -> None:
    async with opened(place) as store:
        await see_all(store, [Sight(ONE, "a", 1), Sight(ONE, "b", 2)])
    async with opened(place) as store:
        assert await see(store, ONE, "a", 1) is ROLLED_BACK
        assert await see(store, ONE, "b", 2) is SAME


async def test_r_13_it_forgets_as_much_as_it_learns(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_HISTORY_ITEMS", 20)
    for page in range(10):
        numbers = range(page * 10, page * 10 + 10)
        await see_all(store, [Sight(at_id(str(number)), f"{number}") for number in numbers])
    assert len(await rows(store)) == 3 * 20 + 3, "and what is said of the node and of all"
    assert await see(store, at_id("80"), "80") is SAME
    assert await see(store, at_id("79"), "79") is FIRST
