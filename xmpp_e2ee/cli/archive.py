"""``xmpp-e2ee archive``: what came before, decrypted into a store without a network.

Rule: options in, exit code out. What is read, and how far, is in ``xmpp_e2ee/archive.py``; how it
looks in ``archive_screen.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from e2ee.errors import StoreFailed
from e2ee.stores.sealing import Unlock
from ox.account import OxAccount
from xmpp_e2ee.cli.archive_screen import report_json, show_reports
from xmpp_e2ee.cli.command import print_json, run
from xmpp_e2ee.cli.key_options import Whose, on_account
from xmpp_e2ee.cli.screen import Paper, Screen
from xmpp_e2ee.export import ExportError, ExportFile, find_files
from xmpp_e2ee.key_changes import waiting
from xmpp_e2ee.narrator import Silence
from xmpp_e2ee.store_copy import Work

if TYPE_CHECKING:
    from e2ee.omemo.engine import OmemoEngine
    from xmpp_e2ee.archive import Archive, FileReport

__all__ = ["archive"]

_EXIT_STATUS = """\b
Exit status:
  0    everything that is encrypted could be read, now or before
  1    something could not be read; the report says what, and why
  2    wrong usage, or a source that cannot be read
  3    the library gave up: a store failed
  130  interrupted
  141  whoever read the output closed it
"""


@click.group(epilog=_EXIT_STATUS)
def archive() -> None:
    """Read what came before, from exports and without a network."""


@archive.command("decrypt", epilog=_EXIT_STATUS)
@on_account()
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    metavar="SOURCE...",
    type=click.Path(path_type=Path, exists=True),
)
def _decrypt(whose: Whose, sources: tuple[Path, ...], as_json: bool) -> None:
    """Decrypt and verify what SOURCE has of the account, into its store at ADDRESS.

    SOURCE is an XML file, or a directory that is searched for *.xml: answers of the account's
    message archive (XEP-0313), answers of services with items, or a server's export (XEP-0227).
    Messages in OMEMO then wait in the account's inbox, secrets of nodes are taken in, and items are
    in its cache, where they can be searched.

    The same command goes on after an interruption, and tries once more what could not be read:
    nothing is decrypted twice. Whose keys or devices are not known must be looked up by a client
    first.
    """
    unlocks = whose.unlocks()
    try:
        files = find_files(sources)
        reports, waits = run(_read(whose, unlocks, files, _work(as_json)))
    except ExportError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(
            store=str(whose.address), account=str(whose.account),
            files=[*map(report_json, reports)], waiting=waits,
        )  # fmt: skip
    else:
        show_reports(Paper(highlight=False), reports, waits)
    if any(report.left for report in reports):
        raise SystemExit(1)


async def _read(
    whose: Whose, unlocks: Sequence[Unlock], files: Sequence[ExportFile], work: Work
) -> tuple[list[FileReport], int]:
    async with whose.open(unlocks) as account:
        archive = _archive(account)
        try:
            with work("reading", None) as step:
                for file in files:
                    await archive.read(file, step)
            with work("trying again", None) as step:
                for file in files:  # secrets may have come in a later file than what they open
                    await archive.read_left(file, step)
        except (asyncio.CancelledError, StoreFailed):
            click.echo("The same command goes on where this one ended.", err=True)
            raise
        return [await archive.report(file) for file in files], await waiting(account)


def _archive(account: OxAccount) -> Archive:
    """Return the account's archive, read by each version of OMEMO that is installed."""
    # Not above: other commands need not wait for OMEMO to be loaded.
    from e2ee.omemo.engine_twomemo import TwomemoEngine
    from e2ee.omemo.sessions import OmemoSessions
    from xmpp_e2ee.archive import Archive

    engines: list[OmemoEngine] = [TwomemoEngine()]
    with suppress(ImportError):  # of another licence, and so an extra
        from e2ee.omemo.engine_oldmemo import OldmemoEngine

        engines.append(OldmemoEngine())
    return Archive(account, OmemoSessions(account.account, account.ports, engines))


def _work(as_json: bool) -> Work:
    paper = Paper(highlight=False)
    return Silence().work if as_json else Screen(paper, Console(stderr=True)).work
