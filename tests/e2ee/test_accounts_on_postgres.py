"""A component with 10,000 accounts on one PostgreSQL, and four worker processes that share them."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import tracemalloc
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from tests.support.component import EFFECTS, Component, command, responsible
from tests.support.node_world import entry, stood_in
from tests.support.postgres import PostgresServer
from tests.support.source import ROOT
from tests.support.stores import Place, made, opened

pytestmark = pytest.mark.slow

ACCOUNTS = 10_000
AT_WORK = 250  # accounts, over which the workers of one test compete
WORKERS = 4
IDLE_BYTES = 2048  # at most, for what an application holds of one account that does nothing


def run(commands: list[list[str]]) -> list[list[Any]]:
    """Run workers side by side; return what each printed."""
    workers = [
        subprocess.Popen(each, cwd=ROOT, stdout=subprocess.PIPE, text=True) for each in commands
    ]
    printed = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers)
    return [[json.loads(line) for line in lines.splitlines()] for lines in printed]


@pytest.fixture(scope="module")
def place(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a store on which four workers have registered the accounts."""
    folder = tmp_path_factory.mktemp("component")
    place = asyncio.run(made("postgres", folder, postgres_server.create_database))
    shares = [ACCOUNTS * worker // WORKERS for worker in range(WORKERS + 1)]
    run([command("register", place, first, last) for first, last in pairwise(shares)])
    return place


async def test_every_one_of_10000_accounts_is_there_and_works(place: Place) -> None:
    async with opened(place) as store:
        component = Component(store)
        keys = set()
        for number in range(0, ACCOUNTS, 97):
            node = component.node(number)
            item = await node.encrypt(entry(f"of {number}"))
            await node.decrypt(item, stood_in(node.address))
            keys.add((await node.ox.own_key()).certificate.fingerprint)
        async with store.exclusive(()) as transaction:
            after, accounts = None, Counter[str]()
            while page := await transaction.scan((), after):
                accounts.update(key[0] for key, _ in page)
                after = page[-1][0]
    assert len(keys) == len(range(0, ACCOUNTS, 97))
    assert len(accounts) == ACCOUNTS


async def test_an_idle_account_takes_little_memory(place: Place) -> None:
    """Of what it has done nothing stays behind: all state is in the store."""
    async with opened(place) as store:
        component = Component(store)
        await component.node(0).encrypt(entry("the first"))
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            nodes = [component.node(number) for number in range(ACCOUNTS)]
            for node in nodes[:AT_WORK]:
                await node.encrypt(entry("any"))
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (after - before) / len(nodes) < IDLE_BYTES


def test_r_06_what_all_workers_get_is_taken_in_once(place: Place) -> None:
    """A message that reaches every worker is new to one of them and a replay to the others."""
    printed = run([command("take-in", place, 0, AT_WORK, worker) for worker in range(WORKERS)])
    taken = Counter(number for lines in printed for number, new in lines if new)
    assert taken == Counter(range(AT_WORK))
    assert [len(lines) for lines in printed] == [AT_WORK] * WORKERS


def test_r_06_workers_who_divide_the_accounts_perform_every_effect_once(place: Place) -> None:
    first, last = AT_WORK, AT_WORK + 4 * AT_WORK
    printed = run(
        [command("perform", place, first, last, worker, WORKERS) for worker in range(WORKERS)]
    )
    performed = [line for lines in printed for line in lines]
    assert sorted(performed) == [
        [number, [*range(1, EFFECTS + 1)]] for number in range(first, last)
    ]
    for worker, lines in enumerate(printed):
        assert lines
        assert all(responsible(number, WORKERS) == worker for number, _ in lines)
    assert run([command("perform", place, first, last, 0, 1)]) == [
        [[number, []] for number in range(first, last)]
    ]
