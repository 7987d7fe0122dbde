"""Writing: the exact text, and that names keep their meaning whatever prefixes claim.

Rule: single cases; the round trips over generated trees are in ``tests/properties``.
"""

from __future__ import annotations

import pytest

from e2ee import ns
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml
from tests.support.xml import Parse


def test_exact_text_of_a_plain_tree() -> None:
    tree = element("u:1", "a", {"x": "1"}, element("u:1", "b"), "t", element("u:2", "c", {}, "u"))
    assert write_xml(tree) == "<a xmlns='u:1' x='1'><b/>t<c xmlns='u:2'>u</c></a>"


def test_exact_escapes() -> None:
    tree = element("", "a", {"x": "&<>'\"\t\n\r\\é"}, "&<>'\"\t\n\r\\é]]>")
    assert write_xml(tree) == (
        "<a x='&amp;&lt;&gt;&apos;&quot;&#9;&#10;&#13;\\é'>&amp;&lt;&gt;'\"\t\n&#13;\\é]]&gt;</a>"
    )
    safe = "&amp;&lt;&gt;&apos;&quot;&#9;&#10;&#13;&#92;&#233;"
    assert write_xml(tree, ascii_only=True) == f"<a x='{safe}'>{safe}]]&gt;</a>"


def test_ascii_only_writes_what_libervia_reads() -> None:
    """WIRE.md 3.2: after decrypting, it can read ASCII with references and one kind of quote."""
    tree = element("u", "e", {"q": 'it\'s "so"'}, "h\u00e9 \U0001f512\\")
    written = write_xml(tree, ascii_only=True)
    assert written == "<e xmlns='u' q='it&apos;s &quot;so&quot;'>h&#233; &#128274;&#92;</e>"
    assert repr(written)[1:-1] == written  # what its text formatter makes of it


def test_ascii_only_leaves_names_alone(parse: Parse) -> None:
    tree = Element("u", "é", prefix="ü", declarations=(("ü", "u"),))
    assert write_xml(tree, ascii_only=True) == "<ü:é xmlns:ü='u'/>"
    assert parse(write_xml(tree, ascii_only=True)) == tree


@pytest.mark.parametrize(
    "written",
    [
        "<a/>",
        "<a xmlns='u:1'/>",
        "<p:a xmlns:p='u:1'/>",
        "<a xmlns='u:1'><b xmlns=''/></a>",
        "<a xmlns='u:1'><b xmlns=''><c xmlns='u:1'/></b></a>",
        "<a xmlns='u:1' xmlns:q='u:2' xmlns:p='u:2' q:x='1' p:y='2'><p:b/><q:b/></a>",
        "<p:a xmlns:p='u:1'><p:b xmlns:p='u:2'/><p:c/></p:a>",
        "<a xmlns:unused='u:3' xmlns=''/>",
        "<a xmlns='u:1'><b xmlns='u:1'/></a>",
        "<a xml:lang='de' xml:space='preserve'/>",
        "<xml:a/>",
    ],
)
def test_what_was_parsed_is_written_as_it_was(parse: Parse, written: str) -> None:
    assert write_xml(parse(written)) == written


@pytest.mark.parametrize(
    ("tree", "written"),
    [
        (Element("u:1", "a", prefix="p"), "<p:a xmlns:p='u:1'/>"),
        (
            Element("u:1", "a", (Attribute("x", "1", "u:1"),)),
            "<a xmlns='u:1' xmlns:ns0='u:1' ns0:x='1'/>",
        ),
        (
            Element("u:1", "a", (Attribute("x", "1", "u:1"),), prefix="p"),
            "<p:a xmlns:p='u:1' p:x='1'/>",
        ),
        (
            Element("u:1", "a", (Attribute("x", "1", "u:2", "p"),), prefix="p"),
            "<p:a xmlns:p='u:1' xmlns:ns0='u:2' ns0:x='1'/>",
        ),
        (
            Element("u:1", "a", (Attribute("x", "", "u:2"), Attribute("y", "", "u:3"))),
            "<a xmlns='u:1' xmlns:ns0='u:2' xmlns:ns1='u:3' ns0:x='' ns1:y=''/>",
        ),
        (
            Element("u:1", "a", (Attribute("x", "", "u:2"),), declarations=(("ns0", "u:3"),)),
            "<a xmlns:ns0='u:3' xmlns='u:1' xmlns:ns1='u:2' ns1:x=''/>",
        ),
        (Element("u:1", "a", prefix="p", declarations=(("p", "u:2"),)), "<p:a xmlns:p='u:1'/>"),
        (Element("", "a", declarations=(("", "u:1"),)), "<a/>"),
        (Element(ns.XML, "a"), "<xml:a/>"),
        (Element("", "a", (Attribute("lang", "de", ns.XML),)), "<a xml:lang='de'/>"),
        (
            Element("u:1", "a", children=(Element("", "b"), Element("u:2", "c", prefix="p"))),
            "<a xmlns='u:1'><b xmlns=''/><p:c xmlns:p='u:2'/></a>",
        ),
        (
            Element(
                "u:1",
                "a",
                prefix="p",
                children=(Element("u:2", "b", (Attribute("x", "", "u:1", "p"),), prefix="p"),),
            ),
            "<p:a xmlns:p='u:1'><p:b xmlns:p='u:2' xmlns:ns0='u:1' ns0:x=''/></p:a>",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_win_over_declarations(parse: Parse, tree: Element, written: str) -> None:
    assert write_xml(tree) == written
    assert parse(written).same_content(tree)


def test_x_20_white_space_survives_the_transport(parse: Parse) -> None:
    """CR, LF and tab come out as they went in, in text and in attributes."""
    for blank in ("\r", "\n", "\t", "\r\n", " \t\r\n ", "\u0085", "\u2028", "\u00a0"):
        tree = element("u", "a", {"x": f"a{blank}b"}, f"a{blank}b")
        for ascii_only in (False, True):
            assert parse(write_xml(tree, ascii_only=ascii_only)).same_content(tree)
