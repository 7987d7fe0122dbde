"""``xmpp-e2ee archive decrypt``: from files to a store, a report, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from e2ee.primitives import NativePrimitives
from e2ee.stores.sealed import SealedStore, seal_in_place
from e2ee.stores.sealing import Passphrase
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmlwrite import write_xml
from tests.support.archives import JULIET, Verona, cached, page, result, texts
from tests.support.omemo_world import body
from xmpp_e2ee.archive_record import Outcome
from xmpp_e2ee.cli import main

_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}


def _closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_LEFT = _closed(number=_COUNT, what=_TEXT, code=_TEXT, reason=_TEXT)
_FILE = _closed(
    file=_TEXT,
    counts=_closed(**{outcome.value: _COUNT for outcome in Outcome}),
    left={"type": "array", "items": _LEFT},
)
SCHEMA = _closed(
    format={"const": 1},
    store=_TEXT,
    account=_TEXT,
    files={"type": "array", "items": _FILE},
    waiting=_COUNT,
)
"""What docs/cli.md promises."""

SAID = ["Good pilgrim", "Saints do not move", "Then move not", "in clear", "three"]


class Home:
    """Juliet's store and her exports in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "juliet.sqlite"
        self.verona = asyncio.run(self._prepared())

    async def _prepared(self) -> Verona:
        verona = await Verona.found()
        await verona.everything()
        await verona.on_disk(self.store)
        page(self.folder / "page.xml", *verona.stanzas)
        return verona

    def run(self, *arguments: str | Path, status: int = 0) -> Result:
        """Decrypt; it ends as it should, and shows nothing of what was decrypted."""
        result = CliRunner().invoke(
            main,
            ["archive", "decrypt", str(self.store), "--account", str(JULIET), *map(str, arguments)],
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            result.exception
        )
        assert result.exit_code == status, result.output
        assert not any(each in result.output for each in SAID)
        return result

    def told(self, *arguments: str | Path, status: int = 0) -> dict[str, Any]:
        """Decrypt, and return the JSON object that is as promised."""
        values: dict[str, Any] = json.loads(self.run(*arguments, "--json", status=status).stdout)
        jsonschema.validate(values, SCHEMA)
        return values

    def look(self, at: Callable[[SqliteStore], Awaitable[list[str]]]) -> list[str]:
        async def looked() -> list[str]:
            async with await SqliteStore.open(self.store) as store:
                return await at(store)

        return asyncio.run(looked())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_everything_is_read_and_nothing_of_it_shown(home: Home) -> None:
    values = home.told(home.folder / "page.xml")
    (file,) = values["files"]
    assert file["left"] == []
    assert {name: count for name, count in file["counts"].items() if count} == {
        "messages": 3,
        "secrets": 1,
        "items": 3,
        "clear": 1,
    }
    assert values["waiting"] > 0  # our bundle, in which a prekey was used
    assert home.look(lambda store: cached(home.verona, store)) == ["one", "three", "two"]

    async def inbox(store: SqliteStore) -> list[str]:
        return await texts(home.verona.world.party(str(JULIET), store=store))

    assert home.look(inbox) == SAID[:2]
    assert home.told(home.folder / "page.xml") == values


def test_people_are_told(home: Home) -> None:
    damaged = result([body("no")], wrapper={"from": "mallory@example.org"})
    file = page(home.folder / "other.xml", *[damaged] * 14)
    told = home.run(home.folder / "page.xml", file, status=1).stdout
    lines = [" ".join(line.split()) for line in told.splitlines()]
    for line in ("files 2", "messages read 3", "items read 3", "not encrypted 1", "not read 14"):
        assert line in lines
    assert str(file) in lines
    assert sum("forbidden: a result of somebody else's archive" in line for line in lines) == 12
    assert "… and 2 more; --json lists them all" in lines
    assert lines[-1].endswith("to be sent by the client that connects next.")


def test_what_is_left_is_told_each_time(home: Home) -> None:
    damaged = result([body("no")], wrapper={"from": "mallory@example.org"})
    file = page(home.folder / "other.xml", damaged)
    first = home.told(file, status=1)
    (left,) = first["files"][0]["left"]
    assert (left["number"], left["code"]) == (0, "forbidden")
    assert home.told(file, status=1) == first


def test_what_a_sender_writes_is_text(home: Home) -> None:
    """A node's name may be a terminal's command."""
    node = "[red]\u202e\u009b31m"
    answer = (
        "<iq xmlns='jabber:client' type='result' from='pubsub.example'>"
        f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'>"
        "<item id='1'><x xmlns='jabber:x:encrypted'/></item></items></pubsub></iq>"
    )
    file = home.folder / "hostile.xml"
    file.write_text(answer, encoding="utf-8")
    told = home.run(file, status=1).stdout
    assert "[red]\\u202e\\x9b31m" in told
    assert "\u009b" not in told


def test_a_folder_is_read_as_a_whole(home: Home) -> None:
    folder = home.folder / "export"
    folder.mkdir()
    for number, stanza in enumerate(home.verona.stanzas):
        (folder / f"{number}.xml").write_text(write_xml(stanza))
    values = home.told(folder)
    assert [file["file"] for file in values["files"]] == [
        str(folder / f"{number}.xml") for number in range(len(home.verona.stanzas))
    ]
    assert home.look(lambda store: cached(home.verona, store)) == ["one", "three", "two"]


def test_a_sealed_store_is_unlocked(home: Home) -> None:
    async def seal() -> None:
        async with await SqliteStore.open(home.store) as store:
            await seal_in_place(store, Passphrase("sesame"), NativePrimitives())

    asyncio.run(seal())
    secret = home.folder / "passphrase"
    secret.write_text("sesame\n")
    secret.chmod(0o600)
    home.run(home.folder / "page.xml", "--passphrase-file", secret)

    async def sealed(store: SqliteStore) -> list[str]:
        opened = await SealedStore.open(store, Passphrase("sesame"), NativePrimitives())
        return await cached(home.verona, opened)

    assert home.look(sealed) == ["one", "three", "two"]


def test_a_guarded_account_needs_its_anchor(home: Home) -> None:
    anchors = home.folder / "anchors"
    anchors.mkdir(mode=0o700)
    before = home.told(home.folder / "page.xml", "--anchors", anchors)
    assert "--anchors" in home.run(home.folder / "page.xml", status=2).stderr
    assert home.told(home.folder / "page.xml", "--anchors", anchors) == before


@pytest.mark.parametrize("name", ["nothing.xml", "empty"])
def test_what_is_no_source_is_wrong_usage(home: Home, name: str) -> None:
    (home.folder / "empty").mkdir()
    assert name in home.run(home.folder / name, status=2).stderr
    home.run(status=2)


def test_another_account_reads_nothing_of_it(home: Home) -> None:
    arguments = ["archive", "decrypt", str(home.store), "--account", "nurse@capulet.lit", "--json"]
    done = CliRunner().invoke(main, [*arguments, str(home.folder / "page.xml")])
    assert done.exit_code == 1
    (file,) = json.loads(done.stdout)["files"]
    assert not any(count for name, count in file["counts"].items() if name != "clear")
