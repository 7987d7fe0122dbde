"""Key exchanges, prekeys and heartbeats: of somebody hostile, or of both sides at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee.draft import Draft
from e2ee.effects import Publish, Send
from e2ee.errors import ErrorCode
from e2ee.omemo import decrypting, inbox, maintenance, peers
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.engine import KeyExchange
from e2ee.omemo.message import DeviceKey
from e2ee.omemo.own_rows import own_within
from e2ee.omemo.version import Version, bundle_fetch
from e2ee.xmltree import Element
from tests.support.hooked_store import waiting
from tests.support.omemo_letters import (
    EMPTY,
    Pair,
    acknowledge,
    addressed,
    enveloped,
    first_contact,
    key_for,
    keyed,
    met,
    of_item,
    remade,
    renewed,
    said,
    session_of,
    texts,
)
from tests.support.omemo_world import Party, World, refused, settle


@pytest.fixture
async def pair() -> Pair:
    return await met()


def _exchange_changed(
    encrypted: Element, reader: Party, change: Callable[[KeyExchange], KeyExchange]
) -> Element:
    engine = reader.sessions.engines[Version.TWO]
    exchange, message = engine.read_exchange(key_for(encrypted, reader).data)
    return remade(encrypted, reader, data=engine.write_exchange(change(exchange), message.raw))


@pytest.mark.slow
async def test_o_17_prekeys_that_are_used_up_are_refilled() -> None:
    """However many are used, there are always some, and few publications."""
    pair = await first_contact()
    alice, bob, world = pair.alice, pair.bob, pair.world
    engine = alice.sessions.engines[Version.TWO]
    await bob.hear_of(alice)
    async with alice.store.exclusive(alice.sessions.scope) as tx:
        own = await own_within(Draft(tx, alice.jid))
    published: list[Publish] = []
    for _ in range(120):
        payload = world.serve(bundle_fetch(Version.TWO, bob.device))
        assert payload is not None
        bundle = Bundle.from_xml(payload)
        assert len(bundle.pre_keys) >= 25
        agreement, message = await engine.start(own.identity, bundle, EMPTY)
        data = engine.write_exchange(agreement.exchange, message)
        key = DeviceKey(bob.device.id, data, kex=True)
        first = addressed(alice.device.id, bob.jid, key)
        assert (await bob.decrypt(first, alice)).is_empty
        published += [each for each in await bob.flush() if isinstance(each, Publish)]
    assert 1 <= len(published) <= 20


async def test_o_18_two_senders_with_one_prekey_are_both_read_in_a_catch_up() -> None:
    """Neither knew of the other; afterwards nobody is read with it."""
    world = World()
    alice, carol, bob, dave = [
        await world.device(f"{name}@x.example") for name in ("alice", "carol", "bob", "dave")
    ]
    place = bundle_fetch(Version.TWO, bob.device)
    payload = world.serve(place)
    assert payload is not None
    whole = Bundle.from_xml(payload)
    world.publish(place, replace(whole, pre_keys=whole.pre_keys[:1]).to_xml())
    sent = [(party, await said(party, bob, str(party.jid))) for party in (alice, carol, dave)]
    await maintenance.catch_up(bob.sessions)
    for party, encrypted in sent[:2]:
        assert texts(await bob.decrypt(encrypted, party, stamp=world.now)) == [str(party.jid)]
        await bob.flush()
    await maintenance.caught_up(bob.sessions)
    world.wait(timedelta(days=1))
    await maintenance.maintain(bob.sessions)
    await bob.flush()
    await bob.hear_of(dave)
    async with refused(ErrorCode.NO_SESSION, bob):
        await bob.decrypt(sent[2][1], dave)


@pytest.mark.parametrize(
    "change",
    [
        lambda exchange: replace(exchange, signed_pre_key_id=77),
        lambda exchange: replace(exchange, pre_key_id=7777),
    ],
)
async def test_o_19_a_key_exchange_with_prekeys_that_we_have_not(
    change: Callable[[KeyExchange], KeyExchange],
) -> None:
    """There is no session to be had."""
    pair = await first_contact()
    encrypted = await said(pair.alice, pair.bob)
    await pair.bob.hear_of(pair.alice)
    async with refused(ErrorCode.NO_SESSION, pair.bob):
        await pair.bob.decrypt(_exchange_changed(encrypted, pair.bob, change), pair.alice)
    assert texts(await pair.bob.decrypt(encrypted, pair.alice)) == ["Good pilgrim"]


async def test_o_19_a_signed_prekey_is_accepted_for_one_more_period() -> None:
    """What was sent before it was rotated may arrive after; not after two rotations."""
    pair = await first_contact()
    alice, bob, world = pair.alice, pair.bob, pair.world
    carol = await world.device("carol@c.example")
    sent = world.now
    early, late = await said(alice, bob), await said(carol, bob)
    world.wait(timedelta(days=8))
    await maintenance.maintain(bob.sessions)
    assert texts(await bob.decrypt(early, alice, stamp=sent)) == ["Good pilgrim"]
    world.wait(timedelta(days=8))
    await maintenance.maintain(bob.sessions)
    await bob.hear_of(carol)
    async with refused(ErrorCode.NO_SESSION, bob):
        await bob.decrypt(late, carol, stamp=sent)


async def test_o_20_a_key_exchange_that_fails_replaces_no_session(pair: Pair) -> None:
    """The live session stays; the genuine one comes after, and the old one still reads."""
    alice, bob = pair.alice, pair.bob
    on_its_way = await said(alice, bob, "on its way")
    await renewed(alice, bob)
    genuine = pair.world.mail[-1].children[0]
    forged = _exchange_changed(
        genuine, bob, lambda exchange: replace(exchange, ephemeral=b"\x2a" * 32)
    )
    before = (await session_of(bob, alice)).exchange
    async with refused(ErrorCode.CANNOT_DECRYPT, bob):
        await bob.decrypt(forged, alice)
    assert (await session_of(bob, alice)).exchange == before
    assert (await bob.decrypt(genuine, alice)).is_empty
    assert (await session_of(bob, alice)).exchange != before
    assert texts(await bob.decrypt(on_its_way, alice)) == ["on its way"]


async def test_o_20_an_old_item_brings_no_session_back(pair: Pair) -> None:
    """Nobody says when it was published: the peer may have lost that session since."""
    alice, bob = pair.alice, pair.bob
    item = await enveloped(alice, bob, to=None)
    await renewed(alice, bob)
    await settle(alice, bob)
    current = (await session_of(bob, alice)).exchange
    heard = await peers.devices(bob.sessions, alice.jid)
    pair.world.wait(timedelta(days=9))
    opened = await decrypting.decrypt(bob.sessions, item, of_item(alice.jid))
    assert texts(opened) == ["sealed"]
    assert (await session_of(bob, alice)).exchange == current
    assert await peers.devices(bob.sessions, alice.jid) == heard


@pytest.mark.slow
async def test_o_20_an_archived_session_goes_on_after_a_long_chain(pair: Pair) -> None:
    """All of it was read, so that there is nothing to pass over, however many others."""
    alice, bob, world = pair.alice, pair.bob, pair.world
    page = [(await keyed(alice, bob, EMPTY), bob.arrival(alice)) for _ in range(1100)]
    await decrypting.decrypt_many(bob.sessions, page)
    await alice.decrypt(await said(bob, alice), bob)
    last = await said(alice, bob, "last")
    for _ in range(15):
        world.wait(timedelta(minutes=10))
        await renewed(bob, alice)
    assert texts(await bob.decrypt(last, alice, stamp=world.now)) == ["last"]


async def test_o_21_sessions_begun_by_both_at_once_converge() -> None:
    """Nothing is lost, and with the first message that crosses none both use one session."""
    pair = await first_contact()
    alice, bob = pair.alice, pair.bob
    await alice.say("from alice", bob)
    await bob.say("from bob", alice)
    assert sorted(texts(await settle(alice, bob))) == ["from alice", "from bob"]
    for n in range(3):
        await alice.say(f"alice {n}", bob)
        await bob.say(f"bob {n}", alice)
        assert sorted(texts(await settle(alice, bob))) == [f"alice {n}", f"bob {n}"]
    await alice.say("your turn", bob)
    await settle(alice, bob)
    await bob.say("mine", alice)
    assert texts(await settle(alice, bob)) == ["mine"]
    ours, theirs = await session_of(alice, bob), await session_of(bob, alice)
    assert ours.exchange == theirs.exchange


async def test_o_23_tasks_on_one_session_are_served_one_after_the_other(pair: Pair) -> None:
    """Each of their messages is read, once."""
    sent = [await said(pair.alice, pair.bob, str(n)) for n in range(10)]
    await acknowledge(pair.bob)
    slow = [pair.bob.reopened(waiting(pair.bob.store)) for _ in range(2)]
    opened = await asyncio.gather(
        *(slow[n % 2].decrypt(each, pair.alice) for n, each in enumerate(sent))
    )
    assert sorted(texts(opened)) == [str(n) for n in range(10)]
    assert len(await inbox.undelivered(pair.bob.sessions)) == 10


async def test_o_25_heartbeats_do_not_storm(pair: Pair) -> None:
    """One for each ratchet key of the peer, whatever it sends; none answers another."""
    alice, bob = pair.alice, pair.bob
    for _ in range(120):
        await bob.decrypt(await keyed(alice, bob, EMPTY), alice)
    beats = [each for each in await bob.flush() if isinstance(each, Send)]
    assert len(beats) == 1
    assert await settle(alice, bob) == []
    assert sum(isinstance(each, Send) for each in pair.world.done) == 2  # with the one to begin
