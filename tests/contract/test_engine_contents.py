"""What every OpenPGP engine makes of messages that are only signed, or only encrypted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2ee.errors import ErrorCode
from tests.support.engines import Pair, raws, refused
from tests.support.forge import encrypted, forged, one_pass_message, sign
from tests.support.openpgp import literal
from tests.support.unfit import ROMEO, SOUND, UNFIT, Unfit

DATA = "<sign>Où est-tu, Roméo ?</sign>\r\n".encode()


class TestSigned:
    async def test_ours_holds_what_it_signs(self, pair: Pair) -> None:
        for data in (b"", DATA, bytes(100_000)):
            message = await pair.engine.sign_message(data, pair.romeo)
            assert data in message
            signers = raws([pair.juliet.certificate, pair.romeo.certificate])
            signed = await pair.engine.verify_message(message, signers)
            assert signed.data == data
            assert set(signed.signers) == {pair.romeo.certificate.fingerprint}
            for known in ([], signers[:1]):
                work = pair.engine.verify_message(message, known)
                await refused(work, ErrorCode.BAD_SIGNATURE)

    @pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
    async def test_a_sound_one_counts(self, pair: Pair, make: Callable[[bytes], Unfit]) -> None:
        made = make(DATA)
        message = one_pass_message(DATA, made.signature)
        assert (await pair.engine.verify_message(message, [made.key.public])).data == DATA

    @pytest.mark.parametrize("make", UNFIT.values(), ids=UNFIT)
    async def test_an_unfit_one_counts_for_nothing(
        self, pair: Pair, make: Callable[[bytes], Unfit]
    ) -> None:
        made = make(DATA)
        message = one_pass_message(DATA, made.signature)
        work = pair.engine.verify_message(message, [made.key.public])
        await refused(work, ErrorCode.BAD_SIGNATURE)

    async def test_nothing_else_is_a_signed_message(self, pair: Pair) -> None:
        message = await pair.engine.sign_message(DATA, pair.romeo)
        sealed = await pair.engine.seal(DATA, [pair.juliet.certificate], pair.romeo)
        signers = [pair.romeo.certificate.raw]
        for data, code in (
            (literal(DATA), ErrorCode.FORBIDDEN),
            (message + literal(b"x"), ErrorCode.MALFORMED),
            (message + message, ErrorCode.MALFORMED),
            (message * 40, ErrorCode.LIMIT_EXCEEDED),
            (message[:-1], ErrorCode.MALFORMED),
            (sealed, ErrorCode.MALFORMED),
            (b"", ErrorCode.MALFORMED),
            (DATA, ErrorCode.MALFORMED),
        ):
            await refused(pair.engine.verify_message(data, signers), code)

    async def test_an_unfit_key_of_ours_signs_nothing(self, pair: Pair) -> None:
        key = await pair.engine.adopt(forged(ROMEO).revoked().secret)
        await refused(pair.engine.sign_message(DATA, key), ErrorCode.UNUSABLE_KEY)


class TestEncrypted:
    async def test_who_it_is_for_reads_it(self, pair: Pair) -> None:
        both = [pair.juliet.certificate, pair.romeo.certificate]
        for data in (b"", DATA, bytes(100_000)):
            message = await pair.engine.encrypt(data, both)
            for reader in (pair.juliet, pair.romeo):
                assert await pair.engine.decrypt(message, [reader]) == data
        work = pair.engine.decrypt(await pair.engine.encrypt(DATA, both[:1]), [pair.romeo])
        await refused(work, ErrorCode.CANNOT_DECRYPT)

    async def test_unfit_keys_are_not_encrypted_to(self, pair: Pair) -> None:
        revoked = await pair.engine.inspect(forged(ROMEO).revoked().public)
        work = pair.engine.encrypt(DATA, [pair.juliet.certificate, revoked])
        await refused(work, ErrorCode.UNUSABLE_KEY)

    async def test_what_is_signed_is_not_taken_for_unsigned(self, pair: Pair) -> None:
        sealed = await pair.engine.seal(DATA, [pair.juliet.certificate], pair.romeo)
        await refused(pair.engine.decrypt(sealed, [pair.juliet]), ErrorCode.FORBIDDEN)
        signature = sign(forged(ROMEO).primary, DATA)
        for inner in (one_pass_message(DATA, signature), signature + literal(DATA)):
            message = encrypted(inner, pair.juliet.certificate.raw)
            await refused(pair.engine.decrypt(message, [pair.juliet]), ErrorCode.FORBIDDEN)

    async def test_what_is_unsigned_is_not_taken_for_signed(self, pair: Pair) -> None:
        message = await pair.engine.encrypt(DATA, [pair.juliet.certificate])
        work = pair.engine.open(message, [pair.juliet], [pair.romeo.certificate.raw])
        await refused(work, ErrorCode.FORBIDDEN)

    async def test_what_is_in_clear_is_refused(self, pair: Pair) -> None:
        for plain in (literal(DATA), await pair.engine.sign_message(DATA, pair.romeo)):
            await refused(pair.engine.decrypt(plain, [pair.juliet]), ErrorCode.NOT_ENCRYPTED)
