"""The guard for messages: what makes one, what does not, and what that costs to find out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_AEAD_CHUNKS, MAX_PKESK, MAX_PLAINTEXT_BYTES, MAX_SIGNATURES, MAX_SKESK
from ox.ciphers import Symmetric
from ox.grammar import (
    check_detached_signatures,
    check_encrypted_message,
    check_literal,
    check_passphrase_message,
    check_signed_payload,
)
from ox.packets import Tag, write_packet
from tests.support.openpgp import literal, one_pass, signature, skesk

PKESK = write_packet(Tag.PKESK, b"\x03" + b"recipien" + b"\x12" + bytes(40))
HIDDEN = write_packet(Tag.PKESK, b"\x03" + bytes(8) + b"\x12" + bytes(40))
PKESK_V6 = write_packet(Tag.PKESK, b"\x06\x15\x04fingerprint of a key\x19" + bytes(73))
HIDDEN_V6 = write_packet(Tag.PKESK, b"\x06\x00\x19" + bytes(73))
OF_V6 = write_packet(Tag.PKESK, b"\x06\x21\x06the fingerprint of a newer key 3\x19" + bytes(73))
SKESK, _ = skesk()
ARGON2 = write_packet(Tag.SKESK, b"\x04\x09\x04" + bytes(16) + b"\xff\x04\x1f")
ARGON2_V6 = write_packet(Tag.SKESK, b"\x06\x17\x09\x02\x14\x04" + bytes(16) + b"\xff\x04\x1f")
SEIPD = write_packet(Tag.SEIPD, b"\x01" + bytes(60))
SEIPD_V2 = write_packet(Tag.SEIPD, b"\x02\x09\x02\x06" + bytes(80))
SED = write_packet(Tag.SED, bytes(60))
OCB = write_packet(Tag.AEAD, b"\x01\x09\x02\x10" + bytes(60))
COMPRESSED = write_packet(Tag.COMPRESSED, b"\x02" + bytes(20))
MARKER = write_packet(10, b"PGP")
PADDING = write_packet(21, bytes(10))
PRIVATE = write_packet(60, b"")
USER_ID = write_packet(Tag.USER_ID, b"juliet")

GUARDS = (check_encrypted_message, check_passphrase_message)
INNER_GUARDS = (check_signed_payload, check_literal)


def refused(guard: Callable[[bytes], object], data: bytes, code: ErrorCode) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        guard(data)
    assert caught.value.code is code


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what is hashed for passphrases."""
    sizes: list[int] = []

    def counting(name: str, **options: Any) -> Any:
        hasher = hashlib.new(name, **options)

        def update(data: bytes) -> None:
            sizes.append(len(data))
            hasher.update(data)

        return SimpleNamespace(update=update, digest=hasher.digest, digest_size=hasher.digest_size)

    monkeypatch.setattr("ox.s2k.hashlib", SimpleNamespace(new=counting))
    return sizes


def test_messages_to_keys_are_taken() -> None:
    message = check_encrypted_message(PKESK + HIDDEN + SKESK + SEIPD)
    assert [found.name for found in message.recipients] == [b"recipien", bytes(8)]
    assert message.container == b"\x01" + bytes(60)


def test_messages_of_the_new_version_are_taken() -> None:
    message = check_encrypted_message(PKESK_V6 + HIDDEN_V6 + OF_V6 + SEIPD_V2)
    names = [b"fingerprint of a key", b"", b"the fingerprint of a newer key 3"]
    assert [found.name for found in message.recipients] == names
    assert {found.cipher for found in message.recipients} == {Symmetric.AES256}


@pytest.mark.parametrize(
    "name",
    [b"\x04" + bytes(19), b"\x04" + bytes(32), b"\x06" + bytes(20), b"\x05" + bytes(20), b"\x04"],
)
def test_recipients_without_a_fingerprint_are_refused(name: bytes) -> None:
    way_in = write_packet(Tag.PKESK, b"\x06" + bytes((len(name),)) + name + b"\x19" + bytes(73))
    refused(check_encrypted_message, way_in + SEIPD_V2, ErrorCode.MALFORMED)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x02\x02\x02\x06" + bytes(80), ErrorCode.UNSUPPORTED_ALGORITHM),  # triple DES
        (b"\x02\x09\x01\x06" + bytes(80), ErrorCode.UNSUPPORTED_ALGORITHM),  # EAX
        (b"\x02\x09\x04\x06" + bytes(80), ErrorCode.UNSUPPORTED_ALGORITHM),
        (b"\x02\x09\x02\x11" + bytes(80), ErrorCode.MALFORMED),  # chunks of 8 MiB
        (b"\x02\x09\x02\xff" + bytes(80), ErrorCode.MALFORMED),
        (b"\x02\x09\x02\x06" + bytes(32 + 15), ErrorCode.MALFORMED),
        (b"\x02\x09\x02\x06" + bytes(31), ErrorCode.MALFORMED),
        (b"\x02\x09\x02", ErrorCode.MALFORMED),
        (b"\x02", ErrorCode.MALFORMED),
    ],
)
def test_g_15_containers_that_cannot_be_are_refused(body: bytes, code: ErrorCode) -> None:
    refused(check_encrypted_message, PKESK_V6 + write_packet(Tag.SEIPD, body), code)


