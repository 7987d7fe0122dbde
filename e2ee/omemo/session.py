"""Session: what we share with one device, and all that is kept of it.

Rule: a value and what follows from it alone; how it is stored is in ``session_record.py`` and
``session_rows.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.engine import KeyExchange, Ratchet
from e2ee.omemo.version import Version
from e2ee.renewal import Renewal

__all__ = ["Session", "SkippedChain"]


@dataclass(frozen=True, slots=True)
class SkippedChain:
    """How many message keys are kept of the chain under one ratchet key of the peer, 32 bytes."""

    ratchet_key: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Session:
    """A Double Ratchet session with one device.

    Attributes:
        version: of which version.
        peer: with whom.
        fingerprint: the peer's identity, with which the session was built; never another's.
        exchange: the key exchange that built it; it is known again by it.
        initiator: whether we started it.
        confirmed: whether the peer has answered, so that the exchange need not be sent any more;
            always, where the peer started it.
        bound: the associated data of every message.
        ratchet: its state.
        skipped: the chains of which message keys are kept, the oldest first.
        heartbeat: the peer's ratchet key for which a heartbeat was sent; ``None`` for none.
        renewal: the count of the account's renewals under which it was built: after a later one it
            only decrypts, because some of its positions may have been used (D-24).
    """

    version: Version
    peer: Device
    fingerprint: IdentityFingerprint
    exchange: KeyExchange
    initiator: bool
    confirmed: bool
    bound: bytes
    ratchet: Ratchet
    skipped: tuple[SkippedChain, ...] = ()
    heartbeat: bytes | None = None
    renewal: int = 0

    def sends_to(self, fingerprint: IdentityFingerprint | None, renewal: Renewal) -> bool:
        """Say whether it may be sent with.

        Args:
            fingerprint: of the identity that is accepted of the device now; ``None`` for none.
            renewal: the account's newest. A session from before it may have been ahead of what is
                stored of it, and would use a position twice.

        Raises:
            StoreFailed: ``store-corrupt``: the session knows of a later renewal.
        """
        return not renewal.outdates(self.renewal) and self.fingerprint == fingerprint
