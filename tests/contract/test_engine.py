"""What every OpenPGP engine makes of keys, and to which of them it encrypts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode
from e2ee.secret import Secret
from ox.packets import Tag, read_packets, write_packet
from tests.support.engines import Pair, raws, refused
from tests.support.forge import (
    ENCRYPT,
    LONG_AGO,
    SIGN,
    Forged,
    KeyPair,
    bind,
    certify,
    forged,
    new_curve25519,
    new_ed25519,
    new_p256,
    new_rsa,
    revoke,
    sign,
)
from tests.support.unfit import ROMEO

DATA = "<signcrypt>Où est-tu, Roméo ?</signcrypt>".encode()
DAY = timedelta(days=1)


def recipients(message: bytes) -> set[bytes]:
    """Return the ids of the keys that a message is encrypted to."""
    packets = read_packets(message, most=40)
    assert all(packet.body[0] == 3 for packet in packets if packet.tag == Tag.PKESK)
    return {packet.body[1:9] for packet in packets if packet.tag == Tag.PKESK}


Parts = list[bytes | KeyPair]


def with_subkeys(*subkeys: Callable[[KeyPair], Parts]) -> Forged:
    """Return a key of Romeo's with what each of ``subkeys`` makes for its primary key."""
    key = new_ed25519()
    parts = [part for make in subkeys for part in make(key)]
    return Forged(key, key, (certify(key, ROMEO.encode()), *parts))


def live(subkey: KeyPair) -> Callable[[KeyPair], Parts]:
    return lambda key: [subkey, bind(key, subkey, ENCRYPT)]


def expired(subkey: KeyPair) -> Callable[[KeyPair], Parts]:
    return lambda key: [subkey, bind(key, subkey, ENCRYPT, key_lasts=DAY)]


def revoked(subkey: KeyPair) -> Callable[[KeyPair], Parts]:
    return lambda key: [subkey, bind(key, subkey, ENCRYPT), revoke(key, subkey)]


def unbound(subkey: KeyPair) -> Callable[[KeyPair], Parts]:
    return lambda key: [subkey]


def bound_by_another(subkey: KeyPair) -> Callable[[KeyPair], Parts]:
    return lambda key: [subkey, bind(key, subkey, ENCRYPT, by=new_ed25519())]


