"""DocumentRecord: an indexed document as a store keeps it, to show it and to copy it.

Rule: a document's bytes and nothing of how it is found; its key is that of the row it lies in.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, NodeAddress
from e2ee.records import pack, unpack
from e2ee.search import Document
from e2ee.storage import Key

__all__ = ["document_bytes", "parse_document_bytes"]

_KIND: Final = "document"
_FORMAT: Final = 1


def document_bytes(document: Document) -> bytes:
    """Return a document as a record, without its key."""
    published = document.published
    return pack(
        _KIND,
        _FORMAT,
        {
            "service": str(document.node.service),
            "node": document.node.node,
            "title": document.title,
            "text": document.text,
            "author": document.author,
            "categories": list(document.categories),
            "published": None if published is None else published.isoformat(),
            "language": document.language,
        },
    )


def parse_document_bytes(key: Key, raw: bytes) -> Document:
    """Return the document that was kept at ``key``.

    Raises:
        StoreFailed: ``store-corrupt`` when it is none; ``store-too-new``.
    """
    fields = unpack(raw, _KIND, _FORMAT)
    try:
        published = fields["published"]
        return Document(
            key,
            NodeAddress(BareJid.parse(fields["service"]), fields["node"]),
            fields["title"],
            fields["text"],
            fields["author"],
            tuple(fields["categories"]),
            None if published is None else datetime.fromisoformat(published),
            fields["language"],
        )
    except (E2eeError, KeyError, TypeError, ValueError, AttributeError):
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored document is damaged") from None
