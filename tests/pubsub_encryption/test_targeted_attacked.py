"""Targeted items under attack: by a service, by other recipients, by other authors (O-36, O-37)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from e2ee import ns
from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.history import Sighting
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.omemo.engine import Payload
from e2ee.omemo.message import read_encrypted
from e2ee.omemo.opt_out import OptOut
from e2ee.omemo.version import Version
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.targeted_reading import UnreadableTargeted
from tests.support.node_world import entry
from tests.support.omemo_letters import remade
from tests.support.omemo_world import Party, World, body, refused
from tests.support.targeted_world import (
    BLOG,
    at,
    enveloped,
    kept,
    published,
    read,
    said,
    stood,
    targeted,
    wrapped,
)

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
MALLORY = BareJid.parse("mallory@attacker.example")
SERVICE = BareJid.parse("pubsub.capulet.lit")
TRUST = BlindTrustBeforeVerification()


@dataclass
class Stage:
    """Juliet, who writes, and Romeo, who has read something of hers before."""

    world: World
    juliet: Party
    romeo: Party


@pytest.fixture
async def stage() -> Stage:
    world = World()
    juliet, romeo = [await world.device(jid, trust=TRUST) for jid in (JULIET, ROMEO)]
    await read(romeo, await published(juliet, romeo, place=at("first")), stood(at("first")))
    await romeo.flush()
    await juliet.read()
    return Stage(world, juliet, romeo)


async def unread(romeo: Party, payload: Element, place: str) -> UnreadableTargeted:
    (result,) = await targeted(romeo).decrypt_many([(payload, stood(at(place)))])
    assert isinstance(result, UnreadableTargeted)
    return result


# -- who it is by


async def test_o_36_whom_the_service_names_must_be_whom_it_is_by(stage: Stage) -> None:
    payload = await published(stage.juliet, stage.romeo)
    of_service = at(node=NodeAddress(SERVICE, "blog"))
    async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
        await read(stage.romeo, payload, stood(publisher=MALLORY))
    async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
        await read(stage.romeo, payload, stood(of_service, MALLORY))
    mallorys = at(node=NodeAddress(MALLORY, "blog"))
    async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
        await read(stage.romeo, payload, stood(mallorys))
    assert said(await read(stage.romeo, payload, stood(of_service, stage.juliet)))


async def test_o_36_where_the_service_names_nobody_the_inside_tells(stage: Stage) -> None:
    of_service = at(node=NodeAddress(SERVICE, "blog"))
    payload = await published(stage.juliet, stage.romeo, place=of_service)
    opened = await read(stage.romeo, payload, stood(of_service))
    assert opened.item.sender == stage.juliet.jid


async def test_o_36_what_is_passed_on_as_ones_own_is_not_believed(stage: Stage) -> None:
    """Whoever says that it is by them must have the device that encrypted it."""
    mallory = await stage.world.device(str(MALLORY), trust=TRUST)
    payload = await published(stage.juliet, stage.romeo)
    stolen = wrapped(mallory.jid, payload.elements[0])
    place = at(node=NodeAddress(mallory.jid, "blog"))
    await stage.romeo.hear_of(mallory)
    async with refused(ErrorCode.UNTRUSTED, stage.romeo):
        await read(stage.romeo, stolen, stood(place))
    of_service = at(node=NodeAddress(SERVICE, "blog"))
    async with refused(ErrorCode.UNTRUSTED, stage.romeo):
        await read(stage.romeo, stolen, stood(of_service))
    assert said(await read(stage.romeo, payload))


async def test_o_36_and_is_not_served_from_the_cache_either(stage: Stage) -> None:
    mallory = await stage.world.device(str(MALLORY), trust=TRUST)
    payload = await published(stage.juliet, stage.romeo)
    await read(stage.romeo, payload)
    stolen = wrapped(mallory.jid, payload.elements[0])
    await stage.romeo.hear_of(mallory)
    for place in (at(node=NodeAddress(mallory.jid, "blog")), at(node=NodeAddress(SERVICE, "b"))):
        async with refused(ErrorCode.UNTRUSTED, stage.romeo):
            await read(stage.romeo, stolen, stood(place))


async def test_o_36_s_01_a_sender_inside_must_be_whom_it_is_by(stage: Stage) -> None:
    for number, (from_, code) in enumerate(
        (
            (None, None),  # as Libervia writes it
            (JULIET, None),
            (f"{JULIET}/balcony", None),
            (ROMEO, ErrorCode.CONTEXT_MISMATCH),
            (str(MALLORY), ErrorCode.CONTEXT_MISMATCH),
        )
    ):
        payload = await enveloped(stage.juliet, stage.romeo, entry("text"), from_=from_)
        where = stood(at(f"from {number}"))
        if code is None:
            assert said(await read(stage.romeo, payload, where)) == "text"
            continue
        async with refused(code, stage.romeo):
            await read(stage.romeo, payload, where)


async def test_o_36_by_is_a_bare_jid(stage: Stage) -> None:
    payload = await published(stage.juliet, stage.romeo)
    for by in ("", f"{JULIET}/balcony", "juliet@@capulet.lit"):
        forged = element(ns.PTE, "encrypted", {"by": by, "type": ns.OMEMO_2}, *payload.elements)
        async with refused(ErrorCode.MALFORMED, stage.romeo):
            await read(stage.romeo, forged)


# -- where it stands


async def test_o_36_an_item_that_is_moved_is_shown_as_such(stage: Stage) -> None:
    payload = await published(stage.juliet, stage.romeo, text="here")
    await read(stage.romeo, payload)
    for place in (
        at("another"),
        at("1", NodeAddress(BLOG.service, "another")),
        at("1", NodeAddress(SERVICE, BLOG.node)),
    ):
        opened = await read(stage.romeo, payload, stood(place, stage.juliet))
        assert said(opened) == "here"
        assert opened.seen.sighting is Sighting.MOVED
        assert opened.seen.elsewhere[0] == at()
        assert await kept(stage.romeo, place) is None, "a service can copy it without end"
    assert (await read(stage.romeo, payload)).seen.sighting is Sighting.SAME


async def test_o_36_a_copy_that_is_shown_first_does_not_lose_the_original(stage: Stage) -> None:
    payload = await published(stage.juliet, stage.romeo, text="here")
    assert (await read(stage.romeo, payload, stood(at("copy")))).seen.sighting is Sighting.FIRST
    opened = await read(stage.romeo, payload)
    assert (said(opened), opened.seen.sighting) == ("here", Sighting.MOVED)


async def test_o_36_an_old_version_is_known_for_one(stage: Stage) -> None:
    """It was decrypted once; what is kept is the newer one."""
    old = await published(stage.juliet, stage.romeo, text="old")
    await read(stage.romeo, old)
    stage.world.wait(timedelta(minutes=1))
    new = await published(stage.juliet, stage.romeo, text="new")
    await read(stage.romeo, new)
    result = await unread(stage.romeo, old, "1")
    assert result.error.code is ErrorCode.REPLAY
    assert result.seen is not None
    assert result.seen.sighting is Sighting.ROLLED_BACK
    opened = await read(stage.romeo, new)
    assert (said(opened), opened.seen.sighting) == ("new", Sighting.SAME)


async def test_o_36_an_old_version_that_was_withheld_drives_nothing_out(stage: Stage) -> None:
    """Its author dates it; its key is not used up, so that it is there whenever it is shown."""
    old = await published(stage.juliet, stage.romeo, text="old")
    stage.world.wait(timedelta(minutes=1))
    new = await published(stage.juliet, stage.romeo, text="new")
    await read(stage.romeo, new)
    for _ in range(2):
        opened = await read(stage.romeo, old)
        assert (said(opened), opened.seen.sighting) == ("old", Sighting.ROLLED_BACK)
        assert said(await kept(stage.romeo)) == "new"
    assert said(await read(stage.romeo, new)) == "new"


async def test_o_36_what_the_user_forgot_is_not_decrypted_again(stage: Stage) -> None:
    payload = await published(stage.juliet, stage.romeo)
    await read(stage.romeo, payload)
    await targeted(stage.romeo).cache.forget(at())
    result = await unread(stage.romeo, payload, "1")
    assert result.error.code is ErrorCode.REPLAY
    assert result.seen is not None


async def test_o_36_an_item_stands_in_a_node(stage: Stage) -> None:
    payload = await published(stage.juliet, stage.romeo)
    genuine = stood()
    for wrong in (
        stage.romeo.arrival(Jid(stage.juliet.jid)),
        replace(genuine, node=None),
        replace(genuine, item_id=None),
    ):
        async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
            await read(stage.romeo, payload, wrong)
    async with refused(ErrorCode.MALFORMED, stage.romeo):
        await read(stage.romeo, payload, replace(genuine, item_id=ItemId("")))


# -- what is in it


async def test_o_36_another_content_is_never_served_what_is_kept(stage: Stage) -> None:
    """The keys of one item with the payload of another, as a recipient could make it."""
    one = await published(stage.juliet, stage.romeo, text="one")
    two = await published(stage.juliet, stage.romeo, text="two", place=at("2"))
    await read(stage.romeo, one)
    rewritten = read_encrypted(two.elements[0], stage.romeo.device).payload
    mixed = wrapped(stage.juliet.jid, remade(one.elements[0], stage.romeo, payload=rewritten))
    result = await unread(stage.romeo, mixed, "1")
    assert result.error.code is ErrorCode.REPLAY
    assert result.seen is None
    forged = wrapped(
        stage.juliet.jid, remade(two.elements[0], stage.romeo, payload=Payload(bytes(64)))
    )
    assert isinstance((await unread(stage.romeo, forged, "1")).error, CannotDecrypt)
    assert said(await read(stage.romeo, one)) == "one"
    swapped = read_encrypted(one.elements[0], stage.romeo.device).payload
    mixed = wrapped(stage.juliet.jid, remade(two.elements[0], stage.romeo, payload=swapped))
    moved = await read(stage.romeo, mixed, stood(at("2")))
    assert (said(moved), moved.seen.sighting) == ("one", Sighting.MOVED)
    assert said(await read(stage.romeo, two, stood(at("2")))) == "two"


async def test_o_36_keys_of_others_and_how_it_is_written_make_no_other_item(
    stage: Stage,
) -> None:
    nurse = await stage.world.device("nurse@capulet.lit")
    payload = await published(stage.juliet, stage.romeo, nurse)
    first = await read(stage.romeo, payload)
    ours = wrapped(stage.juliet.jid, remade(payload.elements[0], stage.romeo))
    theirs = wrapped(stage.juliet.jid, remade(payload.elements[0], nurse))
    prefixed = parse_xml(
        write_xml(payload)
        .replace("<encrypted xmlns='urn:xmpp:pte:0'", "<p:encrypted xmlns:p='urn:xmpp:pte:0'", 1)
        .removesuffix("</encrypted>")
        + "</p:encrypted>"
    )
    for same in (ours, theirs, prefixed):
        assert (await read(stage.romeo, same)).item == first.item


async def test_o_37_what_is_not_spoken(stage: Stage) -> None:
    for namespace, name in (
        ("urn:xmpp:omemo:1", "encrypted"),
        (ns.OMEMO_LEGACY, "encrypted"),
        ("urn:example:mls", "encrypted"),
    ):
        async with refused(ErrorCode.UNSUPPORTED_ALGORITHM, stage.romeo):
            await read(stage.romeo, wrapped(stage.juliet.jid, element(namespace, name)))


async def test_o_37_the_type_is_that_of_what_is_inside(stage: Stage) -> None:
    inner = (await published(stage.juliet, stage.romeo)).elements[0]
    for algorithm, children in (
        (ns.OX, (inner,)),
        ("urn:xmpp:omemo:1", (inner,)),
        ("", (inner,)),
        (ns.OMEMO_2, ()),
        (ns.OMEMO_2, (inner, inner)),
        (ns.OMEMO_2, (inner, entry("in clear"))),
        (ns.OMEMO_2, ("text", inner)),
    ):
        forged = element(ns.PTE, "encrypted", {"by": JULIET, "type": algorithm}, *children)
        async with refused(ErrorCode.MALFORMED, stage.romeo):
            await read(stage.romeo, forged)
    untyped = element(ns.PTE, "encrypted", {"by": JULIET}, inner)
    async with refused(ErrorCode.MALFORMED, stage.romeo):
        await read(stage.romeo, untyped)


async def test_o_10_an_item_without_payload_says_nothing(stage: Stage) -> None:
    payload = await published(stage.juliet, stage.romeo)
    stripped = wrapped(stage.juliet.jid, remade(payload.elements[0], stage.romeo, payload=None))
    async with refused(ErrorCode.MALFORMED, stage.romeo):
        await read(stage.romeo, stripped)
    assert said(await read(stage.romeo, payload))


async def test_s_02_s_12_a_message_is_no_item(stage: Stage) -> None:
    """Neither one to us, which names us, nor one to several, which does not."""
    nurse = await stage.world.device("nurse@capulet.lit")
    to_us = (await stage.juliet.encrypt(stage.romeo)).elements[0]
    to_several = (await stage.juliet.encrypt(stage.romeo, nurse)).elements[0]
    for message in (to_us, to_several):
        async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
            await read(stage.romeo, wrapped(stage.juliet.jid, message))
        opened = await stage.romeo.decrypt(message, stage.juliet)
        assert opened.content[0].same_content(body("Good pilgrim")), "the message is still there"


async def test_s_12_an_item_without_a_sender_is_no_message(stage: Stage) -> None:
    payload = await enveloped(stage.juliet, stage.romeo, entry("text"))
    async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
        await stage.romeo.decrypt(payload.elements[0], stage.juliet)
    assert said(await read(stage.romeo, payload)) == "text"


async def test_s_04_an_item_may_be_of_any_age(stage: Stage) -> None:
    payload = await published(stage.juliet, stage.romeo, text="long ago")
    written = stage.world.now
    stage.world.wait(timedelta(days=400))
    opened = await read(stage.romeo, payload)
    assert (said(opened), opened.item.time) == ("long ago", written)


async def test_s_04_an_item_that_is_dated_ahead_makes_no_later_one_old(stage: Stage) -> None:
    now = stage.world.now
    ahead = await enveloped(
        stage.juliet, stage.romeo, entry("ahead"), from_=JULIET, time=now + timedelta(days=400)
    )
    assert said(await read(stage.romeo, ahead)) == "ahead"
    later = await published(stage.juliet, stage.romeo, text="later")
    opened = await read(stage.romeo, later)
    assert (said(opened), opened.seen.sighting) == ("later", Sighting.REPLACED)


async def test_s_07_s_11_an_item_has_one_payload_in_its_namespace(stage: Stage) -> None:
    nested = element(ns.SCE, "envelope", None, element(ns.SCE, "content", None, entry("x")))
    sealed = await published(stage.juliet, stage.romeo)
    for number, (content, code) in enumerate(
        (
            ((), ErrorCode.MALFORMED),
            ((entry("one"), entry("two")), ErrorCode.MALFORMED),
            ((nested,), ErrorCode.MALFORMED),  # an affix's name is dropped from inside
            ((sealed,), ErrorCode.CONTEXT_MISMATCH),
            ((sealed.elements[0],), ErrorCode.FORBIDDEN),
            ((body("text"),), ErrorCode.CONTEXT_MISMATCH),
            ((element(ns.OX_PUBSUB, "shared-secret"),), ErrorCode.CONTEXT_MISMATCH),
        )
    ):
        payload = await enveloped(stage.juliet, stage.romeo, *content, from_=JULIET)
        async with refused(code, stage.romeo):
            await read(stage.romeo, payload, stood(at(f"odd {number}")))


async def test_s_08_what_servers_must_see_is_dropped_from_inside(stage: Stage) -> None:
    hint = element(ns.HINTS, "store")
    payload = await enveloped(stage.juliet, stage.romeo, hint, entry("text"), from_=JULIET)
    assert said(await read(stage.romeo, payload)) == "text"


async def test_o_30_an_item_asks_nobody_to_write_in_clear(stage: Stage) -> None:
    payload = await enveloped(stage.juliet, stage.romeo, OptOut().to_xml(), from_=JULIET)
    async with refused(ErrorCode.CONTEXT_MISMATCH, stage.romeo):
        await read(stage.romeo, payload)
    assert not (await stage.romeo.sessions.devices(stage.juliet.jid)).opted_out


async def test_o_30_nor_does_an_old_one_take_it_back(stage: Stage) -> None:
    old = await published(stage.juliet, stage.romeo, text="old")
    asked = (await stage.juliet.encrypt(stage.romeo, content=[OptOut().to_xml()])).elements[0]
    await stage.romeo.decrypt(asked, stage.juliet)
    new = await published(stage.juliet, stage.romeo, text="new", place=at("2"))
    await read(stage.romeo, new, stood(at("2")))
    await read(stage.romeo, old)
    assert (await stage.romeo.sessions.devices(stage.juliet.jid)).opted_out


async def test_o_27_an_identity_that_an_item_shows_is_kept_for_the_user(stage: Stage) -> None:
    """Juliet's service lists a device of Mallory's under the id of hers, and has it publish."""
    mallory = await stage.world.device(JULIET, trust=TRUST)
    await mallory.decide_all(mallory)
    await stage.romeo.hear_of(stage.juliet)
    first = await stage.romeo.sessions.devices(stage.juliet.jid)
    payload = await published(mallory, stage.romeo, text="of another")
    own = mallory.device.id
    forged = parse_xml(
        write_xml(payload).replace(f"sid='{own}'", f"sid='{stage.juliet.device.id}'")
    )
    with pytest.raises(PeerMisbehaved) as caught:
        await read(stage.romeo, forged)
    assert caught.value.code in (ErrorCode.IDENTITY_CHANGED, ErrorCode.SIGNER_MISMATCH)
    after = await stage.romeo.sessions.devices(stage.juliet.jid)
    known, before = after.find(stage.juliet.device.id), first.find(stage.juliet.device.id)
    assert known is not None
    assert before is not None
    assert known.fingerprint == before.fingerprint
    assert Version.TWO in known.listed
