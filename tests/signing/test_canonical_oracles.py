"""Canonical form against other canonicalisers, and against its own meaning.

Rule: generated trees, by other code than ours: libxml2's exclusive canonicalisation knows nothing
of Canonical XML 2.0 and must agree with it on trees without white space to trim; lxml's, which is
what Libervia calls, must agree wherever it is right, and with Libervia's form everywhere.
"""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st
from lxml import etree

from e2ee import ns
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element
from e2ee.xmlwrite import write_xml
from signing.canonical import (
    canonical,
    canonical_as_libervia,
    has_prefixes,
    trims,
    trims_as_libervia,
)
from tests.support.xml import elements

_PARSER = etree.XMLParser(collect_ids=False)
_RELATIVE = re.compile("'rel'")  # a namespace without a scheme, which libxml2 refuses


def parsed(tree: Element) -> Element:
    """Return a tree as it arrives: names and declarations say the same."""
    return parse_xml(_RELATIVE.sub("'urn:rel'", write_xml(tree)))


def unprefixed(tree: Element) -> Element:
    """Return a tree without prefixes, and without attributes that need one."""
    return replace(
        tree,
        prefix="xml" if tree.namespace == ns.XML else "",
        declarations=tuple([pair for pair in tree.declarations if not pair[0]]),
        attributes=tuple([each for each in tree.attributes if each.namespace in ("", ns.XML)]),
        children=tuple(
            [unprefixed(each) if isinstance(each, Element) else each for each in tree.children]
        ),
    )


def trimmed(tree: Element, preserved: bool = False) -> Element:
    """Return a tree without the white space that is left out, by the words of Canonical XML 2.0."""
    space = tree.get("space", ns.XML)
    preserved = preserved if space is None else space == "preserve"
    children: list[Element | str] = []
    for child in tree.children:
        if isinstance(child, Element):
            children.append(trimmed(child, preserved))
        elif text := child if preserved else re.sub(r"\A[ \t\r\n]+|[ \t\r\n]+\Z", "", child):
            children.append(text)
    return replace(tree, children=tuple(children))


def with_inner_defaults(tree: Element, bits: int) -> Element:
    """Return a tree in which some ``xml:space`` are ``default``, which the strategy never makes."""
    attributes = []
    for each in tree.attributes:
        if each.namespace == ns.XML and each.name == "space":
            each = Attribute("space", "default" if bits & 1 else "preserve", ns.XML, "xml")
        attributes.append(each)
    children = [
        with_inner_defaults(each, bits >> 1) if isinstance(each, Element) else each
        for each in tree.children
    ]
    return replace(tree, attributes=tuple(attributes), children=tuple(children))


def trees() -> st.SearchStrategy[Element]:
    """Trees as they arrive, with any ``xml:space``."""
    return st.builds(with_inner_defaults, elements().map(parsed), st.integers(0, 15))


def plain_trees() -> st.SearchStrategy[Element]:
    """The same without prefixes."""
    return trees().map(unprefixed)


def namespaced(tree: Element) -> Element:
    """Return a tree that never goes back to no namespace.

    Behind such an element lxml declares ``xmlns=""`` for attributes too, beside another default.
    """
    namespace = "urn:x" if tree.namespace in ("", ns.XML) else tree.namespace
    children = [namespaced(each) if isinstance(each, Element) else each for each in tree.children]
    return replace(tree, namespace=namespace, prefix="", children=tuple(children))


def without_foreign_spaces(tree: Element) -> Element:
    """Return a tree with letters instead of what only Unicode calls white space."""
    children = [
        without_foreign_spaces(each)
        if isinstance(each, Element)
        else re.sub(r"[^\S \t\r\n]", "x", each)
        for each in tree.children
    ]
    return replace(tree, children=tuple(children))


def of_libxml2(source: str) -> bytes:
    found = etree.fromstring(source, _PARSER)
    form: bytes = etree.tostring(found, method="c14n", exclusive=True, with_comments=False)
    return form.replace(b"?q=1&r=", b"?q=1&amp;r=")  # an "&" in a namespace is its own bug


