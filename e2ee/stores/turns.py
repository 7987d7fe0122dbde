"""Turns: the rules of exclusive blocks that every store shares.

Rule: who may enter, and what may be asked inside; where rows lie is the store's own business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.search import Document, Forgotten, Hit, Query
from e2ee.storage import Change, Key, Put, Remove

__all__ = ["Turn", "Turns", "deadline", "locked"]

_LOCK_WAIT: Final = 30.0  # seconds; a block waits for others, of which the longest take a few
_MAX_KEY_PARTS: Final = 8
_MAX_PAGE: Final = 2**31 - 1  # rows; what every engine can count to


def deadline() -> float:
    """Return the event loop's time until which a wait that begins now may last."""
    return asyncio.get_running_loop().time() + _LOCK_WAIT


def locked() -> StoreFailed:
    """Return the error of a wait that was too long."""
    return StoreFailed(ErrorCode.STORE_LOCKED, "others did not let go of the store in time")


class Turn:
    """One stay inside a block: what may still be asked, and of which keys.

    Attributes:
        deadline: the event loop's time until which the block may wait to begin.
    """

    def __init__(self, scope: Key) -> None:
        """Begin a turn.

        Args:
            scope: where reads and changes may lie; ``()`` for the whole store.

        Raises:
            ApiMisuse: the scope is none.
        """
        _check_key(scope, at_least=0)
        self.deadline = deadline()
        self._scope = scope
        self._over = False

    def check_get(self, key: Key) -> None:
        """Refuse to read after the end, outside of the scope, or what is no key.

        Raises:
            ApiMisuse: as said.
        """
        self._check_open()
        _check_key(key)
        self._check_inside(key)

    def check_scan(self, prefix: Key, after: Key | None, limit: int) -> None:
        """Refuse to read after the end, outside of the scope, what are no keys, and empty pages.

        Raises:
            ApiMisuse: as said.
        """
        self._check_open()
        _check_key(prefix, at_least=0)
        self._check_inside(prefix)
        if after is not None:
            _check_key(after)
        if type(limit) is not int or not 1 <= limit <= _MAX_PAGE:
            raise ApiMisuse(f"a page has 1 to {_MAX_PAGE} rows")

    def check_search(self, query: Query, limit: int, after: Hit | None) -> None:
        """Refuse to search after the end, what are no arguments, and empty pages.

        Raises:
            ApiMisuse: as said.
        """
        self._check_open()
        if not isinstance(query, Query) or not (after is None or isinstance(after, Hit)):
            raise ApiMisuse("a search takes a Query, and a Hit to go on from")
        if type(limit) is not int or not 1 <= limit <= limits.MAX_HITS:
            raise ApiMisuse(f"a page of hits has 1 to {limits.MAX_HITS}")

    def finish(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        """End the turn with ``changes``, which must lie within its scope, one for a key.

        Returns:
            The same, which nobody can alter any more.

        Raises:
            ApiMisuse: as ``storage.Transaction.commit`` says. The turn has ended nonetheless.
        """
        self._check_open()
        self.end()
        if not isinstance(changes, Sequence):
            raise ApiMisuse("changes are a sequence")
        final = tuple(changes)
        for change in final:
            _check_change(change)
            self._check_inside(change.key)
        if len({change.key for change in final}) != len(final):
            raise ApiMisuse("two changes of one key in a commit")
        return final

    def finish_indexed(
        self, changes: Sequence[Change], documents: Sequence[Document | Forgotten]
    ) -> tuple[tuple[Change, ...], tuple[Document | Forgotten, ...]]:
        """End the turn with ``changes`` and what becomes of the index; see :meth:`finish`.

        Raises:
            ApiMisuse: as ``search.SearchTransaction.commit`` says. The turn has ended nonetheless.
        """
        final = self.finish(changes)
        if not isinstance(documents, Sequence):
            raise ApiMisuse("documents are a sequence")
        indexed = tuple(documents)
        for document in indexed:
            if not isinstance(document, Document | Forgotten):
                raise ApiMisuse("what is indexed is a Document, or Forgotten")
            _check_key(document.key)
            self._check_inside(document.key)
        if len({document.key for document in indexed}) != len(indexed):
            raise ApiMisuse("two documents of one key in a commit")
        return final, indexed

    def end(self) -> None:
        """End the turn; nothing can be asked any more."""
        self._over = True

    def is_inside(self, key: Key) -> bool:
        """Say whether a key lies within the scope."""
        return key[: len(self._scope)] == self._scope

    def _check_inside(self, key: Key) -> None:
        if not self.is_inside(key):
            raise ApiMisuse("a key outside of the block's scope")

    def _check_open(self) -> None:
        if self._over:
            raise ApiMisuse("the transaction is over")


class Turns:
    """Lets one task at a time into a store, in the order in which they came."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._inside: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def take(self, scope: Key) -> AsyncIterator[Turn]:
        """Wait for the turn of this task, and hold it for the length of the block.

        Args:
            scope: where reads and changes may lie; ``()`` for the whole store.

        Raises:
            ApiMisuse: the scope is none; the task is inside already.
            StoreFailed: ``store-locked`` after a bounded wait.
        """
        turn = Turn(scope)
        task = asyncio.current_task()
        if self._inside is task:
            raise ApiMisuse("blocks of one task do not nest")
        try:
            async with asyncio.timeout_at(turn.deadline):
                await self._lock.acquire()
        except TimeoutError:
            raise locked() from None
        self._inside = task
        try:
            yield turn
        finally:
            turn.end()
            self._inside = None
            self._lock.release()


def _check_change(change: Change) -> None:
    if not isinstance(change, Put | Remove):
        raise ApiMisuse("a change is a Put or a Remove")
    _check_key(change.key)
    if isinstance(change, Put):
        if not isinstance(change.value, bytes):
            raise ApiMisuse("a value is bytes")
        if len(change.value) > limits.MAX_VALUE_BYTES:
            raise ApiMisuse(
                f"a value has at most {limits.MAX_VALUE_BYTES} bytes", code=ErrorCode.LIMIT_EXCEEDED
            )


def _check_key(key: Key, *, at_least: int = 1) -> None:
    if (
        not isinstance(key, tuple)
        or not at_least <= len(key) <= _MAX_KEY_PARTS
        or not all(isinstance(part, str) for part in key)
    ):
        raise ApiMisuse(f"a key is a tuple of {at_least} to {_MAX_KEY_PARTS} strings")
