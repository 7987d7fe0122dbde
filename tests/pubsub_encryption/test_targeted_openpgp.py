"""Targeted items in OpenPGP for XMPP: for who has a key, and to be read again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import ns
from e2ee.errors import ApiMisuse, CannotDecrypt, DataMissing, ErrorCode
from e2ee.history import Sighting
from e2ee.names import BareJid, Fetch, NodeAddress
from e2ee.omemo.device import Device, DeviceId
from e2ee.primitives import NativePrimitives
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.account import OxAccount
from ox.elements import Content, ContentKind, metadata_address, read_openpgp, write_openpgp
from ox.engine_sequoia import SequoiaEngine
from ox.packets import read_packets
from pubsub_encryption.items import Authorship
from pubsub_encryption.targeted_items import TargetedItems
from pubsub_encryption.targeted_reading import OpenedTargeted
from tests.support import omemo_world
from tests.support.node_world import Network, Person, entry
from tests.support.ox_world import body, refused
from tests.support.targeted_world import at, kept, published, said, stood, targeted, wrapped

MALLORY = BareJid.parse("mallory@attacker.example")


@dataclass
class Stage:
    network: Network
    juliet: Person
    romeo: Person
    nurse: Person


@pytest.fixture
async def stage() -> Stage:
    network = Network()
    names = ("juliet@capulet.lit", "romeo@montague.lit", "nurse@capulet.lit")
    return Stage(network, *await network.people(*names))


async def written(author: Person, *to: Person, text: str = "Good pilgrim") -> Element:
    people = {each.jid for each in to}
    sealed = await targeted(author).encrypt(entry(text), people, at(), by_openpgp=True)
    assert sealed.report == ()
    return parse_xml(write_xml(sealed.payload))


async def sealed(author: Person, content: Sequence[Element], *to: Person) -> Element:
    """Return an item of any content, as somebody with a key can make it."""
    openpgp = await author.ox.seal(content, {author.jid, *(each.jid for each in to)})
    return wrapped(author.jid, openpgp)


async def test_an_item_is_read_by_those_whom_it_is_for(stage: Stage) -> None:
    payload = await written(stage.juliet, stage.romeo)
    assert (payload.get("by"), payload.get("type")) == (str(stage.juliet.jid), ns.OX)
    opened = await targeted(stage.romeo).decrypt(payload, stood())
    assert said(opened) == "Good pilgrim"
    assert opened.item.authorship is Authorship.OPENPGP_KEY
    assert (opened.item.sender, opened.item.device) == (stage.juliet.jid, None)
    assert opened.item.fingerprint == await stage.juliet.fingerprint()
    assert opened.trust is Trust.AUTOMATIC
    assert opened.item.time is not None
    with pytest.raises(CannotDecrypt):
        await targeted(stage.nurse).decrypt(payload, stood())


async def test_our_other_devices_read_it(stage: Stage) -> None:
    tablet = await stage.juliet.another_device()
    for to in ((stage.romeo,), ()):
        payload = await written(stage.juliet, *to)
        opened = await targeted(tablet).decrypt(payload, stood())
        assert opened.trust is Trust.AUTHENTICATED
        own = await targeted(stage.juliet).decrypt(payload, stood())
        assert (said(own), own.seen.sighting) == ("Good pilgrim", Sighting.SAME)
        assert own.trust is Trust.AUTHENTICATED


async def test_it_can_be_read_again_when_it_is_kept_no_more(stage: Stage) -> None:
    payload = await written(stage.juliet, stage.romeo)
    items = targeted(stage.romeo)
    first = await items.decrypt(payload, stood())
    assert (await items.decrypt(payload, stood())).item == first.item
    await items.cache.forget(at())
    again = await items.decrypt(payload, stood())
    assert (said(again), again.seen.sighting) == ("Good pilgrim", Sighting.SAME)
    assert await kept(stage.romeo) is not None


async def test_s_04_an_item_may_be_of_any_age(stage: Stage) -> None:
    payload = await written(stage.juliet, stage.romeo)
    stage.network.ahead = timedelta(days=400)
    assert said(await targeted(stage.romeo).decrypt(payload, stood()))
    assert said(await targeted(stage.romeo).decrypt(payload, stood(stamp=datetime.now(UTC))))


async def test_s_04_but_not_from_the_future(stage: Stage) -> None:
    payload = await written(stage.juliet, stage.romeo)
    stage.network.ahead = timedelta(minutes=-10)
    async with refused(ErrorCode.STALE, stage.romeo):
        await targeted(stage.romeo).decrypt(payload, stood())


async def test_n_13_moved_rolled_back_and_framed_anew(stage: Stage) -> None:
    old = await written(stage.juliet, stage.romeo, text="old")
    stage.network.ahead = timedelta(minutes=1)
    new = await written(stage.juliet, stage.romeo, text="new")
    items = targeted(stage.romeo)
    for payload, sighting in (
        (old, Sighting.FIRST),
        (new, Sighting.REPLACED),
        (old, Sighting.ROLLED_BACK),
        (framed_anew(old), Sighting.ROLLED_BACK),
        (framed_anew(new), Sighting.SAME),
    ):
        opened = await items.decrypt(payload, stood())
        assert said(opened) == ("old" if payload in (old, framed_anew(old)) else "new")
        assert opened.seen.sighting is sighting
    assert said(await kept(stage.romeo)) == "new"
    moved = await items.decrypt(new, stood(at("another")))
    assert moved.seen.sighting is Sighting.MOVED


def framed_anew(payload: Element) -> Element:
    """Return the same item in packets with other headers."""
    framed = b"".join(
        bytes([0xC0 | packet.tag, 0xFF]) + len(packet.body).to_bytes(4) + packet.body
        for packet in read_packets(read_openpgp(payload.elements[0]), most=16)
    )
    assert framed != read_openpgp(payload.elements[0])
    return replace(payload, children=(write_openpgp(framed),))


async def test_o_36_whom_it_is_by_must_have_signed_it(stage: Stage) -> None:
    payload = await written(stage.juliet, stage.romeo)
    inner = payload.elements[0]
    async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
        await targeted(stage.romeo).decrypt(payload, stood(publisher=MALLORY))
    nurses = at(node=NodeAddress(stage.nurse.jid, "blog"))
    async with refused(ErrorCode.BAD_SIGNATURE, stage.romeo):
        await targeted(stage.romeo).decrypt(wrapped(stage.nurse.jid, inner), stood(nurses))
    assert said(await targeted(stage.romeo).decrypt(payload, stood()))


async def test_g_05_an_item_for_others_is_not_passed_on(stage: Stage) -> None:
    """A reader could encrypt anew what was signed for them: it names them, and not us."""
    for_nurse = Content(
        ContentKind.SIGNCRYPT, (stage.nurse.jid,), stage.network.clock(), (entry("x"),), "rpad"
    )
    message = await stage.juliet.ox.engine.seal(
        write_xml(for_nurse.to_xml()).encode(),
        [(await stage.romeo.ox.own_key()).certificate],
        await stage.juliet.ox.own_key(),
    )
    async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
        payload = wrapped(stage.juliet.jid, write_openpgp(message))
        await targeted(stage.romeo).decrypt(payload, stood())


async def test_g_01_g_02_an_item_is_signed_and_encrypted(stage: Stage) -> None:
    to = {stage.romeo.jid}
    signed = await stage.juliet.ox.sign([entry("signed")], to)
    async with refused(ErrorCode.FORBIDDEN, stage.romeo):
        await targeted(stage.romeo).decrypt(wrapped(stage.juliet.jid, signed), stood())
    unsigned = await stage.juliet.ox.crypt([entry("unsigned")], to)
    async with refused(ErrorCode.FORBIDDEN, stage.romeo):
        await targeted(stage.romeo).decrypt(wrapped(stage.juliet.jid, unsigned), stood())
    for text in ("", "AAAA", "not base64"):
        inner = element(ns.OX, "openpgp", None, *([text] if text else []))
        async with refused(ErrorCode.MALFORMED, stage.romeo):
            await targeted(stage.romeo).decrypt(wrapped(stage.juliet.jid, inner), stood())


async def test_s_12_a_message_is_no_item(stage: Stage) -> None:
    for content, code in (
        ([body("text")], ErrorCode.CONTEXT_MISMATCH),
        ([element(ns.OX_PUBSUB, "shared-secret")], ErrorCode.CONTEXT_MISMATCH),
        ([entry("one"), entry("two")], ErrorCode.MALFORMED),
        ([element(ns.PTE, "encrypted")], ErrorCode.CONTEXT_MISMATCH),
    ):
        payload = await sealed(stage.juliet, content, stage.romeo)
        async with refused(code, stage.romeo):
            await targeted(stage.romeo).decrypt(payload, stood())


async def test_g_08_a_message_that_was_taken_in_is_no_item(stage: Stage) -> None:
    openpgp = await stage.juliet.ox.seal([entry("text")], {stage.romeo.jid})
    await stage.romeo.ox.mark_handled(await stage.romeo.open(openpgp, stage.juliet))
    async with refused(ErrorCode.REPLAY, stage.romeo):
        await targeted(stage.romeo).decrypt(wrapped(stage.juliet.jid, openpgp), stood())


async def test_what_is_known_of_its_key_is_what_is_known_today(stage: Stage) -> None:
    payload = await written(stage.juliet, stage.romeo)
    items = targeted(stage.romeo)
    assert (await items.decrypt(payload, stood())).trust is Trust.AUTOMATIC
    for level in (Trust.AUTHENTICATED, Trust.DISTRUSTED):
        await stage.romeo.ox.decide(stage.juliet.jid, await stage.juliet.fingerprint(), level)
        assert (await items.decrypt(payload, stood())).trust is level


async def test_keys_of_who_is_a_stranger_are_named(stage: Stage) -> None:
    stranger = Person(stage.network, BareJid.parse("paris@capulet.lit"))
    with pytest.raises(DataMissing):
        await targeted(stage.juliet).encrypt(entry("text"), {stranger.jid}, at(), by_openpgp=True)


async def test_devices_are_not_chosen_in_openpgp(stage: Stage) -> None:
    device = Device(stage.romeo.jid, DeviceId(1))
    to, items = {stage.romeo.jid}, targeted(stage.juliet)
    with pytest.raises(ApiMisuse):
        await items.encrypt(entry("x"), to, at(), by_openpgp=True, leaving_out=[device])
    with pytest.raises(ApiMisuse):
        await items.encrypt(entry("x"), to, at(), by_openpgp=True, verified_only=True)


async def test_one_page_of_both_algorithms() -> None:
    """Juliet and Romeo have devices and keys, on one store each."""
    world = omemo_world.World(now=datetime.now(UTC).replace(microsecond=0))
    juliet, romeo = [
        await world.device(jid) for jid in ("juliet@capulet.lit", "romeo@montague.lit")
    ]
    engine = SequoiaEngine(NativePrimitives())
    both = []
    for party in (juliet, romeo):
        ox = OxAccount(party.jid, party.ports, engine)
        await ox.feed(Fetch(metadata_address(party.jid)), None)
        await ox.generate()
        await party.flush()
        both.append((party, TargetedItems(party.jid, party.ports, party.sessions, ox)))
    for _party, items in both:
        assert items.ox is not None
        for _ in range(2):
            for fetch in await items.ox.missing({juliet.jid, romeo.jid}):
                await items.ox.feed(fetch, world.serve(fetch))
    (_, hers), (_, his) = both
    in_omemo = await published(juliet, romeo, text="in OMEMO", place=at("1"))
    in_openpgp = (
        await hers.encrypt(entry("in OpenPGP"), {romeo.jid}, at("2"), by_openpgp=True)
    ).payload
    await romeo.hear_of(juliet)
    results = await his.decrypt_many([(in_omemo, stood(at("1"))), (in_openpgp, stood(at("2")))])
    assert [said(result) for result in results] == ["in OMEMO", "in OpenPGP"]
    assert all(isinstance(result, OpenedTargeted) for result in results)
