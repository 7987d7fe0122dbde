"""One store and several processes, killed or not: nothing lost, nothing twice, nothing half."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.source import ROOT
from tests.support.store_worker import COUNTER, ME, command
from tests.support.stores import Place, opened

PROCESSES = 4
EACH = 1000
AWAITS_AT_LEAST = 10  # of a life: what a hooked store adds to two commits


@pytest.mark.slow
async def test_r_06_no_operation_of_four_processes_is_lost_or_repeated(place: Place) -> None:
    names = [f"process {number}" for number in range(PROCESSES)]
    processes = [
        subprocess.Popen(command("count", place, name, str(EACH)), cwd=ROOT) for name in names
    ]
    assert [process.wait() for process in processes] == [0] * PROCESSES
    async with opened(place) as store, store.exclusive(ME) as transaction:
        assert await transaction.get(COUNTER) == b"%d" % (PROCESSES * EACH)
        taken: list[int] = []
        for name in names:
            noted = [int(number) for _, number in await transaction.scan((*ME, name), limit=EACH)]
            assert len(noted) == EACH
            taken += noted
    assert sorted(taken) == list(range(1, PROCESSES * EACH + 1))


@pytest.mark.slow
def test_r_01_a_kill_at_every_await_loses_nothing_that_was_acknowledged(place: Place) -> None:
    died = subprocess.run(
        command("die", place), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert int(died.stdout) >= AWAITS_AT_LEAST