def test_g_15_chunks_beyond_count_are_refused_before_one_is_opened() -> None:
    head = b"\x02\x09\x02\x00" + bytes(32 + 16)
    most = write_packet(Tag.SEIPD, head + bytes(80 * MAX_AEAD_CHUNKS))
    check_encrypted_message(PKESK_V6 + most)
    more = write_packet(Tag.SEIPD, head + bytes(80 * MAX_AEAD_CHUNKS + 1))
    refused(check_encrypted_message, PKESK_V6 + more, ErrorCode.LIMIT_EXCEEDED)


def test_messages_to_a_passphrase_are_taken() -> None:
    message = check_passphrase_message(SKESK + SEIPD)
    assert message.skesk.s2k.salt == b"saltsalt"


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize(
    "data",
    [
        literal(b"hello"),
        literal(b"hello") + SKESK + SEIPD,
        one_pass() + literal(b"hello") + signature(),
        signature() + literal(b"hello"),
        COMPRESSED,
        b"\xa3\x01compressed, without a length, as gpg writes it",
    ],
)
def test_g_01_what_is_not_encrypted_is_refused(
    guard: Callable[[bytes], object], data: bytes
) -> None:
    refused(guard, data, ErrorCode.NOT_ENCRYPTED)


def test_g_01_a_way_in_does_not_make_it_encrypted() -> None:
    refused(check_encrypted_message, PKESK + literal(b"hello"), ErrorCode.NOT_ENCRYPTED)
    refused(check_passphrase_message, SKESK + COMPRESSED, ErrorCode.NOT_ENCRYPTED)


def test_g_15_encryption_without_integrity_is_refused() -> None:
    refused(check_encrypted_message, PKESK + SED, ErrorCode.UNSUPPORTED_ALGORITHM)
    refused(check_passphrase_message, SKESK + SED, ErrorCode.UNSUPPORTED_ALGORITHM)
    refused(check_passphrase_message, SED, ErrorCode.UNSUPPORTED_ALGORITHM)
    refused(check_encrypted_message, PKESK + OCB, ErrorCode.UNSUPPORTED_ALGORITHM)
    refused(check_passphrase_message, SKESK + SEIPD_V2, ErrorCode.UNSUPPORTED_ALGORITHM)
    unknown = write_packet(Tag.SEIPD, b"\x03" + bytes(60))
    refused(check_encrypted_message, PKESK + unknown, ErrorCode.UNSUPPORTED_ALGORITHM)


def test_g_17_floods_of_passphrases_cost_no_hashing(hashed: list[int]) -> None:
    refused(check_passphrase_message, SKESK * 50 + SEIPD, ErrorCode.LIMIT_EXCEEDED)
    refused(check_passphrase_message, SKESK * 2 + SEIPD, ErrorCode.LIMIT_EXCEEDED)
    refused(check_encrypted_message, PKESK + SKESK * 5 + SEIPD, ErrorCode.LIMIT_EXCEEDED)
    check_encrypted_message(PKESK + SKESK * MAX_SKESK + SEIPD)
    assert hashed == []


def test_g_17_argon2_costs_no_hashing(hashed: list[int]) -> None:
    refused(check_passphrase_message, ARGON2 + SEIPD, ErrorCode.UNSUPPORTED_ALGORITHM)
    refused(check_encrypted_message, PKESK + ARGON2 + SEIPD, ErrorCode.UNSUPPORTED_ALGORITHM)
    for way_in in (ARGON2, ARGON2_V6, SKESK):
        message = PKESK_V6 + way_in + SEIPD_V2
        refused(check_encrypted_message, message, ErrorCode.UNSUPPORTED_ALGORITHM)
    assert hashed == []


def test_g_18_floods_of_recipients_are_refused() -> None:
    assert len(check_encrypted_message(HIDDEN * MAX_PKESK + SEIPD).recipients) == MAX_PKESK
    for count in (MAX_PKESK + 1, 10_000):
        refused(check_encrypted_message, HIDDEN * count + SEIPD, ErrorCode.LIMIT_EXCEEDED)
        refused(check_encrypted_message, HIDDEN_V6 * count + SEIPD_V2, ErrorCode.LIMIT_EXCEEDED)


