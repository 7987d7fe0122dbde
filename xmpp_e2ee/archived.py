"""What the stanzas of an archive hold: messages and items, each with where it stood.

Rule: pure, and nothing is decrypted. What a live stanza may not do, an archived one may not either;
and of a message, somebody who is believed must say when it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from e2ee import ns
from e2ee.arrival import Arrival
from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved
from e2ee.lexical import format_time
from e2ee.names import BareJid, Jid, NodeAddress
from e2ee.xmltree import Element
from xmpp_e2ee.pubsub import read_items
from xmpp_e2ee.stanzas import unwrap, unwrap_result

__all__ = ["ArchivedItem", "ArchivedMessage", "Entry", "Unusable", "entries_of"]


@dataclass(frozen=True, slots=True)
class ArchivedMessage:
    """A message.

    Attributes:
        children: all of them.
        arrival: where they stood; its stamp is the archive's.
    """

    children: tuple[Element, ...] = field(repr=False)
    arrival: Arrival

    def __str__(self) -> str:
        stamp = "" if self.arrival.stamp is None else f" of {format_time(self.arrival.stamp)}"
        return f"message from {self.arrival.sender}{stamp}"


@dataclass(frozen=True, slots=True)
class ArchivedItem:
    """An item of a node.

    Attributes:
        payload: its payload.
        arrival: where it stood.
        address: its node.
    """

    payload: Element = field(repr=False)
    arrival: Arrival
    address: NodeAddress

    def __str__(self) -> str:
        return f"item {self.arrival.item_id} in {self.address}"


@dataclass(frozen=True, slots=True)
class Unusable:
    """What is neither, or may not be believed.

    Attributes:
        error: why.
        what: what it seems to be.
    """

    error: E2eeError
    what: str = "stanza"

    def __str__(self) -> str:
        return self.what


Entry = ArchivedMessage | ArchivedItem | Unusable


def entries_of(stanza: Element, account: BareJid) -> Iterator[Entry]:
    """Return what a stanza of ``account``'s archive holds, in its order; perhaps nothing.

    Args:
        stanza: a ``<message/>``, in the wrapper of an archive or a carbon or without, or the answer
            of a service that was asked for items.
        account: whose archive it is.
    """
    try:
        yield from _entries(stanza, account)
    except PeerMisbehaved as error:
        yield Unusable(error.with_traceback(None))


def _entries(stanza: Element, account: BareJid) -> Iterator[Entry]:
    if stanza.name == "iq":
        pubsub = stanza.optional(ns.PUBSUB, "pubsub", rule="XEP-0060 §6.5")
        if pubsub is not None and stanza.get("type") == "result":
            service = stanza.get("from")  # without, it is the account itself (RFC 6120 §8.1.2.1)
            yield from _items(pubsub, account if service is None else Jid.parse(service).bare)
        return
    delivery = unwrap_result(stanza, account) or unwrap(stanza, account)
    message, arrival = delivery.message, delivery.arrival
    if message.get("type") == "error":
        return
    event = message.optional(ns.PUBSUB_EVENT, "event", rule="XEP-0060 §7.1.2")
    if event is not None:
        yield from _items(event, arrival.sender.bare)
        return
    found = ArchivedMessage(message.elements, arrival)
    if arrival.stamp is None:
        error = PeerMisbehaved(
            ErrorCode.MALFORMED, "a message of which no archive says when it came"
        )
        yield Unusable(error, str(found))
    else:
        yield found


def _items(parent: Element, service: BareJid) -> Iterator[Entry]:
    for items in parent.find_all(parent.namespace, "items"):
        address = NodeAddress(service, items.require("node", rule="XEP-0060 §6.5"))
        for child in items.elements:
            try:
                # One by one: an item that is none must not stop the others.
                for item in read_items(replace(items, children=(child,))):
                    if item.payload is not None:  # without, the service only says that there is one
                        yield ArchivedItem(item.payload, item.arrival(address), address)
            except PeerMisbehaved as error:
                yield Unusable(error.with_traceback(None), f"item in {address}")
