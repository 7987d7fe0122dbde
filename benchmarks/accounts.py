"""Benchmark of a component: thousands of accounts on one PostgreSQL, and workers that share them.

Rule: an operation's figure stands beside that of the same operation on a store in memory, in the
same run: what is more is the price of PostgreSQL. Nothing here asserts.

    python -m benchmarks.accounts [--accounts 10000] [--workers 4]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from e2ee.effects import Subscribe
from e2ee.outbox import queued
from e2ee.stores.memory import MemoryStore
from tests.support.component import EFFECTS, Component, command
from tests.support.node_world import entry, stood_in
from tests.support.postgres import start_server
from tests.support.source import ROOT
from tests.support.stores import Place, made, opened

OPERATIONS = 200  # of each kind, on as many accounts
AT_WORK = 1000  # accounts, over which workers compete


def line(what: str, figure: str) -> None:
    """Print a figure."""
    print(f"{what:<48}{figure:>20}", flush=True)


def together(commands: list[list[str]]) -> float:
    """Run workers side by side; return how many seconds that took."""
    begun = time.perf_counter()
    workers = [subprocess.Popen(each, cwd=ROOT, stdout=subprocess.DEVNULL) for each in commands]
    if [worker.wait() for worker in workers] != [0] * len(workers):
        raise SystemExit("a worker failed")
    return time.perf_counter() - begun


def shares(count: int, workers: int) -> list[tuple[int, int]]:
    """Divide so many accounts."""
    return list(pairwise(count * worker // workers for worker in range(workers + 1)))


async def each(work: Callable[[int], Awaitable[object]]) -> float:
    """Return how many milliseconds an operation takes on an account, in the middle."""
    lasted = []
    for number in range(OPERATIONS):
        begun = time.perf_counter()
        await work(number)
        lasted.append(time.perf_counter() - begun)
    return median(lasted) * 1e3


async def operations(component: Component) -> dict[str, float]:
    """Return milliseconds by operation, each on accounts made out of nothing but their numbers."""
    items = [await component.node(number).encrypt(entry("any")) for number in range(OPERATIONS)]

    async def decrypt(number: int) -> None:
        node = component.node(number)
        await node.decrypt(items[number], stood_in(node.address))

    async def queue(number: int) -> None:
        node = component.node(number)
        async with component.ports.store.exclusive(node.ox.scope) as tx:
            effect = Subscribe(node.address)
            await tx.commit(await queued(tx, node.ox.account, [effect]))

    async def perform(number: int) -> None:
        outbox = component.outbox(number)
        *_, job = await outbox.pending()
        await outbox.done(job.id)

    return {
        "first use: read the keychain": await each(lambda n: component.node(n).keychain()),
        "encrypt an item": await each(lambda n: component.node(n).encrypt(entry("any"))),
        "decrypt an item": await each(decrypt),
        "open a message and take in its secret": await each(component.take_in),
        "queue an effect": await each(queue),
        "read what waits, report one done": await each(perform),
    }


async def idle(component: Component, count: int) -> float:
    """Return how many bytes an application holds of an account that has nothing to do."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    nodes = [component.node(number) for number in range(count)]
    for node in nodes[:OPERATIONS]:
        await node.encrypt(entry("any"))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / count


async def measure(place: Place, accounts: int, workers: int) -> None:
    """Measure all, and print it."""
    seconds = together(
        [command("register", place, first, last) for first, last in shares(accounts, workers)]
    )
    line(f"register {accounts} accounts, {workers} workers", f"{accounts / seconds:.0f} /s")
    in_memory = Component(MemoryStore())
    for number in range(OPERATIONS):
        await in_memory.register(number)
    alone = await operations(in_memory)
    begun = time.perf_counter()
    async with opened(place) as store:
        line("open the store", f"{(time.perf_counter() - begun) * 1e3:.1f} ms")
        component = Component(store)
        for what, lasted in (await operations(component)).items():
            line(what, f"{lasted:.2f} ms (×{lasted / alone[what]:.1f})")
        line("memory of an idle account", f"{await idle(component, accounts):.0f} bytes")
    for together_count in (1, workers):
        first = OPERATIONS + (0 if together_count == 1 else 2 * AT_WORK)
        spans = [(first + a, first + b) for a, b in shares(AT_WORK, together_count)]
        seconds = together([command("take-in", place, a, b, 0) for a, b in spans])
        line(f"messages taken in, {together_count} worker(s)", f"{AT_WORK / seconds:.0f} /s")
        seconds = together(
            [
                command("perform", place, first, first + AT_WORK, worker, together_count)
                for worker in range(together_count)
            ]
        )
        jobs = AT_WORK * EFFECTS
        line(f"effects performed, {together_count} worker(s)", f"{jobs / seconds:.0f} /s")


def main() -> None:
    """Start a server, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as folder,
        start_server(Path(folder)) as server,
    ):
        place = asyncio.run(made("postgres", Path(folder), server.create_database))
        asyncio.run(measure(place, arguments.accounts, arguments.workers))
        size = server.execute("SELECT pg_database_size(current_database())", place.address)
        line("on the server, an account", f"{int(size) / arguments.accounts:.0f} bytes")


if __name__ == "__main__":
    main()
