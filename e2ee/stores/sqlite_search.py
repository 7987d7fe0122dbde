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
from e2ee.stores.sqlite_slots import VALUE_OFFSET, occupy, vacate, value_in

__all__ = [
    "SEARCH_SCHEMA",
    "SEARCH_SHADOWS",
    "change_documents",
    "find_documents",
    "read_documents",
]

SEARCH_SCHEMA: Final = (
    "CREATE TABLE document (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
    "slot INTEGER NOT NULL, title INTEGER NOT NULL, text INTEGER NOT NULL, published INTEGER)",
    "CREATE VIEW spoken AS SELECT document.id, "
    f"CAST(substr(content, {VALUE_OFFSET + 1}, title) AS TEXT) AS title, "
    f"CAST(substr(content, {VALUE_OFFSET + 1} + title, text) AS TEXT) AS text, NULL AS facets "
    "FROM document JOIN slot ON slot.id = document.slot",
    "CREATE VIRTUAL TABLE word USING fts5 (title, text, facets, content='spoken', "
    "content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')",
)
"""``title`` and ``text`` of a document are their lengths in bytes, at the beginning of its slot;
``published`` is in microseconds since the year 1."""

SEARCH_SHADOWS: Final = ("word_data", "word_idx", "word_docsize", "word_config")
"""The tables that FTS5 makes for itself, in forms of its own."""

_MOST_RANKED: Final = 4000  # of a word that is everywhere; ranking costs some 3 µs a document
_SNIPPET_WORDS: Final = 24
_MATCHED, _UNMATCHED = "\x01", "\x02"  # no characters of XML: no document has them
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)

_PLACE: Final = "SELECT id, slot, title, text, content FROM document LEFT JOIN slot USING (slot)"
_ANY: Final = "SELECT EXISTS (SELECT 1 FROM document)"
_ADD: Final = (
    "INSERT INTO document (key, slot, title, text, published) VALUES (?, ?, ?, ?, ?)"
)
