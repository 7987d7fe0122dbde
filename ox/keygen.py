"""A new OpenPGP key of version 4: Ed25519 with Curve25519, or RSA on request.

Rule: two shapes of key: one that every program reads that knows Curve25519 at all, and one for the
others; each a primary that certifies and signs, and a subkey that is encrypted to. It says of
itself that it takes containers of version 1 only, so that its owner may share it with GnuPG.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from e2ee.errors import ApiMisuse
from e2ee.secret import Secret
from ox.ciphers import Ed25519Private, Random, Symmetric, X25519Private, generate_rsa
from ox.key_packets import (
    CURVE25519,
    ED25519,
    NATIVE_POINT,
    Algorithm,
    hashed_form,
    read_secret_key,
)
from ox.key_signatures import (
    PrimarySigner,
    SignatureKind,
    Subpacket,
    SubpacketKind,
    signed_user_id,
)
from ox.packets import Tag, write_mpi, write_packet
from ox.s2k import Hash

__all__ = ["generate_key"]

_RSA_BITS: Final = 3072  # as strong as Curve25519
_ENCRYPT: Final = b"\x0c"  # communications and storage, RFC 4880 §5.2.3.21
_PREFERENCES: Final = (
    Subpacket(SubpacketKind.KEY_FLAGS, b"\x03"),  # certify and sign
    Subpacket(SubpacketKind.CIPHERS, bytes(sorted(Symmetric, reverse=True))),
    Subpacket(SubpacketKind.HASHES, bytes((Hash.SHA512, Hash.SHA384, Hash.SHA256))),
    Subpacket(SubpacketKind.COMPRESSIONS, b"\x00"),  # none: it tells lengths, and needs a guard
    Subpacket(SubpacketKind.FEATURES, b"\x01"),  # containers of version 1
    Subpacket(SubpacketKind.PRIMARY_USER_ID, b"\x01"),
)


def generate_key(
    user_id: str, created: datetime, random: Random, *, rsa: bool = False
) -> tuple[bytes, Secret]:
    """Make a key that never expires.

    Args:
        user_id: its only user id, exactly as it shall stand there.
        created: when the key and its signatures are made, aware; whole seconds of it.
        random: makes the secret parts of Curve25519.
        rsa: make RSA-3072 keys instead, which takes a good part of a second.

    Returns:
        The binary transferable public key, and the unprotected transferable secret key
        (RFC 4880 §11.1, §11.2).

    Raises:
        ApiMisuse: ``user_id`` is empty or no text, or ``created`` is naive or outside 1970 to 2106.
    """
    if not user_id or created.tzinfo is None:
        raise ApiMisuse("a key needs a user id and an aware time")
    try:
        name = user_id.encode()
        time = int(created.timestamp()).to_bytes(4)
    except (UnicodeEncodeError, OverflowError):
        raise ApiMisuse("user id that is no text, or a time outside 1970 to 2106") from None

    if rsa:
        (primary, of_primary), (subkey, of_subkey) = _rsa(time), _rsa(time)
    else:
        (primary, of_primary), (subkey, of_subkey) = _ed25519(time, random), _x25519(time, random)
    signer = PrimarySigner(read_secret_key(Secret(primary + of_primary.reveal())))
    certification = signer.sign(
        SignatureKind.POSITIVE_CERTIFICATION, signed_user_id(name), _PREFERENCES, created
    )
    flags = (Subpacket(SubpacketKind.KEY_FLAGS, _ENCRYPT),)
    binding = signer.sign(SignatureKind.SUBKEY_BINDING, hashed_form(subkey), flags, created)
    named = write_packet(Tag.USER_ID, name) + certification
    public = (
        write_packet(Tag.PUBLIC_KEY, primary)
        + named
        + write_packet(Tag.PUBLIC_SUBKEY, subkey)
        + binding
    )
    secret = (
        write_packet(Tag.SECRET_KEY, primary + of_primary.reveal())
        + named
        + write_packet(Tag.SECRET_SUBKEY, subkey + of_subkey.reveal())
        + binding
    )
    return public, Secret(secret)


def _ed25519(time: bytes, random: Random) -> tuple[bytes, Secret]:
    seed = Secret(random(32))
    body = _curve(time, Algorithm.EDDSA, ED25519, Ed25519Private(seed).public)
    return body, _secret_part(int.from_bytes(seed.reveal()))


def _x25519(time: bytes, random: Random) -> tuple[bytes, Secret]:
    scalar = _clamped(random(32))
    body = _curve(time, Algorithm.ECDH, CURVE25519, X25519Private(scalar).public)
    body += bytes((3, 1, Hash.SHA256, Symmetric.AES128))  # RFC 6637 §9
    return body, _secret_part(int.from_bytes(scalar.reveal(), "little"))


def _rsa(time: bytes) -> tuple[bytes, Secret]:
    modulus, exponent, *secret = generate_rsa(_RSA_BITS)
    d, p, q = (int.from_bytes(number.reveal()) for number in secret)
    body = b"\x04" + time + bytes((Algorithm.RSA,)) + write_mpi(modulus) + write_mpi(exponent)
    return body, _secret_part(d, p, q, pow(p, -1, q))


def _clamped(scalar: bytes) -> Secret:
    """Return the scalar as it is used (RFC 7748 §5); GnuPG does not clamp what it reads."""
    first, *middle, last = scalar
    return Secret(bytes((first & 0xF8, *middle, last & 0x7F | 0x40)))


def _curve(time: bytes, algorithm: Algorithm, curve: bytes, point: bytes) -> bytes:
    number = write_mpi(int.from_bytes(bytes((NATIVE_POINT,)) + point))
    return b"\x04" + time + bytes((algorithm, len(curve))) + curve + number


def _secret_part(*numbers: int) -> Secret:
    written = b"".join(map(write_mpi, numbers))
    checksum = (sum(written) & 0xFFFF).to_bytes(2)
    return Secret(b"\0" + written + checksum)  # unprotected, RFC 4880 §5.5.3
