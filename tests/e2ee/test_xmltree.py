"""The tree: what it refuses, how it is asked, what it never prints.

Rule: trees made by hand; parsing and writing have their own modules.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from e2ee import limits, ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml


def nested(depth: int) -> Element:
    tree = element("u", "a")
    for _ in range(depth - 1):
        tree = element("u", "a", {}, tree)
    return tree


def test_builder_makes_elements_without_prefixes() -> None:
    tree = element("u", "a", {"x": "1", "y": ""}, "text", element("", "b"))
    assert tree == Element(
        "u", "a", (Attribute("x", "1"), Attribute("y", "")), ("text", Element("", "b"))
    )
    assert element("u", "a") == Element("u", "a")


def test_values_are_frozen_and_hashable() -> None:
    tree = element("u", "a", {"x": "1"}, "text")
    with pytest.raises(FrozenInstanceError):
        tree.name = "b"  # type: ignore[misc]
    assert {tree: 1}[element("u", "a", {"x": "1"}, "text")] == 1
    assert replace(tree, children=()) == element("u", "a", {"x": "1"})


def test_neither_content_nor_values_are_printed() -> None:
    tree = element("u", "a", {"x": "canary"}, "canary", element("", "b"))
    assert repr(tree) == "<Element {u}a, 2 children>"
    assert repr(tree.attributes) == "(<Attribute x>,)"
    assert repr(Attribute("lang", "canary", ns.XML)) == f"<Attribute {{{ns.XML}}}lang>"
    assert "canary" not in f"{tree} {tree!r} {[tree]} {tree.attributes}"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a:b"},
        {"name": "1"},
        {"name": "-a"},
        {"name": "a b"},
        {"name": "a\n"},
        {"name": "a>"},
        {"name": "\U00010000"},
        {"prefix": "p", "namespace": ""},
        {"prefix": "p:q"},
        {"prefix": "xmlns"},
        {"prefix": "xml"},
        {"prefix": "p", "namespace": ns.XML},
        {"namespace": ns.XMLNS},
        {"namespace": "a b"},
        {"namespace": "u:é"},
        {"namespace": "a'b<"},
        {"declarations": (("p", ""),)},
        {"declarations": (("p", "u"), ("p", "v"))},
        {"declarations": (("", "u"), ("", ""))},
        {"declarations": (("1", "u"),)},
        {"declarations": (("xml", ns.XML),)},
        {"declarations": (("xmlns", "u"),)},
        {"declarations": (("p", ns.XML),)},
        {"declarations": (("", ns.XMLNS),)},
        {"declarations": (("p", "a b"),)},
        {"children": ("",)},
        {"children": ("a", "b")},
        {"children": (Element("u", "b"), "a", "b")},
        {"children": ("a\x00",)},
        {"children": ("\ufffe",)},
        {"children": ("\ud800",)},
        {"attributes": (Attribute("x", "1"), Attribute("x", "2"))},
        {"attributes": (Attribute("x", "1", "u", "p"), Attribute("x", "2", "u", "q"))},
    ],
    ids=repr,
)
def test_what_could_not_be_written_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ApiMisuse) as caught:
        Element(**{"namespace": "u", "name": "a", **fields})
    assert caught.value.code is ErrorCode.API_MISUSE


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "xmlns"},
        {"name": "p:x"},
        {"value": "\x01"},
        {"prefix": "p"},
        {"namespace": ns.XMLNS},
        {"namespace": "u", "prefix": "xml"},
        {"namespace": ns.XML, "prefix": "p"},
        {"namespace": ns.XML, "name": "space"},
    ],
    ids=repr,
)
def test_attributes_that_could_not_be_written_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ApiMisuse):
        Attribute(**{"name": "x", "value": "", **fields})


@pytest.mark.parametrize(
    "uri",
    [
        *(value for name, value in vars(ns).items() if name.isupper() and name != "XMLNS"),
        "eu.siacs.conversations.axolotl",
        "vcard-temp",
        "storage:bookmarks",
        "DAV:",
        "http://jabber.org/protocol/pubsub#event",
        "http://x.example:8080/a//b?c=%20&d='e'#f/g?h",
        "urn:xmpp:openpgp:pubsub:0",
        "//host/path",
        "?q",
        "#f",
    ],
)
def test_namespaces_in_use_are_accepted(uri: str) -> None:
    assert Element(uri, "a").namespace == uri


def test_text_and_elements() -> None:
    tree = element("u", "a", {}, "x", element("u", "b", {}, "inner"), "y")
    assert tree.text == "xy"
    assert tree.elements == (element("u", "b", {}, "inner"),)
    assert tree.is_("u", "a")
    assert not tree.is_("", "a")
    assert not tree.is_("u", "b")


def test_x_07_text_of_a_leaf_is_not_read_around_elements() -> None:
    assert element("u", "a", {}, "user@x").leaf_text() == "user@x"
    assert element("u", "a").leaf_text() == ""
    with pytest.raises(PeerMisbehaved) as caught:
        element("u", "a", {}, "user", element("u", "b"), "@x").leaf_text("XEP-0473 §5.1")
    assert caught.value.code is ErrorCode.MALFORMED
    assert caught.value.rule == "XEP-0473 §5.1"


def test_required_attribute() -> None:
    tree = element("u", "a", {"jid": "canary"})
    assert tree.require("jid") == "canary"
    with pytest.raises(PeerMisbehaved) as caught:
        tree.require("node", "XEP-0473 §5.1")
    assert caught.value.code is ErrorCode.MALFORMED
    assert caught.value.rule == "XEP-0473 §5.1"
    assert "canary" not in str(caught.value)


def test_x_08_trees_made_by_hand_are_bounded_too() -> None:
    """So that no recursion over a tree can run away: copying, comparing, hashing, writing."""
    deepest = nested(limits.MAX_DEPTH)
    assert deepest.depth == limits.MAX_DEPTH
    with pytest.raises(ApiMisuse):
        element("u", "a", {}, deepest)
    with pytest.raises(ApiMisuse):
        replace(element("u", "a"), children=(deepest,))
    for twin in (copy.deepcopy(deepest), pickle.loads(pickle.dumps(deepest))):
        assert twin == deepest
        assert hash(twin) == hash(deepest)
        assert twin.same_content(deepest)
        assert write_xml(twin) == write_xml(deepest)
        assert twin.unprefixed() == deepest
        assert repr(twin) == repr(deepest)


def test_x_11_children_are_found_by_namespace() -> None:
    tree = element("u", "a", {}, element("", "b"), element("evil", "b"))
    assert tree.find_all("u", "b") == ()
    assert tree.optional("u", "b") is None
    with pytest.raises(PeerMisbehaved) as caught:
        tree.only("u", "b")
    assert caught.value.code is ErrorCode.MALFORMED


def test_x_13_attributes_of_namespaces_are_other_attributes() -> None:
    tree = Element("u", "a", (Attribute("jid", "evil", "u", "p"),), prefix="p")
    assert tree.get("jid") is None
    assert tree.get("jid", "u") == "evil"
    with pytest.raises(PeerMisbehaved):
        tree.require("jid")
    both = replace(tree, attributes=(*tree.attributes, Attribute("jid", "good")))
    assert both.require("jid") == "good"
    assert not both.same_content(tree)
    assert not tree.same_content(element("u", "a", {"jid": "evil"}))


def test_x_14_of_duplicates_none_is_taken() -> None:
    one, two = element("u", "to", {"jid": "a"}), element("u", "to", {"jid": "b"})
    single = element("u", "a", {}, one, element("v", "to"))
    assert single.only("u", "to") == single.optional("u", "to") == one
    for doubled in (element("u", "a", {}, one, two), element("u", "a", {}, one, one)):
        assert len(doubled.find_all("u", "to")) == 2
        for ask in (doubled.only, doubled.optional):
            with pytest.raises(PeerMisbehaved) as caught:
                ask("u", "to", "XEP-0420 §4")
            assert caught.value.code is ErrorCode.MALFORMED
            assert caught.value.rule == "XEP-0420 §4"


def test_same_content_sees_values_children_and_their_order() -> None:
    tree = element("u", "a", {"x": "1", "y": "2"}, "t", element("u", "b"))
    assert tree.same_content(element("u", "a", {"y": "2", "x": "1"}, "t", element("u", "b")))
    for other in (
        element("v", "a", {"x": "1", "y": "2"}, "t", element("u", "b")),
        element("u", "b", {"x": "1", "y": "2"}, "t", element("u", "b")),
        element("u", "a", {"x": "1", "y": "3"}, "t", element("u", "b")),
        element("u", "a", {"x": "1"}, "t", element("u", "b")),
        element("u", "a", {"x": "1", "y": "2"}, "u", element("u", "b")),
        element("u", "a", {"x": "1", "y": "2"}, element("u", "b"), "t"),
        element("u", "a", {"x": "1", "y": "2"}, "t"),
        element("u", "a", {"x": "1", "y": "2"}, "t", element("u", "b", {}, "x")),
    ):
        assert not tree.same_content(other)


def test_unprefixed_keeps_what_text_may_refer_to() -> None:
    tree = Element(
        "u:1",
        "a",
        (Attribute("x", "1", "u:2", "q"),),
        (Element("u:2", "b", prefix="q"), "q:name"),
        "p",
        (("", "u:0"), ("p", "u:1"), ("q", "u:2")),
    )
    plain = tree.unprefixed()
    assert plain.prefix == plain.elements[0].prefix == ""
    assert plain.declarations == (("p", "u:1"), ("q", "u:2"))
    assert plain.same_content(tree)
