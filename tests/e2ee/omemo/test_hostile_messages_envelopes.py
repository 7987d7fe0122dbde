"""Envelopes that do not fit where they stood (XEP-0420), in messages that decrypt well."""

from __future__ import annotations

from datetime import timedelta

import pytest

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode
from e2ee.names import Jid
from e2ee.omemo import decrypting, inbox
from e2ee.sce import Remark
from tests.support.omemo_letters import (
    ROOM,
    Pair,
    enveloped,
    in_room,
    met,
    of_item,
    said,
    sealed,
    texts,
)
from tests.support.omemo_world import refused


@pytest.fixture
async def pair() -> Pair:
    return await met()


@pytest.mark.parametrize("from_", [None, "bob@b.example", "alice@evil.example"])
async def test_s_01_the_sender_must_be_named(pair: Pair, from_: str | None) -> None:
    """By the envelope, as by the stanza."""
    encrypted = await enveloped(pair.alice, pair.bob, from_=from_)
    async with refused(ErrorCode.CONTEXT_MISMATCH, pair.bob):
        await pair.bob.decrypt(encrypted, pair.alice)


@pytest.mark.parametrize("to", [None, "bob@b.example", "other@chat.example"])
async def test_s_02_a_room_must_be_named(pair: Pair, to: str | None) -> None:
    """Else a message between two would pass for one to the room."""
    encrypted = await enveloped(pair.alice, pair.bob, to=to)
    async with refused(ErrorCode.CONTEXT_MISMATCH, pair.bob):
        await decrypting.decrypt(pair.bob.sessions, encrypted, in_room(pair.alice))


async def test_s_03_resources_do_not_matter_in_messages(pair: Pair) -> None:
    """A device may name itself in full."""
    encrypted = await enveloped(pair.alice, pair.bob, from_="alice@a.example/phone")
    assert texts(await pair.bob.decrypt(encrypted, pair.alice)) == ["sealed"]


async def test_s_04_a_message_from_another_time_is_stale(pair: Pair) -> None:
    """Unless an archive says when it was stored; then what does not agree is remarked."""
    stale = await enveloped(pair.alice, pair.bob, time=pair.world.now - timedelta(hours=1))
    future = await enveloped(pair.alice, pair.bob, time=pair.world.now + timedelta(hours=1))
    for each in (stale, future):
        async with refused(ErrorCode.STALE, pair.bob):
            await pair.bob.decrypt(each, pair.alice)
        opened = await pair.bob.decrypt(each, pair.alice, stamp=pair.world.now)
        assert opened.remarks == {Remark.TIME_UNVERIFIABLE}


async def test_s_05_padding_that_lacks_is_remarked(pair: Pair) -> None:
    """It harms its sender alone."""
    plain = (
        b"<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>x</body></content>"
        b"<from jid='alice@a.example'/></envelope>"
    )
    opened = await pair.bob.decrypt(await sealed(pair.alice, pair.bob, plain), pair.alice)
    assert opened.remarks == {Remark.UNPADDED}


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"no XML",
        b"<content xmlns='urn:xmpp:sce:1'/>",
        b"<envelope xmlns='urn:xmpp:sce:1'><content/><content/></envelope>",
        b"<envelope xmlns='urn:xmpp:sce:1'/>" * 2,
        b"<!DOCTYPE a><envelope xmlns='urn:xmpp:sce:1'><content/></envelope>",
        b"<envelope xmlns='urn:xmpp:sce:1'><content><body/></content></envelope>",
    ],
)
async def test_s_07_what_is_no_envelope_is_refused(pair: Pair, plaintext: bytes) -> None:
    """Also two of them, and content in no namespace (S-11); nothing was consumed."""
    encrypted = await sealed(pair.alice, pair.bob, plaintext)
    async with refused(ErrorCode.MALFORMED, pair.bob):
        await pair.bob.decrypt(encrypted, pair.alice)


async def test_s_08_what_must_not_be_inside_is_dropped(pair: Pair) -> None:
    """And reported; the rest is delivered, and kept so."""
    encrypted = await sealed(
        pair.alice,
        pair.bob,
        b"<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>x</body>"
        b"<no-store xmlns='urn:xmpp:hints'/><envelope/></content><rpad/>"
        b"<from jid='alice@a.example'/></envelope>",
    )
    opened = await pair.bob.decrypt(encrypted, pair.alice)
    assert texts(opened) == ["x"]
    assert [child.name for child in opened.dropped] == ["no-store", "envelope"]
    assert (await inbox.undelivered(pair.bob.sessions))[-1] == opened


async def test_s_12_content_stays_in_its_kind_of_stanza(pair: Pair) -> None:
    """A message for bob is none for a room, no item, and no IQ."""
    alice, bob = pair.alice, pair.bob
    direct = await said(alice, bob)
    grouped = (await alice.encrypt(bob, room=ROOM.bare)).elements[0]
    in_query = Arrival(StanzaKind.IQ, alice.address, Jid(bob.jid, "x"))
    for encrypted, arrival in (
        (direct, in_room(alice)),
        (direct, of_item(alice.jid)),
        (direct, in_query),
        (grouped, bob.arrival(alice)),
        (grouped, of_item(alice.jid)),
    ):
        async with refused(ErrorCode.CONTEXT_MISMATCH, bob):
            await decrypting.decrypt(bob.sessions, encrypted, arrival)
    assert texts(await bob.decrypt(direct, alice)) == ["Good pilgrim"]


async def test_s_13_what_we_sent_ourselves_is_not_read(pair: Pair) -> None:
    """Reflected by a room or found in our archive; or bounced by whom it was for."""
    alice, bob = pair.alice, pair.bob
    direct = await said(alice, bob)
    async with refused(ErrorCode.FORBIDDEN, alice):
        await alice.decrypt(direct, alice, to=bob.jid)
    grouped = (await alice.encrypt(bob, room=ROOM.bare)).elements[0]
    async with refused(ErrorCode.FORBIDDEN, alice):
        await decrypting.decrypt(alice.sessions, grouped, in_room(alice))
    async with refused(ErrorCode.NOT_FOR_US, alice):
        await alice.decrypt(direct, bob)
