"""The in-process server does what Prosody and ejabberd do, and refuses what they refuse."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from e2ee import ns
from e2ee.effects import (
    ACCESS_MODEL,
    DELIVER_PAYLOADS,
    MAX_ITEMS,
    Affiliate,
    Affiliation,
    Configure,
    Create,
    Delete,
    Publish,
    Retract,
    Subscribe,
    Unsubscribe,
)
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from tests.roof.world import JULIET, NURSE, ROMEO, TYBALT, World, entry
from xmpp_e2ee.pubsub import (
    NodeEffect,
    Page,
    fetch_items,
    fetch_page,
    read_items,
    read_page,
    request_for,
)
from xmpp_e2ee.service import Session
from xmpp_e2ee.transport import IqKind, StanzaRefused

BLOG = NodeAddress(JULIET, "blog")
OPEN = ((ACCESS_MODEL, "open"),)
WHITELIST = ((ACCESS_MODEL, "whitelist"),)


class Everybody(World):
    """A server with four accounts, and a node of Juliet's with two items and one member, Romeo."""

    def __init__(self) -> None:
        super().__init__()
        self.juliet = self.connect(JULIET)
        self.romeo = self.connect(ROMEO)
        self.nurse = self.connect(NURSE)
        self.tybalt = self.connect(TYBALT)


@pytest.fixture
async def world() -> Everybody:
    world = Everybody()
    await do(world.juliet, Create(BLOG, WHITELIST))
    for number in ("1", "2"):
        await do(world.juliet, publish(number))
    await do(world.juliet, Affiliate(BLOG, ROMEO, Affiliation.MEMBER))
    return world


def publish(item_id: str | None, title: str = "A title") -> Publish:
    return Publish(BLOG, ItemId(item_id) if item_id else None, entry(title))


async def do(session: Session, effect: NodeEffect) -> Element | None:
    request = request_for(effect, session.jid.bare)
    return await session.request(request.to, request.kind, request.payload)


async def read(session: Session, *ids: str, size: int = 100, after: str | None = None) -> Page:
    wanted = [ItemId(item_id) for item_id in ids]
    request = fetch_items(BLOG, wanted) if ids else fetch_page(BLOG, size, after)
    return read_page(await session.request(request.to, request.kind, request.payload))


async def ids(session: Session) -> Sequence[str]:
    return [item.id for item in (await read(session)).items]


def notified(session: Session) -> Sequence[str]:
    """Return the ids of the items that notifications brought, and forget them."""
    found: list[str] = []
    while session.inbox:
        event = session.inbox.popleft().only(ns.PUBSUB_EVENT, "event")
        found += [item.id for item in read_items(event.elements[0])]
    return found


async def refusal(session: Session, effect: NodeEffect) -> str:
    with pytest.raises(StanzaRefused) as refused:
        await do(session, effect)
    return refused.value.condition


class TestAccess:
    async def test_members_read_and_strangers_do_not(self, world: Everybody) -> None:
        assert await ids(world.romeo) == ["1", "2"]
        with pytest.raises(StanzaRefused, match="forbidden"):
            await read(world.tybalt)
        assert await refusal(world.tybalt, Subscribe(BLOG)) == "forbidden"

    async def test_an_open_node_is_read_by_all_but_outcasts(self, world: Everybody) -> None:
        await do(world.juliet, Configure(BLOG, OPEN))
        await do(world.juliet, Affiliate(BLOG, TYBALT, Affiliation.OUTCAST))
        assert await ids(world.nurse) == ["1", "2"]
        with pytest.raises(StanzaRefused, match="forbidden"):
            await read(world.tybalt)

    async def test_members_do_not_publish_but_publishers_do(self, world: Everybody) -> None:
        assert await refusal(world.romeo, publish("3")) == "forbidden"
        assert await refusal(world.romeo, Retract(BLOG, ItemId("1"))) == "forbidden"
        await do(world.juliet, Affiliate(BLOG, ROMEO, Affiliation.PUBLISHER))
        await do(world.romeo, publish("3"))
        (item,) = (await read(world.romeo, "3")).items
        assert item.publisher == Jid(ROMEO)

    @pytest.mark.parametrize(
        "effect",
        [
            Configure(BLOG, OPEN),
            Affiliate(BLOG, TYBALT, Affiliation.MEMBER),
            Unsubscribe(BLOG, ROMEO),
            Delete(BLOG),
        ],
        ids=lambda effect: type(effect).__name__,
    )
    async def test_only_the_owner_administers(self, world: Everybody, effect: NodeEffect) -> None:
        assert await refusal(world.romeo, effect) == "forbidden"
        await do(world.juliet, effect)

    async def test_the_owner_cannot_leave_the_node_ownerless(self, world: Everybody) -> None:
        step_down = Affiliate(BLOG, JULIET, Affiliation.NONE)
        assert await refusal(world.juliet, step_down) == "not-acceptable"
        await do(world.juliet, publish("3"))


