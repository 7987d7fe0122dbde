"""A node of signed items, over a client: signed, encrypted, published, attached; and back again.

Rule: in which order requests are made and answers are put together, and nothing else; what is
signed is in ``signing``, what is attached in ``attached.py``. The signature is made before the item
is encrypted, and verified after it is decrypted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from e2ee import ns
from e2ee.attachment_nodes import attachment_effects, attachment_node
from e2ee.attachments import Attachments
from e2ee.effects import Delete, Effect, NodeConfig, Publish, Retract
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.outbox import queued
from e2ee.xmltree import Element
from pubsub_encryption import (
    ClearItem,
    ItemResult,
    NodeEncryption,
    OpenedItem,
    UnreadableItem,
)
from signing import (
    FetchedItem,
    ItemSignatures,
    Policy,
    Unverifiable,
    Verification,
    every_signature,
)
from xmpp_e2ee.attached import NOTHING_THERE, Attached, that_matter
from xmpp_e2ee.client import Client
from xmpp_e2ee.disco import ask_for_features, read_features
from xmpp_e2ee.pubsub import Item, fetch_items, read_page
from xmpp_e2ee.transport import StanzaRefused

__all__ = ["Published", "SignedNode", "SignedResult", "Withheld"]


@dataclass(frozen=True, slots=True)
class Published:
    """An item that waits in the outbox to be published.

    Attributes:
        item_id: its id.
        signature: our ``<signature/>`` of it.
        is_attached: whether that waits there, too. It does not where the node is encrypted and has
            ``limits.MAX_ATTACHMENT_NODES`` open already: then the item goes alone, and readers find
            it unsigned. Retract old items, open this one's attachments and attach it then.
    """

    item_id: ItemId
    signature: Element = field(repr=False)
    is_attached: bool


@dataclass(frozen=True, slots=True)
class Withheld:
    """An item beside which not all could be fetched, so that signatures of it may be missing.

    Attributes:
        result: what those prove that could be fetched, if any.
        refusal: what the service answered for the others.
    """

    result: Verification | Unverifiable
    refusal: StanzaRefused


SignedResult = Verification | Unverifiable | Withheld | ClearItem | UnreadableItem
"""What became of one item: whatever its signatures prove; no item at all; not all of its signatures
could be had; in clear where it must not be, and then nothing is verified; or not to be
decrypted."""

_RULE: Final = "XEP-0475 §5"
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
        self._attached = Attached(client, self._encryption)

    # -- publishing

    async def publish(self, payload: Element, *, beside: Sequence[BareJid] = ()) -> Published:
        """Sign an item and queue it together with its signature; flush the client then.

        First goes the node to which the signature is attached, if it takes one, then the item, then
        the signature, and each only if the one before it went. So nobody else can make that node,
        and no item stands there whose signature is refused.

        Args:
            payload: what the item holds, in clear. It gets a random id, which says nothing of that.
            beside: who shall sign it, too; see ``ItemSignatures.sign``.

        Raises:
            ApiMisuse: as ``ItemSignatures.sign``, ``NodeEncryption.encrypt`` and, but for too many
                of them, ``NodeEncryption.open_attachments``; no access model is known.
            DataMissing: keys of our own must be fetched first, and cannot be had.
            PeerMisbehaved: ``malformed``: the service announces nonsense.
            StanzaRefused: our own keys could not be asked for.
        """
        signed = await self._client.supplied(
            lambda: self._signatures.sign(payload, self.address, beside=beside)
        )
        place = ItemPlace(self.address, self._client.new_item_id())
        features = await self._features()
        item = Publish(self.address, place.item_id, await self._sealed(signed.payload))
        attachments = Attachments(others=(signed.signature,))
        signature = await self._attached.publication(attachment_node(place), attachments)
        is_attached = True
        if self._encryption is None:
            creates = attachment_effects(place, self._config, features)
            await self._queue(*creates, item, signature)
        else:
            try:
                await self._encryption.open_attachments(
                    place.item_id, features, then=[item, signature]
                )
            except ApiMisuse as error:
                if error.code is not ErrorCode.LIMIT_EXCEEDED:
                    raise
                is_attached = False
                await self._queue(item)
        return Published(place.item_id, signed.signature, is_attached)

    async def retract(self, item_id: ItemId) -> None:
        """Queue the retraction of an item and of all that is attached to it; flush the client then.

        Raises:
            PeerMisbehaved: ``malformed``: the service announces nonsense; of this id no attachment
                node can be named.
        """
        retraction = Retract(self.address, item_id)
        if self._encryption is not None:
            await self._encryption.close_attachments(item_id, after=[retraction])
        elif ns.PUBSUB_ATTACHMENTS in await self._features():
            await self._queue(retraction)
        else:
            attached = attachment_node(ItemPlace(self.address, item_id))
            await self._queue(retraction, Delete(attached))

    async def co_sign(self, found: FetchedItem, first_signer: BareJid) -> None:
        """Sign what :meth:`fetch` found and the user has seen, beside who signed it first.

        Args:
            found: fetched with a policy that names the first signer, or theirs may not be in it.
            first_signer: who.

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
        where, before = await self._attached.own(ItemPlace(self.address, item_id))
        after = before.replacing(attachment)
        await self._client.perform(await self._attached.publication(where, after))

    async def _queue(self, *effects: Effect) -> None:
        ox = self._client.ox
        async with ox.ports.store.exclusive(ox.scope) as tx:
            await tx.commit(await queued(tx, ox.account, effects, chained=True))

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

        Keys that are missing are fetched; of those that cannot be had each verdict says so.

        Raises:
            StanzaRefused: we have no access.
        """
        async for items in self._client.pages(self.address):
            yield await self._verified(items, policy)

    async def fetch(self, item_id: ItemId, policy: Policy = _EVERY_SIGNATURE) -> FetchedItem:
        """Fetch one item, decrypted, with signatures beside it; nothing of it is verified.

        Args:
            item_id: which.
            policy: whose signatures are looked for. Where it names somebody, nobody else can get in
                their way, however much they attach.

        Raises:
            E2eeError: it is no item, stands in clear where it must not, or cannot be decrypted;
                ``limit-exceeded``: too much is attached to it, and the policy names nobody.
            StanzaRefused: it is not there, or we have no access to it or to what is attached.
        """
        answer = await self._client.ask(fetch_items(self.address, [item_id]))
        items = [item for item in read_page(answer).items if item.id == item_id]
        if not items:
            raise StanzaRefused(NOTHING_THERE)
        (opened,) = await self._opened(items[:1])
        if isinstance(opened, UnreadableItem):
            raise opened.error
        if isinstance(opened, ClearItem):
            raise PeerMisbehaved(ErrorCode.NOT_ENCRYPTED, "an item in clear", rule="XEP-0473 §5.1")
        place = ItemPlace(self.address, item_id)
        signatures = await self._attached.signatures(place, policy)
        if signatures.refusal is not None:
            raise signatures.refusal
        return FetchedItem(opened, place, signatures.found)

    async def verify(self, found: FetchedItem, policy: Policy = _EVERY_SIGNATURE) -> Verification:
        """Verify one item that :meth:`fetch` returned; keys that are missing are fetched.

        Args:
            found: fetched with the same policy, or signatures that it asks for may not be in it.
            policy: whose signatures count.

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
        refusals: dict[int, StanzaRefused] = {}
        for index, (item, opened) in enumerate(zip(items, await self._opened(items), strict=True)):
            if not isinstance(opened, Element):
                results[index] = opened
                continue
            place: ItemPlace | None = None
            try:
                place = ItemPlace(self.address, item.id)
                signatures = await self._attached.signatures(place, policy)
            except PeerMisbehaved as error:
                unplaced = UnreadableItem(error, item.arrival(self.address))
                results[index] = Unverifiable(error, place) if place else unplaced
                continue
            found[index] = FetchedItem(opened, place, signatures.found)
            if signatures.refusal is not None:
                refusals[index] = signatures.refusal
        judged = await self._judged(list(found.values()), policy)
        for index, result in zip(found, judged, strict=True):
            refusal = refusals.get(index)
            results[index] = result if refusal is None else Withheld(result, refusal)
        return tuple(results[index] for index in range(len(items)))

    async def _judged(
        self, found: Sequence[FetchedItem], policy: Policy
    ) -> tuple[Verification | Unverifiable, ...]:
        signed = [each for fetched in found for each in that_matter(policy, fetched.attachments)]
        with suppress(StanzaRefused):  # what is missing still, each verdict says
            await self._client.supply(lambda: self._signatures.missing(signed))
        return await self._signatures.verify_many(found, policy)

    async def _opened(self, items: Sequence[Item]) -> list[Element | ClearItem | UnreadableItem]:
        """Return each ``<item/>`` with its payload in clear, or why there is none."""
        if self._encryption is None:
            return [item.source for item in items]
        pairs = [(item.payload, item.arrival(self.address)) for item in items if item.payload]
        opened = iter(await self._encryption.decrypt_many(pairs))
        return [_in_clear(item, next(opened)) if item.payload else item.source for item in items]


def _in_clear(item: Item, result: ItemResult) -> Element | ClearItem | UnreadableItem:
    if isinstance(result, OpenedItem):
        return replace(item.source, children=(result.payload,))
    return result
