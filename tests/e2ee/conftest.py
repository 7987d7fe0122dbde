"""Fixtures of the ground floor's tests.

Rule: what several modules here share; no test.
"""

from __future__ import annotations

import pytest

from tests.support.xml import PARSERS, Parse


@pytest.fixture(params=PARSERS)
def parse(request: pytest.FixtureRequest) -> Parse:
    """Each XML parser in turn."""
    return PARSERS[request.param]
