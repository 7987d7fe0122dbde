"""Encrypted attachments: who reads them, what is refused, and how access follows the node."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.attachment_nodes import attachment_node
from e2ee.attachment_summary import summarise
from e2ee.attachments import Attachments, Noticed, Reactions
from e2ee.effects import (
    Affiliate,
    Affiliation,
    Create,
    Delete,
    Effect,
    Retract,
    Send,
    Unsubscribe,
)
from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, ItemId, ItemPlace, Jid, NodeAddress
from e2ee.outbox import PREDECESSOR_FAILED
from e2ee.storage import Put
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.attachment_register import (
    AttachmentNode,
    AttachmentRegister,
    load_nodes,
    load_register,
    save_node,
    save_register,
)
from pubsub_encryption.attachments import (
    decrypt_attachments,
    decrypt_many_attachments,
    encrypt_attachments,
)
from pubsub_encryption.items import Authorship, UnreadableItem
from pubsub_encryption.node_secret import SecretState
from tests.support.blog import Stage
from tests.support.node_world import after_every_cancellation, entry, stood_in
from tests.support.ox_world import dump, refused
from tests.support.xml import nested

FROZEN = Path(__file__).parent.parent / "frozen"
SIGNATURE = element(ns.PUBSUB_SIGNING, "signature", {}, "theirs")
MARKS = Attachments(Noticed(), Reactions(("🔨",)), (SIGNATURE,))


def target(stage: Stage, item_id: str = "post") -> ItemPlace:
    return ItemPlace(stage.blog, ItemId(item_id))


def stood_at(stage: Stage, name: str = "romeo", item_id: str = "post") -> Arrival:
    """Return where somebody's attachments to a post stood; the service names them as publisher."""
    jid = stage[name].jid
    return stood_in(attachment_node(target(stage, item_id)), jid, str(jid))


async def code_of(stage: Stage, payload: Element, arrival: Arrival | None = None) -> ErrorCode:
    """Return why Juliet cannot read attachments."""
    with pytest.raises(E2eeError) as caught:
        await decrypt_attachments(stage.owner, payload, arrival or stood_at(stage))
    return caught.value.code


