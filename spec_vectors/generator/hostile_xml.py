"""Hostile documents: what may go wrong with any XML that is read, whatever it means.

Rule: each takes one sound document and spoils it in one way; the same list serves every boundary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Hostile", "hostile"]

MALFORMED, LIMIT = "malformed", "limit-exceeded"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A document that must be refused.

    Attributes:
        id: what was done to it.
        flag: the attack.
        comment: the same for people.
        document: the octets.
        code: the outcome.
    """

    id: str
    flag: str
    comment: str
    document: bytes
    code: str = MALFORMED


def hostile(sound: str) -> Iterator[Hostile]:
    """Yield ``sound``, an element with a start tag, content and an end tag, spoilt in each way."""
    name = sound[1 : sound.index(" ")]
    cut = sound.index(">") + 1  # just inside the root element

    def octets(what: bytes, place: int = cut) -> bytes:
        return sound[:place].encode() + what + sound[place:].encode()

    def inside(what: str, place: int = cut) -> bytes:
        return octets(what.encode(), place)

    def attribute(what: str) -> bytes:
        return inside(f" {what}", cut - 1)

    def dtd(entities: str, use: str = "") -> bytes:
        return f"<!DOCTYPE {name} [{entities}]>".encode() + inside(use)

    laughs = "<!ENTITY a 'ha'>" + "".join(
        f"<!ENTITY {chr(after)} '{f'&{chr(after - 1)};' * 10}'>" for after in range(98, 106)
    )
    yield from (
        Hostile(
            "external-entity",
            "X-01",
            "an entity that stands for a file of the reader",
            dtd("<!ENTITY x SYSTEM 'file:///etc/passwd'>", "&x;"),
        ),
        Hostile(
            "parameter-entity",
            "X-02",
            "a parameter entity that is fetched over the network",
            dtd("<!ENTITY % x SYSTEM 'http://xml.invalid/x.dtd'> %x;"),
        ),
        Hostile(
            "external-dtd",
            "X-02",
            "a DTD that is fetched over the network",
            f"<!DOCTYPE {name} SYSTEM 'http://xml.invalid/x.dtd'>{sound}".encode(),
        ),
        Hostile("billion-laughs", "X-03", "200 MB of laughter in 700 bytes", dtd(laughs, "&i;")),
        Hostile("doctype", "X-05", "an empty DOCTYPE", f"<!DOCTYPE {name}>{sound}".encode()),
        Hostile("internal-entity", "X-05", "a harmless entity", dtd("<!ENTITY x 'x'>", "&x;")),
        Hostile("unknown-entity", "X-05", "an entity of HTML", inside("&nbsp;")),
        Hostile("comment", "X-06", "a comment", inside("<!-- x -->")),
        Hostile("comment-before", "X-06", "a comment first", b"<!-- x -->" + sound.encode()),
        Hostile("instruction", "X-06", "a processing instruction", inside("<?x y?>")),
        Hostile("instruction-after", "X-06", "an instruction last", sound.encode() + b"<?x y?>"),
        Hostile(
            "xml-declaration", "X-22", "an XML declaration", b"<?xml version='1.0'?>" + inside("")
        ),
        Hostile(
            "declared-encoding",
            "X-22",
            "UTF-8 that says that it is something else",
            b"<?xml version='1.0' encoding='UTF-7'?>" + inside(""),
        ),
        Hostile("utf-16", "X-22", "UTF-16 with a byte order mark", sound.encode("utf-16")),
        Hostile(
            "byte-order-mark", "X-22", "UTF-8 with a byte order mark", b"\xef\xbb\xbf" + inside("")
        ),
        Hostile("invalid-utf-8", "X-22", "an octet that is no UTF-8", octets(b"\xff")),
        Hostile("overlong", "X-22", "an overlong slash", octets(b"\xc0\xaf")),
        Hostile(
            "encoded-surrogates",
            "X-22",
            "a character as two surrogates in UTF-8 (CESU-8)",
            octets(b"\xed\xa0\xbc\xed\xbc\xb9"),
        ),
        Hostile("nul", "X-22", "NUL", inside("\0")),
        Hostile("control-character", "X-22", "a control character", inside("\x01")),
        Hostile("non-character", "X-22", "U+FFFE", inside("\ufffe")),
        Hostile("nul-reference", "X-22", "a reference to NUL", inside("&#0;")),
        Hostile("surrogate-reference", "X-22", "a reference to a surrogate", inside("&#xD83C;")),
        Hostile("large-reference", "X-22", "a reference beyond Unicode", inside("&#x110000;")),
        Hostile(
            "deep",
            "X-08",
            "65 elements inside each other",
            inside("<x>" * 64 + "</x>" * 64),
            LIMIT,
        ),
        Hostile(
            "many-attributes",
            "X-09",
            "65 attributes on an element",
            inside("<x" + "".join(f" a{number}=''" for number in range(65)) + "/>"),
            LIMIT,
        ),
        Hostile(
            "many-declarations",
            "X-09",
            "65 namespace declarations on an element",
            inside("<x" + "".join(f" xmlns:p{number}='urn:x'" for number in range(65)) + "/>"),
            LIMIT,
        ),
        Hostile("long-name", "X-09", "a name of 1025 bytes", inside(f"<{'x' * 1025}/>"), LIMIT),
        Hostile("unbound-prefix", "X-12", "a prefix that is not declared", inside("<p:x/>")),
        Hostile(
            "undeclared-prefix", "X-12", "a prefix that is undeclared", inside("<x xmlns:p=''/>")
        ),
        Hostile(
            "rebound-xml",
            "X-12",
            "the prefix xml for something else",
            inside("<x xmlns:xml='urn:x'/>"),
        ),
        Hostile("twin-attributes", "X-15", "an attribute twice", attribute("twin='a' twin='b'")),
        Hostile(
            "prefixed-twins",
            "X-15",
            "an attribute twice by two prefixes of one namespace",
            attribute("xmlns:p='urn:x' xmlns:q='urn:x' p:twin='a' q:twin='b'"),
        ),
        Hostile("two-roots", "X-28", "two root elements", (sound * 2).encode()),
        Hostile("text-after", "X-28", "text after the root element", sound.encode() + b"x"),
        Hostile("text-before", "X-28", "text before the root element", b"x" + sound.encode()),
        Hostile("nul-after", "X-28", "NUL after the root element", sound.encode() + b"\0"),
        Hostile("cut-short", "X-28", "without its last character", sound[:-1].encode()),
        Hostile("nothing", "X-28", "no octet at all", b""),
        Hostile("only-space", "X-28", "white space alone", b" \n"),
        Hostile("ampersand", "X-28", "an ampersand that is no reference", inside("a & b")),
        Hostile("crossed-tags", "X-28", "tags that cross", inside("<x><y></x></y>")),
    )
