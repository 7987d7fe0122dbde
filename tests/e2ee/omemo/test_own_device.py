"""Our own device: how it is made, announced, put back, labelled and withdrawn, and never remade."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from e2ee.effects import Configure, Create, Delete, Effect, Publish, Retract, fulfilled, remedy
from e2ee.errors import ApiMisuse, DataMissing, E2eeError, ErrorCode, StoreFailed
from e2ee.limits import MAX_DEVICES, MAX_LABEL_CHARS
from e2ee.names import BareJid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import MAX_OWN_DEVICE_ID, Device, DeviceId
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.own_device import leave, own_device, register, relabel
from e2ee.omemo.sessions import OmemoSessions
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.ports import Primitives
from e2ee.primitives import NativePrimitives
from e2ee.storage import Key, Put, Remove
from e2ee.stores.memory import MemoryStore
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import HookedStore, Moment, waiting
from tests.support.omemo_world import Party, World, dump, refused

JULIET = "juliet@capulet.lit"
OWNER = BareJid.parse(JULIET)
BOTH = (Version.TWO, Version.LEGACY)


@pytest.fixture
def world() -> World:
    return World()


def the_list(world: World, version: Version = Version.TWO) -> tuple[ListedDevice, ...]:
    """Return who is on the published list."""
    payload = world.serve(devices_fetch(version, OWNER))
    assert payload is not None
    return DeviceList.from_xml(payload).devices


def ids(world: World, version: Version = Version.TWO) -> list[int]:
    return [device.id for device in the_list(world, version)]


def the_bundle(world: World, party: Party, version: Version = Version.TWO) -> Bundle:
    payload = world.serve(bundle_fetch(version, party.device))
    assert payload is not None
    return Bundle.from_xml(payload)


async def listen(party: Party, *versions: Version) -> None:
    """Hear the account's lists as they are now, as notifications bring them."""
    await party.feed(*(devices_fetch(version, party.jid) for version in versions or BOTH[:1]))


class TestRegister:
    @pytest.mark.parametrize("versions", [BOTH[:1], BOTH])
    async def test_it_publishes_a_bundle_and_then_its_id(
        self, world: World, versions: tuple[Version, ...]
    ) -> None:
        juliet = await world.device(JULIET, versions=versions)
        published = [effect for effect in world.done if isinstance(effect, Publish)]
        assert [effect.address for effect in published] == [
            fetch.address
            for version in versions
            for fetch in (bundle_fetch(version, juliet.device), devices_fetch(version, OWNER))
        ]
        for version in versions:
            bundle = the_bundle(world, juliet, version)
            juliet.sessions.engines[version].check_bundle(bundle)
            assert [number for number, _ in bundle.pre_keys] == list(range(1, 101))
            assert ids(world, version) == [juliet.device.id]

    async def test_nodes_are_open_and_that_of_bundles_holds_many(self, world: World) -> None:
        await world.device(JULIET, versions=BOTH)
        options = [dict(effect.options) for effect in world.done if isinstance(effect, Publish)]
        opened = {"pubsub#access_model": "open", "pubsub#persist_items": "true"}
        assert options == [{**opened, "pubsub#max_items": "max"}, opened, opened, opened]

    async def test_a_service_that_knows_no_max_items_is_configured_first(
        self, world: World
    ) -> None:
        await world.device(JULIET)
        bundle = world.done[0]
        cures = remedy(bundle, "resource-constraint")
        assert [type(cure) for cure in cures] == [Create, Configure, Publish]
        assert fulfilled(cures[0], "conflict")

    async def test_no_id_is_announced_before_its_bundle_is_there(self, world: World) -> None:
        juliet = world.party(JULIET, versions=BOTH)
        await juliet.looked(lambda: register(juliet.sessions))
        bundle, listed, other_bundle, other_list = await juliet.outbox.pending()
        await juliet.outbox.failed(bundle.id, "forbidden")
        assert await juliet.outbox.pending() == (other_bundle, other_list)
        assert {each.effect for each in await juliet.outbox.refused()} == {
            bundle.effect,
            listed.effect,
        }

    async def test_the_lists_are_looked_at_first(self, world: World) -> None:
        juliet = world.party(JULIET, versions=BOTH)
        async with refused(ErrorCode.DATA_MISSING, juliet):
            await register(juliet.sessions)
        with pytest.raises(DataMissing) as missing:
            await register(juliet.sessions)
        assert missing.value.fetches == tuple(devices_fetch(each, OWNER) for each in BOTH)

    async def test_whoever_is_listed_stays_listed(self, world: World) -> None:
        world.announce(JULIET, 7, 31415)
        juliet = await world.device(JULIET)
        assert ids(world) == [7, 31415, juliet.device.id]

    @pytest.mark.parametrize("versions", [BOTH, BOTH[::-1], BOTH[:1]])
    async def test_there_is_one_device(self, world: World, versions: tuple[Version, ...]) -> None:
        juliet = await world.device(JULIET, versions=BOTH)
        again = world.party(JULIET, versions=versions, store=juliet.store)
        async with refused(ErrorCode.API_MISUSE, juliet):
            await register(again.sessions)

    async def test_a_version_that_joins_later_gets_the_same_device(self, world: World) -> None:
        before = await world.device(JULIET, label="Balcony")
        own = await own_device(before.sessions)
        after = world.party(JULIET, versions=BOTH, store=before.store)
        after.device = await after.looked(lambda: register(after.sessions))
        assert after.device == before.device
        await after.flush()
        assert await own_device(after.sessions) == replace(own, versions=BOTH)
        assert ids(world) == ids(world, Version.LEGACY) == [before.device.id]
        assert the_list(world)[0].label == "Balcony"

    async def test_o_14_a_list_without_room_is_refused(self, world: World) -> None:
        world.announce(JULIET, *range(1, MAX_DEVICES + 1))
        juliet = world.party(JULIET)
        await listen(juliet)
        async with refused(ErrorCode.LIMIT_EXCEEDED, juliet):
            await register(juliet.sessions)


