"""Passphrases, sealing keys and seals: what opens, what does not, and what is never asked for."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from e2ee import limits
from e2ee.errors import ApiMisuse, E2eeError, EngineFailed, ErrorCode, StoreFailed
from e2ee.ports import Argon2Cost
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.stores import sealing
from e2ee.stores.sealing import Passphrase, Seal, SealingKey, Unlock
from tests.support.leaks import Canary, everything_printable

DATA_KEY = Secret(bytes(range(32)))
KEY = SealingKey(Secret(b"\1" * 32))
PASSPHRASE = Passphrase("wherefore art thou")
CHEAP = Argon2Cost(passes=1, memory=8, lanes=1)
NATIVE = NativePrimitives()
FROZEN = (
    b'{"format":1,"kind":"seal","lanes":1,"memory":8,"nonce":"39bd788ca08215fc7d98647f'
    b'","passes":1,"salt":"7a42bb7c2b8b993486d8224de99fb014","unlock":"passphrase","wr'
    b'apped":"93cf02ea7aa9b576fe76f3b42b605bfa08c254cfa729febcce3adeea347f57ad83c8adc4'
    b'82d5ae9e336cff49799da985"}'
)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_COST", CHEAP)


async def lock(unlock: Unlock) -> Seal:
    return await Seal.lock(DATA_KEY, unlock, NATIVE, None)


async def refusal(raw: bytes, unlock: Unlock) -> ErrorCode:
    """Return why a seal does not open."""
    with pytest.raises(E2eeError) as failure:
        await Seal.from_bytes(raw).open(unlock, NATIVE, None)
    return failure.value.code


@pytest.mark.parametrize("unlock", [KEY, PASSPHRASE])
async def test_a_seal_opens_with_what_locked_it(unlock: Unlock) -> None:
    raw = (await lock(unlock)).to_bytes()
    with ThreadPoolExecutor(1) as executor:
        for anywhere in (None, executor):
            assert await Seal.from_bytes(raw).open(unlock, NATIVE, anywhere) == DATA_KEY


async def test_a_seal_says_how_it_is_locked() -> None:
    by_key, by_passphrase = await lock(KEY), await lock(PASSPHRASE)
    assert (by_key.kind, by_key.cost) == ("key", None)
    assert (by_passphrase.kind, by_passphrase.cost) == ("passphrase", CHEAP)
    assert "wrapped" not in repr(by_key)


async def test_a_passphrase_costs_what_rfc_9106_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (await lock(PASSPHRASE)).cost == Argon2Cost(passes=3, memory=65536, lanes=4)


async def test_a_seal_of_an_earlier_release_still_opens() -> None:
    assert await Seal.from_bytes(FROZEN).open(PASSPHRASE, NATIVE, None) == DATA_KEY


async def test_two_seals_of_one_key_have_nothing_in_common() -> None:
    one, other = [json.loads((await lock(PASSPHRASE)).to_bytes()) for _ in range(2)]
    for name in ("salt", "nonce", "wrapped"):
        assert one[name] != other[name]
        assert DATA_KEY.reveal().hex()[:8] not in one[name]


async def test_r_10_a_wrong_passphrase_or_key_is_refused_any_number_of_times() -> None:
    for unlock, wrong in (
        (PASSPHRASE, Passphrase("wherefore art Thou")),
        (KEY, SealingKey(Secret(b"\2" * 32))),
    ):
        raw = (await lock(unlock)).to_bytes()
        for _ in range(20):
            assert await refusal(raw, wrong) is ErrorCode.STORE_WRONG_KEY
        assert await Seal.from_bytes(raw).open(unlock, NATIVE, None) == DATA_KEY


@pytest.mark.parametrize(("unlock", "wrong"), [(PASSPHRASE, KEY), (KEY, PASSPHRASE)])
async def test_r_10_another_kind_of_unlock_says_so(unlock: Unlock, wrong: Unlock) -> None:
    seal = await lock(unlock)
    with pytest.raises(StoreFailed, match=f"sealed with a {seal.kind}, which a ") as failure:
        await seal.open(wrong, NATIVE, None)
    assert failure.value.code is ErrorCode.STORE_WRONG_KEY


NEVER = (0, 0x0A, 0x7F, 0x85, 0x2028, 0x2029, 0xD800, 0xE000, 0xFFFF, 0x10FFFF)
WRONG, CORRUPT = ErrorCode.STORE_WRONG_KEY, ErrorCode.STORE_CORRUPT
ALTERED: list[tuple[str, Any, ErrorCode]] = [
    *(("passes", value, WRONG) for value in (2, 3)),
    *(("passes", value, CORRUPT) for value in (0, -1, 17, 2**64, 1.0, "1", True, None)),
    *(("memory", value, WRONG) for value in (9, 16)),
    *(("memory", value, CORRUPT) for value in (7, 0, 1024 * 1024 + 1, 2**64, 8.0, "8", None)),
    *(("lanes", value, CORRUPT) for value in (2, 0, 17, 2**24, "1", True, None)),  # too many for 8
    *(("salt", value, WRONG) for value in ("00" * 16,)),
    *(("salt", value, CORRUPT) for value in ("", "00" * 15, "00" * 17, "AB" * 16, "zz" * 16, 1)),
    *(("nonce", value, WRONG) for value in ("00" * 12,)),
    *(("nonce", value, CORRUPT) for value in ("", "00" * 11, "00" * 13, " " + "00" * 12, None)),
    *(("wrapped", value, WRONG) for value in ("00" * 48,)),
    *(("wrapped", value, CORRUPT) for value in ("", "00" * 47, "00" * 49, None)),
    *(("unlock", value, CORRUPT) for value in ("key", "Passphrase", "", None)),
    *(("kind", value, CORRUPT) for value in ("sealed", None)),
    *(("format", value, CORRUPT) for value in (0, "1", None, True)),
    ("format", 2, ErrorCode.STORE_TOO_NEW),
    ("more", 1, CORRUPT),
]


@pytest.mark.parametrize(("name", "value", "code"), ALTERED)
async def test_r_10_no_field_of_a_seal_can_be_altered(
    name: str, value: object, code: ErrorCode
) -> None:
    seal = await lock(PASSPHRASE)
    fields = {**json.loads(seal.to_bytes()), name: value}
    altered = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
    assert await refusal(altered, PASSPHRASE) is code
    assert await seal.open(PASSPHRASE, NATIVE, None) == DATA_KEY


async def test_r_10_no_field_of_a_seal_may_be_missing() -> None:
    for unlock in (PASSPHRASE, KEY):
        fields = json.loads((await lock(unlock)).to_bytes())
        for name in fields:
            rest = {other: value for other, value in fields.items() if other != name}
            raw = json.dumps(rest, separators=(",", ":"), sort_keys=True).encode()
            assert await refusal(raw, unlock) is CORRUPT


@pytest.mark.parametrize("unlock", [KEY, PASSPHRASE])
async def test_r_10_a_seal_cut_anywhere_is_corrupt(unlock: Unlock) -> None:
    raw = (await lock(unlock)).to_bytes()
    for length in range(len(raw)):
        assert await refusal(raw[:length], unlock) is CORRUPT
    for more in (raw + b" ", b" " + raw, raw.decode().encode("utf-16")):
        assert await refusal(more, unlock) is CORRUPT


@pytest.mark.parametrize("unlock", [KEY, PASSPHRASE])
async def test_r_10_no_byte_of_a_seal_can_be_altered(unlock: Unlock) -> None:
    raw = (await lock(unlock)).to_bytes()
    for place in range(len(raw)):
        for mask in (0x01, 0x80):
            altered = bytearray(raw)
            altered[place] ^= mask
            assert await refusal(bytes(altered), unlock) in (WRONG, CORRUPT)


async def test_r_10_a_hostile_seal_cannot_ask_for_much_work() -> None:
    """Whatever it says, the passphrase is not even looked at before the cost is in bounds."""
    most = Argon2Cost(limits.MAX_ARGON2_PASSES, limits.MAX_ARGON2_MEMORY, limits.MAX_ARGON2_LANES)
    fields = json.loads((await lock(PASSPHRASE)).to_bytes())
    for cost, fits in ((most, True), (Argon2Cost(16, 2**20 + 1, 16), False)):
        asked = {**fields, "passes": cost.passes, "memory": cost.memory, "lanes": cost.lanes}
        raw = json.dumps(asked, separators=(",", ":"), sort_keys=True).encode()
        if fits:
            assert Seal.from_bytes(raw).cost == most
        else:
            with pytest.raises(StoreFailed):
                Seal.from_bytes(raw)


@pytest.mark.parametrize("error", [MemoryError("secret"), RuntimeError("secret")])
async def test_too_little_memory_for_a_passphrase_is_typed(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    seal = await lock(PASSPHRASE)

    def fail(*arguments: object) -> Secret:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(NATIVE, "argon2id", fail, raising=False)
        with pytest.raises(EngineFailed) as failure:
            await seal.open(PASSPHRASE, NATIVE, None)
        assert "secret" not in str(failure.value)
        with pytest.raises(EngineFailed):
            await lock(PASSPHRASE)
    assert await seal.open(PASSPHRASE, NATIVE, None) == DATA_KEY


async def test_a_pool_that_was_shut_down_is_typed() -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(EngineFailed):
        await Seal.lock(DATA_KEY, PASSPHRASE, NATIVE, executor)


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("a\u3000b\u00a0c\u2009", "a b c "),
        ("\u212b", "\u00c5"),
        ("\u1f71", "\u03ac"),
        ("\u1100\u1161", "\uac00"),
    ],
)
def test_a_passphrase_is_the_same_from_every_keyboard(typed: str, prepared: str) -> None:
    assert Passphrase(typed).secret.reveal() == prepared.encode()
    assert Passphrase(prepared).secret == Passphrase(typed).secret


def test_a_passphrase_is_otherwise_as_typed() -> None:
    for one, other in (("a", "A"), ("a", "a "), ("ａ", "a"), ("ﬁ", "fi"), ("a  b", "a b")):
        assert Passphrase(one).secret != Passphrase(other).secret
    assert Passphrase("  ~ € 🔑").secret.reveal() == "  ~ € 🔑".encode()


@pytest.mark.parametrize(
    "text", ["", b"a", 1, None, *map(chr, NEVER), *(f"a{chr(n)}" for n in NEVER)]
)
def test_what_is_no_passphrase_is_refused(text: str) -> None:
    with pytest.raises(ApiMisuse):
        Passphrase(text)


@pytest.mark.parametrize(
    "key", [Secret(b""), Secret(b"\0" * 31), Secret(b"\0" * 33), b"\0" * 32, None]
)
def test_what_is_no_sealing_key_is_refused(key: Secret) -> None:
    with pytest.raises(ApiMisuse):
        SealingKey(key)


async def test_z_01_nothing_prints_a_passphrase_or_a_key() -> None:
    canary = Canary("canary-that-is-32-bytes-in-length")
    key = Canary(canary.text[:32])
    subjects: list[object] = [Passphrase(canary.text), SealingKey(Secret(key.raw))]
    for unlock in (Passphrase(canary.text), SealingKey(Secret(key.raw))):
        subjects.append(seal := await Seal.lock(Secret(key.raw), unlock, NATIVE, None))
        wrong = PASSPHRASE if seal.kind == "passphrase" else KEY
        with pytest.raises(StoreFailed) as failure:
            await seal.open(wrong, NATIVE, None)
        subjects.append(failure.value)
    for subject in subjects:
        for where, printed in everything_printable(subject):
            key.assert_absent(printed, where)
    with pytest.raises(ApiMisuse) as misuse:
        Passphrase(canary.text + "\n")
    # Without this test's own frame, which holds the text, too.
    misuse.value.__traceback__ = misuse.tb.tb_next
    for where, printed in everything_printable(misuse.value):
        key.assert_absent(printed, where)
