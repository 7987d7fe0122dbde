"""A survey of a store: everything read, row by row, and measured account by account.

Rule: reads only. An account is what the first part of a key names; rows come in order of keys, so
those of one account follow each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key, Store, Transaction
from e2ee.stores.sealed_rows import looks_sealed

__all__ = ["Extent", "Findings", "Step", "check", "everything", "extent", "names"]

_PAGE: Final = 65_536  # rows; large, because a sealed store unseals all of its rows for each page
_STEP: Final = 1000  # rows

Step = Callable[[int], object]
"""Called with each number of rows that were read."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What reading everything has found.

    Attributes:
        rows: how many were read intact.
        bytes: in their values together.
        accounts: to which they belong.
        damage: what was found where reading ended, or ``None`` where all of it is sound.
    """

    rows: int = 0
    bytes: int = 0
    accounts: int = 0
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """The rows of one account; two accounts with equal extents hold equal rows.

    Attributes:
        rows: how many.
        bytes: in all values together.
        imprint: SHA-256 over all keys and values in order, in hexadecimal.
    """

    rows: int
    bytes: int
    imprint: str


async def check(store: Store, step: Step) -> Findings:
    """Read every row of a store, which verifies its checksum, and its seal where there is one.

    Raises:
        StoreFailed: the store could not be read for another reason than damage.
    """
    rows = size = accounts = 0
    last = None
    damage = None
    try:
        async with store.exclusive(()) as tx:
            async for key, value in _unsealed(tx, step):
                rows += 1
                size += len(value)
                accounts += key[0] != last
                last = key[0]
    except StoreFailed as failure:
        if failure.code is not ErrorCode.STORE_CORRUPT:
            raise
        damage = str(failure)
    return Findings(rows, size, accounts, damage)


async def names(tx: Transaction, step: Step) -> list[str]:
    """Return the names of all accounts, in order; all that there is has then been read once.

    Raises:
        StoreFailed: ``store-corrupt`` when a row was altered, or sealed ones lost their seal.
    """
    return list({key[0]: None async for key, _ in _unsealed(tx, step)})


async def extent(tx: Transaction, account: str) -> Extent:
    """Return the extent of an account, which has no rows where it is not there.

    Raises:
        StoreFailed: ``store-corrupt`` when a row was altered.
    """
    rows = size = 0
    imprint = sha256()
    async for key, value in everything(tx, (account,)):
        rows += 1
        size += len(value)
        imprint.update(len(key).to_bytes(1, "big"))
        for part in (*(part.encode("utf-8", "surrogatepass") for part in key), value):
            imprint.update(len(part).to_bytes(8, "big"))
            imprint.update(part)
    return Extent(rows, size, imprint.hexdigest())


async def everything(
    tx: Transaction, prefix: Key, step: Step | None = None
) -> AsyncIterator[tuple[Key, bytes]]:
    """Yield every row whose key begins with ``prefix``, in order.

    Raises:
        StoreFailed: ``store-corrupt`` when a row was altered.
    """
    after = None
    while page := await tx.scan(prefix, after, _PAGE):
        for start in range(0, len(page), _STEP):
            rows = page[start : start + _STEP]
            for row in rows:
                yield row
            if step is not None:
                step(len(rows))
            await asyncio.sleep(0)  # or Ctrl-C would have to wait for the end
        if len(page) < _PAGE:
            break
        after = page[-1][0]


async def _unsealed(tx: Transaction, step: Step) -> AsyncIterator[tuple[Key, bytes]]:
    async for key, value in everything(tx, (), step):
        if looks_sealed(key, value):
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "there are sealed rows, but no seal")
        yield key, value
