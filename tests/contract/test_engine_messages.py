"""What every OpenPGP engine makes of messages and signatures, and what it never lets out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2ee.errors import E2eeError, ErrorCode
from e2ee.secret import Secret
from ox.certificates import check_secret_key
from tests.support.engines import Pair, raws, refused
from tests.support.forge import encrypted, forged, new_ed25519, one_pass_message, sign
from tests.support.leaks import Canary, everything_printable, no_leak_in_logs
from tests.support.openpgp import literal
from tests.support.unfit import ROMEO, SOUND, UNFIT, Unfit

DATA = "<signcrypt>Où est-tu, Roméo ?</signcrypt>".encode()
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


_NO_DETACHED_SIGNATURE = (
    ErrorCode.MALFORMED,
    ErrorCode.LIMIT_EXCEEDED,
    ErrorCode.BAD_SIGNATURE,
)


class TestSignatures:
    @pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
    async def test_a_sound_one_counts(self, pair: Pair, make: Callable[[bytes], Unfit]) -> None:
        made = make(DATA)
        certificate = await pair.engine.inspect(made.key.public)
        message = encrypted(one_pass_message(DATA, made.signature), pair.juliet.certificate.raw)
        inline = await pair.engine.open(message, [pair.juliet], [certificate.raw])
        detached = await pair.engine.verify(DATA, made.signature, [certificate.raw])
        assert inline == detached
        assert inline.data == DATA
        assert set(inline.signers) == {certificate.fingerprint}

    @pytest.mark.parametrize("make", UNFIT.values(), ids=UNFIT)
    async def test_an_unfit_one_counts_for_nothing(
        self, pair: Pair, make: Callable[[bytes], Unfit]
    ) -> None:
        made = make(DATA)
        certificate = await pair.engine.inspect(made.key.public)
        message = encrypted(one_pass_message(DATA, made.signature), pair.juliet.certificate.raw)
        work = pair.engine.open(message, [pair.juliet], [certificate.raw])
        await refused(work, ErrorCode.BAD_SIGNATURE)
        work = pair.engine.verify(DATA, made.signature, [certificate.raw])
        await refused(work, ErrorCode.BAD_SIGNATURE)

    async def test_ours_counts_for_what_it_signs(self, pair: Pair) -> None:
        signature = await pair.engine.sign(DATA, pair.romeo)
        signers = [pair.juliet.certificate, pair.romeo.certificate]
        signed = await pair.engine.verify(DATA, signature, raws(signers))
        assert set(signed.signers) == {pair.romeo.certificate.fingerprint}
        for data, known in ((DATA + b"!", signers), (DATA, signers[:1]), (DATA, [])):
            await refused(pair.engine.verify(data, signature, raws(known)), ErrorCode.BAD_SIGNATURE)

    async def test_a_detached_one_stands_alone(self, pair: Pair) -> None:
        signature = await pair.engine.sign(DATA, pair.romeo)
        signers = [pair.romeo.certificate]
        for raw in (b"", DATA, signature[:-1], one_pass_message(DATA, signature)):
            with pytest.raises(E2eeError) as caught:
                await pair.engine.verify(DATA, raw, raws(signers))
            assert caught.value.code in _NO_DETACHED_SIGNATURE
        work = pair.engine.verify(DATA, signature + signature, raws(signers))
        await refused(work, ErrorCode.LIMIT_EXCEEDED)

    async def test_each_of_several_is_judged_alone(self, pair: Pair) -> None:
        """Others neither help nor harm, and never lend their time."""
        key, other = forged(ROMEO), forged("xmpp:tybalt@capulet.lit")
        good = sign(key.primary, DATA, created=NOW - HOUR)
        known = [await pair.engine.inspect(key.public)]
        for bad in (
            sign(other.primary, DATA),
            sign(other.primary, DATA, issuer=key.primary),
            sign(key.primary, DATA + b"!"),
            sign(key.primary, DATA, hash_name="sha1"),
            sign(key.primary, DATA, created=NOW + HOUR),
        ):
            for signatures in ((good, bad), (bad, good), (bad, good, bad)):
                inner = one_pass_message(DATA, *signatures)
                message = encrypted(inner, pair.juliet.certificate.raw)
                signed = await pair.engine.open(message, [pair.juliet], raws(known))
                assert signed.signers == {known[0].fingerprint: NOW - HOUR}
            message = encrypted(one_pass_message(DATA, bad, bad), pair.juliet.certificate.raw)
            work = pair.engine.open(message, [pair.juliet], raws(known))
            await refused(work, ErrorCode.BAD_SIGNATURE)

    async def test_every_expected_signer_is_named(self, pair: Pair) -> None:
        keys = [forged(ROMEO), forged("xmpp:benvolio@montague.lit")]
        known = [await pair.engine.inspect(key.public) for key in keys]
        inner = one_pass_message(DATA, *(sign(key.primary, DATA) for key in keys))
        message = encrypted(inner, pair.juliet.certificate.raw)
        for signers in (known, known[:1], known[1:]):
            signed = await pair.engine.open(message, [pair.juliet], raws(signers))
            assert set(signed.signers) == {signer.fingerprint for signer in signers}


class TestOpen:
    async def test_what_is_not_encrypted_is_refused(self, pair: Pair) -> None:
        signature = await pair.engine.sign(DATA, pair.romeo)
        for plain in (literal(DATA), one_pass_message(DATA, signature)):
            work = pair.engine.open(plain, [pair.juliet], [pair.romeo.certificate.raw])
            await refused(work, ErrorCode.NOT_ENCRYPTED)

    async def test_what_is_not_signed_is_refused(self, pair: Pair) -> None:
        message = encrypted(literal(DATA), pair.juliet.certificate.raw)
        work = pair.engine.open(message, [pair.juliet], [pair.romeo.certificate.raw])
        await refused(work, ErrorCode.FORBIDDEN)

    async def test_who_expects_nobody_believes_nobody(self, pair: Pair) -> None:
        message = await pair.engine.seal(DATA, [pair.juliet.certificate], pair.romeo)
        await refused(pair.engine.open(message, [pair.juliet], []), ErrorCode.BAD_SIGNATURE)

    async def test_one_of_several_own_keys_suffices(self, pair: Pair) -> None:
        message = await pair.engine.seal(DATA, [pair.juliet.certificate], pair.romeo)
        for keys in ([pair.romeo, pair.juliet], [pair.juliet, pair.romeo]):
            opened = await pair.engine.open(message, keys, [pair.romeo.certificate.raw])
            assert opened.data == DATA

    async def test_a_message_is_read_after_hostile_ones(self, pair: Pair) -> None:
        """No failure leaves an engine behind that fails on (pysequoia's decryptors do)."""
        sound = await pair.engine.seal(DATA, [pair.juliet.certificate], pair.romeo)
        known = [pair.romeo.certificate]
        for position in range(0, len(sound), 7):
            altered = bytearray(sound)
            altered[position] ^= 0x40
            with pytest.raises(E2eeError):
                await pair.engine.open(bytes(altered), [pair.juliet], raws(known))
        assert (await pair.engine.open(sound, [pair.juliet], raws(known))).data == DATA


class TestNothingElseComesOut:
    """Whatever goes in, an answer or one error of ours comes out; and no secret with it."""

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(place=st.floats(0, 0.999), octet=st.integers(1, 255), cut=st.booleans())
    async def test_altered_input(self, pair: Pair, place: float, octet: int, cut: bool) -> None:
        known = [pair.romeo.certificate]
        message = await pair.engine.seal(DATA, [pair.juliet.certificate], pair.romeo)
        altered = _altered(message, place, octet, cut)
        with pytest.raises(E2eeError):
            await pair.engine.open(altered, [pair.juliet], raws(known))
        await _answer_or_error(pair.engine.inspect(_altered(known[0].raw, place, octet, cut)))
        signature = await pair.engine.sign(DATA, pair.romeo)
        work = pair.engine.verify(DATA, _altered(signature, place, octet, cut), raws(known))
        await _answer_or_error(work)

    async def test_z_01_no_failure_prints_a_plaintext(self, pair: Pair) -> None:
        canary = Canary("K4n4r1envogelSingtNiemalsLautImWaldeXYZ")
        message = await pair.engine.seal(canary.raw, [pair.juliet.certificate], pair.romeo)
        dead = await pair.engine.inspect(forged(ROMEO).revoked().public)
        known = [pair.romeo.certificate]
        for failure in (
            pair.engine.open(message, [pair.juliet], []),
            pair.engine.open(message, [pair.romeo], raws(known)),
            pair.engine.open(message[:-1], [pair.juliet], raws(known)),
            pair.engine.open(canary.raw, [pair.juliet], raws(known)),
            pair.engine.verify(canary.raw, sign(new_ed25519(), canary.raw), raws(known)),
            pair.engine.inspect(canary.raw),
            pair.engine.adopt(Secret(canary.raw)),
            pair.engine.seal(canary.raw, [dead], pair.romeo),
        ):
            with no_leak_in_logs(canary), pytest.raises(E2eeError) as caught:
                await failure
            for text in (str(caught.value), repr(caught.value), repr(vars(caught.value))):
                canary.assert_absent(text, "an error")
                assert "backtrace" not in text.lower()

    async def test_z_01_nothing_prints_a_secret_key(self, pair: Pair) -> None:
        secret = check_secret_key(pair.juliet.material)[-1].numbers
        assert isinstance(secret, Secret)
        for holder in (pair, pair.engine, pair.juliet):
            for _, printed in everything_printable(holder):
                for octets in (secret.reveal(), secret.reveal()[::-1]):
                    assert octets.hex() not in printed
                    assert repr(octets)[2:-1] not in printed


def _altered(raw: bytes, place: float, octet: int, cut: bool) -> bytes:
    position = int(place * len(raw))
    if cut:
        return raw[:position]
    return raw[:position] + bytes((raw[position] ^ octet,)) + raw[position + 1 :]


async def _answer_or_error(work: Awaitable[object]) -> None:
    with suppress(E2eeError):
        await work
