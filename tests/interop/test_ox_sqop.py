"""OpenPGP for XMPP against sqop, Sequoia's own stateless command line of Debian 12, both ways."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.ox_interop import OxInterop, PeerRefused
from tests.support.ox_world import fingerprint_of
from tests.support.peers import require_program

pytestmark = pytest.mark.slow


class SqopPeer:
    """``tests.support.ox_interop.OxPeer`` on sqop; what it reads stands in files of one folder."""

    kinds: Sequence[str] = ("curve25519",)

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._made: dict[tuple[str, str], bytes] = {}

    def _run(self, *arguments: str | Path, data: bytes = b"") -> bytes:
        try:
            return subprocess.run(
                [self._program, *arguments], input=data, capture_output=True, check=True, timeout=60
            ).stdout
        except subprocess.CalledProcessError:
            raise PeerRefused from None

    def _file(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path

    def new_key(self, user_id: str, kind: str) -> bytes:
        if (user_id, kind) not in self._made:
            self._made[user_id, kind] = self._run("generate-key", "--no-armor", user_id)
        return self._made[user_id, kind]

    def signcrypt(self, data: bytes, signer: bytes, to: Sequence[bytes]) -> bytes:
        key = self._file("signer", signer)
        certs = [self._file(f"to{number}", raw) for number, raw in enumerate(to)]
        return self._run("encrypt", "--no-armor", f"--sign-with={key}", "--", *certs, data=data)

    def open(self, message: bytes, key: bytes, signer: bytes) -> bytes:
        verified = self._folder / "verified"
        verified.unlink(missing_ok=True)
        cert = self._file("cert", signer)
        data = self._run(
            "decrypt",
            f"--verify-with={cert}",
            f"--verifications-out={verified}",
            "--",
            self._file("key", key),
            data=message,
        )
        if fingerprint_of(signer) not in verified.read_text().upper():
            raise PeerRefused
        return data

    def lock(self, data: bytes, passphrase: bytes) -> bytes:
        word = self._file("passphrase", passphrase)
        return self._run("encrypt", "--no-armor", f"--with-password={word}", data=data)

    def unlock(self, message: bytes, passphrase: bytes) -> bytes:
        word = self._file("passphrase", passphrase)
        return self._run("decrypt", f"--with-password={word}", data=message)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> SqopPeer:
    return SqopPeer(require_program("sqop"), tmp_path_factory.mktemp("sqop"))


class TestSqop(OxInterop):
    """The suite, nothing else."""
