"""Canonical form: the exact bytes, what is trimmed, what is kept apart, and what it costs.

Rule: single cases; what other canonicalisers say is in ``test_canonical_oracles.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from e2ee import limits, ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml
from signing.canonical import (
    canonical,
    canonical_as_libervia,
    has_prefixes,
    trims,
    trims_as_libervia,
)

UNICODE_SPACES = "\u0085\u00a0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"
NO_SPACES = "\u200b\ufeff\u180e\u2060"  # zero width, or a byte order mark


def strict(source: str) -> str:
    return canonical(parse_xml(source)).decode()


def libervias(source: str) -> str:
    return canonical_as_libervia(parse_xml(source)).decode()


@pytest.mark.parametrize(
    ("source", "form"),
    [
        # Start and end tags: no empty-element tag, one kind of quotes, sorted.
        ("<a  />", "<a></a>"),
        ("<a  b = '1'\n></a >", '<a b="1"></a>'),
        ("<b c='&quot;' a=\"'\"/>", '<b a="\'" c="&quot;"></b>'),
        ("<a xml:lang='de' z='' é='' Z=''/>", '<a Z="" z="" é="" xml:lang="de"></a>'),
        # Attributes by namespace name, not by prefix; without a namespace first.
        (
            "<a xmlns:p='urn:2' xmlns:q='urn:1' p:x='' q:y='' z='' xml:id='i'/>",
            '<a xmlns:p="urn:2" xmlns:q="urn:1" z="" xml:id="i" q:y="" p:x=""></a>',
        ),
        (
            "<a xmlns:p='urn:1' xmlns:q='urn:10' p:b='' q:a=''/>",
            '<a xmlns:p="urn:1" xmlns:q="urn:10" p:b="" q:a=""></a>',
        ),
        # Declarations by prefix, the default one first, before attributes.
        (
            "<p:a xmlns:q='urn:1' xmlns:p='urn:2' b='' q:b='' p:b=''/>",
            '<p:a xmlns:p="urn:2" xmlns:q="urn:1" b="" q:b="" p:b=""></p:a>',
        ),
        (
            "<a q:b='' xmlns:q='urn:1' xmlns='urn:2'/>",
            '<a xmlns="urn:2" xmlns:q="urn:1" q:b=""></a>',
        ),
        # Unused ones go, used ones move to where they are used first.
        ("<a xmlns:p='urn:1'/>", "<a></a>"),
        (
            "<a xmlns:p='urn:1'><p:b/><p:c/></a>",
            '<a><p:b xmlns:p="urn:1"></p:b><p:c xmlns:p="urn:1"></p:c></a>',
        ),
        (
            "<a xmlns='urn:1'><p:b xmlns:p='urn:2'><c/></p:b></a>",
            '<a xmlns="urn:1"><p:b xmlns:p="urn:2"><c></c></p:b></a>',
        ),
        ("<p:a xmlns:p='urn:1' xmlns='urn:2'/>", '<p:a xmlns:p="urn:1"></p:a>'),
        # Superfluous ones go; redeclared ones stay.
        (
            "<a xmlns='urn:1'><b xmlns='urn:1'><c xmlns='urn:2'><d xmlns='urn:1'/></c></b></a>",
            '<a xmlns="urn:1"><b><c xmlns="urn:2"><d xmlns="urn:1"></d></c></b></a>',
        ),
        (
            "<p:a xmlns:p='u:1'><p:b xmlns:p='u:2'><p:c xmlns:p='u:1'/></p:b><p:d/></p:a>",
            '<p:a xmlns:p="u:1"><p:b xmlns:p="u:2"><p:c xmlns:p="u:1"></p:c></p:b>'
            "<p:d></p:d></p:a>",
        ),
        # The default one is undone only where there was one.
        ("<a xmlns=''><b xmlns=''/></a>", "<a><b></b></a>"),
        (
            "<a xmlns='urn:1'><b xmlns=''><c xmlns='urn:1'/></b><d xmlns=''/></a>",
            '<a xmlns="urn:1"><b xmlns=""><c xmlns="urn:1"></c></b><d xmlns=""></d></a>',
        ),
        (
            "<p:a xmlns:p='urn:1'><b/><p:c xmlns='urn:2'><d/></p:c></p:a>",
            '<p:a xmlns:p="urn:1"><b></b><p:c><d xmlns="urn:2"></d></p:c></p:a>',
        ),
        # xml is never declared.
        (
            "<xml:a xmlns:xml='http://www.w3.org/XML/1998/namespace'><b/></xml:a>",
            "<xml:a><b></b></xml:a>",
        ),
        # Nothing is inherited.
        (
            "<a xml:base='http://a.lit/'><b xml:base='../c'/></a>",
            '<a xml:base="http://a.lit/"><b xml:base="../c"></b></a>',
        ),
        # Characters, references and CDATA sections.
        (
            "<a b='&lt;&gt;&amp;&apos;&quot;&#9;&#10;&#13;&#32;'/>",
            '<a b="&lt;>&amp;\'&quot;&#x9;&#xA;&#xD; "></a>',
        ),
        ("<a>&lt;&gt;&amp;&apos;&quot;|&#13;|</a>", "<a>&lt;&gt;&amp;'\"|&#xD;|</a>"),
        ("<a><![CDATA[x > \"0\" && x < '9']]></a>", "<a>x &gt; \"0\" &amp;&amp; x &lt; '9'</a>"),
        ("<a>b<![CDATA[ c ]]>d</a>", "<a>b c d</a>"),
        ("<a b='\t\n'>\r\nb\r\nc\r</a>", '<a b="  ">b\nc</a>'),
        ("<a b='&#xe9;\u0065\u0301'>&#x1F512;</a>", '<a b="ée\u0301">\U0001f512</a>'),
        # An ampersand in a namespace name is one in an attribute.
        ("<a xmlns='u:?a&amp;b'/>", '<a xmlns="u:?a&amp;b"></a>'),
        # Texts are trimmed each, and white space between elements goes.
        (
            "<a>\n  <b>  first   second </b>\t<c/> x <d/> </a>",
            "<a><b>first   second</b><c></c>x<d></d></a>",
        ),
        ("<a> \t\r\n </a>", "<a></a>"),
        ("<a><![CDATA[ ]]> b</a>", "<a>b</a>"),
        ("<a>&#32;&#9;&#10;&#13;b&#13;</a>", "<a>b</a>"),
        # xml:space, for all that is below, until it is said again.
        (
            "<a xml:space='preserve'> <b> c </b>\n</a>",
            '<a xml:space="preserve"> <b> c </b>\n</a>',
        ),
        (
            "<a> <b xml:space='preserve'> <c xml:space='default'> d <e> f </e></c> </b> g </a>",
            '<a><b xml:space="preserve"> <c xml:space="default">d<e>f</e></c> </b>g</a>',
        ),
        # Values are not names: what a prefix in them stands for does not count.
        ("<a xmlns:p='urn:1' t='p:b'>p:c</a>", '<a t="p:b">p:c</a>'),
    ],
)
def test_exact_form(source: str, form: str) -> None:
    assert strict(source) == form
    assert strict(form) == form


def test_the_example_of_the_specification() -> None:
    """XEP-0475 §5, whose example is in no namespace."""
    source = """
    <sign-data>
      <to jid='juliet@capulet.lit' />
      <time stamp='2022-10-16T18:39:03Z' />
      <signer>juliet@capulet.lit</signer>
      <item>
        <entry xmlns='http://www.w3.org/2005/Atom'>
          <title type='text'>She is so pretty! </title>
        </entry>
      </item>
    </sign-data>"""
    assert strict(source) == (
        '<sign-data><to jid="juliet@capulet.lit"></to><time stamp="2022-10-16T18:39:03Z"></time>'
        '<signer>juliet@capulet.lit</signer><item><entry xmlns="http://www.w3.org/2005/Atom">'
        '<title type="text">She is so pretty!</title></entry></item></sign-data>'
    )
    assert libervias(source) == strict(source)


def test_trees_made_by_hand_have_the_form_of_what_is_written() -> None:
    tree = element("urn:1", "a", {}, element("urn:2", "b"), element("", "c", {}, "d"))
    assert canonical(tree) == canonical(parse_xml(write_xml(tree)))
    lang = Element("urn:1", "a", (Attribute("lang", "de", ns.XML),))
    assert canonical(lang) == b'<a xmlns="urn:1" xml:lang="de"></a>'


@pytest.mark.parametrize(
    "tree",
    [
        Element("", "a", (Attribute("b", "", "urn:1"),)),
        Element("urn:1", "a", (Attribute("b", "", "urn:2", "p"),), prefix="p"),
        Element("", "a", (Attribute("b", "", "urn:1", "p"), Attribute("b", "", "urn:2", "p"))),
    ],
    ids=["no prefix", "the element's", "two attributes"],
)
def test_a_tree_that_does_not_say_its_prefixes_has_no_form(tree: Element) -> None:
    root = element("", "root", {}, tree)
    with pytest.raises(PeerMisbehaved) as caught:
        canonical(root)
    assert caught.value.code is ErrorCode.AMBIGUOUS
    with pytest.raises(ApiMisuse):
        canonical_as_libervia(root)


def test_x_18_only_the_white_space_of_xml_is_trimmed() -> None:
    """What Unicode adds stays in the strict form; Libervia's drops it, and says so."""
    for space in UNICODE_SPACES:
        tree = element("", "a", {}, f"{space}b{space}")
        assert canonical(tree).decode() == f"<a>{space}b{space}</a>"
        assert canonical_as_libervia(tree) == b"<a>b</a>"
        assert (trims(tree), trims_as_libervia(tree)) == (False, True)
        assert strict(f"<a> {space} </a>") == f"<a>{space}</a>"
    for character in NO_SPACES:
        tree = element("", "a", {}, f"{character}b{character}")
        assert canonical(tree) == canonical_as_libervia(tree) == write_xml(tree).encode()
        assert not trims_as_libervia(tree)


