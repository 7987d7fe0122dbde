"""Keys that appear, vanish, expire and are revoked: to which of them anything is ever encrypted.

Rule: what a server adds is nobody's key until the user says whose; what it withholds is not
forgotten; what is dead gets nothing, whatever lives beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import limits
from e2ee.effects import Publish
from e2ee.errors import ErrorCode
from e2ee.names import Fetch, Fingerprint
from e2ee.trust import Trust
from ox.elements import PublicKeysList, metadata_address
from tests.support.forge import (
    ENCRYPT,
    Forged,
    KeyPair,
    bind,
    certify,
    forged,
    new_curve25519,
    new_ed25519,
    new_p256,
    revoke,
)
from tests.support.ox_keys import JULIET, ROMEO, encrypted_to, friends, key_id, without_data
from tests.support.ox_world import World, recipients, refused

NAME = f"xmpp:{ROMEO}".encode()
DAY = timedelta(days=1)


@pytest.fixture
def world() -> World:
    return World()


class TestOurOwnList:
    async def test_g_12_a_key_added_to_it_gets_no_copy(self, world: World) -> None:
        juliet, romeo = await friends(world, forged(f"xmpp:{ROMEO}"))
        ghost, own = forged(f"xmpp:{JULIET}"), (await juliet.ox.own_key()).certificate.raw
        world.announce(JULIET, own, ghost.public)
        await juliet.hear_of(juliet)
        assert key_id(ghost) not in recipients(await juliet.seal(romeo))
        assert key_id(ghost) not in recipients(await juliet.seal(romeo, juliet))
        await juliet.ox.decide(juliet.jid, Fingerprint(ghost.name), Trust.AUTHENTICATED)
        assert key_id(ghost) in recipients(await juliet.seal(romeo))

    async def test_g_12_a_key_that_was_there_before_ours_gets_no_copy(self, world: World) -> None:
        romeo, ghost = await world.person(ROMEO), forged(f"xmpp:{JULIET}")
        world.announce(JULIET, ghost.public)
        juliet = world.stranger(JULIET)
        await juliet.gather(juliet)
        await juliet.ox.generate()
        await juliet.flush()
        await juliet.gather(romeo)
        assert key_id(ghost) not in recipients(await juliet.seal(romeo))

    async def test_g_12_what_it_signs_in_our_name_is_undecided(self, world: World) -> None:
        juliet, romeo = await friends(world, forged(f"xmpp:{ROMEO}"))
        own, key = (await juliet.ox.own_key()).certificate, forged(f"xmpp:{JULIET}")
        ghost = await world.person(JULIET, key=key.secret)
        world.announce(JULIET, own.raw, key.public)
        for device in (juliet, ghost):
            await device.hear_of(juliet)
        await ghost.ox.decide(ghost.jid, own.fingerprint, Trust.AUTHENTICATED)
        await ghost.gather(romeo)
        letter = await ghost.seal(romeo)
        async with refused(ErrorCode.UNDECIDED, juliet):
            await juliet.open(letter, juliet, to=romeo)
        assert await juliet.open(await juliet.seal(romeo), juliet, to=romeo)

    async def test_g_12_our_key_struck_from_it_stops_nothing(self, world: World) -> None:
        juliet, romeo = await friends(world, forged(f"xmpp:{ROMEO}"))
        stranger = forged(f"xmpp:{JULIET}")
        for keys in ((), (stranger.public,)):
            world.announce(JULIET, *keys)
            await juliet.hear_of(juliet)
            copy = await juliet.seal(romeo)
            assert await juliet.open(copy, juliet, to=romeo)
            assert await romeo.open(copy, juliet)
            assert await juliet.open(await romeo.seal(juliet), romeo)

    async def test_g_12_our_key_struck_from_it_is_announced_again_once_a_day(
        self, world: World
    ) -> None:
        juliet = await world.person(JULIET)
        ours = (await juliet.ox.own_key()).certificate.fingerprint
        other = forged(f"xmpp:{JULIET}")
        now = datetime.now(UTC)
        noon = now.replace(hour=12) + DAY - now  # of tomorrow, so that no midnight comes between
        for day in range(3):
            world.ahead = noon + day * DAY
            for strike in range(5):
                world.announce(JULIET, other.public)
                await juliet.hear_of(juliet)
                effects = await juliet.flush()
                assert len(effects) == (2 if strike == 0 else 0)
                if effects:
                    _, announced = effects
                    assert isinstance(announced, Publish)
                    keys = PublicKeysList.from_xml(announced.payload).keys
                    assert {key.fingerprint for key in keys} == {ours, other.name}

    async def test_g_12_devices_that_overwrite_each_others_list_end_with_both_keys(
        self, world: World
    ) -> None:
        """The second one did not look before it announced its own key."""
        phone = await world.person(JULIET)
        world.ahead = DAY
        laptop = await world.person(JULIET)
        for device in (phone, laptop):
            await device.hear_of(phone)
            await device.flush()
        listed = PublicKeysList.from_xml(world.nodes[metadata_address(phone.jid)]).keys
        own = [(await device.ox.own_key()).certificate.fingerprint for device in (phone, laptop)]
        assert {key.fingerprint for key in listed} == set(own)

    async def test_g_12_a_distrusted_key_is_not_announced_again(self, world: World) -> None:
        juliet, ghost = await world.person(JULIET), forged(f"xmpp:{JULIET}")
        own = (await juliet.ox.own_key()).certificate
        world.ahead = DAY
        world.announce(JULIET, own.raw, ghost.public)
        await juliet.hear_of(juliet)
        await juliet.ox.decide(juliet.jid, Fingerprint(ghost.name), Trust.DISTRUSTED)
        world.announce(JULIET, ghost.public)
        await juliet.hear_of(juliet)
        _, announced = await juliet.flush()
        assert isinstance(announced, Publish)
        listed = PublicKeysList.from_xml(announced.payload).keys
        assert [key.fingerprint for key in listed] == [own.fingerprint]
        world.ahead = 2 * DAY
        await juliet.ox.decide(juliet.jid, own.fingerprint, Trust.DISTRUSTED)
        world.announce(JULIET)
        await juliet.hear_of(juliet)
        assert await juliet.flush() == []

    async def test_g_12_a_list_that_has_it_is_left_alone(self, world: World) -> None:
        juliet = await world.person(JULIET)
        world.ahead = 9 * DAY
        await juliet.hear_of(juliet)
        assert await juliet.flush() == []

    async def test_g_12_a_revoked_key_is_not_announced_again(self, world: World) -> None:
        key = forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=key.secret)
        await juliet.fetch_key(key.revoked().public)
        world.ahead = 9 * DAY
        world.announce(JULIET, key.revoked().public)
        world.announce(JULIET)
        await juliet.hear_of(juliet)
        assert await juliet.flush() == []


def _dead_keys() -> dict[str, Callable[[], Forged]]:
    def expired() -> Forged:
        key = new_ed25519()
        return forged(primary=key, certified=certify(key, NAME, key_lasts=DAY))

    def with_subkey(after: Callable[[KeyPair, KeyPair], bytes]) -> Callable[[], Forged]:
        def made() -> Forged:
            key, subkey = new_ed25519(), new_curve25519()
            return Forged(key, subkey, (certify(key, NAME), subkey, after(key, subkey)))

        return made

    def sign_only() -> Forged:
        key = new_ed25519()
        return Forged(key, key, (certify(key, NAME),))

    return {
        "expired": expired,
        "revoked": lambda: forged(f"xmpp:{ROMEO}").revoked(),
        "superseded": lambda: forged(f"xmpp:{ROMEO}").revoked(reason=1),
        "without a subkey": sign_only,
        "with an expired subkey": with_subkey(lambda k, s: bind(k, s, ENCRYPT, key_lasts=DAY)),
        "with a revoked subkey": with_subkey(lambda k, s: bind(k, s, ENCRYPT) + revoke(k, s)),
        "with a subkey that nobody bound": with_subkey(lambda k, s: b""),
        "with a subkey that another bound": with_subkey(
            lambda k, s: bind(k, s, ENCRYPT, by=new_ed25519())
        ),
        "with a subkey for something else": with_subkey(lambda k, s: bind(k, s, b"\x20")),
    }


DEAD = _dead_keys()


class TestDeadKeys:
    @pytest.mark.parametrize("name", DEAD)
    async def test_g_13_whoever_has_no_other_is_not_written_to(
        self, world: World, name: str
    ) -> None:
        juliet, nurse = await world.person(JULIET), await world.person("nurse@capulet.lit")
        world.announce(ROMEO, DEAD[name]().public)
        romeo = world.stranger(ROMEO)
        await juliet.gather(romeo, nurse)
        for to in ((romeo,), (nurse, romeo)):
            async with refused(ErrorCode.UNUSABLE_KEY, juliet):
                await juliet.seal(*to)
        assert await juliet.seal(nurse)

    @pytest.mark.parametrize("name", DEAD)
    async def test_g_13_beside_another_it_gets_nothing(self, world: World, name: str) -> None:
        juliet, live = await world.person(JULIET), forged(f"xmpp:{ROMEO}")
        world.announce(ROMEO, DEAD[name]().public, live.public)
        romeo = world.stranger(ROMEO)
        await juliet.gather(romeo)
        assert await encrypted_to(juliet, romeo) == {key_id(live)}

    @pytest.mark.parametrize("new_live", [new_curve25519, new_p256])
    async def test_g_13_only_the_live_ones_of_several_subkeys_get_anything(
        self, world: World, new_live: Callable[[], KeyPair]
    ) -> None:
        key, subkeys = new_ed25519(), [new_curve25519() for _ in range(4)]
        live, also_live = new_live(), new_live()
        expired, revoked, unbound, foreign = subkeys
        certificate = Forged(
            key,
            live,
            (
                certify(key, NAME),
                *(expired, bind(key, expired, ENCRYPT, key_lasts=DAY)),
                *(live, bind(key, live, ENCRYPT)),
                *(revoked, bind(key, revoked, ENCRYPT), revoke(key, revoked)),
                unbound,
                *(also_live, bind(key, also_live, ENCRYPT, key_lasts=36500 * DAY)),
                *(foreign, bind(key, foreign, ENCRYPT, by=new_ed25519())),
            ),
        )
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        world.announce(ROMEO, certificate.public)
        await juliet.gather(romeo)
        taken = await encrypted_to(juliet, romeo)
        assert taken >= {key_id(live), key_id(also_live)}
        assert not taken & {key_id(each) for each in subkeys}

    async def test_g_13_a_crowd_of_subkeys_takes_no_place_from_others(self, world: World) -> None:
        key = new_ed25519()
        subkeys = [new_curve25519() for _ in range(limits.MAX_PKESK + 1)]
        parts = [part for each in subkeys for part in (each, bind(key, each, ENCRYPT))]
        crowded = Forged(key, subkeys[0], (certify(key, NAME), *parts))
        juliet, nurse = await world.person(JULIET), await world.person("nurse@capulet.lit")
        world.announce(ROMEO, crowded.public)
        romeo = world.stranger(ROMEO)
        await juliet.gather(romeo, nurse)
        taken = await encrypted_to(juliet, romeo)
        assert len(taken) == limits.MAX_ENCRYPTION_KEYS
        assert taken < await encrypted_to(juliet, romeo, nurse)

    async def test_g_13_a_subkey_that_dies_later_gets_nothing_from_then_on(
        self, world: World
    ) -> None:
        key = forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, key)
        assert await encrypted_to(juliet, romeo) == {key_id(key)}
        following = new_curve25519()
        await juliet.fetch_key(
            key.plus(
                revoke(key.primary, key.encryption),
                following,
                bind(key.primary, following, ENCRYPT),
            ).public,
            of=romeo,
        )
        assert await encrypted_to(juliet, romeo) == {key_id(following)}


class TestWithheld:
    @pytest.mark.parametrize("reason", [0, 1, 2, 3])
    async def test_g_14_a_revocation_is_not_forgotten(self, world: World, reason: int) -> None:
        key = forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, key)
        letter = await romeo.seal(juliet)
        await juliet.fetch_key(key.revoked(reason).public, of=romeo)
        for _ in range(2):
            async with refused(ErrorCode.UNUSABLE_KEY, juliet):
                await juliet.seal(romeo)
            world.announce(ROMEO, key.public)
            await juliet.hear_of(romeo)
            await juliet.fetch_key(key.public, of=romeo)
            world.announce(ROMEO)
            await juliet.hear_of(romeo)
        if reason in (0, 2):  # as if it had never been a key
            async with refused(ErrorCode.BAD_SIGNATURE, juliet):
                await juliet.open(letter, romeo)

    async def test_g_14_nor_is_that_of_a_subkey(self, world: World) -> None:
        key = forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, key)
        await juliet.fetch_key(key.plus(revoke(key.primary, key.encryption)).public, of=romeo)
        await juliet.fetch_key(key.public, of=romeo)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.seal(romeo)

    async def test_g_14_somebody_elses_revocation_is_none(self, world: World) -> None:
        key = forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, key)
        for by in (new_ed25519(), forged(f"xmpp:{ROMEO}").primary):
            forgery = Forged(key.primary, key.encryption, (revoke(key.primary, by=by), *key.parts))
            await juliet.fetch_key(forgery.public, of=romeo)
            assert await encrypted_to(juliet, romeo) == {key_id(key)}

    async def test_g_14_a_withheld_key_is_asked_for_no_more(self, world: World) -> None:
        juliet, romeo = await friends(world, forged(f"xmpp:{ROMEO}"))
        ghost = forged(f"xmpp:{ROMEO}")
        world.announce(ROMEO, ghost.public)
        without_data(world, ghost)
        await juliet.hear_of(romeo)
        assert await juliet.ox.missing({romeo.jid}) == ()
        await juliet.ox.feed(Fetch(metadata_address(romeo.jid)), None)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.seal(romeo)
