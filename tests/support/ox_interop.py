"""What we and another OpenPGP program must read of each other, the same for every program.

Rule: a peer is a program without memory: it is handed every key that it uses. Its refusals are
``PeerRefused``; what it must refuse is the business of its own tests, not of ours.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

import pytest

from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.xmlwrite import write_xml
from ox.elements import Content, ContentKind, write_openpgp
from ox.engine import KeyHandle, S2kCount
from ox.engine_sequoia import SequoiaEngine
from tests.support.ox_world import World, body

__all__ = ["DATA", "TEXT", "OxInterop", "OxPeer", "PeerRefused"]

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
TEXT = "<entry>Où est-tu, Roméo ? 🌹 日本</entry>\r\n\t".encode()
DATA = [b"", b"x", TEXT, b"".join(sha256(bytes([n])).digest() for n in range(256)) * 9]
PASSPHRASE = Secret(b"ZSRD5lK9mz-5VHNyu2N1XLiJZ8I87jkv85ceZkVrOGA")


class PeerRefused(Exception):
    """The peer did not decrypt, or did not verify."""


class OxPeer(Protocol):
    """Another OpenPGP program."""

    kinds: Sequence[str]
    """The kinds of keys that it makes, ``everything`` for a primary key that also encrypts."""

    def new_key(self, user_id: str, kind: str) -> bytes:
        """Return a new unprotected transferable secret key, binary."""
        ...

    def signcrypt(self, data: bytes, signer: bytes, to: Sequence[bytes]) -> bytes:
        """Sign with a secret key and encrypt to public keys, all binary."""
        ...

    def open(self, message: bytes, key: bytes, signer: bytes) -> bytes:
        """Decrypt with a secret key, verify that ``signer``'s public key signed, or refuse."""
        ...

    def lock(self, data: bytes, passphrase: bytes) -> bytes:
        """Encrypt with a passphrase."""
        ...

    def unlock(self, message: bytes, passphrase: bytes) -> bytes:
        """Decrypt with a passphrase, or refuse."""
        ...


