"""A client's OMEMO over the in-process server: what it fetches, what it passes over, its rooms."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from e2ee import ns
from e2ee.effects import ACCESS_MODEL, DELIVER_PAYLOADS, Configure
from e2ee.errors import ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.names import BareJid, Jid, NodeAddress
from e2ee.omemo import Version
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustOnFirstSight
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from tests.roof.world import JULIET, NURSE, ROMEO, World
from xmpp_e2ee.omemo_player import OmemoPlayer
from xmpp_e2ee.pubsub import request_for
from xmpp_e2ee.transport import IqKind, StanzaRefused


class Stage(World):
    """A server, and who plays on it."""

    async def player(self, account: BareJid, resource: str = "phone") -> OmemoPlayer:
        ports = Ports(
            MemoryStore(), NativePrimitives(), BlindTrustOnFirstSight(), lambda: datetime.now(UTC)
        )
        title = str(account.local)
        player = OmemoPlayer(title, title, Jid(account, resource), self.service, ports)
        await player.register()
        return player


@pytest.fixture
def stage() -> Stage:
    return Stage()


def message(sender: BareJid, to: BareJid, *children: Element, kind: str = "chat") -> Element:
    attributes = {"from": str(Jid(sender, "phone")), "to": str(to), "type": kind}
    return element(ns.CLIENT, "message", attributes, *children)


def last_message(stage: Stage) -> Element:
    """Return what crossed the server last, as it was delivered."""
    return next(parse_xml(text) for text in reversed(stage.wire) if text.startswith("<message"))


async def test_whoever_was_never_met_is_written_to_and_answers(stage: Stage) -> None:
    """Lists and bundles are fetched when they are needed, by either side."""
    juliet, romeo = await stage.player(JULIET), await stage.player(ROMEO)
    await juliet.say("What's in a name?", ROMEO)
    assert await romeo.catch_up() == ["What's in a name?"]
    await romeo.say("Call me but love", JULIET)
    assert await juliet.catch_up() == ["Call me but love"]


async def test_what_is_no_news_is_passed_over(stage: Stage) -> None:
    juliet, romeo = await stage.player(JULIET), await stage.player(ROMEO)
    await juliet.say("twice", ROMEO)
    stanza = last_message(stage)
    assert await romeo.catch_up() == ["twice"]
    client = romeo.client
    for nothing in (
        stanza,
        message(JULIET, ROMEO, element(ns.CLIENT, "body", None, "in clear")),
        message(JULIET, ROMEO, *stanza.elements, kind="error"),
    ):
        assert await client.incoming(nothing) is None


@pytest.mark.parametrize(
    ("node", "stops"), [(Version.TWO.devices_node, True), (Version.TWO.bundles_node, False)]
)
async def test_what_is_kept_from_us(stage: Stage, node: str, stops: bool) -> None:
    """A list that we are not given is no empty one; a bundle stops no other device."""
    juliet, romeo = await stage.player(JULIET), await stage.player(ROMEO)
    address = NodeAddress(ROMEO, node)
    request = request_for(Configure(address, ((ACCESS_MODEL, "whitelist"),)), ROMEO)
    stage.service.request(romeo.jid, ROMEO, request.kind, request.payload)
    if stops:
        with pytest.raises(StanzaRefused, match="forbidden"):
            await juliet.say("hidden", ROMEO)
    else:
        with pytest.raises(PeerMisbehaved) as caught:
            await juliet.say("hidden", ROMEO)
        assert caught.value.code is ErrorCode.UNUSABLE_KEY


async def test_a_notification_without_payload_is_asked_for(stage: Stage) -> None:
    juliet, romeo = await stage.player(JULIET), await stage.player(ROMEO)
    await juliet.client.follow(ROMEO)
    await juliet.say("first", ROMEO)
    node = NodeAddress(ROMEO, Version.TWO.devices_node)
    request = request_for(Configure(node, ((DELIVER_PAYLOADS, "false"),)), ROMEO)
    stage.service.request(romeo.jid, ROMEO, request.kind, request.payload)
    await stage.player(ROMEO, "tablet")
    await juliet.catch_up()
    with pytest.raises(TrustUndecided):
        await juliet.say("second", ROMEO)


async def test_a_notification_of_a_retraction_says_nothing(stage: Stage) -> None:
    juliet = await stage.player(JULIET)
    retract = element(ns.PUBSUB_EVENT, "retract", {"id": "current"})
    items = element(ns.PUBSUB_EVENT, "items", {"node": Version.TWO.devices_node}, retract)
    event = element(ns.PUBSUB_EVENT, "event", None, items)
    assert await juliet.client.incoming(message(ROMEO, JULIET, event)) is None


class TestRooms:
    async def test_who_says_what(self, stage: Stage) -> None:
        """Everybody in the room reads; to whom it is from, it is no news."""
        juliet, romeo = await stage.player(JULIET), await stage.player(ROMEO)
        room = stage.service.rooms.open("balcony", JULIET)
        await juliet.client.enter(room)
        await juliet.client.admit(room, ROMEO)
        await romeo.client.enter(room)
        await juliet.catch_up()
        await romeo.catch_up()
        await romeo.say("He jests at scars", room)
        assert await juliet.catch_up() == ["He jests at scars"]
        assert await romeo.catch_up() == []
        assert romeo.refused == []

    async def test_one_that_was_not_entered_is_not_believed(self, stage: Stage) -> None:
        juliet, romeo = await stage.player(JULIET), await stage.player(ROMEO)
        room = stage.service.rooms.open("balcony", JULIET)
        await juliet.client.enter(room)
        await juliet.client.admit(room, ROMEO)
        await juliet.catch_up()
        await juliet.say("Who's there?", room)
        assert await romeo.catch_up() == []
        assert romeo.refused == [ErrorCode.FORBIDDEN]

    async def test_who_is_removed_reads_no_more(self, stage: Stage) -> None:
        juliet, romeo = await stage.player(JULIET), await stage.player(ROMEO)
        nurse = await stage.player(NURSE)
        room = stage.service.rooms.open("balcony", JULIET)
        await juliet.client.enter(room)
        for member in (romeo, nurse):
            await juliet.client.admit(room, member.account)
            await member.client.enter(room)
        item = element(ns.MUC_ADMIN, "item", {"affiliation": "none", "jid": str(NURSE)})
        query = element(ns.MUC_ADMIN, "query", None, item)
        stage.service.request(juliet.jid, room, IqKind.SET, query)
        for player in (juliet, romeo, nurse):
            await player.catch_up()
        await juliet.say("Among ourselves", room)
        assert await romeo.catch_up() == ["Among ourselves"]
        assert await nurse.catch_up() == []
        with pytest.raises(StanzaRefused, match="forbidden"):
            await nurse.say("And I?", room)

    async def test_only_its_owner_says_who_is_in_it(self, stage: Stage) -> None:
        juliet, romeo = await stage.player(JULIET), await stage.player(ROMEO)
        room = stage.service.rooms.open("balcony", JULIET)
        with pytest.raises(StanzaRefused, match="forbidden"):
            await romeo.client.enter(room)
        await juliet.client.admit(room, ROMEO)
        with pytest.raises(StanzaRefused, match="forbidden"):
            await romeo.client.admit(room, NURSE)

    @pytest.mark.parametrize(
        ("condition", "payload"),
        [
            ("feature-not-implemented", element(ns.PUBSUB, "pubsub")),
            ("bad-request", element(ns.MUC_ADMIN, "query")),
            ("bad-request", element(
                ns.MUC_ADMIN, "query", None,
                element(ns.MUC_ADMIN, "item", {"affiliation": "friend"}),
            )),
        ],
    )  # fmt: skip
    async def test_what_makes_no_sense_is_refused(
        self, stage: Stage, condition: str, payload: Element
    ) -> None:
        session = stage.connect(JULIET)
        room = stage.service.rooms.open("balcony", JULIET)
        with pytest.raises(StanzaRefused, match=condition):
            await session.request(room, IqKind.GET, payload)

    async def test_one_that_hides_jids_is_not_entered(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("xmpp_e2ee.room_service._FEATURES", ("muc_membersonly",))
        juliet = await stage.player(JULIET)
        room = stage.service.rooms.open("balcony", JULIET)
        with pytest.raises(PeerMisbehaved):
            await juliet.client.enter(room)
