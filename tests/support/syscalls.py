"""Lets a program live again and again under strace, with another of its system calls struck.

Rule: what a program does, and what must be true after it, is said by the tests.

A program is a script that ends in ``relive(live)``. It starts once and forks for every life, which
costs a hundredth of another start. strace counts calls from each fork on and strikes at one count
alone, the same for all; a life therefore makes so many vain calls first that its own n-th call is
the one.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import re
import signal
import subprocess
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Final, NoReturn

from tests.support.source import ROOT

__all__ = ["CALLS", "Census", "Life", "relive", "run_traced", "strike", "take_census"]

_NO_FILE: Final = 2**31 - 1  # a descriptor that is never open; Python itself refuses -1
_FATELESS: Final = re.compile("F_UNLCK|MAP_ANONYMOUS")
_END: Final = "="  # begins the line that ends a life's lines

CALLS: Final[dict[str, Callable[[], object]]] = {
    "chmod": lambda: os.chmod("", 0),
    "fchown": lambda: os.fchown(_NO_FILE, 0, 0),
    "fcntl": lambda: fcntl.fcntl(_NO_FILE, fcntl.F_GETFD),
    "fdatasync": lambda: os.fdatasync(_NO_FILE),
    "fsync": lambda: os.fsync(_NO_FILE),
    "ftruncate": lambda: os.ftruncate(_NO_FILE, 0),
    "link": lambda: os.link("", ""),
    "mkdir": lambda: os.mkdir(""),
    "mmap": lambda: mmap.mmap(-1, 1).close(),
    "newfstatat": lambda: os.stat(""),
    "openat": lambda: os.open("", 0),
    "pread64": lambda: os.pread(_NO_FILE, 0, 0),
    "pwrite64": lambda: os.pwrite(_NO_FILE, b"", 0),
    "rename": lambda: os.rename("", ""),
    "unlink": lambda: os.unlink(""),
    "unlinkat": lambda: os.unlink("", dir_fd=_NO_FILE),
}
"""The calls that can be struck, all those on files that a store makes, and how to make each in
vain. Not ``close``, whose error strace could only feign by leaving the file open."""


@dataclass(frozen=True, slots=True)
class Life:
    """What one life came to.

    Attributes:
        number: which one it was, and which call was struck; from 1.
        lines: what it said.
        code: its exit status; negative, the signal that killed it.
    """

    number: int
    lines: tuple[str, ...]
    code: int


@dataclass(frozen=True, slots=True)
class Census:
    """The calls that a program makes.

    Attributes:
        before: how often it makes each, until it forks for the first time.
        life: each call of one life, in order, with its arguments as strace writes them.
    """

    before: Counter[str]
    life: defaultdict[str, list[str]]

    def numbers(self, call: str) -> list[int]:
        """Return the numbers of those calls of a life that can fail.

        No kernel refuses to unlock a file of its own; and SQLite, which cannot believe it either,
        then waits ten seconds for itself. A map of no file is the memory of Python.
        """
        calls = enumerate(self.life[call], start=1)
        return [number for number, text in calls if not _FATELESS.search(text)]


def relive(live: Callable[[int], Coroutine[None, None, None]]) -> None:
    """Live as the arguments of this program say; called in it, at its end.

    Args:
        live: gets the life's number, and prints one line for each event. Life 0 is lived first,
            before the forks, so that what is imported late is there and out of the count.
    """
    call, struck, numbers = sys.argv[-3], int(sys.argv[-2]), sys.argv[-1]
    asyncio.run(live(0))
    print(_END, 0, 0, flush=True)
    for number in map(int, numbers.split(",")):
        life = os.fork()
        if not life:
            _live_once(live(number), CALLS[call], struck - number)
        print(_END, number, os.waitstatus_to_exitcode(os.waitpid(life, 0)[1]), flush=True)


def _live_once(
    life: Coroutine[None, None, None], vain: Callable[[], object], times: int
) -> NoReturn:
    try:
        loop = asyncio.new_event_loop()
        for _ in range(times):
            with suppress(OSError):
                vain()
        loop.run_until_complete(life)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # at once: the store that a life leaves open is as a kill leaves it


def take_census(strace: str, script: str, *arguments: object) -> Census:
    """Let a program live once, unharmed, and return the calls that it makes."""
    log = run_traced(strace, ["-e", ",".join(CALLS)], script, *arguments, "fsync", 1, 1)[1]
    census = Census(Counter(), defaultdict(list))
    itself = log.split(maxsplit=1)[0]
    for line in log.splitlines():
        process, text = line.split(maxsplit=1)
        call = text.partition("(")[0]
        if process == itself:
            census.before[call] += 1
        else:
            census.life[call].append(text)
    return census


def strike(
    strace: str,
    call: str,
    effect: str,
    census: Census,
    script: str,
    *arguments: object,
    lasting: bool = False,
) -> list[Life]:
    """Let a program live once for each time it makes a call, with that one struck.

    Args:
        strace: the program's path.
        call: one of ``CALLS``.
        effect: ``error=`` and the name of an error, or ``signal=KILL``.
        census: of the same program, with the same arguments.
        script: the program's text.
        arguments: what it finds first in its ``sys.argv``.
        lasting: whether all later calls are struck, too.
    """
    numbers = census.numbers(call)
    # The program itself makes fewer, and goes unharmed; some are to spare for what varies.
    struck = census.before[call] + max(numbers) + 20
    inject = f"inject={call}:{effect}:when={struck}{'+' if lasting else ''}"
    words = (*arguments, call, struck, ",".join(map(str, numbers)))
    options = ["-e", call, "-e", inject]
    if effect.startswith("error"):
        options.append("--seccomp-bpf")  # several times as fast, but then strace sends no signals
    output, log = run_traced(strace, options, script, *words)
    lives: list[Life] = []
    lines: list[str] = []
    for line in output.splitlines():
        if line.startswith(_END):
            _, number, code = line.split()
            lives.append(Life(int(number), tuple(lines), int(code)))
            lines = []
        else:
            lines.append(line)
    killed = sum(life.code == -signal.SIGKILL for life in lives)
    strikes = log.count("(INJECTED)") if effect.startswith("error") else killed
    assert [life.number for life in lives] == [0, *numbers], lines
    assert strikes >= len(numbers) if lasting else strikes == len(numbers), strikes
    return lives[1:]


def run_traced(
    strace: str, options: Sequence[str], script: str, *arguments: object
) -> tuple[str, str]:
    """Run a script to its end, and return what it and what strace have written."""
    with NamedTemporaryFile("r", encoding="utf-8") as log:
        traced = subprocess.run(
            [
                *(strace, "-f", "-qq", "-o", log.name, *options),
                *(sys.executable, "-c", script, *map(str, arguments)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert traced.returncode == 0, traced.stdout
        return traced.stdout, log.read()
