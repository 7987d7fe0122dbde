"""Bundles and the identities they show: what a hostile server or contact achieves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee.draft import Draft
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.key_events import KeyNews
from e2ee.names import BareJid, Fetch, ItemId, Jid, NodeAddress
from e2ee.omemo import peers
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.ring_rows import bundle_within
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.trust import Trust
from e2ee.xmltree import Element, element
from tests.support.omemo_views import fingerprint, identify, known, level, served, told
from tests.support.omemo_world import Party, World, refused

JULIET, ROMEO, MALLORY = "juliet@capulet.lit", "romeo@montague.lit", "mallory@evil.example"
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def world() -> World:
    return World()


class TestBundles:
    async def test_o_15_a_hostile_bundle_is_refused_and_stops_nobody(self, world: World) -> None:
        juliet = await world.device(JULIET)
        good, bad = world.crowd(ROMEO, 2)
        await juliet.hear_of(good.jid)
        bundle = served(world, bad)
        fetch = bundle_fetch(Version.TWO, bad)
        other = served(world, good)
        hostile: list[tuple[Element | None, ErrorCode]] = [
            (None, ErrorCode.DATA_MISSING),
            (element(Version.TWO, "bundle"), ErrorCode.MALFORMED),
            (element("urn:x", "bundle"), ErrorCode.MALFORMED),
            (replace(bundle, signature=bytes(64)).to_xml(), ErrorCode.BAD_SIGNATURE),
            (replace(bundle, signed_pre_key=bytes(32)).to_xml(), ErrorCode.MALFORMED),
            (replace(bundle, pre_keys=()).to_xml(), ErrorCode.MALFORMED),
            (replace(bundle, pre_keys=((1, bytes(32)),)).to_xml(), ErrorCode.MALFORMED),
            (replace(bundle, identity=other.identity).to_xml(), ErrorCode.BAD_SIGNATURE),
            (replace(bundle, version=Version.LEGACY).to_xml(), ErrorCode.MALFORMED),
            (
                replace(bundle, pre_keys=tuple((i, bytes(32)) for i in range(1, 999))).to_xml(),
                ErrorCode.LIMIT_EXCEEDED,
            ),
        ]
        for payload, code in hostile:
            await peers.feed(juliet.sessions, fetch, payload)
            device = await known(juliet, bad)
            assert device.refusal(Version.TWO, world.now) is code
            assert device.fingerprint is None
        await juliet.gather(good.jid)  # not asked for again, and comes to an end
        assert (await known(juliet, good)).fingerprint == fingerprint(juliet, other)
        world.wait(TEN_MINUTES)
        assert fetch in await peers.missing(juliet.sessions, {good.jid})
        await juliet.feed(fetch)
        assert (await known(juliet, bad)).refused == ()

    async def test_o_15_a_refused_bundle_takes_the_place_of_a_good_one(self, world: World) -> None:
        """Its prekeys may be gone by now."""
        juliet = await world.device(JULIET)
        [romeo] = world.crowd(ROMEO, 1)
        await juliet.gather(romeo.jid)
        assert await _has_bundle(juliet, romeo)
        await peers.feed(juliet.sessions, bundle_fetch(Version.TWO, romeo), None)
        assert not await _has_bundle(juliet, romeo)
        await juliet.feed(bundle_fetch(Version.TWO, romeo))
        assert await _has_bundle(juliet, romeo)
        assert (await known(juliet, romeo)).refused == ()

    async def test_o_27_o_15_another_identity_waits_for_the_user(self, world: World) -> None:
        juliet = await world.device(JULIET)
        [romeo] = world.crowd(ROMEO, 1)
        await juliet.gather(romeo.jid)
        first = fingerprint(juliet, served(world, romeo))
        world.crowd(ROMEO, 1)
        second = fingerprint(juliet, served(world, romeo))
        world.wait(TEN_MINUTES)
        await juliet.gather(romeo.jid)
        device = await known(juliet, romeo)
        assert (device.fingerprint, device.offered) == (first, second)
        assert device.refusal(Version.TWO, world.now) is ErrorCode.IDENTITY_CHANGED
        assert await told(juliet) == {(ROMEO, second, KeyNews.CHANGED)}
        await juliet.events.shown(await juliet.events.pending())
        await juliet.hear_of(romeo.jid)
        assert await told(juliet) == set()  # once
        await peers.decide(juliet.sessions, romeo.jid, second, Trust.AUTHENTICATED)
        assert await told(juliet) == set()
        assert (await known(juliet, romeo)).fingerprint == second
        fetches = await peers.missing(juliet.sessions, {romeo.jid})
        assert fetches == (bundle_fetch(Version.TWO, romeo),)  # which was not kept

    @pytest.mark.parametrize("has_session", [True, False])
    async def test_o_27_nothing_of_the_former_identity_is_used(
        self, world: World, has_session: bool
    ) -> None:
        juliet = await world.device(JULIET)
        [romeo] = world.crowd(ROMEO, 1)
        if has_session:
            await juliet.encrypt(romeo.jid)
        await juliet.gather(romeo.jid)
        other = IdentityFingerprint("9" * 64)
        assert await identify(juliet, romeo, other, proven=True) is ErrorCode.IDENTITY_CHANGED
        await peers.decide(juliet.sessions, romeo.jid, other, Trust.AUTOMATIC)
        fetches = await peers.missing(juliet.sessions, {romeo.jid})
        assert fetches == (bundle_fetch(Version.TWO, romeo),)

    async def test_o_27_an_offer_that_is_replaced_is_told_of_no_more(self, world: World) -> None:
        juliet = await world.device(JULIET)
        [romeo] = world.crowd(ROMEO, 1)
        await juliet.gather(romeo.jid)
        for digit in "89":
            name = IdentityFingerprint(digit * 64)
            assert await identify(juliet, romeo, name, proven=True) is ErrorCode.IDENTITY_CHANGED
            assert await told(juliet) == {(ROMEO, name, KeyNews.CHANGED)}
        await peers.decide(juliet.sessions, romeo.jid, name, Trust.DISTRUSTED)
        assert await told(juliet) == set()
        assert await identify(juliet, romeo, name, proven=True) is ErrorCode.IDENTITY_CHANGED
        assert await told(juliet) == set()

    async def test_o_16_a_bundle_served_for_another_device(self, world: World) -> None:
        juliet = await world.device(JULIET)
        phone, laptop = world.crowd(ROMEO, 2)
        world.publish(bundle_fetch(Version.TWO, laptop), served(world, phone).to_xml())
        await juliet.gather(phone.jid)
        device = await known(juliet, laptop)
        assert device.refusal(Version.TWO, world.now) is ErrorCode.SIGNER_MISMATCH
        assert (device.fingerprint, device.offered) == (None, None)

    async def test_o_16_our_own_bundle_served_for_a_contact(self, world: World) -> None:
        juliet = await world.device(JULIET)
        [romeo] = world.crowd(ROMEO, 1)
        world.publish(bundle_fetch(Version.TWO, romeo), served(world, juliet.device).to_xml())
        await juliet.gather(romeo.jid)
        device = await known(juliet, romeo)
        assert device.refusal(Version.TWO, world.now) is ErrorCode.SIGNER_MISMATCH
        assert (device.fingerprint, device.offered) == (None, None)

    async def test_o_16_one_identity_under_two_accounts(self, world: World) -> None:
        juliet, mallory, romeo = await _copied(world)
        device = await known(juliet, romeo.device)
        assert device.refusal(Version.TWO, world.now) is ErrorCode.SIGNER_MISMATCH
        assert device.fingerprint is None
        assert (await known(juliet, mallory)).fingerprint == await romeo.fingerprint()
        assert await told(juliet) == {(ROMEO, await romeo.fingerprint(), KeyNews.CHANGED)}

    async def test_o_16_who_copied_a_bundle_gives_way_to_whom_the_user_vouches_for(
        self, world: World
    ) -> None:
        juliet, mallory, romeo = await _copied(world)
        await juliet.decide(romeo, Trust.AUTHENTICATED)
        assert await level(juliet, romeo.device) is Trust.AUTHENTICATED
        thief = await known(juliet, mallory)
        assert thief.fingerprint is None
        assert thief.refusal(Version.TWO, world.now) is ErrorCode.SIGNER_MISMATCH
        await juliet.gather(romeo)
        with pytest.raises(PeerMisbehaved):  # nor does it get it back
            await peers.decide(
                juliet.sessions, mallory.jid, await romeo.fingerprint(), Trust.AUTHENTICATED
            )

    async def test_o_16_and_to_whom_it_is_heard_from(self, world: World) -> None:
        juliet, mallory, romeo = await _copied(world)
        name = await romeo.fingerprint()
        assert await identify(juliet, romeo.device, name, proven=True) is None
        assert (await known(juliet, mallory)).fingerprint is None
        world.wait(TEN_MINUTES)
        await juliet.gather(mallory.jid)
        assert (await known(juliet, romeo.device)).fingerprint == name

    async def test_o_16_but_not_one_whom_the_user_vouched_for(self, world: World) -> None:
        juliet, mallory, romeo = await _copied(world)
        name = await romeo.fingerprint()
        await peers.decide(juliet.sessions, mallory.jid, name, Trust.AUTHENTICATED)
        async with refused(ErrorCode.SIGNER_MISMATCH, juliet):
            await juliet.decide(romeo, Trust.AUTHENTICATED)
        code = await identify(juliet, romeo.device, name, proven=True)
        assert code is ErrorCode.SIGNER_MISMATCH

    async def test_o_16_one_who_was_heard_gives_way_to_nothing_but_the_users_word(
        self, world: World
    ) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await romeo.say("Hi", juliet)
        await juliet.read()
        [mallory] = world.crowd(MALLORY, 1)
        world.publish(bundle_fetch(Version.TWO, mallory), served(world, romeo.device).to_xml())
        await juliet.gather(mallory.jid)
        name = await romeo.fingerprint()
        assert await identify(juliet, mallory, name, proven=True) is ErrorCode.SIGNER_MISMATCH
        assert (await known(juliet, romeo.device)).fingerprint == name
        assert (await known(juliet, mallory)).offered == name
        await peers.decide(juliet.sessions, mallory.jid, name, Trust.AUTHENTICATED)
        assert (await known(juliet, mallory)).fingerprint == name
        assert (await known(juliet, romeo.device)).fingerprint is None

    async def test_o_16_what_was_passed_on_takes_no_identity(self, world: World) -> None:
        """An empty message says nothing of its sender, and anybody can deliver it as another's."""
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        world.announce(MALLORY, romeo.device.id)
        await romeo.gather(juliet)
        await romeo.looked(lambda: romeo.sessions.renew_session(juliet.device))
        await romeo.flush()
        [empty] = [part for part in world.mail.pop().children if part.name == "encrypted"]
        with pytest.raises(PeerMisbehaved) as caught:
            await juliet.decrypt(empty, Jid.parse(f"{MALLORY}/x"))
        assert caught.value.code is ErrorCode.SIGNER_MISMATCH
        assert (await known(juliet, romeo.device)).fingerprint == await romeo.fingerprint()
        await romeo.say("It is I", juliet)
        assert [message.content[0].text for message in await juliet.read()] == ["It is I"]

    async def test_o_16_what_was_passed_on_first_is_given_back_to_whom_it_names(
        self, world: World
    ) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        world.announce(MALLORY, romeo.device.id)
        mallory = Device(BareJid.parse(MALLORY), romeo.device.id)
        await romeo.gather(juliet)
        await romeo.looked(lambda: romeo.sessions.renew_session(juliet.device))
        await romeo.flush()
        [empty] = [part for part in world.mail.pop().children if part.name == "encrypted"]
        assert (await juliet.decrypt(empty, Jid.parse(f"{MALLORY}/x"))).is_empty
        assert (await known(juliet, mallory)).fingerprint == await romeo.fingerprint()
        await juliet.gather(romeo)
        await romeo.looked(lambda: romeo.sessions.renew_session(juliet.device))
        await romeo.say("It is I", juliet)
        assert [message.content[0].text for message in await juliet.read()] == ["It is I"]
        assert (await known(juliet, romeo.device)).fingerprint == await romeo.fingerprint()
        assert (await known(juliet, mallory)).fingerprint is None

    async def test_o_16_whom_the_user_distrusts_keeps_no_identity_from_its_owner(
        self, world: World
    ) -> None:
        juliet, mallory, romeo = await _copied(world)
        name = await romeo.fingerprint()
        await peers.decide(juliet.sessions, mallory.jid, name, Trust.DISTRUSTED)
        await romeo.say("It is I", juliet)
        assert [message.content[0].text for message in await juliet.read()] == ["It is I"]
        assert (await known(juliet, romeo.device)).fingerprint == name

    async def test_o_16_and_the_user_can_say_whose_it_is(self, world: World) -> None:
        juliet, mallory, romeo = await _copied(world)
        name = await romeo.fingerprint()
        await peers.decide(juliet.sessions, mallory.jid, name, Trust.DISTRUSTED)
        await juliet.decide(romeo, Trust.AUTHENTICATED)
        assert await level(juliet, romeo.device) is Trust.AUTHENTICATED
        assert (await known(juliet, mallory)).fingerprint is None

    async def test_what_nobody_asked_for_changes_nothing(self, world: World) -> None:
        juliet = await world.device(JULIET)
        [romeo] = world.crowd(ROMEO, 1)
        bundle = served(world, romeo).to_xml()
        await peers.feed(juliet.sessions, bundle_fetch(Version.TWO, romeo), bundle)
        assert (await peers.devices(juliet.sessions, romeo.jid)).devices == ()

    @pytest.mark.parametrize(
        "fetch",
        [
            Fetch(NodeAddress(BareJid.parse(ROMEO), "urn:xmpp:microblog:0")),
            devices_fetch(Version.LEGACY, BareJid.parse(ROMEO)),
            bundle_fetch(Version.LEGACY, Device(BareJid.parse(ROMEO), DeviceId(1))),
            Fetch(NodeAddress(BareJid.parse(ROMEO), Version.TWO.bundles_node)),
        ],
    )
    async def test_no_node_of_ours(self, world: World, fetch: Fetch) -> None:
        juliet = await world.device(JULIET)
        async with refused(ErrorCode.API_MISUSE, juliet):
            await peers.feed(juliet.sessions, fetch, None)

    async def test_no_device_of_anybodys(self, world: World) -> None:
        juliet = await world.device(JULIET)
        address = NodeAddress(BareJid.parse(ROMEO), Version.TWO.bundles_node)
        async with refused(ErrorCode.MALFORMED, juliet):
            await peers.feed(juliet.sessions, Fetch(address, ItemId("no device")), None)


async def _has_bundle(party: Party, device: Device) -> bool:
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        return await bundle_within(draft, Version.TWO, device, party.world.now) is not None


async def _copied(world: World) -> tuple[Party, Device, Party]:
    """Return somebody who first met one who shows another's identity, and then that other."""
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    [mallory] = world.crowd(MALLORY, 1)
    world.publish(bundle_fetch(Version.TWO, mallory), served(world, romeo.device).to_xml())
    await juliet.gather(mallory.jid)
    await juliet.gather(romeo)
    return juliet, mallory, romeo
