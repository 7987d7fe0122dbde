"""A program on a terminal of its own, and somebody who types what it asks for.

Rule: types and reads; what must be shown is said by the tests.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys

from tests.support.source import ROOT

__all__ = ["PATIENCE", "Typist"]

PATIENCE = 60.0  # seconds until a program that says nothing counts as hung

_ON_ITS_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it
os.execv(sys.argv[1], sys.argv[1:])
"""


class Typist:
    """``xmpp-e2ee`` on a terminal; ``shown`` is all that it has shown."""

    def __init__(self, *arguments: str) -> None:
        self.shown = ""
        self._heard = 0
        self._screen, terminal = pty.openpty()
        program = [sys.executable, "-m", "xmpp_e2ee", *arguments]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_ITS_TERMINAL, *program],
            cwd=ROOT, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        )  # fmt: skip
        os.close(terminal)

    def wait_for(self, words: str) -> None:
        """Read until the program has shown ``words``, beyond those that were waited for before."""
        while (found := self.shown.find(words, self._heard)) < 0:
            assert self._read(), f"{words!r} was not shown: {self.shown!r}"
        self._heard = found + len(words)

    def answer(self, question: str, text: str) -> None:
        """Type a line when the program asks; what is typed before its last blank is thrown away."""
        self.wait_for(question)
        self.wait_for(": ")
        self.type(f"{text}\n")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._screen, text.encode())

    def end(self) -> int:
        """Read to the end; return the exit status."""
        while self._read():
            pass
        os.close(self._screen)
        return self._process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._screen], [], [], PATIENCE)
        assert ready, f"the program hangs: {self.shown!r}"
        try:
            chunk = os.read(self._screen, 4096)
        except OSError:  # the other end is closed
            return False
        self.shown += chunk.decode(errors="replace")
        return bool(chunk)
