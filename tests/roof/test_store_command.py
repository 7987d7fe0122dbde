"""``xmpp-e2ee store info|check|seal|migrate``, and how every command of ``store`` ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Remove
from e2ee.stores.sealed import read_seal
from e2ee.stores.sqlite import SqliteStore
from tests.roof.stores import HOSTILE, KINDS, PASSPHRASE, StoreFile, make, run
from tests.support.source import ROOT
from xmpp_e2ee.cli import main

COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
LOCK = {"enum": [None, "passphrase", "key"]}
SAMPLE = ROOT / "tests" / "frozen" / "sqlite-1.db"
NEW = "the winter of our discontent"

EVERY_KIND = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
BOTH_FILES = pytest.mark.parametrize("kind", ["sqlite", "sealed-sqlite"])


def _closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, schema]}


SCHEMAS = {
    "info": _closed(
        format={"const": 1},
        store=TEXT,
        kind={"enum": ["sqlite", "postgresql"]},
        schema=COUNT,
        newest=COUNT,
        seen=_or_null(
            _closed(
                sealed=_or_null(
                    _closed(
                        **{"with": {"enum": ["passphrase", "key"]}},
                        argon2id=_or_null(_closed(passes=COUNT, memory=COUNT, lanes=COUNT)),
                    )
                ),
                rows=COUNT,
                bytes=COUNT,
                accounts=COUNT,
                names=_or_null({"type": "array", "items": TEXT}),
                disk=_or_null(COUNT),
            )
        ),
    ),
    "check": _closed(
        format={"const": 1},
        ok={"type": "boolean"},
        store=TEXT,
        rows=COUNT,
        bytes=COUNT,
        accounts=COUNT,
        damage=_or_null(TEXT),
    ),
    "seal": _closed(format={"const": 1}, store=TEXT, before=LOCK, after=LOCK),
    "migrate": _closed(format={"const": 1}, store=TEXT, before=COUNT, after=COUNT),
    "copy": _closed(
        format={"const": 1},
        source=TEXT,
        destination=TEXT,
        accounts=COUNT,
        present=COUNT,
        rows=COUNT,
        bytes=COUNT,
        sealed={"type": "boolean"},
    ),
}
"""What docs/cli.md promises."""


def told(command: str, *arguments: str | Path, status: int = 0) -> dict[str, Any]:
    """Run with ``--json`` and return the object, which fits its schema."""
    result = run(command, "--json", *arguments)
    assert (result.exit_code, result.stderr) == (status, "")
    values: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(values, SCHEMAS[command])
    return values


def damage(store: StoreFile) -> None:
    """Alter the value of a row in the file of a store."""
    raw = Path(store.address).read_bytes()
    values = [value for value in store.rows().values() if len(value) > 100]
    at = raw.find(values[0][:100])
    assert at > 0
    Path(store.address).write_bytes(raw[:at] + b"!" + raw[at + 1 :])


@EVERY_KIND
def test_every_command_on_every_kind(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = make(kind, tmp_path, request, HOSTILE)
    size = sum(map(len, HOSTILE.values()))
    seen = told("info", store.address)["seen"]
    assert (seen["rows"], seen["accounts"]) == (len(HOSTILE), 16)
    assert (seen["sealed"] is not None, seen["names"] is None) == (store.sealed, store.sealed)
    assert (seen["disk"] is None) == ("postgres" in kind)
    checked = told("check", store.address, *store.unlock())
    assert (checked["ok"], checked["rows"], checked["bytes"]) == (True, len(HOSTILE), size)
    migrated = told("migrate", store.address)
    assert migrated["before"] == migrated["after"] == told("info", store.address)["newest"]
    secret = ["--new-passphrase-file", store.secret_file(NEW)]
    before = "passphrase" if store.sealed else None
    sealed = told("seal", store.address, *store.unlock(), *secret)
    assert (sealed["before"], sealed["after"]) == (before, "passphrase")
    now = StoreFile(store.address, tmp_path, sealed=True)
    assert now.rows(NEW) == HOSTILE
    old = run("check", store.address, "--passphrase-file", store.secret_file(PASSPHRASE))
    assert (old.exit_code, old.stdout) == (3, "")
    assert old.stderr.startswith("Error: store-wrong-key: ")
    for command in ("info", "migrate"):
        assert run(command, store.address).exit_code == 0
    copied = told("copy", store.address, tmp_path / "new", "--from-passphrase-file",
                  store.secret_file(NEW), "--plain")  # fmt: skip
    assert (copied["rows"], copied["bytes"], copied["sealed"]) == (len(HOSTILE), size, False)


class TestInfo:
    def test_people_are_told(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        store = make("sqlite", tmp_path, request, HOSTILE)
        result = run("info", store.address)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "\n  · juliet@capulet.lit\n" in result.stdout
        assert "\n  … and 4 more\n" in result.stdout
        assert "\x1b" not in result.stdout  # what a terminal would obey is written out
        assert "\\x1b[31m" in result.stdout

    def test_a_seal_hides_the_names(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        store = make("sealed-sqlite", tmp_path, request, HOSTILE)
        result = run("info", store.address)
        assert "with a passphrase (Argon2id, 3 passes over 64 MiB, 4 lanes)" in result.stdout
        assert "juliet" not in result.stdout

    @BOTH_FILES
    def test_nothing_is_changed(
        self, kind: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make(kind, tmp_path, request, HOSTILE)
        before = Path(store.address).read_bytes()
        told("info", store.address)
        assert Path(store.address).read_bytes() == before

    @pytest.mark.slow
    def test_a_database_without_a_store_says_so(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        address = request.getfixturevalue("postgres_server").create_database()
        found = told("info", address)
        assert (found["schema"], found["seen"]) == (0, None)
        assert "none yet" in run("info", address).stdout
        refused = run("check", address)
        assert (refused.exit_code, refused.stdout) == (3, "")
        assert refused.stderr.startswith("Error: store-too-old: ")
        newest = found["newest"]
        migrated = told("migrate", address)
        assert (migrated["before"], migrated["after"]) == (0, newest)
        assert told("info", address)["seen"]["rows"] == 0


class TestCheck:
    @BOTH_FILES
    def test_a_sound_store(self, kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        store = make(kind, tmp_path, request, HOSTILE)
        result = run("check", store.address, *store.unlock())
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == "64 rows of 16 accounts are sound.\n"

    def test_r_04_a_damaged_row_is_1(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        store = make("sqlite", tmp_path, request, HOSTILE)
        damage(store)
        result = run("check", store.address)
        assert (result.exit_code, result.stderr) == (1, "")
        assert "DAMAGED  " in result.stdout
        checked = told("check", store.address, status=1)
        assert checked["ok"] is False
        assert checked["damage"]

    def test_r_04_a_damaged_seal_is_1(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        store = make("sealed-sqlite", tmp_path, request, HOSTILE)

        async def forge() -> None:
            async with store.inner() as inner, inner.exclusive(()) as tx:
                rows = await tx.scan((), limit=1000)
                [seal] = [key for key, _ in rows if len(key[0]) < 32]
                await tx.commit([Remove(seal)])

        asyncio.run(forge())
        assert told("check", store.address, status=1)["damage"]

    def test_r_04_a_foreign_file_is_1(self, tmp_path: Path) -> None:
        path = tmp_path / "foreign"
        path.write_bytes(b"no store at all" * 1000)
        path.chmod(0o600)
        assert told("check", path, status=1)["rows"] == 0
        assert run("info", path).exit_code == 3


class TestSeal:
    def test_people_are_told(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        store = make("sqlite", tmp_path, request, HOSTILE)
        secret = store.secret_file()
        result = run("seal", store.address, "--new-passphrase-file", secret)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"{store.address} is sealed, with a passphrase.\n"
        assert b"juliet" not in Path(store.address).read_bytes()
        again = run("seal", store.address, "--passphrase-file", secret,
                    "--new-passphrase-file", store.secret_file(NEW))  # fmt: skip
        assert "is unlocked by the new passphrase from now on.\n" in again.stdout
        assert StoreFile(store.address, tmp_path, sealed=True).rows(NEW) == HOSTILE

    @pytest.mark.slow
    def test_r_10_a_wrong_passphrase_changes_nothing(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make("sealed-sqlite", tmp_path, request, HOSTILE)
        wrong = store.secret_file(NEW)
        for _ in range(3):
            result = run("seal", store.address, "--passphrase-file", wrong,
                         "--new-passphrase-file", wrong)  # fmt: skip
            assert result.exit_code == 3
            assert result.stderr.startswith("Error: store-wrong-key: ")
            assert result.stderr.count("\n") == 1
        assert store.rows() == HOSTILE


class TestMigrate:
    def test_an_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "old.sqlite"
        shutil.copyfile(SAMPLE, path)
        path.chmod(0o600)
        before = path.read_bytes()
        found = told("info", path)
        assert (found["schema"], found["seen"]) == (1, None)
        assert path.read_bytes() == before
        assert f"from schema 1 to schema {found['newest']}" in run("migrate", path).stdout
        assert told("info", path)["seen"]["rows"] > 0
        assert "already" in run("migrate", path).stdout


class TestEndings:
    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["info", "missing.sqlite"], "missing.sqlite: No such file"),
            (["check", "missing.sqlite"], "No such file"),
            (["seal", "missing.sqlite"], "No such file"),
            (["migrate", "missing.sqlite"], "No such file"),
            (["copy", "missing.sqlite", "b.sqlite"], "No such file"),
            (["info", "mysql://u:sesame@h/d"], "a store is a SQLite file or postgresql://"),
            (["info", "postgresql://u:se/same@h/d"], "of a password as %2F"),
            (["info", str(SAMPLE), "postgresql://u:sesame@h/d"], "unexpected extra argument"),
            (["postgresql://u:sesame@h/d"], "No such command"),
        ],
    )
    def test_wrong_usage_is_2(
        self, arguments: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(main, ["store", *arguments])
        assert (result.exit_code, result.stdout) == (2, "")
        assert complaint in result.stderr
        assert "same" not in result.stderr
        assert not list(tmp_path.iterdir())

    def test_a_passphrase_for_a_plain_store_is_2(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """Whoever names one believes that the store is sealed, and is wrong."""
        store = make("sqlite", tmp_path, request, HOSTILE)
        result = run("check", store.address, "--passphrase-file", store.secret_file())
        assert result.exit_code == 2
        assert "is not sealed" in result.stderr

    def test_both_locks_are_2(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        store = make("sealed-sqlite", tmp_path, request, {})
        result = run("check", store.address, "--keyring", *store.unlock())
        assert result.exit_code == 2
        assert "exclude each other" in result.stderr

    def test_without_a_terminal_nobody_is_asked(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make("sealed-sqlite", tmp_path, request, {})
        result = CliRunner().invoke(
            main, ["store", "check", store.address], input=f"{PASSPHRASE}\n"
        )
        assert result.exit_code == 2
        assert "there is no terminal" in result.stderr

    @pytest.mark.parametrize(
        ("contents", "mode", "complaint"),
        [
            (b"secret\n", 0o640, "others can read"),
            (b"secret\n", 0o602, "others can read"),
            (b"", 0o600, "empty"),
            (b"\nsecret\n", 0o600, "empty"),
            (b"x" * 5000, 0o600, "longer"),
            (b"\xff\n", 0o600, "not UTF-8"),
            (b"a\x07b\n", 0o600, "control characters"),
            (None, 0, "No such file"),
        ],
    )
    def test_an_unfit_passphrase_file_is_2(
        self,
        contents: bytes | None,
        mode: int,
        complaint: str,
        tmp_path: Path,
        request: pytest.FixtureRequest,
    ) -> None:
        store = make("sealed-sqlite", tmp_path, request, {})
        path = tmp_path / "passphrase"
        if contents is not None:
            path.write_bytes(contents)
            path.chmod(mode)
        result = run("check", store.address, "--passphrase-file", path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert complaint in result.stderr
        assert "secret" not in result.stderr

    def test_a_passphrase_comes_through_a_pipe(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """As a shell's ``<(…)`` gives it, and with the line ending of another system."""
        store = make("sealed-sqlite", tmp_path, request, {})
        reader, writer = os.pipe()
        os.write(writer, f"{PASSPHRASE}\r\n".encode())
        os.close(writer)
        result = run("check", store.address, "--passphrase-file", f"/dev/fd/{reader}")
        os.close(reader)
        assert result.exit_code == 0

    def test_a_failing_store_is_3_and_one_line(
        self, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = make("sqlite", tmp_path, request, {})

        async def full(path: str) -> SqliteStore:
            raise StoreFailed(ErrorCode.STORE_FULL, "the disk is full")

        monkeypatch.setattr(SqliteStore, "open", full)
        for command in ("info", "check", "seal"):
            result = run(command, store.address)
            assert (result.exit_code, result.stdout) == (3, "")
            assert result.stderr == "Error: store-full: the disk is full\n"

    @pytest.mark.slow
    def test_a_server_that_is_away_or_refuses_is_3(self, request: pytest.FixtureRequest) -> None:
        server = request.getfixturevalue("postgres_server")
        away = run("info", "postgresql://u:sesame@127.0.0.1:1/d")
        assert away.exit_code == 3
        assert away.stderr.startswith("Error: store-unreachable: ")
        refused = run("info", f"postgresql://postgres:sesame@127.0.0.1:{server.port}/postgres")
        assert refused.exit_code == 3
        assert refused.stderr.startswith("Error: store-forbidden: ")

    @pytest.mark.parametrize("command", SCHEMAS)
    def test_the_endings_and_options_are_documented(self, command: str) -> None:
        helped = run(command, "--help").stdout
        page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        section = page.partition("## `xmpp-e2ee store`")[2]
        for status in ("0", "1", "2", "3", "130", "141"):
            assert f"\n    {status} " in helped
            assert f"| {status} |" in section
        for option in main.commands["store"].commands[command].params:  # type: ignore[attr-defined]
            for name in option.opts if option.opts[0].startswith("--") else ():
                assert name in helped
                assert f"`{name}" in section

    def test_the_commands_are_told(self) -> None:
        result = CliRunner().invoke(main, ["store", "--help"])
        assert result.exit_code == 0
        for command in SCHEMAS:
            assert f"\n  {command} " in result.stdout


def test_a_seal_is_read_without_unlocking(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What ``info`` says of it is what is there."""
    store = make("sealed-sqlite", tmp_path, request, {})

    async def read() -> object:
        async with store.inner() as inner:
            seal = await read_seal(inner)
            assert seal is not None
            assert seal.cost is not None
            return {
                "passes": seal.cost.passes,
                "memory": seal.cost.memory,
                "lanes": seal.cost.lanes,
            }

    assert told("info", store.address)["seen"]["sealed"]["argon2id"] == asyncio.run(read())
