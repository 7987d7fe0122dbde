"""The Store port: exclusive, snapshot-reading, all-or-nothing transactions over keys and bytes.

Rule: protocols and values only; every implementation lives in ``e2ee/stores`` and passes the same
contract suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Change", "Key", "Put", "Readable", "Remove", "Store", "Transaction"]

Key = tuple[str, ...]
"""A row's name: one to eight strings, never joined. Sorted by code points, part by part."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``value`` at ``key``, whether or not something was there."""

    key: Key
    value: bytes

    def __repr__(self) -> str:
        return f"<Put {self.key[0]!r}…, {len(self.value)} bytes>"  # a value may hold secrets


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove what is at ``key``, if anything is."""

    key: Key


Change = Put | Remove


class Readable(Protocol):
    """Whatever a row is read from: a transaction, or changes that are gathered over one."""

    async def get(self, key: Key) -> bytes | None:
        """Return the value at ``key``, or ``None``.

        Raises:
            ApiMisuse: the key lies outside of the block's scope; the transaction is over.
            StoreFailed: ``store-corrupt`` when the row was altered.
        """
        ...


class Transaction(Readable, Protocol):
    """One operation on the store: reads of one snapshot, then at most one commit."""

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        """Return up to ``limit`` rows whose key begins with ``prefix``, in key order.

        Args:
            prefix: whole leading parts of the key, the block's scope or longer.
            after: return only rows beyond this key; the last key of the page before.
            limit: rows at most, 1 to 2**31 - 1.

        Raises:
            ApiMisuse: the prefix lies outside of the block's scope; the transaction is over.
            StoreFailed: ``store-corrupt`` when a row was altered.
        """
        ...

    async def commit(self, changes: Sequence[Change]) -> None:
        """Make all ``changes`` durable, or none; afterwards the transaction is over.

        Raises:
            ApiMisuse: the transaction has committed before, or has ended; a change lies outside of
                the block's scope, where others may be at work; two changes have one key,
                so that one of them would be lost; a value is longer than
                ``limits.MAX_VALUE_BYTES``.
            StoreFailed: nothing was kept.
        """
        ...


class Store(Protocol):
    """Where state lives."""

    def exclusive(self, scope: Key) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction as the only one in ``scope``, across tasks, processes and hosts.

        Leaving the block without a commit keeps nothing. Blocks of one task do not nest. Blocks
        whose scopes do not overlap may run side by side.

        Args:
            scope: how the keys of all that is read or changed begin; ``()`` for the whole store.

        Raises:
            ApiMisuse: this task is already inside a block of this store.
            StoreFailed: ``store-locked`` after a bounded wait.
        """
        ...
