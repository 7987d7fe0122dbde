"""Keys that a server adds, keeps back or swaps: nobody's until the user says whose.

Rule: first sight is one moment; no key that was not seen in it is ever trusted by itself.
"""

from __future__ import annotations

import pytest

from e2ee.errors import ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.limits import MAX_PUBLIC_KEYS
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress
from e2ee.trust import ManualTrust, Trust
from ox.elements import data_node, metadata_address, write_pubkey
from ox.uri import KeyUri
from tests.support.forge import forged
from tests.support.ox_keys import JULIET, ROMEO, encrypted_to, friends, key_id, without_data
from tests.support.ox_world import World, meet, refused


@pytest.fixture
def world() -> World:
    return World()


class TestGhosts:
    async def test_g_11_a_key_added_for_a_contact_gets_nothing(self, world: World) -> None:
        real, ghost = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, real)
        world.announce(ROMEO, real.public, ghost.public)
        await juliet.hear_of(romeo)
        assert (await juliet.ox.keys(romeo.jid)).undecided == (ghost.name,)
        assert await encrypted_to(juliet, romeo) == {key_id(real)}

    async def test_g_11_nor_does_one_that_takes_the_place_of_the_real_one(
        self, world: World
    ) -> None:
        real, ghost = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, real)
        for between in ((), (forged(f"xmpp:{ROMEO}").public,)):
            world.announce(ROMEO, *between)
            await juliet.hear_of(romeo)
            world.announce(ROMEO, ghost.public)
            await juliet.hear_of(romeo)
            async with refused(ErrorCode.UNDECIDED, juliet):
                await juliet.seal(romeo)
        world.announce(ROMEO, real.public)
        await juliet.hear_of(romeo)
        assert await encrypted_to(juliet, romeo) == {key_id(real)}

    async def test_g_11_what_it_signs_is_undecided(self, world: World) -> None:
        real, ghost = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, real)
        impostor = await world.person(ROMEO, key=ghost.secret)
        await impostor.gather(juliet)
        letter = await impostor.seal(juliet)
        async with refused(ErrorCode.BAD_SIGNATURE, juliet):
            await juliet.open(letter, romeo)
        world.announce(ROMEO, real.public, ghost.public)
        await juliet.hear_of(romeo)
        async with refused(ErrorCode.UNDECIDED, juliet):
            await juliet.open(letter, romeo)
        await juliet.ox.decide(romeo.jid, Fingerprint(ghost.name), Trust.DISTRUSTED)
        async with refused(ErrorCode.BAD_SIGNATURE, juliet):
            await juliet.open(letter, romeo)
        assert await juliet.open(await romeo.seal(juliet), romeo)

    async def test_g_11_the_user_may_accept_it(self, world: World) -> None:
        first, second = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, first)
        world.announce(ROMEO, first.public, second.public)
        await juliet.hear_of(romeo)
        await juliet.ox.decide(romeo.jid, Fingerprint(second.name), Trust.AUTHENTICATED)
        assert await encrypted_to(juliet, romeo) == {key_id(second)}  # the only one vouched for
        await juliet.ox.decide(romeo.jid, Fingerprint(first.name), Trust.AUTHENTICATED)
        assert await encrypted_to(juliet, romeo) == {key_id(first), key_id(second)}

    async def test_g_11_a_policy_may_trust_nothing_at_first_sight(self, world: World) -> None:
        key = forged(f"xmpp:{ROMEO}")
        romeo = await world.person(ROMEO, key=key.secret)
        juliet = await world.person(JULIET, trust=ManualTrust())
        await meet(juliet, romeo)
        with pytest.raises(TrustUndecided) as caught:
            await juliet.seal(romeo)
        assert caught.value.subjects == (key.name,)


