"""Vectors: a document as PostgreSQL's index has it, and what is asked of such an index.

Rule: pure functions over documents and queries; the statements that take what they return are in
``postgres_search.py``. Texts are split here and never by PostgreSQL's parser, whose words depend on
the database's locale, and which takes addresses, paths and tags apart in ways of its own.

A vector has each word of its document as it stands and, where the language has a stemmer, its stem
with the language before it, so that a stem is found in its own language alone. What a query
compares as it is, is one more word of the vector, and so is the account: a search costs what the
account has, whatever others have::

    the title's words     rose:1A  /en/rose:1B     weights, from A, which counts most, to D
    the text's words      thorn:3C /en/thorn:3D
    what is compared      /author/…  /account/…    digests, which stand nowhere

A vector keeps 255 places of a word, and none beyond 16,383. A document that has more has a line of
its words beside it, which shows what stands beside each other as it stands, without stems.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from e2ee.names import NodeAddress
from e2ee.search import Document, Query
from e2ee.storage import Key
from e2ee.stores.rows import key_bytes
from e2ee.stores.words import Word, split

__all__ = [
    "STEMMERS",
    "Asked",
    "Standing",
    "Vector",
    "account_digest",
    "compared_of",
    "standing",
    "vector_of",
]

STEMMERS: Final = {
    tongue: f"pg_catalog.{name}_stem"
    for tongue, name in (
        *(("ar", "arabic"), ("da", "danish"), ("de", "german"), ("el", "greek"), ("en", "english")),
        *(("es", "spanish"), ("fi", "finnish"), ("fr", "french"), ("ga", "irish")),
        *(("hu", "hungarian"), ("id", "indonesian"), ("it", "italian"), ("lt", "lithuanian")),
        *(("nb", "norwegian"), ("ne", "nepali"), ("nl", "dutch"), ("nn", "norwegian")),
        *(("no", "norwegian"), ("pt", "portuguese"), ("ro", "romanian"), ("ru", "russian")),
        *(("sv", "swedish"), ("ta", "tamil"), ("tr", "turkish")),
    )
}
"""The dictionaries of PostgreSQL 13 that find stems, by primary language."""

_LAST_PLACE: Final = 16_382  # PostgreSQL takes all beyond it for one
_MOST_PLACES: Final = 255  # of one word; PostgreSQL drops those beyond


class Standing(NamedTuple):
    """A word and its place in a document, from 1."""

    place: int
    word: Word
    in_title: bool


class Vector(NamedTuple):
    """A document as the index has it.

    Attributes:
        line: where the vector has not all places, the words as they stand, each between spaces;
            ``/`` parts title and text.
        literal: the vector, to which the stems are added.
        forms: what is to be stemmed, with spaces between; empty without a stemmer.
        places: where each form stands, likewise, as a vector's literal says it.
    """

    line: str | None
    literal: str
    forms: str
    places: str


class Asked(NamedTuple):
    """The words of a query's term; the last may be the beginning of one."""

    words: tuple[Word, ...]
    prefix: bool

    @property
    def whole(self) -> tuple[Word, ...]:
        """The words that do not go on."""
        return self.words[:-1] if self.prefix else self.words

    def to_tsquery(self, operator: str, stems: Mapping[str, Sequence[str]]) -> str:
        """Return what finds the words, each as it stands or by one of the stems of its form.

        Args:
            operator: ``&`` for words anywhere, ``<->`` for words beside each other.
            stems: the words of vectors that stand for a form.
        """
        found = [
            " | ".join(map(_quoted, (word.folded, *stems.get(word.form, ()))))
            for word in self.whole
        ]
        found += [f"{_quoted(word.folded)}:*" for word in self.words[len(found) :]]
        return f"({f' {operator} '.join(f'({each})' for each in found)})"

    def to_pattern(self) -> str:
        """Return what a line is like in which the words stand beside each other."""
        words = " ".join(word.folded for word in self.words)
        return f"% {words}%" if self.prefix else f"% {words} %"


def standing(document: Document) -> Iterator[Standing]:
    """Yield a document's words; between those of title and text, a place is left."""
    title = split(document.title)
    for place, word in enumerate(title, 1):
        yield Standing(place, word, in_title=True)
    for place, word in enumerate(split(document.text), len(title) + 2):
        yield Standing(place, word, in_title=False)


def vector_of(document: Document) -> Vector:
    """Return a document's vector, but for the stems."""
    words: defaultdict[str, list[str]] = defaultdict(list)
    forms: defaultdict[str, list[str]] = defaultdict(list)
    place = 0
    for place, word, in_title in standing(document):
        as_it_stands, as_a_stem = ("A", "B") if in_title else ("C", "D")
        words[word.folded].append(f"{place}{as_it_stands}")
        forms[word.form].append(f"{place}{as_a_stem}")
    has_all = place <= _LAST_PLACE and all(len(at) <= _MOST_PLACES for at in words.values())
    if document.tongue not in STEMMERS:
        forms.clear()
    compared = _compared(document.key, document.node, document.author, document.categories)
    return Vector(
        line=None if has_all else _line(document),
        literal=" ".join((*compared, *(_quoted(word) + _at(at) for word, at in words.items()))),
        forms=" ".join(forms),
        places=" ".join(map(_at, forms.values())),
    )


def compared_of(scope: Key, query: Query) -> tuple[str, ...]:
    """Return the words of vectors that stand for what ``query`` compares, and for the account."""
    categories = () if query.category is None else (query.category,)
    return tuple(_compared(scope, query.node, query.author, categories))


def account_digest(scope: Key) -> bytes:
    """Return 16 bytes that stand for the account of a key, its first part."""
    return blake2b(key_bytes(scope[:1]), digest_size=16).digest()


def _compared(
    key: Key, node: NodeAddress | None, author: str | None, categories: Iterable[str]
) -> Iterator[str]:
    if key:
        yield _quoted(f"/account/{account_digest(key).hex()}")
    if node is not None:
        yield _digest("node", str(node.service), node.node)
    if author is not None:
        yield _digest("author", author)
    for category in categories:
        yield _digest("category", category)


def _digest(kind: str, *parts: str) -> str:
    return _quoted(f"/{kind}/{blake2b(key_bytes(parts), digest_size=16).hexdigest()}")


def _line(document: Document) -> str:
    title, text = (
        " ".join(word.folded for word in split(each)) for each in (document.title, document.text)
    )
    return f" {title} / {text} "


def _quoted(word: str) -> str:
    return f"'{word}'"  # which has neither quotation marks nor backslashes: see words.py


def _at(places: Sequence[str]) -> str:
    """Return the places that a vector keeps, as they follow a word in its literal."""
    kept = [place for place in places[:_MOST_PLACES] if int(place[:-1]) <= _LAST_PLACE]
    return f":{','.join(kept)}" if kept else ""
