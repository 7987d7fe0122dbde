"""``<sign/>`` and ``<crypt/>`` against GnuPG 2.2 and sqop, both ways."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from e2ee.errors import ErrorCode
from e2ee.names import BareJid
from e2ee.xmlparse import parse_xml
from e2ee.xmlwrite import write_xml
from ox.elements import Content, ContentKind, read_openpgp, write_openpgp
from tests.support.gnupg import Gnupg, gnupg
from tests.support.ox_interop import PeerRefused
from tests.support.ox_world import Person, World, body, fingerprint_of, meet, refused
from tests.support.peers import require_program

pytestmark = pytest.mark.slow

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
SAID = body("Où est-tu, Roméo ? 🌹\r\n & <b/>")


class Peer(Protocol):
    """A program that signs or encrypts, not both."""

    def sign(self, data: bytes, secret: bytes) -> bytes: ...
    def verify(self, message: bytes, public: bytes) -> bytes: ...
    def encrypt(self, data: bytes, public: bytes) -> bytes: ...
    def decrypt(self, message: bytes, secret: bytes) -> bytes: ...


class GpgContents:
    """gpg on a home that keeps what it was ever handed."""

    def __init__(self, gpg: Gnupg) -> None:
        self._gpg = gpg

    def sign(self, data: bytes, secret: bytes) -> bytes:
        self._gpg.run("--import", data=secret)
        return self._gpg.run("--sign", data=data)

    def verify(self, message: bytes, public: bytes) -> bytes:
        self._gpg.run("--import", data=public)
        status = self._gpg.home / "status"
        data = self._run("--status-file", str(status), "--decrypt", data=message)
        if f" {fingerprint_of(public)}\n" not in status.read_text("latin-1"):
            raise PeerRefused
        return data

    def encrypt(self, data: bytes, public: bytes) -> bytes:
        self._gpg.run("--import", data=public)
        return self._gpg.run("--encrypt", "--recipient", fingerprint_of(public), data=data)

    def decrypt(self, message: bytes, secret: bytes) -> bytes:
        self._gpg.run("--import", data=secret)
        return self._run("--decrypt", data=message)

    def _run(self, *arguments: str, data: bytes) -> bytes:
        try:
            return self._gpg.run(*arguments, data=data)
        except subprocess.CalledProcessError:
            raise PeerRefused from None


class SqopContents:
    """sqop, which reads keys from files."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._key = folder / "key"

    def _run(self, key: bytes, *arguments: str, data: bytes) -> bytes:
        self._key.write_bytes(key)
        try:
            return subprocess.run(
                [self._program, *arguments], input=data, capture_output=True, check=True, timeout=60
            ).stdout
        except subprocess.CalledProcessError:
            raise PeerRefused from None

    def sign(self, data: bytes, secret: bytes) -> bytes:
        return self._run(secret, "inline-sign", "--no-armor", "--", str(self._key), data=data)

    def verify(self, message: bytes, public: bytes) -> bytes:
        return self._run(public, "inline-verify", "--", str(self._key), data=message)

    def encrypt(self, data: bytes, public: bytes) -> bytes:
        return self._run(public, "encrypt", "--no-armor", "--", str(self._key), data=data)

    def decrypt(self, message: bytes, secret: bytes) -> bytes:
        return self._run(secret, "decrypt", "--", str(self._key), data=message)


@contextmanager
def _peer(name: str, folder: Path) -> Iterator[Peer]:
    if name == "sqop":
        yield SqopContents(require_program(name), folder)
        return
    with gnupg() as gpg:
        yield GpgContents(gpg)


@pytest.fixture(params=["gpg", "sqop"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    with _peer(request.param, tmp_path) as found:
        yield found


@pytest.fixture
async def two() -> tuple[Person, Person]:
    world = World()
    juliet, romeo = await world.person(JULIET), await world.person(ROMEO)
    await meet(juliet, romeo)
    return juliet, romeo


def _content(world: World, kind: ContentKind) -> bytes:
    to = () if kind is ContentKind.CRYPT else (BareJid.parse(JULIET),)
    return write_xml(Content(kind, to, world.clock(), (SAID,)).to_xml()).encode()


async def _keys(person: Person) -> tuple[bytes, bytes]:
    own = await person.ox.own_key()
    return own.material.reveal(), own.certificate.raw


async def test_they_verify_what_we_sign(peer: Peer, two: tuple[Person, Person]) -> None:
    juliet, romeo = two
    _, public = await _keys(romeo)
    message = read_openpgp(await romeo.ox.sign((SAID,), {juliet.jid}))
    content = Content.from_xml(parse_xml(peer.verify(message, public)), ContentKind.SIGN)
    assert content.payload[0].same_content(SAID)
    for altered, key in (
        (message.replace(b"Rom", b"Cam"), public),
        (message, (await _keys(juliet))[1]),
    ):
        with pytest.raises(PeerRefused):
            peer.verify(altered, key)


async def test_we_verify_what_they_sign(peer: Peer, two: tuple[Person, Person]) -> None:
    juliet, romeo = two
    secret, _ = await _keys(romeo)
    letter = write_openpgp(peer.sign(_content(romeo.world, ContentKind.SIGN), secret))
    opened = await juliet.open(letter, romeo)
    assert opened.kind is ContentKind.SIGN
    assert opened.content[0].same_content(SAID)
    posing = write_openpgp(peer.sign(_content(romeo.world, ContentKind.SIGNCRYPT), secret))
    async with refused(ErrorCode.FORBIDDEN, juliet):
        await juliet.open(posing, romeo)


async def test_they_decrypt_what_we_encrypt(peer: Peer, two: tuple[Person, Person]) -> None:
    juliet, romeo = two
    message = read_openpgp(await romeo.ox.crypt((SAID,), {juliet.jid}))
    for reader in two:
        data = peer.decrypt(message, (await _keys(reader))[0])
        content = Content.from_xml(parse_xml(data), ContentKind.CRYPT)
        assert content.payload[0].same_content(SAID)


async def test_we_decrypt_what_they_encrypt(peer: Peer, two: tuple[Person, Person]) -> None:
    juliet, romeo = two
    _, public = await _keys(juliet)
    arrival = juliet.arrival(romeo)
    letter = write_openpgp(peer.encrypt(_content(romeo.world, ContentKind.CRYPT), public))
    opened = await juliet.ox.open_crypt(letter, arrival)
    assert opened.content[0].same_content(SAID)
    posing = write_openpgp(peer.encrypt(_content(romeo.world, ContentKind.SIGN), public))
    async with refused(ErrorCode.FORBIDDEN, juliet):
        await juliet.ox.open_crypt(posing, arrival)