def test_trimming_is_told() -> None:
    for edge in " \t\r\n":
        for text in (f"{edge}b", f"b{edge}", edge):
            tree = element("", "a", {}, element("", "b", {}, text))
            assert trims(tree)
            assert trims_as_libervia(tree)
    for source in (
        "<a>b c</a>",
        "<a b=' c '/>",
        "<a xml:space='preserve'> <b> </b></a>",
        "<a xml:space='preserve'><b xml:space='default'>c</b> </a>",
    ):
        assert not trims(parse_xml(source))
        assert not trims_as_libervia(parse_xml(source))
    assert trims(parse_xml("<a xml:space='preserve'><b xml:space='default'> c</b></a>"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<a xmlns='urn:u' xmlns:p='urn:u' p:z='1'/>", "<a xmlns='urn:u' z='1'/>"),
        ("<a xmlns='urn:u' xmlns:p='urn:u' p:z='1' z='2'/>", "<a xmlns='urn:u' z='1'/>"),
        (
            "<p:a xmlns:p='urn:u'><q:b xmlns:q='urn:u'/></p:a>",
            "<p:a xmlns:p='urn:u'><p:b/></p:a>",
        ),
        (
            "<a xmlns:q='urn:u' xmlns:p='urn:u'><p:b/><q:b/></a>",
            "<a xmlns:q='urn:u'><q:b/><q:b/></a>",
        ),
        (
            "<p:a xmlns:p='urn:1'><p:b xmlns:p='urn:2'/></p:a>",
            "<p:a xmlns:p='urn:1'><p:b/></p:a>",
        ),
        ("<a xml:lang='de'><b/></a>", "<a xml:lang='de'><b xml:lang='de'/></a>"),
        ("<a xml:base='http://a.lit/'><b/></a>", "<a><b xml:base='http://a.lit/'/></a>"),
        ("<a xml:space='preserve'/>", "<a/>"),
    ],
    ids=["attribute", "both", "prefixes", "siblings", "redeclared", "lang", "base", "space"],
)
def test_x_19_what_differs_in_names_differs_in_form(one: str, other: str) -> None:
    """Other canonicalisers confuse the first four (SECURITY.md X6, X7), and Libervia the fifth."""
    assert strict(one) != strict(other)
    assert parse_xml(strict(one)).same_content(parse_xml(one))


