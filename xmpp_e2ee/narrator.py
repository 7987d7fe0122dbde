"""The narrator: who tells people how the story goes on.

Rule: a protocol, and the narrator who says nothing; how it looks on a terminal is in
``cli/screen.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from e2ee.xmltree import Element

__all__ = ["Narrator", "Silence"]


class Narrator(Protocol):
    """Told what happens, as it happens."""

    def scene(self, title: str) -> None:
        """Begin the next part of the story."""
        ...

    def tell(self, text: str) -> None:
        """Say a sentence or two."""
        ...

    def show_reading(self, reader: str, entries: Sequence[Element]) -> None:
        """Show what somebody reads, as it was decrypted."""
        ...

    def show_source(self, text: str) -> None:
        """Show the beginning of something as the server sees it."""
        ...

    def work(
        self, label: str, total: int | None
    ) -> AbstractContextManager[Callable[[int], object]]:
        """Accompany long work; the block calls what it gets with each number of steps done.

        Args:
            label: what is being done.
            total: how many steps there are, or ``None`` where nobody knows before the end.
        """
        ...


class Silence:
    """The narrator who says nothing."""

    def scene(self, title: str) -> None:
        """Say nothing."""

    def tell(self, text: str) -> None:
        """Say nothing."""

    def show_reading(self, reader: str, entries: Sequence[Element]) -> None:
        """Show nothing."""

    def show_source(self, text: str) -> None:
        """Show nothing."""

    def work(
        self, label: str, total: int | None
    ) -> AbstractContextManager[Callable[[int], object]]:
        """Show no progress."""
        return nullcontext(lambda steps: None)
