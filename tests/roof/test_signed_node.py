"""A node of signed items: what is signed and encrypted, what is attached, what a reader is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from e2ee import limits, ns
from e2ee.attachment_nodes import attachment_node, attachment_nodes
from e2ee.attachments import Attachments, Noticed
from e2ee.effects import (
    ACCESS_MODEL,
    PUBLISH_MODEL,
    Create,
    Delete,
    NodeConfig,
    Publish,
    Retract,
    Subscribe,
)
from e2ee.errors import ApiMisuse, CannotDecrypt, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.history import Sighting
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.outbox import PREDECESSOR_FAILED
from e2ee.xmltree import Element, element
from pubsub_encryption import ClearItem, UnreadableItem, encrypt_attachments
from signing import (
    Policy,
    Unverifiable,
    Verdict,
    Verification,
    all_of,
    any_of,
    every_signature,
)
from tests.roof.world import JULIET, NURSE, ROMEO, TYBALT, World, entry, grant
from xmpp_e2ee.client import Client
from xmpp_e2ee.nodes import StoredItem
from xmpp_e2ee.pubsub import fetch_items
from xmpp_e2ee.service import Session
from xmpp_e2ee.signed_node import SignedNode, SignedResult
from xmpp_e2ee.transport import IqKind, StanzaRefused

OPEN: NodeConfig = ((ACCESS_MODEL, "open"), (PUBLISH_MODEL, "open"))
BOARD = NodeAddress(JULIET, "board")
FOREIGN = element("urn:example:foreign", "kept", {"by": "Romeo"})


@pytest.fixture
def world() -> World:
    return World()


async def board(world: World, address: NodeAddress = BOARD) -> SignedNode:
    """Create a node in clear, where everybody may write, as Juliet."""
    juliet, _ = await world.client(JULIET)
    await juliet.perform(Create(address, OPEN))
    return SignedNode(juliet, address, OPEN)


async def published(node: SignedNode, payload: Element, *beside: BareJid) -> ItemId:
    result = await node.publish(payload, beside=beside)
    assert result.is_attached
    assert await node._client.flush() == ()
    return result.item_id


async def read(node: SignedNode, policy: Policy | None = None) -> list[SignedResult]:
    pages = node.read(policy or every_signature())
    return [result async for page in pages for result in page]


async def verified(node: SignedNode, policy: Policy | None = None) -> Verification:
    (result,) = await read(node, policy)
    assert isinstance(result, Verification)
    return result


def attachments_of(world: World, place: ItemPlace, jid: BareJid) -> Element:
    """Return what the service has of the attachments of ``jid``."""
    stored = {item.id: item.payload for item in world.service.stored(attachment_node(place))}
    return stored[ItemId(str(jid))]


class TestInClear:
    async def test_a_signed_item_is_verified(self, world: World) -> None:
        hers = await board(world)
        await published(hers, entry("Good morrow"))
        romeo, _ = await world.client(ROMEO)
        result = await verified(SignedNode(romeo, BOARD))
        assert result.verdict is Verdict.TRUSTED
        assert result.sighting is Sighting.FIRST
        assert result.payload.same_content(entry("Good morrow"))

    async def test_an_item_without_a_signature_is_unsigned(self, world: World) -> None:
        hers = await board(world)
        await hers._client.perform(Publish(BOARD, ItemId("1"), entry("Who am I?")))
        assert (await verified(hers)).verdict is Verdict.UNSIGNED

    async def test_two_sign_one_item(self, world: World) -> None:
        hers = await board(world)
        item_id = await published(hers, entry("Married"), ROMEO)
        romeo, _ = await world.client(ROMEO)
        nurse, _ = await world.client(NURSE)
        both = all_of(JULIET, ROMEO)
        alone = await verified(SignedNode(nurse, BOARD), both)
        assert alone.absent == {ROMEO}
        assert alone.verdict is not Verdict.TRUSTED
        his = SignedNode(romeo, BOARD)
        await his.co_sign(await his.fetch(item_id), JULIET)
        together = await verified(SignedNode(nurse, BOARD), both)
        assert together.verdict is Verdict.TRUSTED
        assert not together.absent

    async def test_nobody_signs_beside_somebody_who_has_not_signed(self, world: World) -> None:
        hers = await board(world)
        item_id = await published(hers, entry("Married"), ROMEO)
        romeo, _ = await world.client(ROMEO)
        his = SignedNode(romeo, BOARD)
        with pytest.raises(PeerMisbehaved) as refused:
            await his.co_sign(await his.fetch(item_id), NURSE)
        assert refused.value.code is ErrorCode.BAD_SIGNATURE

    async def test_an_item_outside_the_profile_is_not_published(self, world: World) -> None:
        hers = await board(world)
        carriage = element(ns.ATOM, "entry", None, "a\rb")
        with pytest.raises(ApiMisuse) as refused:
            await hers.publish(carriage)
        assert refused.value.code is ErrorCode.AMBIGUOUS
        assert await hers._client.outbox.pending() == ()
        assert world.service.stored(BOARD) == ()

    async def test_a_crash_before_the_flush_loses_no_signature(self, world: World) -> None:
        """Item and signature wait together, and go together."""
        hers = await board(world)
        await hers.publish(entry("Late"))
        assert len(await hers._client.outbox.pending()) == 3
        reborn = Client(
            JULIET, hers._client.ox.ports, hers._client.ox.engine, world.connect(JULIET)
        )
        assert await reborn.flush() == ()
        assert (await verified(hers)).verdict is Verdict.TRUSTED

    async def test_a_signature_is_not_attached_to_a_refused_item(self, world: World) -> None:
        await board(world)
        romeo, _ = await world.client(ROMEO)
        await romeo.perform(Create(NodeAddress(ROMEO, "own")))
        theirs = SignedNode(romeo, NodeAddress(JULIET, "closed"), OPEN)
        await theirs.publish(entry("Let me in"))
        refused = await romeo.flush()
        conditions = [each.condition for each in refused]
        assert conditions == ["forbidden", PREDECESSOR_FAILED, PREDECESSOR_FAILED]

    async def test_what_is_not_there_cannot_be_fetched(self, world: World) -> None:
        with pytest.raises(StanzaRefused, match="item-not-found"):
            await (await board(world)).fetch(ItemId("nothing"))


class Interfering:
    """A transport whose answers a test replaces.

    Attributes:
        refused: what is answered with which condition, by the JID that is asked.
        features: what services announce besides what they do.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.refused: dict[BareJid, str] = {}
        self.features: list[str] = []
        self.no_discovery = False

    async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
        if to in self.refused:
            raise StanzaRefused(self.refused[to])
        if payload.is_(ns.DISCO_INFO, "query"):
            if self.no_discovery:
                raise StanzaRefused("service-unavailable")
            features = [element(ns.DISCO_INFO, "feature", {"var": var}) for var in self.features]
            return element(ns.DISCO_INFO, "query", None, *features)
        return await self.session.request(to, kind, payload)

    async def send(self, to: BareJid, stanza_id: str, children: Sequence[Element]) -> None:
        await self.session.send(to, stanza_id, children)


