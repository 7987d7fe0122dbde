"""NativePrimitives: randomness that never repeats."""

from __future__ import annotations

import subprocess
import sys

from e2ee.primitives import NativePrimitives
from tests.support.source import ROOT

_FORKING = """
import os
from e2ee.primitives import NativePrimitives
primitives = NativePrimitives()
primitives.random(16)
child = os.fork()
if child:
    os.waitpid(child, 0)
print(primitives.random(16).hex(), flush=True)
"""


def test_random_has_the_length_that_was_asked_for() -> None:
    assert [len(NativePrimitives().random(count)) for count in (0, 1, 32, 1000)] == [0, 1, 32, 1000]


def test_z_05_a_forked_process_does_not_repeat_its_parent() -> None:
    """A program of its own, because forking the test runner would fork all that it holds."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    child, parent = done.stdout.split()
    assert child != parent
