"""``xmpp-e2ee demo``: plays the story of an encrypted blog on a feed.

Rule: options in, exit code out; the story is in ``xmpp_e2ee/demo.py``, its looks in ``screen.py``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from e2ee.primitives import NativePrimitives
from e2ee.storage import Store
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmltree import Element
from xmpp_e2ee.cli.screen import Paper, Screen, show_report
from xmpp_e2ee.demo import DEVICES, play
from xmpp_e2ee.feed import EXAMPLE, FeedError, read_feed, repeat
from xmpp_e2ee.narrator import Narrator
from xmpp_e2ee.report import Report

__all__ = ["demo"]


_EXIT_STATUS = """\b
Exit status:
  0    everything could be read by whom it should, and by nobody else
  1    something was read that must not be, or was not that should
  2    wrong usage, or a feed that cannot be used
  3    the library gave up: a store or an engine failed
  130  interrupted
  141  whoever read the output closed it
"""


@click.command(epilog=_EXIT_STATUS)
@click.argument("feed", required=False, type=click.Path(path_type=Path))
@click.option(
    "--count",
    type=click.IntRange(2, 100_000),
    metavar="N",
    help="Publish N entries: the first of the feed, or all of them again and again.",
)
@click.option(
    "--store",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the accounts' stores in DIR, which is made if need be; without it they are deleted.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def demo(feed: Path | None, count: int | None, folder: Path | None, as_json: bool) -> None:
    """Play the story of an encrypted blog on FEED, any Atom file, or on a shipped example.

    Juliet publishes entries in an encrypted pubsub node, and gives access to Romeo and to Tybalt.
    The Nurse joins later and reads the whole history. Tybalt is removed, the secret is rotated, and
    he can read nothing new, even from a server that hands him everything.
    """
    try:
        entries = read_feed(feed or EXAMPLE).entries
    except FeedError as error:
        raise click.BadParameter(str(error), param_hint="FEED") from None
    entries = repeat(entries, count or max(2, len(entries)), NativePrimitives())
    console = Paper(quiet=as_json, highlight=False)
    screen = Screen(console, Console(stderr=True))
    report = asyncio.run(_play(entries, str(feed or "example"), folder, screen))
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        show_report(console, report)
    if not report.ok:
        raise SystemExit(1)


async def _play(
    entries: Sequence[Element], feed: str, folder: Path | None, narrator: Narrator
) -> Report:
    async with AsyncExitStack() as stack:
        place = folder or Path(stack.enter_context(TemporaryDirectory(prefix="xmpp-e2ee-")))
        paths = _new_paths(place)

        async def open_store(name: str) -> Store:
            store = await SqliteStore.open(paths[name])
            stack.push_async_callback(store.close)
            return store

        return await play(entries, feed, open_store, narrator)


def _new_paths(folder: Path) -> dict[str, Path]:
    """Return where the stores will lie; the story begins with empty ones."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{folder}: {error.strerror}", param_hint="--store") from None
    paths = {name: folder / f"{name}.sqlite" for name in DEVICES}
    for path in paths.values():
        if path.exists():
            raise click.BadParameter(
                f"{path} is there already; choose an empty folder", param_hint="--store"
            )
    return paths
