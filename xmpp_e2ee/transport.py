"""The Transport port: how a client's requests and messages reach its XMPP server.

Rule: protocols, enums and errors only. The in-process service implements it; over slixmpp it is a
page of code, because nothing crosses it but the payloads of stanzas.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from e2ee.names import BareJid
from e2ee.xmltree import Element

__all__ = ["IqKind", "StanzaRefused", "Transport"]


class IqKind(StrEnum):
    """What a request does (RFC 6120 §8.2.3)."""

    GET = "get"
    SET = "set"


class StanzaRefused(Exception):
    """The other side answered with a stanza error (RFC 6120 §8.3).

    Attributes:
        condition: the most precise condition that it named: pubsub's own, such as
            ``precondition-not-met``, or else the defined one, such as ``forbidden``.
    """

    def __init__(self, condition: str) -> None:
        super().__init__(f"refused: {condition}")
        self.condition = condition


class Transport(Protocol):
    """A connected XMPP session."""

    async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
        """Send an IQ and return the payload of its result; ``None`` for an empty one.

        Raises:
            StanzaRefused: the answer is an error.
        """
        ...

    async def send(self, to: BareJid, stanza_id: str, children: Sequence[Element]) -> None:
        """Send a message with these children: of type groupchat, if ``to`` is a room."""
        ...