def test_x_19_libervias_form_is_refused_for_prefixes() -> None:
    for source in (
        "<p:a xmlns:p='urn:1'/>",
        "<a xmlns:p='urn:1' t='p:b'/>",
        "<a><b xmlns:p='urn:1' p:c=''/></a>",
    ):
        tree = parse_xml(source)
        assert has_prefixes(tree)
        with pytest.raises(ApiMisuse) as caught:
            canonical_as_libervia(tree)
        assert caught.value.code is ErrorCode.AMBIGUOUS
    for source in ("<a xmlns='urn:1'><b xmlns='' xml:lang=''/></a>", "<xml:a/>"):
        assert not has_prefixes(parse_xml(source))
        assert libervias(source) == strict(source)


def test_x_20_white_space_has_one_form_on_both_sides_of_the_transport() -> None:
    for blank in ("\r", "\n", "\t", "\r\n", "\t\r\n "):
        tree = element("urn:1", "a", {"x": f"{blank}a{blank}"}, f"a{blank}b")
        for ascii_only in (False, True):
            assert canonical(parse_xml(write_xml(tree, ascii_only=ascii_only))) == canonical(tree)


def test_x_20_libervias_form_is_what_its_transport_leaves() -> None:
    tree = element("urn:1", "a", {"x": "\r\n|\r|\n|\t|\n\r"}, "b\r\n|\r|\n|\t|c")
    assert canonical_as_libervia(tree) == b'<a xmlns="urn:1" x=" | | | |  ">b\n|\n|\n|\t|c</a>'


