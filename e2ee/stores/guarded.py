"""GuardedStore: refuses an account whose store is older than what the account did.

Rule: the generation of an account, and what may be done with it; where the highest one is
remembered is the Anchor's business, what a renewal means above is in ``e2ee/renewal.py``.

Every commit gives the accounts that it touches a new generation, which is a row of the account
beside the one that it follows. Once the commit is durable, and before anybody hears of it, the
anchor is raised to it. So whatever has left the device is in a generation that the anchor knows:

    the anchor has    the generation of the store     all is well
                      the one that it follows         a crash came between; raised, all is well
                      another, or none                something that was done is missing: refused

A generation is a number that grows, of which the low half is random: two stores that went
different ways from one copy do not meet in the same one. The first one follows a beginning, which
the anchor is given before it and which is random too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from e2ee.anchor import Anchor
from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.primitives import NativePrimitives
from e2ee.records import pack, unpack
from e2ee.search import (
    Document,
    Forgotten,
    Hit,
    Query,
    SearchTransaction,
    is_searchable,
)
from e2ee.storage import Change, Key, Put, Store, Transaction
from e2ee.stores.turns import Turn

__all__ = ["GuardedStore", "is_guarded"]

_RESERVED: Final = "\0generation"  # the second part of the row's key; no layer begins one with NUL
_KIND: Final = "generation"
_FORMAT: Final = 1
_RANDOM_BYTES: Final = 8
_RANDOM_BITS: Final = 8 * _RANDOM_BYTES
_BEYOND: Final = 2**127  # what an anchor keeps, with room for more commits than there ever are


class GuardedStore:
    """``storage.Store`` around another one, which is neither owned nor closed.

    Blocks with an account's scope, which is its first key part or longer, exclude all others of the
    account. When its store is older than its anchor says, or the anchor is lost, each of them is
    refused, reading too: what is read may say that somebody still has access who was removed. Other
    accounts go on. A block with the scope ``()`` checks each account when it first meets it.

    A store that had no guard before is taken as it is. Whoever copies a store copies the inner one:
    the generations of the accounts go along, and the older of two copies is known from then on.

    It finds that a store was put back whole. Whoever writes to the inner store can put back all the
    rows of an account but the guard's own, and nothing here finds that.

    It is searchable when the inner one is; a commit of documents alone is one of their accounts.
    """

    def __init__(self, inner: Store, anchor: Anchor) -> None:
        """Guard ``inner``, the outermost store that is: its accounts are named to ``anchor``."""
        self._inner = inner
        self._guard = _Guard(anchor)

    @property
    def searchable(self) -> bool:
        """Whether the inner store has an index."""
        return is_searchable(self._inner)

    @asynccontextmanager
    async def exclusive(self, scope: Key) -> AsyncIterator[SearchTransaction]:
        """Open a transaction as the only one in ``scope``; see ``storage.Store.exclusive``.

        Its reads and its commit, too, raise what is said here.

        Raises:
            ApiMisuse: as every store; also when a change is of the guard's own rows.
            StoreFailed: ``store-rolled-back``: the account must be renewed, see
                ``renewal.renew``; ``store-uncertain``: after a commit that was kept, because the
                anchor could not be raised: the next block raises it first, or is refused where
                another copy of the store was at work just then; what the inner store and the
                anchor raise.
        """
        turn = Turn(scope)
        async with self._inner.exclusive(scope[:1]) as inner:
            index = cast("SearchTransaction", inner) if self.searchable else None
            transaction = _GuardedTransaction(inner, turn, self._guard, index)
            try:
                for account in scope[:1]:
                    await transaction.check(account)
                yield transaction
            finally:
                turn.end()

    @asynccontextmanager
    async def renewal(self, scope: Key) -> AsyncIterator[Transaction]:
        """Open the one block that an account allows while it is refused: its commit heals it.

        Only for ``renewal.renew``, which tells the layers above. Without a commit nothing changes.

        Args:
            scope: the account's, or within.

        Raises:
            ApiMisuse: as :meth:`exclusive`; the scope is the whole store.
            StoreFailed: as :meth:`exclusive`, but for ``store-rolled-back``.
        """
        turn = Turn(scope)
        if not scope:
            raise ApiMisuse("accounts are renewed one by one")
        async with self._inner.exclusive(scope[:1]) as inner:
            transaction = _GuardedTransaction(inner, turn, self._guard)
            try:
                await transaction.renew(scope[0])
                yield transaction
            finally:
                turn.end()


@dataclass(frozen=True, slots=True)
class _Mark:
    """The generation of an account, and the one that it follows; both 0 before the first commit."""

    generation: int = 0
    previous: int = 0

    def to_record(self) -> bytes:
        return pack(_KIND, _FORMAT, {"generation": self.generation, "previous": self.previous})

    @classmethod
    def from_record(cls, raw: bytes) -> _Mark:
        fields = unpack(raw, _KIND, _FORMAT)
        generation, previous = fields.get("generation"), fields.get("previous")
        if (
            type(generation) is int  # exactly: ``true`` is one to isinstance
            and type(previous) is int
            and 0 <= previous < generation < _BEYOND
        ):
            return cls(generation, previous)
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored generation is damaged")


@dataclass(frozen=True, slots=True)
class _Base:
    """What the next generation of an account follows, and whether the anchor has that yet."""

    generation: int
    anchored: bool


class _Guard:
    """Compares stores with the anchor; remembers of which accounts it may have lost the last one.

    A write that failed may be read back for a while without having reached the disk.
    """

    def __init__(self, anchor: Anchor) -> None:
        self._anchor = anchor
        self._doubtful: set[str] = set()

    async def check(self, inner: Transaction, account: str) -> _Base:
        mark = await _read_mark(inner, account)
        highest = await self._anchor.highest(account)
        if mark == _Mark():
            if highest is None:
                return _Base(_after(0), anchored=False)
            if _count(highest) == 1:  # a beginning, whose first commit nobody has heard of
                return _Base(highest, anchored=True)
        if highest not in (mark.generation, mark.previous):
            raise _rolled_back(account, lost=highest is None)
        if highest != mark.generation or account in self._doubtful:
            await self.raise_anchor(account, mark.generation)
        return _Base(mark.generation, anchored=True)

    async def renew(self, inner: Transaction, account: str) -> _Base:
        mark = await _read_mark(inner, account)
        highest = await self._anchor.highest(account)
        if highest == mark.previous != mark.generation:
            # As for a check: whoever raises it to this one just now must not be left behind.
            await self.raise_anchor(account, mark.generation)
            return _Base(mark.generation, anchored=True)
        if highest is None:
            # One that no store has, so that nothing but the renewal's own commit heals the account.
            return _Base(_after(mark.generation), anchored=False)
        return _Base(highest, anchored=True)

    async def raise_anchor(self, account: str, generation: int) -> None:
        self._doubtful.add(account)  # unless it returns, whatever ends it
        await self._anchor.raise_to(account, generation)
        highest = await self._anchor.highest(account)
        if highest != generation and highest is not None and _count(highest) == _count(generation):
            raise _rolled_back(account, lost=False)  # another copy came to as many commits first
        self._doubtful.discard(account)


class _GuardedTransaction:
    """Passes on what the guard does not keep for itself, of accounts that it has checked."""

    def __init__(
        self,
        inner: Transaction,
        turn: Turn,
        guard: _Guard,
        index: SearchTransaction | None = None,
    ) -> None:
        self._inner = inner
        self._turn = turn
        self._guard = guard
        self._index = index
        self._bases: dict[str, _Base] = {}

    async def check(self, account: str) -> None:
        if account not in self._bases:
            self._bases[account] = await self._guard.check(self._inner, account)

    async def renew(self, account: str) -> None:
        self._bases[account] = await self._guard.renew(self._inner, account)

    async def get(self, key: Key) -> bytes | None:
        self._turn.check_get(key)
        await self.check(key[0])
        return None if _is_reserved(key) else await self._inner.get(key)

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        self._turn.check_scan(prefix, after, limit)
        for account in prefix[:1]:
            await self.check(account)
        rows: list[tuple[Key, bytes]] = []
        while (wanted := limit - len(rows)) > 0:
            page = await self._inner.scan(prefix, after, wanted)
            for key, value in page:
                await self.check(key[0])
                if not _is_reserved(key):
                    rows.append((key, value))
            if len(page) < wanted:
                break
            after = page[-1][0]
        return rows

    async def search(
        self, query: Query, limit: int = 20, after: Hit | None = None
    ) -> Sequence[Hit]:
        self._turn.check_search(query, limit, after)
        hits: list[Hit] = []
        while (wanted := limit - len(hits)) > 0:
            page = await self._searched().search(query, wanted, after)
            for hit in page:
                await self.check(hit.key[0])
                if self._turn.is_inside(hit.key):  # the inner block is the account's
                    hits.append(hit)
            if len(page) < wanted:
                break
            after = page[-1]
        return hits

    async def documents(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[Document]:
        self._turn.check_scan(prefix, after, limit)
        documents = await self._searched().documents(prefix, after, limit)
        for document in documents:
            await self.check(document.key[0])
        return documents

    def _searched(self) -> SearchTransaction:
        if self._index is None:
            raise ApiMisuse("a store without an index; ask is_searchable first")
        return self._index

    async def commit(
        self, changes: Sequence[Change], documents: Sequence[Document | Forgotten] = ()
    ) -> None:
        final, indexed = self._turn.finish_indexed(changes, documents)
        touched = {one.key for one in (*final, *indexed)}
        if any(map(_is_reserved, touched)):
            raise ApiMisuse("a key that the store's guard keeps for itself")
        if indexed:
            self._searched()  # or refused before the anchor is touched
        marks: dict[str, _Mark] = {}
        for account in sorted({key[0] for key in touched}):
            await self.check(account)
            base = self._bases[account]
            if not base.anchored:
                await self._guard.raise_anchor(account, base.generation)
            marks[account] = _Mark(_after(base.generation), base.generation)
        rows = [Put(_row(account), mark.to_record()) for account, mark in marks.items()]
        if indexed:
            await self._searched().commit([*final, *rows], indexed)
        else:
            await self._inner.commit([*final, *rows])
        try:
            for account, mark in marks.items():
                await self._guard.raise_anchor(account, mark.generation)
        except StoreFailed:
            raise StoreFailed(
                ErrorCode.STORE_UNCERTAIN, "all was kept, but the anchor could not be raised"
            ) from None


async def is_guarded(inner: Store, account: str) -> bool:
    """Say whether an account of a store was ever committed to under a guard.

    Whoever writes to one without its anchor makes changes that the guard knows nothing of.

    Args:
        inner: the store as the guard would wrap it.
        account: its name, the first part of its keys.

    Raises:
        StoreFailed: what the store raises.
    """
    async with inner.exclusive((account,)) as tx:
        return await tx.get(_row(account)) is not None


async def _read_mark(inner: Transaction, account: str) -> _Mark:
    raw = await inner.get(_row(account))
    return _Mark() if raw is None else _Mark.from_record(raw)


def _row(account: str) -> Key:
    return (account, _RESERVED)


def _is_reserved(key: Key) -> bool:
    return key[1:2] == (_RESERVED,)


def _after(generation: int) -> int:
    """Return a generation that is higher, and that nobody else comes upon."""
    number = int.from_bytes(NativePrimitives().random(_RANDOM_BYTES))
    return (_count(generation) + 1) << _RANDOM_BITS | number


def _count(generation: int) -> int:
    """Return how many generations led to this one."""
    return generation >> _RANDOM_BITS


def _rolled_back(account: str, *, lost: bool) -> StoreFailed:
    reason = (
        f"the anchor of {account} is lost, so that nobody knows how old the store is"
        if lost
        else f"the store was put back from before the last of what {account} did"
    )
    return StoreFailed(ErrorCode.STORE_ROLLED_BACK, f"{reason}; renew the account")
