"""What is inside a targeted item, and must be judged before its key is used up (O-36, O-37, S)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from e2ee import ns
from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.history import Sighting
from e2ee.omemo.engine import Payload
from e2ee.omemo.message import read_encrypted
from e2ee.omemo.opt_out import OptOut
from e2ee.omemo.version import Version
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element
from e2ee.xmlwrite import write_xml
from tests.support.node_world import entry
from tests.support.omemo_letters import remade
from tests.support.omemo_world import body, refused
from tests.support.targeted_world import (
    Stage,
    at,
    enveloped,
    published,
    read,
    said,
    stood,
    unread,
    wrapped,
)

JULIET = "juliet@capulet.lit"
TRUST = BlindTrustBeforeVerification()


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
