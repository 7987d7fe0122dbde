"""Opens stores by their address, whatever they are kept in, sealed or plain, and looks at them.

Rule: a sealed store never opens as if it were plain, and a plain one never as if it were sealed;
what people are asked and told is the command line's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.primitives import NativePrimitives
from e2ee.storage import Store
from e2ee.stores import sqlite_file, sqlite_schema
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore, is_guarded
from e2ee.stores.sealed import SealedStore, read_seal, seal_in_place
from e2ee.stores.sealed_rows import looks_sealed
from e2ee.stores.sealing import Seal, Unlock
from e2ee.stores.sqlite import SqliteStore
from xmpp_e2ee.store_address import StoreAddress, StoreKind
from xmpp_e2ee.store_survey import Step, everything

__all__ = [
    "GuardMissing",
    "Outside",
    "Schema",
    "create_sealed",
    "look",
    "migrate",
    "open_account",
    "open_guarded",
    "open_inner",
    "open_store",
    "schema_of",
    "seal",
    "seal_of",
]

_CONNECTIONS: Final = 2  # to spare one, because blocks come one after another here


class GuardMissing(Exception):
    """An account was kept under a guard, and its anchors were not named."""


@dataclass(frozen=True, slots=True)
class Schema:
    """In which form a store keeps its rows.

    Attributes:
        found: its number, or 0 where a database holds no store yet.
        newest: the one that this release reads and writes.
    """

    found: int
    newest: int


@dataclass(frozen=True, slots=True)
class Outside:
    """What of a store can be seen without unlocking it.

    Attributes:
        seal: how it is sealed, or ``None``.
        rows: how many, the seal itself not counted.
        bytes: in their values, as they are stored.
        accounts: how many.
        names: of the accounts, in order, or ``None`` where a seal hides them.
        disk: bytes of the file and its companions, or ``None`` for a database.
    """

    seal: Seal | None
    rows: int
    bytes: int
    accounts: int
    names: tuple[str, ...] | None
    disk: int | None


@asynccontextmanager
async def open_store(address: StoreAddress, unlocks: Sequence[Unlock] = ()) -> AsyncIterator[Store]:
    """Open a store for the length of the block; a SQLite file that is not there is made, plain.

    Args:
        address: where it lies.
        unlocks: what may unlock a sealed store, tried in turn; nothing for a plain one.

    Raises:
        StoreFailed: ``store-wrong-key`` when the store is sealed and nothing of it unlocks;
            ``store-too-old`` when it should be sealed and is not; as its own ``open`` otherwise.
    """
    async with open_inner(address) as inner:
        if unlocks:
            yield await _unlocked(inner, unlocks)
        elif await read_seal(inner) is None:
            yield inner
        else:
            raise StoreFailed(ErrorCode.STORE_WRONG_KEY, "the store is sealed, and nothing unlocks")


@asynccontextmanager
async def open_account(
    address: StoreAddress, unlocks: Sequence[Unlock], account: BareJid, anchors: Path | None
) -> AsyncIterator[Store]:
    """Open a store for the use of one account, under its guard where it has one.

    Args:
        address: where it lies.
        unlocks: as :func:`open_store`.
        account: which will be read and changed.
        anchors: the directory of its anchors; the account is guarded from its next commit on, if
            it was not before. ``None`` for an account without a guard.

    Raises:
        GuardMissing: the account has a guard, and no anchors are named: unseen by them, the store
            could be an old copy, and a change would be lost on them.
        StoreFailed: as :func:`open_store`.
    """
    if anchors is not None:
        async with open_guarded(address, unlocks, anchors) as guarded:
            yield guarded
        return
    async with open_store(address, unlocks) as store:
        if await is_guarded(store, str(account)):
            raise GuardMissing(f"{account} is guarded in {address}")
        yield store


@asynccontextmanager
async def open_guarded(
    address: StoreAddress, unlocks: Sequence[Unlock], anchors: Path
) -> AsyncIterator[GuardedStore]:
    """Open a store under the guard whose anchors are in a directory.

    Raises:
        StoreFailed: as :func:`open_store`.
    """
    async with open_store(address, unlocks) as store:
        yield GuardedStore(store, AnchorFiles(anchors))


@asynccontextmanager
async def open_inner(address: StoreAddress) -> AsyncIterator[Store]:
    """Open what lies at an address: of a sealed store, its sealed rows.

    Raises:
        StoreFailed: as the store's own ``open``.
    """
    if address.kind is StoreKind.SQLITE:
        async with await SqliteStore.open(address.place) as sqlite:
            yield sqlite
    else:
        from e2ee.stores.postgres import PostgresStore

        opened = await PostgresStore.open(address.place, connections=_CONNECTIONS)
        async with opened as postgres:
            yield postgres


async def schema_of(address: StoreAddress) -> Schema:
    """Return the schema of a store that is there, and change nothing.

    Raises:
        StoreFailed: ``store-too-new`` when a later release wrote it; as its own ``open`` otherwise.
    """
    if address.kind is StoreKind.SQLITE:
        return Schema(sqlite_file.schema_of_file(Path(address.place)), sqlite_schema.NEWEST_SCHEMA)
    from e2ee.stores import postgres_schema

    return Schema(await postgres_schema.read_schema(address.place), postgres_schema.SCHEMA)


async def migrate(address: StoreAddress) -> Schema:
    """Bring a store to the newest schema, and return which one it had; a database gets its tables.

    Raises:
        StoreFailed: as the store's own ``open``; nothing was changed.
    """
    schema = await schema_of(address)
    if address.kind is StoreKind.SQLITE:
        async with open_inner(address):  # which migrates by itself
            return schema
    from e2ee.stores import postgres_schema

    before, after = await postgres_schema.migrate(address.place)
    return Schema(before, after)


async def seal_of(address: StoreAddress) -> Seal | None:
    """Return how a store is sealed, or ``None`` when it is not.

    Raises:
        StoreFailed: ``store-corrupt`` when the seal was altered; as the store's own ``open``.
    """
    async with open_inner(address) as inner:
        return await read_seal(inner)


async def seal(address: StoreAddress, unlocks: Sequence[Unlock], unlock: Unlock) -> None:
    """Seal a plain store in place, or let something else unlock a sealed one.

    Args:
        address: where it lies.
        unlocks: what may unlock it now, tried in turn; nothing for a plain one.
        unlock: what unlocks it from now on.

    Raises:
        ApiMisuse: nothing unlocks it now, and it is sealed already.
        StoreFailed: ``store-wrong-key``; as the store's own ``open``; nothing was changed.
    """
    async with open_inner(address) as inner:
        if unlocks:
            await (await _unlocked(inner, unlocks)).relock(unlock)
        else:
            await seal_in_place(inner, unlock, NativePrimitives())


async def create_sealed(address: StoreAddress, unlock: Unlock) -> None:
    """Seal an empty store; a SQLite file that is not there is made.

    Raises:
        ApiMisuse: there are rows.
        StoreFailed: as the store's own ``open``.
    """
    async with open_inner(address) as inner:
        await SealedStore.create(inner, unlock, NativePrimitives())


async def look(address: StoreAddress, step: Step) -> Outside:
    """Look at a store from outside, which reads all of it and unlocks nothing.

    Raises:
        StoreFailed: ``store-corrupt`` when a row was altered; as the store's own ``open``.
    """
    async with open_inner(address) as inner:
        seal = await read_seal(inner)
        names: dict[str, None] = {}
        rows = size = 0
        async with inner.exclusive(()) as tx:
            async for key, value in everything(tx, (), step):
                if seal is None or looks_sealed(key, value):  # the seal itself does not
                    names[key[0]] = None
                    rows += 1
                    size += len(value)
        return Outside(
            seal=seal,
            rows=rows,
            bytes=size,
            accounts=len(names),
            names=tuple(names) if seal is None else None,
            disk=_disk(address),
        )


async def _unlocked(inner: Store, unlocks: Sequence[Unlock]) -> SealedStore:
    *others, last = unlocks
    for unlock in others:
        try:
            return await SealedStore.open(inner, unlock, NativePrimitives())
        except StoreFailed as failure:
            if failure.code is not ErrorCode.STORE_WRONG_KEY:
                raise
    return await SealedStore.open(inner, last, NativePrimitives())


def _disk(address: StoreAddress) -> int | None:
    if address.kind is not StoreKind.SQLITE:
        return None
    size = 0
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):  # it comes and goes
            size += Path(f"{address.place}{suffix}").stat().st_size
    return size
