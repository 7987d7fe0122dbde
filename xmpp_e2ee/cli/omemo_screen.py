"""The end of the OMEMO story on a terminal: its devices, its figures, its verdict.

Rule: looks only, like ``screen.py``.
"""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from xmpp_e2ee.cli.screen import show_figures, show_verdict
from xmpp_e2ee.omemo_report import OmemoReport

__all__ = ["show_omemo_report"]


def show_omemo_report(out: Console, report: OmemoReport) -> None:
    """Show the devices, the figures, and whether everything held."""
    out.print()
    out.print(_devices(report))
    sizes = report.bytes
    show_figures(
        out,
        {
            "messages": f"{report.messages}",
            "bytes in plain": f"{sizes.plain:,}",
            "bytes of a line": f"{sizes.shortest} to {sizes.longest}",
            "bytes of a payload": f"{sizes.smallest} to {sizes.largest}",
            "bytes on the wire": f"{sizes.wire:,}",
            "words the server saw": f"{len(report.server.found):,} of {report.server.sought:,}",
            "time": f"{report.seconds:.2f} s",
        },
    )
    show_verdict(out, report.checks, report.server)


def _devices(report: OmemoReport) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("device")
    for heading in ("id", "said", "read", "refused"):
        table.add_column(heading, justify="right")
    for device in report.devices:
        counts = (device.id, device.said, device.read, device.refused)
        table.add_row(device.jid, *map(str, counts))
    return table
