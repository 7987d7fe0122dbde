"""Containers: what we write, what we open, and every way in which opening must fail alike."""

from __future__ import annotations

import bz2
import hashlib
import os
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ox.container
from e2ee.errors import ApiMisuse, CannotDecrypt, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_PKESK, MAX_PLAINTEXT_BYTES, MIN_EXPANSION_BYTES
from e2ee.secret import Secret
from ox.container import lock, wrap
from ox.engine import S2kCount
from ox.grammar import check_signed_payload
from ox.packets import Tag, read_packets, write_packet
from tests.support.openpgp import (
    PASSPHRASE,
    cfb,
    decryption_keys_of,
    encryption_keys_of,
    literal,
    locked,
    one_pass,
    own_key,
    seipd,
    signature,
    skesk,
    unlocked,
    unwrapped,
)

SIGNED = one_pass() + literal(b"hello") + signature()


def lock_small(data: bytes = b"<geoloc/>") -> bytes:
    return lock(data, PASSPHRASE, S2kCount.RANDOM_SECRET, os.urandom)


def wrap_small(packets: bytes = SIGNED) -> bytes:
    return wrap(packets, encryption_keys_of(own_key()[0]), os.urandom)


def compressed(algorithm: int, data: bytes, *, indeterminate: bool = False) -> bytes:
    match algorithm:
        case 1:
            body = zlib.compress(data, 9, -15)
        case 2:
            body = zlib.compress(data, 9)
        case _:
            body = bz2.compress(data)
    body = bytes((algorithm,)) + body
    return b"\xa3" + body if indeterminate else write_packet(Tag.COMPRESSED, body)


def refused(data: bytes, code: ErrorCode) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        unlocked(data)
    assert caught.value.code is code


@pytest.mark.parametrize("size", [0, 1, 191, 192, 8383, 8384, 70_000, MAX_PLAINTEXT_BYTES])
def test_what_is_locked_unlocks(size: int) -> None:
    data = os.urandom(size)
    assert unlocked(lock_small(data)) == data


def test_what_is_locked_has_one_shape() -> None:
    message = lock(b"hello", PASSPHRASE, S2kCount.PASSPHRASE, os.urandom)
    first, second = read_packets(message, most=2)
    assert (first.tag, second.tag) == (Tag.SKESK, Tag.SEIPD)
    assert first.body[:4] == b"\x04\x09\x03\x08"  # AES-256; iterated and salted SHA-256
    assert first.body[12] == 255
    assert len(first.body) == 13 + 1 + 32  # with a session key
    assert unlocked(message) == b"hello"


def test_salt_session_key_and_prefix_are_fresh() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    first = lock(b"hello", PASSPHRASE, S2kCount.RANDOM_SECRET, random)
    assert sorted(asked) == [8, 16, 32]
    second = lock(b"hello", PASSPHRASE, S2kCount.RANDOM_SECRET, random)
    assert first[6:14] != second[6:14]
    assert first[15:] != second[15:]


def test_another_passphrase_cannot_decrypt() -> None:
    for message in (lock_small(), locked(literal(b"hello"))):
        for wrong in (b"", b"wrong", PASSPHRASE.reveal() + b"\n"):
            with pytest.raises(CannotDecrypt):
                unlocked(message, Secret(wrong))
        unlocked(message)


def test_what_is_wrapped_unwraps() -> None:
    keys = decryption_keys_of(own_key()[1])
    assert unwrapped(wrap_small(), keys) == SIGNED
    assert check_signed_payload(unwrapped(wrap_small(), keys)).data == b"hello"
    with pytest.raises(CannotDecrypt):
        unwrapped(wrap_small(), [])


def test_what_nobody_would_read_is_not_written() -> None:
    recipients = encryption_keys_of(own_key()[0])
    for recipients_, data in (
        (recipients, bytes(MAX_PLAINTEXT_BYTES + 1)),
        ([], SIGNED),
        (recipients * (MAX_PKESK + 1), SIGNED),
    ):
        with pytest.raises(ApiMisuse) as caught:
            wrap(data, recipients_, os.urandom)
        assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    with pytest.raises(ApiMisuse):
        lock_small(bytes(MAX_PLAINTEXT_BYTES + 1))


