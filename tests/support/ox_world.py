"""A world of accounts with real keys on memory stores: who publishes what, and who reads it.

Rule: delivers, and judges nothing; what is hostile about a message or a node, a test says itself by
writing to ``World.nodes`` or by delivering what it made. Its clock runs with the machine's, because
Sequoia judges keys by that one; a test that needs another time moves ``World.ahead``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Effect, Publish, Send
from e2ee.errors import DataMissing, E2eeError, ErrorCode
from e2ee.limits import MAX_PKESK
from e2ee.names import BareJid, Fetch, Fingerprint, Jid, NodeAddress
from e2ee.outbox import Outbox
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.storage import Change, Key, Store
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustOnFirstSight, TrustPolicy
from e2ee.xmltree import Element, element
from ox.account import OxAccount
from ox.certificates import check_certificate
from ox.elements import (
    PublicKeyMetadata,
    PublicKeysList,
    data_node,
    metadata_address,
    read_openpgp,
    write_pubkey,
)
from ox.engine import Revocation
from ox.engine_sequoia import SequoiaEngine
from ox.opened import OpenedOx
from ox.packets import Tag, read_packets

__all__ = [
    "Person",
    "World",
    "body",
    "dump",
    "fingerprint_of",
    "meet",
    "recipients",
    "refused",
]

_PRIMITIVES = NativePrimitives()


@dataclass
class World:
    """What servers keep and carry.

    Attributes:
        ahead: how far this world's clock is ahead of the machine's.
        nodes: the most recent payload of every node.
        done: every effect that was performed, in order.
    """

    ahead: timedelta = timedelta(0)
    nodes: dict[NodeAddress, Element] = field(default_factory=dict)
    done: list[Effect] = field(default_factory=list)

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def announce(self, jid: str, *keys: bytes) -> None:
        """Write nodes that announce these public keys as those of ``jid``, fit or not."""
        owner = BareJid.parse(jid)
        listed = []
        for raw in keys:
            fingerprint = fingerprint_of(raw)
            listed.append(PublicKeyMetadata(fingerprint, self.clock()))
            self.nodes[NodeAddress(owner, data_node(fingerprint))] = write_pubkey(raw)
        self.nodes[metadata_address(owner)] = PublicKeysList(tuple(listed)).to_xml()

    async def person(
        self,
        jid: str,
        *,
        key: Secret | None = None,
        trust: TrustPolicy | None = None,
        store: Store | None = None,
    ) -> Person:
        """Return somebody with a published key: ``key`` if given, else a new one."""
        somebody = self.stranger(jid, trust=trust, store=store)
        await somebody.gather(somebody)
        if key is None:
            await somebody.ox.generate()
        else:
            await somebody.adopt(key)
        await somebody.flush()
        return somebody

    def stranger(
        self, jid: str, *, trust: TrustPolicy | None = None, store: Store | None = None
    ) -> Person:
        """Return somebody without a key, or, on the store of a person, that person anew."""
        return Person(self, BareJid.parse(jid), store or MemoryStore(), trust)


class Person:
    """One account: its OpenPGP, its outbox, its store."""

    def __init__(self, world: World, jid: BareJid, store: Store, trust: TrustPolicy | None) -> None:
        self.world = world
        self.jid = jid
        self.store = store
        self.trust = trust or BlindTrustOnFirstSight()
        self.ports = Ports(store, _PRIMITIVES, self.trust, world.clock)
        self.ox = OxAccount(jid, self.ports, SequoiaEngine(_PRIMITIVES))
        self.outbox = Outbox(store, jid)

    def restarted(self) -> Person:
        """Return the same account as another process would find it."""
        return Person(self.world, self.jid, self.store, self.trust)

    async def flush(self) -> list[Effect]:
        """Perform what waits in the outbox, and return it."""
        jobs = await self.outbox.pending()
        for job in jobs:
            if isinstance(job.effect, Publish):
                self.world.nodes[job.effect.address] = job.effect.payload
            await self.outbox.done(job.id)
        effects = [job.effect for job in jobs]
        self.world.done += effects
        return effects

    async def gather(self, *people: Person) -> None:
        """Fetch and feed what is missing of the keys of ``people``."""
        await self.learn(*(somebody.jid for somebody in people))

    async def learn(self, *people: BareJid) -> None:
        """As :meth:`gather`: first the lists, then the keys that they name."""
        for _ in range(2):
            for fetch in await self.ox.missing(set(people)):
                await self.ox.feed(fetch, self.world.nodes.get(fetch.address))

    async def hear_of(self, somebody: Person) -> None:
        """Take in the list of keys that somebody has now, as a notification brings it."""
        fetch = Fetch(metadata_address(somebody.jid))
        await self.ox.feed(fetch, self.world.nodes.get(fetch.address))
        await self.gather(somebody)

    async def adopt(self, key: Secret, *, replacing: Fingerprint | None = None) -> Fingerprint:
        """Take over a key, after looking at what is published of it."""
        return await self.looked(lambda: self.ox.adopt(key, replacing=replacing))

    async def revoke(self, reason: Revocation) -> None:
        """Revoke our key, whichever it is."""
        own = await self.ox.own_key()
        await self.ox.revoke(own.certificate.fingerprint, reason)

    async def looked(self, act: Callable[[], Awaitable[Fingerprint]]) -> Fingerprint:
        """Do what needs a look at our own keys, with that look."""
        try:
            return await act()
        except DataMissing as missing:
            for fetch in missing.fetches:
                await self.ox.feed(fetch, self.world.nodes.get(fetch.address))
            return await act()

    async def fetch_key(self, raw: bytes, of: Person | None = None) -> None:
        """Take in a public key, whatever its node holds."""
        address = NodeAddress((of or self).jid, data_node(fingerprint_of(raw)))
        await self.ox.feed(Fetch(address), write_pubkey(raw))

    async def write(self, *changes: Change) -> None:
        """Write to the store past the account, as a fault or another program would."""
        async with self.store.exclusive(()) as tx:
            await tx.commit(changes)

    async def seal(self, *to: Person, content: Collection[Element] = ()) -> Element:
        """Seal ``content``, or a body, for ``to``."""
        return await self.ox.seal(tuple(content) or (body("Good pilgrim"),), {p.jid for p in to})

    def arrival(
        self, sender: Person | BareJid, *, to: Person | None = None, stamp: datetime | None = None
    ) -> Arrival:
        """Return where a message from ``sender`` stood when we got it."""
        jid = sender.jid if isinstance(sender, Person) else sender
        return Arrival(
            StanzaKind.MESSAGE, Jid(jid, "orchard"), Jid((to or self).jid, "balcony"), stamp
        )

    async def open(
        self,
        openpgp: Element,
        sender: Person | BareJid,
        *,
        to: Person | None = None,
        stamp: datetime | None = None,
    ) -> OpenedOx:
        """Open a message that came from ``sender``, without marking it as handled."""
        return await self.ox.open(openpgp, self.arrival(sender, to=to, stamp=stamp))

    def letters(self, effects: Collection[Effect]) -> list[Element]:
        """Return the ``<openpgp/>`` elements among messages sent to us."""
        return [
            child
            for effect in effects
            if isinstance(effect, Send) and effect.to == self.jid
            for child in effect.children
            if child.is_(ns.OX, "openpgp")
        ]


async def meet(*people: Person) -> None:
    """Let everybody fetch the keys of everybody, their own ones included."""
    for somebody in people:
        await somebody.gather(*people)


def body(text: str) -> Element:
    """Return a message body."""
    return element(ns.CLIENT, "body", None, text)


def fingerprint_of(raw: bytes) -> Fingerprint:
    """Return the fingerprint of a public key."""
    return Fingerprint(check_certificate(raw)[0].fingerprint.hex().upper())


def recipients(openpgp: Element) -> set[bytes]:
    """Return the ids of the keys that a message is encrypted to."""
    packets = read_packets(read_openpgp(openpgp), most=MAX_PKESK + 1)
    return {packet.body[1:9] for packet in packets if packet.tag == Tag.PKESK}


async def dump(store: Store) -> dict[Key, bytes]:
    """Return every row of a store."""
    rows: dict[Key, bytes] = {}
    async with store.exclusive(()) as tx:
        after: Key | None = None
        while page := await tx.scan((), after):
            rows.update(page)
            after = page[-1][0]
    return rows


@asynccontextmanager
async def refused(code: ErrorCode, *people: Person) -> AsyncIterator[None]:
    """Expect one error with ``code``, and every row of everybody's store as it was (NS)."""
    before = [await dump(somebody.store) for somebody in people]
    with pytest.raises(E2eeError) as caught:
        yield
    assert caught.value.code is code, caught.value
    for somebody, rows in zip(people, before, strict=True):
        assert await dump(somebody.store) == rows, f"the store of {somebody.jid} has changed"