class TestOrder:
    """Whoever makes an attachment node owns it, so that it is made before the item is shown."""

    async def test_nobody_else_makes_the_attachment_node(self, world: World) -> None:
        hers = await board(world)
        await hers.publish(entry("News"))
        effects = [job.effect for job in await hers._client.outbox.pending()]
        assert [type(effect) for effect in effects] == [Create, Publish, Publish]
        assert [effect.address == BOARD for effect in effects if isinstance(effect, Publish)] == [
            True,
            False,
        ]

    async def test_where_somebody_has_made_it_nothing_is_published(self, world: World) -> None:
        """And of an encrypted node it is not taken for ours."""
        juliet, _ = await world.client(JULIET)
        service = world.service.component
        blog = await world.blog(juliet, NodeAddress(service, "blog"))
        await world.client(ROMEO)
        await grant(juliet, blog, ROMEO)
        tybalt, _ = await world.client(TYBALT)
        clear = NodeAddress(service, "board")
        await juliet.perform(Create(clear, OPEN))
        for node in (SignedNode(juliet, clear, OPEN), SignedNode(juliet, blog)):
            result = await node.publish(entry("News"))
            where = attachment_node(ItemPlace(node.address, result.item_id))
            await tybalt.perform(Create(where, OPEN))
            first, *rest = [each.condition for each in await juliet.flush()]
            assert first == "forbidden"
            assert set(rest) == {PREDECESSOR_FAILED}
            assert world.service.stored(where) == world.service.stored(node.address) == ()
        await juliet.gather_members(blog)
        await blog.rotate(revoke=[ROMEO])
        assert await juliet.flush() == ()

    async def test_a_publisher_signs_where_the_service_makes_the_nodes(self, world: World) -> None:
        """They do not own the encrypted node, and need not."""
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet, NodeAddress(world.service.component, "blog"))
        session = world.connect(ROMEO)
        wire = Interfering(session)
        wire.features = [ns.PUBSUB_ATTACHMENTS]
        romeo, _ = await world.client(ROMEO, session, wire)
        await juliet.gather({ROMEO})
        await blog.grant(ROMEO, may_publish=True)
        assert await juliet.flush() == ()
        theirs = romeo.node(blog.address)
        signer = (await juliet.ox.own_key()).certificate.fingerprint
        await romeo.gather({JULIET})
        await theirs.approve(JULIET, signer)
        await take_in(romeo, session)
        his = SignedNode(romeo, theirs)
        result = await his.publish(entry("Mine"))
        where = attachment_node(ItemPlace(blog.address, result.item_id))
        effects = [job.effect for job in await romeo.outbox.pending()]
        assert [effect.address for effect in effects if isinstance(effect, Publish)] == [
            blog.address,
            where,
        ]
        assert len(effects) == 2

    async def test_beyond_the_bound_an_item_goes_without_its_signature(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_ATTACHMENT_NODES", 2)
        juliet, _ = await world.client(JULIET)
        node = SignedNode(juliet, await world.blog(juliet))
        results = [await node.publish(entry(str(number))) for number in range(3)]
        assert await juliet.flush() == ()
        assert [result.is_attached for result in results] == [True, True, False]
        verdicts = [result.verdict for result in await verifications(node)]
        assert verdicts == [Verdict.TRUSTED, Verdict.TRUSTED, Verdict.UNSIGNED]
        await node.retract(results[0].item_id)  # makes room
        assert await juliet.flush() == ()
        await juliet.node(node.address).open_attachments(results[2].item_id, ())
        assert await juliet.flush() == ()
        await node.attach(results[2].item_id, results[2].signature)
        verdicts = [result.verdict for result in await verifications(node)]
        assert verdicts == [Verdict.TRUSTED, Verdict.TRUSTED]


class TestRetracting:
    @pytest.mark.parametrize("encrypted", [True, False])
    async def test_what_is_attached_goes_with_the_item(self, world: World, encrypted: bool) -> None:
        hers = await board(world)
        if encrypted:
            hers = SignedNode(hers._client, await world.blog(hers._client))
        item_id = await published(hers, entry("Regretted"))
        where = attachment_node(ItemPlace(hers.address, item_id))
        await hers.retract(item_id)
        waiting = [type(job.effect) for job in await hers._client.outbox.pending()]
        assert waiting == [Retract, Delete]
        assert await hers._client.flush() == ()
        assert world.service.stored(hers.address) == ()
        with pytest.raises(StanzaRefused, match="item-not-found"):
            world.service.stored(where)

    async def test_a_service_that_makes_attachment_nodes_deletes_them(self, world: World) -> None:
        session = world.connect(JULIET)
        wire = Interfering(session)
        juliet, _ = await world.client(JULIET, session, wire)
        wire.features = [ns.PUBSUB_ATTACHMENTS]
        await SignedNode(juliet, BOARD, OPEN).retract(ItemId("1"))
        assert [type(job.effect) for job in await juliet.outbox.pending()] == [Retract]

    async def test_n_12_a_refused_deletion_leaves_nobody_access(self, world: World) -> None:
        session = world.connect(JULIET)
        wire = Interfering(session)
        juliet, _ = await world.client(JULIET, session, wire)
        blog = await world.blog(juliet)
        romeo, _ = await world.client(ROMEO)
        await grant(juliet, blog, ROMEO)
        item_id = await published(SignedNode(juliet, blog), entry("Secret"))
        where = attachment_node(ItemPlace(blog.address, item_id))
        await romeo.ask(fetch_items(where, [ItemId(str(JULIET))]))
        await blog.close_attachments(item_id)
        wire.refused[JULIET] = "internal-server-error"
        assert [each.condition for each in await juliet.flush()] == ["internal-server-error"]
        wire.refused.clear()
        await juliet.gather_members(blog)
        await blog.rotate(revoke=[ROMEO])
        assert await juliet.flush() == ()
        with pytest.raises(StanzaRefused, match="forbidden"):
            await romeo.ask(fetch_items(where, [ItemId(str(JULIET))]))

    async def test_q_07_what_was_retracted_and_comes_back_is_old(self, world: World) -> None:
        """For who retracted it, and for who was notified of it, in clear or not."""
        hers = await board(world)
        romeo, session = await world.client(ROMEO)
        await romeo.perform(Subscribe(BOARD))
        his = SignedNode(romeo, BOARD, OPEN)
        item_id = await published(hers, entry("Regretted"))
        place = ItemPlace(BOARD, item_id)
        (stored,) = world.service.stored(BOARD)
        attached = attachments_of(world, place, JULIET)
        for node in (hers, his):
            assert (await verified(node)).sighting is Sighting.FIRST
        await hers.retract(item_id)
        assert await hers._client.flush() == ()
        await take_in(romeo, session)
        await plant(world, place, stored.payload, attached)
        for node in (hers, his):
            assert (await verified(node)).sighting is Sighting.ROLLED_BACK


class TestServices:
    async def test_keys_that_cannot_be_had_leave_it_unchecked(self, world: World) -> None:
        hers = await board(world)
        board_elsewhere = NodeAddress(world.service.component, "board")
        await hers._client.perform(Create(board_elsewhere, OPEN))
        await published(SignedNode(hers._client, board_elsewhere, OPEN), entry("News"))
        session = world.connect(ROMEO)
        wire = Interfering(session)
        romeo, _ = await world.client(ROMEO, session, wire)
        wire.refused[JULIET] = "remote-server-timeout"
        result = await verified(SignedNode(romeo, board_elsewhere))
        assert result.verdict is Verdict.UNCHECKED
        assert result.missing
        wire.refused.clear()
        assert (await verified(SignedNode(romeo, board_elsewhere))).verdict is Verdict.TRUSTED

    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_service_that_makes_attachment_nodes_is_left_to_it(
        self, world: World, announced: bool
    ) -> None:
        session = world.connect(JULIET)
        wire = Interfering(session)
        juliet, _ = await world.client(JULIET, session, wire)
        wire.features = [ns.PUBSUB_ATTACHMENTS] if announced else []
        for node in (SignedNode(juliet, BOARD, OPEN), SignedNode(juliet, await world.blog(juliet))):
            await node.publish(entry("News"))
            made = [job.effect for job in await juliet.outbox.pending()]
            assert any(isinstance(effect, Create) for effect in made) is not announced
            await juliet.flush()

    async def test_a_service_without_discovery_announces_nothing(self, world: World) -> None:
        session = world.connect(JULIET)
        wire = Interfering(session)
        wire.no_discovery = True
        juliet, _ = await world.client(JULIET, session, wire)
        await juliet.perform(Create(BOARD, OPEN))
        await published(SignedNode(juliet, BOARD, OPEN), entry("News"))


class TestAttaching:
    async def test_q_16_what_else_we_attached_stays(self, world: World) -> None:
        """Also what we do not know; Romeo's own signature replaces his own alone."""
        hers = await board(world)
        item_id = await published(hers, entry("Married"), ROMEO)
        place = ItemPlace(BOARD, item_id)
        romeo, _ = await world.client(ROMEO)
        before = Attachments(Noticed(), None, (FOREIGN,)).to_xml()
        await romeo.perform(Publish(attachment_node(place), ItemId(str(ROMEO)), before))
        his = SignedNode(romeo, BOARD)
        for _ in range(2):
            await his.co_sign(await his.fetch(item_id), JULIET)
        names = [child.name for child in attachments_of(world, place, ROMEO).elements]
        assert names == ["noticed", "kept", "signature"]

    async def test_q_16_what_cannot_be_read_is_not_replaced(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        node = SignedNode(juliet, blog)
        item_id = await published(node, entry("News"))
        where = attachment_node(ItemPlace(blog.address, item_id))
        (ours,) = world.service.stored(where)
        for spoilt in (
            Attachments(others=(FOREIGN,)).to_xml(),  # in clear: the service may have put it there
            element(ns.PUBSUB_ATTACHMENTS, "attachments", None, element(ns.OX_PUBSUB, "encrypted")),
        ):
            world.service.plant(where, StoredItem(ours.id, spoilt, JULIET))
            with pytest.raises(E2eeError):
                await node.attach(item_id, FOREIGN)
            assert world.service.stored(where)[0].payload == spoilt

    async def test_both_spellings_of_a_node_are_looked_at(self, world: World) -> None:
        """A space is %20 for us and + for Libervia, which made the node here."""
        spaced = NodeAddress(JULIET, "my board")
        hers = await board(world, spaced)
        await hers._client.perform(Publish(spaced, ItemId("1"), entry("News")))
        signature = (await hers._signatures.sign(entry("News"), spaced)).signature
        ours, theirs = attachment_nodes(ItemPlace(spaced, ItemId("1")))
        await hers._client.perform(Create(theirs, OPEN))
        await hers.attach(ItemId("1"), signature)
        assert [item.id for item in world.service.stored(theirs)] == [str(JULIET)]
        with pytest.raises(StanzaRefused):
            world.service.stored(ours)
        assert (await verified(hers)).verdict is Verdict.TRUSTED

    async def test_nothing_is_attached_where_there_is_no_node(self, world: World) -> None:
        """Whoever made it would own it (XEP-0470 §4.1)."""
        hers = await board(world)
        await hers._client.perform(Publish(BOARD, ItemId("1"), entry("News")))
        romeo, _ = await world.client(ROMEO)
        with pytest.raises(StanzaRefused):
            await SignedNode(romeo, BOARD).attach(ItemId("1"), FOREIGN)


class TestEncrypted:
    async def test_item_and_signature_are_encrypted(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        item_id = await published(SignedNode(juliet, blog), entry("Secret"))
        romeo, session = await world.client(ROMEO)
        await grant(juliet, blog, ROMEO)
        await take_in(romeo, session)
        result = await verified(SignedNode(romeo, romeo.node(blog.address)), any_of(JULIET))
        assert result.verdict is Verdict.TRUSTED
        assert result.payload.same_content(entry("Secret"))
        attached = attachments_of(world, ItemPlace(blog.address, item_id), JULIET)
        assert [child.namespace for child in attached.elements] == [ns.OX_PUBSUB]
        assert not any("Secret" in stanza or "<signer" in stanza for stanza in world.wire)

    async def test_q_12_the_plain_text_is_signed_not_the_cipher_text(self, world: World) -> None:
        """A signature of what the service sees proves nothing of what members read."""
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        node = SignedNode(juliet, blog)
        item_id = await published(node, entry("Secret"))
        (stored,) = world.service.stored(blog.address)
        over_cipher = await node._signatures.sign(stored.payload, blog.address)
        await node.attach(item_id, over_cipher.signature)
        assert (await verified(node)).verdict is Verdict.INVALID

    async def test_a_signature_in_clear_proves_itself(self, world: World) -> None:
        """Libervia 0.9 does not encrypt attachments of encrypted items."""
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        node = SignedNode(juliet, blog)
        item_id = await published(node, entry("Secret"))
        found = await node.fetch(item_id)
        clear = Attachments(others=tuple(each.signature for each in found.attachments))
        where = attachment_node(found.place)
        world.service.plant(where, StoredItem(ItemId(str(JULIET)), clear.to_xml(), JULIET))
        assert (await verified(node)).verdict is Verdict.TRUSTED

    async def test_what_is_in_clear_or_unreadable_is_said_to_be(self, world: World) -> None:
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        node = SignedNode(juliet, blog)
        item_id = await published(node, entry("Secret"))
        (stored,) = world.service.stored(blog.address)
        spoilt = element(ns.OX_PUBSUB, "encrypted", {"key": stored.payload.require("key")}, "AAAA")
        for name, payload in (("clear", entry("Planted")), ("spoilt", spoilt)):
            world.service.plant(blog.address, StoredItem(ItemId(name), payload, JULIET))
        genuine, clear, unreadable = await read(node)
        assert isinstance(genuine, Verification)
        assert genuine.place.item_id == item_id
        assert isinstance(clear, ClearItem)
        assert isinstance(unreadable, UnreadableItem)
        with pytest.raises(PeerMisbehaved) as refused:
            await node.fetch(ItemId("clear"))
        assert refused.value.code is ErrorCode.NOT_ENCRYPTED
        with pytest.raises((PeerMisbehaved, CannotDecrypt)):
            await node.fetch(ItemId("spoilt"))


async def take_in(client: Client, session: Session) -> None:
    while session.inbox:
        await client.incoming(session.inbox.popleft())


class TestAttacked:
    async def test_n_16_a_member_writes_as_the_owner(self, world: World) -> None:
        """They have the secret, and even attach a genuine signature of hers; it is none of this."""
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        genuine = await published(SignedNode(juliet, blog), entry("Stay"))
        tybalt, session = await world.client(TYBALT)
        await grant(juliet, blog, TYBALT)
        await take_in(tybalt, session)
        his = tybalt.node(blog.address)
        (signed,) = (await SignedNode(tybalt, his).fetch(genuine)).attachments
        forged = ItemPlace(blog.address, ItemId("forged"))
        copied = await encrypt_attachments(his, Attachments(others=(signed.signature,)))
        await plant(world, forged, await his.encrypt(entry("Come")), copied)
        hers = SignedNode(juliet, blog)
        results = {result.place.item_id: result for result in await verifications(hers)}
        assert results[genuine].verdict is Verdict.TRUSTED
        assert results[forged.item_id].verdict is Verdict.INVALID

    async def test_q_06_an_item_that_is_moved_is_recognised(self, world: World) -> None:
        hers = await board(world)
        item_id = await published(hers, entry("Yes"))
        await verified(hers)
        place = ItemPlace(BOARD, item_id)
        (stored,) = world.service.stored(BOARD)
        elsewhere = ItemPlace(BOARD, ItemId("elsewhere"))
        await plant(world, elsewhere, stored.payload, attachments_of(world, place, JULIET))
        moved = await hers.verify(await hers.fetch(elsewhere.item_id))
        assert moved.sighting is Sighting.MOVED
        assert moved.elsewhere == (place,)

    async def test_a_bad_item_never_spoils_the_others(self, world: World) -> None:
        hers = await board(world)
        await published(hers, entry("Good"))
        too_long = ItemId("x" * limits.MAX_NODE_CHARS)
        world.service.plant(BOARD, StoredItem(too_long, entry("Bad"), JULIET))
        good, bad = await read(hers)
        assert isinstance(good, Verification)
        assert isinstance(bad, Unverifiable)

    async def test_attachments_that_cannot_be_read_are_no_signatures(self, world: World) -> None:
        hers = await board(world)
        item_id = await published(hers, entry("Good"))
        where = attachment_node(ItemPlace(BOARD, item_id))
        for name in ("nurse@verona.example", "not a jid", "Juliet@verona.example"):
            world.service.plant(where, StoredItem(ItemId(name), FOREIGN, TYBALT))
        assert (await verified(hers)).verdict is Verdict.TRUSTED

    async def test_q_17_a_flood_of_signatures_is_not_fetched_to_its_end(self, world: World) -> None:
        hers = await board(world)
        item_id = await published(hers, entry("Good"))
        where = attachment_node(ItemPlace(BOARD, item_id))
        (signed,) = world.service.stored(where)
        for number in range(500):
            jid = BareJid(TYBALT.domain, f"t{number}")
            world.service.plant(where, StoredItem(ItemId(str(jid)), signed.payload, jid))
        before = len(world.wire)
        (result,) = await read(hers)
        assert isinstance(result, Unverifiable)
        assert result.error.code is ErrorCode.LIMIT_EXCEEDED
        requests = [stanza for stanza in world.wire[before:] if "type='get'" in stanza]
        assert len(requests) == 3  # a page of items, one of attachments, the end of the items


async def plant(world: World, place: ItemPlace, payload: Element, attached: Element) -> None:
    """Put an item and Juliet's attachments to it where whoever runs the server wants them."""
    world.service.plant(place.node, StoredItem(place.item_id, payload, JULIET))
    own = StoredItem(ItemId(str(JULIET)), attached, JULIET)
    world.service.plant(attachment_node(place), own)


async def verifications(node: SignedNode) -> list[Verification]:
    return [result for result in await read(node) if isinstance(result, Verification)]
