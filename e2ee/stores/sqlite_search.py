"""The index of a SQLite store: documents, and their words in FTS5, in the store's own file.

Rule: documents inside of an open transaction; who may begin one is decided in ``sqlite.py``. What
is asked of FTS5 is made of a query's terms here, each quoted: no text is ever read as its language.

A document is a row of ``document`` and, as every value of the store, a slot that is zeroed when it
goes. FTS5 keeps the words alone, and sees title and text through a view of the slots. Words of all
languages are split and folded as Unicode says, without diacritics, and shortened as if they were
English (Porter). What a query can ask for besides words stands among them as digests, in a column
of their own, so that the index itself finds the few posts of an author among a hundred thousand.

What is forgotten is found no more at once. Its words stay in the file, marked, until FTS5 joins the
parts of the index that they lie in, in its own time; the last document that goes takes all along.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import NodeAddress
from e2ee.search import Document, Forgotten, Hit, Query, Term
from e2ee.stores.document_record import document_bytes, parse_document_bytes
from e2ee.stores.rows import key_bytes, parse_key_bytes
from e2ee.stores.sqlite_slots import occupy, vacate, value_in

__all__ = [
    "SEARCH_SCHEMA",
    "SEARCH_SHADOWS",
    "list_documents",
    "put_documents",
    "search_documents",
]

SEARCH_SCHEMA: Final = (
    "CREATE TABLE document (id INTEGER PRIMARY KEY, key BLOB NOT NULL, slot INTEGER NOT NULL, "
    "title INTEGER NOT NULL, text INTEGER NOT NULL, published INTEGER)",
    "CREATE UNIQUE INDEX document_key ON document (key)",
    "CREATE VIEW spoken AS SELECT document.id, "
    "CAST(substr(content, 25, title) AS TEXT) AS title, "
    "CAST(substr(content, 25 + title, text) AS TEXT) AS text, NULL AS facets "
    "FROM document JOIN slot ON slot.id = document.slot",
    "CREATE VIRTUAL TABLE word USING fts5 (title, text, facets, content='spoken', "
    "content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')",
)
"""``title`` and ``text`` of a document are their lengths in bytes: they are what its slot's value
begins with, after 24 bytes of the slot's own. ``published`` is in microseconds since the year 1."""

SEARCH_SHADOWS: Final = ("word_data", "word_idx", "word_docsize", "word_config")
"""The tables that FTS5 makes for itself, in forms of its own."""

_MOST_RANKED: Final = 4000  # each costs some 3 µs; see search_documents
_SNIPPET_WORDS: Final = 24
_OPEN, _CLOSE = "\x01", "\x02"  # around what was matched; no characters of XML
_CUT: Final = "…"
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_OWNER: Final = b"\xff"  # no row's key begins so: a document's slot is no row's
_MAX_LENGTH: Final = 2**32

_AT: Final = "SELECT id, key, slot, title, text FROM document WHERE key = ?"
_PAGE: Final = (
    "SELECT id, key, slot, title, text FROM document WHERE key >= ? AND key < ? "
    "ORDER BY key LIMIT ?"
)
_CONTENT: Final = "SELECT content FROM slot WHERE id = ?"
_ADD: Final = "INSERT INTO document (key, slot, title, text, published) VALUES (?, ?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM document WHERE id = ?"
_ADD_WORDS: Final = "INSERT INTO word (rowid, title, text, facets) VALUES (?, ?, ?, ?)"
_DELETE_WORDS: Final = (
    "INSERT INTO word (word, rowid, title, text, facets) VALUES ('delete', ?, ?, ?, ?)"
)
_DELETE_ALL_WORDS: Final = "INSERT INTO word (word) VALUES ('delete-all')"
_FIND: Final = """
    SELECT id, key, slot, title, text, score FROM (
        SELECT document.*, bm25(word, 4.0, 1.0, 0.0) AS score
        FROM word CROSS JOIN document ON document.id = word.rowid
        WHERE word MATCH :match AND key >= :first AND key < :end
            AND (:since IS NULL OR published >= :since)
            AND (:until IS NULL OR published < :until)
        ORDER BY word.rowid DESC LIMIT :most
    )
    WHERE score > :score OR (score = :score AND key > :after)
    ORDER BY score, key LIMIT :limit
"""
# In one pass over what fits, because to begin one costs as much as to find.
_SNIPPETS: Final = """
    SELECT rowid, snippet(word, 1, ?, ?, ?, ?) FROM word
    WHERE word MATCH ? AND rowid BETWEEN ? AND ? AND +rowid IN (SELECT value FROM json_each(?))
"""


def put_documents(
    connection: sqlite3.Connection, documents: Sequence[Document | Forgotten]
) -> None:
    """Put ``documents`` in the place of those at their keys, one for a key.

    Raises:
        StoreFailed: ``store-corrupt`` when one that goes was altered.
    """
    gone = [
        removed
        for document in documents
        if (removed := _remove(connection, key_bytes(document.key)))
    ]
    if gone and not connection.execute("SELECT 1 FROM document LIMIT 1").fetchall():
        connection.execute(_DELETE_ALL_WORDS)
    elif gone:  # or a damaged index would hinder commits that do not touch it
        connection.executemany(_DELETE_WORDS, gone)
    for document in documents:
        if isinstance(document, Document):
            _add(connection, document)


