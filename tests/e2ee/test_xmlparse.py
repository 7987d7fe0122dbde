"""Hardened parsing: what is kept, what is refused, and what hostile documents cost.

Rule: every case runs against both parsers; bounds are counted, never timed.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from e2ee import limits, ns, xmlnames, xmlparse
from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from tests.support.source import ROOT
from tests.support.xml import Parse

MALFORMED, LIMIT = ErrorCode.MALFORMED, ErrorCode.LIMIT_EXCEEDED


def refused(parse: Parse, document: bytes | str) -> ErrorCode:
    """Return the code of the one typed error, which must hold nothing of the document."""
    with pytest.raises(PeerMisbehaved) as caught:
        parse(document)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "canary" not in str(caught.value)
    return caught.value.code


@pytest.fixture
def never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no parser see a document."""

    def read(document: bytes, builder: object) -> None:
        pytest.fail("a parser saw it")

    monkeypatch.setattr(xmlparse, "_read_lxml", read)
    monkeypatch.setattr(xmlparse, "_read_expat", read)


# What is kept


def test_prefixes_declarations_and_order_are_kept(parse: Parse) -> None:
    tree = parse(
        b"<a xmlns='u:1' xmlns:q='u:2' xmlns:p='u:2'>t<p:b q:y='1' x='2' p:z='3'>"
        b"<c xmlns='' xml:lang='de'/></p:b>u</a>"
    )
    c = Element("", "c", (Attribute("lang", "de", ns.XML, "xml"),), (), "", (("", ""),))
    given = (
        Attribute("y", "1", "u:2", "q"),
        Attribute("x", "2"),
        Attribute("z", "3", "u:2", "p"),
    )
    b = Element("u:2", "b", given, (c,), "p")
    assert tree == Element(
        "u:1", "a", (), ("t", b, "u"), "", (("", "u:1"), ("q", "u:2"), ("p", "u:2"))
    )


def test_shadowed_prefixes_are_kept_apart(parse: Parse) -> None:
    tree = parse(
        b"<a xmlns:p='u:1' xmlns:q='u:2'><b xmlns:p='u:2' p:x='1' q:y='2'/><c p:x='1' q:y='2'/></a>"
    )
    inner, outer = tree.elements
    assert [(it.prefix, it.namespace) for it in inner.attributes] == [("p", "u:2"), ("q", "u:2")]
    assert [(it.prefix, it.namespace) for it in outer.attributes] == [("p", "u:1"), ("q", "u:2")]


def test_text_is_one_run_whatever_it_was_written_as(parse: Parse) -> None:
    tree = parse("<a>x&amp;<![CDATA[<y>&]] >]]>&#x1F512;\r\n<![CDATA[]]>é</a>")
    assert tree.children == ("x&<y>&]] >\U0001f512\né",)


def test_white_space_in_attributes_is_normalised_unless_referenced(parse: Parse) -> None:
    assert parse("<a b='1\t2\r\n3&#9;&#10;&#13;'/>").get("b") == "1 2 3\t\n\r"


def test_the_declaration_of_xml_is_not_listed(parse: Parse) -> None:
    assert parse(f"<a xmlns:xml='{ns.XML}' xml:lang=''/>").declarations == ()


def test_white_space_around_the_root_is_ignored(parse: Parse) -> None:
    assert parse(b" \t\r\n<a/>\r\n\t ") == element("", "a")


def test_xml_id_is_an_attribute_like_any_other(parse: Parse) -> None:
    tree = parse("<a xml:id=' 1  2 '><b xml:id='q'/><b xml:id='q'/></a>")
    assert tree.get("id", ns.XML) == " 1  2 "


def test_str_and_bytes_are_the_same(parse: Parse) -> None:
    assert parse("<é>名\U0001f512</é>") == parse("<é>名\U0001f512</é>".encode())


