"""kill -9 of whoever reads an archive, at every commit: nothing is lost, and nothing read twice."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from e2ee.stores.sqlite import SqliteStore
from tests.support.archive_worker import command
from tests.support.archives import JULIET, Verona, cached, page, texts
from tests.support.source import ROOT

PAGES = 5  # items, messages, secrets, the rest; and the items once more
COMMITS = PAGES + 2  # the secrets, and the items that they open, are kept before their page


def play(role: str, *paths: Path) -> list[str]:
    """Play a role, and return what it says."""
    played = subprocess.run(
        command(role, *paths), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return played.stdout.splitlines()


@pytest.fixture
async def verona(tmp_path: Path) -> Verona:
    """Return everybody, with an export and Juliet's store in files."""
    verona = await Verona.found()
    await verona.everything()
    page(tmp_path / "page.xml", *verona.stanzas)
    await verona.on_disk(tmp_path / "juliet.sqlite")
    return verona


@pytest.mark.slow
async def test_r_01_a_kill_at_any_commit_loses_nothing_and_repeats_nothing(
    verona: Verona, tmp_path: Path
) -> None:
    folder = tmp_path / "stores"
    folder.mkdir()
    stores = play("once", tmp_path / "juliet.sqlite", tmp_path / "page.xml", folder)
    assert len(stores) == 2 * COMMITS
    for store in stores:
        await assert_whole(verona, Path(store), tmp_path / "page.xml")


@pytest.mark.slow
async def test_r_01_who_is_killed_at_every_second_commit_ends_as_well(
    verona: Verona, tmp_path: Path
) -> None:
    (lives,) = play("again", tmp_path / "juliet.sqlite", tmp_path / "page.xml")
    assert int(lives) > COMMITS / 2
    await assert_whole(verona, tmp_path / "juliet.sqlite", tmp_path / "page.xml")


async def assert_whole(verona: Verona, path: Path, export: Path) -> None:
    """Expect each message once in the inbox, each item in the cache, and each counted once."""
    async with await SqliteStore.open(path) as store:
        (report,) = await verona.read(export, store=store)
        assert report.left == ()
        assert sum(report.counts.values()) == len(verona.stanzas) + 1  # one has two items
        device = verona.world.party(str(JULIET), store=store)
        assert await texts(device) == ["Good pilgrim", "Saints do not move"]
        assert await cached(verona, store) == ["one", "three", "two"]
