"""What is encrypted to whom: nothing without trust, and nothing by a bundle that is not theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2ee import limits
from e2ee.draft import Draft
from e2ee.errors import E2eeError, ErrorCode, TrustUndecided
from e2ee.names import BareJid, ItemId
from e2ee.omemo import encrypting, peers
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device
from e2ee.omemo.recipients import DeviceReport, Outcome
from e2ee.omemo.ring_rows import bundle_within, put_bundle
from e2ee.omemo.session_rows import session_within
from e2ee.omemo.version import Version, bundle_fetch
from e2ee.trust import (
    BlindTrustBeforeVerification,
    BlindTrustOnFirstSight,
    ManualTrust,
    Trust,
    TrustPolicy,
)
from e2ee.xmltree import element
from tests.support.omemo_reports import outcomes, rids
from tests.support.omemo_world import Party, World, body, copied, new_bundle, refused

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
BOTH = (Version.TWO, Version.LEGACY)


async def put_bundle_of(party: Party, device: Device, bundle: Bundle) -> None:
    """Put a bundle where a checked one lies."""
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        await put_bundle(draft, device, bundle, party.world.now)
        await draft.commit()


async def bundle_of(party: Party, device: Device) -> Bundle | None:
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        return await bundle_within(draft, Version.TWO, device, party.world.now)


# -- trust


async def test_o_32_undecided_devices_are_listed() -> None:
    world = World()
    juliet = await world.device(JULIET, trust=ManualTrust())
    romeo, phone = await world.device(ROMEO), await world.device(ROMEO)
    await juliet.gather(romeo)
    async with refused(ErrorCode.UNDECIDED, juliet):
        with pytest.raises(TrustUndecided) as caught:
            await juliet.say("hi", romeo)
        assert set(caught.value.subjects) == {str(romeo.device), str(phone.device)}
        raise caught.value
    await juliet.decide(romeo, Trust.AUTHENTICATED)
    async with refused(ErrorCode.UNDECIDED, juliet):
        await juliet.say("hi", romeo)
    encrypted = await juliet.encrypt(romeo, leaving_out={phone.device})
    assert outcomes(encrypted) == {
        romeo.device.id: Outcome.STARTED,
        phone.device.id: Outcome.LEFT_OUT,
    }
    assert rids(encrypted) == {romeo.device.id}


async def test_o_32_our_own_undecided_devices_are_listed_too() -> None:
    """Else whoever adds a device to our account reads all that we write (O-14)."""
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    intruder = await world.device(JULIET)
    await juliet.hear_of(juliet)
    await juliet.gather(romeo)
    with pytest.raises(TrustUndecided) as caught:
        await juliet.say("hi", romeo)
    assert caught.value.subjects == (str(intruder.device),)


async def test_o_32_distrusted_devices_are_passed_over() -> None:
    world = World()
    juliet = await world.device(JULIET)
    romeo, phone = await world.device(ROMEO), await world.device(ROMEO)
    await juliet.say("hi", romeo)  # there are sessions with both
    await juliet.decide(phone, Trust.DISTRUSTED)
    encrypted = await juliet.say("hi", romeo)
    assert outcomes(encrypted)[phone.device.id] is Outcome.DISTRUSTED
    assert rids(encrypted) == {romeo.device.id}
    await juliet.decide(romeo, Trust.DISTRUSTED)
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await juliet.say("hi", romeo)


async def test_p5_with_verified_devices_alone() -> None:
    world = World()
    juliet = await world.device(JULIET, trust=BlindTrustBeforeVerification())
    romeo, phone = await world.device(ROMEO), await world.device(ROMEO)
    await juliet.gather(romeo)
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await juliet.encrypt(romeo, verified_only=True)
    await juliet.decide(romeo, Trust.AUTHENTICATED)
    encrypted = await juliet.encrypt(romeo, verified_only=True)
    assert outcomes(encrypted)[phone.device.id] is Outcome.UNVERIFIED
    assert rids(encrypted) == {romeo.device.id}


async def test_o_27_an_old_session_is_not_used_for_a_new_identity() -> None:
    """The device was set up anew; until the user decides, its own old session is all there is."""
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.say("hi", romeo)
    before = await romeo.fingerprint()
    stranger = await world.device("stranger@verona.lit")
    fetch = bundle_fetch(Version.TWO, romeo.device)
    bundle = Bundle.from_xml(
        world.serve(bundle_fetch(Version.TWO, stranger.device))  # type: ignore[arg-type]
    )
    world.publish(fetch, bundle.to_xml())
    await juliet.feed(fetch)
    ring = await peers.devices(juliet.sessions, romeo.jid)
    [known] = ring.devices
    assert (known.fingerprint, known.offered) == (before, await stranger.fingerprint())
    assert outcomes(await juliet.say("hi", romeo)) == {romeo.device.id: Outcome.STARTED}
    assert known.offered
    await peers.decide(juliet.sessions, romeo.jid, known.offered, Trust.AUTHENTICATED)
    async with refused(ErrorCode.DATA_MISSING, juliet):
        await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})
    await juliet.gather(romeo)
    await juliet.say("hi", romeo)
    async with juliet.store.exclusive(juliet.sessions.scope) as tx:
        session = await session_within(Draft(tx, juliet.jid), Version.TWO, romeo.device)
    assert session
    assert session.fingerprint == await stranger.fingerprint()


@cache
def _three_devices() -> tuple[World, Party, tuple[Party, ...]]:
    """Return somebody who has sessions with three devices of another; to be copied, not used."""

    async def made() -> tuple[World, Party, tuple[Party, ...]]:
        world = World()
        juliet = await world.device(JULIET)
        theirs = tuple([await world.device(ROMEO) for _ in range(3)])
        await juliet.say("hi", theirs[0])
        return world, juliet, theirs

    return asyncio.run(made())


@settings(max_examples=60, deadline=None)
@given(
    policy=st.sampled_from([ManualTrust, BlindTrustOnFirstSight, BlindTrustBeforeVerification]),
    levels=st.lists(st.none() | st.sampled_from(Trust), min_size=3, max_size=3),
    left_out=st.sets(st.integers(0, 2)),
    verified_only=st.booleans(),
)
def test_p5_nothing_is_encrypted_to_what_the_policy_does_not_accept(
    policy: type[TrustPolicy],
    levels: list[Trust | None],
    left_out: set[int],
    verified_only: bool,
) -> None:
    """Whatever the user decided, whatever sessions there are."""
    world, template, theirs = _three_devices()

    async def written() -> set[int]:
        party = Party(world, template.jid, (Version.TWO,), policy(), await copied(template.store))
        for device, level in zip(theirs, levels, strict=True):
            if level is not None:
                await party.decide(device, level)
        leaving_out = {theirs[number].device for number in left_out}
        try:
            encrypted = await encrypting.encrypt(
                party.sessions,
                (body("hi"),),
                {theirs[0].jid},
                leaving_out=leaving_out,
                verified_only=verified_only,
            )
        except E2eeError as refusal:
            assert refusal.code in (ErrorCode.UNDECIDED, ErrorCode.UNUSABLE_KEY)  # noqa: PT017
            return set()
        return rids(encrypted)

    verified = Trust.AUTHENTICATED in levels
    allowed = {
        device.device.id
        for number, (device, level) in enumerate(zip(theirs, levels, strict=True))
        if number not in left_out
        and policy().uses(level or Trust.AUTOMATIC, verified=verified)
        and (level is Trust.AUTHENTICATED or not verified_only)
    }
    found = asyncio.run(written())
    undecided = {
        number
        for number, level in enumerate(levels)
        if number not in left_out
        and level is not Trust.DISTRUSTED
        and not policy().uses(level or Trust.AUTOMATIC, verified=verified)
    }
    stopped = bool(undecided) and not verified_only
    assert found == (set() if stopped else allowed)


# -- bundles


async def _served(act: Callable[[World, Party], None]) -> DeviceReport:
    """Encrypt for two devices, and return what became of the one whose bundle was altered."""
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    other = await world.device(ROMEO)
    act(world, romeo)
    encrypted = await juliet.say("hi", romeo)
    assert outcomes(encrypted)[other.device.id] is Outcome.STARTED
    assert rids(encrypted) == {other.device.id}
    [report] = [each for each in encrypted.report if each.device == romeo.device]
    [opened] = await other.read()
    assert opened.content
    return report


def _republished(**changed: object) -> Callable[[World, Party], None]:
    def act(world: World, romeo: Party) -> None:
        fetch = bundle_fetch(Version.TWO, romeo.device)
        bundle = Bundle.from_xml(world.serve(fetch))  # type: ignore[arg-type]
        world.publish(fetch, replace(bundle, **changed).to_xml())  # type: ignore[arg-type]

    return act


def _vanished(world: World, romeo: Party) -> None:
    del world.nodes[bundle_fetch(Version.TWO, romeo.device).address][ItemId(str(romeo.device.id))]


def _no_bundle_at_all(world: World, romeo: Party) -> None:
    world.publish(bundle_fetch(Version.TWO, romeo.device), element(Version.TWO, "bundle"))


@pytest.mark.parametrize(
    ("act", "outcome", "code"),
    [
        (_vanished, Outcome.NO_BUNDLE, ErrorCode.DATA_MISSING),
        (_no_bundle_at_all, Outcome.BAD_BUNDLE, ErrorCode.MALFORMED),
        (_republished(signature=bytes(64)), Outcome.BAD_BUNDLE, ErrorCode.BAD_SIGNATURE),
        (_republished(pre_keys=((1, bytes(32)),)), Outcome.BAD_BUNDLE, ErrorCode.MALFORMED),
        (_republished(signed_pre_key=bytes(32)), Outcome.BAD_BUNDLE, ErrorCode.MALFORMED),
    ],
)
async def test_o_15_a_hostile_bundle_stops_nobody_else(
    act: Callable[[World, Party], None], outcome: Outcome, code: ErrorCode
) -> None:
    report = await _served(act)
    assert report == DeviceReport(report.device, Version.TWO, outcome, code)


async def test_o_16_a_bundle_of_another_device_stops_nobody_else() -> None:
    """The server serves the bundle of one device for another: it is the first one's identity."""
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    other = await world.device(ROMEO)
    await juliet.gather(romeo)
    first, second = sorted((romeo.device, other.device))
    theirs = world.serve(bundle_fetch(Version.TWO, first))
    assert theirs
    world.publish(bundle_fetch(Version.TWO, second), theirs)
    await juliet.feed(bundle_fetch(Version.TWO, second))
    encrypted = await juliet.say("hi", romeo)
    assert outcomes(encrypted)[first.id] is Outcome.STARTED
    assert outcomes(encrypted)[second.id] is Outcome.BAD_BUNDLE
    assert rids(encrypted) == {first.id}