def test_g_15_without_the_code_nothing_opens() -> None:
    packet, key = skesk()
    prefix = bytes(range(16)) + b"\x0e\x0f"
    inner = literal(b"hello")
    for plain in (
        b"",
        prefix[:-1],
        prefix,
        prefix + b"\xd3\x14",
        prefix + inner,  # stripped
        prefix + inner + b"\xd3\x14" + bytes(20),
        prefix + inner + b"\xd3\x14" + hashlib.sha1(inner + b"\xd3\x14").digest(),  # no prefix
        prefix + inner + hashlib.sha1(prefix + inner).digest(),  # no packet around it
        prefix + inner + b"\xd2\x14" + hashlib.sha1(prefix + inner + b"\xd2\x14").digest(),
        b"\xd3\x14" + hashlib.sha1(b"\xd3\x14").digest(),  # a right code over nothing
        bytes(15) + b"\xd3\x14" + hashlib.sha1(bytes(15) + b"\xd3\x14").digest(),
    ):
        sealed = write_packet(Tag.SEIPD, b"\x01" + cfb(key, plain))
        with pytest.raises(CannotDecrypt):
            unlocked(packet + sealed)
    assert unlocked(packet + seipd(key, inner)) == b"hello"


def test_g_15_the_quick_check_alone_tells_nothing() -> None:
    """A wrong repetition fails like a wrong code, and only after everything was decrypted."""
    packet, key = skesk()
    with pytest.raises(CannotDecrypt):
        unlocked(packet + seipd(key, literal(b"hello"), prefix=bytes(16) + b"\x00\x01"))


def test_g_15_nothing_is_parsed_before_the_code_was_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("looked at what was not authenticated")

    packet, key = skesk()
    bomb = bytearray(packet + seipd(key, compressed(2, literal(b"x" * 10_000))))
    bomb[-1] ^= 1
    monkeypatch.setattr(ox.container, "expand", never)
    monkeypatch.setattr(ox.container, "check_literal", never)
    with pytest.raises(CannotDecrypt):
        unlocked(bytes(bomb))


def test_g_15_every_flipped_bit_of_a_locked_message_fails() -> None:
    for message in (lock_small(), locked(literal(b"hello"))):
        for bit in range(8 * len(message)):
            flipped = bytearray(message)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises((CannotDecrypt, PeerMisbehaved)):
                unlocked(bytes(flipped))


def test_g_15_every_flipped_bit_of_a_wrapped_message_fails() -> None:
    message, keys = wrap_small(), decryption_keys_of(own_key()[1])
    for bit in range(8 * len(message)):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CannotDecrypt, PeerMisbehaved)):
            unwrapped(bytes(flipped), keys)


def test_g_15_every_failure_has_one_face() -> None:
    def texts(damaged: list[bytes]) -> set[str]:
        found = set()
        for data in damaged:
            with pytest.raises(CannotDecrypt) as caught:
                unlocked(data)
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__ or caught.value.__context__ is None
            found.add(str(caught.value))
        return found

    message = lock_small()
    damaged = [message[:at] + bytes((message[at] ^ 1,)) + message[at + 1 :] for at in (8, 20, 60)]
    assert texts([*damaged, message[:-1] + bytes((message[-1] ^ 128,))]) == {"cannot decrypt"}


@pytest.mark.parametrize("algorithm", [1, 2, 3])
@pytest.mark.parametrize("indeterminate", [False, True])
def test_one_layer_of_compression_is_undone(algorithm: int, indeterminate: bool) -> None:
    data = "<entry>Où est-tu, Roméo ?</entry>".encode() * 50
    inner = compressed(algorithm, literal(data), indeterminate=indeterminate)
    assert unlocked(locked(inner)) == data


def test_g_16_short_and_dull_data_is_no_bomb() -> None:
    data = b" " * (MIN_EXPANSION_BYTES - 100)
    for algorithm in (1, 2, 3):
        assert unlocked(locked(compressed(algorithm, literal(data)))) == data


@pytest.mark.parametrize("algorithm", [1, 2, 3])
def test_g_16_bombs_stop_at_the_bound(algorithm: int, monkeypatch: pytest.MonkeyPatch) -> None:
    produced: list[int] = []
    real = ox.container._decompressor

    class Counting:
        def __init__(self, octet: int) -> None:
            self._inner = real(octet)

        def decompress(self, data: bytes, most: int, /) -> bytes:
            expanded = self._inner.decompress(data, most)
            produced.append(len(expanded))
            return expanded

    monkeypatch.setattr(ox.container, "_decompressor", Counting)
    bomb = compressed(algorithm, literal(bytes(64 * 1024 * 1024)))
    refused(locked(bomb), ErrorCode.LIMIT_EXCEEDED)
    assert sum(produced) <= min(MAX_PLAINTEXT_BYTES, max(100 * len(bomb), 65536)) + 1


