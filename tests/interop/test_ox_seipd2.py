"""Containers of version 2 as Sequoia and OpenPGP.js write them to keys that say they take them.

Nobody else among the peers writes them, and nobody may expect one from us.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pysequoia
import pytest

from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.xmlwrite import write_xml
from ox.elements import Content, ContentKind, write_openpgp
from ox.engine_sequoia import SequoiaEngine
from ox.packets import Tag, read_packets
from tests.interop.test_ox_openpgpjs import OpenpgpjsPeer, running_openpgpjs
from tests.support.ox_interop import DATA, TEXT
from tests.support.ox_world import World, body

pytestmark = pytest.mark.slow

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
ENGINE = SequoiaEngine(NativePrimitives())


class NewerPeer(Protocol):
    """Another program whose keys say that they take containers of version 2."""

    kinds: Sequence[str]

    def new_key(self, user_id: str, kind: str) -> bytes: ...
    def signcrypt(self, data: bytes, signer: bytes, to: Sequence[bytes]) -> bytes: ...


class SequoiaPeer:
    """``NewerPeer`` on the library itself, past our engine."""

    kinds: Sequence[str] = ("cv25519", "x25519", "rsa3072")

    def new_key(self, user_id: str, kind: str) -> bytes:
        suite = pysequoia.CipherSuite.RSA3k if kind == "rsa3072" else pysequoia.CipherSuite.Cv25519
        x25519 = pysequoia.EncryptionAlgorithm.X25519 if kind == "x25519" else None
        made = pysequoia.Tsk.generate(user_id, cipher_suite=suite, encryption_algorithm=x25519)
        return bytes(made)

    def signcrypt(self, data: bytes, signer: bytes, to: Sequence[bytes]) -> bytes:
        key = pysequoia.Tsk.from_bytes(signer).signer()
        return pysequoia.encrypt(data, list(map(pysequoia.Cert.from_bytes, to)), key, armor=False)


class NewerOpenpgpjsPeer(OpenpgpjsPeer):
    """``NewerPeer`` on OpenPGP.js."""

    kinds: Sequence[str] = ("newer", "newer25and27")


@pytest.fixture(scope="module", params=["sequoia", "openpgpjs"])
def peer(request: pytest.FixtureRequest) -> Iterator[NewerPeer]:
    if request.param == "sequoia":
        yield SequoiaPeer()
        return
    with running_openpgpjs() as process:
        yield NewerOpenpgpjsPeer(process)


def is_newer(message: bytes) -> bool:
    """Say whether a message is one of RFC 9580."""
    *ways_in, container = read_packets(message, most=9)
    newer = container.body[0] == 2
    assert all(each.tag == Tag.PKESK and each.body[0] == (6 if newer else 3) for each in ways_in)
    return newer


async def test_we_read_what_they_write(peer: NewerPeer) -> None:
    for kind in peer.kinds:
        romeo = await ENGINE.adopt(Secret(peer.new_key(f"xmpp:{ROMEO}", kind)))
        juliet = await ENGINE.adopt(Secret(peer.new_key(f"xmpp:{JULIET}", kind)))
        to = [juliet.certificate.raw, romeo.certificate.raw]
        for data in DATA:
            message = peer.signcrypt(data, romeo.material.reveal(), to)
            assert is_newer(message), kind
            for reader in (juliet, romeo):
                signed = await ENGINE.open(message, [reader], [romeo.certificate.raw])
                assert signed.data == data, kind
                assert set(signed.signers) == {romeo.certificate.fingerprint}, kind
                (created,) = signed.signers.values()
                assert abs(created - datetime.now(UTC)) < timedelta(minutes=5), kind


async def test_we_refuse_another_signer_another_reader_and_an_altered_message(
    peer: NewerPeer,
) -> None:
    kind = peer.kinds[0]
    romeo = await ENGINE.adopt(Secret(peer.new_key(f"xmpp:{ROMEO}", kind)))
    juliet = await ENGINE.adopt(Secret(peer.new_key(f"xmpp:{JULIET}", kind)))
    message = peer.signcrypt(TEXT, romeo.material.reveal(), [juliet.certificate.raw])
    with pytest.raises(PeerMisbehaved) as caught:
        await ENGINE.open(message, [juliet], [juliet.certificate.raw])
    assert caught.value.code is ErrorCode.BAD_SIGNATURE
    with pytest.raises(CannotDecrypt):
        await ENGINE.open(message, [romeo], [romeo.certificate.raw])
    altered = message[:-30] + bytes((message[-30] ^ 1,)) + message[-29:]
    with pytest.raises(CannotDecrypt):
        await ENGINE.open(altered, [juliet], [romeo.certificate.raw])
    assert (await ENGINE.open(message, [juliet], [romeo.certificate.raw])).data == TEXT


async def test_we_answer_in_version_1(peer: NewerPeer) -> None:
    for kind in peer.kinds:
        romeo = await ENGINE.adopt(Secret(peer.new_key(f"xmpp:{ROMEO}", kind)))
        message = await ENGINE.seal(TEXT, [romeo.certificate], romeo)
        assert not is_newer(message), kind
        assert (await ENGINE.open(message, [romeo], [romeo.certificate.raw])).data == TEXT


async def test_an_account_opens_their_signcrypt(peer: NewerPeer) -> None:
    """Their keys in PEP, ours imported from there too, every check of XEP-0373."""
    kind = peer.kinds[0]
    world, material = World(), peer.new_key(f"xmpp:{ROMEO}", kind)
    world.announce(ROMEO, (await ENGINE.adopt(Secret(material))).certificate.raw)
    juliet = await world.person(JULIET, key=Secret(peer.new_key(f"xmpp:{JULIET}", kind)))
    await juliet.gather(sender := world.stranger(ROMEO))
    value = Content(
        ContentKind.SIGNCRYPT, (juliet.jid,), world.clock(), (body("Good pilgrim"),), "rpad"
    )
    own = (await juliet.ox.own_key()).certificate.raw
    message = peer.signcrypt(write_xml(value.to_xml()).encode(), material, [own])
    assert is_newer(message)
    opened = await juliet.open(write_openpgp(message), sender)
    assert opened.sender == BareJid.parse(ROMEO)
    assert opened.content[0].text == "Good pilgrim"
