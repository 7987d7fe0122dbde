"""Sightings for the tests of histories: places, contents, and one transaction for what is seen.

Rule: shorthands only; what a sighting must be is said by the tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from e2ee.history import History, Seen, Sighting
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.storage import Key, Store

__all__ = ["ME", "NOW", "Sight", "at", "digest", "place", "rows", "see", "see_all"]

ME: Final = ("juliet@capulet.lit",)
NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)

_SERVICE: Final = BareJid.parse("pubsub.capulet.lit")


@dataclass(frozen=True, slots=True)
class Sight:
    """One content in one place, and how long after ``NOW`` its author dates it, in minutes."""

    place: ItemPlace
    content: str
    dated: int | None = None
    line: str = "cipher"


def place(item: str, node: str = "blog") -> ItemPlace:
    """Return the place of an item."""
    return ItemPlace(NodeAddress(_SERVICE, node), ItemId(item))


def digest(content: str) -> bytes:
    """Return what stands for a content."""
    return hashlib.sha256(content.encode()).digest()


def at(minutes: int) -> datetime:
    """Return the moment so many minutes after ``NOW``."""
    return NOW + timedelta(minutes=minutes)


async def see_all(
    store: Store, sights: Sequence[Sight], now: datetime = NOW, scope: Key = ME
) -> list[Seen]:
    """See several contents in one transaction."""
    async with store.exclusive(scope) as tx:
        history = History(tx, scope)
        seen = [
            await history.saw(
                each.place,
                each.line,
                digest(each.content),
                None if each.dated is None else at(each.dated),
                now,
            )
            for each in sights
        ]
        await tx.commit(history.changes())
    return seen


async def see(
    store: Store, place: ItemPlace, content: str, dated: int | None = None, line: str = "cipher"
) -> Sighting:
    """See one content in a transaction of its own, and return what the sighting is."""
    (seen,) = await see_all(store, [Sight(place, content, dated, line)])
    return seen.sighting


async def rows(store: Store, scope: Key = ME) -> dict[Key, bytes]:
    """Return all rows of a scope."""
    async with store.exclusive(scope) as tx:
        return dict(await tx.scan(scope, limit=10**6))
