"""What every test shares: hypothesis profiles, the seed of a soak run, a PostgreSQL server.

Rule: no fixture of one area lives here; those stand beside the tests that use them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import PostgresServer, start_server

# Each of Sequoia's errors would gather a backtrace, at 70 ms; it asks once, at the first of them.
os.environ["RUST_BACKTRACE"] = "0"

# `check` and `test` try the same examples each time; `soak` tries others each time, more of them.
settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "soak",
    deadline=None,
    max_examples=10_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")


@pytest.fixture
def soak_random(request: pytest.FixtureRequest) -> Random:
    """Return randomness that the seed of `make soak` and the test's name determine."""
    seed = request.config.getoption("--hypothesis-seed")
    return Random(f"{seed} {request.node.nodeid}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Return a PostgreSQL server that runs from its first use to the end of the run."""
    with (
        TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as directory,
        start_server(Path(directory)) as server,
    ):
        yield server
