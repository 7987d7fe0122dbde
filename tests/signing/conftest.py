"""What the tests of signed items share: a scene with everybody on it.

Rule: fixtures only; what they are made of is in ``tests.support.signed_items``.
"""

from __future__ import annotations

import pytest

from tests.support.signed_items import Scene


@pytest.fixture
async def scene() -> Scene:
    return await Scene.set()
