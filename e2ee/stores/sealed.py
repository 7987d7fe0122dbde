"""SealedStore: encrypts what lies in another store, and hides under which keys.

Rule: the rules of the Store port over sealed rows; how a row is sealed is in ``sealed_rows.py``,
how the data key is locked in ``sealing.py``.

The seal lies at a key of its own, which no hidden key can be. Whoever reads the inner store still
sees how many rows there are, of how many parts their keys are, which of them begin alike, how long
the values are, and which rows change together. Whoever writes to it can take rows out whole or put
an older version of one back, which nothing here finds; an older copy of the whole store is found by
``guarded.GuardedStore``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import Final, Self, cast

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.ports import Primitives
from e2ee.search import Forgotten, SearchTransaction, is_searchable
from e2ee.secret import Secret
from e2ee.storage import Change, Key, Put, Remove, Store, Transaction
from e2ee.stores.sealed_rows import SealedRows, looks_sealed
from e2ee.stores.sealing import DATA_KEY_BYTES, Seal, Unlock
from e2ee.stores.turns import Turn

__all__ = ["SealedStore", "read_seal", "seal_in_place"]

_SEAL_KEY: Final = ("sealed store",)  # no account's scope, because no JID has a space there
_PAGE: Final = 256  # rows unsealed before the event loop runs again; about 2 ms


class SealedStore:
    """``storage.Store`` over another one; make it with :meth:`create` or :meth:`open`.

    Blocks exclude each other as those of the inner store do. That one is neither owned nor closed.

    A page of a scan costs as much as all rows under its prefix, because the inner store has them in
    another order: each is unsealed, and only the page is kept. So few, large pages are cheapest.

    It is never searchable: the index of the inner store would say in plain words what rows hide.
    """

    def __init__(
        self,
        inner: Store,
        seal: Seal,
        data_key: Secret,
        primitives: Primitives,
        executor: Executor | None,
    ) -> None:
        self._inner = inner
        self._seal = seal
        self._data_key = data_key
        self._primitives = primitives
        self._executor = executor
        self._rows = SealedRows(data_key, primitives)

    @classmethod
    async def create(
        cls,
        inner: Store,
        unlock: Unlock,
        primitives: Primitives,
        executor: Executor | None = None,
    ) -> Self:
        """Seal an empty store under a new data key.

        Args:
            inner: where the rows will lie.
            unlock: what opens the store from now on.
            primitives: randomness and ciphers.
            executor: where a passphrase is stretched, which takes about a tenth of a second;
                without one it blocks the event loop.

        Raises:
            ApiMisuse: there are rows in ``inner``; ``unlock`` is none.
            StoreFailed: as from ``inner``; nothing was kept.
            EngineFailed: not enough memory for the passphrase, or no thread.
        """
        data_key = Secret(primitives.random(DATA_KEY_BYTES))
        seal = await Seal.lock(data_key, unlock, primitives, executor)
        async with inner.exclusive(()) as tx:
            if await tx.scan((), limit=1):
                raise ApiMisuse("the store is not empty")
            await _commit_without_index(inner, tx, [Put(_SEAL_KEY, seal.to_bytes())])
        return cls(inner, seal, data_key, primitives, executor)

    @classmethod
    async def open(
        cls,
        inner: Store,
        unlock: Unlock,
        primitives: Primitives,
        executor: Executor | None = None,
    ) -> Self:
        """Unlock a sealed store; the arguments are those of :meth:`create`.

        Raises:
            ApiMisuse: ``unlock`` is none.
            StoreFailed: ``store-wrong-key`` when ``unlock`` is not what it was sealed with, which
                may be tried any number of times; ``store-too-old`` when it is not sealed yet;
                ``store-corrupt`` when its seal is not that of its rows; this or ``store-too-new``
                when it is not one of ours; and as from ``inner``.
            EngineFailed: not enough memory for the passphrase, or no thread.
        """
        seal = await read_seal(inner)
        if seal is None:
            raise StoreFailed(ErrorCode.STORE_TOO_OLD, "the store is not sealed")
        data_key = await seal.open(unlock, primitives, executor)
        store = cls(inner, seal, data_key, primitives, executor)
        await store._check_seal()
        return store

    async def _check_seal(self) -> None:
        """Refuse another store's seal: under its data key no row would be found."""
        async with self._inner.exclusive(()) as tx:
            for hidden, sealed in await tx.scan((), limit=2):
                if hidden != _SEAL_KEY:
                    self._rows.open(hidden, sealed, ())
                    break

    async def relock(self, unlock: Unlock) -> None:
        """Let ``unlock`` open the store from now on, and nothing else.

        The data key and the rows stay, and so does whoever has the store open. A copy of the store
        from before still opens as before, and its seal put back opens this one: when a passphrase
        is known to others who may have such a copy, copy the rows to a new sealed store instead.

        Raises:
            ApiMisuse: ``unlock`` is none.
            StoreFailed: ``store-wrong-key`` when the seal was changed since this store was opened;
                and as from the inner store. What opened the store before still does.
            EngineFailed: not enough memory for the passphrase, or no thread.
        """
        seal = await Seal.lock(self._data_key, unlock, self._primitives, self._executor)
        async with self._inner.exclusive(_SEAL_KEY) as tx:
            if await tx.get(_SEAL_KEY) != self._seal.to_bytes():
                raise StoreFailed(
                    ErrorCode.STORE_WRONG_KEY, "the seal was changed since; open the store anew"
                )
            await tx.commit([Put(_SEAL_KEY, seal.to_bytes())])
            self._seal = seal

    @asynccontextmanager
    async def exclusive(self, scope: Key) -> AsyncIterator[Transaction]:
        """Open a transaction as the only one in ``scope``; see ``storage.Store.exclusive``."""
        turn = Turn(scope)
        async with self._inner.exclusive(self._rows.hide(scope)) as tx:
            yield _SealedTransaction(tx, self._rows, turn)


