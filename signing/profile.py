"""The signable profile: which items have signed bytes that stand for them and for no other.

Rule: an item or a payload in, what may be done with it out; no signature is looked at here.

Canonical XML leaves out white space at the edges of texts and declarations that only text uses,
and transports lose some white space of their own. We sign nothing that any of it could change, and
call what others signed so ambiguous (XEP-0475 §6).
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import Final, NoReturn

from e2ee import limits, ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.lexical import trim_xml
from e2ee.xmltree import Attribute, Element
from signing.canonical import has_prefixes, trims, trims_as_libervia
from signing.readings import Reading

__all__ = ["Ambiguity", "ambiguities", "bare_item", "payload_of", "prepare", "readings_for"]

_RULE: Final = "XEP-0475 §6"
_SET_BY_SERVICE: Final = ("id", "publisher")  # attributes of <item/>
_PRESERVE: Final = Attribute("space", "preserve", ns.XML, "xml")  # XML 1.0 §2.10
_LOST_IN_VALUES: Final = re.compile(r"[\t\n\r]")  # what some serialisers write as it is, and
_LOST_IN_TEXTS: Final = "\r"  # a parser then normalises (XML 1.0 §2.11, §3.3.3)


class Ambiguity(StrEnum):
    """Why what is handed out may read differently from what was signed."""

    TRIMMED = "trimmed"  # XML white space at the edge of a text was left out
    UNICODE_SPACE = "unicode-space"  # Libervia's form was signed and left white space out, any kind
    PREFIXES = "prefixes"  # what a prefix in a text or a value stands for is not signed
    ITEM_ATTRIBUTES = "item-attributes"  # of <item/>: xml:lang, say, is not in its payload


def payload_of(item: Element) -> Element:
    """Return the one payload of an ``<item/>`` (XEP-0060 §7.1).

    Raises:
        PeerMisbehaved: ``malformed`` where it is no item, holds no payload, a second one or text,
            or where the payload is an ``<item/>`` again.
    """
    if not _is_item(item):
        _malformed("an element that is no <item/>")
    payloads = item.elements
    if len(payloads) != 1 or trim_xml(item.text):
        _malformed("an <item/> that does not hold exactly one element")
    if _is_item(payloads[0]):
        _malformed("an <item/> in an <item/>")
    return payloads[0]


def bare_item(item: Element) -> Element:
    """Return an item as it is wrapped: what the service may set is gone (XEP-0475 §5).

    That is ``id``, ``publisher`` and the white space around the payload; the item is in the
    namespace of XEP-0060 also where an event brought it. Other attributes and the payload, which is
    the very same tree, stay.

    Raises:
        PeerMisbehaved: ``malformed`` as :func:`payload_of`; ``limit-exceeded`` for an item that is
            too deep to be wrapped.
    """
    payload = payload_of(item)
    if payload.depth > limits.MAX_PAYLOAD_DEPTH:
        raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "an <item/> that is too deep", rule=_RULE)
    return Element(
        ns.PUBSUB,
        "item",
        tuple(
            [each for each in item.attributes if each.namespace or each.name not in _SET_BY_SERVICE]
        ),
        (payload,),
        declarations=tuple([pair for pair in item.declarations if pair[0]]),
    )


def prepare(payload: Element) -> Element:
    """Return a payload as it can be signed, and must be published.

    Where a form of canonicalisation would trim a text, Libervia's included, the root gets
    ``xml:space="preserve"``, which all honour.

    Raises:
        ApiMisuse: ``ambiguous`` for a payload outside the signable profile: prefixes other than
            ``xml`` used or declared, a carriage return in a text, a tab or line end in a value,
            ``xml:space="default"`` inside that has texts trimmed all the same, or an ``<item/>``;
            ``limit-exceeded`` for one that is too deep to be wrapped.
    """
    if payload.depth > limits.MAX_PAYLOAD_DEPTH:
        raise ApiMisuse("a payload that is too deep", code=ErrorCode.LIMIT_EXCEEDED, rule=_RULE)
    if trims_as_libervia(payload):
        payload = replace(payload, attributes=_preserving(payload.attributes))
    if trims_as_libervia(payload):
        _outside("with xml:space='default' around white space")
    if has_prefixes(payload):
        _outside("with prefixes")
    if _has_lossy_white_space(payload):
        _outside("with white space that transports do not keep")
    if _is_item(payload):
        _outside("that is an <item/>")
    return payload


def ambiguities(item: Element, reading: Reading) -> frozenset[Ambiguity]:
    """Say why the payload of an item is not all that was signed, nor that alone; empty if it is.

    Either other items have the same signed bytes, or these have more than is handed out.

    Args:
        item: the item as :func:`bare_item` returns it.
        reading: the one by which its signature is valid, of :func:`readings_for`.
    """
    found = set()
    if trims(item):
        found.add(Ambiguity.TRIMMED)
    if reading is Reading.LIBERVIA and trims_as_libervia(item):
        found.add(Ambiguity.UNICODE_SPACE)
    if has_prefixes(item):
        found.add(Ambiguity.PREFIXES)
    if item.attributes:
        found.add(Ambiguity.ITEM_ATTRIBUTES)
    return frozenset(found)


def readings_for(item: Element) -> tuple[Reading, ...]:
    """Return the readings that a signature of an item may follow, in the order of trying.

    Those that we do not write ourselves are for items of the signable profile, but for trimming.

    Args:
        item: the item as :func:`bare_item` returns it.
    """
    plain = not (has_prefixes(item) or _has_lossy_white_space(item))
    return tuple(Reading) if plain else (Reading.STRICT,)


def _preserving(attributes: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
    others = [each for each in attributes if (each.namespace, each.name) != (ns.XML, "space")]
    return (*others, _PRESERVE)


def _is_item(element: Element) -> bool:
    return element.name == "item" and element.namespace in (ns.PUBSUB, ns.PUBSUB_EVENT)


def _has_lossy_white_space(root: Element) -> bool:
    found = [root]
    while found:
        element = found.pop()
        if any(_LOST_IN_VALUES.search(each.value) for each in element.attributes):
            return True
        if _LOST_IN_TEXTS in element.text:
            return True
        found += element.elements
    return False


def _malformed(what: str) -> NoReturn:
    raise PeerMisbehaved(ErrorCode.MALFORMED, what, rule="XEP-0475 §5")


def _outside(what: str) -> NoReturn:
    raise ApiMisuse(f"a payload {what}, which is not signed", code=ErrorCode.AMBIGUOUS, rule=_RULE)
