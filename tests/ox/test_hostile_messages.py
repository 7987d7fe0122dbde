"""Messages that must not be believed: what an attacker can sign, forward, delay, repeat and wrap.

Rule: each refusal is one typed error that leaves the store as it was, and the genuine message is
read afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pysequoia
import pytest

from e2ee.errors import ErrorCode
from e2ee.storage import Put
from ox.container import unwrap
from ox.elements import ContentKind, read_openpgp, write_openpgp
from ox.grammar import check_encrypted_message
from ox.key_record import ring_to_record
from ox.packets import write_literal
from tests.support.forge import SIGN, bind, certify, forged, new_ed25519, one_pass_message, sign
from tests.support.openpgp import decryption_keys_of
from tests.support.ox_stage import JULIET, ROMEO, Stage, staged, text
from tests.support.ox_world import refused
from tests.support.unfit import SOUND, UNFIT, Unfit

DAY = timedelta(days=1)


@pytest.fixture
async def stage() -> Stage:
    return await staged()


class TestKind:
    async def test_g_01_what_is_neither_encrypted_nor_signed(self, stage: Stage) -> None:
        for kind in ContentKind:
            async with stage.refuses(ErrorCode.FORBIDDEN):
                await stage.juliet.open(write_openpgp(write_literal(text(kind=kind))), stage.romeo)

    async def test_g_02_what_is_encrypted_and_not_signed(self, stage: Stage) -> None:
        for kind in ContentKind:
            letter = stage.to_juliet(write_literal(text(kind=kind)))
            async with stage.refuses(ErrorCode.FORBIDDEN):
                await stage.juliet.open(letter, stage.romeo)

    async def test_g_02_another_content_element_than_the_layers_say(self, stage: Stage) -> None:
        for kind in ContentKind:
            data = text(kind=kind)
            in_clear = write_openpgp(one_pass_message(data, sign(stage.romeos_key.primary, data)))
            for letter, right in (
                (stage.letter(data), ContentKind.SIGNCRYPT),
                (in_clear, ContentKind.SIGN),
            ):
                if kind is right:
                    assert (await stage.juliet.open(letter, stage.romeo)).kind is kind
                    continue
                async with stage.refuses(ErrorCode.FORBIDDEN):
                    await stage.juliet.open(letter, stage.romeo)

    async def test_g_02_no_content_element(self, stage: Stage) -> None:
        data = text().replace(b"signcrypt", b"openpgp")
        async with stage.refuses(ErrorCode.MALFORMED):
            await stage.juliet.open(stage.letter(data), stage.romeo)


class TestSigner:
    @pytest.mark.parametrize("make", UNFIT.values(), ids=UNFIT)
    async def test_g_03_unfit_signatures(self, make: Callable[[bytes], Unfit]) -> None:
        data = text()
        made = make(data)
        stage = await staged(made.key.public)
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(stage.letter(data, made.signature), stage.romeo)

    @pytest.mark.parametrize(
        "name",
        sorted(SOUND.keys() - {"from long ago"}),  # that one is stale
    )
    async def test_g_03_their_sound_twins_are_believed(self, name: str) -> None:
        data = text()
        made = SOUND[name](data)
        stage = await staged(made.key.public)
        opened = await stage.juliet.open(stage.letter(data, made.signature), stage.romeo)
        assert opened.signer == made.key.name

    async def test_g_03_by_another_contact(self, stage: Stage) -> None:
        """Mercutio's key is good for what Mercutio sends, and for nothing else."""
        letter = await stage.mercutio.seal(stage.juliet)
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(letter, stage.romeo)
        assert await stage.juliet.open(letter, stage.mercutio)

    async def test_g_03_by_a_subkey_that_the_server_spliced_on(self, stage: Stage) -> None:
        data, key, spliced = text(), stage.romeos_key, new_ed25519()
        for parts in (
            (spliced,),
            (spliced, bind(key.primary, spliced, SIGN, by=spliced)),
            (spliced, bind(key.primary, spliced, SIGN, by=spliced, back_signed=False)),
            (spliced, key.parts[-1]),  # the binding of another subkey
        ):
            await stage.juliet.fetch_key(key.plus(*parts).public, of=stage.romeo)
            for issuer in (spliced, key.primary):
                letter = stage.letter(data, sign(spliced, data, issuer=issuer))
                async with stage.refuses(ErrorCode.BAD_SIGNATURE):
                    await stage.juliet.open(letter, stage.romeo)

    async def test_g_04_others_beside_the_sender_neither_help_nor_harm(self, stage: Stage) -> None:
        data, stranger = text(), new_ed25519()
        good, bad = sign(stage.romeos_key.primary, data), sign(stranger, data)
        damaged = sign(stage.romeos_key.primary, data + b"!")
        for signatures in ((good, bad), (bad, good), (damaged, good), (good, damaged, bad)):
            opened = await stage.juliet.open(stage.letter(data, *signatures), stage.romeo)
            assert opened.signer == stage.romeos_key.name
        for signatures in ((bad, bad), (bad, damaged)):
            async with stage.refuses(ErrorCode.BAD_SIGNATURE):
                await stage.juliet.open(stage.letter(data, *signatures), stage.romeo)

    async def test_g_09_a_key_whose_user_id_was_revoked_signs_no_more(self, stage: Stage) -> None:
        key = stage.romeos_key
        letter = stage.letter(text())
        assert await stage.juliet.open(letter, stage.romeo)
        await stage.juliet.fetch_key(key.without_name(f"xmpp:{ROMEO}").public, of=stage.romeo)
        async with refused(ErrorCode.BAD_SIGNATURE, stage.juliet):
            await stage.juliet.open(letter, stage.romeo)
        async with refused(ErrorCode.UNUSABLE_KEY, stage.juliet):
            await stage.juliet.seal(stage.romeo)

    async def test_a_key_that_went_bad_does_not_silence_the_others(self) -> None:
        """The server's own key for Romeo is sound when it comes, and no key at all tomorrow."""
        ghost = new_ed25519()
        name = f"xmpp:{ROMEO}".encode()
        stage = await staged(forged(primary=ghost, certified=certify(ghost, name)).public)
        ring = await stage.juliet.ox.keys(stage.romeo.jid)
        expired = forged(primary=ghost, certified=certify(ghost, name, lasts=DAY)).public
        keys = tuple(
            replace(key, raw=expired) if key.fingerprint == ghost.name else key for key in ring.keys
        )
        row = (JULIET, "ox", "ring", ROMEO)
        await stage.juliet.write(Put(row, ring_to_record(replace(ring, keys=keys))))
        assert await stage.juliet.open(await stage.romeo.seal(stage.juliet), stage.romeo)
        assert await stage.juliet.seal(stage.romeo)

    async def test_g_11_a_key_that_its_owner_struck_signs_no_news(self, stage: Stage) -> None:
        letter, stamp = await stage.romeo.seal(stage.juliet), stage.world.clock()
        stage.world.announce(ROMEO)
        await stage.juliet.hear_of(stage.romeo)
        async with refused(ErrorCode.BAD_SIGNATURE, stage.juliet):
            await stage.juliet.open(letter, stage.romeo)
        assert await stage.juliet.open(letter, stage.romeo, stamp=stamp)
        stage.world.announce(ROMEO, stage.romeos_key.public)
        await stage.juliet.hear_of(stage.romeo)
        assert await stage.juliet.open(letter, stage.romeo)

    async def test_r_13_keys_that_signed_nothing_are_not_looked_into(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many a stranger announces: a message costs by its signatures."""
        name = f"xmpp:{ROMEO}"
        stage = await staged(*(forged(name).public for _ in range(30)))
        letter = await stage.romeo.seal(stage.juliet)
        read: list[bytes] = []
        real = pysequoia.Cert.from_bytes

        def counted(raw: bytes) -> pysequoia.Cert:
            read.append(raw)
            return real(raw)

        reader = stage.juliet.restarted()
        await reader.ox.own_key()
        counting = SimpleNamespace(from_bytes=counted, from_packets=pysequoia.Cert.from_packets)
        monkeypatch.setattr("ox.engine_sequoia.pysequoia.Cert", counting)
        async with refused(ErrorCode.MALFORMED, stage.juliet):
            await reader.open(write_openpgp(b"junk"), stage.romeo)
        assert read == []
        assert await reader.open(letter, stage.romeo)
        assert set(read) == {stage.romeos_key.public}


class TestAddressee:
    async def test_g_05_surreptitious_forwarding(self, stage: Stage) -> None:
        """Mercutio takes what Romeo signed for him out, and encrypts it to Juliet."""
        letter = await stage.romeo.seal(stage.mercutio)
        own = await stage.mercutio.ox.own_key()
        inner = unwrap(
            check_encrypted_message(read_openpgp(letter)),
            decryption_keys_of(own.material),
            os.urandom,
        )
        async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
            await stage.juliet.open(stage.to_juliet(inner), stage.romeo)
        assert await stage.mercutio.open(letter, stage.romeo)

    async def test_g_06_delivered_to_somebody_else(self, stage: Stage) -> None:
        letter = await stage.romeo.seal(stage.juliet, stage.mercutio)
        for reader, other in (
            (stage.juliet, stage.mercutio),
            (stage.mercutio, stage.juliet),
        ):
            async with refused(ErrorCode.CONTEXT_MISMATCH, reader):
                await reader.open(letter, stage.romeo, to=other)
            assert await reader.open(letter, stage.romeo)

    async def test_g_06_our_own_copy_is_for_others_and_only_if_we_signed(
        self, stage: Stage
    ) -> None:
        ours = await stage.juliet.seal(stage.romeo)
        copy = await stage.juliet.open(ours, stage.juliet, to=stage.romeo)
        assert copy.to == (stage.romeo.jid,)
        async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
            await stage.juliet.open(ours, stage.juliet, to=stage.mercutio)
        theirs = await stage.romeo.seal(stage.juliet)
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(theirs, stage.juliet, to=stage.romeo)

    async def test_g_06_our_own_message_reflected_as_a_friends(self, stage: Stage) -> None:
        ours = await stage.juliet.seal(stage.romeo)
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(ours, stage.romeo)


class TestTime:
    async def test_g_07_a_hoarded_message_is_no_news(self, stage: Stage) -> None:
        letter, stamp = await stage.romeo.seal(stage.juliet), stage.world.clock()
        stage.world.ahead = 2 * DAY
        async with refused(ErrorCode.STALE, stage.juliet):
            await stage.juliet.open(letter, stage.romeo)
        assert await stage.juliet.open(letter, stage.romeo, stamp=stamp)
        stage.world.ahead = timedelta(0)
        assert await stage.juliet.open(letter, stage.romeo)

    async def test_g_07_a_stamp_that_the_signature_does_not_bear_out(self, stage: Stage) -> None:
        """Old octets signed anew, or dated ahead and kept for their day."""
        primary, now = stage.romeos_key.primary, datetime.now(UTC)
        for data, signed in (
            (text(time=now), now - timedelta(hours=1)),
            (text(time=now - timedelta(hours=1)), now),
            (text(time=now + timedelta(hours=1)), now),
        ):
            letter = stage.letter(data, sign(primary, data, created=signed))
            async with stage.refuses(ErrorCode.STALE):
                await stage.juliet.open(letter, stage.romeo)

    async def test_g_07_anothers_signature_does_not_date_it(self) -> None:
        """The server's own key for Romeo, undecided, vouches for an old stamp."""
        ghost, now = forged(f"xmpp:{ROMEO}"), datetime.now(UTC)
        stage = await staged()
        stage.world.announce(ROMEO, stage.romeos_key.public, ghost.public)
        await stage.juliet.hear_of(stage.romeo)
        old = now - timedelta(hours=20)
        for time, ours, theirs in ((old, now, old), (now, now, old)):
            data = text(time=time)
            good = sign(stage.romeos_key.primary, data, created=ours)
            bad = sign(ghost.primary, data, created=theirs)
            for signatures in ((good, bad), (bad, good)):
                letter = stage.letter(data, *signatures)
                if time == ours:
                    assert await stage.juliet.open(letter, stage.romeo)
                else:
                    async with stage.refuses(ErrorCode.STALE):
                        await stage.juliet.open(letter, stage.romeo)


class TestInsideAnother:
    async def test_g_25_each_layer_is_opened_once_and_checked_alone(self, stage: Stage) -> None:
        for_juliet = await stage.mercutio.seal(stage.juliet)
        for_romeo = await stage.mercutio.seal(stage.romeo)
        outer = await stage.romeo.seal(stage.juliet, content=(for_juliet, for_romeo))
        opened = await stage.juliet.open(outer, stage.romeo)
        first, second = opened.content
        assert (first.name, second.name) == ("openpgp", "openpgp")
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(first, stage.romeo)
        assert await stage.juliet.open(first, stage.mercutio)
        async with stage.refuses(ErrorCode.CANNOT_DECRYPT):
            await stage.juliet.open(second, stage.mercutio)
