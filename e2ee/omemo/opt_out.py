"""OptOut: the wish to go on in clear, as it travels inside an encrypted message (XEP-0384 §5.7).

Rule: a value and its codec; who has opted out is kept in the ring, and what it blocks is decided
where messages are encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from e2ee import ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.omemo.device_list import is_label
from e2ee.xmltree import Element, element

__all__ = ["OptOut"]

_RULE: Final = "XEP-0384 §5.7"


@dataclass(frozen=True, slots=True)
class OptOut:
    """A wish to write in clear from now on; any later encrypted message takes it back.

    Attributes:
        reason: why, for the other side's user to read; ``None`` for none. One that could not be a
            device's label, because it is empty, long or deceiving, is none.
    """

    reason: str | None = field(default=None, repr=False)

    def to_xml(self) -> Element:
        """Return the element, to be encrypted like any other content."""
        reason = (element(ns.OMEMO_2, "reason", None, self.reason),) if self.reason else ()
        return element(ns.OMEMO_2, "opt-out", None, *reason)

    @classmethod
    def from_xml(cls, source: Element) -> OptOut:
        """Read the element.

        Raises:
            PeerMisbehaved: ``malformed``.
        """
        if not source.is_(ns.OMEMO_2, "opt-out"):
            raise PeerMisbehaved(ErrorCode.MALFORMED, "not an <opt-out/>", rule=_RULE)
        reason = source.optional(ns.OMEMO_2, "reason", _RULE)
        text = "" if reason is None else reason.leaf_text(_RULE)
        return cls(text if is_label(text) else None)