class TestRemoval:
    async def test_who_loses_the_affiliation_goes_on_being_notified(self, world: Everybody) -> None:
        """The trap of Prosody and ejabberd, for which rotations unsubscribe first."""
        await do(world.romeo, Subscribe(BLOG))
        await do(world.juliet, Affiliate(BLOG, ROMEO, Affiliation.NONE))
        await do(world.juliet, publish("3"))
        assert notified(world.romeo) == ["3"]
        with pytest.raises(StanzaRefused, match="forbidden"):
            await read(world.romeo)

    async def test_who_is_unsubscribed_first_is_not(self, world: Everybody) -> None:
        await do(world.romeo, Subscribe(BLOG))
        await do(world.juliet, Unsubscribe(BLOG, ROMEO))
        await do(world.juliet, Affiliate(BLOG, ROMEO, Affiliation.NONE))
        await do(world.juliet, publish("3"))
        assert notified(world.romeo) == []
        assert await refusal(world.romeo, Subscribe(BLOG)) == "forbidden"

    async def test_unsubscribing_twice_is_no_error(self, world: Everybody) -> None:
        await do(world.juliet, Unsubscribe(BLOG, ROMEO))
        await do(world.juliet, Unsubscribe(BLOG, ROMEO))


class TestNodes:
    async def test_a_node_is_created_once(self, world: Everybody) -> None:
        assert await refusal(world.juliet, Create(BLOG)) == "conflict"

    async def test_nobody_creates_on_the_account_of_somebody_else(self, world: Everybody) -> None:
        other = NodeAddress(JULIET, "other")
        assert await refusal(world.romeo, Create(other)) == "forbidden"
        assert await refusal(world.romeo, Publish(other, None, entry("x"))) == "forbidden"

    async def test_everybody_creates_on_the_component(self, world: Everybody) -> None:
        await do(world.romeo, Create(NodeAddress(world.service.component, "club"), OPEN))

    async def test_what_is_not_there_is_not_found(self, world: Everybody) -> None:
        nowhere = NodeAddress(JULIET, "nowhere")
        assert await refusal(world.juliet, Subscribe(nowhere)) == "item-not-found"
        assert await refusal(world.juliet, Retract(BLOG, ItemId("9"))) == "item-not-found"
        stranger = NodeAddress(BareJid.parse("paris@verona.example"), "blog")
        assert await refusal(world.juliet, Subscribe(stranger)) == "service-unavailable"

    async def test_a_deleted_node_is_gone_and_readers_are_told(self, world: Everybody) -> None:
        await do(world.romeo, Subscribe(BLOG))
        await do(world.juliet, Delete(BLOG))
        event = world.romeo.inbox.popleft().only(ns.PUBSUB_EVENT, "event")
        assert event.elements[0].name == "delete"
        assert await refusal(world.juliet, Subscribe(BLOG)) == "item-not-found"

    async def test_unsupported_access_models_are_refused(self, world: Everybody) -> None:
        presence = ((ACCESS_MODEL, "presence"),)
        assert await refusal(world.juliet, Configure(BLOG, presence)) == "not-acceptable"
        assert await ids(world.romeo) == ["1", "2"]


