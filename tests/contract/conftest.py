"""The fixtures of the engines' contract suite."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

import pytest

from ox.engine import OpenPgpEngine
from tests.support.engines import ENGINES, Pair


@pytest.fixture(params=ENGINES)
def make_engine(request: pytest.FixtureRequest) -> Callable[[Executor | None], OpenPgpEngine]:
    """Return what makes an engine, with an executor or without."""
    return ENGINES[request.param]


@pytest.fixture
async def pair(make_engine: Callable[[Executor | None], OpenPgpEngine]) -> Pair:
    """Return an engine and two keys of its own making."""
    engine = make_engine(None)
    juliet = await engine.generate("xmpp:juliet@capulet.lit")
    return Pair(engine, juliet, await engine.generate("xmpp:romeo@montague.lit"))
