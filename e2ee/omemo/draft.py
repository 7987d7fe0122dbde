"""Draft: what one operation reads and will write, gathered for its one commit.

Rule: reads see what the draft has written; nothing reaches the store before :meth:`Draft.commit`.
What must be sent is gathered beside it and committed with it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from e2ee.effects import Effect
from e2ee.names import BareJid
from e2ee.outbox import queued_chains
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

    def row(self, *parts: str) -> Key:
        """Return a key of this account's OMEMO rows."""
        return (str(self.account), "omemo", *parts)

    async def get(self, key: Key) -> bytes | None:
        """Return the value at ``key`` as it will be, or ``None``."""
        if key in self._rows:
            return self._rows[key]
        if isinstance(self._below, Draft):
            return await self._below.get(key)
        if key not in self._read:
            self._read[key] = await self._below.get(key)
        return self._read[key]

    async def scan(self, prefix: Key) -> list[tuple[Key, bytes]]:
        """Return all rows as they will be whose key begins with ``prefix``, in key order."""
        rows: dict[Key, bytes | None] = {}
        if isinstance(self._below, Draft):
            rows.update(await self._below.scan(prefix))
        else:
            after: Key | None = None
            while True:
                page = await self._below.scan(prefix, after, _PAGE)
                rows.update(page)
                if len(page) < _PAGE:
                    break
                after = page[-1][0]
        for place in range(bisect_left(self._order, prefix), len(self._order)):
            key = self._order[place]
            if key[: len(prefix)] != prefix:
                break
            rows[key] = self._rows[key]
        return sorted((key, value) for key, value in rows.items() if value is not None)

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

    def changes_row(self, key: Key) -> bool:
        """Say whether the draft, or one that it is a part of, writes at ``key``."""
        below = self._below
        return key in self._rows or (isinstance(below, Draft) and below.changes_row(key))

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

    async def changes(self) -> list[Change]:
        """Return the changes to commit, for a commit of the caller."""
        below = self._below
        assert not isinstance(below, Draft)  # noqa: S101
        changes: list[Change] = [
            Remove(key) if value is None else Put(key, value) for key, value in self._rows.items()
        ]
        return changes + await queued_chains(below, self.account, self._chains)

    async def commit(self) -> None:
        """Commit everything at once."""
        below = self._below
        assert not isinstance(below, Draft)  # noqa: S101
        await below.commit(await self.changes())
