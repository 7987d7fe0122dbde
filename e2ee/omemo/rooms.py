"""RoomRoster: who a message in a room is encrypted for, from the room's lists and their changes.

Rule: pure transitions from what the room's service says; who is present does not matter, because
those who are away read later (XEP-0384 §5.8).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from e2ee import ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Jid
from e2ee.xmltree import Element

__all__ = ["RoomAffiliation", "RoomRoster"]

_RULE: Final = "XEP-0384 §5.8"


class RoomAffiliation(StrEnum):
    """What somebody is to a room, whether present or not (XEP-0045 §5.2)."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    NONE = "none"
    OUTCAST = "outcast"

    @property
    def reads(self) -> bool:
        """Whether such a one is in one of the three lists of recipients."""
        return self in _LISTS


_LISTS: Final = frozenset({RoomAffiliation.OWNER, RoomAffiliation.ADMIN, RoomAffiliation.MEMBER})


@dataclass(frozen=True, slots=True)
class RoomRoster:
    """Who belongs to a room, as its service says.

    Attributes:
        room: the room.
        is_open: whether anybody may enter: such a one reads nothing before being made a member, and
            the user should be told.
        members: everybody in the lists, by real JID.
        lists: which of the three lists were taken in.
    """

    room: BareJid
    is_open: bool
    members: frozenset[BareJid] = frozenset()
    lists: frozenset[RoomAffiliation] = field(default=frozenset())

    @classmethod
    def of(cls, room: BareJid, features: Collection[str]) -> RoomRoster:
        """Begin with what the room says of itself (XEP-0045 §6.4).

        Args:
            room: the room.
            features: of its service discovery.

        Raises:
            PeerMisbehaved: ``forbidden``: it does not show who is in it.
        """
        if "muc_nonanonymous" not in features:
            raise PeerMisbehaved(
                ErrorCode.FORBIDDEN,
                "a room that hides who is in it cannot be encrypted",
                rule=_RULE,
            )
        return cls(room, is_open="muc_membersonly" not in features)

    @property
    def missing(self) -> frozenset[RoomAffiliation]:
        """The lists that must be asked for: of owners, admins and members (XEP-0045 §9.5, §10)."""
        return _LISTS - self.lists

    @property
    def recipients(self) -> frozenset[BareJid]:
        """For whom to encrypt, ourselves among them.

        Raises:
            ApiMisuse: a list was not taken in yet, so that somebody would be left out.
        """
        if self.missing:
            what = ", ".join(sorted(self.missing))
            raise ApiMisuse(f"lists of the room were not fetched yet: {what}", rule=_RULE)
        return self.members

    def list(self, affiliation: RoomAffiliation, query: Element) -> RoomRoster:
        """Take in the answer to a request for one list, once for each when the room is entered.

        Args:
            affiliation: what was asked for.
            query: the ``<query/>`` of ``muc#admin``.

        Raises:
            PeerMisbehaved: ``malformed``: anything else, or an item without a JID.
        """
        if not query.is_(ns.MUC_ADMIN, "query") or not affiliation.reads:
            raise PeerMisbehaved(ErrorCode.MALFORMED, "no list of a room", rule=_RULE)
        listed = {
            Jid.parse(item.require("jid", _RULE)).bare
            for item in query.find_all(ns.MUC_ADMIN, "item")
        }
        return replace(self, members=self.members | listed, lists=self.lists | {affiliation})

    def heard(self, x: Element) -> RoomRoster:
        """Take in a presence's or a message's ``<x/>`` of ``muc#user``: affiliations may change.

        What does not name a real JID says nothing here. It is the roof's to make sure that the
        stanza is from the room itself, or from an occupant of it.

        Raises:
            PeerMisbehaved: ``malformed``.
        """
        if not x.is_(ns.MUC_USER, "x"):
            raise PeerMisbehaved(ErrorCode.MALFORMED, "no <x/> of a room's user", rule=_RULE)
        roster = self
        for item in x.find_all(ns.MUC_USER, "item"):
            jid, said = item.get("jid"), item.get("affiliation")
            if jid is None or said is None:
                continue
            try:
                reads = RoomAffiliation(said).reads
            except ValueError:
                raise PeerMisbehaved(
                    ErrorCode.MALFORMED, "an unknown affiliation", rule=_RULE
                ) from None
            changed = {Jid.parse(jid).bare}
            roster = replace(
                roster, members=roster.members | changed if reads else roster.members - changed
            )
        return roster
