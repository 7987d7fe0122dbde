"""Whose signatures a reader of a signed node asks for, and what nobody can keep them from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import limits, ns
from e2ee.attachment_nodes import attachment_node
from e2ee.attachments import Attachments, Noticed
from e2ee.effects import ACCESS_MODEL, PUBLISH_MODEL, Create, NodeConfig, Publish
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fetch, ItemId, ItemPlace, NodeAddress
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.elements import PublicKeyMetadata, PublicKeysList, data_node, metadata_address
from ox.engine import S2kCount
from pubsub_encryption import EncryptedItem, UnreadableItem
from signing import (
    Policy,
    Unverifiable,
    Verdict,
    Verification,
    all_of,
    any_of,
    every_signature,
)
from tests.roof.world import JULIET, NURSE, ROMEO, TYBALT, World, entry
from xmpp_e2ee.client import Client
from xmpp_e2ee.nodes import StoredItem
from xmpp_e2ee.service import Session
from xmpp_e2ee.signed_node import SignedNode, SignedResult, Withheld
from xmpp_e2ee.transport import IqKind, StanzaRefused

OPEN: NodeConfig = ((ACCESS_MODEL, "open"), (PUBLISH_MODEL, "open"))
BOARD = NodeAddress(JULIET, "board")


@pytest.fixture
def world() -> World:
    return World()


class Answering:
    """A transport that refuses what a test wants refused.

    Attributes:
        refusal: says for a request for items of a node, by these ids, with which condition.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.refusal: Callable[[NodeAddress, list[str]], str | None] = lambda node, ids: None

    async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
        items = payload.optional(ns.PUBSUB, "items")
        if items is not None:
            node = NodeAddress(to, items.require("node"))
            ids = [item.require("id") for item in items.find_all(ns.PUBSUB, "item")]
            if condition := self.refusal(node, ids):
                raise StanzaRefused(condition)
        return await self.session.request(to, kind, payload)

    async def send(self, to: BareJid, stanza_id: str, children: Sequence[Element]) -> None:
        await self.session.send(to, stanza_id, children)


class Scene:
    """A board of Juliet's with one signed item, and Romeo who reads it."""

    def __init__(self, world: World, hers: SignedNode, romeo: Client, wire: Answering) -> None:
        self.world = world
        self.hers = hers
        self.romeo = romeo
        self.wire = wire
        self.his = SignedNode(romeo, BOARD, OPEN)
        self.place = ItemPlace(BOARD, ItemId("unpublished"))

    @classmethod
    async def set(cls, world: World, *beside: BareJid) -> Scene:
        juliet, _ = await world.client(JULIET)
        await juliet.perform(Create(BOARD, OPEN))
        session = world.connect(ROMEO)
        wire = Answering(session)
        romeo, _ = await world.client(ROMEO, session, wire)
        scene = cls(world, SignedNode(juliet, BOARD, OPEN), romeo, wire)
        published = await scene.hers.publish(entry("News"), beside=beside)
        assert await juliet.flush() == ()
        scene.place = ItemPlace(BOARD, published.item_id)
        return scene

    @property
    def where(self) -> NodeAddress:
        return attachment_node(self.place)

    def attach(self, jid: BareJid, *others: Element) -> None:
        attachments = Attachments(Noticed(), None, others).to_xml()
        self.world.service.plant(self.where, StoredItem(ItemId(str(jid)), attachments, jid))

    async def crowd(self, count: int, *others: Element) -> None:
        """Let so many strangers attach something, before Juliet does."""
        (hers,) = self.world.service.stored(self.where)
        for number in range(count):
            self.attach(BareJid(TYBALT.domain, f"stranger{number}"), *others)
        await self.hers._client.perform(Publish(self.where, hers.id, hers.payload))
        assert self.world.service.stored(self.where)[-1] == hers

    def requests(self) -> int:
        return sum("type='get'" in stanza for stanza in self.world.wire)


JUNK = element(ns.PUBSUB_SIGNING, "signature")


