"""Messages of devices that are not who they say, not believed, or not meant for us."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from e2ee import ns
from e2ee.draft import Draft
from e2ee.errors import CannotDecrypt, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.key_events import KeyNews
from e2ee.names import BareJid, Jid
from e2ee.omemo import decrypting, message, peers
from e2ee.omemo.device import DeviceId
from e2ee.omemo.engine import Payload
from e2ee.omemo.message import DeviceKey
from e2ee.omemo.own_rows import own_within, put_own
from e2ee.omemo.version import Version, devices_fetch
from e2ee.primitives import NativePrimitives
from e2ee.storage import Put
from e2ee.trust import ManualTrust, Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element
from e2ee.xmlwrite import write_xml
from tests.support.omemo_letters import (
    Pair,
    addressed,
    enveloped,
    key_for,
    met,
    of_item,
    remade,
    renewed,
    said,
    session_of,
    texts,
)
from tests.support.omemo_world import Party, World, copied, dump, refused

_RANDOM = NativePrimitives().random


@pytest.fixture
async def pair() -> Pair:
    return await met()


async def _impostor(pair: Pair) -> Party:
    """Return a device of bob with the id of his other one, and another identity."""
    other = await pair.world.device("bob@b.example")
    async with other.store.exclusive(other.sessions.scope) as tx:
        draft = Draft(tx, other.jid)
        put_own(draft, replace(await own_within(draft), device=pair.bob.device))
        await draft.commit()
    other.device = pair.bob.device
    return other


async def test_o_27_another_identity_waits_for_the_user(pair: Pair) -> None:
    """Nothing of it is used before, and of the message nothing is kept but that it was shown."""
    alice, bob = pair.alice, pair.bob
    await alice.events.shown(await alice.events.pending())
    impostor = await _impostor(pair)
    encrypted = (await impostor.encrypt(alice, leaving_out=[bob.device])).elements[0]
    before = await dump(alice.store)
    for _ in range(2):
        with pytest.raises(PeerMisbehaved) as refusal:
            await alice.decrypt(encrypted, bob)
        assert refusal.value.code is ErrorCode.IDENTITY_CHANGED
    after = await dump(alice.store)
    changed = {
        key[1:3] for key in after.keys() | before.keys() if after.get(key) != before.get(key)
    }
    assert changed == {("omemo", "ring"), ("key-events", ns.OMEMO_2)}
    [event] = await alice.events.pending()
    assert (event.key, event.news) == (await impostor.fingerprint(), KeyNews.CHANGED)
    known = (await peers.devices(alice.sessions, bob.jid)).find(bob.device.id)
    assert known is not None
    assert known.fingerprint == await bob.fingerprint()
    assert known.offered == await impostor.fingerprint()
    assert texts(await alice.decrypt(await said(bob, alice), bob)) == ["Good pilgrim"]


async def test_o_27_an_identity_that_the_user_accepts_is_read(pair: Pair) -> None:
    """What the former one sends is its own still, and believed no more than decided."""
    alice, bob = pair.alice, pair.bob
    impostor = await _impostor(pair)
    encrypted = (await impostor.encrypt(alice, leaving_out=[bob.device])).elements[0]
    with pytest.raises(PeerMisbehaved):
        await alice.decrypt(encrypted, bob)
    fingerprint = await impostor.fingerprint()
    await peers.decide(alice.sessions, bob.jid, fingerprint, Trust.AUTHENTICATED)
    opened = await alice.decrypt(encrypted, bob)
    assert (opened.fingerprint, opened.trust) == (fingerprint, Trust.AUTHENTICATED)
    late = await alice.decrypt(await said(bob, alice), bob)
    assert late.fingerprint == await bob.fingerprint()
    assert late.trust is Trust.UNDECIDED
    assert (await session_of(alice, bob)).fingerprint == fingerprint


async def test_o_28_a_session_is_its_devices_alone(pair: Pair) -> None:
    """Whoever sends what alice encrypted as their own is not believed."""
    alice, bob = pair.alice, pair.bob
    encrypted = await said(alice, bob)
    mallory = Jid.parse("mallory@m.example/x")
    async with refused(ErrorCode.DATA_MISSING, bob):
        await decrypting.decrypt(bob.sessions, encrypted, bob.arrival(mallory))
    pair.world.announce("mallory@m.example", alice.device.id)
    await bob.hear_of(mallory.bare)
    async with refused(ErrorCode.NO_SESSION, bob):
        await bob.decrypt(encrypted, mallory)
    for sid in (DeviceId(7), DeviceId(2**32 - 1)):
        await bob.hear_of(alice)
        async with refused(ErrorCode.UNTRUSTED, bob):
            await bob.decrypt(remade(encrypted, bob, sid=sid), alice)
    assert texts(await bob.decrypt(encrypted, alice)) == ["Good pilgrim"]


async def test_o_28_a_key_exchange_is_its_identitys_alone(pair: Pair) -> None:
    """One of alice's, sent on by somebody who announces her device as theirs."""
    alice, bob = pair.alice, pair.bob
    await renewed(alice, bob)
    first = pair.world.mail[-1].children[0]
    mallory = Jid.parse("mallory@m.example/x")
    pair.world.announce("mallory@m.example", alice.device.id)
    await bob.hear_of(mallory.bare)
    with pytest.raises(PeerMisbehaved) as caught:
        await bob.decrypt(first, mallory)
    assert caught.value.code is ErrorCode.SIGNER_MISMATCH
    assert (await bob.decrypt(first, alice)).is_empty


