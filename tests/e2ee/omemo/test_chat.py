"""Whole messages in OMEMO: what stands beside the encrypted element, both ways."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, ErrorCode
from e2ee.limits import MAX_DEPTH
from e2ee.names import BareJid, Jid
from e2ee.omemo import encrypting
from e2ee.omemo.chat import FALLBACK, FEATURES, OpenedChat, open_message, seal_message
from e2ee.omemo.recipients import Outcome
from e2ee.omemo.rooms import RoomAffiliation, RoomRoster
from e2ee.omemo.version import Version
from e2ee.xmltree import Element, element
from tests.support.omemo_world import Party, World, body, refused

BOTH = (Version.TWO, Version.LEGACY)
TEXT = "What's in a name?"
ROOM = BareJid.parse("balcony@rooms.example")
HINT = element(ns.HINTS, "store")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def juliet(world: World) -> Party:
    return await world.device("juliet@capulet.example", versions=BOTH)


@pytest.fixture
async def romeo(world: World) -> Party:
    return await world.device("romeo@montague.example")


@pytest.fixture
async def tybalt(world: World) -> Party:
    """Return somebody who speaks both versions here, and whose list only shows the legacy one."""
    tybalt = await world.device("tybalt@capulet.example", versions=BOTH)
    world.nodes = {
        address: items
        for address, items in world.nodes.items()
        if address.service != tybalt.jid or not address.node.startswith(Version.TWO)
    }
    return tybalt


def note(version: Version) -> Element:
    return element(ns.EME, "encryption", {"namespace": version})


async def sealed(writer: Party, *to: Party, text: str = TEXT) -> tuple[Element, ...]:
    """Return the children of a message for one, or for a room of several."""
    await writer.gather(*to)
    (first, *more) = to
    whom = roster(writer, *to) if more else first.jid
    return (await seal_message(writer.sessions, [body(text)], whom)).children


def roster(*members: Party) -> RoomRoster:
    return RoomRoster(
        ROOM,
        is_open=False,
        affiliations={member.jid: RoomAffiliation.MEMBER for member in members},
        lists=frozenset(each for each in RoomAffiliation if each.reads),
    )


def says(chat: OpenedChat) -> bool:
    """Say whether a message says what :func:`sealed` says."""
    (said,) = chat.opened.content
    return said.same_content(body(TEXT))


async def opened(
    reader: Party, children: Sequence[Element], sender: Party, room: RoomRoster | None = None
) -> OpenedChat:
    arrival = in_room(sender) if room else reader.arrival(sender)
    return await reader.looked(lambda: open_message(reader.sessions, children, arrival, room=room))


def in_room(sender: Party, room: BareJid = ROOM) -> Arrival:
    return Arrival(StanzaKind.GROUPCHAT, Jid(room, "somebody"), occupant=sender.jid)


async def test_a_message_in_version_2(juliet: Party, romeo: Party) -> None:
    """No body in clear: who has version 2 alone knows the note of the method."""
    children = await sealed(juliet, romeo)
    encrypted = children[-1]
    assert encrypted.is_(ns.OMEMO_2, "encrypted")
    assert children == (note(Version.TWO), HINT, encrypted)
    chat = await opened(romeo, children, juliet)
    assert says(chat)
    assert chat.opened.sender == juliet.device
    assert chat.outside == ()


async def test_a_legacy_message(juliet: Party, tybalt: Party) -> None:
    """With the body that its clients show to those who cannot read it."""
    children = await sealed(juliet, tybalt)
    encrypted = children[-1]
    assert encrypted.is_(ns.OMEMO_LEGACY, "encrypted")
    assert children == (body(FALLBACK), note(Version.LEGACY), HINT, encrypted)
    chat = await opened(tybalt, children, juliet)
    assert says(chat)
    assert chat.outside == ()


async def test_the_fallback_in_the_users_language(juliet: Party, tybalt: Party) -> None:
    await juliet.gather(tybalt)
    chat = await seal_message(
        juliet.sessions, [body(TEXT)], tybalt.jid, fallback="Dieser Text ist verschlüsselt."
    )
    assert chat.children[0] == body("Dieser Text ist verschlüsselt.")


async def test_a_room_in_both_versions(juliet: Party, romeo: Party, tybalt: Party) -> None:
    """Each reads the one that is for it."""
    children = await sealed(juliet, romeo, tybalt)
    *beside, two, legacy = children
    assert beside == [body(FALLBACK), note(Version.TWO), note(Version.LEGACY), HINT]
    assert (two.namespace, legacy.namespace) == BOTH
    for reader, version in ((romeo, Version.TWO), (tybalt, Version.LEGACY)):
        chat = await opened(reader, children, juliet, roster(juliet, romeo, tybalt))
        assert chat.opened.version is version
        assert says(chat)
        assert chat.outside == ()


async def test_the_report_names_every_device(juliet: Party, romeo: Party) -> None:
    await juliet.gather(romeo)
    chat = await seal_message(juliet.sessions, [body(TEXT)], romeo.jid)
    (report,) = chat.report
    assert (report.device, report.version) == (romeo.device, Version.TWO)
    assert report.outcome is Outcome.STARTED


async def test_what_stood_in_clear_is_told_apart(juliet: Party, romeo: Party) -> None:
    """Never as content, and no body at all: anybody on the way may have written it."""
    thread = element(ns.CLIENT, "thread", None, "somewhere")
    forged = body("Meet me at the tomb")
    children = await sealed(juliet, romeo)
    chat = await opened(romeo, (forged, thread, *children), juliet)
    assert says(chat)
    assert chat.outside == (thread,)


async def test_a_version_that_is_not_spoken_is_passed_by(
    juliet: Party, romeo: Party, tybalt: Party
) -> None:
    *_, two, legacy = await sealed(juliet, romeo, tybalt)
    room = roster(juliet, romeo, tybalt)
    assert (await opened(romeo, (legacy, two), juliet, room)).opened.version is Version.TWO
    async with refused(ErrorCode.NOT_ENCRYPTED, romeo):
        await opened(romeo, (legacy,), juliet, room)


async def test_what_cannot_be_sealed(juliet: Party, romeo: Party) -> None:
    children = await sealed(juliet, romeo)
    for content, to in (
        ([body("again"), children[-1]], romeo.jid),
        ([body("too early")], RoomRoster(ROOM, is_open=False)),
    ):
        with pytest.raises(ApiMisuse):
            await seal_message(juliet.sessions, content, to)


ENCRYPTED = (
    element(ns.OMEMO_2, "encrypted"),
    element(ns.OMEMO_LEGACY, "encrypted"),
    element(ns.OX, "openpgp"),
    element(ns.PGP_LEGACY, "x"),
)


@pytest.mark.parametrize("inner", [*ENCRYPTED, note(Version.TWO)])
async def test_g_25_nothing_is_encrypted_twice(juliet: Party, romeo: Party, inner: Element) -> None:
    await juliet.gather(romeo)
    async with refused(ErrorCode.API_MISUSE, juliet):
        await seal_message(juliet.sessions, [body(TEXT), inner], romeo.jid)
    async with refused(ErrorCode.API_MISUSE, juliet):
        await juliet.sessions.encrypt([body(TEXT), inner], {romeo.jid})


@pytest.mark.parametrize("inner", ENCRYPTED)
async def test_g_25_nothing_encrypted_inside(
    juliet: Party, romeo: Party, inner: Element, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is kept; and what is encrypted beside it is not passed on."""
    await juliet.gather(romeo)
    with monkeypatch.context() as careless:
        careless.setattr(encrypting, "is_encrypted", lambda _: False)
        encrypted = await juliet.encrypt(romeo, content=[body(TEXT), inner])
    await romeo.hear_of(juliet)
    async with refused(ErrorCode.FORBIDDEN, romeo):
        await opened(romeo, encrypted.elements, juliet)
    children = await sealed(juliet, romeo)
    if inner.namespace != ns.OMEMO_2:
        chat = await opened(romeo, (inner, *children), juliet)
        assert says(chat)
        assert chat.outside == ()


