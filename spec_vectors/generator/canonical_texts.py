"""Canonical forms: texts, the white space around them, and whole payloads.

Rule: names and namespaces stand in ``canonical_names``.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.canonical import AS_IT_STANDS, PRESERVED, REFUSED, canonical_case
from spec_vectors.generator.case import Case
from spec_vectors.generator.world import ATOM

__all__ = ["cases"]

_UNICODE_SPACES = (
    ("no-break-space", "\u00a0", PRESERVED),
    ("next-line", "\u0085", PRESERVED),
    ("ogham-space", "\u1680", PRESERVED),
    ("em-space", "\u2003", PRESERVED),
    ("line-separator", "\u2028", PRESERVED),
    ("narrow-space", "\u202f", PRESERVED),
    ("ideographic-space", "\u3000", PRESERVED),
    ("zero-width-space", "\u200b", AS_IT_STANDS),
    ("byte-order-mark", "\ufeff", AS_IT_STANDS),
)
"""What some programs trim, and what only looks as if it were nothing; and how it may be signed."""

_XHTML = "http://www.w3.org/1999/xhtml"


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _characters()
    yield from _trimmed()
    yield from _only_unicode_calls_space()
    yield from _preserved()
    yield from _pairs()
    yield from _payloads()


def _of(inside: str, attributes: str = "") -> str:
    return f"<a xmlns='urn:a'{attributes}>{inside}</a>"


def _form(inside: str, attributes: str = "") -> str:
    return f'<a xmlns="urn:a"{attributes}>{inside}</a>'


def _characters() -> Iterator[Case]:
    for case_id, flag, comment, inside, expected, signable in (
        ("escapes", "INTEROP", "what is escaped in a text, and what is not",
         "&lt;&gt;&amp;&quot;&apos;", "&lt;&gt;&amp;\"'", AS_IT_STANDS),
        ("bare-greater-than", "INTEROP", "one that need not be escaped is", "b > c", "b &gt; c",
         AS_IT_STANDS),
        ("references", "INTEROP", "references are characters", "&#65;&#x42;&#x1F339;", "AB🌹",
         AS_IT_STANDS),
        ("cdata", "X-07", "a CDATA section is text", "<![CDATA[<b>&amp;]]>",
         "&lt;b&gt;&amp;amp;", AS_IT_STANDS),
        ("cdata-inside", "X-07", "and one with the text around it", "b<![CDATA[c]]>d", "bcd",
         AS_IT_STANDS),
        ("cdata-end", "X-07", "the end of a section, in two of them",
         "<![CDATA[b]]]]><![CDATA[>c]]>", "b]]&gt;c", AS_IT_STANDS),
        ("cdata-empty", "X-07", "an empty section", "<![CDATA[]]>", "", AS_IT_STANDS),
        ("line-breaks", "X-20", "all line breaks of a document are line feeds",
         "b\r\nc\rd\ne", "b\nc\nd\ne", AS_IT_STANDS),
        ("carriage-return", "X-20", "a carriage return by reference stays one", "b&#13;c",
         "b&#xD;c", REFUSED),
        ("tab", "X-20", "a tab in a text is itself", "b\tc&#9;d", "b\tc\td", AS_IT_STANDS),
        ("composed", "INTEROP", "characters are not normalised", "\u00e9e\u0301\u212b",
         "\u00e9e\u0301\u212b", AS_IT_STANDS),
        ("control", "INTEROP", "delete and C1 controls are characters", "b\u007fc\u0080d",
         "b\u007fc\u0080d", AS_IT_STANDS),
    ):  # fmt: skip
        yield canonical_case(
            f"text-{case_id}", [flag], comment, _of(inside), _form(expected), signable
        )
    deep = 40
    yield canonical_case(
        "text-deep", ["X-21"], "a text forty elements deep",
        "<a>" * deep + "b" + "</a>" * deep, "<a>" * deep + "b" + "</a>" * deep,
    )  # fmt: skip


def _trimmed() -> Iterator[Case]:
    for case_id, comment, inside, expected in (
        ("spaces", "spaces at both ends", "  b  ", "b"),
        ("tabs", "tabs", "\tb\t", "b"),
        ("line-feeds", "line feeds", "\nb\n", "b"),
        ("mixed", "all kinds at once", " \t\n b \n\t ", "b"),
        ("references", "white space by reference is white space", "&#32;&#10;b&#9;&#32;", "b"),
        ("cdata", "white space in a CDATA section is white space", "<![CDATA[ b ]]>", "b"),
        ("cdata-ends", "sections that are nothing but white space", "<![CDATA[ ]]>b<![CDATA[ ]]>",
         "b"),
        ("inner", "white space between words stays", " b  \n c ", "b  \n c"),
        ("only", "a text of nothing else goes", " \n\t", ""),
        ("indented", "so does what indents", "\n  <b/>\n  <c/>\n", "<b></b><c></c>"),
        ("each-text", "each text of an element for itself", " b <c/> d ", "b<c></c>d"),
        ("unicode-inside", "up to what only Unicode calls white space", " \u00a0 b \u3000 ",
         "\u00a0 b \u3000"),
    ):  # fmt: skip
        yield canonical_case(
            f"trim-{case_id}", ["X-17"], comment, _of(inside), _form(expected), PRESERVED
        )
    yield canonical_case(
        "trim-carriage-return", ["X-17", "X-20"], "a carriage return is white space, too",
        _of("&#13;b&#13;"), _form("b"), REFUSED,
    )  # fmt: skip


def _only_unicode_calls_space() -> Iterator[Case]:
    for name, space, signable in _UNICODE_SPACES:
        yield canonical_case(
            f"keep-{name}", ["X-18"], f"U+{ord(space):04X} around a text stays",
            _of(f"{space}b{space}"), _form(f"{space}b{space}"), signable,
        )  # fmt: skip
    yield canonical_case(
        "keep-only-no-break-space", ["X-18"], "a text of U+00A0 alone stays",
        _of("\u00a0"), _form("\u00a0"), PRESERVED,
    )  # fmt: skip


def _preserved() -> Iterator[Case]:
    keep, trim = " xml:space='preserve'", " xml:space='default'"
    kept, trimmed = ' xml:space="preserve"', ' xml:space="default"'
    for case_id, comment, xml, text, signable in (
        ("text", "nothing is trimmed", _of(" b ", keep), _form(" b ", kept), AS_IT_STANDS),
        ("only", "a text of white space alone stays", _of(" \n", keep), _form(" \n", kept),
         AS_IT_STANDS),
        ("inside", "it holds for what is inside", _of(" <b> c </b> ", keep),
         _form(" <b> c </b> ", kept), AS_IT_STANDS),
        ("ended", "until it is taken back", _of(f" b <c{trim}> d </c> e ", keep),
         _form(f" b <c{trimmed}>d</c> e ", kept), REFUSED),
        ("ended-for-nothing", "taken back where there is nothing to trim",
         _of(f" b <c{trim}>d</c>", keep), _form(f" b <c{trimmed}>d</c>", kept), AS_IT_STANDS),
        ("again", "and said again", _of(f"<b{trim}><c{keep}> d </c></b>", keep),
         _form(f"<b{trimmed}><c{kept}> d </c></b>", kept), AS_IT_STANDS),
        ("default", "the default, and it says so", _of(" b ", trim), _form("b", trimmed),
         PRESERVED),
        ("of-child", "said by a child alone", _of(f"<b{keep}> c </b>"),
         _form(f"<b{kept}> c </b>"), AS_IT_STANDS),
        ("of-child-beside", "it does not hold beside that child", _of(f"<b{keep}> c </b> d "),
         _form(f"<b{kept}> c </b>d"), PRESERVED),
        ("of-empty-child", "nor after an empty one", _of(f"<b{keep}/> c "),
         _form(f"<b{kept}></b>c"), PRESERVED),
        ("attribute-in-none", "space, in no namespace, says nothing",
         _of(" b ", " space='preserve'"), _form("b", ' space="preserve"'), PRESERVED),
    ):  # fmt: skip
        yield canonical_case(f"preserve-{case_id}", ["X-19"], comment, xml, text, signable)


def _pairs() -> Iterator[Case]:
    for case_id, comment, inside, expected, signable in (
        ("sum", "a sum with room before it", "<value>  pay 10</value>", "<value>pay 10</value>",
         PRESERVED),
        ("sum-bare", "the same without", "<value>pay 10</value>", "<value>pay 10</value>",
         AS_IT_STANDS),
        ("code", "a line that is indented", "<pre>    return x</pre>", "<pre>return x</pre>",
         PRESERVED),
        ("words", "words around an element", "<p>Ann <b>owes</b> Bob</p>",
         "<p>Ann<b>owes</b>Bob</p>", PRESERVED),
        ("words-joined", "the same words joined", "<p>Ann<b>owes</b>Bob</p>",
         "<p>Ann<b>owes</b>Bob</p>", AS_IT_STANDS),
        ("line", "a line feed in place of nothing", "<b>\n</b>", "<b></b>", PRESERVED),
    ):  # fmt: skip
        yield canonical_case(
            f"pair-{case_id}", ["X-17"], comment, _of(inside), _form(expected), signable
        )


def _payloads() -> Iterator[Case]:
    yield canonical_case(
        "payload-of-the-specification", ["INTEROP"], "the example of XEP-0475 §5, as it is printed",
        f"""<sign-data>
      <to jid='juliet@capulet.lit' />
      <time stamp='2022-10-16T18:39:03Z' />
      <signer>juliet@capulet.lit</signer>
      <item>
        <entry xmlns='{ATOM}'>
          <author>
            <name>Juliet Capulet</name>
            <uri>xmpp:juliet@capulet.lit</uri>
          </author>
          <title type='text'>She is so pretty! </title>
          <published>2022-10-16T18:39:02Z</published>
        </entry>
      </item>
    </sign-data>""",
        '<sign-data><to jid="juliet@capulet.lit"></to><time stamp="2022-10-16T18:39:03Z"></time>'
        f'<signer>juliet@capulet.lit</signer><item><entry xmlns="{ATOM}"><author>'
        "<name>Juliet Capulet</name><uri>xmpp:juliet@capulet.lit</uri></author>"
        '<title type="text">She is so pretty!</title>'
        "<published>2022-10-16T18:39:02Z</published></entry></item></sign-data>",
        PRESERVED,
    )  # fmt: skip
    yield canonical_case(
        "payload-form", ["INTEROP"], "a data form",
        "<x xmlns='jabber:x:data' type='submit'><field var='a'><value>1 &lt; 2</value>"
        "<value/></field></x>",
        '<x xmlns="jabber:x:data" type="submit"><field var="a"><value>1 &lt; 2</value>'
        "<value></value></field></x>",
    )  # fmt: skip
    yield canonical_case(
        "payload-xhtml", ["INTEROP"], "a post with an XHTML title",
        f"<entry xmlns='{ATOM}' xml:lang='fr'><title type='xhtml'><div xmlns='{_XHTML}'>"
        "<p>Où est <em class='a' >Roméo</em>?</p></div></title></entry>",
        f'<entry xmlns="{ATOM}" xml:lang="fr"><title type="xhtml"><div xmlns="{_XHTML}">'
        '<p>Où est<em class="a">Roméo</em>?</p></div></title></entry>',
        PRESERVED,
    )  # fmt: skip
    yield canonical_case(
        "payload-geolocation", ["INTEROP"], "a place",
        "<geoloc xml:lang='en' xmlns='http://jabber.org/protocol/geoloc'><lat>45.44</lat>"
        "<lon>12.33</lon></geoloc>",
        '<geoloc xmlns="http://jabber.org/protocol/geoloc" xml:lang="en"><lat>45.44</lat>'
        "<lon>12.33</lon></geoloc>",
    )  # fmt: skip
