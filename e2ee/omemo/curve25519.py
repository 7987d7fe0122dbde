"""What a public key on Curve25519 must be before anything is computed with it, and who signed what.

Rule: checks only; the arithmetic is libsodium's, by the package xeddsa.
"""

from __future__ import annotations

from typing import Final

import xeddsa

from e2ee.errors import ErrorCode, PeerMisbehaved

__all__ = ["KEY_BYTES", "check_public_key", "is_signed", "malformed"]

KEY_BYTES: Final = 32

_FIELD_PRIME: Final = 2**255 - 19
_SMALL_ORDERS: Final = frozenset(
    {
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _FIELD_PRIME - 1,
    }
)
"""The points of the curve and its twist by which everybody computes the same secret: zero."""


def check_public_key(key: bytes, rule: str) -> None:
    """Check an X25519 key: 32 bytes, in the one form that every key has, not of small order.

    Raises:
        PeerMisbehaved: ``malformed``.
    """
    number = int.from_bytes(key, "little")
    if len(key) != KEY_BYTES or number >= _FIELD_PRIME or number in _SMALL_ORDERS:
        raise malformed("no usable X25519 key", rule)


def is_signed(message: bytes, signature: bytes, ed25519: bytes) -> bool:
    """Say whether a signature is one of ``message``; whatever is no signature is none."""
    try:
        return xeddsa.ed25519_verify(signature, ed25519, message)
    except ValueError:
        return False


def malformed(message: str, rule: str) -> PeerMisbehaved:
    """Return the error for what cannot be read."""
    return PeerMisbehaved(ErrorCode.MALFORMED, message, rule=rule)
