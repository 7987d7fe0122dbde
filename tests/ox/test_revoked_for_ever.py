"""A key that revoked itself, for a harmless reason too: nothing that it says afterwards undoes it.

Rule: who revives a key here holds its secret part: another device, or whoever found an old one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from e2ee import ns
from e2ee.errors import ErrorCode
from e2ee.names import BareJid, Fingerprint, NodeAddress
from e2ee.primitives import NativePrimitives
from e2ee.trust import Trust
from e2ee.xmltree import element
from ox.engine import Revocation
from ox.engine_sequoia import SequoiaEngine
from ox.key_life import revoked_since
from ox.keys import KeyRing
from ox.known_key import KnownKey
from ox.sequoia_keys import sound_parts
from ox.soundness import compromised_keys, refused_keys, sound_keys
from pubsub_encryption import NodeEncryption, receive
from tests.support.engines import refused as refused_by
from tests.support.forge import (
    Forged,
    SignatureKind,
    certify,
    forged,
    new_ed25519,
    sign,
    subpacket,
)
from tests.support.ox_keys import JULIET, ROMEO, encrypted_to, friends, key_id
from tests.support.ox_world import World, meet, recipients, refused

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NOW = datetime.now(UTC).replace(microsecond=0)
HARMLESS = [Revocation.SUPERSEDED, Revocation.RETIRED]

engine = SequoiaEngine(NativePrimitives())


@pytest.fixture
def world() -> World:
    return World()


def revoked_at(key: Forged, when: datetime, reason: Revocation = Revocation.RETIRED) -> Forged:
    """Return the key with its revocation of another time than now."""
    said = subpacket(29, bytes((reason,)))
    kind = SignatureKind.KEY_REVOCATION
    revocation = sign(key.primary, key.primary.hashed, kind, created=when, hashed=said)
    return Forged(key.primary, key.encryption, (revocation, *key.parts))


def revived(key: Forged, name: str, when: datetime = NOW) -> Forged:
    """Return the key with a self-signature that is newer than what is known of it."""
    return key.plus(certify(key.primary, name.encode(), created=when))


class TestRevived:
    @pytest.mark.parametrize("reason", HARMLESS)
    async def test_g_14_no_newer_self_signature_revives_it(self, reason: Revocation) -> None:
        key = forged(f"xmpp:{ROMEO}")
        gone = revoked_at(key, NOW - 9 * DAY, reason)
        again = revived(key, f"xmpp:{ROMEO}", NOW - DAY)
        both = Forged(key.primary, key.encryption, (gone.parts[0], *again.parts))
        for found in (
            await engine.inspect(both.public),
            await engine.merge(gone.public, again.public),
            await engine.merge(again.public, gone.public),
        ):
            assert found.revoked
            assert not found.compromised
            assert not found.encrypts
        before = sign(key.primary, b"x", created=NOW - 10 * DAY)
        assert await engine.verify(b"x", before, [both.public])
        for when in (NOW - 9 * DAY, NOW - DAY, NOW):
            after = sign(key.primary, b"x", created=when)
            work = engine.verify(b"x", after, [both.public])
            await refused_by(work, ErrorCode.BAD_SIGNATURE)

    @pytest.mark.parametrize("reason", HARMLESS)
    async def test_g_14_our_own_stays_revoked_when_another_device_prolongs_it(
        self, world: World, reason: Revocation
    ) -> None:
        key = forged(f"xmpp:{JULIET}")
        romeo = await world.person(ROMEO)
        phone = await world.person(JULIET, key=revived(key, f"xmpp:{JULIET}").secret)
        laptop = await world.person(JULIET, key=key.secret)
        await laptop.fetch_key(revoked_at(key, NOW - DAY, reason).public)
        await phone.ox.extend(NOW + 365 * DAY)
        await phone.flush()
        world.ahead = MINUTE
        await laptop.hear_of(phone)
        assert (await laptop.ox.own_key()).certificate.revoked
        await laptop.flush()  # which publishes the revocation anew
        await romeo.gather(laptop)
        async with refused(ErrorCode.UNUSABLE_KEY, romeo):
            await romeo.seal(laptop)

    async def test_g_14_whoever_finds_a_retired_key_is_not_its_owner(self, world: World) -> None:
        old, new = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, old)
        await juliet.ox.decide(romeo.jid, Fingerprint(old.name), Trust.AUTHENTICATED)
        await juliet.fetch_key(revoked_at(old, NOW - DAY).public, of=romeo)
        world.ahead += MINUTE
        world.announce(ROMEO, new.public, revived(old, f"xmpp:{ROMEO}").public)
        await juliet.hear_of(romeo)
        await juliet.ox.decide(romeo.jid, Fingerprint(new.name), Trust.AUTHENTICATED)
        assert await encrypted_to(juliet, romeo) == {key_id(new)}
        thief = world.stranger(ROMEO)
        await thief.gather(thief)
        await thief.adopt(revived(old, f"xmpp:{ROMEO}").secret)
        await thief.gather(juliet)
        letter = await thief.seal(juliet)
        async with refused(ErrorCode.BAD_SIGNATURE, juliet):
            await juliet.open(letter, romeo)

    async def test_g_12_nor_does_our_former_key_get_our_copies(self, world: World) -> None:
        old = forged(f"xmpp:{JULIET}")
        juliet, romeo = await world.person(JULIET, key=old.secret), await world.person(ROMEO)
        await juliet.revoke(Revocation.RETIRED)
        await juliet.ox.generate()
        await juliet.flush()
        await meet(juliet, romeo)
        own = (await juliet.ox.own_key()).certificate.raw
        world.ahead = MINUTE
        world.announce(JULIET, own, revived(old, f"xmpp:{JULIET}", NOW + MINUTE).public)
        await juliet.hear_of(juliet)
        assert key_id(old) not in recipients(await juliet.seal(romeo))

    async def test_g_14_nor_does_time_revive_it(self) -> None:
        """A clock that was ahead dated a self-signature so; others hear of the end twice."""
        key, later = forged(f"xmpp:{JULIET}"), NOW + DAY
        own = await engine.adopt(revived(key, f"xmpp:{JULIET}", later).secret)
        gone = await engine.revoke(own, Revocation.SUPERSEDED)
        assert gone.certificate.revoked
        parts = sound_parts(gone.certificate.raw)
        assert sorted(each.created for each in parts[0].revocations)[-1] == later
        since = revoked_since(parts)
        assert since is not None
        assert since < later


class TestRefused:
    """A revoked key is refused, whatever became of the user ids by which it was its owner's."""

    @pytest.mark.parametrize("also_nameless", [False, True])
    async def test_n_02_what_it_vouched_for_encrypts_nothing(
        self, world: World, also_nameless: bool
    ) -> None:
        key = forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, key)
        address = NodeAddress(romeo.jid, "urn:xmpp:microblog:0")
        node = NodeEncryption(address, romeo.ox)
        await node.create()
        await node.grant(juliet.jid)
        (letter,) = juliet.letters(await romeo.flush())
        await receive(juliet.ox, await juliet.open(letter, romeo))
        mine = NodeEncryption(address, juliet.ox)
        assert await mine.encrypt(element(ns.ATOM, "entry"))
        last = key.without_name(f"xmpp:{ROMEO}") if also_nameless else key
        await juliet.fetch_key(last.revoked().public, of=romeo)
        async with refused(ErrorCode.NO_ACTIVE_SECRET, juliet):
            await mine.encrypt(element(ns.ATOM, "entry"))

    async def test_g_14_it_stays_refused_when_nothing_of_it_holds_any_more(self) -> None:
        jid, primary = BareJid.parse(ROMEO), new_ed25519()
        over = certify(primary, f"xmpp:{ROMEO}".encode(), lasts=DAY)
        key = forged(primary=primary, certified=over)
        for raw, revoked, compromised in (
            (key.public, False, False),
            (revoked_at(key, NOW - DAY).public, True, False),
            (key.revoked().public, True, True),
            (b"what nobody can read", True, True),
        ):
            known = KnownKey(Fingerprint(key.name), Trust.AUTHENTICATED, announced=True, raw=raw)
            for each in (known, known.to_be_fetched()):
                ring = KeyRing(jid, (each,), listed=True)
                assert bool(await refused_keys(engine, ring)) is revoked
                assert bool(await compromised_keys(engine, ring)) is compromised
                assert await sound_keys(engine, ring, ring.keys) == []
