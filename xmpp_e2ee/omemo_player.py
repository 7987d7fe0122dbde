"""A player of the OMEMO story: one device, with its store, its connection and what it has read.

Rule: what a user does with a client; the order in which things happen is the story's.
"""

from __future__ import annotations

from collections.abc import Collection

from e2ee import ns
from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.key_events import KeyEvent, KeyEvents
from e2ee.names import BareJid, Jid
from e2ee.omemo import Device, DeviceReport, IdentityFingerprint
from e2ee.omemo.engine_twomemo import TwomemoEngine
from e2ee.ports import Ports
from e2ee.trust import Trust
from e2ee.xmltree import element
from ox.engine_sequoia import SequoiaEngine
from xmpp_e2ee.client import Client
from xmpp_e2ee.omemo_client import OmemoClient
from xmpp_e2ee.service import Service

__all__ = ["OmemoPlayer"]


class OmemoPlayer:
    """One device.

    Attributes:
        name: what programs call it.
        title: what people call it, or rather its user.
        jid: its full JID.
        client: its client.
        device: its name, once it is registered.
        said: how many messages it sent.
        read: what it read, in order.
        refused: why it could not read the others.
    """

    device: Device

    def __init__(self, name: str, title: str, jid: Jid, service: Service, ports: Ports) -> None:
        """Connect a device with a store of its own."""
        self.name = name
        self.title = title
        self.jid = jid
        self.said = 0
        self.read: list[str] = []
        self.refused: list[ErrorCode] = []
        self._session = service.connect(jid)
        engine = SequoiaEngine(ports.primitives, ports.executor)
        client = Client(jid.bare, ports, engine, self._session)
        self._events = KeyEvents(ports.store, jid.bare)
        self.client = OmemoClient(client, self._session, [TwomemoEngine()])

    @property
    def account(self) -> BareJid:
        """Whose device it is."""
        return self.jid.bare

    @property
    def is_awaited(self) -> bool:
        """Whether something has arrived that was not taken in."""
        return bool(self._session.inbox)

    async def register(self) -> None:
        """Make this device's keys and publish them."""
        self.device = await self.client.register(f"{self.title}, {self.jid.resource}")

    async def say(
        self, text: str, to: BareJid, *, leaving_out: Collection[Device] = ()
    ) -> tuple[DeviceReport, ...]:
        """Send a line to somebody, or to a room."""
        body = element(ns.CLIENT, "body", None, text)
        report = await self.client.send([body], to, leaving_out=leaving_out)
        self.said += 1
        return report

    async def catch_up(self) -> list[str]:
        """Take in what has arrived; return what was read of it."""
        read: list[str] = []
        while self._session.inbox:
            try:
                chat = await self.client.incoming(self._session.inbox.popleft())
            except (CannotDecrypt, PeerMisbehaved) as refusal:
                self.refused.append(refusal.code)
                continue
            if chat is not None:
                read += [child.text for child in chat.opened.content]
                await self.client.sessions.delivered([chat.opened])
        self.read += read
        return read

    async def fingerprint(self) -> IdentityFingerprint:
        """Return the fingerprint of this device, as its user shows it to others."""
        own = await self.client.sessions.own_device()
        engine = TwomemoEngine()
        return engine.fingerprint(engine.identity(own.identity))

    async def undecided(self, jid: BareJid) -> list[Device]:
        """Return the devices of ``jid`` that the user must decide about."""
        sessions = self.client.sessions
        ring = await sessions.devices(jid)
        levels = {known.id: ring.level(known, sessions.ports.trust) for known in ring.devices}
        return [Device(jid, each) for each, level in levels.items() if level is Trust.UNDECIDED]

    async def vouch_for(self, *others: OmemoPlayer) -> None:
        """Compare the fingerprints that others show, and vouch for their devices."""
        await self.client.gather({other.account for other in others})
        for other in others:
            shown = await other.fingerprint()
            await self.client.sessions.decide(other.account, shown, Trust.AUTHENTICATED)

    async def warnings(self) -> list[KeyEvent]:
        """Return what the user should be told of keys, once."""
        events = await self._events.pending()
        await self._events.shown(events)
        return list(events)
