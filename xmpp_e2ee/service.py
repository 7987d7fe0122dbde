"""An XMPP server in this process: accounts with several devices, messages, pubsub.

Rule: honest about what a server can do and see. Every stanza crosses it as text, which whoever runs
it may read (``tap``); it knows no key and imports nothing that could decrypt.

What is left out: streams, presence and its subscriptions (so that no PEP node notifies by itself),
and every access model but open and whitelist.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from e2ee import ns
from e2ee.lexical import format_time
from e2ee.names import BareJid, Jid, NodeAddress
from e2ee.ports import Clock
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from xmpp_e2ee.nodes import StoredItem
from xmpp_e2ee.pubsub_service import PubsubService
from xmpp_e2ee.room_service import RoomService
from xmpp_e2ee.transport import IqKind, StanzaRefused

__all__ = ["Service", "Session"]

_DEFINED: Final = {"precondition-not-met": "conflict", "invalid-payload": "bad-request"}
"""Conditions of XEP-0060's own, each with the defined one that goes along (RFC 6120 §8.3.2)."""


@dataclass(frozen=True, slots=True)
class _Archived:
    """One message in an account's archive."""

    stamp: datetime
    message: Element
    sent_by: str | None  # the resource, of a message that this account sent; else None


@dataclass(slots=True)
class _Account:
    """One account: what it was sent and has sent, and how far each of its devices has got."""

    archive: list[_Archived] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sessions: dict[str, Session] = field(default_factory=dict)


class Service:
    """One server with its accounts and nodes."""

    def __init__(self, domain: BareJid, clock: Clock, tap: Callable[[str], None]) -> None:
        """Start an empty server.

        Args:
            domain: of its accounts; below it are the pubsub component, ``pubsub.``, and the rooms,
                ``rooms.``.
            clock: for the stamps of delayed messages.
            tap: shown every stanza that crosses the server, either way, as it is written.
        """
        self.domain = domain
        self.component = BareJid.parse(f"pubsub.{domain}")
        self._clock = clock
        self._tap = tap
        self._counter = 0
        self._accounts: dict[BareJid, _Account] = {}
        self._pubsub = PubsubService(self.component, self._new_id, self._notify)
        self.rooms = RoomService(BareJid.parse(f"rooms.{domain}"), self._to_occupant)

    def connect(self, jid: Jid) -> Session:
        """Connect a device; the account is made with its first one.

        What the device has missed is delivered at once, stamped, also what came or was sent before
        the device existed.
        """
        account = self._accounts.setdefault(jid.bare, _Account())
        session = account.sessions[jid.resource] = Session(self, jid)
        for archived in account.archive[account.read[jid.resource] :]:
            self._deliver(session, archived, late=True)
        account.read[jid.resource] = len(account.archive)
        return session

    def disconnect(self, session: Session) -> None:
        """Let a device go offline."""
        account = self._accounts[session.jid.bare]
        del account.sessions[session.jid.resource]

    def stored(self, address: NodeAddress) -> tuple[StoredItem, ...]:
        """Return what whoever runs the server has of a node: all of it, oldest first."""
        return self._pubsub.stored(address)

    def plant(self, address: NodeAddress, item: StoredItem) -> None:
        """Put an item into a node, as whoever runs the server can, whoever it says published it."""
        self._pubsub.plant(address, item)

    # -- requests

    def request(self, sender: Jid, to: BareJid, kind: IqKind, payload: Element) -> Element:
        """Carry out an IQ and return the answer, an IQ too."""
        stanza = self._cross(_stanza("iq", kind, sender, to, self._new_id(), payload))
        try:
            result = self._answer(sender.bare, to, kind, stanza.elements[0])
            children = () if result is None else (result,)
            answer = _stanza("iq", "result", to, sender, stanza.require("id"), *children)
        except StanzaRefused as refusal:
            error = _error(refusal.condition)
            answer = _stanza("iq", "error", to, sender, stanza.require("id"), error)
        return self._cross(answer)

    def _answer(
        self, sender: BareJid, to: BareJid, kind: IqKind, payload: Element
    ) -> Element | None:
        if self.rooms.has(to):
            return self.rooms.answer(sender, to, kind, payload)
        if to not in self._accounts and to != self.component:
            raise StanzaRefused("service-unavailable")
        return self._pubsub.answer(sender, to, kind, payload)

    # -- messages

    def send(self, sender: Jid, to: BareJid, stanza_id: str, children: Sequence[Element]) -> None:
        """Deliver a message to every device of ``to``, and a carbon to our own other devices.

        One to a room goes to everybody in it.
        """
        if self.rooms.has(to):
            self._cross(_stanza("message", "groupchat", sender, to, stanza_id, *children))
            self.rooms.say(sender.bare, to, children, self._clock())
            return
        message = self._cross(_stanza("message", "chat", sender, to, stanza_id, *children))
        if to not in self._accounts:
            error = _stanza(
                "message", "error", to, sender, stanza_id, _error("service-unavailable")
            )
            self._accounts[sender.bare].sessions[sender.resource].inbox.append(self._cross(error))
            return
        if to != sender.bare:
            self._archive(sender.bare, _Archived(self._clock(), message, sender.resource))
        self._archive(to, _Archived(self._clock(), message, None))

    def _archive(self, owner: BareJid, archived: _Archived) -> None:
        account = self._accounts[owner]
        account.archive.append(archived)
        for resource, session in account.sessions.items():
            self._deliver(session, archived, late=False)
            account.read[resource] = len(account.archive)

    def _deliver(self, session: Session, archived: _Archived, *, late: bool) -> None:
        if archived.sent_by == session.jid.resource:
            return
        stamp = {"stamp": format_time(archived.stamp), "from": str(self.domain)}
        delay = (element(ns.DELAY, "delay", stamp),) if late else ()
        message = archived.message
        if archived.sent_by is None:
            children = (*message.children, *delay)
            stanza = element(ns.CLIENT, "message", _attributes(message), *children)
        else:
            forwarded = element(ns.FORWARD, "forwarded", None, *delay, message)
            carbon = element(ns.CARBONS, "sent", None, forwarded)
            own = session.jid.bare
            stanza = _stanza("message", "chat", own, session.jid, self._new_id(), carbon)
        session.inbox.append(self._cross(stanza))

    def _notify(self, service: BareJid, subscriber: BareJid, event: Element) -> None:
        # Headlines are not archived: whoever is offline reads the node later.
        account = self._accounts.get(subscriber)
        for session in account.sessions.values() if account else ():
            stanza = _stanza("message", "headline", service, session.jid, self._new_id(), event)
            session.inbox.append(self._cross(stanza))

    def _to_occupant(
        self, to: BareJid, name: str, occupant: Jid, children: Sequence[Element]
    ) -> None:
        account = self._accounts.get(to)
        for session in account.sessions.values() if account else ():
            attributes = {"from": str(occupant), "to": str(session.jid), "id": self._new_id()}
            if name == "message":
                attributes["type"] = "groupchat"
            stanza = element(ns.CLIENT, name, attributes, *children)
            session.inbox.append(self._cross(stanza))

    # -- the wire

    def _cross(self, stanza: Element) -> Element:
        text = write_xml(stanza)
        self._tap(text)
        return parse_xml(text)

    def _new_id(self) -> str:
        self._counter += 1
        return f"s{self._counter}"


