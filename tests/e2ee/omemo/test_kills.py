"""Kills of a process that reads, writes and sends: at each await of it, and at any moment.

The row R-01: nothing is lost, nothing is read twice, and no position of a ratchet is used twice.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random

import pytest

from tests.support.omemo_worker import JULIET, ROMEO, command, on_disk
from tests.support.omemo_world import World
from tests.support.source import ROOT

AWAITS_AT_LEAST = 30  # of a life: what a hooked store adds to its operations


@pytest.fixture
async def stores(tmp_path: Path) -> tuple[Path, Path]:
    """Return the files of two devices that know of each other and have not spoken yet."""
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.gather(romeo)
    await romeo.gather(juliet)
    paths = tmp_path / "juliet.db", tmp_path / "romeo.db"
    for party, path in zip((juliet, romeo), paths, strict=True):
        await on_disk(party, path)
    return paths


def numbers(role: str, stores: tuple[Path, Path], *options: object) -> tuple[int, ...]:
    """Play a role; return how many lives, letters and answers there were."""
    played = subprocess.run(
        command(role, *stores, *options), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return tuple(map(int, played.stdout.split()))


@pytest.mark.slow
def test_r_01_a_kill_at_every_await_repeats_and_loses_nothing(stores: tuple[Path, Path]) -> None:
    lives, letters, answers = numbers("die", stores)
    assert lives >= AWAITS_AT_LEAST
    assert letters > 2
    assert answers > 2


@pytest.mark.slow
def test_r_01_two_hundred_kills_at_random_repeat_and_lose_nothing(
    stores: tuple[Path, Path],
) -> None:
    lives, letters, answers = numbers("die-at-random", stores, 200, 1)
    assert lives == 200
    assert letters > 20
    assert answers > 20


@pytest.mark.soak
def test_r_01_many_kills_at_random_repeat_and_lose_nothing(
    stores: tuple[Path, Path], soak_random: Random
) -> None:
    numbers("die-at-random", stores, 5000, soak_random.randrange(2**32))
