"""OpenPGP for XMPP against gosop of Debian 12: the OpenPGP of Go and of Proton, both ways.

It makes RSA keys only, and knows no messages in clear. It takes for text whatever it decrypts, and
writes LF for CRLF and U+FFFD for what is no UTF-8; it takes for text, too, what it encrypts with a
passphrase, and writes CRLF for LF. So the suite goes over text of one line. Messages to keys hold
what they should, as the tests after it show; a backup neither comes out of it nor goes in.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from e2ee import ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import decode_base64, encode_base64
from e2ee.primitives import NativePrimitives
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element
from e2ee.xmlwrite import write_xml
from ox.backup import open_backup, seal_backup
from ox.backup_code import BackupCode
from ox.elements import Content, ContentKind, read_openpgp, write_openpgp
from ox.engine import KeyHandle, S2kCount
from tests.support.ox_interop import DATA, PASSPHRASE, TEXT, OxInterop, PeerRefused
from tests.support.ox_world import Person, World, body, fingerprint_of, meet, refused
from tests.support.peers import require_program

pytestmark = pytest.mark.slow

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
CODE = BackupCode.generate(NativePrimitives())


class GosopPeer:
    """``tests.support.ox_interop.OxPeer`` on gosop; what it reads stands in files of one folder."""

    kinds: Sequence[str] = ("rsa2048",)

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._made: dict[tuple[str, str], bytes] = {}

    def _run(self, *arguments: str, data: bytes = b"") -> bytes:
        try:
            return subprocess.run(
                [self._program, *arguments], input=data, capture_output=True, check=True, timeout=60
            ).stdout
        except subprocess.CalledProcessError:
            raise PeerRefused from None

    def _file(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.write_bytes(content)
        return str(path)

    def new_key(self, user_id: str, kind: str) -> bytes:
        if (user_id, kind) not in self._made:
            self._made[user_id, kind] = self._run("generate-key", "--no-armor", user_id)
        return self._made[user_id, kind]

    def public(self, secret: bytes) -> bytes:
        """Return the public part of a key."""
        return self._run("extract-cert", "--no-armor", data=secret)

    def signcrypt(self, data: bytes, signer: bytes, to: Sequence[bytes]) -> bytes:
        return self._run(
            *("encrypt", "--no-armor", f"--sign-with={self._file('signer', signer)}"),
            *(self._file(f"to{number}", raw) for number, raw in enumerate(to)),
            data=data,
        )

    def open(self, message: bytes, key: bytes, signer: bytes) -> bytes:
        verified = self._folder / "verified"
        verified.unlink(missing_ok=True)
        data = self._run(
            "decrypt",
            f"--verify-with={self._file('cert', signer)}",
            f"--verify-out={verified}",
            self._file("key", key),
            data=message,
        )
        if fingerprint_of(signer) not in verified.read_text().upper():
            raise PeerRefused
        return data

    def encrypt(self, data: bytes, public: bytes) -> bytes:
        """Encrypt, unsigned."""
        return self._run("encrypt", "--no-armor", self._file("cert", public), data=data)

    def decrypt(self, message: bytes, key: bytes) -> bytes:
        """Decrypt what nobody signed."""
        return self._run("decrypt", self._file("key", key), data=message)

    def sign(self, data: bytes, key: bytes) -> bytes:
        """Make a detached signature."""
        return self._run("sign", "--no-armor", self._file("key", key), data=data)

    def verify(self, data: bytes, signature: bytes, public: bytes) -> None:
        """Verify a detached signature, or refuse."""
        files = self._file("signature", signature), self._file("cert", public)
        if fingerprint_of(public) not in self._run("verify", *files, data=data).decode():
            raise PeerRefused

    def lock(self, data: bytes, passphrase: bytes) -> bytes:
        word = self._file("passphrase", passphrase)
        armored = self._run("encrypt", f"--with-password={word}", data=data)  # always, here
        return self._run("dearmor", data=armored)

    def unlock(self, message: bytes, passphrase: bytes) -> bytes:
        word = self._file("passphrase", passphrase)
        return self._run("decrypt", f"--with-password={word}", data=message)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> GosopPeer:
    return GosopPeer(require_program("gosop"), tmp_path_factory.mktemp("gosop"))


class TestGosop(OxInterop):
    text = TEXT.strip()
    data = (b"", b"x", text, text * 1500)

    @pytest.fixture(params=[False, True], ids=["curve25519", "rsa3072"])
    async def juliet(self, request: pytest.FixtureRequest) -> KeyHandle:
        """Return a new key of ours, of each kind that we make."""
        return await self.engine.generate(f"xmpp:{JULIET}", rsa=request.param)

    async def test_they_verify_what_we_sign(self, peer: GosopPeer, juliet: KeyHandle) -> None:
        public = juliet.certificate.raw
        for data in DATA:
            signature = await self.engine.sign(data, juliet)
            peer.verify(data, signature, public)
            with pytest.raises(PeerRefused):
                peer.verify(data + b"!", signature, public)
        romeo = await self.romeos(peer, "rsa2048")
        with pytest.raises(PeerRefused):
            peer.verify(data, signature, romeo.certificate.raw)

    async def test_we_verify_what_they_sign(self, peer: GosopPeer, juliet: KeyHandle) -> None:
        for key in (juliet, await self.romeos(peer, "rsa2048")):
            for data in DATA:
                signature = peer.sign(data, key.material.reveal())
                signed = await self.engine.verify(data, signature, [key.certificate.raw])
                assert set(signed.signers) == {key.certificate.fingerprint}
            with pytest.raises(PeerMisbehaved) as caught:
                await self.engine.verify(data + b"!", signature, [key.certificate.raw])
            assert caught.value.code is ErrorCode.BAD_SIGNATURE

    async def test_both_read_the_same_public_part(self, peer: GosopPeer, juliet: KeyHandle) -> None:
        public = await self.engine.inspect(peer.public(juliet.material.reveal()))
        assert public.fingerprint == juliet.certificate.fingerprint
        assert public.user_ids == juliet.certificate.user_ids
        assert public.encrypts

    async def test_octets_stand_in_a_message_to_keys_as_they_were(
        self, peer: GosopPeer, juliet: KeyHandle
    ) -> None:
        """Only what it writes after it decrypted is changed."""
        raw, public = juliet.material.reveal(), juliet.certificate.raw
        for data in DATA:
            theirs = peer.signcrypt(data, raw, [public])
            assert (await self.engine.open(theirs, [juliet], [public])).data == data
        ours = await self.engine.seal(TEXT, [juliet.certificate], juliet)
        assert peer.open(ours, raw, public) == TEXT.replace(b"\r\n", b"\n")

    async def test_a_passphrase_message_of_theirs_has_their_line_ends(
        self, peer: GosopPeer
    ) -> None:
        message = peer.lock(b"a\nb", PASSPHRASE.reveal())
        assert await self.engine.unlock(message, PASSPHRASE) == b"a\r\nb"
        ours = await self.engine.lock(b"a\r\nb", PASSPHRASE, S2kCount.PASSPHRASE)
        assert peer.unlock(ours, PASSPHRASE.reveal()) == b"a\nb"


@pytest.fixture
async def two() -> tuple[Person, Person]:
    world = World()
    juliet, romeo = await world.person(JULIET), await world.person(ROMEO)
    await meet(juliet, romeo)
    return juliet, romeo


async def test_crypt_goes_both_ways(peer: GosopPeer, two: tuple[Person, Person]) -> None:
    juliet, romeo = two
    said = body("Où est-tu, Roméo ?")
    message = read_openpgp(await romeo.ox.crypt((said,), {juliet.jid}))
    own = await juliet.ox.own_key()
    data = peer.decrypt(message, own.material.reveal())
    content = Content.from_xml(parse_xml(data), ContentKind.CRYPT)
    assert content.payload[0].same_content(said)
    anew = write_xml(Content(ContentKind.CRYPT, (), romeo.world.clock(), (said,)).to_xml())
    letter = write_openpgp(peer.encrypt(anew.encode(), own.certificate.raw))
    opened = await juliet.ox.open_crypt(letter, juliet.arrival(romeo))
    assert opened.content[0].same_content(said)


@pytest.mark.parametrize("rsa", [False, True], ids=["curve25519", "rsa3072"])
class TestBackup:
    async def test_they_decrypt_ours(self, peer: GosopPeer, rsa: bool) -> None:
        juliet = World().stranger(JULIET)
        await juliet.gather(juliet)
        await juliet.ox.generate(rsa=rsa)
        message = decode_base64((await seal_backup(juliet.ox, CODE)).text)
        read = peer.unlock(message, CODE.passphrase.reveal())
        assert f"xmpp:{JULIET}".encode() in read  # all that is text
        with pytest.raises(PeerRefused):
            peer.unlock(message, CODE.passphrase.reveal().replace(b"-", b""))

    async def test_theirs_is_refused_where_line_ends_broke_it(
        self, peer: GosopPeer, rsa: bool
    ) -> None:
        """All keys of ours have an LF: Curve25519 in its name, RSA in its many octets."""
        juliet = World().stranger(JULIET)
        await juliet.gather(juliet)
        key = await juliet.ox.engine.generate(f"xmpp:{JULIET}", rsa=rsa)
        theirs = peer.lock(key.material.reveal(), CODE.passphrase.reveal())
        async with refused(ErrorCode.MALFORMED, juliet):
            await open_backup(
                juliet.ox, element(ns.OX, "secretkey", None, encode_base64(theirs)), CODE
            )
