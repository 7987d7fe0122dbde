"""Messages as they arrive: wrappers taken off once it is certain who put them on.

Rule: from a ``<message/>`` to the facts of the message that counts; nothing is decrypted here. A
wrapper of anybody but our own server is refused, since whoever wraps chooses the sender.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import parse_time
from e2ee.names import BareJid, Jid
from e2ee.xmltree import Element

__all__ = ["Delivery", "unwrap", "unwrap_result"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The message that counts, and where it stood.

    Attributes:
        message: without carbon and forwarding around it.
        arrival: its own sender, addressee and stamp.
    """

    message: Element
    arrival: Arrival


def unwrap(stanza: Element, account: BareJid) -> Delivery:
    """Take the carbon off a message that ``account`` received, if there is one.

    Raises:
        PeerMisbehaved: ``malformed``; ``forbidden`` for a carbon that our own server did not make
            (XEP-0280 §11).
    """
    for direction in ("sent", "received"):
        carbon = stanza.optional(ns.CARBONS, direction, rule="XEP-0280 §6")
        if carbon is not None:
            if _sender(stanza) != Jid(account):
                raise PeerMisbehaved(
                    ErrorCode.FORBIDDEN, "a carbon from somebody else", rule="XEP-0280 §11"
                )
            forwarded = carbon.only(ns.FORWARD, "forwarded", rule="XEP-0297 §3")
            inner = forwarded.only(ns.CLIENT, "message", rule="XEP-0297 §3")
            return _delivery(inner, _stamp(forwarded, account))
    return _delivery(stanza, _stamp(stanza, account))


def unwrap_result(stanza: Element, account: BareJid) -> Delivery | None:
    """Take a message out of a result of ``account``'s own archive; ``None`` where it is no result.

    A stanza without ``from`` is from the account itself (RFC 6120 §8.1.2.1), and so are the results
    of its archive (XEP-0313 §4.2).

    Raises:
        PeerMisbehaved: ``malformed``, also where the archive does not say when it stored the
            message; ``forbidden`` for a result of any other archive (XEP-0313 §8).
    """
    result = stanza.optional(ns.MAM, "result", rule="XEP-0313 §4.2")
    if result is None:
        return None
    from_, to = stanza.get("from"), stanza.get("to")
    foreign = from_ is not None and Jid.parse(from_) != Jid(account)
    if foreign or (to is not None and Jid.parse(to).bare != account):
        raise PeerMisbehaved(
            ErrorCode.FORBIDDEN, "a result of somebody else's archive", rule="XEP-0313 §8"
        )
    forwarded = result.only(ns.FORWARD, "forwarded", rule="XEP-0297 §3")
    delay = forwarded.only(ns.DELAY, "delay", rule="XEP-0313 §4.2")
    stamp = parse_time(delay.require("stamp", rule="XEP-0203 §3"))
    return _delivery(forwarded.only(ns.CLIENT, "message", rule="XEP-0297 §3"), stamp)


def _delivery(message: Element, stamp: datetime | None) -> Delivery:
    to = message.get("to")
    arrival = Arrival(
        StanzaKind.GROUPCHAT if message.get("type") == "groupchat" else StanzaKind.MESSAGE,
        sender=_sender(message),
        to=None if to is None else Jid.parse(to),
        stamp=stamp,
    )
    return Delivery(message, arrival)


def _sender(message: Element) -> Jid:
    return Jid.parse(message.require("from", rule="RFC 6120 §8.1.2"))


def _stamp(parent: Element, account: BareJid) -> datetime | None:
    """Return when our own server stored the message; what others say of that counts for nothing."""
    servers = (str(account), account.domain)
    stamps = [
        parse_time(delay.require("stamp", rule="XEP-0203 §3"))
        for delay in parent.find_all(ns.DELAY, "delay")
        if delay.get("from") in servers
    ]
    return stamps[-1] if stamps else None
