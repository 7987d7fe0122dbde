"""The client does what the library asks of it, and survives servers and networks that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

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
)
from e2ee.errors import DataMissing, E2eeError, ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.key_events import KeyEvents, KeyNews
from e2ee.names import BareJid, Fetch, Fingerprint, ItemId, Jid, NodeAddress
from e2ee.outbox import queued
from e2ee.primitives import NativePrimitives
from e2ee.trust import Trust
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.backup import open_backup, restore, seal_backup
from ox.backup_code import BackupCode
from ox.elements import (
    METADATA_NODE,
    PublicKeyMetadata,
    PublicKeysList,
    data_node,
    metadata_address,
    write_pubkey,
)
from ox.engine import Revocation
from ox.engine_sequoia import SequoiaEngine
from pubsub_encryption import ClearItem, UnreadableItem
from tests.roof.world import (
    JULIET,
    NURSE,
    ROMEO,
    TYBALT,
    World,
    empty_ports,
    entry,
    grant,
    payloads,
    titles,
)
from tests.support.forge import forged
from xmpp_e2ee.client import Client, ItemsArrived, SecretsArrived
from xmpp_e2ee.pubsub import request_for
from xmpp_e2ee.service import Session
from xmpp_e2ee.transport import IqKind, StanzaRefused

BLOG = NodeAddress(JULIET, "blog")


@pytest.fixture
def world() -> World:
    return World()


class Wire:
    """A transport that a test interferes with.

    Attributes:
        busy: of which nodes the next requests are answered with which error.
        asked: how often something was fetched.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.busy: dict[NodeAddress, str] = {}
        self.asked = 0

    async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
        items = payload.optional(ns.PUBSUB, "items")
        if items is not None:
            self.asked += 1
            node = NodeAddress(to, items.require("node"))
            if node in self.busy:
                raise StanzaRefused(self.busy[node])
        return await self.session.request(to, kind, payload)

    async def send(self, to: BareJid, stanza_id: str, children: Sequence[Element]) -> None:
        await self.session.send(to, stanza_id, children)


async def queue(client: Client, *effects: Create | Publish | Affiliate) -> None:
    async with client.ox.ports.store.exclusive(client.ox.scope) as tx:
        await tx.commit(await queued(tx, client.account, effects))


async def take_in(client: Client, session: Session) -> list[SecretsArrived | ItemsArrived | None]:
    news = []
    while session.inbox:
        news.append(await client.incoming(session.inbox.popleft()))
    return news


