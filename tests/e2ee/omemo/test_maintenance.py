"""What is due with time: it is done once, resumes after any failure, and outlives wrong clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2ee.draft import Draft
from e2ee.effects import Publish
from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.maintenance import catch_up, caught_up, maintain
from e2ee.omemo.own_bundle import publish_changed_bundles
from e2ee.omemo.own_device import own_device
from e2ee.omemo.own_record import OwnKeys
from e2ee.omemo.own_rows import keys_within
from e2ee.omemo.prekeys import pre_key_used, pre_key_within, signed_pre_key_within
from e2ee.omemo.version import Version, bundle_fetch
from e2ee.renewal import renew
from e2ee.storage import Put, Remove
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from tests.support.anchors import memory_with
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import HookedStore, Moment, waiting
from tests.support.omemo_world import Party, World, dump, refused

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
TWO, LEGACY = Version.TWO, Version.LEGACY
BOTH = (TWO, LEGACY)
DAY, WEEK, YEARS = timedelta(days=1), timedelta(days=7), timedelta(days=3650)


@pytest.fixture
def world() -> World:
    return World()


def the_bundle(party: Party, version: Version = TWO) -> Bundle:
    payload = party.world.serve(bundle_fetch(version, party.device))
    assert payload is not None
    return Bundle.from_xml(payload)


async def the_keys(party: Party, version: Version = TWO) -> OwnKeys:
    async with party.store.exclusive(party.sessions.scope) as tx:
        return await keys_within(Draft(tx, party.jid), version)


async def use(party: Party, *ids: int) -> None:
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        for pre_key_id in ids:
            await pre_key_used(party.sessions, draft, TWO, pre_key_id)
        await publish_changed_bundles(party.sessions, draft)
        await draft.commit()
    await party.flush()


async def has(party: Party, pre_key_id: int) -> bool:
    async with party.store.exclusive(party.sessions.scope) as tx:
        return await pre_key_within(Draft(tx, party.jid), TWO, pre_key_id) is not None


async def has_signed(party: Party, *ids: int) -> list[bool]:
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        return [await signed_pre_key_within(draft, TWO, each) is not None for each in ids]


async def maintained(party: Party) -> int:
    """Maintain, and return how many bundles were published."""
    await maintain(party.sessions)
    return len([effect for effect in await party.flush() if isinstance(effect, Publish)])


class TestRotation:
    async def test_the_signed_prekey_lives_for_a_week(self, world: World) -> None:
        juliet = await world.device(JULIET, versions=BOTH)
        published = []
        for _ in range(22):
            published.append(await maintained(juliet))
            world.wait(DAY)
        assert published == [0, *[2] * 21]  # each day, in case that one was refused
        for version in BOTH:
            bundle = the_bundle(juliet, version)
            assert bundle.signed_pre_key_id == 4
            juliet.sessions.engines[version].check_bundle(bundle)
            assert [number for number, _ in bundle.pre_keys] == list(range(1, 101))

    async def test_o_19_the_one_before_is_accepted_for_one_more_period(self, world: World) -> None:
        juliet = await world.device(JULIET)
        sent = []
        for number in range(3):
            romeo = await world.device(f"romeo{number}@montague.lit")
            sent.append((romeo, (await romeo.encrypt(juliet)).elements[0], world.now))
        accepted = ([True, False, False], [True, True, False], [False, True, True])
        for (romeo, encrypted, stamp), known in zip(sent, accepted, strict=True):
            assert await has_signed(juliet, 1, 2, 3) == known
            await juliet.hear_of(romeo)
            if known[0]:
                assert (await juliet.decrypt(encrypted, romeo, stamp=stamp)).content
            else:
                async with refused(ErrorCode.NO_SESSION, juliet):
                    await juliet.decrypt(encrypted, romeo, stamp=stamp)
            world.wait(WEEK)
            await maintained(juliet)

    async def test_whoever_was_away_for_long_loses_nothing(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        encrypted, stamp = (await romeo.encrypt(juliet)).elements[0], world.now
        world.wait(10 * WEEK)
        assert await maintained(juliet) == 1
        assert (await juliet.decrypt(encrypted, romeo, stamp=stamp)).content

    async def test_who_has_left_publishes_nothing(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await juliet.sessions.leave()
        await juliet.flush()
        world.wait(WEEK)
        assert await maintained(juliet) == 0


class TestO34:
    async def test_o_34_a_network_that_fails_delays_only_what_it_carries(
        self, world: World
    ) -> None:
        juliet = await world.device(JULIET)
        for _ in range(30):
            world.wait(DAY)
            await maintain(juliet.sessions)
            assert world.now - (await the_keys(juliet)).made < 2 * WEEK
        assert the_bundle(juliet).signed_pre_key_id == 1
        await juliet.flush()
        assert the_bundle(juliet).signed_pre_key_id == (await the_keys(juliet)).signed.id == 5

    async def test_o_34_a_refusal_is_reported_and_the_next_one_tries_again(
        self, world: World
    ) -> None:
        juliet = await world.device(JULIET)
        world.wait(WEEK)
        await maintain(juliet.sessions)
        (job,) = await juliet.outbox.pending()
        await juliet.outbox.failed(job.id, "internal-server-error")
        world.wait(WEEK)
        assert await maintained(juliet) == 1
        assert the_bundle(juliet).signed_pre_key_id == 3

    async def test_o_34_a_refused_bundle_is_published_again_the_next_day(
        self, world: World
    ) -> None:
        juliet = await world.device(JULIET)
        await use(juliet, 1)
        async with juliet.store.exclusive(juliet.sessions.scope) as tx:
            draft = Draft(tx, juliet.jid)
            await pre_key_used(juliet.sessions, draft, TWO, 2)
            await publish_changed_bundles(juliet.sessions, draft)
            await draft.commit()
        [job] = await juliet.outbox.pending()
        await juliet.outbox.failed(job.id, "internal-server-error")
        await juliet.outbox.forget(job.id)  # whatever the program does with it
        assert the_bundle(juliet).pre_keys[0][0] == 2
        world.wait(DAY)
        assert await maintained(juliet) == 1
        assert the_bundle(juliet).pre_keys[0][0] == 3

    @pytest.mark.parametrize("moment", Moment)
    async def test_o_34_a_store_that_fails_delays_it(self, world: World, moment: Moment) -> None:
        juliet = await world.device(JULIET)

        async def fail(now: Moment) -> None:
            if now is moment:
                raise StoreFailed(ErrorCode.STORE_FULL, "full")

        unlucky = juliet.reopened(HookedStore(juliet.store, fail))
        world.wait(WEEK)
        for _ in range(3):
            with suppress(StoreFailed):
                await maintain(unlucky.sessions)
            world.wait(timedelta(hours=1))
        await maintained(juliet)
        keys = await the_keys(juliet)
        assert (keys.signed.id, keys.changed) == (2, False)
        assert the_bundle(juliet).signed_pre_key_id == 2

    async def test_o_22_cut_short_it_is_whole_or_was_not_begun(self, world: World) -> None:
        outcomes = set()
        for step in range(40):
            world.now = datetime(2026, 7, 1, 12, tzinfo=UTC)
            world.nodes.clear()
            juliet = await world.device(JULIET)
            await use(juliet, 7)
            world.wait(WEEK)
            with suppress(asyncio.CancelledError):
                await cancel_at(maintain(juliet.reopened(waiting(juliet.store)).sessions), step)
            keys = await the_keys(juliet)
            outcomes.add(keys.signed.id)
            assert len(await juliet.outbox.pending()) == keys.signed.id - 1
            await maintained(juliet)
            assert the_bundle(juliet).signed_pre_key_id == 2
        assert outcomes == {1, 2}

    async def test_o_34_two_programs_rotate_once(self, world: World) -> None:
        juliet = await world.device(JULIET)
        world.wait(WEEK)
        others = [juliet.reopened(waiting(juliet.store)) for _ in range(8)]
        await asyncio.gather(*(maintain(each.sessions) for each in others))
        await juliet.flush()
        assert the_bundle(juliet).signed_pre_key_id == 2


class TestClocks:
    @pytest.mark.parametrize("jump", [YEARS, -YEARS, DAY, -DAY, timedelta(hours=1)])
    async def test_r_12_a_jump_expires_no_more_than_one_period(
        self, world: World, jump: timedelta
    ) -> None:
        juliet = await world.device(JULIET)
        await catch_up(juliet.sessions)
        await use(juliet, 7)
        world.wait(jump)
        await maintained(juliet)
        assert (await has_signed(juliet, 1))[0]
        assert len(the_bundle(juliet).pre_keys) == 100
        world.wait(-jump)
        await maintained(juliet)
        assert (await the_keys(juliet)).signed.id <= 2
        assert (await has_signed(juliet, 1))[0]

    @pytest.mark.parametrize("jump", [YEARS, -YEARS])
    async def test_r_12_after_a_jump_the_week_counts_from_there(
        self, world: World, jump: timedelta
    ) -> None:
        juliet = await world.device(JULIET)
        world.wait(jump)
        await maintained(juliet)
        before = (await the_keys(juliet)).signed.id
        world.wait(WEEK - DAY)
        await maintained(juliet)
        assert (await the_keys(juliet)).signed.id == before
        world.wait(DAY)
        assert await maintained(juliet) == 1
        assert (await the_keys(juliet)).signed.id == before + 1

    async def test_r_12_a_clock_that_was_ahead_is_put_right(self, world: World) -> None:
        world.wait(YEARS)
        juliet = await world.device(JULIET)
        await catch_up(juliet.sessions)
        await use(juliet, 7)
        world.wait(-YEARS)
        for _ in range(8):
            assert (await the_keys(juliet)).signed.id == 1
            await maintained(juliet)
            world.wait(DAY)
        assert not await has(juliet, 7)
        assert (await the_keys(juliet)).signed.id == 2

    @pytest.mark.parametrize("year", [1, 1969, 2038, 9999])
    async def test_r_12_no_year_is_special(self, year: int) -> None:
        world = World(datetime(year, 1, 19, 3, 14, 7, 999_999, tzinfo=UTC))
        juliet = await world.device(JULIET)
        world.wait(WEEK)
        assert await maintained(juliet) == 1
        assert await maintained(juliet) == 0


class TestCatchUp:
    async def test_one_that_nobody_ends_ends_after_a_day(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await catch_up(juliet.sessions)
        await use(juliet, 7)
        world.wait(DAY - timedelta(seconds=1))
        await maintained(juliet)
        assert await has(juliet, 7)
        world.wait(timedelta(seconds=1))
        await maintained(juliet)
        assert not await has(juliet, 7)
        assert (await own_device(juliet.sessions)).catching_up_since is None

    @pytest.mark.parametrize("act", [catch_up, caught_up])
    async def test_o_22_cut_short_it_is_whole_or_was_not_begun(
        self, world: World, act: Callable[..., object]
    ) -> None:
        for step in range(12):
            world.nodes.clear()
            juliet = await world.device(JULIET)
            if act is caught_up:
                await catch_up(juliet.sessions)
                await use(juliet, 7)
            other = juliet.reopened(waiting(juliet.store))
            with suppress(asyncio.CancelledError):
                await cancel_at(act(other.sessions), step)  # type: ignore[arg-type]
            await own_device(juliet.sessions)
            assert await has(juliet, 7)


class TestRenewal:
    """The store is put back from an older copy (D-24)."""

    async def stage(self, world: World, folder: Path) -> tuple[Party, MemoryStore, GuardedStore]:
        inner, anchors = MemoryStore(), AnchorFiles(folder / "anchors")
        store = GuardedStore(inner, anchors)
        return await world.device(JULIET, versions=BOTH, store=store), inner, store

    async def put_back(self, juliet: Party, inner: MemoryStore, folder: Path) -> Party:
        """Use prekeys that the copy does not know of; return the device on the renewed copy."""
        copy = await memory_with(await dump(inner))
        await use(juliet, 1, 2, 3)
        juliet.world.wait(WEEK)
        await maintained(juliet)
        store = GuardedStore(copy, AnchorFiles(folder / "anchors"))
        await renew(store, juliet.jid, juliet.world.clock)
        restored = juliet.reopened(store)
        await restored.hear_of(restored)
        return restored

    @pytest.mark.parametrize("act", [maintain, catch_up])
    async def test_all_that_was_offered_is_replaced(
        self, world: World, tmp_path: Path, act: Callable[..., object]
    ) -> None:
        juliet, inner, _ = await self.stage(world, tmp_path)
        restored = await self.put_back(juliet, inner, tmp_path)
        lost = {version: the_bundle(juliet, version) for version in BOTH}
        await act(restored.sessions)  # type: ignore[misc]
        await restored.flush()
        for version in BOTH:
            bundle = the_bundle(restored, version)
            restored.sessions.engines[version].check_bundle(bundle)
            assert len(bundle.pre_keys) == 100
            assert bundle.identity == lost[version].identity
            assert bundle.pre_keys[0][0] > lost[version].pre_keys[-1][0] + 60_000
            assert bundle.signed_pre_key_id > lost[version].signed_pre_key_id + 60_000
            assert not set(dict(bundle.pre_keys).values()) & {
                *dict(lost[version].pre_keys).values()
            }
        assert await maintained(restored) == 0

    async def test_two_copies_come_to_other_ids(self, world: World, tmp_path: Path) -> None:
        juliet, inner, _ = await self.stage(world, tmp_path)
        copy = await dump(inner)
        ids = set()
        for number in range(3):
            anchors = AnchorFiles(tmp_path / f"anchors-{number}")
            store = GuardedStore(await memory_with(copy), anchors)
            await renew(store, juliet.jid, world.clock)
            restored = juliet.reopened(store)
            await maintained(restored)
            ids.add(the_bundle(restored).pre_keys[0][0])
        assert len(ids) == 3

    async def test_what_was_sent_in_the_lost_time_is_read_until_the_catch_up_ends(
        self, world: World, tmp_path: Path
    ) -> None:
        juliet, inner, _ = await self.stage(world, tmp_path)
        romeo = await world.device(ROMEO)
        encrypted, stamp = (await romeo.encrypt(juliet)).elements[0], world.now
        restored = await self.put_back(juliet, inner, tmp_path)
        await maintained(restored)
        assert await has(restored, 1)
        assert await has_signed(restored, 1) == [True]
        assert (await restored.decrypt(encrypted, romeo, stamp=stamp)).content
        await caught_up(restored.sessions)
        world.wait(DAY)
        await maintained(restored)
        assert not await has(restored, 1)
        assert (await own_device(restored.sessions)).catching_up_since is None

    async def test_a_device_that_is_struck_first_is_announced_with_new_prekeys(
        self, world: World, tmp_path: Path
    ) -> None:
        juliet, inner, _ = await self.stage(world, tmp_path)
        restored = await self.put_back(juliet, inner, tmp_path)
        world.announce(JULIET, 7)
        await restored.hear_of(restored)
        await restored.flush()
        assert the_bundle(restored).pre_keys[0][0] > 60_000

    async def test_r_05_a_renewal_that_is_lost_is_noticed(
        self, world: World, tmp_path: Path
    ) -> None:
        juliet, inner, _ = await self.stage(world, tmp_path)
        restored = await self.put_back(juliet, inner, tmp_path)
        await maintained(restored)
        await restored.write(Remove((JULIET, "renewal")))
        async with refused(ErrorCode.STORE_CORRUPT, restored):
            await maintain(restored.sessions)


class TestLoss:
    @pytest.mark.parametrize("name", ["own", "own-keys"])
    async def test_o_35_a_lost_row_stops_it(self, world: World, name: str) -> None:
        juliet = await world.device(JULIET)
        world.wait(WEEK)
        for key in await dump(juliet.store):
            if key[1:3] == ("omemo", name):
                await juliet.write(Remove(key))
        for act in (maintain, catch_up, *([caught_up] if name == "own" else [])):
            async with refused(ErrorCode.STORE_CORRUPT, juliet):
                await act(juliet.sessions)

    async def test_o_35_a_lost_prekey_stops_what_would_publish_without_it(
        self, world: World
    ) -> None:
        juliet = await world.device(JULIET)
        rows = await dump(juliet.store)
        key = (JULIET, "omemo", "prekey", "TWO", "0000000050")
        await juliet.write(Remove(key))
        world.wait(WEEK)
        async with refused(ErrorCode.STORE_CORRUPT, juliet):
            await maintain(juliet.sessions)
        await juliet.write(Put(key, rows[key]))
        assert await maintained(juliet) == 1

    async def test_without_a_device_there_is_nothing_to_do(self, world: World) -> None:
        juliet = world.party(JULIET)
        for act in (maintain, catch_up, caught_up):
            with pytest.raises(E2eeError) as misuse:
                await act(juliet.sessions)
            assert misuse.value.code is ErrorCode.API_MISUSE
