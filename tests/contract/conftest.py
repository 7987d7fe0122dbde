"""The fixtures of the contract suites: engines that generate keys, stores of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest

from e2ee.storage import Store
from ox.engine import OpenPgpEngine
from tests.support.engines import ENGINES, Pair
from tests.support.postgres import PostgresServer
from tests.support.stores import DURABLE, STORES, Place, made, opened


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


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Return an empty store of each kind."""
    async with opened(await _made(request, tmp_path)) as store:
        yield store


@pytest.fixture(params=DURABLE)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return where an empty store of each durable kind lies."""
    return await _made(request, tmp_path)


async def _made(request: pytest.FixtureRequest, folder: Path) -> Place:
    return await made(request.param, folder, lambda: request.getfixturevalue("database"))


@pytest.fixture(scope="session")
def database(postgres_server: PostgresServer) -> str:
    """Return the address of a database; to make one for every test would fill the disk."""
    return postgres_server.create_database()
