"""Cached items for the tests of the cache: contents in places, and one commit for what is kept.

Rule: shorthands only; what a cache must do is said by the tests.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from e2ee.draft import Draft
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress, SecretId
from e2ee.omemo.device import DeviceId
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.storage import Key, Store
from e2ee.trust import BlindTrustOnFirstSight, Trust
from pubsub_encryption.cache import ItemCache
from pubsub_encryption.cache_policy import CachePolicy
from pubsub_encryption.cached_item import CachedItem
from pubsub_encryption.items import Authorship
from tests.support.node_world import entry

__all__ = [
    "BLOG",
    "ME",
    "NOW",
    "Desk",
    "at_id",
    "by_device",
    "by_member",
    "check_rows",
    "digest_of",
]

ME: Final = BareJid.parse("juliet@capulet.lit")
NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
BLOG: Final = NodeAddress(BareJid.parse("pubsub.capulet.lit"), "blog")

_ROMEO: Final = BareJid.parse("romeo@montague.lit")


def at_id(item_id: str, node: NodeAddress = BLOG) -> ItemPlace:
    """Return the place of an item."""
    return ItemPlace(node, ItemId(item_id))


def digest_of(content: str) -> bytes:
    """Return what stands for the cipher text of a content."""
    return hashlib.sha256(content.encode()).digest()


def by_member(
    item_id: str, content: str, node: NodeAddress = BLOG, stored: datetime = NOW
) -> CachedItem:
    """Return an item that was encrypted with the secret of its node."""
    return CachedItem(
        place=at_id(item_id, node),
        digest=digest_of(content),
        payload=entry(content),
        authorship=Authorship.NODE_KEY_HOLDER,
        stored=stored,
        secret_id=SecretId("s"),
    )


def by_device(
    item_id: str, content: str, node: NodeAddress = BLOG, stored: datetime = NOW
) -> CachedItem:
    """Return a targeted item, of which there is no other copy."""
    return CachedItem(
        place=at_id(item_id, node),
        digest=digest_of(content),
        payload=entry(content),
        authorship=Authorship.DEVICE,
        stored=stored,
        sender=_ROMEO,
        device=DeviceId(7),
        fingerprint="ab" * 32,
        trust=Trust.AUTOMATIC,
        time=NOW - timedelta(days=1),
    )


@dataclass
class Desk:
    """A cache on a store, at a moment that a test sets."""

    store: Store
    policy: CachePolicy = field(default_factory=CachePolicy)
    now: datetime = NOW

    @property
    def cache(self) -> ItemCache:
        """The cache as it would be found by another process."""
        ports = Ports(self.store, NativePrimitives(), BlindTrustOnFirstSight(), lambda: self.now)
        return ItemCache(ME, ports, self.policy)

    async def keep(self, *items: CachedItem) -> None:
        """Keep items in one commit."""
        async with self.store.exclusive((str(ME),)) as tx:
            draft = Draft(tx, ME)
            for item in items:
                await self.cache.keep_within(draft, item)
            await draft.commit()

    async def serve(
        self, item_id: str, content: str, node: NodeAddress = BLOG
    ) -> CachedItem | None:
        """Ask for what was kept of a content in a place."""
        async with self.store.exclusive((str(ME),)) as tx:
            place = at_id(item_id, node)
            return await self.cache.served_within(Draft(tx, ME), place, digest_of(content))

    async def ids(self, node: NodeAddress = BLOG) -> list[str]:
        """Return the ids of all that is kept of a node."""
        return [item.place.item_id for item in await self.cache.page(node, limit=1000)]

    async def rows(self) -> dict[Key, bytes]:
        """Return all rows of the account."""
        async with self.store.exclusive((str(ME),)) as tx:
            return dict(await tx.scan((str(ME),), limit=10**6))


def check_rows(stored: dict[Key, bytes]) -> None:
    """Check that items, turns and counts of a cache agree."""
    by_kind: dict[str, dict[Key, Any]] = {}
    for key, raw in stored.items():
        assert key[1] == "cache"
        by_kind.setdefault(key[2], {})[key[3:]] = (json.loads(raw), len(raw))
    items = {key: (fields["turn"], size) for key, (fields, size) in by_kind.pop("item", {}).items()}
    turns = by_kind.pop("turn", {})
    by_node = by_kind.pop("node-turn", {})
    for (_, number), (turn, _) in turns.items():
        assert items[tuple(turn["place"])][0] == int(number)
    assert len(turns) == len(items)
    assert by_node == {
        (*turn["place"][:2], *key): (turn, size) for key, (turn, size) in turns.items()
    }
    assert {key: count["items"] for key, (count, _) in by_kind.pop("node-count", {}).items()} == {
        node: sum(key[:2] == node for key in items) for node in {key[:2] for key in items}
    }
    if stored:
        (count, _) = by_kind.pop("count")[()]
        assert count["items"] == len(items)
        assert count["size"] == sum(turn["size"] for turn, _ in turns.values())
        assert count["last"] >= max([0, *(number for number, _ in items.values())])
    assert not by_kind
