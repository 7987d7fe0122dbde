"""Containers of version 2, against Sequoia and a second writer, and against every alteration."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

import pysequoia
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ox.container
from e2ee.errors import CannotDecrypt, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_PKESK
from e2ee.secret import Secret
from ox.aead import open_aead, read_aead_container
from ox.ciphers import Symmetric
from ox.grammar import check_encrypted_message, check_signed_payload
from ox.packets import Tag, read_packets, write_packet
from ox.session_key import SessionKey
from tests.support.openpgp import (
    decryption_keys_of,
    encryption_keys_of,
    literal,
    own_key,
    unwrapped,
)
from tests.support.seipd2 import KINDS, Sealed, message_to, newer_key, sealed, way_in

KEY = bytes(range(32))
INNER = literal(os.urandom(200))  # 209 octets: 4 chunks of 64


def opened(container: Sealed, key: bytes = KEY) -> bytes:
    cipher = {16: Symmetric.AES128, 24: Symmetric.AES192, 32: Symmetric.AES256}[len(key)]
    return open_aead(read_aead_container(container.body), SessionKey(cipher, Secret(key)))


def from_sequoia(kind: str, data: bytes = b"hello") -> bytes:
    """Return a message to a key of this kind, signed by its own holder."""
    certificate, secret_key = newer_key(kind)
    signer = pysequoia.Tsk.from_bytes(secret_key.reveal()).signer()
    return pysequoia.encrypt(data, [pysequoia.Cert.from_bytes(certificate)], signer, armor=False)


@pytest.mark.parametrize("mode", [2, 3])
@pytest.mark.parametrize("cipher", Symmetric)
@pytest.mark.parametrize("size", [1, 63, 64, 65, 128, 5000])
def test_every_mode_and_cipher_is_read(mode: int, cipher: Symmetric, size: int) -> None:
    key, data = os.urandom(cipher.key_length), os.urandom(size)
    for size_octet in (0, 1, 6, 16):
        container = sealed(data, key, cipher=cipher, mode=mode, size_octet=size_octet)
        assert opened(container, key) == data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 4096, 100_000])
def test_we_open_what_sequoia_encrypts_to_keys_of_its_own(kind: str, size: int) -> None:
    message = from_sequoia(kind, b"x" * size)
    assert read_packets(message, most=2)[0].body[0] == 6
    found = unwrapped(message, decryption_keys_of(newer_key(kind)[1]))
    assert check_signed_payload(found).data == b"x" * size


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_recipients_are_tried_with_every_key(kind: str) -> None:
    """Among them keys of version 6, which are not ours."""
    first, container = read_packets(from_sequoia(kind), most=2)
    rest = first.body[2 + first.body[1] :]
    hidden = write_packet(first.tag, b"\x06\x00" + rest)
    other = write_packet(first.tag, b"\x06\x21\x06" + bytes(32) + rest)
    message = other + hidden + write_packet(container.tag, container.body)
    everybody = [key for each in KINDS for key in decryption_keys_of(newer_key(each)[1])]
    everybody += decryption_keys_of(own_key()[1])
    assert check_signed_payload(unwrapped(message, everybody)).data == b"hello"
    with pytest.raises(CannotDecrypt):
        unwrapped(message, decryption_keys_of(own_key()[1]))


def test_g_15_chunks_moved_missing_or_added_fail() -> None:
    good = sealed(INNER, KEY)
    first, second, third, last = good.chunks
    other = sealed(INNER, KEY).chunks[1]  # of the same session key, under another salt
    assert opened(good) == INNER
    for wrong in (
        good.with_chunks(second, first, third, last),
        good.with_chunks(first, third, second, last),
        good.with_chunks(first, second, third),
        good.with_chunks(first, second),
        good.with_chunks(first),
        good.with_chunks(),
        good.with_chunks(second, third, last),
        good.with_chunks(first, second, third, last[:-1]),
        good.with_chunks(first, second, third, last, good.last_tag),
        good.with_chunks(first, first, second, third, last),
        good.with_chunks(first, other, third, last),
        good.with_chunks(first, second, third, third),
        replace(good, salt=bytes(32)),
        replace(good, last_tag=bytes(16)),
        replace(good, last_tag=third[-16:]),
    ):
        with pytest.raises(CannotDecrypt):
            opened(wrong)


def test_g_15_what_is_cut_at_the_end_of_a_chunk_fails() -> None:
    """Its last tag is taken for the end of everything; the number of octets tells."""
    good = sealed(INNER, KEY)
    for count in range(1, 4):
        body = good.head + good.salt + b"".join(good.chunks[:count])
        with pytest.raises(CannotDecrypt):
            open_aead(read_aead_container(body), SessionKey(Symmetric.AES256, Secret(KEY)))


def test_g_15_another_head_fails() -> None:
    """Cipher, mode and the size of chunks are bound, too."""
    good = sealed(INNER[:60], KEY[:16], cipher=7, mode=3)
    for head in (b"\x02\x08\x03\x00", b"\x02\x07\x02\x00", b"\x02\x07\x03\x01"):
        with pytest.raises(CannotDecrypt):
            opened(replace(good, head=head), KEY[:16])


def test_g_15_every_flipped_bit_fails() -> None:
    keys = decryption_keys_of(newer_key("x25519")[1])
    message = from_sequoia("x25519")
    for bit in range(8 * len(message)):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CannotDecrypt, PeerMisbehaved)):
            unwrapped(bytes(flipped), keys)


@pytest.mark.parametrize("kind", KINDS)
def test_g_15_every_failure_has_one_face(kind: str) -> None:
    """Whether the way in, a chunk or the last tag is wrong, nobody learns."""
    keys = decryption_keys_of(newer_key(kind)[1])
    message = from_sequoia(kind)
    _, container = read_packets(message, most=2)
    at_wrapped, at_chunk, at_last = len(message) - len(container.body) - 20, -40, -1
    faces = set()
    for at in (at_wrapped, at_chunk, at_last):
        altered = bytearray(message)
        altered[at] ^= 1
        with pytest.raises(CannotDecrypt) as caught:
            unwrapped(bytes(altered), keys)
        assert caught.value.__cause__ is None
        faces.add((type(caught.value), str(caught.value)))
    assert len(faces) == 1


def test_g_15_nothing_is_given_out_before_the_last_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: bytes) -> bytes:
        raise AssertionError("looked at what was not authenticated")

    certificate, secret_key = newer_key("x25519")
    message = bytearray(message_to(certificate, literal(b"x" * 10_000)))
    message[-1] ^= 1
    monkeypatch.setattr(ox.container, "expand", never)
    with pytest.raises(CannotDecrypt):
        unwrapped(bytes(message), decryption_keys_of(secret_key))


def test_g_18_every_recipient_hidden_costs_one_try_each() -> None:
    certificate, secret_key = newer_key("x25519")
    (recipient,) = encryption_keys_of(certificate)
    stray = way_in(recipient, os.urandom(32))
    good = way_in(recipient, KEY)
    container = sealed(INNER, KEY).packet
    keys = decryption_keys_of(secret_key)
    assert unwrapped(stray * (MAX_PKESK - 1) + good + container, keys) == INNER
    with pytest.raises(PeerMisbehaved) as caught:
        check_encrypted_message(stray * MAX_PKESK + good + container)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


def test_g_23_every_truncation_fails() -> None:
    keys = decryption_keys_of(newer_key("x25519")[1])
    message = from_sequoia("x25519")
    for size in range(len(message)):
        with pytest.raises((CannotDecrypt, PeerMisbehaved)):
            unwrapped(message[:size], keys)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x02\x09\x02\x00", b"\x02\x07\x03\x10"]))
def test_g_23_any_container_is_refused_with_one_error(data: bytes, head: bytes) -> None:
    certificate, secret_key = newer_key("x25519")
    (recipient,) = encryption_keys_of(certificate)
    message = way_in(recipient, KEY) + write_packet(Tag.SEIPD, head + data)
    with pytest.raises((CannotDecrypt, PeerMisbehaved)):
        unwrapped(message, decryption_keys_of(secret_key))


@given(st.binary(max_size=300))
def test_g_23_any_octets_inside_are_taken_or_refused(inner: bytes) -> None:
    certificate, secret_key = newer_key("x25519")
    with suppress(E2eeError):
        check_signed_payload(
            unwrapped(message_to(certificate, inner), decryption_keys_of(secret_key))
        )
