"""A world of OMEMO devices: what servers keep and carry, who publishes, fetches, sends and reads.

Rule: honest plumbing, and judges nothing; who attacks does so in a test, by writing to
``World.nodes`` or ``World.mail``. Its clock stands still until a test moves it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Delete, Effect, Publish, Retract, Send
from e2ee.errors import DataMissing, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.key_events import KeyEvents
from e2ee.names import BareJid, Fetch, ItemId, Jid, NodeAddress
from e2ee.omemo import decrypting, encrypting, own_device, peers
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.encrypting import Encrypted
from e2ee.omemo.engine import OmemoEngine
from e2ee.omemo.engine_oldmemo import OldmemoEngine
from e2ee.omemo.engine_twomemo import TwomemoEngine
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.sessions import OmemoSessions
from e2ee.omemo.version import CURRENT, Version, bundle_fetch, devices_fetch
from e2ee.outbox import Outbox
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.storage import Change, Key, Put, Store
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustOnFirstSight, Trust, TrustPolicy
from e2ee.xmltree import Element, element

__all__ = ["Letter", "Party", "World", "body", "copied", "dump", "new_bundle", "refused", "settle"]

_T = TypeVar("_T")

_PRIMITIVES = NativePrimitives()
_ENGINES: dict[Version, Callable[[], OmemoEngine]] = {
    Version.TWO: TwomemoEngine,
    Version.LEGACY: OldmemoEngine,
}
_ROUNDS = 20  # of asking what is missing; lists, then bundles, then what those made necessary


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as it crossed the network: from which device's stream, to which account."""

    sender: Jid
    to: BareJid
    children: tuple[Element, ...]


@dataclass
class World:
    """What servers keep and carry.

    Attributes:
        now: the present.
        nodes: the items of every node, the most recent one last.
        done: every effect that was performed, in order.
        mail: every message, in order.
    """

    now: datetime = datetime(2026, 7, 1, 12, tzinfo=UTC)
    nodes: dict[NodeAddress, dict[ItemId, Element]] = field(default_factory=dict)
    done: list[Effect] = field(default_factory=list)
    mail: list[Letter] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    def wait(self, time: timedelta) -> None:
        """Let time pass; negative, to turn the clock back."""
        self.now += time

    def party(
        self,
        jid: str,
        *,
        versions: Sequence[Version] = (Version.TWO,),
        trust: TrustPolicy | None = None,
        store: Store | None = None,
    ) -> Party:
        """Return a device that is not registered; or, on the store of one, that device anew."""
        return Party(self, BareJid.parse(jid), versions, trust, store or MemoryStore())

    async def device(
        self,
        jid: str,
        *,
        versions: Sequence[Version] = (Version.TWO,),
        trust: TrustPolicy | None = None,
        store: Store | None = None,
        label: str | None = None,
    ) -> Party:
        """Return a new device of ``jid``, registered and published."""
        party = self.party(jid, versions=versions, trust=trust, store=store)
        party.device = await party.looked(lambda: own_device.register(party.sessions, label))
        await party.flush()
        return party

    def serve(self, fetch: Fetch) -> Element | None:
        """Return what a service answers."""
        items = self.nodes.get(fetch.address, {})
        if fetch.item_id is not None:
            return items.get(fetch.item_id)
        return next(reversed(items.values()), None)

    def publish(self, fetch: Fetch, payload: Element) -> None:
        """Put a payload where ``fetch`` finds it, whoever may publish there."""
        items = self.nodes.setdefault(fetch.address, {})
        item_id = fetch.item_id or CURRENT
        items.pop(item_id, None)
        items[item_id] = payload

    def announce(self, jid: str, *ids: int, version: Version = Version.TWO) -> None:
        """Publish a list of devices of ``jid``, whether they exist or not."""
        listed = DeviceList(version, tuple(ListedDevice(DeviceId(each)) for each in ids))
        self.publish(devices_fetch(version, BareJid.parse(jid)), listed.to_xml())

    def crowd(self, jid: str, count: int, version: Version = Version.TWO) -> tuple[Device, ...]:
        """Publish ``count`` devices of ``jid`` that nobody holds, each with one prekey."""
        engine = _ENGINES[version]()
        owner = BareJid.parse(jid)
        devices = tuple(Device(owner, DeviceId(number)) for number in range(1, count + 1))
        for device in devices:
            self.publish(bundle_fetch(version, device), new_bundle(engine).to_xml())
        self.announce(jid, *(device.id for device in devices), version=version)
        return devices

    def perform(self, effect: Effect, sender: Jid) -> None:
        """Do what an outbox asks for."""
        self.done.append(effect)
        match effect:
            case Publish(address, item_id, payload):
                self.publish(Fetch(address, item_id), payload)
            case Retract(address, item_id):
                self.nodes.get(address, {}).pop(item_id, None)
            case Delete(address):
                self.nodes.pop(address, None)
            case Send(to, children):
                self.mail.append(Letter(sender, to, children))