class _Drawn(NativePrimitives):
    """Randomness of which the first draws are given."""

    def __init__(self, *draws: bytes) -> None:
        self.draws = list(draws)

    def random(self, count: int) -> bytes:
        return self.draws.pop(0) if self.draws else super().random(count)


class _Broken(NativePrimitives):
    """Randomness that gives out after a while."""

    def __init__(self, draws: int) -> None:
        self.left = draws

    def random(self, count: int) -> bytes:
        if not self.left:
            raise OSError("no entropy")
        self.left -= 1
        return super().random(count)


def drawing(party: Party, primitives: Primitives) -> OmemoSessions:
    """Return the sessions of a party with another source of randomness."""
    ports = replace(party.ports, primitives=primitives)
    return OmemoSessions(party.jid, ports, list(party.sessions.engines.values()))


class TestZ04:
    async def test_z_04_an_id_is_drawn_until_it_is_free(self, world: World) -> None:
        world.announce(JULIET, 7, 8)
        juliet = world.party(JULIET)
        await listen(juliet)
        draws = [number.to_bytes(4) for number in (0, 7, 8, 1 << 31, (1 << 31) + 7, 0xFFFFFFFF)]
        device = await register(drawing(juliet, _Drawn(*draws)))
        assert device == Device(OWNER, DeviceId(MAX_OWN_DEVICE_ID))

    async def test_z_04_no_other_randomness_is_used(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: object) -> None:
            raise AssertionError("guessable")

        for name in ("random", "getrandbits", "randbytes", "randint", "choice"):
            monkeypatch.setattr(f"random.{name}", never)
        await world.device(JULIET, versions=BOTH)

    @pytest.mark.parametrize("draws", [0, 1, 2, 50, 150])
    async def test_z_04_without_randomness_nothing_is_made(self, world: World, draws: int) -> None:
        juliet = world.party(JULIET, versions=BOTH)
        await listen(juliet, *BOTH)
        before = await dump(juliet.store)
        with pytest.raises(OSError, match="no entropy"):
            await register(drawing(juliet, _Broken(draws)))
        assert await dump(juliet.store) == before


async def test_o_22_a_registration_that_is_cut_short_is_whole_or_never_was(world: World) -> None:
    outcomes = set()
    for step in range(50):
        world.nodes.clear()
        juliet = world.party(JULIET, store=waiting(MemoryStore()))
        await listen(juliet)
        before = await dump(juliet.store)
        with suppress(asyncio.CancelledError):
            await cancel_at(register(juliet.sessions), step)
        never = await dump(juliet.store) == before
        outcomes.add(never)
        if never:
            await register(juliet.sessions)
        juliet.device = (await own_device(juliet.sessions)).device
        await juliet.flush()
        assert ids(world) == [juliet.device.id]
        assert len(the_bundle(world, juliet).pre_keys) == 100
    assert outcomes == {True, False}