class TestFlush:
    async def test_a_node_that_exists_is_configured(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        await juliet.perform(Create(BLOG, ((ACCESS_MODEL, "open"),)))
        await queue(juliet, Create(BLOG, ((ACCESS_MODEL, "whitelist"),)))
        assert await juliet.flush() == ()
        stranger, _ = await world.client(TYBALT)
        with pytest.raises(StanzaRefused, match="forbidden"):
            await anext(stranger.history(stranger.node(BLOG)))

    async def test_an_unmet_precondition_is_met_and_the_item_published(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        await juliet.perform(Create(BLOG, ((ACCESS_MODEL, "open"),)))
        whitelist = ((ACCESS_MODEL, "whitelist"),)
        await queue(juliet, Publish(BLOG, ItemId("1"), entry("x"), whitelist))
        assert await juliet.flush() == ()
        assert [item.id for item in world.service.stored(BLOG)] == ["1"]

    @pytest.mark.parametrize("is_there", [False, True])
    async def test_a_service_that_knows_few_preconditions_is_configured(
        self, world: World, is_there: bool
    ) -> None:
        class Choosy(Wire):
            async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
                for options in payload.find_all(ns.PUBSUB, "publish-options"):
                    if MAX_ITEMS in write_xml(options):
                        raise StanzaRefused("resource-constraint")
                return await super().request(to, kind, payload)

        session = world.connect(JULIET)
        juliet, _ = await world.client(JULIET, session, Choosy(session))
        if is_there:
            await juliet.perform(Create(BLOG, ((ACCESS_MODEL, "whitelist"),)))
        options = ((ACCESS_MODEL, "open"), (MAX_ITEMS, "max"))
        await queue(juliet, Publish(BLOG, ItemId("1"), entry("x"), options))
        assert await juliet.flush() == ()
        assert [item.id for item in world.service.stored(BLOG)] == ["1"]

    async def test_a_refusal_is_reported_once_and_holds_nothing_up(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        nowhere = Affiliate(NodeAddress(JULIET, "nowhere"), ROMEO, Affiliation.MEMBER)
        await queue(juliet, nowhere, Create(BLOG))
        (refused,) = await juliet.flush()
        assert (refused.effect, refused.condition) == (nowhere, "item-not-found")
        assert await juliet.flush() == ()
        assert world.service.stored(BLOG) == ()

    async def test_a_broken_connection_loses_nothing(self, world: World) -> None:
        class Broken(Wire):
            broken = False

            async def send(self, to: BareJid, stanza_id: str, children: Sequence[Element]) -> None:
                if self.broken:
                    raise ConnectionError
                await super().send(to, stanza_id, children)

        session = world.connect(JULIET)
        wire = Broken(session)
        juliet, _ = await world.client(JULIET, session, wire)
        wire.broken = True
        await juliet.node(BLOG).create()
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await juliet.flush()
        wire.broken = False
        assert await juliet.flush() == ()
        (secrets,) = await take_in(juliet, session)
        assert isinstance(secrets, SecretsArrived)


class TestReading:
    async def test_a_member_reads_page_by_page_and_by_notification(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        romeo, inbox = await world.client(ROMEO)
        blog = await world.blog(juliet)
        await grant(juliet, blog, ROMEO)
        await take_in(romeo, inbox)
        await romeo.subscribe(romeo.node(BLOG))
        written = [f"Title {number}" for number in range(5)]
        for title in written:
            await juliet.publish(blog, entry(title))
        pages = [titles(page) async for page in romeo.history(romeo.node(BLOG), page_size=2)]
        assert pages == [written[:2], written[2:4], written[4:]]
        news = await take_in(romeo, inbox)
        assert [titles(n.results) for n in news if isinstance(n, ItemsArrived)] == [
            [title] for title in written
        ]

    async def test_a_service_without_result_sets_is_read_whole(self, world: World) -> None:
        """As Prosody answers: all items, and no set."""

        class WithoutSets(Wire):
            async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
                children = [c for c in payload.elements if c.namespace != ns.RSM]
                plain = element(payload.namespace, payload.name, None, *children)
                return await super().request(to, kind, plain)

        session = world.connect(JULIET)
        juliet, _ = await world.client(JULIET, session, WithoutSets(session))
        blog = await world.blog(juliet)
        for number in range(5):
            await juliet.publish(blog, entry(str(number)))
        pages = [titles(page) async for page in juliet.history(blog, page_size=2)]
        assert pages == [["0", "1", "2", "3", "4"]]

    async def test_a_bad_item_spoils_no_page(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        await juliet.publish(blog, entry("good"))
        unreadable = element(ns.OX_PUBSUB, "encrypted", {"key": "unknown"}, "AAAA")
        await juliet.perform(Publish(BLOG, ItemId("bad"), unreadable))
        await juliet.perform(Publish(BLOG, ItemId("clear"), entry("in clear")))
        ((good, bad, clear),) = [page async for page in juliet.history(blog)]
        assert titles([good]) == ["good"]
        assert isinstance(bad, UnreadableItem)
        assert bad.error.code is ErrorCode.UNKNOWN_SECRET
        assert bad.arrival.item_id == "bad"
        assert isinstance(clear, ClearItem)

    async def test_item_ids_are_random(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        ids = {await juliet.publish(blog, entry("the same")) for _ in range(3)}
        assert len(ids) == 3
        assert all(len(item_id) == 22 for item_id in ids)


class TestKeys:
    async def test_one_member_s_broken_keys_hold_up_nobody(self, world: World) -> None:
        """Tybalt announces a key that is none; Romeo is granted access all the same."""
        juliet, _ = await world.client(JULIET)
        await world.client(ROMEO)
        tybalt = world.connect(TYBALT)
        broken = PublicKeysList((PublicKeyMetadata(Fingerprint("A" * 40), datetime.now(UTC)),))
        for node, payload in (
            (METADATA_NODE, broken.to_xml()),
            (data_node(Fingerprint("A" * 40)), write_pubkey(b"no key")),
        ):
            options = ((ACCESS_MODEL, "open"),)
            effect = Publish(NodeAddress(TYBALT, node), None, payload, options)
            request = request_for(effect, TYBALT)
            await tybalt.request(request.to, request.kind, request.payload)
        blog = await world.blog(juliet)
        await juliet.gather({ROMEO, TYBALT})
        await blog.grant(ROMEO)
        with pytest.raises(E2eeError):
            await blog.grant(TYBALT)
        assert (await blog.keychain()).members == {ROMEO}

    async def test_what_is_published_of_a_key_is_looked_at_before_it_is_taken_over(
        self, world: World
    ) -> None:
        """The list first, which does not name the key, then the key."""
        juliet, _ = await world.client(JULIET)
        former = await juliet.ox.own_key()
        code = BackupCode.generate(juliet.ox.ports.primitives)
        sealed = await seal_backup(juliet.ox, code)
        await juliet.ox.revoke(former.certificate.fingerprint, Revocation.COMPROMISED)
        await juliet.ox.generate()
        await juliet.flush()
        tablet = Client(JULIET, empty_ports(), juliet.ox.engine, world.connect(JULIET, "tablet"))
        backup = await open_backup(tablet.ox, sealed, code)
        (name,) = backup.fingerprints
        for take in (
            lambda: tablet.ox.adopt(former.material),
            lambda: restore(tablet.ox, backup, chosen=name),
        ):
            with pytest.raises(PeerMisbehaved, match="revoked"):
                await tablet.supplied(take)

    async def test_a_key_is_restored_from_its_backup(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        code = BackupCode.generate(juliet.ox.ports.primitives)
        sealed = await seal_backup(juliet.ox, code)
        tablet = Client(JULIET, empty_ports(), juliet.ox.engine, world.connect(JULIET, "tablet"))
        backup = await open_backup(tablet.ox, sealed, code)
        restored = await tablet.supplied(lambda: restore(tablet.ox, backup))
        assert restored == (await juliet.ox.own_key()).certificate.fingerprint

    async def test_an_unlisted_key_is_adopted(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        other = forged(f"xmpp:{JULIET}")
        own = (await juliet.ox.own_key()).certificate.fingerprint
        adopted = await juliet.supplied(lambda: juliet.ox.adopt(other.secret, replacing=own))
        assert adopted == other.name

    async def test_r_15_what_is_of_no_use_is_fetched_once(self, world: World) -> None:
        """A list that is none stays missing; nobody goes round in circles."""
        juliet = Client(
            JULIET, empty_ports(), SequoiaEngine(NativePrimitives()), world.connect(JULIET)
        )
        options = ((ACCESS_MODEL, "open"),)
        await juliet.perform(Publish(NodeAddress(JULIET, METADATA_NODE), None, entry("x"), options))
        with pytest.raises(DataMissing):
            await juliet.supplied(juliet.ox.generate)

    async def test_who_announces_nothing_has_no_key(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        world.connect(ROMEO)
        blog = await world.blog(juliet)
        await juliet.gather({ROMEO})
        with pytest.raises(PeerMisbehaved) as refused:
            await blog.grant(ROMEO)
        assert refused.value.code is ErrorCode.UNUSABLE_KEY


ERRORS = ["remote-server-timeout", "internal-server-error", "forbidden", "service-unavailable"]


class TestServices:
    """Only ``item-not-found`` means that nothing is there."""

    @pytest.mark.parametrize("error", ERRORS)
    async def test_g_14_no_error_strikes_a_key(self, world: World, error: str) -> None:
        wire = Wire(world.connect(JULIET))
        juliet, _ = await world.client(JULIET, wire.session, wire)
        romeo, _ = await world.client(ROMEO)
        await juliet.gather({ROMEO})
        name = (await romeo.ox.own_key()).certificate.fingerprint
        await juliet.ox.decide(ROMEO, name, Trust.AUTHENTICATED)
        key, keys = NodeAddress(ROMEO, data_node(name)), metadata_address(ROMEO)
        for busy in ({keys: error}, {key: error}):
            wire.busy = busy
            await redate(juliet, ROMEO, name)
            with pytest.raises(StanzaRefused, match=error):
                await juliet.incoming(news_of(ROMEO))
            assert await juliet.ox.seal([entry("x")], {ROMEO})
        wire.busy = {}
        await juliet.gather({ROMEO})
        assert await juliet.ox.missing({ROMEO}) == ()
        assert [each.trust for each in (await juliet.ox.keys(ROMEO)).accepted] == [
            Trust.AUTHENTICATED
        ]

    @pytest.mark.parametrize("error", ERRORS)
    async def test_g_12_no_key_is_made_while_our_list_is_unknown(
        self, world: World, error: str
    ) -> None:
        laptop, _ = await world.client(JULIET)
        name = (await laptop.ox.own_key()).certificate.fingerprint
        wire = Wire(world.connect(JULIET, "phone 2"))
        phone = Client(JULIET, empty_ports(), laptop.ox.engine, wire)
        wire.busy = {metadata_address(JULIET): error}
        for ask in (lambda: phone.gather({JULIET}), lambda: phone.supplied(phone.ox.generate)):
            with pytest.raises(StanzaRefused, match=error):
                await ask()
        with pytest.raises(DataMissing):
            await phone.ox.generate()
        wire.busy = {}
        made = await phone.supplied(phone.ox.generate)
        await phone.flush()
        await laptop.incoming(news_of(JULIET))
        listed = {key.fingerprint for key in (await laptop.ox.keys(JULIET)).keys if key.announced}
        assert listed == {name, made}

    async def test_one_service_holds_up_nobody_elses_keys(self, world: World) -> None:
        wire = Wire(world.connect(JULIET))
        juliet, _ = await world.client(JULIET, wire.session, wire)
        await world.client(ROMEO)
        wire.busy = {metadata_address(NURSE): "remote-server-timeout"}
        with pytest.raises(StanzaRefused):
            await juliet.gather({NURSE, ROMEO})
        assert await juliet.ox.seal([entry("x")], {ROMEO})
        assert not (await juliet.ox.keys(NURSE)).listed

    async def test_g_14_a_copy_that_is_none_strikes_no_key_that_is_known(
        self, world: World
    ) -> None:
        juliet, _ = await world.client(JULIET)
        romeo, _ = await world.client(ROMEO)
        await juliet.gather({ROMEO})
        name = (await romeo.ox.own_key()).certificate.fingerprint
        broken = Publish(NodeAddress(ROMEO, data_node(name)), None, write_pubkey(b"no key"))
        await romeo.perform(broken)
        await redate(juliet, ROMEO, name)
        await juliet.gather({ROMEO})
        assert await juliet.ox.seal([entry("x")], {ROMEO})
        assert await juliet.ox.missing({ROMEO})  # asked for again, some time

    async def test_g_12_nor_does_it_keep_us_from_our_own(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        name = (await juliet.ox.own_key()).certificate.fingerprint
        broken = Publish(NodeAddress(JULIET, data_node(name)), None, write_pubkey(b"no key"))
        await juliet.perform(broken)
        await redate(juliet, JULIET, name)
        await juliet.gather({JULIET})
        await juliet.ox.extend(None)


class TestNewsOfKeys:
    """XEP-0373 §4.5."""

    async def test_g_14_a_revocation_arrives(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        romeo, _ = await world.client(ROMEO)
        await juliet.gather({ROMEO})
        name = (await romeo.ox.own_key()).certificate.fingerprint
        await juliet.ox.decide(ROMEO, name, Trust.AUTHENTICATED)
        await romeo.ox.revoke(name, Revocation.COMPROMISED)
        await romeo.flush()
        await redate(juliet, ROMEO, name)
        assert await juliet.incoming(news_of(ROMEO)) is None
        with pytest.raises(PeerMisbehaved) as caught:
            await juliet.ox.seal([entry("x")], {ROMEO})
        assert caught.value.code is ErrorCode.UNUSABLE_KEY
        events = await KeyEvents(juliet.ox.ports.store, JULIET).pending()
        assert [(each.jid, each.news) for each in events] == [(ROMEO, KeyNews.REVOKED)]

    async def test_a_new_key_arrives(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        romeo, _ = await world.client(ROMEO)
        await juliet.gather({ROMEO})
        own = (await romeo.ox.own_key()).certificate.fingerprint
        other = forged(f"xmpp:{ROMEO}")
        await romeo.supplied(lambda: romeo.ox.adopt(other.secret, replacing=own))
        await romeo.flush()
        await juliet.incoming(news_of(ROMEO))
        known = (await juliet.ox.keys(ROMEO)).find(Fingerprint(other.name))
        assert known is not None
        assert known.raw is not None

    async def test_g_10_nobody_whom_we_never_wrote_to_makes_us_ask(self, world: World) -> None:
        wire = Wire(world.connect(JULIET))
        juliet, _ = await world.client(JULIET, wire.session, wire)
        await world.client(TYBALT)
        before = wire.asked
        assert await juliet.incoming(news_of(TYBALT)) is None
        assert await juliet.incoming(news_of(ROMEO, of=Jid(TYBALT, "phone"))) is None
        assert wire.asked == before
        assert (await juliet.ox.keys(TYBALT)).keys == ()


def news_of(jid: BareJid, *, of: Jid | None = None) -> Element:
    """Return the notification that somebody has a new list of keys; it need not say which."""
    items = element(
        ns.PUBSUB_EVENT,
        "items",
        {"node": METADATA_NODE},
        element(ns.PUBSUB_EVENT, "item", {"id": "current"}),
    )
    attributes = {"from": str(of or jid), "to": str(Jid(JULIET, "phone"))}
    return element(ns.CLIENT, "message", attributes, element(ns.PUBSUB_EVENT, "event", None, items))


async def redate(client: Client, jid: BareJid, name: Fingerprint) -> None:
    """Let an older list be what a client knows, so that the present one is news."""
    before = PublicKeyMetadata(name, datetime.now(UTC) - timedelta(days=1))
    await client.ox.feed(Fetch(metadata_address(jid)), PublicKeysList((before,)).to_xml())


class TestIncoming:
    async def test_a_notification_without_payload_is_followed_up(self, world: World) -> None:
        juliet, session = await world.client(JULIET)
        blog = await world.blog(juliet)
        await juliet.perform(Configure(BLOG, ((DELIVER_PAYLOADS, "false"),)))
        await juliet.subscribe(blog)
        await take_in(juliet, session)
        await juliet.publish(blog, entry("News"))
        (news,) = await take_in(juliet, session)
        assert isinstance(news, ItemsArrived)
        assert titles(news.results) == ["News"]

    async def test_news_of_an_unknown_node_is_no_news(self, world: World) -> None:
        juliet, session = await world.client(JULIET)
        await juliet.perform(Create(BLOG))
        await juliet.subscribe(juliet.node(BLOG))
        await juliet.perform(Publish(BLOG, ItemId("1"), entry("in clear")))
        await juliet.perform(Retract(BLOG, ItemId("1")))
        await juliet.perform(Delete(BLOG))
        assert await take_in(juliet, session) == [None, None, None]

    async def test_a_second_delivery_is_no_news(self, world: World) -> None:
        juliet, inbox = await world.client(JULIET)
        await world.blog(juliet)
        stanza = inbox.inbox.popleft()
        assert isinstance(await juliet.incoming(stanza), SecretsArrived)
        assert await juliet.incoming(stanza) is None

    async def test_what_is_not_ours_is_no_news(self, world: World) -> None:
        juliet, session = await world.client(JULIET)
        romeo = world.connect(ROMEO)
        await romeo.send(JULIET, "m1", [element(ns.CLIENT, "body", None, "Good morrow")])
        await session.send(BareJid.parse("paris@verona.example"), "m2", [])
        assert await take_in(juliet, session) == [None, None]

    async def test_a_stranger_s_node_waits_for_the_user(self, world: World) -> None:
        """On a component the service cannot say who owns a node: the user confirms (N-01)."""
        address = NodeAddress(world.service.component, "club")
        juliet, _ = await world.client(JULIET)
        romeo, inbox = await world.client(ROMEO)
        club = await world.blog(juliet, address)
        await juliet.publish(club, entry("Rules of the club"))
        await grant(juliet, club, ROMEO)
        stanza = inbox.inbox.popleft()
        with pytest.raises(TrustUndecided) as question:
            await romeo.incoming(stanza)
        owner, signer = question.value.subjects
        await romeo.node(address).approve(BareJid.parse(owner), Fingerprint(signer))
        assert isinstance(await romeo.incoming(stanza), SecretsArrived)
        (page,) = [page async for page in romeo.history(romeo.node(address))]
        assert titles(page) == ["Rules of the club"]

    async def test_s_14_a_carbon_from_somebody_else_is_refused(self, world: World) -> None:
        """Tybalt wraps Juliet's own words as if Romeo's server had copied them to him."""
        juliet, _ = await world.client(JULIET)
        romeo, inbox = await world.client(ROMEO)
        tybalt = world.connect(TYBALT)
        blog = await world.blog(juliet)
        await grant(juliet, blog, ROMEO)
        genuine = inbox.inbox.popleft()
        for name in ("sent", "received"):
            forwarded = element(ns.FORWARD, "forwarded", None, genuine)
            await tybalt.send(ROMEO, "m1", [element(ns.CARBONS, name, None, forwarded)])
            with pytest.raises(PeerMisbehaved) as refused:
                await romeo.incoming(inbox.inbox.popleft())
            assert refused.value.code is ErrorCode.FORBIDDEN
        assert isinstance(await romeo.incoming(genuine), SecretsArrived)

    async def test_s_14_a_stamp_from_somebody_else_counts_for_nothing(self, world: World) -> None:
        """Or an old message could be passed off as one that the archive kept."""
        juliet, _ = await world.client(JULIET)
        romeo, inbox = await world.client(ROMEO)
        await grant(juliet, await world.blog(juliet), ROMEO)
        genuine = inbox.inbox.popleft()
        forged = {"stamp": "2099-01-01T00:00:00Z", "from": str(TYBALT)}
        stamped = element(
            ns.CLIENT,
            "message",
            {attribute.name: attribute.value for attribute in genuine.attributes},
            *genuine.elements,
            element(ns.DELAY, "delay", forged),
        )
        assert isinstance(await romeo.incoming(stamped), SecretsArrived)

    async def test_a_second_device_learns_members_from_carbons(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        await world.client(ROMEO)
        blog = await world.blog(juliet)
        await juliet.publish(blog, entry("first"))
        await grant(juliet, blog, ROMEO)
        tablet_session = world.connect(JULIET, "tablet")
        tablet = Client(JULIET, empty_ports(), juliet.ox.engine, tablet_session)
        await tablet.gather({JULIET})
        await tablet.ox.adopt((await juliet.ox.own_key()).material)
        await tablet.flush()
        await take_in(tablet, tablet_session)
        assert (await tablet.node(BLOG).keychain()).members == {ROMEO}
        (page,) = [page async for page in tablet.history(tablet.node(BLOG))]
        assert titles(page) == ["first"]

    async def test_r_15_a_hanging_connection_holds_up_nothing_else(self, world: World) -> None:
        """While a sender's keys never come, items are decrypted; afterwards nothing is lost."""

        class Hanging(Wire):
            hangs = False

            async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
                if self.hangs and to == TYBALT:
                    await asyncio.Event().wait()
                return await super().request(to, kind, payload)

        juliet, _ = await world.client(JULIET)
        session = world.connect(ROMEO)
        wire = Hanging(session)
        romeo, _ = await world.client(ROMEO, session, wire)
        tybalt, _ = await world.client(TYBALT)
        blog = await world.blog(juliet)
        await juliet.publish(blog, entry("readable"))
        await grant(juliet, blog, ROMEO)
        await take_in(romeo, session)
        await grant(tybalt, await world.blog(tybalt, NodeAddress(TYBALT, "duel")), ROMEO)
        (stanza,) = session.inbox
        wire.hangs = True
        stuck = asyncio.create_task(romeo.incoming(stanza))
        await asyncio.sleep(0)
        (page,) = [page async for page in romeo.history(romeo.node(BLOG))]
        assert payloads(page)
        assert not stuck.done()
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
        wire.hangs = False
        assert isinstance(await romeo.incoming(stanza), SecretsArrived)
