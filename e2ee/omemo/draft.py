"""Draft: what one operation reads and will write, gathered for its one commit.

Rule: reads see what the draft has written; nothing reaches the store before :meth:`Draft.commit`.
What must be sent is gathered beside it and committed with it.
"""

from __future__ import annotations

from e2ee.effects import Effect
from e2ee.names import BareJid
from e2ee.outbox import queued
from e2ee.storage import Change, Key, Put, Remove, Transaction

__all__ = ["Draft"]


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
        self._effects: list[Effect] = []

    def row(self, *parts: str) -> Key:
        """Return a key of this account's OMEMO rows."""
        return (str(self.account), "omemo", *parts)

    async def get(self, key: Key) -> bytes | None:
        """Return the value at ``key`` as it will be, or ``None``."""
        if key in self._rows:
            return self._rows[key]
        return await self._below.get(key)

    async def scan(self, prefix: Key) -> list[tuple[Key, bytes]]:
        """Return all rows as they will be whose key begins with ``prefix``, in key order."""
        rows: dict[Key, bytes | None] = {}
        if isinstance(self._below, Draft):
            rows.update(await self._below.scan(prefix))
        else:
            after: Key | None = None
            while page := await self._below.scan(prefix, after):
                rows.update(page)
                after = page[-1][0]
        rows |= {key: value for key, value in self._rows.items() if key[: len(prefix)] == prefix}
        return sorted((key, value) for key, value in rows.items() if value is not None)

    def put(self, key: Key, value: bytes) -> None:
        """Write ``value`` at ``key``."""
        self._rows[key] = value

    def remove(self, key: Key) -> None:
        """Remove what is at ``key``, if anything is."""
        self._rows[key] = None

    def send(self, *effects: Effect) -> None:
        """Have effects performed after the commit, in this order."""
        self._effects += effects

    def merge(self) -> None:
        """Add all of this draft to the one that it is a part of; a draft not merged is given up."""
        assert isinstance(self._below, Draft)  # noqa: S101  # made by us, over a draft
        self._below._rows |= self._rows
        self._below._effects += self._effects

    async def changes(self, *, chained: bool = False) -> list[Change]:
        """Return the changes to commit, for a commit of the caller.

        Args:
            chained: whether each effect must not be tried unless the one before it succeeded.
        """
        below = self._below
        assert not isinstance(below, Draft)  # noqa: S101
        changes: list[Change] = [
            Remove(key) if value is None else Put(key, value) for key, value in self._rows.items()
        ]
        return changes + await queued(below, self.account, self._effects, chained=chained)

    async def commit(self, *, chained: bool = False) -> None:
        """Commit everything at once; see :meth:`changes`."""
        below = self._below
        assert not isinstance(below, Draft)  # noqa: S101
        await below.commit(await self.changes(chained=chained))
