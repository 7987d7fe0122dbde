"""What is encrypted, for which devices, in which version; and when nothing is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.errors import ApiMisuse, E2eeError, ErrorCode
from e2ee.lexical import decode_base64
from e2ee.names import BareJid, Jid
from e2ee.omemo import decrypting, encrypting, own_device, peers
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.opt_out import OptOut
from e2ee.omemo.recipients import Outcome
from e2ee.omemo.ring_rows import bundle_within
from e2ee.omemo.session_rows import put_session, session_within
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.sce import MIN_ENVELOPE_BYTES
from e2ee.xmltree import element
from tests.support.hooked_store import HookedStore, Moment
from tests.support.omemo_reports import outcomes, rids, said_in
from tests.support.omemo_world import Party, World, body, new_bundle, refused, settle

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
BOTH = (Version.TWO, Version.LEGACY)


async def bundle_of(party: Party, device: Device) -> Bundle | None:
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        return await bundle_within(draft, Version.TWO, device, party.world.now)


# -- who reads


async def test_all_devices_of_both_sides_but_our_own() -> None:
    world = World()
    juliet, tablet = await world.device(JULIET), await world.device(JULIET)
    romeo, phone = await world.device(ROMEO), await world.device(ROMEO)
    await juliet.hear_of(juliet)
    await juliet.decide_all(juliet)
    encrypted = await juliet.say("Good pilgrim", romeo)
    readers = {tablet.device.id, romeo.device.id, phone.device.id}
    assert outcomes(encrypted) == dict.fromkeys(readers, Outcome.STARTED)
    assert rids(encrypted) == readers
    for party in (tablet, romeo, phone):
        [opened] = await party.read()
        assert said_in(opened) == ["Good pilgrim"]
        assert opened.sender == juliet.device
    again = await juliet.say("you do wrong your hand", romeo)
    assert set(outcomes(again).values()) == {Outcome.STARTED}  # nobody has answered yet
    assert await settle(juliet, tablet, romeo, phone)
    third = await juliet.say("too much", romeo)
    assert set(outcomes(third).values()) == {Outcome.ENCRYPTED}


async def test_nothing_is_fetched_behind_the_callers_back() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    async with refused(ErrorCode.DATA_MISSING, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})
    await juliet.gather(romeo)
    await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})
    world.wait(timedelta(days=1))
    async with refused(ErrorCode.DATA_MISSING, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})


async def test_a_used_bundle_is_used_once() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.gather(romeo)
    assert await bundle_of(juliet, romeo.device)
    await juliet.say("hi", romeo)
    assert await bundle_of(juliet, romeo.device) is None


async def test_notes_to_ourselves_are_for_our_other_devices() -> None:
    world = World()
    juliet, tablet = await world.device(JULIET), await world.device(JULIET)
    await juliet.hear_of(juliet)
    await juliet.decide_all(juliet)
    await juliet.say("milk", juliet)
    [opened] = await tablet.read()
    assert said_in(opened) == ["milk"]
    assert await juliet.read() == []


async def test_somebody_without_devices_is_not_written_to() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    paris = BareJid.parse("paris@verona.lit")
    await juliet.gather(romeo, paris)
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid, paris})
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await juliet.say("hi", juliet)


async def test_a_room_has_us_in_its_lists_too() -> None:
    """Which asks for no device of ours beside this one."""
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    room = BareJid.parse("balcony@rooms.lit")
    encrypted = await juliet.encrypt(romeo, juliet, room=room)
    assert rids(encrypted) == {romeo.device.id}
    encrypted = await juliet.encrypt(romeo, juliet)
    await romeo.decrypt(encrypted.elements[0], juliet)
    async with refused(ErrorCode.CONTEXT_MISMATCH, romeo):
        other = await juliet.encrypt(romeo, juliet)
        await romeo.decrypt(other.elements[0], juliet, to=BareJid.parse("tybalt@capulet.lit"))


async def test_what_is_never_right() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.gather(romeo)
    for content, to in (((body("hi"),), ()), ((element("", "body"),), (romeo.jid,))):
        async with refused(ErrorCode.API_MISUSE, juliet):
            await encrypting.encrypt(juliet.sessions, content, to)
    nobody = world.party("tybalt@capulet.lit")
    with pytest.raises(ApiMisuse, match="register"):
        await encrypting.encrypt(nobody.sessions, (body("hi"),), {romeo.jid})
    await own_device.leave(juliet.sessions)
    async with refused(ErrorCode.API_MISUSE, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})


@pytest.mark.parametrize("bound", ["MAX_MESSAGE_KEYS", "MAX_MESSAGE_JID_CHARS"])
async def test_p7_no_message_is_larger_than_others_read(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    juliet = await world.device(JULIET)
    world.crowd(ROMEO, 3)
    romeo = BareJid.parse(ROMEO)
    await juliet.gather(romeo)
    monkeypatch.setattr(limits, bound, 2)
    async with refused(ErrorCode.LIMIT_EXCEEDED, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo})


# -- versions


async def test_o_31_an_emptied_list_is_no_reason_to_write_less() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.say("hi", romeo)
    world.announce(ROMEO)
    await juliet.hear_of(romeo)
    async with refused(ErrorCode.DOWNGRADE, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})


async def test_o_31_legacy_is_not_used_where_version_2_was() -> None:
    world = World()
    juliet = await world.device(JULIET, versions=BOTH)
    romeo = await world.device(ROMEO, versions=BOTH)
    encrypted = await juliet.say("hi", romeo)
    assert [each.namespace for each in encrypted.elements] == [Version.TWO]
    del world.nodes[devices_fetch(Version.TWO, romeo.jid).address]
    await juliet.hear_of(romeo)
    async with refused(ErrorCode.DOWNGRADE, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})


async def _with_old_phone() -> tuple[Party, Party, Party]:
    """Return two parties, of which the second has another device, which is legacy alone."""
    world = World()
    juliet = await world.device(JULIET, versions=BOTH)
    romeo = await world.device(ROMEO)
    phone = world.party(ROMEO, versions=BOTH)
    phone.device = await phone.looked(lambda: own_device.register(phone.sessions))
    await phone.flush()
    world.announce(ROMEO, romeo.device.id)
    return juliet, romeo, phone


async def test_a_legacy_device_gets_the_body_and_nothing_else() -> None:
    juliet, romeo, phone = await _with_old_phone()
    said = (element("urn:example", "secret"), body("hi"), body("there"))
    encrypted = await juliet.encrypt(romeo, content=said)
    assert rids(encrypted) == {romeo.device.id}
    assert rids(encrypted, Version.LEGACY) == {phone.device.id}
    assert [each.version for each in encrypted.report if each.device == phone.device] == [
        Version.LEGACY
    ]
    juliet.post(romeo.jid, *encrypted.elements)
    [opened] = await romeo.read()
    assert said_in(opened) == ["", "hi", "there"]
    [old] = await phone.read()
    assert said_in(old) == ["hi"]


@pytest.mark.parametrize("said", [element(ns.CLIENT, "body"), element("urn:example", "body")])
async def test_a_legacy_device_is_reported_where_there_is_no_body(said: object) -> None:
    juliet, romeo, phone = await _with_old_phone()
    encrypted = await juliet.encrypt(romeo, content=(said,))  # type: ignore[arg-type]
    assert outcomes(encrypted)[phone.device.id] is Outcome.NO_BODY
    assert [each.namespace for each in encrypted.elements] == [Version.TWO]


async def test_o_28_legacy_devices_with_one_id_are_left_out() -> None:
    """Whose a key is, a legacy message does not say: neither could read what has two."""
    world = World()
    juliet = await world.device(JULIET, versions=BOTH)
    romeo, tybalt = BareJid.parse(ROMEO), BareJid.parse("tybalt@capulet.lit")
    for jid in (romeo, tybalt):
        world.crowd(str(jid), 2, Version.LEGACY)
        world.announce(str(jid), 1, *([2] if jid == romeo else [3]), version=Version.LEGACY)
    world.publish(
        bundle_fetch(Version.LEGACY, Device(tybalt, DeviceId(3))),
        new_bundle(juliet.sessions.engines[Version.LEGACY]).to_xml(),
    )
    encrypted = await juliet.encrypt(romeo, tybalt)
    assert rids(encrypted, Version.LEGACY) == {2, 3}
    unclear = {each.device for each in encrypted.report if each.outcome is Outcome.AMBIGUOUS}
    assert unclear == {Device(romeo, DeviceId(1)), Device(tybalt, DeviceId(1))}
    for jid, other in ((romeo, 2), (tybalt, 3)):
        await juliet.feed(devices_fetch(Version.LEGACY, jid))
        left_out = Device(jid, DeviceId(other))
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await encrypting.encrypt(
                juliet.sessions, (body("hi"),), {romeo, tybalt}, leaving_out=[left_out]
            )


# -- what the envelope says


async def test_the_envelope_names_both_sides_and_the_time() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    encrypted = await juliet.say("hi", romeo)
    [opened] = await romeo.read()
    assert opened.time == world.now
    juliet.post(romeo.jid, *(await juliet.encrypt(romeo)).elements)
    tybalt = BareJid.parse("tybalt@capulet.lit")
    async with refused(ErrorCode.CONTEXT_MISMATCH, romeo):
        await romeo.decrypt((await juliet.encrypt(romeo)).elements[0], juliet, to=tybalt)
    assert encrypted.elements


async def test_s_02_the_envelope_names_the_room() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    room = BareJid.parse("balcony@rooms.lit")
    encrypted = await juliet.encrypt(romeo, room=room)
    await romeo.hear_of(juliet)
    inside = Arrival(StanzaKind.GROUPCHAT, Jid(room, "Juliet"), Jid(romeo.jid), None, juliet.jid)
    async with refused(ErrorCode.CONTEXT_MISMATCH, romeo):
        arrival = replace(inside, sender=Jid(BareJid.parse("garden@rooms.lit"), "Juliet"))
        await decrypting.decrypt(romeo.sessions, encrypted.elements[0], arrival)
    opened = await decrypting.decrypt(romeo.sessions, encrypted.elements[0], inside)
    assert opened.content


async def test_s_06_lengths_say_nothing() -> None:
    """What is short is of one of many lengths, whatever it says."""
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.gather(romeo)
    lengths: dict[str, set[int]] = {}
    for text in ("yes", "no, not at all"):
        for _ in range(150):
            [sealed] = (await juliet.say(text, romeo)).elements
            payload = decode_base64(sealed.only(Version.TWO, "payload").text, "test")
            lengths.setdefault(text, set()).add(len(payload))
    for found in lengths.values():
        assert min(found) > MIN_ENVELOPE_BYTES
        assert max(found) <= MIN_ENVELOPE_BYTES + 200 + 16
        assert len(found) >= 10  # of 13 blocks
    assert len(set.union(*lengths.values())) <= 14


# -- opting out


async def test_o_30_who_asks_to_write_in_clear_is_not_written_to_unasked() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.say("hi", romeo)
    await settle(juliet, romeo)
    opting = await romeo.encrypt(juliet, content=(OptOut("no keys here").to_xml(),))
    romeo.post(juliet.jid, *opting.elements)
    [opened] = await settle(juliet, romeo)
    assert opened.opted_out
    async with refused(ErrorCode.OPTED_OUT, juliet):
        await juliet.say("hi", romeo)
    tybalt = BareJid.parse("tybalt@capulet.lit")  # of whom nothing is known
    async with refused(ErrorCode.OPTED_OUT, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid, tybalt})
    await peers.answer_opt_out(juliet.sessions, romeo.jid)
    assert outcomes(await juliet.say("hi", romeo)) == {romeo.device.id: Outcome.ENCRYPTED}


async def test_o_30_nobody_in_a_room_silences_it() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    opting = await romeo.encrypt(juliet, content=(OptOut("no keys here").to_xml(),))
    romeo.post(juliet.jid, *opting.elements)
    await settle(juliet, romeo)
    room = BareJid.parse("balcony@rooms.lit")
    assert rids(await juliet.encrypt(romeo, room=room)) == {romeo.device.id}
    async with refused(ErrorCode.OPTED_OUT, juliet):
        await juliet.say("hi", romeo)


# -- devices that never answer


async def test_o_26_a_stale_device_is_reported_and_written_to() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    lost = await world.device(ROMEO)
    await romeo.hear_of(romeo)
    await romeo.decide_all(romeo)
    await juliet.say("hi", romeo)
    await settle(juliet, romeo)
    for _ in range(4):
        world.wait(timedelta(days=30))
        encrypted = await juliet.say("hi", romeo)
        await romeo.say("hello", juliet)
        await settle(juliet, romeo)
    stale = {each.device.id: each.is_stale for each in encrypted.report}
    assert stale == {romeo.device.id: False, lost.device.id: True}
    assert rids(encrypted) == {romeo.device.id, lost.device.id}
    without = await juliet.encrypt(romeo, leaving_out={lost.device})
    assert rids(without) == {romeo.device.id}


async def test_reading_grows_with_accounts_and_not_with_devices() -> None:
    """What is asked of the store for the second message."""
    world = World()
    juliet = await world.device(JULIET)
    world.crowd(ROMEO, 20)
    romeo = BareJid.parse(ROMEO)
    await juliet.encrypt(romeo)
    asked = 0

    async def count(moment: Moment) -> None:
        nonlocal asked
        asked += moment in (Moment.GET, Moment.SCAN)

    watched = juliet.reopened(HookedStore(juliet.store, count))
    await encrypting.encrypt(watched.sessions, (body("hi"),), {romeo})
    assert asked <= 8


async def test_a_session_of_a_later_renewal_is_damage() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.say("hi", romeo)
    async with juliet.store.exclusive(juliet.sessions.scope) as tx:
        draft = Draft(tx, juliet.jid)
        session = await session_within(draft, Version.TWO, romeo.device)
        assert session
        put_session(draft, replace(session, renewal=1))
        await draft.commit()
    with pytest.raises(E2eeError) as caught:
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})
    assert caught.value.code is ErrorCode.STORE_CORRUPT
