"""A device in a process of its own, which others may disturb or kill.

    python -m tests.support.device owner|member FOLDER [before|after COMMIT]
    python -m tests.support.device worker FOLDER SEED

In FOLDER stand the device's store and ``service.log``, which records what reached the service and
outlives every crash. The owner rotates, if that is still to be done, and performs what is queued;
the member reads every message to it; both may be killed at a commit. The worker is an owner among
others on one store, who does what its seed says and notes it in ``work.log``.

Rule: what a program does that knows nothing of crashes or of the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

from e2ee.effect_record import effect_from_fields, effect_to_fields
from e2ee.effects import Effect
from e2ee.names import BareJid, NodeAddress
from e2ee.storage import Store
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmlwrite import write_xml
from tests.support.hooked_store import HookedStore, Moment
from tests.support.node_world import Network, Person, entry

__all__ = ["BLOG", "JULIET", "NURSE", "ROMEO", "TYBALT", "command", "noted", "recorded"]

JULIET, NURSE, ROMEO, TYBALT = (
    BareJid.parse(f"{name}@capulet.lit") for name in ("juliet", "nurse", "romeo", "tybalt")
)
BLOG = NodeAddress(JULIET, "blog")


def command(role: str, folder: Path, *options: str) -> list[str]:
    """Return the command line of a role."""
    return [sys.executable, "-m", "tests.support.device", role, str(folder), *options]


def dying(store: Store, when: str, commit: str) -> Store:
    """Return ``store`` so that this process is killed right before or after a commit, from 0."""
    last = {"before": Moment.BEFORE_COMMIT, "after": Moment.AFTER_COMMIT}[when]
    left = int(commit)

    async def die(moment: Moment) -> None:
        nonlocal left
        if moment is last:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    return HookedStore(store, die)


def recorded(folder: Path) -> list[Effect]:
    """Return every effect that reached the service, repetitions included."""
    log = folder / "service.log"
    return [effect_from_fields(json.loads(line)) for line in log.read_text().splitlines()]


def noted(folder: Path, kind: str) -> list[str]:
    """Return what the workers noted of one kind."""
    lines = map(json.loads, (folder / "work.log").read_text().splitlines())
    return [text for found, text in lines if found == kind]


def _append(file: Path, line: Any) -> None:
    with file.open("a") as log:
        log.write(json.dumps(line) + "\n")  # in one piece, also beside other processes
        log.flush()
        os.fsync(log.fileno())


async def _flush(juliet: Person, folder: Path) -> None:
    while jobs := await juliet.outbox.pending():
        for job in jobs:
            _append(folder / "service.log", effect_to_fields(job.effect))
            await juliet.outbox.done(job.id)


async def _rotate(juliet: Person, folder: Path) -> None:
    if len((await juliet.node(BLOG).keychain()).secrets) == 1:
        await juliet.node(BLOG).rotate(revoke={TYBALT})
    await _flush(juliet, folder)


async def _read(romeo: Person, folder: Path) -> None:
    juliet = Person(romeo.network, JULIET)
    for effect in recorded(folder):
        juliet.perform(effect)
    for letter in romeo.network.letters:
        if letter.to == romeo.jid:
            await romeo.took_in(letter)


async def _work(juliet: Person, folder: Path, random: Random) -> None:
    node, log = juliet.node(BLOG), folder / "work.log"
    for _ in range(6):
        match random.choice(["encrypt", "encrypt", "rotate", "remove", "grant"]):
            case "encrypt":
                _append(log, ("item", write_xml(await node.encrypt(entry("of a worker")))))
            case "rotate":
                _append(log, ("rotation", (await node.rotate()).secret_id))
            case "remove":
                _append(log, ("rotation", (await node.rotate(revoke={TYBALT})).secret_id))
            case "grant":
                await node.grant(random.choice([NURSE, TYBALT]))
    await _flush(juliet, folder)


async def _main(role: str, folder: Path, *options: str) -> None:
    jid = ROMEO if role == "member" else JULIET
    async with await SqliteStore.open(folder / f"{jid.local}.db") as store:
        if role == "worker":
            await _work(Person(Network(), jid, store), folder, Random(options[0]))
            return
        device = Person(Network(), jid, dying(store, *options) if options else store)
        print("ready", flush=True)
        await (_read if role == "member" else _rotate)(device, folder)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
