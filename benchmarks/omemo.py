"""Benchmark of OMEMO: ours on a disk and in memory, python-omemo in memory, Olm, in one run.

Rule: figures are ratios against a peer on the same machine in the same run; nothing here asserts.
Ours is everything: XML values, envelopes, trust, replays, and on the disk durable commits.
python-omemo's SessionManager gets and gives bare values, and keeps them in a dictionary; ``with
XML`` it reads and writes its own XML and an envelope, too. Olm is vodozemac's sessions alone, in
Rust, which keep nothing.

    python -m benchmarks.omemo [--rounds 100] [--folder .]

A turn of a conversation is written, delivered, decrypted and acknowledged, by each in turn. The
archive is read in pages by ours, one by one by the others. No task here lets the event loop come
round, so the store empties its log with every sixteenth block (D-51).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

from benchmarks.omemo_subjects import Olm, Ours, PythonOmemo, Side, Subject
from e2ee.storage import Put, Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore

ROMEO, JULIET = "romeo@x.example", "juliet@x.example"
BURST = 50  # messages without an answer: python-omemo sends an empty one for each after the 53rd
ARCHIVE = 1000
CROWDS = {50: 20, 1000: 3}  # devices, and rounds

Rows = dict[str, float]
"""Milliseconds by what was done."""


@dataclass
class Pair:
    """Two devices of one subject that have a session."""

    subject: Subject
    romeo: Side
    juliet: Side

    @classmethod
    async def of(cls, subject: Subject) -> Self:
        """Let two devices meet, and talk until both have answered."""
        pair = cls(subject, await subject.side(ROMEO), await subject.side(JULIET))
        await pair.romeo.meet(JULIET)
        await pair.juliet.meet(ROMEO)
        for _ in range(2):
            await pair.turns()
            await subject.settle(pair.romeo, pair.juliet)
        return pair

    async def turns(self) -> None:
        """Have each say something that is heard."""
        await self.juliet.read(await self.romeo.write(JULIET))
        await self.juliet.take()
        await self.romeo.read(await self.juliet.write(ROMEO))
        await self.romeo.take()


async def lasted(work: Awaitable[object]) -> float:
    """Return how many milliseconds something takes."""
    begun = time.perf_counter()
    await work
    return (time.perf_counter() - begun) * 1e3


async def conversation(pair: Pair, rounds: int) -> Rows:
    """Measure turns, each of which changes the ratchet's key."""
    turns = [await lasted(pair.turns()) for _ in range(rounds)]
    return {"turn of a conversation": median(turns) / 2}


async def one_way(pair: Pair, rounds: int) -> Rows:
    """Measure messages that follow each other."""
    written: list[float] = []
    read: list[float] = []
    for _ in range(max(1, rounds // BURST)):
        messages = []
        for _ in range(BURST):
            begun = time.perf_counter()
            messages.append(await pair.romeo.write(JULIET))
            written.append((time.perf_counter() - begun) * 1e3)
        read += [await lasted(pair.juliet.read(message)) for message in messages]
        await pair.juliet.take()
        await pair.turns()
    return {"encrypt": median(written), "decrypt": median(read)}


async def archive(pair: Pair, rounds: int) -> Rows:
    """Measure a catch-up."""
    messages = [await pair.romeo.write(JULIET) for _ in range(ARCHIVE)]
    whole = await lasted(pair.juliet.browse(messages))
    return {f"archive of {ARCHIVE}, a message": whole / ARCHIVE}


async def first_messages(pair: Pair, rounds: int) -> Rows:
    """Measure messages to strangers, and the strangers."""
    written, read = [], []
    for number in range(max(1, rounds // 5)):
        jid = f"stranger{number}@x.example"
        stranger = await pair.subject.side(jid)
        await stranger.meet(ROMEO)
        await pair.romeo.meet(jid)
        begun = time.perf_counter()
        message = await pair.romeo.write(jid)
        written.append((time.perf_counter() - begun) * 1e3)
        read.append(await lasted(stranger.read(message)))
    return {"first message, written": median(written), "first message, read": median(read)}


async def fan_out(pair: Pair, rounds: int) -> Rows:
    """Measure messages to crowds."""
    rows = {}
    for devices, times in CROWDS.items():
        people = await pair.subject.crowd(pair.romeo, devices)
        await pair.romeo.write(*people)  # what is loaded once
        whole = median([await lasted(pair.romeo.write(*people)) for _ in range(times)])
        rows[f"fan-out to {devices}, a device"] = whole / devices
    return rows


async def commits(store: Store, rounds: int) -> float:
    """Return how many milliseconds a durable commit takes: what a row on the disk cannot go below.

    A turn of a conversation has three, and each other row one a message or less.
    """

    async def commit(number: int) -> None:
        async with store.exclusive((ROMEO,)) as tx:
            await tx.commit([Put((ROMEO, str(row)), b"%512d" % number) for row in range(3)])

    return median([await lasted(commit(number)) for number in range(rounds)])


async def measure(rounds: int, folder: str) -> None:
    """Measure all by turns, so that none has the machine at a better time; print it."""
    async with AsyncExitStack() as closing:
        place = closing.enter_context(tempfile.TemporaryDirectory(dir=folder))

        async def on_disk(jid: str) -> Store:
            return await closing.enter_async_context(await SqliteStore.open(Path(place, jid)))

        async def in_memory(_: str) -> Store:
            return MemoryStore()

        alone = await commits(await on_disk("commits"), rounds)
        print(f"a commit of three rows takes {alone:.3f} ms on this disk, with nothing around it")
        subjects = (Ours(on_disk), Ours(in_memory), PythonOmemo(), PythonOmemo(xml=True), Olm())
        pairs = [await Pair.of(subject) for subject in subjects]
        heads = (
            "disk",
            "memory",
            "python-omemo",
            "with XML",
            "vodozemac",
            "theirs/disk",
            "theirs/memory",
        )
        print(f"{'ms':<32}" + "".join(f"{head:>15}" for head in heads))
        for stage in (conversation, one_way, archive, first_messages, fan_out):
            measured = [await stage(pair, rounds) for pair in pairs]
            for what in measured[0]:
                times = [rows[what] for rows in measured]
                disk, memory, theirs, *_ = times
                figures = [f"{figure:.3f}" for figure in times]
                figures += [f"{ratio:.2f}" for ratio in (theirs / disk, theirs / memory)]
                print(f"{what:<32}" + "".join(f"{each:>15}" for each in figures), flush=True)


def main() -> None:
    """Measure and print a table."""
    logging.disable()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--folder", default=".", help="on the disk that is measured")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.folder))


if __name__ == "__main__":
    main()
