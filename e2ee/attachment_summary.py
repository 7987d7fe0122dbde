"""Summary: how much is attached to an item, as a service says or as we count (XEP-0470 §4.6).

Rule: values only, and never proof of anything. A summary that a service wrote names whom to ask;
whether they signed is decided by their signatures alone, in ``signing``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from e2ee import limits, ns
from e2ee.attachments import Attachments
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import parse_integer, trim_xml
from e2ee.names import BareJid
from e2ee.xmltree import Element, element

__all__ = ["Summary", "summarise"]

_RULE: Final = "XEP-0470 §4.6"
_SIGNERS_RULE: Final = "XEP-0475 §5.2"
_MAX_COUNT: Final = 2**31 - 1
_OWN: Final = (
    (ns.PUBSUB_ATTACHMENTS_SUMMARY, "noticed"),
    (ns.PUBSUB_ATTACHMENTS_SUMMARY, "reactions"),
    (ns.PUBSUB_SIGNING, "signature"),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """How often each thing is attached to one item.

    Attributes:
        noticed: how many noticed it.
        reactions: each reaction with how many chose it.
        signers: whose attachments are said to hold a signature: fetch these and verify them, and
            show nobody as a signer who was not verified.
        others: what other specifications summarise, as it stood.
    """

    noticed: int = 0
    reactions: tuple[tuple[str, int], ...] = ()
    signers: tuple[BareJid, ...] = ()
    others: tuple[Element, ...] = ()

    def to_xml(self) -> Element:
        """Return ``<summary/>``."""
        parts: list[Element] = []
        if self.noticed:
            parts.append(_part("noticed", {"count": str(self.noticed)}))
        if self.reactions:
            parts.append(
                _part(
                    "reactions",
                    {},
                    *[
                        _part("reaction", {"count": str(count)} if count > 1 else {}, reaction)
                        for reaction, count in self.reactions
                    ],
                )
            )
        if self.signers:
            signers = [element(ns.PUBSUB_SIGNING, "signer", {}, str(jid)) for jid in self.signers]
            parts.append(element(ns.PUBSUB_SIGNING, "signature", {}, *signers))
        return _part("summary", {}, *parts, *self.others)

    @classmethod
    def from_xml(cls, source: Element) -> Summary:
        """Read ``<summary/>``.

        Raises:
            PeerMisbehaved: ``malformed``; ``limit-exceeded``.
        """
        if not source.is_(ns.PUBSUB_ATTACHMENTS_SUMMARY, "summary") or trim_xml(source.text):
            raise PeerMisbehaved(
                ErrorCode.MALFORMED,
                f"not <summary xmlns='{ns.PUBSUB_ATTACHMENTS_SUMMARY}'/>",
                rule=_RULE,
            )
        noticed = source.optional(ns.PUBSUB_ATTACHMENTS_SUMMARY, "noticed", _RULE)
        reactions = source.optional(ns.PUBSUB_ATTACHMENTS_SUMMARY, "reactions", _RULE)
        signature = source.optional(ns.PUBSUB_SIGNING, "signature", _SIGNERS_RULE)
        return cls(
            noticed=parse_integer(noticed.require("count", _RULE), 0, _MAX_COUNT, _RULE)
            if noticed
            else 0,
            reactions=_read_reactions(reactions) if reactions else (),
            signers=_read_signers(signature) if signature else (),
            others=tuple(
                [each for each in source.elements if (each.namespace, each.name) not in _OWN]
            ),
        )


def summarise(attached: Iterable[tuple[BareJid, Attachments]]) -> Summary:
    """Count attachments, as a service does that can read them; of encrypted ones only we can.

    Nothing of one account counts twice (§4.8), however often it is among them. Reactions come most
    frequent first, equally frequent ones as they were met. What other specifications attach is not
    counted.

    Args:
        attached: whose attachments, and which.
    """
    noticed: set[BareJid] = set()
    reactions: dict[str, set[BareJid]] = {}
    signers: dict[BareJid, None] = {}
    for jid, attachments in attached:
        if attachments.noticed is not None:
            noticed.add(jid)
        for reaction in attachments.reactions.reactions if attachments.reactions else ():
            reactions.setdefault(reaction, set()).add(jid)
        if attachments.find_all(ns.PUBSUB_SIGNING, "signature"):
            signers[jid] = None
    counted = [(reaction, len(people)) for reaction, people in reactions.items()]
    return Summary(
        noticed=len(noticed),
        reactions=tuple(sorted(counted, key=lambda each: -each[1])),
        signers=tuple(signers),
    )


def _part(name: str, attributes: dict[str, str], *children: Element | str) -> Element:
    return element(ns.PUBSUB_ATTACHMENTS_SUMMARY, name, attributes, *children)


def _read_reactions(source: Element) -> tuple[tuple[str, int], ...]:
    counted: dict[str, int] = {}
    for each in source.find_all(ns.PUBSUB_ATTACHMENTS_SUMMARY, "reaction"):
        reaction = trim_xml(each.leaf_text(_RULE))
        if not reaction or reaction in counted:
            raise PeerMisbehaved(ErrorCode.MALFORMED, "a reaction summed up twice", rule=_RULE)
        if len(reaction) > limits.MAX_REACTION_CHARS:
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "an oversized reaction", rule=_RULE)
        count = each.get("count")
        counted[reaction] = 1 if count is None else parse_integer(count, 1, _MAX_COUNT, _RULE)
    return tuple(counted.items())


def _read_signers(source: Element) -> tuple[BareJid, ...]:
    found = source.find_all(ns.PUBSUB_SIGNING, "signer")
    if len(found) > limits.MAX_SIGNATURES_PER_ITEM:
        raise PeerMisbehaved(
            ErrorCode.LIMIT_EXCEEDED, "a summary of too many signers", rule=_SIGNERS_RULE
        )
    signers = [BareJid.parse(trim_xml(each.leaf_text(_SIGNERS_RULE))) for each in found]
    return tuple(dict.fromkeys(signers))  # the lists of several signatures are grouped into one
