"""What is attached to the items of one node: found, read and written, over a client (XEP-0470).

Rule: which requests are made, how many, and how the answers are put together. What attachments are
is in ``e2ee.attachments``; what a signature among them proves, in ``signing``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from e2ee import limits
from e2ee.attachment_nodes import attached_by, attachment_nodes
from e2ee.attachments import Attachments
from e2ee.effects import Publish
from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from pubsub_encryption import (
    NodeEncryption,
    OpenedAttachments,
    UnreadableItem,
    decrypt_many_attachments,
    encrypt_attachments,
)
from signing import Policy, SignedBy, find_signatures
from signing.signed_by import listed_signers
from xmpp_e2ee.client import PAGE_SIZE, Client
from xmpp_e2ee.pubsub import Item, fetch_items, read_page
from xmpp_e2ee.transport import StanzaRefused

__all__ = ["NOTHING_THERE", "Attached", "Signatures", "that_matter"]

NOTHING_THERE: Final = "item-not-found"
"""The condition of a refusal which says that there is no such node, or no such item."""


@dataclass(frozen=True, slots=True)
class Signatures:
    """The signatures that were found beside an item.

    Attributes:
        found: all of them, as far as they may matter.
        refusal: why there may be more; ``None`` where the service did not refuse to say.
    """

    found: tuple[SignedBy, ...]
    refusal: StanzaRefused | None


class Attached:
    """What is attached to the items of one node."""

    def __init__(self, client: Client, encryption: NodeEncryption | None) -> None:
        """Bind it to an account.

        Args:
            client: whose requests are made.
            encryption: of the node to whose items it is attached; ``None`` if they are in clear.
        """
        self._client = client
        self._encryption = encryption

    @property
    def _own_id(self) -> ItemId:
        """The id of all our attachments (XEP-0470 §4.1)."""
        return ItemId(str(self._client.account))

    # -- our own

    async def publication(self, address: NodeAddress, attachments: Attachments) -> Publish:
        """Return what publishes all our attachments to an item, encrypted if the item is.

        Raises:
            ApiMisuse, TrustUndecided: as ``encrypt_attachments``.
        """
        payload = (
            attachments.to_xml()
            if self._encryption is None
            else await encrypt_attachments(self._encryption, attachments)
        )
        return Publish(address, self._own_id, payload)

    async def own(self, place: ItemPlace) -> tuple[NodeAddress, Attachments]:
        """Return what we attached to an item, and the node where that is, or belongs.

        Raises:
            E2eeError: it cannot be read.
            StanzaRefused: we have no access.
        """
        addresses = attachment_nodes(place)
        present: dict[NodeAddress, tuple[Item, ...]] = {}
        for address in addresses:
            try:
                present[address] = await self._items(address, [self._own_id])
            except StanzaRefused as refusal:
                if refusal.condition != NOTHING_THERE:
                    raise
        where = next((each for each in present if present[each]), [*present, addresses[0]][0])
        for result in await self._read(where, present.get(where, ())[:1]):
            if isinstance(result, E2eeError):
                raise result
            return where, result
        return where, Attachments()

    # -- others' signatures

    async def signatures(self, place: ItemPlace, policy: Policy) -> Signatures:
        """Find the signatures of an item that a policy asks for.

        Of whom it names, the attachments are asked for by their id, and then those of whoever is
        listed beside them as a signer: nobody else's can come in between. Where it names nobody,
        all are looked through.

        Raises:
            PeerMisbehaved: ``limit-exceeded``: nobody is named, and more than
                ``limits.MAX_ATTACHMENTS_PER_ITEM`` accounts have attached something;
                ``malformed``: of this id no attachment node can be named, or the answer is
                nonsense.
        """
        search = _Search()
        addresses = attachment_nodes(place)
        if policy.named is None:
            for address in addresses:
                await self._look_through(search, address)
            return search.result()
        await self._ask_for(search, addresses, policy.named)
        beside = sorted(listed_signers(search.result().found) - policy.named)
        await self._ask_for(search, addresses, beside[: limits.MAX_SIGNATURES_PER_ITEM])
        return search.result()

    async def _ask_for(
        self, search: _Search, addresses: Sequence[NodeAddress], people: Collection[BareJid]
    ) -> None:
        ids = [ItemId(str(jid)) for jid in sorted(people)]
        for address in addresses:
            for begin in range(0, len(ids), PAGE_SIZE):
                try:
                    items = await self._items(address, ids[begin : begin + PAGE_SIZE])
                except StanzaRefused as refusal:
                    search.refused(refusal)
                else:
                    search.take_in(await self._signed(address, items))

    async def _look_through(self, search: _Search, address: NodeAddress) -> None:
        try:
            async for items in self._client.pages(address):
                search.looked_at += len(items)
                search.take_in(await self._signed(address, items))
                if len(search.found) > limits.MAX_SIGNATURES_PER_ITEM:
                    break  # they are refused however many there are
                if search.looked_at > limits.MAX_ATTACHMENTS_PER_ITEM:
                    raise PeerMisbehaved(
                        ErrorCode.LIMIT_EXCEEDED,
                        "an item with too many attachments to look for signatures of nobody named",
                        rule="XEP-0475 §5",
                    )
        except StanzaRefused as refusal:
            search.refused(refusal)

    async def _items(self, address: NodeAddress, ids: Sequence[ItemId]) -> tuple[Item, ...]:
        """Fetch the items of these ids that there are, in a node that is there.

        Raises:
            StanzaRefused: there is no such node, or none of the items, or we have no access.
        """
        try:
            answer = await self._client.ask(fetch_items(address, ids))
        except StanzaRefused as refusal:
            if refusal.condition != NOTHING_THERE or len(ids) == 1:
                raise
            found: list[Item] = []
            for each in ids:  # services may say so where but one of them is missing
                try:
                    found += await self._items(address, [each])
                except StanzaRefused as alone:
                    if alone.condition != NOTHING_THERE:
                        raise
            return tuple(found)
        return tuple(item for item in read_page(answer).items if item.id in ids)

    async def _signed(
        self, address: NodeAddress, items: Sequence[Item]
    ) -> dict[BareJid, tuple[SignedBy, ...]]:
        """Return the signatures in attachment items, by whose they are; of what is unreadable none.

        More than one of somebody is one too many, and there to be refused.
        """
        signed: dict[BareJid, tuple[SignedBy, ...]] = {}
        for item, result in zip(items, await self._read(address, items), strict=True):
            if isinstance(result, PeerMisbehaved) and result.code is ErrorCode.NOT_ENCRYPTED:
                # Libervia attaches signatures of encrypted items in clear; they prove themselves.
                result = _in_clear(address, item)
            if isinstance(result, Attachments):
                publisher = attached_by(item.arrival(address))
                if found := find_signatures(publisher, result):
                    signed.setdefault(publisher, found)
        return signed

    async def _read(
        self, address: NodeAddress, items: Sequence[Item]
    ) -> list[Attachments | E2eeError]:
        """Return the attachments in each item, or why they cannot be read."""
        if self._encryption is None:
            return [_in_clear(address, item) for item in items]
        pairs = [(item.payload, item.arrival(address)) for item in items if item.payload]
        opened = iter(await decrypt_many_attachments(self._encryption, pairs))
        results: list[Attachments | E2eeError] = []
        for item in items:
            result = next(opened) if item.payload else None
            match result:
                case None:
                    results.append(_in_clear(address, item))
                case UnreadableItem(error):
                    results.append(error)
                case OpenedAttachments(attachments):
                    results.append(attachments)
        return results


class _Search:
    """What was found so far, by whose it is."""

    def __init__(self) -> None:
        self.found: dict[BareJid, tuple[SignedBy, ...]] = {}
        self.looked_at = 0
        self._refusal: StanzaRefused | None = None

    def take_in(self, signed: Mapping[BareJid, tuple[SignedBy, ...]]) -> None:
        """Add the signatures of one page; of one account, those that were found first."""
        for publisher, theirs in signed.items():
            self.found.setdefault(publisher, theirs)

    def refused(self, refusal: StanzaRefused) -> None:
        """Take in that something could not be had."""
        if refusal.condition != NOTHING_THERE:
            self._refusal = self._refusal or refusal

    def result(self) -> Signatures:
        """Return it all."""
        found = tuple(each for theirs in self.found.values() for each in theirs)
        return Signatures(found, self._refusal)


def that_matter(policy: Policy, found: Sequence[SignedBy]) -> tuple[SignedBy, ...]:
    """Return those signatures whose keys it takes to apply a policy.

    These are of whoever it counts, and of whoever is listed beside these; none where that are more
    than are looked at.
    """
    counting = [each for each in found if policy.counts(each.publisher)]
    people = {each.publisher for each in counting} | listed_signers(counting)
    matter = tuple(each for each in found if each.publisher in people)
    is_too_much = len({each.publisher for each in matter}) > limits.MAX_SIGNATURES_PER_ITEM
    return () if is_too_much else matter


def _in_clear(address: NodeAddress, item: Item) -> Attachments | PeerMisbehaved:
    try:
        if item.payload is None:
            raise PeerMisbehaved(
                ErrorCode.MALFORMED, "attachments in no payload", rule="XEP-0470 §4.1"
            )
        attached_by(item.arrival(address))
        return Attachments.from_xml(item.payload)
    except PeerMisbehaved as error:
        return error
