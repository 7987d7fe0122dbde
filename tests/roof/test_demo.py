"""The demo tells the truth: it passes on honest code, and fails where something leaks."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import jsonschema
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from e2ee.effects import Affiliate, Affiliation, Unsubscribe
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.history import History
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.outbox import queued
from e2ee.storage import Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from pubsub_encryption import EncryptedItem, NodeEncryption
from signing import ItemSignatures, SignedItem, Unverifiable, Verdict, Verification
from tests.support.source import ROOT
from xmpp_e2ee.cli import main
from xmpp_e2ee.client import Client
from xmpp_e2ee.demo import DEVICES, play
from xmpp_e2ee.entry import title_of
from xmpp_e2ee.feed import EXAMPLE, read_feed
from xmpp_e2ee.narrator import Silence
from xmpp_e2ee.nodes import Node, StoredItem

ATOM = "http://www.w3.org/2005/Atom"
CLI = [sys.executable, "-m", "xmpp_e2ee"]

COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}


def _closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMA = _closed(
    format={"const": 1},
    ok={"type": "boolean"},
    feed=TEXT,
    items=COUNT,
    secrets=COUNT,
    revocations=COUNT,
    accounts={
        "type": "array",
        "items": _closed(
            jid=TEXT,
            role={"enum": ["owner", "member", "removed"]},
            devices=COUNT,
            secrets=COUNT,
            readable=COUNT,
        ),
    },
    bytes=_closed(plain=COUNT, encrypted=COUNT, wire=COUNT),
    server=_closed(
        stanzas=COUNT, sought=COUNT, found={"type": "array", "items": TEXT}, sample=TEXT
    ),
    checks={
        "type": "array",
        "items": _closed(
            name=TEXT, about=TEXT, expected=COUNT, found=COUNT, ok={"type": "boolean"}
        ),
    },
    seconds={"type": "number"},
)
"""What docs/cli.md promises."""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["demo", *map(str, arguments)])


def played(*arguments: str | Path) -> dict[str, Any]:
    """Run with ``--json`` and return the report, which fits the schema and the exit status."""
    result = run("--json", *arguments)
    report: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(report, SCHEMA)
    assert result.exit_code == (0 if report["ok"] else 1)
    assert result.stderr == ""
    return report


def failed(report: dict[str, Any]) -> set[str]:
    return {check["name"] for check in report["checks"] if not check["ok"]}


async def rehearsed() -> dict[str, Any]:
    """Play on stores in memory, which is faster, and return the report."""

    async def open_store(name: str) -> Store:
        return MemoryStore()

    report = await play(read_feed(EXAMPLE).entries, "example", open_store, Silence())
    return report.to_json()


def _is_verified(found: Verification | Unverifiable) -> TypeGuard[Verification]:
    return isinstance(found, Verification)


def feed_file(folder: Path, *titles: str) -> Path:
    path = folder / "own.atom"
    entries = "".join(
        f"<entry><id>urn:{n}</id><title>{title}</title></entry>" for n, title in enumerate(titles)
    )
    path.write_text(f"<feed xmlns='{ATOM}'>{entries}</feed>", encoding="utf-8")
    return path


class TestTheStory:
    def test_the_example_is_played_and_everything_holds(self) -> None:
        report = played()
        assert report["ok"]
        assert (report["feed"], report["items"]) == ("example", 12)
        assert (report["secrets"], report["revocations"]) == (2, 1)
        readable = {
            account["jid"].partition("@")[0]: account["readable"] for account in report["accounts"]
        }
        assert readable == {"juliet": 12, "romeo": 12, "tybalt": 6, "nurse": 12}
        assert report["bytes"]["plain"] < report["bytes"]["encrypted"] < report["bytes"]["wire"]
        assert report["server"]["sought"] > 300
        assert report["server"]["found"] == []
        assert report["server"]["sample"].startswith("<encrypted ")
        assert len(report["checks"]) == 32

    def test_it_is_told_readably(self) -> None:
        result = run()
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        for words in (
            "Romeo reads 12 entries",
            "花見 — a letter from Kyōto",
            "The notary read the whole contract",
            "Signatures prove that Juliet wrote 12 of them.",
            "Juliet wrote is trusted.",
            "signature, but was moved.",
            "Now, the Nurse is told, it is trusted:",
            "The server refuses him: forbidden.",
            "none of them: not-for-us.",
            "· The orchard wall: It is high and hard to climb.",
            "«nightingale» sings.",
            "0 of 6 new ones",
            "bytes on the wire",
            "32 of 32 checks hold.",
        ):
            assert words in result.stdout, words
        assert "\x1b" not in result.stdout
        assert not [line for line in result.stdout.splitlines() if cell_len(line) > 80]

    def test_own_entries_are_played(self, tmp_path: Path) -> None:
        report = played(feed_file(tmp_path, "Prière", "Gebet", "[bold]Prayer[/bold]"))
        assert (report["ok"], report["items"]) == (True, 3)
        assert report["feed"].endswith("own.atom")

    def test_what_was_decrypted_is_no_markup(self, tmp_path: Path) -> None:
        result = run(feed_file(tmp_path, "[bold]Prayer[/bold] :smile:", "[/]"))
        assert result.exit_code == 0
        assert "[bold]Prayer[/bold] :smile:" in result.stdout

    @pytest.mark.parametrize(
        ("entry", "signed"),
        [
            ("<entry xmlns='{a}'>\n <title> spaced </title>\n</entry>", True),
            ("<a:entry xmlns:a='{a}' xmlns:m='m:'><a:title>prefixed</a:title></a:entry>", True),
            ("<entry xmlns='{a}' xmlns:m='m:' m:n='1'><title>foreign</title></entry>", False),
            ("<entry xmlns='{a}'><title type='a&#10;b'>line end</title></entry>", False),
        ],
    )
    def test_what_cannot_be_signed_is_published_all_the_same(
        self, tmp_path: Path, entry: str, signed: bool
    ) -> None:
        path = tmp_path / "entry.atom"
        path.write_text(entry.format(a=ATOM), encoding="utf-8")
        report = played(path)
        assert report["ok"]
        (check,) = [
            check for check in report["checks"] if check["name"] == "romeo-verifies-everything"
        ]
        assert check["found"] == (2 if signed else 0)

    def test_a_feed_of_one_entry_is_repeated(self, tmp_path: Path) -> None:
        assert played(feed_file(tmp_path, "Alone"))["items"] == 2

    def test_words_of_the_protocol_are_no_leak(self, tmp_path: Path) -> None:
        """A blog about XMPP: the wire is full of its words, and none of them comes from it."""
        report = played(
            feed_file(tmp_path, "subscription", "encrypted openpgp", "whitelist affiliation pubsub")
        )
        assert report["ok"]
        assert report["server"]["found"] == []

    @pytest.mark.slow
    def test_two_hundred_items(self) -> None:
        report = played("--count", "200")
        assert report["ok"]
        assert report["items"] == 200
        assert {account["readable"] for account in report["accounts"]} == {200, 100}

    def test_stores_are_kept_where_one_says(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "stores"
        assert played("--store", folder, "--count", "2")["ok"]
        assert {path.name for path in folder.iterdir()} == {f"{name}.sqlite" for name in DEVICES}
        assert folder.stat().st_mode & 0o077 == 0
        again = run("--store", folder)
        assert again.exit_code == 2
        assert "is there already" in again.stderr


class TestSabotage:
    """Each breaks one thing that the library or the server must do; the demo must notice."""

    async def test_without_sabotage_nothing_fails(self) -> None:
        assert failed(await rehearsed()) == set()

    async def test_a_rotation_that_keeps_the_old_secret(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Tybalt is shut out by the server alone."""

        async def forgetful(
            self: NodeEncryption, *, revoke: Collection[BareJid] = (), reasons: object = ()
        ) -> None:
            effects = [
                effect
                for jid in revoke
                for effect in (
                    Unsubscribe(self.address, jid),
                    Affiliate(self.address, jid, Affiliation.NONE),
                )
            ]
            async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
                await tx.commit(await queued(tx, self.ox.account, effects))

        monkeypatch.setattr(NodeEncryption, "rotate", forgetful)
        assert failed(await rehearsed()) == {"tybalt-opens-nothing-new"}

    async def test_a_server_that_goes_on_serving_the_removed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Node, "check_reader", lambda self, sender: None)
        assert failed(await rehearsed()) == {"tybalt-is-refused"}

    async def test_a_removal_that_forgets_the_subscription(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The trap of real servers: he is notified of everything, though he opens nothing."""
        monkeypatch.setattr(Node, "end_subscription", lambda self, sender, jid: None)
        assert failed(await rehearsed()) == {"tybalt-is-not-notified"}

    async def test_an_owner_who_publishes_in_clear(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def plain(self: NodeEncryption, payload: Element) -> Element:
            return payload

        monkeypatch.setattr(NodeEncryption, "encrypt", plain)
        report = await rehearsed()
        assert {"server-finds-nothing", "romeo-reads-everything"} <= failed(report)
        assert "kitchen" in report["server"]["found"]

    async def test_encryption_that_only_encodes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Base64 is searched as well."""
        genuine = NodeEncryption.encrypt

        async def encoded(self: NodeEncryption, payload: Element) -> Element:
            secret_id = EncryptedItem.from_xml(await genuine(self, payload)).secret_id
            return EncryptedItem(secret_id, write_xml(payload).encode()).to_xml()

        monkeypatch.setattr(NodeEncryption, "encrypt", encoded)
        assert "server-finds-nothing" in failed(await rehearsed())

    async def test_a_telling_item_id(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that is derived from the content tells the service about it (N-20)."""

        titles = iter([title_of(each) for each in read_feed(EXAMPLE).entries])
        genuine = Client.new_item_id

        def telling(self: Client) -> ItemId:
            return ItemId(next(titles, genuine(self)))

        monkeypatch.setattr(Client, "new_item_id", telling)
        report = await rehearsed()
        assert failed(report) == {"server-finds-nothing"}
        assert "Counting things in July" in report["server"]["found"]

    async def test_a_reader_who_believes_every_signature(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        genuine = ItemSignatures.verify_many

        async def credulous(*arguments: Any) -> list[Verification | Unverifiable]:
            found = await genuine(*arguments)
            return [replace(each, verdict=Verdict.TRUSTED) for each in found if _is_verified(each)]

        monkeypatch.setattr(ItemSignatures, "verify_many", credulous)
        assert failed(await rehearsed()) == {
            "forged-post-is-recognised",
            "announcement-waits-for-romeo",
        }

    async def test_a_reader_who_remembers_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(History, "changes", lambda self: [])
        assert failed(await rehearsed()) == {
            "moved-post-is-recognised",
            "romeo-reads-again-from-his-cache",
        }

    async def test_an_owner_who_signs_the_cipher_text(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or anything but what members read (Q-12)."""
        genuine = ItemSignatures.sign

        async def sign(
            self: ItemSignatures, payload: Element, node: NodeAddress, *, beside: Sequence[BareJid]
        ) -> SignedItem:
            other = payload if beside else element("urn:example:other", "other")
            return replace(await genuine(self, other, node, beside=beside), payload=payload)

        monkeypatch.setattr(ItemSignatures, "sign", sign)
        missed = failed(await rehearsed())
        assert {"genuine-post-is-recognised", "romeo-verifies-everything"} <= missed
        assert "romeo-reads-everything" not in missed

    async def test_a_store_of_the_server_that_loses_an_item(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        genuine = Node.find

        def forgetful(*arguments: Any) -> list[StoredItem]:
            found = genuine(*arguments)
            return found[1:] if len(found) > 1 else found

        monkeypatch.setattr(Node, "find", forgetful)
        report = await rehearsed()
        assert {"romeo-reads-everything", "nurse-reads-everything"} <= failed(report)

    def test_a_failed_check_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Node, "end_subscription", lambda self, sender, jid: None)
        result = run()
        assert result.exit_code == 1
        assert "FAILED  new items that Tybalt was notified of: 6, must be 0" in result.stdout
        assert "31 of 32 checks hold." in result.stdout


class TestEndings:
    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["missing.atom"], "missing.atom: No such file"),
            ([str(ROOT / "pyproject.toml")], "not XML"),
            (["--count", "1"], "is not in the range"),
            (["--count", "many"], "is not a valid integer"),
            (["--colour"], "No such option"),
            (["--store", str(ROOT / "pyproject.toml")], "is a file"),
        ],
    )
    def test_wrong_usage_is_2(self, arguments: list[str], complaint: str) -> None:
        result = run(*arguments)
        assert result.exit_code == 2
        assert complaint in result.stderr
        assert result.stdout == ""

    def test_a_failing_library_is_3_and_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def full(path: Path) -> SqliteStore:
            raise StoreFailed(ErrorCode.STORE_FULL, "the disk is full")

        monkeypatch.setattr(SqliteStore, "open", full)
        result = run("--json")
        assert result.exit_code == 3
        assert result.stderr == "Error: store-full: the disk is full\n"
        assert result.stdout == ""

    def test_the_version_is_told(self) -> None:
        result = CliRunner().invoke(main, ["--version"])
        assert result.output.startswith("xmpp-e2ee, version 0.")

    def test_the_endings_are_documented(self) -> None:
        told = run("--help").stdout
        documented = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        for status in ("0", "1", "2", "3", "130"):
            assert f"\n    {status} " in told
            assert f"| {status} |" in documented


