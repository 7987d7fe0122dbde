"""Benchmark of search: our stores against plain FTS5, over the same items in the same run.

Rule: figures are for one machine and one run; nothing here asserts a time. Ours is everything: the
items' own rows, checksums, durable commits, the rules of blocks. Plain FTS5 is one table on the
standard library's ``sqlite3``, with the settings and the tokenizer of our store.

    python -m benchmarks.search [--items 100000] [--stores sqlite]

Items are made of 50,000 words, of which the most common is in nearly every item and the rarest in
one of thousands, as in a language (Zipf). A page of 100 is one commit. Each kind of query is asked
with as many different words as there are rounds, each three times, of which the fastest counts:
the median of them is told, and the longest. Every answer is the best 20, with snippets.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median
from typing import Final, Protocol

from e2ee.names import BareJid, NodeAddress
from e2ee.search import Document, Query, SearchStore, Term, is_searchable
from e2ee.storage import Put
from tests.support.postgres import start_server
from tests.support.stores import made, opened

ME: Final = ("juliet@capulet.lit",)
PAGE: Final = 100  # items of a commit
WORDS: Final = 50_000
TITLE, TEXT = 6, 80  # words of an item
NODES, AUTHORS = 50, 200
HITS: Final = 20
ROUNDS: Final = 15
BEGINNING: Final = datetime(2020, 1, 1, tzinfo=UTC)
LETTERS: Final = "aaabcdeeeefghiiijklmnnnoooprrrsssttttuuvwy"


class Corpus:
    """Items and queries, the same in every run."""

    def __init__(self, items: int) -> None:
        random = Random(7)
        words: dict[str, None] = {}
        while len(words) < WORDS:
            words["".join(random.choices(LETTERS, k=random.randint(3, 10)))] = None
        self.items = items
        self._words = list(words)
        self._weights = list(accumulate(1 / place for place in range(1, WORDS + 1)))
        self._service = BareJid.parse("pubsub.capulet.lit")

    def documents(self, numbers: range) -> list[Document]:
        """Return some of the items."""
        random = Random(numbers.start)
        return [
            Document(
                key=(*ME, "cache", str(self._service), self.node(number).node, f"{number:08}"),
                node=self.node(number),
                title=" ".join(self._choices(random, TITLE)),
                text=" ".join(self._choices(random, TEXT)),
                author=f"user{number % AUTHORS}@capulet.lit",
                categories=(f"category{number % 30}",),
                published=BEGINNING + timedelta(minutes=number),
                language="en",
            )
            for number in numbers
        ]

    def node(self, number: int) -> NodeAddress:
        """Return the node of an item."""
        return NodeAddress(self._service, f"blog{number % NODES}")

    def queries(self) -> dict[str, list[Query]]:
        """Return queries by their kind."""
        turns = range(ROUNDS)
        word = self._words.__getitem__
        late = BEGINNING + timedelta(minutes=self.items * 9 // 10)
        author = "user7@capulet.lit"
        return {
            "a rare word": [Query(word(20_000 + turn)) for turn in turns],
            "a word": [Query(word(2000 + turn)) for turn in turns],
            "a common word": [Query(word(100 + turn)) for turn in turns],
            "a word that is everywhere": [Query(word(turn)) for turn in turns],
            "two words": [Query(f"{word(50 + turn)} {word(500 + turn)}") for turn in turns],
            "a phrase": [Query(f'"{word(30 + turn)} {word(60 + turn)}"') for turn in turns],
            "the beginning of a word": [Query(f"{word(300 + turn)[:4]}*") for turn in turns],
            "a common word of an author": [
                Query(word(100 + turn), author=author) for turn in turns
            ],
            "a common word, lately": [Query(word(100 + turn), since=late) for turn in turns],
        }

    def _choices(self, random: Random, count: int) -> list[str]:
        return random.choices(self._words, cum_weights=self._weights, k=count)


class Subject(Protocol):
    """What is measured."""

    async def index(self, page: Sequence[Document]) -> None:
        """Add items in one transaction."""

    async def search(self, query: Query) -> int:
        """Return how many of the best were found."""

    def size(self) -> int | None:
        """Return the bytes on the disk, where that can be said."""


class _Store:
    """A store: of each item a row of some length, and its document."""

    def __init__(self, store: SearchStore, file: Path | None) -> None:
        self._store = store
        self._file = file

    async def index(self, page: Sequence[Document]) -> None:
        rows = [Put(document.key, b"1") for document in page]
        async with self._store.exclusive(ME) as tx:
            await tx.commit(rows, page)

    async def search(self, query: Query) -> int:
        async with self._store.exclusive(ME) as tx:
            return len(await tx.search(query, HITS))

    def size(self) -> int | None:
        return self._file.stat().st_size if self._file else None


class _PlainFts5:
    """One table of FTS5, which keeps title and text itself."""

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self._file = file
        self._run = connection.execute
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;"
            "CREATE VIRTUAL TABLE item USING fts5 (title, text, node UNINDEXED, author UNINDEXED,"
            "published UNINDEXED, tokenize='porter unicode61 remove_diacritics 2')"
        )

    async def index(self, page: Sequence[Document]) -> None:
        self._run("BEGIN IMMEDIATE")
        for item in page:
            row = (item.title, item.text, str(item.node), item.author, str(item.published))
            self._run("INSERT INTO item VALUES (?, ?, ?, ?, ?)", row)
        self._run("COMMIT")

    async def search(self, query: Query) -> int:
        found = self._run(
            "SELECT rowid, title, snippet(item, 1, '[', ']', '…', 24) FROM item WHERE item MATCH ?"
            "AND (?2 IS NULL OR author = ?2) AND (?3 IS NULL OR published >= ?3)"
            f"ORDER BY rank LIMIT {HITS}",
            (
                " AND ".join(map(fts5, query.terms)),
                query.author,
                str(query.since) if query.since else None,
            ),
        )
        return len(found.fetchall())

    def size(self) -> int:
        self._run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return self._file.stat().st_size


def fts5(term: Term) -> str:
    """Return a term in FTS5's language."""
    return f'"{term.text}"{"*" if term.prefix else ""}'