async def read_seal(inner: Store) -> Seal | None:
    """Return how ``inner`` is sealed, or ``None`` when it is not.

    Whoever means to use a store unsealed asks this first: rows would be put beside sealed ones.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new`` when its seal is not one of ours; and as
            from ``inner``.
    """
    async with inner.exclusive(_SEAL_KEY) as tx:
        raw = await tx.get(_SEAL_KEY)
    return None if raw is None else Seal.from_bytes(raw)


async def seal_in_place(
    inner: Store,
    unlock: Unlock,
    primitives: Primitives,
    executor: Executor | None = None,
) -> None:
    """Seal every row of a plain store under a new data key, in one commit, and forget its index.

    No program may have the store open meanwhile: it would go on as if the store were empty, and put
    plain rows of new accounts beside the sealed ones. Only around a ``guarded.GuardedStore`` is it
    refused, because its accounts' generations are gone.

    The whole store passes through memory. What remains of the plain rows below the inner store, in
    backups or on the disk, is out of reach. The arguments are those of :meth:`SealedStore.create`.

    Raises:
        ApiMisuse: the store is sealed already; ``unlock`` is none.
        StoreFailed: ``store-corrupt`` when it has sealed rows without their seal; and as from
            ``inner``. Nothing was kept.
        EngineFailed: not enough memory for the passphrase, or no thread.
    """
    data_key = Secret(primitives.random(DATA_KEY_BYTES))
    seal = await Seal.lock(data_key, unlock, primitives, executor)
    rows = SealedRows(data_key, primitives)
    async with inner.exclusive(()) as tx:
        if await tx.get(_SEAL_KEY) is not None:
            raise ApiMisuse("the store is sealed already")
        changes: list[Change] = [Put(_SEAL_KEY, seal.to_bytes())]
        last: Key | None = None
        while page := await tx.scan((), last, _PAGE):
            for key, value in page:
                if looks_sealed(key, value):
                    raise StoreFailed(ErrorCode.STORE_CORRUPT, "there are sealed rows, but no seal")
                hidden = rows.hide(key)
                changes += (Remove(key), Put(hidden, rows.seal(key, hidden, value)))
            last = page[-1][0]
            await asyncio.sleep(0)
        await _commit_without_index(inner, tx, changes)


async def _commit_without_index(inner: Store, tx: Transaction, changes: Sequence[Change]) -> None:
    """Commit what seals ``inner``, and whose plain words are no longer to be found there."""
    if not is_searchable(inner):
        await tx.commit(changes)
        return
    indexed = cast("SearchTransaction", tx)
    forgotten: list[Forgotten] = []
    last: Key | None = None
    while page := await indexed.documents((), last, _PAGE):
        forgotten += [Forgotten(document.key) for document in page]
        last = page[-1].key
        await asyncio.sleep(0)
    await indexed.commit(changes, forgotten)


class _SealedTransaction:
    """The inner transaction says when it is over; the turn says what is a key and in scope."""

    def __init__(self, inner: Transaction, rows: SealedRows, turn: Turn) -> None:
        self._inner = inner
        self._rows = rows
        self._turn = turn

    async def get(self, key: Key) -> bytes | None:
        self._turn.check_get(key)
        hidden = self._rows.hide(key)
        sealed = await self._inner.get(hidden)
        if sealed is None:
            return None
        return self._rows.open(hidden, sealed, key)[1]

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        self._turn.check_scan(prefix, after, limit)
        hidden_prefix = self._rows.hide(prefix)
        least = _Least(after, limit)
        last: Key | None = None
        while page := await self._inner.scan(hidden_prefix, last, _PAGE):
            for hidden, sealed in page:
                if hidden != _SEAL_KEY:
                    least.add(self._rows.open(hidden, sealed, prefix))
            if len(page) < _PAGE:
                break
            last = page[-1][0]
            await asyncio.sleep(0)
        return least.rows()

    async def commit(self, changes: Sequence[Change]) -> None:
        final = self._turn.finish(changes)
        await self._inner.commit([self._sealed(change) for change in final])

    def _sealed(self, change: Change) -> Change:
        hidden = self._rows.hide(change.key)
        if isinstance(change, Put):
            return Put(hidden, self._rows.seal(change.key, hidden, change.value))
        return Remove(hidden)


class _Least:
    """The rows with the least keys beyond ``after``, out of all that pass by."""

    def __init__(self, after: Key | None, limit: int) -> None:
        self._after = after
        self._limit = limit
        self._rows: list[tuple[Key, bytes]] = []

    def add(self, row: tuple[Key, bytes]) -> None:
        if self._after is None or row[0] > self._after:
            self._rows.append(row)
            if len(self._rows) == 2 * self._limit:  # seldom enough to cost little for each
                self._trim()

    def rows(self) -> list[tuple[Key, bytes]]:
        self._trim()
        return self._rows

    def _trim(self) -> None:
        self._rows.sort(key=itemgetter(0))
        del self._rows[self._limit :]
