"""Copies of sound keys into which somebody wrote more: nothing of it is kept, signed or in the way.

Rule: the key itself is genuine in every copy; what is added to it needs no secret part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha512

import pytest

from e2ee.errors import ErrorCode
from e2ee.limits import (
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATE_PACKETS,
    MAX_CERTIFICATE_USER_IDS,
)
from e2ee.names import NodeAddress
from e2ee.primitives import NativePrimitives
from ox.elements import data_node, read_pubkey
from ox.engine import KeyHandle, Revocation
from ox.engine_sequoia import SequoiaEngine
from ox.key_signatures import KeySignature, SubpacketKind
from ox.packets import Tag, read_packets, write_packet
from ox.sequoia_keys import sound_parts
from tests.support.engines import refused as refused_by
from tests.support.forge import (
    ENCRYPT,
    LONG_AGO,
    SIGN,
    Forged,
    KeyPair,
    SignatureKind,
    bind,
    certify,
    forged,
    new_curve25519,
    new_ed25519,
    revoke,
    sign,
    subpacket,
)
from tests.support.ox_keys import JULIET, ROMEO, encrypted_to, key_id
from tests.support.ox_world import Person, World, fingerprint_of, meet, refused

NAME = f"xmpp:{JULIET}".encode()
DAY = timedelta(days=1)
NEXT_YEAR = datetime.now(UTC).replace(microsecond=0) + 365 * DAY
MARKS = (write_packet(40, b""), write_packet(40, b"what follows does not hold"))
"""What our engine's own adapter looks for, or once looked for, in what Sequoia wrote."""

engine = SequoiaEngine(NativePrimitives())


def body_of(packet: bytes) -> bytes:
    return read_packets(packet, most=1)[0].body


def notation(size: int) -> bytes:
    """Return a subpacket that says something at length (RFC 4880 §5.2.3.16)."""
    return subpacket(20, bytes(4) + (4).to_bytes(2) + size.to_bytes(2) + b"a@b." + b"x" * size)


def beside(packet: bytes, added: bytes) -> bytes:
    """Return a signature packet with more in its unsigned area, which breaks nothing."""
    body = body_of(packet)
    at = 6 + int.from_bytes(body[4:6])
    size = int.from_bytes(body[at : at + 2])
    area = body[at + 2 : at + 2 + size] + added
    return write_packet(
        Tag.SIGNATURE, body[:at] + len(area).to_bytes(2) + area + body[at + 2 + size :]
    )


def foreign(size: int) -> bytes:
    """Return somebody's signature, well-formed, as it would be embedded."""
    return subpacket(32, body_of(sign(new_ed25519(), b"", 0x19, hashed=notation(size))))


def padded(raw: bytes, size: int) -> bytes:
    """Return a certificate whose signatures all have more beside them."""
    written = b""
    for packet in read_packets(raw, most=MAX_CERTIFICATE_PACKETS):
        framed = write_packet(packet.tag, packet.body)
        written += beside(framed, foreign(size)) if packet.tag == Tag.SIGNATURE else framed
    return written


def flooded(key: Forged) -> Forged:
    """Return the key with as many signatures by a stranger as fit."""
    stranger, name = new_ed25519(), key.parts[0]
    assert isinstance(name, bytes)
    junk = b"".join(
        sign(stranger, b"", 0x10, created=LONG_AGO + n * DAY)
        for n in range(MAX_CERTIFICATE_PACKETS - 5)
    )
    return Forged(key.primary, key.encryption, (name + junk, *key.parts[1:]))


def long_winded(key: Forged) -> Forged:
    """Return the key with as much said by itself as fits."""
    for day in range(9):
        room = MAX_CERTIFICATE_BYTES - len(key.public) - 170
        if room > 0:
            said = sign(
                key.primary,
                key.primary.hashed,
                0x1F,
                created=LONG_AGO + day * DAY,
                hashed=notation(min(room, 65_000)),
            )
            key = Forged(key.primary, key.encryption, (said, *key.parts))
    return key


def named(key: Forged, added: bytes) -> bytes:
    return key.plus(write_packet(Tag.USER_ID, b"x" + added)).public


COPIES: dict[str, Callable[[Forged], bytes]] = {
    "a user id with the mark": lambda key: named(key, MARKS[0]),
    "a user id with a longer mark": lambda key: named(key, MARKS[1]),
    "a stranger's signatures": lambda key: flooded(key).public,
    "a stranger's user id": lambda key: key.plus(certify(new_ed25519(), NAME + MARKS[0])).public,
    "all that is beside a signature": lambda key: padded(key.public, 60_000),
    "user ids": lambda key: (
        key.plus(
            *(write_packet(Tag.USER_ID, bytes((n,))) for n in range(MAX_CERTIFICATE_USER_IDS - 1))
        ).public
    ),
    "the mark as a picture": lambda key: (
        key.plus(write_packet(Tag.USER_ATTRIBUTE, b"\x05\x01" + MARKS[0])).public
    ),
}


