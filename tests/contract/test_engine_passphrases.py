"""What every OpenPGP engine makes of passphrase messages, and when it works on which of them."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from e2ee.errors import E2eeError, EngineFailed, ErrorCode
from e2ee.secret import Secret
from ox import stretching
from ox.engine import OpenPgpEngine, S2kCount
from ox.packets import Tag, write_packet
from ox.s2k import Specifier
from ox.s2k import derive as real_derive
from tests.support.engines import Pair, refused
from tests.support.forge import encrypted, new_ed25519, one_pass_message, sign
from tests.support.leaks import Canary, no_leak_in_logs
from tests.support.openpgp import literal, locked

PASSPHRASE = Secret(b"ZSRD5lK9mz-5VHNyu2N1XLiJZ8I87jkv85ceZkVrOGA")
OTHER = Secret(b"lL9mz-5VHNyu2N1XLiJZ8I87jkv85ceZkVrOGAZSRD5")
DATA = b"<entry/>"
PATIENCE = 30  # seconds until a test that hangs fails; one that passes never waits for long

MakeEngine = Callable[[Executor | None], OpenPgpEngine]


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Specifier, bytes]]:
    """Count derivations, which cost a moment here whatever they ask for; return what was asked."""
    asked: list[tuple[Specifier, bytes]] = []

    def derive(specifier: Specifier, passphrase: Secret, length: int) -> Secret:
        asked.append((specifier, passphrase.reveal()))
        return cheaply(specifier, passphrase, length)

    monkeypatch.setattr(stretching, "derive", derive)
    return asked


def cheaply(specifier: Specifier, passphrase: Secret, length: int) -> Secret:
    """Derive as ``costly`` messages want it: they only claim that their count is high."""
    return real_derive(Specifier(specifier.hash, specifier.salt, 0), passphrase, length)


def costly(message: bytes) -> bytes:
    """Let a message of ours claim that its passphrase is stretched by the greatest count."""
    assert message[14] == S2kCount.RANDOM_SECRET
    return message[:14] + bytes((S2kCount.PASSPHRASE,)) + message[15:]


async def lock_some(engine: OpenPgpEngine, count: int) -> list[tuple[bytes, Secret]]:
    """Return messages that each need a derivation of their own."""
    return [
        (costly(await engine.lock(b"%d" % n, PASSPHRASE, S2kCount.RANDOM_SECRET)), PASSPHRASE)
        for n in range(count)
    ]


class TestOne:
    @pytest.mark.parametrize("count", S2kCount)
    async def test_what_is_locked_unlocks(self, pair: Pair, count: S2kCount) -> None:
        message = await pair.engine.lock(DATA, PASSPHRASE, count)
        assert await pair.engine.unlock(message, PASSPHRASE) == DATA
        await refused(pair.engine.unlock(message, OTHER), ErrorCode.CANNOT_DECRYPT)

    async def test_no_two_are_alike(self, pair: Pair) -> None:
        messages = {
            await pair.engine.lock(DATA, PASSPHRASE, S2kCount.RANDOM_SECRET) for _ in range(50)
        }
        assert len({message[:14] for message in messages}) == 50  # salts

    async def test_no_altered_one_unlocks(self, pair: Pair) -> None:
        sound = await pair.engine.lock(DATA, PASSPHRASE, S2kCount.RANDOM_SECRET)
        for position in range(15, len(sound)):
            altered = bytearray(sound)
            altered[position] ^= 1
            with pytest.raises(E2eeError):
                await pair.engine.unlock(bytes(altered), PASSPHRASE)
        assert await pair.engine.unlock(sound, PASSPHRASE) == DATA

    async def test_other_openpgp_is_refused(self, pair: Pair) -> None:
        signature = sign(new_ed25519(), DATA)
        for raw, code in (
            (b"", ErrorCode.MALFORMED),
            (DATA, ErrorCode.MALFORMED),
            (literal(DATA), ErrorCode.NOT_ENCRYPTED),
            (encrypted(literal(DATA), pair.juliet.certificate.raw), ErrorCode.MALFORMED),
            (locked(one_pass_message(DATA, signature)), ErrorCode.MALFORMED),
            (write_packet(Tag.SKESK, b"\x04\x09\x04" + bytes(19)), ErrorCode.MALFORMED),
        ):
            with pytest.raises(E2eeError) as caught:
                await pair.engine.unlock(raw, PASSPHRASE)
            assert caught.value.code in (code, ErrorCode.LIMIT_EXCEEDED), raw

    async def test_z_01_no_failure_prints_a_passphrase(self, pair: Pair) -> None:
        canary = Canary("K4n4r1envogelSingtNiemalsLautImWaldeXYZ")
        secret = Secret(canary.raw)
        message = await pair.engine.lock(canary.raw, secret, S2kCount.RANDOM_SECRET)
        altered = message[:-1] + bytes((message[-1] ^ 1,))
        with no_leak_in_logs(canary):
            outcomes = await pair.engine.unlock_many([(altered, secret), (canary.raw, secret)])
        for outcome in outcomes:
            assert isinstance(outcome, E2eeError)
            canary.assert_absent(f"{outcome} {outcome!r} {vars(outcome)}", "an error")


class TestMany:
    @pytest.mark.parametrize("beside", [False, True], ids=["alone", "on an executor"])
    async def test_each_gets_its_own_answer(
        self, make_engine: MakeEngine, pool: Executor, beside: bool
    ) -> None:
        engine = make_engine(pool if beside else None)
        light = await engine.lock(b"light", PASSPHRASE, S2kCount.RANDOM_SECRET)
        heavy = await engine.lock(b"heavy", PASSPHRASE, S2kCount.PASSPHRASE)
        answers = await engine.unlock_many(
            [
                (light, PASSPHRASE),
                (b"junk", PASSPHRASE),
                (heavy, PASSPHRASE),
                (light, OTHER),
                (heavy, PASSPHRASE),
                (light[:-1], PASSPHRASE),
            ]
        )
        codes = [answer.code if isinstance(answer, E2eeError) else answer for answer in answers]
        assert codes == [
            b"light",
            ErrorCode.MALFORMED,
            b"heavy",
            ErrorCode.CANNOT_DECRYPT,
            b"heavy",
            ErrorCode.MALFORMED,
        ]
        assert await engine.unlock_many([]) == ()

    @pytest.mark.parametrize("beside", [False, True], ids=["alone", "on an executor"])
    async def test_no_derivation_runs_twice(
        self,
        make_engine: MakeEngine,
        pool: Executor,
        derived: list[tuple[Specifier, bytes]],
        beside: bool,
    ) -> None:
        engine = make_engine(pool if beside else None)
        messages = await lock_some(engine, 5)
        wrong = [(message, OTHER) for message, _ in messages]
        for _ in range(2):
            answers = await engine.unlock_many([*messages, *wrong, *messages])
            assert answers[:5] == answers[10:] == (b"0", b"1", b"2", b"3", b"4")
        await engine.unlock(*messages[0])
        assert len(derived) == len(set(derived)) == 10

    async def test_two_readers_share_a_derivation(
        self, make_engine: MakeEngine, pool: Executor, derived: list[tuple[Specifier, bytes]]
    ) -> None:
        engine = make_engine(pool)
        messages = await lock_some(engine, 3)
        both = await asyncio.gather(*(engine.unlock_many(messages) for _ in range(2)))
        assert both[0] == both[1]
        assert len(derived) == len(set(derived)) == 3

    async def test_n_21_the_loop_turns_while_derivations_run_side_by_side(
        self, make_engine: MakeEngine, pool: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both threads wait for each other, and for a task of the loop to have had its turns."""
        ticked = threading.Event()
        together = threading.Barrier(2, timeout=PATIENCE)

        def derive(specifier: Specifier, passphrase: Secret, length: int) -> Secret:
            together.wait()
            assert ticked.wait(PATIENCE)
            return cheaply(specifier, passphrase, length)

        async def tick() -> None:
            for _ in range(100):
                await asyncio.sleep(0)
            ticked.set()

        engine = make_engine(pool)
        messages = await lock_some(engine, 4)
        monkeypatch.setattr(stretching, "derive", derive)
        answers, _ = await asyncio.gather(engine.unlock_many(messages), tick())
        assert answers == (b"0", b"1", b"2", b"3")

    async def test_a_page_just_below_the_bound_is_not_worked_on_in_the_loop(
        self, make_engine: MakeEngine, pool: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever writes many items of a middling cost does not stop the loop by that."""
        in_loop: list[int] = []
        loop_thread = threading.get_ident()

        def derive(specifier: Specifier, passphrase: Secret, length: int) -> Secret:
            if threading.get_ident() == loop_thread:
                in_loop.append(specifier.count)
            return cheaply(specifier, passphrase, length)

        monkeypatch.setattr(stretching, "derive", derive)
        engine = make_engine(pool)
        light = await engine.lock(DATA, PASSPHRASE, S2kCount.RANDOM_SECRET)
        page = [(light[:14] + bytes((count,)) + light[15:], PASSPHRASE) for count in range(256)]
        assert await engine.unlock_many(page) == (DATA,) * 256
        assert max(in_loop) < 64 * 1024

    async def test_n_21_a_cancelled_page_stops_soon_and_opens_later(
        self, make_engine: MakeEngine, pool: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, released = threading.Event(), threading.Event()
        asked: list[bytes] = []

        def derive(specifier: Specifier, passphrase: Secret, length: int) -> Secret:
            asked.append(specifier.salt)
            begun.set()
            assert released.wait(PATIENCE)
            return cheaply(specifier, passphrase, length)

        engine = make_engine(pool)
        messages = await lock_some(engine, 100)
        monkeypatch.setattr(stretching, "derive", derive)
        page = asyncio.ensure_future(engine.unlock_many(messages))
        while not begun.is_set():
            await asyncio.sleep(0)
        page.cancel()
        with pytest.raises(asyncio.CancelledError):
            await page
        released.set()
        assert (await engine.unlock_many(messages))[:3] == (b"0", b"1", b"2")
        assert len(asked) <= 108  # those that were on their way, then each once

    async def test_n_21_a_pool_that_gives_up_fails_alone(
        self, make_engine: MakeEngine, derived: object
    ) -> None:
        """What it gave up is one error for each message, and is tried again by the next."""

        class Closing(ThreadPoolExecutor):
            closed = True

            def submit(self, work: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
                if not self.closed:
                    return super().submit(work, *args, **kwargs)
                given_up: Future[Any] = Future()
                given_up.cancel()
                given_up.set_running_or_notify_cancel()
                return given_up

        with Closing(1) as pool:
            engine = make_engine(pool)
            messages = await lock_some(engine, 2)
            answers = await engine.unlock_many(messages)
            assert [type(answer) for answer in answers] == [EngineFailed] * 2
            pool.closed = False
            assert await engine.unlock_many(messages) == (b"0", b"1")
        fresh = await lock_some(engine, 1)
        (answer,) = await engine.unlock_many(fresh)
        assert isinstance(answer, EngineFailed)
        assert await engine.unlock_many(messages) == (b"0", b"1")  # remembered


def test_g_24_without_its_engine_the_adapter_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for it is told what is missing; there is nothing that it falls back to."""
    monkeypatch.setitem(sys.modules, "pysequoia", None)
    monkeypatch.delitem(sys.modules, "ox.engine_sequoia")
    with pytest.raises(ImportError, match="pysequoia"):
        importlib.import_module("ox.engine_sequoia")
