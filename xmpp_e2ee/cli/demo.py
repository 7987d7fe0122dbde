"""``xmpp-e2ee demo``: plays the story of an encrypted blog on a feed, or the one of OMEMO.

Rule: options in, exit code out; the stories are in ``xmpp_e2ee/demo.py`` and ``omemo_demo.py``,
their looks in ``screen.py`` and ``omemo_screen.py``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from e2ee.primitives import NativePrimitives
from e2ee.storage import Store
from e2ee.stores.sqlite import SqliteStore
from xmpp_e2ee.cli.screen import Paper, Screen, show_report
from xmpp_e2ee.feed import EXAMPLE, FeedError, read_feed, repeat
from xmpp_e2ee.narrator import Narrator

if TYPE_CHECKING:
    from xmpp_e2ee.demo import OpenStore

__all__ = ["demo"]

_Report = TypeVar("_Report")

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
@click.option("--omemo", is_flag=True, help="Play the story of OMEMO instead, which needs no FEED.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def demo(
    feed: Path | None, count: int | None, folder: Path | None, omemo: bool, as_json: bool
) -> None:
    """Play the story of an encrypted blog on FEED, any Atom file, or on a shipped example.

    Juliet publishes entries in an encrypted pubsub node, and gives access to Romeo and to Tybalt.
    The Nurse joins later and reads the whole history. Tybalt is removed, the secret is rotated, and
    he can read nothing new, even from a server that hands him everything. Last, Juliet writes for
    Romeo alone in a blog that is open to all.

    With --omemo they write to each other instead: a chat, a room that the Nurse joins later, a new
    device of Romeo's, and somebody who takes his name.
    """
    if omemo and (feed is not None or count is not None):
        raise click.UsageError("--omemo plays lines of its own: neither FEED nor --count is for it")
    console = Paper(quiet=as_json, highlight=False)
    screen = Screen(console, Console(stderr=True))
    if omemo:
        ok = _tell_of_omemo(folder, console, screen, as_json=as_json)
    else:
        ok = _tell_of_a_blog(feed, count, folder, console, screen, as_json=as_json)
    if not ok:
        raise SystemExit(1)


def _tell_of_a_blog(
    feed: Path | None,
    count: int | None,
    folder: Path | None,
    console: Console,
    narrator: Narrator,
    *,
    as_json: bool,
) -> bool:
    """Play it, show the report, and say whether everything holds."""
    # Not above: who gives another command need not wait for OMEMO's engines to be loaded.
    from xmpp_e2ee.demo import DEVICES, play

    try:
        entries = read_feed(feed or EXAMPLE).entries
    except FeedError as error:
        raise click.BadParameter(str(error), param_hint="FEED") from None
    entries = repeat(entries, count or max(2, len(entries)), NativePrimitives())
    name = str(feed or "example")
    told = _with_stores(
        DEVICES, folder, lambda open_store: play(entries, name, open_store, narrator)
    )
    report = asyncio.run(told)
    if as_json:
        _echo(report.to_json())
    else:
        show_report(console, report)
    return report.ok


def _tell_of_omemo(
    folder: Path | None, console: Console, narrator: Narrator, *, as_json: bool
) -> bool:
    """Play it, show the report, and say whether everything holds."""
    # Not above, as there.
    from xmpp_e2ee.cli.omemo_screen import show_omemo_report
    from xmpp_e2ee.omemo_demo import OMEMO_DEVICES, play_omemo

    told = _with_stores(OMEMO_DEVICES, folder, lambda open_store: play_omemo(open_store, narrator))
    report = asyncio.run(told)
    if as_json:
        _echo(report.to_json())
    else:
        show_omemo_report(console, report)
    return report.ok


def _echo(report: dict[str, Any]) -> None:
    click.echo(json.dumps(report, indent=2))


async def _with_stores(
    devices: Sequence[str], folder: Path | None, tell: Callable[[OpenStore], Awaitable[_Report]]
) -> _Report:
    """Return what is told with an empty store for each device, which are closed at the end."""
    async with AsyncExitStack() as stack:
        place = folder or Path(stack.enter_context(TemporaryDirectory(prefix="xmpp-e2ee-")))
        paths = _new_paths(place, devices)

        async def open_store(name: str) -> Store:
            store = await SqliteStore.open(paths[name])
            stack.push_async_callback(store.close)
            return store

        return await tell(open_store)


def _new_paths(folder: Path, devices: Sequence[str]) -> dict[str, Path]:
    """Return where the stores will lie; the story begins with empty ones."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{folder}: {error.strerror}", param_hint="--store") from None
    paths = {name: folder / f"{name}.sqlite" for name in devices}
    for path in paths.values():
        if path.exists():
            raise click.BadParameter(
                f"{path} is there already; choose an empty folder", param_hint="--store"
            )
    return paths