@asynccontextmanager
async def subjects(stores: Sequence[str], folder: Path) -> AsyncIterator[dict[str, Subject]]:
    """Make and open what is measured, each empty."""
    async with AsyncExitStack() as stack:
        file = folder / "plain.db"
        plain = stack.enter_context(closing(sqlite3.connect(file, isolation_level=None)))
        found: dict[str, Subject] = {"plain FTS5": _PlainFts5(file, plain)}
        # A directory of its own, which PostgreSQL's own user reaches where we are root.
        data = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)
        )
        for kind in stores:
            place = Path(tempfile.mkdtemp(dir=folder))
            if "postgres" in kind:
                server = stack.enter_context(start_server(Path(data)))
                where = await made(kind, place, server.create_database)
            else:
                where = await made(kind, place, str)
            store = await stack.enter_async_context(opened(where))
            if not is_searchable(store):
                raise SystemExit(f"{kind} has no index")
            found[kind] = _Store(store, None if "postgres" in kind else Path(where.address))
        yield found


async def index(subject: Subject, corpus: Corpus) -> float:
    """Index all items; return how many a second."""
    lasted = 0.0
    for first in range(0, corpus.items, PAGE):
        page = corpus.documents(range(first, min(first + PAGE, corpus.items)))
        begun = time.perf_counter()
        await subject.index(page)
        await asyncio.sleep(0)  # the store empties its log
        lasted += time.perf_counter() - begun
    return corpus.items / lasted


async def times(subject: Subject, queries: Sequence[Query]) -> list[float]:
    """Ask each query three times; return the shortest of each in milliseconds, sorted."""
    found = []
    for query in queries:
        lasted = []
        for _ in range(3):
            begun = time.perf_counter()
            await subject.search(query)
            lasted.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(0)
        found.append(min(lasted))
    return sorted(found)


async def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--stores", nargs="*", default=["sqlite"], help="kinds of tests/support")
    arguments = parser.parse_args()
    corpus = Corpus(arguments.items)
    with tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as folder:
        async with subjects(arguments.stores, Path(folder)) as measured:
            print(f"{arguments.items} items{'indexed/s':>24}{'bytes an item':>16}")
            for name, subject in measured.items():
                rate = await index(subject, corpus)
                size = subject.size()
                each = f"{size / corpus.items:.0f}" if size else "?"
                print(f"{name:<20}{rate:>16.0f}{each:>16}")
            print(f"\n{'milliseconds':<28}" + "".join(f"{name:>22}" for name in measured))
            for kind, queries in corpus.queries().items():
                row = f"{kind:<28}"
                for subject in measured.values():
                    found = await times(subject, queries)
                    row += f"{median(found):>12.1f} (≤{found[-1]:>6.1f})"
                print(row)


if __name__ == "__main__":
    asyncio.run(main())
