"""The rows of a cache, in a draft: items, the order in which they came, and how many there are.

Rule: rows and bounds only; nothing is opened or judged here. The index has a document for each item
while it is there, where the store has an index, and none for longer.

Each row is found by its key:

    item        the item itself, by its place
    turn        the items in the order in which they are let go: first those that the service can
                give again, then those of which there is no other copy; of each lot the oldest first
    node-turn   the same for each node
    count       how many there are, how long they are together, and the last turn
    node-count  how many there are of each node
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from e2ee.draft import Draft
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.search import Forgotten
from e2ee.storage import Key
from pubsub_encryption.cache_policy import CachePolicy
from pubsub_encryption.cache_record import CacheCount, ItemRecord, NodeCount, TurnRecord
from pubsub_encryption.cached_item import CachedItem
from pubsub_encryption.document import document_of

__all__ = ["CacheRows"]

_AGAIN: Final = "again"
_ONLY: Final = "only"  # sorts behind the other lot
_REPEATED: Final = 4  # times that the place of an item stands in the keys and turns beside it
_AT_ONCE: Final = 500  # items that are let go in one commit; a large one may drive out many


class CacheRows:
    """The cache of one account as it will be after the commit."""

    def __init__(self, draft: Draft, policy: CachePolicy, *, is_indexed: bool) -> None:
        """Read and write in a draft.

        Args:
            draft: the caller's.
            policy: what is let go.
            is_indexed: whether the store has an index.
        """
        self._draft = draft
        self._policy = policy
        self._is_indexed = is_indexed

    async def find(self, place: ItemPlace) -> ItemRecord | None:
        """Return what is kept of a place.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        raw = await self._draft.get(self._item_key(place))
        return None if raw is None else ItemRecord.from_record(raw, place)

    async def page(
        self, node: NodeAddress, after: ItemId | None, limit: int
    ) -> tuple[CachedItem, ...]:
        """Return items of a node in the order of their ids; see ``ItemCache.page``."""
        prefix = self._row("item", str(node.service), node.node)
        rows = await self._draft.scan(prefix, None if after is None else (*prefix, after), limit)
        return tuple(
            [
                ItemRecord.from_record(raw, ItemPlace(node, ItemId(key[-1]))).item
                for key, raw in rows
            ]
        )

    async def put(self, item: CachedItem) -> None:
        """Keep an item in the place of what stood there, and let go what is too much by it.

        Raises:
            PeerMisbehaved: ``limit-exceeded``: the payload could not be read again.
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        record = ItemRecord(item, (await self._count()).last + 1)
        raw = record.to_record()
        await self.remove(item.place)
        names = (str(item.place.node.service), item.place.node.node, item.place.item_id)
        size = len(raw) + _REPEATED * len("".join(names).encode())
        turn = TurnRecord(item.place, size, item.stored)
        await self._add(item.place.node, 1, turn.size, last=record.turn)
        for key in self._turn_keys(item.place, *_turn(record)):
            self._draft.put(key, turn.to_record())
        key = self._item_key(item.place)
        self._draft.put(key, raw)
        if self._is_indexed:
            self._draft.index(document_of(key, item))
        await self._trim_node(item.place.node)
        await self.trim(item.stored)

    async def update(self, record: ItemRecord) -> None:
        """Write what is known of an item anew; when it came stays as it is."""
        self._draft.put(self._item_key(record.item.place), record.to_record())

    async def remove(self, place: ItemPlace) -> None:
        """Let go what is kept of a place, if anything is.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        record = await self.find(place)
        if record is None:
            return
        key, _ = self._turn_keys(place, *_turn(record))
        raw = await self._draft.get(key)
        if raw is None:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored turn of a cached item is lost")
        await self._drop(key, TurnRecord.from_record(raw))

    async def remove_some(self, node: NodeAddress) -> bool:
        """Let go some items of a node, and say whether there may be more."""
        for _ in range(_AT_ONCE):
            first = await self._first(self._node_turns(node))
            if first is None:
                return False
            await self._drop(*first)
        return True

    async def trim(self, now: datetime) -> bool:
        """Let go some of what is too old or too much, and say whether there may be more.

        What the same draft keeps stays, so that none is lost before anybody saw it.

        Args:
            now: the present, aware.
        """
        for _ in range(_AT_ONCE):
            first = await self._next(now)
            if first is None:
                return False
            await self._drop(*first)
        return True

    async def _trim_node(self, node: NodeAddress) -> None:
        for _ in range(_AT_ONCE):
            if (await self._node_count(node)).items <= self._policy.max_items_per_node:
                break
            first = await self._first(self._node_turns(node))
            if first is None:
                break
            await self._drop(*first)

    async def _next(self, now: datetime) -> tuple[Key, TurnRecord] | None:
        """Return what the policy lets go next, if anything."""
        if (max_age := self._policy.max_age) is not None:
            for lot in (_AGAIN, _ONLY):
                first = await self._first(self._row("turn", lot))
                if first is not None and first[1].stored < now - max_age:
                    return first
        count = await self._count()
        if count.items > self._policy.max_items or count.size > self._policy.max_bytes:
            return await self._first(self._row("turn"))
        return None

    async def _first(self, turns: Key) -> tuple[Key, TurnRecord] | None:
        """Return the first turn below a key, unless the draft itself keeps that item."""
        for key, raw in await self._draft.scan(turns, limit=1):
            turn = TurnRecord.from_record(raw)
            if not self._draft.changes_row(self._item_key(turn.place)):
                return key, turn
        return None

    async def _drop(self, turn_key: Key, turn: TurnRecord) -> None:
        key = self._item_key(turn.place)
        for each in (key, *self._turn_keys(turn.place, *turn_key[-2:])):
            self._draft.remove(each)
        if self._is_indexed:
            self._draft.index(Forgotten(key))
        await self._add(turn.place.node, -1, -turn.size)

    async def _add(self, node: NodeAddress, items: int, size: int, last: int | None = None) -> None:
        count, own = await self._count(), await self._node_count(node)
        last = count.last if last is None else last
        count = CacheCount(last, count.items + items, count.size + size)
        self._draft.put(self._row("count"), count.to_record())
        key = self._node_key(node)
        if own.items + items:
            self._draft.put(key, NodeCount(own.items + items).to_record())
        else:
            self._draft.remove(key)

    async def _count(self) -> CacheCount:
        raw = await self._draft.get(self._row("count"))
        if raw is not None:
            return CacheCount.from_record(raw)
        if await self._draft.scan(self._row(), limit=1):
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored count of a cache is lost")
        return CacheCount()

    async def _node_count(self, node: NodeAddress) -> NodeCount:
        raw = await self._draft.get(self._node_key(node))
        return NodeCount() if raw is None else NodeCount.from_record(raw)

    # -- keys

    def place_at(self, key: Key) -> ItemPlace:
        """Return the place of the item that is kept at ``key``."""
        service, node, item_id = key[-3:]
        return ItemPlace(NodeAddress(BareJid.parse(service), node), ItemId(item_id))

    def _row(self, *parts: str) -> Key:
        return self._draft.row("cache", *parts)

    def _item_key(self, place: ItemPlace) -> Key:
        return self._row("item", str(place.node.service), place.node.node, place.item_id)

    def _node_key(self, node: NodeAddress) -> Key:
        return self._row("node-count", str(node.service), node.node)

    def _node_turns(self, node: NodeAddress) -> Key:
        return self._row("node-turn", str(node.service), node.node)

    def _turn_keys(self, place: ItemPlace, lot: str, number: str) -> tuple[Key, Key]:
        return self._row("turn", lot, number), (*self._node_turns(place.node), lot, number)


def _turn(record: ItemRecord) -> tuple[str, str]:
    """Return by what a turn is found: the lot, and a number that sorts as it counts."""
    return _ONLY if record.item.is_only_copy else _AGAIN, f"{record.turn:020d}"
