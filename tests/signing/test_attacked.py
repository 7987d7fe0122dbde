"""Who signed: signers, publishers and keys that do not belong together, and too many of them.

Rule: one attack each, made by whoever can make it, against a reader who knows all keys.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

from e2ee import ns
from e2ee.attachment_summary import Summary
from e2ee.attachments import Attachments
from e2ee.errors import ErrorCode
from e2ee.limits import MAX_SIGNATURES_PER_ITEM
from e2ee.names import BareJid
from e2ee.xmltree import element
from signing.elements import Signature
from signing.openpgp import seal_sign
from signing.policy import all_of, any_of, every_signature
from signing.profile import bare_item
from signing.readings import signed_bytes
from signing.signed_by import SignedBy, find_signatures
from signing.verdict import Verdict
from tests.support.forge import (
    forged,
    sign,
)
from tests.support.ox_world import refused
from tests.support.signed_items import (
    JULIET,
    NODE,
    Scene,
    item_of,
    own,
    post,
    refusal,
    rewritten,
    stated,
)


class TestWhoSigned:
    async def test_q_01_publisher_who_is_no_signer(self, scene: Scene) -> None:
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        assert refusal(await scene.verify(item, replace(genuine, publisher=scene.romeo.jid))) is (
            ErrorCode.SIGNER_MISMATCH
        )
        assert (await scene.verify(item, genuine)).require()

    async def test_q_01_key_of_somebody_else(self, scene: Scene) -> None:
        """Tybalt signs as Juliet, and gets it published in her name."""
        item = item_of(post("Kill Romeo"))
        forgery = scene.signed(scene.tybalt, item, stated(scene.juliet), as_=scene.juliet.jid)
        assert refusal(await scene.verify(item, forgery)) is ErrorCode.BAD_SIGNATURE

    async def test_q_01_key_with_the_name_of_somebody_else(self, scene: Scene) -> None:
        """Tybalt makes a key in Juliet's name; she never announced it."""
        item, statement = item_of(post("Kill Romeo")), stated(scene.juliet)
        data = signed_bytes(bare_item(item), NODE.service, statement)
        signature = Signature(statement, seal_sign(sign(forged(f"xmpp:{JULIET}").primary, data)))
        forgery = SignedBy(scene.juliet.jid, signature.to_xml())
        assert refusal(await scene.verify(item, forgery)) is ErrorCode.BAD_SIGNATURE

    async def test_q_13_the_service_publishes_in_the_name_of_its_victim(self, scene: Scene) -> None:
        item = item_of(post("Kill Romeo"))
        forgery = scene.signed(scene.tybalt, item, as_=scene.juliet.jid)
        assert refusal(await scene.verify(item, forgery)) is ErrorCode.SIGNER_MISMATCH
        assert (
            await scene.verify(item, forgery, policy=any_of(scene.juliet.jid))
        ).verdict is Verdict.INVALID

    async def test_q_13_a_stranger_s_own_signature_does_not_stand_for_the_author_s(
        self, scene: Scene
    ) -> None:
        """It is valid and trusted, and Tybalt's: who asks for the author is not fooled."""
        item = item_of(post("Kill Romeo"))
        found = await scene.verify(item, scene.signed(scene.tybalt, item))
        assert [each.signer for each in found.signers] == [scene.tybalt.jid]
        asked = any_of(scene.juliet.jid)
        found = await scene.verify(item, scene.signed(scene.tybalt, item), policy=asked)
        assert found.verdict is Verdict.UNSIGNED

    async def test_q_14_a_summary_is_no_signature(self, scene: Scene) -> None:
        claimed = element(ns.PUBSUB_SIGNING, "signature", None, own("signer", None, JULIET))
        raw = element(ns.PUBSUB_ATTACHMENTS_SUMMARY, "summary", None, claimed)
        assert Summary.from_xml(raw)
        item = item_of(post())
        assert refusal(await scene.verify(item, SignedBy(scene.juliet.jid, claimed))) is (
            ErrorCode.MALFORMED
        )