class Party:
    """One device of one account.

    Attributes:
        device: its name, once it is registered.
    """

    device: Device

    def __init__(
        self,
        world: World,
        jid: BareJid,
        versions: Sequence[Version],
        trust: TrustPolicy | None,
        store: Store,
    ) -> None:
        self.world = world
        self.jid = jid
        self.versions = versions
        self.store = store
        self.trust = trust or BlindTrustOnFirstSight()
        self.ports = Ports(store, _PRIMITIVES, self.trust, world.clock)
        self.sessions = OmemoSessions(jid, self.ports, [_ENGINES[each]() for each in versions])
        self.outbox = Outbox(store, jid)
        self.events = KeyEvents(store, jid)
        self.letters_read = 0

    @property
    def address(self) -> Jid:
        """The full JID of its stream."""
        return Jid(self.jid, f"device-{self.device.id}")

    def reopened(self, store: Store | None = None) -> Party:
        """Return the same device as another process would find it, or on another store."""
        party = Party(self.world, self.jid, self.versions, self.trust, store or self.store)
        party.device = self.device
        party.letters_read = self.letters_read
        return party

    # -- what is public

    async def flush(self) -> list[Effect]:
        """Perform what waits in the outbox, and return it."""
        performed: list[Effect] = []
        while jobs := await self.outbox.pending():
            for job in jobs:
                self.world.perform(job.effect, self.address)
                await self.outbox.done(job.id)
                performed.append(job.effect)
        return performed

    async def feed(self, *fetches: Fetch) -> None:
        """Fetch and take in."""
        for fetch in fetches:
            await peers.feed(self.sessions, fetch, self.world.serve(fetch))

    async def gather(self, *people: Party | BareJid) -> None:
        """Fetch and feed until nothing is missing to write to ``people``."""
        jids = {each.jid if isinstance(each, Party) else each for each in people}
        for _ in range(_ROUNDS):
            fetches = await peers.missing(self.sessions, jids)
            if not fetches:
                return
            await self.feed(*fetches)
        raise AssertionError(f"never enough: {fetches}")

    async def hear_of(self, somebody: Party | BareJid) -> None:
        """Take in somebody's device lists as they are now, as notifications bring them."""
        jid = somebody.jid if isinstance(somebody, Party) else somebody
        await self.feed(*(devices_fetch(version, jid) for version in self.versions))

    async def looked(self, act: Callable[[], Awaitable[_T]]) -> _T:
        """Do what may need a look at something public, with that look."""
        for _ in range(_ROUNDS):
            try:
                return await act()
            except DataMissing as missing:
                await self.feed(*missing.fetches)
        raise AssertionError("never enough")

    async def decide(self, about: Party, trust: Trust) -> None:
        """Decide about the identity of somebody's device."""
        await peers.decide(self.sessions, about.jid, await about.fingerprint(), trust)

    async def decide_all(self, about: Party | BareJid, trust: Trust = Trust.AUTHENTICATED) -> None:
        """Decide about every identity that somebody's devices show, fetching them first."""
        jid = about.jid if isinstance(about, Party) else about
        await self.gather(jid)
        for known in (await peers.devices(self.sessions, jid)).devices:
            if known.fingerprint is not None:
                await peers.decide(self.sessions, jid, known.fingerprint, trust)

    async def fingerprint(self) -> IdentityFingerprint:
        """Return the fingerprint of this device's identity."""
        own = await own_device.own_device(self.sessions)
        engine = self.sessions.engines[Version.TWO]
        return engine.fingerprint(engine.identity(own.identity))

    # -- messages

    async def encrypt(
        self, *to: Party | BareJid, content: Collection[Element] = (), **options: object
    ) -> Encrypted:
        """Encrypt ``content``, or a body, for ``to``, fetching what is missing."""
        jids = {each.jid if isinstance(each, Party) else each for each in to}
        said = tuple(content) or (body("Good pilgrim"),)
        await self.gather(*jids)
        return await encrypting.encrypt(self.sessions, said, jids, **options)  # type: ignore[arg-type]

    async def say(self, text: str, to: Party) -> Encrypted:
        """Send a body to all devices of somebody, and to our own others."""
        encrypted = await self.encrypt(to, content=(body(text),))
        self.post(to.jid, *encrypted.elements)
        return encrypted

    def post(self, to: BareJid, *children: Element) -> None:
        """Send a message."""
        self.world.mail.append(Letter(self.address, to, children))

    def arrival(
        self, sender: Jid | Party, *, to: BareJid | None = None, stamp: datetime | None = None
    ) -> Arrival:
        """Return where a message from ``sender`` stood when we got it."""
        jid = sender.address if isinstance(sender, Party) else sender
        return Arrival(StanzaKind.MESSAGE, jid, Jid(to or self.jid), stamp)

    async def decrypt(
        self,
        encrypted: Element,
        sender: Jid | Party,
        *,
        to: BareJid | None = None,
        stamp: datetime | None = None,
    ) -> OpenedMessage:
        """Decrypt what came from ``sender``, fetching what is missing."""
        arrival = self.arrival(sender, to=to, stamp=stamp)
        return await self.looked(lambda: decrypting.decrypt(self.sessions, encrypted, arrival))

    async def read(self) -> list[OpenedMessage]:
        """Decrypt all mail to or from our account that is new; what is not for us is passed by."""
        opened: list[OpenedMessage] = []
        letters = self.world.mail[self.letters_read :]
        self.letters_read = len(self.world.mail)
        for letter in letters:
            if self.jid not in (letter.to, letter.sender.bare) or letter.sender == self.address:
                continue
            for child in letter.children:
                if child.name != "encrypted" or child.namespace not in self.versions:
                    continue
                try:
                    opened.append(await self.decrypt(child, letter.sender, to=letter.to))
                except PeerMisbehaved as refusal:
                    if refusal.code is not ErrorCode.NOT_FOR_US:
                        raise
        return opened

    async def write(self, *changes: Change) -> None:
        """Write to the store past the account, as a fault or another program would."""
        async with self.store.exclusive(()) as tx:
            await tx.commit(changes)


