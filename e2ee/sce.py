"""SCE envelopes (XEP-0420): content sealed together with who, to whom and when, and checked.

Rule: plaintext in and out; encrypting is another's. Nothing from outside an envelope is ever merged
into what was inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.lexical import format_time, parse_time, trim_xml
from e2ee.names import Jid
from e2ee.padding import random_padding
from e2ee.ports import Primitives
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml

__all__ = [
    "GROUPCHAT",
    "ITEM",
    "MIN_ENVELOPE_BYTES",
    "OMEMO",
    "Envelope",
    "OpenedEnvelope",
    "Remark",
    "SceProfile",
    "open_envelope",
    "outside",
    "seal_envelope",
]

MIN_ENVELOPE_BYTES: Final = 512
"""Every envelope is padded to this size in UTF-8 before the random padding (XEP-0420 §4)."""

_RULE: Final = "XEP-0420 §4"
_OWN: Final = frozenset({"envelope", "content", "rpad", "time", "to", "from"})
_FOR_SERVERS: Final = frozenset({ns.HINTS, ns.ADDRESS, ns.EME, ns.DELAY})  # XEP-0420 §9
_WRAPPERS: Final = frozenset({ns.CARBONS, ns.MAM, ns.FORWARD})  # would pose as other stanzas


@dataclass(frozen=True, slots=True)
class SceProfile:
    """Which affixes a use of SCE requires; one that is there is checked in any case.

    Attributes:
        rpad: whether padding is required; its lack harms the sender alone and is only remarked.
        time: whether a time is required.
        to: whether a recipient is required.
        from_: whether a sender is required.
    """

    rpad: bool = False
    time: bool = False
    to: bool = False
    from_: bool = False


OMEMO: Final = SceProfile(rpad=True, from_=True)
"""XEP-0384 §5.5.1 one to one; stricter in that ``<from/>`` is required, not recommended."""

GROUPCHAT: Final = SceProfile(rpad=True, from_=True, to=True)
"""XEP-0384 §5.5.1 in rooms: ``<to/>`` keeps group messages and private ones apart."""

ITEM: Final = SceProfile(rpad=True)
"""XEP-0477 names no affixes. Libervia 0.9 writes no sender; whose it is, the session tells."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The plaintext of one encrypted stanza.

    Attributes:
        content: the elements inside ``<content/>``, each in a namespace.
        to: the recipient; in rooms the room. Give it wherever the stanza has one, required or
            not: it keeps the content from being replayed to another place.
        from_: the sender; in rooms the real JID.
        time: when it was sealed, aware.
        rpad: the padding as received; ``None`` where there is none, and when sealing.
    """

    content: tuple[Element, ...]
    to: Jid | None = None
    from_: Jid | None = None
    time: datetime | None = None
    rpad: str | None = None


class Remark(StrEnum):
    """What was accepted, but not as it should be."""

    UNPADDED = "unpadded"  # the profile requires <rpad/>
    TIME_UNVERIFIABLE = "time-unverifiable"  # <time/> is far from an archive's or delay's stamp


@dataclass(frozen=True, slots=True)
class OpenedEnvelope:
    """An envelope whose every affix agrees with how it arrived.

    Attributes:
        envelope: what was sealed, less what must not be there.
        dropped: the elements of ``<content/>`` that are not believed from inside (XEP-0420 §9).
        remarks: what the user may want to know.
    """

    envelope: Envelope
    dropped: tuple[Element, ...]
    remarks: frozenset[Remark]


def seal_envelope(envelope: Envelope, profile: SceProfile, primitives: Primitives) -> bytes:
    """Write an envelope, padded to a random length that is at least ``MIN_ENVELOPE_BYTES``.

    Every element is written by a default namespace, because some clients look for nothing else.

    Args:
        envelope: what to seal; JIDs bare for messages, full for IQs.
        profile: what must be there.
        primitives: randomness.

    Returns:
        The document to encrypt, UTF-8.

    Raises:
        ApiMisuse: a required affix is missing, ``rpad`` is given, or ``content`` has an element
            without namespace or one that servers must see.
    """
    if (
        (profile.time and envelope.time is None)
        or (profile.to and envelope.to is None)
        or (profile.from_ and envelope.from_ is None)
    ):
        raise ApiMisuse("an envelope without an affix that its profile requires", rule=_RULE)
    if envelope.rpad is not None:
        raise ApiMisuse("an envelope whose padding was chosen by the caller", rule=_RULE)
    if any(_is_unnamed(child) or _is_forbidden(child) for child in envelope.content):
        raise ApiMisuse("an element that must not be inside an envelope", rule=_RULE)
    # The tree is written once, for any padding: only affixes follow it, of which none has a text.
    head, _, tail = write_xml(_to_xml(replace(envelope, rpad="x"))).encode().rpartition(b"x</rpad>")
    rest = len(head) + len(b"</rpad>") + len(tail)
    # At least one character: an empty <rpad/> is shorter by its end tag, and would be told apart.
    rpad = random_padding(primitives, max(1, MIN_ENVELOPE_BYTES - rest))
    return b"".join((head, rpad.encode(), b"</rpad>", tail))


def _to_xml(envelope: Envelope) -> Element:
    padding = (envelope.rpad,) if envelope.rpad else ()
    affixes = [element(ns.SCE, "rpad", {}, *padding)]
    if envelope.time is not None:
        affixes.append(element(ns.SCE, "time", {"stamp": format_time(envelope.time)}))
    for name, jid in (("to", envelope.to), ("from", envelope.from_)):
        if jid is not None:
            affixes.append(element(ns.SCE, name, {"jid": str(jid)}))
    content = element(ns.SCE, "content", {}, *[child.unprefixed() for child in envelope.content])
    return element(ns.SCE, "envelope", {}, content, *affixes)


def open_envelope(
    xml: bytes, arrival: Arrival, profile: SceProfile, now: datetime
) -> OpenedEnvelope:
    """Parse a decrypted envelope and check it against the stanza that carried it.

    Unknown elements beside ``<content/>`` are ignored. A message's addresses are compared without
    resources, an IQ's with them; in a room the sender is the occupant's real JID and the recipient
    the room; an item is for nobody, so that a recipient in one is refused.

    Args:
        xml: the decrypted document, as hostile as anything else that arrives.
        arrival: where it stood.
        profile: what must be there.
        now: the present, aware.

    Raises:
        PeerMisbehaved: ``malformed``; ``context-mismatch`` when it was made for another sender,
            recipient or kind of stanza, or does not say and must; ``stale`` when its time is far
            from the present; ``limit-exceeded``.
    """
    root = parse_xml(xml)
    if not root.is_(ns.SCE, "envelope"):
        raise PeerMisbehaved(ErrorCode.MALFORMED, "not an SCE envelope", rule=_RULE)
    content = root.only(ns.SCE, "content", _RULE)
    if trim_xml(root.text) or trim_xml(content.text):
        raise PeerMisbehaved(ErrorCode.MALFORMED, "text directly in an envelope", rule=_RULE)
    if any(map(_is_unnamed, content.elements)):
        raise PeerMisbehaved(ErrorCode.MALFORMED, "content without a namespace", rule=_RULE)
    rpad = root.optional(ns.SCE, "rpad", _RULE)
    time = root.optional(ns.SCE, "time", _RULE)
    to = root.optional(ns.SCE, "to", _RULE)
    from_ = root.optional(ns.SCE, "from", _RULE)
    envelope = Envelope(
        content=tuple([child for child in content.elements if not _is_forbidden(child)]),
        to=Jid.parse(to.require("jid", _RULE)) if to else None,
        from_=Jid.parse(from_.require("jid", _RULE)) if from_ else None,
        time=parse_time(time.require("stamp", _RULE)) if time else None,
        rpad=rpad.text if rpad else None,
    )
    _check_address(envelope.from_, _sender(arrival), arrival.kind, required=profile.from_)
    _check_address(envelope.to, _recipient(arrival), arrival.kind, required=profile.to)
    remarks = _check_time(envelope.time, arrival, now, required=profile.time)
    if profile.rpad and envelope.rpad is None:
        remarks |= {Remark.UNPADDED}
    dropped = tuple([child for child in content.elements if _is_forbidden(child)])
    return OpenedEnvelope(envelope, dropped, remarks)


def outside(stanza: Element, encrypted: Element) -> tuple[Element, ...]:
    """Return what stands in clear beside ``encrypted`` and must be ignored (XEP-0420 §10).

    It is there to be reported, never to be merged: anybody on the way may have put it there. What
    servers must see is not listed, and an envelope in clear is dropped without a word.
    """
    return tuple(
        [
            child
            for child in stanza.elements
            if child != encrypted
            and child.namespace not in _FOR_SERVERS
            and child.namespace not in (ns.SID, ns.SCE)
        ]
    )


def _is_forbidden(child: Element) -> bool:
    """Say whether an element is not believed from inside ``<content/>``."""
    return (
        child.namespace in _FOR_SERVERS
        or child.namespace in _WRAPPERS
        or child.is_(ns.SID, "stanza-id")
        or (child.namespace == ns.SCE and child.name in _OWN)
    )


def _is_unnamed(child: Element) -> bool:
    """Say whether an element has no namespace of its own; ``<content/>`` passes its own on."""
    return not child.namespace or (child.namespace == ns.SCE and child.name not in _OWN)


def _sender(arrival: Arrival) -> Jid | None:
    if arrival.occupant is not None:
        return Jid(arrival.occupant)
    return None if arrival.kind is StanzaKind.GROUPCHAT else arrival.sender


def _recipient(arrival: Arrival) -> Jid | None:
    if arrival.kind is StanzaKind.GROUPCHAT:
        return arrival.sender  # the room: it put each of us in its own place on the way
    return None if arrival.kind is StanzaKind.ITEM else arrival.to  # an item is for nobody


def _check_address(
    claimed: Jid | None, found: Jid | None, kind: StanzaKind, *, required: bool
) -> None:
    if claimed is None and not required:
        return
    if claimed is not None and found is not None:
        if kind is StanzaKind.IQ and claimed == found:
            return
        if kind is not StanzaKind.IQ and claimed.bare == found.bare:
            return
    raise PeerMisbehaved(
        ErrorCode.CONTEXT_MISMATCH, "an envelope made for another context", rule=_RULE
    )


def _check_time(
    claimed: datetime | None, arrival: Arrival, now: datetime, *, required: bool
) -> frozenset[Remark]:
    if claimed is None:
        if required:
            raise PeerMisbehaved(ErrorCode.MALFORMED, "an envelope without a time", rule=_RULE)
        return frozenset()
    age = (arrival.stamp or now) - claimed
    if -limits.MAX_CLOCK_SKEW <= age <= limits.MAX_ENVELOPE_AGE:
        return frozenset()
    if arrival.stamp is not None:
        return frozenset({Remark.TIME_UNVERIFIABLE})
    raise PeerMisbehaved(ErrorCode.STALE, "an envelope from another time", rule=_RULE)
