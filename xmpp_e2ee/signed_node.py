"""A node of signed items, over a client: signed, encrypted, published, attached; and back again.

Rule: in which order requests are made and answers are put together, and nothing else; what is
signed is in ``signing``, what is attached in ``e2ee.attachments``. The signature is made before the
item is encrypted, and verified after it is decrypted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from e2ee import limits, ns
from e2ee.attachment_nodes import (
    attached_by,
    attachment_effects,
    attachment_node,
    attachment_nodes,
)
from e2ee.attachments import Attachments
from e2ee.effects import Effect, NodeConfig, Publish
from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.outbox import queued
from e2ee.xmltree import Element
from pubsub_encryption import (
    ClearItem,
    ItemResult,
    NodeEncryption,
    OpenedItem,
    UnreadableItem,
    decrypt_attachments,
    encrypt_attachments,
)
from signing import (
    FetchedItem,
    ItemSignatures,
    Policy,
    SignedBy,
    Unverifiable,
    Verification,
    every_signature,
    find_signatures,
)
from xmpp_e2ee.client import Client
from xmpp_e2ee.disco import ask_for_features, read_features
from xmpp_e2ee.pubsub import Item, fetch_items, read_page
from xmpp_e2ee.transport import StanzaRefused

__all__ = ["SignedNode", "SignedResult"]

SignedResult = Verification | Unverifiable | ClearItem | UnreadableItem
"""What became of one item: whatever its signatures prove; no item at all; in clear where it must
not be, and then nothing is verified; or not to be decrypted."""

_RULE: Final = "XEP-0475 §5"
_NOTHING_THERE: Final = "item-not-found"
_EVERY_SIGNATURE: Final = every_signature()


class SignedNode:
    """A node whose items are signed, in clear or encrypted."""

    def __init__(
        self, client: Client, node: NodeAddress | NodeEncryption, config: NodeConfig = ()
    ) -> None:
        """Bind it to the account that uses it; nothing is read or sent yet.

        Args:
            client: whose signatures are made, and whose keys verify others'.
            node: where it is, if its items are in clear; or else what encrypts them, and with them
                what is attached.
            config: of a node in clear, for whoever publishes there: its access model, and its
                publish model if it has one, which attachments follow.
        """
        self.address = node if isinstance(node, NodeAddress) else node.address
        self._encryption = None if isinstance(node, NodeAddress) else node
        self._client = client
        self._config = config
        self._signatures = ItemSignatures(client.ox)

    # -- publishing

    async def publish(self, payload: Element, *, beside: Sequence[BareJid] = ()) -> ItemId:
        """Sign an item and queue it together with its signature; flush the client then.

        Args:
            payload: what the item holds, in clear. It gets a random id, which says nothing of that.
            beside: who shall sign it, too; see ``ItemSignatures.sign``.

        Raises:
            ApiMisuse: as ``ItemSignatures.sign``, ``NodeEncryption.encrypt`` and
                ``NodeEncryption.open_attachments``; no access model is known.
            DataMissing: keys of our own must be fetched first, and cannot be had.
            PeerMisbehaved: ``malformed``: the service announces nonsense.
            StanzaRefused: our own keys could not be asked for.
        """
        ox = self._client.ox
        signed = await self._client.supplied(
            lambda: self._signatures.sign(payload, self.address, beside=beside)
        )
        place = ItemPlace(self.address, self._client.new_item_id())
        features = await self._features()
        effects: list[Effect] = [
            Publish(self.address, place.item_id, await self._sealed(signed.payload))
        ]
        if self._encryption is None:
            effects += attachment_effects(place, self._config, features)
        elif ns.PUBSUB_ATTACHMENTS not in features:
            await self._encryption.open_attachments(place.item_id, features)
        attachments = Attachments(others=(signed.signature,))
        effects.append(await self._publication(attachment_node(place), attachments))
        async with ox.ports.store.exclusive(ox.scope) as tx:
            await tx.commit(await queued(tx, ox.account, effects, chained=True))
        return place.item_id

    async def co_sign(self, found: FetchedItem, first_signer: BareJid) -> None:
        """Sign what :meth:`fetch` found and the user has seen, beside who signed it first.

        Raises:
            PeerMisbehaved: ``bad-signature``: they have not; what ``ItemSignatures.co_sign``
                refuses.
            TrustUndecided: the first signer's key waits for the user's decision.
            StanzaRefused: keys could not be had, or the service does not let us attach anything.
        """
        first = [each.signature for each in found.attachments if each.publisher == first_signer]
        if len(first) != 1:
            raise PeerMisbehaved(
                ErrorCode.BAD_SIGNATURE, f"not one signature of {first_signer}", rule=_RULE
            )
        signature = await self._client.supplied(
            lambda: self._signatures.co_sign(found.item, found.place, first[0], first_signer)
        )
        await self.attach(found.place.item_id, signature)

    async def attach(self, item_id: ItemId, attachment: Element) -> None:
        """Attach something to an item, in place of what we attached of the same name.

        All else that we attached stays (XEP-0470 §4.1). When another device of ours attaches
        something at the same time, one of the two is lost.

        Raises:
            E2eeError: what we attached before cannot be read, so that it would be lost.
            StanzaRefused: the service does not let us, or there is nothing to attach it to.
        """
        addresses = attachment_nodes(ItemPlace(self.address, item_id))
        present = {address: await self._own_items(address) for address in addresses}
        there = [address for address, items in present.items() if items is not None]
        where = next((address for address in there if present[address]), [*there, addresses[0]][0])
        before = [await self._attached(where, item) for item in present[where] or ()]
        attachments = (before or [Attachments()])[0].replacing(attachment)
        await self._client.perform(await self._publication(where, attachments))

    @property
    def _own_id(self) -> ItemId:
        """The id of all our attachments (XEP-0470 §4.1)."""
        return ItemId(str(self._client.account))

    async def _own_items(self, address: NodeAddress) -> tuple[Item, ...] | None:
        """Return what we attached, at most one item; ``None`` where there is no such node."""
        try:
            answer = await self._client.ask(fetch_items(address, [self._own_id]))
        except StanzaRefused as refusal:
            if refusal.condition != _NOTHING_THERE:
                raise
            return None
        return tuple(item for item in read_page(answer).items if item.id == self._own_id)

    async def _publication(self, address: NodeAddress, attachments: Attachments) -> Publish:
        payload = (
            attachments.to_xml()
            if self._encryption is None
            else await encrypt_attachments(self._encryption, attachments)
        )
        return Publish(address, self._own_id, payload)

    async def _sealed(self, payload: Element) -> Element:
        return payload if self._encryption is None else await self._encryption.encrypt(payload)

    async def _features(self) -> frozenset[str]:
        try:
            return read_features(await self._client.ask(ask_for_features(self.address.service)))
        except StanzaRefused:  # who cannot be asked announces nothing
            return frozenset()

    # -- reading

    async def read(
        self, policy: Policy = _EVERY_SIGNATURE
    ) -> AsyncIterator[tuple[SignedResult, ...]]:
        """Read and verify everything that is in the node, a page at a time.

        Keys that are missing are fetched; those that cannot be had leave signatures unchecked.

        Raises:
            StanzaRefused: we have no access.
        """
        async for items in self._client.pages(self.address):
            yield await self._verified(items, policy)

    async def fetch(self, item_id: ItemId) -> FetchedItem:
        """Fetch one item, decrypted, with the signatures beside it; nothing of it is verified.

        Raises:
            E2eeError: it is no item, stands in clear where it must not, or cannot be decrypted.
            StanzaRefused: it is not there, or we have no access.
        """
        answer = await self._client.ask(fetch_items(self.address, [item_id]))
        items = [item for item in read_page(answer).items if item.id == item_id]
        if not items:
            raise StanzaRefused(_NOTHING_THERE)
        (opened,) = await self._opened(items[:1])
        if isinstance(opened, UnreadableItem):
            raise opened.error
        if isinstance(opened, ClearItem):
            raise PeerMisbehaved(ErrorCode.NOT_ENCRYPTED, "an item in clear", rule="XEP-0473 §5.1")
        return await self._with_signatures(item_id, opened)

    async def verify(self, found: FetchedItem, policy: Policy = _EVERY_SIGNATURE) -> Verification:
        """Verify one item that :meth:`fetch` returned; keys that are missing are fetched.

        Raises:
            PeerMisbehaved: as ``ItemSignatures.verify``.
        """
        (result,) = await self._judged([found], policy)
        if isinstance(result, Unverifiable):
            raise result.error
        return result

    async def _verified(self, items: Sequence[Item], policy: Policy) -> tuple[SignedResult, ...]:
        results: dict[int, SignedResult] = {}
        found: dict[int, FetchedItem] = {}
        for index, opened in enumerate(await self._opened(items)):
            if not isinstance(opened, Element):
                results[index] = opened
                continue
            try:
                found[index] = await self._with_signatures(items[index].id, opened)
            except PeerMisbehaved as error:
                results[index] = Unverifiable(error, ItemPlace(self.address, items[index].id))
        results.update(zip(found, await self._judged(list(found.values()), policy), strict=True))
        return tuple(results[index] for index in range(len(items)))

    async def _judged(
        self, found: Sequence[FetchedItem], policy: Policy
    ) -> tuple[Verification | Unverifiable, ...]:
        counting = [
            each
            for fetched in found
            if len(fetched.attachments) <= limits.MAX_SIGNATURES_PER_ITEM  # or they are refused
            for each in fetched.attachments
            if policy.counts(each.publisher)
        ]
        with suppress(StanzaRefused):  # what is missing still, each verdict says
            await self._client.supply(lambda: self._signatures.missing(counting))
        return await self._signatures.verify_many(found, policy)

    async def _opened(self, items: Sequence[Item]) -> list[Element | ClearItem | UnreadableItem]:
        """Return each ``<item/>`` with its payload in clear, or why there is none."""
        if self._encryption is None:
            return [item.source for item in items]
        pairs = [(item.payload, item.arrival(self.address)) for item in items if item.payload]
        opened = iter(await self._encryption.decrypt_many(pairs))
        return [_in_clear(item, next(opened)) if item.payload else item.source for item in items]

    async def _with_signatures(self, item_id: ItemId, item: Element) -> FetchedItem:
        """Fetch the signatures of an item, one more than are verified where there are so many.

        Raises:
            PeerMisbehaved: ``malformed``: an id of which no attachment node can be named.
        """
        place = ItemPlace(self.address, item_id)
        found: dict[BareJid, tuple[SignedBy, ...]] = {}
        for address in attachment_nodes(place):
            with suppress(StanzaRefused):  # a signature that is withheld is none
                async for items in self._client.pages(address):
                    for signed in [await self._signed(address, each) for each in items]:
                        if signed:
                            found.setdefault(signed[0].publisher, signed)
                    if sum(map(len, found.values())) > limits.MAX_SIGNATURES_PER_ITEM:
                        break
        return FetchedItem(item, place, tuple(each for signed in found.values() for each in signed))

    async def _signed(self, address: NodeAddress, item: Item) -> tuple[SignedBy, ...]:
        """Return the signature in one attachment item; of what cannot be read, none."""
        try:
            try:
                attachments = await self._attached(address, item)
            except PeerMisbehaved as error:
                if error.code is not ErrorCode.NOT_ENCRYPTED:
                    raise
                # Libervia attaches signatures of encrypted items in clear; they prove themselves.
                attachments = _attachments(address, item)
        except E2eeError:
            return ()
        return find_signatures(attached_by(item.arrival(address)), attachments)

    async def _attached(self, address: NodeAddress, item: Item) -> Attachments:
        if self._encryption is None or item.payload is None:
            return _attachments(address, item)
        arrival = item.arrival(address)
        return (await decrypt_attachments(self._encryption, item.payload, arrival)).attachments


def _attachments(address: NodeAddress, item: Item) -> Attachments:
    if item.payload is None:
        raise PeerMisbehaved(ErrorCode.MALFORMED, "attachments in no payload", rule="XEP-0470 §4.1")
    attached_by(item.arrival(address))
    return Attachments.from_xml(item.payload)


def _in_clear(item: Item, result: ItemResult) -> Element | ClearItem | UnreadableItem:
    if isinstance(result, OpenedItem):
        return replace(item.source, children=(result.payload,))
    return result
