"""Targeted items under attack: by a service, by other recipients, by other authors (O-36, O-37)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from e2ee import ns
from e2ee.errors import ErrorCode
from e2ee.history import Sighting
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmltree import element
from tests.support.node_world import entry
from tests.support.omemo_world import refused
from tests.support.targeted_world import (
    BLOG,
    Stage,
    at,
    enveloped,
    kept,
    published,
    read,
    said,
    stood,
    targeted,
    unread,
    wrapped,
)

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
MALLORY = BareJid.parse("mallory@attacker.example")
SERVICE = BareJid.parse("pubsub.capulet.lit")
TRUST = BlindTrustBeforeVerification()


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
