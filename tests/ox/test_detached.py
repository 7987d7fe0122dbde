"""Detached signatures: by whom they prove the octets to be signed, and what they do not prove.

Rule: whatever is wrong with a signature or a key is forged; what is sound is made by an account.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from e2ee.errors import ApiMisuse, DataMissing, ErrorCode
from e2ee.limits import MAX_SIGNATURE_PACKETS
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress
from e2ee.renewal import renew
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.trust import ManualTrust, Trust
from ox.detached import Judged, KeyState, judge_within, sign_within
from ox.elements import data_node, metadata_address
from ox.engine import Revocation, Signed
from tests.support.anchors import HookedAnchor
from tests.support.forge import (
    ENCRYPT,
    LONG_AGO,
    SIGN,
    Forged,
    SignatureKind,
    bind,
    certify,
    forged,
    new_ed25519,
    new_rsa,
    sign,
    subpacket,
)
from tests.support.ox_keys import JULIET, ROMEO, friends
from tests.support.ox_world import Person, World, meet, refused

DATA = b"<sign-data><to jid='juliet@capulet.lit'/></sign-data>"
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def key() -> Forged:
    return forged(f"xmpp:{ROMEO}")


async def signed(signer: Person) -> bytes:
    """Sign in a transaction of its own."""
    async with signer.store.exclusive(signer.ox.scope) as tx:
        return await sign_within(signer.ox, tx, DATA)


async def judge(
    reader: Person, signer: Person | str, *packets: bytes, data: bytes = DATA
) -> Judged:
    """Judge in a transaction of its own."""
    jid = BareJid.parse(signer) if isinstance(signer, str) else signer.jid
    async with reader.store.exclusive(reader.ox.scope) as tx:
        return await judge_within(reader.ox, tx, jid, data, packets)


async def bad(reader: Person, signer: Person | str, *packets: bytes, data: bytes = DATA) -> None:
    """Expect that this proves nothing."""
    async with refused(ErrorCode.BAD_SIGNATURE, reader):
        await judge(reader, signer, *packets, data=data)


def guarded() -> GuardedStore:
    """Return a store whose accounts can be renewed."""
    return GuardedStore(MemoryStore(), HookedAnchor())


async def renewed(person: Person) -> None:
    """Renew an account, as after its store was put back from an older copy."""
    assert isinstance(person.store, GuardedStore)
    await renew(person.store, person.jid, person.world.clock)


def retired_at(key: Forged, when: datetime, reason: Revocation = Revocation.RETIRED) -> Forged:
    """Return the key with its revocation of that time."""
    kind, said = SignatureKind.KEY_REVOCATION, subpacket(29, bytes((reason,)))
    revocation = sign(key.primary, key.primary.hashed, kind, created=when, hashed=said)
    return Forged(key.primary, key.encryption, (revocation, *key.parts))


class TestOurs:
    async def test_what_we_sign_others_believe(self, world: World) -> None:
        juliet, romeo = await world.person(JULIET), await world.person(ROMEO)
        await meet(juliet, romeo)
        signature = await signed(juliet)
        own = (await juliet.ox.own_key()).certificate.fingerprint
        for reader, trust in ((romeo, Trust.AUTOMATIC), (juliet, Trust.AUTHENTICATED)):
            judged = await judge(reader, juliet, signature)
            assert abs(judged.made - world.clock()) < MINUTE
            assert judged == Judged(
                own, judged.made, trust, KeyState.VALID, KeyState.VALID, announced=True
            )
            await bad(reader, juliet, signature, data=DATA + b" ")
            await bad(reader, romeo, signature)

    async def test_without_a_key_nothing_is_signed(self, world: World) -> None:
        with pytest.raises(ApiMisuse):
            await signed(world.stranger(JULIET))

    async def test_nor_with_one_that_is_over(self, world: World) -> None:
        juliet = await world.person(JULIET)
        await juliet.revoke(Revocation.RETIRED)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await signed(juliet)

    async def test_nor_before_we_know_whether_it_is(self, world: World) -> None:
        juliet = await world.person(JULIET, store=guarded())
        await renewed(juliet)
        with pytest.raises(DataMissing) as caught:
            await signed(juliet)
        assert caught.value.fetches == (Fetch(metadata_address(juliet.jid)),)
        await juliet.gather(juliet)
        assert await judge(juliet, juliet, await signed(juliet))

    async def test_our_former_key_still_proves_what_it_signed(self, world: World) -> None:
        former = forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=former.secret)
        signature = sign(former.primary, DATA, created=NOW - DAY)
        await juliet.revoke(Revocation.SUPERSEDED)
        await juliet.ox.generate()
        await juliet.flush()
        judged = await judge(juliet, juliet, signature)
        assert (judged.key, judged.now) == (former.name, KeyState.RETIRED)
        assert judged.trust is Trust.AUTHENTICATED
        assert not judged.announced


class TestTrust:
    """Q-15: every level that a key has, and how its owner's others change it."""

    async def test_q_15_undecided_is_said_and_not_refused(self, world: World, key: Forged) -> None:
        juliet = await world.person(JULIET, trust=ManualTrust())
        romeo = await world.person(ROMEO, key=key.secret)
        await juliet.gather(romeo)
        signature = await signed(romeo)
        assert (await judge(juliet, romeo, signature)).trust is Trust.UNDECIDED
        await juliet.ox.decide(romeo.jid, Fingerprint(key.name), Trust.AUTHENTICATED)
        assert (await judge(juliet, romeo, signature)).trust is Trust.AUTHENTICATED

    @pytest.mark.parametrize("since_renewed", [False, True])
    async def test_q_15_a_distrusted_key_proves_nothing(
        self, world: World, key: Forged, since_renewed: bool
    ) -> None:
        juliet = await world.person(JULIET, store=guarded())
        romeo = await world.person(ROMEO, key=key.secret)
        await juliet.gather(romeo)
        other = forged(f"xmpp:{ROMEO}")
        world.announce(ROMEO, key.public, other.public)
        await juliet.hear_of(romeo)
        await juliet.ox.decide(romeo.jid, Fingerprint(key.name), Trust.DISTRUSTED)
        if since_renewed:
            await renewed(juliet)
            await juliet.gather(romeo)
        theirs, others = sign(key.primary, DATA), sign(other.primary, DATA)
        for packets in ((theirs,), (others, theirs), (theirs, others)):
            async with refused(ErrorCode.UNTRUSTED, juliet):
                await judge(juliet, romeo, *packets)
        assert (await judge(juliet, romeo, others)).trust is Trust.UNDECIDED

    async def test_q_15_first_sight_ends_with_the_first_key_that_is_verified(
        self, world: World, key: Forged
    ) -> None:
        beside = forged(f"xmpp:{ROMEO}")
        juliet = await world.person(JULIET)
        world.announce(ROMEO, key.public, beside.public)
        await juliet.learn(BareJid.parse(ROMEO))
        signature = sign(beside.primary, DATA)
        assert (await judge(juliet, ROMEO, signature)).trust is Trust.AUTOMATIC
        jid, name = BareJid.parse(ROMEO), Fingerprint(key.name)
        await juliet.ox.decide(jid, name, Trust.AUTHENTICATED)
        assert (await judge(juliet, ROMEO, signature)).trust is Trust.UNDECIDED

    async def test_a_ghost_beside_a_key_neither_helps_nor_harms(
        self, world: World, key: Forged
    ) -> None:
        juliet, romeo = await friends(world, key)
        ghost = forged(f"xmpp:{ROMEO}")
        world.announce(ROMEO, ghost.public, key.public)
        await juliet.hear_of(romeo)
        later = sign(ghost.primary, DATA, created=NOW)
        real = sign(key.primary, DATA, created=NOW - DAY)
        for packets in ((real,), (real, later), (later, real)):
            judged = await judge(juliet, romeo, *packets)
            assert (judged.key, judged.trust) == (key.name, Trust.AUTOMATIC)
            assert judged.made == NOW - DAY
        judged = await judge(juliet, romeo, later)
        assert (judged.key, judged.trust) == (ghost.name, Trust.UNDECIDED)

    async def test_a_key_that_was_struck_still_proves_what_is_from_before(
        self, world: World, key: Forged
    ) -> None:
        juliet, romeo = await friends(world, key)
        world.announce(ROMEO, forged(f"xmpp:{ROMEO}").public)
        await juliet.hear_of(romeo)
        judged = await judge(juliet, romeo, sign(key.primary, DATA))
        assert judged.trust is Trust.AUTOMATIC
        assert not judged.announced


