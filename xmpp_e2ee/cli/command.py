"""What the commands of every group do alike: how they run, what they print, what none repeats.

Rule: nothing that only one group needs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import click
from rich.text import Text

from xmpp_e2ee.cli.screen import Paper

__all__ = ["FORMAT", "json_option", "print_json", "run"]

_T = TypeVar("_T")

FORMAT: Final = 1
"""Of every JSON object that the commands print."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
"""Gives a command the argument ``as_json``."""


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run an event loop for ``work``, which Ctrl-C ends."""

    async def interruptible() -> _T:
        done = await work
        await asyncio.sleep(0)  # where a Ctrl-C is heard that came while nothing had to wait
        return done

    return asyncio.run(interruptible())


def print_json(**values: Any) -> None:
    """Print one JSON object, which begins with its format."""
    text = Text(json.dumps({"format": FORMAT, **values}, indent=2))
    Paper(highlight=False).print(text, soft_wrap=True)