class TestPublishOptions:
    async def test_the_first_publication_creates_the_node(self, world: Everybody) -> None:
        news = NodeAddress(JULIET, "news")
        await do(world.juliet, Publish(news, None, entry("x"), OPEN))
        await do(world.tybalt, Subscribe(news))

    async def test_a_precondition_that_does_not_hold_is_a_conflict(self, world: Everybody) -> None:
        unmet = Publish(BLOG, None, entry("x"), OPEN)
        assert await refusal(world.juliet, unmet) == "precondition-not-met"
        assert "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" in world.wire[-1]
        assert len(await ids(world.juliet)) == 2

    async def test_the_same_boolean_in_another_spelling_holds(self, world: Everybody) -> None:
        await do(world.juliet, Configure(BLOG, ((DELIVER_PAYLOADS, "0"),)))
        options = ((DELIVER_PAYLOADS, "false"), *WHITELIST)
        await do(world.juliet, Publish(BLOG, None, entry("x"), options))


class TestItems:
    async def test_pages_follow_one_another(self, world: Everybody) -> None:
        for number in range(3, 6):
            await do(world.juliet, publish(str(number)))
        first = await read(world.romeo, size=2)
        second = await read(world.romeo, size=2, after=first.last)
        third = await read(world.romeo, size=2, after=second.last)
        fourth = await read(world.romeo, size=2, after=third.last)
        pages = [[item.id for item in page.items] for page in (first, second, third, fourth)]
        assert pages == [["1", "2"], ["3", "4"], ["5"], []]
        assert fourth.last is None

    async def test_a_page_after_an_unknown_item_is_not_found(self, world: Everybody) -> None:
        with pytest.raises(StanzaRefused, match="item-not-found"):
            await read(world.romeo, after="9")

    async def test_items_are_fetched_by_id_and_the_newest_without(self, world: Everybody) -> None:
        assert [item.id for item in (await read(world.romeo, "2", "9")).items] == ["2"]
        newest = fetch_items(BLOG)
        answer = await world.romeo.request(newest.to, newest.kind, newest.payload)
        assert [item.id for item in read_page(answer).items] == ["2"]

    async def test_a_replaced_item_is_the_newest(self, world: Everybody) -> None:
        await do(world.juliet, publish("1", "Another title"))
        assert await ids(world.romeo) == ["2", "1"]

    async def test_the_service_names_items_without_an_id(self, world: Everybody) -> None:
        await do(world.juliet, publish(None))
        assert len(set(await ids(world.romeo))) == 3

    async def test_the_oldest_make_room(self, world: Everybody) -> None:
        await do(world.juliet, Configure(BLOG, ((MAX_ITEMS, "2"),)))
        await do(world.juliet, publish("3"))
        assert await ids(world.romeo) == ["2", "3"]

    async def test_an_item_has_exactly_one_payload(self, world: Everybody) -> None:
        for payloads in ((), (entry("x"), entry("y"))):
            item = element(ns.PUBSUB, "item", None, *payloads)
            action = element(ns.PUBSUB, "publish", {"node": "blog"}, item)
            with pytest.raises(StanzaRefused, match="invalid-payload"):
                await world.juliet.request(
                    JULIET, IqKind.SET, element(ns.PUBSUB, "pubsub", None, action)
                )

    async def test_subscribers_hear_of_items_and_retractions(self, world: Everybody) -> None:
        await do(world.romeo, Subscribe(BLOG))
        await do(world.juliet, publish("3", "News"))
        event = world.romeo.inbox.popleft().only(ns.PUBSUB_EVENT, "event")
        (item,) = read_items(event.elements[0])
        assert item.payload is not None
        assert item.payload.same_content(entry("News"))
        await do(world.juliet, Retract(BLOG, ItemId("3")))
        event = world.romeo.inbox.popleft().only(ns.PUBSUB_EVENT, "event")
        assert event.elements[0].elements[0].name == "retract"
        assert await ids(world.romeo) == ["1", "2"]

    async def test_payloads_are_withheld_where_the_node_says_so(self, world: Everybody) -> None:
        await do(world.romeo, Subscribe(BLOG))
        await do(world.juliet, Configure(BLOG, ((DELIVER_PAYLOADS, "false"),)))
        await do(world.juliet, publish("3"))
        event = world.romeo.inbox.popleft().only(ns.PUBSUB_EVENT, "event")
        (item,) = read_items(event.elements[0])
        assert (item.id, item.payload) == ("3", None)


