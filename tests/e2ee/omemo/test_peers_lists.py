"""Device lists: what a hostile server achieves by what it lists, and where."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee.effects import Publish
from e2ee.errors import ErrorCode
from e2ee.key_events import KeyNews
from e2ee.limits import MAX_DEVICES
from e2ee.names import BareJid
from e2ee.omemo import own_device, peers
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.version import Version, devices_fetch
from e2ee.trust import Trust
from e2ee.xmltree import element
from tests.support.omemo_views import known, level, told
from tests.support.omemo_world import Party, World, refused

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def world() -> World:
    return World()


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