def search_documents(
    connection: sqlite3.Connection,
    query: Query,
    first: bytes,
    end: bytes,
    limit: int,
    after: Hit | None,
) -> list[Hit]:
    """Return up to ``limit`` documents from the key ``first`` on, before ``end``, the best first.

    Where more than 4,000 fit, as for a word that is everywhere, the latest ones are ranked: those
    that were indexed last.

    Raises:
        StoreFailed: ``store-corrupt`` when a document was altered.
    """
    match = _match(query)
    asked = {
        "match": match,
        "first": first,
        "end": end,
        "since": _microseconds(query.since),
        "until": _microseconds(query.until),
        "most": _MOST_RANKED,
        "score": float("-inf") if after is None else -after.rank,
        "after": b"" if after is None else key_bytes(after.key),
        "limit": limit,
    }
    rows = connection.execute(_FIND, asked).fetchall()
    snippets = _snippets(connection, match, [row[0] for row in rows])
    hits: list[Hit] = []
    for *row, score in rows:
        title, _, _ = _said(connection, row)  # which also vouches for the snippet
        hits.append(Hit(parse_key_bytes(row[1]), -score, title, _pieces(snippets[row[0]])))
    return hits


def list_documents(
    connection: sqlite3.Connection, first: bytes, end: bytes, limit: int
) -> list[Document]:
    """Return up to ``limit`` documents from the key ``first`` on that lie before ``end``.

    Raises:
        StoreFailed: ``store-corrupt`` when a document was altered.
    """
    rows = connection.execute(_PAGE, (first, end, limit)).fetchall()
    return [_document(connection, row) for row in rows]


def _match(query: Query) -> str:
    """Return the query in FTS5's language, of which it knows a column, ``AND``, and ``*``."""
    terms = " AND ".join(map(_quoted, query.terms))
    categories = () if query.category is None else (query.category,)
    facets = _facets(query.node, query.author, categories)
    asked = "".join(f" AND facets : {facet}" for facet in facets)
    return f"{{title text}} : ({terms}){asked}"


def _quoted(term: Term) -> str:
    quoted = term.text.replace('"', '""')
    return f'"{quoted}" *' if term.prefix else f'"{quoted}"'


def _facets(node: NodeAddress | None, author: str | None, categories: Sequence[str]) -> list[str]:
    """Return words of digits, which Porter leaves alone, for what is compared as it is."""
    names = [("category", category) for category in categories]
    names += [("author", author)] if author is not None else []
    places = [("node", str(node.service), node.node)] if node is not None else []
    digests = (
        blake2b(key_bytes(name), digest_size=16, person=b"e2ee facet").digest()
        for name in (*places, *names)
    )
    return [str(int.from_bytes(digest)) for digest in digests]


def _add(connection: sqlite3.Connection, document: Document) -> None:
    raw_key = key_bytes(document.key)
    title, text = document.title.encode(), document.text.encode()
    rest = document_bytes(replace(document, title="", text=""))
    owner = _owner(raw_key, len(title), len(text))
    slot = occupy(connection, owner, title + text + rest)
    row = (raw_key, slot, len(title), len(text), _microseconds(document.published))
    number = connection.execute(_ADD, row).lastrowid
    connection.execute(_ADD_WORDS, (number, *_words(document)))


def _remove(connection: sqlite3.Connection, raw_key: bytes) -> tuple[Any, ...] | None:
    """Remove the document at ``raw_key``; return what its words were made of, if there was one."""
    for row in connection.execute(_AT, (raw_key,)).fetchall():
        document = _document(connection, row)
        vacate(connection, _owner(raw_key, *row[3:]), row[2])
        connection.execute(_DELETE, (row[0],))
        return (row[0], *_words(document))
    return None


def _words(document: Document) -> tuple[str, str, str]:
    facets = _facets(document.node, document.author, document.categories)
    return document.title, document.text, " ".join(facets)


def _document(connection: sqlite3.Connection, row: Sequence[Any]) -> Document:
    """Return the document of a row of the table."""
    title, text, rest = _said(connection, row)
    document = parse_document_bytes(parse_key_bytes(row[1]), rest)
    return replace(document, title=title, text=text)


def _said(connection: sqlite3.Connection, row: Sequence[Any]) -> tuple[str, str, bytes]:
    """Return title, text and record of a row, whose columns damage may have given any type."""
    _, raw_key, slot, title, text = row
    for (content,) in connection.execute(_CONTENT, (slot,)).fetchall():
        value = value_in(_owner(raw_key, title, text), content)
        end = title + text
        return value[:title].decode(), value[title:end].decode(), value[end:]
    raise _altered()


def _owner(raw_key: bytes, title: int, text: int) -> bytes:
    """Return what a slot is bound to: the key, and the lengths that tell its parts from each other.

    Raises:
        StoreFailed: ``store-corrupt`` when they are no lengths.
    """
    for length in (title, text):
        if type(length) is not int or not 0 <= length < _MAX_LENGTH:
            raise _altered()
    return _OWNER + title.to_bytes(4, "big") + text.to_bytes(4, "big") + raw_key


def _altered() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a stored document was altered, or is missing")


def _snippets(connection: sqlite3.Connection, match: str, numbers: Sequence[int]) -> dict[int, str]:
    """Return snippets with marks of the documents of these numbers, all of which fit."""
    if not numbers:
        return {}
    form = (_OPEN, _CLOSE, _CUT, _SNIPPET_WORDS)
    which = (match, min(numbers), max(numbers), json.dumps(numbers))
    return dict(connection.execute(_SNIPPETS, (*form, *which)).fetchall())


def _pieces(marked: str) -> tuple[tuple[str, bool], ...]:
    """Split a snippet at its marks."""
    before, *rest = marked.split(_OPEN)
    pieces = [(before, False)]
    for each in rest:
        matched, _, following = each.partition(_CLOSE)
        pieces += [(matched, True), (following, False)]
    return tuple(piece for piece in pieces if piece[0])


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _BEGINNING) // timedelta(microseconds=1)