@pytest.mark.parametrize("legacy", [False, True])
async def test_o_28_what_names_no_sender_proves_no_identity(legacy: bool) -> None:
    """An empty message or a legacy one of alice, passed on as another's: she stays who she is."""
    pair = await met(legacy=legacy)
    alice, world = pair.alice, pair.world
    versions = tuple(Version) if legacy else (Version.TWO,)
    bob = await world.device("bob@c.example", versions=versions)
    if legacy:
        del world.nodes[devices_fetch(Version.TWO, bob.jid).address]
    await said(bob, alice)  # so that he knows her by her bundle
    await renewed(alice, bob)
    first = await said(alice, bob) if legacy else world.mail[-1].children[0]
    before = await peers.devices(bob.sessions, alice.jid)
    mallory = BareJid.parse("mallory@m.example")
    world.announce("mallory@m.example", 77, version=versions[-1])
    await bob.hear_of(mallory)
    with pytest.raises(PeerMisbehaved) as caught:
        await bob.decrypt(remade(first, bob, sid=DeviceId(77)), Jid(mallory))
    assert caught.value.code is ErrorCode.SIGNER_MISMATCH
    assert await peers.devices(bob.sessions, alice.jid) == before
    opened = await bob.decrypt(first, alice)
    assert opened.fingerprint == await alice.fingerprint()


