"""JoinedRoom: a room as one of those in it sees it: its roster, and whose nickname is whose.

Rule: what must be asked for when a room is entered, and what is learned of it; what is said in a
room is read in ``omemo_client.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from e2ee import ns
from e2ee.arrival import Arrival
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Jid
from e2ee.omemo import RoomAffiliation, RoomRoster
from e2ee.xmltree import Element, element
from xmpp_e2ee.disco import ask_for_features, read_features
from xmpp_e2ee.transport import IqKind, Transport

__all__ = ["JoinedRoom", "affiliate", "ask_for_roster"]


@dataclass(frozen=True, slots=True)
class JoinedRoom:
    """A room that we are in.

    Attributes:
        roster: for whom we write in it.
        occupants: the real JID of each nickname.
    """

    roster: RoomRoster
    occupants: Mapping[Jid, BareJid] = field(default_factory=dict)

    def heard(self, presence: Element) -> JoinedRoom:
        """Take in a presence that the room sent.

        Raises:
            PeerMisbehaved: ``malformed``.
        """
        x = presence.optional(ns.MUC_USER, "x")
        if x is None:
            return self
        occupant = Jid.parse(presence.require("from"))
        real = [item.get("jid") for item in x.find_all(ns.MUC_USER, "item")]
        occupants = dict(self.occupants)
        for jid in filter(None, real):
            occupants[occupant] = Jid.parse(jid).bare
        return JoinedRoom(self.roster.heard(x), occupants)

    def told(self, arrival: Arrival) -> Arrival:
        """Return where a message of this room stood, with who is behind the nickname."""
        return replace(arrival, occupant=self.occupants.get(arrival.sender))


async def ask_for_roster(transport: Transport, room: BareJid) -> RoomRoster:
    """Ask a room what it is, and for its lists (XEP-0045 §6.4, §9.5, §10).

    Raises:
        PeerMisbehaved: ``forbidden``: it hides who is in it; ``malformed``.
        StanzaRefused: we are not in it.
    """
    info = ask_for_features(room)
    answer = await transport.request(info.to, info.kind, info.payload)
    roster = RoomRoster.of(room, read_features(answer))
    for affiliation in sorted(roster.missing):
        query = _query({"affiliation": affiliation})
        roster = roster.list(affiliation, await _request(transport, room, IqKind.GET, query))
    return roster


async def affiliate(
    transport: Transport, room: BareJid, jid: BareJid, affiliation: RoomAffiliation
) -> None:
    """Make somebody a member of a room that we own, or something else.

    Raises:
        StanzaRefused: the room is not ours.
    """
    query = _query({"affiliation": affiliation, "jid": str(jid)})
    await transport.request(room, IqKind.SET, query)


async def _request(transport: Transport, room: BareJid, kind: IqKind, query: Element) -> Element:
    answer = await transport.request(room, kind, query)
    if answer is None:
        raise PeerMisbehaved(ErrorCode.MALFORMED, "an answer without a query", rule="XEP-0045 §6.4")
    return answer


def _query(attributes: Mapping[str, str]) -> Element:
    return element(ns.MUC_ADMIN, "query", None, element(ns.MUC_ADMIN, "item", attributes))
