"""Tests of the engines of both versions against whoever alters, forges and makes up.

Rule: every attack changes nothing, says one typed error, and leaves the intact message readable.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest
import xeddsa

from e2ee.errors import CannotDecrypt, E2eeError, ErrorCode
from e2ee.limits import MAX_SKIPPED
from e2ee.omemo.engine import OmemoEngine, SkippedKey
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from tests.support.leaks import Canary, everything_printable
from tests.support.omemo_forge import (
    KEY_MATERIAL,
    NOT_CANONICAL,
    SMALL_ORDER,
    WRONG_SIZE,
    Fields,
    KeyOwner,
    around,
    inside,
    met,
    new_engine,
    refused,
    reheaded,
)


@pytest.fixture(params=Version, ids=lambda version: version.name)
def engine(request: pytest.FixtureRequest) -> OmemoEngine:
    return new_engine(request.param)


def _material(engine: OmemoEngine) -> Secret:
    return Secret(bytes(range(KEY_MATERIAL[engine.version])))


@pytest.fixture
def steps(engine: OmemoEngine, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Count the steps of message chains: the work that a header may ask for."""
    taken: list[None] = []
    chain = engine._suite.ratchet.chain  # type: ignore[attr-defined]
    derive = chain.derive

    async def counted(*given: object) -> bytes:
        taken.append(None)
        return bytes(await derive(*given))

    monkeypatch.setattr(chain, "derive", counted)
    return taken


# -- headers


async def test_o_04_forged_counters_cost_no_more_than_the_limit(
    engine: OmemoEngine, steps: list[None]
) -> None:
    """Whatever a header says, before anything of it is authenticated."""
    ours, theirs = await met(engine)
    genuine = await ours.write(_material(engine))
    message = engine.read_message(genuine)
    new_key = xeddsa.priv_to_curve25519_pub(bytes(range(32)))
    counters = (0, 1, 2, MAX_SKIPPED, MAX_SKIPPED + 1, 2**16, 2**31, 2**32 - 1)
    for number in counters:
        for previous in counters:
            for key in (None, new_key):
                forged = reheaded(
                    message, engine.version, number=number, previous=previous, ratchet_key=key
                )
                if forged == genuine:
                    continue
                before = theirs.copy()
                steps.clear()
                with pytest.raises(E2eeError) as caught:
                    await theirs.read(forged)
                assert caught.value.code in {
                    ErrorCode.CANNOT_DECRYPT, ErrorCode.TOO_MANY_SKIPPED, ErrorCode.REPLAY
                }  # fmt: skip
                assert (caught.value.code == ErrorCode.TOO_MANY_SKIPPED) == (
                    number - (0 if key else 1) > MAX_SKIPPED
                )
                assert len(steps) <= 2 * MAX_SKIPPED + 1
                assert theirs == before
    assert (await theirs.read(genuine)).key_material == _material(engine)


async def test_o_07_forged_headers_with_a_new_ratchet_key_change_nothing(
    engine: OmemoEngine,
) -> None:
    ours, theirs = await met(engine)
    genuine = await ours.write(_material(engine))
    message = engine.read_message(genuine)
    for number in range(4):
        key = xeddsa.priv_to_curve25519_pub(Random(number).randbytes(32))
        await refused(
            theirs,
            reheaded(message, engine.version, ratchet_key=key, number=number),
            ErrorCode.CANNOT_DECRYPT,
        )
    assert (await theirs.read(genuine)).key_material == _material(engine)


@pytest.mark.parametrize(
    "key", [*WRONG_SIZE, *SMALL_ORDER, *NOT_CANONICAL], ids=lambda key: key.hex()[:20] or "empty"
)
async def test_o_08_unfit_ratchet_keys_are_malformed(engine: OmemoEngine, key: bytes) -> None:
    ours, theirs = await met(engine)
    genuine = await ours.write(_material(engine))
    forged = reheaded(engine.read_message(genuine), engine.version, ratchet_key=key)
    await refused(theirs, forged, ErrorCode.MALFORMED)
    assert (await theirs.read(genuine)).key_material == _material(engine)


async def test_o_08_the_second_form_of_a_genuine_ratchet_key_is_malformed(
    engine: OmemoEngine,
) -> None:
    """With the top bit that X25519 ignores: it would be the same key under another name."""
    ours, theirs = await met(engine)
    message = engine.read_message(await ours.write(_material(engine)))
    key = message.ratchet_key[:-1] + bytes([message.ratchet_key[-1] | 0x80])
    await refused(theirs, reheaded(message, engine.version, ratchet_key=key), ErrorCode.MALFORMED)


