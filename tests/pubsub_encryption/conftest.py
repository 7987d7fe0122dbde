"""What several modules of targeted items begin with.

Rule: fixtures alone; who plays, and how, is in ``tests/support``.
"""

from __future__ import annotations

import pytest

from tests.support.targeted_world import Stage

__all__ = ["stage"]


@pytest.fixture
async def stage() -> Stage:
    """Return Juliet, who writes, and Romeo, who has read something of hers before."""
    return await Stage.set()
