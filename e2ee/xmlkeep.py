"""Elements as they are kept: one document, from which they are read back as they were.

Rule: for our own stores alone; what others are to read is written by ``xmlwrite``.

The document's root declares the prefixes that the elements were parsed under. Written one by one
each would declare them for itself, and a small message become a thousand times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_DECLARATIONS, MAX_ELEMENTS, MAX_XML_BYTES
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml

__all__ = ["keep_elements", "kept_elements"]


def keep_elements(elements: Sequence[Element]) -> str:
    """Return elements as one document.

    Raises:
        PeerMisbehaved: ``limit-exceeded``: it is more than can be read again.
    """
    scope: dict[str, str] = {}
    count = 1 + sum([_add_inherited(child, frozenset({"xml"}), scope) for child in elements])
    namespace = scope.pop("", "")
    if len(scope) < MAX_DECLARATIONS and count <= MAX_ELEMENTS:
        declarations = tuple(scope.items())
        root = Element(namespace, "elements", (), tuple(elements), declarations=declarations)
        document = write_xml(root)
        if len(document.encode()) <= MAX_XML_BYTES:
            return document
    raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "content that cannot be kept")


def kept_elements(document: str) -> tuple[Element, ...]:
    """Read what :func:`keep_elements` wrote.

    Raises:
        PeerMisbehaved: it is no such document.
    """
    return parse_xml(document).elements


def _add_inherited(element: Element, declared: frozenset[str], scope: dict[str, str]) -> int:
    """Add to ``scope`` what the prefixes stand for that are used in an element, not declared.

    Returns:
        How many elements it is, all in all.
    """
    if element.declarations:
        declared = declared.union([prefix for prefix, _ in element.declarations])
    if element.prefix not in declared:
        scope.setdefault(element.prefix, element.namespace)
    for attribute in element.attributes:
        if attribute.prefix and attribute.prefix not in declared:
            scope.setdefault(attribute.prefix, attribute.namespace)
    return 1 + sum(
        [
            _add_inherited(child, declared, scope)
            for child in element.children
            if isinstance(child, Element)
        ]
    )
