"""The guard before any engine for keys: what a transferable key may be made of, and how much of it.

Rule: bounds and shape, decided in time linear to the input; who signed what, and whether it holds,
is the engine's to say. A hostile certificate otherwise costs an engine seconds, or hours.
"""

from __future__ import annotations

from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import (
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATE_PACKETS,
    MAX_CERTIFICATE_USER_IDS,
    MIN_RSA_BITS,
)
from e2ee.secret import Secret
from ox.ciphers import Ed25519Private
from ox.key_packets import (
    Algorithm,
    Ed25519Seed,
    PublicKey,
    Rsa,
    SecretKey,
    read_public_key,
    read_secret_key,
)
from ox.packets import Cursor, Packet, Tag, malformed, read_packets, unsupported

__all__ = ["check_certificate", "check_secret_key"]

_RULE: Final = "RFC 4880 §11.1"
_AROUND_KEYS: Final = frozenset({Tag.SIGNATURE, Tag.USER_ID, Tag.USER_ATTRIBUTE})
_WEAK_PRIMARIES: Final = frozenset({Algorithm.ELGAMAL, Algorithm.ELGAMAL_SIGN, Algorithm.DSA})


def check_certificate(data: bytes) -> tuple[PublicKey, ...]:
    """Guard one binary transferable public key (RFC 4880 §11.1).

    Returns:
        Its primary key, then its subkeys in their order; whether they are bound is not known.

    Raises:
        PeerMisbehaved: ``malformed``: no certificate, two of them, one with secret parts, or with
            lengths that do not fit; ``limit-exceeded``; ``unsupported-algorithm``: another version
            than 4, or a primary key that is weak.
    """
    packets = _read(data, Tag.PUBLIC_KEY, Tag.PUBLIC_SUBKEY)
    keys = tuple(
        read_public_key(packet.body) for packet in packets if packet.tag not in _AROUND_KEYS
    )
    _refuse_weak(keys[0])
    if len({key.key_id for key in keys}) < len(keys):
        raise malformed("key whose parts share an id", _RULE)  # a message would mean either
    return keys


def check_secret_key(data: Secret) -> tuple[SecretKey, ...]:
    """Guard one binary transferable secret key without protection (RFC 4880 §11.2).

    Returns:
        Its primary key, then its subkeys in their order.

    Raises:
        PeerMisbehaved: as :func:`check_certificate`; ``unsupported-algorithm`` also for a key that
            is protected by a passphrase or lacks its secret part; ``malformed`` also for an
            Ed25519 key with the seed of another (for the rest see ``pkesk.decryption_keys``).
    """
    try:
        packets = _read(data.reveal(), Tag.SECRET_KEY, Tag.SECRET_SUBKEY)
        keys = tuple(
            read_secret_key(Secret(packet.body))
            for packet in packets
            if packet.tag not in _AROUND_KEYS
        )
        _refuse_weak(keys[0].public)
        _check_seeds(keys)
    except PeerMisbehaved as error:
        raise error.with_traceback(None) from None  # frames below hold the key as it was read
    return keys


def _read(data: bytes, primary: Tag, subkey: Tag) -> tuple[Packet, ...]:
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise _exceeded(f"more than {MAX_CERTIFICATE_BYTES} bytes")
    packets = read_packets(data, most=MAX_CERTIFICATE_PACKETS)
    if not packets or packets[0].tag != primary:
        raise malformed(f"key that does not start with a packet of tag {primary:d}", _RULE)
    for packet in packets[1:]:
        if packet.tag != subkey and packet.tag not in _AROUND_KEYS:
            raise malformed(f"packet of tag {packet.tag} inside a key", _RULE)
        if packet.tag == Tag.SIGNATURE:
            _check_subpackets(packet.body)
    if sum(packet.tag == Tag.USER_ID for packet in packets) > MAX_CERTIFICATE_USER_IDS:
        raise _exceeded(f"more than {MAX_CERTIFICATE_USER_IDS} user ids")
    return packets


def _exceeded(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, f"key of {what}", rule=_RULE)


def _refuse_weak(primary: PublicKey) -> None:
    if primary.algorithm in _WEAK_PRIMARIES:
        raise unsupported("DSA or ElGamal primary key", "XEP-0373 §4")
    if isinstance(primary.numbers, Rsa) and primary.numbers.modulus.bit_length() < MIN_RSA_BITS:
        raise unsupported(f"RSA primary key of less than {MIN_RSA_BITS} bits", "XEP-0373 §4")


def _check_seeds(keys: tuple[SecretKey, ...]) -> None:
    # Two signatures with one seed, under two public keys, would tell the seed.
    for key in keys:
        numbers = key.numbers
        if isinstance(numbers, Ed25519Seed) and not key.body.endswith(
            Ed25519Private(numbers.seed).public
        ):
            raise malformed("secret key whose parts do not belong together", _RULE)


def _check_subpackets(signature: bytes) -> None:
    cursor = Cursor(signature, "RFC 4880 §5.2.3")
    if cursor.number(1) != 4:
        raise unsupported("signature of another version than 4", "RFC 4880 §5.2")
    cursor.take(3)  # type, public-key algorithm, hash algorithm
    for _ in ("hashed", "unhashed"):
        area = Cursor(cursor.take(cursor.number(2)), "RFC 4880 §5.2.3.1")
        while area:
            _skip_subpacket(area)


def _skip_subpacket(area: Cursor) -> None:
    first = area.number(1)
    if first < 192:
        size = first
    elif first < 255:
        size = (first - 192 << 8) + area.number(1) + 192
    else:
        size = area.number(4)
    if size == 0:
        raise malformed("signature subpacket without a type", "RFC 4880 §5.2.3.1")
    area.take(size)
