"""Writes OpenPGP keys, signatures and signed messages in which any field can be wrong.

Rule: a second implementation beside ``ox.keygen``, on ``cryptography`` alone; it judges nothing.
What it makes by default is sound, so that a test shows the one thing that is not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from e2ee.secret import Secret
from ox.certificates import check_certificate
from ox.container import wrap
from ox.packets import Tag, read_packets, write_mpi, write_packet

__all__ = [
    "CERTIFY_AND_SIGN",
    "ENCRYPT",
    "LONG_AGO",
    "SIGN",
    "Forged",
    "KeyPair",
    "SignatureKind",
    "bind",
    "certify",
    "encrypted",
    "forged",
    "new_curve25519",
    "new_ed25519",
    "new_elgamal",
    "new_p256",
    "new_rsa",
    "one_pass_message",
    "revoke",
    "sign",
    "subpacket",
]

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
"""When keys are made, unless a test says otherwise."""

CERTIFY_AND_SIGN, SIGN, ENCRYPT = b"\x03", b"\x02", b"\x0c"
"""Key flags (RFC 4880 §5.2.3.21)."""


class SignatureKind:
    """Signature types (RFC 4880 §5.2.1)."""

    BINARY, TEXT, STANDALONE = 0x00, 0x01, 0x02
    CERTIFICATION, SUBKEY_BINDING, PRIMARY_BINDING = 0x13, 0x18, 0x19
    KEY_REVOCATION, SUBKEY_REVOCATION, CERTIFICATION_REVOCATION = 0x20, 0x28, 0x30
    TIMESTAMP = 0x40


_HASHES = {"md5": 1, "sha1": 2, "sha256": 8, "sha512": 10}


@dataclass(frozen=True)
class KeyPair:
    """One key packet: its public body, its secret part and what signs with it."""

    algorithm: int
    body: bytes
    secret: bytes = field(repr=False)
    signs: Callable[[bytes, str], bytes] = field(repr=False)

    @property
    def hashed(self) -> bytes:
        """What a signature over the key hashes of it (RFC 4880 §5.2.4)."""
        return b"\x99" + len(self.body).to_bytes(2) + self.body

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha1(self.hashed, usedforsecurity=False).digest()

    @property
    def name(self) -> str:
        """The fingerprint as XEP-0373 writes it."""
        return self.fingerprint.hex().upper()

    def packet(self, tag: Tag) -> bytes:
        """Return the packet, with the secret part where the tag wants it."""
        secret = b"\0" + self.secret + (sum(self.secret) & 0xFFFF).to_bytes(2)
        public = tag in (Tag.PUBLIC_KEY, Tag.PUBLIC_SUBKEY)
        return write_packet(tag, self.body if public else self.body + secret)


def _mpi(octets: bytes) -> bytes:
    return write_mpi(int.from_bytes(octets))


def _body(created: datetime, algorithm: int, numbers: bytes) -> bytes:
    return b"\x04" + int(created.timestamp()).to_bytes(4) + bytes((algorithm,)) + numbers


def _cannot_sign(digest: bytes, hash_name: str) -> bytes:
    raise AssertionError("a key that only encrypts")


def new_ed25519(created: datetime = LONG_AGO) -> KeyPair:
    """Make a key that signs (algorithm 22)."""
    private = Ed25519PrivateKey.generate()
    oid = bytes.fromhex("092b06010401da470f01")
    point = _mpi(b"\x40" + private.public_key().public_bytes_raw())

    def signs(digest: bytes, hash_name: str) -> bytes:
        made = private.sign(digest)
        return _mpi(made[:32]) + _mpi(made[32:])

    return KeyPair(22, _body(created, 22, oid + point), _mpi(private.private_bytes_raw()), signs)


def new_curve25519(created: datetime = LONG_AGO) -> KeyPair:
    """Make a key that is encrypted to (algorithm 18 on Curve25519)."""
    scalar = bytearray(os.urandom(32))
    scalar[0] &= 0xF8
    scalar[31] = scalar[31] & 0x7F | 0x40
    public = X25519PrivateKey.from_private_bytes(bytes(scalar)).public_key().public_bytes_raw()
    numbers = bytes.fromhex("0a2b060104019755010501") + _mpi(b"\x40" + public) + b"\x03\x01\x08\x07"
    return KeyPair(18, _body(created, 18, numbers), _mpi(bytes(scalar[::-1])), _cannot_sign)


def new_p256(created: datetime = LONG_AGO) -> KeyPair:
    """Make a key that is encrypted to, on a curve that our containers do not speak."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_numbers()
    point = _mpi(b"\x04" + public.x.to_bytes(32) + public.y.to_bytes(32))
    numbers = bytes.fromhex("082a8648ce3d030107") + point + b"\x03\x01\x08\x07"
    secret = write_mpi(private.private_numbers().private_value)
    return KeyPair(18, _body(created, 18, numbers), secret, _cannot_sign)


