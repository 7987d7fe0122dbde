"""TargetedItems: single items that only chosen people can read (XEP-0477 0.1.0).

Rule: every operation is one transaction; what must be sent is queued in it and leaves afterwards.
How items are read is in ``targeted_reading.py``. Here is their face.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from e2ee import limits, ns
from e2ee.arrival import Arrival
from e2ee.draft import Draft
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.history import History
from e2ee.names import BareJid, ItemPlace
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.encrypting import encrypt_item_within
from e2ee.omemo.own_rows import own_within
from e2ee.omemo.recipients import DeviceReport
from e2ee.omemo.sessions import OmemoSessions
from e2ee.omemo.version import Version
from e2ee.ports import Ports
from e2ee.storage import Transaction
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.account import OxAccount
from pubsub_encryption.cache import ItemCache
from pubsub_encryption.cached_item import CachedItem
from pubsub_encryption.items import Authorship, ClearItem
from pubsub_encryption.targeted import TargetedPayload
from pubsub_encryption.targeted_content import content_digest, is_payload
from pubsub_encryption.targeted_reading import (
    OpenedTargeted,
    TargetedReading,
    TargetedResult,
    UnreadableTargeted,
    sighted,
)

__all__ = ["TARGETED_FEATURES", "TargetedItem", "TargetedItems"]

TARGETED_FEATURES: Final = (ns.PTE,)
"""Service discovery features of a client that uses this, beside its algorithms' (XEP-0477 §5)."""

_RULE: Final = "XEP-0477 §3.1"


@dataclass(frozen=True, slots=True)
class TargetedItem:
    """An item to publish.

    Attributes:
        payload: ``<encrypted/>``, in the place of the payload.
        report: what became of each OMEMO device; of OpenPGP, ask ``OxAccount.recipients`` before.
    """

    payload: Element
    report: tuple[DeviceReport, ...] = ()


@dataclass(frozen=True, slots=True)
class _Author:
    """Which device or key of ours wrote an item."""

    authorship: Authorship
    fingerprint: str
    device: DeviceId | None = None


