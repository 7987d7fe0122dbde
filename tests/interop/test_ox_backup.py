"""Backups of secret keys against gpg, sqop, OpenPGP.js, PGPy and Libervia, both ways."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from e2ee import ns
from e2ee.errors import ErrorCode, WrongBackupCode
from e2ee.lexical import decode_base64, encode_base64
from e2ee.names import Fingerprint
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from ox.backup import open_backup, restore, seal_backup
from ox.backup_code import BackupCode
from ox.certificates import check_secret_key
from tests.interop.test_ox_gpg import GpgPeer
from tests.interop.test_ox_pgpy import PgpyPeer
from tests.interop.test_ox_sqop import SqopPeer
from tests.support.gnupg import Gnupg, gnupg
from tests.support.ox_interop import PeerRefused
from tests.support.ox_keys import typed_code
from tests.support.ox_world import Person, World, refused
from tests.support.peers import require_npm_package, require_program, require_shared

pytestmark = pytest.mark.slow

JULIET = "juliet@capulet.lit"
CODE = BackupCode.generate(NativePrimitives())
OTHER = BackupCode.generate(NativePrimitives())


class Peer(Protocol):
    """A program that works with passphrases."""

    def lock(self, data: bytes, passphrase: bytes) -> bytes: ...
    def unlock(self, message: bytes, passphrase: bytes) -> bytes: ...


class OpenpgpjsPeer:
    """OpenPGP.js, as ``passphrase.mjs`` asks it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _ask(self, does: str, data: bytes, passphrase: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "does": does,
            "data": b64encode(data).decode(),
            "passphrase": passphrase.decode(),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise PeerRefused
        return b64decode(answer["data"])

    def lock(self, data: bytes, passphrase: bytes) -> bytes:
        return self._ask("lock", data, passphrase)

    def unlock(self, message: bytes, passphrase: bytes) -> bytes:
        return self._ask("unlock", message, passphrase)


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gnupg]:
    with gnupg() as found:
        yield found