@pytest.mark.parametrize("extra", [MARKER, PADDING, PRIVATE, USER_ID, signature(), literal(b"x")])
def test_g_19_extra_packets_are_refused(extra: bytes) -> None:
    for way_in, guard in ((PKESK, check_encrypted_message), (SKESK, check_passphrase_message)):
        refused(guard, way_in + SEIPD + extra, ErrorCode.MALFORMED)
        with pytest.raises(PeerMisbehaved):
            guard(extra + way_in + SEIPD)
        with pytest.raises(PeerMisbehaved):
            guard(way_in + extra + SEIPD)


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("data", [b"", PKESK, SKESK, SEIPD, USER_ID])
def test_g_19_parts_of_a_message_are_refused(guard: Callable[[bytes], object], data: bytes) -> None:
    refused(guard, data, ErrorCode.MALFORMED)


def test_g_19_two_messages_are_refused() -> None:
    refused(check_encrypted_message, (PKESK + SEIPD) * 2, ErrorCode.MALFORMED)
    refused(check_passphrase_message, (SKESK + SEIPD) * 2, ErrorCode.MALFORMED)
    refused(check_passphrase_message, SKESK + SEIPD * 2, ErrorCode.MALFORMED)
    refused(check_passphrase_message, SKESK + SEIPD + b"\n", ErrorCode.MALFORMED)


def test_g_19_versions_do_not_mix() -> None:
    refused(check_encrypted_message, PKESK + SEIPD_V2, ErrorCode.MALFORMED)
    refused(check_encrypted_message, PKESK_V6 + SEIPD, ErrorCode.MALFORMED)
    refused(check_encrypted_message, SKESK + SEIPD, ErrorCode.MALFORMED)


def test_g_21_armor_is_refused() -> None:
    armored = b"-----BEGIN PGP MESSAGE-----\n\njA0ECQMC\n-----END PGP MESSAGE-----\n"
    signed = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nhello\n"
    for guard in (*GUARDS, *INNER_GUARDS, detached):
        refused(guard, armored, ErrorCode.MALFORMED)
        refused(guard, signed, ErrorCode.MALFORMED)


def test_n_15_a_message_to_keys_is_no_item() -> None:
    refused(check_passphrase_message, PKESK + SEIPD, ErrorCode.MALFORMED)
    refused(check_passphrase_message, PKESK + SKESK + SEIPD, ErrorCode.MALFORMED)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x05\x09\x03\x08" + bytes(9), ErrorCode.UNSUPPORTED_ALGORITHM),  # version
        (b"\x06" + bytes(40), ErrorCode.UNSUPPORTED_ALGORITHM),
        (b"\x04\x02\x03\x08" + bytes(9), ErrorCode.UNSUPPORTED_ALGORITHM),  # triple DES
        (b"\x04\x00\x03\x08" + bytes(9), ErrorCode.UNSUPPORTED_ALGORITHM),
        (b"\x04\x09\x03\x08" + bytes(8), ErrorCode.MALFORMED),  # cut short
        (b"\x04\x09\x03\x08" + bytes(9 + 32), ErrorCode.MALFORMED),  # key of an odd length
        (b"", ErrorCode.MALFORMED),
    ],
)
def test_passphrases_of_another_kind_are_refused(body: bytes, code: ErrorCode) -> None:
    refused(check_passphrase_message, write_packet(Tag.SKESK, body) + SEIPD, code)


def test_signed_payloads_are_taken_and_framed_anew() -> None:
    old = b"\xac\x0b" + b"b\0\0\0\0\0hello"  # an old-format literal
    for data, count in (
        (one_pass() + old + b"\x88\x0a" + signature()[2:], 1),  # an old-format signature
        (one_pass() * 2 + old + signature() * 2, 2),
        (signature() + old, 1),
    ):
        payload = check_signed_payload(data)
        assert payload.data == b"hello"
        assert payload.signatures == (signature(),) * count


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (literal(b"x"), ErrorCode.FORBIDDEN),
        (signature(1) + literal(b"x"), ErrorCode.BAD_SIGNATURE),
        (one_pass(1) + literal(b"x") + signature(1), ErrorCode.BAD_SIGNATURE),
        (one_pass() + literal(b"x") + signature(0x40), ErrorCode.BAD_SIGNATURE),
        (signature(version=3) + literal(b"x"), ErrorCode.UNSUPPORTED_ALGORITHM),
        (signature(version=6) + literal(b"x"), ErrorCode.UNSUPPORTED_ALGORITHM),
        (b"", ErrorCode.MALFORMED),
        (signature(), ErrorCode.MALFORMED),
        (one_pass() + literal(b"x"), ErrorCode.MALFORMED),
        (literal(b"x") + signature(), ErrorCode.MALFORMED),
        (one_pass() * 2 + literal(b"x") + signature(), ErrorCode.MALFORMED),
        (signature() + one_pass() + literal(b"x") + signature() * 2, ErrorCode.MALFORMED),
        (one_pass() + literal(b"x") + signature() + MARKER, ErrorCode.MALFORMED),
        (one_pass() + literal(b"x") * 2 + signature(), ErrorCode.MALFORMED),
        (literal(b"y") + one_pass() + literal(b"x") + signature(), ErrorCode.MALFORMED),
        (one_pass() + literal(b"x") + signature() + literal(b"y"), ErrorCode.MALFORMED),
        (one_pass() + COMPRESSED + signature(), ErrorCode.MALFORMED),
        (PKESK + SEIPD, ErrorCode.MALFORMED),
    ],
)
def test_g_03_other_payloads_are_refused(data: bytes, code: ErrorCode) -> None:
    refused(check_signed_payload, data, code)


