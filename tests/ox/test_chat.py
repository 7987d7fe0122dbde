"""Instant messages: what is put into a ``<message/>``, what is believed of one, and rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, ErrorCode
from e2ee.names import BareJid, Jid
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.chat import CHAT_FEATURES, FALLBACK, OpenedMessage, Room, open_message, seal_message
from tests.support.ox_stage import Stage, staged
from tests.support.ox_world import Person, body, refused

ORCHARD = BareJid.parse("orchard@rooms.capulet.lit")
MARKABLE = element("urn:xmpp:chat-markers:0", "markable")
ACTIVE = element("http://jabber.org/protocol/chatstates", "active")
SUBJECT = element(ns.CLIENT, "subject", None, "Names")
SAID = (body("What's in a name?"), SUBJECT, ACTIVE, MARKABLE)
ENCRYPTED = (
    element(ns.OX, "openpgp", None, "AAAA"),
    element("urn:xmpp:omemo:2", "encrypted"),
    element("eu.siacs.conversations.axolotl", "encrypted"),
    element("jabber:x:encrypted", "x", None, "AAAA"),
    element(ns.EME, "encryption", {"namespace": "urn:xmpp:omemo:2"}),
)


@pytest.fixture
async def stage() -> Stage:
    return await staged()


def same(found: Sequence[Element], expected: Sequence[Element]) -> bool:
    return len(found) == len(expected) and all(map(Element.same_content, found, expected))


async def delivered(
    reader: Person, sender: Person, children: Sequence[Element], *, to: Person | None = None
) -> OpenedMessage:
    """Let a message travel as text."""
    stanza = parse_xml(write_xml(element(ns.CLIENT, "message", None, *children)))
    return await open_message(reader.ox, stanza.elements, reader.arrival(sender, to=to))


class TestWriting:
    async def test_it_is_what_the_specification_shows(self, stage: Stage) -> None:
        children = await seal_message(stage.romeo.ox, SAID, stage.juliet.jid)
        *hints, openpgp = map(write_xml, children)
        assert hints == [
            "<body xmlns='jabber:client'>This message is encrypted using OpenPGP.</body>",
            "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:openpgp:0'/>",
            "<store xmlns='urn:xmpp:hints'/>",
        ]
        assert openpgp.startswith("<openpgp xmlns='urn:xmpp:openpgp:0'>")

    async def test_the_fallback_may_be_in_the_users_language(self, stage: Stage) -> None:
        (fallback, *_) = await seal_message(
            stage.romeo.ox, SAID, stage.juliet.jid, fallback="Verschlüsselt."
        )
        assert fallback.text == "Verschlüsselt."

    @pytest.mark.parametrize("inner", ENCRYPTED, ids=lambda each: each.namespace)
    async def test_g_25_nothing_is_encrypted_twice(self, stage: Stage, inner: Element) -> None:
        with pytest.raises(ApiMisuse):
            await seal_message(stage.romeo.ox, (*SAID, inner), stage.juliet.jid)

    def test_what_a_client_announces(self) -> None:
        assert set(CHAT_FEATURES) == {"urn:xmpp:openpgp:im:0", "urn:xmpp:eme:0"}


class TestReading:
    async def test_every_child_is_kept(self, stage: Stage) -> None:
        children = await seal_message(stage.romeo.ox, SAID, stage.juliet.jid)
        message = await delivered(stage.juliet, stage.romeo, children)
        assert same(message.content, SAID)
        assert message.opened.sender == stage.romeo.jid
        assert same(message.outside, (element(ns.HINTS, "store"),))

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
    @given(
        payload=st.lists(
            st.builds(
                lambda name, value: element("urn:example", name, {"a": value}),
                st.sampled_from(["x", "y", "body", "openpgp"]),
                st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn", "Cs"))),
            ),
            max_size=5,
        )
    )
    async def test_whatever_they_are(self, stage: Stage, payload: list[Element]) -> None:
        children = await seal_message(stage.romeo.ox, payload, stage.juliet.jid)
        assert same((await delivered(stage.juliet, stage.romeo, children)).content, payload)

    async def test_bodies_of_servers_are_bodies(self, stage: Stage) -> None:
        written = parse_xml(
            "<m xmlns:s='jabber:server'><s:body xml:lang='en'>Good <s:b/></s:body></m>"
        ).elements
        children = await seal_message(stage.romeo.ox, written, stage.juliet.jid)
        (found,) = (await delivered(stage.juliet, stage.romeo, children)).content
        assert found.is_(ns.CLIENT, "body")
        assert found.text == "Good "
        assert found.get("lang", ns.XML) == "en"

    async def test_what_stands_outside_is_never_mixed_in(self, stage: Stage) -> None:
        """The server says something, too; of what the sender said, only the sender's counts."""
        sealed = await seal_message(
            stage.romeo.ox, (body("Good pilgrim"), ACTIVE), stage.juliet.jid
        )
        forged = (
            body("Bring money"),
            element("jabber:server", "body", None, "Bring money"),
            element("http://jabber.org/protocol/chatstates", "active", {"forged": "1"}),
            element("urn:xmpp:receipts", "request"),
            SUBJECT,
        )
        message = await delivered(stage.juliet, stage.romeo, (*forged, *sealed))
        assert same(message.content, (body("Good pilgrim"), ACTIVE))
        assert {(child.namespace, child.name) for child in message.outside} == {
            ("urn:xmpp:receipts", "request"),
            (ns.CLIENT, "subject"),
            (ns.HINTS, "store"),
        }

    async def test_a_body_in_clear_is_none_where_nothing_was_said(self, stage: Stage) -> None:
        sealed = await seal_message(stage.romeo.ox, (ACTIVE,), stage.juliet.jid)
        message = await delivered(stage.juliet, stage.romeo, sealed)
        everything = (*message.content, *message.outside)
        assert not [child for child in everything if child.name == "body"]
        assert FALLBACK not in "".join(map(write_xml, everything))

    async def test_g_01_nothing_encrypted(self, stage: Stage) -> None:
        async with stage.refuses(ErrorCode.NOT_ENCRYPTED):
            await delivered(stage.juliet, stage.romeo, (body("hello"),))

    async def test_g_02_only_signcrypt_is_a_message(self, stage: Stage) -> None:
        signed = await stage.romeo.ox.sign(SAID, {stage.juliet.jid})
        crypted = await stage.romeo.ox.crypt(SAID, {stage.juliet.jid})
        for openpgp in (signed, crypted):
            async with stage.refuses(ErrorCode.FORBIDDEN):
                await delivered(stage.juliet, stage.romeo, (openpgp,))

    async def test_two_at_once_are_refused(self, stage: Stage) -> None:
        one = await stage.romeo.seal(stage.juliet)
        two = await stage.romeo.seal(stage.juliet)
        async with stage.refuses(ErrorCode.MALFORMED):
            await delivered(stage.juliet, stage.romeo, (one, two))

    @pytest.mark.parametrize("inner", ENCRYPTED, ids=lambda each: each.namespace)
    async def test_g_25_nothing_encrypted_inside(self, stage: Stage, inner: Element) -> None:
        sealed = await stage.romeo.seal(stage.juliet, content=(body("hello"), inner))
        async with stage.refuses(ErrorCode.FORBIDDEN):
            await delivered(stage.juliet, stage.romeo, (sealed,))

    async def test_g_08_a_second_delivery_is_refused(self, stage: Stage) -> None:
        children = await seal_message(stage.romeo.ox, SAID, stage.juliet.jid)
        message = await delivered(stage.juliet, stage.romeo, children)
        await stage.juliet.ox.mark_handled(message.opened)
        async with stage.refuses(ErrorCode.REPLAY):
            await delivered(stage.juliet, stage.romeo, children)

    async def test_g_06_a_copy_of_what_we_sent(self, stage: Stage) -> None:
        children = await seal_message(stage.romeo.ox, SAID, stage.juliet.jid)
        message = await delivered(stage.romeo, stage.romeo, children, to=stage.juliet)
        assert message.opened.to == (stage.juliet.jid,)


