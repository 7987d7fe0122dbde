"""The names of OMEMO: a device, its id, and the fingerprint of its identity key.

Rule: names only, checked when they are made; what is known of a device is in ``ring.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NewType

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import parse_integer
from e2ee.names import BareJid

__all__ = [
    "MAX_DEVICE_ID",
    "MAX_OWN_DEVICE_ID",
    "Device",
    "DeviceId",
    "IdentityFingerprint",
    "parse_device_id",
    "parse_identity_fingerprint",
]

DeviceId = NewType("DeviceId", int)
"""The id of a device of an account: 1 to ``MAX_DEVICE_ID``."""

IdentityFingerprint = NewType("IdentityFingerprint", str)
"""An identity key as users compare it: its Curve25519 form, 64 lower-case hexadecimal digits
(XEP-0384 §8). It is the same in both versions, and for both Ed25519 forms of one key."""

MAX_DEVICE_ID: Final = 2**32 - 1  # the schema says unsignedInt, and old devices have such ids
MAX_OWN_DEVICE_ID: Final = 2**31 - 1  # XEP-0384 §5.1
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """One device of one account."""

    jid: BareJid
    id: DeviceId

    def __str__(self) -> str:
        return f"{self.jid}#{self.id}"


def parse_device_id(text: str, rule: str | None = "XEP-0384 §5.3") -> DeviceId:
    """Read a device id in decimal digits.

    Raises:
        PeerMisbehaved: ``malformed``: anything else, zero and what is too large included.
    """
    return DeviceId(parse_integer(text, 1, MAX_DEVICE_ID, rule))


def parse_identity_fingerprint(text: str) -> IdentityFingerprint:
    """Check a fingerprint: 64 lower-case hexadecimal digits.

    Raises:
        PeerMisbehaved: ``malformed``: it is anything else.
    """
    if not _FINGERPRINT.fullmatch(text):
        raise PeerMisbehaved(
            ErrorCode.MALFORMED, "not the fingerprint of an OMEMO identity key", rule="XEP-0384 §8"
        )
    return IdentityFingerprint(text)