async def test_o_15_a_bundle_with_another_identity_is_never_used() -> None:
    """SECURITY O1: as fetched a second time, and even where it got past whoever checks it."""
    world = World()
    juliet, romeo, other = (
        await world.device(JULIET),
        await world.device(ROMEO),
        await world.device(ROMEO),
    )
    await juliet.gather(romeo)
    engine = juliet.sessions.engines[Version.TWO]
    evil = new_bundle(engine)
    await put_bundle_of(juliet, romeo.device, evil)
    encrypted = await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})
    assert outcomes(encrypted) == {
        romeo.device.id: Outcome.IDENTITY_CHANGED,
        other.device.id: Outcome.STARTED,
    }
    assert rids(encrypted) == {other.device.id}
    async with juliet.store.exclusive(juliet.sessions.scope) as tx:
        assert await session_within(Draft(tx, juliet.jid), Version.TWO, romeo.device) is None
    world.publish(bundle_fetch(Version.TWO, romeo.device), evil.to_xml())
    await juliet.feed(bundle_fetch(Version.TWO, romeo.device))
    report = (await juliet.say("hi", romeo)).report
    [changed] = [each for each in report if each.device == romeo.device]
    assert changed.outcome is Outcome.IDENTITY_CHANGED
    assert changed.code is ErrorCode.IDENTITY_CHANGED


