"""String-to-key: bit-exact against a naive second implementation, and bounded."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from traceback import TracebackException
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.secret import Secret
from ox.packets import Cursor
from ox.s2k import Hash, Specifier, derive, read_specifier, write_specifier
from tests.support.openpgp import naive_s2k

SALT = bytes(range(8))


def read(octets: bytes) -> Specifier:
    cursor = Cursor(octets, "test")
    found = read_specifier(cursor)
    cursor.finish()
    return found


@pytest.mark.parametrize(
    ("coded", "count"), [(0, 1024), (1, 1088), (96, 65_536), (224, 16_777_216), (255, 65_011_712)]
)
def test_coded_counts(coded: int, count: int) -> None:
    assert Specifier(Hash.SHA256, SALT, coded).count == count


def test_a_count_less_than_its_input_hashes_all_of_it_once() -> None:
    long = b"x" * 5000
    derived = derive(Specifier(Hash.SHA256, SALT, 0), Secret(long), 32)
    assert derived.reveal() == hashlib.sha256(SALT + long).digest()


@given(
    st.sampled_from(Hash),
    st.sampled_from([None, 0, 1, 37, 95]),
    st.binary(max_size=100),
    st.sampled_from([16, 24, 32, 70]),
)
def test_derivation_is_exact(
    hash_: Hash, coded: int | None, passphrase: bytes, length: int
) -> None:
    for salt in (SALT,) if coded is not None else (SALT, b""):
        specifier = Specifier(hash_, salt, coded)
        name = hash_.name.lower()
        expected = naive_s2k(name, salt, specifier.count, passphrase, length)
        assert derive(specifier, Secret(passphrase), length).reveal() == expected


def test_derivation_is_exact_over_several_blocks() -> None:
    specifier = Specifier(Hash.SHA1, SALT, 165)  # 2.75 MiB
    expected = naive_s2k("sha1", SALT, specifier.count, b"correct horse", 32)
    assert derive(specifier, Secret(b"correct horse"), 32).reveal() == expected


@given(st.sampled_from(Hash), st.sampled_from([None, 0, 7, 255]), st.booleans())
def test_what_is_written_is_read(hash_: Hash, coded: int | None, salted: bool) -> None:
    specifier = Specifier(hash_, SALT if salted or coded is not None else b"", coded)
    assert read(write_specifier(specifier)) == specifier


@pytest.mark.parametrize(
    ("what", "octets"),
    [
        ("Argon2", bytes((4, *range(16), 255, 4, 31))),
        ("GnuPG's dummy", b"\x65\x00GNU\x01"),
        ("reserved", b"\x02\x08" + SALT),
        ("unknown hash", b"\x03\x0c" + SALT + b"\x00"),
        ("hash 0", b"\x00\x00"),
    ],
)
def test_g_17_other_kinds_are_refused(what: str, octets: bytes) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        read(octets)
    assert caught.value.code is ErrorCode.UNSUPPORTED_ALGORITHM, what


def test_g_17_the_most_expensive_is_known_and_its_memory_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[int] = []

    class Counting:
        digest_size = 20

        def __init__(self, name: str, **_: Any) -> None:
            assert name == "sha1"

        def update(self, data: bytes) -> None:
            hashed.append(len(data))

        def digest(self) -> bytes:
            return bytes(20)

    monkeypatch.setattr("ox.s2k.hashlib", SimpleNamespace(new=Counting))
    derive(Specifier(Hash.SHA1, SALT, 255), Secret(b"passphrase"), 32)
    assert sum(hashed) == 2 * 65_011_712 + 1  # two digests; the second starts with a zero octet
    assert max(hashed) < 1024 * 1024 + 100


def test_a_hash_that_this_machine_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str, **_: Any) -> None:
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr("ox.s2k.hashlib", SimpleNamespace(new=lacking))
    with pytest.raises(PeerMisbehaved) as caught:
        derive(Specifier(Hash.RIPEMD160, SALT, 0), Secret(b"CANARY"), 16)
    assert caught.value.code is ErrorCode.UNSUPPORTED_ALGORITHM
    trace = TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in trace.stack if frame.filename.endswith("s2k.py")]
    assert "CANARY" not in str([frame.locals for frame in ours if "tests" not in frame.filename])


@given(st.binary(max_size=40))
def test_g_23_any_octets_are_read_or_refused(data: bytes) -> None:
    with suppress(PeerMisbehaved):
        read(data)