class TestKeys:
    async def test_a_new_key_says_what_it_must(self, pair: Pair) -> None:
        certificate = pair.juliet.certificate
        assert certificate.user_ids == ("xmpp:juliet@capulet.lit",)
        assert certificate.expires is None
        assert not certificate.revoked
        assert certificate.encrypts
        assert abs(certificate.created - datetime.now(UTC)) < DAY
        assert certificate == await pair.engine.inspect(certificate.raw)
        assert certificate.fingerprint != pair.romeo.certificate.fingerprint

    async def test_a_secret_key_is_adopted(self, pair: Pair) -> None:
        assert await pair.engine.adopt(pair.juliet.material) == pair.juliet

    async def test_what_is_no_public_key_is_refused(self, pair: Pair) -> None:
        public, secret = pair.juliet.certificate.raw, pair.juliet.material.reveal()
        for raw in (b"", b"hello", secret, public + public, public[:-1]):
            await refused(pair.engine.inspect(raw), ErrorCode.MALFORMED)
            await refused(pair.engine.merge(public, raw), ErrorCode.MALFORMED)

    async def test_what_is_no_secret_key_is_refused(self, pair: Pair) -> None:
        public, secret = pair.juliet.certificate.raw, pair.juliet.material.reveal()
        for raw in (b"", b"hello", public, secret + secret, secret[:-1]):
            await refused(pair.engine.adopt(Secret(raw)), ErrorCode.MALFORMED)

    @pytest.mark.parametrize("new", [new_ed25519, new_curve25519, lambda: new_rsa(2048)])
    async def test_a_key_with_the_secret_part_of_another_is_refused(
        self, pair: Pair, new: Callable[[], KeyPair]
    ) -> None:
        """To sign or decrypt with it would tell that part to who put the public one before it."""
        sound, primary = new(), new_ed25519()
        other = new_rsa(2048, number=1) if sound.algorithm == 1 else new()
        for part, taken in ((sound, True), (replace(sound, secret=other.secret), False)):
            binding = bind(primary, part, SIGN if part.algorithm == 22 else ENCRYPT)
            key = Forged(primary, part, (certify(primary, ROMEO.encode()), part, binding))
            if taken:
                assert (await pair.engine.adopt(key.secret)).certificate.fingerprint == primary.name
            else:
                await refused(pair.engine.adopt(key.secret), ErrorCode.MALFORMED)

    async def test_a_key_of_which_nothing_holds_names_and_receives_nothing(
        self, pair: Pair
    ) -> None:
        """Not today, that is: what is from the future will, and what expired is prolonged."""
        key, other = new_ed25519(), new_ed25519()
        text = ROMEO.encode()
        for certified in (
            b"",
            certify(key, text, by=other),
            certify(key, text, hash_name="sha1"),
            certify(key, text, lasts=DAY),
            certify(key, text, created=datetime.now(UTC) + DAY),
        ):
            made = forged(primary=key, certified=certified)
            for raw in (made.public, made.revoked().public):
                found = await pair.engine.inspect(raw)
                assert (found.user_ids, found.encrypts) == ((), False)
                work = pair.engine.seal(DATA, [found], pair.juliet)
                await refused(work, ErrorCode.UNUSABLE_KEY)
        unborn = await pair.engine.inspect(forged(ROMEO, created=datetime.now(UTC) + DAY).public)
        assert (unborn.user_ids, unborn.encrypts) == ((), False)

    async def test_only_self_certified_user_ids_are_listed(self, pair: Pair) -> None:
        key = forged(ROMEO)
        stray = write_packet(Tag.USER_ID, b"xmpp:juliet@capulet.lit")
        for certified in (
            stray,
            certify(key.primary, b"xmpp:juliet@capulet.lit", by=new_ed25519()),
            certify(key.primary, b"xmpp:juliet@capulet.lit", hash_name="sha1"),
        ):
            raw = Forged(key.primary, key.encryption, (certified, *key.parts)).public
            assert (await pair.engine.inspect(raw)).user_ids == (ROMEO,)

    async def test_expiry_and_revocation_show(self, pair: Pair) -> None:
        key = new_ed25519()
        lasting = forged(primary=key, certified=certify(key, ROMEO.encode(), key_lasts=DAY))
        inspected = await pair.engine.inspect(lasting.public)
        assert inspected.expires == LONG_AGO + DAY
        assert not inspected.encrypts
        revoked = await pair.engine.inspect(forged(ROMEO).revoked().public)
        assert revoked.revoked
        assert not revoked.encrypts


class TestMerge:
    async def test_a_revocation_in_either_copy_stays(self, pair: Pair) -> None:
        key = forged(ROMEO)
        for known, fetched in (
            (key.public, key.revoked().public),
            (key.revoked().public, key.public),
        ):
            assert (await pair.engine.merge(known, fetched)).revoked

    async def test_a_subkey_revoked_in_either_copy_stays_so(self, pair: Pair) -> None:
        key = forged(ROMEO)
        revoked = key.plus(revoke(key.primary, key.encryption))
        for known, fetched in ((key, revoked), (revoked, key)):
            assert not (await pair.engine.merge(known.public, fetched.public)).encrypts

    async def test_somebody_elses_revocation_says_nothing(self, pair: Pair) -> None:
        key = forged(ROMEO)
        forgery = Forged(
            key.primary, key.encryption, (revoke(key.primary, by=new_ed25519()), *key.parts)
        )
        assert not (await pair.engine.merge(key.public, forgery.public)).revoked

    async def test_junk_does_not_keep_a_revocation_out(self, pair: Pair) -> None:
        key, stranger = forged(ROMEO), new_ed25519()
        room = limits.MAX_CERTIFICATE_PACKETS - 5
        junk = b"".join(
            sign(stranger, b"", 0x10, created=LONG_AGO + n * DAY, issuer=key.primary)
            for n in range(room)
        )
        user_id, *rest = key.parts
        assert isinstance(user_id, bytes)
        stuffed = await pair.engine.inspect(
            Forged(key.primary, key.encryption, (user_id + junk, *rest)).public
        )
        assert (await pair.engine.merge(stuffed.raw, key.revoked().public)).revoked
        assert (await pair.engine.merge(key.revoked().public, stuffed.raw)).revoked

    async def test_two_keys_are_not_joined(self, pair: Pair) -> None:
        work = pair.engine.merge(pair.juliet.certificate.raw, pair.romeo.certificate.raw)
        await refused(work, ErrorCode.SIGNER_MISMATCH)