async def test_o_22_a_registration_that_cannot_be_kept_leaves_nothing(world: World) -> None:
    async def full(moment: Moment) -> None:
        if moment is Moment.BEFORE_COMMIT:
            raise StoreFailed(ErrorCode.STORE_FULL, "full")

    juliet = world.party(JULIET)
    await listen(juliet)
    unlucky = world.party(JULIET, store=HookedStore(juliet.store, full))
    async with refused(ErrorCode.STORE_FULL, juliet):
        await register(unlucky.sessions)
    await register(juliet.sessions)


class TestO14:
    async def test_o_14_a_device_that_was_struck_comes_back(self, world: World) -> None:
        juliet = await world.device(JULIET, versions=BOTH)
        for version in BOTH:
            world.announce(JULIET, 7, version=version)
            world.nodes.pop(bundle_fetch(version, juliet.device).address)
            await listen(juliet, version)
            await juliet.flush()
            assert ids(world, version) == [7, juliet.device.id]
            assert len(the_bundle(world, juliet, version).pre_keys) == 100

    async def test_o_14_it_does_so_three_times_a_day(self, world: World) -> None:
        juliet = await world.device(JULIET)
        published = []
        for _ in range(10):
            world.announce(JULIET, 7)
            await listen(juliet)
            published.append(len(await juliet.flush()))
        assert published == [2, 2, 2, 0, 0, 0, 0, 0, 0, 0]

    async def test_o_14_without_room_it_does_not(self, world: World) -> None:
        juliet = await world.device(JULIET)
        world.announce(JULIET, *range(1, MAX_DEVICES + 1))
        await listen(juliet)
        assert await juliet.flush() == []

    async def test_o_14_whoever_is_listed_or_has_left_is_not_announced(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await listen(juliet)
        assert await juliet.flush() == []
        await leave(juliet.sessions)
        await juliet.flush()
        await listen(juliet)
        assert await juliet.flush() == []

    async def test_o_14_a_version_it_has_no_keys_in_is_left_alone(self, world: World) -> None:
        juliet = await world.device(JULIET)
        both = world.party(JULIET, versions=BOTH, store=juliet.store)
        await listen(both, *BOTH)
        assert await both.flush() == []


class TestO33:
    async def test_o_33_our_label_is_signed_by_us(self, world: World) -> None:
        juliet = await world.device(JULIET, label="Böser Bube 🗡")
        (listed,) = the_list(world)
        assert listed.label == "Böser Bube 🗡"
        assert listed.label_signature is not None
        engine = juliet.sessions.engines[Version.TWO]
        fingerprint = await juliet.fingerprint()
        assert engine.is_label_of(listed.label, listed.label_signature, fingerprint)
        assert not engine.is_label_of("Another", listed.label_signature, fingerprint)

    async def test_o_33_the_labels_of_others_stay_what_they_are(self, world: World) -> None:
        others = (ListedDevice(DeviceId(7), "Phone", bytes(64)), ListedDevice(DeviceId(8)))
        world.publish(devices_fetch(Version.TWO, OWNER), DeviceList(Version.TWO, others).to_xml())
        juliet = await world.device(JULIET, label="Balcony")
        assert the_list(world)[:2] == others
        await listen(juliet)
        await relabel(juliet.sessions, None)
        await juliet.flush()
        assert the_list(world) == (*others, ListedDevice(juliet.device.id))

    async def test_o_33_the_legacy_version_has_no_labels(self, world: World) -> None:
        juliet = await world.device(JULIET, versions=BOTH, label="Balcony")
        assert the_list(world, Version.LEGACY) == (ListedDevice(juliet.device.id),)
        before = len(world.done)
        await relabel(juliet.sessions, "Orchard")
        await juliet.flush()
        (effect,) = world.done[before:]
        assert isinstance(effect, Publish)
        assert effect.address == devices_fetch(Version.TWO, OWNER).address

    @pytest.mark.parametrize(
        "label", ["", "x" * (MAX_LABEL_CHARS + 1), "a\nb", "a\u202eb", "\ud800"]
    )
    async def test_o_33_a_label_that_nobody_would_read_is_refused(
        self, world: World, label: str
    ) -> None:
        juliet = await world.device(JULIET)
        async with refused(ErrorCode.API_MISUSE, juliet):
            await relabel(juliet.sessions, label)
        romeo = world.party("romeo@montague.lit")
        async with refused(ErrorCode.API_MISUSE, romeo):
            await register(romeo.sessions, label)

    async def test_o_33_a_list_that_was_not_fetched_is_not_overwritten(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await juliet.write(Remove((JULIET, "omemo", "ring", JULIET)))
        acts = (partial(relabel, juliet.sessions, "x"), partial(leave, juliet.sessions))
        for act in acts:
            async with refused(ErrorCode.DATA_MISSING, juliet):
                await act()


class TestLeave:
    async def test_the_id_is_struck_and_then_the_bundle_withdrawn(self, world: World) -> None:
        world.announce(JULIET, 7)
        juliet = await world.device(JULIET, versions=BOTH)
        before = len(world.done)
        await leave(juliet.sessions)
        await juliet.flush()
        assert [type(effect) for effect in world.done[before:]] == [
            *(Publish, Retract),
            *(Publish, Delete),
        ]
        assert (ids(world), ids(world, Version.LEGACY)) == ([7], [])
        for version in BOTH:
            assert world.serve(bundle_fetch(version, juliet.device)) is None

    async def test_who_has_left_is_gone_but_reads(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await leave(juliet.sessions)
        assert (await own_device(juliet.sessions)).left
        async with refused(ErrorCode.API_MISUSE, juliet):
            await relabel(juliet.sessions, "x")

    async def test_o_34_leaving_that_was_refused_can_be_tried_again(self, world: World) -> None:
        juliet = await world.device(JULIET, versions=BOTH)
        await leave(juliet.sessions)
        for job in await juliet.outbox.pending():
            await juliet.outbox.failed(job.id, "internal-server-error")
        assert ids(world) == ids(world, Version.LEGACY) == [juliet.device.id]
        await leave(juliet.sessions)
        await juliet.flush()
        assert ids(world) == ids(world, Version.LEGACY) == []
        assert world.serve(bundle_fetch(Version.TWO, juliet.device)) is None

    async def test_o_14_a_list_that_names_who_has_left_is_corrected(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await leave(juliet.sessions)
        await juliet.flush()
        for _ in range(5):
            world.announce(JULIET, 7, juliet.device.id)
            await juliet.hear_of(juliet)
            await juliet.flush()
        assert ids(world) == [7, juliet.device.id]  # three times a day, and no war
        world.wait(timedelta(days=1))
        await juliet.hear_of(juliet)
        await juliet.flush()
        assert ids(world) == [7]

    @pytest.mark.parametrize("act", [relabel, leave, register])
    async def test_o_14_an_old_list_strikes_nobody(
        self, world: World, act: Callable[..., Awaitable[object]]
    ) -> None:
        """Another device was added while we were away."""
        juliet, tablet = await world.device(JULIET), await world.device(JULIET)
        if act is register:
            await leave(juliet.sessions)
            await juliet.flush()
            world.announce(JULIET, tablet.device.id)
        arguments = ("Balcony",) if act is relabel else ()
        world.wait(timedelta(days=300))
        async with refused(ErrorCode.DATA_MISSING, juliet):
            await act(juliet.sessions, *arguments)
        await juliet.looked(partial(act, juliet.sessions, *arguments))
        await juliet.flush()
        assert tablet.device.id in ids(world)

    async def test_who_returns_is_the_same(self, world: World) -> None:
        juliet = await world.device(JULIET, versions=BOTH, label="Balcony")
        before = await own_device(juliet.sessions)
        await leave(juliet.sessions)
        assert await register(juliet.sessions) == juliet.device
        await juliet.flush()
        assert await own_device(juliet.sessions) == before
        assert ids(world) == ids(world, Version.LEGACY) == [juliet.device.id]
        assert len(the_bundle(world, juliet).pre_keys) == 100

    async def test_what_a_program_dropped_is_withdrawn_no_more(self, world: World) -> None:
        """Whoever speaks the legacy version no more cannot read its list either."""
        both = await world.device(JULIET, versions=BOTH)
        juliet = world.party(JULIET, store=both.store)
        juliet.device = both.device
        await leave(juliet.sessions)
        effects: list[Effect] = await juliet.flush()
        assert [type(effect) for effect in effects] == [Publish, Retract]


def _rows_of(rows: dict[Key, bytes], name: str) -> list[Key]:
    return [key for key in rows if key[1:3] == ("omemo", name)]


class TestO35:
    async def test_o_35_nobody_is_no_device(self, world: World) -> None:
        juliet = world.party(JULIET)
        await listen(juliet)
        async with refused(ErrorCode.API_MISUSE, juliet):
            await own_device(juliet.sessions)

    @pytest.mark.parametrize("name", ["own", "own-keys", "prekey"])
    async def test_o_35_a_row_that_is_lost_is_damage(self, world: World, name: str) -> None:
        juliet = await world.device(JULIET, versions=BOTH)
        rows = await dump(juliet.store)
        for key in _rows_of(rows, name)[::50]:
            await juliet.write(Remove(key))
            await self._is_damaged(juliet, name)
            await juliet.write(Put(key, rows[key]))
        await own_device(juliet.sessions)

    async def _is_damaged(self, juliet: Party, name: str) -> None:
        acts: list[Callable[[], Awaitable[object]]] = [lambda: own_device(juliet.sessions)]
        if name == "own":
            acts.append(lambda: register(juliet.sessions))
            acts.append(lambda: leave(juliet.sessions))
        for act in acts:
            async with refused(ErrorCode.STORE_CORRUPT, juliet):
                await act()

    async def test_o_35_all_that_is_left_of_a_device_is_its_sessions(self, world: World) -> None:
        juliet = await world.device(JULIET)
        rows = await dump(juliet.store)
        lost = [Remove(key) for key in rows if key[2] in ("own", "own-keys", "prekey")]
        session = Put((JULIET, "omemo", "session", "TWO", "romeo@montague.lit", "1"), b"{}")
        await juliet.write(*lost, session)
        async with refused(ErrorCode.STORE_CORRUPT, juliet):
            await register(juliet.sessions)

    @pytest.mark.parametrize("name", ["own", "own-keys", "prekey"])
    async def test_o_35_a_row_with_anything_changed_is_damage(
        self, world: World, name: str
    ) -> None:
        juliet = await world.device(JULIET, label="x")
        rows = await dump(juliet.store)
        key = _rows_of(rows, name)[0]
        for spoiled in _spoiled(rows[key]):
            await juliet.write(Put(key, spoiled))
            with pytest.raises(E2eeError) as failure:
                await own_device(juliet.sessions)
            assert failure.value.code in (ErrorCode.STORE_CORRUPT, ErrorCode.STORE_TOO_NEW), spoiled
            assert failure.value.__cause__ is None

    @pytest.mark.parametrize("name", ["own-keys", "prekey"])
    async def test_o_35_rows_that_changed_places_are_damage(self, world: World, name: str) -> None:
        juliet = await world.device(JULIET, versions=BOTH)
        rows = await dump(juliet.store)
        first, *_, last = _rows_of(rows, name)
        await juliet.write(Put(first, rows[last]), Put(last, rows[first]))
        async with refused(ErrorCode.STORE_CORRUPT, juliet):
            await own_device(juliet.sessions)

    async def test_o_35_the_device_of_another_account_is_not_ours(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device("romeo@montague.lit")
        rows = await dump(romeo.store)
        stolen = rows["romeo@montague.lit", "omemo", "own"]
        await juliet.write(Put((JULIET, "omemo", "own"), stolen))
        async with refused(ErrorCode.STORE_CORRUPT, juliet):
            await own_device(juliet.sessions)


def _spoiled(raw: bytes) -> list[bytes]:
    """Return a record with each value in turn left out, or of another type or size."""
    fields = json.loads(raw)
    spoiled = [{each: fields[each] for each in fields if each != name} for name in fields]
    for name, value in fields.items():
        spoiled += [{**fields, name: wrong} for wrong in _wrong(name, value)]
    return [json.dumps(each, separators=(",", ":"), sort_keys=True).encode() for each in spoiled]


def _wrong(name: str, value: object) -> list[object]:
    match value:
        case bool():
            return [int(value), None, "x"]
        case int():
            return [float(value), str(value), -1, None]
        case str() if name != "label":  # any text is one
            return [value + "=", "", 7, [value]]
        case list():
            return [[7], ["x"], "x", {}, None]
        case dict():
            return [{}, [], None, {**value, "id": "1"}, {**value, "public": "AA=="}]
    return [7, True, ["x"]]


async def test_z_01_a_device_prints_no_key(world: World) -> None:
    juliet = await world.device(JULIET)
    own = await own_device(juliet.sessions)
    assert own.identity.reveal().hex() not in repr(own)
    assert repr(own.identity.reveal()) not in repr(own)


async def test_no_device_is_a_misuse(world: World) -> None:
    juliet = world.party(JULIET)
    for act in (own_device, leave, partial(relabel, label=None)):
        with pytest.raises(ApiMisuse):
            await act(juliet.sessions)
