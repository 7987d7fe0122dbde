"""Signing beside somebody who signed first: what we join in, and what we do not.

Rule: whatever the first signer asks for, we sign nothing that its reader was not shown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import ns
from e2ee.errors import DataMissing, ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.history import Sighting
from e2ee.trust import ManualTrust
from e2ee.xmltree import Attribute, Element, element
from signing import ItemSignatures, SignedBy
from signing.elements import Signature
from signing.policy import any_of, every_signature
from signing.readings import Reading
from signing.verdict import Verdict
from tests.support.ox_world import refused
from tests.support.signed_items import (
    NODE,
    PLACE,
    Scene,
    at,
    item_of,
    post,
    stated,
    xml_of,
)


class TestTogether:
    """Juliet signs and wants Romeo to sign, too; he does."""

    async def asked(self, scene: Scene) -> tuple[Element, SignedBy]:
        signatures = ItemSignatures(scene.juliet.ox)
        signed = await signatures.sign(post(), NODE, beside=[scene.romeo.jid])
        return item_of(signed.payload), SignedBy(scene.juliet.jid, signed.signature)

    async def co_signed(self, scene: Scene, item: Element, first: SignedBy) -> SignedBy:
        signatures = ItemSignatures(scene.romeo.ox)
        made = await signatures.co_sign(item, PLACE, first.signature, first.publisher)
        return SignedBy(scene.romeo.jid, made)

    async def test_both_signed_the_same(self, scene: Scene) -> None:
        item, first = await self.asked(scene)
        second = await self.co_signed(scene, item, first)
        statements = {Signature.from_xml(each.signature).statement for each in (first, second)}
        assert len(statements) == 1
        for policy in (every_signature(), any_of(scene.romeo.jid), any_of(scene.juliet.jid)):
            found = await scene.verify(item, first, second, policy=policy)
            assert (found.verdict, found.absent) == (Verdict.TRUSTED, frozenset())

    async def test_as_long_as_one_is_absent_it_does_not_count(self, scene: Scene) -> None:
        item, first = await self.asked(scene)
        found = await scene.verify(item, first)
        assert found.verdict is Verdict.INVALID
        assert found.absent == {scene.romeo.jid}
        assert found.signers[0].verdict is Verdict.TRUSTED
        second = await self.co_signed(scene, item, first)
        found = await scene.verify(item, second)
        assert found.verdict is Verdict.INVALID
        assert found.absent == {scene.juliet.jid}

    async def test_who_signs_beside_the_first_may_take_days(self, scene: Scene) -> None:
        item = item_of(post())
        asked = datetime.now(UTC) - timedelta(days=3)
        statement = stated(scene.juliet, scene.romeo, time=asked)
        given = (
            scene.signed(scene.juliet, item, statement, made=asked),
            scene.signed(scene.romeo, item, statement),
        )
        found = await scene.verify(item, *given)
        assert [each.doubts for each in found.signers] == [frozenset(), frozenset()]

    @pytest.mark.parametrize("reading", Reading)
    async def test_the_same_bytes_are_signed_whatever_the_reading(
        self, scene: Scene, reading: Reading
    ) -> None:
        item = item_of(post())
        statement = stated(scene.juliet, scene.romeo)
        first = scene.signed(scene.juliet, item, statement, reading=reading)
        second = await self.co_signed(scene, item, first)
        found = await scene.verify(item, first, second)
        assert found.verdict is Verdict.TRUSTED
        assert {each.reading for each in found.signers} == {
            Reading.STRICT if reading is Reading.LIBERVIA else reading  # equal bytes here
        }

    async def test_who_is_not_listed_signs_nothing(self, scene: Scene) -> None:
        item = item_of(post())
        for statement, by in (
            (stated(scene.juliet), scene.juliet),
            (stated(scene.juliet, scene.tybalt), scene.juliet),
            (stated(scene.tybalt, scene.juliet, scene.romeo), scene.juliet),  # not the first
            (stated(scene.romeo, scene.juliet), scene.juliet),  # ours are the time and the list
        ):
            first = scene.signed(by, item, statement)
            with pytest.raises(PeerMisbehaved) as caught:
                await self.co_signed(scene, item, first)
            assert caught.value.code is ErrorCode.SIGNER_MISMATCH

    async def test_nothing_else_than_what_was_signed_first(self, scene: Scene) -> None:
        _, first = await self.asked(scene)
        with pytest.raises(PeerMisbehaved) as caught:
            await self.co_signed(scene, item_of(post("Deny thy mother")), first)
        assert caught.value.code is ErrorCode.BAD_SIGNATURE

    async def test_nothing_that_reads_in_two_ways(self, scene: Scene) -> None:
        for text in ("<v xmlns='urn:x'> pay 10</v>", "<v xmlns='urn:x' xmlns:y='urn:y' t='y:z'/>"):
            item = item_of(xml_of(text))
            first = scene.signed(scene.juliet, item, stated(scene.juliet, scene.romeo))
            with pytest.raises(PeerMisbehaved) as caught:
                await self.co_signed(scene, item, first)
            assert caught.value.code is ErrorCode.AMBIGUOUS

    async def test_q_02_nothing_that_says_more_than_we_understand(self, scene: Scene) -> None:
        item, first = await self.asked(scene)
        *stated_before, profile = first.signature.elements
        oath = element("urn:x", "oath")
        more = replace(first.signature, children=(*stated_before, oath, profile))
        with pytest.raises(PeerMisbehaved) as caught:
            await self.co_signed(scene, item, replace(first, signature=more))
        assert caught.value.code is ErrorCode.UNSUPPORTED_ALGORITHM

    @pytest.mark.parametrize(
        "attribute",
        [
            Attribute("lang", "de", ns.XML, "xml"),
            Attribute("base", "http://evil.lit/", ns.XML, "xml"),
            Attribute("space", "preserve", ns.XML, "xml"),
            Attribute("expire", "2099"),
            Attribute("x", "a\tb"),
            Attribute("k", "1", "urn:x", "x"),
            Attribute("k", "1", "urn:x"),
        ],
    )
    async def test_q_08_nothing_that_stands_on_the_item_and_is_not_shown(
        self, scene: Scene, attribute: Attribute
    ) -> None:
        item = item_of(post())
        said = replace(item, attributes=(*item.attributes, attribute))
        statement = stated(scene.juliet, scene.romeo)
        signed = said if attribute.prefix or not attribute.namespace else item
        first = scene.signed(scene.juliet, signed, statement)
        async with refused(ErrorCode.AMBIGUOUS, scene.romeo):
            await self.co_signed(scene, said, first)

    async def test_q_08_nothing_that_declares_what_is_not_signed(self, scene: Scene) -> None:
        item = replace(item_of(post()), declarations=(("x", "urn:x"),))
        first = scene.signed(scene.juliet, item, stated(scene.juliet, scene.romeo))
        async with refused(ErrorCode.AMBIGUOUS, scene.romeo):
            await self.co_signed(scene, item, first)

    async def test_q_04_nothing_that_was_dated_back(self, scene: Scene) -> None:
        item = item_of(post())
        before = datetime.now(UTC) - timedelta(days=1)
        statement = stated(scene.juliet, scene.romeo, time=before)
        async with refused(ErrorCode.STALE, scene.romeo):
            await self.co_signed(scene, item, scene.signed(scene.juliet, item, statement))
        honest = scene.signed(scene.juliet, item, statement, made=before)
        assert await self.co_signed(scene, item, honest)

    async def test_q_07_nothing_that_was_replaced_since(self, scene: Scene) -> None:
        older, newer = item_of(post("old")), item_of(post("new"))
        before = datetime.now(UTC) - timedelta(days=2)
        statement = stated(scene.juliet, scene.romeo, time=before)
        first = scene.signed(scene.juliet, older, statement, made=before)
        await scene.verify(newer, scene.signed(scene.juliet, newer), reader=scene.romeo)
        async with refused(ErrorCode.STALE, scene.romeo):
            await self.co_signed(scene, older, first)

    async def test_q_06_nothing_that_was_moved(self, scene: Scene) -> None:
        item, first = await self.asked(scene)
        await scene.verify(item, first, reader=scene.romeo)
        moved = item_of(item.elements[0], "elsewhere")
        signatures = ItemSignatures(scene.romeo.ox)
        async with refused(ErrorCode.CONTEXT_MISMATCH, scene.romeo):
            await signatures.co_sign(moved, at("elsewhere"), first.signature, first.publisher)
        assert await self.co_signed(scene, item, first)
        assert await self.co_signed(scene, item, first)  # where it belongs, as often as we like

    async def test_q_06_what_we_signed_is_remembered(self, scene: Scene) -> None:
        item, first = await self.asked(scene)
        await self.co_signed(scene, item, first)
        moved = item_of(item.elements[0], "elsewhere")
        found = await scene.verify(moved, first, place=at("elsewhere"), reader=scene.romeo)
        assert (found.sighting, found.elsewhere) == (Sighting.MOVED, (PLACE,))

    async def test_nothing_by_a_key_that_waits_for_a_decision(self, scene: Scene) -> None:
        item, first = await self.asked(scene)
        wary = scene.world.stranger("romeo@montague.lit", trust=ManualTrust())
        await wary.gather(wary, scene.juliet)
        signatures = ItemSignatures(wary.ox)
        with pytest.raises(TrustUndecided) as caught:
            await signatures.co_sign(item, PLACE, first.signature, first.publisher)
        assert caught.value.subjects == (scene.keys[scene.juliet.jid].name,)

    async def test_nothing_by_keys_that_must_be_fetched(self, scene: Scene) -> None:
        item, first = await self.asked(scene)
        stranger = scene.world.stranger("romeo@montague.lit")
        with pytest.raises(DataMissing) as caught:
            await ItemSignatures(stranger.ox).co_sign(item, PLACE, first.signature, first.publisher)
        assert caught.value.fetches
