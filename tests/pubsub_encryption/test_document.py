"""What of an item is found by its words: of an Atom entry, and of anything else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits, ns
from e2ee.search import Document
from e2ee.xmlnames import NOT_CHAR
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from pubsub_encryption.document import document_of
from tests.support.cached_items import BLOG, NOW, by_device, by_member

KEY = ("juliet@capulet.lit", "cache", "item", "a", "b", "1")
POST = """<entry xmlns='http://www.w3.org/2005/Atom' xml:lang='fr'>
  <title type='text'>La rose</title>
  <title type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'>La <b>rose</b></div></title>
  <summary>La rose</summary>
  <content type='html'>&lt;p&gt;Elle a v&amp;eacute;cu&lt;br/&gt;ce que vivent &lt;/p&gt;</content>
  <content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><p>L'espace</p>d'un matin</div>
  </content>
  <author><name>Malherbe</name><uri>xmpp:malherbe@lit.example</uri></author>
  <category term='stances'/><category/><category term='deuil'/>
  <published>2026-01-02T03:04:05+01:00</published>
  <updated>2026-05-06T07:08:09Z</updated>
</entry>"""


def found(payload: str | Element) -> Document:
    payload = parse_xml(payload) if isinstance(payload, str) else payload
    return document_of(KEY, replace(by_member("1", "x"), payload=payload))


def atom(*children: Element) -> Element:
    return element(ns.ATOM, "entry", None, *children)


def test_an_entry() -> None:
    document = found(POST)
    assert document.key == KEY
    assert document.node == BLOG
    assert document.title == "La rose"
    assert document.text.split() == [
        *("La", "rose", "Elle", "a", "vécu", "ce", "que", "vivent"),
        *("L'espace", "d'un", "matin"),
    ]
    assert document.author == "malherbe@lit.example"
    assert document.categories == ("stances", "deuil")
    assert document.published == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert document.language == "fr"


def test_markup_that_is_written_about_is_text() -> None:
    content = element(ns.ATOM, "content", {"type": "html"}, "<p>the tag &lt;b&gt;</p>")
    assert found(atom(content)).text == "the tag <b>"


def test_a_proven_sender_counts_before_what_is_claimed() -> None:
    item = replace(by_device("1", "x"), payload=parse_xml(POST))
    assert document_of(KEY, item).author == "romeo@montague.lit"
    assert document_of(KEY, replace(item, payload=atom())).published == item.time


def test_what_is_no_entry_is_its_text() -> None:
    document = found("<event xmlns='urn:e'><name>Bal</name><at>chez<b>Capulet</b></at>! </event>")
    assert document.title == ""
    assert document.text.split() == ["Bal", "chez", "Capulet", "!"]
    assert (document.author, document.categories, document.published) == (None, (), None)


def test_what_is_wrong_is_passed_over() -> None:
    name = "n" * (limits.MAX_DOCUMENT_NAME_CHARS + 1)
    document = found(
        atom(
            element(ns.ATOM, "author", None, element(ns.ATOM, "name", None, name)),
            element(ns.ATOM, "author", None, element(ns.ATOM, "name", None, "Nurse")),
            element(ns.ATOM, "category", {"term": name}),
            *(element(ns.ATOM, "category", {"term": f"{number}"}) for number in range(100)),
            element(ns.ATOM, "published", None, "yesterday"),
            element(ns.ATOM, "updated", None, "2026-11-23T12:00:00Z"),
        )
    )
    assert document.author == "Nurse"
    assert document.categories == tuple(map(str, range(limits.MAX_CATEGORIES)))
    assert document.published == NOW


def test_of_a_long_one_the_beginning() -> None:
    long = "x" * limits.MAX_DOCUMENT_CHARS + "y"
    title, content = element(ns.ATOM, "title", None, long), element(ns.ATOM, "content", None, long)
    document = found(atom(title, content))
    assert (document.title, document.text) == (long[:-1], "")
    document = found(atom(element(ns.ATOM, "title", None, "short"), content))
    assert len(document.title + document.text) == limits.MAX_DOCUMENT_CHARS


@given(
    text=st.one_of(
        st.text(),
        st.sampled_from(
            ["&#1;", "&#xFFFE;", "&#xD800;", "&#0;", "&nosuch;", "a&#12;b", "<", "<<>"]
        ),
        st.text("<>&#x;01aBD/ "),
    ).filter(lambda text: not NOT_CHAR.search(text)),
    kind=st.sampled_from(["html", "text", "xhtml", "", "text/html"]),
)
def test_markup_of_any_kind_is_plain_text(text: str, kind: str) -> None:
    """A document refuses what is no text of XML, and a page of items must not fail by one."""
    title = element(ns.ATOM, "title", {"type": kind}, *([text] if text else []))
    document = found(atom(title))
    assert kind.endswith("html") or document.title == text.strip()
