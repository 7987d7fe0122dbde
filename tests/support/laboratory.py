"""Lets a program on a SQLite store be struck at each of its system calls, and looks at the store.

Rule: what it must have come to is said by the tests; how calls are struck, in ``syscalls.py``.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from e2ee.errors import ErrorCode
from e2ee.stores.sqlite import SqliteStore
from tests.support.counting import count, reached
from tests.support.peers import require_program
from tests.support.syscalls import Life, strike, take_census

__all__ = ["Laboratory", "codes", "leave", "numbers"]

# Says each number that it has reached, and each error. Tries as often as it is told, then ends.
_PROGRAM: Final = """
import sys
from pathlib import Path
from e2ee.errors import StoreFailed
from e2ee.stores.sqlite import SqliteStore
from tests.support.counting import count
from tests.support.syscalls import relive

DIRECTORY, TRIES = Path(sys.argv[1]), int(sys.argv[2])

async def tried(attempt):
    for _ in range(TRIES):
        try:
            return await attempt()
        except StoreFailed as failure:
            print(failure.code, flush=True)

async def live(number):
    path = DIRECTORY / str(number) / "store.db"
    if store := await tried(lambda: SqliteStore.open(path)):
        if first := await tried(lambda: count(store)):
            print(first, flush=True)
            if second := await tried(lambda: count(store)):
                print(second, flush=True)
                await tried(store.close)

relive(live)
"""

_KEPT: Final = 3  # what a store that is found has reached


class Laboratory:
    """Lets the program meet a fault, each life in a folder of its own."""

    def __init__(self, template: Path, directory: Path, tries: int) -> None:
        self._strace = require_program("strace")
        self._template = template
        self._directory = directory
        self._arguments = (_PROGRAM, directory, tries)
        self._prepare([0, 1])
        self._census = take_census(self._strace, *self._arguments)
        self.start: Final = _KEPT if any(template.iterdir()) else 0

    def meet(self, call: str, effect: str, *, lasting: bool = False) -> list[Life]:
        """Let each call of that name be struck, or all from one on; see ``syscalls.strike``."""
        if not self._census.numbers(call):
            return []
        self._prepare([0, *self._census.numbers(call)])
        arguments = (self._strace, call, effect, self._census, *self._arguments)
        return strike(*arguments, lasting=lasting)

    def path(self, life: Life) -> Path:
        """Return where the store of a life lies."""
        return self._directory / str(life.number) / "store.db"

    async def check(self, life: Life) -> None:
        """Make sure that all is there which was acknowledged, and nothing that has failed."""
        acknowledged = max(numbers(life), default=self.start)
        after = life.lines[life.lines.index(str(acknowledged)) :] if numbers(life) else life.lines
        possible = {acknowledged}
        if life.code or ErrorCode.STORE_UNCERTAIN in after:
            possible.add(acknowledged + 1)
        assert await reached(self.path(life)) in possible, life

    def _prepare(self, lives: list[int]) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        for number in lives:
            shutil.copytree(self._template, self._directory / str(number))


def numbers(life: Life) -> list[int]:
    """Return what a life has acknowledged."""
    return [int(line) for line in life.lines if line.isdigit()]


def codes(life: Life) -> list[str]:
    """Return the errors that a life has met."""
    return [line for line in life.lines if not line.isdigit()]


async def leave(directory: Path, template: Path) -> None:
    """Put a store into ``template`` as a killed process leaves it, its log full."""
    async with await SqliteStore.open(directory / "store.db") as store:
        with closing(sqlite3.connect(directory / "store.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM sqlite_master").fetchall()  # holds the log from now on
            for _ in range(_KEPT):
                await count(store)
            for name in ("store.db", "store.db-wal"):
                shutil.copy(directory / name, template)
    assert (template / "store.db-wal").stat().st_size > 50_000