async def test_o_28_jids_of_others_are_not_prepared(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand of them cost half a second, for a message that is not even for us."""
    prepared: list[str] = []
    monkeypatch.setattr(message, "_jid", lambda text: prepared.append(text))
    for name in ("\u00e9.\u00e9", "\uff41b@b.example", "bob@b.exampl\u00e9"):
        others = element(Version.TWO, "keys", {"jid": name})
        header = element(Version.TWO, "header", {"sid": "1"}, others)
        encrypted = element(Version.TWO, "encrypted", None, header)
        async with refused(ErrorCode.NOT_FOR_US, pair.bob):
            await pair.bob.decrypt(encrypted, pair.alice)
    assert prepared == []


async def test_o_28_what_is_not_for_us_is_not_read(pair: Pair) -> None:
    """Our device id under another account, or another one under ours."""
    alice, bob = pair.alice, pair.bob
    encrypted = await said(alice, bob)
    data = key_for(encrypted, bob).data
    for jid, rid in (
        (BareJid.parse("eve@e.example"), bob.device.id),
        (bob.jid, DeviceId(bob.device.id - 1)),
    ):
        encrypted = addressed(alice.device.id, jid, DeviceKey(rid, data), Payload(bytes(16)))
        async with refused(ErrorCode.NOT_FOR_US, bob):
            await bob.decrypt(encrypted, alice)


@pytest.mark.slow
async def test_o_29_garbage_is_answered_by_nothing(pair: Pair) -> None:
    """A thousand of it: no session is begun, nothing is sent, and the device is still heard."""
    alice, bob = pair.alice, pair.bob
    genuine = await said(alice, bob)
    data = key_for(genuine, bob).data
    page = [
        (remade(genuine, bob, data=data[:40] + _RANDOM(8) + data[48:]), bob.arrival(alice))
        for _ in range(1000)
    ]
    before = await dump(bob.store)
    outcomes = await decrypting.decrypt_many(bob.sessions, page)
    assert all(isinstance(each, E2eeError) for each in outcomes)
    assert await dump(bob.store) == before
    assert await bob.flush() == []
    assert texts(await bob.decrypt(genuine, alice)) == ["Good pilgrim"]


async def test_o_32_a_distrusted_device_is_not_read(pair: Pair) -> None:
    """Until the user thinks better of it; one that nobody decided about is shown as such."""
    alice, bob = pair.alice, pair.bob
    encrypted = await said(alice, bob)
    await bob.decide(alice, Trust.DISTRUSTED)
    async with refused(ErrorCode.UNTRUSTED, bob):
        await bob.decrypt(encrypted, alice)
    await bob.decide(alice, Trust.UNDECIDED)
    assert (await bob.decrypt(encrypted, alice)).trust is Trust.UNDECIDED


async def test_o_32_a_distrusted_device_begins_no_session(pair: Pair) -> None:
    """Nor is its prekey used, nor anything sent to it."""
    alice, bob = pair.alice, pair.bob
    await bob.decide(alice, Trust.DISTRUSTED)
    await renewed(alice, bob)
    async with refused(ErrorCode.UNTRUSTED, bob):
        await bob.decrypt(pair.world.mail[-1].children[0], alice)


async def test_o_32_an_unknown_persons_first_message_is_undecided() -> None:
    """By a policy that believes nothing."""
    world = World()
    alice = await world.device("alice@a.example")
    bob = await world.device("bob@b.example", trust=ManualTrust())
    opened = await bob.decrypt(await said(alice, bob), alice)
    assert opened.trust is Trust.UNDECIDED


async def test_o_35_turns_that_are_damaged_are_no_fresh_start(pair: Pair) -> None:
    """A replay would be taken for something else."""
    alice, bob = pair.alice, pair.bob
    [row] = [key for key in await dump(bob.store) if key[2] == "turns"]
    await alice.decrypt(await said(bob, alice), bob)
    encrypted = await said(alice, bob)
    first = key_for(encrypted, bob).data
    engine = bob.sessions.engines[Version.TWO]
    place = (*row[:-1], engine.read_message(first).ratchet_key[:1].hex())
    for fields in (b'"keys":"AAAA"', b'"keys":""', b'"keys":5', b'"more":5'):
        await bob.write(Put(place, b'{"format":1,"kind":"omemo-turns",' + fields + b"}"))
        async with refused(ErrorCode.STORE_CORRUPT, bob):
            await bob.decrypt(encrypted, alice)


async def test_o_36_an_item_is_its_publishers(pair: Pair) -> None:
    """Who published it, the service says, and the envelope must not say else; it is for nobody."""
    alice, bob = pair.alice, pair.bob
    for from_, to in (("bob@b.example", None), ("alice@a.example", "bob@b.example")):
        encrypted = await enveloped(alice, bob, from_=from_, to=to)
        async with refused(ErrorCode.CONTEXT_MISMATCH, bob):
            await decrypting.decrypt(bob.sessions, encrypted, of_item(alice.jid))
    for named in ("alice@a.example", None):  # Libervia names nobody, and its session tells
        genuine = await enveloped(alice, bob, from_=named, to=None)
        opened = await decrypting.decrypt(bob.sessions, genuine, of_item(alice.jid))
        assert texts(opened) == ["sealed"]


async def test_o_36_an_item_that_was_moved_is_read_once(pair: Pair) -> None:
    """That it was moved cannot be seen: nothing inside says where it belongs."""
    alice, bob = pair.alice, pair.bob
    encrypted = await enveloped(alice, bob, to=None)
    opened = await decrypting.decrypt(bob.sessions, encrypted, of_item(alice.jid, "moved"))
    assert opened.arrival.item_id == "moved"
    again = await decrypting.decrypt(bob.sessions, encrypted, of_item(alice.jid, "moved"))
    assert again == opened
    async with refused(ErrorCode.REPLAY, bob):
        await decrypting.decrypt(bob.sessions, encrypted, of_item(alice.jid, "elsewhere"))


async def test_o_38_failures_are_the_same_to_whoever_watches(pair: Pair) -> None:
    """A wrong tag, wrong padding, wrong plaintext length: one error, and nothing is sent."""
    alice, bob = pair.alice, pair.bob
    genuine = await said(alice, bob)
    data = key_for(genuine, bob).data
    flipped = [
        remade(genuine, bob, data=data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        for at in (5, len(data) - 1, len(data) - 20)
    ]
    flipped.append(remade(genuine, bob, payload=Payload(bytes(32))))
    flipped.append(remade(genuine, bob, payload=Payload(b"odd")))
    errors = []
    for each in flipped:
        with pytest.raises(CannotDecrypt) as failure:
            await bob.decrypt(each, alice)
        errors.append((type(failure.value), failure.value.code, str(failure.value)))
    assert len(set(errors)) == 1
    assert await bob.flush() == []


@pytest.mark.slow
@pytest.mark.parametrize("legacy", [False, True])
async def test_o_29_whatever_is_altered_is_one_of_our_errors(legacy: bool) -> None:
    """Any octet of the key for us, or any character of the element; none changes anything."""
    random = Random(legacy)
    pair = await met(legacy=legacy)
    encrypted = await said(pair.alice, pair.bob)
    before = await dump(pair.bob.store)
    written, data = write_xml(encrypted), key_for(encrypted, pair.bob).data
    arrival = pair.bob.arrival(pair.alice)
    harmless = 0
    for _ in range(300):
        at = random.randrange(len(data))
        octets = bytes([data[at] ^ random.randrange(1, 256)] * random.randrange(3))
        altered = [remade(encrypted, pair.bob, data=data[:at] + octets + data[at + 1 :])]
        at = random.randrange(len(written))
        with suppress(PeerMisbehaved):
            altered.append(
                parse_xml(written[:at] + chr(random.randrange(32, 127)) + written[at + 1 :])
            )
        for each in altered:
            reader = pair.bob.reopened(await copied(pair.bob.store))
            try:
                opened = await decrypting.decrypt(reader.sessions, each, arrival)
            except E2eeError:
                assert await dump(reader.store) == before
            else:
                assert texts(opened) == ["Good pilgrim"]  # it was nothing of ours
                harmless += 1
    assert harmless < 30
