"""The rooms of the in-process server (XEP-0045): members-only, and everybody sees who is in them.

Rule: lists, occupants and a history, no key. Whoever is in a room's lists is in the room with every
device that is connected, by the local part of the JID for a nickname; nobody else is.

What is left out: entering and leaving, other roles, subjects, and devices that connect later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from e2ee import ns
from e2ee.errors import PeerMisbehaved
from e2ee.lexical import format_time
from e2ee.names import BareJid, Jid
from e2ee.xmltree import Element, element
from xmpp_e2ee.transport import IqKind, StanzaRefused

__all__ = ["RoomService"]

_FEATURES: Final = (ns.MUC, "muc_membersonly", "muc_nonanonymous", "muc_persistent")

_MEMBERS: Final = ("owner", "admin", "member")
_AFFILIATIONS: Final = (*_MEMBERS, "none", "outcast")

_Deliver = Callable[[BareJid, str, Jid, Sequence[Element]], None]


@dataclass(slots=True)
class _Room:
    """One room: what everybody in it is, and what was said."""

    affiliations: dict[BareJid, str]
    history: list[tuple[datetime, Jid, tuple[Element, ...]]] = field(default_factory=list)


class RoomService:
    """All rooms of a server."""

    def __init__(self, component: BareJid, deliver: _Deliver) -> None:
        """Begin without rooms.

        Args:
            component: whose rooms they are.
            deliver: called with a recipient, ``presence`` or ``message``, the occupant or room that
                it is from, and its children.
        """
        self._component = component
        self._deliver = deliver
        self._rooms: dict[BareJid, _Room] = {}

    def open(self, name: str, owner: BareJid) -> BareJid:
        """Make a room, of ``owner`` alone."""
        room = BareJid(self._component.domain, name)
        self._rooms[room] = _Room({})
        self._affiliate(room, owner, "owner")
        return room

    def has(self, jid: BareJid) -> bool:
        """Say whether it is one of these rooms."""
        return jid in self._rooms

    def say(
        self, sender: BareJid, room: BareJid, children: Sequence[Element], now: datetime
    ) -> None:
        """Reflect what a member says to everybody, also to whom it is from."""
        self._check(sender, room, *_MEMBERS)
        said = (now, _occupant(room, sender), tuple(children))
        self._rooms[room].history.append(said)
        for member in self._rooms[room].affiliations:
            self._deliver(member, "message", said[1], said[2])

    def answer(
        self, sender: BareJid, room: BareJid, kind: IqKind, payload: Element
    ) -> Element | None:
        """Carry out a request and return the payload of its result.

        Raises:
            StanzaRefused: the sender may not do this, or it makes no sense.
        """
        if kind is IqKind.GET and payload.is_(ns.DISCO_INFO, "query"):
            features = [element(ns.DISCO_INFO, "feature", {"var": each}) for each in _FEATURES]
            return element(ns.DISCO_INFO, "query", None, *features)
        if not payload.is_(ns.MUC_ADMIN, "query"):
            raise StanzaRefused("feature-not-implemented")
        try:
            item = payload.only(ns.MUC_ADMIN, "item")
            wanted = item.require("affiliation")
            changed = BareJid.parse(item.require("jid")) if kind is IqKind.SET else None
        except PeerMisbehaved:
            raise StanzaRefused("bad-request") from None
        if wanted not in _AFFILIATIONS:
            raise StanzaRefused("bad-request")
        if changed is None:
            self._check(sender, room, *_MEMBERS)
            return self._list(room, wanted)
        self._check(sender, room, "owner")
        self._affiliate(room, changed, wanted)
        return None

    def _check(self, sender: BareJid, room: BareJid, *allowed: str) -> None:
        if self._rooms[room].affiliations.get(sender) not in allowed:
            raise StanzaRefused("forbidden")

    def _list(self, room: BareJid, wanted: str) -> Element:
        items = [
            element(ns.MUC_ADMIN, "item", {"affiliation": wanted, "jid": str(jid)})
            for jid, affiliation in self._rooms[room].affiliations.items()
            if affiliation == wanted
        ]
        return element(ns.MUC_ADMIN, "query", None, *items)

    def _affiliate(self, room: BareJid, jid: BareJid, affiliation: str) -> None:
        """Tell everybody; a newcomer also of those who are there, and of what was said before."""
        affiliations = self._rooms[room].affiliations
        is_new = jid not in affiliations
        everybody = {*affiliations, jid}
        affiliations.pop(jid, None)
        if affiliation in _MEMBERS:
            affiliations[jid] = affiliation
        for member in sorted(everybody):
            self._tell(member, room, jid, affiliation)
        if is_new and affiliation in _MEMBERS:
            for other in sorted(affiliations.keys() - {jid}):
                self._tell(jid, room, other, affiliations[other])
            for stamp, occupant, children in self._rooms[room].history:
                delay = {"from": str(room), "stamp": format_time(stamp)}
                late = element(ns.DELAY, "delay", delay)
                self._deliver(jid, "message", occupant, (*children, late))

    def _tell(self, to: BareJid, room: BareJid, about: BareJid, affiliation: str) -> None:
        item = element(ns.MUC_USER, "item", {"affiliation": affiliation, "jid": str(about)})
        x = element(ns.MUC_USER, "x", None, item)
        self._deliver(to, "presence", _occupant(room, about), (x,))


def _occupant(room: BareJid, jid: BareJid) -> Jid:
    return Jid(room, jid.local or jid.domain)
