"""Native primitives: randomness from the operating system.

Rule: the only implementation of ``ports.Primitives`` outside the browser; nothing is cached, so a
forked process never repeats its parent.
"""

from __future__ import annotations

import secrets

__all__ = ["NativePrimitives"]


class NativePrimitives:
    """``ports.Primitives`` on this machine."""

    def random(self, count: int) -> bytes:
        """Return ``count`` bytes from the operating system's generator."""
        return secrets.token_bytes(count)
