"""Our keys as the store holds them: whatever time does to what they say, they stay ours and open.

Rule: nobody is hostile here; certifications end, clocks are put right, and keys add up.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from e2ee.errors import ErrorCode
from e2ee.limits import MAX_BACKUP_KEYS
from e2ee.names import Fingerprint
from e2ee.primitives import NativePrimitives
from e2ee.storage import Put
from ox.backup import open_backup, restore, seal_backup
from ox.backup_code import BackupCode
from ox.engine import KeyHandle, Revocation
from ox.engine_sequoia import SequoiaEngine
from ox.own_key import keep
from ox.ring_rows import put_ring
from tests.support.forge import Forged, certify, forged, new_ed25519
from tests.support.ox_keys import JULIET, ROMEO
from tests.support.ox_world import Person, World, dump, meet, refused

NAME = f"xmpp:{JULIET}".encode()
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)

engine = SequoiaEngine(NativePrimitives())


@pytest.fixture
def world() -> World:
    return World()


def certification_ended() -> Forged:
    primary = new_ed25519()
    return forged(primary=primary, certified=certify(primary, NAME, lasts=DAY))


def from_the_future() -> Forged:
    primary = new_ed25519()
    return forged(primary=primary, certified=certify(primary, NAME, created=NOW + DAY))


def unborn() -> Forged:
    return forged(NAME, created=NOW + DAY)


def with_broken_hash() -> Forged:
    primary = new_ed25519()
    return forged(primary=primary, certified=certify(primary, NAME, hash_name="sha1"))


PAST = [certification_ended, from_the_future, unborn, with_broken_hash]


async def aged(world: World, key: Forged) -> Person:
    """Return Juliet, whose key was sound when she took it over, and now says only this."""
    juliet = await world.person(JULIET)
    own = (await juliet.ox.own_key()).certificate.fingerprint
    ring = await juliet.ox.keys(juliet.jid)
    handle = await engine.held(key.secret)
    ring = ring.own(handle.certificate, world.clock())
    rows = await dump(juliet.store)
    (row,) = (row for row, value in rows.items() if row[1:] == ("ox", "own") and value)
    await juliet.write(Put(row, key.secret.reveal()), put_ring(juliet.jid, ring))
    assert own != key.name
    return juliet


class TestTime:
    @pytest.mark.parametrize("make", PAST)
    async def test_a_key_of_which_nothing_holds_today_is_still_ours(
        self, world: World, make: Callable[[], Forged]
    ) -> None:
        key = make()
        juliet, romeo = await aged(world, key), await world.person(ROMEO)
        own = await juliet.ox.own_key()
        assert own.certificate.fingerprint == key.name
        await juliet.gather(romeo)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.seal(romeo)
        assert await seal_backup(juliet.ox, BackupCode.generate(juliet.ports.primitives))

    @pytest.mark.parametrize("make", [certification_ended, with_broken_hash])
    async def test_it_is_prolonged(self, world: World, make: Callable[[], Forged]) -> None:
        juliet, romeo = await aged(world, make()), await world.person(ROMEO)
        await juliet.ox.extend(NOW + 99 * DAY)
        await juliet.flush()
        await meet(juliet, romeo)
        assert await juliet.open(await romeo.seal(juliet), romeo)
        assert await romeo.open(await juliet.seal(romeo), juliet)

    @pytest.mark.parametrize("make", PAST)
    async def test_it_is_succeeded(self, world: World, make: Callable[[], Forged]) -> None:
        key, other = make(), forged(NAME)
        juliet = await aged(world, key)
        await juliet.adopt(other.secret, replacing=Fingerprint(key.name))
        assert (await juliet.ox.own_key()).certificate.fingerprint == other.name

    @pytest.mark.parametrize("make", PAST)
    async def test_it_is_revoked_and_succeeded(
        self, world: World, make: Callable[[], Forged]
    ) -> None:
        juliet = await aged(world, make())
        await juliet.revoke(Revocation.SUPERSEDED)
        assert (await juliet.restarted().ox.own_key()).certificate.revoked
        assert await juliet.ox.generate()

    @pytest.mark.parametrize("make", PAST)
    async def test_one_that_was_succeeded_keeps_nothing_from_being_read(
        self, world: World, make: Callable[[], Forged]
    ) -> None:
        juliet, romeo = await world.person(JULIET), await world.person(ROMEO)
        await keep(juliet.ox, [await engine.held(make().secret)])
        await meet(juliet, romeo)
        assert await juliet.open(await romeo.seal(juliet), romeo)
        assert await seal_backup(juliet.ox, BackupCode.generate(juliet.ports.primitives))


class TestMany:
    """As many are kept as a backup holds."""

    async def test_g_22_a_backup_never_holds_too_many(self, world: World) -> None:
        keys = [forged(NAME, created=NOW - n * DAY) for n in range(1, MAX_BACKUP_KEYS + 3)]
        juliet = await world.person(JULIET, key=keys[0].secret)
        for before, key in pairwise(keys):  # each is older than the one before
            await juliet.adopt(key.secret, replacing=Fingerprint(before.name))
        code = BackupCode.generate(juliet.ports.primitives)
        held = await open_backup(juliet.ox, await seal_backup(juliet.ox, code), code)
        *former, succeeded, own = (key.name for key in keys)
        assert len(held.keys) == MAX_BACKUP_KEYS
        assert set(held.fingerprints) == {own, succeeded, *former[: MAX_BACKUP_KEYS - 2]}
        ring = await juliet.ox.keys(juliet.jid)
        assert {key.fingerprint for key in ring.keys if key.succeeded} == {*former, succeeded}

    async def test_g_22_what_a_backup_brings_takes_no_place(self, world: World) -> None:
        juliet = await world.person(JULIET)
        ours = await _handles(MAX_BACKUP_KEYS - 2, newest=NOW - 99 * DAY)
        await keep(juliet.ox, ours)
        brought = await _handles(3, newest=NOW - DAY)
        await keep(juliet.ox, brought)
        code = BackupCode.generate(juliet.ports.primitives)
        held = await open_backup(juliet.ox, await seal_backup(juliet.ox, code), code)
        expected = {key.certificate.fingerprint for key in (*ours, brought[0])}
        own = (await juliet.ox.own_key()).certificate.fingerprint
        assert set(held.fingerprints) == {own, *expected}
        assert await restore(juliet.ox, held) == own


async def _handles(count: int, newest: datetime) -> list[KeyHandle]:
    made = [forged(NAME, created=newest - n * DAY) for n in range(count)]
    return [await engine.adopt(each.secret) for each in made]
