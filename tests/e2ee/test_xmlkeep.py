"""Elements as they are kept: what can be kept can be read again.

Rule: at every bound of what is read; contents as such are the stores' and the cache's to test.
"""

from __future__ import annotations

import pytest

from e2ee import ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_DECLARATIONS, MAX_ELEMENTS, MAX_PAYLOAD_DEPTH, MAX_XML_BYTES
from e2ee.xmlkeep import keep_elements, kept_elements
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from tests.support.xml import nested


def wide(count: int) -> Element:
    """Return an element that is so many, itself included."""
    return element(ns.ATOM, "entry", None, *[element(ns.ATOM, "link")] * (count - 1))


def prefixed(count: int) -> Element:
    """Return an element below which so many prefixes are used that it does not declare."""
    declared = [f" xmlns:p{number}='urn:{number}'" for number in range(count)]
    outer, inner = "".join(declared[::2]), "".join(declared[1::2])
    used = "".join(f"<p{number}:b/>" for number in range(count))
    document = parse_xml(f"<x xmlns='urn:x'{outer}><y{inner}><a>{used}</a></y></x>")
    return document.elements[0].elements[0]


@pytest.mark.parametrize(
    "kept",
    [wide(MAX_ELEMENTS - 1), nested(MAX_PAYLOAD_DEPTH + 1), prefixed(MAX_DECLARATIONS - 1)],
    ids=["elements", "depth", "prefixes"],
)
def test_what_is_just_within_the_bounds_is_read_as_it_was(kept: Element) -> None:
    (read,) = kept_elements(keep_elements([kept]))
    assert read.same_content(kept)


@pytest.mark.parametrize(
    "beyond",
    [
        [wide(MAX_ELEMENTS)],
        [wide(MAX_ELEMENTS // 2)] * 2,
        [prefixed(MAX_DECLARATIONS)],
        [element(ns.ATOM, "entry", None, "x" * (MAX_XML_BYTES // 4))] * 4,
    ],
    ids=["elements", "elements of several", "prefixes", "length"],
)
def test_r_13_what_could_not_be_read_again_is_not_kept(beyond: list[Element]) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        keep_elements(beyond)
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
