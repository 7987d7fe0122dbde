"""Lists, bundles and decisions of an account: what a hostile server and hostile people achieve."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Publish
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.key_events import KeyNews
from e2ee.limits import MAX_BUNDLE_FETCHES, MAX_DEVICES
from e2ee.names import BareJid, Fetch, ItemId, Jid, NodeAddress
from e2ee.omemo import own_device, peers, ring
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.draft import Draft
from e2ee.omemo.identities import identify_within
from e2ee.omemo.known_device import KnownDevice
from e2ee.omemo.ring_rows import bundle_within
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.renewal import renew
from e2ee.storage import Key, Store, Transaction
from e2ee.trust import BlindTrustBeforeVerification, ManualTrust, Trust
from e2ee.xmltree import Element, element
from tests.support.omemo_world import Party, World, refused

JULIET, ROMEO, MALLORY = "juliet@capulet.lit", "romeo@montague.lit", "mallory@evil.example"
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def world() -> World:
    return World()


async def known(party: Party, device: Device) -> KnownDevice:
    """Return what a party knows of a device."""
    found = (await peers.devices(party.sessions, device.jid)).find(device.id)
    assert found is not None
    return found


async def told(party: Party) -> set[tuple[str, str, KeyNews]]:
    """Return what waits to be shown to a party's user: whose key, which, what."""
    return {(str(event.jid), event.key, event.news) for event in await party.events.pending()}


async def level(party: Party, device: Device) -> Trust:
    """Return what a device is worth to a party."""
    devices = await peers.devices(party.sessions, device.jid)
    return devices.level(await known(party, device), party.trust)


async def identify(
    party: Party, device: Device, fingerprint: IdentityFingerprint, *, proven: bool
) -> ErrorCode | None:
    """Let a device show an identity, as a key exchange of it would."""
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        code = await identify_within(party.sessions, draft, device, fingerprint, proven=proven)
        await draft.commit()
    return code


def served(world: World, device: Device) -> Bundle:
    """Return the bundle that is served for a device."""
    payload = world.serve(bundle_fetch(Version.TWO, device))
    assert payload is not None
    return Bundle.from_xml(payload)


def fingerprint(party: Party, bundle: Bundle) -> IdentityFingerprint:
    return party.sessions.engines[bundle.version].fingerprint(bundle.identity)