class TestRequests:
    @pytest.mark.parametrize(
        ("kind", "payload", "condition"),
        [
            (IqKind.SET, element(ns.PUBSUB, "pubsub"), "bad-request"),
            (
                IqKind.SET,
                element(ns.PUBSUB, "pubsub", None, element(ns.PUBSUB, "create")),
                "bad-request",
            ),
            (IqKind.GET, element(ns.PUBSUB, "pubsub"), "bad-request"),
            (IqKind.GET, element("jabber:iq:version", "query"), "feature-not-implemented"),
            (
                IqKind.SET,
                element(ns.PUBSUB, "pubsub", None, element(ns.PUBSUB, "options", {"node": "blog"})),
                "feature-not-implemented",
            ),
        ],
    )
    async def test_nonsense_is_refused(
        self, world: Everybody, kind: IqKind, payload: Element, condition: str
    ) -> None:
        with pytest.raises(StanzaRefused) as refused:
            await world.juliet.request(JULIET, kind, payload)
        assert refused.value.condition == condition

    async def test_nobody_subscribes_somebody_else(self, world: Everybody) -> None:
        action = element(ns.PUBSUB, "subscribe", {"node": "blog", "jid": str(ROMEO)})
        with pytest.raises(StanzaRefused, match="invalid-jid"):
            await world.juliet.request(
                JULIET, IqKind.SET, element(ns.PUBSUB, "pubsub", None, action)
            )


class TestMessages:
    async def test_every_device_gets_a_message_and_the_sender_s_others_a_carbon(
        self, world: Everybody
    ) -> None:
        tablets = world.connect(ROMEO, "tablet"), world.connect(JULIET, "tablet")
        await world.juliet.send(ROMEO, "m1", [element(ns.HINTS, "store")])
        for session in (world.romeo, tablets[0]):
            assert session.inbox.popleft().get("id") == "m1"
        carbon = tablets[1].inbox.popleft().only(ns.CARBONS, "sent")
        assert carbon.elements[0].elements[0].get("id") == "m1"
        assert not world.juliet.inbox

    async def test_a_message_to_oneself_reaches_all_own_devices_once(
        self, world: Everybody
    ) -> None:
        tablet = world.connect(JULIET, "tablet")
        await world.juliet.send(JULIET, "m1", [element(ns.HINTS, "store")])
        assert [stanza.get("id") for stanza in world.juliet.inbox] == ["m1"]
        assert [stanza.get("id") for stanza in tablet.inbox] == ["m1"]

    async def test_what_was_missed_is_delivered_later_and_stamped(self, world: Everybody) -> None:
        world.service.disconnect(world.romeo)
        await world.juliet.send(ROMEO, "m1", [element(ns.HINTS, "store")])
        romeo = world.connect(ROMEO)
        (late,) = romeo.inbox
        assert late.only(ns.DELAY, "delay").get("from") == "verona.example"
        new_device = world.connect(JULIET, "tablet")
        forwarded = new_device.inbox.popleft().only(ns.CARBONS, "sent").elements[0]
        assert forwarded.only(ns.DELAY, "delay").get("stamp")
        world.service.disconnect(romeo)
        assert not world.connect(ROMEO).inbox

    async def test_a_message_to_nobody_comes_back(self, world: Everybody) -> None:
        await world.juliet.send(BareJid.parse("paris@verona.example"), "m1", [])
        bounced = world.juliet.inbox.popleft()
        assert (bounced.get("type"), bounced.get("id")) == ("error", "m1")


class TestTheWire:
    async def test_everything_crosses_as_text(self, world: Everybody) -> None:
        """What arrives was written and read again; no object passes from one side to the other."""
        payload = entry("Zwölf <Boxkämpfer> & 'é'")
        await do(world.romeo, Subscribe(BLOG))
        await do(world.juliet, Publish(BLOG, ItemId("3"), payload))
        event = world.romeo.inbox.popleft().only(ns.PUBSUB_EVENT, "event")
        (arrived,) = read_items(event.elements[0])
        assert arrived.payload is not None
        assert arrived.payload is not payload
        assert arrived.payload.same_content(payload)
        assert all(write_xml(parse_xml(text)) == text for text in world.wire)
        assert sum("Boxkämpfer" in text for text in world.wire) == 2

    async def test_the_operator_sees_all_that_is_stored(self, world: Everybody) -> None:
        stored = world.service.stored(BLOG)
        assert [item.id for item in stored] == ["1", "2"]
        assert stored[0].publisher == JULIET
