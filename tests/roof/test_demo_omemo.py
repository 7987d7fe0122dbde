"""The OMEMO demo tells the truth: it passes on honest code, and fails where something leaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from e2ee import sce
from e2ee.arrival import Arrival
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.omemo import (
    Device,
    OmemoSessions,
    OpenedMessage,
    SealedChat,
    Version,
    device_keys,
    identities,
    recipients,
    seal_message,
)
from e2ee.omemo.engine_twomemo import TwomemoEngine
from e2ee.storage import Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmltree import Element
from tests.roof.test_demo import COUNT, TEXT, failed
from tests.support.source import ROOT
from xmpp_e2ee import omemo_client, omemo_demo
from xmpp_e2ee.cli import main
from xmpp_e2ee.narrator import Silence
from xmpp_e2ee.omemo_demo import OMEMO_DEVICES, play_omemo
from xmpp_e2ee.room_service import RoomService


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def several(**properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": closed(**properties)}


SCHEMA = closed(
    format={"const": 1},
    ok={"type": "boolean"},
    messages=COUNT,
    devices=several(jid=TEXT, id=COUNT, said=COUNT, read=COUNT, refused=COUNT),
    bytes=closed(
        plain=COUNT, shortest=COUNT, longest=COUNT, smallest=COUNT, largest=COUNT, wire=COUNT
    ),
    server=closed(stanzas=COUNT, sought=COUNT, found={"type": "array", "items": TEXT}, sample=TEXT),
    checks=several(name=TEXT, about=TEXT, expected=COUNT, found=COUNT, ok={"type": "boolean"}),
    seconds={"type": "number"},
)
"""What docs/cli.md promises."""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["demo", "--omemo", *map(str, arguments)])


async def rehearsed() -> dict[str, Any]:
    """Play on stores in memory and return the report."""

    async def open_store(name: str) -> Store:
        return MemoryStore()

    return (await play_omemo(open_store, Silence())).to_json()


class TestTheStory:
    def test_it_is_played_and_everything_holds(self) -> None:
        result = run("--json")
        report = json.loads(result.stdout)
        jsonschema.validate(report, SCHEMA)
        assert (result.exit_code, result.stderr) == (0, "")
        assert report["ok"]
        assert len(report["checks"]) == 26
        assert {device["jid"]: device["read"] for device in report["devices"]} == {
            "juliet@verona.example/phone": 5,
            "romeo@verona.example/phone": 12,
            "nurse@verona.example/phone": 2,
            "romeo@verona.example/tablet": 2,
        }
        sizes = report["bytes"]
        assert sizes["shortest"] < sizes["longest"] < sce.MIN_ENVELOPE_BYTES <= sizes["smallest"]
        assert report["server"]["found"] == []
        assert report["server"]["sample"].startswith("<encrypted ")

    def test_it_is_told_readably(self) -> None:
        result = run()
        assert (result.exit_code, result.stderr) == (0, "")
        told = " ".join(result.stdout.split())
        for words in (
            "“月に誓わないで。”",
            "she reads nothing",
            "Juliet is asked about romeo@verona.example#",
            "Juliet begins no session: identity-changed.",
            "Juliet reads nothing: identity-changed.",
            "It found none.",
            "26 of 26 checks hold.",
        ):
            assert words in told, words
        assert "\x1b" not in result.stdout
        assert not [line for line in result.stdout.splitlines() if cell_len(line) > 80]

    def test_stores_are_kept_where_one_says(self, tmp_path: Path) -> None:
        assert run("--store", tmp_path).exit_code == 0
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {f"{name}.sqlite" for name in OMEMO_DEVICES}
        assert run("--store", tmp_path).exit_code == 2


class TestSabotage:
    """Each breaks one thing that the library or the server must do; the demo must notice."""

    async def test_without_sabotage_nothing_fails(self) -> None:
        assert failed(await rehearsed()) == set()

    async def test_messages_in_clear(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def leaking(
            sessions: OmemoSessions, content: Sequence[Element], *rest: Any, **options: Any
        ) -> SealedChat:
            sealed = await seal_message(sessions, content, *rest, **options)
            return SealedChat((*sealed.children, *content), sealed.report)

        monkeypatch.setattr(omemo_client, "seal_message", leaking)
        report = await rehearsed()
        assert failed(report) == {"server-finds-nothing"}
        assert "stumblest" in report["server"]["found"]

    async def test_envelopes_of_telling_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sce, "random_padding", lambda primitives, least: "x")
        assert failed(await rehearsed()) == {"messages-are-padded"}

    async def test_whoever_believes_every_new_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(omemo_demo, "BlindTrustOnFirstSight", BlindTrustBeforeVerification)
        assert failed(await rehearsed()) == {"juliet-is-asked", "tablet-is-left-out"}

    async def test_whoever_begins_a_session_for_each_message(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def none(*arguments: object) -> dict[int, object]:
            return {}

        monkeypatch.setattr(recipients, "sessions_within", none)
        monkeypatch.setattr("e2ee.omemo.peers.sessions_within", none)
        assert "the-session-goes-on" in failed(await rehearsed())

    async def test_whoever_accepts_any_identity(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def careless(*arguments: object, **options: object) -> None:
            """Pin nothing anew, and object to nothing."""

        genuine = identities.identify_within

        async def once(
            sessions: OmemoSessions, draft: Any, device: Device, shown: Any, *, proven: bool
        ) -> ErrorCode | None:
            await genuine(sessions, draft, device, shown, proven=proven)
            return None

        monkeypatch.setattr("e2ee.omemo.peers.identify_within", once)
        monkeypatch.setattr("e2ee.omemo.decrypting.identify_within", careless)
        first_key = device_keys.first_key

        async def unpinned(
            sessions: Any, draft: Any, own: Any, device: Any, pinned: Any, bundle: Any, key: Any
        ) -> Any:
            pinned = TwomemoEngine().fingerprint(bundle.identity)
            return await first_key(sessions, draft, own, device, pinned, bundle, key)

        monkeypatch.setattr("e2ee.omemo.empty_messages.first_key", unpinned)
        found = failed(await rehearsed())
        assert {"forged-bundle-is-refused", "forged-message-is-refused"} <= found

    async def test_a_room_that_hides_a_member(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody writes to whom the room does not name, nor believes who is not in it."""
        genuine = RoomService._tell

        def secretive(self: RoomService, to: BareJid, room: Any, about: BareJid, what: Any) -> None:
            if about.local != "nurse":
                genuine(self, to, room, about, what)

        monkeypatch.setattr(RoomService, "_tell", secretive)
        unheard = {
            "nurse-reads-what-comes-after",
            "juliet-reads-the-nurse",
            "romeo-reads-the-nurse",
        }
        assert failed(await rehearsed()) == unheard

    async def test_a_room_without_a_history(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that the Nurse's reading nothing says nothing."""
        genuine = RoomService.say

        def forgetful(self: RoomService, sender: Any, room: Any, *rest: Any) -> None:
            genuine(self, sender, room, *rest)
            self._rooms[room].history.clear()

        monkeypatch.setattr(RoomService, "say", forgetful)
        assert failed(await rehearsed()) == {"nurse-is-handed-the-history"}

    async def test_messages_that_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        genuine = OmemoSessions.decrypt

        async def mute(self: OmemoSessions, encrypted: Element, arrival: Arrival) -> OpenedMessage:
            opened = await genuine(self, encrypted, arrival)
            return OpenedMessage(
                opened.id, Version.TWO, opened.sender, opened.fingerprint, opened.trust, arrival
            )

        monkeypatch.setattr(OmemoSessions, "decrypt", mute)
        assert "romeo-reads-the-first-message" in failed(await rehearsed())

    def test_a_failed_check_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sce, "random_padding", lambda primitives, least: "x")
        result = run()
        assert result.exit_code == 1
        assert "FAILED  payloads of fewer than 512 bytes:" in result.stdout
        assert "25 of 26 checks hold." in result.stdout