async def test_o_08_our_own_keys_reflected_are_refused(
    engine: OmemoEngine, steps: list[None]
) -> None:
    """Our message sent back to us, and any message under a key that is ours: at no cost."""
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    ours, first = await romeo.start(juliet.bundle, _material(engine))
    theirs, _ = await juliet.accept(first)
    mine = await ours.write(_material(engine))
    message = engine.read_message(mine)
    prekey = juliet.signed_pre_key.public
    steps.clear()
    await refused(ours, engine.read_exchange(first)[1].raw, ErrorCode.CANNOT_DECRYPT)
    await refused(ours, mine, ErrorCode.CANNOT_DECRYPT)
    own = reheaded(message, engine.version, ratchet_key=theirs.ratchet.own_public)
    await refused(theirs, own, ErrorCode.CANNOT_DECRYPT)
    # The prekey is the peer's ratchet key for us until they answer, but they never send under it.
    by_prekey = reheaded(message, engine.version, ratchet_key=prekey)
    await refused(ours, by_prekey, ErrorCode.CANNOT_DECRYPT)
    exchange, message = engine.read_exchange(first)
    pre_key = juliet.pre_keys[exchange.pre_key_id]
    reflected = engine.read_message(reheaded(message, engine.version, ratchet_key=prekey))
    with pytest.raises(CannotDecrypt):
        await engine.accept(juliet.own, juliet.signed_pre_key, pre_key, exchange, reflected)
    assert not steps
    await refused(theirs, by_prekey, ErrorCode.CANNOT_DECRYPT)


# -- messages


async def test_o_12_parts_of_two_messages_make_none(engine: OmemoEngine) -> None:
    """Header, ciphertext and tag of one with those of the other; payloads likewise."""
    ours, theirs = await met(engine)
    payloads, raws = [], []
    for text in (b"Wherefore", b"art thou?"):
        payload, key_material = engine.seal_payload(text, Random(text).randbytes)
        payloads.append(payload)
        raws.append(await ours.write(key_material))
    insides = [Fields.read(inside(engine.version, raw)) for raw in raws]
    ciphertexts = [fields.find(4) for fields in insides]
    for one, other in ((0, 1), (1, 0)):
        mixed = insides[one].changed(4, ciphertexts[other]).written()
        await refused(theirs, around(engine.version, raws[one], mixed), ErrorCode.CANNOT_DECRYPT)
        await refused(
            theirs,
            around(engine.version, raws[one], insides[other].written()),
            ErrorCode.CANNOT_DECRYPT,
        )
    keys = [(await theirs.read(raw)).key_material for raw in raws]
    for one, other in ((0, 1), (1, 0)):
        with pytest.raises(CannotDecrypt):
            engine.open_payload(payloads[one], keys[other])
    assert [engine.open_payload(*pair) for pair in zip(payloads, keys, strict=True)] == [
        b"Wherefore",
        b"art thou?",
    ]


async def test_a_kept_key_opens_its_own_message_alone(engine: OmemoEngine) -> None:
    """Also if the caller gives the wrong one."""
    ours, theirs = await met(engine)
    raws = [await ours.write(_material(engine)) for _ in range(3)]
    await theirs.read(raws[2])
    kept = [*theirs.skipped.values()]
    message = engine.read_message(raws[0])
    for wrong in (kept[1], SkippedKey(kept[0].ratchet_key, kept[0].number, bytes(32))):
        with pytest.raises(CannotDecrypt):
            await engine.decrypt(
                theirs.ratchet, theirs.bound, message, wrong, initiator=theirs.initiator
            )
    await theirs.read(raws[0])


async def test_messages_are_bound_to_both_identities(engine: OmemoEngine) -> None:
    """Under another's associated data nothing opens; nor as what the other side sent."""
    ours, theirs = await met(engine)
    genuine = await ours.write(_material(engine))
    stranger = KeyOwner.new(engine, "tybalt")
    other, _ = await stranger.start(KeyOwner.new(engine, "juliet").bundle, _material(engine))
    await refused(replace(theirs.copy(), bound=other.bound), genuine, ErrorCode.CANNOT_DECRYPT)
    if engine.version is Version.LEGACY:
        turned = replace(theirs.copy(), initiator=True)
        await refused(turned, genuine, ErrorCode.CANNOT_DECRYPT)
    await theirs.read(genuine)


# -- key exchanges