@pytest.mark.slow
class OxInterop:
    """The suite; a module of tests derives from it and gives the fixture ``peer``."""

    engine = SequoiaEngine(NativePrimitives())
    text = TEXT
    data: Sequence[bytes] = DATA
    """What goes there and back; a module narrows both to what its peer leaves as it is."""

    @pytest.fixture
    async def juliet(self) -> KeyHandle:
        """Return a new key of ours."""
        return await self.engine.generate(f"xmpp:{JULIET}")

    async def romeos(self, peer: OxPeer, kind: str) -> KeyHandle:
        """Return a key that the peer made, as we adopt it."""
        return await self.engine.adopt(Secret(peer.new_key(f"xmpp:{ROMEO}", kind)))

    async def test_their_keys_are_ours(self, peer: OxPeer) -> None:
        for kind in peer.kinds:
            key = await self.romeos(peer, kind)
            assert key.certificate.user_ids == (f"xmpp:{ROMEO}",), kind
            assert key.certificate.encrypts, kind
            assert not key.certificate.revoked, kind

    async def test_our_keys_are_theirs(self, peer: OxPeer, juliet: KeyHandle) -> None:
        """They sign, encrypt, decrypt and verify with what we export."""
        raw, public = juliet.material.reveal(), juliet.certificate.raw
        for data in self.data:
            message = peer.signcrypt(data, raw, [public])
            assert peer.open(message, raw, public) == data
            signed = await self.engine.open(message, [juliet], [juliet.certificate.raw])
            assert signed.data == data
            assert set(signed.signers) == {juliet.certificate.fingerprint}

    async def test_they_read_what_we_write(self, peer: OxPeer, juliet: KeyHandle) -> None:
        for kind in peer.kinds:
            romeo = await self.romeos(peer, kind)
            for data in self.data:
                both = [romeo.certificate, juliet.certificate]
                message = await self.engine.seal(data, both, juliet)
                for reader in (romeo, juliet):
                    read = peer.open(message, reader.material.reveal(), juliet.certificate.raw)
                    assert read == data, kind

    async def test_they_read_what_we_write_with_their_key(
        self, peer: OxPeer, juliet: KeyHandle
    ) -> None:
        for kind in peer.kinds:
            romeo = await self.romeos(peer, kind)
            message = await self.engine.seal(self.text, [juliet.certificate], romeo)
            read = peer.open(message, juliet.material.reveal(), romeo.certificate.raw)
            assert read == self.text, kind

    async def test_we_read_what_they_write(self, peer: OxPeer, juliet: KeyHandle) -> None:
        for kind in peer.kinds:
            romeo = await self.romeos(peer, kind)
            to = [juliet.certificate.raw, romeo.certificate.raw]
            for data in self.data:
                message = peer.signcrypt(data, romeo.material.reveal(), to)
                for reader in (juliet, romeo):
                    signed = await self.engine.open(message, [reader], [romeo.certificate.raw])
                    assert signed.data == data, kind
                    assert set(signed.signers) == {romeo.certificate.fingerprint}, kind
                    (created,) = signed.signers.values()
                    assert abs(created - datetime.now(UTC)) < timedelta(minutes=5), kind

    async def test_each_refuses_the_wrong_signer(self, peer: OxPeer, juliet: KeyHandle) -> None:
        romeo = await self.romeos(peer, peer.kinds[0])
        raw = juliet.material.reveal()
        ours = await self.engine.seal(self.text, [juliet.certificate], juliet)
        with pytest.raises(PeerRefused):
            peer.open(ours, raw, romeo.certificate.raw)
        theirs = peer.signcrypt(self.text, romeo.material.reveal(), [juliet.certificate.raw])
        with pytest.raises(PeerMisbehaved) as caught:
            await self.engine.open(theirs, [juliet], [juliet.certificate.raw])
        assert caught.value.code is ErrorCode.BAD_SIGNATURE

    async def test_nobody_reads_what_was_altered(self, peer: OxPeer, juliet: KeyHandle) -> None:
        romeo = await self.romeos(peer, peer.kinds[0])
        for message in (
            await self.engine.seal(self.text, [romeo.certificate], juliet),
            peer.signcrypt(self.text, juliet.material.reveal(), [romeo.certificate.raw]),
        ):
            altered = message[:-30] + bytes((message[-30] ^ 1,)) + message[-29:]
            with pytest.raises(PeerRefused):
                peer.open(altered, romeo.material.reveal(), juliet.certificate.raw)
            with pytest.raises(CannotDecrypt):
                await self.engine.open(altered, [romeo], [juliet.certificate.raw])

    async def test_they_unlock_what_we_lock(self, peer: OxPeer) -> None:
        for count in S2kCount:
            for data in self.data:
                message = await self.engine.lock(data, PASSPHRASE, count)
                assert peer.unlock(message, PASSPHRASE.reveal()) == data
            with pytest.raises(PeerRefused):
                peer.unlock(message, b"another")

    async def test_we_unlock_what_they_lock(self, peer: OxPeer) -> None:
        messages = [(peer.lock(data, PASSPHRASE.reveal()), PASSPHRASE) for data in self.data]
        assert await self.engine.unlock_many(messages) == tuple(self.data)
        with pytest.raises(CannotDecrypt):
            await self.engine.unlock(messages[0][0], Secret(b"another"))

    async def test_an_account_opens_their_signcrypt(self, peer: OxPeer) -> None:
        """Their key in PEP, their message in a stanza, every check of XEP-0373."""
        for kind in peer.kinds:
            world = World()
            romeo = await self.romeos(peer, kind)
            world.announce(ROMEO, romeo.certificate.raw)
            juliet = await world.person(JULIET)
            await juliet.gather(sender := world.stranger(ROMEO))
            value = Content(
                ContentKind.SIGNCRYPT,
                (juliet.jid,),
                world.clock(),
                (body("Good pilgrim"),),
                "rpad",
            )
            message = peer.signcrypt(
                write_xml(value.to_xml()).encode(),
                romeo.material.reveal(),
                [(await juliet.ox.own_key()).certificate.raw],
            )
            opened = await juliet.open(write_openpgp(message), sender)
            assert opened.sender == BareJid.parse(ROMEO)
            assert opened.content[0].text == "Good pilgrim"
            written = await juliet.seal(sender)
            own = (await juliet.ox.own_key()).certificate.raw
            content = peer.open(b64decode(written.text), romeo.material.reveal(), own)
            assert content.startswith(b"<signcrypt xmlns='urn:xmpp:openpgp:0'><to jid='romeo@")
