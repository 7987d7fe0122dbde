"""The search port: documents beside rows, found by their words, in the same transactions.

Rule: values, their bounds and protocols only; an index lives in a store, in ``e2ee/stores``, and
passes the contract suite. No store whose rows are sealed offers one: words would betray the rows.

A query is read here, by one small grammar for all engines; what an engine is given is made of its
terms, so that nobody types an engine's own language.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeGuard

from e2ee import limits
from e2ee.errors import ApiMisuse
from e2ee.names import NodeAddress
from e2ee.storage import Change, Key, Store, Transaction
from e2ee.xmlnames import NOT_CHAR

__all__ = [
    "Document",
    "Forgotten",
    "Hit",
    "Query",
    "SearchStore",
    "SearchTransaction",
    "Term",
    "is_searchable",
]

_QUOTE: Final = '"'
_STAR: Final = "*"


@dataclass(frozen=True, slots=True)
class Document:
    """What is found of a row: its words, and what a query may ask for besides.

    All strings are of XML characters, and title and text have at most
    ``limits.MAX_DOCUMENT_CHARS`` together: of longer ones, index the beginning.

    Attributes:
        key: of the row that it stands for, and whose place it takes in the index.
        node: where the item stands.
        title: counts more than the text.
        text: plain text, without markup.
        author: whom it is by, in the caller's form; compared as it is.
        categories: each compared as it is; at most ``limits.MAX_CATEGORIES``.
        published: an aware moment, or ``None``.
        language: a language tag (BCP 47) as in ``xml:lang``, or ``None`` where it is not known.
            What it changes is said by each store.

    Raises:
        ApiMisuse: one of them is longer, or no text of XML; ``published`` has no zone.
    """

    key: Key
    node: NodeAddress
    title: str
    text: str
    author: str | None = None
    categories: tuple[str, ...] = ()
    published: datetime | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        if len(self.title) + len(self.text) > limits.MAX_DOCUMENT_CHARS:
            raise ApiMisuse("a document that is too long to be indexed whole")
        if len(self.categories) > limits.MAX_CATEGORIES:
            raise ApiMisuse("a document of too many categories")
        names = (self.author or "", self.language or "", *self.categories)
        if any(len(name) > limits.MAX_DOCUMENT_NAME_CHARS for name in names):
            raise ApiMisuse("a document with an author, a language or a category that is too long")
        _check_text(self.title, self.text, *names)
        _check_moments(self.published)

    @property
    def tongue(self) -> str | None:
        """The primary language in lower case, ``en`` of ``en-GB``, or ``None``."""
        return self.language.partition("-")[0].lower() if self.language else None

    def __repr__(self) -> str:
        return f"<Document in {self.node}>"  # what it says is nobody's business


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The document at ``key`` leaves the index, if there is one."""

    key: Key


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand beside each other, as the store splits them.

    Attributes:
        text: the words; at least one letter or digit.
        prefix: whether the last word may go on.
    """

    text: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: all of its terms, in a title or a text, and all that is not ``None``.

    The text is terms between white space: a word, the beginning of words as ``encr*``, or a
    ``"phrase of words"``. A word with a mark in it, as ``end-to-end``, is a phrase of its words.
    Nothing else means anything: ``OR`` is a word. Upper and lower case are the same.

    Attributes:
        text: at most ``limits.MAX_QUERY_CHARS`` characters, 1 to ``limits.MAX_QUERY_TERMS`` terms.
        node: only items of this node.
        author: only what is by them.
        category: only what is of this category.
        since: only what was published then or later; an aware moment.
        until: only what was published before; an aware moment.
        terms: what the text says.

    Raises:
        ApiMisuse: the text is longer, has no term, a quotation mark that is not closed, a ``*``
            that is not at the end of a word, or a term without a letter or digit; a moment has no
            zone.
    """

    text: str
    node: NodeAddress | None = None
    author: str | None = None
    category: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    terms: tuple[Term, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        _check_text(self.text, self.author or "", self.category or "")
        _check_moments(self.since, self.until)
        object.__setattr__(self, "terms", _terms(self.text))

    def __repr__(self) -> str:
        return f"<Query of {len(self.terms)} terms>"  # what is looked for is nobody's business


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found.

    Attributes:
        key: the row's.
        rank: how well it fits, the more the better; compared within one index only.
        title: the document's, whole.
        snippet: pieces of its text around what was looked for, each with whether it is a word of
            the query.
    """

    key: Key
    rank: float
    title: str
    snippet: tuple[tuple[str, bool], ...]

    def __repr__(self) -> str:
        return f"<Hit of rank {self.rank:.3f}>"


class SearchTransaction(Transaction, Protocol):
    """A transaction whose store has an index; both are read as of one snapshot."""

    async def commit(
        self, changes: Sequence[Change], documents: Sequence[Document | Forgotten] = ()
    ) -> None:
        """Make all ``changes`` and the index as ``documents`` say durable, or nothing.

        Args:
            changes: as of every store.
            documents: each takes the place of the one at its key.

        Raises:
            ApiMisuse: as every store; also for a document's key outside of the block's scope, and
                for two documents with one key.
            StoreFailed: nothing was kept.
        """
        ...

    async def search(
        self, query: Query, limit: int = 20, after: Hit | None = None
    ) -> Sequence[Hit]:
        """Return up to ``limit`` documents of the block's scope that fit, the best first.

        Args:
            query: what is looked for.
            limit: documents at most, 1 to ``limits.MAX_HITS``.
            after: the last hit of the page before. Pages fit together while the index is the same;
                after a commit, one may be seen twice or be missed.

        Raises:
            ApiMisuse: the limit is none; the transaction is over.
            StoreFailed: ``store-corrupt`` when the index or a document was altered.
        """
        ...

    async def documents(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[Document]:
        """Return up to ``limit`` documents whose key begins with ``prefix``, in key order.

        For whoever copies a store: the index goes along. Arguments and errors are those of
        ``Transaction.scan``.
        """
        ...


class SearchStore(Store, Protocol):
    """A store with an index; ask :func:`is_searchable`."""

    @property
    def searchable(self) -> bool:
        """Whether what lies within has an index, too."""
        ...

    def exclusive(self, scope: Key) -> AbstractAsyncContextManager[SearchTransaction]:
        """Open a transaction as the only one in ``scope``; see ``storage.Store.exclusive``."""
        ...


def is_searchable(store: Store) -> TypeGuard[SearchStore]:
    """Say whether documents can be committed to ``store``, and looked for."""
    return getattr(store, "searchable", False) is True


def _terms(text: str) -> tuple[Term, ...]:
    if len(text) > limits.MAX_QUERY_CHARS:
        raise ApiMisuse("a query that is too long")
    terms: list[Term] = []
    for number, part in enumerate(text.split(_QUOTE)):
        terms += [Term(part)] if number % 2 else map(_word, part.split())
    if text.count(_QUOTE) % 2:
        raise ApiMisuse("a query with a quotation mark that is not closed")
    if not 1 <= len(terms) <= limits.MAX_QUERY_TERMS:
        raise ApiMisuse("a query of no words, or of too many")
    if not all(any(map(str.isalnum, term.text)) for term in terms):
        raise ApiMisuse("a query with a word of no letters or digits")
    return tuple(terms)


def _word(text: str) -> Term:
    word = text.removesuffix(_STAR)
    if _STAR in word or (word != text and not word[-1:].isalnum()):
        raise ApiMisuse("a query with a * that is not at the end of a word")
    return Term(word, prefix=word != text)


def _check_text(*texts: str) -> None:
    if any(NOT_CHAR.search(text) for text in texts):
        raise ApiMisuse("a document or a query that is no text of XML")


def _check_moments(*moments: datetime | None) -> None:
    if any(moment is not None and moment.utcoffset() is None for moment in moments):
        raise ApiMisuse("a document or a query with a time without a zone")
