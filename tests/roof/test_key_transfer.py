"""``xmpp-e2ee key export|import|backup|restore``: files and codes, also with GnuPG."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ox.certificates import check_certificate
from tests.roof.keys import Home, assert_no_secret, secrets_in
from tests.roof.stores import PASSPHRASE
from tests.support.forge import forged
from tests.support.gnupg import Gnupg, gnupg
from tests.support.ox_keys import JULIET, typed_code
from tests.support.ox_world import fingerprint_of

UID = f"xmpp:{JULIET}"
FULL = Path("/dev/full")
OTHER_CODE = "TWNK-KD5Y-MT3T-E1GS-DRDB-KVTW"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Juliet's, with a key."""
    home = Home(tmp_path)
    home.told("generate", "--only-key")
    return home


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    """Juliet's on another device, where nothing is yet."""
    return Home(tmp_path, "other")


@pytest.fixture
def gpg() -> Iterator[Gnupg]:
    with gnupg() as peer:
        yield peer


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o600)
    return path


class TestExport:
    def test_the_public_key_and_nothing_secret(self, home: Home) -> None:
        file = home.folder / "juliet.pgp"
        told = home.told("export", file)
        raw = file.read_bytes()
        assert (told["bytes"], told["secret"], told["file"]) == (len(raw), False, str(file))
        assert fingerprint_of(raw) == told["fingerprint"]
        check_certificate(raw)
        assert_no_secret(raw, home.secrets())

    def test_a_secret_key_only_if_said_for_nobody_else_to_read(self, home: Home) -> None:
        file = home.folder / "juliet.secret"
        umask = os.umask(0)
        try:
            told = home.told("export", file, "--secret")
        finally:
            os.umask(umask)
        assert (told["secret"], mode(file)) == (True, 0o600)
        assert secrets_in(file.read_bytes()) == home.secrets()
        assert "No passphrase protects it." in home.run("export", "--secret", f"{file}2").stdout

    def test_nothing_is_overwritten(self, home: Home) -> None:
        file = write(home.folder / "there", b"precious")
        (home.folder / "link").symlink_to(home.folder / "target")
        for arguments in (["there"], ["there", "--secret"], ["link", "--secret"]):
            result = home.run("export", home.folder / arguments[0], *arguments[1:], status=2)
            assert "File exists" in result.stderr
        assert file.read_bytes() == b"precious"
        assert not (home.folder / "target").exists()

    def test_standard_output_takes_one_thing(self, home: Home) -> None:
        raw = home.run("export", "-").stdout_bytes
        assert fingerprint_of(raw) == home.told("export", home.folder / "file")["fingerprint"]
        home.run("export", "-", "--json", status=2)

    def test_without_a_key(self, empty: Home) -> None:
        empty.run("generate", status=2)  # makes the store
        result = empty.run("export", empty.folder / "none", status=3)
        assert result.stderr.startswith("Error: api-misuse: ")
        assert not (empty.folder / "none").exists()


