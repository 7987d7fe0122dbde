"""CachePolicy: how much of what was decrypted an account keeps.

Rule: numbers only; what goes first is decided in ``cache_rows.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from e2ee.errors import ApiMisuse

__all__ = ["CachePolicy"]


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """The bounds of one account's cache.

    Attributes:
        max_age: how long an item is kept; ``None`` for as long as there is room.
        max_items: of all nodes.
        max_bytes: of all items as they are stored, about; an index takes more.
        max_items_per_node: so that one node does not drive out all the others.

    Raises:
        ApiMisuse: one of them is not positive.
    """

    max_age: timedelta | None = None
    max_items: int = 100_000
    max_bytes: int = 512 * 1024 * 1024
    max_items_per_node: int = 20_000

    def __post_init__(self) -> None:
        numbers = (self.max_items, self.max_bytes, self.max_items_per_node)
        if min(numbers) < 1 or (self.max_age is not None and self.max_age <= timedelta(0)):
            raise ApiMisuse("a cache that could keep nothing")
