"""The element of a targeted item (XEP-0477 0.1.0) as a value, and its XML.

Rule: shape only. What the algorithm inside does, and who is believed, is in ``targeted_items.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import trim_xml
from e2ee.names import BareJid
from e2ee.xmltree import Element, element

__all__ = ["TargetedPayload"]

_RULE: Final = "XEP-0477 §3.1"


@dataclass(frozen=True, slots=True)
class TargetedPayload:
    """The payload of a targeted item: parsed, nothing of it authenticated.

    Attributes:
        by: who claims to have encrypted it.
        type: the namespace of the algorithm, and of ``inner``.
        inner: the algorithm's own element.
    """

    by: BareJid
    type: str
    inner: Element = field(repr=False)

    def to_xml(self) -> Element:
        """Return ``<encrypted/>``."""
        return element(ns.PTE, "encrypted", {"by": str(self.by), "type": self.type}, self.inner)

    @staticmethod
    def is_targeted(payload: Element) -> bool:
        """Say whether an item's payload claims to be encrypted for chosen people."""
        return payload.is_(ns.PTE, "encrypted")

    @classmethod
    def from_xml(cls, source: Element) -> TargetedPayload:
        """Read ``<encrypted/>``.

        Raises:
            PeerMisbehaved: ``malformed``: another element; no ``by``, or one that is no bare JID;
                no ``type``, or not that of the one element inside; anything beside this element;
                ``limit-exceeded``.
        """
        if not cls.is_targeted(source):
            raise _malformed(f"not <encrypted xmlns='{ns.PTE}'/>")
        by = BareJid.parse(source.require("by", _RULE))
        algorithm = source.require("type", _RULE)
        if len(algorithm) > limits.MAX_TYPE_CHARS:
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "an oversized type", rule=_RULE)
        if len(source.elements) != 1 or trim_xml(source.text):
            raise _malformed("other than one element inside a targeted item")
        (inner,) = source.elements
        if not algorithm or inner.namespace != algorithm:
            raise _malformed("a targeted item whose type is not that of what is inside")
        return cls(by, algorithm, inner)


def _malformed(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.MALFORMED, what, rule=_RULE)