class TestSeveralSigners:
    async def test_q_02_one_is_missing_or_bad(self, scene: Scene) -> None:
        item, statement = item_of(post()), stated(scene.juliet, scene.romeo)
        juliet, romeo = (scene.signed(by, item, statement) for by in (scene.juliet, scene.romeo))
        forged_ = scene.signed(scene.tybalt, item, statement, as_=scene.romeo.jid)
        found = await scene.verify(item, juliet)
        assert found.verdict is Verdict.INVALID
        assert found.absent == {scene.romeo.jid}
        found = await scene.verify(item, juliet, forged_)
        assert (found.verdict, found.absent) == (Verdict.INVALID, frozenset())
        assert {each.signer: each.code for each in found.signers} == {
            scene.juliet.jid: None,
            scene.romeo.jid: ErrorCode.BAD_SIGNATURE,
        }
        named = any_of(scene.juliet.jid)
        assert (await scene.verify(item, juliet, forged_, policy=named)).verdict is Verdict.INVALID
        assert (await scene.verify(item, romeo, juliet)).require()

    async def test_q_02_one_is_added(self, scene: Scene) -> None:
        """Tybalt writes himself into what they signed, or beside it."""
        item, statement = item_of(post()), stated(scene.juliet, scene.romeo)
        given = [scene.signed(by, item, statement) for by in (scene.juliet, scene.romeo)]
        joined = replace(statement, signers=(*statement.signers, scene.tybalt.jid))
        found = await scene.verify(item, *given, scene.signed(scene.tybalt, item, joined))
        assert found.verdict is Verdict.INVALID
        assert found.absent == {scene.juliet.jid, scene.romeo.jid}
        beside = replace(scene.signed(scene.tybalt, item, statement), publisher=scene.tybalt.jid)
        found = await scene.verify(item, *given, beside)
        assert found.verdict is Verdict.INVALID
        assert found.signers[-1].code is ErrorCode.SIGNER_MISMATCH
        named = any_of(scene.juliet.jid)
        assert (await scene.verify(item, *given, beside, policy=named)).require()

    async def test_q_02_one_is_listed_or_attached_twice(self, scene: Scene) -> None:
        item, statement = item_of(post()), stated(scene.juliet)
        genuine = scene.signed(scene.juliet, item, statement)
        time, signer, _ = genuine.signature.elements
        assert refusal(await scene.verify(item, rewritten(genuine, time, signer, signer))) is (
            ErrorCode.MALFORMED
        )
        found = await scene.verify(item, genuine, genuine)
        assert found.verdict is Verdict.INVALID
        assert {each.code for each in found.signers} == {ErrorCode.MALFORMED}

    async def test_x_16_two_signatures_of_one_signer(self, scene: Scene) -> None:
        """Nobody can say which of them counts, also where only one of them is good."""
        item = item_of(post())
        good = scene.signed(scene.juliet, item)
        bad = scene.signed(scene.tybalt, item, stated(scene.juliet))
        raw = element(ns.PUBSUB_ATTACHMENTS, "attachments", None, bad.signature, good.signature)
        found = find_signatures(scene.juliet.jid, Attachments.from_xml(raw))
        assert [each.signature for each in found] == [bad.signature, good.signature]
        for order in permutations(found):
            for policy in (every_signature(), any_of(scene.juliet.jid)):
                assert (await scene.verify(item, *order, policy=policy)).verdict is Verdict.INVALID

    async def test_q_02_their_order_is_signed(self, scene: Scene) -> None:
        item, statement = item_of(post()), stated(scene.juliet, scene.romeo)
        genuine = scene.signed(scene.juliet, item, statement)
        time, juliet, romeo, _ = genuine.signature.elements
        found = await scene.verify(item, rewritten(genuine, time, romeo, juliet))
        assert found.signers[0].code is ErrorCode.BAD_SIGNATURE

    async def test_q_02_another_order_is_another_statement(self, scene: Scene) -> None:
        item, statement = item_of(post()), stated(scene.juliet, scene.romeo)
        turned = replace(statement, signers=statement.signers[::-1])
        given = scene.signed(scene.juliet, item, statement), scene.signed(scene.romeo, item, turned)
        found = await scene.verify(item, *given)
        assert found.verdict is Verdict.INVALID
        assert found.absent == {scene.juliet.jid, scene.romeo.jid}
        assert {each.verdict for each in found.signers} == {Verdict.TRUSTED}

    async def test_q_02_another_time_is_another_statement(self, scene: Scene) -> None:
        item, statement = item_of(post()), stated(scene.juliet, scene.romeo)
        later = stated(scene.juliet, scene.romeo, time=statement.time + timedelta(seconds=1))
        given = scene.signed(scene.juliet, item, statement), scene.signed(scene.romeo, item, later)
        assert (await scene.verify(item, *given)).absent == {scene.juliet.jid, scene.romeo.jid}


