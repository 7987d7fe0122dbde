"""Every seed and every finding, through its target."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import SEEDS, TARGETS, try_on

FILES = sorted(path for path in SEEDS.glob("*/*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_seed_is_taken_unless_its_name_says_refused(path: Path) -> None:
    assert try_on(path.parent.name, path.read_bytes()) is not path.name.startswith("refused")


def test_every_target_has_seeds() -> None:
    assert {path.parent.name for path in FILES} == set(TARGETS)
