"""A process that reads a page of targeted items and is killed at its work, again and again.

    python -m tests.support.targeted_worker STORE PAGE

PAGE holds a payload and the id of its item on each line. In its first life the reader dies at the
first time that it waits, in the next at the second, and so on, until it lives to the end; each life
begins with a copy of STORE. After each another process reads the page: every item is there, and
what the one that died said it had read is what it reads.

Rule: what a program does that knows nothing of its death; and one that checks what it left.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

from e2ee.arrival import Arrival
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from pubsub_encryption.targeted_reading import OpenedTargeted
from tests.support.cancellation import kill_at
from tests.support.hooked_store import waiting
from tests.support.omemo_worker import ROMEO, device_at
from tests.support.targeted_world import at, said, stood, targeted

__all__ = ["command"]


def command(store: Path, page: Path) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "tests.support.targeted_worker", str(store), str(page)]


async def _read(path: Path, page: list[tuple[Element, Arrival]], out: int | None = None) -> bool:
    """Read the page; return whether anything of it was new, and say what it says."""
    async with await SqliteStore.open(path) as store:
        party = await device_at(ROMEO, waiting(store))
        kept = await targeted(party).cache.get(at("0"))
        results = await targeted(party).decrypt_many(page)
        assert all(isinstance(result, OpenedTargeted) for result in results), results
        assert [said(result) for result in results] == [f"item {n}" for n in range(len(page))]
        assert await party.sessions.undelivered() == ()
        if out is not None:
            os.write(out, b"read")
        return kept is None


def _die(path: Path, page: list[tuple[Element, Arrival]], step: int) -> tuple[bool, bool]:
    """Let a reader die; return whether it lived to the end, and whether it told what it read."""
    listen, say = os.pipe()
    process = os.fork()
    if not process:
        asyncio.run(kill_at(_read(path, page, say), step))
        os._exit(0)
    os.close(say)
    ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert ended in (0, -signal.SIGKILL), ended
    with os.fdopen(listen, "rb") as told:
        return ended == 0, told.read() == b"read"


def _main(store: Path, lines: Path) -> None:
    pairs = [json.loads(line) for line in lines.read_text().splitlines()]
    page = [(parse_xml(payload), stood(at(item_id))) for payload, item_id in pairs]
    unread = 0
    for step in count():
        folder = store.parent / f"life {step}"
        shutil.copytree(store.parent / "template", folder)
        lived, told = _die(folder / store.name, page, step)
        was_new = asyncio.run(_read(folder / store.name, page))
        assert not (told and was_new), "what was told must be kept"
        assert not asyncio.run(_read(folder / store.name, page))
        unread += was_new
        shutil.rmtree(folder)
        if lived:
            print(step, unread)
            return


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
