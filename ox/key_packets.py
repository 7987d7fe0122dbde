"""Key packets of version 4, public and secret (RFC 4880 §5.5): algorithm, numbers, fingerprint.

Rule: pure reading into values; whether a certificate is sound is decided in ``certificates`` and by
the engine. Only unprotected secret keys are read: XEP-0373 §5.4 backs them up so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_RSA_BITS, MAX_RSA_EXPONENT_BITS
from e2ee.secret import Secret
from ox.ciphers import Symmetric
from ox.packets import Cursor, malformed, unsupported, write_mpi
from ox.s2k import Hash

__all__ = [
    "CURVE25519",
    "ED25519",
    "NATIVE_POINT",
    "Algorithm",
    "Ecdh",
    "Ed25519Seed",
    "PublicKey",
    "Rsa",
    "RsaSecret",
    "SecretKey",
    "X25519",
    "fingerprint_of",
    "hashed_form",
    "read_public_key",
    "read_secret_key",
]

CURVE25519: Final = bytes.fromhex("2b060104019755010501")  # 1.3.6.1.4.1.3029.1.5.1
ED25519: Final = bytes.fromhex("2b06010401da470f01")  # 1.3.6.1.4.1.11591.15.1

NATIVE_POINT: Final = 0x40  # what precedes a point in its curve's own form (RFC 9580 §11.2)

_RULE: Final = "RFC 4880 §5.5"
_PRIVATE: Final = "RFC 4880 §5.5.3"
_KDF_HASHES: Final = frozenset({Hash.SHA256, Hash.SHA384, Hash.SHA512})  # RFC 6637 §12


class Algorithm(IntEnum):
    """Public-key algorithms that we can tell apart (RFC 9580 §9.1)."""

    RSA = 1
    RSA_ENCRYPT = 2
    RSA_SIGN = 3
    ELGAMAL = 16
    DSA = 17
    ECDH = 18
    ECDSA = 19
    ELGAMAL_SIGN = 20
    EDDSA = 22
    X25519 = 25
    ED25519 = 27


@dataclass(frozen=True, slots=True)
class Rsa:
    """The public numbers of an RSA key."""

    modulus: int
    exponent: int


@dataclass(frozen=True, slots=True)
class Ecdh:
    """An ECDH key on Curve25519 (RFC 6637 §9).

    Attributes:
        point: the public point, 32 octets, little-endian.
        kdf_hash: the hash that makes a wrapping key of a shared secret.
        kek: the cipher that wraps.
    """

    point: bytes
    kdf_hash: Hash
    kek: Symmetric


@dataclass(frozen=True, slots=True)
class X25519:
    """An X25519 key (RFC 9580 §5.5.5.7); ``point`` is 32 octets, little-endian."""

    point: bytes


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key or subkey.

    Attributes:
        algorithm: the number of its algorithm, perhaps one that :class:`Algorithm` lacks.
        created: when it was made, aware.
        fingerprint: 20 octets (RFC 4880 §12.2).
        numbers: what encrypts to it; ``None`` when this layer cannot encrypt to such a key.
    """

    algorithm: int
    created: datetime
    fingerprint: bytes
    numbers: Rsa | Ecdh | X25519 | None

    @property
    def key_id(self) -> bytes:
        """The 8 octets that name the key in a message."""
        return self.fingerprint[-8:]


@dataclass(frozen=True, slots=True)
class RsaSecret:
    """The secret numbers of an RSA key, each big-endian."""

    d: Secret
    p: Secret
    q: Secret


@dataclass(frozen=True, slots=True)
class Ed25519Seed:
    """The secret of an Ed25519 key, 32 octets."""

    seed: Secret


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One unprotected secret key or subkey.

    Attributes:
        public: its public part.
        body: the body of its public packet.
        numbers: RSA's secret numbers, the 32-octet little-endian scalar of Curve25519, or the seed
            of Ed25519; ``None`` for a key that this layer cannot use.
    """

    public: PublicKey
    body: bytes = field(repr=False)
    numbers: RsaSecret | Ed25519Seed | Secret | None = field(repr=False)


def hashed_form(body: bytes) -> bytes:
    """Return what fingerprints and signatures hash of a public-key packet (RFC 4880 §5.2.4)."""
    return b"\x99" + len(body).to_bytes(2) + body


def fingerprint_of(body: bytes) -> bytes:
    """Return the fingerprint of a version 4 public-key packet's body, 20 octets."""
    return hashlib.sha1(hashed_form(body), usedforsecurity=False).digest()  # RFC 4880 §12.2


def read_public_key(body: bytes) -> PublicKey:
    """Read the body of a public-key or public-subkey packet.

    Raises:
        PeerMisbehaved: ``malformed``, ``unsupported-algorithm`` for another version than 4,
            ``limit-exceeded`` for an oversized RSA key.
    """
    cursor = Cursor(body, _RULE)
    key = _read_public(cursor, body)
    cursor.finish()
    return key


