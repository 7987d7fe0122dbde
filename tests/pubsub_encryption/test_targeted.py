"""Targeted items in OMEMO: written once, decrypted once by each device, and served from then on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from e2ee import ns
from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.history import Sighting
from e2ee.limits import MAX_PAYLOAD_DEPTH
from e2ee.names import ItemId, NodeAddress
from e2ee.omemo.recipients import Outcome
from e2ee.omemo.version import Version
from e2ee.trust import BlindTrustBeforeVerification, ManualTrust, Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.cache import ItemCache
from pubsub_encryption.items import Authorship, ClearItem
from pubsub_encryption.targeted_items import TARGETED_FEATURES, TargetedItems
from pubsub_encryption.targeted_reading import OpenedTargeted, UnreadableTargeted
from tests.support.node_world import entry
from tests.support.omemo_world import Party, World, body, dump, refused
from tests.support.targeted_world import (
    BLOG,
    at,
    kept,
    published,
    read,
    said,
    stood,
    targeted,
)
from tests.support.xml import nested

JULIET, ROMEO, NURSE = "juliet@capulet.lit", "romeo@montague.lit", "nurse@capulet.lit"
TRUST = BlindTrustBeforeVerification()


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def juliet(world: World) -> Party:
    return await world.device(JULIET, trust=TRUST)


@pytest.fixture
async def romeo(world: World) -> Party:
    return await world.device(ROMEO, trust=TRUST)


async def test_an_item_is_read_by_those_whom_it_is_for(
    world: World, juliet: Party, romeo: Party
) -> None:
    nurse = await world.device(NURSE)
    payload = parse_xml(write_xml(await published(juliet, romeo)))
    assert payload.is_(ns.PTE, "encrypted")
    assert (payload.get("by"), payload.get("type")) == (JULIET, ns.OMEMO_2)
    opened = await read(romeo, payload)
    assert said(opened) == "Good pilgrim"
    assert opened.item.authorship is Authorship.DEVICE
    assert (opened.item.sender, opened.item.device) == (juliet.jid, juliet.device.id)
    assert opened.item.fingerprint == await juliet.fingerprint()
    assert opened.item.time == world.now
    assert opened.trust is Trust.AUTOMATIC
    assert opened.seen.sighting is Sighting.FIRST
    async with refused(ErrorCode.NOT_FOR_US, nurse):
        await read(nurse, payload)


async def test_it_says_nothing_in_clear_and_nothing_of_whom_it_is_for_inside(
    juliet: Party, romeo: Party
) -> None:
    payload = await published(juliet, romeo, text="a secret")
    assert "a secret" not in write_xml(payload)
    opened = await romeo.looked(
        lambda: romeo.sessions.decrypt(payload.elements[0], stood())
    )  # which refuses any recipient in an item
    assert opened.content[0].same_content(entry("a secret"))


async def test_it_is_decrypted_once_and_served_from_then_on(juliet: Party, romeo: Party) -> None:
    payload = await published(juliet, romeo)
    first = await read(romeo, payload)
    assert await romeo.sessions.undelivered() == (), "the cache keeps it, not the inbox"
    for _ in range(2):
        again = await read(romeo.reopened(), payload)
        assert again.item == first.item
        assert again.seen.sighting is Sighting.SAME
    before = await dump(romeo.store)
    await read(romeo, payload)
    assert await dump(romeo.store) == before, "what is served again costs no row"


async def test_it_is_answered_by_an_empty_message_so_that_the_session_goes_on(
    juliet: Party, romeo: Party
) -> None:
    await read(romeo, await published(juliet, romeo))
    await romeo.flush()
    await juliet.read()
    again = targeted(juliet)
    written = await again.encrypt(entry("second"), {romeo.jid}, at("2"))
    assert [each.outcome for each in written.report] == [Outcome.ENCRYPTED]
    assert said(await read(romeo, written.payload, stood(at("2")))) == "second"


async def test_our_other_devices_read_it_and_the_one_that_wrote_it_keeps_it(
    world: World, juliet: Party, romeo: Party
) -> None:
    tablet = await world.device(JULIET, trust=TRUST)
    await juliet.hear_of(juliet)
    await juliet.decide_all(juliet)
    await tablet.decide_all(tablet)
    payload = await published(juliet, romeo, text="to all")
    assert said(await read(tablet, payload)) == "to all"
    own = await read(juliet, payload)
    assert said(own) == "to all"
    assert own.trust is Trust.AUTHENTICATED
    assert own.seen.sighting is Sighting.SAME
    assert (own.item.sender, own.item.device) == (juliet.jid, juliet.device.id)


async def test_for_nobody_it_is_for_our_own_devices(world: World, juliet: Party) -> None:
    await juliet.gather()
    async with refused(ErrorCode.API_MISUSE, juliet):
        await targeted(juliet).encrypt(entry("mine"), (), at())
    tablet = await world.device(JULIET, trust=TRUST)
    await juliet.hear_of(juliet)
    await juliet.decide_all(juliet)
    await tablet.decide_all(tablet)
    for to in ((), {juliet.jid}):
        payload = (await targeted(juliet).encrypt(entry("mine"), to, at())).payload
        assert said(await read(tablet, payload)) == "mine"


async def test_several_people_one_item(world: World, juliet: Party, romeo: Party) -> None:
    nurse = await world.device(NURSE)
    payload = await published(juliet, romeo, nurse, text="to both")
    for reader in (romeo, nurse):
        assert said(await read(reader, payload)) == "to both"


async def test_a_newer_version_replaces_an_older_one(
    world: World, juliet: Party, romeo: Party
) -> None:
    old = await published(juliet, romeo, text="old")
    await read(romeo, old)
    world.wait(timedelta(minutes=1))
    new = await published(juliet, romeo, text="new")
    opened = await read(romeo, new)
    assert (said(opened), opened.seen.sighting) == ("new", Sighting.REPLACED)
    assert said(await kept(romeo)) == "new"


async def test_what_is_known_of_its_device_is_what_is_known_today(
    juliet: Party, romeo: Party
) -> None:
    payload = await published(juliet, romeo)
    assert (await read(romeo, payload)).trust is Trust.AUTOMATIC
    for level in (Trust.AUTHENTICATED, Trust.DISTRUSTED):
        await romeo.decide(juliet, level)
        opened = await read(romeo, payload)
        assert opened.trust is level
        assert opened.item.trust is Trust.AUTOMATIC


async def test_a_page_in_one_commit_and_a_bad_item_stops_no_other(
    world: World, juliet: Party, romeo: Party
) -> None:
    nurse = await world.device(NURSE)
    items = [
        await published(juliet, romeo, text=f"number {number}", place=at(f"{number}"))
        for number in range(3)
    ]
    page = [
        (items[0], stood(at("0"))),
        (await published(juliet, nurse, place=at("for the nurse")), stood(at("for the nurse"))),
        (entry("in clear"), stood(at("clear"))),
        (element(ns.PTE, "encrypted", {"by": JULIET}), stood(at("bad"))),
        (element(ns.OX_PUBSUB, "encrypted", {"key": "k"}, "AA=="), stood(at("of the node"))),
        (items[2], stood(at("2"))),
        (items[1], stood(at("1"))),
        (items[1], stood(at("1"))),
    ]
    await romeo.hear_of(juliet)
    results = await targeted(romeo).decrypt_many(page)
    told = [
        said(result) if isinstance(result, OpenedTargeted) else getattr(result, "error", None)
        for result in results
    ]
    codes = [getattr(each, "code", each) for each in told]
    assert codes == [
        "number 0",
        ErrorCode.NOT_FOR_US,
        None,
        ErrorCode.MALFORMED,
        ErrorCode.UNSUPPORTED_ALGORITHM,
        "number 2",
        "number 1",
        "number 1",
    ]
    assert isinstance(results[2], ClearItem)
    assert results[2].payload.same_content(entry("in clear"))
    assert all(
        result.error.__traceback__ is None
        for result in results
        if isinstance(result, UnreadableTargeted)
    )


async def test_an_item_in_clear_is_no_targeted_one(juliet: Party, romeo: Party) -> None:
    async with refused(ErrorCode.NOT_ENCRYPTED, romeo):
        await read(romeo, entry("in clear"))


async def test_what_must_be_fetched_first_is_named(juliet: Party, romeo: Party) -> None:
    with pytest.raises(DataMissing):
        await targeted(juliet).encrypt(entry("text"), {romeo.jid}, at())
    payload = await published(juliet, romeo)
    (missing,) = await targeted(romeo).decrypt_many([(payload, stood())])
    assert isinstance(missing, UnreadableTargeted)
    assert isinstance(missing.error, DataMissing)
    await romeo.feed(*missing.error.fetches)
    (result,) = await targeted(romeo).decrypt_many([(payload, stood())])
    assert isinstance(result, OpenedTargeted)


async def test_a_device_that_nobody_decided_about_is_not_written_to_unasked(
    world: World, romeo: Party
) -> None:
    juliet = await world.device(JULIET, trust=ManualTrust())
    with pytest.raises(TrustUndecided):
        await published(juliet, romeo)
    with pytest.raises(PeerMisbehaved) as caught:
        await targeted(juliet).encrypt(entry("text"), {romeo.jid}, at(), leaving_out=[romeo.device])
    assert caught.value.code is ErrorCode.UNUSABLE_KEY
    await juliet.decide(romeo, Trust.AUTHENTICATED)
    written = await targeted(juliet).encrypt(entry("text"), {romeo.jid}, at(), verified_only=True)
    assert said(await read(romeo, written.payload)) == "text"


async def test_o_13_nothing_is_written_in_the_legacy_version(world: World) -> None:
    juliet, romeo, nurse = [
        await world.device(jid, versions=tuple(Version), trust=TRUST)
        for jid in (JULIET, ROMEO, NURSE)
    ]
    for node in (Version.TWO.devices_node, Version.TWO.bundles_node):
        del world.nodes[NodeAddress(nurse.jid, node)]
    payload = await published(juliet, romeo)
    assert payload.elements[0].namespace == ns.OMEMO_2
    with pytest.raises(PeerMisbehaved) as caught:
        await published(juliet, romeo, nurse)
    assert caught.value.code is ErrorCode.UNUSABLE_KEY


async def test_what_belongs_into_messages_is_no_payload(juliet: Party, romeo: Party) -> None:
    sealed = await published(juliet, romeo)
    for payload in (
        body("text"),
        sealed,
        sealed.elements[0],
        element(ns.OX, "openpgp", None, "AA=="),
        element(ns.OX_PUBSUB, "shared-secret"),
        element("", "entry"),
    ):
        async with refused(ErrorCode.API_MISUSE, juliet):
            await targeted(juliet).encrypt(payload, {romeo.jid}, at())


async def test_an_item_beyond_our_own_bounds_is_not_written(juliet: Party, romeo: Party) -> None:
    await juliet.gather(romeo)
    for beyond in (
        element(ns.ATOM, "entry", None, *[entry("x")] * 10_000),
        nested(MAX_PAYLOAD_DEPTH + 1),
    ):
        async with refused(ErrorCode.LIMIT_EXCEEDED, juliet):
            await targeted(juliet).encrypt(beyond, {romeo.jid}, at())


async def test_targeted_items_are_those_of_one_account(juliet: Party, romeo: Party) -> None:
    with pytest.raises(ApiMisuse):
        TargetedItems(romeo.jid, romeo.ports, juliet.sessions, None)
    nothing = TargetedItems(romeo.jid, romeo.ports, None, None)
    with pytest.raises(ApiMisuse):
        await nothing.encrypt(entry("text"), {juliet.jid}, at())
    with pytest.raises(ApiMisuse):
        await nothing.encrypt(entry("text"), {juliet.jid}, at(), by_openpgp=True)
    payload = await published(juliet, romeo)
    with pytest.raises(PeerMisbehaved) as caught:
        await nothing.decrypt(payload, stood())
    assert caught.value.code is ErrorCode.UNSUPPORTED_ALGORITHM


async def test_the_cache_is_the_accounts(juliet: Party, romeo: Party) -> None:
    await read(romeo, await published(juliet, romeo))
    (item,) = await ItemCache(romeo.jid, romeo.ports).page(BLOG)
    assert said(item) == "Good pilgrim"
    other = NodeAddress(BLOG.service, "other")
    assert await kept(romeo, at("1", other)) is None
    assert item.place.item_id == ItemId("1")


def test_what_a_client_announces() -> None:
    assert TARGETED_FEATURES == (ns.PTE,)
