"""Key agreement on Curve25519: a session key under a one-time secret shared with the recipient.

Rule: the two schemes of OpenPGP, ECDH (RFC 6637) and X25519 (RFC 9580 §5.1.6), octets in and out;
key wrap tells whether a key came out, so a failure here is no oracle.
"""

from __future__ import annotations

import hashlib
from typing import Final

from e2ee.errors import CannotDecrypt
from e2ee.secret import Secret
from ox.ciphers import Random, Symmetric, X25519Private, hkdf_sha256, unwrap_key, wrap_key
from ox.key_packets import CURVE25519, NATIVE_POINT, X25519, Algorithm, Ecdh
from ox.packets import Cursor, malformed, write_mpi
from ox.session_key import SessionKey

__all__ = ["open_ecdh", "open_x25519", "seal_ecdh", "seal_x25519"]

_PADDED: Final = 40  # octets of every padded session key, so that its length says nothing


def seal_ecdh(
    session_key: SessionKey, recipient: Ecdh, fingerprint: bytes, random: Random
) -> bytes:
    """Return an ephemeral point and the wrapped session key (RFC 6637 §8).

    Args:
        session_key: what the recipient gets.
        recipient: the numbers of the recipient's key.
        fingerprint: of that key, 20 octets.
        random: makes the ephemeral key.

    Raises:
        ValueError: the recipient's point has a small order.
    """
    point, shared = _agree_ephemeral(recipient.point, random)
    packed = session_key.pack_checked().reveal()
    padding = _PADDED - len(packed)
    padded = Secret(packed + bytes((padding,)) * padding)
    wrapped = wrap_key(_kdf(shared, recipient, fingerprint), padded)
    return _write_point(point) + bytes((len(wrapped),)) + wrapped


def open_ecdh(
    fields: bytes,
    own: Ecdh,
    fingerprint: bytes,
    private: X25519Private,
    cipher: Symmetric | None = None,
) -> SessionKey | None:
    """Undo :func:`seal_ecdh`; ``None`` when it was made for another key.

    Args:
        fields: an ephemeral point and the wrapped session key.
        own: the numbers of our key.
        fingerprint: of that key, 20 octets.
        private: its private part.
        cipher: what the session key is for, where that does not travel with it (version 6).

    Raises:
        PeerMisbehaved: ``malformed``.
    """
    cursor = Cursor(fields, "RFC 6637 §8")
    point = cursor.mpi()
    wrapped = cursor.take(cursor.number(1))
    cursor.finish()
    if point >> 256 != NATIVE_POINT:
        raise malformed("point that is not in the curve's own form", "RFC 9580 §11.2")
    try:
        shared = private.agree((point & (1 << 256) - 1).to_bytes(32))
        padded = unwrap_key(_kdf(shared, own, fingerprint), wrapped).reveal()
    except (ValueError, CannotDecrypt):
        return None
    padding = padded[-1]
    if not padded.endswith(bytes((padding,)) * padding):
        return None
    packed = Secret(padded[: len(padded) - padding])
    return SessionKey.unpack_checked(packed, cipher)


def seal_x25519(session_key: SessionKey, recipient: X25519, random: Random) -> bytes:
    """Return an ephemeral point and the wrapped session key (RFC 9580 §5.1.6).

    Raises:
        ValueError: the recipient's point has a small order.
    """
    point, shared = _agree_ephemeral(recipient.point, random)
    wrapped = wrap_key(_hkdf(shared, point, recipient), session_key.key)
    return point + bytes((1 + len(wrapped), session_key.cipher)) + wrapped


def open_x25519(
    fields: bytes, own: X25519, private: X25519Private, cipher: Symmetric | None = None
) -> SessionKey | None:
    """Undo :func:`seal_x25519`; ``None`` when it was made for another key.

    Args:
        fields: an ephemeral point and the wrapped session key.
        own: the numbers of our key.
        private: its private part.
        cipher: as for :func:`open_ecdh`.

    Raises:
        PeerMisbehaved: ``malformed``.
    """
    cursor = Cursor(fields, "RFC 9580 §5.1.6")
    point = cursor.take(32)
    sealed = cursor.take(cursor.number(1))
    cursor.finish()
    head, wrapped = (sealed[:1], sealed[1:]) if cipher is None else (bytes((cipher,)), sealed)
    try:
        shared = private.agree(point)
        key = unwrap_key(_hkdf(shared, point, own), wrapped)
    except (ValueError, CannotDecrypt):
        return None
    return SessionKey.unpack(Secret(head + key.reveal()))


def _agree_ephemeral(point: bytes, random: Random) -> tuple[bytes, Secret]:
    ephemeral = X25519Private(Secret(random(32)))
    return ephemeral.public, ephemeral.agree(point)


def _write_point(point: bytes) -> bytes:
    return write_mpi(int.from_bytes(bytes((NATIVE_POINT,)) + point))


def _kdf(shared: Secret, key: Ecdh, fingerprint: bytes) -> Secret:
    """Bind the wrapping key to the recipient's key (RFC 6637 §7)."""
    parameters = (
        bytes((len(CURVE25519),))
        + CURVE25519
        + bytes((Algorithm.ECDH, 3, 1, key.kdf_hash, key.kek))
        + b"Anonymous Sender    "
        + fingerprint
    )
    digest = hashlib.new(key.kdf_hash.name.lower(), b"\0\0\0\1" + shared.reveal() + parameters)
    return Secret(digest.digest()[: key.kek.key_length])


def _hkdf(shared: Secret, point: bytes, recipient: X25519) -> Secret:
    keyed = Secret(point + recipient.point + shared.reveal())
    return hkdf_sha256(keyed, b"OpenPGP X25519", Symmetric.AES128.key_length)
