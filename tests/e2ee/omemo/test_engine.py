"""Tests of the engines of both versions: keys, payloads and sessions between honest devices.

Rule: what is hostile is in ``test_engine_hostile.py``, other implementations in files beside it.
"""

from __future__ import annotations

import hmac
import random
from dataclasses import replace
from itertools import permutations

import pytest
import xeddsa
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ApiMisuse, CannotDecrypt, EngineFailed, ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_SKIPPED
from e2ee.omemo.device import parse_identity_fingerprint
from e2ee.omemo.engine import Chain, OmemoEngine, Payload
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from tests.support.omemo_forge import KEY_MATERIAL, Half, KeyOwner, met, new_engine


@pytest.fixture(params=Version, ids=lambda version: version.name)
def engine(request: pytest.FixtureRequest) -> OmemoEngine:
    return new_engine(request.param)


def _material(engine: OmemoEngine, number: int) -> Secret:
    return Secret(number.to_bytes(KEY_MATERIAL[engine.version]))


# -- keys


def test_identities_have_sign_bit_0(engine: OmemoEngine) -> None:
    """Both halves of all seeds are met within a few."""
    source = random.Random(1)
    signs = set()
    for _ in range(20):
        signs.add(xeddsa.seed_to_ed25519_pub(source.randbytes(32))[-1] >> 7)
        own = engine.new_identity(source.randbytes)
        assert xeddsa.seed_to_ed25519_pub(own.reveal())[-1] >> 7 == 0
    assert signs == {0, 1}


def test_keys_follow_from_the_randomness_given(engine: OmemoEngine) -> None:
    """Nothing else has a part in them."""
    assert KeyOwner.new(engine, "romeo") == KeyOwner.new(engine, "romeo")
    assert KeyOwner.new(engine, "romeo") != KeyOwner.new(engine, "juliet")


def test_both_versions_have_one_fingerprint() -> None:
    """The Curve25519 form of the key, whichever version writes it and with whichever sign."""
    two, legacy = new_engine(Version.TWO), new_engine(Version.LEGACY)
    own = two.new_identity(random.Random(2).randbytes)
    fingerprint = two.fingerprint(two.identity(own))
    assert parse_identity_fingerprint(fingerprint) == fingerprint
    assert legacy.identity(own).hex() == fingerprint == legacy.fingerprint(legacy.identity(own))
    other_sign = two.identity(own)[:-1] + bytes([two.identity(own)[-1] | 0x80])
    assert two.fingerprint(other_sign) == fingerprint


def test_labels_are_signed_by_the_identity() -> None:
    """By either Ed25519 form of it; a signature of another label, key or length is none."""
    engine = new_engine(Version.TWO)
    source = random.Random(3)
    own, other = engine.new_identity(source.randbytes), engine.new_identity(source.randbytes)
    fingerprint = engine.fingerprint(engine.identity(own))
    signature = engine.sign_label(own, "Gajim on the balcony")
    assert len(signature) == 64
    assert engine.is_label_of("Gajim on the balcony", signature, fingerprint)
    assert not engine.is_label_of("Gajim on the barge", signature, fingerprint)
    assert not engine.is_label_of(
        "Gajim on the balcony", signature, engine.fingerprint(engine.identity(other))
    )
    for length in (0, 3, 63, 65):
        assert not engine.is_label_of("", bytes(length), fingerprint)
    flipped = xeddsa.priv_force_sign(xeddsa.seed_to_priv(own.reveal()), True)
    assert engine.is_label_of("x", xeddsa.ed25519_priv_sign(flipped, b"x"), fingerprint)


def test_the_legacy_version_knows_no_labels() -> None:
    engine = new_engine(Version.LEGACY)
    own = engine.new_identity(random.Random(4).randbytes)
    with pytest.raises(ApiMisuse):
        engine.sign_label(own, "Conversations")
    fingerprint = engine.fingerprint(engine.identity(own))
    assert not engine.is_label_of("", xeddsa.ed25519_seed_sign(own.reveal(), b""), fingerprint)