class TestEndings:
    @pytest.mark.parametrize("arguments", [["blog.atom"], ["--count", "3"]])
    def test_it_plays_no_feed(self, arguments: list[str]) -> None:
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "lines of its own" in result.stderr

    def test_a_failing_library_is_3_and_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def full(path: Path) -> SqliteStore:
            raise StoreFailed(ErrorCode.STORE_FULL, "the disk is full")

        monkeypatch.setattr(SqliteStore, "open", full)
        result = run("--json")
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr == "Error: store-full: the disk is full\n"

    def test_its_keys_are_documented(self) -> None:
        page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        for key in SCHEMA["properties"]:
            assert f"`{key}" in page.partition("### `--omemo`")[2], key

    @pytest.mark.slow
    def test_whoever_gives_another_command_does_not_wait_for_it(self, tmp_path: Path) -> None:
        """Its engines, by far the most of it, are loaded by who asks for them."""
        program = (
            "import sys\n"
            "from xmpp_e2ee.cli import main\n"
            "for line in sys.argv[1:]:\n"
            "    try: main(line.split())\n"
            "    except SystemExit as end: assert not end.code, end\n"
            "engines = {'twomemo', 'oldmemo', 'doubleratchet', 'x3dh', 'omemo', 'pydantic'}\n"
            "print(sorted(engines & set(sys.modules)), file=sys.stderr)"
        )
        commands = (
            "key generate juliet.sqlite --account juliet@capulet.lit --only-key",
            "key show juliet.sqlite --account juliet@capulet.lit",
            "store info juliet.sqlite",
        )
        done = subprocess.run(
            [sys.executable, "-c", program, *commands],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == "[]\n"
