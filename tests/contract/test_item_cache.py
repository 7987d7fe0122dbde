"""A cache on every store: what it keeps, gives back and lets go."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee.errors import ApiMisuse
from e2ee.history import CIPHER_LINE, History, Sighting
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.search import Query, is_searchable
from e2ee.storage import Store
from pubsub_encryption.cache_policy import CachePolicy
from tests.support.cached_items import (
    BLOG,
    ME,
    NOW,
    Desk,
    at_id,
    by_device,
    by_member,
    check_rows,
    digest_of,
)
from tests.support.stores import Place, opened

OTHER = NodeAddress(BareJid.parse("pubsub.capulet.lit"), "blog2")


async def test_what_is_kept_is_given_back_whole(store: Store) -> None:
    desk = Desk(store)
    items = [by_member("1", "one"), replace(by_device("2", "two"), verdict="trusted")]
    await desk.keep(*items)
    assert [await desk.cache.get(item.place) for item in items] == items
    assert await desk.cache.page(BLOG) == tuple(items)
    assert await desk.serve("1", "one") == items[0]
    assert await desk.cache.get(at_id("3")) is None
    check_rows(await desk.rows())


async def test_n_13_nothing_is_served_for_another_content_or_place(store: Store) -> None:
    desk = Desk(store)
    await desk.keep(by_member("1", "one"), by_member("2", "two"))
    assert await desk.serve("1", "two") is None
    assert await desk.serve("2", "one") is None
    assert await desk.serve("1", "one", OTHER) is None
    await desk.keep(by_member("1", "newer"))
    assert await desk.serve("1", "one") is None
    newer = await desk.serve("1", "newer")
    assert newer == by_member("1", "newer")
    check_rows(await desk.rows())


async def test_pages_are_in_the_order_of_ids(store: Store) -> None:
    desk = Desk(store)
    names = ["ä", "a", "Z", "10", "2", "a/b", "%", "\U0001f600", "b" * 4096]
    await desk.keep(*(by_member(name, name) for name in names), by_member("a", "other", OTHER))
    found: list[str] = []
    while page := await desk.cache.page(BLOG, ItemId(found[-1]) if found else None, limit=2):
        assert all(item == by_member(name := item.place.item_id, name) for item in page)
        found += [item.place.item_id for item in page]
    assert found == sorted(names)
    for limit in (0, 1001):
        with pytest.raises(ApiMisuse):
            await desk.cache.page(BLOG, limit=limit)


async def test_r_13_each_bound_lets_the_oldest_go(store: Store) -> None:
    for policy in (
        CachePolicy(max_items=3),
        CachePolicy(max_items_per_node=3),
        CachePolicy(max_bytes=await _size(store) * 7 // 2),
    ):
        desk = Desk(store, policy)
        for number in range(10):
            await desk.keep(by_member(f"{number}", f"{number}"))
            check_rows(await desk.rows())
        assert await desk.ids() == ["7", "8", "9"], policy
        await desk.cache.forget(BLOG)


async def _size(store: Store) -> int:
    """Return how much one item counts."""
    desk = Desk(store)
    await desk.keep(by_member("0", "0"))
    (raw,) = [raw for key, raw in (await desk.rows()).items() if key[2] == "count"]
    await desk.cache.forget(BLOG)
    size: int = json.loads(raw)["size"]
    return size


async def test_what_is_too_old_goes(store: Store) -> None:
    desk = Desk(store, CachePolicy(max_age=timedelta(days=30)))
    await desk.keep(by_member("old", "a"), by_device("only", "b"))
    desk.now = NOW + timedelta(days=30)
    await desk.keep(by_member("new", "c", stored=desk.now))
    assert await desk.ids() == ["new", "old", "only"]
    desk.now += timedelta(seconds=1)
    assert not await desk.cache.trim()
    assert await desk.ids() == ["new"]
    check_rows(await desk.rows())


async def test_what_is_the_only_copy_goes_last(store: Store) -> None:
    desk = Desk(store, CachePolicy(max_items=4, max_items_per_node=3))
    await desk.keep(by_device("only", "a"), by_member("1", "b"), by_member("2", "c"))
    await desk.keep(by_member("3", "d"))
    assert await desk.ids() == ["2", "3", "only"]
    await desk.keep(by_member("x", "e", OTHER), by_member("y", "f", OTHER))
    assert (await desk.ids(), await desk.ids(OTHER)) == (["3", "only"], ["x", "y"])
    for number in range(4):
        await desk.keep(by_device(f"{number}", f"{number}", OTHER))
    assert (await desk.ids(), await desk.ids(OTHER)) == (["only"], ["1", "2", "3"])
    check_rows(await desk.rows())


async def test_what_one_commit_keeps_stays(store: Store) -> None:
    """A page may hold more than the cache does; none of it is lost before anybody saw it."""
    desk = Desk(store, CachePolicy(max_items=2, max_bytes=1, max_items_per_node=2))
    await desk.keep(by_member("old", "old"))
    await desk.keep(*(by_member(f"{number}", f"{number}") for number in range(5)))
    assert await desk.ids() == ["0", "1", "2", "3", "4"]
    await desk.keep(by_member("5", "five"))
    assert await desk.ids() == ["5"]
    check_rows(await desk.rows())


async def test_what_is_forgotten_leaves_nothing(store: Store) -> None:
    desk = Desk(store)
    await desk.keep(by_member("1", "one"), by_device("2", "two"), by_member("1", "x", OTHER))
    await desk.cache.forget(at_id("1"))
    await desk.cache.forget(at_id("never"))
    assert await desk.ids() == ["2"]
    await desk.cache.forget(BLOG)
    assert (await desk.ids(), await desk.ids(OTHER)) == ([], ["1"])
    await desk.cache.forget(OTHER)
    assert {key[2] for key in await desk.rows()} == {"count"}


async def test_a_whole_node_is_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pubsub_encryption.cache_rows._AT_ONCE", 3)
    desk = Desk(store)
    await desk.keep(*(by_member(f"{number}", f"{number}") for number in range(7)))
    await desk.cache.forget(BLOG)
    check_rows(await desk.rows())
    assert await desk.ids() == []


async def test_a_smaller_policy_is_reached_step_by_step(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pubsub_encryption.cache_rows._AT_ONCE", 3)
    desk = Desk(store)
    await desk.keep(*(by_member(f"{number}", f"{number}") for number in range(9)))
    desk.policy = CachePolicy(max_items=2)
    assert [await desk.cache.trim() for _ in range(4)] == [True, True, False, False]
    assert await desk.ids() == ["7", "8"]
    check_rows(await desk.rows())


async def test_n_13_a_retracted_item_is_old_if_it_comes_back(store: Store) -> None:
    desk = Desk(store)

    async def see() -> Sighting:
        async with store.exclusive((str(ME),)) as tx:
            history = History(tx, (str(ME),))
            seen = await history.saw(at_id("1"), CIPHER_LINE, digest_of("one"), None, NOW)
            await tx.commit(history.changes())
        return seen.sighting

    await desk.keep(by_member("1", "one"))
    assert await see() is Sighting.FIRST
    await desk.cache.retracted(at_id("1"))
    assert await desk.ids() == []
    assert await see() is Sighting.ROLLED_BACK


async def test_a_verdict_is_of_one_content(store: Store) -> None:
    desk = Desk(store)
    await desk.keep(by_member("1", "one"))
    assert await desk.cache.set_verdict(at_id("1"), digest_of("one"), "trusted")
    assert not await desk.cache.set_verdict(at_id("1"), digest_of("two"), "invalid")
    assert not await desk.cache.set_verdict(at_id("2"), digest_of("one"), "invalid")
    kept = await desk.cache.get(at_id("1"))
    assert kept == replace(by_member("1", "one"), verdict="trusted")
    check_rows(await desk.rows())
    await desk.keep(by_member("1", "two"))
    assert await desk.cache.get(at_id("1")) == by_member("1", "two"), "nobody judged this one"
    check_rows(await desk.rows())


async def test_it_outlives_the_process(place: Place) -> None:
    async with opened(place) as store:
        await Desk(store).keep(by_device("1", "one"))
    async with opened(place) as store:
        assert await Desk(store).cache.get(at_id("1")) == by_device("1", "one")


async def test_items_are_found_while_they_are_kept(store: Store) -> None:
    desk = Desk(store, CachePolicy(max_items=2))
    query = Query("rose")
    assert desk.cache.is_searchable == is_searchable(store)
    if not desk.cache.is_searchable:
        with pytest.raises(ApiMisuse):
            await desk.cache.search(query)
        return

    async def ids(query: Query = query) -> set[str]:
        return {each.item.place.item_id for each in await desk.cache.search(query)}

    await desk.keep(by_member("1", "a rose"), by_device("2", "another rose"))
    assert await ids() == {"1", "2"}
    assert await ids(Query("rose", author="romeo@montague.lit")) == {"2"}
    assert await ids(Query("rose", node=OTHER)) == set()
    await desk.keep(by_member("1", "a thorn"))
    assert await ids() == {"2"}, "the content in its place is another one"
    await desk.keep(by_member("3", "no rose"), by_member("4", "the last rose"))
    assert await ids() == {"2", "3", "4"}
    assert await ids(Query("thorn")) == set(), "it was let go"
    (first,) = await desk.cache.search(query, limit=1)
    assert first.item == await desk.cache.get(first.item.place)
    rest = await desk.cache.search(query, limit=5, after=first.hit)
    assert {each.item.place.item_id for each in (first, *rest)} == await ids()
    await desk.cache.retracted(at_id("4"))
    assert "4" not in await ids()
    await desk.cache.forget(BLOG)
    assert await ids() == set()
