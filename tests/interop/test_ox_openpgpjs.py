"""OpenPGP for XMPP against OpenPGP.js 6, the engine of browsers, both ways."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.secret import Secret
from tests.support.ox_interop import TEXT, OxInterop, PeerRefused
from tests.support.peers import require_npm_package, require_program

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("openpgp_peer.mjs")


class OpenpgpjsPeer:
    """``tests.support.ox_interop.OxPeer`` on OpenPGP.js in one process of Node.js."""

    kinds: Sequence[str] = ("curve25519", "rsa3072", "algorithms25and27")

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._made: dict[tuple[str, str], bytes] = {}

    def _ask(self, does: str, **request: object) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"does": does, **request}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise PeerRefused(answer["refused"])
        return b64decode(answer["octets"])

    def new_key(self, user_id: str, kind: str) -> bytes:
        if (user_id, kind) not in self._made:
            self._made[user_id, kind] = self._ask("newKey", userId=user_id, kind=kind)
        return self._made[user_id, kind]

    def signcrypt(self, data: bytes, signer: bytes, to: Sequence[bytes]) -> bytes:
        keys = [_text(raw) for raw in to]
        return self._ask("signcrypt", data=_text(data), signer=_text(signer), to=keys)

    def open(self, message: bytes, key: bytes, signer: bytes) -> bytes:
        return self._ask("open", message=_text(message), key=_text(key), signer=_text(signer))

    def lock(self, data: bytes, passphrase: bytes) -> bytes:
        return self._ask("lock", data=_text(data), passphrase=passphrase.decode(), aead=False)

    def lock_newer(self, data: bytes, passphrase: bytes) -> bytes:
        """Encrypt with a passphrase in a container of version 2 (RFC 9580)."""
        return self._ask("lock", data=_text(data), passphrase=passphrase.decode(), aead=True)

    def unlock(self, message: bytes, passphrase: bytes) -> bytes:
        return self._ask("unlock", message=_text(message), passphrase=passphrase.decode())


def _text(octets: bytes) -> str:
    return b64encode(octets).decode()


@contextmanager
def running_openpgpjs() -> Iterator[subprocess.Popen[str]]:
    """Run the script, for as long as it is needed."""
    require_npm_package("openpgp")
    with subprocess.Popen(
        [require_program("node"), SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.terminate()


@pytest.fixture(scope="module")
def peer() -> Iterator[OpenpgpjsPeer]:
    with running_openpgpjs() as process:
        yield OpenpgpjsPeer(process)


class TestOpenpgpjs(OxInterop):
    async def test_a_newer_container_is_named_as_such(self, peer: OpenpgpjsPeer) -> None:
        message = peer.lock_newer(TEXT, b"passphrase")
        with pytest.raises(PeerMisbehaved) as caught:
            await self.engine.unlock(message, Secret(b"passphrase"))
        assert caught.value.code is ErrorCode.UNSUPPORTED_ALGORITHM