class TestSeal:
    @pytest.mark.parametrize("size", [0, 1, 191, 8384, 1024 * 1024])
    async def test_every_recipient_reads(self, pair: Pair, size: int) -> None:
        data = b"x" * size
        both = [pair.romeo.certificate, pair.juliet.certificate]
        message = await pair.engine.seal(data, both, pair.juliet)
        for key in (pair.juliet, pair.romeo):
            signed = await pair.engine.open(message, [key], raws(both))
            assert signed.data == data
            assert set(signed.signers) == {pair.juliet.certificate.fingerprint}
            (created,) = signed.signers.values()
            assert abs(created - datetime.now(UTC)) < DAY

    async def test_nobody_else_reads(self, pair: Pair) -> None:
        certificate = pair.romeo.certificate
        message = await pair.engine.seal(DATA, [certificate], pair.juliet)
        for keys in ([pair.juliet], []):
            work = pair.engine.open(message, keys, [pair.juliet.certificate.raw])
            await refused(work, ErrorCode.CANNOT_DECRYPT)

    async def test_nothing_is_encrypted_to_a_dead_key(self, pair: Pair) -> None:
        key = new_ed25519()
        for dead in (
            forged(primary=key, certified=certify(key, ROMEO.encode(), key_lasts=DAY)),
            forged(ROMEO).revoked(),
            with_subkeys(),
            with_subkeys(expired(new_curve25519())),
            with_subkeys(revoked(new_curve25519())),
            with_subkeys(unbound(new_curve25519())),
            with_subkeys(bound_by_another(new_curve25519())),
        ):
            certificate = await pair.engine.inspect(dead.public)
            both = [pair.juliet.certificate, certificate]
            work = pair.engine.seal(DATA, both, pair.juliet)
            await refused(work, ErrorCode.UNUSABLE_KEY)

    @pytest.mark.parametrize("new_subkey", [new_curve25519, new_p256])
    async def test_dead_subkeys_beside_a_live_one_get_nothing(
        self, pair: Pair, new_subkey: Callable[[], KeyPair]
    ) -> None:
        fit, dead = new_subkey(), [new_curve25519() for _ in range(4)]
        key = with_subkeys(
            expired(dead[0]),
            revoked(dead[1]),
            unbound(dead[2]),
            live(fit),
            bound_by_another(dead[3]),
        )
        certificate = await pair.engine.inspect(key.public)
        taken = recipients(await pair.engine.seal(DATA, [certificate], pair.juliet))
        assert fit.fingerprint[-8:] in taken
        assert not taken & {each.fingerprint[-8:] for each in dead}

    @pytest.mark.parametrize("new_subkey", [new_curve25519, new_p256])
    async def test_only_containers_of_version_1_are_written(
        self, pair: Pair, new_subkey: Callable[[], KeyPair]
    ) -> None:
        """Even among those who all say that they take version 2: GnuPG does not."""

        def modern(name: str, subkey: KeyPair) -> Forged:
            key = new_ed25519()
            named = certify(key, name.encode(), features=b"\x09")
            return Forged(key, subkey, (named, subkey, bind(key, subkey, ENCRYPT)))

        ours = await pair.engine.adopt(modern("xmpp:juliet@capulet.lit", new_curve25519()).secret)
        theirs = modern(ROMEO, new_subkey())
        certificate = await pair.engine.inspect(theirs.public)
        message = await pair.engine.seal(DATA, [certificate, ours.certificate], ours)
        assert theirs.encryption.fingerprint[-8:] in recipients(message)
        signed = await pair.engine.open(message, [ours], [ours.certificate.raw])
        assert signed.data == DATA

    @pytest.mark.parametrize(("first", "then", "lives"), [(DAY, None, True), (None, DAY, False)])
    async def test_the_newest_binding_says_when_a_subkey_expires(
        self, pair: Pair, first: timedelta | None, then: timedelta | None, lives: bool
    ) -> None:
        subkey, stranger = new_curve25519(), new_ed25519()
        key = with_subkeys(
            lambda key: [
                subkey,
                bind(key, subkey, ENCRYPT, key_lasts=first),
                bind(key, subkey, ENCRYPT, key_lasts=then, created=LONG_AGO + 9 * DAY),
                bind(key, subkey, ENCRYPT, created=LONG_AGO + 10 * DAY, by=stranger),
                bind(key, subkey, ENCRYPT, created=LONG_AGO + 11 * DAY, by=stranger, key_lasts=DAY),
            ]
        )
        assert (await pair.engine.inspect(key.public)).encrypts is lives

    async def test_more_keys_than_a_message_takes_are_refused(self, pair: Pair) -> None:
        crowd = [
            await pair.engine.inspect(forged(f"xmpp:{n}@capulet.lit").public)
            for n in range(limits.MAX_PKESK + 1)
        ]
        await refused(pair.engine.seal(DATA, crowd, pair.juliet), ErrorCode.LIMIT_EXCEEDED)
        assert len(recipients(await pair.engine.seal(DATA, crowd[1:], pair.juliet))) == 32

    @pytest.mark.parametrize("new_last", [new_curve25519, new_p256])
    async def test_of_many_subkeys_the_newest_few_are_encrypted_to(
        self, pair: Pair, new_last: Callable[..., KeyPair]
    ) -> None:
        most = limits.MAX_ENCRYPTION_KEYS
        subkeys = [new_curve25519(LONG_AGO + n * DAY) for n in range(limits.MAX_PKESK)]
        subkeys.append(new_last(LONG_AGO + limits.MAX_PKESK * DAY))
        key = with_subkeys(
            *(
                lambda key, subkey=subkey: [
                    subkey,
                    bind(key, subkey, ENCRYPT, created=LONG_AGO + 99 * DAY),
                ]
                for subkey in subkeys
            )
        )
        certificate = await pair.engine.inspect(key.public)
        assert certificate.encrypts
        newest = {subkey.fingerprint[-8:] for subkey in subkeys[-most:]}
        sealed = recipients(await pair.engine.seal(DATA, [certificate], pair.juliet))
        assert sealed >= newest
        assert not sealed & {subkey.fingerprint[-8:] for subkey in subkeys[:-most]}

    async def test_our_own_key_must_be_fit_to_sign(self, pair: Pair) -> None:
        key = new_ed25519()
        name = ROMEO.encode()
        for unfit in (
            forged(ROMEO).revoked(),
            forged(primary=key, certified=certify(key, name, key_lasts=DAY)),
            forged(primary=key, certified=certify(key, name, flags=b"\x01")),
        ):
            handle = await pair.engine.adopt(unfit.secret)
            for work in (
                pair.engine.seal(DATA, [pair.juliet.certificate], handle),
                pair.engine.sign(DATA, handle),
            ):
                error = await refused(work, ErrorCode.UNUSABLE_KEY)
                assert isinstance(error, ApiMisuse)
