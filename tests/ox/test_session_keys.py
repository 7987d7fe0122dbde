"""Session keys under public keys and passphrases: against Sequoia, and against alterations."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import cache

import pysequoia
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits
from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.secret import Secret
from ox.certificates import check_secret_key
from ox.ciphers import RsaPrivate, Symmetric, rsa_encrypt, wrap_key
from ox.container import unwrap, wrap
from ox.ecdh import open_ecdh, open_x25519
from ox.grammar import check_encrypted_message, check_signed_payload
from ox.key_life import only_signing
from ox.key_packets import X25519, Algorithm, Ecdh, PublicKey, Rsa
from ox.packets import Tag, read_packets, write_mpi, write_packet
from ox.pkesk import Pkesk, decryption_keys, read_pkesk, session_keys, write_pkesk
from ox.s2k import Hash, Specifier, derive
from ox.session_key import SessionKey
from ox.skesk import open_skesk, read_skesk, write_skesk
from tests.support.forge import CERTIFY_AND_SIGN, ENCRYPT, Forged, bind, certify, new_rsa
from tests.support.openpgp import (
    PASSPHRASE,
    cfb,
    decryption_keys_of,
    encryption_keys_of,
    literal,
    one_pass,
    own_key,
    seipd,
    signature,
    unwrapped,
)

SESSION_KEYS = [SessionKey(cipher, Secret(os.urandom(cipher.key_length))) for cipher in Symmetric]
SIGNED = one_pass() + literal(b"hello") + signature()
_LOW_ORDER = [bytes(32), b"\x01" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f"]


@cache
def sequoia_key(kind: str) -> tuple[bytes, Secret]:
    """Return a key of another kind than ours, made by Sequoia."""
    profile = pysequoia.Profile.RFC4880
    match kind:
        case "rsa":
            suite = pysequoia.CipherSuite.RSA2k
            made = pysequoia.Tsk.generate("xmpp:a@b.c", profile=profile, cipher_suite=suite)
        case "x25519":
            x25519 = pysequoia.EncryptionAlgorithm.X25519
            made = pysequoia.Tsk.generate(
                "xmpp:a@b.c", profile=profile, encryption_algorithm=x25519
            )
        case _:
            made = pysequoia.Tsk.generate("xmpp:a@b.c", profile=profile)
    return bytes(made.extract_certificate()), Secret(bytes(made))


KINDS = ["ours", "cv25519", "x25519", "rsa"]


def key_of(kind: str) -> tuple[bytes, Secret]:
    return own_key() if kind == "ours" else sequoia_key(kind)


def recipient_of(kind: str) -> PublicKey:
    (recipient,) = encryption_keys_of(key_of(kind)[0])
    return recipient


def hidden(message: bytes) -> bytes:
    """Return a message whose first recipient is not named."""
    first, *rest = read_packets(message, most=9)
    anonymous = write_packet(first.tag, first.body[:1] + bytes(8) + first.body[9:])
    return anonymous + b"".join(write_packet(packet.tag, packet.body) for packet in rest)


@pytest.mark.parametrize("kind", KINDS)
def test_sequoia_opens_what_we_wrap(kind: str) -> None:
    certificate, secret_key = key_of(kind)
    cert = pysequoia.Cert.from_bytes(certificate)
    tsk = pysequoia.Tsk.from_bytes(secret_key.reveal())
    signed = pysequoia.sign(tsk.signer(), b"hello", armor=False)
    message = wrap(signed, [recipient_of(kind)], os.urandom)
    opened = pysequoia.decrypt(message, tsk.decryptor(), lambda _: [cert])
    assert opened.bytes == b"hello"
    assert [found.certificate for found in opened.valid_sigs] == [cert.fingerprint]


def test_we_open_what_sequoia_encrypts_to_our_keys() -> None:
    """It keeps to what our keys say of themselves: version 1."""
    certificate, secret_key = own_key()
    cert = pysequoia.Cert.from_bytes(certificate)
    signer = pysequoia.Tsk.from_bytes(secret_key.reveal()).signer()
    message = pysequoia.encrypt(b"hello", [cert], signer, armor=False)
    payload = check_signed_payload(unwrapped(message, decryption_keys_of(secret_key)))
    assert payload.data == b"hello"
    (signature,) = map(pysequoia.Sig.from_bytes, payload.signatures)
    assert pysequoia.verify(payload.data, lambda _: [cert], signature=signature).valid_sigs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("session_key", SESSION_KEYS, ids=lambda key: key.cipher.name)
def test_every_cipher_goes_there_and_back(kind: str, session_key: SessionKey) -> None:
    body = write_pkesk(session_key, recipient_of(kind), os.urandom)
    keys = decryption_keys_of(key_of(kind)[1])
    assert session_key in list(session_keys([read_pkesk(body)], keys, os.urandom))


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_recipients_are_tried_with_every_key(kind: str) -> None:
    message = hidden(wrap(SIGNED, [recipient_of(kind)], os.urandom))
    everybody = [key for each in KINDS for key in decryption_keys_of(key_of(each)[1])]
    assert unwrapped(message, everybody) == SIGNED
    others = [key for key in everybody if key.public != recipient_of(kind)]
    with pytest.raises(CannotDecrypt):
        unwrapped(message, others)


def test_each_of_several_recipients_opens() -> None:
    message = wrap(SIGNED, [recipient_of(kind) for kind in KINDS], os.urandom)
    for kind in KINDS:
        assert unwrapped(message, decryption_keys_of(key_of(kind)[1])) == SIGNED


def test_g_18_only_what_may_be_ours_costs_a_private_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[bytes] = []

    def counting(fields: bytes, *_: object) -> None:
        tried.append(fields)

    monkeypatch.setattr("ox.pkesk.open_ecdh", counting)
    (key,) = decryption_keys_of(own_key()[1])
    named = Pkesk(key.public.key_id, 18, b"named")
    foreign = [Pkesk(os.urandom(8), 18, b"foreign") for _ in range(29)]
    other = Pkesk(bytes(8), 1, b"another algorithm")
    list(session_keys([*foreign, named, other, Pkesk(bytes(8), 18, b"hidden")], [key], os.urandom))
    assert tried == [b"named", b"hidden"]


def test_g_18_hidden_ways_in_are_tried_a_few_and_named_ones_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[tuple[bytes, object]] = []
    monkeypatch.setattr(
        "ox.pkesk._open_rsa", lambda pkesk, private, _: tried.append((pkesk.fields, private))
    )
    (key, *_) = decryption_keys_of(sequoia_key("rsa")[1])
    ours = [replace(key, private=object.__new__(RsaPrivate)) for _ in range(16)]
    signing = replace(key, private=object.__new__(RsaPrivate), hidden=False)
    hidden = [Pkesk(bytes(8), 1, b"%d" % n) for n in range(31)]
    named = Pkesk(key.public.key_id, 1, b"named")
    list(session_keys([*hidden, named], [signing, *ours], os.urandom))
    assert len(tried) == limits.MAX_PRIVATE_OPERATIONS
    assert [fields for fields, _ in tried[:17]] == [b"named"] * 17
    assert [fields for fields, _ in tried[17:48]] == [each.fields for each in hidden]
    assert {private for fields, private in tried[17:48]} == {ours[0].private}
    assert signing.private not in {private for fields, private in tried[1:]}


def test_g_18_a_primary_that_only_signs_is_not_tried_for_hidden_ones() -> None:
    name = b"xmpp:juliet@capulet.lit"
    primary, subkey = new_rsa(2048), new_rsa(2048, number=1)
    both = bytes((CERTIFY_AND_SIGN[0] | ENCRYPT[0],))
    for flags, hidden in ((CERTIFY_AND_SIGN, False), (both, True)):
        parts = (certify(primary, name, flags=flags), subkey, bind(primary, subkey, ENCRYPT))
        material = Forged(primary, subkey, parts).secret
        found = decryption_keys(check_secret_key(material), only_signing(material))
        assert [key.hidden for key in found] == [hidden, True]


@pytest.mark.parametrize("kind", KINDS)
def test_g_15_an_altered_way_in_opens_nothing(kind: str) -> None:
    """One bit of every octet; the container itself is in ``test_container``."""
    message = wrap(SIGNED, [recipient_of(kind)], os.urandom)
    keys = decryption_keys_of(key_of(kind)[1])
    first, _ = read_packets(message, most=2)
    for at in range(len(first.body)):
        flipped = bytearray(message)
        flipped[message.index(first.body) + at] ^= 1 << at % 8
        with pytest.raises((CannotDecrypt, PeerMisbehaved)):
            unwrapped(bytes(flipped), keys)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_g_15_every_flipped_bit_opens_nothing(kind: str) -> None:
    message = wrap(SIGNED, [recipient_of(kind)], os.urandom)
    keys = decryption_keys_of(key_of(kind)[1])
    for bit in range(8 * len(message)):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CannotDecrypt, PeerMisbehaved)):
            unwrapped(bytes(flipped), keys)


def rsa_message(padded: Secret | None, *, ciphertext: int | None = None) -> bytes:
    recipient = recipient_of("rsa")
    assert isinstance(recipient.numbers, Rsa)
    if padded is not None:
        sealed = rsa_encrypt(recipient.numbers.modulus, recipient.numbers.exponent, padded)
        ciphertext = int.from_bytes(sealed)
    assert ciphertext is not None
    body = b"\x03" + recipient.key_id + b"\x01" + write_mpi(ciphertext)
    return write_packet(Tag.PKESK, body) + seipd(bytes(32), SIGNED)


def test_g_15_rsa_failures_look_alike() -> None:
    """Wrong padding, another cipher, a wrong checksum: a random key takes the place of each.

    The container is under a key of zeros: whoever fell back on a fixed key would open it.
    """
    keys = decryption_keys_of(sequoia_key("rsa")[1])
    good = SessionKey(Symmetric.AES256, Secret(bytes(32))).pack_checked().reveal()
    assert unwrapped(rsa_message(Secret(good)), keys) == SIGNED
    modulus = keys[-1].public.numbers.modulus  # type: ignore[union-attr]
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    messages = [
        rsa_message(Secret(b"\x02" + good[1:])),
        rsa_message(Secret(good[:-1] + b"\x01")),
        rsa_message(Secret(good[:-1])),
        rsa_message(Secret(good + b"\x00")),
        rsa_message(Secret(b"")),
        rsa_message(None, ciphertext=0),
        rsa_message(None, ciphertext=1),
        rsa_message(None, ciphertext=12345),
        rsa_message(None, ciphertext=modulus - 1),
        rsa_message(None, ciphertext=modulus),
        rsa_message(None, ciphertext=modulus << 64),
    ]
    for message in messages:
        with pytest.raises(CannotDecrypt):
            unwrap(check_encrypted_message(message), keys, random)
    assert asked == [32] * len(messages)


def test_points_of_small_order_share_no_secret() -> None:
    (key,) = decryption_keys_of(own_key()[1])
    ecdh = key.public.numbers
    assert isinstance(ecdh, Ecdh)
    for point in _LOW_ORDER:
        sealed = write_mpi(int.from_bytes(b"\x40" + point)) + b"\x28" + bytes(40)
        assert open_ecdh(sealed, ecdh, key.public.fingerprint, key.private) is None  # type: ignore[arg-type]
        for numbers, algorithm in (
            (Ecdh(point, Hash.SHA256, Symmetric.AES128), Algorithm.ECDH),
            (X25519(point), Algorithm.X25519),
        ):
            public = PublicKey(algorithm, key.public.created, bytes(20), numbers)
            with pytest.raises(PeerMisbehaved) as caught:
                write_pkesk(SESSION_KEYS[0], public, os.urandom)
            assert caught.value.code is ErrorCode.UNUSABLE_KEY


@pytest.mark.parametrize(
    ("padding", "good"),
    [
        (b"\x05" * 5, True),
        (b"\x0d" * 13, True),  # RFC 6637 §8: other lengths are as good
        (b"\x05" * 4 + b"\x04", False),
        (b"\x04" + b"\x05" * 4, False),
        (b"\x00" * 5, False),
        (b"\xff" * 5, False),
        (b"\x05" * 13, False),
    ],
)
def test_padding_is_exact(padding: bytes, good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    session_key = SESSION_KEYS[-1]

    def padded_so(wrapping: Secret, _: Secret) -> bytes:
        return wrap_key(wrapping, Secret(session_key.pack_checked().reveal() + padding))

    monkeypatch.setattr("ox.ecdh.wrap_key", padded_so)
    body = write_pkesk(session_key, recipient_of("ours"), os.urandom)
    keys = decryption_keys_of(own_key()[1])
    found = list(session_keys([read_pkesk(body)], keys, os.urandom))
    assert found == ([session_key] if good else [])


@pytest.mark.parametrize("kind", KINDS)
def test_g_19_a_way_in_ends_where_it_ends(kind: str) -> None:
    body = write_pkesk(SESSION_KEYS[0], recipient_of(kind), os.urandom)
    keys = decryption_keys_of(key_of(kind)[1])
    for wrong in (body + b"\0", body[:-1]):
        with pytest.raises(PeerMisbehaved) as caught:
            list(session_keys([read_pkesk(wrong)], keys, os.urandom))
        assert caught.value.code is ErrorCode.MALFORMED


def test_a_point_has_one_form() -> None:
    """The curve ignores the highest bit; a message must not."""
    (key,) = decryption_keys_of(own_key()[1])
    message = bytearray(wrap(SIGNED, encryption_keys_of(own_key()[0]), os.urandom))
    message[2 + 1 + 8 + 1 + 2 + 32] ^= 0x80
    with pytest.raises(CannotDecrypt):
        unwrapped(bytes(message), [key])


@pytest.mark.parametrize(
    ("recipient", "code"),
    [
        (Rsa((1 << 2046) + 1, 65537), ErrorCode.UNUSABLE_KEY),
        (Rsa((1 << 2048) + 1, 2), ErrorCode.UNUSABLE_KEY),
        (None, ErrorCode.UNSUPPORTED_ALGORITHM),
    ],
)
def test_unfit_recipients_are_refused(recipient: Rsa | None, code: ErrorCode) -> None:
    ours = recipient_of("ours")
    public = PublicKey(Algorithm.RSA, ours.created, ours.fingerprint, recipient)
    with pytest.raises(PeerMisbehaved) as caught:
        write_pkesk(SESSION_KEYS[0], public, os.urandom)
    assert caught.value.code is code


def test_signing_keys_neither_encrypt_nor_decrypt() -> None:
    rsa = recipient_of("rsa")
    public = PublicKey(Algorithm.RSA_SIGN, rsa.created, rsa.fingerprint, rsa.numbers)
    with pytest.raises(PeerMisbehaved):
        write_pkesk(SESSION_KEYS[0], public, os.urandom)


@pytest.mark.parametrize("count", [None, 0, 96])
@pytest.mark.parametrize("session_key", SESSION_KEYS, ids=lambda key: key.cipher.name)
def test_passphrases_lead_to_session_keys(session_key: SessionKey, count: int | None) -> None:
    s2k = Specifier(Hash.SHA512, b"saltsalt", count)
    stretched = derive(s2k, PASSPHRASE, 32)
    found = read_skesk(write_skesk(session_key, s2k, stretched))
    assert found.s2k == s2k
    assert open_skesk(found, stretched) == session_key
    bare = read_skesk(write_skesk(session_key, s2k, stretched)[: -1 - len(session_key.key)])
    assert open_skesk(bare, stretched) == SessionKey(Symmetric.AES256, stretched)


def test_a_session_key_of_another_length_is_none() -> None:
    for packed in (b"", b"\x09", b"\x07" + bytes(32), b"\x09" + bytes(16), b"\x02" + bytes(32)):
        assert SessionKey.unpack(Secret(packed)) is None
        assert SessionKey.unpack_checked(Secret(packed + b"\0\0")) is None
    head = b"\x04\x09\x00\x08"
    wrong = read_skesk(head + cfb(bytes(32), b"\x07" + bytes(32)))
    with pytest.raises(CannotDecrypt):
        open_skesk(wrong, Secret(bytes(32)))


@given(st.sampled_from([1, 2, 16, 18, 25, 99]), st.binary(max_size=120))
def test_g_23_any_way_in_is_tried_or_refused(algorithm: int, fields: bytes) -> None:
    keys = [key for kind in KINDS for key in decryption_keys_of(key_of(kind)[1])]
    with suppress(PeerMisbehaved):
        list(session_keys([Pkesk(bytes(8), algorithm, fields)], keys, os.urandom))


@given(st.binary(max_size=60))
def test_g_23_any_body_is_read_or_refused(body: bytes) -> None:
    for read in (read_pkesk, read_skesk):
        with suppress(PeerMisbehaved):
            read(body)


def test_wrapped_keys_of_odd_lengths_open_nothing() -> None:
    (key,) = decryption_keys_of(own_key()[1])
    (new,) = (
        each
        for each in decryption_keys_of(sequoia_key("x25519")[1])
        if each.public.algorithm == Algorithm.X25519
    )
    for size in range(60):
        sealed = write_mpi(int.from_bytes(b"\x40" + b"\x09" * 32)) + bytes((size,)) + bytes(size)
        assert open_ecdh(sealed, key.public.numbers, bytes(20), key.private) is None  # type: ignore[arg-type]
        sealed = b"\x09" * 32 + bytes((size,)) + bytes(size)
        assert open_x25519(sealed, new.public.numbers, new.private) is None  # type: ignore[arg-type]
