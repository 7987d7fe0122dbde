"""Forgetting: in which order a history forgets, so that nobody can have it forget all.

Rule: who is next, and nothing of what was seen. What is forgotten is of the node of which most is
remembered, so that whoever fills one node loses what was seen there; in a node it is what was not
seen for longest, by the count of sightings since and not by any clock.

Each row is found by its key, in which a node stands by its digest:

    turn      what was seen in a node, by when it was seen last: the first is forgotten first
    share     how much of a node is remembered
    size      the same, the node of which most is remembered first
    count     how much is remembered in all, and the last turn
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from e2ee import limits
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.history_record import CountRecord, ShareRecord, TurnRecord
from e2ee.storage import Change, Key, Put, Remove, Transaction

__all__ = ["Forgetting"]

_LAGGING: Final = 8  # what is seen again moves up once it lags by this part of all, to spare writes
_LARGEST: Final = 10**10  # no node has as many sightings; sizes count down from it


@dataclass(slots=True)
class _Share:
    """What one transaction does to a node.

    Attributes:
        node: its digest.
        before: how many sightings of it are stored.
        now: how many will be.
        forgotten: up to which of its stored turns there is nothing left to forget.
        spent: whether that are all of them: what this transaction adds, it does not forget.
    """

    node: str
    before: int
    now: int
    forgotten: Key | None = None
    spent: bool = False


class Forgetting:
    """The turns of one account, over one open transaction."""

    def __init__(self, tx: Transaction, root: Key) -> None:
        """Begin to count.

        Args:
            tx: the caller's transaction.
            root: where the rows of the history are.
        """
        self._tx = tx
        self._root = root
        self._turns: dict[Key, TurnRecord | None] = {}
        self._shares: dict[str, _Share] = {}
        self._sized: Key | None = None  # up to here, the nodes by size are among the shares
        self._count: CountRecord | None = None
        self._counted = CountRecord()

    async def take(self, seen: TurnRecord, node: str, before: int | None) -> int:
        """Return the turn of what is seen now.

        Args:
            seen: what is seen.
            node: the digest of the node where it is seen.
            before: the turn that it had; ``None`` if it is not remembered.

        Raises:
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        count = await self._counts()
        if before is not None and count.last - before <= limits.MAX_HISTORY_ITEMS // _LAGGING:
            return before
        turn = count.last + 1
        self._turns[self._key(node, turn)] = seen
        if before is None:
            (await self._share(node)).now += 1
        else:
            self._turns[self._key(node, before)] = None
        self._count = CountRecord(turn, count.sightings + (before is None))
        return turn

    async def forget(self) -> TurnRecord | None:
        """Return what is to be forgotten now, if more is remembered than may be.

        Of what this transaction saw itself nothing is forgotten before the next one.

        Raises:
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        count = await self._counts()
        if count.sightings <= limits.MAX_HISTORY_ITEMS:
            return None
        while share := await self._largest():
            turn = await self._first(share)
            if turn is not None:
                share.now -= 1
                self._count = replace(count, sightings=count.sightings - 1)
                return turn
        return None

    def changes(self) -> Iterator[Change]:
        """Yield what to commit, each row once."""
        for key, turn in self._turns.items():
            yield Remove(key) if turn is None else Put(key, turn.to_record())
        for share in self._shares.values():
            if share.now != share.before:
                yield from self._resized(share)
        if self._count is not None and self._count != self._counted:
            yield Put((*self._root, "count"), self._count.to_record())

    def _resized(self, share: _Share) -> Iterator[Change]:
        at, record = (*self._root, "share", share.node), ShareRecord(share.now).to_record()
        if share.before:
            yield Remove(self._size_key(share.before, share.node))
        if share.now:
            yield Put(self._size_key(share.now, share.node), record)
        yield Put(at, record) if share.now else Remove(at)

    async def _largest(self) -> _Share | None:
        """Return the node of which most is remembered, of those with something left to forget."""
        left = [share for share in self._shares.values() if not share.spent]
        largest = max(left, key=lambda share: share.now, default=None)
        while rows := await self._tx.scan((*self._root, "size"), self._sized, 1):
            ((key, raw),) = rows
            if key[-1] in self._shares:
                self._sized = key
                continue
            size = ShareRecord.from_record(raw).sightings
            if largest is None or size > largest.now:
                largest = await self._share(key[-1])
                if largest.now != size:
                    raise StoreFailed(ErrorCode.STORE_CORRUPT, "two stored sizes of one node")
            break
        return largest

    async def _first(self, share: _Share) -> TurnRecord | None:
        """Take out the first turn of a node, of those that are stored and were not seen again."""
        prefix = (*self._root, "turn", share.node)
        while rows := await self._tx.scan(prefix, share.forgotten, 1):
            ((share.forgotten, raw),) = rows
            if share.forgotten not in self._turns:
                self._turns[share.forgotten] = None
                return TurnRecord.from_record(raw)
        share.spent = True
        return None

    async def _share(self, node: str) -> _Share:
        if node not in self._shares:
            raw = await self._tx.get((*self._root, "share", node))
            size = 0 if raw is None else ShareRecord.from_record(raw).sightings
            self._shares[node] = _Share(node, size, size)
        return self._shares[node]

    async def _counts(self) -> CountRecord:
        if self._count is None:
            raw = await self._tx.get((*self._root, "count"))
            if raw is not None:
                self._counted = CountRecord.from_record(raw)
            elif await self._tx.scan(self._root, limit=1):
                raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored count of a history is lost")
            self._count = self._counted
        return self._count

    def _key(self, node: str, turn: int) -> Key:
        return (*self._root, "turn", node, f"{turn:020d}")  # sorts as it counts

    def _size_key(self, size: int, node: str) -> Key:
        return (*self._root, "size", f"{_LARGEST - size:010d}", node)
