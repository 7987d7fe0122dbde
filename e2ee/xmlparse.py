"""Hardened XML in: bytes of any origin become an :class:`Element`, or one typed error.

Rule: the only file below the roof that knows an XML parser. Two read, lxml natively and expat in
the browser, and both only report to :class:`_Builder`. It and the tree have all the checks; nothing
rests on a parser's own, and a fuzz test holds both to the same trees.

Only what a stanza may hold is XML here (RFC 6120 §11): one root element with nothing but white
space around it, strict UTF-8, no XML declaration, DTD, comment or processing instruction.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.xmlnames import ABSOLUTE
from e2ee.xmltree import Attribute, Element

__all__ = ["parse_xml"]

_RULE: Final = "RFC 6120 §11"
_CHUNK: Final = 64 * 1024  # bytes, or a text more, that lxml reads before the builder has its say
_SEPARATOR: Final = "\x01"  # between the parts of expat's names; cannot occur in XML itself


def parse_xml(source: bytes | str) -> Element:
    """Parse a document.

    Prefixes and declarations are kept as written; a CDATA section is text like any other.

    Args:
        source: a stanza's worth of XML; bytes are UTF-8 without a byte order mark. White space
            (XML S) before and after the root element is ignored.

    Raises:
        PeerMisbehaved: ``malformed`` for what is not namespace-well-formed or not allowed in a
            stanza; ``limit-exceeded`` beyond a bound of :mod:`e2ee.limits`.
    """
    return _parse(source, _read_expat if sys.platform == "emscripten" else _read_lxml)


def _parse(source: bytes | str, read: Callable[[bytes, _Builder], None]) -> Element:
    document = _screened(source)
    builder = _Builder()
    try:
        read(document, builder)
    except ApiMisuse:  # the tree refuses what could not be written again; here a peer wrote it
        _malformed("XML that is not namespace-well-formed")
    return builder.root if builder.root is not None else _malformed("XML without an element")


def _malformed(what: str) -> NoReturn:
    raise PeerMisbehaved(ErrorCode.MALFORMED, what, rule=_RULE) from None


def _exceeded(what: str, bound: int) -> NoReturn:
    raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, f"XML with more than {bound} {what}") from None


def _screened(source: bytes | str) -> bytes:
    """Return the document as bytes that no parser can read in a second way."""
    if len(source) > limits.MAX_XML_BYTES:
        _exceeded("bytes", limits.MAX_XML_BYTES)
    try:
        document = source.encode() if isinstance(source, str) else source
        if isinstance(source, bytes):
            source.decode()
    except UnicodeError:
        _malformed("XML that is not UTF-8")
    if len(document) > limits.MAX_XML_BYTES:
        _exceeded("bytes", limits.MAX_XML_BYTES)
    if document.startswith(b"\xef\xbb\xbf") or b"\0" in document:
        _malformed("XML with a byte order mark or NUL")
    _refuse_declarations(document)
    return document


def _refuse_declarations(document: bytes) -> None:
    """Refuse every ``<!`` and ``<?`` outside CDATA sections, so that none reaches a parser."""
    outside = 0
    while True:
        markup = document.find(b"<!", outside)
        if document.find(b"<?", outside, markup if markup >= 0 else len(document)) >= 0:
            _malformed("XML with a declaration or processing instruction")
        if markup < 0:
            return
        end = document.find(b"]]>", markup)
        if end < 0 or not document.startswith(b"<![CDATA[", markup):
            _malformed("XML with a DTD, a comment or an open CDATA section")
        outside = end + len(b"]]>")


def _is_longer(text: str, bound: int) -> bool:
    """Say whether ``text`` has more than ``bound`` bytes of UTF-8, mostly without encoding it."""
    return len(text) > bound or (len(text) * 4 > bound and len(text.encode()) > bound)


def _bound_attributes(count: int) -> None:
    """Ask this before collecting attributes: what lxml does then is quadratic."""
    if count > limits.MAX_ATTRIBUTES:
        _exceeded("attributes on an element", limits.MAX_ATTRIBUTES)


@lru_cache(maxsize=1024)  # the same few names come again and again
def _bound_name(namespace: str, name: str, prefix: str) -> None:
    for part in (namespace, name, prefix):
        if _is_longer(part, limits.MAX_NAME_BYTES):
            _exceeded("bytes in a name", limits.MAX_NAME_BYTES)


class _Builder:
    """Makes the tree out of a parser's events, within the bounds, as early as they are met."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[tuple[Any, ...]] = []  # an Element's arguments, its children as a list
        self._children: list[Element | str] = []  # of the innermost open element
        self._text: list[str] = []
        self._elements = 0
        self._relative = 0

    def start(
        self,
        name: tuple[str, str, str],
        attributes: Sequence[tuple[tuple[str, str, str], str]],
        declarations: Sequence[tuple[str, str]],
    ) -> None:
        """Open an element; a name is namespace, local name and prefix."""
        if self._text:
            self._end_text()
        self._elements += 1
        if self._elements > limits.MAX_ELEMENTS:
            _exceeded("elements", limits.MAX_ELEMENTS)
        if len(self._open) >= limits.MAX_DEPTH:
            _exceeded("nested elements", limits.MAX_DEPTH)
        _bound_name(*name)
        declared = self._declared(declarations) if declarations else ()
        self._children = []
        self._open.append((name, _made(attributes), self._children, declared))

    def text(self, data: str) -> None:
        """Add character data, which may come in pieces."""
        self._text.append(data)

    def end(self) -> None:
        """Close the innermost element."""
        if self._text:
            self._end_text()
        (namespace, name, prefix), attributes, children, declarations = self._open.pop()
        made = Element(namespace, name, attributes, tuple(children), prefix, declarations)
        if self._open:
            self._children = self._open[-1][2]
            self._children.append(made)
        else:
            self.root = made

    def _declared(self, declarations: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        if len(declarations) > limits.MAX_DECLARATIONS:
            _exceeded("namespace declarations on an element", limits.MAX_DECLARATIONS)
        for prefix, uri in declarations:
            _bound_name(uri, "", prefix)
            self._relative += not ABSOLUTE.match(uri)
        if self._relative > limits.MAX_RELATIVE_NAMESPACES:
            _exceeded("namespaces without a scheme", limits.MAX_RELATIVE_NAMESPACES)
        return tuple([pair for pair in declarations if pair[0] != "xml"])  # bound in any case

    def _end_text(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if _is_longer(text, limits.MAX_TEXT_BYTES):
            _exceeded("bytes in a text", limits.MAX_TEXT_BYTES)
        self._children.append(text)


def _made(attributes: Sequence[tuple[tuple[str, str, str], str]]) -> tuple[Attribute, ...]:
    if not attributes:
        return ()
    made = []
    for (namespace, name, prefix), value in attributes:
        _bound_name(namespace, name, prefix)
        if _is_longer(value, limits.MAX_TEXT_BYTES):
            _exceeded("bytes in an attribute", limits.MAX_TEXT_BYTES)
        made.append(Attribute(name, value, namespace, prefix))
    return tuple(made)


def _read_lxml(document: bytes, builder: _Builder) -> None:
    from lxml import etree

    parser = etree.XMLPullParser(
        events=("start-ns", "start", "end"),
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        collect_ids=False,  # nor judge xml:id, as expat does not either
    )
    open_nodes: list[list[Any]] = []  # of each open element: its node, its last closed child
    declarations: list[tuple[str, str]] = []

    def report() -> None:
        for event, node in parser.read_events():
            if event == "start-ns":
                declarations.append(node)
                continue
            if open_nodes:
                parent, last = open_nodes[-1]
                text = parent.text if last is None else last.tail
                if text:
                    builder.text(text)
            if event == "start":
                name = (*_split(node.tag), node.prefix or "")
                builder.start(name, _attributes(node), declarations)
                declarations.clear()
                open_nodes.append([node, None])
            else:
                builder.end()
                open_nodes.pop()
                if open_nodes:
                    open_nodes[-1][1] = node

    failed = False
    try:
        begin = 0
        while begin < len(document):
            # Cut before a "<": libxml2 overlooks "]]>" in a text that two pieces share.
            end = document.find(b"<", begin + _CHUNK)
            piece = document[begin:end] if end >= 0 else document[begin:]
            parser.feed(piece)
            report()
            begin += len(piece)
        parser.close()
    except etree.XMLSyntaxError as error:
        failed = True
        if error.code in (etree.ErrorTypes.ERR_NAME_TOO_LONG, etree.ErrorTypes.ERR_RESOURCE_LIMIT):
            report()  # ours are lower: what was read so far says which one was broken
            _exceeded("bytes in a name", limits.MAX_NAME_BYTES)
    report()
    # A namespace error that is followed by a mere warning does not make lxml fail. The log keeps
    # the first hundred entries only; xml:space and MAX_RELATIVE_NAMESPACES keep warnings below.
    if failed or (parser.feed_error_log and parser.feed_error_log.filter_from_errors()):
        _malformed("XML that is not well-formed")


def _split(clark: str) -> tuple[str, str]:
    namespace, _, name = clark.rpartition("}")
    return namespace[1:], name


def _attributes(node: Any) -> list[tuple[tuple[str, str, str], str]]:
    count = len(node.attrib)
    if not count:
        return []
    _bound_attributes(count)
    found = node.items()
    if not any(key[0] == "{" for key, _ in found):
        return [(("", key, ""), value) for key, value in found]
    written = _qualified_names(count)(node).split(" ")  # lxml hides attributes' prefixes
    return [
        ((*_split(key), prefix if colon else ""), value)
        for (key, value), (prefix, colon, _) in zip(
            found, [name.partition(":") for name in written], strict=True
        )
    ]


@lru_cache(maxsize=limits.MAX_ATTRIBUTES)
def _qualified_names(count: int) -> Any:
    from lxml import etree

    names = ", ' ', ".join(f"name(@*[{position}])" for position in range(1, count + 1))
    return etree.XPath(f"concat({names}, '')")


def _read_expat(document: bytes, builder: _Builder) -> None:
    from xml.parsers import expat

    declarations: list[tuple[str, str]] = []

    def declare(prefix: str | None, uri: str | None) -> None:
        declarations.append((prefix or "", uri or ""))

    def start(name: str, flat: list[str]) -> None:
        _bound_attributes(len(flat) // 2)
        attributes = [
            (_unjoin(key), value) for key, value in zip(flat[::2], flat[1::2], strict=True)
        ]
        builder.start(_unjoin(name), attributes, declarations)
        declarations.clear()

    parser = expat.ParserCreate("utf-8", _SEPARATOR)
    parser.namespace_prefixes = True
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartNamespaceDeclHandler = declare
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: builder.end()
    parser.CharacterDataHandler = builder.text
    try:
        parser.Parse(document, True)  # at once: old releases read a token again for every piece
    except expat.ExpatError:
        _malformed("XML that is not well-formed")


def _unjoin(joined: str) -> tuple[str, str, str]:
    parts = joined.split(_SEPARATOR)
    if len(parts) == 1:
        return "", joined, ""
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""