class Session:
    """One connected device: a ``transport.Transport``, and the inbox of what came."""

    def __init__(self, service: Service, jid: Jid) -> None:
        """See :meth:`Service.connect`."""
        self.jid = jid
        self.inbox: deque[Element] = deque()
        self._service = service

    async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
        """Send an IQ; see ``Transport.request``."""
        await asyncio.sleep(0)  # a network lets others run, and tasks be cancelled
        answer = self._service.request(self.jid, to, kind, payload)
        if answer.get("type") == "error":
            raise StanzaRefused(_condition(answer.only(ns.CLIENT, "error")))
        return answer.elements[0] if answer.elements else None

    async def send(self, to: BareJid, stanza_id: str, children: Sequence[Element]) -> None:
        """Send a message; see ``Transport.send``."""
        await asyncio.sleep(0)
        self._service.send(self.jid, to, stanza_id, children)


def _stanza(
    name: str,
    kind: str,
    sender: Jid | BareJid,
    to: Jid | BareJid,
    stanza_id: str,
    *children: Element,
) -> Element:
    attributes = {"type": kind, "from": str(sender), "to": str(to), "id": stanza_id}
    return element(ns.CLIENT, name, attributes, *children)


def _attributes(stanza: Element) -> dict[str, str]:
    return {attribute.name: attribute.value for attribute in stanza.attributes}


def _error(condition: str) -> Element:
    defined = _DEFINED.get(condition, condition)
    own = () if condition == defined else (element(ns.PUBSUB_ERRORS, condition),)
    return element(ns.CLIENT, "error", {"type": "cancel"}, element(ns.STANZAS, defined), *own)


def _condition(error: Element) -> str:
    """Return the most precise condition of a stanza error."""
    by_namespace = {child.namespace: child.name for child in error.elements}
    return by_namespace.get(ns.PUBSUB_ERRORS) or by_namespace[ns.STANZAS]
