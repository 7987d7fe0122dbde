"""What was opened and is taken in: once, by who opened it, while its signer is still accepted.

Rule: each refusal is one typed error that leaves the store as it was.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from e2ee.errors import ErrorCode
from e2ee.names import Fingerprint
from e2ee.trust import Trust
from ox.elements import write_openpgp
from tests.support.forge import sign, subpacket
from tests.support.ox_stage import Stage, staged, text
from tests.support.ox_world import dump, refused

DAY = timedelta(days=1)


@pytest.fixture
async def stage() -> Stage:
    return await staged()


class TestSinceItWasOpened:
    """What was opened is taken in later: by the same account, while its signer is accepted."""

    async def test_g_03_its_signer_is_accepted_no_more(self, stage: Stage) -> None:
        opened = await stage.juliet.open(await stage.romeo.seal(stage.juliet), stage.romeo)
        signer = Fingerprint(stage.romeos_key.name)
        for trust, code in (
            (Trust.DISTRUSTED, ErrorCode.BAD_SIGNATURE),
            (Trust.UNDECIDED, ErrorCode.UNDECIDED),
        ):
            await stage.juliet.ox.decide(stage.romeo.jid, signer, trust)
            async with refused(code, stage.juliet):
                await stage.juliet.ox.mark_handled(opened)
        await stage.juliet.ox.decide(stage.romeo.jid, signer, Trust.AUTHENTICATED)
        await stage.juliet.ox.mark_handled(opened)

    async def test_g_06_another_account_opened_it(self, stage: Stage) -> None:
        letter = await stage.romeo.seal(stage.juliet, stage.mercutio)
        opened = await stage.juliet.open(letter, stage.romeo)
        async with refused(ErrorCode.API_MISUSE, stage.mercutio):
            await stage.mercutio.ox.mark_handled(opened)
        await stage.juliet.ox.mark_handled(opened)

    async def test_its_signer_was_retired_before_it_was_opened(self, stage: Stage) -> None:
        letter, stamp = await stage.romeo.seal(stage.juliet), stage.world.clock()
        opened = await stage.juliet.open(letter, stage.romeo, stamp=stamp)
        await asyncio.sleep(1.1)  # a revocation tells its second
        await stage.juliet.fetch_key(stage.romeos_key.revoked(reason=1).public, of=stage.romeo)
        async with refused(ErrorCode.BAD_SIGNATURE, stage.juliet):
            await stage.juliet.ox.mark_handled(opened)
        again = await stage.juliet.open(letter, stage.romeo, stamp=stamp)
        assert again.retired
        await stage.juliet.ox.mark_handled(again)

    @pytest.mark.parametrize("reason", [0, 2, None])
    async def test_g_14_its_retired_signer_turns_out_to_be_compromised(
        self, stage: Stage, reason: int | None
    ) -> None:
        letter, stamp = await stage.romeo.seal(stage.juliet), stage.world.clock()
        await asyncio.sleep(1.1)  # a revocation tells its second
        key = stage.romeos_key
        await stage.juliet.fetch_key(key.revoked(reason=3).public, of=stage.romeo)
        opened = await stage.juliet.open(letter, stage.romeo, stamp=stamp)
        assert opened.retired
        await stage.juliet.fetch_key(key.revoked(reason=reason).public, of=stage.romeo)
        async with refused(ErrorCode.BAD_SIGNATURE, stage.juliet):
            await stage.juliet.open(letter, stage.romeo, stamp=stamp)
        async with refused(ErrorCode.BAD_SIGNATURE, stage.juliet):
            await stage.juliet.ox.mark_handled(opened)


class TestReplay:
    async def test_g_08_what_was_handled_is_not_opened_again(self, stage: Stage) -> None:
        letter = await stage.romeo.seal(stage.juliet)
        await stage.juliet.ox.mark_handled(await stage.juliet.open(letter, stage.romeo))
        for stamp in (None, stage.world.clock()):
            for reader in (stage.juliet, stage.juliet.restarted()):
                async with stage.refuses(ErrorCode.REPLAY):
                    await reader.open(letter, stage.romeo, stamp=stamp)

    async def test_g_08_not_even_encrypted_anew(self, stage: Stage) -> None:
        data = text()
        signature = sign(stage.romeos_key.primary, data)
        first = await stage.juliet.open(stage.letter(data, signature), stage.romeo)
        await stage.juliet.ox.mark_handled(first)
        again = sign(stage.romeos_key.primary, data, hashed=subpacket(60, b"x"))
        for signatures in ((signature,), (again,), (again, signature)):
            async with stage.refuses(ErrorCode.REPLAY):
                await stage.juliet.open(stage.letter(data, *signatures), stage.romeo)

    async def test_g_08_another_who_received_it_cannot_make_it_one(self, stage: Stage) -> None:
        """Mercutio signs what Romeo wrote to both, and is first."""
        data = text()
        genuine = stage.letter(data)
        own = await stage.mercutio.ox.own_key()
        juliets = (await stage.juliet.ox.own_key()).certificate
        copied = write_openpgp(await stage.mercutio.ox.engine.seal(data, [juliets], own))
        await stage.juliet.ox.mark_handled(await stage.juliet.open(copied, stage.mercutio))
        assert (await stage.juliet.open(genuine, stage.romeo)).sender == stage.romeo.jid

    async def test_g_08_a_crash_before_it_was_handled_loses_nothing(self, stage: Stage) -> None:
        letter = await stage.romeo.seal(stage.juliet)
        first = await stage.juliet.open(letter, stage.romeo)
        restarted = stage.juliet.restarted()
        assert await restarted.open(letter, stage.romeo) == first
        await restarted.ox.mark_handled(first)
        async with stage.refuses(ErrorCode.REPLAY):
            await stage.juliet.ox.mark_handled(first)

    async def test_g_08_for_90_days_however_old_it_is(self, stage: Stage) -> None:
        """An archive delivers old messages, and delivers them again."""
        stamp = datetime.now(UTC) - 400 * DAY
        data = text(time=stamp)
        letter = stage.letter(data, sign(stage.romeos_key.primary, data, created=stamp))
        opened = await stage.juliet.open(letter, stage.romeo, stamp=stamp)
        await stage.juliet.ox.mark_handled(opened)
        for days in (1, 45, 89):
            stage.world.ahead = days * DAY
            await stage.juliet.ox.mark_handled(replace(opened, digest=bytes([days]) * 32))
            async with refused(ErrorCode.REPLAY, stage.juliet):
                await stage.juliet.open(letter, stage.romeo, stamp=stamp)

    async def test_g_08_what_is_remembered_is_bounded(self, stage: Stage) -> None:
        opened = await stage.juliet.open(await stage.romeo.seal(stage.juliet), stage.romeo)
        before = len(await dump(stage.juliet.store))
        for number in range(100):
            await stage.juliet.ox.mark_handled(replace(opened, digest=bytes([number]) * 32))
        for number in range(1, 90):
            stage.world.ahead = number * DAY
            await stage.juliet.ox.mark_handled(replace(opened, digest=bytes([99 + number]) * 32))
        days, digests = 90, 100 + 89
        assert len(await dump(stage.juliet.store)) == before + days + 2 * digests
        stage.world.ahead = 90 * DAY
        for number in range(3):
            await stage.juliet.ox.mark_handled(replace(opened, digest=bytes([200 + number]) * 32))
        digests += 3 - 100
        assert len(await dump(stage.juliet.store)) == before + days + 2 * digests

    @pytest.mark.parametrize("days", [365, 36500, -365])
    async def test_r_12_a_clock_that_jumps_makes_nothing_forgotten(
        self, stage: Stage, days: int
    ) -> None:
        letter = await stage.romeo.seal(stage.juliet)
        opened = await stage.juliet.open(letter, stage.romeo)
        await stage.juliet.ox.mark_handled(opened)
        stage.world.ahead = days * DAY
        for number in range(5):
            await stage.juliet.ox.mark_handled(replace(opened, digest=bytes([number]) * 32))
        stage.world.ahead = timedelta(0)
        async with stage.refuses(ErrorCode.REPLAY):
            await stage.juliet.open(letter, stage.romeo)

    async def test_r_12_nor_do_many_days_before_the_first(self, stage: Stage) -> None:
        opened = await stage.juliet.open(await stage.romeo.seal(stage.juliet), stage.romeo)
        for number in range(120):
            stage.world.ahead = -number * DAY
            await stage.juliet.ox.mark_handled(replace(opened, digest=bytes([number]) * 32))
