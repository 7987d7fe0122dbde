"""Draft: what one operation reads and will write, gathered for its one commit.

Rule: reads see what the draft has written; nothing reaches the store before :meth:`Draft.commit`.
What must be sent, and what is to be found by its words, is gathered beside it and committed with
it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final, cast

from e2ee.effects import Effect
from e2ee.names import BareJid
from e2ee.outbox import queued_chains
from e2ee.search import Document, Forgotten, SearchTransaction
from e2ee.storage import Change, Key, Put, Remove, Transaction

__all__ = ["Draft"]

_PAGE: Final = 1000  # rows read at once


class Draft:
    """The changes of one operation on one account, not committed yet."""

    def __init__(self, tx: Transaction | Draft, account: BareJid) -> None:
        """Begin an empty draft.

        Args:
            tx: the open transaction in the account's scope; or another draft, of which this one is
                a part that may be given up: see :meth:`merge`.
            account: whose.
        """
        self.account = account
        self._below = tx
        self._rows: dict[Key, bytes | None] = {}
        self._order: list[Key] = []  # of the rows, sorted, for scans
        self._read: dict[Key, bytes | None] = {}  # of the snapshot: some rows are asked for often
        self._chains: list[tuple[Effect, ...]] = []
        self._documents: dict[Key, Document | Forgotten] = {}

    def row(self, part: str, *more: str) -> Key:
        """Return the key of one of this account's rows.

        Args:
            part: of the account's state, such as ``omemo``.
            more: which row of that part.
        """
        return (str(self.account), part, *more)

    async def get(self, key: Key) -> bytes | None:
        """Return the value at ``key`` as it will be, or ``None``."""
        if key in self._rows:
            return self._rows[key]
        if isinstance(self._below, Draft):
            return await self._below.get(key)
        if key not in self._read:
            self._read[key] = await self._below.get(key)
        return self._read[key]

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int | None = None
    ) -> list[tuple[Key, bytes]]:
        """Return rows as they will be whose key begins with ``prefix``, in key order.

        Args:
            prefix: whole leading parts of the key.
            after: return only rows beyond this key.
            limit: rows at most; ``None`` for all of them.
        """
        changed = self._changed(prefix, after)
        removed = sum(value is None for value in changed.values())
        enough = None if limit is None else limit + removed  # so many hold a page without those
        rows: dict[Key, bytes | None] = dict(await self._scan_below(prefix, after, enough))
        rows.update(changed)
        return sorted((key, value) for key, value in rows.items() if value is not None)[:limit]

    def _changed(self, prefix: Key, after: Key | None) -> dict[Key, bytes | None]:
        changed = {}
        start = prefix if after is None else max(prefix, after)
        for place in range(bisect_left(self._order, start), len(self._order)):
            key = self._order[place]
            if key[: len(prefix)] != prefix:
                break
            if key != after:
                changed[key] = self._rows[key]
        return changed

    async def _scan_below(
        self, prefix: Key, after: Key | None, limit: int | None
    ) -> list[tuple[Key, bytes]]:
        if isinstance(self._below, Draft):
            return await self._below.scan(prefix, after, limit)
        rows: list[tuple[Key, bytes]] = []
        while limit is None or len(rows) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(rows))
            page = await self._below.scan(prefix, after, size)
            rows += page
            if len(page) < size:
                break
            after = page[-1][0]
        return rows

    def put(self, key: Key, value: bytes) -> None:
        """Write ``value`` at ``key``."""
        self._change(key, value)

    def remove(self, key: Key) -> None:
        """Remove what is at ``key``, if anything is."""
        self._change(key, None)

    def _change(self, key: Key, value: bytes | None) -> None:
        if key not in self._rows:
            insort(self._order, key)
        self._rows[key] = value

    def take(self, changes: Iterable[Change]) -> None:
        """Write what was gathered elsewhere for the same commit, such as by a ``History``."""
        for change in changes:
            self._change(change.key, change.value if isinstance(change, Put) else None)

    def changes_row(self, key: Key) -> bool:
        """Say whether the draft, or one that it is a part of, writes at ``key``."""
        below = self._below
        return key in self._rows or (isinstance(below, Draft) and below.changes_row(key))

    def index(self, document: Document | Forgotten) -> None:
        """Have a row found by its words, or no more; only over a store that is searchable."""
        self._documents[document.key] = document

    def send(self, *effects: Effect, chained: bool = False) -> None:
        """Have effects performed after the commit, in this order.

        Args:
            effects: what is to be performed.
            chained: each of them must not be tried unless the one before it succeeded.
        """
        self._chains += [effects] if chained else [(effect,) for effect in effects]

    def merge(self) -> None:
        """Add all of this draft to the one that it is a part of; a draft not merged is given up."""
        assert isinstance(self._below, Draft)  # noqa: S101  # made by us, over a draft
        for key, value in self._rows.items():
            self._below._change(key, value)
        self._below._chains += self._chains
        self._below._documents |= self._documents

    async def commit(self) -> None:
        """Commit everything at once; where nothing changes, nothing is committed."""
        below = self._below
        assert not isinstance(below, Draft)  # noqa: S101
        changes: list[Change] = [
            Remove(key) if value is None else Put(key, value) for key, value in self._rows.items()
        ]
        changes += await queued_chains(below, self.account, self._chains)
        if self._documents:
            documents = tuple(self._documents.values())
            await cast("SearchTransaction", below).commit(changes, documents)
        elif changes:
            await below.commit(changes)