async def only(node: SignedNode, policy: Policy | None = None) -> SignedResult:
    pages = node.read(policy or every_signature())
    (result,) = [each async for page in pages for each in page]
    return result


def verdict_of(result: SignedResult) -> Verdict:
    assert isinstance(result, Verification), result
    return result.verdict


class TestNamed:
    async def test_q_17_one_account_with_65_signatures_spoils_nothing(self, world: World) -> None:
        scene = await Scene.set(world, ROMEO)
        scene.attach(TYBALT, *[JUNK] * (limits.MAX_SIGNATURES_PER_ITEM + 1))
        found = await scene.his.fetch(scene.place.item_id, any_of(JULIET))
        await scene.his.co_sign(found, JULIET)
        assert verdict_of(await only(scene.his, any_of(JULIET))) is Verdict.TRUSTED
        assert verdict_of(await only(scene.his, all_of(JULIET, ROMEO))) is Verdict.TRUSTED
        # Where nobody is named, Tybalt's are bad signatures, and no more than that.
        assert verdict_of(await only(scene.his)) is Verdict.INVALID

    async def test_q_17_the_named_are_asked_for_whoever_else_attached_something(
        self, world: World
    ) -> None:
        scene = await Scene.set(world)
        await scene.crowd(2000, JUNK)
        assert verdict_of(await only(scene.his, any_of(JULIET, NURSE))) is Verdict.TRUSTED
        before = scene.requests()
        assert verdict_of(await only(scene.his, any_of(JULIET, NURSE))) is Verdict.TRUSTED
        # The page of items and its end; who is named; the Nurse's keys, which nobody has.
        assert scene.requests() - before <= 4

    async def test_who_is_listed_beside_the_named_is_asked_for_too(self, world: World) -> None:
        scene = await Scene.set(world, ROMEO)
        nurse, _ = await world.client(NURSE)
        theirs = SignedNode(nurse, BOARD)
        alone = await only(theirs, any_of(JULIET))
        assert isinstance(alone, Verification)
        assert alone.verdict is Verdict.INVALID
        assert alone.absent == {ROMEO}
        found = await scene.his.fetch(scene.place.item_id, any_of(JULIET))
        await scene.his.co_sign(found, JULIET)
        assert verdict_of(await only(theirs, any_of(JULIET))) is Verdict.TRUSTED

    async def test_a_service_may_refuse_all_where_one_is_missing(self, world: World) -> None:
        scene = await Scene.set(world)
        scene.wire.refusal = lambda node, ids: (
            "item-not-found" if node == scene.where and str(NURSE) in ids else None
        )
        assert verdict_of(await only(scene.his, any_of(JULIET, NURSE))) is Verdict.TRUSTED

    async def test_an_answer_with_others_items_is_no_answer(self, world: World) -> None:
        scene = await Scene.set(world)
        assert verdict_of(await only(scene.his, any_of(NURSE))) is Verdict.UNSIGNED


class TestNobodyNamed:
    async def test_q_17_not_all_that_is_attached_is_looked_through(self, world: World) -> None:
        scene = await Scene.set(world)
        await scene.crowd(limits.MAX_ATTACHMENTS_PER_ITEM + 500)
        before = scene.requests()
        result = await only(scene.his)
        assert isinstance(result, Unverifiable)
        assert result.error.code is ErrorCode.LIMIT_EXCEEDED
        assert scene.requests() - before <= 2 + limits.MAX_ATTACHMENTS_PER_ITEM // 100 + 1
        with pytest.raises(PeerMisbehaved) as refused:
            await scene.his.fetch(scene.place.item_id)
        assert refused.value.code is ErrorCode.LIMIT_EXCEEDED

    async def test_what_else_is_attached_does_not_count_as_a_signature(self, world: World) -> None:
        scene = await Scene.set(world)
        await scene.crowd(limits.MAX_SIGNATURES_PER_ITEM * 3)
        assert verdict_of(await only(scene.his)) is Verdict.TRUSTED