class Unguarded:
    """A store whose accounts can be renewed though nobody guards them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def renewal(self, scope: Key) -> AbstractAsyncContextManager[Transaction]:
        return self._store.exclusive(scope)


class TestMissing:
    async def test_lists_first_then_the_bundles_that_they_name(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        assert await peers.missing(juliet.sessions, ()) == ()
        lists = [devices_fetch(Version.TWO, romeo.jid)]
        assert list(await peers.missing(juliet.sessions, {romeo.jid})) == lists
        await juliet.feed(*lists)
        bundles = await peers.missing(juliet.sessions, {romeo.jid})
        assert bundles == (bundle_fetch(Version.TWO, romeo.device),)
        await juliet.feed(*bundles)
        assert await peers.missing(juliet.sessions, {romeo.jid}) == ()

    async def test_our_own_others_are_recipients_too(self, world: World) -> None:
        juliet, tablet = await world.device(JULIET), await world.device(JULIET)
        romeo = await world.device(ROMEO)
        await juliet.hear_of(romeo)
        await juliet.hear_of(juliet)
        assert set(await peers.missing(juliet.sessions, {romeo.jid})) == {
            bundle_fetch(Version.TWO, tablet.device),
            bundle_fetch(Version.TWO, romeo.device),
        }

    async def test_r_12_lists_have_an_age_and_clocks_jump(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        for jump in (timedelta(days=1), -timedelta(days=3650), timedelta(days=7300)):
            world.wait(jump)
            fetches = await peers.missing(juliet.sessions, {romeo.jid})
            assert set(fetches) == {
                devices_fetch(Version.TWO, juliet.jid),
                devices_fetch(Version.TWO, romeo.jid),
            }
            await juliet.gather(romeo)  # and comes to an end

    async def test_nothing_is_fetched_of_whom_we_have_a_session_with(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.say("Hi", romeo)
        world.wait(TEN_MINUTES)
        assert await peers.missing(juliet.sessions, {romeo.jid}) == ()

    async def test_after_a_renewal_all_is_fetched_again(self, world: World) -> None:
        """Sessions from before may have been ahead of what is stored of them."""
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.say("Hi", romeo)
        await renew(Unguarded(juliet.store), juliet.jid, world.clock)
        assert devices_fetch(Version.TWO, romeo.jid) in await peers.missing(
            juliet.sessions, {romeo.jid}
        )
        await juliet.hear_of(juliet)
        await juliet.hear_of(romeo)
        fetches = await peers.missing(juliet.sessions, {romeo.jid})
        assert fetches == (bundle_fetch(Version.TWO, romeo.device),)

    async def test_who_is_distrusted_or_undecided_is_not_fetched(self, world: World) -> None:
        juliet = await world.device(JULIET, trust=ManualTrust())
        bad, new = world.crowd(ROMEO, 2)
        await juliet.gather(bad.jid)  # undecided, but then the user can see what about
        assert await level(juliet, bad) is Trust.UNDECIDED
        name = (await known(juliet, bad)).fingerprint
        assert name is not None
        await peers.decide(juliet.sessions, bad.jid, name, Trust.DISTRUSTED)
        world.wait(TEN_MINUTES)
        assert await peers.missing(juliet.sessions, {bad.jid}) == ()
        name = (await known(juliet, new)).fingerprint
        assert name is not None
        await peers.decide(juliet.sessions, new.jid, name, Trust.AUTHENTICATED)
        fetches = await peers.missing(juliet.sessions, {bad.jid})
        assert fetches == (bundle_fetch(Version.TWO, new),)

    async def test_o_19_a_flood_of_ids_costs_twenty_bundles_in_ten_minutes(
        self, world: World
    ) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        crowd = world.crowd(ROMEO, MAX_DEVICES - 1)
        world.announce(ROMEO, *(each.id for each in crowd), romeo.device.id)
        world.wait(TEN_MINUTES)
        await juliet.hear_of(romeo)
        fetches = await peers.missing(juliet.sessions, {romeo.jid})
        assert len(fetches) == MAX_BUNDLE_FETCHES
        assert fetches[0] == bundle_fetch(Version.TWO, romeo.device)  # whom we know comes first
        await juliet.gather(romeo)
        assert await peers.missing(juliet.sessions, {romeo.jid}) == ()
        await juliet.hear_of(romeo)  # however often they are announced
        assert await peers.missing(juliet.sessions, {romeo.jid}) == ()
        world.wait(TEN_MINUTES)
        assert len(await peers.missing(juliet.sessions, {romeo.jid})) == MAX_BUNDLE_FETCHES

    async def test_o_19_nor_does_an_emptied_list_leave_anything(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        rows = await _rows(juliet)
        world.announce(ROMEO, romeo.device.id, *range(1, MAX_DEVICES))
        await juliet.hear_of(romeo)
        world.announce(ROMEO, romeo.device.id)
        await juliet.hear_of(romeo)
        assert await _rows(juliet) == rows

    async def test_o_19_r_13_nor_do_strangers_that_were_shown(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ring, "MAX_DEVICES", 2)
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        await juliet.decide(romeo, Trust.AUTHENTICATED)
        for _ in range(4):
            ghosts = world.crowd(ROMEO, 4)  # each time with other identities
            world.announce(ROMEO, *(each.id for each in ghosts))
            world.wait(TEN_MINUTES)
            await juliet.hear_of(romeo)
            await juliet.gather(romeo)
            world.announce(ROMEO, romeo.device.id)
            await juliet.hear_of(romeo)
        async with juliet.store.exclusive(juliet.sessions.scope) as tx:
            owners = await tx.scan((JULIET, "omemo", "identity"))
            bundles = await tx.scan((JULIET, "omemo", "bundle"))
        assert len(owners) == 3
        assert len(bundles) <= 4
        assert len(await told(juliet)) <= 2 * 2  # of both that are known still, what they showed


async def _rows(party: Party) -> int:
    async with party.store.exclusive(party.sessions.scope) as tx:
        return sum([len(raw) for _, raw in await tx.scan((str(party.jid), "omemo", "ring"))])


class TestNotified:
    @pytest.mark.parametrize(
        ("sender", "node", "to", "kind", "believed"),
        [
            (ROMEO, Version.TWO.devices_node, JULIET, StanzaKind.ITEM, True),
            (ROMEO, Version.TWO.devices_node, None, StanzaKind.ITEM, True),
            (f"{ROMEO}/orchard", Version.TWO.devices_node, JULIET, StanzaKind.ITEM, False),
            (ROMEO, Version.TWO.devices_node, "nurse@capulet.lit", StanzaKind.ITEM, False),
            (ROMEO, Version.TWO.devices_node, JULIET, StanzaKind.MESSAGE, False),
            (ROMEO, Version.TWO.bundles_node, JULIET, StanzaKind.ITEM, False),
            (ROMEO, Version.LEGACY.devices_node, JULIET, StanzaKind.ITEM, False),
            (MALLORY, Version.TWO.devices_node, JULIET, StanzaKind.ITEM, False),
        ],
    )
    async def test_o_14_only_the_lists_owner_speaks_of_it(
        self, world: World, sender: str, node: str, to: str | None, kind: StanzaKind, believed: bool
    ) -> None:
        juliet = world.party(JULIET)
        arrival = Arrival(
            kind,
            Jid.parse(sender),
            None if to is None else Jid.parse(to),
            node=NodeAddress(BareJid.parse(ROMEO), node),
        )
        expected = (devices_fetch(Version.TWO, BareJid.parse(ROMEO)),) if believed else ()
        assert peers.notified(juliet.sessions, arrival) == expected


class TestLists:
    async def test_o_14_a_list_that_is_none_changes_nothing(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        fetch = devices_fetch(Version.TWO, romeo.jid)
        for ids, code in (
            (range(1, MAX_DEVICES + 2), ErrorCode.LIMIT_EXCEEDED),
            ((1, 1), ErrorCode.MALFORMED),
            ((0,), ErrorCode.MALFORMED),
            ((2**32,), ErrorCode.MALFORMED),
        ):
            devices = [element(Version.TWO, "device", {"id": str(each)}) for each in ids]
            async with refused(code, juliet):
                hostile = element(Version.TWO, "devices", None, *devices)
                await peers.feed(juliet.sessions, fetch, hostile)
        async with refused(ErrorCode.MALFORMED, juliet):
            legacy = DeviceList(Version.LEGACY, ()).to_xml()
            await peers.feed(juliet.sessions, fetch, legacy)

    async def test_o_14_a_ghost_under_our_own_account_gets_nothing(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        [ghost] = world.crowd(JULIET, 1)
        world.announce(JULIET, ghost.id, juliet.device.id)
        await juliet.hear_of(juliet)
        await juliet.gather(romeo)
        assert await level(juliet, ghost) is Trust.UNDECIDED
        name = (await known(juliet, ghost)).fingerprint
        assert await told(juliet) == {(JULIET, name, KeyNews.NEW)}

    async def test_o_14_a_ghost_beside_a_contacts_device_gets_nothing(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        [ghost] = world.crowd(ROMEO, 1)
        world.announce(ROMEO, ghost.id, romeo.device.id)
        await juliet.gather(romeo)
        assert await told(juliet) == set()  # nothing to look at yet
        await juliet.hear_of(romeo)
        await juliet.gather(romeo)
        assert await level(juliet, romeo.device) is Trust.AUTOMATIC
        assert await level(juliet, ghost) is Trust.UNDECIDED
        name = (await known(juliet, ghost)).fingerprint
        assert await told(juliet) == {(ROMEO, name, KeyNews.NEW)}

    async def test_o_14_we_are_put_back_into_our_list_but_fight_no_war(self, world: World) -> None:
        juliet, tablet = await world.device(JULIET), await world.device(JULIET)
        own = devices_fetch(Version.TWO, juliet.jid)
        for _ in range(5):
            world.announce(JULIET, tablet.device.id)
            await juliet.hear_of(juliet)
        published = [
            effect
            for effect in await juliet.flush()
            if isinstance(effect, Publish) and effect.address == own.address
        ]
        assert len(published) == 3
        for effect in published:
            ids = {device.id for device in DeviceList.from_xml(effect.payload).devices}
            assert ids == {juliet.device.id, tablet.device.id}
        world.nodes.pop(own.address)  # or all of it is deleted, a day later
        world.wait(timedelta(days=1))
        await juliet.hear_of(juliet)
        assert len(await juliet.flush()) == 2  # the bundle as well

    async def test_a_list_with_us_in_it_is_left_alone(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await juliet.hear_of(juliet)
        assert await juliet.flush() == []
        assert (await peers.devices(juliet.sessions, juliet.jid)).devices == ()

    async def test_who_has_no_device_is_not_put_into_any_list(self, world: World) -> None:
        juliet = world.party(JULIET)
        world.announce(JULIET, 7)
        await juliet.hear_of(juliet)
        assert await juliet.outbox.pending() == ()

    async def test_who_has_left_is_not_put_back(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await own_device.leave(juliet.sessions)
        await juliet.flush()
        await juliet.hear_of(juliet)
        assert await juliet.outbox.pending() == ()

    async def test_o_33_labels_count_when_their_device_signed_them(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO, label="Balcony")
        [ghost] = world.crowd(ROMEO, 1)
        own = await _signed(romeo, "Balcony")
        stolen = ListedDevice(ghost.id, own.label, own.label_signature)
        _list(world, ROMEO, own, stolen)
        await juliet.gather(romeo)
        assert (await known(juliet, romeo.device)).label == "Balcony"
        assert (await known(juliet, ghost)).label is None
        _list(world, ROMEO, replace(own, label="Chapel"))
        await juliet.hear_of(romeo)
        assert (await known(juliet, romeo.device)).label is None

    async def test_o_33_a_label_is_not_shown_before_its_device_showed_its_identity(
        self, world: World
    ) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        _list(world, ROMEO, await _signed(romeo, "Balcony"))
        await juliet.hear_of(romeo)
        assert (await known(juliet, romeo.device)).label is None
        await juliet.gather(romeo)
        assert (await known(juliet, romeo.device)).label == "Balcony"

    async def test_o_33_poisoned_labels_in_our_own_list_stop_nothing(self, world: World) -> None:
        """A new device must be able to join, and takes nothing away from the others."""
        first = await world.device(JULIET, label="Laptop")
        listed = element(
            Version.TWO,
            "devices",
            None,
            element(Version.TWO, "device", {"id": "7", "label": "x" * 10_000, "labelsig": "AAAA"}),
            element(Version.TWO, "device", {"id": "8", "label": "\u202egnp.exe", "labelsig": "!"}),
            element(Version.TWO, "device", {"id": "9", "label": "no signature"}),
            element(Version.TWO, "device", {"id": str(first.device.id), "label": "Laptop"}),
        )
        world.publish(devices_fetch(Version.TWO, first.jid), listed)
        second = await world.device(JULIET)
        payload = world.serve(devices_fetch(Version.TWO, first.jid))
        assert payload is not None
        ids = {device.id for device in DeviceList.from_xml(payload).devices}
        assert ids == {7, 8, 9, first.device.id, second.device.id}

    async def test_who_is_listed_no_more_is_told_of(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        world.announce(ROMEO)
        await juliet.hear_of(romeo)
        name = await romeo.fingerprint()
        assert await told(juliet) == {(ROMEO, name, KeyNews.GONE)}
        world.announce(ROMEO, romeo.device.id)
        await juliet.hear_of(romeo)
        assert await told(juliet) == set()

    async def test_nobody_is_told_of_strangers_that_come_and_go(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        [ghost] = world.crowd(ROMEO, 1)
        world.announce(ROMEO, ghost.id, romeo.device.id)
        world.wait(TEN_MINUTES)
        await juliet.hear_of(romeo)
        await juliet.gather(romeo)
        world.announce(ROMEO, romeo.device.id)
        await juliet.hear_of(romeo)
        name = (await known(juliet, ghost)).fingerprint
        assert await told(juliet) == {(ROMEO, name, KeyNews.NEW)}  # it may come back


async def _signed(party: Party, label: str) -> ListedDevice:
    own = await own_device.own_device(party.sessions)
    signature = party.sessions.engines[Version.TWO].sign_label(own.identity, label)
    return ListedDevice(party.device.id, label, signature)


def _list(world: World, jid: str, *entries: ListedDevice) -> None:
    listed = DeviceList(Version.TWO, entries).to_xml()
    world.publish(devices_fetch(Version.TWO, BareJid.parse(jid)), listed)


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

    async def test_o_16_nor_one_who_was_heard(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await romeo.say("Hi", juliet)
        await juliet.read()
        [mallory] = world.crowd(MALLORY, 1)
        world.publish(bundle_fetch(Version.TWO, mallory), served(world, romeo.device).to_xml())
        await juliet.gather(mallory.jid)
        async with refused(ErrorCode.SIGNER_MISMATCH, juliet):
            await peers.decide(
                juliet.sessions, mallory.jid, await romeo.fingerprint(), Trust.AUTHENTICATED
            )
        assert (await known(juliet, romeo.device)).fingerprint == await romeo.fingerprint()

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


class TestDecide:
    async def test_z_13_what_was_never_shown_cannot_be_decided_about(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        for jid in (romeo.jid, juliet.jid):
            async with refused(ErrorCode.SIGNER_MISMATCH, juliet):
                await peers.decide(
                    juliet.sessions, jid, IdentityFingerprint("9" * 64), Trust.AUTHENTICATED
                )

    async def test_what_waits_for_a_decision_waits_no_more(self, world: World) -> None:
        juliet = await world.device(JULIET, trust=ManualTrust())
        romeo = await world.device(ROMEO)
        await juliet.gather(romeo)
        assert await told(juliet) == {(ROMEO, await romeo.fingerprint(), KeyNews.NEW)}
        await juliet.decide(romeo, Trust.UNDECIDED)  # the user saw it, and wants to think
        assert await told(juliet) == set()

    async def test_what_was_shown_to_the_user_does_not_come_again(self, world: World) -> None:
        juliet = await world.device(JULIET, trust=ManualTrust())
        romeo = await world.device(ROMEO)
        await juliet.gather(romeo)
        await juliet.events.shown(await juliet.events.pending())
        await juliet.hear_of(romeo)
        await juliet.feed(bundle_fetch(Version.TWO, romeo.device))
        assert await told(juliet) == set()

    async def test_a_new_device_after_verification_is_a_change(self, world: World) -> None:
        juliet = await world.device(JULIET, trust=BlindTrustBeforeVerification())
        romeo = await world.device(ROMEO)
        await juliet.gather(romeo)
        second = await world.device(ROMEO)
        await juliet.hear_of(romeo)
        await juliet.gather(romeo)
        assert await told(juliet) == set()
        assert await level(juliet, second.device) is Trust.AUTOMATIC
        await juliet.decide(romeo, Trust.AUTHENTICATED)
        third = await world.device(ROMEO)
        await juliet.hear_of(romeo)
        await juliet.gather(romeo)
        assert await told(juliet) == {(ROMEO, await third.fingerprint(), KeyNews.CHANGED)}
        assert await level(juliet, second.device) is Trust.AUTOMATIC
        assert await level(juliet, third.device) is Trust.UNDECIDED

    async def test_an_opt_out_is_answered(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        await peers.answer_opt_out(juliet.sessions, romeo.jid)
        assert not (await peers.devices(juliet.sessions, romeo.jid)).opted_out
