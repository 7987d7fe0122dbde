"""Messages that come again, in another order, or not at all: each is read once."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

import pytest

from e2ee.draft import Draft
from e2ee.errors import ErrorCode
from e2ee.names import BareJid, Jid
from e2ee.omemo import decrypting, maintenance, session_rows
from e2ee.omemo.device import DeviceId
from e2ee.omemo.version import Version
from tests.support.hooked_store import waiting
from tests.support.omemo_letters import (
    EMPTY,
    Pair,
    acknowledge,
    enveloped,
    first_contact,
    key_for,
    keyed,
    met,
    remade,
    renewed,
    said,
    session_of,
    texts,
)
from tests.support.omemo_world import body, refused, settle


@pytest.fixture
async def pair() -> Pair:
    return await met()


async def test_o_01_a_replay_is_refused_whenever_it_comes(pair: Pair) -> None:
    """At once, after a restart, from the archive, after turns, after the session was replaced."""
    alice, bob = pair.alice, pair.bob
    encrypted = await said(alice, bob)
    await bob.decrypt(encrypted, alice)
    await acknowledge(bob)

    async def again() -> None:
        for party, stamp in ((bob, None), (bob.reopened(), None), (bob, pair.world.now)):
            async with refused(ErrorCode.REPLAY, bob):
                await party.decrypt(encrypted, alice, stamp=stamp)

    await again()
    for _ in range(3):
        await bob.say("and", alice)
        await alice.say("so on", bob)
        await settle(alice, bob)
    await again()
    for _ in range(20):
        await renewed(alice, bob)
        await settle(alice, bob)
        pair.world.wait(timedelta(minutes=10))
    await again()


async def test_o_01_a_replay_of_a_first_message_is_refused() -> None:
    """Also while its prekey is kept, and though its session fell out of the archive."""
    pair = await first_contact()
    alice, bob, world = pair.alice, pair.bob, pair.world
    await maintenance.catch_up(bob.sessions)
    first = await said(alice, bob)
    await bob.decrypt(first, alice)
    await acknowledge(bob)
    await settle(alice, bob)
    for _ in range(18):
        async with refused(ErrorCode.REPLAY, bob):
            await bob.decrypt(first, alice, stamp=world.now)
        world.wait(timedelta(minutes=10))
        await renewed(alice, bob)
        await settle(alice, bob)
    async with refused(ErrorCode.REPLAY, bob):
        await bob.decrypt(first, alice, stamp=world.now)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("whose", ["alice@a.example", "mallory@m.example"])
async def test_o_01_a_first_message_under_another_id_is_a_replay(whose: str, legacy: bool) -> None:
    """Nothing says that it is from the id that it names; its prekey is kept meanwhile."""
    pair = await met(legacy=legacy)
    alice, bob, world = pair.alice, pair.bob, pair.world
    await maintenance.catch_up(bob.sessions)
    await renewed(alice, bob)
    first = await said(alice, bob)
    assert key_for(first, bob).kex
    assert texts(await bob.decrypt(first, alice)) == ["Good pilgrim"]
    await acknowledge(bob)
    version = Version.LEGACY if legacy else Version.TWO
    for number in (4711, 4712):
        world.announce(whose, number, version=version)
        await bob.hear_of(BareJid.parse(whose))
        moved = remade(first, bob, sid=DeviceId(number))
        async with refused(ErrorCode.REPLAY, bob):
            await bob.decrypt(moved, Jid(BareJid.parse(whose)))


async def test_o_01_replays_at_once_are_one_message(pair: Pair) -> None:
    """Five tasks get the same message; after it was taken in, all are refused."""
    encrypted = await said(pair.alice, pair.bob)
    slow = pair.bob.reopened(waiting(pair.bob.store))
    opened = await asyncio.gather(*(slow.decrypt(encrypted, pair.alice) for _ in range(5)))
    assert all(each == opened[0] for each in opened)
    await acknowledge(pair.bob)
    again = await asyncio.gather(
        *(slow.decrypt(encrypted, pair.alice) for _ in range(5)), return_exceptions=True
    )
    assert [getattr(each, "code", None) for each in again] == [ErrorCode.REPLAY] * 5


@pytest.mark.slow
async def test_o_02_any_order_of_six_messages_of_two_turns_is_read(pair: Pair) -> None:
    """Each once, in all 720 orders."""
    alice, bob = pair.alice, pair.bob
    sent = [await said(alice, bob, str(n)) for n in range(3)]
    await alice.decrypt(await said(bob, alice), bob)
    sent += [await said(alice, bob, str(n)) for n in range(3, 6)]
    arrival = bob.arrival(alice)
    async with bob.store.exclusive(bob.sessions.scope) as tx:
        for order in itertools.permutations(range(6)):
            draft = Draft(tx, bob.jid)  # given up, so that each order begins anew
            opened = [
                await decrypting.decrypt_within(bob.sessions, draft, sent[n], arrival)
                for n in order
            ]
            assert texts(opened) == [str(n) for n in order]


@pytest.mark.slow
async def test_o_02_a_thousand_messages_in_reverse_are_read(pair: Pair) -> None:
    """The last passes over all the others."""
    sent = [await enveloped(pair.alice, pair.bob, body(str(n))) for n in range(1000)]
    arrival = pair.bob.arrival(pair.alice)
    page = [(each, arrival) for each in reversed(sent)]
    outcomes = await decrypting.decrypt_many(pair.bob.sessions, page)
    assert texts(outcomes) == [str(n) for n in reversed(range(1000))]
    assert (await session_of(pair.bob, pair.alice)).skipped == ()


async def test_o_03_the_fourth_first_message_builds_the_session() -> None:
    """And what was lost before it is read when it comes after all."""
    pair = await first_contact()
    sent = [await said(pair.alice, pair.bob, str(n)) for n in range(4)]
    assert texts(await pair.bob.decrypt(sent[3], pair.alice)) == ["3"]
    assert texts([await pair.bob.decrypt(each, pair.alice) for each in sent[:3]]) == list("012")
    assert texts(await settle(pair.alice, pair.bob)) == []


async def test_o_06_a_direction_that_lost_too_much_is_reset_by_hand(pair: Pair) -> None:
    """The error says so, and both directions go on after the reset."""
    alice, bob = pair.alice, pair.bob
    for _ in range(1001):
        await keyed(alice, bob, EMPTY)
    ahead = await said(alice, bob)
    async with refused(ErrorCode.TOO_MANY_SKIPPED, bob):
        await bob.decrypt(ahead, alice)
    await renewed(bob, alice)
    await settle(alice, bob)
    await alice.say("at last", bob)
    await bob.say("indeed", alice)
    assert texts(await settle(alice, bob)) == ["indeed", "at last"]


async def test_o_05_keys_that_are_dropped_are_lost_messages(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted in the message for which they went; and are replays when they come."""
    monkeypatch.setattr(session_rows, "MAX_SKIPPED_KEYS", 10)
    alice, bob = pair.alice, pair.bob
    sent = [await said(alice, bob, str(n)) for n in range(20)]
    assert [(await bob.decrypt(sent[n], alice)).lost for n in (8, 9, 14, 2, 17)] == [0, 0, 2, 0, 1]
    assert texts(await bob.decrypt(sent[4], alice)) == ["4"]
    for n in (0, 1, 3):
        async with refused(ErrorCode.REPLAY, bob):
            await bob.decrypt(sent[n], alice)


async def test_o_05_keys_of_a_session_that_is_dropped_are_lost_messages(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the new session that takes its place."""
    monkeypatch.setattr(session_rows, "MAX_ARCHIVED_SESSIONS", 1)
    alice, bob = pair.alice, pair.bob
    sent = [await said(alice, bob) for _ in range(5)]
    assert (await bob.decrypt(sent[4], alice)).lost == 0
    lost = []
    for _ in range(3):
        pair.world.wait(timedelta(minutes=10))
        await renewed(alice, bob)
        lost.append((await bob.read())[-1].lost)
        await settle(alice, bob)
    assert lost == [0, 4, 0]