class TestBothWays:
    async def test_a_member_attaches_and_everybody_reads(self) -> None:
        stage = await Stage.set("romeo", "nurse")
        payload = await encrypt_attachments(stage.node("romeo"), MARKS)
        crossed = parse_xml(write_xml(payload).encode())
        for name in ("juliet", "romeo", "nurse"):
            opened = await decrypt_attachments(stage.node(name), crossed, stood_at(stage))
            assert (opened.attachments.noticed, opened.attachments.reactions) == (
                MARKS.noticed,
                MARKS.reactions,
            )
            assert opened.attachments.others[0].same_content(SIGNATURE)
            assert (opened.place, opened.publisher) == (target(stage), stage["romeo"].jid)
            assert opened.arrival == stood_at(stage)
            assert opened.authorship is Authorship.NODE_KEY_HOLDER
            assert opened.secret_state is SecretState.ACTIVE

    async def test_the_service_sees_what_it_must_and_no_more(self) -> None:
        stage = await Stage.set("romeo")
        payload = await encrypt_attachments(stage.node("romeo"), MARKS)
        assert payload.is_(ns.PUBSUB_ATTACHMENTS, "attachments")
        (encrypted,) = payload.children
        assert isinstance(encrypted, Element)
        assert encrypted.is_(ns.OX_PUBSUB, "encrypted")
        assert not re.search("noticed|reaction|🔨|signature|theirs", write_xml(payload))

    async def test_the_plain_text_is_attachments(self) -> None:
        stage = await Stage.set("romeo")
        payload = await encrypt_attachments(stage.node("romeo"), MARKS)
        opened = await stage.owner.decrypt(payload.elements[0], stood_in(stage.blog))
        assert opened.payload.is_(ns.PUBSUB_ATTACHMENTS, "attachments")

    async def test_they_are_summarised_locally(self) -> None:
        stage = await Stage.set("romeo", "nurse")
        attached = []
        for name in ("romeo", "nurse"):
            payload = await encrypt_attachments(stage.node(name), MARKS)
            opened = await decrypt_attachments(stage.owner, payload, stood_at(stage, name))
            attached.append((opened.publisher, opened.attachments))
        counted = summarise(attached)
        assert (counted.noticed, counted.reactions) == (2, (("🔨", 2),))
        assert counted.signers == (stage["romeo"].jid, stage["nurse"].jid)

    async def test_q_16_the_unknown_survives_reading_changing_and_encrypting(self) -> None:
        stage = await Stage.set("romeo")
        romeo = stage.node("romeo")
        opened = await decrypt_attachments(
            romeo, await encrypt_attachments(romeo, MARKS), stood_at(stage)
        )
        changed = opened.attachments.with_noticed(None)
        again = await decrypt_attachments(
            romeo, await encrypt_attachments(romeo, changed), stood_at(stage)
        )
        assert again.attachments == changed
        assert again.attachments.others[0].same_content(SIGNATURE)

    async def test_a_bad_one_never_spoils_the_page(self) -> None:
        stage = await Stage.set("romeo", "nurse")
        good = await encrypt_attachments(stage.node("romeo"), MARKS)
        page = [
            (MARKS.to_xml(), stood_at(stage, "nurse")),
            (good, stood_at(stage, "romeo")),
            (good, stood_in(stage.blog)),
            (good, stood_at(stage, "nurse")),
        ]
        results = await decrypt_many_attachments(stage.owner, page)
        assert [
            str(each.error.code) if isinstance(each, UnreadableItem) else str(each.publisher)
            for each in results
        ] == ["not-encrypted", "romeo@capulet.lit", "malformed", "nurse@capulet.lit"]
        assert [each.arrival for each in results] == [arrival for _, arrival in page]
        assert await decrypt_many_attachments(stage.owner, []) == ()

    async def test_a_secret_that_is_missing_is_named(self) -> None:
        stage = await Stage.set("romeo", others=("tybalt",))
        payload = await encrypt_attachments(stage.node("romeo"), MARKS)
        with pytest.raises(E2eeError) as caught:
            await decrypt_attachments(stage.node("tybalt"), payload, stood_at(stage))
        assert caught.value.code == ErrorCode.UNKNOWN_SECRET
        async with refused(ErrorCode.NO_ACTIVE_SECRET, stage["tybalt"]):
            await encrypt_attachments(stage.node("tybalt"), MARKS)

    async def test_x_08_too_deep_for_their_item_they_are_not_written(self) -> None:
        stage = await Stage.set("romeo")
        deepest = Attachments(others=(nested(limits.MAX_PAYLOAD_DEPTH - 1),))
        payload = await encrypt_attachments(stage.node("romeo"), deepest)
        assert (await decrypt_attachments(stage.owner, payload, stood_at(stage))).attachments
        async with refused(ErrorCode.LIMIT_EXCEEDED, stage["romeo"]):
            deeper = Attachments(others=(nested(limits.MAX_PAYLOAD_DEPTH),))
            await encrypt_attachments(stage.node("romeo"), deeper)

    async def test_they_are_encrypted_once(self) -> None:
        stage = await Stage.set("romeo")
        payload = await encrypt_attachments(stage.owner, MARKS)
        with pytest.raises(ApiMisuse):
            await encrypt_attachments(stage.owner, Attachments.from_xml(payload))
        twice = element(
            ns.PUBSUB_ATTACHMENTS, "attachments", {}, await stage.owner.encrypt(payload)
        )
        assert await code_of(stage, twice) == ErrorCode.MALFORMED


