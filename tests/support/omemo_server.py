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
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from e2ee.arrival import Arrival
from e2ee.draft import Draft
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
from e2ee.names import BareJid
from e2ee.omemo.device import Device
from e2ee.omemo.encrypting import Encrypted
from e2ee.omemo.inbox import id_of
from e2ee.omemo.known_device import BUNDLE_AGE
from e2ee.omemo.message import read_encrypted
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.own_rows import keys_within
from e2ee.omemo.version import Version
from e2ee.renewal import renew
from e2ee.storage import Key
from e2ee.stores.guarded import GuardedStore
from e2ee.xmltree import Element
from tests.support.anchors import memory_with
from tests.support.hooked_store import waiting
from tests.support.omemo_members import ROOM, Copy, Member, Posted, place, read, say
from tests.support.omemo_tampering import TAMPERINGS, Seen
from tests.support.omemo_templates import CensoredWorld, Template
from tests.support.omemo_world import Party, dump

__all__ = ["Server"]

_SPENT_AGE: Final = timedelta(days=1)  # until then a prekey serves others who took it, too
_TURNS: Final = 20  # of messages and what answers them by itself
_ROUNDS: Final = 5  # of words


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
        mine = [each for each in self.pending if each.recipient == who.number] if reading else []
        page = [(each.element, self.arrival(each)) for each in mine[:3]]
        outcomes, said = await asyncio.gather(
            read(who.reopened(waiting), page),
            asyncio.gather(*[say(party, text, to, room=room) for text in texts]),
        )
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
            received = read_encrypted(element, member.party.device)
            if member is who or received.key is None:
                continue
            reached.add(member.party.device)
            exchange = None
            if received.key.kex:
                exchange, message = engine.read_exchange(received.key.data)
            else:
                message = engine.read_message(received.key.data)
            position = (who.number, member.number, message.ratchet_key, message.number)
            if position in self._positions:
                assert text is None, "a position of a ratchet was used twice"
                assert self._positions[position] == message.raw, "... for another empty message"
                continue  # it was performed twice
            self._positions[position] = message.raw
            owed = who.memory.heard.get(member.number, 0) == member.epoch
            if text is None and member.epoch:
                owed = False  # it may have been encrypted before, and have waited in the outbox
            posted = Posted(
                number=len(self.posted),
                element=element,
                to=to,
                sent=self.world.now,
                text=text,
                sender=who.number,
                recipient=member.number,
                epochs=(who.epoch, member.epoch),
                owed=owed,
                exchange=exchange,
                id=id_of(received, received.key, place(who, to)),
            )
            self.posted.append(posted)
            self.pending.append(posted)
        return reached

    # -- what is handed over

    def arrival(self, posted: Posted, *, live: bool = True) -> Arrival:
        """Return where a message stands; what is too old to be live has an honest stamp."""
        old = self.world.now - posted.sent > MAX_ENVELOPE_AGE
        stamp = None if live and not old else posted.sent
        return replace(place(self.members[posted.sender], posted.to), stamp=stamp)

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
        with pytest.raises((PeerMisbehaved, CannotDecrypt, DataMissing)) as caught:
            await who.party.sessions.decrypt(*tampered)
        after = await dump(who.store)
        if caught.value.code is ErrorCode.IDENTITY_CHANGED:  # which the user is told of
            before, after = _without_identities(before), _without_identities(after)
        assert before == after, "what is refused has changed something"
        self.tally["tampered"] += 1

    def _seen(self, posted: Posted) -> Seen:
        sender, recipient = self.members[posted.sender], self.members[posted.recipient]
        arrival = self.arrival(posted)
        return Seen(posted.element, arrival, recipient.party.device, sender.party.device)

    async def _restart(self, who: Member, batch: Sequence[Posted] = ()) -> None:
        """Have a program begin anew, which died while it read."""
        for posted in batch:
            if not posted.is_kept and posted.number not in who.memory.taken:
                who.memory.doubtful.add(posted.number)
                if posted.exchange is not None:
                    who.spend(posted.exchange)
                heard = who.memory.heard.get(posted.sender, 0)
                who.memory.heard[posted.sender] = min(heard, posted.epochs[0])
        await self.take_waiting(who)

    async def take_waiting(self, who: Member) -> None:
        """Have a program ask what it has not reported."""
        waiting = await who.party.sessions.undelivered()
        assert who.memory.waiting.keys() <= {each.id for each in waiting}, "a message is lost"
        for opened in waiting:
            [posted] = [each for each in self.posted if each.id == opened.id]
            self._took(who, posted, opened, live=opened.arrival.stamp is None)

    def _took(self, who: Member, posted: Posted, opened: OpenedMessage, *, live: bool) -> None:
        memory, sender = who.memory, self.members[posted.sender]
        assert opened.sender == sender.party.device
        assert opened.id == posted.id
        assert [each.text for each in opened.content] == ([posted.text] if posted.text else [])
        assert opened.is_empty != posted.is_kept
        first = posted.number not in memory.taken
        if posted.is_kept:
            assert opened.id not in memory.acknowledged, "a message came after it was delivered"
            memory.waiting[opened.id] = opened
        else:
            assert first, "an empty message was believed twice"
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
        spent = who.spent.get(posted.exchange.pre_key_id)
        used = spent is not None and self.world.now - spent >= _SPENT_AGE
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
        if who.anchor.kept.get(str(who.party.jid)) == _generation(copy, who.party.jid):
            # What it lacks died before its anchor was raised: nothing of that ever left.
            await who.party.sessions.undelivered()
            who.memory = copy.memory.copy()
            return
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

    async def hand_over_everything(self, *, live: bool = False) -> None:
        """Deliver all that was not withheld, until nobody has anything more to send."""
        for _ in range(_TURNS):
            for posted in self.pending[::-1]:
                await self.deliver(posted, live=live)
            for member in self.members:
                await self.flush(member)
            if not self.pending:
                return
        raise AssertionError("they never come to rest")

    async def heal(self) -> None:
        """Let everybody talk in peace: whatever happened before, they come to hear each other.

        Not with the first words, because two may begin a session with one prekey. Where that did
        not help, because both sides lost what they shared, a user has to renew the session.
        """
        await self.hand_over_everything()
        for member in self.members:
            await member.party.sessions.maintain()
            await self.flush(member)
        for number in range(_ROUNDS):
            self.world.wait(BUNDLE_AGE)
            first = len(self.posted)
            for member in self.members:
                others = {each.party.jid for each in self.members} - {member.party.jid}
                await self.say(member, *sorted(others))
            await self.hand_over_everything(live=True)
            unheard = {
                (each.sender, each.recipient)
                for each in self.posted[first:]
                if each.number not in self.members[each.recipient].memory.taken
            }
            if not unheard:
                return
            for sender, recipient in unheard if number else ():
                await self.renew_session(self.members[sender], self.members[recipient], None)
        raise AssertionError("they never hear each other")


def _without_identities(rows: Mapping[Key, bytes]) -> dict[Key, bytes]:
    """Leave out the rows in which it is kept that a device showed another identity."""
    kept = ("\0generation", "key-events", "ring")
    return {key: value for key, value in rows.items() if not set(kept) & set(key[1:3])}


def _generation(copy: Copy, jid: BareJid) -> object:
    """Return what the guard wrote into a copy."""
    raw = copy.rows.get((str(jid), "\0generation"))
    return raw and json.loads(raw)["generation"]
