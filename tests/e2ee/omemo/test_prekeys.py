"""Our prekeys: each is offered until it is used, found until it is deleted, and never is again."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from e2ee.draft import Draft
from e2ee.effects import Publish
from e2ee.errors import ErrorCode
from e2ee.omemo import prekeys
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.maintenance import catch_up, caught_up, maintain
from e2ee.omemo.own_bundle import publish_changed_bundles
from e2ee.omemo.own_rows import keys_within, pre_keys_within
from e2ee.omemo.prekeys import pre_key_used, pre_key_within, signed_pre_key_within
from e2ee.omemo.version import Version, bundle_fetch
from e2ee.storage import Remove
from e2ee.stores.sqlite import SqliteStore
from tests.support.omemo_world import Party, World, dump, refused

JULIET, ROMEO, TYBALT = "juliet@capulet.lit", "romeo@montague.lit", "tybalt@capulet.lit"
TWO, LEGACY = Version.TWO, Version.LEGACY
BOTH = (TWO, LEGACY)
WINDOW = timedelta(minutes=10)


@pytest.fixture
def world() -> World:
    return World()


@asynccontextmanager
async def drafted(party: Party) -> AsyncIterator[Draft]:
    """Open a draft; whether it is committed is for the test to say."""
    async with party.store.exclusive(party.sessions.scope) as tx:
        yield Draft(tx, party.jid)


async def use(party: Party, *ids: int, version: Version = TWO) -> int:
    """Use prekeys up, as one page of messages does; return how many bundles were published."""
    async with drafted(party) as draft:
        for pre_key_id in ids:
            await pre_key_used(party.sessions, draft, version, pre_key_id)
        await publish_changed_bundles(party.sessions, draft)
        await draft.commit()
    return len([effect for effect in await party.flush() if isinstance(effect, Publish)])


async def has(party: Party, pre_key_id: int, version: Version = TWO) -> bool:
    async with drafted(party) as draft:
        return await pre_key_within(draft, version, pre_key_id) is not None


async def stored(party: Party, version: Version = TWO) -> list[int]:
    """Return the ids of all prekeys that are stored, spent ones included."""
    async with drafted(party) as draft:
        keys = await keys_within(draft, version)
        return [each.key.id for each in await pre_keys_within(draft, keys)]


def the_bundle(party: Party, version: Version = TWO) -> Bundle:
    payload = party.world.serve(bundle_fetch(version, party.device))
    assert payload is not None
    return Bundle.from_xml(payload)


def offered(party: Party, version: Version = TWO) -> list[int]:
    """Return the ids of the prekeys in the published bundle."""
    return [pre_key_id for pre_key_id, _ in the_bundle(party, version).pre_keys]


async def later(party: Party) -> None:
    """Wait until what is spent may be deleted, and do what is due."""
    party.world.wait(timedelta(days=1))
    await maintain(party.sessions)
    await party.flush()


class TestUsed:
    async def test_what_is_used_is_gone_and_another_takes_its_place(self, world: World) -> None:
        juliet = await world.device(JULIET, versions=BOTH)
        assert await use(juliet, 7) == 1
        assert offered(juliet) == [*range(1, 7), *range(8, 102)]
        assert offered(juliet, LEGACY) == list(range(1, 101))
        await later(juliet)
        assert await stored(juliet) == offered(juliet)

    async def test_o_17_until_it_is_surely_published_what_is_used_is_read_again(
        self, world: World
    ) -> None:
        """A service may refuse the bundle, and then others take keys from the one before."""
        juliet = await world.device(JULIET)
        async with drafted(juliet) as draft:
            for pre_key_id in range(1, 101):
                await pre_key_used(juliet.sessions, draft, TWO, pre_key_id)
            await publish_changed_bundles(juliet.sessions, draft)
            await draft.commit()
        [job] = await juliet.outbox.pending()
        await juliet.outbox.failed(job.id, "policy-violation")
        romeo = await world.device(ROMEO)
        await romeo.say("Good pilgrim", juliet)
        assert [message.content[0].text for message in await juliet.read()] == ["Good pilgrim"]
        await later(juliet)
        assert offered(juliet) == list(range(101, 201))

    async def test_r_13_of_those_that_are_used_a_thousand_are_kept(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prekeys, "_MAX_SPENT", 3)
        juliet = await world.device(JULIET)
        await use(juliet, *range(1, 6))
        assert (await stored(juliet))[0] == 3

    async def test_a_page_that_uses_many_publishes_once(self, world: World) -> None:
        juliet = await world.device(JULIET)
        assert await use(juliet, *range(1, 51)) == 1
        assert offered(juliet) == list(range(51, 151))

    async def test_what_is_offered_is_what_is_stored(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await use(juliet, 3)
        bundle = the_bundle(juliet)
        juliet.sessions.engines[TWO].check_bundle(bundle)
        for pre_key_id, public in bundle.pre_keys:
            async with drafted(juliet) as draft:
                found = await pre_key_within(draft, TWO, pre_key_id)
            assert found is not None
            assert found.public == public

    async def test_a_draft_that_is_given_up_uses_nothing(self, world: World) -> None:
        juliet = await world.device(JULIET)
        before = await dump(juliet.store)
        async with drafted(juliet) as draft:
            await pre_key_used(juliet.sessions, Draft(draft, juliet.jid), TWO, 7)
            await publish_changed_bundles(juliet.sessions, draft)
            await draft.commit()
        assert await dump(juliet.store) == before
        assert await has(juliet, 7)

    @pytest.mark.parametrize("unknown", [0, 101, 2**32 - 1, 2**64])
    async def test_o_19_an_unknown_prekey_is_none(self, world: World, unknown: int) -> None:
        juliet = await world.device(JULIET)
        async with drafted(juliet) as draft:
            assert await pre_key_within(draft, TWO, unknown) is None
            assert await signed_pre_key_within(draft, TWO, unknown) is None
        assert await use(juliet, unknown) == 0

    async def test_a_version_without_keys_has_none(self, world: World) -> None:
        juliet = await world.device(JULIET)
        async with drafted(juliet) as draft:
            assert await pre_key_within(draft, LEGACY, 1) is None
            assert await signed_pre_key_within(draft, LEGACY, 1) is None

    async def test_who_has_left_publishes_nothing(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await juliet.sessions.leave()
        await juliet.flush()
        assert await use(juliet, 7) == 0
        await later(juliet)
        assert not await has(juliet, 7)
        await juliet.hear_of(juliet)
        await juliet.sessions.register()
        await juliet.flush()
        assert offered(juliet) == [*range(1, 7), *range(8, 102)]


class TestO17:
    async def test_o_17_whoever_uses_all_finds_as_many_again(self, world: World) -> None:
        juliet = await world.device(JULIET)
        for first in range(1, 1001, 100):
            assert await use(juliet, *range(first, first + 100)) == 1
            assert offered(juliet) == list(range(first + 100, first + 200))

    async def test_o_17_a_flood_is_published_so_often_and_nothing_lost(self, world: World) -> None:
        juliet = await world.device(JULIET)
        published = [await use(juliet, pre_key_id) for pre_key_id in range(1, 41)]
        assert published == [1] * 19 + [0] * 21  # and once when it was registered
        assert offered(juliet) == list(range(20, 120))
        assert await stored(juliet) == list(range(1, 141))  # what is still offered still works
        world.wait(WINDOW)
        assert await use(juliet, 41) == 1
        assert offered(juliet) == list(range(42, 142))

    async def test_o_17_after_a_flood_maintenance_makes_good(self, world: World) -> None:
        juliet = await world.device(JULIET)
        for pre_key_id in range(1, 41):
            await use(juliet, pre_key_id)
        world.wait(WINDOW)
        await maintain(juliet.sessions)
        await juliet.flush()
        assert offered(juliet) == list(range(41, 141))

    async def test_o_17_offline_the_outbox_stays_small(self, world: World) -> None:
        juliet = await world.device(JULIET)
        for pre_key_id in range(1, 101):
            async with drafted(juliet) as draft:
                await pre_key_used(juliet.sessions, draft, TWO, pre_key_id)
                await publish_changed_bundles(juliet.sessions, draft)
                await draft.commit()
        assert len(await juliet.outbox.pending()) == 19
        world.wait(WINDOW)
        await maintain(juliet.sessions)
        await juliet.flush()
        assert offered(juliet) == list(range(101, 201))

    async def test_r_12_a_clock_that_was_ahead_holds_nothing_up(self, world: World) -> None:
        juliet = await world.device(JULIET)
        world.wait(timedelta(days=3650))
        for pre_key_id in range(1, 21):
            await use(juliet, pre_key_id)
        world.wait(timedelta(days=-3650))
        assert await use(juliet, 21) == 1


class TestO18:
    async def test_o_18_in_a_catch_up_what_is_used_stays_until_its_end(self, world: World) -> None:
        juliet = await world.device(JULIET, versions=BOTH)
        await catch_up(juliet.sessions)
        for version in BOTH:
            assert await use(juliet, 7, version=version) == 1
            assert 7 not in offered(juliet, version)
            assert await has(juliet, 7, version)
            assert await use(juliet, 7, version=version) == 0  # by a second sender
            assert len(offered(juliet, version)) == 100
        world.wait(timedelta(days=1) - timedelta(seconds=1))
        await maintain(juliet.sessions)
        assert await has(juliet, 7)
        await caught_up(juliet.sessions)
        await later(juliet)
        for version in BOTH:
            assert not await has(juliet, 7, version)
            assert await stored(juliet, version) == [*range(1, 7), *range(8, 102)]

    async def test_o_18_two_senders_with_one_prekey_are_both_read(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        tybalt = await world.device(TYBALT)
        bundle = the_bundle(juliet)
        alone = replace(bundle, pre_keys=bundle.pre_keys[:1])
        world.publish(bundle_fetch(TWO, juliet.device), alone.to_xml())
        await romeo.say("Two households", juliet)
        await tybalt.say("both alike in dignity", juliet)
        await catch_up(juliet.sessions)
        said = [message.content[0].text for message in await juliet.read()]
        assert said == ["Two households", "both alike in dignity"]
        assert await has(juliet, 1)
        await caught_up(juliet.sessions)
        await later(juliet)
        assert not await has(juliet, 1)

    async def test_a_catch_up_that_begins_again_goes_on(self, world: World) -> None:
        juliet = await world.device(JULIET)
        await catch_up(juliet.sessions)
        await use(juliet, 7)
        await catch_up(juliet.sessions)
        assert await has(juliet, 7)

    async def test_without_a_catch_up_to_end_one_changes_nothing(self, world: World) -> None:
        juliet = await world.device(JULIET)
        before = await dump(juliet.store)
        await caught_up(juliet.sessions)
        assert await dump(juliet.store) == before


async def test_o_20_a_key_exchange_does_not_find_its_prekey_again(world: World) -> None:
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    encrypted = (await romeo.encrypt(juliet)).elements[0]
    opened = await juliet.decrypt(encrypted, romeo)
    await juliet.sessions.delivered([opened])
    async with refused(ErrorCode.REPLAY, juliet):
        await juliet.decrypt(encrypted, romeo)
    kept = ("own", "own-keys", "prekey", "ring", "identity")
    rows = [key for key in await dump(juliet.store) if key[1] == "omemo" and key[2] not in kept]
    await juliet.write(*map(Remove, rows))  # as if it had been forgotten that it was ever read
    await later(juliet)
    assert await stored(juliet) == offered(juliet)
    async with refused(ErrorCode.NO_SESSION, juliet):
        await juliet.decrypt(encrypted, romeo)


async def test_r_08_what_was_used_is_in_no_file(world: World, tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store.db")
    juliet = await world.device(JULIET, versions=BOTH, store=store)
    secrets: list[bytes] = []
    for version in BOTH:
        for pre_key_id in (1, 50, 100):
            async with drafted(juliet) as draft:
                found = await pre_key_within(draft, version, pre_key_id)
            assert found is not None
            secrets += [found.private.reveal(), b64encode(found.private.reveal())]
    await asyncio.sleep(0)  # the log is emptied when the event loop comes round
    assert sum(secret in _files(tmp_path) for secret in secrets) == len(secrets) // 2
    await use(juliet, 1)
    await use(juliet, 1, version=LEGACY)
    await catch_up(juliet.sessions)
    for version in BOTH:
        await use(juliet, 50, 100, version=version)
    await caught_up(juliet.sessions)
    await later(juliet)
    await asyncio.sleep(0)
    assert not [secret for secret in secrets if secret in _files(tmp_path)]
    assert len(await stored(juliet)) == 100
    await store.close()


def _files(folder: Path) -> bytes:
    return b"".join(found.read_bytes() for found in folder.iterdir())