def read_secret_key(body: Secret) -> SecretKey:
    """Read the body of an unprotected secret-key or secret-subkey packet.

    Raises:
        PeerMisbehaved: as :func:`read_public_key`; ``unsupported-algorithm`` also for a key that
            is protected by a passphrase, lacks its secret part, or has an unknown algorithm.
    """
    cursor = Cursor(body.reveal(), _RULE)
    public = _read_public(cursor, body.reveal())
    public_body = body.reveal()[: cursor.position]
    if public.algorithm not in tuple(Algorithm):
        raise unsupported("secret key of an unknown algorithm", _RULE)
    if cursor.number(1) != 0:
        raise unsupported("secret key that is protected or absent", _PRIVATE)
    area = cursor.rest()
    if len(area) < 2 or sum(area[:-2]) & 0xFFFF != int.from_bytes(area[-2:]):
        raise malformed("secret key with a wrong checksum", _PRIVATE)
    secret = Cursor(area[:-2], _PRIVATE)
    numbers = _read_secret(secret, public)
    secret.finish()
    return SecretKey(public, public_body, numbers)


def _read_public(cursor: Cursor, body: bytes) -> PublicKey:
    if cursor.number(1) != 4:
        raise unsupported("key of another version than 4", _RULE)
    created = datetime.fromtimestamp(cursor.number(4), UTC)
    algorithm = cursor.number(1)
    numbers: Rsa | Ecdh | X25519 | None = None
    match algorithm:
        case Algorithm.RSA | Algorithm.RSA_ENCRYPT | Algorithm.RSA_SIGN:
            numbers = _read_rsa(cursor)
        case Algorithm.ELGAMAL | Algorithm.ELGAMAL_SIGN:
            _skip_mpis(cursor, 3)
        case Algorithm.DSA:
            _skip_mpis(cursor, 4)
        case Algorithm.ECDH:
            numbers = _read_ecdh(cursor)
        case Algorithm.ECDSA | Algorithm.EDDSA:
            _read_curve(cursor)
            _skip_mpis(cursor, 1)
        case Algorithm.X25519:
            numbers = X25519(cursor.take(32))
        case Algorithm.ED25519:
            cursor.take(32)
        case _:
            cursor.rest()  # of an algorithm to come; the engine may know it
    public_part = body[: cursor.position]
    if len(public_part) > 0xFFFF:
        raise malformed("key too long to have a fingerprint", "RFC 4880 §12.2")
    return PublicKey(algorithm, created, fingerprint_of(public_part), numbers)


def _read_rsa(cursor: Cursor) -> Rsa:
    key = Rsa(cursor.mpi(), cursor.mpi())
    if key.modulus.bit_length() > MAX_RSA_BITS or key.exponent.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise PeerMisbehaved(
            ErrorCode.LIMIT_EXCEEDED, f"RSA key of more than {MAX_RSA_BITS} bits", rule=_RULE
        )
    return key


def _read_curve(cursor: Cursor) -> bytes:
    size = cursor.number(1)
    if size in (0, 0xFF):
        raise malformed("curve without a name", "RFC 6637 §9")
    return cursor.take(size)


def _read_ecdh(cursor: Cursor) -> Ecdh | None:
    curve = _read_curve(cursor)
    point = cursor.mpi()
    if cursor.number(1) != 3 or cursor.number(1) != 1:
        raise malformed("ECDH key with other parameters than a hash and a cipher", "RFC 6637 §9")
    kdf_hash, kek = cursor.number(1), Symmetric.find(cursor.number(1))
    if curve != CURVE25519 or kdf_hash not in _KDF_HASHES or kek is None:
        return None
    if point >> 256 != NATIVE_POINT:
        raise malformed("point that is not in the curve's own form", "RFC 9580 §11.2")
    return Ecdh((point & (1 << 256) - 1).to_bytes(32), Hash(kdf_hash), kek)


def _skip_mpis(cursor: Cursor, count: int) -> None:
    for _ in range(count):
        cursor.mpi()


def _read_secret(cursor: Cursor, public: PublicKey) -> RsaSecret | Ed25519Seed | Secret | None:
    match public.algorithm, public.numbers:
        case _, Rsa():
            d, p, q, _ = (Secret(write_mpi(cursor.mpi())[2:]) for _ in range(4))
            return RsaSecret(d, p, q)
        case Algorithm.ECDH, Ecdh():
            scalar = cursor.mpi()  # big-endian, against the curve's own habit
            if scalar >> 256:
                raise malformed("scalar of more than 32 octets", _PRIVATE)
            return Secret(scalar.to_bytes(32, "little"))
        case Algorithm.X25519, _:
            return Secret(cursor.take(32))
        case Algorithm.ED25519, _:
            return Ed25519Seed(Secret(cursor.take(32)))
        case Algorithm.EDDSA, _:
            seed = cursor.mpi()
            return None if seed >> 256 else Ed25519Seed(Secret(seed.to_bytes(32)))
        case _:
            _skip_mpis(cursor, 1)
    return None
