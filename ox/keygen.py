"""A new OpenPGP key of version 4: Ed25519 to certify and sign, Curve25519 to be encrypted to.

Rule: one shape of key, readable by every program that knows Curve25519 at all. It says of itself
that it takes containers of version 1 only, so that its owner may share it with GnuPG.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from e2ee.errors import ApiMisuse
from e2ee.secret import Secret
from ox.ciphers import Ed25519Private, Random, Symmetric, X25519Private
from ox.key_packets import CURVE25519, ED25519, NATIVE_POINT, Algorithm, fingerprint_of, hashed_form
from ox.packets import Tag, write_mpi, write_packet
from ox.s2k import Hash

__all__ = ["generate_key"]

# Signature types (RFC 4880 §5.2.1) and subpackets (§5.2.3.1; 33 is RFC 9580's)
_POSITIVE_CERTIFICATION, _SUBKEY_BINDING = 0x13, 0x18
_CREATED, _CIPHERS, _ISSUER, _HASHES, _COMPRESSIONS = 2, 11, 16, 21, 22
_PRIMARY_USER_ID, _KEY_FLAGS, _FEATURES, _ISSUER_FINGERPRINT = 25, 27, 30, 33
_ENCRYPT: Final = b"\x0c"  # communications and storage, RFC 4880 §5.2.3.21


def generate_key(user_id: str, created: datetime, random: Random) -> tuple[bytes, Secret]:
    """Make a key that never expires.

    Args:
        user_id: its only user id, exactly as it shall stand there.
        created: when the key and its signatures are made, aware; whole seconds of it.
        random: makes the secret parts.

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

    seed, scalar = Secret(random(32)), _clamped(random(32))
    signer = Ed25519Private(seed)
    primary = _public_key(time, Algorithm.EDDSA, ED25519, signer.public)
    subkey = _public_key(time, Algorithm.ECDH, CURVE25519, X25519Private(scalar).public)
    subkey += bytes((3, 1, Hash.SHA256, Symmetric.AES128))  # RFC 6637 §9

    certification = _signature(
        signer,
        primary,
        _POSITIVE_CERTIFICATION,
        b"\xb4" + len(name).to_bytes(4) + name,  # RFC 4880 §5.2.4
        _subpacket(_CREATED, time) + _PREFERENCES,
    )
    binding = _signature(
        signer,
        primary,
        _SUBKEY_BINDING,
        hashed_form(subkey),
        _subpacket(_CREATED, time) + _subpacket(_KEY_FLAGS, _ENCRYPT),
    )
    named = write_packet(Tag.USER_ID, name) + certification
    public = (
        write_packet(Tag.PUBLIC_KEY, primary)
        + named
        + write_packet(Tag.PUBLIC_SUBKEY, subkey)
        + binding
    )
    secret = (
        write_packet(Tag.SECRET_KEY, primary + _secret_part(int.from_bytes(seed.reveal())))
        + named
        + write_packet(
            Tag.SECRET_SUBKEY,
            subkey + _secret_part(int.from_bytes(scalar.reveal(), "little")),
        )
        + binding
    )
    return public, Secret(secret)


def _clamped(scalar: bytes) -> Secret:
    """Return the scalar as it is used (RFC 7748 §5); GnuPG does not clamp what it reads."""
    first, *middle, last = scalar
    return Secret(bytes((first & 0xF8, *middle, last & 0x7F | 0x40)))


def _public_key(time: bytes, algorithm: Algorithm, curve: bytes, point: bytes) -> bytes:
    number = write_mpi(int.from_bytes(bytes((NATIVE_POINT,)) + point))
    return b"\x04" + time + bytes((algorithm, len(curve))) + curve + number


def _secret_part(number: int) -> bytes:
    written = write_mpi(number)
    return b"\0" + written + (sum(written) & 0xFFFF).to_bytes(2)  # unprotected, RFC 4880 §5.5.3


def _signature(
    signer: Ed25519Private, primary: bytes, kind: int, signed: bytes, subpackets: bytes
) -> bytes:
    """Return a signature packet by ``primary`` over itself and ``signed`` (RFC 4880 §5.2.4)."""
    fingerprint = fingerprint_of(primary)
    hashed = subpackets + _subpacket(_ISSUER_FINGERPRINT, b"\x04" + fingerprint)
    unhashed = _subpacket(_ISSUER, fingerprint[-8:])
    head = bytes((4, kind, Algorithm.EDDSA, Hash.SHA512)) + len(hashed).to_bytes(2) + hashed
    trailer = b"\x04\xff" + len(head).to_bytes(4)
    digest = hashlib.sha512(hashed_form(primary) + signed + head + trailer).digest()
    made = signer.sign(digest)
    return write_packet(
        Tag.SIGNATURE,
        head
        + len(unhashed).to_bytes(2)
        + unhashed
        + digest[:2]
        + write_mpi(int.from_bytes(made[:32]))
        + write_mpi(int.from_bytes(made[32:])),
    )


def _subpacket(kind: int, body: bytes) -> bytes:
    return bytes((1 + len(body), kind)) + body


_PREFERENCES: Final = (
    _subpacket(_KEY_FLAGS, b"\x03")  # certify and sign
    + _subpacket(_CIPHERS, bytes(sorted(Symmetric, reverse=True)))
    + _subpacket(_HASHES, bytes((Hash.SHA512, Hash.SHA384, Hash.SHA256)))
    + _subpacket(_COMPRESSIONS, b"\x00")  # none: it tells lengths, and costs readers a guard
    + _subpacket(_FEATURES, b"\x01")  # containers of version 1
    + _subpacket(_PRIMARY_USER_ID, b"\x01")
)