class TestCost:
    async def test_q_17_no_more_signatures_than_can_be_looked_at(self, scene: Scene) -> None:
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        strangers = [BareJid.parse(f"page{number}@verona.lit") for number in range(1000)]
        flood = [replace(genuine, publisher=jid) for jid in strangers]
        async with refused(ErrorCode.LIMIT_EXCEEDED, scene.nurse):
            await scene.verify(item, genuine, *flood)
        full = [genuine, *flood[: MAX_SIGNATURES_PER_ITEM - 1]]
        named = any_of(scene.juliet.jid)
        found = await scene.verify(item, *full, policy=named)
        assert found.require()
        assert found.left_out == 0

    async def test_q_17_strangers_are_left_out_where_signers_are_named(self, scene: Scene) -> None:
        """Also where they are listed, or list others: room is made for who signed with Juliet."""
        item, statement = item_of(post()), stated(scene.juliet, scene.romeo)
        genuine = [scene.signed(by, item, statement) for by in (scene.juliet, scene.romeo)]
        flood = [
            replace(genuine[number % 2], publisher=BareJid.parse(f"page{number}@verona.lit"))
            for number in range(1000)
        ]
        for policy in (any_of(scene.juliet.jid), all_of(scene.juliet.jid, scene.romeo.jid)):
            found = await scene.verify(item, *flood, *genuine, policy=policy)
            assert found.require()
            assert len(found.signers) == MAX_SIGNATURES_PER_ITEM
            assert found.left_out == len(flood) + 2 - MAX_SIGNATURES_PER_ITEM
        assert found.absent == frozenset()

    async def test_q_17_one_account_with_many_signatures_spoils_its_own(self, scene: Scene) -> None:
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        junk = Attachments(others=(own("signature"),) * 65)
        found = find_signatures(scene.tybalt.jid, junk)
        assert len(found) == 2, "which say that there is one too many"
        for attached in (found, [SignedBy(scene.tybalt.jid, own("signature"))] * 65):
            named = any_of(scene.juliet.jid)
            assert (await scene.verify(item, *attached, genuine, policy=named)).require()
            result = await scene.verify(item, *attached, genuine)
            assert result.verdict is Verdict.INVALID
            assert len(result.signers) == 3

    async def test_q_17_more_signers_than_can_be_looked_at_are_too_many(self, scene: Scene) -> None:
        """Those who count, and those whom they list; nobody else can bring it about."""
        item = item_of(post())
        pages = [BareJid.parse(f"page{number}@verona.lit") for number in range(64)]
        listing = replace(stated(scene.juliet), signers=(scene.juliet.jid, *pages[:63]))
        genuine = scene.signed(scene.juliet, item, listing)
        beside = [replace(genuine, publisher=page) for page in pages]
        found = await scene.verify(item, genuine, *beside, policy=any_of(scene.juliet.jid))
        assert (found.left_out, len(found.signers)) == (1, 64)
        async with refused(ErrorCode.LIMIT_EXCEEDED, scene.nurse):
            named = any_of(scene.juliet.jid, pages[63])
            await scene.verify(item, genuine, *beside, policy=named)
