"""The world of ``ox_world`` with messages and nodes in it: who sends what, and who reads it.

Rule: honest plumbing only. Who attacks does so in a test, with an account of their own or with what
the network carried; nothing here decides what is believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Effect, Publish, Send
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fingerprint, ItemId, Jid, NodeAddress
from e2ee.secret import Secret
from e2ee.storage import Put, Store
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustOnFirstSight
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.opened import OpenedOx
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node import NodeEncryption
from pubsub_encryption.sharing import receive
from tests.support import ox_world
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import waiting

__all__ = [
    "Letter",
    "Network",
    "Person",
    "after_every_cancellation",
    "entry",
    "stood_in",
]


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as it crossed the network; its children as XML."""

    sender: BareJid
    to: BareJid
    id: str
    children: tuple[str, ...]


@dataclass
class Network(ox_world.World):
    """A world that remembers every message, in order."""

    letters: list[Letter] = field(default_factory=list)

    async def people(self, *names: str, store: Store | None = None) -> list[Person]:
        """Return new accounts with keys, who know each other's; on one store if it is given."""
        people = [Person(self, BareJid.parse(name), store) for name in names]
        for person in people:
            await person.learn(person.jid)
            await person.ox.generate()
            await person.flush()
        for person in people:
            await person.learn(*(other.jid for other in people))
        return people


class Person(ox_world.Person):
    """One device of an account."""

    def __init__(self, network: Network, jid: BareJid, store: Store | None = None) -> None:
        super().__init__(network, jid, store or MemoryStore(), BlindTrustOnFirstSight())
        self.network = network
        self.letters_read = 0

    async def another_device(self) -> Person:
        """Return a second device of the same account, with the same key and nothing else."""
        device = Person(self.network, self.jid)
        own = await self.ox.own_key()
        await device.learn(self.jid)
        await device.ox.adopt(Secret(own.material.reveal()))
        await device.flush()
        await device.learn(*{letter.to for letter in self.network.letters})
        return device

    async def copied(self, make: Callable[[Store], Store] = lambda store: store) -> Person:
        """Return this very device anew, on a copy of its store behind what ``make`` returns."""
        store = MemoryStore()
        async with store.exclusive(()) as tx:
            rows = await ox_world.dump(self.store)
            await tx.commit([Put(key, value) for key, value in rows.items()])
        return Person(self.network, self.jid, make(store))

    async def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the account's key."""
        return (await self.ox.own_key()).certificate.fingerprint

    def node(self, address: NodeAddress) -> NodeEncryption:
        """Return the node as this device sees it."""
        return NodeEncryption(address, self.ox)

    async def flush(self) -> list[Effect]:
        """Perform everything in the outbox; return it in order."""
        performed: list[Effect] = []
        while jobs := await self.outbox.pending():
            for job in jobs:
                self.perform(job.effect)
                await self.outbox.done(job.id)
                performed.append(job.effect)
        return performed

    def perform(self, effect: Effect) -> None:
        """Do what the outbox asks for."""
        self.network.done.append(effect)
        if isinstance(effect, Publish):
            self.network.nodes[effect.address] = effect.payload
        if isinstance(effect, Send):
            children = tuple(map(write_xml, effect.children))
            self.network.letters.append(Letter(self.jid, effect.to, effect.id, children))

    async def open_letter(self, letter: Letter, stamp: datetime | None = None) -> OpenedOx:
        """Open a message of the network; with ``stamp`` it came from the archive."""
        arrival = Arrival(StanzaKind.MESSAGE, Jid(letter.sender), Jid(letter.to), stamp)
        return await self.ox.open(parse_xml(letter.children[0]), arrival)

    async def read(self, letter: Letter, stamp: datetime | None = None) -> tuple[Keychain, ...]:
        """Open a message and take in what it shares."""
        return await receive(self.ox, await self.open_letter(letter, stamp))

    async def took_in(self, letter: Letter) -> bool:
        """Read a message that may have been read before; return whether it was new."""
        try:
            await self.read(letter)
        except PeerMisbehaved as error:
            if error.code is not ErrorCode.REPLAY:
                raise
            return False
        return True

    async def catch_up(self) -> None:
        """Read every new message to this account, or from another device of it (carbons)."""
        letters = self.network.letters[self.letters_read :]
        self.letters_read = len(self.network.letters)
        for letter in letters:
            if self.jid in (letter.to, letter.sender):
                await self.read(letter)

    async def write_to(self, to: Person, *content: Element) -> Letter:
        """Sign, encrypt and send anything at all, as an attacker with an account can."""
        openpgp = write_xml(await self.ox.seal(content, {to.jid}))
        letter = Letter(self.jid, to.jid, f"by hand {len(self.network.letters)}", (openpgp,))
        self.network.letters.append(letter)
        return letter


async def after_every_cancellation(
    person: Person, work: Callable[[Person], Coroutine[Any, Any, object]]
) -> tuple[int, list[Person]]:
    """Do ``work`` on copies of a device, each cancelled at another of its awaits.

    Returns:
        How many copies it left as they were, and those that it changed; the last was not cancelled.
    """
    rows = await ox_world.dump(person.store)
    unchanged = 0
    changed: list[Person] = []
    while True:
        copy = await person.copied(waiting)

        async def cancelled(copy: Person = copy, step: int = unchanged + len(changed)) -> None:
            await cancel_at(work(copy), step)

        task = asyncio.create_task(cancelled())
        await asyncio.wait([task])
        if await ox_world.dump(copy.store) == rows:
            unchanged += 1
        else:
            changed.append(copy)
        if not task.cancelled():
            task.result()
            return unchanged, changed


def entry(text: str) -> Element:
    """Return a small Atom entry."""
    atom = "http://www.w3.org/2005/Atom"
    return element(atom, "entry", None, element(atom, "title", None, text))


def stood_in(address: NodeAddress, publisher: BareJid | None = None, item_id: str = "1") -> Arrival:
    """Return where an item stood; the service may name any publisher."""
    sender = Jid(publisher or address.service)
    return Arrival(StanzaKind.ITEM, sender, node=address, item_id=ItemId(item_id))
