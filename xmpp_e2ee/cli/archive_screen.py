"""How the ``archive`` commands show what they read, to people and to programs.

Rule: looks only, and nothing of what was decrypted. Names and ids are others' text, never markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from xmpp_e2ee.archive_record import Outcome
from xmpp_e2ee.cli.screen import show_figures, show_line

if TYPE_CHECKING:
    from xmpp_e2ee.archive import FileReport

__all__ = ["report_json", "show_reports"]

_TOLD: Final = {
    Outcome.MESSAGES: "messages read",
    Outcome.SECRETS: "messages with secrets of nodes",
    Outcome.ITEMS: "items read",
    Outcome.ATTACHMENTS: "attachments read",
    Outcome.MOVED: "items that belong elsewhere",
    Outcome.ROLLED_BACK: "items older than what is known",
    Outcome.KNOWN: "read before",
    Outcome.OWN: "written by this device",
    Outcome.CLEAR: "not encrypted",
}
_SHOWN: Final = 12  # of what could not be read in one file


def show_reports(out: Console, reports: Sequence[FileReport], waiting: int) -> None:
    """Show what was read of all files together, and of each what was not."""
    counts: Counter[Outcome] = Counter()
    for report in reports:
        counts.update(report.counts)
    left = sum(len(report.left) for report in reports)
    figures = {_TOLD[outcome]: f"{counts[outcome]:,}" for outcome in Outcome if counts[outcome]}
    show_figures(out, {"files": f"{len(reports):,}", **figures, "not read": f"{left:,}"})
    for report in reports:
        if not report.left:
            continue
        show_line(out, f"{report.path}", "bold")
        for each in report.left[:_SHOWN]:
            show_line(out, f"  {each.what}: {each.code}: {each.reason}")
        if len(report.left) > _SHOWN:
            show_line(out, f"  … and {len(report.left) - _SHOWN:,} more; --json lists them all")
    if waiting:
        things = "1 change waits" if waiting == 1 else f"{waiting:,} changes wait"
        show_line(out, f"{things} to be sent by the client that connects next.")


def report_json(report: FileReport) -> dict[str, Any]:
    """Return the same of one file as JSON values."""
    return {
        "file": str(report.path),
        "counts": {outcome.value: report.counts.get(outcome, 0) for outcome in Outcome},
        "left": [
            {
                "number": each.number,
                "what": each.what,
                "code": each.code.value,
                "reason": each.reason,
            }
            for each in report.left
        ],
    }
