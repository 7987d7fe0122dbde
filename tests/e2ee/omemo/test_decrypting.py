"""Decrypting between honest devices: sessions, archives, rooms, items, pages, what is noted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.effects import Publish, Send
from e2ee.errors import DataMissing, ErrorCode
from e2ee.names import Jid
from e2ee.omemo import decrypting, inbox, peers
from e2ee.omemo.device import DeviceId
from e2ee.omemo.device_keys import next_key
from e2ee.omemo.message import DeviceKey
from e2ee.omemo.opened import TransportedKey
from e2ee.omemo.opt_out import OptOut
from e2ee.omemo.session_rows import put_session, session_within
from e2ee.omemo.version import Version, devices_fetch
from e2ee.records import pack
from e2ee.sce import Remark
from e2ee.secret import Secret
from e2ee.storage import Put
from e2ee.trust import ManualTrust, Trust
from e2ee.xmltree import element
from tests.support.omemo_letters import (
    EMPTY,
    ROOM,
    Pair,
    addressed,
    enveloped,
    in_room,
    key_for,
    keyed,
    met,
    of_item,
    renewed,
    session_of,
    texts,
)
from tests.support.omemo_world import World, body, copied, refused, settle


@pytest.fixture
async def pair() -> Pair:
    return await met()


# -- sessions


async def test_a_first_message_builds_a_session_that_is_answered() -> None:
    """The prekey is replaced, the bundle published, and an empty message waits (§5.5.3, §6)."""
    world = World()
    alice, bob = await world.device("alice@a.example"), await world.device("bob@b.example")
    encrypted = (await alice.encrypt(bob)).elements[0]
    opened = await bob.decrypt(encrypted, alice)
    assert texts(opened) == ["Good pilgrim"]
    assert opened.sender == alice.device
    assert opened.fingerprint == await alice.fingerprint()
    assert opened.trust is Trust.AUTOMATIC
    assert opened.time == world.now
    assert {type(effect) for effect in await bob.flush()} == {Send, Publish}
    assert [each.is_empty for each in await alice.read()] == [True]
    assert (await session_of(alice, bob)).confirmed
    assert not key_for((await alice.encrypt(bob)).elements[0], bob).kex


async def test_further_first_messages_are_the_same_sessions() -> None:
    """Until it is answered, each message carries the key exchange; one session comes of them."""
    world = World()
    alice, bob = await world.device("alice@a.example"), await world.device("bob@b.example")
    elements = [(await alice.encrypt(bob)).elements[0] for _ in range(3)]
    assert all(key_for(each, bob).kex for each in elements)
    for each in elements:
        await bob.decrypt(each, alice)
    assert [type(effect) for effect in await bob.flush()].count(Send) == 1


async def test_our_own_other_device_is_read() -> None:
    """What it sends to others comes to us as a carbon."""
    world = World()
    phone, desk = await world.device("alice@a.example"), await world.device("alice@a.example")
    bob = await world.device("bob@b.example")
    await phone.hear_of(desk)
    await phone.gather(bob)
    await phone.decide(desk, Trust.AUTHENTICATED)
    encrypted = (await phone.encrypt(bob)).elements[0]
    opened = await desk.decrypt(encrypted, phone, to=bob.jid)
    assert texts(opened) == ["Good pilgrim"]
    assert opened.sender == phone.device


async def test_an_unlisted_device_is_looked_for_once() -> None:
    """Its list may be new; where it is, the device is nobody's (§6)."""
    world = World()
    alice, bob = await world.device("alice@a.example"), await world.device("bob@b.example")
    encrypted = (await alice.encrypt(bob)).elements[0]
    arrival = bob.arrival(alice)
    world.announce("alice@a.example", 7)
    with pytest.raises(DataMissing) as missing:
        await decrypting.decrypt(bob.sessions, encrypted, arrival)
    assert missing.value.fetches == (devices_fetch(Version.TWO, alice.jid),)
    await bob.feed(*missing.value.fetches)
    async with refused(ErrorCode.UNTRUSTED, bob):
        await decrypting.decrypt(bob.sessions, encrypted, arrival)
    world.wait(timedelta(minutes=2))
    async with refused(ErrorCode.DATA_MISSING, bob):
        await decrypting.decrypt(bob.sessions, encrypted, arrival)
    world.announce("alice@a.example", alice.device.id)
    assert texts(await bob.decrypt(encrypted, alice)) == ["Good pilgrim"]


