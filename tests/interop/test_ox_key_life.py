"""The life of our keys as gpg, sqop and OpenPGP.js see it: RSA, prolonged, revoked, minimal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from ox.engine import KeyHandle, Revocation
from ox.engine_sequoia import SequoiaEngine
from ox.key_life import extended, with_signatures
from ox.keygen import generate_key
from ox.sequoia_keys import sound_parts
from tests.interop.test_ox_gpg import GpgPeer
from tests.interop.test_ox_openpgpjs import OpenpgpjsPeer, running_openpgpjs
from tests.interop.test_ox_sqop import SqopPeer
from tests.support.forge import LONG_AGO, certify, forged, new_ed25519
from tests.support.gnupg import gnupg
from tests.support.ox_interop import TEXT, OxPeer, PeerRefused
from tests.support.ox_world import World
from tests.support.peers import require_program

pytestmark = pytest.mark.slow

JULIET, ROMEO = "xmpp:juliet@capulet.lit", "xmpp:romeo@montague.lit"
NEXT_YEAR = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
engine = SequoiaEngine(NativePrimitives())


@pytest.fixture(scope="module", params=["gpg", "sqop", "openpgpjs"])
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OxPeer]:
    match request.param:
        case "gpg":
            with gnupg() as gpg:
                yield GpgPeer(gpg)
        case "sqop":
            folder: Path = tmp_path_factory.mktemp("sqop")
            yield SqopPeer(require_program("sqop"), folder)
        case _:
            with running_openpgpjs() as process:
                yield OpenpgpjsPeer(process)


async def expired(rsa: bool) -> KeyHandle:
    """Return a key of ours that expired long ago."""
    public, material = generate_key(JULIET, LONG_AGO, os.urandom, rsa=rsa)
    ended = extended(sound_parts(public), material, LONG_AGO + timedelta(days=1), LONG_AGO)
    return await engine.adopt(with_signatures(material, sound_parts(ended)))


def refuses_to_encrypt(peer: OxPeer, to: bytes, sender: KeyHandle) -> bool:
    """Say whether a peer refuses; Debian's sqop does not ask whether a key is revoked."""
    try:
        peer.signcrypt(TEXT, sender.material.reveal(), [to])
    except (PeerRefused, subprocess.CalledProcessError):
        return True
    return isinstance(peer, SqopPeer)


async def works_there(peer: OxPeer, key: KeyHandle, public: bytes) -> bool:
    """Say whether the peer signs with it, encrypts to it, decrypts with it, verifies it."""
    message = peer.signcrypt(TEXT, key.material.reveal(), [public])
    return (
        peer.open(message, key.material.reveal(), public) == TEXT
        and (await engine.open(message, [key], [public])).data == TEXT
    )


async def test_our_rsa_keys_are_theirs(peer: OxPeer) -> None:
    key = await engine.generate(JULIET, rsa=True)
    assert await works_there(peer, key, key.certificate.raw)
    message = await engine.seal(TEXT, [key.certificate], key)
    assert peer.open(message, key.material.reveal(), key.certificate.raw) == TEXT


@pytest.mark.parametrize("rsa", [False, True])
async def test_what_we_prolong_lives_for_them(peer: OxPeer, rsa: bool) -> None:
    key = await expired(rsa)
    sender = await engine.generate(ROMEO)
    with pytest.raises((PeerRefused, subprocess.CalledProcessError)):
        peer.signcrypt(TEXT, sender.material.reveal(), [key.certificate.raw])
    prolonged = await engine.extend(key, NEXT_YEAR)
    exported = await engine.minimal(prolonged.certificate, [JULIET])
    assert await works_there(peer, prolonged, exported.raw)
    for_ever = await engine.extend(await engine.adopt(key.material), None)
    assert await works_there(peer, for_ever, for_ever.certificate.raw)


@pytest.mark.parametrize("rsa", [False, True])
async def test_to_what_we_revoke_they_refuse_to_encrypt(peer: OxPeer, rsa: bool) -> None:
    key = await engine.generate(JULIET, rsa=rsa)
    revoked = await engine.revoke(key, Revocation.COMPROMISED)
    exported = await engine.minimal(revoked.certificate, [JULIET])
    sender = await engine.generate(ROMEO)
    assert refuses_to_encrypt(peer, exported.raw, sender)
    message = await engine.seal(TEXT, [sender.certificate], key)
    with pytest.raises(PeerRefused):
        peer.open(message, sender.material.reveal(), exported.raw)


async def test_a_minimal_export_is_enough_for_them(peer: OxPeer) -> None:
    primary = new_ed25519()
    names = certify(primary, b"Juliet <juliet@example.org>") + certify(primary, JULIET.encode())
    key = await engine.adopt(forged(primary=primary, certified=names).secret)
    exported = await engine.minimal(key.certificate, [JULIET])
    assert len(exported.raw) < len(key.certificate.raw)
    sender = await engine.generate(ROMEO)
    message = peer.signcrypt(TEXT, sender.material.reveal(), [exported.raw])
    assert peer.open(message, key.material.reveal(), sender.certificate.raw) == TEXT
    ours = await engine.seal(TEXT, [sender.certificate], key)
    assert peer.open(ours, sender.material.reveal(), exported.raw) == TEXT


async def test_their_keys_live_on_with_us(peer: OxPeer) -> None:
    """Adopted by an account, prolonged and revoked there, and read by their maker."""
    for kind in peer.kinds:
        world = World()
        juliet = await world.person(
            JULIET.removeprefix("xmpp:"), key=Secret(peer.new_key(JULIET, kind))
        )
        own = await juliet.ox.own_key()
        exported = await juliet.ox.export_public()
        assert await works_there(peer, own, exported), kind
        prolonged = await engine.extend(own, NEXT_YEAR)
        assert prolonged.certificate.expires == NEXT_YEAR, kind
        assert (await engine.revoke(prolonged, Revocation.RETIRED)).certificate.revoked, kind
        await juliet.revoke(Revocation.RETIRED)
        sender = await engine.generate(ROMEO)
        assert refuses_to_encrypt(peer, await juliet.ox.export_public(), sender)


async def test_a_key_that_only_its_maker_can_renew_is_told(peer: OxPeer) -> None:
    if not isinstance(peer, GpgPeer):
        pytest.skip("only gpg is asked for such a key here")
    key = await engine.adopt(Secret(peer.new_key(JULIET, "ecdsa")))
    assert (await engine.minimal(key.certificate, [JULIET])).encrypts
    with pytest.raises(PeerMisbehaved) as caught:
        await engine.extend(key, NEXT_YEAR)
    assert caught.value.code is ErrorCode.UNSUPPORTED_ALGORITHM