async def test_o_19_key_exchanges_with_other_keys_than_they_name(engine: OmemoEngine) -> None:
    """Another prekey, signed prekey, ephemeral key or identity than the initiator's: no session."""
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    tybalt = KeyOwner.new(engine, "tybalt")
    _, raw = await romeo.start(juliet.bundle, _material(engine))
    exchange, message = engine.read_exchange(raw)
    right = juliet.pre_keys[exchange.pre_key_id]
    wrong = next(key for number, key in juliet.pre_keys.items() if number != exchange.pre_key_id)
    ephemeral = xeddsa.priv_to_curve25519_pub(bytes(range(32)))
    for signed, pre_key, told in (
        (juliet.signed_pre_key, wrong, exchange),
        (tybalt.signed_pre_key, right, exchange),
        (juliet.signed_pre_key, right, replace(exchange, ephemeral=ephemeral)),
        (juliet.signed_pre_key, right, replace(exchange, identity=tybalt.bundle.identity)),
        (juliet.signed_pre_key, right, replace(exchange, identity=juliet.bundle.identity)),
    ):
        with pytest.raises(CannotDecrypt) as caught:
            await engine.accept(juliet.own, signed, pre_key, told, message)
        assert caught.value.__cause__ is None
    with pytest.raises(CannotDecrypt):
        await engine.accept(tybalt.own, juliet.signed_pre_key, right, exchange, message)
    await juliet.accept(raw)


async def test_o_16_whom_a_key_exchange_is_from_is_part_of_every_message(
    engine: OmemoEngine,
) -> None:
    """Somebody who sends another's key exchange as theirs has no message for it."""
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    tybalt = KeyOwner.new(engine, "tybalt")
    ours, _ = await romeo.start(juliet.bundle, _material(engine))
    theirs, raw = await tybalt.start(juliet.bundle, _material(engine))
    mixed = engine.write_exchange(
        replace(theirs.exchange, identity=ours.exchange.identity), engine.read_exchange(raw)[1].raw
    )
    with pytest.raises(CannotDecrypt):
        await juliet.accept(mixed)
    await juliet.accept(raw)


# -- what is printed


async def test_o_38_every_failure_to_decrypt_looks_the_same(engine: OmemoEngine) -> None:
    """A wrong tag, a wrong key, a wrong length: one class, one text, no cause."""
    ours, theirs = await met(engine)
    message = engine.read_message(await ours.write(_material(engine)))
    new_key = xeddsa.priv_to_curve25519_pub(bytes(range(32)))
    fields = Fields.read(inside(engine.version, message.raw))
    short = await ours.copy().write(Secret(bytes(5)))
    seen = set()
    for raw in (
        reheaded(message, engine.version, ratchet_key=new_key),
        reheaded(message, engine.version, number=message.number + 1),
        around(engine.version, message.raw, fields.changed(4, bytes(64)).written()),
        short,
    ):
        with pytest.raises(CannotDecrypt) as caught:
            await theirs.read(raw)
        error = caught.value
        seen.add((type(error), str(error), error.__cause__, error.__suppress_context__))
    assert seen == {(CannotDecrypt, "cannot decrypt", None, True)}


async def test_z_01_no_log_and_no_error_holds_a_secret(
    engine: OmemoEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does the representation of any value; the packages' loggers have nothing to say."""
    caplog.set_level(logging.DEBUG)
    canary = Canary(
        "a-canary-of-exactly-forty-eight-bytes-in-length!"[: KEY_MATERIAL[engine.version]]
    )
    plaintext = Canary("Wherefore-art-thou-Romeo-Montague")
    ours, theirs = await met(engine)
    payload, _ = engine.seal_payload(plaintext.raw, Random(1).randbytes)
    raw = await ours.write(Secret(canary.raw))

    async def read_twice() -> None:
        await theirs.read(raw)
        await theirs.read(raw)

    failures: list[Callable[[], Awaitable[object]]] = [read_twice]
    forged = reheaded(engine.read_message(raw), engine.version, number=7)
    failures.append(lambda: theirs.read(forged))
    errors: list[object] = []
    received = await theirs.copy().read(raw)
    for failure in failures:
        try:
            await failure()
        except E2eeError as error:
            errors.append(error)
    try:
        engine.open_payload(payload, Secret(canary.raw))
    except CannotDecrypt as error:
        errors.append(error)
    assert len(errors) == 3
    halves = [Canary(half.ratchet.root.key.hex()[:32]) for half in (ours, theirs)]
    for subject in (*errors, received, ours, theirs, engine):
        for where, printed in everything_printable(subject):
            canary.assert_absent(printed, where)
            plaintext.assert_absent(printed, where)
            for key in halves:
                key.assert_absent(printed, where)
    assert not caplog.records
