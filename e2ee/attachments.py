"""Attachments: what one account attaches to one pubsub item (XEP-0470 0.2.0).

Rule: values only. Where they are published is said in ``attachment_nodes.py``; what one of another
specification means, by whoever reads that one. None is ever lost for being unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from e2ee import limits, ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.lexical import format_time, parse_time, trim_xml
from e2ee.xmltree import Element, element

__all__ = ["Attachments", "Noticed", "Reactions"]

_RULE: Final = "XEP-0470 §4.1"
_OWN: Final = ("noticed", "reactions")


@dataclass(frozen=True, slots=True)
class Noticed:
    """``<noticed/>``: somebody has seen the item, or taken it into account (§4.7).

    Attributes:
        time: when, aware; ``None`` where it is not said.
    """

    time: datetime | None = None

    def to_xml(self) -> Element:
        """Return the element."""
        return element(ns.PUBSUB_ATTACHMENTS, "noticed", _timestamp(self.time))

    @classmethod
    def from_xml(cls, source: Element) -> Noticed:
        """Read the element.

        Raises:
            PeerMisbehaved: ``malformed``.
        """
        return cls(_read_time(source))


@dataclass(frozen=True, slots=True)
class Reactions:
    """``<reactions/>``: the emojis that somebody attached (§4.8).

    Attributes:
        reactions: each once, in order. They should be single emojis (Unicode TR51), and may be any
            short text: whoever displays them decides what a reaction looks like.
        time: when, aware; ``None`` where it is not said.

    Raises:
        ApiMisuse: one is empty, has white space at an edge, is too long or stands there twice; or
            there are too many.
    """

    reactions: tuple[str, ...]
    time: datetime | None = None

    def __post_init__(self) -> None:
        if (
            len(set(self.reactions)) < len(self.reactions)
            or len(self.reactions) > limits.MAX_REACTIONS
            or not all(
                each and each == trim_xml(each) and len(each) <= limits.MAX_REACTION_CHARS
                for each in self.reactions
            )
        ):
            raise ApiMisuse("reactions that nobody would read", rule=_RULE)

    def to_xml(self) -> Element:
        """Return the element."""
        return element(
            ns.PUBSUB_ATTACHMENTS,
            "reactions",
            _timestamp(self.time),
            *[element(ns.PUBSUB_ATTACHMENTS, "reaction", {}, each) for each in self.reactions],
        )

    @classmethod
    def from_xml(cls, source: Element) -> Reactions:
        """Read the element; a reaction that is repeated counts once.

        Raises:
            PeerMisbehaved: ``malformed``; ``limit-exceeded``.
        """
        found = source.find_all(ns.PUBSUB_ATTACHMENTS, "reaction")
        reactions = tuple(dict.fromkeys(trim_xml(each.leaf_text(_RULE)) for each in found))
        try:
            return cls(reactions, _read_time(source))
        except ApiMisuse:
            code = ErrorCode.LIMIT_EXCEEDED if all(reactions) else ErrorCode.MALFORMED
            what = "an empty reaction, or too many or too long ones"
            raise PeerMisbehaved(code, what, rule=_RULE) from None


@dataclass(frozen=True, slots=True)
class Attachments:
    """``<attachments/>``: all that one account attaches to one item; its publication replaces all.

    Attributes:
        noticed: that they noticed the item.
        reactions: their reactions.
        others: what other specifications attach, signatures among it, exactly as it stood.

    Raises:
        ApiMisuse: ``others`` holds an element that is ``noticed`` or ``reactions``.
    """

    noticed: Noticed | None = None
    reactions: Reactions | None = None
    others: tuple[Element, ...] = ()

    def __post_init__(self) -> None:
        if any(map(_is_own, self.others)):
            raise ApiMisuse("<noticed/> and <reactions/> are no foreign attachments", rule=_RULE)

    def find_all(self, namespace: str, name: str) -> tuple[Element, ...]:
        """Return every foreign attachment ``{namespace}name``."""
        return tuple([other for other in self.others if other.is_(namespace, name)])

    def with_noticed(self, noticed: Noticed | None) -> Attachments:
        """Return them with this ``<noticed/>``, or without any."""
        return replace(self, noticed=noticed)

    def with_reactions(self, reactions: Reactions | None) -> Attachments:
        """Return them with these ``<reactions/>``, or without any."""
        return replace(self, reactions=reactions)

    def replacing(self, attachment: Element) -> Attachments:
        """Return them with ``attachment`` in the place of all of its namespace and name.

        Raises:
            ApiMisuse: it is ``<noticed/>`` or ``<reactions/>``.
        """
        kind = (attachment.namespace, attachment.name)
        same = [other.is_(*kind) for other in self.others]
        at = same.index(True) if True in same else len(same)
        kept = replace(self, others=self.others[at:]).without(*kind)
        return replace(self, others=(*self.others[:at], attachment, *kept.others))

    def without(self, namespace: str, name: str) -> Attachments:
        """Return them without the foreign attachments ``{namespace}name``."""
        kept = [other for other in self.others if not other.is_(namespace, name)]
        return replace(self, others=tuple(kept))

    def to_xml(self) -> Element:
        """Return the element."""
        known = [each.to_xml() for each in (self.noticed, self.reactions) if each is not None]
        return element(ns.PUBSUB_ATTACHMENTS, "attachments", {}, *known, *self.others)

    @classmethod
    def from_xml(cls, source: Element) -> Attachments:
        """Read the element, which must be in the namespace of XEP-0470.

        §4.5 demands it. The specification's own examples leave it out; nobody writes that.

        Raises:
            PeerMisbehaved: ``malformed``, also with text in it, or two ``<noticed/>`` or
                ``<reactions/>``; ``limit-exceeded``.
        """
        if not source.is_(ns.PUBSUB_ATTACHMENTS, "attachments") or trim_xml(source.text):
            raise PeerMisbehaved(
                ErrorCode.MALFORMED,
                f"not <attachments xmlns='{ns.PUBSUB_ATTACHMENTS}'/>",
                rule="XEP-0470 §4.5",
            )
        noticed = source.optional(ns.PUBSUB_ATTACHMENTS, "noticed", _RULE)
        reactions = source.optional(ns.PUBSUB_ATTACHMENTS, "reactions", _RULE)
        return cls(
            noticed=Noticed.from_xml(noticed) if noticed else None,
            reactions=Reactions.from_xml(reactions) if reactions else None,
            others=tuple([child for child in source.elements if not _is_own(child)]),
        )


def _is_own(attachment: Element) -> bool:
    return attachment.namespace == ns.PUBSUB_ATTACHMENTS and attachment.name in _OWN


def _timestamp(time: datetime | None) -> dict[str, str]:
    return {} if time is None else {"timestamp": format_time(time)}


def _read_time(source: Element) -> datetime | None:
    text = source.get("timestamp")
    return None if text is None else parse_time(text)
