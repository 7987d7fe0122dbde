"""Fixtures of the ground floor's tests.

Rule: what several modules here share; no test.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from e2ee.stores.postgres_schema import migrate
from tests.support.laboratory import Laboratory, leave
from tests.support.postgres import PostgresServer
from tests.support.xml import PARSERS, Parse


@pytest.fixture(params=PARSERS)
def parse(request: pytest.FixtureRequest) -> Parse:
    """Each XML parser in turn."""
    return PARSERS[request.param]


@pytest.fixture
async def dsn(postgres_server: PostgresServer) -> str:
    """Return the address of a PostgreSQL database with the tables, and nothing in them."""
    dsn = postgres_server.create_database()
    await migrate(dsn)
    return dsn


@pytest.fixture(scope="module", params=["made", "found"])
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that each life of a program finds: an empty one, or one with a store."""
    template = tmp_path_factory.mktemp("template")
    if request.param == "found":
        asyncio.run(leave(tmp_path_factory.mktemp("left"), template))
    return template


@pytest.fixture(scope="module")
def persistent(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Return the laboratory of a program that tries again what has failed."""
    return Laboratory(template, tmp_path_factory.mktemp("lives"), tries=2)


@pytest.fixture(scope="module")
def dying(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Return the laboratory of a program that dies as soon as something has failed."""
    return Laboratory(template, tmp_path_factory.mktemp("lives"), tries=1)