class TestPlacement:
    async def test_n_17_both_placements_are_read_and_nothing_else(self) -> None:
        stage = await Stage.set("romeo")
        payload = await encrypt_attachments(stage.node("romeo"), MARKS)
        (encrypted,) = payload.elements
        bare = await decrypt_attachments(stage.owner, encrypted, stood_at(stage))
        spaced = await decrypt_attachments(
            stage.owner,
            element(ns.PUBSUB_ATTACHMENTS, "attachments", {}, "\n ", encrypted, "\n"),
            stood_at(stage),
        )
        assert bare == spaced
        refused_ones = {
            "in clear": (Noticed().to_xml(),),
            "empty": (),
            "beside clear text": (encrypted, Noticed().to_xml()),
            "after clear text": (SIGNATURE, encrypted),
            "twice": (encrypted, encrypted),
            "with text": ("x", encrypted),
            "one level down": (element("urn:example:x", "x", {}, encrypted),),
        }
        codes = {
            name: await code_of(stage, element(ns.PUBSUB_ATTACHMENTS, "attachments", {}, *children))
            for name, children in refused_ones.items()
        }
        assert codes == {
            "in clear": ErrorCode.NOT_ENCRYPTED,
            "empty": ErrorCode.NOT_ENCRYPTED,
            "beside clear text": ErrorCode.MALFORMED,
            "after clear text": ErrorCode.MALFORMED,
            "twice": ErrorCode.MALFORMED,
            "with text": ErrorCode.MALFORMED,
            "one level down": ErrorCode.NOT_ENCRYPTED,
        }
        for namespace in ("", ns.PUBSUB, "urn:xmpp:pubsub-attachments:0"):
            foreign = element(namespace, "attachments", {}, encrypted)
            assert await code_of(stage, foreign) == ErrorCode.NOT_ENCRYPTED

    async def test_n_17_a_post_is_not_taken_for_attachments(self) -> None:
        """What stands where is the service's word: any ciphertext of the node may be put here."""
        stage = await Stage.set("romeo")
        post = await stage.owner.encrypt(entry("a post"))
        wrapped = element(ns.PUBSUB_ATTACHMENTS, "attachments", {}, post)
        assert await code_of(stage, post) == ErrorCode.MALFORMED
        assert await code_of(stage, wrapped) == ErrorCode.MALFORMED

    async def test_n_13_attachments_stand_where_their_target_is_named(self) -> None:
        stage = await Stage.set("romeo")
        payload = await encrypt_attachments(stage.node("romeo"), MARKS)
        romeo, nurse = stage["romeo"].jid, BareJid.parse("nurse@capulet.lit")
        home = attachment_node(target(stage))
        other_node = NodeAddress(stage.blog.service, "diary")
        elsewhere = {
            stood_in(stage.blog, romeo, str(romeo)): ErrorCode.MALFORMED,
            stood_in(
                attachment_node(ItemPlace(other_node, ItemId("post"))), romeo, str(romeo)
            ): ErrorCode.CONTEXT_MISMATCH,
            stood_in(NodeAddress(nurse, home.node), romeo, str(romeo)): ErrorCode.CONTEXT_MISMATCH,
            stood_in(home, nurse, str(romeo)): ErrorCode.CONTEXT_MISMATCH,
            stood_in(home, romeo, "1"): ErrorCode.CONTEXT_MISMATCH,
            stood_in(home, romeo, f"{romeo}/balcony"): ErrorCode.MALFORMED,
            Arrival(StanzaKind.ITEM, Jid(romeo), node=home): ErrorCode.CONTEXT_MISMATCH,
            Arrival(StanzaKind.MESSAGE, Jid(romeo)): ErrorCode.CONTEXT_MISMATCH,
        }
        for arrival, code in elsewhere.items():
            assert await code_of(stage, payload, arrival) == code
        named_by_nobody = stood_in(home, None, str(romeo))
        opened = await decrypt_attachments(stage.owner, payload, named_by_nobody)
        assert opened.publisher == romeo