@pytest.mark.slow
class TestProcess:
    """The command as it is typed."""

    def test_it_runs(self) -> None:
        done = subprocess.run([*CLI, "demo"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "32 of 32 checks hold." in done.stdout

    def test_ctrl_c_ends_it_and_leaves_nothing(self, tmp_path: Path) -> None:
        environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            [*CLI, "demo", "--count", "5000"],
            cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                if "Juliet publishes" in line:
                    break
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (130, "")
        assert not list(tmp_path.iterdir())

    def test_a_closed_pipe_is_no_failed_check(self) -> None:
        with subprocess.Popen(
            [*CLI, "demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141

    def test_a_terminal_gets_colour_and_progress_on_stderr(self) -> None:
        screen, terminal = pty.openpty()
        with subprocess.Popen(
            [*CLI, "demo", "--json", "--count", "50"],
            cwd=ROOT, env={**os.environ, "TERM": "xterm"},
            stdout=subprocess.PIPE, stderr=terminal,
        ) as process:  # fmt: skip
            os.close(terminal)
            shown = b""
            while chunk := _read(screen):  # meanwhile: a terminal holds little that nobody reads
                shown += chunk
            assert process.stdout is not None
            report = json.load(process.stdout)
        assert process.returncode == 0
        assert report["ok"]
        assert "publishing" in shown.decode()
        assert "50/50" in shown.decode()

    def test_a_terminal_without_unicode_is_served(self) -> None:
        environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        done = subprocess.run(
            [*CLI, "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 4096)
    except OSError:  # the other end is closed
        return b""