def of_lxml(source: str) -> bytes:
    found = etree.fromstring(source, _PARSER)
    form: bytes = etree.tostring(found, method="c14n2", strip_text=True, with_comments=False)
    return form


def written_as_twisted(tree: Element, default: str = "") -> str:
    """Return a tree without prefixes as Twisted writes it: bare white space everywhere."""

    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    parts = [f"<{tree.name}"]
    if tree.namespace != default:
        parts.append(f" xmlns='{escaped(tree.namespace).replace(chr(39), '&apos;')}'")
    for each in tree.attributes:
        value = escaped(each.value).replace("'", "&apos;").replace('"', "&quot;")
        parts.append(f" {'xml:' if each.namespace else ''}{each.name}='{value}'")
    parts.append(">")
    parts += [
        written_as_twisted(each, tree.namespace) if isinstance(each, Element) else escaped(each)
        for each in tree.children
    ]
    return "".join([*parts, f"</{tree.name}>"])


@given(tree=trees())
def test_libxml2_agrees_on_trees_that_are_trimmed(tree: Element) -> None:
    assert canonical(tree) == of_libxml2(write_xml(trimmed(tree)))
    assert canonical(trimmed(tree)) == canonical(tree)


@given(tree=plain_trees().map(namespaced).map(without_foreign_spaces))
def test_lxml_agrees_where_it_is_right(tree: Element) -> None:
    """On trees without prefixes, and with no space but that of XML."""
    assume(not _beyond_ascii(tree))
    assert canonical(tree) == of_lxml(write_xml(tree))


@given(tree=plain_trees().map(namespaced))
def test_libervias_form_is_lxmls_of_what_twisted_writes(tree: Element) -> None:
    assert canonical_as_libervia(tree) == of_lxml(written_as_twisted(tree))


@given(tree=trees())
def test_x_19_the_form_says_all_that_is_not_trimmed(tree: Element) -> None:
    """So that no two trees have one form unless one of them is trimmed."""
    form = canonical(tree)
    assert parse_xml(form).same_content(trimmed(tree))
    assert parse_xml(form).same_content(tree) is not trims(tree)
    assert canonical(parse_xml(form)) == form


@given(tree=plain_trees())
def test_libervias_form_is_ours_where_nothing_is_lost(tree: Element) -> None:
    lossy = re.search("[\t\n\r]", " ".join(_values(tree))) or "\r" in " ".join(_texts(tree))
    if not (trims_as_libervia(tree) or lossy or _beyond_ascii(tree)):
        assert canonical_as_libervia(tree) == canonical(tree)
    form = canonical_as_libervia(tree)
    assert canonical_as_libervia(parse_xml(form)) == form


@given(tree=trees())
def test_x_20_the_form_survives_other_serialisers(tree: Element) -> None:
    """Ours, and lxml's; those that lose CR or prefixes lose the signature, never the text."""
    again = etree.tostring(etree.fromstring(write_xml(tree), _PARSER), encoding="unicode")
    assert canonical(parse_xml(write_xml(tree))) == canonical(tree)
    assert canonical(parse_xml(again)) == canonical(tree)


@given(tree=trees())
def test_prefixes_are_told(tree: Element) -> None:
    assert has_prefixes(tree) is (unprefixed(tree) != tree)


def _values(tree: Element) -> list[str]:
    own = [each.value for each in tree.attributes]
    return own + [value for each in tree.elements for value in _values(each)]


def _texts(tree: Element) -> list[str]:
    own = [each for each in tree.children if isinstance(each, str)]
    return own + [text for each in tree.elements for text in _texts(each)]


def _beyond_ascii(tree: Element) -> bool:
    """Say whether an attribute's name would be sorted elsewhere by lxml."""
    return any(each.name[0] > "{" for each in tree.attributes) or any(
        map(_beyond_ascii, tree.elements)
    )
