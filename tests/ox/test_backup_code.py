"""Backup codes: what is generated, and how forgivingly they are read."""

from __future__ import annotations

import re
import traceback
from collections import Counter
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from ox.backup_code import BackupCode
from tests.support.leaks import Canary, everything_printable, no_leak_in_logs
from tests.support.ox_keys import typed_code

ALPHABET = "123456789ABCDEFGHIJKLMNPQRSTUVWXYZ"
EXAMPLE = "TWNK-KD5Y-MT3T-E1GS-DRDB-KVTW"  # the specification's
FORM = re.compile(r"(?:[1-9A-NP-Z]{4}-){5}[1-9A-NP-Z]{4}")
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00ad\ufe63\uff0d"
SPACES = " \t\n\r\u00a0\u2003\u3000"

symbols = st.lists(st.sampled_from(ALPHABET), min_size=24, max_size=24)


class Octets(NativePrimitives):
    """Randomness that is given."""

    def __init__(self, octets: bytes) -> None:
        self._octets = cycle(octets)

    def random(self, count: int) -> bytes:
        return bytes(next(self._octets) for _ in range(count))


def written(code: list[str]) -> str:
    return "-".join("".join(code[start : start + 4]) for start in range(0, 24, 4))


class TestGenerate:
    def test_g_22_a_code_has_the_form_of_the_specification(self) -> None:
        codes = {BackupCode.generate(NativePrimitives()).shown for _ in range(500)}
        assert len(codes) == 500
        assert all(FORM.fullmatch(code) for code in codes)
        assert set("".join(codes)) == set(ALPHABET) | {"-"}

    def test_g_22_every_symbol_is_equally_likely(self) -> None:
        """All octets together: seven of them for each symbol, and none for the 18 left over."""
        octets = bytes(range(256)) * 24
        primitives = Octets(octets)
        drawn = "".join(BackupCode.generate(primitives).shown for _ in range(238))
        counts = Counter(drawn.replace("-", ""))
        assert set(counts) == set(ALPHABET)
        assert max(counts.values()) - min(counts.values()) <= 24

    @given(st.binary(min_size=24, max_size=200).filter(lambda raw: any(o < 238 for o in raw)))
    def test_whatever_the_randomness(self, octets: bytes) -> None:
        assert FORM.fullmatch(BackupCode.generate(Octets(octets)).shown)

    def test_z_04_without_randomness_there_is_no_code(self) -> None:
        class Broken(NativePrimitives):
            def random(self, count: int) -> bytes:
                raise OSError

        with pytest.raises(OSError):  # noqa: PT011
            BackupCode.generate(Broken())


class TestParse:
    def test_the_passphrase_is_the_whole_code_with_its_dashes(self) -> None:
        code = typed_code(EXAMPLE)
        assert code.passphrase.reveal() == EXAMPLE.encode()
        assert code.shown == EXAMPLE

    @given(symbols, st.data())
    def test_case_spaces_and_dashes_are_forgiven(
        self, code: list[str], data: st.DataObject
    ) -> None:
        typed = ""
        for symbol in code:
            typed += data.draw(st.text(DASHES + SPACES, max_size=3))
            typed += symbol.lower() if data.draw(st.booleans()) else symbol
        typed += data.draw(st.text(DASHES + SPACES, max_size=3))
        assert typed_code(typed).shown == written(code)
        assert typed_code(typed) == typed_code(written(code))

    @given(st.text())
    def test_anything_else_is_one_error(self, typed: str) -> None:
        kept = [each for each in typed.upper() if each in ALPHABET]
        try:
            code = typed_code(typed)
        except PeerMisbehaved as error:
            found: object = error.code
        else:
            found = code.shown.replace("-", "")
        assert found in (ErrorCode.MALFORMED, "".join(kept))

    @given(symbols, st.integers(0, 23), st.sampled_from("Oo0_.!ßſıКＡ１\0"))
    def test_one_wrong_symbol_is_refused_and_its_place_is_said(
        self, code: list[str], place: int, wrong: str
    ) -> None:
        with pytest.raises(PeerMisbehaved, match=rf"^symbol {place + 1} is") as caught:
            typed_code("".join([*code[:place], wrong, *code[place + 1 :]]))
        assert caught.value.code is ErrorCode.MALFORMED

    @pytest.mark.parametrize("wrong", ["O", "o", "0"])
    def test_g_22_look_alikes_are_not_guessed(self, wrong: str) -> None:
        with pytest.raises(PeerMisbehaved, match="symbol 4 is an O or a zero"):
            typed_code(EXAMPLE.replace("K-", f"{wrong}-", 1))

    @pytest.mark.parametrize("wrong", ["ı", "ſ", "ß", "\u212a", "Ａ", "І", "１", "_", ".", "\0"])
    def test_g_22_no_other_script_becomes_a_symbol(self, wrong: str) -> None:
        """Of these, upper-casing makes I, S, SS or leaves a letter that looks like one."""
        with pytest.raises(PeerMisbehaved, match="symbol 1 is in no backup code"):
            typed_code(wrong + EXAMPLE[1:])

    @pytest.mark.parametrize("typed", ["", " - ", EXAMPLE[:-1], EXAMPLE + "1", EXAMPLE * 1000])
    def test_g_22_too_few_and_too_many_are_counted(self, typed: str) -> None:
        count = len(typed.replace("-", "").strip())
        with pytest.raises(PeerMisbehaved, match=rf"^{count} symbols"):
            typed_code(typed)


def test_z_01_a_code_never_prints() -> None:
    canary = Canary(EXAMPLE)
    with no_leak_in_logs(canary):
        for where, printed in everything_printable(typed_code(EXAMPLE)):
            canary.assert_absent(printed, where)
        for typed in (EXAMPLE + "X", EXAMPLE[:-1] + "0", EXAMPLE[:-1] + "ß"):
            with pytest.raises(E2eeError) as caught:
                typed_code(typed)
            error = caught.value
            assert error.__cause__ is None
            canary.assert_absent(f"{error} {error!r} {vars(error)}", "an error")
            frames = traceback.TracebackException.from_exception(
                secretly_parsed(Secret(typed.encode())), capture_locals=True
            )
            canary.assert_absent("".join(frames.format()), "a traceback with locals")


def secretly_parsed(typed: Secret) -> E2eeError:
    """Return the error, with the frames in which it was raised."""
    try:
        BackupCode.parse(typed)
    except E2eeError as error:
        return error
    raise AssertionError