class TestRooms:
    """Experimental: real JIDs behind every nick, and the room's own name on what is said in it."""

    def room(self, *people: Person, jid: BareJid = ORCHARD) -> Room:
        return Room(jid, frozenset(person.jid for person in people))

    def arrival(
        self, reader: Person, by: Person | None, room: BareJid = ORCHARD, nick: str = "pilgrim"
    ) -> Arrival:
        occupant = None if by is None else by.jid
        to = Jid(reader.jid, "balcony")
        return Arrival(StanzaKind.GROUPCHAT, Jid(room, nick), to, occupant=occupant)

    async def test_everybody_in_it_reads_what_one_says(self, stage: Stage) -> None:
        people = (stage.juliet, stage.romeo, stage.mercutio)
        room = self.room(*people)
        children = await seal_message(stage.romeo.ox, SAID, room)
        for reader in people:
            arrival = self.arrival(reader, stage.romeo)
            message = await open_message(reader.ox, children, arrival, room=room)
            assert same(message.content, SAID)
            assert message.opened.sender == stage.romeo.jid
            assert message.opened.to == (ORCHARD,)
            await reader.ox.mark_handled(message.opened)
            async with refused(ErrorCode.REPLAY, reader):
                await open_message(reader.ox, children, arrival, room=room)

    async def test_it_is_off_by_default(self, stage: Stage) -> None:
        children = await seal_message(stage.romeo.ox, SAID, self.room(stage.juliet))
        async with stage.refuses(ErrorCode.FORBIDDEN):
            await open_message(stage.juliet.ox, children, self.arrival(stage.juliet, stage.romeo))

    async def test_g_05_what_was_said_in_a_room_is_said_nowhere_else(self, stage: Stage) -> None:
        garden = BareJid.parse("garden@rooms.capulet.lit")
        room = self.room(stage.juliet, stage.romeo)
        children = await seal_message(stage.romeo.ox, SAID, room)
        async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
            await delivered(stage.juliet, stage.romeo, children)
        elsewhere = self.arrival(stage.juliet, stage.romeo, room=garden)
        for expected in (room, replace(room, jid=garden)):
            async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
                await open_message(stage.juliet.ox, children, elsewhere, room=expected)

    async def test_g_05_what_was_said_between_two_is_not_said_in_a_room(self, stage: Stage) -> None:
        children = await seal_message(stage.romeo.ox, SAID, stage.juliet.jid)
        room = self.room(stage.juliet, stage.romeo)
        for arrival in (
            self.arrival(stage.juliet, stage.romeo),
            stage.juliet.arrival(stage.romeo),
        ):
            async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
                await open_message(stage.juliet.ox, children, arrival, room=room)

    async def test_g_03_the_room_says_who_spoke_and_the_key_must_bear_it_out(
        self, stage: Stage
    ) -> None:
        room = self.room(stage.juliet, stage.romeo, stage.mercutio)
        children = await seal_message(stage.romeo.ox, SAID, room)
        for by, code in (
            (stage.mercutio, ErrorCode.BAD_SIGNATURE),
            (None, ErrorCode.CONTEXT_MISMATCH),
        ):
            async with stage.refuses(code):
                arrival = self.arrival(stage.juliet, by)
                await open_message(stage.juliet.ox, children, arrival, room=room)

    async def test_who_is_not_in_it_is_not_heard(self, stage: Stage) -> None:
        room = self.room(stage.juliet, stage.romeo)
        children = await seal_message(stage.mercutio.ox, SAID, room_of := self.room(stage.juliet))
        arrival = self.arrival(stage.juliet, stage.mercutio)
        for expected in (room, room_of):
            async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
                await open_message(stage.juliet.ox, children, arrival, room=expected)

    def test_an_anonymous_room_is_none(self) -> None:
        with pytest.raises(ApiMisuse):
            self.room()

    async def test_who_left_reads_nothing(self, stage: Stage) -> None:
        children = await seal_message(stage.romeo.ox, SAID, self.room(stage.juliet))
        room = self.room(stage.juliet, stage.romeo, stage.mercutio)
        async with refused(ErrorCode.CANNOT_DECRYPT, stage.mercutio):
            arrival = self.arrival(stage.mercutio, stage.romeo)
            await open_message(stage.mercutio.ox, children, arrival, room=room)
