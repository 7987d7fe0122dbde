"""Properties of XML in and out: round trips, and that both parsers are one.

Rule: generated trees and mutated documents; single cases are in ``tests/e2ee``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from e2ee import ns, xmlparse
from e2ee.errors import PeerMisbehaved
from e2ee.xmltree import Attribute, Element
from e2ee.xmlwrite import write_xml
from tests.support.xml import PARSERS, Parse, characters, elements

parsers = pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
modes = pytest.mark.parametrize("ascii_only", [False, True], ids=["utf-8", "ascii"])


@parsers
@modes
@given(tree=elements())
def test_what_is_written_parses_to_the_same_content(
    parse: Parse, ascii_only: bool, tree: Element
) -> None:
    assert parse(write_xml(tree, ascii_only=ascii_only)).same_content(tree)


@parsers
@given(tree=elements())
def test_what_was_parsed_is_written_with_its_prefixes_and_declarations(
    parse: Parse, tree: Element
) -> None:
    parsed = parse(write_xml(tree))
    assert parse(write_xml(parsed)) == parsed
    assert write_xml(parsed) == write_xml(parse(write_xml(parsed)))


@given(tree=elements())
def test_unprefixed_trees_have_the_same_content(tree: Element) -> None:
    assert tree.unprefixed().same_content(tree)
    assert not re.search(r"<[^ />]*:", write_xml(tree.unprefixed()).replace("<xml:", ""))


@modes
@given(tree=elements())
def test_x_20_other_serialisers_and_parsers_agree(ascii_only: bool, tree: Element) -> None:
    """The stdlib and lxml read the same content; what lxml then writes still has it.

    The stdlib's own writing is no judge: it loses CR in text, and so do the XMPP libraries on it.
    """
    written = write_xml(tree, ascii_only=ascii_only)
    assert _from_etree(ElementTree.fromstring(written)).same_content(tree)
    libxml2 = etree.fromstring(written, etree.XMLParser(collect_ids=False))
    assert _from_etree(libxml2).same_content(tree)
    assert PARSERS["lxml"](etree.tostring(libxml2, encoding="unicode")).same_content(tree)


@given(tree=elements())
def test_ascii_only_writes_nothing_that_libervia_spoils(tree: Element) -> None:
    """All is on one line of ASCII, with one kind of quote and no backslash; names stay."""
    written = write_xml(tree, ascii_only=True)
    without_names = re.sub("naïve-1.x|名|é", "", written)
    assert without_names.isascii()
    assert not set(without_names) & set('\\\t\n\r"')
    assert "'" not in re.sub("='[^']*'", "", without_names)


@parsers
@given(text=characters())
def test_text_and_attributes_survive_exactly(parse: Parse, text: str) -> None:
    for ascii_only in (False, True):
        written = write_xml(Element("u", "a", (), (text,) if text else ()), ascii_only=ascii_only)
        assert parse(written).text == text


SEEDS = [
    b"<a xmlns='u:x' xmlns:p='u:p' xmlns:q='u:p'><p:b p:c='1' q:d='&#10;&apos;' xml:id='x y'"
    b" xml:lang='de'>\xc3\xa9]]&gt;&#13;\n\\</p:b><c xmlns=''/><![CDATA[<x>&]] >]]>t</a>",
    b"<p:a xmlns:p='u'><p:b xmlns:p='v' p:x=\"1\"/></p:a>",
    b"<a xml:space='preserve' b='\t\r\n x'>\r\n\r </a>\n",
    b"<entry xmlns='http://www.w3.org/2005/Atom'><title>Soliloquy &#8212;</title><content"
    b" type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><p>To <em>be</em></p></div>"
    b"</content><link rel='alternate' href='xmpp:hamlet@denmark.lit?;node=x'/></entry>",
    b"<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>Hi</body></content>"
    b"<rpad>x</rpad><time stamp='2026-11-22T15:01:53Z'/><to jid='a@b'/></envelope>",
]
"""Also the seed corpus for fuzzing."""

TOKENS = [
    *(bytes([byte]) for byte in b"<>/'\"=:&;%#[]@-.1 \t\r\n\x00\x01\x0c\x7f\x80"),
    *(b"&#", b"&#x", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<?", b"?>", b"<!DOCTYPE a>"),
    *(b"xmlns", b" xmlns='u'", b" xmlns=''", b" xmlns:p='u'", b" xmlns:p=''", b" xmlns='a b'"),
    *(b" xmlns:xmlns='u'", b" xmlns:xml='u'", f" xmlns:xml='{ns.XML}'".encode()),
    *(ns.XML.encode(), ns.XMLNS.encode(), b" p:a='1'", b" q:a='2'", b" xml:id='q'"),
    *(b" xml:id=' q  r '", b" xml:lang=''", b" xml:space='x'", b" xml:base='!'", b" xmlns='r'"),
    *(b"<p:a>", b"</p:a>", b"<p:b/>", b"<q:b/>", b"<b/><b/>", b"<a>" * 70, b"</a>" * 70),
    *(b"&amp;", b"&lt;", b"&x;", b"&nbsp;", b"&#0;", b"&#xD800;", b"&#x10FFFF;", b"&#xFFFE;"),
    *(b"&#x100000041;", b"\xef\xbf\xbe", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8"),
    *(b"\xc3\xa9", b"\xcc\x81", b"\xf0\x90\x80\x80", b"\xc2\xb7", b"\xe2\x84\xaa", b"A" * 5000),
]
"""Pieces at which XML parsers have differed."""


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    document = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(document)))
        match draw(st.sampled_from(["insert", "insert", "delete", "set", "repeat"])):
            case "insert":
                document[at:at] = draw(st.sampled_from(TOKENS))
            case "delete":
                del document[at : at + draw(st.integers(1, 6))]
            case "set":
                document[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case _:
                document[at:at] = document[at : at + draw(st.integers(1, 40))]
    return bytes(document)


def _outcome(parse: Parse, document: bytes | str) -> Element | None:
    try:
        return parse(document)
    except PeerMisbehaved:
        return None


@given(document=_mutated(), chunk=st.sampled_from([1, 2, 3, 5, 16, 65536]))
def test_mutated_documents_are_read_alike_or_refused(document: bytes, chunk: int) -> None:
    """Both parsers, at whatever chunks lxml is fed, find the same tree, or a typed error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xmlparse, "_CHUNK", chunk)
        natively = _outcome(PARSERS["lxml"], document)
    assert natively == _outcome(PARSERS["expat"], document)


