"""A cache against a model: a service that shows anything anywhere, and what must come of it.

The model keeps a list of what was kept, oldest first, and works out anew what the policy lets go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from e2ee.names import ItemPlace, NodeAddress
from e2ee.stores.memory import MemoryStore
from pubsub_encryption.cache_policy import CachePolicy
from pubsub_encryption.cached_item import CachedItem
from tests.support.cached_items import BLOG, Desk, at_id, by_device, by_member, check_rows

T = TypeVar("T")

NODES = (BLOG, NodeAddress(BLOG.service, "diary"))
POLICY = CachePolicy(max_items=6, max_items_per_node=4)

items = st.builds(
    lambda kind, name, content, node: kind(name, content, node),
    st.sampled_from((by_member, by_device)),
    st.sampled_from("12345"),
    st.sampled_from("abcd"),
    st.sampled_from(NODES),
)


class CacheMachine(RuleBasedStateMachine):
    """A cache, one page after the other, beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.desk = Desk(MemoryStore(), POLICY)
        self.kept: list[CachedItem] = []

    def teardown(self) -> None:
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def let_go(self, of: NodeAddress | None, most: int, page: set[ItemPlace]) -> None:
        """Let go what there is too much of, as long as it is not of this page."""
        while True:
            held = [item for item in self.kept if of in (None, item.place.node)]
            first = min(held, key=lambda item: item.is_only_copy, default=None)
            if first is None or len(held) <= most or first.place in page:
                return
            self.kept.remove(first)

    @rule(page=st.lists(items, min_size=1, max_size=4))
    def keep(self, page: list[CachedItem]) -> None:
        self.run(self.desk.keep(*page))
        places: set[ItemPlace] = set()
        for item in page:
            self.kept = [each for each in self.kept if each.place != item.place]
            self.kept.append(item)
            places.add(item.place)
            self.let_go(item.place.node, POLICY.max_items_per_node, places)
            self.let_go(None, POLICY.max_items, places)

    @rule(item=items)
    def serve(self, item: CachedItem) -> None:
        """What is served is of that very content; another one in its place is not."""
        place = item.place
        served = self.run(self.desk.serve(place.item_id, item.payload.elements[0].text, place.node))
        expected = [each for each in self.kept if (each.place, each.digest) == (place, item.digest)]
        assert ([] if served is None else [served]) == expected
        assert served is None or served.payload == item.payload

    @rule(name=st.sampled_from("12345"), node=st.sampled_from(NODES), retracted=st.booleans())
    def forget(self, name: str, node: NodeAddress, *, retracted: bool) -> None:
        place = at_id(name, node)
        cache = self.desk.cache
        self.run(cache.retracted(place) if retracted else cache.forget(place))
        self.kept = [each for each in self.kept if each.place != place]

    @rule(node=st.sampled_from(NODES))
    def forget_all(self, node: NodeAddress) -> None:
        self.run(self.desk.cache.forget(node))
        self.kept = [each for each in self.kept if each.place.node != node]

    @rule()
    def trim(self) -> None:
        assert not self.run(self.desk.cache.trim())
        self.let_go(None, POLICY.max_items, set())

    @invariant()
    def pages_hold_what_is_kept(self) -> None:
        for node in NODES:
            held = [each for each in self.kept if each.place.node == node]
            page = sorted(held, key=lambda item: item.place.item_id)
            assert self.run(self.desk.cache.page(node)) == tuple(page)

    @invariant()
    def rows_agree(self) -> None:
        check_rows(self.run(self.desk.rows()))


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=settings().max_examples // 2)