class TestAccess:
    FEATURES = (ns.PUBSUB, ns.OX_PUBSUB)

    async def opened(self, *members: str) -> tuple[Stage, NodeAddress]:
        """Return a blog one post of which has an attachment node."""
        stage = await Stage.set(*members, others=("nurse",))
        await stage.owner.open_attachments(ItemId("post"), self.FEATURES)
        return stage, attachment_node(target(stage))

    async def test_it_is_created_as_the_node_is_with_its_people(self) -> None:
        stage = await Stage.set("romeo", "tybalt")
        await stage.owner.grant(stage["tybalt"].jid, may_publish=True)
        await stage.deliver()
        await stage.owner.open_attachments(ItemId("post"), self.FEATURES)
        node = attachment_node(target(stage))
        assert await stage.deliver() == [
            Create(
                node,
                (
                    ("pubsub#access_model", "whitelist"),
                    ("pubsub#persist_items", "true"),
                    ("pubsub#max_items", "max"),
                ),
            ),
            Affiliate(node, stage["romeo"].jid, Affiliation.MEMBER),
            Affiliate(node, stage["tybalt"].jid, Affiliation.PUBLISHER),
        ]
        await stage.owner.open_attachments(ItemId("post"), self.FEATURES)
        assert await stage.deliver() == []

    async def test_where_the_service_does_it_nothing_is_queued(self) -> None:
        stage = await Stage.set("romeo")
        await stage.owner.open_attachments(ItemId("post"), (ns.PUBSUB_ATTACHMENTS,))
        await stage.owner.grant(stage["romeo"].jid, may_publish=True)
        assert await stage.deliver() == [
            Affiliate(stage.blog, stage["romeo"].jid, Affiliation.PUBLISHER)
        ]

    async def test_a_grant_goes_to_every_attachment_node(self) -> None:
        stage, node = await self.opened("romeo")
        await stage.owner.open_attachments(ItemId("another post"), self.FEATURES)
        await stage.deliver()
        nurse = stage["nurse"].jid
        await stage.owner.grant(nurse, may_publish=True)
        effects = await stage.deliver()
        nodes = [stage.blog, *sorted([node, attachment_node(target(stage, "another post"))])]
        assert effects[:3] == [Affiliate(each, nurse, Affiliation.PUBLISHER) for each in nodes]
        assert {type(effect) for effect in effects[3:]} == {Send}
        await stage.owner.grant(nurse)
        assert await stage.deliver() == [
            Affiliate(each, nurse, Affiliation.MEMBER) for each in nodes
        ]
        await stage.owner.open_attachments(ItemId("third"), self.FEATURES)
        third = attachment_node(target(stage, "third"))
        assert Affiliate(third, nurse, Affiliation.MEMBER) in await stage.deliver()

    async def test_n_12_a_revocation_goes_to_every_attachment_node(self) -> None:
        stage, node = await self.opened("romeo", "tybalt")
        romeo, tybalt = stage["romeo"].jid, stage["tybalt"].jid
        await stage.owner.grant(tybalt, may_publish=True)
        await stage.deliver()
        await stage.owner.rotate(revoke={tybalt})
        effects = await stage.deliver()
        expected: list[Effect] = []
        for each in (stage.blog, node):
            expected += [Unsubscribe(each, tybalt), Affiliate(each, tybalt, Affiliation.NONE)]
        assert effects[:4] == expected
        assert {type(effect) for effect in effects[4:]} == {Send}
        await stage.owner.open_attachments(ItemId("later"), self.FEATURES)
        later = attachment_node(target(stage, "later"))
        _, *access = await stage.deliver()
        assert access == [Affiliate(later, romeo, Affiliation.MEMBER)]
        payload = await encrypt_attachments(stage.node("romeo"), MARKS)
        with pytest.raises(E2eeError) as caught:
            await decrypt_attachments(stage.node("tybalt"), payload, stood_at(stage))
        assert caught.value.code == ErrorCode.UNKNOWN_SECRET

    async def test_whoever_comes_back_to_read_does_not_publish(self) -> None:
        stage, _ = await self.opened("romeo")
        romeo = stage["romeo"].jid
        await stage.owner.grant(romeo, may_publish=True)
        await stage.owner.rotate(revoke={romeo})
        await stage.owner.grant(romeo)
        await stage.deliver()
        await stage.owner.open_attachments(ItemId("later"), self.FEATURES)
        _, *access = await stage.deliver()
        later = attachment_node(target(stage, "later"))
        assert access == [Affiliate(later, romeo, Affiliation.MEMBER)]

    async def test_what_follows_waits_until_it_is_open(self) -> None:
        stage = await Stage.set("romeo")
        node = attachment_node(target(stage))
        item, attached = (Retract(address, ItemId("post")) for address in (stage.blog, node))
        await stage.owner.open_attachments(ItemId("post"), self.FEATURES, then=[item, attached])
        outbox = stage.juliet.outbox
        create, member, *rest = [job.effect for job in await outbox.pending()]
        assert isinstance(create, Create)
        assert isinstance(member, Affiliate)
        assert rest == [item, attached]
        await outbox.failed((await outbox.pending())[0].id, "forbidden")
        assert await outbox.pending() == ()
        conditions = [each.condition for each in await outbox.refused()]
        assert conditions == ["forbidden", *[PREDECESSOR_FAILED] * 3]

    async def test_what_follows_is_queued_where_nothing_need_be_opened(self) -> None:
        """Whoever may publish can then sign, too, and not the owner alone."""
        stage = await Stage.set("romeo")
        romeo = stage["romeo"]
        item = Retract(stage.blog, ItemId("post"))
        theirs = stage.node("romeo")
        await theirs.open_attachments(ItemId("post"), (ns.PUBSUB_ATTACHMENTS,), then=[item])
        assert await romeo.flush() == [item]

    async def test_one_that_is_closed_is_followed_no_more(self) -> None:
        stage, node = await self.opened("romeo")
        await stage.deliver()
        retraction = Retract(stage.blog, ItemId("post"))
        await stage.owner.close_attachments(ItemId("post"), after=[retraction])
        assert await stage.deliver() == [retraction, Delete(node)]
        await stage.owner.attachments_settled(Delete(node))
        await stage.owner.close_attachments(ItemId("post"))
        await stage.owner.grant(stage["romeo"].jid, may_publish=True)
        assert await stage.deliver() == [
            Affiliate(stage.blog, stage["romeo"].jid, Affiliation.PUBLISHER)
        ]
        await stage.owner.close_attachments(ItemId("post"), after=[retraction])
        assert await stage.deliver() == [retraction]

    async def test_n_12_who_is_removed_is_removed_where_a_deletion_was_refused(self) -> None:
        stage, node = await self.opened("romeo", "tybalt")
        await stage.owner.close_attachments(ItemId("post"))
        await stage.deliver()  # in vain, for all that is known: nobody says that it is gone
        romeo, tybalt = stage["romeo"].jid, stage["tybalt"].jid
        await stage.owner.grant(romeo, may_publish=True)
        assert await stage.deliver() == [Affiliate(stage.blog, romeo, Affiliation.PUBLISHER)]
        await stage.owner.rotate(revoke={tybalt})
        effects = await stage.deliver()
        assert effects[2:4] == [
            Unsubscribe(node, tybalt),
            Affiliate(node, tybalt, Affiliation.NONE),
        ]
        await stage.owner.close_attachments(ItemId("post"))
        assert await stage.deliver() == [Delete(node)]

    async def test_one_that_is_closing_can_be_opened_again(self) -> None:
        stage, node = await self.opened("romeo")
        await stage.owner.close_attachments(ItemId("post"))
        await stage.owner.open_attachments(ItemId("post"), self.FEATURES)
        await stage.owner.attachments_settled(Delete(node))  # the one of before
        await stage.deliver()
        await stage.owner.rotate(revoke={stage["romeo"].jid})
        assert Unsubscribe(node, stage["romeo"].jid) in await stage.deliver()

    async def test_one_that_could_not_be_made_is_none_of_ours(self) -> None:
        stage, node = await self.opened("romeo")
        await stage.deliver()
        await stage.owner.attachments_settled(Create(node))
        await stage.owner.rotate(revoke={stage["romeo"].jid})
        assert not any(getattr(effect, "address", None) == node for effect in await stage.deliver())
        await stage.owner.attachments_settled(Create(node))
        await stage.owner.attachments_settled(Delete(node))

    async def test_nobody_but_the_owner_opens_them(self) -> None:
        stage = await Stage.set("romeo")
        async with refused(ErrorCode.NOT_OWNER, stage["romeo"]):
            await stage.node("romeo").open_attachments(ItemId("post"), self.FEATURES)

    async def test_there_are_only_so_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "MAX_ATTACHMENT_NODES", 2)
        stage, _ = await self.opened()
        await stage.owner.open_attachments(ItemId("2"), self.FEATURES)
        await stage.owner.open_attachments(ItemId("2"), self.FEATURES)
        async with refused(ErrorCode.LIMIT_EXCEEDED, stage.juliet):
            await stage.owner.open_attachments(ItemId("3"), self.FEATURES)
        await stage.owner.close_attachments(ItemId("2"))
        await stage.owner.attachments_settled(Delete(attachment_node(target(stage, "2"))))
        await stage.owner.open_attachments(ItemId("3"), self.FEATURES)

    async def test_to_open_one_costs_as_much_beside_many(self) -> None:
        stage, _ = await self.opened("romeo")
        sizes = []
        for number in range(20):
            before = await dump(stage.juliet.store)
            await stage.owner.open_attachments(ItemId(f"{number:02}"), self.FEATURES)
            await stage.deliver()
            after = await dump(stage.juliet.store)
            sizes.append(sum(len(after[key]) for key in after if after[key] != before.get(key)))
        assert max(sizes) - min(sizes) < 32  # counts have more digits

    async def test_wherever_it_is_cancelled_all_of_it_is_queued_or_nothing(self) -> None:
        stage = await Stage.set("romeo")
        unchanged, changed = await after_every_cancellation(
            stage.juliet,
            lambda copy: copy.node(stage.blog).open_attachments(ItemId("post"), self.FEATURES),
        )
        assert unchanged
        for copy in changed:
            assert len(await copy.flush()) == 2


