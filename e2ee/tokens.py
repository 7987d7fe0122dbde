"""Random tokens: ids and secrets made of nothing but randomness.

Rule: how many octets a token needs is said where it is made; nothing is ever derived from content.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

from e2ee.ports import Primitives

__all__ = ["random_token"]


def random_token(primitives: Primitives, octets: int) -> str:
    """Return that many random octets in base64url (RFC 4648 §5) without padding."""
    return urlsafe_b64encode(primitives.random(octets)).rstrip(b"=").decode()