def new_elgamal(created: datetime = LONG_AGO) -> KeyPair:
    """Make what says that it is encrypted to by ElGamal; nothing here could."""
    modulus = write_mpi(1 << 2047 | 1)
    numbers = modulus + write_mpi(5) + write_mpi(7)
    return KeyPair(16, _body(created, 16, numbers), write_mpi(3), _cannot_sign)


@cache
def _rsa(bits: int, number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def new_rsa(bits: int, created: datetime = LONG_AGO, number: int = 0) -> KeyPair:
    """Make a key that signs and is encrypted to; the same numbers for the same ``number``."""
    private = _rsa(bits, number)
    secret = private.private_numbers()
    public = secret.public_numbers
    p, q = sorted((secret.p, secret.q))

    def signs(digest: bytes, hash_name: str) -> bytes:
        algorithm = utils.Prehashed(getattr(hashes, hash_name.upper())())
        return _mpi(private.sign(digest, padding.PKCS1v15(), algorithm))

    numbers = write_mpi(public.n) + write_mpi(public.e)
    parts = b"".join(write_mpi(number) for number in (secret.d, p, q, pow(p, -1, q)))
    return KeyPair(1, _body(created, 1, numbers), parts, signs)


def subpacket(kind: int, body: bytes, *, critical: bool = False) -> bytes:
    """Return a signature subpacket (RFC 4880 §5.2.3.1)."""
    size = 1 + len(body)
    length = bytes((size,)) if size < 192 else b"\xff" + size.to_bytes(4)
    return length + bytes((kind | (0x80 if critical else 0),)) + body


def _seconds(period: timedelta) -> bytes:
    return int(period.total_seconds()).to_bytes(4)


def sign(
    by: KeyPair,
    over: bytes,
    kind: int = SignatureKind.BINARY,
    *,
    created: datetime | None = None,
    hash_name: str = "sha512",
    lasts: timedelta | None = None,
    hashed: bytes = b"",
    unhashed: bytes = b"",
    issuer: KeyPair | None = None,
) -> bytes:
    """Return a signature packet.

    Args:
        by: whose secret part is used.
        over: the octets that the kind of signature hashes before its own trailer.
        kind: the signature type.
        created: its own time; the present if not given.
        hash_name: the hash.
        lasts: after which it is expired.
        hashed: further subpackets that are signed.
        unhashed: further subpackets that are not.
        issuer: which key it claims to be by; ``by`` if not given.
    """
    claimed = issuer or by
    moment = int((created or datetime.now(UTC)).timestamp()).to_bytes(4)
    area = subpacket(2, moment) + subpacket(33, b"\x04" + claimed.fingerprint) + hashed
    if lasts is not None:
        area += subpacket(3, _seconds(lasts))
    outside = subpacket(16, claimed.fingerprint[-8:]) + unhashed
    head = bytes((4, kind, by.algorithm, _HASHES[hash_name])) + len(area).to_bytes(2) + area
    trailer = b"\x04\xff" + len(head).to_bytes(4)
    digest = hashlib.new(hash_name, over + head + trailer).digest()
    numbers = by.signs(digest, hash_name)
    outer = len(outside).to_bytes(2) + outside
    return write_packet(Tag.SIGNATURE, head + outer + digest[:2] + numbers)


def certify(
    primary: KeyPair,
    user_id: bytes,
    *,
    by: KeyPair | None = None,
    flags: bytes = CERTIFY_AND_SIGN,
    key_lasts: timedelta | None = None,
    created: datetime = LONG_AGO,
    hash_name: str = "sha512",
    lasts: timedelta | None = None,
    features: bytes = b"\x01",
) -> bytes:
    """Return a user id and the certification that belongs to it."""
    hashed = subpacket(27, flags) + subpacket(30, features)
    if key_lasts is not None:
        hashed += subpacket(9, _seconds(key_lasts))
    named = primary.hashed + b"\xb4" + len(user_id).to_bytes(4) + user_id
    certification = sign(
        by or primary,
        named,
        SignatureKind.CERTIFICATION,
        created=created,
        hash_name=hash_name,
        lasts=lasts,
        hashed=hashed,
        issuer=primary,
    )
    return write_packet(Tag.USER_ID, user_id) + certification


def bind(
    primary: KeyPair,
    subkey: KeyPair,
    flags: bytes,
    *,
    by: KeyPair | None = None,
    back_signed: bool = True,
    key_lasts: timedelta | None = None,
    created: datetime = LONG_AGO,
) -> bytes:
    """Return the binding signature of a subkey; one that signs binds back (RFC 4880 §5.2.1)."""
    over = primary.hashed + subkey.hashed
    hashed = subpacket(27, flags)
    if key_lasts is not None:
        hashed += subpacket(9, _seconds(key_lasts))
    if flags == SIGN and back_signed:
        back = sign(subkey, over, SignatureKind.PRIMARY_BINDING, created=created)
        hashed += subpacket(32, _body_of(back))
    return sign(
        by or primary,
        over,
        SignatureKind.SUBKEY_BINDING,
        created=created,
        hashed=hashed,
        issuer=primary,
    )


def revoke(
    primary: KeyPair,
    subkey: KeyPair | None = None,
    *,
    by: KeyPair | None = None,
    reason: int | None = 2,
) -> bytes:
    """Return a revocation of a key or subkey; reason 2 is "compromised", 1 "superseded"."""
    over = primary.hashed + (subkey.hashed if subkey else b"")
    kind = SignatureKind.SUBKEY_REVOCATION if subkey else SignatureKind.KEY_REVOCATION
    said = b"" if reason is None else subpacket(29, bytes((reason,)))
    return sign(by or primary, over, kind, hashed=said, issuer=primary)


@dataclass(frozen=True)
class Forged:
    """A transferable key, put together from parts in their order."""

    primary: KeyPair
    encryption: KeyPair
    parts: tuple[bytes | KeyPair, ...]

    @property
    def public(self) -> bytes:
        return self._written(Tag.PUBLIC_KEY, Tag.PUBLIC_SUBKEY)

    @property
    def secret(self) -> Secret:
        return Secret(self._written(Tag.SECRET_KEY, Tag.SECRET_SUBKEY))

    @property
    def name(self) -> str:
        return self.primary.name

    def _written(self, primary: Tag, subkey: Tag) -> bytes:
        packets = [self.primary.packet(primary)]
        for part in self.parts:
            packets.append(part if isinstance(part, bytes) else part.packet(subkey))
        return b"".join(packets)

    def plus(self, *parts: bytes | KeyPair) -> Forged:
        """Return the same key with more at its end."""
        return replace(self, parts=self.parts + parts)

    def revoked(self, reason: int | None = 2) -> Forged:
        """Return the same key with its revocation, which may give no reason."""
        return replace(self, parts=(revoke(self.primary, reason=reason), *self.parts))

    def without_name(self, name: str) -> Forged:
        """Return the same key with its first user id, which is ``name``, revoked."""
        text = name.encode()
        over = self.primary.hashed + b"\xb4" + len(text).to_bytes(4) + text
        kind = SignatureKind.CERTIFICATION_REVOCATION
        revocation = sign(self.primary, over, kind, hashed=subpacket(29, b"\x20"))
        user_id, *rest = self.parts
        assert isinstance(user_id, bytes)
        return replace(self, parts=(user_id + revocation, *rest))


def forged(
    *user_ids: str | bytes,
    primary: KeyPair | None = None,
    certified: bytes | None = None,
    created: datetime = LONG_AGO,
) -> Forged:
    """Make a sound key: a primary that certifies and signs, and a subkey that is encrypted to.

    Args:
        user_ids: its user ids.
        primary: the primary key, if not a new one.
        certified: the user ids with their certifications, if not sound ones.
        created: when both keys were made.
    """
    key = primary or new_ed25519(created)
    subkey = new_curve25519(created)
    if certified is None:
        names = [text if isinstance(text, bytes) else text.encode() for text in user_ids]
        certified = b"".join(certify(key, name, created=created) for name in names)
    binding = bind(key, subkey, ENCRYPT, created=created)
    return Forged(key, subkey, (certified, subkey, binding))


def one_pass_message(data: bytes, *signatures: bytes) -> bytes:
    """Return a literal between the one-pass packets and the packets of ``signatures``."""
    heads = b""
    for left, packet in zip(reversed(range(len(signatures))), signatures, strict=True):
        body = _body_of(packet)
        head = bytes((3, body[1], body[3], body[2])) + _issuer(body) + bytes((left == 0,))
        heads += write_packet(Tag.ONE_PASS_SIGNATURE, head)
    literal = write_packet(Tag.LITERAL, b"b\0\0\0\0\0" + data)
    return heads + literal + b"".join(reversed(signatures))


def _body_of(packet: bytes) -> bytes:
    return read_packets(packet, most=1)[0].body


def _issuer(body: bytes) -> bytes:
    """Return the key id that our own unhashed area begins with."""
    unhashed = 6 + int.from_bytes(body[4:6]) + 2
    return body[unhashed + 2 : unhashed + 10]


def encrypted(inner: bytes, *certificates: bytes) -> bytes:
    """Encrypt packets to the last key of each certificate; it need not be fit for that."""
    keys = [
        [key for key in check_certificate(raw) if key.numbers is not None][-1]
        for raw in certificates
    ]
    return wrap(inner, keys, os.urandom)
