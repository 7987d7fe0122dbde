"""Service discovery on the wire (XEP-0030): what an entity announces that it can do.

Rule: elements only; nothing here waits or decides.
"""

from __future__ import annotations

from typing import Final

from e2ee import ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.xmltree import Element, element
from xmpp_e2ee.pubsub import Request
from xmpp_e2ee.transport import IqKind

__all__ = ["ask_for_features", "read_features"]

_RULE: Final = "XEP-0030 §3.1"


def ask_for_features(of: BareJid) -> Request:
    """Ask an entity what it announces."""
    return Request(of, IqKind.GET, element(ns.DISCO_INFO, "query"))


def read_features(answer: Element | None) -> frozenset[str]:
    """Read the answer to :func:`ask_for_features`.

    Raises:
        PeerMisbehaved: ``malformed``.
    """
    if answer is None or not answer.is_(ns.DISCO_INFO, "query"):
        raise PeerMisbehaved(ErrorCode.MALFORMED, "an answer without features", rule=_RULE)
    found = answer.find_all(ns.DISCO_INFO, "feature")
    return frozenset(feature.require("var", rule=_RULE) for feature in found)
