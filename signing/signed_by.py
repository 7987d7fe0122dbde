"""SignedBy: signatures as they were found beside an item, and which of too many are looked at.

Rule: nothing is verified here, and nothing that anybody attached raises but too much of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from e2ee import ns
from e2ee.attachments import Attachments
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_SIGNATURES_PER_ITEM
from e2ee.names import BareJid
from e2ee.xmltree import Element
from signing.elements import Signature
from signing.policy import Policy

__all__ = ["SignedBy", "find_signatures", "listed_signers", "looked_at"]

_TOO_MANY: Final = 2  # of one publisher, of which nobody can say which one counts


@dataclass(frozen=True, slots=True)
class SignedBy:
    """A signature as it was found among the attachments of an item.

    Attributes:
        publisher: the id of the attachment's item, as a bare JID (XEP-0470 §4.2).
        signature: its ``<signature/>``.
    """

    publisher: BareJid
    signature: Element = field(repr=False)


def find_signatures(publisher: BareJid, attachments: Attachments) -> tuple[SignedBy, ...]:
    """Return what somebody attached as a signature, and of several the first two.

    More than one is too many, which is then said of both.

    Args:
        publisher: the id of the attachment's item.
        attachments: what it holds.
    """
    found = (each for each in attachments.others if each.is_(ns.PUBSUB_SIGNING, "signature"))
    return tuple(SignedBy(publisher, each) for each in islice(found, _TOO_MANY))


def listed_signers(found: Iterable[SignedBy]) -> frozenset[BareJid]:
    """Return who is listed as a signer, without whose signatures these do not count.

    A signature that cannot be read, or does not list its publisher, lists nobody.
    """
    listed: set[BareJid] = set()
    for by in found:
        try:
            signers = Signature.from_xml(by.signature).statement.signers
        except PeerMisbehaved:
            continue
        if by.publisher in signers:
            listed.update(signers)
    return frozenset(listed)


def looked_at(found: Sequence[SignedBy], policy: Policy) -> tuple[SignedBy, ...]:
    """Return those signatures that are looked at, in their order, at most two of one publisher.

    Of more publishers than ``limits.MAX_SIGNATURES_PER_ITEM`` they are those whose signatures
    count, those whom these list beside themselves, and as many others as there is room for.

    Args:
        found: every signature among the attachments of an item.
        policy: whose signatures count.

    Raises:
        PeerMisbehaved: ``limit-exceeded``: there is no room for all that must be looked at; where
            the policy names signers, nobody else can bring that about.
    """
    publishers = dict.fromkeys(by.publisher for by in found)
    if len(publishers) > MAX_SIGNATURES_PER_ITEM:
        counting = {each for each in publishers if policy.counts(each)}
        listed = listed_signers(_few_each(by for by in found if by.publisher in counting))
        needed = counting | (listed & publishers.keys())
        room = MAX_SIGNATURES_PER_ITEM - len(needed)
        if room < 0:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED, "an item with too many signatures", rule="XEP-0475 §5"
            )
        others = islice((each for each in publishers if each not in needed), room)
        publishers = dict.fromkeys((*needed, *others))
    return tuple(_few_each(by for by in found if by.publisher in publishers))


def _few_each(found: Iterable[SignedBy]) -> Iterator[SignedBy]:
    """Yield signatures, of each publisher no more than are needed to refuse them."""
    met = Counter[BareJid]()
    for by in found:
        met[by.publisher] += 1
        if met[by.publisher] <= _TOO_MANY:
            yield by
