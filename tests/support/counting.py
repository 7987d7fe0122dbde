"""Counts in a store: numbered commits whose rows always agree, so that any loss or half shows.

Rule: through the Store port alone, and light to import: programs that are killed and failed run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from e2ee.storage import Change, Key, Put, Remove, Store
from e2ee.stores.sqlite import SqliteStore

__all__ = ["ME", "count", "reached", "rows"]

ME: Final = ("juliet@capulet.lit",)


def rows(number: int) -> dict[Key, bytes]:
    """Return all the rows that are there after the commit of that number; 0 is an empty store."""
    if number == 0:
        return {}
    value = str(number).encode()
    return {
        (*ME, "a"): value,
        (*ME, "b"): value * 300,
        (*ME, "large"): value * (number % 4) * 3000,  # spills over to pages of its own, or none
        (*ME, "log", str(number)): value,  # one is inserted and one removed each time
    }


async def count(store: Store) -> int:
    """Commit the next number, and return it."""
    async with store.exclusive(ME) as transaction:
        before = dict(await transaction.scan(ME))
        number = _number(before) + 1
        after = rows(number)
        changes: list[Change] = [Put(key, value) for key, value in after.items()]
        changes += [Remove(key) for key in before if key not in after]
        await transaction.commit(changes)
    return number


async def reached(path: Path) -> int:
    """Return the number that all rows of the store at ``path`` agree on."""
    async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
        return _number(dict(await transaction.scan(ME)))


def _number(found: Mapping[Key, bytes]) -> int:
    number = int(found.get((*ME, "a"), b"0"))
    assert found == rows(number), f"half of {number}: {sorted(found)}"
    return number
