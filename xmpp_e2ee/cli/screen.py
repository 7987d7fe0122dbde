"""The screen: how what is told looks on a terminal, in a pipe, in a log.

Rule: looks only. What was decrypted is text, never markup; progress goes to stderr, and only where
somebody is watching.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from e2ee.xmltree import Element
from xmpp_e2ee.entry import opening_of, title_of
from xmpp_e2ee.report import Check, Report, Server

__all__ = [
    "Paper",
    "Screen",
    "end_unread",
    "printable",
    "show_figures",
    "show_line",
    "show_report",
    "show_verdict",
]

_PIPE_BROKEN: Final = 141  # 128 + SIGPIPE, as shells say
_SHOWN: Final = 12  # entries of one reading
_INDENT: Final = " " * 4


class Paper(Console):
    """Standard output, which whoever reads it may close before the end, like ``head``."""

    def on_broken_pipe(self) -> NoReturn:
        """End as all output ends that nobody reads."""
        end_unread()


def end_unread() -> NoReturn:
    """End as a program does that SIGPIPE killed; the status 1 would mean something else."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(_PIPE_BROKEN)


class Screen:
    """The narrator on a terminal."""

    def __init__(self, out: Console, err: Console) -> None:
        """Tell the story on ``out``; show progress on ``err`` if that is a terminal."""
        self._out = out
        self._err = err
        self._scenes = 0

    def scene(self, title: str) -> None:
        """Begin the next part of the story."""
        self._scenes += 1
        self._out.print(Text(f"\n{self._scenes:2}  {title}", style="bold"))

    def tell(self, text: str) -> None:
        """Say a sentence or two."""
        self._print(Text(text))

    def show_source(self, text: str) -> None:
        """Show something as the server sees it."""
        self._print(Text(text, style="dim"))

    def show_reading(self, reader: str, entries: Sequence[Element]) -> None:
        """Show the titles and first words of what somebody reads."""
        noun = "entry" if len(entries) == 1 else "entries"
        self.tell(f"{reader[:1].upper()}{reader[1:]} reads {len(entries):,} {noun}:")
        for entry in entries[:_SHOWN]:
            line = Text.assemble("· ", (title_of(entry), "cyan"), "  ", (opening_of(entry), "dim"))
            line.truncate(self._width, overflow="ellipsis")
            self._print(line)
        if len(entries) > _SHOWN:
            self.tell(f"… and {len(entries) - _SHOWN:,} more")

    @property
    def _width(self) -> int:
        return self._out.width - len(_INDENT)

    def _print(self, text: Text) -> None:
        for line in text.wrap(self._out, self._width):
            line.rstrip()
            self._out.print(Text(_INDENT).append_text(line), no_wrap=True)

    @contextmanager
    def work(self, label: str, total: int | None) -> Iterator[Callable[[int], object]]:
        """Show a progress bar while the block runs."""
        columns = (TextColumn("    {task.description}"), BarColumn(), MofNCompleteColumn())
        hidden = not self._err.is_terminal
        with Progress(
            *columns, TimeElapsedColumn(), console=self._err, transient=True, disable=hidden
        ) as progress:
            task = progress.add_task(label, total=total)
            yield lambda steps: progress.advance(task, steps)


def show_line(out: Console, text: str, style: str = "") -> None:
    """Print a line, which is not broken where the terminal ends."""
    out.print(Text(printable(text), style=style), soft_wrap=True)


def printable(text: str) -> str:
    """Return ``text`` with everything written out that is not for the eye."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def show_report(out: Console, report: Report) -> None:
    """Show the accounts, the figures, and whether everything held."""
    out.print()
    out.print(_accounts(report))
    show_figures(out, _figures(report))
    show_verdict(out, report.checks, report.server)


def show_verdict(out: Console, checks: Sequence[Check], server: Server) -> None:
    """Show what failed, and how much held."""
    failed = [check for check in checks if not check.ok]
    for check in failed:
        out.print(
            Text(
                f"FAILED  {check.about}: {check.found}, must be {check.expected}", style="bold red"
            )
        )
    if server.found:
        out.print(Text(f"        seen by the server: {', '.join(server.found[:20])}"))
    held = len(checks) - len(failed)
    verdict = f"{held} of {len(checks)} checks hold."
    out.print(Text(verdict, style="bold red" if failed else "bold green"))


def _accounts(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("account")
    table.add_column("role")
    for heading in ("devices", "secrets", "can read"):
        table.add_column(heading, justify="right")
    for account in report.accounts:
        table.add_row(
            account.jid,
            account.role,
            f"{account.devices}",
            f"{account.secrets}",
            f"{account.readable:,} of {report.items:,}",
        )
    return table


def _figures(report: Report) -> dict[str, str]:
    return {
        "items": f"{report.items:,}",
        "accounts": f"{len(report.accounts)}",
        "secrets": f"{report.secrets}",
        "revocations": f"{report.revocations}",
        "bytes in plain": f"{report.bytes.plain:,}",
        "bytes encrypted": f"{report.bytes.encrypted:,}",
        "bytes on the wire": f"{report.bytes.wire:,}",
        "words the server saw": f"{len(report.server.found):,} of {report.server.sought:,}",
        "time": f"{report.seconds:.2f} s",
    }


def show_figures(out: Console, figures: Mapping[str, str]) -> None:
    """Show figures by their names."""
    table = Table(box=SIMPLE_HEAD, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in figures.items():
        table.add_row(name, value)
    out.print(table)
