"""Rotation: what became of everybody when an owner rotated a node's secret (XEP-0473 §5.3).

Rule: a value only; the rotation itself is in ``owner.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from e2ee.errors import ErrorCode
from e2ee.names import BareJid, SecretId

__all__ = ["Rotation"]


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did.

    Attributes:
        secret_id: the secret that is current now.
        revoked: the secrets of whose revocation people are told.
        untold: who could not be told of a revocation or sent the new secret, and why: mostly they
            have no usable key. Who was to stay stays a member; a later ``grant`` sends what they
            lack.
        unsure: after a renewal of the account, the members of before it. They may have been removed
            since, so they were not sent the new secret; ``grant`` it to those who are to stay.
    """

    secret_id: SecretId
    revoked: tuple[SecretId, ...]
    untold: Mapping[BareJid, ErrorCode]
    unsure: tuple[BareJid, ...] = ()