@pytest.fixture
def world() -> World:
    return World()


async def all_is_well(juliet: Person, romeo: Person) -> None:
    """Check that she seals, opens, prolongs and exports."""
    assert await juliet.ox.own_key()
    assert await juliet.open(await romeo.seal(juliet), romeo)
    assert await romeo.open(await juliet.seal(romeo), juliet)
    await juliet.ox.extend(NEXT_YEAR)
    assert await juliet.ox.export_public()


class TestOurOwn:
    @pytest.mark.parametrize("name", COPIES)
    async def test_g_14_no_copy_of_our_key_takes_it_from_us(self, world: World, name: str) -> None:
        key = forged(NAME)
        juliet, romeo = await world.person(JULIET, key=key.secret), await world.person(ROMEO)
        await meet(juliet, romeo)
        for _ in range(2):
            await juliet.fetch_key(COPIES[name](key))
            await all_is_well(juliet, romeo)
        again = juliet.restarted()
        await all_is_well(again, romeo)
        await again.revoke(Revocation.COMPROMISED)
        assert (await again.ox.own_key()).certificate.revoked

    @pytest.mark.parametrize("name", COPIES)
    async def test_g_14_nor_does_it_keep_it_from_being_adopted(
        self, world: World, name: str
    ) -> None:
        key, romeo = forged(NAME), await world.person(ROMEO)
        juliet = world.stranger(JULIET)
        world.announce(JULIET, COPIES[name](key))
        await juliet.gather(juliet)
        await juliet.adopt(key.secret)
        await juliet.flush()
        await meet(juliet, romeo)
        await all_is_well(juliet, romeo)

    async def test_nothing_of_it_is_kept_or_published(self, world: World) -> None:
        key = forged(NAME)
        juliet = await world.person(JULIET, key=key.secret)
        before = await juliet.ox.export_public()
        for copy in COPIES.values():
            await juliet.fetch_key(copy(key))
        assert await juliet.ox.export_public() == before
        node = NodeAddress(juliet.jid, data_node(fingerprint_of(before)))
        assert read_pubkey(world.nodes[node]) == before

    @pytest.mark.parametrize("revoked", [False, True])
    async def test_g_14_what_our_own_key_says_at_too_great_length_is_gone_without(
        self, world: World, revoked: bool
    ) -> None:
        """The public key just fits, the secret one does not; that it is revoked is not missed."""
        key = forged(NAME)
        juliet, romeo = await world.person(JULIET, key=key.secret), await world.person(ROMEO)
        await meet(juliet, romeo)
        long = long_winded(key.revoked() if revoked else key).public
        own = await juliet.ox.own_key()
        await refused_by(engine.updated(own, long), ErrorCode.LIMIT_EXCEEDED)
        await juliet.fetch_key(long)
        assert (await juliet.ox.own_key()).certificate.revoked is revoked
        if not revoked:
            await all_is_well(juliet, romeo)


class TestOthers:
    @pytest.mark.parametrize("name", COPIES)
    async def test_g_14_a_stuffed_copy_is_in_nobodys_way(self, world: World, name: str) -> None:
        key, following = forged(f"xmpp:{ROMEO}"), new_curve25519()
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        world.announce(ROMEO, COPIES[name](key))
        await juliet.gather(romeo)
        assert await encrypted_to(juliet, romeo) == {key_id(key)}
        honest = key.plus(
            revoke(key.primary, key.encryption),
            following,
            bind(key.primary, following, ENCRYPT),
        )
        await juliet.fetch_key(honest.public, of=romeo)
        assert await encrypted_to(juliet, romeo) == {key_id(following)}
        await juliet.fetch_key(key.revoked().public, of=romeo)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.seal(romeo)

    @pytest.mark.parametrize("name", COPIES)
    async def test_nothing_of_it_is_kept(self, name: str) -> None:
        key = forged(NAME)
        alone = await engine.merge(None, key.public)
        assert await engine.merge(None, COPIES[name](key)) == alone
        assert await engine.merge(key.public, COPIES[name](key)) == alone
        assert await engine.merge(COPIES[name](key), key.public) == alone

    async def test_what_names_another_signer_anywhere_is_not_the_keys_own(self) -> None:
        key, subkey, stranger = forged(NAME), new_curve25519(), new_ed25519()
        over, flags = key.primary.hashed + subkey.hashed, subpacket(27, ENCRYPT)
        ours = subpacket(33, b"\x04" + key.primary.fingerprint)
        our_id = subpacket(16, key_id(key.primary))
        for hashed, unhashed in ((ours, b""), (b"", ours), (b"", our_id), (ours, our_id)):
            for issuer in (stranger, key.primary):
                lie = sign(
                    stranger, over, 0x18, hashed=flags + hashed, unhashed=unhashed, issuer=issuer
                )
                parts = sound_parts(key.plus(subkey, lie).public)
                assert subkey.body not in {part.body for part in parts}

    @pytest.mark.parametrize("by_itself", [True, False])
    async def test_what_names_nobody_is_judged(self, by_itself: bool) -> None:
        key = forged(NAME)
        by = key.primary if by_itself else new_ed25519()
        area = subpacket(2, int(LONG_AGO.timestamp()).to_bytes(4))
        anonymous = unsigned_by(by, key.primary.hashed, 0x20, area)
        copy = Forged(key.primary, key.encryption, (anonymous, *key.parts))
        found = await engine.merge(key.public, copy.public)
        assert found.revoked is by_itself