class TestImport:
    def test_from_one_store_to_another(self, home: Home, empty: Home) -> None:
        file = home.folder / "secret"
        exported = home.told("export", file, "--secret")
        imported = empty.told("import", file, "--only-key")
        assert imported["fingerprint"] == exported["fingerprint"]
        assert imported["waiting"] == 2
        assert empty.secrets() == home.secrets()

    def test_from_standard_input(self, home: Home, empty: Home) -> None:
        raw = home.folder / "secret"
        home.run("export", raw, "--secret")
        empty.run("import", "-", "--only-key", typed=raw.read_bytes())
        assert empty.secrets() == home.secrets()

    @pytest.mark.parametrize(
        ("content", "status", "words"),
        [
            (b"", 3, "malformed"),
            (b"good pilgrim", 3, "malformed"),
            (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", 2, "gpg --dearmor"),
            (b"\x99" * 300_000, 2, "more than 262,144 bytes"),
            (forged("xmpp:romeo@montague.lit").secret.reveal(), 3, "signer-mismatch"),
            (forged(UID).public, 3, "malformed"),
            (forged(UID).revoked().secret.reveal(), 3, "unusable-key"),
        ],
    )
    def test_what_is_no_key_of_ours(
        self, content: bytes, status: int, words: str, empty: Home
    ) -> None:
        file = write(empty.folder / "key", content)
        result = empty.run("import", file, "--only-key", status=status)
        assert words in result.stderr
        if words in ("signer-mismatch", "unusable-key"):
            assert_no_secret(result.stderr_bytes, secrets_in(content))
        assert empty.secrets() == []

    def test_g_12_without_the_list_nothing_is_taken_over(self, home: Home, empty: Home) -> None:
        file = home.folder / "secret"
        home.run("export", file, "--secret")
        assert "say --only-key" in empty.run("import", file, status=2).stderr
        assert empty.secrets() == []

    def test_a_key_that_is_there_stays(self, home: Home, empty: Home) -> None:
        file = home.folder / "secret"
        home.run("export", file, "--secret")
        empty.run("generate", "--only-key")
        before = empty.secrets()
        assert "api-misuse" in empty.run("import", file, status=3).stderr
        assert empty.secrets() == before

    def test_a_file_that_is_not_there(self, empty: Home) -> None:
        result = empty.run("import", empty.folder / "nowhere", status=2)
        assert "No such file" in result.stderr


class TestBackup:
    def test_it_is_restored_elsewhere(self, home: Home, empty: Home) -> None:
        file, code = home.folder / "backup.xml", home.folder / "code"
        saved = home.told("backup", file, "--code-file", code)
        assert saved["code"] is None
        assert (mode(file), mode(code)) == (0o600, 0o600)
        assert file.read_text().startswith("<secretkey xmlns='urn:xmpp:openpgp:0'>")
        assert_no_secret(file.read_bytes(), home.secrets())
        restored = empty.told("restore", file, "--code-file", code, "--only-key")
        assert restored["fingerprint"] == saved["fingerprint"]
        assert (restored["waiting"], restored["skipped"]) == (2, [])
        assert empty.secrets() == home.secrets()
        again = empty.told("restore", file, "--code-file", code)
        assert again["fingerprint"] == saved["fingerprint"]

    def test_z_01_a_code_is_printed_only_if_said(self, home: Home) -> None:
        code = home.folder / "code"
        for number, arguments in enumerate([(), ("--json",)]):
            result = home.run("backup", home.folder / f"a{number}", "--code-file", code, *arguments)
            assert code.read_text().strip() not in result.output
            code.unlink()
        shown = home.run("backup", home.folder / "b", "--show-code").stdout
        typed_code(shown.split()[-1])
        typed_code(home.told("backup", home.folder / "c", "--show-code")["code"])
        refused = home.run("backup", home.folder / "d", status=2)
        assert "say --code-file CODE or --show-code" in refused.stderr
        assert not (home.folder / "d").exists()

    def test_standard_output_takes_the_backup_alone(self, home: Home, empty: Home) -> None:
        code = home.folder / "code"
        result = home.run("backup", "-", "--code-file", code)
        backup = result.stdout_bytes
        assert (
            empty.run("restore", "-", "--code-file", code, "--only-key", typed=backup).exit_code
            == 0
        )
        assert empty.secrets() == home.secrets()
        home.run("backup", "-", "--show-code", status=2)
        home.run("backup", "-", "--code-file", home.folder / "new", "--json", status=2)

    def test_where_no_backup_can_be_made_no_code_is_left(self, home: Home) -> None:
        file, code = write(home.folder / "there", b"precious"), home.folder / "code"
        home.run("backup", file, "--code-file", code, status=2)
        assert file.read_bytes() == b"precious"
        assert not code.exists()

    @pytest.mark.slow
    @pytest.mark.skipif(not FULL.exists(), reason="no device is full")
    @pytest.mark.parametrize("json", [(), ("--json",)])
    def test_g_22_where_no_code_can_be_shown_no_backup_is_left(
        self, home: Home, json: tuple[str, ...]
    ) -> None:
        """It would be one that opens to nobody."""
        file = home.folder / "backup.xml"
        with FULL.open("wb") as full:
            done = home.program("backup", file, "--show-code", *json, output=full)
        assert done.returncode == 3
        assert not file.exists()
        home.run("backup", file, "--show-code")

    @pytest.mark.slow
    def test_g_22_where_nobody_takes_the_backup_no_code_is_left(self, home: Home) -> None:
        code = home.folder / "code"
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as closed:
            done = home.program("backup", "-", "--code-file", code, output=closed)
        assert done.returncode == 141
        assert not code.exists()

    def test_g_22_a_wrong_code_is_a_clear_error(self, home: Home, empty: Home) -> None:
        file, code = home.folder / "backup", home.folder / "code"
        home.run("backup", file, "--code-file", code)
        right = code.read_text()
        for typed, status, words in (
            (OTHER_CODE, 3, "Error: wrong-backup-code: "),
            (right[:-6], 2, "symbols, and a backup code has 24"),
            (f"0{right[1:]}", 2, "symbol 1 is an O or a zero"),
        ):
            write(code, typed)
            result = empty.run("restore", file, "--code-file", code, "--only-key", status=status)
            assert words in result.stderr
            assert typed.strip() not in result.output
        write(code, right.lower().replace("-", " "))
        empty.run("restore", file, "--code-file", code, "--only-key")
        assert empty.secrets() == home.secrets()

    def test_g_22_another_key_is_never_overwritten_unasked(self, home: Home, empty: Home) -> None:
        file, code = home.folder / "backup", home.folder / "code"
        saved = home.told("backup", file, "--code-file", code)["fingerprint"]
        present = empty.told("generate", "--only-key")["fingerprint"]
        before = empty.secrets()
        options = ("--code-file", code, "--key", saved)
        result = empty.run("restore", file, *options, status=2)
        assert present in result.stderr
        assert "--replace" in result.stderr
        assert empty.secrets() == before
        chosen = (*options, "--replace", present)
        assert "--only-key" in empty.run("restore", file, *chosen, status=2).stderr
        assert empty.secrets() == before
        restored = empty.told("restore", file, *chosen, "--only-key")
        assert restored["fingerprint"] == saved

    @pytest.mark.parametrize(
        "content", ["", "<secretkey/>", "<secretkey xmlns='urn:xmpp:openpgp:0'>AAAA</secretkey>"]
    )
    def test_what_is_no_backup(self, content: str, empty: Home) -> None:
        file, code = write(empty.folder / "f", content), write(empty.folder / "c", OTHER_CODE)
        result = empty.run("restore", file, "--code-file", code, "--only-key", status=3)
        assert result.stderr.startswith("Error: malformed: ")
        assert OTHER_CODE not in result.output

    def test_a_code_that_others_can_read_is_refused(self, home: Home, empty: Home) -> None:
        file, code = home.folder / "backup", home.folder / "code"
        home.run("backup", file, "--code-file", code)
        code.chmod(0o644)
        result = empty.run("restore", file, "--code-file", code, status=2)
        assert "chmod 600" in result.stderr
        result = empty.run("restore", file, status=2)
        assert "there is no terminal to ask for the code on" in result.stderr


@pytest.mark.slow
class TestGnupg:
    """What Gajim, Profanity and Libervia use."""

    def test_gpg_imports_what_is_exported(self, home: Home, gpg: Gnupg) -> None:
        fingerprint = home.told("export", home.folder / "public")["fingerprint"]
        gpg.run("--import", str(home.folder / "public"))
        listed = gpg.run("--with-colons", "--list-keys").decode()
        assert fingerprint in listed
        assert "xmpp\\x3a" + JULIET in listed
        home.run("export", home.folder / "secret", "--secret")
        gpg.run("--import", str(home.folder / "secret"))
        assert fingerprint in gpg.run("--with-colons", "--list-secret-keys").decode()
        sealed = gpg.run("--encrypt", "--recipient", fingerprint, data=b"Good pilgrim")
        assert gpg.run("--decrypt", data=sealed) == b"Good pilgrim"

    @pytest.mark.parametrize("algorithm", ["default", "rsa3072"])
    def test_what_gpg_exports_is_imported(self, algorithm: str, empty: Home, gpg: Gnupg) -> None:
        """Also a primary key that does everything, as Gajim makes it."""
        uses = ("default", "never") if algorithm == "default" else ("sign,cert,encr", "never")
        gpg.run("--quick-gen-key", UID, algorithm, *uses)
        raw = gpg.run("--export-secret-keys")
        file = write(empty.folder / "gpg", raw)
        imported = empty.told("import", file, "--only-key")["fingerprint"]
        assert imported in gpg.run("--with-colons", "--list-keys").decode()
        (key,) = empty.told("show", JULIET)["people"][0]["keys"]
        assert key["certificate"]["encrypts"]
        assert key["named"]
        assert empty.secrets() == secrets_in(raw)

    def test_a_key_with_a_passphrase_is_told(self, empty: Home, gpg: Gnupg) -> None:
        gpg.run("--quick-gen-key", UID, passphrase=PASSPHRASE.encode())
        raw = gpg.run("--export-secret-keys", passphrase=PASSPHRASE.encode())
        result = empty.run("import", write(empty.folder / "gpg", raw), "--only-key", status=3)
        assert "unsupported-algorithm: secret key that is protected" in result.stderr
        assert empty.secrets() == []

    def test_an_armored_key_is_told(self, empty: Home, gpg: Gnupg) -> None:
        gpg.run("--quick-gen-key", UID)
        raw = gpg.run("--armor", "--export-secret-keys")
        result = empty.run("import", write(empty.folder / "gpg", raw), status=2)
        assert "gpg --dearmor" in result.stderr

    def test_gpg_opens_a_backup(self, home: Home, gpg: Gnupg) -> None:
        from e2ee.lexical import decode_base64
        from e2ee.xmlparse import parse_xml

        file, code = home.folder / "backup", home.folder / "code"
        home.run("backup", file, "--code-file", code)
        message = decode_base64(parse_xml(file.read_bytes().strip()).leaf_text("XEP-0373 §5.4"))
        opened = gpg.run("--decrypt", data=message, passphrase=code.read_bytes().strip())
        assert secrets_in(opened) == home.secrets()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("export", "-"), ("show", "--json")])
def test_who_closes_the_output_ends_it(arguments: tuple[str, ...], home: Home) -> None:
    command, *options = arguments
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = home.program(command, *options, output=closed)
    assert (done.returncode, done.stderr) == (141, b"")