def test_g_04_too_many_signatures_are_refused() -> None:
    check_signed_payload(signature() * MAX_SIGNATURES + literal(b"x"))
    for count in (MAX_SIGNATURES + 1, 10_000):
        refused(check_signed_payload, signature() * count + literal(b"x"), ErrorCode.LIMIT_EXCEEDED)


def test_literals_are_taken() -> None:
    assert check_literal(literal(b"hello")) == b"hello"
    for data in (b"", literal(b"x") * 2, literal(b"x") + MARKER, signature() + literal(b"x")):
        refused(check_literal, data, ErrorCode.MALFORMED)
    for head in (b"", b"b", b"l\0\0\0\0\0", b"m\0\0\0\0\0", b"b\x09name\0\0\0\0", b"b\0\0\0\0"):
        refused(check_literal, write_packet(Tag.LITERAL, head), ErrorCode.MALFORMED)


def test_g_20_name_date_and_format_are_never_used() -> None:
    name = b"../../.bashrc"
    for form in (b"b", b"t", b"u"):
        head = form + bytes((len(name),)) + name + b"\xff\xff\xff\xff"
        assert check_literal(literal(b"line\r\n", head)) == b"line\r\n"
        assert "bashrc" not in repr(check_signed_payload(signature() + literal(b"x", head)))


def test_a_plaintext_beyond_the_bound_is_refused() -> None:
    data = literal(bytes(MAX_PLAINTEXT_BYTES + 1))
    refused(check_literal, data, ErrorCode.LIMIT_EXCEEDED)


def detached(data: bytes) -> tuple[bytes, ...]:
    return check_detached_signatures(data, most=2)


def test_detached_signatures_are_taken() -> None:
    assert detached(signature()) == (signature(),)
    assert detached(signature() * 2) == (signature(), signature())


def test_q_11_only_detached_signatures_over_binary_documents_are_taken() -> None:
    for data, code in (
        (b"", ErrorCode.MALFORMED),
        (b"-----BEGIN PGP SIGNATURE-----\n\n", ErrorCode.MALFORMED),
        (signature() + b"\0", ErrorCode.MALFORMED),
        (signature()[:-1], ErrorCode.MALFORMED),
        (signature() * 3, ErrorCode.LIMIT_EXCEEDED),
        (literal(b"x"), ErrorCode.BAD_SIGNATURE),
        (b"\xa3\x02" + bytes(20), ErrorCode.BAD_SIGNATURE),  # compressed, without a length
        (signature() + literal(b"x"), ErrorCode.BAD_SIGNATURE),
        (one_pass() + signature(), ErrorCode.BAD_SIGNATURE),
        (signature(1), ErrorCode.BAD_SIGNATURE),
        (signature() + signature(1), ErrorCode.BAD_SIGNATURE),
        (signature(version=3), ErrorCode.UNSUPPORTED_ALGORITHM),
        (signature() + signature(version=3), ErrorCode.UNSUPPORTED_ALGORITHM),
    ):
        refused(detached, data, code)


PARTS = [
    PKESK, HIDDEN, PKESK_V6, HIDDEN_V6, SKESK, ARGON2, ARGON2_V6, SEIPD, SEIPD_V2, SED, OCB,
    COMPRESSED, MARKER, USER_ID, literal(b"x"), signature(), one_pass(),
]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=5), max_size=6), st.data())
def test_g_23_any_input_is_taken_or_refused(parts: list[bytes], data: st.DataObject) -> None:
    mutated = bytearray(b"".join(parts))
    if mutated:
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at] ^= data.draw(st.integers(0, 255))
    for guard in (*GUARDS, *INNER_GUARDS, detached):
        with suppress(PeerMisbehaved):
            guard(bytes(mutated))