def unsigned_by(by: KeyPair, over: bytes, kind: int, area: bytes) -> bytes:
    """Return a signature that does not say by whom it is."""
    head = bytes((4, kind, by.algorithm, 10)) + len(area).to_bytes(2) + area
    digest = sha512(over + head + b"\x04\xff" + len(head).to_bytes(4)).digest()
    return write_packet(Tag.SIGNATURE, head + bytes(2) + digest[:2] + by.signs(digest, "sha512"))


class TestExtended:
    @pytest.mark.parametrize("size", [60, 60_000, 65_200, 65_300])
    async def test_g_03_our_key_signs_nothing_that_others_wrote(self, size: int) -> None:
        key = forged(NAME)
        own, (name, *rest) = await engine.adopt(key.secret), key.parts
        assert isinstance(name, bytes)
        user_id, certification = (write_packet(p.tag, p.body) for p in read_packets(name, most=2))
        stuffed = user_id + beside(certification, foreign(size))
        copy = Forged(key.primary, key.encryption, (stuffed, *rest))
        raw = (await engine.inspect(copy.public)).raw
        assert b"x" * 60 in raw
        handle = KeyHandle(await engine.inspect(raw), own.material)
        extended = await engine.extend(handle, NEXT_YEAR)
        assert extended.certificate.expires == NEXT_YEAR
        for found in (extended.certificate.raw, extended.material.reveal()):
            assert b"x" * 60 not in found

    async def test_a_subkey_that_signs_keeps_its_answer_where_it_was(self) -> None:
        """Unsigned, as gpg writes it; and nothing else that claims to be one."""
        primary, signing = new_ed25519(), new_ed25519()
        over = primary.hashed + signing.hashed
        answer = subpacket(32, body_of(sign(signing, over, SignatureKind.PRIMARY_BINDING)))
        lasts = subpacket(9, int(DAY.total_seconds() * 9999).to_bytes(4))
        hashed = subpacket(27, SIGN) + lasts
        binding = sign(
            primary, over, 0x18, created=LONG_AGO, hashed=hashed, unhashed=answer + foreign(60_000)
        )
        key = forged(NAME, primary=primary).plus(signing, binding)
        extended = await engine.extend(await engine.adopt(key.secret), NEXT_YEAR)
        assert len(extended.certificate.raw) < 4000
        (bound,) = [
            part for part in sound_parts(extended.certificate.raw) if part.body == signing.body
        ]
        for signature in bound.signatures:
            kinds = [each.kind for each in signature.unhashed]
            assert kinds == [SubpacketKind.ISSUER, SubpacketKind.EMBEDDED]
            assert SubpacketKind.EMBEDDED not in [each.kind for each in signature.hashed]
        made = await engine.sign(b"x", extended)
        assert await engine.verify(b"x", made, [extended.certificate.raw])

    async def test_what_is_too_long_to_be_said_again_is_one_error(self) -> None:
        primary = new_ed25519()
        text = primary.hashed + b"\xb4" + len(NAME).to_bytes(4) + NAME
        certification = sign(primary, text, 0x13, created=LONG_AGO, hashed=notation(65_485))
        key = forged(primary=primary, certified=write_packet(Tag.USER_ID, NAME) + certification)
        handle = await engine.adopt(key.secret)
        await refused_by(engine.extend(handle, NEXT_YEAR), ErrorCode.LIMIT_EXCEEDED)

    async def test_an_answer_that_is_none_is_left_out(self) -> None:
        primary, signing = new_ed25519(), new_ed25519()
        junk = subpacket(32, b"\x04\x19") + subpacket(32, b"")
        packet = beside(bind(primary, signing, SIGN, back_signed=False), junk)
        parts = sound_parts(forged(NAME, primary=primary).plus(signing, packet).public)
        assert signing.body not in {part.body for part in parts}
        read = KeySignature.read(body_of(packet))
        assert read.body == body_of(packet)
