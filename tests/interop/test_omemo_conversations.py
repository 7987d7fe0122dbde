"""Conversations in OMEMO with python-omemo 2 and Debian's 1, in both versions, begun by either.

The peer is a device like ours: it publishes, keeps its state, and answers as it sees fit.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest

from e2ee.effects import Send
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.version import Version
from e2ee.stores.sqlite import SqliteStore
from tests.support.omemo_peers import (
    JULIET,
    PeerDevice,
    PeerRefused,
    exchanges,
    ours,
    say,
    settle,
    text_of,
    written,
)
from tests.support.omemo_world import Party, World, refused

pytestmark = pytest.mark.slow

STALE = 60  # messages without an answer, after which each side has sent an empty one


async def test_a_conversation_begun_by_us(world: World, juliet: Party, romeo: PeerDevice) -> None:
    """Its empty answer confirms the session, so that no exchange is sent any more."""
    await say(juliet, "O Romeo, Romeo! 🌹", romeo)
    assert exchanges(world.mail[-1]) == 1
    assert await settle(juliet, romeo) == [[], ["O Romeo, Romeo! 🌹"]]
    for turn in ("Wherefore art thou Romeo?", "Deny thy father", "and refuse thy name"):
        await say(juliet, turn, romeo)
        assert exchanges(world.mail[-1]) == 0
        assert await settle(juliet, romeo) == [[], [turn]]
        romeo.say(f"{turn} <&>", juliet.jid)
        assert exchanges(world.mail[-1]) == 0
        assert await settle(juliet, romeo) == [[f"{turn} <&>"], []]


async def test_a_conversation_begun_by_them(world: World, juliet: Party, romeo: PeerDevice) -> None:
    """Our empty answer confirms the session, so that no exchange is sent any more."""
    romeo.say("Shall I hear more", juliet.jid)
    assert exchanges(world.mail[-1]) == 1
    assert await settle(juliet, romeo) == [["Shall I hear more"], []]
    for turn in ("or shall I speak at this?", "'Tis but thy name", "that is my enemy"):
        romeo.say(turn, juliet.jid)
        assert exchanges(world.mail[-1]) == 0
        await say(juliet, turn, romeo)
        assert exchanges(world.mail[-1]) == 0
        assert await settle(juliet, romeo) == [[turn], [turn]]


async def test_several_messages_before_any_answer(
    world: World, juliet: Party, romeo: PeerDevice
) -> None:
    """Each carries the same exchange."""
    for turn in "abc":
        await say(juliet, turn, romeo)
        assert exchanges(world.mail[-1]) == 1
    assert await settle(juliet, romeo) == [[], ["a", "b", "c"]]
    romeo.say("d", juliet.jid)
    assert await settle(juliet, romeo) == [["d"], []]


@pytest.mark.parametrize("established", [False, True], ids=["first", "later"])
async def test_out_of_order(
    world: World, juliet: Party, romeo: PeerDevice, established: bool
) -> None:
    if established:
        await say(juliet, "first", romeo)
        await settle(juliet, romeo)
    for order in list(permutations(range(3)))[1:]:
        ours = [await written(juliet, str(number), romeo) for number in range(3)]
        for number in order:
            (element,) = ours[number]
            assert romeo.decrypt(element, juliet) == str(number)
        await settle(juliet, romeo)
        theirs = [romeo.encrypt(str(number), juliet.jid) for number in range(3)]
        for number in order:
            (element,) = theirs[number]
            assert text_of(await juliet.decrypt(element, romeo.address)) == str(number)
        await settle(juliet, romeo)


async def test_after_a_restart_of_either_side(
    world: World, romeo: PeerDevice, version: Version, tmp_path: Path
) -> None:
    """What both keep is in their files alone, between any two messages."""
    path = tmp_path / "juliet"
    async with await SqliteStore.open(path) as store:
        juliet = await ours(world, JULIET, version, store)
    for turn in range(4):
        async with await SqliteStore.open(path) as store:
            juliet = juliet.reopened(store)
            await say(juliet, f"{turn}?", romeo)
        romeo.restart()
        async with await SqliteStore.open(path) as store:
            juliet = juliet.reopened(store)
            assert await settle(juliet, romeo) == [[], [f"{turn}?"]]
            romeo.restart()
            romeo.say(f"{turn}!", juliet.jid)
        romeo.restart()
        async with await SqliteStore.open(path) as store:
            juliet = juliet.reopened(store)
            assert await settle(juliet, romeo) == [[f"{turn}!"], []]


async def test_both_begin_at_once(juliet: Party, romeo: PeerDevice) -> None:
    """All is read, and both come to use his session.

    python-omemo keeps one session and drops its own for ours, so that our empty answer on its own
    is lost; nothing else is.
    """
    for which in ("first", "second"):
        await say(juliet, f"her {which}", romeo)
        romeo.say(f"his {which}", juliet.jid)
    assert romeo.read(juliet) == ["her first", "her second"]
    assert [text_of(each) for each in await juliet.read() if each.content] == [
        "his first",
        "his second",
    ]
    await juliet.flush()
    with pytest.raises(PeerRefused, match="DecryptionFailed"):
        romeo.read(juliet)
    for turn in range(4):
        await say(juliet, f"her {turn}", romeo)
        romeo.say(f"his {turn}", juliet.jid)
        assert await settle(juliet, romeo) == [[f"his {turn}"], [f"her {turn}"]]


async def test_a_replay_is_refused_by_either(juliet: Party, romeo: PeerDevice) -> None:
    for _ in range(3):
        (element,) = romeo.encrypt("once", juliet.jid)
        opened = await juliet.decrypt(element, romeo.address)
        await juliet.sessions.delivered([opened])
        async with refused(ErrorCode.REPLAY, juliet):
            await juliet.decrypt(element, romeo.address)
        (element,) = await written(juliet, "once", romeo)
        assert romeo.decrypt(element, juliet) == "once"
        with pytest.raises(PeerRefused):
            romeo.decrypt(element, juliet)
        await settle(juliet, romeo)


async def test_a_listener_shows_signs_of_life(
    world: World, juliet: Party, romeo: PeerDevice
) -> None:
    """Whoever only listens sends an empty message, so that the keys of the talker change."""
    await say(juliet, "first", romeo)
    await settle(juliet, romeo)
    for number in range(STALE):
        romeo.say(str(number), juliet.jid)
    before = len(world.mail)
    assert (await settle(juliet, romeo))[0] == [str(number) for number in range(STALE)]
    assert [letter.sender for letter in world.mail[before:]] == [juliet.address]
    for number in range(STALE):
        await say(juliet, str(number), romeo)
    before = len(world.mail)
    assert (await settle(juliet, romeo))[1] == [str(number) for number in range(STALE)]
    assert romeo.address in [letter.sender for letter in world.mail[before:]]
    await say(juliet, "last", romeo)
    assert await settle(juliet, romeo) == [[], ["last"]]


async def test_we_read_an_archive_of_theirs(world: World, juliet: Party, romeo: PeerDevice) -> None:
    """In pages, with one sign of life for all of it; a second time all are known."""
    await say(juliet, "first", romeo)
    await settle(juliet, romeo)
    page = []
    for number in range(STALE):
        world.wait(timedelta(minutes=1))
        (element,) = romeo.encrypt(str(number), juliet.jid)
        page.append((element, juliet.arrival(romeo.address, stamp=world.now)))
    world.wait(timedelta(days=3))
    await juliet.sessions.catch_up()
    opened = await juliet.sessions.decrypt_many(page[:40])
    opened += await juliet.sessions.decrypt_many(page[40:])
    read = [each for each in opened if isinstance(each, OpenedMessage)]
    assert list(map(text_of, read)) == [str(number) for number in range(STALE)]
    await juliet.sessions.delivered(read)
    await juliet.sessions.caught_up()
    assert len([each for each in await juliet.flush() if isinstance(each, Send)]) == 1
    again = await juliet.sessions.decrypt_many(page)
    assert all(isinstance(each, PeerMisbehaved) for each in again)
    assert await settle(juliet, romeo) == [[], []]


async def test_sessions_replaced_by_either_user(juliet: Party, romeo: PeerDevice) -> None:
    """What was under way on the old one is read all the same."""
    await say(juliet, "first", romeo)
    await settle(juliet, romeo)
    under_way = romeo.encrypt("under way", juliet.jid)
    await juliet.gather(romeo.jid)
    await juliet.looked(lambda: juliet.sessions.renew_session(romeo.device))
    assert text_of(await juliet.decrypt(under_way[0], romeo.address)) == "under way"
    assert await settle(juliet, romeo) == [[], []]
    await say(juliet, "on our new one", romeo)
    romeo.say("on your new one", juliet.jid)
    assert await settle(juliet, romeo) == [["on your new one"], ["on our new one"]]
    romeo.replace_sessions(juliet.jid)
    assert await settle(juliet, romeo) == [[], []]
    await say(juliet, "on your new one", romeo)
    romeo.say("on our new one", juliet.jid)
    assert await settle(juliet, romeo) == [["on our new one"], ["on your new one"]]
