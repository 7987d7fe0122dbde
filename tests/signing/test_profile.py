"""The signable profile: what can be signed, and what signed bytes leave open (XEP-0475 §6).

Rule: trees and their signed bytes; no key signs anything here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits, ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml
from signing.elements import Statement
from signing.profile import Ambiguity, ambiguities, bare_item, payload_of, prepare, readings_for
from signing.readings import Reading, signed_bytes
from tests.support.item_pairs import PAIRS
from tests.support.xml import elements, nested

SERVICE = BareJid.parse("pubsub.capulet.example")
STATEMENT = Statement("2026-01-02T03:04:05Z", (BareJid.parse("juliet@capulet.example"),))

pairs = pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)


def item(payload: str, attributes: str = "", namespace: str = ns.PUBSUB) -> Element:
    return parse_xml(f"<item xmlns='{namespace}'{attributes}>{payload}</item>")


def found_plain(signed: bytes, shown: Element) -> bool:
    """Say whether bytes that were signed are plainly those of an item, as verifying goes."""
    for reading in readings_for(shown):
        if signed_bytes(shown, SERVICE, STATEMENT, reading) == signed:
            return not ambiguities(shown, reading)
    return False


def prepared_or_none(payload: str) -> Element | None:
    try:
        return prepare(payload_of(item(payload)))
    except ApiMisuse:
        return None


@pairs
def test_x_17_no_signature_is_plainly_valid_for_two_items(one: str, other: str) -> None:
    shown = [bare_item(item(one)), bare_item(item(other))]
    assert shown[0] != shown[1]
    for signed in {
        signed_bytes(each, SERVICE, STATEMENT, reading)
        for each in shown
        for reading in readings_for(each)
    }:
        assert sum(found_plain(signed, each) for each in shown) <= 1


@pairs
def test_q_08_what_we_sign_of_a_pair_is_never_the_same(one: str, other: str) -> None:
    wrapped = [
        bare_item(element(ns.PUBSUB, "item", {}, prepared))
        for prepared in map(prepared_or_none, (one, other))
        if prepared is not None
    ]
    signed = [signed_bytes(each, SERVICE, STATEMENT) for each in wrapped]
    assert len(set(signed)) == len(signed)
    assert all(map(found_plain, signed, wrapped))


def test_q_08_a_comment_or_instruction_is_no_item() -> None:
    for inside in ("<!-- -->", "<?p i?>"):
        with pytest.raises(PeerMisbehaved) as caught:
            item(f"<v>user{inside}@evil.example</v>")
        assert caught.value.code is ErrorCode.MALFORMED


def test_cdata_and_escapes_are_one_tree() -> None:
    assert item("<v><![CDATA[a < b]]></v>") == item("<v>a &lt; b</v>")


def test_ambiguities_name_their_reason() -> None:
    trimmed, unicode_space = bare_item(item("<v> x</v>")), bare_item(item("<v>\xa0x</v>"))
    prefixes = bare_item(item("<v xmlns:x='urn:x'/>"))
    assert ambiguities(trimmed, Reading.STRICT) == {Ambiguity.TRIMMED}
    assert ambiguities(unicode_space, Reading.STRICT) == set()
    assert ambiguities(unicode_space, Reading.LIBERVIA) == {Ambiguity.UNICODE_SPACE}
    assert ambiguities(trimmed, Reading.LIBERVIA) == {Ambiguity.TRIMMED, Ambiguity.UNICODE_SPACE}
    assert ambiguities(prefixes, Reading.STRICT) == {Ambiguity.PREFIXES}
    kept = bare_item(item("<v xml:space='preserve'> x</v>"))
    assert ambiguities(kept, Reading.STRICT) == ambiguities(kept, Reading.LIBERVIA) == set()
    declared = bare_item(item("<v/>", " xmlns:x='urn:x'"))
    assert ambiguities(declared, Reading.STRICT) == {Ambiguity.PREFIXES}


@pytest.mark.parametrize(
    "attribute",
    [" xml:lang='de'", " xml:base='http://evil.example/'", " xml:space='preserve'", " expire='x'"],
)
def test_q_08_what_an_item_says_beside_its_payload_is_signed_and_not_shown(attribute: str) -> None:
    wrapped = bare_item(item("<v> x</v>" if "space" in attribute else "<v/>", attribute))
    for reading in Reading:
        assert ambiguities(wrapped, reading) == {Ambiguity.ITEM_ATTRIBUTES}
    set_by_service = bare_item(item("<v/>", " id='1' publisher='a@b.example/c'"))
    assert ambiguities(set_by_service, Reading.STRICT) == set()


@pytest.mark.parametrize("text", [" x", "x\n", "\t", "\xa0x", "x\u3000", "\u0085"])
def test_a_payload_with_edge_spaces_is_signed_with_preserve(text: str) -> None:
    payload = element("urn:x", "p", {"a": "b"}, element("urn:x", "b", {}, text))
    prepared = prepare(payload)
    assert prepared == replace(
        payload, attributes=(*payload.attributes, Attribute("space", "preserve", ns.XML, "xml"))
    )
    assert prepare(prepared) is prepared


def test_a_payload_without_edge_spaces_stays_as_it_is() -> None:
    for text in ("x y", "\u200bx", "\ufeffx", "a\tb\nc"):
        payload = element("urn:x", "p", {"a": " b "}, text)
        assert prepare(payload) is payload


def test_a_default_on_the_root_gives_way() -> None:
    prepared = prepare(parse_xml("<p xmlns='urn:x' xml:space='default'> x</p>"))
    assert write_xml(prepared) == "<p xmlns='urn:x' xml:space='preserve'> x</p>"


@pytest.mark.parametrize(
    "payload",
    [
        "<x:p xmlns:x='urn:x'/>",
        "<p xmlns='urn:x' xmlns:y='urn:y'/>",
        "<p><b xmlns:y='urn:y'/></p>",
        "<p xmlns:y='urn:y' y:a='b'/>",
        "<p> x<b xml:space='default'> y</b></p>",
        "<p>x<b xml:space='default'>\xa0y</b></p>",
        "<p>a&#13;b</p>",
        "<p>a&#13;</p>",
        "<p a='&#9;'/>",
        "<p><b a='x&#10;y'/></p>",
        "<p a='&#13;'/>",
        f"<item xmlns='{ns.PUBSUB}'><p/></item>",
        f"<item xmlns='{ns.PUBSUB_EVENT}'/>",
    ],
)
def test_q_09_a_payload_outside_the_profile_is_not_signed(payload: str) -> None:
    with pytest.raises(ApiMisuse) as caught:
        prepare(parse_xml(payload))
    assert caught.value.code is ErrorCode.AMBIGUOUS


def test_q_09_neither_is_an_attribute_that_would_need_a_prefix() -> None:
    with pytest.raises(ApiMisuse) as caught:
        prepare(Element("urn:x", "p", (Attribute("a", "b", "urn:y"),)))
    assert caught.value.code is ErrorCode.AMBIGUOUS


def test_x_08_neither_is_one_that_is_too_deep_to_be_wrapped() -> None:
    tree = nested(limits.MAX_PAYLOAD_DEPTH)
    assert prepare(tree) is tree
    with pytest.raises(ApiMisuse) as caught:
        prepare(element("urn:x", "p", {}, tree))
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


def test_x_19_a_prefix_that_the_stanza_declares_is_one_too() -> None:
    stanza = parse_xml(f"<items xmlns='{ns.PUBSUB}' xmlns:x='urn:x'><item><x:p/></item></items>")
    (stored,) = stanza.elements
    with pytest.raises(ApiMisuse) as caught:
        prepare(payload_of(stored))
    assert caught.value.code is ErrorCode.AMBIGUOUS
    assert ambiguities(bare_item(stored), Reading.STRICT) == {Ambiguity.PREFIXES}
    assert readings_for(bare_item(stored)) == (Reading.STRICT,)


@pytest.mark.parametrize(
    "source",
    [
        item(""),
        item("<p/><p/>"),
        item("text<p/>"),
        item("<p/>\xa0"),
        item("<item><p/></item>"),
        item(f"<item xmlns='{ns.PUBSUB_EVENT}'/>"),
        item("<p/>", namespace="jabber:client"),
        parse_xml("<item><p/></item>"),
        parse_xml(f"<items xmlns='{ns.PUBSUB}'><p/></items>"),
    ],
    ids=lambda source: write_xml(source),
)
def test_x_16_an_item_holds_exactly_one_payload(source: Element) -> None:
    for read in (payload_of, bare_item):
        with pytest.raises(PeerMisbehaved) as caught:
            read(source)
        assert caught.value.code is ErrorCode.MALFORMED


def test_x_16_the_payload_is_the_very_tree() -> None:
    source = item("\n <p>x</p>\n")
    assert payload_of(source) is source.elements[0]
    assert bare_item(source).elements[0] is source.elements[0]


def test_a_bare_item_keeps_what_the_service_cannot_set() -> None:
    source = item(
        "\n<p xmlns='urn:x'/> ",
        " id='1' publisher='a@b.example/c' x='y' xmlns:z='urn:z' z:id='2' xml:lang='en'",
        namespace=ns.PUBSUB_EVENT,
    )
    assert write_xml(bare_item(source)) == (
        "<item xmlns:z='urn:z' xmlns='http://jabber.org/protocol/pubsub'"
        " x='y' z:id='2' xml:lang='en'><p xmlns='urn:x'/></item>"
    )
    assert bare_item(bare_item(source)) == bare_item(source)


def test_an_item_in_a_prefixed_stanza_is_the_same_item() -> None:
    prefixed = parse_xml(f"<p:item xmlns:p='{ns.PUBSUB}' id='1'><q xmlns='urn:q'>x</q></p:item>")
    ordinary = bare_item(item("<q xmlns='urn:q'>x</q>"))
    assert bare_item(prefixed).same_content(ordinary)
    assert signed_bytes(bare_item(prefixed), SERVICE, STATEMENT) == signed_bytes(
        ordinary, SERVICE, STATEMENT
    )


def test_x_08_an_item_too_deep_to_be_wrapped_is_refused() -> None:
    tree = nested(limits.MAX_PAYLOAD_DEPTH)
    parse_xml(signed_bytes(bare_item(element(ns.PUBSUB, "item", {}, tree)), SERVICE, STATEMENT))
    deeper = element("urn:x", "p", {}, tree)
    with pytest.raises(PeerMisbehaved) as caught:
        bare_item(element(ns.PUBSUB, "item", {}, deeper))
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


def _without_prefixes(tree: Element, spaces: str) -> Element:
    """Return a tree that is nearly one of the profile, with a text that may have edge spaces."""
    children = [
        _without_prefixes(child, spaces)
        if isinstance(child, Element)
        else f"{spaces}{child.replace(chr(13), '')}x"
        for child in tree.children
    ]
    return Element(
        tree.namespace if tree.namespace != ns.XML else "",
        tree.name,
        tuple(
            replace(each, value=each.value.translate({9: " ", 10: " ", 13: " "}))
            for each in tree.attributes
            if each.namespace in ("", ns.XML)
        ),
        tuple(children),
        declarations=tuple(pair for pair in tree.declarations if not pair[0]),
    )


_SPACES = st.sampled_from(["", " ", "\n", "\xa0"])


@given(tree=elements() | st.builds(_without_prefixes, elements(), _SPACES))
def test_x_17_where_nothing_is_ambiguous_the_bytes_tell_the_item(tree: Element) -> None:
    """They parse to the very item, so that no other item has them."""
    wrapped = bare_item(
        parse_xml(write_xml(element(ns.PUBSUB, "item", {}, replace(tree, name="payload"))))
    )
    for reading in readings_for(wrapped):
        if not ambiguities(wrapped, reading):
            told = parse_xml(signed_bytes(wrapped, SERVICE, STATEMENT, reading)).elements[-1]
            assert replace(told, namespace=ns.PUBSUB).same_content(wrapped)


@given(tree=elements(), spaces=_SPACES)
def test_what_is_prepared_survives_publishing_and_is_plain_by_every_reading(
    tree: Element, spaces: str
) -> None:
    prepared = prepare(_without_prefixes(tree, spaces))
    published = element(ns.PUBSUB, "item", {"id": "1"}, prepared)
    fetched = bare_item(parse_xml(write_xml(published)))
    for reading in Reading:
        assert not ambiguities(fetched, reading)
        assert signed_bytes(fetched, SERVICE, STATEMENT, reading) == signed_bytes(
            bare_item(published), SERVICE, STATEMENT, reading
        )
