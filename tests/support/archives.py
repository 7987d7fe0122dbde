"""Exports of Juliet's account, with her store: what Romeo wrote to her by every encryption.

Rule: honest set-up, by the library itself; what is wrong with an export is written by a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from e2ee import ns
from e2ee.lexical import format_time
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.storage import Put, Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.cache import ItemCache
from pubsub_encryption.targeted_items import TargetedItems
from tests.support import omemo_world
from tests.support.node_world import Network, Person, entry
from tests.support.omemo_world import Party, body
from tests.support.ox_world import dump
from xmpp_e2ee.archive import Archive, FileReport
from xmpp_e2ee.export import find_files

__all__ = ["BLOG", "JULIET", "ROMEO", "Verona", "answer", "cached", "page", "result", "texts"]

JULIET, ROMEO = BareJid.parse("juliet@capulet.lit"), BareJid.parse("romeo@montague.lit")
BLOG = NodeAddress(ROMEO, "blog")


@dataclass
class Verona:
    """Two accounts, each with an OMEMO device and an OpenPGP key, on one store.

    Attributes:
        network: what OpenPGP carried.
        world: the same of OMEMO.
        juliet: her key.
        juliets_device: her device.
        romeo: his key.
        romeos_device: his device.
        stanzas: what an archive has got so far.
    """

    network: Network
    world: omemo_world.World
    juliet: Person
    juliets_device: Party
    romeo: Person
    romeos_device: Party
    stanzas: list[Element] = field(default_factory=list)

    @classmethod
    async def found(cls) -> Verona:
        """Let them meet, and nothing more."""
        network, world = Network(), omemo_world.World(datetime.now(UTC))
        people, devices = [], []
        for jid in (JULIET, ROMEO):
            store = MemoryStore()
            person = Person(network, jid, store)
            await person.learn(jid)
            await person.ox.generate()
            await person.flush()
            people.append(person)
            devices.append(await world.device(str(jid), store=store))
        for person, device in zip(people, devices, strict=True):
            await person.learn(JULIET, ROMEO)
            await device.gather(*devices)
        return cls(network, world, people[0], devices[0], people[1], devices[1])

    def archive(self, children: Sequence[Element], *, sent: bool = False) -> None:
        """Let Juliet's archive store a message from Romeo, or one to him."""
        self.stanzas.append(result(children, sent=sent))

    async def say(self, text: str) -> None:
        """Let Romeo write to Juliet in OMEMO."""
        encrypted = await self.romeos_device.encrypt(self.juliets_device, content=(body(text),))
        self.archive(encrypted.elements)

    async def say_by_openpgp(self, text: str) -> None:
        """Let Romeo write to Juliet in OpenPGP."""
        self.archive([await self.romeo.ox.seal([body(text)], {JULIET})])

    async def share(self) -> None:
        """Let Romeo share the secret of his blog with Juliet."""
        await self.romeo.node(BLOG).grant(JULIET)
        await self.romeo.flush()
        for letter in self.network.letters:
            if letter.to == JULIET:
                self.archive([parse_xml(child) for child in letter.children])

    async def post(self, *texts: str) -> None:
        """Let Romeo publish in his encrypted blog; the archive has the answer with the items."""
        items = {text: await self.romeo.node(BLOG).encrypt(entry(text)) for text in texts}
        self.stanzas.append(answer(BLOG, items))

    async def post_to_juliet(self, text: str) -> None:
        """Let Romeo publish something that only Juliet can read."""
        device = self.romeos_device
        targeted = TargetedItems(ROMEO, device.ports, device.sessions, None)
        place = ItemPlace(BLOG, ItemId(text))
        sealed = await targeted.encrypt(entry(text), {JULIET}, place)
        self.stanzas.append(answer(BLOG, {text: sealed.payload}))

    async def everything(self) -> None:
        """Let all of this happen, the items before the secret that opens them."""
        await self.romeo.node(BLOG).create()
        await self.post("one", "two")
        for text in ("Good pilgrim", "Saints do not move"):
            await self.say(text)
        await self.share()
        await self.say_by_openpgp("Then move not")
        await self.post_to_juliet("three")
        self.archive([body("in clear")])

    async def on_disk(self, path: Path) -> None:
        """Write Juliet's store to a new file."""
        rows = await dump(self.juliet.store)
        async with await SqliteStore.open(path) as store, store.exclusive(()) as tx:
            await tx.commit([Put(key, value) for key, value in rows.items()])

    def on(self, store: Store) -> Archive:
        """Return Juliet's archive, as a program finds it on her store."""
        person = Person(self.network, JULIET, store)
        return Archive(person.ox, self.world.party(str(JULIET), store=store).sessions)

    async def read(self, *paths: Path, store: Store | None = None) -> list[FileReport]:
        """Read exports as the command does."""
        archive = self.on(store or self.juliet.store)
        files = find_files(paths)
        for file in files:
            await archive.read(file, lambda _: None)
        for file in files:
            await archive.read_left(file, lambda _: None)
        return [await archive.report(file) for file in files]


def result(
    children: Sequence[Element],
    *,
    sent: bool = False,
    wrapper: Mapping[str, str] | None = None,
) -> Element:
    """Return what Juliet's archive answers for one message between her and Romeo.

    Args:
        children: of the message.
        sent: whether she sent it.
        wrapper: what stands on the answer, if not all that a server writes there.
    """
    from_, to = (JULIET, ROMEO) if sent else (ROMEO, JULIET)
    message = element(
        ns.CLIENT, "message", {"from": f"{from_}/orchard", "to": str(to), "type": "chat"}, *children
    )
    delay = element(ns.DELAY, "delay", {"stamp": format_time(datetime.now(UTC))})
    forwarded = element(ns.FORWARD, "forwarded", None, delay, message)
    found = element(ns.MAM, "result", {"id": "28482-98726-73623"}, forwarded)
    return element(ns.CLIENT, "message", wrapper or {"to": f"{JULIET}/balcony"}, found)


def answer(address: NodeAddress, items: dict[str, Element]) -> Element:
    """Return what a service answers that is asked for items."""
    found = [element(ns.PUBSUB, "item", {"id": each}, items[each]) for each in items]
    content = element(ns.PUBSUB, "items", {"node": address.node}, *found)
    attributes = {"from": str(address.service), "type": "result", "id": "1"}
    pubsub = element(ns.PUBSUB, "pubsub", None, content)
    return element(ns.CLIENT, "iq", attributes, pubsub)


def page(path: Path, *stanzas: Element) -> Path:
    """Write stanzas to a file, as a page that somebody saved."""
    content = "\n".join(map(write_xml, stanzas))
    path.write_text(f"<?xml version='1.0'?>\n<!-- saved -->\n<page>\n{content}\n</page>\n")
    return path


async def texts(device: Party) -> list[str]:
    """Return what waits in a device's inbox."""
    return [opened.content[0].text for opened in await device.sessions.undelivered()]


async def cached(verona: Verona, store: Store) -> list[str]:
    """Return the titles of what Juliet's cache has of the blog."""
    cache = ItemCache(JULIET, Person(verona.network, JULIET, store).ports)
    return [item.payload.elements[0].text for item in await cache.page(BLOG)]