async def test_o_15_what_the_engine_refuses_stops_nobody_else() -> None:
    """A hostile bundle that got past every check before."""
    world = World()
    juliet, romeo, other = (
        await world.device(JULIET),
        await world.device(ROMEO),
        await world.device(ROMEO),
    )
    await juliet.gather(romeo)
    bundle = await bundle_of(juliet, romeo.device)
    assert bundle
    hostile = [
        replace(bundle, signature=bytes(64)),
        replace(bundle, pre_keys=((1, bytes(32)),)),
        replace(bundle, identity=bytes(32)),
    ]
    for each in hostile:
        await put_bundle_of(juliet, romeo.device, each)
        encrypted = await encrypting.encrypt(juliet.sessions, (body("hi"),), {romeo.jid})
        assert outcomes(encrypted)[romeo.device.id] is Outcome.BAD_BUNDLE
        assert rids(encrypted) == {other.device.id}


async def test_o_14_a_list_of_strangers_is_fetched_bit_by_bit() -> None:
    world = World()
    juliet = await world.device(JULIET)
    world.crowd(ROMEO, limits.MAX_BUNDLE_FETCHES + 5)
    romeo = BareJid.parse(ROMEO)
    encrypted = await juliet.encrypt(romeo)
    found = list(outcomes(encrypted).values())
    assert found.count(Outcome.STARTED) == limits.MAX_BUNDLE_FETCHES
    assert found.count(Outcome.NOT_FETCHED) == 5
    world.wait(timedelta(minutes=11))
    encrypted = await juliet.encrypt(romeo)
    assert set(outcomes(encrypted).values()) == {Outcome.STARTED}