class TestRegister:
    BLOG = NodeAddress(BareJid.parse("juliet@capulet.lit"), "blog")
    REGISTER = AttachmentRegister(
        BLOG,
        2,
        frozenset({BareJid.parse("romeo@montague.lit"), BareJid.parse("nurse@capulet.lit")}),
    )
    NODES = (
        AttachmentNode(NodeAddress(BLOG.service, "urn:x/another post"), is_closing=True),
        AttachmentNode(NodeAddress(BLOG.service, "urn:x/post")),
    )

    def stored(self, stage: Stage) -> list[Put]:
        ox = stage.juliet.ox
        nodes = [save_node(ox, self.BLOG, node) for node in self.NODES]
        return [save_register(ox, self.REGISTER), *nodes]

    async def put(self, stage: Stage, *puts: Put) -> None:
        async with stage.juliet.store.exclusive(stage.juliet.ox.scope) as tx:
            await tx.commit(puts)

    async def test_what_the_first_format_kept_is_read(self) -> None:
        stage = await Stage.set()
        register, *nodes = self.stored(stage)
        assert register.value == (FROZEN / "attachment-register-1.json").read_bytes()
        raw = (FROZEN / "attachment-nodes-1.jsonl").read_bytes()
        assert b"".join(put.value + b"\n" for put in nodes) == raw
        await self.put(stage, register, *nodes)
        ox = stage.juliet.ox
        async with stage.juliet.store.exclusive(ox.scope) as tx:
            assert await load_register(tx, ox, stage.blog) == self.REGISTER
            assert await load_nodes(tx, ox, stage.blog) == self.NODES

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"kind":"', b'"kind":"x'),
            (b'"format":1', b'"format":0'),
            (b'"node":"blog"', b'"node":"diary"'),
            (b'"node":"blog"', b'"node":1'),
            (b'"count":2', b'"count":true'),
            (b'"count":2', b'"count":-1'),
            (b'"count":2', b'"count":"2"'),
            (b'"romeo@montague.lit"', b'"Romeo@montague.lit"'),
            (b'"romeo@montague.lit"', b'"@"'),
            (b'"romeo@montague.lit"', b'"romeo@montague.lit","romeo@montague.lit"'),
            (b'{"count"', b'{"f":1,"count"'),
            (b'"publishers"', b'"items"'),
            (b"}", b""),
        ],
    )
    async def test_r_04_one_that_is_not_exactly_as_written_is_refused(
        self, old: bytes, new: bytes
    ) -> None:
        stage = await Stage.set()
        register, *_ = self.stored(stage)
        assert old in register.value
        await self.put(stage, Put(register.key, register.value.replace(old, new, 1)))
        await self.corrupt(stage)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"kind":"', b'"kind":"x'),
            (b'"format":1', b'"format":0'),
            (b'"node":"urn:x/post"', b'"node":"urn:x/other"'),
            (b'"of":"blog"', b'"of":"diary"'),
            (b'"closing":false', b'"closing":0'),
            (b'"closing":false', b'"opening":false'),
            (b"}", b""),
        ],
    )
    async def test_r_04_nor_is_a_node_of_it(self, old: bytes, new: bytes) -> None:
        stage = await Stage.set()
        *others, node = self.stored(stage)
        assert old in node.value
        await self.put(stage, *others, Put(node.key, node.value.replace(old, new, 1)))
        await self.corrupt(stage)

    async def test_r_04_nodes_without_their_count_are_refused(self) -> None:
        stage = await Stage.set()
        _, *nodes = self.stored(stage)
        await self.put(stage, *nodes)
        await self.corrupt(stage)

    async def corrupt(self, stage: Stage) -> None:
        with pytest.raises(StoreFailed) as caught:
            await stage.owner.grant(BareJid.parse("romeo@montague.lit"))
        assert caught.value.code is ErrorCode.STORE_CORRUPT

    async def test_r_04_one_from_a_newer_release_is_left_alone(self) -> None:
        stage = await Stage.set()
        register, node, *_ = self.stored(stage)
        newer = [
            Put(put.key, put.value.replace(b'"format":1', b'"format":2'))
            for put in (register, node)
        ]
        for puts in ([newer[0]], [register, newer[1]]):
            await self.put(stage, *puts)
            async with refused(ErrorCode.STORE_TOO_NEW, stage.juliet):
                await stage.owner.rotate()
