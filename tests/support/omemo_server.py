"""Devices that talk OMEMO through a server that does what it likes, and the ledger of what is owed.

Rule: the ledger knows what was said, what left a device and what was handed over; of ratchets it
knows no more than the position of a message that left. What a program remembers goes back with its
store when an older copy of that is put back.

Every message that was not withheld is owed to each device that it was encrypted for, once. Not owed
is what crosses a restore: what was sent to a device after the copy, until its sender has heard from
it since; and what begins a session with a prekey that the device rightly deleted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

import pytest

from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Send
from e2ee.errors import (
    CannotDecrypt,
    DataMissing,
    E2eeError,
    ErrorCode,
    PeerMisbehaved,
    StoreFailed,
)
from e2ee.limits import MAX_ENVELOPE_AGE
from e2ee.names import BareJid, Fetch, Jid, NodeAddress
from e2ee.omemo.device import Device
from e2ee.omemo.draft import Draft
from e2ee.omemo.encrypting import Encrypted
from e2ee.omemo.engine import KeyExchange
from e2ee.omemo.known_device import BUNDLE_AGE
from e2ee.omemo.message import read_encrypted
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.own_rows import keys_within
from e2ee.omemo.version import Version
from e2ee.renewal import renew
from e2ee.storage import Key, Store
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmltree import Element
from tests.support.anchors import HookedAnchor, memory_with
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import waiting
from tests.support.omemo_tampering import TAMPERINGS, Seen
from tests.support.omemo_world import Party, World, body, dump, settle

__all__ = ["ROOM", "Copy", "Member", "Posted", "Server", "Template", "read", "say", "template"]

ROOM: Final = BareJid.parse("garden@chat.verona.lit")
_TRUST: Final = BlindTrustBeforeVerification()

T = TypeVar("T")


@dataclass
class CensoredWorld(World):
    """A world whose server shows some nodes to nobody."""

    hidden: frozenset[NodeAddress] = frozenset()

    def serve(self, fetch: Fetch) -> Element | None:
        return None if fetch.address in self.hidden else super().serve(fetch)


@dataclass(frozen=True)
class Posted:
    """One message as it waits for one device.

    Attributes:
        number: counts what was posted.
        element: the ``<encrypted/>``.
        to: whom it was sent to.
        sent: when.
        text: what it says; ``None`` where it is empty.
        sender: the number of the member, and
        recipient: that of the other one; and
        epochs: of both, when it was sent.
        owed: whether it must arrive, as far as was known then.
        exchange: the key exchange that its key is in.
    """

    number: int
    element: Element
    to: BareJid
    sent: datetime
    text: str | None
    sender: int
    recipient: int
    epochs: tuple[int, int]
    owed: bool
    exchange: KeyExchange | None


@dataclass
class Memory:
    """What a device's program knows, and the ledger with it.

    Attributes:
        told: the inbox id of every text that the program was given.
        acknowledged: the ids that it reported as delivered.
        waiting: what it was given and has not reported, by id.
        taken: the numbers of what was decrypted.
        doubtful: the numbers of empty messages at which it died: nothing says whether before.
        heard: of each other member, the epoch of what was last heard.
        exchanges: those that began a session.
    """

    told: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    waiting: dict[str, OpenedMessage] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)
    heard: dict[int, int] = field(default_factory=dict)
    exchanges: set[KeyExchange] = field(default_factory=set)

    def copy(self) -> Memory:
        return Memory(
            dict(self.told),
            set(self.acknowledged),
            dict(self.waiting),
            set(self.taken),
            set(self.doubtful),
            dict(self.heard),
            set(self.exchanges),
        )


@dataclass(frozen=True)
class Copy:
    """An older state of a device, and how much had been posted then."""

    rows: Mapping[Key, bytes]
    memory: Memory
    posted: int


class Member:
    """One device, on a guarded store in memory.

    Attributes:
        epoch: how often an older copy of it was put back.
        unpaid: the numbers of what is not owed to it any more.
        spent: the prekeys with which a session began, in whatever life.
        copies: of its store.
    """

    def __init__(self, number: int, party: Party, store: MemoryStore, kept: Mapping[str, int]):
        self.number = number
        self.store = store
        self.anchor = HookedAnchor()
        self.anchor.kept = dict(kept)
        self.party = party
        self.party = self.reopened()
        self.memory = Memory()
        self.epoch = 0
        self.unpaid: set[int] = set()
        self.spent: Counter[int] = Counter()
        self.copies: list[Copy] = []

    def reopened(self, behind: Callable[[Store], Store] = lambda store: store) -> Party:
        """Return the device as another process would find it."""
        return self.party.reopened(GuardedStore(behind(self.store), self.anchor))

    async def attempt(
        self, act: Callable[[Party], Awaitable[T]], crash: int | None = None
    ) -> T | None:
        """Do something; or begin it, and die where it waits for the time of that number."""
        if crash is None:
            return await act(self.party)
        try:
            return await cancel_at(_awaited(act(self.reopened(waiting))), crash)
        except asyncio.CancelledError:
            self.party = self.reopened()
            return None

    def note_taken(self, posted: Posted, *, live: bool) -> None:
        """Note that a message was decrypted, and what that says of its sender."""
        memory, epoch = self.memory, posted.epochs[0]
        memory.taken.add(posted.number)
        begins = posted.exchange is not None and posted.exchange not in memory.exchanges
        if posted.exchange is not None and begins:
            memory.exchanges.add(posted.exchange)
            self.spent[posted.exchange.pre_key_id] += 1
        # What an archive delivers of an older session does not bring that session back.
        if live or begins or epoch < memory.heard.get(posted.sender, 0):
            memory.heard[posted.sender] = epoch


async def _awaited(work: Awaitable[T]) -> T:
    return await work


# -- templates


@dataclass(frozen=True)
class Template:
    """A world from which every run begins; made once, because keys take long to make."""

    world: CensoredWorld
    parties: Sequence[Party]
    rows: Sequence[Mapping[Key, bytes]]
    anchors: Sequence[Mapping[str, int]]


async def template(
    *jids: str,
    met: bool,
    versions: Sequence[Version] = (Version.TWO,),
    hidden: frozenset[NodeAddress] = frozenset(),
) -> Template:
    """Register a device for each of ``jids``, and let all of them know of all.

    Args:
        jids: of the devices, an account as often as it has some.
        met: whether they have sessions with each other.
        versions: that they speak.
        hidden: nodes that the server shows to nobody.
    """
    world = CensoredWorld(hidden=hidden)
    stores = [MemoryStore() for _ in jids]
    anchors = [HookedAnchor() for _ in jids]
    parties: list[Party] = []
    for jid, store, anchor in zip(jids, stores, anchors, strict=True):
        guarded = GuardedStore(store, anchor)
        parties.append(await world.device(jid, versions=versions, trust=_TRUST, store=guarded))
    people = sorted({party.jid for party in parties})
    for party in parties:
        for jid in people:
            await party.hear_of(jid)
        await party.flush()
    for party in parties if met else ():
        encrypted = await party.encrypt(*people)
        for jid in people:
            if jid != party.jid:
                party.post(jid, *encrypted.elements)
        await settle(*parties)
        for other in parties:
            await other.sessions.delivered(await other.sessions.undelivered())
    rows = [await dump(store) for store in stores]
    return Template(world, parties, rows, [anchor.kept for anchor in anchors])


# -- the server


class Server:
    """The devices of a template, all that left them, and what becomes of it.

    Attributes:
        members: the devices.
        posted: everything that ever left one of them, for each recipient.
        pending: what was not handed over yet.
        tally: how much was owed and how much was excused, for whoever doubts the model.
    """

    def __init__(self, origin: Template) -> None:
        world = origin.world
        nodes = {address: dict(items) for address, items in world.nodes.items()}
        self.world = CensoredWorld(world.now, nodes, hidden=world.hidden)
        self.members: list[Member] = []
        self.posted: list[Posted] = []
        self.pending: list[Posted] = []
        self.dropped: set[int] = set()
        self.tally: Counter[str] = Counter()
        self._positions: dict[tuple[int, int, bytes, int], bytes] = {}
        self._texts = 0

    async def begin(self, origin: Template) -> None:
        """Bring the devices to life."""
        for number, like in enumerate(origin.parties):
            store = await memory_with(origin.rows[number])
            party = Party(self.world, like.jid, like.versions, like.trust, store)
            party.device = like.device
            self.members.append(Member(number, party, store, origin.anchors[number]))

    # -- what leaves a device

    async def say(
        self, who: Member, *to: BareJid, room: bool = False, crash: int | None = None
    ) -> None:
        """Have a device say something new to somebody, or to all in the room."""
        self._texts += 1
        text = f"message {self._texts}"
        said = await who.attempt(lambda party: say(party, text, to, room=room), crash)
        if said is not None:
            self.post(who, said, ROOM if room else to[0], text)

    async def say_at_once(
        self, who: Member, to: Sequence[BareJid], times: int, *, room: bool, reading: bool
    ) -> None:
        """Have several tasks of a device say something, while another process of it reads."""
        first = self._texts + 1
        self._texts += times
        texts = [f"message {number}" for number in range(first, first + times)]
        party = who.reopened(waiting)
        work = [say(party, text, to, room=room) for text in texts]
        mine = [each for each in self.pending if each.recipient == who.number] if reading else []
        page = [(each.element, self.arrival(each)) for each in mine[:3]]
        outcomes, *said = await asyncio.gather(read(who.reopened(waiting), page), *work)
        for text, each in zip(texts, said, strict=True):
            self.post(who, each, ROOM if room else to[0], text)
        await self._handed(who, mine[:3], page, outcomes)

    async def renew_session(self, who: Member, other: Member, crash: int | None) -> None:
        """Have a device begin another session with another one."""
        if who is not other:
            device = other.party.device
            await who.attempt(
                lambda party: party.looked(lambda: party.sessions.renew_session(device)), crash
            )

    def post(self, who: Member, said: Encrypted, to: BareJid, text: str) -> None:
        """Take what a device encrypted."""
        reached = {each.device for each in said.report if each.outcome.reads}
        assert len(reached) == len(said.report), said.report
        for element in said.elements:
            reached -= self._post(who, element, to, text)
        assert not reached, "a device that is reported to be written to has no key"

    async def flush(self, who: Member, most: int = 1000, *, report: bool = True) -> None:
        """Perform what waits in an outbox, and report it or die before."""
        for job in (await who.party.outbox.pending())[:most]:
            if isinstance(job.effect, Send):
                self._post(who, job.effect.children[0], job.effect.to, None)
            else:
                self.world.perform(job.effect, who.party.address)
            if report:
                await who.party.outbox.done(job.id)

    def _post(self, who: Member, element: Element, to: BareJid, text: str | None) -> set[Device]:
        """Note what leaves a device; return for which others it is."""
        engine = who.party.sessions.engines[Version(element.namespace)]
        reached: set[Device] = set()
        for member in self.members:
            key = read_encrypted(element, member.party.device).key
            if member is who or key is None:
                continue
            reached.add(member.party.device)
            exchange = None
            if key.kex:
                exchange, message = engine.read_exchange(key.data)
            else:
                message = engine.read_message(key.data)
            position = (who.number, member.number, message.ratchet_key, message.number)
            if position in self._positions:
                assert text is None, "a position of a ratchet was used twice"
                assert self._positions[position] == message.raw, "... for another empty message"
                continue  # it was performed twice
            self._positions[position] = message.raw
            owed = who.memory.heard.get(member.number, 0) == member.epoch
            epochs = (who.epoch, member.epoch)
            posted = Posted(
                len(self.posted), element, to, self.world.now, text,
                who.number, member.number, epochs, owed, exchange,
            )  # fmt: skip
            self.posted.append(posted)
            self.pending.append(posted)
        return reached

    # -- what is handed over

    def arrival(self, posted: Posted, *, live: bool = True) -> Arrival:
        """Return where a message stands; what is too old to be live has an honest stamp."""
        sender = self.members[posted.sender].party
        old = self.world.now - posted.sent > MAX_ENVELOPE_AGE
        stamp = None if live and not old else posted.sent
        if posted.to == ROOM:
            nick = Jid(ROOM, f"nick {posted.sender}")
            return Arrival(StanzaKind.GROUPCHAT, nick, Jid(ROOM), stamp, sender.jid)
        return Arrival(StanzaKind.MESSAGE, sender.address, Jid(posted.to), stamp)

    async def deliver(self, *batch: Posted, live: bool = True, crash: int | None = None) -> None:
        """Hand messages for one device over, in one page, for the first time or again."""
        who = self.members[batch[0].recipient]
        page = [(each.element, self.arrival(each, live=live)) for each in batch]
        outcomes = await who.attempt(lambda party: read(party, page), crash)
        if outcomes is None:
            await self._restart(who, batch)
        else:
            await self._handed(who, batch, page, outcomes)

    async def _handed(
        self,
        who: Member,
        batch: Sequence[Posted],
        page: Sequence[tuple[Element, Arrival]],
        outcomes: Sequence[OpenedMessage | E2eeError],
    ) -> None:
        for posted, (_, arrival), outcome in zip(batch, page, outcomes, strict=True):
            if posted in self.pending:
                self.pending.remove(posted)
            if isinstance(outcome, OpenedMessage):
                self._took(who, posted, outcome, live=arrival.stamp is None)
            else:
                await self._refused(who, posted, outcome)

    async def tamper(self, posted: Posted, other: Posted, how: int, place: int) -> None:
        """Hand over what was made of a message, and of another one: nothing comes of it."""
        who = self.members[posted.recipient]
        tampered = TAMPERINGS[how](self._seen(posted), self._seen(other), place)
        if tampered is None:
            return
        before = await dump(who.store)
        with pytest.raises((PeerMisbehaved, CannotDecrypt, DataMissing)):
            await who.party.sessions.decrypt(*tampered)
        assert await dump(who.store) == before, "what is refused has changed something"
        self.tally["tampered"] += 1

    def _seen(self, posted: Posted) -> Seen:
        sender, recipient = self.members[posted.sender], self.members[posted.recipient]
        arrival = self.arrival(posted)
        return Seen(posted.element, arrival, recipient.party.device, sender.party.device)

    async def _restart(self, who: Member, batch: Sequence[Posted] = ()) -> None:
        """Have a program begin anew, which died while it read."""
        for posted in batch:
            if posted.text is None and posted.number not in who.memory.taken:
                who.memory.doubtful.add(posted.number)
                if posted.exchange is not None:
                    who.spent[posted.exchange.pre_key_id] += 1
                heard = who.memory.heard.get(posted.sender, 0)
                who.memory.heard[posted.sender] = min(heard, posted.epochs[0])
        await self.take_waiting(who)

    async def take_waiting(self, who: Member) -> None:
        """Have a program ask what it has not reported."""
        waiting = await who.party.sessions.undelivered()
        assert who.memory.waiting.keys() <= {each.id for each in waiting}, "a message is lost"
        for opened in waiting:
            [posted] = [
                each
                for each in self.posted
                if each.recipient == who.number and each.text == _text(opened)
            ]
            self._took(who, posted, opened, live=opened.arrival.stamp is None)

    def _took(self, who: Member, posted: Posted, opened: OpenedMessage, *, live: bool) -> None:
        memory, sender = who.memory, self.members[posted.sender]
        assert opened.sender == sender.party.device
        assert opened.is_empty == (posted.text is None)
        first = posted.number not in memory.taken
        if posted.text is None:
            assert first, "twice"
        else:
            assert _text(opened) == posted.text
            assert memory.told.setdefault(posted.text, opened.id) == opened.id, "twice"
            assert opened.id not in memory.acknowledged, "a message came after it was delivered"
            memory.waiting[opened.id] = opened
        if first:
            self.tally["delivered"] += 1
            who.note_taken(posted, live=live)

    async def _refused(self, who: Member, posted: Posted, error: E2eeError) -> None:
        assert not isinstance(error, StoreFailed)
        if posted.number in who.memory.taken | who.memory.doubtful:
            assert error.code is ErrorCode.REPLAY, error
        elif posted.owed and posted.number not in who.unpaid:
            assert await self._is_deleted(who, posted, error), f"a message is lost: {error!r}"
            self.tally["deleted"] += 1
        else:
            self.tally["excused"] += 1

    async def _is_deleted(self, who: Member, posted: Posted, error: E2eeError) -> bool:
        """Say whether a message begins a session with a prekey that is rightly no more."""
        if error.code is not ErrorCode.NO_SESSION or posted.exchange is None:
            return False
        async with who.party.store.exclusive((str(who.party.jid),)) as tx:
            draft = Draft(tx, who.party.jid)
            keys = await keys_within(draft, Version(posted.element.namespace))
        used = posted.exchange.pre_key_id in who.spent
        rotated = keys.signed.id - posted.exchange.signed_pre_key_id >= 2
        return used or rotated or posted.epochs[1] < who.epoch

    async def acknowledge(
        self, who: Member, some: Collection[OpenedMessage], crash: int | None = None
    ) -> None:
        """Have a program report what it was given."""

        async def report(party: Party) -> bool:
            await party.sessions.delivered(some)
            return True

        if await who.attempt(report, crash):
            for opened in some:
                del who.memory.waiting[opened.id]
                who.memory.acknowledged.add(opened.id)
            return
        left = {each.id for each in await who.party.sessions.undelivered()}
        assert left >= who.memory.waiting.keys() - {each.id for each in some}
        for opened in some:
            if opened.id not in left:
                del who.memory.waiting[opened.id]
                who.memory.acknowledged.add(opened.id)

    # -- what else happens to a device

    def copy(self, who: Member) -> None:
        """Copy a device's store, as a backup does."""
        who.copies.append(Copy(dict(who.store._rows.values), who.memory.copy(), len(self.posted)))

    async def restore(self, who: Member, copy: Copy) -> None:
        """Put a copy back; it is refused if anything is missing in it, until it is renewed."""
        if copy.rows == await dump(who.store):
            return
        who.store = await memory_with(copy.rows)
        who.party = who.reopened()
        with pytest.raises(StoreFailed) as caught:
            await who.party.sessions.undelivered()
        assert caught.value.code is ErrorCode.STORE_ROLLED_BACK
        await renew(GuardedStore(who.store, who.anchor), who.party.jid, self.world.clock)
        who.epoch += 1
        for posted in self.posted:
            after = posted.number >= copy.posted or posted.number in who.memory.taken
            if posted.recipient == who.number and after:
                who.unpaid.add(posted.number)
        who.memory = copy.memory.copy()
        await self.take_waiting(who)

    # -- in the end

    async def hand_over_everything(self) -> None:
        """Deliver all that was not withheld, until nobody has anything more to send."""
        for _ in range(20):
            for posted in self.pending[::-1]:
                await self.deliver(posted, live=False)
            for member in self.members:
                await self.flush(member)
            if not self.pending:
                return
        raise AssertionError("they never come to rest")

    async def heal(self) -> None:
        """Let everybody talk in peace: whatever happened before, they understand each other."""
        await self.hand_over_everything()
        self.world.wait(BUNDLE_AGE)
        for _ in range(2):
            first = len(self.posted)
            for member in self.members:
                others = {each.party.jid for each in self.members} - {member.party.jid}
                await self.say(member, *sorted(others))
            await self.hand_over_everything()
        for posted in self.posted[first:]:
            assert posted.owed, "a device was not heard, though it spoke to all"
            assert posted.number in self.members[posted.recipient].memory.taken


async def say(party: Party, text: str, to: Sequence[BareJid], *, room: bool = False) -> Encrypted:
    """Encrypt a body, fetching what is missing."""
    await party.gather(*to)
    return await party.sessions.encrypt([body(text)], to, room=ROOM if room else None)


async def read(
    party: Party, page: Sequence[tuple[Element, Arrival]]
) -> tuple[OpenedMessage | E2eeError, ...]:
    """Decrypt a page, fetching what is missing."""
    while True:
        outcomes = await party.sessions.decrypt_many(page)
        fetches = {
            fetch for each in outcomes if isinstance(each, DataMissing) for fetch in each.fetches
        }
        if not fetches:
            return outcomes
        await party.feed(*fetches)


def _text(opened: OpenedMessage) -> str:
    [content] = opened.content
    return content.text
