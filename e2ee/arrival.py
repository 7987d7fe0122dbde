"""Arrival: where a received element stood, so that every check of context has what it needs.

Rule: a value only; the roof fills it from the stanza, never from anything that was encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from e2ee.errors import ApiMisuse
from e2ee.names import BareJid, ItemId, Jid, NodeAddress

__all__ = ["Arrival", "StanzaKind"]


class StanzaKind(StrEnum):
    """What an encrypted element arrived in."""

    MESSAGE = "message"
    GROUPCHAT = "groupchat"
    IQ = "iq"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class Arrival:
    """The context in which an element was received.

    For a carbon or an archived message these are the facts of the *inner* stanza, once the roof
    has checked that the wrapper came from the account itself (XEP-0280 §11, XEP-0313 §8).

    Attributes:
        kind: the kind of stanza.
        sender: the stanza's ``from``; for an item its publisher where the service says so, and for
            an event of a PEP node the account whose node it is.
        to: the stanza's ``to``; ``None`` where there is none.
        stamp: when the server stored it (archive or delay), aware; ``None`` for live traffic.
        occupant: the real bare JID behind ``sender`` in a room; ``None`` elsewhere.
        node: the pubsub node of an item; ``None`` elsewhere.
        item_id: the id of an item; ``None`` elsewhere.

    Raises:
        ApiMisuse: the stamp has no zone.
    """

    kind: StanzaKind
    sender: Jid
    to: Jid | None = None
    stamp: datetime | None = None
    occupant: BareJid | None = None
    node: NodeAddress | None = None
    item_id: ItemId | None = None

    def __post_init__(self) -> None:
        if self.stamp is not None and self.stamp.tzinfo is None:
            raise ApiMisuse("an arrival's stamp without a zone")

    @property
    def is_live(self) -> bool:
        """Whether it comes right from its sender: no archive's, and no item.

        Nobody that is believed says when an item was published; it may be of any age.
        """
        return self.stamp is None and self.kind is not StanzaKind.ITEM
