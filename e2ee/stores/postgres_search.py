"""The index in PostgreSQL: documents as vectors of words, and queries made of words alone.

Rule: documents to rows and queries to hits; transactions and their connections are those of
``postgres.py``. Texts are split here and never by PostgreSQL's parser, whose words depend on the
database's locale, and which takes apart addresses, paths and tags in ways of its own.

A document's vector has, for each word, the word as it stands and, where its language has a stemmer,
its stem with the language before it, so that a stem is found in its own language alone. What a
query compares as it is, is one more word of the vector, and so is the account: the index meets what
others have written only where it is asked for the whole store.

    the title's words     rose:1A  /en/rose:1B     weights, from A, which counts most, to D
    the text's words      thorn:3C /en/thorn:3D
    what is compared      /author/…  /account/…    a digest, without a place

A vector keeps 255 places of a word, and none beyond 16,383: where the places do not show that words
stand beside each other, the words themselves do, which are kept in a row, without stems.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.search import Document, Forgotten, Hit, Query
from e2ee.storage import Key
from e2ee.stores.document_record import document_bytes, parse_document_bytes
from e2ee.stores.rows import AFTER_PREFIX, checksum, key_bytes, parse_key_bytes
from e2ee.stores.words import Word, snippet, split

if TYPE_CHECKING:
    import asyncpg

__all__ = ["FORGET", "INDEX", "columns", "search"]

_STEMMERS: Final = {
    "ar": "arabic", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "fi": "finnish", "fr": "french", "ga": "irish", "hu": "hungarian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali",
    "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""What PostgreSQL 13 has, by primary language tag."""
