"""OMEMO between devices whose server is the attacker: nothing is lost, doubled, or used twice.

What must hold is in ``support/omemo_server.py``; here is what may happen, in any order: the server
delays, reorders, repeats, withholds and alters; programs die wherever they wait, and are begun
anew; older copies of stores are put back; time passes. The rows R-01, R-05, R-06 and R-11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from e2ee.names import BareJid
from e2ee.omemo.version import Version, devices_fetch
from tests.support.omemo_members import Member, Posted
from tests.support.omemo_server import Server
from tests.support.omemo_tampering import TAMPERINGS
from tests.support.omemo_templates import Template, template

T = TypeVar("T")

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
TEN = tuple(f"guest-{number}@verona.lit" for number in range(10))
TIMES = st.sampled_from(
    [timedelta(seconds=1), timedelta(minutes=11), timedelta(days=1), timedelta(days=8)]
)
WHICH = st.integers(0, 2**16 - 1)
CRASHES = st.one_of(st.none(), st.integers(0, 60))  # beyond its last await nobody dies


@cache
def two_with_two(met: bool) -> Template:
    """Two accounts, each with two devices."""
    return asyncio.run(template(JULIET, JULIET, ROMEO, ROMEO, met=met))


@cache
def one_of_old(met: bool) -> Template:
    """The same, but that nobody is shown that one of the accounts speaks version 2."""
    hidden = frozenset({devices_fetch(Version.TWO, BareJid.parse(ROMEO)).address})
    return asyncio.run(
        template(JULIET, JULIET, ROMEO, ROMEO, met=met, versions=tuple(Version), hidden=hidden)
    )


@cache
def room_of_ten(met: bool) -> Template:
    """Ten accounts with a device each."""
    return asyncio.run(template(*TEN, met=met))


class Chat(RuleBasedStateMachine):
    """Two people with two devices each."""

    origin: ClassVar = staticmethod(two_with_two)
    room: ClassVar = False
    heals: ClassVar = True
    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.failed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.loop.run_until_complete(work)
        except BaseException:
            self.failed = True
            raise

    @initialize(met=st.booleans(), healed=st.integers(0, 4))
    def begin(self, met: bool, healed: int) -> None:
        origin = type(self).origin(met)
        self.server, self.healed = Server(origin), self.heals and not healed
        self.run(self.server.begin(origin))

    def teardown(self) -> None:
        try:
            if not self.failed and hasattr(self, "server"):
                work = self.server.heal if self.healed else self.server.hand_over_everything
                self.run(work())
        finally:
            self.loop.close()

    def member(self, which: int) -> Member:
        return self.server.members[which % len(self.server.members)]

    def one(self, which: int) -> Posted:
        """Return one of the messages that wait."""
        return self.server.pending[which % len(self.server.pending)]

    def any(self, which: int) -> Posted:
        """Return one of all messages."""
        return self.server.posted[which % len(self.server.posted)]

    def recipients(self, who: Member, which: int) -> tuple[BareJid, ...]:
        people = sorted({member.party.jid for member in self.server.members})
        if self.room:
            return tuple(jid for jid in people if jid != who.party.jid)
        return (people[which % len(people)],)

    # -- what devices do

    @rule(who=WHICH, to=WHICH, crash=CRASHES)
    def send(self, who: int, to: int, crash: int | None) -> None:
        member = self.member(who)
        to_whom = self.recipients(member, to)
        self.run(self.server.say(member, *to_whom, room=self.room, crash=crash))

    @rule(who=WHICH, to=WHICH, times=st.integers(2, 4), read=st.booleans())
    def send_at_once(self, who: int, to: int, times: int, read: bool) -> None:
        """Several tasks, and another process that reads."""
        member = self.member(who)
        to_whom = self.recipients(member, to)
        self.run(self.server.say_at_once(member, to_whom, times, room=self.room, reading=read))

    @rule(who=WHICH, most=st.integers(1, 4), report=st.booleans())
    def flush(self, who: int, most: int, report: bool) -> None:
        self.run(self.server.flush(self.member(who), most, report=report))

    @rule(who=WHICH, crash=CRASHES)
    def acknowledge(self, who: int, crash: int | None) -> None:
        member = self.member(who)
        some = list(member.memory.waiting.values())[: 1 + who % 3]
        self.run(self.server.acknowledge(member, some, crash))

    @rule(who=WHICH)
    def begin_again(self, who: int) -> None:
        member = self.member(who)
        member.party = member.reopened()
        self.run(self.server.take_waiting(member))

    @rule(who=WHICH, what=st.sampled_from(["maintain", "catch_up", "caught_up"]), crash=CRASHES)
    def tend(self, who: int, what: str, crash: int | None) -> None:
        self.run(self.member(who).attempt(lambda party: getattr(party.sessions, what)(), crash))

    @rule(who=WHICH, other=WHICH, crash=CRASHES)
    def renew_session(self, who: int, other: int, crash: int | None) -> None:
        self.run(self.server.renew_session(self.member(who), self.member(other), crash))

    # -- what the server does

    @precondition(lambda self: self.server.pending)
    @rule(which=WHICH, live=st.booleans(), crash=CRASHES)
    def deliver(self, which: int, live: bool, crash: int | None) -> None:
        self.run(self.server.deliver(self.one(which), live=live, crash=crash))

    @precondition(lambda self: self.server.pending)
    @rule(which=WHICH, backwards=st.booleans(), twice=st.booleans(), crash=CRASHES)
    def deliver_page(self, which: int, backwards: bool, twice: bool, crash: int | None) -> None:
        recipient = self.one(which).recipient
        page = [each for each in self.server.pending if each.recipient == recipient][:5]
        page = page[::-1] if backwards else page
        page += page[:1] if twice else []
        self.run(self.server.deliver(*page, live=False, crash=crash))

    @precondition(lambda self: self.server.posted)
    @rule(which=WHICH, live=st.booleans())
    def replay(self, which: int, live: bool) -> None:
        posted = self.any(which)
        if posted.number not in self.server.dropped:
            self.run(self.server.deliver(posted, live=live))

    @precondition(lambda self: self.server.pending)
    @rule(which=WHICH)
    def withhold(self, which: int) -> None:
        posted = self.one(which)
        self.server.pending.remove(posted)
        self.server.dropped.add(posted.number)

    @precondition(lambda self: self.server.posted)
    @rule(which=WHICH, other=WHICH, how=st.integers(0, len(TAMPERINGS) - 1), place=WHICH)
    def alter(self, which: int, other: int, how: int, place: int) -> None:
        posted = self.any(which)
        others = [each for each in self.server.posted if each.recipient == posted.recipient]
        self.run(self.server.tamper(posted, others[other % len(others)], how, place))

    # -- what else happens

    @rule(who=WHICH)
    def copy(self, who: int) -> None:
        self.server.copy(self.member(who))

    @rule(who=WHICH, which=WHICH)
    def restore(self, who: int, which: int) -> None:
        member = self.member(who)
        if member.copies:
            copy = member.copies[which % len(member.copies)]
            self.run(self.server.restore(member, copy))

    @rule(time=TIMES)
    def wait(self, time: timedelta) -> None:
        self.server.world.wait(time)


class ChatWithTheOld(Chat):
    """The same, where one of the two is written to in the legacy version, and answers in the other.

    So that no answer heals a session that began with a prekey that somebody else had taken.
    """

    origin = staticmethod(one_of_old)
    heals = False


class Room(Chat):
    """A room of ten, each with a device."""

    origin = staticmethod(room_of_ten)
    room = True


STEPS = 60
RUNS = max(500, settings().max_examples)  # 500 in `make test`, 10,000 in `make soak`

TestChat = pytest.mark.slow(Chat.TestCase)
TestChat.settings = settings(max_examples=RUNS, stateful_step_count=STEPS)

TestChatWithTheOld = pytest.mark.slow(ChatWithTheOld.TestCase)
TestChatWithTheOld.settings = settings(max_examples=RUNS // 10, stateful_step_count=STEPS)

TestRoom = pytest.mark.slow(Room.TestCase)
TestRoom.settings = settings(max_examples=RUNS // 50, stateful_step_count=STEPS)