@pytest.mark.parametrize("boundary", range(-8, 3))
@pytest.mark.parametrize("letter", ["a", "é"])
def test_chunks_leave_no_trace(parse: Parse, letter: str, boundary: int) -> None:
    """What lxml is fed in pieces is read as a whole, wherever the border falls.

    libxml2 overlooks ``]]>`` in a text that two pieces share.
    """
    head = "<a xmlns='u:1' xmlns:p='u:2'>"
    filler = "x" + letter * ((xmlparse._CHUNK - len(head) + boundary) // len(letter.encode()))
    tail = "]] >\r\n<![CDATA[]&]]>&#13;<p:b p:é='&lt;\r\n'/></a>"
    tree = parse(head + filler + tail)
    assert tree.text == filler + "]] >\n]&\r"
    assert tree.elements[0].attributes == (Attribute("é", "< ", "u:2", "p"),)
    assert refused(parse, f"{head}{filler}]]></a>") is MALFORMED
    assert refused(parse, f"{head}{filler}]]>{filler}</a>") is MALFORMED


def test_the_browser_reads_with_expat_and_all_else_with_lxml(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    for name in ("_read_lxml", "_read_expat"):
        reader: Callable[..., None] = getattr(xmlparse, name)

        def note(*given: object, _name: str = name, _read: Callable[..., None] = reader) -> None:
            read.append(_name)
            _read(*given)

        monkeypatch.setattr(xmlparse, name, note)
    for platform in ("linux", "emscripten", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        assert parse_xml("<a/>") == element("", "a")
    assert read == ["_read_lxml", "_read_expat", "_read_lxml"]


def test_errors_hold_nothing_of_the_document(parse: Parse) -> None:
    for document in ("<canary", "<canary:a/>", "<a canary='1' canary='2'/>", "<a>&canary;</a>"):
        assert refused(parse, document) is MALFORMED


# Names and namespaces


def test_names_are_those_of_expat() -> None:
    """Every code point of the basic plane, at the beginning of a name and inside."""
    from xml.parsers import expat

    def accepts(name: str) -> bool:
        try:
            expat.ParserCreate("utf-8").Parse(f"<{name}/>".encode(), True)
        except expat.ExpatError:
            return False
        return True

    points = [p for p in range(0x21, 0x10000) if not 0xD800 <= p < 0xE000 and chr(p) not in "/:<>"]
    for point in points:
        for name in (chr(point), f"a{chr(point)}"):
            assert bool(xmlnames.NCNAME.fullmatch(name)) == accepts(name), hex(point)


@pytest.mark.parametrize(
    "document",
    [
        "<p:a/>",
        "<a p:b=''/>",
        "<a xmlns:p=''/>",
        "<p:a xmlns:p='u'><b xmlns:p=''/></p:a>",
        "<a xmlns:p='u'><p:b></b></a>",
        "<a xmlns:xml='u'/>",
        "<a xmlns:xmlns='u'/>",
        f"<a xmlns:xmlns='{ns.XMLNS}'/>",
        f"<a xmlns:p='{ns.XML}'/>",
        f"<a xmlns:p='{ns.XMLNS}'/>",
        f"<a xmlns='{ns.XML}'/>",
        f"<a xmlns='{ns.XMLNS}'/>",
        "<xmlns:a/>",
        "<a xmlns:='u'/>",
        "<a xmlns:p:q='u'/>",
        "<a:b:c xmlns:a='u'/>",
        "<:a/>",
        "<a:/>",
        "<p:1 xmlns:p='u'/>",
        "<a xmlns='a b'/>",
        "<a xmlns='u:é'/>",
        "<a xmlns='&#10;'/>",
        "<a xmlns='http://a:b/'/>",
        "<a xmlns='%zz'/>",
        "<a xml:space='no'/>",
        "<\U00010000/>",
    ],
)
@pytest.mark.parametrize("after", ["", "<b xmlns='relative'/>"], ids=["", "then a warning"])
def test_broken_namespaces_are_refused(parse: Parse, document: str, after: str) -> None:
    """Also where something follows that libxml2 warns about, which makes lxml forget the error."""
    assert refused(parse, f"<root>{document}{after}</root>") is MALFORMED


def test_an_error_behind_a_hundred_warnings_is_refused(parse: Parse) -> None:
    """The log of lxml ends after a hundred entries; what causes warnings is bounded below."""
    warnings = "<b xmlns='relative'/>" * limits.MAX_RELATIVE_NAMESPACES
    assert len(parse(f"<a>{warnings}</a>").elements) == limits.MAX_RELATIVE_NAMESPACES
    assert refused(parse, f"<a>{warnings}<c xmlns:p=''/>{warnings}</a>") in (MALFORMED, LIMIT)
    assert refused(parse, f"<a>{warnings * 2}<c/></a>") is LIMIT
    spaces = "<b xml:space='no'/>" * 100
    assert refused(parse, f"<a>{spaces}<c xmlns:p=''/>{spaces}</a>") is MALFORMED


# The attack catalogue

EXTERNAL = "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>"
NETWORK = (
    "<!DOCTYPE a SYSTEM 'http://127.0.0.1:{port}/a.dtd'><a/>",
    "<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://127.0.0.1:{port}/x'>%x;]><a/>",
    "<!DOCTYPE a [<!ENTITY x SYSTEM 'http://127.0.0.1:{port}/x'>]><a>&x;</a>",
    "<?xml-stylesheet href='http://127.0.0.1:{port}/x'?><a/>",
    "<a xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='http://127.0.0.1:{port}/'/></a>",
    "<a xmlns:x='http://www.w3.org/2001/XMLSchema-instance'"
    " x:schemaLocation='http://127.0.0.1:{port}/ http://127.0.0.1:{port}/x'/>",
)


def in_subprocess(code: str) -> str:
    """Run code in a fresh interpreter, which must stay alive; return what it prints."""
    head = (
        "from e2ee import limits, xmlparse\n"
        "from e2ee.errors import PeerMisbehaved\n"
        "def code(read, document):\n"
        "    try: xmlparse._parse(document, read)\n"
        "    except PeerMisbehaved as error: return error.code.value\n"
        "    return 'accepted'\n"
        "both = xmlparse._read_lxml, xmlparse._read_expat\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", head + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_x_01_external_entity_opens_no_file() -> None:
    """An audit hook sees every open and connection; the parsers have been loaded before."""
    out = in_subprocess(
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from e2ee.arrival import Arrival, StanzaKind\n"
        "from e2ee.names import Jid\n"
        "from e2ee.sce import OMEMO, open_envelope\n"
        "for read in both: code(read, '<a/>')\n"
        "arrival = Arrival(StanzaKind.MESSAGE, Jid.parse('a@b'))\n"
        "seen = []\n"
        "watched = ('open', 'os.', 'socket.', 'subprocess.', 'urllib.')\n"
        "sys.addaudithook(lambda name, args: name.startswith(watched) and seen.append(name))\n"
        f"document = {EXTERNAL!r}\n"
        "for read in both: print(code(read, document))\n"
        "inside = document.replace('<a>', '<envelope xmlns=\"urn:xmpp:sce:1\"><content>')\n"
        "inside = inside.replace('</a>', '</content></envelope>').encode()\n"
        "try: open_envelope(inside, arrival, OMEMO, datetime.now(UTC))\n"
        "except PeerMisbehaved as error: print(error.code)\n"
        "print(seen)\n"
        "open('/dev/null').close()\n"
        "print(seen)\n"
    )
    assert out.split("\n")[:5] == ["malformed"] * 3 + ["[]", "['open']"]


def test_x_02_nothing_is_fetched(parse: Parse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for document in NETWORK:
            with suppress(PeerMisbehaved):
                parse(document.format(port=listener.getsockname()[1]))
        with pytest.raises(BlockingIOError):
            listener.accept()
    for document in NETWORK[:4]:
        assert refused(parse, document) is MALFORMED


@pytest.mark.usefixtures("never_read")
def test_x_03_entity_expansion_never_reaches_a_parser() -> None:
    levels = "".join(
        f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" if n else "<!ENTITY l0 'lol'>" for n in range(10)
    )
    quadratic = f"<!DOCTYPE a [<!ENTITY x '{'x' * 50_000}'>]><a>{'&x;' * 50_000}</a>"
    for document in (f"<!DOCTYPE a [{levels}]><a>&l9;</a>", quadratic):
        assert refused(parse_xml, document) is MALFORMED


def test_x_03_entities_without_a_dtd_are_refused(parse: Parse) -> None:
    for document in (
        "<a>&x;</a>",
        "<a>t&nbsp;u</a>",
        "<a b='&x;'/>",
        "<a>&x;<b xmlns='relative'/></a>",
        "<a b='&x;'><b xml:space='default'/></a>",
    ):
        assert refused(parse, document) is MALFORMED


def test_x_04_chain_of_entities_leaves_the_process_alive() -> None:
    out = in_subprocess(
        "chain = ''.join(f'<!ENTITY e{n} \"&e{n + 1};\">' for n in range(60_000))\n"
        "document = f'<!DOCTYPE a [{chain}<!ENTITY e60000 \"x\">]><a>&e0;</a>'\n"
        "print(len(document) > 1_000_000)\n"
        "for read in both: print(code(read, document))\n"
    )
    assert out.split() == ["True", "malformed", "malformed"]


@pytest.mark.parametrize(
    "document",
    [
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a []><a/>",
        "<!doctype a><a/>",
        " <!DOCTYPE a><a/>",
        "<a/><!DOCTYPE a>",
        "<a><!DOCTYPE a></a>",
        "<!ENTITY x 'y'><a/>",
        "<!ATTLIST a b CDATA 'c'><a/>",
        "<!DOCTYPE a [<!ATTLIST a b CDATA 'c'>]><a/>",
        "<a><![CDATA[]]><!DOCTYPE a></a>",
        "<a><![CDATA[<!DOCTYPE a>]]><![CDATA[]]><!DOCTYPE a></a>",
        "<![INCLUDE[<a/>]]>",
        "<a>< !DOCTYPE a></a>",
    ],
)
def test_x_05_doctype_is_refused(parse: Parse, document: str) -> None:
    assert refused(parse, document) is MALFORMED


@pytest.mark.parametrize(
    "document",
    [
        "<!-- c --><a/>",
        "<a/><!-- c -->",
        "<a><!-- c --></a>",
        "<a><!----></a>",
        "<a><?p i?></a>",
        "<?p i?><a/>",
        "<a/><?p?>",
        "<?xml version='1.0'?><a/>",
        "<?xml version='1.0' encoding='utf-8'?><a/>",
        "<a><![CDATA[x]]><?p?></a>",
        "<a><![CDATA[<?]]><!-- <![CDATA[ -->]]></a>",
    ],
)
def test_x_06_comments_and_instructions_are_refused(parse: Parse, document: str) -> None:
    assert refused(parse, document) is MALFORMED


def test_x_07_no_text_is_split_before_a_check(parse: Parse) -> None:
    for split in ("user<!-- -->@x", "user<?p?>@x", "user&#;@x"):
        assert refused(parse, f"<jid>{split}</jid>") is MALFORMED
    whole = parse("<jid>user@x</jid>")
    for same in ("user<![CDATA[@]]>x", "<![CDATA[user@x]]>", "us<![CDATA[]]>er&#64;x"):
        assert parse(f"<jid>{same}</jid>") == whole
    assert parse("<a><![CDATA[<!-- <?p?> <!DOCTYPE a>]]></a>").text == "<!-- <?p?> <!DOCTYPE a>"


def test_x_08_depth_is_bounded_without_recursion() -> None:
    """In a process of its own, since older parsers die of it."""
    out = in_subprocess(
        "for depth in (64, 65, 257, 2_000, 100_000, 1_000_000):\n"
        "    closed = '<a>' * depth + '</a>' * depth if depth < 400_000 else '<a>' * depth\n"
        "    print(depth, *[code(read, closed) for read in both])\n"
    )
    deeper = [f"{depth} limit-exceeded limit-exceeded" for depth in (65, 257, 2000, 10**5, 10**6)]
    assert out.splitlines() == ["64 accepted accepted", *deeper]


def many(name: str, count: int) -> str:
    """Attributes or declarations, numbered."""
    return " ".join(f"{name}{n}='u:'" for n in range(count))


LONG_NAME = "x" * (limits.MAX_NAME_BYTES + 1)
BEYOND_A_CAP = [
    (f"<a>{'<b/>' * 10**6}</a>", "elements"),
    (f"<a>{'<b/>' * limits.MAX_ELEMENTS}</a>", "elements"),
    (f"<a {many('x', 10**5)}/>", "attributes"),
    (f"<a {many('x', limits.MAX_ATTRIBUTES + 1)}/>", "attributes"),
    (f"<a xmlns:p='u' {many('p:x', limits.MAX_ATTRIBUTES + 1)}/>", "attributes"),
    (f"<a {many('xmlns:x', 2 * 10**4)}/>", "declarations"),
    (f"<a {many('xmlns:x', limits.MAX_DECLARATIONS + 1)}/>", "declarations"),
    (f"<a>{'x' * (limits.MAX_TEXT_BYTES + 1)}</a>", "text"),
    (f"<a>{'é' * (limits.MAX_TEXT_BYTES // 2)}x</a>", "text"),
    (f"<a>{'x<![CDATA[x]]>' * 100_000}{'x' * 10**6}</a>", "text"),
    (f"<a b='{'x' * (limits.MAX_TEXT_BYTES + 1)}'/>", "attribute"),
    (f"<{LONG_NAME}/>", "name"),
    (f"<{'é' * (limits.MAX_NAME_BYTES // 2)}x/>", "name"),
    (f"<{'x' * 10**5}/>", "name"),
    (f"<a {LONG_NAME}=''/>", "name"),
    (f"<a {'x' * 10**5}=''/>", "name"),
    (f"<{LONG_NAME}:a xmlns:{LONG_NAME}='u'/>", "name"),
    (f"<a xmlns='u:{LONG_NAME}'>{'<b/>' * 9_000}</a>", "name"),
    (b"<a>" + b"x" * 11 * 1024 * 1024 + b"</a>", "bytes"),
    ("é" * (limits.MAX_XML_BYTES // 2 + 1), "bytes"),
]


@pytest.mark.parametrize(("document", "what"), BEYOND_A_CAP, ids=[what for _, what in BEYOND_A_CAP])
def test_x_09_caps_hold(parse: Parse, document: str | bytes, what: str) -> None:
    """The caps are met early: no more elements are built than allowed."""
    started = 0
    start = xmlparse._Builder.start

    def counted(*given: object) -> None:
        nonlocal started
        started += 1
        start(*given)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xmlparse._Builder, "start", counted)
        with pytest.raises(PeerMisbehaved, match=what) as caught:
            parse(document)
    assert caught.value.code is LIMIT
    assert started <= limits.MAX_ELEMENTS + 1


def test_x_09_what_is_exactly_at_a_cap_is_accepted(parse: Parse) -> None:
    attributes = " ".join(f"x{n}=''" for n in range(limits.MAX_ATTRIBUTES))
    declarations = " ".join(f"xmlns:x{n}='u:'" for n in range(limits.MAX_DECLARATIONS))
    name, text = "x" * limits.MAX_NAME_BYTES, "x" * limits.MAX_TEXT_BYTES
    for document in (
        f"<a {attributes} {declarations}/>",
        f"<{name} {name[:-1]}='{text}'>{text}</{name}>",
        f"<a>{'<b/>' * (limits.MAX_ELEMENTS - 1)}</a>",
        "<a>" * limits.MAX_DEPTH + "</a>" * limits.MAX_DEPTH,
    ):
        assert parse(document)


@pytest.mark.usefixtures("never_read")
def test_x_10_a_huge_token_never_reaches_a_parser() -> None:
    for document in (b"<a b='" + b"x" * 8 * 1024 * 1024, b"<a>" + b"<" * limits.MAX_XML_BYTES):
        assert refused(parse_xml, document) is LIMIT


def test_x_10_screening_is_linear() -> None:
    """However many sections are opened, each byte is passed once."""

    class Counted(bytes):
        passed = 0

        def find(self, what: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
            found = super().find(what, start, len(self) if end is None else end)
            stop = found if found >= 0 else len(self) if end is None else end
            Counted.passed += stop - start
            return found

    many = Counted(b"<a>" + b"<![CDATA[<![CDATA[ ]]>" * 50_000 + b"</a>")
    xmlparse._refuse_declarations(many)
    assert Counted.passed <= 3 * len(many)
    Counted.passed = 0
    with pytest.raises(PeerMisbehaved):
        xmlparse._refuse_declarations(Counted(b"<![CDATA[" * 400_000))
    assert Counted.passed <= 3 * 9 * 400_000


def test_x_12_prefixes_do_not_change_what_is_meant(parse: Parse) -> None:
    plain = parse("<a xmlns='u:1'><b x='1'/><c xmlns='u:2'/><d xmlns=''/></a>")
    for twin in (
        "<p:a xmlns:p='u:1'><p:b x='1'/><q:c xmlns:q='u:2'/><d/></p:a>",
        "<p:a xmlns:p='u:1' xmlns='u:2'><p:b x='1'/><c/><d xmlns=''/></p:a>",
        "<a xmlns='u:1' xmlns:p='u:2'><p:b xmlns:p='u:1' x='1'/><p:c/><d xmlns=''/></a>",
        "<a xmlns='u:1'><b xmlns='u:1' x='1'></b><c xmlns='u:2'/><d xmlns=''/></a>",
    ):
        tree = parse(twin)
        assert tree.same_content(plain)
        assert plain.same_content(tree)
        assert tree != plain
        assert tree.only("u:1", "b").get("x") == "1"
        assert tree.optional("u:1", "c") is None
    for other in (
        "<a xmlns='u:1'><b x='1'/><c/><d xmlns=''/></a>",
        "<a xmlns='u:1'><b x='1'/><c xmlns='u:2'/><d/></a>",
        "<a xmlns='u:1' xmlns:p='u:1'><b p:x='1'/><c xmlns='u:2'/><d xmlns=''/></a>",
    ):
        assert not parse(other).same_content(plain)


@pytest.mark.parametrize(
    "document",
    [
        "<a b='1' b='1'/>",
        "<a b='1' b='2'/>",
        "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
        "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'><c xmlns='relative'/></a>",
        "<a xmlns:p='u'><b xmlns:q='u' p:b='1' q:b='2'/></a>",
        "<a xmlns:p='&#117;' xmlns:q='u' p:b='1' q:b='2'/>",
        "<a xmlns='u' xmlns='v'/>",
        "<a xmlns:p='u' xmlns:p='u'/>",
        "<a xml:lang='de' xml:lang='en'/>",
    ],
)
def test_x_15_duplicate_attributes_are_refused(parse: Parse, document: str) -> None:
    assert refused(parse, document) is MALFORMED


@pytest.mark.parametrize(
    "document",
    [
        b"<a>\xff</a>",
        b"<a>\xc0\xaf</a>",
        b"<a>\xe0\x80\xbc</a>",
        b"<a>\xed\xa0\x80</a>",
        b"<a>\xf4\x90\x80\x80</a>",
        b"<a>\xc3</a>",
        b"<a>\xe9</a>",
        b"<\xff/>",
        b"<a>\x00</a>",
        b"<a/>\x00",
        b"<a>\x01</a>",
        b"<a b='\x0b'/>",
        b"<a>\xef\xbf\xbe</a>",
        b"<a>\xef\xbf\xbf</a>",
        b"<a>&#0;</a>",
        b"<a>&#xD800;</a>",
        b"<a>&#xFFFE;</a>",
        b"<a>&#x110000;</a>",
        b"<a>&#x100000041;</a>",
        b"<a>&#99999999999999999999;</a>",
        "<a/>".encode("utf-16"),
        "<a/>".encode("utf-16-le"),
        "<a/>".encode("utf-16-be"),
        "<a/>".encode("utf-32"),
        b"+ADw-a/+AD4-",
        "<a/>".encode("cp500"),
        b"<?xml version='1.0' encoding='utf-7'?><a>+ADw-</a>",
        b"<?xml version='1.0' encoding='utf-16'?><a/>",
        "<a>\ud800</a>",
        "<a>\x00</a>",
    ],
)
def test_x_22_only_utf_8_and_xml_characters(parse: Parse, document: bytes | str) -> None:
    assert refused(parse, document) is MALFORMED


def test_x_27_what_is_unknown_is_kept_and_ignored(parse: Parse) -> None:
    tree = parse("<a xmlns='u' new='1'><b/><x xmlns='urn:future'><y/></x></a>")
    assert tree.only("u", "b") == Element("u", "b")
    assert tree.get("old") is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"   ",
        b"text",
        b"\xef\xbb\xbf<a/>",
        "\ufeff<a/>",
        b"<a/>\xef\xbb\xbf",
        b"<a/>x",
        b"x<a/>",
        b"<a/><a/>",
        b"<a/> <b/>",
        b"<a/>]]>",
        b"<a/><![CDATA[]]>",
        b"<![CDATA[]]><a/>",
        b"<a/>&#32;",
        b"<a/>\xc2\xa0",
        b"<a/>\xe2\x80\xa8",
        b"<a></a></a>",
        b"<a>",
        b"<a",
        b"</a>",
        b"<a></b>",
        b"<a>]]></a>",
        b"<a b='<'/>",
        b"<a b=c/>",
        b"<a b='1'c='2'/>",
        b"<a><![CDATA[</a>",
        b"< a/>",
    ],
)
def test_x_28_exactly_one_root_and_nothing_else(parse: Parse, document: bytes | str) -> None:
    assert refused(parse, document) is MALFORMED


def test_the_intact_document_is_read_after_every_failure(parse: Parse) -> None:
    for document in ("<a", "<a>" * 100, "<p:a/>", f"<a>{'<b/>' * 10**5}</a>"):
        with pytest.raises(E2eeError):
            parse(document)
        assert parse("<a/>") == element("", "a")


def test_no_absolute_name_is_read_from_parsers_alone(parse: Parse) -> None:
    """Names and prefixes survive where one namespace has two prefixes and a default."""
    document = "<a xmlns='u:1' xmlns:p='u:1' xmlns:q='u:1' p:x='1' q:y='2'><q:b/><p:b/><b/></a>"
    tree = parse(document)
    assert [child.prefix for child in tree.elements] == ["q", "p", ""]
    assert [it.prefix for it in tree.attributes] == ["p", "q"]
    assert re.findall(r"<(\w:b)", document) == [
        f"{child.prefix}:{child.name}" for child in tree.elements if child.prefix
    ]
