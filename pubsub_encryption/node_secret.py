"""NodeSecret: one secret of an encrypted node, and how its text is read (XEP-0473 §5.2).

Rule: a value only; how secrets become known, current and revoked is decided in ``keychain.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from e2ee import limits
from e2ee.lexical import trim_xml
from e2ee.names import BareJid, Fingerprint, SecretId
from e2ee.secret import Secret

__all__ = ["MAX_READINGS", "NodeSecret", "SecretState", "newest_of"]

MAX_READINGS: Final = 2  # ways to read one secret: trimmed, and as it stood
_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]*\Z")


class SecretState(StrEnum):
    """Whether a secret may still encrypt."""

    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class NodeSecret:
    """One secret of a node.

    Attributes:
        id: its id.
        value: its text as it came, UTF-8.
        created: when it was generated, aware.
        state: whether it may still encrypt.
        shared_with: who is known to have it, ourselves not counted.
        type: the ``pubsub#type`` of the plain text, where the sharer said.
        signer: the key that vouched for it; ``None`` until it is in a keychain.
        foreign: whether a former owner left it behind.
    """

    id: SecretId
    value: Secret
    created: datetime
    state: SecretState = SecretState.ACTIVE
    shared_with: frozenset[BareJid] = frozenset()
    type: str | None = field(default=None, repr=False)
    signer: Fingerprint | None = None
    foreign: bool = False

    @property
    def passphrase(self) -> Secret:
        """The secret as a passphrase: without the white space that surrounds it (XEP-0473 §5.2)."""
        return Secret(trim_xml(self.value.reveal().decode()).encode())

    @property
    def passphrases(self) -> tuple[Secret, ...]:
        """What to try when decrypting: some senders mean the surrounding white space."""
        trimmed = self.passphrase
        return (trimmed,) if len(trimmed) == len(self.value) else (trimmed, self.value)

    @property
    def is_random(self) -> bool:
        """Whether its form holds 256 random bits, so that hashing it many times adds nothing."""
        raw = self.passphrase.reveal()
        return len(raw) >= limits.MIN_UNSTRETCHED_SECRET_CHARS and bool(_BASE64URL.match(raw))

    @property
    def is_weak(self) -> bool:
        """Whether it is too short to encrypt with (XEP-0473 §9)."""
        return len(self.passphrase.reveal().decode()) < limits.MIN_SECRET_CHARS

    def is_ahead_of(self, now: datetime) -> bool:
        """Say whether it is dated further ahead of ``now``, aware, than clocks may differ."""
        return self.created > now + limits.MAX_CLOCK_SKEW


def newest_of(secrets: Iterable[NodeSecret]) -> NodeSecret | None:
    """Return the secret of the latest date, ties decided by id; ``None`` of none."""
    return max(secrets, key=lambda secret: (secret.created, secret.id), default=None)