class TestKeys:
    """Q-15: what a key was when it signed, and what became of it since."""

    async def test_q_15_expired_since(self, world: World) -> None:
        primary = new_ed25519()
        certified = certify(primary, f"xmpp:{ROMEO}".encode(), key_lasts=NOW - DAY - LONG_AGO)
        key = forged(primary=primary, certified=certified)
        juliet = await world.person(JULIET)
        world.announce(ROMEO, key.public)
        await juliet.learn(BareJid.parse(ROMEO))
        judged = await judge(juliet, ROMEO, sign(primary, DATA, created=NOW - 2 * DAY))
        assert (judged.then, judged.now) == (KeyState.VALID, KeyState.EXPIRED)
        await bad(juliet, ROMEO, sign(primary, DATA))  # made after its end

    @pytest.mark.parametrize("reason", [Revocation.SUPERSEDED, Revocation.RETIRED])
    async def test_q_15_retired_since(self, world: World, key: Forged, reason: Revocation) -> None:
        juliet, romeo = await friends(world, key)
        await juliet.fetch_key(retired_at(key, NOW - DAY, reason).public, of=romeo)
        judged = await judge(juliet, romeo, sign(key.primary, DATA, created=NOW - 2 * DAY))
        assert (judged.then, judged.now) == (KeyState.VALID, KeyState.RETIRED)
        for when in (NOW - DAY, NOW):
            await bad(juliet, romeo, sign(key.primary, DATA, created=when))

    @pytest.mark.parametrize("reason", [b"\x02", b"\0", None])
    @pytest.mark.parametrize("hash_name", ["sha512", "md5"])  # of which Sequoia takes no notice
    async def test_q_15_a_compromised_key_never_proved_anything(
        self, world: World, key: Forged, reason: bytes | None, hash_name: str
    ) -> None:
        juliet, romeo = await friends(world, key)
        before = sign(key.primary, DATA, created=NOW - DAY)
        assert await judge(juliet, romeo, before)
        revocation = sign(
            key.primary,
            key.primary.hashed,
            SignatureKind.KEY_REVOCATION,
            hash_name=hash_name,
            hashed=subpacket(29, reason) if reason else b"",
        )
        revoked = Forged(key.primary, key.encryption, (revocation, *key.parts))
        await juliet.fetch_key(revoked.public, of=romeo)
        await bad(juliet, romeo, before)

    async def test_q_01_a_key_that_names_its_owner_no_more(self, world: World, key: Forged) -> None:
        juliet, romeo = await friends(world, key)
        await juliet.fetch_key(key.without_name(f"xmpp:{ROMEO}").public, of=romeo)
        await bad(juliet, romeo, sign(key.primary, DATA, created=NOW - DAY))

    async def test_subkeys_sign_if_they_are_bound_to_it(self, world: World) -> None:
        primary, subkey, stranger = new_ed25519(), new_ed25519(), new_ed25519()
        certified = certify(primary, f"xmpp:{ROMEO}".encode())
        key = forged(primary=primary, certified=certified).plus(
            *(subkey, bind(primary, subkey, SIGN)),
            *(stranger, bind(primary, stranger, ENCRYPT)),
        )
        juliet = await world.person(JULIET)
        world.announce(ROMEO, key.public)
        await juliet.learn(BareJid.parse(ROMEO))
        assert (await judge(juliet, ROMEO, sign(subkey, DATA))).key == key.name
        await bad(juliet, ROMEO, sign(stranger, DATA))

    async def test_rsa(self, world: World) -> None:
        primary = new_rsa(3072)
        key = forged(primary=primary, certified=certify(primary, f"xmpp:{ROMEO}".encode()))
        juliet, romeo = await friends(world, key)
        for hash_name in ("sha256", "sha512"):
            signature = sign(primary, DATA, hash_name=hash_name)
            assert (await judge(juliet, romeo, signature)).key == key.name