async def settle(*parties: Party) -> list[OpenedMessage]:
    """Let all perform, fetch and read until nothing moves; return what was said, in order."""
    said: list[OpenedMessage] = []
    for _ in range(_ROUNDS):
        moved = False
        for party in parties:
            opened = await party.read()
            performed = await party.flush()
            said += [message for message in opened if not message.is_empty]
            moved = moved or bool(opened) or bool(performed)
        if not moved:
            return said
    raise AssertionError("they never come to rest")


def body(text: str) -> Element:
    """Return a message body."""
    return element(ns.CLIENT, "body", None, text)


def new_bundle(engine: OmemoEngine) -> Bundle:
    """Return the bundle of a device that nobody holds, with one prekey."""
    identity = engine.new_identity(_PRIMITIVES.random)
    signed = engine.new_signed_pre_key(identity, 1, _PRIMITIVES.random)
    pre_key = engine.new_pre_key(1, _PRIMITIVES.random)
    return Bundle(
        engine.version,
        engine.identity(identity),
        signed.id,
        signed.public,
        signed.signature,
        ((pre_key.id, pre_key.public),),
    )


async def dump(store: Store) -> dict[Key, bytes]:
    """Return every row of a store."""
    rows: dict[Key, bytes] = {}
    async with store.exclusive(()) as tx:
        after: Key | None = None
        while page := await tx.scan((), after):
            rows.update(page)
            after = page[-1][0]
    return rows


async def copied(store: Store) -> MemoryStore:
    """Return a copy of a store."""
    copy = MemoryStore()
    rows = await dump(store)
    async with copy.exclusive(()) as tx:
        await tx.commit([Put(key, value) for key, value in rows.items()])
    return copy


@asynccontextmanager
async def refused(code: ErrorCode, *parties: Party) -> AsyncIterator[None]:
    """Expect one error with ``code``, and every row of everybody's store as it was (NS)."""
    before = [await dump(party.store) for party in parties]
    with pytest.raises(E2eeError) as caught:
        yield
    assert caught.value.code is code, caught.value
    for party, rows in zip(parties, before, strict=True):
        assert await dump(party.store) == rows, f"the store of {party.jid} has changed"
