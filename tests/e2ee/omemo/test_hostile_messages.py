"""Forged headers and payloads: whatever fails changes nothing, and the genuine message is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee.errors import ErrorCode
from e2ee.omemo import decrypting
from e2ee.omemo.engine import Payload
from e2ee.omemo.message import DeviceKey
from e2ee.omemo.version import Version
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.xmltree import Element
from tests.support.omemo_forge import reheaded
from tests.support.omemo_letters import (
    EMPTY,
    Pair,
    addressed,
    first_contact,
    key_for,
    keyed,
    met,
    of_item,
    remade,
    renewed,
    said,
    texts,
)
from tests.support.omemo_world import Party, refused, settle

_RANDOM = NativePrimitives().random


@pytest.fixture
async def pair() -> Pair:
    return await met()


def _reheaded(encrypted: Element, reader: Party, **header: object) -> Element:
    """Return a message whose ratchet header says something else."""
    engine = reader.sessions.engines[Version.TWO]
    message = engine.read_message(key_for(encrypted, reader).data)
    return remade(encrypted, reader, data=reheaded(message, Version.TWO, **header))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    [
        {"number": 1000},
        {"number": 999, "previous": 1000},
        {"previous": 2**32 - 1},
        {"ratchet_key": b"\x2a" * 32},
        {"ratchet_key": b"\x2a" * 32, "number": 999, "previous": 1000},
    ],
)
async def test_o_07_a_forged_header_changes_nothing(pair: Pair, header: dict[str, object]) -> None:
    """The genuine message is read afterwards."""
    encrypted = await said(pair.alice, pair.bob)
    async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
        await pair.bob.decrypt(_reheaded(encrypted, pair.bob, **header), pair.alice)
    assert texts(await pair.bob.decrypt(encrypted, pair.alice)) == ["Good pilgrim"]


async def test_o_07_what_a_header_costs_is_bounded_over_all_sessions(pair: Pair) -> None:
    """Of many archived sessions, one that asks for much work is tried with the current one only."""
    alice, bob = pair.alice, pair.bob
    for _ in range(5):
        pair.world.wait(timedelta(minutes=10))
        await renewed(bob, alice)
        await settle(alice, bob)
    engine = bob.sessions.engines[Version.TWO]
    tried: list[int] = []
    genuine = engine.decrypt

    async def counted(*args: object, **options: object) -> object:
        tried.append(1)
        return await genuine(*args, **options)  # type: ignore[arg-type]

    encrypted = await said(alice, bob)
    for header, most in (({"number": 0, "previous": 0}, 6), ({"number": 999, "previous": 999}, 1)):
        forged = _reheaded(encrypted, bob, ratchet_key=b"\x2a" * 32, **header)
        tried.clear()
        engine.decrypt = counted  # type: ignore[method-assign,assignment]
        async with refused(ErrorCode.CANNOT_DECRYPT, bob):
            await bob.decrypt(forged, alice)
        engine.decrypt = genuine  # type: ignore[method-assign]
        assert len(tried) == most


async def test_o_08_our_own_message_reflected_is_not_the_peers(pair: Pair) -> None:
    """Its ratchet key is ours."""
    encrypted = await said(pair.bob, pair.alice)
    data = key_for(encrypted, pair.alice).data
    key = DeviceKey(pair.bob.device.id, data)
    reflected = addressed(pair.alice.device.id, pair.bob.jid, key, Payload(bytes(16)))
    async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
        await pair.bob.decrypt(reflected, pair.alice)


async def test_o_08_our_own_key_exchange_reflected_is_not_the_peers() -> None:
    """It names our own identity, and none of our prekeys."""
    pair = await first_contact()
    encrypted = await said(pair.bob, pair.alice)
    data = key_for(encrypted, pair.alice).data
    key = DeviceKey(pair.bob.device.id, data, kex=True)
    reflected = addressed(pair.alice.device.id, pair.bob.jid, key, Payload(bytes(16)))
    async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
        await pair.bob.decrypt(reflected, pair.alice)
    assert texts(await pair.alice.decrypt(encrypted, pair.bob)) == ["Good pilgrim"]


@pytest.mark.parametrize("legacy", [False, True])
async def test_o_10_a_payload_that_was_taken_away_is_missed(legacy: bool) -> None:
    """What is left is no empty message: it was the key to a payload (O3)."""
    pair = await met(legacy=legacy)
    encrypted = await said(pair.alice, pair.bob)
    stripped = remade(encrypted, pair.bob, payload=None)
    async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
        await pair.bob.decrypt(stripped, pair.alice)
    for text in ("", " \n "):
        *rest, payload = encrypted.children
        assert isinstance(payload, Element)
        blank = replace(payload, children=(text,) if text else ())
        async with refused(ErrorCode.MALFORMED, pair.bob):
            await pair.bob.decrypt(replace(encrypted, children=(*rest, blank)), pair.alice)
    assert texts(await pair.bob.decrypt(encrypted, pair.alice)) == ["Good pilgrim"]


async def test_o_10_a_payload_that_was_taken_from_a_first_message_is_missed() -> None:
    """And its prekey is kept for the whole one."""
    pair = await first_contact()
    encrypted = await said(pair.alice, pair.bob)
    await pair.bob.hear_of(pair.alice)
    async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
        await pair.bob.decrypt(remade(encrypted, pair.bob, payload=None), pair.alice)
    assert texts(await pair.bob.decrypt(encrypted, pair.alice)) == ["Good pilgrim"]


async def test_o_11_an_empty_message_gets_no_payload(pair: Pair) -> None:
    """The key of every empty message is known to all; only one of zeros is empty (O4)."""
    engine = pair.alice.sessions.engines[Version.TWO]
    empty = await keyed(pair.alice, pair.bob, EMPTY)
    payload, _ = engine.seal_payload(b"<forged/>", lambda count: bytes(count))
    async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
        await pair.bob.decrypt(remade(empty, pair.bob, payload=payload), pair.alice)
    assert (await pair.bob.decrypt(empty, pair.alice)).is_empty
    for material in (bytes(31) + b"\x01", bytes(48)):
        beat = await keyed(pair.alice, pair.bob, Secret(material))
        async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
            await pair.bob.decrypt(beat, pair.alice)


async def test_o_12_payloads_are_not_swapped(pair: Pair) -> None:
    """Both genuine messages are read afterwards."""
    one, two = await said(pair.alice, pair.bob, "one"), await said(pair.alice, pair.bob, "two")
    for header, payload in ((one, two), (two, one)):
        mixed = replace(header, children=(header.children[0], payload.children[1]))
        async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
            await pair.bob.decrypt(mixed, pair.alice)
    assert texts([await pair.bob.decrypt(each, pair.alice) for each in (one, two)]) == [
        "one",
        "two",
    ]


async def test_o_13_a_recipient_cannot_rewrite_for_others(pair: Pair) -> None:
    """Who has the payload's key can make another payload, and no tag that fits the first one."""
    encrypted = await said(pair.alice, pair.bob)
    engine = pair.alice.sessions.engines[Version.TWO]
    rewritten, _ = engine.seal_payload(b"<envelope/>", _RANDOM)
    async with refused(ErrorCode.CANNOT_DECRYPT, pair.bob):
        await pair.bob.decrypt(remade(encrypted, pair.bob, payload=rewritten), pair.alice)
    opened = await pair.bob.decrypt(encrypted, pair.alice)
    assert not opened.is_rewritable


async def test_o_13_a_legacy_message_says_that_it_can_be_rewritten() -> None:
    """Whatever keys it still has: the network takes away those of others."""
    pair = await met(legacy=True)
    encrypted = remade(await said(pair.alice, pair.bob), pair.bob)
    assert (await pair.bob.decrypt(encrypted, pair.alice)).is_rewritable


async def test_o_13_a_legacy_message_is_no_item() -> None:
    """Every reader of the item could rewrite it, and nothing in it says whose it is."""
    pair = await met(legacy=True)
    encrypted = await said(pair.alice, pair.bob)
    async with refused(ErrorCode.FORBIDDEN, pair.bob):
        await decrypting.decrypt(pair.bob.sessions, encrypted, of_item(pair.alice.jid))
    assert texts(await pair.bob.decrypt(encrypted, pair.alice)) == ["Good pilgrim"]
