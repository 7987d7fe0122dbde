"""Keys that are prolonged, revoked, brought up to date and published, as Sequoia judges them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pysequoia
import pytest

from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from ox.certificates import check_certificate, check_secret_key
from ox.engine import KeyHandle, Revocation
from ox.engine_sequoia import SequoiaEngine
from ox.packets import Tag, read_packets, write_packet
from tests.support.engines import refused
from tests.support.forge import (
    CERTIFY_AND_SIGN,
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

JULIET = "xmpp:juliet@capulet.lit"
DAY = timedelta(days=1)
NEXT_YEAR = datetime.now(UTC).replace(microsecond=0) + 365 * DAY
engine = SequoiaEngine(NativePrimitives())


def expiring(primary: KeyPair | None = None, last: timedelta = 9999 * DAY) -> Forged:
    """Return a key whose primary expires, as do both of its subkeys; one of these signs."""
    key = primary or new_ed25519()
    signing, encrypting = new_ed25519(), new_curve25519()
    return Forged(
        key,
        encrypting,
        (
            certify(key, JULIET.encode(), key_lasts=last),
            signing,
            bind(key, signing, SIGN, key_lasts=last),
            encrypting,
            bind(key, encrypting, ENCRYPT, key_lasts=last),
        ),
    )


def everything() -> Forged:
    """Return an RSA key that does all with its primary, as Libervia's and Profanity's are."""
    key = new_rsa(3072)
    flags = bytes((CERTIFY_AND_SIGN[0] | ENCRYPT[0],))
    return Forged(key, key, (certify(key, JULIET.encode(), flags=flags),))


KEYS: dict[str, Callable[[], Forged]] = {
    "plain": lambda: forged(JULIET),
    "expiring": expiring,
    "expired": lambda: expiring(last=DAY),
    "rsa": lambda: expiring(new_rsa(2048)),
    "everything": everything,
}


@pytest.fixture(params=KEYS)
async def key(request: pytest.FixtureRequest) -> KeyHandle:
    return await engine.adopt(KEYS[request.param]().secret)


async def works(key: KeyHandle) -> bool:
    """Say whether it signs, is encrypted to and opens, and others see that it signed."""
    message = await engine.seal(b"hello", [key.certificate], key)
    signed = await engine.open(message, [key], [key.certificate.raw])
    return signed.data == b"hello"


class TestGenerated:
    async def test_an_rsa_key_has_3072_bits_and_a_subkey(self) -> None:
        made = await engine.generate(JULIET, rsa=True)
        assert made.certificate.user_ids == (JULIET,)
        assert made.certificate.expires is None
        for part in check_certificate(made.certificate.raw):
            assert part.algorithm == 1
            assert part.numbers is not None
            assert part.numbers.modulus.bit_length() == 3072  # type: ignore[union-attr]
        assert len(check_secret_key(made.material)) == 2
        assert await works(made)


class TestExtend:
    async def test_it_expires_then_and_works_until_then(self, key: KeyHandle) -> None:
        extended = await engine.extend(key, NEXT_YEAR)
        assert extended.certificate.expires == NEXT_YEAR
        assert extended.certificate.user_ids == (JULIET,)
        assert extended.certificate.encrypts
        assert await works(extended)
        assert (await engine.adopt(extended.material)).certificate.expires == NEXT_YEAR

    async def test_it_can_last_for_ever_and_be_shortened(self, key: KeyHandle) -> None:
        for_ever = await engine.extend(await engine.extend(key, NEXT_YEAR), None)
        assert for_ever.certificate.expires is None
        assert await works(for_ever)
        shortened = await engine.extend(for_ever, NEXT_YEAR - 300 * DAY)
        assert shortened.certificate.expires == NEXT_YEAR - 300 * DAY

    async def test_what_it_said_of_itself_it_says_again(self) -> None:
        made = await engine.generate(JULIET)
        extended = await engine.extend(made, NEXT_YEAR)
        probe = pysequoia.encrypt(
            b"", [pysequoia.Cert.from_bytes(extended.certificate.raw)], armor=False
        )
        assert read_packets(probe, most=9)[0].body[0] == 3  # still containers of version 1

    async def test_who_has_the_older_copy_learns_it_by_merging(self, key: KeyHandle) -> None:
        extended = await engine.extend(key, NEXT_YEAR)
        merged = await engine.merge(key.certificate.raw, extended.certificate.raw)
        assert merged.expires == NEXT_YEAR
        back = await engine.merge(extended.certificate.raw, key.certificate.raw)
        assert back.expires == NEXT_YEAR

    async def test_a_revoked_subkey_stays_so(self) -> None:
        one = expiring()
        gone = new_curve25519()
        with_gone = one.plus(
            gone, bind(one.primary, gone, ENCRYPT, key_lasts=999 * DAY), revoke(one.primary, gone)
        )
        extended = await engine.extend(await engine.adopt(with_gone.secret), NEXT_YEAR)
        message = await engine.seal(b"x", [extended.certificate], extended)
        named = {p.body[1:9] for p in read_packets(message, most=9) if p.tag == Tag.PKESK}
        assert named == {one.encryption.fingerprint[-8:]}

    @pytest.mark.parametrize(
        "until",
        [
            datetime.now(UTC) - DAY,
            datetime.now(),
            LONG_AGO + timedelta(seconds=2**32),
        ],
    )
    async def test_an_end_that_is_none_is_refused(self, until: datetime) -> None:
        handle = await engine.adopt(forged(JULIET).secret)
        assert isinstance(
            await refused(engine.extend(handle, until), ErrorCode.API_MISUSE), ApiMisuse
        )

    async def test_a_primary_key_of_another_kind_is_refused(self) -> None:
        made = pysequoia.Tsk.generate("xmpp:a@b.c", cipher_suite=pysequoia.CipherSuite.P256)
        packets = read_packets(bytes(made), most=99)
        tags = [packet.tag for packet in packets]
        without_subkeys = packets[: tags.index(Tag.SECRET_SUBKEY)]
        raw = b"".join(write_packet(packet.tag, packet.body) for packet in without_subkeys)
        handle = await engine.adopt(Secret(raw))
        for work in (
            engine.extend(handle, NEXT_YEAR),
            engine.revoke(handle, Revocation.RETIRED),
        ):
            await refused(work, ErrorCode.UNSUPPORTED_ALGORITHM)


class TestRevoke:
    @pytest.mark.parametrize("reason", Revocation)
    async def test_it_is_revoked_and_signs_and_receives_no_more(self, reason: Revocation) -> None:
        key = await engine.adopt(forged(JULIET).secret)
        message = await engine.seal(b"x", [key.certificate], key)
        revoked = await engine.revoke(key, reason)
        assert revoked.certificate.revoked
        assert not revoked.certificate.encrypts
        for work in (engine.sign(b"x", revoked), engine.seal(b"x", [key.certificate], revoked)):
            assert isinstance(await refused(work, ErrorCode.UNUSABLE_KEY), ApiMisuse)
        error = await refused(engine.seal(b"x", [revoked.certificate], key), ErrorCode.UNUSABLE_KEY)
        assert isinstance(error, PeerMisbehaved)
        opened = await engine.open(message, [revoked], [key.certificate.raw])
        assert opened.data == b"x"  # what was written before can still be read

    @pytest.mark.parametrize("reason", [None, 0, 1, 2, 3, 4, 32, 100])
    async def test_g_14_what_it_signed_before_is_believed_as_sequoia_believes_it(
        self, reason: int | None
    ) -> None:
        key = forged(JULIET)
        signature = sign(key.primary, b"x", created=datetime.now(UTC) - DAY)
        for certificate in (
            key.revoked(reason),
            key.revoked(3).plus(revoke(key.primary, reason=1)),
        ):
            found = await engine.inspect(certificate.public)
            assert found.revoked
            if found.compromised:
                await refused(engine.verify(b"x", signature, [found.raw]), ErrorCode.BAD_SIGNATURE)
            else:
                assert await engine.verify(b"x", signature, [found.raw])
        both = await engine.merge(key.revoked(1).public, key.revoked(reason).public)
        assert both.compromised is (await engine.inspect(key.revoked(reason).public)).compromised
        assert not (await engine.inspect(key.public)).compromised

    async def test_g_14_anothers_revocation_compromises_nothing(self) -> None:
        key = forged(JULIET)
        lie = revoke(key.primary, by=new_ed25519(), reason=2)
        certificate = await engine.inspect(key.revoked(3).plus(lie).public)
        assert certificate.revoked
        assert not certificate.compromised

    async def test_every_shape_can_be_revoked(self, key: KeyHandle) -> None:
        assert (await engine.revoke(key, Revocation.COMPROMISED)).certificate.revoked

    async def test_g_14_no_older_copy_undoes_it(self, key: KeyHandle) -> None:
        revoked = await engine.revoke(key, Revocation.UNSPECIFIED)
        for first, second in (
            (key.certificate, revoked.certificate),
            (revoked.certificate, key.certificate),
        ):
            assert (await engine.merge(first.raw, second.raw)).revoked
        assert (await engine.updated(revoked, key.certificate.raw)).certificate.revoked


class TestUpdated:
    async def test_the_secret_key_learns_what_another_device_published(
        self, key: KeyHandle
    ) -> None:
        elsewhere = await engine.extend(key, NEXT_YEAR)
        here = await engine.updated(key, elsewhere.certificate.raw)
        assert here.certificate == elsewhere.certificate
        assert (await engine.adopt(here.material)).certificate.expires == NEXT_YEAR
        assert await works(here)
        revoked = await engine.revoke(key, Revocation.RETIRED)
        here = await engine.updated(here, revoked.certificate.raw)
        await refused(engine.sign(b"x", here), ErrorCode.UNUSABLE_KEY)

    async def test_its_parts_stay_and_nothing_of_others_comes_in(self) -> None:
        one, mallory = expiring(), new_ed25519()
        handle = await engine.adopt(one.secret)
        stranger = new_curve25519()
        flooded = one.plus(
            *(certify(one.primary, JULIET.encode(), by=mallory) for _ in range(10)),
            stranger,
            bind(one.primary, stranger, ENCRYPT, by=mallory),
            bind(one.primary, stranger, ENCRYPT),
        )
        updated = await engine.updated(handle, flooded.public)
        assert [key.public for key in check_secret_key(updated.material)] == [
            key.public for key in check_secret_key(one.secret)
        ]
        assert len(updated.material.reveal()) == len(one.secret.reveal())

    async def test_another_key_is_refused(self) -> None:
        handle = await engine.adopt(forged(JULIET).secret)
        await refused(engine.updated(handle, forged(JULIET).public), ErrorCode.SIGNER_MISMATCH)


class TestMinimal:
    async def test_of_a_key_that_is_minimal_nothing_is_lost(self) -> None:
        made = await engine.generate(JULIET)
        exported = await engine.minimal(made.certificate, [JULIET])
        assert exported == made.certificate

    async def test_only_the_named_user_id_and_its_newest_signature(self) -> None:
        primary, mallory = new_ed25519(), new_ed25519()
        names = (
            certify(primary, b"Juliet Capulet <juliet@example.org>")
            + certify(primary, JULIET.encode())
            + certify(primary, JULIET.encode(), created=LONG_AGO + DAY)
            + certify(mallory, JULIET.encode(), by=mallory)
        )
        one = forged(primary=primary, certified=names)
        certificate = await engine.inspect(one.public)
        exported = await engine.minimal(certificate, [JULIET])
        assert exported.user_ids == (JULIET,)
        assert b"example.org" not in exported.raw
        assert exported.encrypts
        tags = [packet.tag for packet in read_packets(exported.raw, most=99)]
        assert tags == [
            *(Tag.PUBLIC_KEY, Tag.USER_ID, Tag.SIGNATURE),
            *(Tag.PUBLIC_SUBKEY, Tag.SIGNATURE),
        ]

    async def test_what_holds_today_and_what_holds_later(self) -> None:
        """So it is after a clock that was ahead."""
        primary, later = new_ed25519(), datetime.now(UTC) + DAY
        names = certify(primary, JULIET.encode()) + certify(primary, JULIET.encode(), created=later)
        one = forged(primary=primary, certified=names)
        exported = await engine.minimal(await engine.inspect(one.public), [JULIET])
        assert exported.user_ids == (JULIET,)
        signatures = [p for p in read_packets(exported.raw, most=99) if p.tag == Tag.SIGNATURE]
        assert len(signatures) == 3

    async def test_subkeys_that_live_or_are_revoked(self) -> None:
        one = forged(JULIET)
        expired, gone, unbound, forged_one = (new_curve25519() for _ in range(4))
        signing, mallory = new_ed25519(), new_ed25519()
        full = one.plus(
            *(expired, bind(one.primary, expired, ENCRYPT, key_lasts=DAY)),
            *(gone, bind(one.primary, gone, ENCRYPT), revoke(one.primary, gone)),
            *(signing, bind(one.primary, signing, SIGN)),
            *(forged_one, bind(one.primary, forged_one, ENCRYPT, by=mallory)),
            *(unbound, write_packet(Tag.USER_ATTRIBUTE, b"\x05\x01hey!")),
        )
        certificate = await engine.inspect(full.public)
        exported = await engine.minimal(certificate, [JULIET])
        kept = {part.fingerprint for part in check_certificate(exported.raw)}
        assert kept == {each.fingerprint for each in (one.primary, one.encryption, gone, signing)}
        merged = await engine.merge(
            one.plus(gone, bind(one.primary, gone, ENCRYPT)).public, exported.raw
        )
        message = await engine.seal(b"x", [merged], await engine.generate(JULIET))
        assert gone.fingerprint[-8:] not in message

    async def test_revocations_stay_and_forged_ones_do_not(self) -> None:
        one, mallory = forged(JULIET), new_ed25519()
        junk = await engine.inspect(one.plus(revoke(one.primary, by=mallory)).public)
        exported = await engine.minimal(junk, [JULIET])
        assert exported.raw == (await engine.inspect(one.public)).raw
        revoked = await engine.inspect(one.revoked().public)
        assert (await engine.minimal(revoked, [JULIET])).revoked

    async def test_a_key_of_any_kind_can_be_published(self) -> None:
        one = forged(JULIET)
        with_p256 = one.plus(part := new_p256(), bind(one.primary, part, ENCRYPT))
        exported = await engine.minimal(await engine.inspect(with_p256.public), [JULIET])
        assert len(check_certificate(exported.raw)) == 3