async def test_what_can_fail_does_before_anything_is_decrypted(juliet: Party, romeo: Party) -> None:
    """No stanza is so deep."""
    deep = element("urn:x", "deep")
    while deep.depth < MAX_DEPTH:
        deep = element("urn:x", "deep", None, deep)
    children = await sealed(juliet, romeo)
    await romeo.hear_of(juliet)
    async with refused(ErrorCode.API_MISUSE, romeo):
        await opened(romeo, (*children, deep), juliet)
    assert says(await opened(romeo, (*children, *deep.elements), juliet))


async def test_what_is_no_message_is_refused(juliet: Party, romeo: Party) -> None:
    children = await sealed(juliet, romeo)
    async with refused(ErrorCode.NOT_ENCRYPTED, romeo):
        await opened(romeo, (body("in clear"), note(Version.TWO)), juliet)
    async with refused(ErrorCode.NOT_ENCRYPTED, romeo):
        await opened(romeo, (), juliet)
    async with refused(ErrorCode.MALFORMED, romeo):
        await opened(romeo, (*children, children[-1]), juliet)
    assert says(await opened(romeo, children, juliet))


async def test_a_room_that_is_not_expected_is_refused(
    juliet: Party, romeo: Party, tybalt: Party
) -> None:
    """From any other room, and from whoever is not in it; then it is read where it belongs."""
    children = await sealed(juliet, romeo, tybalt)
    room, other = roster(juliet, romeo, tybalt), BareJid.parse("tomb@rooms.example")
    for code, arrival, expected in (
        (ErrorCode.FORBIDDEN, in_room(juliet), None),
        (ErrorCode.FORBIDDEN, in_room(juliet, other), room),
        (ErrorCode.CONTEXT_MISMATCH, in_room(juliet), roster(romeo)),
        (ErrorCode.CONTEXT_MISMATCH, Arrival(StanzaKind.GROUPCHAT, Jid(ROOM, "juliet")), room),
    ):
        async with refused(code, romeo):
            await open_message(romeo.sessions, children, arrival, room=expected)
    assert says(await opened(romeo, children, juliet, room))


async def test_a_message_of_a_room_is_none_for_one(
    juliet: Party, romeo: Party, tybalt: Party
) -> None:
    """The envelope names the room, so that it cannot be passed on as said in private."""
    children = await sealed(juliet, romeo, tybalt)
    await romeo.hear_of(juliet)
    async with refused(ErrorCode.CONTEXT_MISMATCH, romeo):
        await opened(romeo, children, juliet)


def test_the_features() -> None:
    assert FEATURES == ("urn:xmpp:omemo:2:devices+notify", "urn:xmpp:eme:0")