@pytest.fixture(scope="module", params=["gpg", "sqop", "openpgpjs", "pgpy"])
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peer]:
    match request.param:
        case "gpg":
            yield GpgPeer(request.getfixturevalue("gpg"))
        case "sqop":
            yield SqopPeer(require_program("sqop"), tmp_path_factory.mktemp("sqop"))
        case "pgpy":
            yield PgpyPeer()
        case _:
            require_npm_package("openpgp")
            script = Path(__file__).with_name("passphrase.mjs")
            with subprocess.Popen(
                [require_program("node"), script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                yield OpenpgpjsPeer(process)
                process.terminate()


@pytest.fixture
async def juliet() -> Person:
    return await World().person(JULIET)


@pytest.fixture(scope="module")
def rsa(gpg: Gnupg) -> bytes:
    """Return a second key of Juliet's, RSA that does everything, made by gpg."""
    return GpgPeer(gpg).new_key(f"xmpp:{JULIET}", "everything")


def carrying(message: bytes) -> Element:
    return element(ns.OX, "secretkey", None, encode_base64(message))


def fingerprint_of_secret(raw: bytes) -> Fingerprint:
    return Fingerprint(check_secret_key(Secret(raw))[0].public.fingerprint.hex().upper())


async def both(juliet: Person, rsa: bytes) -> Element:
    """Return a backup of ours with two keys."""
    second = await juliet.ox.engine.adopt(Secret(rsa))
    return await seal_backup(juliet.ox, CODE, (second,))


async def test_they_decrypt_our_backups(peer: Peer, juliet: Person, rsa: bytes) -> None:
    message = decode_base64((await both(juliet, rsa)).text)
    plaintext = peer.unlock(message, CODE.shown.encode())
    own = (await juliet.ox.own_key()).material.reveal()
    assert plaintext == own + rsa
    with pytest.raises(PeerRefused):
        peer.unlock(message, OTHER.shown.encode())
    with pytest.raises(PeerRefused):
        peer.unlock(message, CODE.shown.replace("-", "").encode())


async def test_we_restore_from_theirs(peer: Peer, juliet: Person, rsa: bytes) -> None:
    own = await juliet.ox.own_key()
    theirs = carrying(peer.lock(own.material.reveal() + rsa, CODE.shown.encode()))
    anew = juliet.world.stranger(JULIET)
    await anew.gather(anew)
    backup = await open_backup(anew.ox, theirs, typed_code(CODE.shown.lower()))
    assert backup.fingerprints == (own.certificate.fingerprint, fingerprint_of_secret(rsa))
    assert backup.skipped == ()
    chosen = await restore(anew.ox, backup, chosen=own.certificate.fingerprint)
    assert (await anew.ox.own_key()).certificate.fingerprint == chosen
    message = await juliet.seal(juliet)
    assert (await anew.open(message, juliet)).content[0].text == "Good pilgrim"
    with pytest.raises(WrongBackupCode):
        await open_backup(anew.ox, theirs, OTHER)


async def test_gpg_imports_the_keys_of_our_backup(gpg: Gnupg, juliet: Person, rsa: bytes) -> None:
    message = decode_base64((await both(juliet, rsa)).text)
    plaintext = gpg.run("--decrypt", data=message, passphrase=CODE.shown.encode())
    own = (await juliet.ox.own_key()).certificate
    gpg.run("--delete-secret-and-public-key", fingerprint_of_secret(rsa))
    gpg.run("--import", data=plaintext)
    status = gpg.home / "status"
    for name in (own.fingerprint, fingerprint_of_secret(rsa)):
        signed = gpg.run("--local-user", name, "--sign", data=b"hello")
        assert gpg.run("--status-file", str(status), "--decrypt", data=signed) == b"hello"
        assert f"VALIDSIG {name}".encode() in status.read_bytes()


async def test_we_restore_what_gpg_exports(gpg: Gnupg, rsa: bytes) -> None:
    """One export of several keys, compressed and encrypted by gpg as it likes."""
    world = World()
    old = GpgPeer(gpg).new_key(f"xmpp:{JULIET}", "curve25519")
    names = [fingerprint_of_secret(raw) for raw in (rsa, old)]
    exported = gpg.run("--export-secret-keys", *names)
    anew = world.stranger(JULIET)
    await anew.gather(anew)
    theirs = carrying(gpg.run("--symmetric", data=exported, passphrase=CODE.shown.encode()))
    backup = await open_backup(anew.ox, theirs, CODE)
    assert set(backup.fingerprints) == set(names)
    for name in names:
        device = world.stranger(JULIET)
        await device.gather(device)
        assert await device.looked(partial(restore, device.ox, backup, chosen=name)) == name


class TestLibervia:
    """What Libervia 0.9 made, recorded."""

    @pytest.fixture
    def recorded(self) -> Any:
        path = require_shared("peers/libervia/ox_secret_key_backup.json")
        return json.loads(path.read_text())["cases"]

    async def test_its_backup_is_restored(self, recorded: Any) -> None:
        for case in recorded:
            juliet = World().stranger(case["jid"])
            await juliet.gather(juliet)
            (published,) = parse_xml(case["published_item"]).elements
            for source in (published, parse_xml(case["secretkey_element"])):
                for typed in (case["code"], case["code"].replace("-", " ").lower()):
                    backup = await open_backup(juliet.ox, source, typed_code(typed))
                    assert list(backup.fingerprints) == case["fingerprints"]
            restored = await juliet.looked(partial(restore, juliet.ox, backup))
            assert restored == case["fingerprints"][0]
            with pytest.raises(WrongBackupCode):
                await open_backup(juliet.ox, published, OTHER)

    async def test_g_22_nobody_else_restores_it(self, recorded: Any) -> None:
        for case in recorded:
            romeo = World().stranger("romeo@montague.example")
            async with refused(ErrorCode.SIGNER_MISMATCH, romeo):
                await open_backup(
                    romeo.ox,
                    parse_xml(case["secretkey_element"]),
                    typed_code(case["code"]),
                )
