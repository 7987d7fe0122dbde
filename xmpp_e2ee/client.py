"""One account's client: the library's effects and needs on one side, an XMPP session on the other.

Rule: everything that a client must do for encrypted nodes stands here once, and nothing else; how
stanzas look is in ``pubsub.py`` and ``stanzas.py``, how they travel in the transport.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Effect, Publish, Send, Subscribe, fulfilled, remedy
from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fetch, ItemId, Jid, NodeAddress
from e2ee.outbox import Outbox, Refused
from e2ee.ports import Ports
from e2ee.tokens import random_token
from e2ee.xmltree import Element
from ox.account import OxAccount
from ox.elements import METADATA_NODE, data_node
from ox.engine import OpenPgpEngine
from pubsub_encryption import ItemResult, Keychain, NodeEncryption, receive
from xmpp_e2ee.fetching import fetched
from xmpp_e2ee.pubsub import (
    Item,
    Request,
    fetch_items,
    fetch_page,
    read_items,
    read_page,
    read_retracted,
    request_for,
)
from xmpp_e2ee.settling import note_performed, note_refused, note_retracted
from xmpp_e2ee.stanzas import unwrap
from xmpp_e2ee.transport import StanzaRefused, Transport

__all__ = ["PAGE_SIZE", "Client", "ItemsArrived", "SecretsArrived"]

_Result = TypeVar("_Result")

PAGE_SIZE: Final = 100
"""Items fetched and decrypted at once: far below what fits into a stanza, a blink to decrypt."""

_ITEM_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class SecretsArrived:
    """A message that shared or revoked secrets; these are the keychains as they are now."""

    keychains: tuple[Keychain, ...]


@dataclass(frozen=True, slots=True)
class ItemsArrived:
    """A notification of what changed in a node.

    Attributes:
        address: the node.
        results: its new items.
        retracted: the ids of items that are there no more.
    """

    address: NodeAddress
    results: tuple[ItemResult, ...]
    retracted: tuple[ItemId, ...] = ()


class Client:
    """An account that reads and publishes in encrypted nodes."""

    def __init__(
        self, account: BareJid, ports: Ports, engine: OpenPgpEngine, transport: Transport
    ) -> None:
        """Bind an account to its store and its connection; nothing is read or sent yet."""
        self.account = account
        self.ox = OxAccount(account, ports, engine)
        self.outbox = Outbox(ports.store, account)
        self._transport = transport

    def node(self, address: NodeAddress) -> NodeEncryption:
        """Return the encrypted node at ``address`` as this account sees it."""
        return NodeEncryption(address, self.ox)

    # -- what leaves

    async def flush(self) -> tuple[Refused, ...]:
        """Perform whatever waits in the outbox: after each operation, and after each reconnection.

        A broken connection raises out of here and leaves the rest for the next time.

        Returns:
            What services refused, to be shown to the user; each is returned once.
        """
        while jobs := await self.outbox.pending():
            for job in jobs:
                try:
                    await self._perform_or_remedy(job.effect)
                except StanzaRefused as refusal:
                    await note_refused(self.ox, job.effect)
                    await self.outbox.failed(job.id, refusal.condition)
                    break  # what depended on it waits no more: ask again
                else:
                    await note_performed(self.ox, job.effect)
                    await self.outbox.done(job.id)
        refused = await self.outbox.refused()
        for told in refused:
            await self.outbox.forget(told.id)
        return refused

    async def _perform_or_remedy(self, effect: Effect) -> None:
        try:
            await self._perform_unless_fulfilled(effect)
        except StanzaRefused as refusal:
            cures = remedy(effect, refusal.condition)
            if not cures:
                raise
            for cure in cures:
                await self._perform_unless_fulfilled(cure)

    async def _perform_unless_fulfilled(self, effect: Effect) -> None:
        try:
            await self.perform(effect)
        except StanzaRefused as refusal:
            if not fulfilled(effect, refusal.condition):
                raise

    async def perform(self, effect: Effect) -> None:
        """Carry out one effect now.

        Raises:
            StanzaRefused: the service does not let us.
        """
        if isinstance(effect, Send):
            await self._transport.send(effect.to, effect.id, effect.children)
        else:
            await self.ask(request_for(effect, self.account))

    async def ask(self, request: Request) -> Element | None:
        """Make a request and return the payload of its answer; ``None`` for an empty one.

        Raises:
            StanzaRefused: the answer is an error.
        """
        return await self._transport.request(request.to, request.kind, request.payload)

    # -- keys

    async def gather(self, people: Collection[BareJid]) -> None:
        """Fetch the keys of ``people``: before they are written to, or believed.

        Whoever announces keys that are none is left without; sealing says so, for them alone.

        Raises:
            StanzaRefused: somebody's service did not say what there is. What it was asked for is
                missing still, what others answered is not; ask again later.
        """
        await self.supply(lambda: self.ox.missing(people))

    async def gather_members(self, node: NodeEncryption) -> None:
        """Fetch the keys of everybody who must hear of a rotation: before it.

        Raises:
            StanzaRefused: as :meth:`gather`; a rotation leaves out who is missing.
        """
        await self.supply(node.missing)

    async def supplied(self, act: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do what may need something public first: what it misses is fetched and fed, then again.

        So an own key is adopted or restored, extended or revoked, and whatever else raises
        ``DataMissing``.

        Args:
            act: the call, which has changed nothing where it misses something.

        Raises:
            DataMissing: what is missing was fetched already, and is of no use.
            E2eeError: what ``act`` raises.
            StanzaRefused: as :meth:`gather`.
        """
        tried: set[Fetch] = set()
        while True:
            try:
                return await act()
            except DataMissing as missing:
                if tried.issuperset(missing.fetches):
                    raise
                if refusals := await self._feed(missing.fetches, tried):
                    raise refusals[0] from None

    async def supply(self, missing: Callable[[], Awaitable[Sequence[Fetch]]]) -> None:
        """Fetch and feed what ``missing`` names, until it names nothing new.

        Raises:
            StanzaRefused: as :meth:`gather`.
        """
        tried: set[Fetch] = set()
        refusals: list[StanzaRefused] = []
        while not tried.issuperset(needs := await missing()):
            refusals += await self._feed(needs, tried)
        if refusals:
            raise refusals[0]

    async def _feed(self, needs: Sequence[Fetch], tried: set[Fetch]) -> list[StanzaRefused]:
        refusals: list[StanzaRefused] = []
        for fetch in needs:  # lists first, then the keys that they name
            if fetch in tried:
                continue
            tried.add(fetch)
            try:
                await self._take_in(fetch, await fetched(self._transport, fetch))
            except StanzaRefused as refusal:
                refusals.append(refusal)
        return refusals

    async def _take_in(self, fetch: Fetch, payload: Element | None) -> None:
        try:
            await self.ox.feed(fetch, payload)
        except PeerMisbehaved:
            if fetch.address.node != METADATA_NODE and not await self._is_known(fetch):
                await self.ox.feed(fetch, None)  # a key that is none is not there

    async def _is_known(self, fetch: Fetch) -> bool:
        """Say whether this is somebody's key that we have: what their server serves strikes none.

        Nor does our own server keep us waiting for ours.
        """
        ring = await self.ox.keys(fetch.address.service)
        known = {data_node(key.fingerprint) for key in ring.keys if key.raw}
        return ring.jid != self.account and fetch.address.node in known

    # -- the node

    async def publish(self, node: NodeEncryption, payload: Element) -> ItemId:
        """Encrypt and publish one item under a random id, which says nothing of its content.

        Raises:
            ApiMisuse: nothing may encrypt; see ``NodeEncryption.encrypt``.
            StanzaRefused: the service does not let us publish.
        """
        item_id = self.new_item_id()
        await self.perform(Publish(node.address, item_id, await node.encrypt(payload)))
        return item_id

    def new_item_id(self) -> ItemId:
        """Return a random id for an item."""
        return ItemId(random_token(self.ox.ports.primitives, _ITEM_ID_BYTES))

    async def subscribe(self, node: NodeEncryption) -> None:
        """Ask to be notified of new items.

        Raises:
            StanzaRefused: we have no access.
        """
        await self.perform(Subscribe(node.address))

    async def history(
        self, node: NodeEncryption, page_size: int = PAGE_SIZE
    ) -> AsyncIterator[tuple[ItemResult, ...]]:
        """Read everything that is in the node, decrypted, a page at a time.

        Raises:
            StanzaRefused: we have no access.
        """
        async for items in self.pages(node.address, page_size):
            yield await self._decrypt(node, items)

    async def pages(
        self, address: NodeAddress, page_size: int = PAGE_SIZE
    ) -> AsyncIterator[tuple[Item, ...]]:
        """Fetch everything that is in a node, as it is there, a page at a time.

        A service that sends us in circles is followed once round.

        Raises:
            StanzaRefused: we have no access.
        """
        after = None
        seen: set[str] = set()
        while True:
            page = read_page(await self.ask(fetch_page(address, page_size, after)))
            if page.items:
                yield page.items
            if page.last is None or page.last in seen:
                return
            seen.add(page.last)
            after = page.last

    async def _decrypt(
        self, node: NodeEncryption, items: tuple[Item, ...]
    ) -> tuple[ItemResult, ...]:
        return await node.decrypt_many(
            [(item.payload, item.arrival(node.address)) for item in items if item.payload]
        )

    # -- what arrives

    async def incoming(self, stanza: Element) -> SecretsArrived | ItemsArrived | None:
        """Take in one received ``<message/>``; ``None`` when it is nothing of ours, or old news.

        After news of somebody's keys these are known anew; ``KeyEvents`` tells what to show. Which
        items were retracted is remembered of any node, so that they are recognised if they come
        back.

        Raises:
            E2eeError: it was refused, and nothing of it was kept. ``TrustUndecided`` is a question
                to the user; ask, record the answer, and pass the same stanza again.
            StanzaRefused: what it needs could not be had; pass the same stanza again later.
        """
        if stanza.get("type") == "error":
            return None
        event = stanza.optional(ns.PUBSUB_EVENT, "event")
        if event is not None:
            return await self._notified(stanza, event)
        delivery = unwrap(stanza, self.account)
        openpgp = delivery.message.optional(ns.OX, "openpgp")
        if openpgp is None:
            return None
        try:
            opened = await self.supplied(lambda: self.ox.open(openpgp, delivery.arrival))
            keychains = await receive(self.ox, opened)
        except PeerMisbehaved as error:
            if error.code is ErrorCode.REPLAY:  # services deliver twice; that is no attack
                return None
            raise
        return SecretsArrived(keychains) if keychains else None

    async def _notified(self, stanza: Element, event: Element) -> ItemsArrived | None:
        news = event.optional(ns.PUBSUB_EVENT, "items")
        if news is None:
            return None
        sender, to = Jid.parse(stanza.require("from")), stanza.get("to")
        node = self.node(NodeAddress(sender.bare, news.require("node")))
        where = Arrival(StanzaKind.ITEM, sender, Jid.parse(to) if to else None, node=node.address)
        if fetches := self.ox.notified(where):
            await self._hear_of(sender.bare, fetches)
            return None
        gone = read_retracted(news)
        await note_retracted(self.ox, node.address, gone)
        try:
            await node.keychain()
        except ApiMisuse:
            return None  # nobody shared a secret of this node with us; there may be none
        items = read_items(news)
        if any(item.payload is None for item in items):  # the service only says that there is one
            wanted = [item.id for item in items]
            items = read_page(await self.ask(fetch_items(node.address, wanted))).items
        return ItemsArrived(node.address, await self._decrypt(node, items), gone)

    async def _hear_of(self, jid: BareJid, fetches: Sequence[Fetch]) -> None:
        """Fetch the list of somebody whose keys we know, and what is new in it.

        Whom we never looked at is looked at before they are written to.
        """
        if jid != self.account and not (await self.ox.keys(jid)).listed:
            return
        if refusals := await self._feed(fetches, set()):
            raise refusals[0]
        await self.gather({jid})
