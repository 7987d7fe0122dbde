"""What the commands of every group do alike: how they run, what they print, what none repeats.

Rule: nothing that only one group needs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import click

from xmpp_e2ee.store_address import without_passwords

__all__ = ["FORMAT", "Group", "json_option", "print_json", "run"]

_T = TypeVar("_T")

FORMAT: Final = 1
"""Of every JSON object that the commands print."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
"""Gives a command the argument ``as_json``."""


class Group(click.Group):
    """Commands on a store; what click quotes of an argument loses its password first."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            told = error.format_message()
            if told == without_passwords(told):
                raise
            raise click.UsageError(without_passwords(told), error.ctx) from None


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run an event loop for ``work``, which Ctrl-C ends."""

    async def interruptible() -> _T:
        done = await work
        await asyncio.sleep(0)  # where a Ctrl-C is heard that came while nothing had to wait
        return done

    return asyncio.run(interruptible())


def print_json(**values: Any) -> None:
    """Print one JSON object, which begins with its format."""
    click.echo(json.dumps({"format": FORMAT, **values}, indent=2))