async def test_a_device_that_is_listed_no_more_is_still_read(pair: Pair) -> None:
    """The archive holds what it sent."""
    pair.world.announce("alice@a.example")
    await pair.bob.hear_of(pair.alice)
    encrypted = (await pair.alice.encrypt(pair.bob)).elements[0]
    assert texts(await pair.bob.decrypt(encrypted, pair.alice)) == ["Good pilgrim"]


async def test_archived_sessions_read_what_is_on_its_way(pair: Pair) -> None:
    """And a late message of an old session does not bring it back."""
    alice, bob = pair.alice, pair.bob
    late = [(await alice.encrypt(bob)).elements[0] for _ in range(2)]
    await renewed(alice, bob)
    await bob.read()
    replaced = (await session_of(bob, alice)).exchange
    stamp = pair.world.now
    for each in late:
        assert texts(await bob.decrypt(each, alice, stamp=stamp)) == ["Good pilgrim"]
    assert (await session_of(bob, alice)).exchange == replaced


async def test_the_session_that_a_peer_goes_back_to_is_sent_with(pair: Pair) -> None:
    """A live message says which one a peer uses: it may not have the other one."""
    alice, bob = pair.alice, pair.bob
    before = await copied(alice.store)
    old = (await session_of(bob, alice)).exchange
    await renewed(alice, bob)
    await bob.read()
    assert (await session_of(bob, alice)).exchange != old
    forgetful = alice.reopened(before)
    encrypted = (await forgetful.encrypt(bob)).elements[0]
    assert texts(await bob.decrypt(encrypted, alice)) == ["Good pilgrim"]
    assert (await session_of(bob, alice)).exchange == old


async def test_lost_messages_are_counted(pair: Pair) -> None:
    """Of a chain that is over, keys are computed for a thousand messages and no more."""
    alice, bob = pair.alice, pair.bob
    await bob.decrypt((await alice.encrypt(bob)).elements[0], alice)
    for _ in range(1002):
        await keyed(alice, bob, EMPTY)
    await alice.decrypt((await bob.encrypt(alice)).elements[0], bob)
    opened = await bob.decrypt((await alice.encrypt(bob)).elements[0], alice)
    assert opened.lost == 1002


async def test_o_26_signs_of_life_are_noted(pair: Pair) -> None:
    """When a device was heard; of what an archive delivers, when that was stored."""
    alice, bob, world = pair.alice, pair.bob, pair.world

    async def heard() -> object:
        known = (await peers.devices(bob.sessions, alice.jid)).find(alice.device.id)
        assert known is not None
        return known.heard

    assert await heard() == world.now
    encrypted = (await alice.encrypt(bob)).elements[0]
    world.wait(timedelta(days=30))
    stored = world.now - timedelta(days=29)
    await bob.decrypt(encrypted, alice, stamp=stored)
    assert await heard() == stored
    live = (await alice.encrypt(bob)).elements[0]
    archived = (await alice.encrypt(bob)).elements[0]
    await bob.decrypt(live, alice)
    assert await heard() == world.now
    await bob.decrypt(archived, alice, stamp=stored)
    assert await heard() == world.now


async def test_o_24_after_a_renewal_old_sessions_only_read(pair: Pair) -> None:
    """Their positions may have been used: nothing is answered with them."""
    alice, bob = pair.alice, pair.bob
    for _ in range(54):
        encrypted = await keyed(alice, bob, EMPTY)
    renewal = {"count": 1, "since": pair.world.now.isoformat()}
    await bob.write(Put((str(bob.jid), "renewal"), pack("renewal", 1, renewal)))
    assert (await bob.decrypt(encrypted, alice)).is_empty
    assert not [each for each in await bob.flush() if isinstance(each, Send)]


