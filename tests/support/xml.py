"""Both XML parsers by name, and hypothesis strategies for trees.

Rule: what several XML tests share; no test.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from e2ee import ns, xmlparse
from e2ee.xmltree import Attribute, Element, element

__all__ = ["PARSERS", "Parse", "characters", "elements", "nested"]

Parse = Callable[[bytes | str], Element]

PARSERS: dict[str, Parse] = {
    "lxml": lambda source: xmlparse._parse(source, xmlparse._read_lxml),
    "expat": lambda source: xmlparse._parse(source, xmlparse._read_expat),
}
"""The same checks over the native parser and over the browser's."""


def nested(depth: int) -> Element:
    """Return a tree of this depth."""
    tree = element("urn:x", "a")
    while tree.depth < depth:
        tree = element("urn:x", "a", None, tree)
    return tree


_NAMES = ["a", "b", "jid", "id", "space", "naïve-1.x", "名", "_"]
_PREFIXES = ["", "p", "q", "ns0", "é"]
_URIS = ["u:1", "u:2", "rel", ns.ATOM, "http://x.example/?q=1&r='%20'#f"]
_AWKWARD = [*"&<>'\"\\\t\n\r ]", "]]>", "\u0085\u2028", "\ufeff", "é", "\U0001f512", "&#10;"]


def characters() -> st.SearchStrategy[str]:
    """Text of XML characters, many of them awkward."""
    usual = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    return st.lists(st.sampled_from(_AWKWARD) | usual, max_size=8).map("".join)


@st.composite
def _names(draw: st.DrawFn) -> tuple[str, str, str]:
    """A namespace, local name and prefix that may go together."""
    name = draw(st.sampled_from(_NAMES))
    namespace = draw(st.sampled_from(["", ns.XML, *_URIS]))
    if namespace == ns.XML:
        return namespace, name, draw(st.sampled_from(["", "xml"]))
    return namespace, name, draw(st.sampled_from(_PREFIXES)) if namespace else ""


@st.composite
def _attributes(draw: st.DrawFn) -> Attribute:
    namespace, name, prefix = draw(_names())
    is_space = namespace == ns.XML and name == "space"
    return Attribute(name, "preserve" if is_space else draw(characters()), namespace, prefix)


@st.composite
def _declarations(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    prefixes = draw(st.lists(st.sampled_from(_PREFIXES), unique=True, max_size=3))
    return tuple(
        (prefix, draw(st.sampled_from(_URIS if prefix else ["", *_URIS]))) for prefix in prefixes
    )


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> Element:
    """A tree whose prefixes and declarations may contradict each other."""
    namespace, name, prefix = draw(_names())
    content: list[Element | str] = []
    below = characters() | elements(depth - 1) if depth else characters()
    for child in draw(st.lists(below, max_size=3)):
        if child and not (isinstance(child, str) and content and isinstance(content[-1], str)):
            content.append(child)
    given = st.lists(_attributes(), max_size=3, unique_by=lambda it: (it.namespace, it.name))
    return Element(
        namespace, name, tuple(draw(given)), tuple(content), prefix, draw(_declarations())
    )
