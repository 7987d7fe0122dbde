"""Starts Python programs, given as text, from the root folder of the project.

Rule: their text is the tests'; strace and its like stand in ``syscalls.py``.
"""

from __future__ import annotations

import subprocess
import sys

from tests.support.source import ROOT

__all__ = ["run", "start"]


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a program; it finds the arguments as text in ``sys.argv``."""
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT)


def run(script: str, *arguments: object) -> None:
    """Run a program, which must end well."""
    assert start(script, *arguments).wait() == 0
