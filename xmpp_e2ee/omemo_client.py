"""OMEMO in a client: what it needs is fetched, what it seals is sent, what arrives is opened.

Rule: everything that a client must do for ``OmemoSessions`` stands here once, and nothing else; for
whom is encrypted, and what is believed, is decided below.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, TypeVar

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Send, Subscribe
from e2ee.errors import DataMissing, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fetch, Jid, NodeAddress
from e2ee.omemo import (
    Device,
    DeviceReport,
    OmemoEngine,
    OmemoSessions,
    OpenedChat,
    RoomAffiliation,
    RoomRoster,
    open_message,
    seal_message,
)
from e2ee.tokens import random_token
from e2ee.xmltree import Element
from xmpp_e2ee.client import Client
from xmpp_e2ee.fetching import fetched
from xmpp_e2ee.pubsub import read_items
from xmpp_e2ee.rooms import JoinedRoom, affiliate, ask_for_roster
from xmpp_e2ee.stanzas import unwrap
from xmpp_e2ee.transport import StanzaRefused, Transport

__all__ = ["OmemoClient"]

_STANZA_ID_BYTES: Final = 16
_Result = TypeVar("_Result")


class OmemoClient:
    """The OMEMO of a client's account: chats with one, and rooms."""

    def __init__(
        self, client: Client, transport: Transport, engines: Sequence[OmemoEngine]
    ) -> None:
        """Bind an account's devices and sessions to its client and its connection."""
        self.sessions = OmemoSessions(client.account, client.ox.ports, engines)
        self._client = client
        self._transport = transport
        self._rooms: dict[BareJid, JoinedRoom] = {}

    # -- devices

    async def register(self, label: str) -> Device:
        """Make this device and publish it.

        Raises:
            ApiMisuse: there is one.
            StanzaRefused: the server does not let us publish.
        """
        device = await self.supplied(lambda: self.sessions.register(label))
        await self._flush()
        return device

    async def follow(self, jid: BareJid) -> None:
        """Ask to be told of the devices of ``jid``; of contacts a real server tells unasked.

        Raises:
            StanzaRefused: there is no list yet.
        """
        for version in self.sessions.engines:
            await self._client.perform(Subscribe(NodeAddress(jid, version.devices_node)))

    async def gather(self, people: Collection[BareJid]) -> None:
        """Fetch the lists and bundles of ``people``: so that the user can see their devices."""
        while needs := await self.sessions.missing(people):
            await self._feed(needs)

    async def renew_session(self, device: Device) -> None:
        """Replace the session with a device; see ``OmemoSessions.renew_session``."""
        await self.supplied(lambda: self.sessions.renew_session(device))
        await self._flush()

    async def supplied(self, act: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do what may need something public first: what it misses is fetched and fed, then again.

        Raises:
            DataMissing: what is missing was fetched already, and is of no use.
        """
        tried: set[Fetch] = set()
        while True:
            try:
                return await act()
            except DataMissing as missing:
                if tried.issuperset(missing.fetches):
                    raise
                tried.update(missing.fetches)
                await self._feed(missing.fetches)

    async def _feed(self, needs: Sequence[Fetch]) -> None:
        for fetch in needs:
            await self.sessions.feed(fetch, await self._fetched(fetch))

    async def _fetched(self, fetch: Fetch) -> Element | None:
        """Return what a need names, or ``None``.

        Raises:
            StanzaRefused: a list that we are not given; to take it for empty would strike devices.
        """
        try:
            return await fetched(self._transport, fetch)
        except StanzaRefused:
            if fetch.address.node in {version.devices_node for version in self.sessions.engines}:
                raise
            return None  # no bundle stands in the way of another device

    async def _flush(self) -> None:
        refused = await self._client.flush()
        if refused:
            raise StanzaRefused(refused[0].condition)

    # -- rooms

    async def enter(self, room: BareJid) -> None:
        """Learn for whom to write in a room that we are in.

        Raises:
            PeerMisbehaved: ``forbidden``: it hides who is in it.
            StanzaRefused: we are not in it.
        """
        self._rooms[room] = JoinedRoom(await ask_for_roster(self._transport, room))

    async def admit(self, room: BareJid, newcomer: BareJid) -> None:
        """Make somebody a member of our room.

        Raises:
            StanzaRefused: it is not ours.
        """
        await affiliate(self._transport, room, newcomer, RoomAffiliation.MEMBER)

    # -- what leaves

    async def send(
        self, content: Sequence[Element], to: BareJid, *, leaving_out: Collection[Device] = ()
    ) -> tuple[DeviceReport, ...]:
        """Encrypt a message and send it, to somebody or to a room that was entered.

        Returns:
            What became of each device.

        Raises:
            ApiMisuse, TrustUndecided, PeerMisbehaved: as ``seal_message``; nothing was sent.
            StanzaRefused: somebody's list is not for us, or the message not wanted.
        """
        place: BareJid | RoomRoster = self._rooms[to].roster if to in self._rooms else to
        sealed = await self.supplied(
            lambda: seal_message(self.sessions, content, place, leaving_out=leaving_out)
        )
        stanza_id = random_token(self.sessions.ports.primitives, _STANZA_ID_BYTES)
        await self._client.perform(Send(to, sealed.children, stanza_id))
        return sealed.report

    # -- what arrives

    async def incoming(self, stanza: Element) -> OpenedChat | None:
        """Take in one received stanza; ``None`` when it says nothing, or nothing that is news.

        Pass what it returns to ``sessions.delivered`` once it is taken in.

        Raises:
            E2eeError: it was refused, and nothing of it was kept.
        """
        if stanza.get("type") == "error":
            return None
        if stanza.name == "presence":
            self._hear(stanza)
            return None
        event = stanza.optional(ns.PUBSUB_EVENT, "event")
        if event is not None:
            await self._notified(stanza, event)
            return None
        chat = await self._opened(stanza)
        await self._flush()  # a new session is answered
        return None if chat is None or chat.opened.is_empty else chat

    def _hear(self, presence: Element) -> None:
        room = Jid.parse(presence.require("from")).bare
        if room in self._rooms:
            self._rooms[room] = self._rooms[room].heard(presence)

    async def _notified(self, stanza: Element, event: Element) -> None:
        news = event.optional(ns.PUBSUB_EVENT, "items")
        items = () if news is None else read_items(news)
        if news is None or not items:
            return
        sender, to = Jid.parse(stanza.require("from")), Jid.parse(stanza.require("to"))
        node = NodeAddress(sender.bare, news.require("node"))
        arrival = Arrival(StanzaKind.ITEM, sender, to, node=node, item_id=items[-1].id)
        for fetch in self.sessions.notified(arrival):
            payload = items[-1].payload or await self._fetched(fetch)
            await self.sessions.feed(fetch, payload)

    async def _opened(self, stanza: Element) -> OpenedChat | None:
        delivery = unwrap(stanza, self.sessions.account)
        children, arrival = delivery.message.elements, delivery.arrival
        room = self._rooms.get(arrival.sender.bare)
        if room is not None:
            arrival = room.told(arrival)
        roster = None if room is None else room.roster
        try:
            return await self.supplied(
                lambda: open_message(self.sessions, children, arrival, room=roster)
            )
        except PeerMisbehaved as error:
            # Services deliver twice, and rooms to ourselves; that is no attack.
            old = (ErrorCode.NOT_ENCRYPTED, ErrorCode.REPLAY)
            reflected = arrival.occupant == self.sessions.account
            if error.code in old or (reflected and error.code is ErrorCode.FORBIDDEN):
                return None
            raise
