"""``xmpp-e2ee store`` as it is typed: passphrases on a terminal, progress, Ctrl-C, the keyring."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.roof.stores import CLI, HOSTILE, PASSPHRASE, Rows, StoreFile, make, run
from tests.roof.typist import PATIENCE, Typist
from tests.support.peers import require_program
from tests.support.postgres import PASSWORD
from tests.support.source import ROOT

pytestmark = pytest.mark.slow

NEW = "the winter of our discontent"


class TestPrompts:
    def test_sealing_asks_twice_and_unlocking_once(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make("sqlite", tmp_path, request, HOSTILE)
        typist = Typist("store", "seal", store.address)
        typist.answer("New passphrase of", PASSPHRASE)
        typist.answer("Repeat for confirmation", "something else")
        typist.wait_for("do not match")
        typist.answer("New passphrase of", PASSPHRASE)
        typist.answer("Repeat for confirmation", PASSPHRASE)
        assert typist.end() == 0
        assert "is sealed, with a passphrase." in typist.shown
        assert "Romeo" not in typist.shown
        sealed = StoreFile(store.address, tmp_path, sealed=True)
        assert sealed.rows() == HOSTILE
        for passphrase, status in ((PASSPHRASE, 0), (NEW, 3)):
            typist = Typist("store", "check", store.address)
            typist.answer("Passphrase of", passphrase)
            assert typist.end() == status
            assert ("store-wrong-key" in typist.shown) == (status == 3)
            assert passphrase not in typist.shown

    def test_a_lock_is_changed(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        store = make("sealed-sqlite", tmp_path, request, HOSTILE)
        typist = Typist("store", "seal", store.address)
        typist.answer("Passphrase of", PASSPHRASE)
        typist.answer("New passphrase of", NEW)
        typist.answer("Repeat for confirmation", NEW)
        assert typist.end() == 0
        assert store.rows(NEW) == HOSTILE

    def test_ctrl_c_at_a_prompt_is_130(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make("sqlite", tmp_path, request, HOSTILE)
        typist = Typist("store", "seal", store.address)
        typist.wait_for("New passphrase of")
        typist.type("\x03")
        assert typist.end() == 130
        assert "Traceback" not in typist.shown
        assert store.rows() == HOSTILE

    def test_a_password_of_a_database_is_not_shown(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make("sealed-postgres", tmp_path, request, HOSTILE)
        typist = Typist("store", "copy", store.address, str(tmp_path / "new.sqlite"), "--plain")
        typist.answer("Passphrase of postgresql://postgres@127.0.0.1:", PASSPHRASE)
        assert typist.end() == 0
        for secret in (PASSWORD, "sesame", PASSPHRASE):
            assert secret not in typist.shown


def many(accounts: int, rows: int) -> Rows:
    return {
        (f"account{n:04}", str(row)): bytes(300) for n in range(accounts) for row in range(rows)
    }


class TestProgress:
    def test_it_is_shown_on_a_terminal(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make("sqlite", tmp_path, request, many(100, 50))
        for arguments, words in [
            (["info", store.address], ["reading"]),
            (["check", store.address], ["checking", "5000/?"]),
            (["copy", store.address, str(tmp_path / "b")], ["reading", "comparing", "copying"]),
        ]:
            typist = Typist("store", *arguments)
            assert typist.end() == 0
            for word in words:
                assert word in typist.shown
            typist = Typist("store", *arguments, "--json")
            assert typist.end() == 0
            assert json.loads(typist.shown)["format"] == 1

    def test_ctrl_c_leaves_whole_accounts(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        rows = many(400, 50)
        store = make("sqlite", tmp_path, request, rows)
        there = StoreFile(str(tmp_path / "there"), tmp_path, sealed=False)
        typist = Typist("store", "copy", store.address, there.address)
        typist.wait_for("copying")
        typist.wait_for("copying")  # drawn a second time: some of it is done
        typist.type("\x03")
        assert typist.end() == 130
        assert "incomplete, but every account in it is whole.\r\n" in typist.shown
        assert "Traceback" not in typist.shown
        found = there.rows()
        accounts = {key[0] for key in found}
        assert 0 < len(accounts) < 400
        assert found == {key: value for key, value in rows.items() if key[0] in accounts}
        assert run("copy", store.address, there.address).exit_code == 0
        assert there.rows() == rows

    def test_sigint_while_checking_is_130(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make("sqlite", tmp_path, request, many(200, 500))
        with subprocess.Popen(
            [*CLI, "check", store.address],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            while not Path(f"{store.address}-wal").exists():
                assert process.poll() is None
                time.sleep(0.001)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output, errors) == (130, "", "")


class TestKeyring:
    """GNOME's keyring on a message bus of its own, as on a desktop."""

    @pytest.fixture
    def desktop(self, tmp_path: Path) -> Iterator[list[str]]:
        """Return the beginning of a command that runs on an unlocked desktop."""
        for program in ("dbus-run-session", "gnome-keyring-daemon"):
            require_program(program)
        script = tmp_path / "desktop.sh"
        script.write_text(
            'printf "password" | gnome-keyring-daemon --unlock --components=secrets >&2\n'
            'exec "$@"\n'
        )
        with TemporaryDirectory(prefix="run-") as runtime:  # a short path, for sockets
            yield ["env", f"XDG_RUNTIME_DIR={runtime}", "dbus-run-session", "--", "sh", str(script)]

    def test_a_store_is_sealed_with_a_key_and_moves_on(
        self, desktop: list[str], tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """Sealed, locked with another key, copied to a third, and locked with a passphrase."""
        store = make("sqlite", tmp_path / "stores", request, HOSTILE)
        there = str(tmp_path / "stores" / "there.sqlite")
        secret = store.secret_file()
        for arguments in [
            ["seal", store.address, "--new-keyring"],
            ["check", store.address, "--keyring"],
            ["seal", store.address, "--keyring", "--new-keyring"],
            ["check", store.address, "--keyring"],
            ["copy", store.address, there, "--from-keyring", "--seal", "--to-keyring"],
            ["check", there, "--keyring"],
            ["seal", store.address, "--keyring", "--new-passphrase-file", secret],
        ]:
            done = self.run(desktop, tmp_path, *arguments)
            assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
        assert StoreFile(store.address, tmp_path, sealed=True).rows() == HOSTILE
        done = self.run(desktop, tmp_path, "check", there)
        assert done.returncode == 2
        assert "say --keyring for it" in done.stderr

    def test_a_key_that_is_not_kept_is_told(
        self, desktop: list[str], tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        store = make("sealed-sqlite", tmp_path / "stores", request, HOSTILE)
        done = self.run(desktop, tmp_path, "check", store.address, "--keyring")
        assert done.returncode == 3
        assert "Error: store-wrong-key: the keyring keeps no key for this store\n" in done.stderr

    @pytest.mark.parametrize("backend", ["null", "fail"])
    def test_without_a_keyring_nothing_is_sealed(
        self, backend: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """Above all where one takes every key and keeps none."""
        store = make("sqlite", tmp_path, request, HOSTILE)
        done = subprocess.run(
            [*CLI, "seal", store.address, "--new-keyring"],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHON_KEYRING_BACKEND": f"keyring.backends.{backend}.Keyring"},
        )  # fmt: skip
        assert done.returncode == 3
        assert done.stderr.startswith("Error: engine-failed: keyring: ")
        assert done.stderr.count("\n") == 1
        assert store.rows() == HOSTILE

    def run(
        self, desktop: list[str], home: Path, *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*desktop, sys.executable, "-m", "xmpp_e2ee", "store", *arguments],
            cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "HOME": str(home),
                "XDG_DATA_HOME": str(home / "data"),
                "PYTHON_KEYRING_BACKEND": "keyring.backends.SecretService.Keyring",
            },
        )  # fmt: skip
