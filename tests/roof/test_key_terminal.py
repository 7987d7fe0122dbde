"""``xmpp-e2ee key`` as it is typed: codes, confirmations and passphrases on a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.roof.keys import Home, assert_no_secret
from tests.roof.stores import PASSPHRASE, StoreFile
from tests.roof.typist import Typist
from tests.support.forge import forged
from tests.support.ox_keys import JULIET
from tests.support.ox_world import Person
from xmpp_e2ee.cli.key_screen import grouped

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.told("generate", "--only-key")
    return home


def type_key(home: Home, command: str, *arguments: str) -> Typist:
    return Typist("key", command, home.address, "--account", JULIET, *arguments)


def test_a_code_is_asked_for_and_never_shown(home: Home, tmp_path: Path) -> None:
    file, code, elsewhere = tmp_path / "backup", tmp_path / "code", Home(tmp_path, "other")
    home.run("backup", file, "--code-file", code)
    typed = code.read_text().strip().lower().replace("-", "")
    typist = type_key(elsewhere, "restore", str(file), "--only-key")
    typist.answer(f"Code of {file}", typed)
    assert typist.end() == 0
    assert "is restored." in typist.shown
    assert typed not in typist.shown.lower()
    assert elsewhere.secrets() == home.secrets()


def test_a_code_is_shown_once_on_a_terminal(home: Home, tmp_path: Path) -> None:
    typist = type_key(home, "backup", str(tmp_path / "backup"), "--show-code")
    assert typist.end() == 0
    code = typist.shown.split()[-1]
    elsewhere = Home(tmp_path, "other")
    typist = type_key(elsewhere, "restore", str(tmp_path / "backup"), "--only-key")
    typist.answer("Code of", code)
    assert typist.end() == 0
    assert elsewhere.secrets() == home.secrets()


@pytest.mark.parametrize("arguments", [(), ("--secret",)])
def test_no_key_is_written_to_a_terminal(arguments: tuple[str, ...], home: Home) -> None:
    typist = type_key(home, "export", "-", *arguments)
    assert typist.end() == 2
    assert "standard output is a terminal; name a file" in typist.shown
    assert_no_secret(typist.shown.encode(), home.secrets())


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 130), ("", 130)])
def test_revoking_asks(answer: str, status: int, home: Home) -> None:
    fingerprint = home.told("show")["people"][0]["keys"][0]["fingerprint"]
    typist = type_key(home, "revoke", "--reason", "retired")
    typist.wait_for(f"Revoke {grouped(fingerprint)} of {JULIET} for ever? [y/N]: ")
    typist.type(f"{answer}\n")
    assert typist.end() == status
    (key,) = home.told("show")["people"][0]["keys"]
    assert key["certificate"]["revoked"] == (status == 0)


def test_z_13_a_key_that_came_since_it_was_asked_is_not_revoked(home: Home) -> None:
    fingerprint = home.told("show")["people"][0]["keys"][0]["fingerprint"]
    typist = type_key(home, "revoke", "--reason", "compromised")
    typist.wait_for("[y/N]: ")

    async def replace(juliet: Person) -> None:
        await juliet.adopt(forged(f"xmpp:{JULIET}").secret, replacing=fingerprint)

    home.use(replace)
    typist.type("y\n")
    assert typist.end() == 3
    assert f"api-misuse: {fingerprint} is not the key of {JULIET}" in typist.shown
    keys = home.told("show")["people"][0]["keys"]
    assert [key["certificate"]["revoked"] for key in keys] == [False, False]


def test_the_end_of_input_is_no_yes(home: Home) -> None:
    typist = type_key(home, "revoke", "--reason", "retired")
    typist.wait_for("[y/N]: ")
    typist.type("\x04")
    assert typist.end() == 130
    assert "Traceback" not in typist.shown
    assert not home.told("show")["people"][0]["keys"][0]["certificate"]["revoked"]


def test_a_sealed_store_is_unlocked(home: Home, tmp_path: Path) -> None:
    store = StoreFile(home.address, tmp_path, sealed=True)
    typist = Typist("store", "seal", home.address, "--new-passphrase-file", store.secret_file())
    assert typist.end() == 0
    shown = type_key(home, "show", "--passphrase-file", store.secret_file())
    assert shown.end() == 0
    assert f"xmpp:{JULIET}" in shown.shown
    typist = type_key(home, "export", str(tmp_path / "secret"), "--secret")
    typist.answer("Passphrase of", PASSPHRASE)
    assert typist.end() == 0
    typist = type_key(home, "show")
    typist.answer("Passphrase of", "wrong")
    assert typist.end() == 3
    assert "store-wrong-key" in typist.shown
