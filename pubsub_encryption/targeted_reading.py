"""Reading targeted items: each decrypted once, and from then on served as it was kept.

Rule: in one draft of the caller, who commits it. The step of a session, the item that it yielded
and the sighting of it belong together; an item that fails takes none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from e2ee import limits, ns
from e2ee.arrival import Arrival
from e2ee.draft import Draft
from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.history import CIPHER_LINE, History, Seen, Sighting
from e2ee.names import Fingerprint
from e2ee.omemo.decrypting import decrypt_within
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.inbox import take_out
from e2ee.omemo.own_bundle import publish_changed_bundles
from e2ee.omemo.own_rows import own_or_none
from e2ee.omemo.ring_rows import ring_within
from e2ee.omemo.sessions import OmemoSessions
from e2ee.storage import Transaction
from e2ee.trust import Trust
from e2ee.xmltree import Element
from ox.account import OxAccount
from ox.ring_rows import ring_within as key_ring_within
from pubsub_encryption.cache import ItemCache
from pubsub_encryption.cached_item import CachedItem
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import Authorship, ClearItem
from pubsub_encryption.targeted import TargetedPayload
from pubsub_encryption.targeted_content import PlacedItem, only_payload

__all__ = [
    "OpenedTargeted",
    "TargetedReading",
    "TargetedResult",
    "UnreadableTargeted",
    "sighted",
]

_RULE: Final = "XEP-0477 §3.1"


@dataclass(frozen=True, slots=True)
class OpenedTargeted:
    """A targeted item that was decrypted, now or before.

    Attributes:
        item: what it says, who is proven to have written it, and when they say that they did.
        trust: what is known today of the device or the key that proves it; the user may have
            decided since the item was decrypted.
        seen: what this sighting is: ``MOVED`` where a service put it elsewhere, and so on.
        arrival: where it stood.
    """

    item: CachedItem
    trust: Trust
    seen: Seen
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class UnreadableTargeted:
    """An item that could not be opened, and why; the others of its page are not touched by it.

    Attributes:
        error: what ``TargetedItems.decrypt`` would have raised.
        seen: what this sighting is, if the item was once decrypted and is kept no more: so where a
            service shows an old version again, which OMEMO does not decrypt twice.
        arrival: where it stood.
    """

    error: E2eeError
    seen: Seen | None
    arrival: Arrival


TargetedResult = OpenedTargeted | ClearItem | UnreadableTargeted
"""What became of one item of a page."""


class TargetedReading:
    """The reading of a page: one object over one draft."""

    def __init__(
        self,
        sessions: OmemoSessions | None,
        ox: OxAccount | None,
        cache: ItemCache,
        tx: Transaction,
        draft: Draft,
    ) -> None:
        """Begin to read.

        Args:
            sessions: opens what is in OMEMO.
            ox: opens what is in OpenPGP.
            cache: where items are kept.
            tx: the caller's transaction, of which nothing is committed but the draft.
            draft: over it.
        """
        self._sessions = sessions
        self._ox = ox
        self._cache = cache
        self._tx = tx
        self._draft = draft
        self._now = cache.ports.clock()
        self._history = History(tx, cache.scope)

    async def read(self, payload: Element, arrival: Arrival) -> TargetedResult:
        """Read one item; what is wrong with it alone is returned.

        Raises:
            StoreFailed: what the store raises.
        """
        if EncryptedItem.is_encrypted(payload):
            error = PeerMisbehaved(ErrorCode.UNSUPPORTED_ALGORITHM, "for members of its node")
            return UnreadableTargeted(error, None, arrival)
        if not TargetedPayload.is_targeted(payload):
            return ClearItem(payload, arrival)
        placed: PlacedItem | None = None
        try:
            placed = PlacedItem.read(payload, arrival)
            item, seen = await self._kept(placed) or await self._opened(placed)
        except StoreFailed:
            raise
        except E2eeError as error:
            error.__context__ = None  # frames and errors that hold keys, and what was decrypted
            again = None if placed is None else await self._seen_again(placed)
            return UnreadableTargeted(error.with_traceback(None), again, arrival)
        return OpenedTargeted(item, await self._trust(item), seen, arrival)

    async def finish(self) -> None:
        """Write to the draft what belongs to all items that were read; then it may be committed.

        Raises:
            StoreFailed: what the store raises.
        """
        if self._sessions is not None:
            await publish_changed_bundles(self._sessions, self._draft)
        self._draft.take(self._history.changes())

    async def _kept(self, placed: PlacedItem) -> tuple[CachedItem, Seen] | None:
        """Return the item if it was decrypted before, be it elsewhere; it is not kept once more."""
        elsewhere = await self._history.places(CIPHER_LINE, placed.digest)
        for place in (placed.place, *elsewhere):
            item = await self._cache.served_within(self._draft, place, placed.digest)
            if item is not None:
                item = replace(item, place=placed.place)
                return item, await sighted(self._history, item, self._now)
        return None

    async def _opened(self, placed: PlacedItem) -> tuple[CachedItem, Seen]:
        """Decrypt an item, and keep it in the place of what stood there.

        Not where it is an old one, or was moved: what is kept there may be the only copy. Then the
        session makes no step, so that it can be decrypted again.
        """
        part = Draft(self._draft, self._draft.account)
        if placed.targeted.type == ns.OMEMO_2 and self._sessions is not None:
            item = await self._opened_by_omemo(self._sessions, part, placed)
        elif placed.targeted.type == ns.OX and self._ox is not None:
            item = await self._opened_by_openpgp(self._ox, placed)
        else:
            raise PeerMisbehaved(
                ErrorCode.UNSUPPORTED_ALGORITHM, "an algorithm that is not spoken here", rule=_RULE
            )
        seen = await sighted(self._history, item, self._now)
        if seen.sighting not in (Sighting.MOVED, Sighting.ROLLED_BACK):
            await self._cache.keep_within(part, item)
            part.merge()
        return item, seen

    async def _opened_by_omemo(
        self, sessions: OmemoSessions, part: Draft, placed: PlacedItem
    ) -> CachedItem:
        try:
            opened = await decrypt_within(sessions, part, placed.targeted.inner, placed.arrival)
        except PeerMisbehaved:
            part.merge()  # which has but the identity that a device showed, for the user to judge
            raise
        take_out(part, opened)  # of the inbox: it is kept here
        return CachedItem(
            place=placed.place,
            digest=placed.digest,
            payload=only_payload(opened.content),
            authorship=Authorship.DEVICE,
            stored=self._now,
            sender=opened.sender.jid,
            device=opened.sender.id,
            fingerprint=opened.fingerprint,
            trust=opened.trust,
            time=opened.time,
        )

    async def _opened_by_openpgp(self, ox: OxAccount, placed: PlacedItem) -> CachedItem:
        opened = await ox.open_within(self._tx, placed.targeted.inner, placed.arrival)
        opened.require_encrypted(_RULE)
        key = (await ox.keys_within(self._tx, opened.sender)).find(opened.signer)
        return CachedItem(
            place=placed.place,
            digest=placed.digest,
            payload=only_payload(opened.content),
            authorship=Authorship.OPENPGP_KEY,
            stored=self._now,
            sender=opened.sender,
            fingerprint=opened.signer,
            trust=key.trust if key else Trust.UNDECIDED,
            time=opened.time,
        )

    async def _seen_again(self, placed: PlacedItem) -> Seen | None:
        """Note the sighting of what cannot be read if it once was; nobody else fills a history."""
        if not await self._history.places(CIPHER_LINE, placed.digest):
            return None
        return await self._history.saw(placed.place, CIPHER_LINE, placed.digest, None, self._now)

    async def _trust(self, item: CachedItem) -> Trust:
        """Return what is known today of who wrote an item."""
        if item.sender is None or item.fingerprint is None:
            return Trust.UNDECIDED
        if item.device is not None:
            own = await own_or_none(self._draft)
            if own is not None and own.device == Device(item.sender, item.device):
                return Trust.AUTHENTICATED
            devices = await ring_within(self._draft, item.sender)
            return devices.level_of(IdentityFingerprint(item.fingerprint), self._cache.ports.trust)
        keys = await key_ring_within(self._tx, self._draft.account, item.sender)
        key = keys.find(Fingerprint(item.fingerprint))
        if key is None or (key.trust.accepts and key not in keys.with_former_keys().accepted):
            return Trust.UNDECIDED
        return key.trust


async def sighted(history: History, item: CachedItem, now: datetime) -> Seen:
    """Take an item into the history; a date that lies ahead is not believed.

    Raises:
        StoreFailed: what the store raises.
    """
    stamp = item.time
    if stamp is not None and stamp - now > limits.MAX_CLOCK_SKEW:
        stamp = None
    return await history.saw(item.place, CIPHER_LINE, item.digest, stamp, now)