class TestWithheld:
    async def test_a_signature_that_is_refused_is_not_said_to_be_none(self, world: World) -> None:
        scene = await Scene.set(world)
        scene.wire.refusal = lambda node, ids: "forbidden" if node == scene.where else None
        for policy in (every_signature(), any_of(JULIET)):
            result = await only(scene.his, policy)
            assert isinstance(result, Withheld)
            assert result.refusal.condition == "forbidden"
            assert verdict_of(result.result) is Verdict.UNSIGNED
            with pytest.raises(StanzaRefused, match="forbidden"):
                await scene.his.fetch(scene.place.item_id, policy)

    async def test_where_nothing_is_attached_nothing_is_withheld(self, world: World) -> None:
        scene = await Scene.set(world)
        await scene.hers._client.perform(Publish(BOARD, ItemId("2"), entry("Unsigned")))
        found = await scene.his.fetch(ItemId("2"), any_of(JULIET, NURSE))
        assert (await scene.his.verify(found)).verdict is Verdict.UNSIGNED

    async def test_q_15_a_key_that_is_due_and_refused_is_said_to_be_missing(
        self, world: World
    ) -> None:
        """It may have been revoked: its owner announced another version, which is withheld."""
        scene = await Scene.set(world)
        assert verdict_of(await only(scene.his, any_of(JULIET))) is Verdict.TRUSTED
        name = (await scene.hers._client.ox.own_key()).certificate.fingerprint
        newer = PublicKeyMetadata(name, datetime.now(UTC) + timedelta(seconds=1))
        await scene.romeo.ox.feed(
            Fetch(metadata_address(JULIET)), PublicKeysList((newer,)).to_xml()
        )
        scene.wire.refusal = lambda node, ids: (
            "remote-server-timeout" if node.node == data_node(name) else None
        )
        result = await only(scene.his, any_of(JULIET))
        assert isinstance(result, Verification)
        assert [need.address.node for need in result.missing] == [data_node(name)]


class TestPages:
    @pytest.mark.parametrize("depth", [62, 63, 64])
    async def test_x_04_an_item_that_is_too_deep_for_its_wrapper_spoils_no_page(
        self, world: World, depth: int
    ) -> None:
        juliet, _ = await world.client(JULIET)
        blog = await world.blog(juliet)
        node = SignedNode(juliet, blog)
        await node.publish(entry("Good"))
        assert await juliet.flush() == ()
        deep = element("urn:example:deep", "deep")
        while deep.depth < depth:
            deep = element("urn:example:deep", "deep", None, deep)
        await plant_sealed(world, juliet, blog.address, deep)
        good, bad = [each async for page in node.read() for each in page]
        assert verdict_of(good) is Verdict.TRUSTED
        if depth <= limits.MAX_PAYLOAD_DEPTH:
            assert verdict_of(bad) is Verdict.UNSIGNED
        else:
            assert isinstance(bad, UnreadableItem)
            assert bad.error.code is ErrorCode.LIMIT_EXCEEDED

    async def test_an_item_under_no_proper_id_spoils_no_page(self, world: World) -> None:
        scene = await Scene.set(world)
        too_long = ItemId("x" * (limits.MAX_ITEM_ID_CHARS + 1))
        world.service.plant(BOARD, StoredItem(too_long, entry("Bad"), JULIET))
        good, bad = [each async for page in scene.his.read() for each in page]
        assert verdict_of(good) is Verdict.TRUSTED
        assert isinstance(bad, UnreadableItem)
        assert bad.error.code is ErrorCode.MALFORMED


async def plant_sealed(world: World, owner: Client, node: NodeAddress, payload: Element) -> None:
    """Store what some program encrypted that knows no bounds."""
    secret = (await owner.node(node).keychain()).current
    plaintext = write_xml(payload, ascii_only=True).encode()
    message = await owner.ox.engine.lock(plaintext, secret.passphrase, S2kCount.RANDOM_SECRET)
    item = StoredItem(ItemId("deep"), EncryptedItem(secret.id, message).to_xml(), JULIET)
    world.service.plant(node, item)
