"""Ports: what the outside gives to the library, passed in once.

Rule: protocols and one passive record; nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from e2ee.storage import Store
from e2ee.trust import TrustPolicy

__all__ = ["Clock", "Ports", "Primitives"]

Clock = Callable[[], datetime]
"""Returns the present as an aware ``datetime`` in UTC."""


class Primitives(Protocol):
    """Randomness; the rest of the primitives join with what needs them."""

    def random(self, count: int) -> bytes:
        """Return ``count`` bytes from the operating system's generator, never from a cache."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that an account needs from outside.

    Attributes:
        store: where state lives.
        primitives: randomness.
        trust: the decisions that belong to the user.
        clock: the present, aware and in UTC.
        executor: optional; hashing runs on it beside the event loop. The library starts no
            thread of its own.
    """

    store: Store
    primitives: Primitives
    trust: TrustPolicy
    clock: Clock
    executor: Executor | None = None
