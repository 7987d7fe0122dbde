"""Atom feeds from disk (RFC 4287): a file of any origin becomes entries that stand on their own.

Rule: reading only. Files are not stanzas: they may have an XML declaration, comments, processing
instructions and other encodings, all of which lxml takes away here; what is left must pass
``parse_xml`` like everything else. No DTD, no entity, no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

from lxml import etree

from e2ee import ns
from e2ee.errors import E2eeError
from e2ee.ports import Primitives
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element

__all__ = ["EXAMPLE", "MAX_FEED_BYTES", "Feed", "FeedError", "FeedFault", "read_feed", "repeat"]

EXAMPLE: Final = Path(__file__).with_name("examples") / "blog.atom"
"""The feed that is shipped."""

MAX_FEED_BYTES: Final = 32 * 1024 * 1024  # bytes of a file; ten years of a busy blog have less

_FEED: Final = f"{{{ns.ATOM}}}feed"
_ENTRY: Final = f"{{{ns.ATOM}}}entry"
_AUTHOR: Final = f"{{{ns.ATOM}}}author"
_SOURCE: Final = f"{{{ns.ATOM}}}source"
_BASE: Final = f"{{{ns.XML}}}base"
_LANG: Final = f"{{{ns.XML}}}lang"


class FeedFault(StrEnum):
    """What is wrong with a feed file."""

    UNREADABLE = "unreadable"
    TOO_LARGE = "too-large"
    NOT_XML = "not-xml"
    NOT_ATOM = "not-atom"
    NO_ENTRIES = "no-entries"
    BAD_ENTRY = "bad-entry"


class FeedError(Exception):
    """A file that cannot be used as a feed.

    Attributes:
        fault: what is wrong with it.
    """

    def __init__(self, fault: FeedFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed that was read.

    Attributes:
        entries: in the order of the file, at least one; each has what it inherited from the feed.
    """

    entries: tuple[Element, ...] = field(repr=False)


def read_feed(path: Path) -> Feed:
    """Read an Atom feed document, or an Atom entry document as a feed of one.

    Each entry gets what counted for it because of where it stood: namespace declarations,
    ``xml:base``, ``xml:lang`` and, where it names none, the feed's authors (RFC 4287 §2, §4.2.1).

    Raises:
        FeedError: the file cannot be read, is too large, no XML, no Atom, or has no usable entry.
    """
    root = _parse(_read(path), path)
    if root.tag == _ENTRY:
        found = [root]
    elif root.tag == _FEED:
        found = root.findall(_ENTRY)
    else:
        name = root.tag.rpartition("}")[2]
        raise FeedError(FeedFault.NOT_ATOM, f"{path}: not an Atom feed, its root is <{name}>")
    if not found:
        raise FeedError(FeedFault.NO_ENTRIES, f"{path}: a feed without entries")
    return Feed(tuple(_standalone(entry, path, number) for number, entry in enumerate(found, 1)))


def repeat(entries: Sequence[Element], count: int, primitives: Primitives) -> tuple[Element, ...]:
    """Return ``count`` entries; where they run out, the first ones again under fresh ids."""
    return tuple(
        entry if number < len(entries) else _with_id(entry, _fresh_id(primitives))
        for number, entry in enumerate(islice(cycle(entries), count))
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FEED_BYTES + 1)
    except OSError as error:
        raise FeedError(FeedFault.UNREADABLE, f"{path}: {error.strerror}") from None
    if len(raw) > MAX_FEED_BYTES:
        raise FeedError(FeedFault.TOO_LARGE, f"{path}: larger than {MAX_FEED_BYTES} bytes")
    return raw


def _parse(raw: bytes, path: Path) -> Any:
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        collect_ids=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        reason = str(error).partition("\n")[0] or "empty"
        raise FeedError(FeedFault.NOT_XML, f"{path}: not XML: {reason}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise FeedError(FeedFault.NOT_XML, f"{path}: has a document type declaration, refused")
    return root


def _standalone(entry: Any, path: Path, number: int) -> Element:
    feed = entry.getparent()
    if feed is not None:
        base = _base(feed.get(_BASE, ""), entry.get(_BASE, ""), path, number)
        if base:
            entry.set(_BASE, base)
        if _LANG in feed.attrib and _LANG not in entry.attrib:
            entry.set(_LANG, feed.get(_LANG))
        if entry.find(_AUTHOR) is None and entry.find(f"{_SOURCE}/{_AUTHOR}") is None:
            for author in map(deepcopy, feed.findall(_AUTHOR)):
                author.tail = None
                entry.append(author)
    try:
        # lxml declares on the entry what was in scope around it.
        return parse_xml(etree.tostring(entry, encoding="unicode", with_tail=False))
    except E2eeError as error:
        raise FeedError(FeedFault.BAD_ENTRY, f"{path}: entry {number}: {error}") from None


def _base(outer: str, inner: str, path: Path, number: int) -> str:
    try:
        return urljoin(outer, inner)
    except ValueError:
        raise FeedError(
            FeedFault.BAD_ENTRY, f"{path}: entry {number}: an xml:base that is no address"
        ) from None


def _with_id(entry: Element, fresh: str) -> Element:
    children = tuple(
        replace(child, children=(fresh,))
        if isinstance(child, Element) and child.is_(ns.ATOM, "id")
        else child
        for child in entry.children
    )
    if children == entry.children:
        children = (element(ns.ATOM, "id", None, fresh), *children)
    return replace(entry, children=children)


def _fresh_id(primitives: Primitives) -> str:
    """Return a random UUID as a URN (RFC 9562 §5.4)."""
    raw = bytearray(primitives.random(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return f"urn:uuid:{'-'.join(parts)}"