class TestSleepers:
    """A key listed at first sight and kept back: its day must not come."""

    @pytest.mark.parametrize("withheld", [True, False])
    async def test_g_11_a_key_that_was_never_seen_is_not_trusted_when_it_is(
        self, world: World, withheld: bool
    ) -> None:
        real, sleeper = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        world.announce(ROMEO, real.public, sleeper.public)
        without_data(world, sleeper)
        if withheld:
            await juliet.gather(romeo)
            assert await encrypted_to(juliet, romeo) == {key_id(real)}
        else:  # and struck before anybody asked for it
            await juliet.ox.feed(
                Fetch(metadata_address(romeo.jid)), world.nodes[metadata_address(romeo.jid)]
            )
            world.announce(ROMEO, real.public)
            await juliet.hear_of(romeo)
        for keys in ((sleeper.public,), (real.public, sleeper.public)):
            world.announce(ROMEO, *keys)
            await juliet.hear_of(romeo)
            assert (await juliet.ox.keys(romeo.jid)).undecided == (sleeper.name,)
        assert await encrypted_to(juliet, romeo) == {key_id(real)}

    async def test_g_11_what_first_sight_brought_does_not_replace_what_was_vouched_for(
        self, world: World
    ) -> None:
        real, ghost = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        world.announce(ROMEO, real.public, ghost.public)
        await juliet.gather(romeo)
        assert await encrypted_to(juliet, romeo) == {key_id(real), key_id(ghost)}
        await juliet.ox.decide(romeo.jid, Fingerprint(real.name), Trust.AUTHENTICATED)
        assert await encrypted_to(juliet, romeo) == {key_id(real)}
        world.announce(ROMEO, ghost.public)
        await juliet.hear_of(romeo)
        with pytest.raises(TrustUndecided) as caught:
            await juliet.seal(romeo)
        assert caught.value.subjects == (ghost.name,)
        await juliet.ox.decide(romeo.jid, Fingerprint(ghost.name), Trust.AUTHENTICATED)
        assert await encrypted_to(juliet, romeo) == {key_id(ghost)}

    async def test_g_11_what_it_signed_is_believed_no_more_once_another_is_vouched_for(
        self, world: World
    ) -> None:
        real, ghost = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await world.person(JULIET), await world.person(ROMEO, key=real.secret)
        impostor = await world.person(ROMEO, key=ghost.secret)
        world.announce(ROMEO, real.public, ghost.public)
        for somebody in (romeo, impostor):
            await somebody.gather(juliet)
        await juliet.gather(romeo)
        letter, stamp = await impostor.seal(juliet), world.clock()
        opened = await juliet.open(letter, romeo)  # as first sight has it
        await juliet.ox.decide(romeo.jid, Fingerprint(real.name), Trust.AUTHENTICATED)
        async with refused(ErrorCode.UNDECIDED, juliet):
            await juliet.ox.mark_handled(opened)
        for when in (None, stamp):
            with pytest.raises(TrustUndecided) as caught:
                await juliet.open(letter, romeo, stamp=when)
            assert caught.value.subjects == (ghost.name,)
        assert await juliet.open(await romeo.seal(juliet), romeo)
        await juliet.ox.decide(romeo.jid, Fingerprint(ghost.name), Trust.AUTHENTICATED)
        await juliet.ox.mark_handled(opened)

    async def test_g_11_vouching_for_one_key_ends_first_sight(self, world: World) -> None:
        real, late = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        world.announce(ROMEO, real.public, late.public)
        address = metadata_address(romeo.jid)
        await juliet.ox.feed(Fetch(address), world.nodes[address])
        await juliet.ox.decide(romeo.jid, Fingerprint(real.name), Trust.AUTHENTICATED)
        await juliet.gather(romeo)
        assert (await juliet.ox.keys(romeo.jid)).undecided == (late.name,)
        assert await encrypted_to(juliet, romeo) == {key_id(real)}

    async def test_g_10_a_key_that_is_none_stops_nothing(self, world: World) -> None:
        """Fed nothing in its place, its owner is written to without it."""
        real, broken = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        world.announce(ROMEO, real.public, broken.public)
        address = NodeAddress(romeo.jid, data_node(Fingerprint(broken.name)))
        world.nodes[address] = write_pubkey(b"no key")
        with pytest.raises(PeerMisbehaved):
            await juliet.gather(romeo)
        async with refused(ErrorCode.DATA_MISSING, juliet):
            await juliet.seal(romeo)
        await juliet.ox.feed(Fetch(address), None)
        assert await juliet.ox.missing({romeo.jid}) == ()
        assert await encrypted_to(juliet, romeo) == {key_id(real)}


class TestDistrustedBefore:
    """A URI may say of a key that nobody met yet that it is theirs no more."""

    async def test_g_11_it_is_not_trusted_when_it_comes(self, world: World) -> None:
        bad, good = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        await juliet.ox.verify(romeo.jid, _distrusting(bad.name))
        world.announce(ROMEO)
        await juliet.gather(romeo)
        assert await juliet.ox.missing({romeo.jid}) == (Fetch(metadata_address(romeo.jid)),)
        world.announce(ROMEO, bad.public, good.public)
        await juliet.gather(romeo)
        assert await encrypted_to(juliet, romeo) == {key_id(good)}

    async def test_it_makes_no_later_key_the_first(self, world: World) -> None:
        juliet, romeo = await friends(world, forged(f"xmpp:{ROMEO}"))
        (known,) = (await juliet.ox.keys(romeo.jid)).keys
        await juliet.ox.decide(romeo.jid, known.fingerprint, Trust.UNDECIDED)
        await juliet.ox.verify(romeo.jid, _distrusting("A" * 40))
        for keys in ((), (forged(f"xmpp:{ROMEO}").public,)):
            world.announce(ROMEO, *keys)
            await juliet.hear_of(romeo)
        assert (await juliet.ox.keys(romeo.jid)).accepted == ()

    async def test_r_03_they_fill_no_ring(self, world: World) -> None:
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        for number in range(MAX_PUBLIC_KEYS):
            await juliet.ox.verify(romeo.jid, _distrusting(f"{number:040X}"))
        async with refused(ErrorCode.LIMIT_EXCEEDED, juliet):
            await juliet.ox.verify(romeo.jid, _distrusting("A" * 40))


def _distrusting(fingerprint: str) -> str:
    return str(KeyUri(BareJid.parse(ROMEO), (), (Fingerprint(fingerprint),)))
