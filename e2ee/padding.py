"""Random padding: the text of ``<rpad/>``, of random length and random content (XEP-0420 §4).

Rule: how long and of what only; how much is added before is each format's own business.
"""

from __future__ import annotations

from typing import Final

from e2ee.ports import Primitives

__all__ = ["MAX_PADDING", "random_padding"]

MAX_PADDING: Final = 200
"""Characters of random padding at most (XEP-0420 §4; XEP-0373 leaves it open)."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_CHARACTERS: Final = _ALPHABET * 4  # of each byte, so that each of the 64 has the same chance


def random_padding(primitives: Primitives, at_least: int = 0) -> str:
    """Return ``at_least`` characters and 0 to ``MAX_PADDING`` more, each with 6 random bits."""
    more = int.from_bytes(primitives.random(8)) % (MAX_PADDING + 1)  # 64 bits: bias below 2**-56
    return primitives.random(at_least + more).translate(_CHARACTERS).decode()
