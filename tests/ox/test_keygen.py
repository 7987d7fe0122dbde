"""Keys that we make: what they say, and that Sequoia agrees; gpg is in ``tests/interop``."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta, timezone

import pysequoia
import pytest
from pysequoia.packet import PacketPile, SignatureType
from pysequoia.packet import Tag as SequoiaTag

from e2ee.errors import ApiMisuse
from e2ee.secret import Secret
from ox.certificates import check_certificate, check_secret_key
from ox.container import wrap
from ox.grammar import check_encrypted_message
from ox.keygen import generate_key
from ox.packets import Cursor, Tag, read_packets
from tests.support.openpgp import decryption_keys_of, encryption_keys_of, unwrapped

USER_ID = "xmpp:juliet@capulet.lit"
CREATED = datetime(2026, 11, 22, 12, 0, 0, 999_999, tzinfo=UTC)


def zeros_first(count: int) -> bytes:
    """Return octets that start and end with zeros: numbers shorter than their field."""
    return b"\0\0" + os.urandom(count - 4) + b"\0\0"


@pytest.fixture(params=[os.urandom, zeros_first])
def key(request: pytest.FixtureRequest) -> tuple[bytes, Secret]:
    return generate_key(USER_ID, CREATED, request.param)


def test_sequoia_agrees(key: tuple[bytes, Secret]) -> None:
    public, secret = key
    cert = pysequoia.Cert.from_bytes(public)
    assert [str(user_id) for user_id in cert.user_ids] == [USER_ID]
    assert cert.fingerprint == check_certificate(public)[0].fingerprint.hex()
    assert cert.expiration is None
    assert not cert.is_revoked
    assert bytes(pysequoia.Tsk.from_bytes(secret.reveal()).extract_certificate()) == bytes(cert)
    packets = list(PacketPile.from_bytes(public))
    assert all(
        packet.key_created == CREATED.replace(microsecond=0)
        for packet in packets
        if packet.fingerprint
    )
    certification, binding = (found for found in packets if found.tag == SequoiaTag.Signature)
    assert certification.signature_type == SignatureType.PositiveCertification
    assert certification.primary_userid
    assert certification.key_flags.certification
    assert certification.key_flags.signing
    assert not certification.key_flags.transport_encryption
    assert binding.signature_type == SignatureType.SubkeyBinding
    assert binding.key_flags.transport_encryption
    assert binding.key_flags.storage_encryption
    assert not binding.key_flags.signing
    for found in (certification, binding):
        assert found.signature_created == CREATED.replace(microsecond=0)
        assert found.key_validity_period is None
        assert found.issuer_fingerprint == cert.fingerprint
        assert found.issuer_key_id == cert.fingerprint[-16:]


def test_it_signs_encrypts_and_decrypts(key: tuple[bytes, Secret]) -> None:
    public, secret = key
    cert = pysequoia.Cert.from_bytes(public)
    tsk = pysequoia.Tsk.from_bytes(secret.reveal())
    signed = pysequoia.sign(tsk.signer(), b"hello", armor=False)
    assert pysequoia.verify(signed, lambda _: [cert]).bytes == b"hello"
    message = wrap(signed, encryption_keys_of(public), os.urandom)
    assert unwrapped(message, decryption_keys_of(secret)) == signed
    assert pysequoia.decrypt(message, tsk.decryptor(), lambda _: [cert]).bytes == b"hello"


def test_sequoia_keeps_to_version_1_for_it(key: tuple[bytes, Secret]) -> None:
    message = pysequoia.encrypt(b"x", [pysequoia.Cert.from_bytes(key[0])], armor=False)
    found = check_encrypted_message(message)
    assert isinstance(found.container, bytes)  # not read as one of version 2
    assert [each.name for each in found.recipients] == [check_certificate(key[0])[1].key_id]


def test_it_says_what_it_takes(key: tuple[bytes, Secret]) -> None:
    certification = read_packets(key[0], most=9)[2]
    cursor = Cursor(certification.body[4:], "test")
    area = Cursor(cursor.take(cursor.number(2)), "test")
    said = {}
    while area:
        body = area.take(area.number(1))
        said[body[0]] = body[1:]
    assert said[27] == b"\x03"  # certify and sign
    assert said[11] == b"\x09\x08\x07"  # AES-256, 192, 128
    assert said[21] == b"\x0a\x09\x08"  # SHA-512, 384, 256
    assert said[22] == b"\x00"  # uncompressed only
    assert said[30] == b"\x01"  # containers of version 1 only
    assert said[25] == b"\x01"
    assert 9 not in said  # no expiry


def test_public_and_secret_part_are_one_key(key: tuple[bytes, Secret]) -> None:
    public, secret = key
    assert [each.public for each in check_secret_key(secret)] == list(check_certificate(public))
    assert [packet.tag for packet in read_packets(public, most=9)] == [
        Tag.PUBLIC_KEY,
        Tag.USER_ID,
        Tag.SIGNATURE,
        Tag.PUBLIC_SUBKEY,
        Tag.SIGNATURE,
    ]


def test_the_scalar_is_stored_as_it_is_used(key: tuple[bytes, Secret]) -> None:
    _, subkey = check_secret_key(key[1])
    assert isinstance(subkey.numbers, Secret)
    scalar = subkey.numbers.reveal()
    assert (scalar[0] & 7, scalar[31] >> 6) == (0, 1)  # RFC 7748 §5


def test_the_same_randomness_makes_the_same_key() -> None:
    def fixed(count: int) -> bytes:
        return hashlib.shake_256(b"seed").digest(count)

    assert generate_key(USER_ID, CREATED, fixed) == generate_key(USER_ID, CREATED, fixed)


def test_the_time_is_the_same_in_every_zone() -> None:
    def fixed(count: int) -> bytes:
        return bytes(range(count))

    elsewhere = CREATED.astimezone(timezone(timedelta(hours=9)))
    assert generate_key(USER_ID, elsewhere, fixed) == generate_key(USER_ID, CREATED, fixed)


@pytest.mark.parametrize("user_id", ["x", "xmpp:日本@例え.jp", "a" * 4000])
def test_user_ids_stand_exactly_as_given(user_id: str) -> None:
    public, _ = generate_key(user_id, CREATED, os.urandom)
    assert read_packets(public, most=9)[1].body == user_id.encode()
    assert [str(found) for found in pysequoia.Cert.from_bytes(public).user_ids] == [user_id]


@pytest.mark.parametrize(
    ("user_id", "created"),
    [
        ("", CREATED),
        ("\ud800", CREATED),
        (USER_ID, CREATED.replace(tzinfo=None)),
        (USER_ID, datetime(1969, 12, 31, tzinfo=UTC)),
        (USER_ID, datetime(2107, 1, 1, tzinfo=UTC)),
    ],
)
def test_nonsense_is_refused(user_id: str, created: datetime) -> None:
    with pytest.raises(ApiMisuse):
        generate_key(user_id, created, os.urandom)