class TestPackets:
    """Q-11: each of several signatures must be valid, whichever it is."""

    async def test_q_11_none_of_several_is_passed_over(self, world: World, key: Forged) -> None:
        juliet, romeo = await friends(world, key)
        stranger = new_ed25519()
        good = sign(key.primary, DATA, created=NOW - DAY)
        spoiled = (
            sign(key.primary, DATA + b"!"),
            sign(stranger, DATA),
            sign(stranger, DATA, issuer=key.primary),
            sign(key.primary, DATA, SignatureKind.TEXT),
            sign(key.primary, DATA, SignatureKind.STANDALONE),
            sign(key.primary, DATA, SignatureKind.TIMESTAMP),
            sign(key.primary, DATA, hash_name="sha1"),
            sign(key.primary, DATA, hash_name="md5"),
            sign(key.primary, DATA, created=LONG_AGO - DAY),
            sign(key.primary, DATA, created=NOW + DAY),
            sign(key.primary, DATA, created=NOW - DAY, lasts=MINUTE),
            sign(key.primary, DATA, hashed=subpacket(100, b"x", critical=True)),
        )
        for packet in spoiled:
            for packets in ((packet,), (good, packet), (packet, good)):
                await bad(juliet, romeo, *packets)
        assert (await judge(juliet, romeo, good)).made == NOW - DAY

    async def test_nothing_proves_nothing(self, world: World, key: Forged) -> None:
        juliet, romeo = await friends(world, key)
        await bad(juliet, romeo)

    async def test_the_newest_of_one_key_says_when(self, world: World, key: Forged) -> None:
        juliet, romeo = await friends(world, key)
        packets = [sign(key.primary, DATA, created=NOW - days * DAY) for days in (3, 1, 2)]
        assert (await judge(juliet, romeo, *packets)).made == NOW - DAY

    async def test_each_is_verified_once(
        self, world: World, key: Forged, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        juliet, romeo = await friends(world, key)
        verify, asked = juliet.ox.engine.verify, []

        async def counting(data: bytes, signature: bytes, signers: Sequence[bytes]) -> Signed:
            asked.append(signature)
            return await verify(data, signature, signers)

        monkeypatch.setattr(juliet.ox.engine, "verify", counting)
        packets = [
            sign(key.primary, DATA, created=NOW - days * DAY)
            for days in range(MAX_SIGNATURE_PACKETS)
        ]
        await judge(juliet, romeo, *packets)
        assert asked == packets


class TestMissing:
    async def test_what_must_be_fetched_is_named(self, world: World, key: Forged) -> None:
        juliet, romeo = await world.person(JULIET), BareJid.parse(ROMEO)
        world.announce(ROMEO, key.public)
        signature = sign(key.primary, DATA)
        for address in (
            metadata_address(romeo),
            NodeAddress(romeo, data_node(Fingerprint(key.name))),
        ):
            with pytest.raises(DataMissing) as caught:
                await judge(juliet, ROMEO, signature)
            assert caught.value.fetches == (Fetch(address),)
            await juliet.ox.feed(Fetch(address), world.nodes[address])
        assert await judge(juliet, ROMEO, signature)

    async def test_a_key_that_is_not_there_ends_the_asking(self, world: World, key: Forged) -> None:
        juliet, romeo = await friends(world, key)
        other = forged(f"xmpp:{ROMEO}")
        world.announce(ROMEO, key.public, other.public)
        address = NodeAddress(romeo.jid, data_node(Fingerprint(other.name)))
        del world.nodes[address]
        listed = metadata_address(romeo.jid)
        await juliet.ox.feed(Fetch(listed), world.nodes[listed])
        signature = sign(other.primary, DATA)
        async with refused(ErrorCode.DATA_MISSING, juliet):
            await judge(juliet, romeo, signature)
        assert await judge(juliet, romeo, sign(key.primary, DATA)), "what is there is enough"
        await juliet.ox.feed(Fetch(address), None)
        await bad(juliet, romeo, signature)

    async def test_after_a_renewal_all_is_asked_for_anew(self, world: World, key: Forged) -> None:
        juliet = await world.person(JULIET, store=guarded())
        romeo = await world.person(ROMEO, key=key.secret)
        await juliet.gather(romeo)
        signature = sign(key.primary, DATA)
        await renewed(juliet)
        async with refused(ErrorCode.DATA_MISSING, juliet):
            await judge(juliet, romeo, signature)
        await juliet.gather(romeo)
        assert (await judge(juliet, romeo, signature)).trust is Trust.AUTOMATIC

    async def test_a_key_that_is_dated_anew_proves_what_it_did_and_says_so(
        self, world: World, key: Forged
    ) -> None:
        juliet, romeo = await friends(world, key)
        signature = sign(key.primary, DATA)
        assert (await judge(juliet, romeo, signature)).missing == ()
        world.ahead = MINUTE
        world.announce(ROMEO, key.public)
        listed = metadata_address(romeo.jid)
        await juliet.ox.feed(Fetch(listed), world.nodes[listed])
        judged = await judge(juliet, romeo, signature)
        assert judged.missing == (Fetch(NodeAddress(romeo.jid, data_node(Fingerprint(key.name)))),)
        await juliet.gather(romeo)
        assert (await judge(juliet, romeo, signature)).missing == ()

    async def test_it_needs_nothing_but_the_store(self, world: World, key: Forged) -> None:
        juliet, romeo = await friends(world, key)
        world.nodes.clear()
        judged = await judge(juliet.restarted(), romeo, sign(key.primary, DATA))
        assert judged.key == key.name
