"""Every kind of store: made afresh, and opened where it lies, in this process or another one.

Rule: makes and opens only; what a store must do is said by the tests. A kind is named by its layers
from the outside in, as ``sealed-sqlite`` is a ``SealedStore`` around a ``SqliteStore``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import pytest

from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.storage import Store
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.stores.postgres import PostgresStore
from e2ee.stores.postgres_schema import migrate
from e2ee.stores.sealed import SealedStore
from e2ee.stores.sealing import SealingKey
from e2ee.stores.sqlite import SqliteStore

__all__ = ["DURABLE", "STORES", "Place", "made", "opened"]

_NAMES: Final = (
    *("memory", "sqlite", "sealed-sqlite", "guarded-sqlite", "guarded-sealed-sqlite"),
    *("postgres", "sealed-postgres", "guarded-postgres"),
)
_PRIMITIVES: Final = NativePrimitives()
_KEY: Final = SealingKey(Secret(bytes(range(32))))

STORES: Final = tuple(
    pytest.param(name, marks=[pytest.mark.slow] if "postgres" in name else []) for name in _NAMES
)
"""All kinds, for ``parametrize``; those that need a server are slow."""

DURABLE: Final = STORES[1:]
"""The kinds that outlive a process and can be shared by several."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one store lies.

    Attributes:
        kind: its name in ``STORES``.
        address: the path of a file or the address of a database.
        folder: where the parts of it are that lie outside of the file or the database.
    """

    kind: str
    address: str
    folder: str

    def to_text(self) -> str:
        """Return the place as an argument for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what :meth:`to_text` wrote."""
        return cls(**json.loads(text))


async def made(kind: str, folder: Path, database: Callable[[], str]) -> Place:
    """Make an empty store in ``folder``, or in a database where it needs one.

    Args:
        kind: its name in ``STORES``.
        folder: an empty one.
        database: returns the address of a PostgreSQL database; a store in it is removed first.
    """
    if kind.endswith("postgres"):
        address = database()
        await _emptied(address)
        await migrate(address)
    else:
        address = str(folder / "store.db")
    place = Place(kind, address, str(folder))
    if "sealed" in kind:
        async with _inmost(place) as inner:
            await SealedStore.create(inner, _KEY, _PRIMITIVES)
    return place


@asynccontextmanager
async def opened(
    place: Place, behind: Callable[[Store], Store] = lambda store: store
) -> AsyncIterator[Store]:
    """Open the store at ``place`` for the length of the block; a memory store is a new one.

    Args:
        place: where.
        behind: puts something between the layers, and between the store and the caller.
    """
    *layers, _ = place.kind.split("-")
    async with _inmost(place) as inmost:
        store = behind(inmost)
        for layer in reversed(layers):
            if layer == "sealed":
                store = behind(await SealedStore.open(store, _KEY, _PRIMITIVES))
            else:
                store = behind(GuardedStore(store, AnchorFiles(Path(place.folder, "anchors"))))
        yield store


async def _emptied(database: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(database)
    try:
        await connection.execute("DROP SCHEMA IF EXISTS xmpp_e2ee CASCADE")
    finally:
        await connection.close()


@asynccontextmanager
async def _inmost(place: Place) -> AsyncIterator[Store]:
    if place.kind.endswith("postgres"):
        async with await PostgresStore.open(place.address) as postgres:
            yield postgres
    elif place.kind.endswith("sqlite"):
        async with await SqliteStore.open(place.address) as sqlite:
            yield sqlite
    else:
        yield MemoryStore()
