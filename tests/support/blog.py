"""A blog and its people: Juliet's node set up, and single messages written by hand.

Rule: honest plumbing, and the elements that an attacker may send; no test.
"""

from __future__ import annotations

from datetime import timedelta

from e2ee.effects import Effect, Send
from e2ee.errors import E2eeError
from e2ee.names import BareJid, NodeAddress, SecretId
from e2ee.secret import Secret
from e2ee.storage import Store
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.elements import Revoke, SharedSecret
from pubsub_encryption.node import NodeEncryption
from tests.support.node_world import Letter, Network, Person, stood_in

__all__ = ["Stage", "blog_of", "cast", "revoke", "share", "told"]


async def cast(*names: str) -> tuple[Network, list[Person]]:
    network = Network()
    return network, await network.people(*(f"{name}@capulet.lit" for name in names))


def blog_of(person: Person) -> NodeAddress:
    return NodeAddress(person.jid, "blog")


def share(
    network: Network,
    address: NodeAddress,
    name: str = "s",
    text: str | None = None,
    *,
    age: timedelta = timedelta(0),
    revoked: bool = False,
    content_type: str | None = None,
) -> Element:
    """Return ``<shared-secret/>``."""
    value = Secret((text or f"{name:x<43}").encode())
    created = network.clock() - age
    shared = SharedSecret(address, SecretId(name), value, created, revoked, content_type)
    return shared.to_xml()


def revoke(address: NodeAddress, name: str = "s") -> Element:
    return Revoke(address, SecretId(name)).to_xml()


class Stage:
    """Juliet's blog, its members, and what each of them makes of an item."""

    def __init__(self, network: Network, people: list[Person]) -> None:
        self.network = network
        self.juliet = people[0]
        self.people = {person.jid.local: person for person in people}
        self.blog = NodeAddress(self.juliet.jid, "blog")
        self.owner = self.juliet.node(self.blog)

    @classmethod
    async def set(
        cls,
        *members: str,
        others: tuple[str, ...] = (),
        store: Store | None = None,
        ahead: timedelta = timedelta(0),
    ) -> Stage:
        """Return a blog that was created and whose members have read what they were sent.

        Args:
            members: who is granted access.
            others: who else is there.
            store: where all of them live; each on their own store if not given.
            ahead: how far the world's clock is ahead meanwhile.
        """
        network = Network(ahead)
        names = [f"{name}@capulet.lit" for name in ("juliet", *members, *others)]
        stage = cls(network, await network.people(*names, store=store))
        await stage.owner.create("http://www.w3.org/2005/Atom")
        for name in members:
            await stage.owner.grant(stage.people[name].jid)
        await stage.deliver()
        return stage

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    def node(self, name: str) -> NodeEncryption:
        return self.people[name].node(self.blog)

    async def deliver(self) -> list[Effect]:
        """Let the network carry everything, and everybody read."""
        effects = await self.juliet.flush()
        for person in self.people.values():
            await person.catch_up()
        return effects

    async def read(self, name: str, item: Element) -> str:
        """Return what somebody reads in an item, or the code of the error that they get."""
        try:
            opened = await self.node(name).decrypt(item, stood_in(self.blog))
        except E2eeError as error:
            return error.code
        return opened.payload.elements[0].text


async def told(person: Person, effects: list[Effect]) -> list[tuple[BareJid, Element]]:
    """Return what each queued message says, as another device of its sender reads it."""
    device = await person.another_device()
    contents = []
    for effect in effects:
        if isinstance(effect, Send):
            children = tuple(map(write_xml, effect.children))
            opened = await device.open_letter(Letter(person.jid, effect.to, effect.id, children))
            assert len(opened.content) == 1, "one element a message"
            assert opened.to == (effect.to,)
            contents.append((effect.to, opened.content[0]))
    return contents
