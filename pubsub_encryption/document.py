"""Documents of items: what of a decrypted payload is found by its words (RFC 4287).

Rule: reading only, and leniently: what is no Atom entry is all the text that is in it. Nothing here
says who wrote an item; a document finds, it proves nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from e2ee import limits, ns
from e2ee.errors import PeerMisbehaved
from e2ee.lexical import parse_time
from e2ee.search import Document
from e2ee.storage import Key
from e2ee.xmlnames import NOT_CHAR
from e2ee.xmltree import Element
from pubsub_encryption.cached_item import CachedItem

__all__ = ["document_of"]

_TAG: Final = re.compile(r"<[^<>]*>")
_TEXTS: Final = ("title", "subtitle", "summary", "content")


def document_of(key: Key, item: CachedItem) -> Document:
    """Return what an item is found by; of a long one its beginning.

    Of an Atom entry these are its texts without markup, its categories, its language, when it says
    that it was published, or updated, and who it says wrote it: the address that the author's
    ``uri`` names, or else their name. A proven sender counts before that.

    Args:
        key: of the row in which the item is kept.
        item: the item.
    """
    entry = item.payload
    if entry.is_(ns.ATOM, "entry"):
        texts = [_plain(each) for name in _TEXTS for each in entry.find_all(ns.ATOM, name)]
        has_title = bool(entry.find_all(ns.ATOM, "title"))
    else:
        texts, has_title = [_flat(entry)], False
    title = texts[0][: limits.MAX_DOCUMENT_CHARS] if has_title else ""
    rest = dict.fromkeys(text for text in texts[has_title:] if text != title)
    return Document(
        key,
        item.place.node,
        title,
        "\n".join(rest)[: limits.MAX_DOCUMENT_CHARS - len(title)],
        author=str(item.sender) if item.sender else next(_names(_authors(entry)), None),
        categories=tuple(_names(_categories(entry)))[: limits.MAX_CATEGORIES],
        published=_published(entry) or item.time,
        language=next(_names(_languages(entry)), None),
    )


def _plain(text: Element) -> str:
    """Return an Atom text (RFC 4287 §3.1) without its markup."""
    flat = _flat(text)
    if text.get("type") in ("html", "text/html"):
        flat = NOT_CHAR.sub(" ", html.unescape(_TAG.sub(" ", flat)))
    return flat.strip()


def _flat(element: Element) -> str:
    """Return all text below an element; what stands in two elements is not one word."""
    parts = [each if isinstance(each, str) else _flat(each) for each in element.children]
    return " ".join(parts)


def _authors(entry: Element) -> Iterator[str | None]:
    for author in entry.find_all(ns.ATOM, "author"):
        for uri in author.find_all(ns.ATOM, "uri"):
            yield uri.text.strip().removeprefix("xmpp:")
        for name in author.find_all(ns.ATOM, "name"):
            yield name.text.strip()


def _categories(entry: Element) -> Iterator[str | None]:
    for category in entry.find_all(ns.ATOM, "category"):
        yield category.get("term")


def _languages(entry: Element) -> Iterator[str | None]:
    yield entry.get("lang", ns.XML)
    for name in _TEXTS:
        for text in entry.find_all(ns.ATOM, name):
            yield text.get("lang", ns.XML)


def _published(entry: Element) -> datetime | None:
    for name in ("published", "updated"):
        for moment in entry.find_all(ns.ATOM, name):
            try:
                return parse_time(moment.text.strip())
            except PeerMisbehaved:
                continue
    return None


def _names(claimed: Iterator[str | None]) -> Iterator[str]:
    """Yield the names that can be looked for."""
    for name in claimed:
        if name and len(name) <= limits.MAX_DOCUMENT_NAME_CHARS:
            yield name
