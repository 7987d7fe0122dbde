"""RoomRoster: who a message in a room is encrypted for, from the room's lists and their changes.

Rule: pure transitions from what the room's service says; who is present does not matter, because
those who are away read later (XEP-0384 §5.8).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
        affiliations: of everybody in the lists, by real JID.
        lists: which of the three lists were taken in.
    """

    room: BareJid
    is_open: bool
    affiliations: Mapping[BareJid, RoomAffiliation] = field(default_factory=dict)
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
    def members(self) -> frozenset[BareJid]:
        """Everybody in the lists that were taken in."""
        return frozenset(self.affiliations)

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
        """Take in the answer to a request for one list, when the room is entered, or again later.

        Whoever had the affiliation and is listed no more, has none now.

        Args:
            affiliation: what was asked for.
            query: the ``<query/>`` of ``muc#admin``.

        Raises:
            PeerMisbehaved: ``malformed``: anything else, an item without a JID or with another
                affiliation.
        """
        if not query.is_(ns.MUC_ADMIN, "query") or not affiliation.reads:
            raise PeerMisbehaved(ErrorCode.MALFORMED, "no list of a room", rule=_RULE)
        items = query.find_all(ns.MUC_ADMIN, "item")
        if any(item.get("affiliation") not in (None, affiliation) for item in items):
            raise PeerMisbehaved(ErrorCode.MALFORMED, "another list of a room", rule=_RULE)
        others = {jid: what for jid, what in self.affiliations.items() if what is not affiliation}
        listed = {Jid.parse(item.require("jid", _RULE)).bare: affiliation for item in items}
        return replace(self, affiliations=others | listed, lists=self.lists | {affiliation})

    def heard(self, x: Element) -> RoomRoster:
        """Take in a presence's or a message's ``<x/>`` of ``muc#user``: affiliations may change.

        What does not name a real JID says nothing here. It is the roof's to make sure that the
        stanza is from the room itself, or from an occupant of it.

        Raises:
            PeerMisbehaved: ``malformed``.
        """
        if not x.is_(ns.MUC_USER, "x"):
            raise PeerMisbehaved(ErrorCode.MALFORMED, "no <x/> of a room's user", rule=_RULE)
        affiliations = dict(self.affiliations)
        for item in x.find_all(ns.MUC_USER, "item"):
            jid, said = item.get("jid"), item.get("affiliation")
            if jid is None or said is None:
                continue
            try:
                affiliation = RoomAffiliation(said)
            except ValueError:
                raise PeerMisbehaved(
                    ErrorCode.MALFORMED, "an unknown affiliation", rule=_RULE
                ) from None
            changed = Jid.parse(jid).bare
            if affiliation.reads:
                affiliations[changed] = affiliation
            else:
                affiliations.pop(changed, None)
        return replace(self, affiliations=affiliations)