# -- rooms, items, the legacy version


async def test_rooms_are_read_by_the_real_sender(pair: Pair) -> None:
    """Whose nickname it is, the room says; that it is said to the room, the envelope."""
    alice, bob = pair.alice, pair.bob
    encrypted = (await alice.encrypt(bob, room=ROOM.bare)).elements[0]
    async with refused(ErrorCode.CONTEXT_MISMATCH, bob):
        await decrypting.decrypt(bob.sessions, encrypted, in_room(None))
    opened = await decrypting.decrypt(bob.sessions, encrypted, in_room(alice))
    assert texts(opened) == ["Good pilgrim"]
    assert opened.sender == alice.device


async def test_a_private_message_in_a_room_is_its_occupants(pair: Pair) -> None:
    """It is no message to the room."""
    alice, bob = pair.alice, pair.bob
    encrypted = await enveloped(alice, bob, to=None)
    private = Arrival(StanzaKind.MESSAGE, ROOM, Jid(bob.jid), occupant=alice.jid)
    assert (await decrypting.decrypt(bob.sessions, encrypted, private)).sender == alice.device


async def test_items_may_be_of_any_age(pair: Pair) -> None:
    """Nobody says when one was published: its time is remarked, and never refused."""
    alice, bob = pair.alice, pair.bob
    encrypted = await enveloped(alice, bob, to=None, time=pair.world.now)
    pair.world.wait(timedelta(days=400))
    opened = await decrypting.decrypt(bob.sessions, encrypted, of_item(alice.jid))
    assert opened.remarks == {Remark.TIME_UNVERIFIABLE}
    assert opened.arrival == of_item(alice.jid)


async def test_legacy_messages_are_a_body_that_others_could_rewrite() -> None:
    """O5: whoever else has its key, and the network can hide that anybody has."""
    pair = await met(legacy=True)
    encrypted = (await pair.alice.encrypt(pair.bob, content=[body("<b>&amp;")])).elements[0]
    opened = await pair.bob.decrypt(encrypted, pair.alice)
    [said] = opened.content
    assert said.same_content(body("<b>&amp;"))
    assert opened.version is Version.LEGACY
    assert opened.is_rewritable
    assert opened.time is None


async def test_legacy_messages_transport_keys() -> None:
    """Without a payload: sixteen bytes, and an iv that nothing authenticates."""
    pair = await met(legacy=True)
    alice, bob = pair.alice, pair.bob
    async with alice.store.exclusive(alice.sessions.scope) as tx:
        draft = Draft(tx, alice.jid)
        session = await session_within(draft, Version.LEGACY, bob.device)
        assert session is not None
        after, key = await next_key(alice.sessions, session, Secret(bytes(range(16))))
        put_session(draft, after)
        await draft.commit()
    opened = await bob.decrypt(addressed(alice.device.id, None, key, iv=bytes(12)), alice)
    assert opened.key == TransportedKey(Secret(bytes(range(16))), bytes(12))
    assert not opened.is_rewritable
    assert (await inbox.undelivered(bob.sessions))[-1] == opened


async def test_a_version_that_is_not_spoken_is_refused(pair: Pair) -> None:
    """Its engine is missing here."""
    key = DeviceKey(pair.bob.device.id, b"x")
    legacy = addressed(DeviceId(1), None, key, iv=bytes(12))
    async with refused(ErrorCode.UNSUPPORTED_ALGORITHM, pair.bob):
        await pair.bob.decrypt(legacy, pair.alice)


# -- opting out


