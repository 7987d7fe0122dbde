"""NodeReader: an encrypted node read through the cache (XEP-0473 §5.1), and what a service tries.

Rule: what was opened before is served for the very same content only; all else is opened anew. Each
item comes with what the history says of where it stands. One that cannot be opened stops no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from e2ee.arrival import Arrival
from e2ee.draft import Draft
from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.history import CIPHER_LINE, History, Seen, Sighting
from e2ee.names import ItemPlace
from e2ee.xmltree import Element
from ox.grammar import check_passphrase_message
from pubsub_encryption.cache import ItemCache
from pubsub_encryption.cached_item import CachedItem
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.in_use import keychain_to_read
from pubsub_encryption.items import (
    ClearItem,
    OpenedItem,
    UnreadableItem,
    check_place,
    open_items,
)
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node import NodeEncryption
from pubsub_encryption.node_secret import SecretState

__all__ = ["NodeReader", "ReadItem", "ReadResult"]

_RULE: Final = "XEP-0473 §5.1"
_CURRENT: Final = frozenset({Sighting.FIRST, Sighting.SAME, Sighting.REPLACED})


@dataclass(frozen=True, slots=True)
class ReadItem:
    """An item that could be read.

    Attributes:
        item: the decrypted item.
        seen: what is known of it from before: ``ROLLED_BACK`` and ``MOVED`` are to be shown.
        verdict: what its signatures were found to prove, of an item that was kept; see
            ``CachedItem.verdict``.
    """

    item: OpenedItem
    seen: Seen
    verdict: str | None


ReadResult = ReadItem | ClearItem | UnreadableItem
"""What became of one item of a page."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """An encrypted item as the service shows it: where, and which content."""

    place: ItemPlace
    digest: bytes
    payload: Element
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class _Opened:
    """The same with what is in it, and the copy in the cache if it is from there."""

    shown: _Shown
    item: OpenedItem
    copy: CachedItem | None


class NodeReader:
    """One encrypted node, read by one account through its cache."""

    def __init__(self, encryption: NodeEncryption, cache: ItemCache) -> None:
        """Bind a node to a cache of the same account."""
        self._node = encryption.address
        self._ox = encryption.ox
        self._cache = cache

    async def read(self, page: Sequence[tuple[Element, Arrival]]) -> tuple[ReadResult, ...]:
        """Read a page of items; each result stands where its item stood.

        What is opened is kept, and noted in the history, in one commit. What is shown in another
        place than its own, or after a newer version, is handed out with that sighting and not kept:
        a service cannot have the cache forget the newer one, nor put one item for another.

        The event loop runs between pages, so keep one to a few hundred items.

        Args:
            page: payload elements with where each was found; of two versions the older one first.

        Raises:
            StoreFailed: nothing was kept.
        """
        opened = await self._open([self._shown(payload, arrival) for payload, arrival in page])
        async with self._ox.ports.store.exclusive(self._ox.scope) as tx:
            draft, history = Draft(tx, self._ox.account), History(tx, self._ox.scope)
            results = [
                await self._noted(draft, history, each) if isinstance(each, _Opened) else each
                for each in opened
            ]
            draft.take(history.changes())
            await draft.commit()
        return tuple(results)

    def _shown(self, payload: Element, arrival: Arrival) -> _Shown | ClearItem | UnreadableItem:
        try:
            check_place(self._node, arrival)
            if arrival.item_id is None:
                raise PeerMisbehaved(ErrorCode.MALFORMED, "an item without an id", rule=_RULE)
            place = ItemPlace(self._node, arrival.item_id)
            if not EncryptedItem.is_encrypted(payload):
                return ClearItem(payload, arrival)
            # The packets around the container can be framed anew without changing what is in it.
            message = check_passphrase_message(EncryptedItem.from_xml(payload).ciphertext)
        except E2eeError as error:
            return UnreadableItem(error, arrival)
        return _Shown(place, sha256(message.container).digest(), payload, arrival)

    async def _open(
        self, page: Sequence[_Shown | ClearItem | UnreadableItem]
    ) -> list[_Opened | ClearItem | UnreadableItem]:
        """Serve what is kept of a page, and open the rest, which nobody waits for in a block."""
        copies: dict[int, CachedItem] = {}
        rest: dict[int, _Shown] = {}
        async with self._ox.ports.store.exclusive(self._ox.scope) as tx:
            keychain = await keychain_to_read(tx, self._ox, self._node)
            draft = Draft(tx, self._ox.account)
            for index, each in enumerate(page):
                if isinstance(each, _Shown):
                    copy = await self._cache.served_within(draft, each.place, each.digest)
                    if copy is None:
                        rest[index] = each
                    else:
                        copies[index] = copy
        items = [(each.payload, each.arrival) for each in rest.values()]
        fresh = dict(zip(rest, await open_items(self._ox.engine, keychain, items), strict=True))
        opened: list[_Opened | ClearItem | UnreadableItem] = []
        for index, each in enumerate(page):
            if not isinstance(each, _Shown):
                opened.append(each)
            elif index in copies:
                copy = copies[index]
                opened.append(_Opened(each, _served(copy, keychain, each.arrival), copy))
            else:
                result = fresh[index]
                opened.append(
                    _Opened(each, result, None) if isinstance(result, OpenedItem) else result
                )
        return opened

    async def _noted(self, draft: Draft, history: History, opened: _Opened) -> ReadItem:
        """Note in the history what was opened, and keep what is new."""
        shown, now = opened.shown, self._ox.ports.clock()
        seen = await history.saw(shown.place, CIPHER_LINE, shown.digest, None, now)
        if opened.copy is None and seen.sighting in _CURRENT:
            item = CachedItem(
                place=shown.place,
                digest=shown.digest,
                payload=opened.item.payload,
                authorship=opened.item.authorship,
                stored=now,
                secret_id=opened.item.secret_id,
            )
            with suppress(
                PeerMisbehaved
            ):  # longer than what can be kept, and readable all the same
                await self._cache.keep_within(draft, item)
        return ReadItem(opened.item, seen, opened.copy.verdict if opened.copy else None)


def _served(copy: CachedItem, keychain: Keychain, arrival: Arrival) -> OpenedItem:
    """Return what a copy is today: the secret that opened it may be revoked by now, or forgotten.

    Raises:
        StoreFailed: ``store-corrupt``: it was never in an item of this kind.
    """
    if copy.secret_id is None:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a cached item of a node is of no secret")
    secret = keychain.find(copy.secret_id)
    state = secret.state if secret else SecretState.REVOKED
    return OpenedItem(copy.payload, copy.authorship, copy.secret_id, state, arrival)
