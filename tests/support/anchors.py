"""Anchors for tests: one in memory that a test can steer, and guarded SQLite files to put back.

Rule: keeps what it is told; when it fails is the test's business.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from e2ee.storage import Key, Put
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore

__all__ = ["GuardedFile", "HookedAnchor", "memory_with"]


class HookedAnchor:
    """``anchor.Anchor`` in memory that calls ``before`` before it reads and before it writes."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.before: Callable[[str], Awaitable[None]] | None = None

    async def highest(self, account: str) -> int | None:
        """Return what is kept; see ``anchor.Anchor.highest``."""
        if self.before is not None:
            await self.before("highest")
        return self.kept.get(account)

    async def raise_to(self, account: str, generation: int) -> None:
        """Keep what is higher; see ``anchor.Anchor.raise_to``."""
        if self.before is not None:
            await self.before("raise_to")
        self.kept[account] = max(self.kept.get(account, 0), generation)


@dataclass(frozen=True)
class GuardedFile:
    """A SQLite store with its anchors beside it, in one folder.

    Attributes:
        folder: where ``store.db`` and ``anchors`` are.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The store's file."""
        return self.folder / "store.db"

    @property
    def anchors(self) -> Path:
        """The directory of the anchors."""
        return self.folder / "anchors"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[GuardedStore]:
        """Open the store for the length of the block."""
        async with await SqliteStore.open(self.path) as store:
            yield GuardedStore(store, AnchorFiles(self.anchors))

    def copy(self, name: str) -> Path:
        """Copy the closed store's file, as a backup does."""
        return Path(shutil.copy(self.path, self.folder / name))

    def put_back(self, copy: Path) -> None:
        """Put a copy in the place of the closed store's file."""
        shutil.copy(copy, self.path)


async def memory_with(rows: Mapping[Key, bytes]) -> MemoryStore:
    """Return a new store with these rows."""
    store = MemoryStore()
    async with store.exclusive(()) as tx:
        await tx.commit([Put(key, value) for key, value in rows.items()])
    return store