def test_own_bundles_pass(engine: OmemoEngine) -> None:
    engine.check_bundle(KeyOwner.new(engine, "juliet", pre_keys=100).bundle)


def test_legacy_bundles_say_the_sign_of_their_identity() -> None:
    """In the signature's top bit, also for an identity that is not one of ours."""
    engine = new_engine(Version.LEGACY)
    signs = set()
    for number in range(10):
        own = Secret(random.Random(number).randbytes(32))
        signed = engine.new_signed_pre_key(own, 1, random.Random(0).randbytes)
        juliet = KeyOwner(engine, own, signed, KeyOwner.new(engine, "juliet").pre_keys)
        engine.check_bundle(juliet.bundle)
        assert signed.signature[-1] >> 7 == xeddsa.seed_to_ed25519_pub(own.reveal())[-1] >> 7
        signs.add(signed.signature[-1] >> 7)
    assert signs == {0, 1}


# -- payloads


@given(st.binary(max_size=100), st.sampled_from(Version))
def test_payloads_come_back(plaintext: bytes, version: Version) -> None:
    engine = new_engine(version)
    payload, key_material = engine.seal_payload(plaintext, random.Random(5).randbytes)
    assert len(key_material) == KEY_MATERIAL[version]
    assert engine.open_payload(payload, key_material) == plaintext