def test_g_16_a_second_layer_is_refused() -> None:
    twice = compressed(2, compressed(2, literal(b"hello")))
    refused(locked(twice), ErrorCode.LIMIT_EXCEEDED)
    nested = literal(b"hello")
    for _ in range(17):
        nested = compressed(1, nested, indeterminate=True)
    refused(locked(nested), ErrorCode.LIMIT_EXCEEDED)
    refused(locked(literal(b"x") + compressed(2, literal(b"y"))), ErrorCode.MALFORMED)


def test_g_16_the_bound_also_holds_without_compression() -> None:
    refused(locked(literal(bytes(MAX_PLAINTEXT_BYTES + 1))), ErrorCode.LIMIT_EXCEEDED)


@pytest.mark.parametrize("algorithm", [1, 2, 3])
def test_g_19_compressed_data_ends_where_it_ends(algorithm: int) -> None:
    whole = compressed(algorithm, literal(b"hello"))
    (packet,) = read_packets(whole, most=1)
    for body in (packet.body + b"\0", packet.body[:-1], packet.body[:1], packet.body[:2]):
        refused(locked(write_packet(Tag.COMPRESSED, body)), ErrorCode.MALFORMED)
    refused(locked(whole + literal(b"x")), ErrorCode.MALFORMED)
    refused(locked(whole + whole), ErrorCode.MALFORMED)


def test_compression_of_nothing_is_refused() -> None:
    refused(locked(write_packet(Tag.COMPRESSED, b"")), ErrorCode.MALFORMED)


@pytest.mark.parametrize("body", [b"\x00" + literal(b"x"), b"\x04xxx", b"\x6exxx"])
def test_other_compression_is_refused(body: bytes) -> None:
    refused(locked(write_packet(Tag.COMPRESSED, body)), ErrorCode.UNSUPPORTED_ALGORITHM)


@pytest.mark.parametrize(
    "inner",
    [b"", b"\x00", literal(b"a") * 2, signature() + literal(b"a"), locked(literal(b"a")), b"\xd2"],
)
def test_g_19_what_is_inside_is_one_literal(inner: bytes) -> None:
    refused(locked(inner), ErrorCode.MALFORMED)


def test_g_23_the_message_that_made_sequoia_panic() -> None:
    """A plaintext of 18 octets after the prefix and no code (OPENPGP.md 4.4)."""
    packet, key = skesk()
    sealed = write_packet(Tag.SEIPD, b"\x01" + cfb(key, bytes(18 + 18)))
    with pytest.raises(CannotDecrypt):
        unlocked(packet + sealed)


def test_g_23_every_truncation_fails() -> None:
    keys = decryption_keys_of(own_key()[1])
    for message in (lock_small(), locked(compressed(2, literal(b"hello")))):
        for size in range(len(message)):
            with pytest.raises((CannotDecrypt, PeerMisbehaved)):
                unlocked(message[:size])
    message = wrap_small()
    for size in range(len(message)):
        with pytest.raises((CannotDecrypt, PeerMisbehaved)):
            unwrapped(message[:size], keys)


def test_g_23_every_container_length_fails_alike() -> None:
    packet, key = skesk()
    for size in range(80):
        with pytest.raises(CannotDecrypt):
            unlocked(packet + write_packet(Tag.SEIPD, b"\x01" + cfb(key, bytes(size))))


@given(st.binary(max_size=300))
def test_g_23_any_octets_inside_are_taken_or_refused(inner: bytes) -> None:
    with suppress(PeerMisbehaved):
        unlocked(locked(inner))
    with suppress(PeerMisbehaved):
        unlocked(locked(write_packet(Tag.COMPRESSED, inner)))


@settings(max_examples=300)
@given(st.data())
def test_g_23_mutated_messages_are_refused_with_one_error(data: st.DataObject) -> None:
    keys = decryption_keys_of(own_key()[1])
    whole = data.draw(st.sampled_from([lock_small(), wrap_small(), locked(literal(b"hello"))]))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 20)))
    mutated = whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:]
    with suppress(E2eeError):
        assert unlocked(mutated) in (b"<geoloc/>", b"hello")
        assert mutated == whole
    with suppress(E2eeError):
        assert unwrapped(mutated, keys) == SIGNED
        assert mutated == whole


@given(st.binary(max_size=2000))
def test_any_data_goes_there_and_back(data: bytes) -> None:
    assert unlocked(lock_small(data)) == data
