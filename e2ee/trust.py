"""Trust in keys and owners: its levels, and the decisions that belong to the user.

Rule: levels and policies only; which key has which level is kept by the account that met it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Protocol

from e2ee.names import BareJid, NodeAddress

__all__ = ["BlindTrustOnFirstSight", "Trust", "TrustPolicy"]


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

    def owns_node(self, address: NodeAddress, sharer: BareJid) -> bool:
        """Say whether ``sharer`` may share the first secret of the node (XEP-0473 §9)."""
        ...


class BlindTrustOnFirstSight:
    """Believes the first keys of a JID until one is authenticated, never later ones.

    Of nodes it believes owners only of PEP nodes.
    """

    def first_sight(self, jid: BareJid) -> Trust:
        """Return ``AUTOMATIC``: the first announced keys are believed without asking."""
        return Trust.AUTOMATIC

    def owns_node(self, address: NodeAddress, sharer: BareJid) -> bool:
        """Say yes only for a PEP node, whose service *is* its owner's account."""
        return bool(address.service.local) and address.service == sharer