@given(st.data(), st.sampled_from(Version))
def test_no_altered_payload_opens(data: st.DataObject, version: Version) -> None:
    """One bit of the ciphertext, of the key or of the tag; a block more or less."""
    engine = new_engine(version)
    payload, key_material = engine.seal_payload(b"Wherefore art thou?", random.Random(6).randbytes)
    whole = payload.ciphertext + key_material.reveal()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    altered = bytearray(whole)
    altered[bit // 8] ^= 1 << bit % 8
    split = len(payload.ciphertext)
    with pytest.raises(CannotDecrypt):
        engine.open_payload(
            Payload(bytes(altered[:split]), payload.iv), Secret(bytes(altered[split:]))
        )
    for ciphertext in (b"", payload.ciphertext[:-1], payload.ciphertext[:-16], whole[: split + 16]):
        with pytest.raises(CannotDecrypt):
            engine.open_payload(Payload(ciphertext, payload.iv), key_material)


def test_o_38_wrong_padding_and_wrong_tags_look_alike() -> None:
    """Only who made the payload can make its padding wrong; even they see one error."""
    from e2ee.omemo.engine_twomemo import _payload_keys

    engine = new_engine(Version.TWO)
    key = bytes(range(32))
    cipher, authentication_key = _payload_keys(key)
    errors = []
    for block in (bytes(16), b"\x11" * 16, b"\x02" * 15 + b"\x03"):
        encryptor = cipher.encryptor()
        ciphertext = encryptor.update(block) + encryptor.finalize()
        tag = hmac.digest(authentication_key, ciphertext, "sha256")[:16]
        for tried in (tag, bytes(16)):
            with pytest.raises(CannotDecrypt) as caught:
                engine.open_payload(Payload(ciphertext), Secret(key + tried))
            errors.append((str(caught.value), caught.value.code, caught.value.__suppress_context__))
    assert set(errors) == {("cannot decrypt", ErrorCode.CANNOT_DECRYPT, True)}


def test_key_material_of_an_empty_message_opens_nothing() -> None:
    engine = new_engine(Version.TWO)
    assert engine.empty == Secret(bytes(32))
    payload, key_material = engine.seal_payload(b"x", random.Random(7).randbytes)
    assert engine.empty is not None
    for wrong in (b"", engine.empty.reveal(), bytes(48), key_material.reveal() + b"\0"):
        with pytest.raises(CannotDecrypt):
            engine.open_payload(payload, Secret(wrong))


def test_legacy_payloads_have_nonces_of_12_or_16_bytes() -> None:
    """The first clients wrote 16."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    engine = new_engine(Version.LEGACY)
    assert engine.empty is None
    key = bytes(range(16))
    for length in range(1, 33):
        iv = bytes(length)
        sealed = AESGCM(key).encrypt(iv, b"x", None) if length >= 8 else bytes(17)
        payload, key_material = Payload(sealed[:-16], iv), Secret(key + sealed[-16:])
        if length in (12, 16):
            assert engine.open_payload(payload, key_material) == b"x"
        else:
            with pytest.raises(CannotDecrypt):
                engine.open_payload(payload, key_material)
    with pytest.raises(CannotDecrypt):
        engine.open_payload(Payload(sealed[:-16]), key_material)


def test_the_tag_of_a_legacy_payload_is_in_the_key_material() -> None:
    """All of it: a message whose payload ends with the tag, as the first clients wrote, is none."""
    engine = new_engine(Version.LEGACY)
    payload, key_material = engine.seal_payload(b"Wherefore", random.Random(8).randbytes)
    raw = key_material.reveal()
    for length in (0, 15, 16, 31):
        moved = Payload(payload.ciphertext + raw[length:], payload.iv)
        with pytest.raises(CannotDecrypt):
            engine.open_payload(moved, Secret(raw[:length]))


# -- sessions


async def test_a_session_goes_both_ways(engine: OmemoEngine) -> None:
    """Ratchet steps and several messages in each chain; the own public key is never stale."""
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    ours, raw = await romeo.start(juliet.bundle, _material(engine, 1))
    theirs, received = await juliet.accept(raw)
    assert received.key_material == _material(engine, 1)
    assert ours.bound == theirs.bound
    assert ours.exchange == theirs.exchange
    halves = [theirs, ours]
    for turn in range(6):
        writer, reader = halves if turn % 2 == 0 else halves[::-1]
        for number in range(3):
            raw = await writer.write(_material(engine, number))
            assert (await reader.read(raw)).key_material == _material(engine, number)
            for half in halves:
                ratchet = half.ratchet
                assert xeddsa.priv_to_curve25519_pub(ratchet.own_private) == ratchet.own_public
    assert not ours.skipped
    assert not theirs.skipped


async def test_o_03_any_message_of_the_first_chain_builds_the_session(engine: OmemoEngine) -> None:
    """The fourth, when three were dropped; what comes late after all is read by it."""
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    ours, first = await romeo.start(juliet.bundle, _material(engine, 0))
    later = [
        engine.write_exchange(ours.exchange, await ours.write(_material(engine, number)))
        for number in range(1, 4)
    ]
    theirs, received = await juliet.accept(later[2])
    assert received.key_material == _material(engine, 3)
    assert [key.number for key in received.skipped] == [0, 1, 2]
    for number, raw in enumerate((first, later[0], later[1])):
        exchange, message = engine.read_exchange(raw)
        assert exchange == theirs.exchange
        assert (await theirs.read(message.raw)).key_material == _material(engine, number)
    assert not theirs.skipped


async def test_key_transport_and_empty_messages(engine: OmemoEngine) -> None:
    """16 bytes in the legacy version, 32 zero bytes in version 2; other lengths are nothing."""
    ours, theirs = await met(engine)
    short = engine.empty or Secret(bytes(range(16)))
    assert (await theirs.read(await ours.write(short))).key_material == short
    for length in (0, 1, 15, 17, 31, 33, 47, 49, 64):
        raw = await ours.write(Secret(bytes(length)))
        before = theirs.copy()
        with pytest.raises((CannotDecrypt, PeerMisbehaved)):
            await theirs.read(raw)
        assert theirs == before


async def _answered(ours: Half, theirs: Half) -> None:
    """Have the peer answer, so that our next message begins a new chain."""
    await ours.read(await theirs.write(_material(ours.engine, 0)))


@pytest.mark.slow
async def test_o_02_every_order_of_six_messages_over_two_ratchet_steps(
    engine: OmemoEngine,
) -> None:
    """All 720 orders; each is read once, and never a second time."""
    ours, theirs = await met(engine)
    raws = [await ours.write(_material(engine, number)) for number in (0, 1)]
    await _answered(ours, theirs)
    between = await ours.write(_material(engine, 9))
    raws += [await ours.write(_material(engine, number)) for number in (2, 3)]
    await theirs.read(between)  # without it, no key of Juliet's for a third chain would exist
    await _answered(ours, theirs)
    raws += [await ours.write(_material(engine, number)) for number in (4, 5)]
    for order in permutations(range(6)):
        half = theirs.copy()
        for number in order:
            received = await half.read(raws[number])
            assert received.key_material == _material(engine, number)
            assert not received.lost
        assert not half.skipped
        for number in order:
            with pytest.raises((PeerMisbehaved, CannotDecrypt)):
                await half.read(raws[number])


async def test_o_02_a_thousand_messages_backwards(engine: OmemoEngine) -> None:
    """As many as may be passed over, and the one that passes over them."""
    ours, theirs = await met(engine)
    raws = [await ours.write(_material(engine, number)) for number in range(MAX_SKIPPED + 1)]
    last = await theirs.read(raws.pop())
    assert len(last.skipped) == MAX_SKIPPED
    for number, raw in reversed(list(enumerate(raws))):
        assert (await theirs.read(raw)).key_material == _material(engine, number)
    assert not theirs.skipped


async def test_more_than_may_be_passed_over(engine: OmemoEngine) -> None:
    """One message too far ahead says so; the next chain is read, and says what was lost."""
    ours, theirs = await met(engine)
    for number in range(MAX_SKIPPED + 1):
        await ours.write(_material(engine, number))
    far = await ours.write(_material(engine, 1))
    before = theirs.copy()
    with pytest.raises(PeerMisbehaved) as caught:
        await theirs.read(far)
    assert caught.value.code == ErrorCode.TOO_MANY_SKIPPED
    assert theirs == before
    await _answered(ours, theirs)
    received = await theirs.read(await ours.write(_material(engine, 2)))  # warnings are errors
    assert received.lost == MAX_SKIPPED + 2
    assert received.skipped == ()
    assert (await theirs.read(await ours.write(_material(engine, 3)))).lost == 0


async def test_both_chains_may_be_passed_over(engine: OmemoEngine) -> None:
    """The limit is for each: the rest of the chain before, and the beginning of the new one."""
    ours, theirs = await met(engine)
    for number in range(MAX_SKIPPED):
        await ours.write(_material(engine, number))
    await _answered(ours, theirs)
    for number in range(MAX_SKIPPED):
        await ours.write(_material(engine, number))
    received = await theirs.read(await ours.write(_material(engine, 1)))
    assert (len(received.skipped), received.lost) == (2 * MAX_SKIPPED, 0)


async def test_the_first_message_may_be_too_far_ahead(engine: OmemoEngine) -> None:
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    ours, _ = await romeo.start(juliet.bundle, _material(engine, 0))
    for number in range(MAX_SKIPPED):
        at_the_limit = await ours.write(_material(engine, number))
    beyond = await ours.write(_material(engine, 1))
    with pytest.raises(PeerMisbehaved) as caught:
        await juliet.accept(engine.write_exchange(ours.exchange, beyond))
    assert caught.value.code == ErrorCode.TOO_MANY_SKIPPED
    _, received = await juliet.accept(engine.write_exchange(ours.exchange, at_the_limit))
    assert len(received.skipped) == MAX_SKIPPED


async def test_what_was_decrypted_is_a_replay(engine: OmemoEngine) -> None:
    """By its number in the same chain; the state stays."""
    ours, theirs = await met(engine)
    raws = [await ours.write(_material(engine, number)) for number in range(3)]
    for raw in raws:
        await theirs.read(raw)
    before = theirs.copy()
    for raw in raws:
        with pytest.raises(PeerMisbehaved) as caught:
            await theirs.read(raw)
        assert caught.value.code == ErrorCode.REPLAY
    assert theirs == before


async def test_an_impossible_state_is_the_engines_failure(engine: OmemoEngine) -> None:
    """Nothing that a peer sent has a part in encrypting."""
    ours, _ = await met(engine)
    full = replace(ours.ratchet, sending=Chain(ours.ratchet.sending.key, 2**32))
    with pytest.raises(EngineFailed) as caught:
        await engine.encrypt(full, ours.bound, _material(engine, 0), initiator=True)
    assert caught.value.__suppress_context__
