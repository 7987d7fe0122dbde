"""The impostor of the OMEMO story: whoever runs the server, with keys of his own in Romeo's name.

Rule: uses what a server has: what is published on it, and that it may say from whom a stanza is. He
has no key of those whose names he takes.
"""

from __future__ import annotations

from e2ee import ns
from e2ee.effects import Publish
from e2ee.names import BareJid, ItemId, Jid
from e2ee.omemo import Device, OmemoSessions, Version
from e2ee.omemo.engine_twomemo import TwomemoEngine
from e2ee.omemo.version import bundle_fetch, devices_fetch
from e2ee.outbox import Outbox
from e2ee.ports import Ports
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustOnFirstSight
from e2ee.xmltree import Element, element
from xmpp_e2ee.pubsub import request_for
from xmpp_e2ee.service import Service

__all__ = ["Impostor"]


class Impostor:
    """Whoever runs the server, and takes the name of one device."""

    def __init__(self, service: Service, victim: Device, resource: str, ports: Ports) -> None:
        """Begin without keys.

        Args:
            service: his.
            victim: the device whose name he takes.
            resource: of the victim's stream.
            ports: randomness and the time; the store is his own.
        """
        self._service = service
        self._victim = victim
        self._stream = Jid(victim.jid, resource)
        own = Ports(MemoryStore(), ports.primitives, BlindTrustOnFirstSight(), ports.clock)
        self._sessions = OmemoSessions(victim.jid, own, [TwomemoEngine()])
        self._outbox = Outbox(own.store, victim.jid)

    async def replace_bundle(self) -> None:
        """Make keys, and serve them as those of the victim."""
        await self._sessions.feed(devices_fetch(Version.TWO, self._victim.jid), None)
        await self._sessions.register()
        place = bundle_fetch(Version.TWO, self._victim).address
        for job in await self._outbox.pending():
            if isinstance(job.effect, Publish) and job.effect.address == place:
                forged = Publish(place, ItemId(str(self._victim.id)), job.effect.payload)
                request = request_for(forged, self._victim.jid)
                self._service.request(self._stream, request.to, request.kind, request.payload)

    async def write(self, text: str, to: BareJid) -> None:
        """Send a line as if it were the victim's."""
        while needs := await self._sessions.missing({to}):
            for fetch in needs:
                mine = fetch.address.service != to
                found = () if mine else self._service.stored(fetch.address)
                wanted = [each for each in found if fetch.item_id in (None, each.id)]
                await self._sessions.feed(fetch, wanted[-1].payload if wanted else None)
        body = element(ns.CLIENT, "body", None, text)
        encrypted = await self._sessions.encrypt([body], {to})
        claimed = [self._in_the_name_of_the_victim(each) for each in encrypted.elements]
        self._service.send(self._stream, to, "forged", claimed)

    def _in_the_name_of_the_victim(self, encrypted: Element) -> Element:
        """Return a message with the victim's device id for its sender's."""
        header, *rest = encrypted.elements
        claimed = element(
            header.namespace, header.name, {"sid": str(self._victim.id)}, *header.children
        )
        return element(encrypted.namespace, encrypted.name, None, claimed, *rest)
