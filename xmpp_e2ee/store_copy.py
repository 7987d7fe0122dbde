"""Copies one store into another, account by account, its index too, and reads every row back.

Rule: nothing that the destination holds is ever overwritten, and an account is there whole or not
at all; where the two stores lie, and whether they are sealed, makes no difference here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, cast

from e2ee.search import Document, SearchTransaction, is_searchable
from e2ee.storage import Key, Put, Store, Transaction
from xmpp_e2ee.store_survey import Extent, Step, everything, extent, names

__all__ = ["Copied", "CopyRefused", "Work", "copy"]

_PAGE: Final = 1000  # documents read at once

Work = Callable[[str, int | None], AbstractContextManager[Step]]
"""Accompanies long work: its label and its number of steps, ``None`` where nobody knows."""


class CopyRefused(Exception):
    """The destination is not, or is no longer, equal to the source; nothing was overwritten.

    Attributes:
        accounts: those that differ, in order.
    """

    def __init__(self, message: str, accounts: Sequence[str]) -> None:
        super().__init__(message)
        self.accounts = tuple(accounts)


@dataclass(frozen=True, slots=True)
class Copied:
    """What the destination now holds of the source, every row of it compared.

    Attributes:
        accounts: how many.
        present: how many of them were there before.
        rows: in all of them.
        bytes: in the values of all rows.
    """

    accounts: int
    present: int
    rows: int
    bytes: int


async def copy(source: Store, destination: Store, work: Work) -> Copied:
    """Copy all accounts, those left out that are there already and equal.

    The source is held exclusively from the beginning to the end. All of it is read before the first
    account is written, each in a commit of its own; after an interruption, another call goes on.
    Other accounts of the destination stay as they are. One account at a time is held in memory.
    What is found by its words is so in the copy, where both stores have an index.

    Args:
        source: where to read.
        destination: another store.
        work: told how it goes on.

    Raises:
        CopyRefused: the destination holds an account with other rows, and nothing was written; or
            somebody else has written to it meanwhile.
        StoreFailed: either store failed; accounts that were copied are whole.
    """
    indexed = is_searchable(source) and is_searchable(destination)
    async with source.exclusive(()) as tx:
        with work("reading", None) as step:
            accounts = await names(tx, step)
        with work("comparing", len(accounts)) as step:
            extents, present = await _compare(tx, accounts, destination, step)
        rows = sum(each.rows for each in extents.values())
        with work("copying", rows) as step:
            for account, wanted in extents.items():
                if account not in present:
                    documents = await _documents(tx, account) if indexed else []
                    await _put(destination, account, await _puts(tx, account), documents)
                    if await _extent(destination, account) != wanted:
                        raise CopyRefused("what was copied reads back otherwise", [account])
                step(wanted.rows)
    size = sum(each.bytes for each in extents.values())
    return Copied(len(extents), len(present), rows, size)


async def _compare(
    tx: Transaction, accounts: Sequence[str], destination: Store, step: Step
) -> tuple[dict[str, Extent], set[str]]:
    """Measure each account, and return also those that the destination holds already.

    In turns here and there: a server gives up a transaction in which nothing happens for long.
    """
    extents = {}
    present = set()
    differing = []
    for account in accounts:
        extents[account] = await extent(tx, account)
        there = await _extent(destination, account)
        if there == extents[account]:
            present.add(account)
        elif there.rows:
            differing.append(account)
        step(1)
    if differing:
        raise CopyRefused(
            "the destination holds other rows of these accounts, so nothing was written", differing
        )
    return extents, present


async def _extent(store: Store, account: str) -> Extent:
    async with store.exclusive((account,)) as tx:
        return await extent(tx, account)


async def _put(
    store: Store, account: str, changes: Sequence[Put], documents: Sequence[Document]
) -> None:
    async with store.exclusive((account,)) as tx:
        if await tx.scan((account,), limit=1):
            raise CopyRefused("somebody else has written these accounts meanwhile", [account])
        if documents:
            await cast("SearchTransaction", tx).commit(changes, documents)
        else:
            await tx.commit(changes)


async def _puts(tx: Transaction, account: str) -> list[Put]:
    return [Put(*row) async for row in everything(tx, (account,))]


async def _documents(tx: Transaction, account: str) -> list[Document]:
    documents: list[Document] = []
    after: Key | None = None
    while page := await cast("SearchTransaction", tx).documents((account,), after, _PAGE):
        documents += page
        after = page[-1].key
    return documents
