"""Processes that read an export into a store, and are killed at their commits.

    python -m tests.support.archive_worker once STORE EXPORT FOLDER
    python -m tests.support.archive_worker again STORE EXPORT

``once`` kills one process before and one after each commit, each on a copy of the store of its own,
and lets another one finish its work; it prints where these copies are. ``again`` kills every
process at its second commit, until one lives, and prints how many there were.

Rule: what programs do that know nothing of a death. Pages are small, so that there are many.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from e2ee.names import BareJid
from e2ee.stores.sqlite import SqliteStore
from tests.support import omemo_world
from tests.support.hooked_store import HookedStore, Moment
from tests.support.node_world import Network, Person
from xmpp_e2ee import archive as archive_module
from xmpp_e2ee.archive import Archive
from xmpp_e2ee.export import find_files

__all__ = ["command"]

_ACCOUNT = "juliet@capulet.lit"
_KILLED = -9
_NEVER = 1_000_000


def command(role: str, *paths: Path) -> list[str]:
    """Return the command line of a role."""
    return [sys.executable, "-m", "tests.support.archive_worker", role, *map(str, paths)]


async def _read(path: Path, export: Path, fatal: Moment, commit: int) -> None:
    commits = count()

    async def strike(moment: Moment) -> None:
        if moment is fatal and next(commits) == commit:
            os.kill(os.getpid(), signal.SIGKILL)

    async with await SqliteStore.open(path) as opened:
        store = HookedStore(opened, strike)
        person = Person(Network(), BareJid.parse(_ACCOUNT), store)
        world = omemo_world.World(datetime.now(UTC))
        archive = Archive(person.ox, world.party(_ACCOUNT, store=store).sessions)
        files = find_files([export])
        for file in files:
            await archive.read(file, lambda _: None)
        for file in files:
            await archive.read_left(file, lambda _: None)


def _lives(path: Path, export: Path, fatal: Moment, commit: int) -> bool:
    """Let a process read, and say whether it lived."""
    process = os.fork()
    if not process:
        asyncio.run(_read(path, export, fatal, commit))
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert ended in (0, _KILLED), ended
    return ended == 0


def _once(path: Path, export: Path, folder: Path) -> None:
    for fatal in (Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT):
        for commit in count():
            store = folder / f"{fatal.name} {commit}.sqlite"
            shutil.copy(path, store)
            if _lives(store, export, fatal, commit):
                break
            assert _lives(store, export, fatal, _NEVER)
            print(store)


def _again(path: Path, export: Path) -> None:
    for lives in count(1):
        if _lives(path, export, Moment.BEFORE_COMMIT, 1):
            print(lives)
            return


if __name__ == "__main__":
    archive_module._PAGE = 2  # type: ignore[misc]
    match sys.argv[1:]:
        case "once", path, export, folder:
            _once(Path(path), Path(export), Path(folder))
        case "again", path, export:
            _again(Path(path), Path(export))
