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

from collections.abc import Awaitable, Callable
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
_AT_ONCE: Final = 500  # items that are let go in one commit; a large one may drive out many
_PAGE: Final = 20  # rows read at once to find out what goes


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
        number = (await self._count()).last + 1
        raw = ItemRecord(item, number).to_record()
        await self.remove(item.place)
        turn = TurnRecord(item.place, len(raw), item.stored)
        await self._add(item.place.node, 1, turn.size, last=number)
        for key in self._turn_keys(item.place, _ONLY if item.is_only_copy else _AGAIN, number):
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
        lot = _ONLY if record.item.is_only_copy else _AGAIN
        raw = await self._draft.get(self._turn_keys(place, lot, record.turn)[0])
        if raw is None:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored turn of a cached item is lost")
        await self._drop(TurnRecord.from_record(raw), lot, record.turn)

    async def remove_some(self, node: NodeAddress) -> bool:
        """Let go some items of a node, and say whether there may be more."""

        async def always(_: TurnRecord) -> bool:
            return True

        return await self._let_go(self._node_turns(node), _AT_ONCE, always) == _AT_ONCE

    async def trim(self, now: datetime) -> bool:
        """Let go some of what is too old or too much, and say whether there may be more.

        What the same draft keeps stays, so that none is lost before anybody saw it.

        Args:
            now: the present, aware.
        """
        left = _AT_ONCE
        if (max_age := self._policy.max_age) is not None:
            oldest = now - max_age

            async def is_too_old(turn: TurnRecord) -> bool:
                return turn.stored < oldest

            for lot in (_AGAIN, _ONLY):
                left -= await self._let_go(self._row("turn", lot), left, is_too_old)

        async def is_too_much(_: TurnRecord) -> bool:
            count = await self._count()
            return count.items > self._policy.max_items or count.size > self._policy.max_bytes

        left -= await self._let_go(self._row("turn"), left, is_too_much)
        return left == 0

    async def _trim_node(self, node: NodeAddress) -> None:
        async def is_too_much(_: TurnRecord) -> bool:
            return (await self._node_count(node)).items > self._policy.max_items_per_node

        await self._let_go(self._node_turns(node), _AT_ONCE, is_too_much)

    async def _let_go(
        self, prefix: Key, most: int, goes: Callable[[TurnRecord], Awaitable[bool]]
    ) -> int:
        """Let go items in the order of ``prefix`` while they must; return how many."""
        gone = 0
        rows: list[tuple[Key, bytes]] = []
        while gone < most:
            rows = rows or await self._draft.scan(prefix, limit=_PAGE)
            if not rows:
                break
            key, raw = rows.pop(0)
            turn = TurnRecord.from_record(raw)
            if self._draft.changes_row(self._item_key(turn.place)) or not await goes(turn):
                break
            await self._drop(turn, key[-2], int(key[-1]))
            gone += 1
        return gone

    async def _drop(self, turn: TurnRecord, lot: str, number: int) -> None:
        key = self._item_key(turn.place)
        for each in (key, *self._turn_keys(turn.place, lot, number)):
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

    def _turn_keys(self, place: ItemPlace, lot: str, number: int) -> tuple[Key, Key]:
        turn = (lot, f"{number:020d}")  # sorts as it counts
        return self._row("turn", *turn), (*self._node_turns(place.node), *turn)