class TargetedItems:
    """The targeted items that one account writes and reads, in whichever nodes they stand."""

    def __init__(
        self,
        account: BareJid,
        ports: Ports,
        sessions: OmemoSessions | None,
        ox: OxAccount | None,
        cache: ItemCache | None = None,
    ) -> None:
        """Bind an account to its algorithms; state is read from the store by each operation.

        Args:
            account: whose.
            ports: those of ``sessions`` and ``ox``, too.
            sessions: for OMEMO; ``None`` where it is not spoken.
            ox: for OpenPGP; ``None`` where it is not spoken.
            cache: where items are kept; ``None`` for that of the account, with the usual bounds.

        Raises:
            ApiMisuse: they are not of one account.
        """
        if any(each is not None and each.account != account for each in (sessions, ox)):
            raise ApiMisuse("targeted items of several accounts")
        self.account = account
        self.ports = ports
        self.sessions = sessions
        self.ox = ox
        self.cache = cache or ItemCache(account, ports)

    async def encrypt(
        self,
        payload: Element,
        to: Collection[BareJid],
        place: ItemPlace,
        *,
        by_openpgp: bool = False,
        leaving_out: Collection[Device] = (),
        verified_only: bool = False,
    ) -> TargetedItem:
        """Encrypt the payload of an item for chosen people, and for our own other devices.

        It is kept in the cache under its place: this very device cannot decrypt it.

        Args:
            payload: what the item would hold in clear.
            to: who may read it; nobody, for ourselves alone.
            place: where it will be published. The id must be random, as of any encrypted item.
            by_openpgp: whether in OpenPGP instead of OMEMO: who has the key can then read it as
                often as they like, and so can whoever gets hold of that key one day.
            leaving_out: as ``OmemoSessions.encrypt``; in OMEMO alone.
            verified_only: as ``OmemoSessions.encrypt``; in OMEMO alone.

        Returns:
            What to publish at ``place``. Every session has moved on in the store: publish it or
            drop it, and encrypt anew.

        Raises:
            ApiMisuse: the algorithm is not spoken here; nobody could read it but this device; a
                payload without a namespace, one that is encrypted already or that belongs into
                messages; ``limit-exceeded``: nobody would read it; and as the algorithm's own.
            DataMissing, TrustUndecided, PeerMisbehaved: as ``OmemoSessions.encrypt``, or as
                ``OxAccount.seal``.
        """
        if not is_payload(payload):
            raise ApiMisuse("a payload that no item may hold, or that is encrypted", rule=_RULE)
        if payload.depth > limits.MAX_PAYLOAD_DEPTH:
            raise ApiMisuse("a payload too deep", code=ErrorCode.LIMIT_EXCEEDED, rule=_RULE)
        _check_bounds(element(ns.SCE, "envelope", None, element(ns.SCE, "content", None, payload)))
        if by_openpgp and (leaving_out or verified_only):
            raise ApiMisuse("devices are chosen in OMEMO alone")
        async with self.ports.store.exclusive(self.cache.scope) as tx:
            draft = Draft(tx, self.account)
            if by_openpgp:
                inner, report, author = await self._in_openpgp(tx, payload, to)
            else:
                inner, report, author = await self._in_omemo(
                    draft, payload, to, leaving_out, verified_only=verified_only
                )
            targeted = TargetedPayload(self.account, inner.namespace, inner)
            sealed = targeted.to_xml()
            _check_bounds(sealed)
            await self._keep(tx, draft, author, targeted, payload, place)
            await draft.commit()
        return TargetedItem(sealed, report)

    async def _in_omemo(
        self,
        draft: Draft,
        payload: Element,
        to: Collection[BareJid],
        leaving_out: Collection[Device],
        *,
        verified_only: bool,
    ) -> tuple[Element, tuple[DeviceReport, ...], _Author]:
        if self.sessions is None:
            raise ApiMisuse("OMEMO is not spoken here")
        encrypted = await encrypt_item_within(
            self.sessions, draft, payload, to, leaving_out=leaving_out, verified_only=verified_only
        )
        own, engine = await own_within(draft), self.sessions.engines[Version.TWO]
        fingerprint = engine.fingerprint(engine.identity(own.identity))
        author = _Author(Authorship.DEVICE, fingerprint, own.device.id)
        return encrypted.elements[0], encrypted.report, author

    async def _in_openpgp(
        self, tx: Transaction, payload: Element, to: Collection[BareJid]
    ) -> tuple[Element, tuple[DeviceReport, ...], _Author]:
        if self.ox is None:
            raise ApiMisuse("OpenPGP is not spoken here")
        # Ourselves named, too: else our other devices would take it for somebody else's.
        openpgp = await self.ox.seal_within(tx, [payload], {*to, self.account})
        own = await self.ox.own_key_within(tx)
        return openpgp, (), _Author(Authorship.OPENPGP_KEY, own.certificate.fingerprint)

    async def _keep(
        self,
        tx: Transaction,
        draft: Draft,
        author: _Author,
        targeted: TargetedPayload,
        payload: Element,
        place: ItemPlace,
    ) -> None:
        """Keep an item of ours as if we had decrypted it."""
        now = self.ports.clock()
        item = CachedItem(
            place=place,
            digest=content_digest(targeted),
            payload=payload,
            authorship=author.authorship,
            stored=now,
            sender=self.account,
            device=author.device,
            fingerprint=author.fingerprint,
            trust=Trust.AUTHENTICATED,
            time=now,
        )
        try:
            await self.cache.keep_within(draft, item)
        except PeerMisbehaved as error:
            raise ApiMisuse("an item that cannot be kept", code=error.code) from None
        history = History(tx, self.cache.scope)
        await sighted(history, item, now)
        draft.take(history.changes())

    async def decrypt(self, payload: Element, arrival: Arrival) -> OpenedTargeted:
        """Decrypt the payload of one item, or return it as it was decrypted before.

        Args:
            payload: ``<encrypted/>``, as it stood in the item.
            arrival: where that stood: an item, its node and id, its publisher.

        Raises:
            PeerMisbehaved: ``not-encrypted``: an item in clear; ``context-mismatch``: published or
                encrypted by somebody else than it says, made for another recipient or out of a
                message; ``unsupported-algorithm``; ``replay``: it was decrypted before and is kept
                no more, or is an old version of what is; ``malformed``; and as
                ``OmemoSessions.decrypt`` or ``OxAccount.open``.
            CannotDecrypt, DataMissing, TrustUndecided, ApiMisuse: as these.
        """
        (result,) = await self.decrypt_many([(payload, arrival)])
        if isinstance(result, ClearItem):
            raise PeerMisbehaved(ErrorCode.NOT_ENCRYPTED, "an item in clear", rule=_RULE)
        if isinstance(result, UnreadableTargeted):
            raise result.error
        return result

    async def decrypt_many(
        self, page: Sequence[tuple[Element, Arrival]]
    ) -> tuple[TargetedResult, ...]:
        """Decrypt a page of items in one commit; a bad one never stops the others.

        Give the older ones first: which of two versions is the newer one is told by what their
        authors date them, and where these are the same by their order here. The event loop runs
        between pages, so keep one to a few hundred items.

        Args:
            page: payloads with where each was found; those in clear may stand among them.

        Returns:
            For each what became of it. Where the error is a ``DataMissing``, fetch and feed, and
            give the page again: what was decrypted is served from the cache.

        Raises:
            StoreFailed: nothing of the page was kept.
        """
        async with self.ports.store.exclusive(self.cache.scope) as tx:
            draft = Draft(tx, self.account)
            reading = TargetedReading(self.sessions, self.ox, self.cache, tx, draft)
            results = [await reading.read(payload, arrival) for payload, arrival in page]
            await reading.finish()
            await draft.commit()
        return tuple(results)


def _check_bounds(document: Element) -> None:
    try:
        parse_xml(write_xml(document))
    except PeerMisbehaved as error:
        raise ApiMisuse("an item beyond our own bounds", code=error.code, rule=_RULE) from None
