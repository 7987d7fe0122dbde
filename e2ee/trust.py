"""Trust in keys and owners: its levels, and the decisions that belong to the user.

Rule: levels and policies only; which key has which level is kept by the account that met it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Protocol

from e2ee.names import BareJid, NodeAddress

__all__ = [
    "BlindTrustBeforeVerification",
    "BlindTrustOnFirstSight",
    "ManualTrust",
    "Trust",
    "TrustPolicy",
]


class Trust(StrEnum):
    """The four levels of XEP-0450 §3."""

    AUTHENTICATED = "authenticated"
    AUTOMATIC = "automatic"
    UNDECIDED = "undecided"
    DISTRUSTED = "distrusted"

    @property
    def accepts(self) -> bool:
        """Whether keys of this level may be encrypted to and believed."""
        return self in (Trust.AUTHENTICATED, Trust.AUTOMATIC)

    def accepts_beside(self, levels: Collection[Trust]) -> bool:
        """Say whether they are, of somebody whose keys have these levels.

        Once the user authenticated a key of somebody, theirs are trusted automatically no more
        (XEP-0450 §6.2): somebody else may have added one before anybody looked. What is accepted
        no more waits for a decision, as if it were undecided.
        """
        return self is Trust.AUTHENTICATED or (
            self is Trust.AUTOMATIC and Trust.AUTHENTICATED not in levels
        )


class TrustPolicy(Protocol):
    """Answers what a program may decide without asking its user."""

    def first_sight(self, jid: BareJid) -> Trust:
        """Return the level of the keys of ``jid`` when no key of that JID was known before."""
        ...

    def later(self, jid: BareJid, *, verified: bool) -> Trust:
        """Return the level of a device of ``jid`` that appears beside others (OMEMO).

        Whatever the policy, a key of OpenPGP that appears later is undecided, and so is every other
        device of our own account.

        Args:
            jid: whose.
            verified: whether the user ever vouched for a key of that JID.
        """
        ...

    def uses(self, trust: Trust, *, verified: bool) -> bool:
        """Say whether a device of this level is encrypted to and believed (OMEMO).

        Args:
            trust: its level.
            verified: whether the user ever vouched for a key of the same JID.
        """
        ...

    def owns_node(self, address: NodeAddress, sharer: BareJid) -> bool:
        """Say whether ``sharer`` may share the first secret of the node (XEP-0473 §9)."""
        ...


class _PepOwners:
    """Believes about nodes what needs no asking."""

    def owns_node(self, address: NodeAddress, sharer: BareJid) -> bool:
        """Say yes only for a PEP node, whose service *is* its owner's account."""
        return bool(address.service.local) and address.service == sharer


class BlindTrustOnFirstSight(_PepOwners):
    """Believes the first keys of a JID, never later ones; none unasked once one is verified.

    The last is XEP-0450 §6.2.
    """

    def first_sight(self, jid: BareJid) -> Trust:
        """Return ``AUTOMATIC``: the first announced keys are believed without asking."""
        return Trust.AUTOMATIC

    def later(self, jid: BareJid, *, verified: bool) -> Trust:
        """Return ``UNDECIDED``: a server could add a device at any time."""
        return Trust.UNDECIDED

    def uses(self, trust: Trust, *, verified: bool) -> bool:
        """Use what was verified, and what was believed blindly while nothing was."""
        return trust is Trust.AUTHENTICATED or (trust is Trust.AUTOMATIC and not verified)


class BlindTrustBeforeVerification(_PepOwners):
    """Believes every device of a JID until the user verifies one; from then on, no new one.

    What most chat clients do (BTBV). A server can add a device that reads along until then.
    """

    def first_sight(self, jid: BareJid) -> Trust:
        """Return ``AUTOMATIC``."""
        return Trust.AUTOMATIC

    def later(self, jid: BareJid, *, verified: bool) -> Trust:
        """Return ``AUTOMATIC`` as long as nothing was verified."""
        return Trust.UNDECIDED if verified else Trust.AUTOMATIC

    def uses(self, trust: Trust, *, verified: bool) -> bool:
        """Use every level that accepts."""
        return trust.accepts


class ManualTrust(_PepOwners):
    """Believes nothing that the user has not decided about."""

    def first_sight(self, jid: BareJid) -> Trust:
        """Return ``UNDECIDED``."""
        return Trust.UNDECIDED

    def later(self, jid: BareJid, *, verified: bool) -> Trust:
        """Return ``UNDECIDED``."""
        return Trust.UNDECIDED

    def uses(self, trust: Trust, *, verified: bool) -> bool:
        """Use what the user vouched for, and nothing that another policy believed before."""
        return trust is Trust.AUTHENTICATED