@given(document=st.binary(max_size=64) | st.text(max_size=64))
def test_arbitrary_input_meets_only_typed_errors(document: bytes | str) -> None:
    assert _outcome(PARSERS["lxml"], document) == _outcome(PARSERS["expat"], document)


@given(
    uri=st.lists(
        st.sampled_from(["a", "1", ":", "/", "//", "?", "#", "@", "%41", "%", ".", "[", "]", "é"]),
        max_size=7,
    ).map("".join)
)
def test_namespace_names_are_judged_alike(uri: str) -> None:
    document = f"<p:a xmlns:p='{uri}'/>".encode()
    assert _outcome(PARSERS["lxml"], document) == _outcome(PARSERS["expat"], document)


@parsers
def test_every_xml_text_of_libervia_parses_and_survives(parse: Parse) -> None:
    folder = Path(__file__).resolve().parents[2] / "../shared/peers/libervia"
    if not folder.is_dir():
        pytest.skip("no shared/peers/libervia beside the project")
    texts = {
        text
        for path in sorted(folder.glob("*.json"))
        for text in _strings(json.loads(path.read_text(encoding="utf-8")))
        if re.fullmatch(r"<([\w-]+)[ />].*(</\1>|/>)", text, re.DOTALL) and "<!--" not in text
    }
    readable = [tree for text in texts if (tree := _outcome(parse, text.encode())) is not None]
    assert len(readable) > 100
    for tree in readable:
        assert parse(write_xml(tree)) == tree
        assert parse(write_xml(tree, ascii_only=True)) == tree


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return [text for item in inner for text in _strings(item)]
    return []


def _from_etree(node: ElementTree.Element) -> Element:
    """Convert what another library read, by its own account of names and text."""
    children: list[Element | str] = [node.text] if node.text else []
    for child in node:
        children.append(_from_etree(child))
        if child.tail:
            children.append(child.tail)
    return Element(
        *_split(node.tag),
        attributes=tuple(
            Attribute(_split(key)[1], value, _split(key)[0]) for key, value in node.items()
        ),
        children=tuple(children),
    )


def _split(clark: str) -> tuple[str, str]:
    namespace, _, name = clark.rpartition("}")
    return namespace[1:], name