def test_libervia_sorts_xml_attributes_before_what_is_beyond_ascii() -> None:
    source = "<a é='' xml:lang='de' z=''/>"
    assert strict(source) == '<a z="" é="" xml:lang="de"></a>'
    assert libervias(source) == '<a z="" xml:lang="de" é=""></a>'


# What it costs


def wide(size: int) -> Element:
    return element("urn:1", "a", {}, *[element(f"urn:{each % 2}", "b") for each in range(size)])


def texts(size: int) -> Element:
    children: list[Element | str] = []
    for _ in range(size):
        children += [" & ", element("", "b", {"c": "<"})]
    return element("", "a", {}, *children)


def attributes(size: int) -> Element:
    return element("", "a", {f"b{each}": "" for each in range(size)})


def declared(size: int) -> Element:
    """Half as many prefixes as elements, which stay in scope of all that change the default one."""
    held = tuple(Attribute("c", "", f"urn:{each}", f"p{each}") for each in range(size // 2))
    below = tuple(element(f"urn:{each % 2}", "b") for each in range(size // 2))
    return Element("urn:1", "a", held, below)


def deep(size: int) -> Element:
    """As many prefixes, bound ever anew, as there are levels."""
    tree = Element("urn:1", "a", prefix="p")
    for each in range(size):
        name = f"urn:{each % 3}"
        tree = Element(name, "a", (Attribute("b", "", name, "p"),), ("x ", tree), prefix=f"q{each}")
    return tree


def steps(work: Callable[[Element], object], tree: Element) -> int:
    """Return how many lines of our code are run, and how many functions it calls."""
    count = 0

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line if frame.f_code.co_filename == canonical.__code__.co_filename else None

    def call(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    traced, profiled = sys.gettrace(), sys.getprofile()
    sys.settrace(line)
    sys.setprofile(call)
    try:
        work(tree)
    finally:
        sys.setprofile(profiled)
        sys.settrace(traced)
    return count


@pytest.mark.parametrize("work", [canonical, trims, trims_as_libervia, has_prefixes])
@pytest.mark.parametrize("bomb", [wide, texts, attributes, declared, deep])
def test_x_21_the_cost_is_linear(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[Element], object],
    bomb: Callable[[int], Element],
) -> None:
    """Twice as much of it takes twice as many steps, and none of it recurses."""
    monkeypatch.setattr(limits, "MAX_DEPTH", sys.maxsize)
    small, large = bomb(1000), bomb(2000)
    assert steps(work, large) <= 2.01 * steps(work, small)


def test_x_21_namespaces_do_not_multiply() -> None:
    """One long name, used by many that stand side by side, would be written as often."""
    uri, each = "urn:" + "x" * 1000, len("<p:b/>")
    room = limits.MAX_XML_BYTES // len(f' xmlns:p="{uri}"')
    bomb = "".join(["<a xmlns:p='", uri, "'>", "<p:b/>" * (room + 1), "</a>"])
    assert len(bomb) < 50 * 1024
    with pytest.raises(PeerMisbehaved) as caught:
        canonical(parse_xml(bomb))
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    assert len(strict(bomb[: -each - len("</a>")] + "</a>")) <= 2 * limits.MAX_XML_BYTES


def test_x_21_no_depth_is_too_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others overflow their stack, or need minutes (SECURITY.md X5)."""
    monkeypatch.setattr(limits, "MAX_DEPTH", sys.maxsize)
    tree = element("urn:1", "a")
    for _ in range(20_000):
        tree = element("urn:1", "a", {}, tree)
    assert canonical(tree).count(b"</a>") == 20_001
    assert not trims(tree)