async def test_o_30_opting_out_is_kept_and_taken_back(pair: Pair) -> None:
    """With what was decrypted (§5.6)."""
    alice, bob = pair.alice, pair.bob
    wish = (await alice.encrypt(bob, content=[OptOut("it is broken").to_xml()])).elements[0]
    opened = await bob.decrypt(wish, alice)
    assert (opened.opted_out, opened.reason) == (True, "it is broken")
    ring = await peers.devices(bob.sessions, alice.jid)
    assert (ring.opted_out, ring.reason) == (True, "it is broken")
    await bob.decrypt(await keyed(alice, bob, EMPTY), alice)
    assert (await peers.devices(bob.sessions, alice.jid)).opted_out
    await bob.decrypt((await alice.encrypt(bob)).elements[0], alice)
    assert not (await peers.devices(bob.sessions, alice.jid)).opted_out


@pytest.mark.parametrize("renews", [False, True])
async def test_o_30_what_was_overtaken_changes_nothing(pair: Pair, renews: bool) -> None:
    """Whoever holds a message back, a wish or one that takes it back, changes nobody's mind."""
    alice, bob, world = pair.alice, pair.bob, pair.world
    wishes = [OptOut("because").to_xml()]
    sent = [
        (await alice.encrypt(bob, content=content)).elements[0]
        for content in (wishes, [body("no")], wishes, [body("never mind")], wishes)
    ]
    stamp = world.now
    if renews:
        world.wait(timedelta(days=9))
        await renewed(alice, bob)
        await settle(alice, bob)
        sent[2:] = [
            (await alice.encrypt(bob, content=content)).elements[0]
            for content in (wishes, [body("never mind")], wishes)
        ]
    told = []
    for number in (2, 1, 3, 0):
        opened = await bob.decrypt(sent[number], alice, stamp=world.now if number > 1 else stamp)
        assert opened.opted_out is (number % 2 == 0)
        told.append((await peers.devices(bob.sessions, alice.jid)).opted_out)
    assert told == [True, True, False, False]


async def test_o_30_nobody_opts_out_for_others(pair: Pair) -> None:
    """What a device asks that is not believed blocks nothing; nor what our own other one asked."""
    alice = pair.alice
    carol = await pair.world.device("carol@c.example", trust=ManualTrust())
    wish = (await alice.encrypt(carol, content=[OptOut().to_xml()])).elements[0]
    opened = await carol.decrypt(wish, alice)
    assert opened.opted_out
    assert opened.trust is Trust.UNDECIDED
    assert not (await peers.devices(carol.sessions, alice.jid)).opted_out
    desk = await pair.world.device("bob@b.example")
    await pair.bob.hear_of(desk)
    await pair.bob.gather(alice)
    await pair.bob.decide(desk, Trust.AUTHENTICATED)
    wish = (await pair.bob.encrypt(alice, content=[OptOut().to_xml()])).elements[0]
    await desk.hear_of(pair.bob)
    assert (await desk.decrypt(wish, pair.bob, to=alice.jid)).opted_out
    assert not (await peers.devices(desk.sessions, pair.bob.jid)).opted_out


async def test_o_30_a_broken_opt_out_is_refused(pair: Pair) -> None:
    """Two of them, or one with two reasons."""
    reasons = [element(ns.OMEMO_2, "reason", None, text) for text in "ab"]
    twice = element(ns.OMEMO_2, "opt-out", None, *reasons)
    for content in ([OptOut().to_xml(), OptOut().to_xml()], [twice]):
        encrypted = await enveloped(pair.alice, pair.bob, *content)
        async with refused(ErrorCode.MALFORMED, pair.bob):
            await pair.bob.decrypt(encrypted, pair.alice)


# -- heartbeats


async def test_o_25_a_heartbeat_moves_the_ratchet(pair: Pair) -> None:
    """The 54th unanswered message asks for one; further ones under the same key for none (§6)."""
    alice, bob = pair.alice, pair.bob
    sent = []
    for _ in range(60):
        await bob.decrypt(await keyed(alice, bob, EMPTY), alice)
        sent.append(sum(isinstance(effect, Send) for effect in await bob.flush()))
    assert sent == [0] * 53 + [1] + [0] * 6
    await alice.read()
    message = key_for((await alice.encrypt(bob)).elements[0], bob)
    assert alice.sessions.engines[Version.TWO].read_message(message.data).number == 0
