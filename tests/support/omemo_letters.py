"""Encrypted elements of OMEMO made or altered between two parties of a world, and who they are.

Rule: what somebody with the sender's session could send, or somebody on the way make of it; who is
attacked how is the test's business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.omemo import empty_messages, inbox
from e2ee.omemo.device import DeviceId
from e2ee.omemo.device_keys import next_key
from e2ee.omemo.engine import Payload
from e2ee.omemo.message import DeviceKey, EncryptedMessage, read_encrypted
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import put_session, session_within
from e2ee.omemo.version import Version, devices_fetch
from e2ee.primitives import NativePrimitives
from e2ee.sce import Envelope, SceProfile, seal_envelope
from e2ee.secret import Secret
from e2ee.xmltree import Element
from tests.support.omemo_world import Party, World, body, settle

__all__ = [
    "EMPTY",
    "ROOM",
    "Pair",
    "acknowledge",
    "addressed",
    "enveloped",
    "first_contact",
    "in_room",
    "key_for",
    "keyed",
    "met",
    "of_item",
    "remade",
    "renewed",
    "said",
    "sealed",
    "session_of",
    "texts",
]

EMPTY = Secret(bytes(32))
"""The key material of every empty message of version 2."""

ROOM = Jid.parse("room@chat.example/alice")
"""Where the occupant ``alice`` speaks in a room."""

_ANY = SceProfile()
_SAME = object()


@dataclass
class Pair:
    """Two devices of two accounts, and their world."""

    world: World
    alice: Party
    bob: Party


async def met(*, legacy: bool = False) -> Pair:
    """Return two devices that have a session which both have used.

    Args:
        legacy: whether neither is announced in version 2.
    """
    world = World()
    versions = tuple(Version) if legacy else (Version.TWO,)
    alice = await world.device("alice@a.example", versions=versions)
    bob = await world.device("bob@b.example", versions=versions)
    if legacy:
        for party in (alice, bob):
            del world.nodes[devices_fetch(Version.TWO, party.jid).address]
    await alice.say("first", bob)
    await settle(alice, bob)
    return Pair(world, alice, bob)


async def first_contact() -> Pair:
    """Return two devices that never heard of each other."""
    world = World()
    return Pair(world, await world.device("alice@a.example"), await world.device("bob@b.example"))


async def said(sender: Party, reader: Party, text: str = "Good pilgrim") -> Element:
    """Return a body in an element of the version that the reader is written to in."""
    return (await sender.encrypt(reader, content=[body(text)])).elements[0]


async def renewed(party: Party, other: Party) -> None:
    """Have a user renew the session with another device."""
    await party.gather(other)
    await party.looked(lambda: empty_messages.renew_session(party.sessions, other.device))
    await party.flush()


async def acknowledge(party: Party) -> None:
    """Take in all that waits."""
    await inbox.delivered(party.sessions, await inbox.undelivered(party.sessions))


def key_for(encrypted: Element, reader: Party) -> DeviceKey:
    """Return the key for a device in an element."""
    key = read_encrypted(encrypted, reader.device).key
    assert key is not None
    return key


def remade(
    encrypted: Element,
    reader: Party,
    *,
    sid: DeviceId | None = None,
    data: bytes | None = None,
    payload: Payload | object | None = _SAME,
) -> Element:
    """Return an element with nothing but the key for one device, and with what is given instead."""
    message = read_encrypted(encrypted, reader.device)
    key = key_for(encrypted, reader)
    whose = reader.jid if message.version is Version.TWO else None
    carried = message.payload if payload is _SAME else payload
    assert carried is None or isinstance(carried, Payload)
    iv = message.iv or (message.payload.iv if message.payload else None)
    changed = replace(key, data=data or key.data)
    return addressed(sid or message.sid, whose, changed, carried, None if carried else iv)


def addressed(
    sid: DeviceId,
    jid: BareJid | None,
    key: DeviceKey,
    payload: Payload | None = None,
    iv: bytes | None = None,
) -> Element:
    """Return an element with one key, for a device of ``jid``; for nobody's a legacy one."""
    version = Version.LEGACY if jid is None else Version.TWO
    return EncryptedMessage(version, sid, {jid: (key,)}, payload, iv).to_xml()


async def keyed(
    sender: Party, reader: Party, key_material: Secret, payload: Payload | None = None
) -> Element:
    """Return an element of version 2 with this key material, by the sender's present session."""
    async with sender.store.exclusive(sender.sessions.scope) as tx:
        draft = Draft(tx, sender.jid)
        session = await session_within(draft, Version.TWO, reader.device)
        assert session is not None
        after, key = await next_key(sender.sessions, session, key_material)
        put_session(draft, after)
        await draft.commit()
    return addressed(sender.device.id, reader.jid, key, payload)


async def sealed(sender: Party, reader: Party, plaintext: bytes) -> Element:
    """Return an element of version 2 with this plaintext, by the sender's present session."""
    engine = sender.sessions.engines[Version.TWO]
    payload, key_material = engine.seal_payload(plaintext, NativePrimitives().random)
    return await keyed(sender, reader, key_material, payload)


async def enveloped(
    sender: Party,
    reader: Party,
    *content: Element,
    from_: str | None = "alice@a.example",
    to: str | None = "bob@b.example",
    time: datetime | None = None,
) -> Element:
    """Return an element of version 2 with this envelope."""
    envelope = Envelope(
        content or (body("sealed"),),
        None if to is None else Jid.parse(to),
        None if from_ is None else Jid.parse(from_),
        time,
    )
    return await sealed(sender, reader, seal_envelope(envelope, _ANY, NativePrimitives()))


async def session_of(party: Party, other: Party, version: Version = Version.TWO) -> Session:
    """Return the session that a party sends with."""
    async with party.store.exclusive(party.sessions.scope) as tx:
        session = await session_within(Draft(tx, party.jid), version, other.device)
    assert session is not None
    return session


def in_room(sender: Party | None) -> Arrival:
    """Return where a message in the room stood; of ``None``: in one that does not say of whom."""
    return Arrival(StanzaKind.GROUPCHAT, ROOM, occupant=None if sender is None else sender.jid)


def of_item(publisher: BareJid, item_id: str = "item") -> Arrival:
    """Return where the payload of an item stood."""
    node = NodeAddress(publisher, "urn:example:node")
    return Arrival(StanzaKind.ITEM, Jid(publisher), node=node, item_id=ItemId(item_id))


def texts(opened: object) -> list[str]:
    """Return the bodies of messages, in order; what is no message is left out."""
    found = opened if isinstance(opened, (list, tuple)) else [opened]
    return [child.text for each in found for child in getattr(each, "content", ())]
