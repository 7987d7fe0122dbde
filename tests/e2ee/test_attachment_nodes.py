"""Attachment nodes: their names, who creates them, and whose an attachment item is (XEP-0470)."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.attachment_nodes import (
    attached_by,
    attachment_effects,
    attachment_node,
    attachment_nodes,
    parse_attachment_node,
    summary_node,
)
from e2ee.effects import Configure, Create, NodeConfig, remedy
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, ItemId, ItemPlace, Jid, NodeAddress
from tests.support.xml import characters

JULIET = BareJid.parse("juliet@capulet.lit")
ROMEO = BareJid.parse("romeo@montague.lit")
SERVICE = BareJid.parse("pubsub.capulet.lit")
BLOG = ItemPlace(NodeAddress(JULIET, ns.PUBSUB), ItemId("balcony-restoration-afd1"))
NAMES = characters().filter(bool)
PREFIX = "urn:xmpp:pubsub-attachments:1/xmpp:"


def place(node: str, item_id: str, service: BareJid = SERVICE) -> ItemPlace:
    return ItemPlace(NodeAddress(service, node), ItemId(item_id))


class TestNames:
    def test_the_example_of_the_specification(self) -> None:
        post = place("urn:xmpp:microblog:0", "balcony-restoration-afd1", JULIET)
        assert attachment_node(post) == NodeAddress(
            JULIET,
            "urn:xmpp:pubsub-attachments:1/xmpp:juliet@capulet.lit?;"
            "node=urn%3Axmpp%3Amicroblog%3A0;item=balcony-restoration-afd1",
        )
        assert attachment_nodes(post) == (attachment_node(post),)
        assert summary_node(post.node) == NodeAddress(
            JULIET, "urn:xmpp:pubsub-attachments:summary:1/urn:xmpp:microblog:0"
        )

    def test_a_space_is_written_in_one_way_and_looked_up_in_two(self) -> None:
        post = place("my blog", "a + b")
        assert [each.node for each in attachment_nodes(post)] == [
            f"{PREFIX}pubsub.capulet.lit?;node=my%20blog;item=a%20%2B%20b",
            f"{PREFIX}pubsub.capulet.lit?;node=my+blog;item=a+%2B+b",
        ]
        assert attachment_node(post) == attachment_nodes(post)[0]

    @given(NAMES, NAMES)
    def test_any_name_comes_back_and_is_what_others_write(self, node: str, item: str) -> None:
        post = place(node, item)
        ours, *theirs = attachment_nodes(post)
        begin = f"{PREFIX}{SERVICE}?;node="
        assert ours.node == f"{begin}{quote(node, safe='')};item={quote(item, safe='')}"
        assert [each.node for each in theirs] == [
            f"{begin}{quote_plus(node)};item={quote_plus(item)}"
        ] * (" " in node + item)
        assert {parse_attachment_node(each) for each in (ours, *theirs)} == {post}

    def test_a_jid_is_written_as_in_uris(self) -> None:
        service = BareJid.parse("jürgen@verona.lit")
        post = place("blog", "1", service)
        assert attachment_node(post).node.startswith(f"{PREFIX}j%C3%BCrgen@verona.lit?;")
        assert parse_attachment_node(attachment_node(post)) == post

    @pytest.mark.parametrize(
        "name",
        [
            "urn:xmpp:microblog:0",
            "urn:xmpp:pubsub-attachments:1/",
            f"{PREFIX}pubsub.capulet.lit?;node=a",
            f"{PREFIX}pubsub.capulet.lit?;item=b;node=a",
            f"{PREFIX}pubsub.capulet.lit?;node=a;item=b;item=c",
            f"{PREFIX}pubsub.capulet.lit?pubsub;node=a;item=b",
            f"{PREFIX}pubsub.capulet.lit?;node=;item=b",
            f"{PREFIX}pubsub.capulet.lit?;node=a%3a;item=b",  # ours is %3A
            f"{PREFIX}pubsub.capulet.lit?;node=%61;item=b",
            f"{PREFIX}PubSub.capulet.lit?;node=a;item=b",
            f"{PREFIX}pubsub.capulet.lit?;node=a+b%20c;item=b",
            f"{PREFIX}pubsub.capulet.lit?;node=a%2;item=b",
            f"{PREFIX}pubsub.capulet.lit?;node=%FF;item=b",
            f"{PREFIX}pubsub.capulet.lit?;node=a;item=%00",
            f"{PREFIX}pubsub.capulet.lit?;node=ä;item=b",
            f"{PREFIX}pubsub.capulet.lit/x?;node=a;item=b",
            f"x{PREFIX}pubsub.capulet.lit?;node=a;item=b",
        ],
    )
    def test_an_item_has_no_attachments_under_another_name(self, name: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            parse_attachment_node(NodeAddress(SERVICE, name))
        assert caught.value.code == ErrorCode.MALFORMED

    def test_a_node_that_names_an_item_of_another_service(self) -> None:
        theirs = attachment_node(place("blog", "1", JULIET)).node
        with pytest.raises(PeerMisbehaved) as caught:
            parse_attachment_node(NodeAddress(SERVICE, theirs))
        assert caught.value.code == ErrorCode.CONTEXT_MISMATCH

    @pytest.mark.parametrize("item_id", ["", "\x00", "\ud800", " " * limits.MAX_NODE_CHARS])
    def test_a_name_that_cannot_be(self, item_id: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            attachment_node(place("blog", item_id))
        assert caught.value.code == ErrorCode.MALFORMED


class TestEffects:
    TARGET: NodeConfig = (
        ("pubsub#type", "http://www.w3.org/2005/Atom"),
        ("pubsub#access_model", "whitelist"),
        ("pubsub#publish_model", "open"),
        ("pubsub#max_items", "20"),
    )

    def test_the_node_follows_its_target(self) -> None:
        (create,) = attachment_effects(BLOG, self.TARGET, {ns.OX_PUBSUB})
        assert create == Create(
            attachment_node(BLOG),
            (
                ("pubsub#access_model", "whitelist"),
                ("pubsub#publish_model", "open"),
                ("pubsub#persist_items", "true"),
                ("pubsub#max_items", "max"),
            ),
        )
        assert remedy(create, "conflict") == (Configure(create.address, create.config),)

    def test_where_the_service_does_it_nobody_else_does(self) -> None:
        assert attachment_effects(BLOG, self.TARGET, {ns.PUBSUB_ATTACHMENTS}) == ()

    def test_a_node_is_never_created_with_the_service_s_own_access_model(self) -> None:
        with pytest.raises(ApiMisuse):
            attachment_effects(BLOG, self.TARGET[2:], ())


class TestAttachedBy:
    def arrival(self, item_id: str | None, sender: BareJid, service: BareJid = JULIET) -> Arrival:
        node = attachment_node(place("blog", "1", service))
        stood = None if item_id is None else ItemId(item_id)
        return Arrival(StanzaKind.ITEM, sender=Jid(sender, "x"), node=node, item_id=stood)

    @pytest.mark.parametrize("sender", [ROMEO, JULIET], ids=["the publisher", "the service"])
    def test_the_item_id_says_whose_it_is(self, sender: BareJid) -> None:
        """On Juliet's own service nobody can tell her from it; what is hers there is all of it."""
        assert attached_by(self.arrival("romeo@montague.lit", sender)) == ROMEO

    @pytest.mark.parametrize(
        ("item_id", "sender", "code"),
        [
            ("romeo@montague.lit", BareJid.parse("tybalt@capulet.lit"), "context-mismatch"),
            (None, ROMEO, "context-mismatch"),
            ("Romeo@montague.lit", ROMEO, "malformed"),
            ("romeo@montague.lit/balcony", ROMEO, "malformed"),
            ("", ROMEO, "malformed"),
            ("x y", ROMEO, "malformed"),
        ],
    )
    def test_an_item_that_is_nobody_s(
        self, item_id: str | None, sender: BareJid, code: str
    ) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            attached_by(self.arrival(item_id, sender))
        assert caught.value.code == code
