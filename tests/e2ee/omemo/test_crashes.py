"""Every operation that is given up wherever it waits, or whose commit fails: all of it, or nothing.

The rows R-01, R-03 and R-11. That what is committed in one step is on the disk as a whole is the
stores' promise, and tested with them; here it is that there is one step, and nothing beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count

import pytest

from e2ee.arrival import Arrival
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.trust import BlindTrustBeforeVerification, Trust
from e2ee.xmltree import Element
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import HookedStore, Moment
from tests.support.omemo_world import Party, World, body, copied, dump

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
TRUST = BlindTrustBeforeVerification()


@dataclass
class Stage:
    """Juliet, who has met Romeo and not the nurse; and what waits for her.

    Attributes:
        juliet: whose operations are given up.
        stranger: another device of hers, which is not registered.
        romeo: who has a session with her.
        nurse: who has none, and whose bundle she has.
        letters: of Romeo's, in their session.
        first: the nurse's, which begins one.
    """

    world: World
    juliet: Party
    stranger: Party
    romeo: Party
    nurse: Party
    letters: list[Element]
    first: Element


@pytest.fixture
async def stage() -> Stage:
    world = World()
    juliet, romeo, nurse = [
        await world.device(jid, trust=TRUST) for jid in (JULIET, ROMEO, "nurse@capulet.lit")
    ]
    [hello] = (await juliet.encrypt(romeo)).elements
    await romeo.decrypt(hello, juliet)
    await romeo.flush()
    await juliet.read()
    stranger = world.party(JULIET, trust=TRUST)
    stranger.device = juliet.device  # not its own: it has none yet
    await stranger.feed(devices_fetch(Version.TWO, stranger.jid))
    letters = [
        (await romeo.encrypt(juliet, content=[body(f"letter {number}")])).elements[0]
        for number in range(3)
    ]
    [first] = (await nurse.encrypt(juliet, content=[body("first")])).elements
    await juliet.gather(romeo, nurse)
    await juliet.hear_of(nurse)
    return Stage(world, juliet, stranger, romeo, nurse, letters, first)


Act = Callable[[Stage, Party], Awaitable[object]]


def arrival(stage: Stage, sender: Party) -> Arrival:
    return stage.juliet.arrival(sender)


async def read_page(stage: Stage, party: Party) -> object:
    page = [(letter, arrival(stage, stage.romeo)) for letter in reversed(stage.letters)]
    return await party.sessions.decrypt_many([*page, (stage.first, arrival(stage, stage.nurse))])


async def read_and_acknowledge(stage: Stage, party: Party) -> None:
    await party.sessions.delivered(await party.sessions.undelivered())


async def distrust(stage: Stage, party: Party) -> None:
    fingerprint = await stage.romeo.fingerprint()
    await party.sessions.decide(stage.romeo.jid, fingerprint, Trust.DISTRUSTED)


OPERATIONS: dict[str, Act] = {
    "write": lambda at, by: by.sessions.encrypt([body("w")], {at.romeo.jid}),
    "write for the first time": lambda at, by: by.sessions.encrypt([body("w")], {at.nurse.jid}),
    "write to all": lambda at, by: by.sessions.encrypt([body("w")], {at.romeo.jid, at.nurse.jid}),
    "read": lambda at, by: by.sessions.decrypt(at.letters[2], arrival(at, at.romeo)),
    "read the first": lambda at, by: by.sessions.decrypt(at.first, arrival(at, at.nurse)),
    "read a page": read_page,
    "acknowledge": read_and_acknowledge,
    "renew a session": lambda at, by: by.sessions.renew_session(at.nurse.device),
    "maintain": lambda at, by: by.sessions.maintain(),
    "catch up": lambda at, by: by.sessions.catch_up(),
    "caught up": lambda at, by: by.sessions.caught_up(),
    "relabel": lambda at, by: by.sessions.relabel("Balcony"),
    "leave": lambda at, by: by.sessions.leave(),
    "take a list": lambda at, by: by.feed(devices_fetch(Version.TWO, at.romeo.jid)),
    "take a bundle": lambda at, by: by.feed(bundle_fetch(Version.TWO, at.romeo.device)),
    "decide": distrust,
    "answer an opt-out": lambda at, by: by.sessions.answer_opt_out(at.romeo.jid),
    "register": lambda at, by: by.sessions.register("Balcony"),
}


def who(stage: Stage, name: str) -> Party:
    return stage.stranger if name == "register" else stage.juliet


async def prepare(stage: Stage, name: str) -> None:
    if name == "acknowledge":
        await read_page(stage, stage.juliet)
    if name == "maintain":
        stage.world.wait(timedelta(days=8))


@pytest.mark.parametrize("name", OPERATIONS)
async def test_r_11_what_is_given_up_has_happened_or_has_not(stage: Stage, name: str) -> None:
    await prepare(stage, name)
    party, act = who(stage, name), OPERATIONS[name]
    before = await dump(party.store)
    for step in count():
        store = await copied(party.store)
        commits = 0

        async def hook(moment: Moment) -> None:
            nonlocal commits
            commits += moment is Moment.AFTER_COMMIT
            await asyncio.sleep(0)

        try:
            await cancel_at(_awaited(act(stage, party.reopened(HookedStore(store, hook)))), step)
            break
        except asyncio.CancelledError:
            assert commits <= 1
            if not commits:
                assert await dump(store) == before
                await act(stage, party.reopened(store))
    assert step > 3
    assert commits == 1


@pytest.mark.parametrize("name", OPERATIONS)
async def test_r_03_what_cannot_be_stored_has_not_happened(stage: Stage, name: str) -> None:
    await prepare(stage, name)
    party, act = who(stage, name), OPERATIONS[name]
    before = await dump(party.store)

    async def full(moment: Moment) -> None:
        if moment is Moment.BEFORE_COMMIT:
            raise StoreFailed(ErrorCode.STORE_FULL, "the disk is full")

    with pytest.raises(StoreFailed) as caught:
        await act(stage, party.reopened(HookedStore(party.store, full)))
    assert caught.value.code is ErrorCode.STORE_FULL
    assert await dump(party.store) == before
    await act(stage, party)


@pytest.mark.parametrize("name", ["read", "read the first", "read a page"])
async def test_r_11_wherever_reading_is_given_up_each_message_is_read_once(
    stage: Stage, name: str
) -> None:
    for step in count():
        party = stage.juliet.reopened(await copied(stage.juliet.store))
        hooked = party.reopened(HookedStore(party.store, lambda moment: asyncio.sleep(0)))
        try:
            await cancel_at(_awaited(OPERATIONS[name](stage, hooked)), step)
            lived = True
        except asyncio.CancelledError:
            lived = False
        waiting = await party.sessions.undelivered()
        await OPERATIONS[name](stage, party)
        again = await party.sessions.undelivered()
        assert again[: len(waiting)] == waiting
        assert len(again) == (4 if name == "read a page" else 1)
        await party.sessions.delivered(again)
        assert await party.sessions.undelivered() == ()
        if lived:
            break


@pytest.mark.parametrize("name", ["write", "write for the first time"])
async def test_r_11_wherever_writing_is_given_up_the_next_message_is_read(
    stage: Stage, name: str
) -> None:
    """What was encrypted and never left is passed over; its position is never used again."""
    reader = stage.romeo if name == "write" else stage.nurse
    party = stage.juliet.reopened(await copied(stage.juliet.store))
    for step in count():
        hooked = party.reopened(HookedStore(party.store, lambda moment: asyncio.sleep(0)))
        try:
            await cancel_at(_awaited(OPERATIONS["write to all"](stage, hooked)), step)
            break
        except asyncio.CancelledError:
            content = [body(f"step {step}")]
            [element] = (await party.sessions.encrypt(content, {reader.jid})).elements
            opened = await reader.decrypt(element, stage.juliet)
            assert opened.content[0].text == content[0].text


async def _awaited(work: Awaitable[object]) -> object:
    return await work
