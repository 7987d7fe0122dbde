"""Targeted items in the worlds of OMEMO and of OpenPGP: who publishes what, and where it stands.

Rule: shorthands only; what a service does to an item, a test does itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.lexical import format_time
from e2ee.names import BareJid, ItemId, ItemPlace, Jid, NodeAddress
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.cached_item import CachedItem
from pubsub_encryption.targeted import TargetedPayload
from pubsub_encryption.targeted_items import TargetedItems
from pubsub_encryption.targeted_reading import OpenedTargeted, UnreadableTargeted
from tests.support.node_world import entry
from tests.support.omemo_letters import sealed
from tests.support.omemo_world import Party, World
from tests.support.ox_world import Person

__all__ = [
    "BLOG",
    "Stage",
    "at",
    "enveloped",
    "kept",
    "published",
    "read",
    "said",
    "stood",
    "targeted",
    "unread",
    "wrapped",
]

BLOG = NodeAddress(BareJid.parse("juliet@capulet.lit"), "urn:xmpp:microblog:0")


@dataclass
class Stage:
    """Juliet, who writes, and Romeo, who has read something of hers before."""

    world: World
    juliet: Party
    romeo: Party

    @classmethod
    async def set(cls) -> Stage:
        """Return them once they have a session."""
        world = World()
        juliet, romeo = [
            await world.device(jid, trust=BlindTrustBeforeVerification())
            for jid in ("juliet@capulet.lit", "romeo@montague.lit")
        ]
        first = at("first")
        await read(romeo, await published(juliet, romeo, place=first), stood(first))
        await romeo.flush()
        await juliet.read()
        return cls(world, juliet, romeo)


def targeted(who: Party | Person) -> TargetedItems:
    """Return the targeted items of a device, or of an account with a key."""
    if isinstance(who, Party):
        return TargetedItems(who.jid, who.ports, who.sessions, None)
    return TargetedItems(who.jid, who.ports, None, who.ox)


def at(item_id: str = "1", node: NodeAddress = BLOG) -> ItemPlace:
    """Return the place of an item."""
    return ItemPlace(node, ItemId(item_id))


def stood(
    place: ItemPlace | None = None,
    publisher: Party | Person | BareJid | None = None,
    *,
    to: Party | None = None,
    stamp: datetime | None = None,
) -> Arrival:
    """Return where an item stood; published by the account whose node it is, if by nobody else."""
    place = place or at()
    named = publisher if isinstance(publisher, BareJid | None) else publisher.jid
    sender = Jid(named or place.node.service)
    return Arrival(
        StanzaKind.ITEM,
        sender,
        Jid(to.jid, "stream") if to else None,
        stamp,
        node=place.node,
        item_id=place.item_id,
    )


async def published(
    author: Party, *to: Party, text: str = "Good pilgrim", place: ItemPlace | None = None
) -> Element:
    """Encrypt an entry for some people, fetching what is missing; return the item's payload."""
    people = {each.jid for each in to}
    await author.gather(*people)
    items, where = targeted(author), place or at()
    return (await items.encrypt(entry(text), people, where)).payload


async def read(reader: Party, payload: Element, arrival: Arrival | None = None) -> OpenedTargeted:
    """Decrypt an item, fetching what is missing."""
    where = arrival or stood()
    return await reader.looked(lambda: targeted(reader).decrypt(payload, where))


async def unread(reader: Party, payload: Element, place: str) -> UnreadableTargeted:
    """Return what becomes of an item that cannot be read."""
    (result,) = await targeted(reader).decrypt_many([(payload, stood(at(place)))])
    assert isinstance(result, UnreadableTargeted)
    return result


async def kept(reader: Party | Person, place: ItemPlace | None = None) -> CachedItem | None:
    """Return what a reader keeps of a place."""
    return await targeted(reader).cache.get(place or at())


def said(opened: object) -> str:
    """Return the title of an entry that was opened or kept."""
    item = opened.item if isinstance(opened, OpenedTargeted) else opened
    assert isinstance(item, CachedItem)
    return item.payload.only(ns.ATOM, "title", None).text


async def enveloped(
    author: Party,
    reader: Party,
    *content: Element,
    from_: str | None = None,
    to: str | None = None,
    time: datetime | None = None,
    by: BareJid | None = None,
) -> Element:
    """Return an item with this envelope, proper or not, by the author's present session."""
    affixes = [
        element(ns.SCE, name, {attribute: value})
        for name, attribute, value in (
            ("from", "jid", from_),
            ("to", "jid", to),
            ("time", "stamp", time and format_time(time)),
        )
        if value
    ]
    inside = element(ns.SCE, "content", None, *[each.unprefixed() for each in content])
    envelope = element(ns.SCE, "envelope", None, inside, *affixes)
    return wrapped(by or author.jid, await sealed(author, reader, write_xml(envelope).encode()))


def wrapped(by: BareJid, inner: Element) -> Element:
    """Return the payload of an item that says that it is by somebody."""
    return TargetedPayload(by, inner.namespace, inner).to_xml()
