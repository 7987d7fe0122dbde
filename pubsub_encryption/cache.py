"""ItemCache: the decrypted items of one account, kept until the policy lets them go.

Rule: keeps and gives back; it opens nothing, and decides nothing about what is believed. A copy is
served for the very content that it was made of, and for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import Final

from e2ee.draft import Draft
from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.history import History
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.ports import Ports
from e2ee.search import Hit, Query, is_searchable
from e2ee.storage import Key
from pubsub_encryption.cache_policy import CachePolicy
from pubsub_encryption.cache_rows import CacheRows
from pubsub_encryption.cached_item import CachedItem

__all__ = ["FoundItem", "ItemCache"]

_MOST: Final = 1000  # items of one page


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item that a search found.

    Attributes:
        hit: how well it fits, and where the words are; the last one of a page leads to the next.
        item: the item.
    """

    hit: Hit
    item: CachedItem


class ItemCache:
    """The cache of one account; it holds nothing but what is in the store.

    It is as well protected as the store: sealed where that is. Where the store has an index, every
    item can be found by its words from the commit that keeps it to the one that lets it go.

    What the policy lets go is lost where there is no other copy: OMEMO decrypts an item once. So
    those go last, after all that the service can give again.
    """

    def __init__(self, account: BareJid, ports: Ports, policy: CachePolicy | None = None) -> None:
        """Bind the cache of an account.

        Args:
            account: whose.
            ports: the store in which it lies, and the clock.
            policy: its bounds; by default those of ``CachePolicy()``. What is kept beyond them goes
                with the next items that are kept, or by :meth:`trim`.
        """
        self.account = account
        self.ports = ports
        self.policy = policy or CachePolicy()

    @property
    def scope(self) -> Key:
        """How the keys of all rows of the account begin."""
        return (str(self.account),)

    # -- reading

    async def get(self, place: ItemPlace) -> CachedItem | None:
        """Return what is kept of a place, or ``None``; the service may hold something newer.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            record = await self._rows(Draft(tx, self.account)).find(place)
        return record.item if record else None

    async def page(
        self, node: NodeAddress, after: ItemId | None = None, limit: int = 100
    ) -> tuple[CachedItem, ...]:
        """Return what is kept of a node, in the order of the items' ids.

        Args:
            node: the node.
            after: the id of the last item of the page before.
            limit: items at most, 1 to 1000.

        Raises:
            ApiMisuse: another limit.
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        if not 1 <= limit <= _MOST:
            raise ApiMisuse(f"a page of other than 1 to {_MOST} items")
        async with self.ports.store.exclusive(self.scope) as tx:
            return await self._rows(Draft(tx, self.account)).page(node, after, limit)

    @property
    def is_searchable(self) -> bool:
        """Whether items can be found by their words: never in a store that seals its rows."""
        return is_searchable(self.ports.store)

    async def search(
        self, query: Query, limit: int = 20, after: Hit | None = None
    ) -> tuple[FoundItem, ...]:
        """Return the items that fit a query, the best first.

        Args:
            query: what is looked for; who wrote an item is looked for among proven senders and
                among what items claim, so see what each hit's item proves.
            limit: items at most.
            after: the last hit of the page before.

        Raises:
            ApiMisuse: the store has no index; what ``SearchTransaction.search`` refuses.
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        store = self.ports.store
        if not is_searchable(store):
            raise ApiMisuse("a search in a store that has no index")
        found: list[FoundItem] = []
        async with store.exclusive(self.scope) as tx:
            rows = self._rows(Draft(tx, self.account))
            for hit in await tx.search(query, limit, after):
                record = await rows.find(rows.place_at(hit.key))
                if record is None:
                    raise StoreFailed(
                        ErrorCode.STORE_CORRUPT, "the index has an item that is not kept"
                    )
                found.append(FoundItem(hit, record.item))
        return tuple(found)

    async def served_within(
        self, draft: Draft, place: ItemPlace, digest: bytes
    ) -> CachedItem | None:
        """Return what is kept of this very content in this place, or ``None``.

        Args:
            draft: the caller's, in the account's scope.
            place: where the service shows it.
            digest: SHA-256 of what it shows, as in ``CachedItem.digest``.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        record = await self._rows(draft).find(place)
        if record is None or not compare_digest(record.item.digest, digest):
            return None
        return record.item

    # -- changing

    async def keep_within(self, draft: Draft, item: CachedItem) -> None:
        """Keep an item in the place of what stood there, with its document where there is an index.

        Old items are let go in the same commit where they must be, but none that it keeps itself.
        Whoever knows from a ``History`` that a newer version is kept decides whether to keep this.

        Args:
            draft: the caller's, in the account's scope.
            item: what to keep.

        Raises:
            PeerMisbehaved: ``limit-exceeded``: the payload could not be read again; the draft is as
                it was.
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        await self._rows(draft).put(item)

    async def set_verdict(self, place: ItemPlace, digest: bytes, verdict: str | None) -> bool:
        """Note what the signatures of an item were found to prove.

        Args:
            place: where it stands.
            digest: of the very content that was judged.
            verdict: in the words of who judged.

        Returns:
            Whether that content is kept there; if not, nothing is noted.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            draft = Draft(tx, self.account)
            rows = self._rows(draft)
            record = await rows.find(place)
            if record is None or not compare_digest(record.item.digest, digest):
                return False
            await rows.update(replace(record, item=replace(record.item, verdict=verdict)))
            await draft.commit()
        return True

    async def retracted(self, place: ItemPlace) -> None:
        """Let go an item that its service says was retracted: it is old if it comes back.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            draft = Draft(tx, self.account)
            history = History(tx, self.scope)
            await history.retracted(place)
            draft.take(history.changes())
            await self._rows(draft).remove(place)
            await draft.commit()

    async def forget(self, what: ItemPlace | NodeAddress) -> None:
        """Let go one item, or in several commits all items of a node, at the user's word.

        What was seen where stays known. An item that OMEMO decrypted is gone for good.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``; of a node some items may be gone.
        """
        goes_on = True
        while goes_on:
            async with self.ports.store.exclusive(self.scope) as tx:
                draft = Draft(tx, self.account)
                rows = self._rows(draft)
                if isinstance(what, NodeAddress):
                    goes_on = await rows.remove_some(what)
                else:
                    goes_on = False
                    await rows.remove(what)
                await draft.commit()

    async def trim(self) -> bool:
        """Let go some of what is too old or too much by the policy; a fixed amount of work.

        Returns:
            Whether there may be more.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            draft = Draft(tx, self.account)
            goes_on = await self._rows(draft).trim(self.ports.clock())
            await draft.commit()
        return goes_on

    def _rows(self, draft: Draft) -> CacheRows:
        return CacheRows(draft, self.policy, is_indexed=self.is_searchable)
