"""Items that are signed, alone and together, and verified by whoever reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import ns
from e2ee.attachments import Attachments
from e2ee.errors import (
    ApiMisuse,
    DataMissing,
    EngineFailed,
    ErrorCode,
    PeerMisbehaved,
    StoreFailed,
)
from e2ee.history import Sighting
from e2ee.limits import MAX_SIGNERS
from e2ee.names import BareJid
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml
from ox.detached import KeyState
from ox.engine import Signed
from signing import FEATURES, ItemSignatures, SignedBy, find_signatures
from signing.policy import all_of, any_of
from signing.profile import Ambiguity
from signing.readings import Reading
from signing.verdict import Uncovered, Unverifiable, Verdict
from signing.verifying import FetchedItem
from tests.support.hooked_store import HookedStore, Moment
from tests.support.ox_world import dump, refused
from tests.support.signed_items import (
    NODE,
    NURSE,
    PLACE,
    Scene,
    at,
    item_of,
    post,
    refusal,
    stated,
    xml_of,
)


class TestSigning:
    async def test_what_one_signs_another_verifies(self, scene: Scene) -> None:
        signed = await ItemSignatures(scene.juliet.ox).sign(post(), NODE)
        item = item_of(signed.payload)
        found = await scene.verify(item, SignedBy(scene.juliet.jid, signed.signature))
        assert found.verdict is Verdict.TRUSTED
        assert found.absent == frozenset()
        assert found.place == PLACE
        assert found.uncovered == frozenset(Uncovered)
        assert found.sighting is Sighting.FIRST
        assert found.elsewhere == ()
        (signer,) = found.signers
        assert signer.signer == scene.juliet.jid
        assert signer.key == scene.keys[scene.juliet.jid].name
        assert signer.trust is Trust.AUTOMATIC
        assert (signer.then, signer.now) == (KeyState.VALID, KeyState.VALID)
        assert signer.reading is Reading.STRICT
        assert signer.ambiguities == frozenset()
        assert signer.doubts == frozenset()
        assert signer.code is None
        assert signer.claimed is not None
        assert signer.made is not None

    async def test_it_hands_out_the_tree_that_was_verified(self, scene: Scene) -> None:
        item = item_of(post())
        found = await scene.verify(item, scene.signed(scene.juliet, item))
        assert found.payload is item.elements[0]
        assert found.require() is item.elements[0]

    async def test_the_payload_is_published_as_it_was_signed(self, scene: Scene) -> None:
        paragraph = xml_of("<p xmlns='urn:x'>Ann <b>owes</b> Bob</p>")
        signed = await ItemSignatures(scene.juliet.ox).sign(paragraph, NODE)
        assert signed.payload.get("space", ns.XML) == "preserve"
        by = SignedBy(scene.juliet.jid, signed.signature)
        assert (await scene.verify(item_of(signed.payload), by)).verdict is Verdict.TRUSTED
        assert (await scene.verify(item_of(paragraph), by)).verdict is Verdict.INVALID

    async def test_it_survives_being_written_and_read(self, scene: Scene) -> None:
        signed = await ItemSignatures(scene.juliet.ox).sign(post("“O” \U0001f339 ]]>"), NODE)
        item, signature = (
            parse_xml(write_xml(each)) for each in (item_of(signed.payload), signed.signature)
        )
        assert (await scene.verify(item, SignedBy(scene.juliet.jid, signature))).require()

    async def test_an_event_is_verified_like_the_item(self, scene: Scene) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item)
        event = replace(item, namespace=ns.PUBSUB_EVENT)
        assert (await scene.verify(event, by)).verdict is Verdict.TRUSTED

    async def test_it_writes_what_libervia_reads(self, scene: Scene) -> None:
        signed = await ItemSignatures(scene.juliet.ox).sign(post(), NODE, beside=[scene.romeo.jid])
        assert [(each.namespace, each.name) for each in signed.signature.elements] == [
            (ns.PUBSUB_SIGNING, "time"),
            (ns.PUBSUB_SIGNING, "signer"),
            (ns.PUBSUB_SIGNING, "signer"),
            (ns.PUBSUB_SIGNING_OPENPGP, "sign"),
        ]
        stamp = signed.signature.elements[0].require("stamp")
        assert len(stamp) == len("2026-11-22T12:00:00Z")
        assert stamp.endswith("Z")

    async def test_signers_are_listed_once_and_not_too_many(self, scene: Scene) -> None:
        signatures = ItemSignatures(scene.juliet.ox)
        with pytest.raises(ApiMisuse):
            await signatures.sign(post(), NODE, beside=[scene.romeo.jid, scene.romeo.jid])
        with pytest.raises(ApiMisuse):
            await signatures.sign(post(), NODE, beside=[scene.juliet.jid])
        many = [BareJid.parse(f"page{number}@verona.lit") for number in range(MAX_SIGNERS)]
        with pytest.raises(ApiMisuse) as caught:
            await signatures.sign(post(), NODE, beside=many)
        assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
        assert await signatures.sign(post(), NODE, beside=many[1:])

    async def test_nobody_signs_without_a_key(self, scene: Scene) -> None:
        stranger = scene.world.stranger("paris@verona.lit")
        with pytest.raises(ApiMisuse):
            await ItemSignatures(stranger.ox).sign(post(), NODE)

    def test_features(self) -> None:
        assert FEATURES == ("urn:xmpp:pubsub-signing:0", "urn:xmpp:pubsub-signing:openpgp:0")


class TestVerifying:
    async def test_an_item_that_nobody_signed(self, scene: Scene) -> None:
        found = await scene.verify(item_of(post()))
        assert (found.verdict, found.signers, found.sighting) == (Verdict.UNSIGNED, (), None)
        with pytest.raises(PeerMisbehaved) as caught:
            found.require()
        assert caught.value.code is ErrorCode.BAD_SIGNATURE

    async def test_a_verification_is_neither_true_nor_false(self, scene: Scene) -> None:
        with pytest.raises(TypeError):
            bool(await scene.verify(item_of(post())))

    async def test_keys_are_fetched_first(self, scene: Scene) -> None:
        paris = await scene.world.person("paris@verona.lit")
        signed = await ItemSignatures(paris.ox).sign(post(), NODE)
        by = SignedBy(paris.jid, signed.signature)
        signatures = ItemSignatures(scene.nurse.ox)
        for _ in range(2):  # the list, and then the key
            found = await scene.verify(item_of(post()), by)
            assert (found.verdict, found.sighting) == (Verdict.UNCHECKED, None)
            assert found.signers[0].code is ErrorCode.DATA_MISSING
            assert found.missing == await signatures.missing([by])
            assert len(found.missing) == 1
            with pytest.raises(DataMissing) as caught:
                found.require()
            assert caught.value.fetches == found.missing
            for fetch in found.missing:
                await scene.nurse.ox.feed(fetch, scene.world.nodes[fetch.address])
        assert await signatures.missing([by]) == ()
        assert (await scene.verify(item_of(post()), by)).require()

    async def test_nothing_but_the_store_is_needed(self, scene: Scene) -> None:
        """Offline, years later, by another process: stored parts verify."""
        item = item_of(post())
        by = scene.signed(scene.juliet, item)
        stored = [write_xml(item), write_xml(by.signature)]
        scene.world.nodes.clear()
        scene.world.ahead = timedelta(days=3650)
        later, signature = map(parse_xml, stored)
        reader = scene.nurse.restarted()
        found = await scene.verify(later, SignedBy(by.publisher, signature), reader=reader)
        assert found.verdict is Verdict.TRUSTED

    async def test_the_same_again_is_the_same_and_writes_nothing(self, scene: Scene) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item)
        await scene.verify(item, by)
        rows = await dump(scene.nurse.store)
        found = await scene.verify(item, by)
        assert (found.verdict, found.sighting) == (Verdict.TRUSTED, Sighting.SAME)
        assert await dump(scene.nurse.store) == rows

    async def test_an_edit_is_new_in_its_place(self, scene: Scene) -> None:
        before, after = item_of(post()), item_of(post("Deny thy mother"))
        first = stated(scene.juliet, time=datetime.now(UTC) - timedelta(hours=1))
        await scene.verify(before, scene.signed(scene.juliet, before, first))
        found = await scene.verify(after, scene.signed(scene.juliet, after))
        assert (found.verdict, found.sighting) == (Verdict.TRUSTED, Sighting.REPLACED)

    async def test_a_bad_item_does_not_spoil_its_page(self, scene: Scene) -> None:
        item = item_of(post())
        good = FetchedItem(item, PLACE, (scene.signed(scene.juliet, item),))
        empty = FetchedItem(element(ns.PUBSUB, "item", {"id": "e"}), at("e"), good.attachments)
        other_id = FetchedItem(item, at("other"), good.attachments)
        flood = [BareJid.parse(f"page{number}@verona.lit") for number in range(65)]
        flooded = FetchedItem(item, PLACE, tuple(SignedBy(jid, post()) for jid in flood))
        page = [empty, good, other_id, flooded]
        results = await ItemSignatures(scene.nurse.ox).verify_many(page)
        codes = [each.error.code if isinstance(each, Unverifiable) else None for each in results]
        assert codes == [
            ErrorCode.MALFORMED,
            None,
            ErrorCode.CONTEXT_MISMATCH,
            ErrorCode.LIMIT_EXCEEDED,
        ]
        assert [each.place for each in results] == [each.place for each in page]
        with pytest.raises(PeerMisbehaved):
            await scene.verify(empty.item, place=empty.place)

    async def test_x_13_a_tree_without_its_prefixes_does_not_spoil_its_page(
        self, scene: Scene
    ) -> None:
        """As other libraries make them, which forget what prefix an attribute had."""
        item = item_of(post())
        good = FetchedItem(item, PLACE, (scene.signed(scene.juliet, item),))
        forgotten = Attribute("k", "1", "urn:y")
        page = [
            good,
            *[
                FetchedItem(each, PLACE, good.attachments)
                for each in (
                    item_of(Element("urn:x", "v", (forgotten,))),
                    item_of(element("urn:x", "v", None, Element("urn:x", "w", (forgotten,)))),
                    replace(item, attributes=(*item.attributes, forgotten)),
                )
            ],
            good,
        ]
        results = await ItemSignatures(scene.nurse.ox).verify_many(page)
        found = [each for each in results if not isinstance(each, Unverifiable)]
        assert len(found) == len(page)
        assert [each.verdict for each in found] == [
            Verdict.TRUSTED,
            *[Verdict.INVALID] * 3,
            Verdict.TRUSTED,
        ]
        assert {each.signers[0].code for each in found[1:4]} == {ErrorCode.AMBIGUOUS}

    async def test_a_page_is_one_transaction(self, scene: Scene) -> None:
        """What one item of a page shows counts for the next."""
        item = item_of(post())
        by = scene.signed(scene.juliet, item)
        page = [FetchedItem(item_of(post(), name), at(name), (by,)) for name in ("a", "b", "a")]
        results = await ItemSignatures(scene.nurse.ox).verify_many(page)
        assert [getattr(each, "sighting", None) for each in results] == [
            Sighting.FIRST,
            Sighting.MOVED,
            Sighting.SAME,
        ]

    async def test_what_the_engine_fails_at_is_not_valid(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item)

        async def fails(*_: object) -> Signed:
            raise EngineFailed("sequoia", "it panicked")

        monkeypatch.setattr(scene.nurse.ox.engine, "verify", fails)
        assert refusal(await scene.verify(item, by)) is ErrorCode.ENGINE_FAILED

    @pytest.mark.parametrize("fails_at", [Moment.ENTER, Moment.GET, Moment.BEFORE_COMMIT])
    async def test_what_cannot_be_remembered_is_not_told(
        self, scene: Scene, fails_at: Moment
    ) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item)

        async def fails(moment: Moment) -> None:
            if moment is fails_at:
                raise StoreFailed(ErrorCode.STORE_FULL, "no space is left")

        store = HookedStore(scene.nurse.store, fails)
        unlucky = scene.world.stranger(NURSE, store=store)
        async with refused(ErrorCode.STORE_FULL, scene.nurse):
            await scene.verify(item, by, reader=unlucky)
        assert (await scene.verify(item, by)).sighting is Sighting.FIRST

    async def test_other_attributes_of_the_item_are_signed(self, scene: Scene) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item)
        marked = element(ns.PUBSUB, "item", {"id": "balcony", "access": "open"}, post())
        assert (await scene.verify(marked, by)).verdict is Verdict.INVALID
        found = await scene.verify(marked, scene.signed(scene.juliet, marked))
        assert found.verdict is Verdict.AMBIGUOUS  # for the payload does not have it
        assert found.signers[0].ambiguities == {Ambiguity.ITEM_ATTRIBUTES}

    async def test_signatures_are_found_among_attachments(self, scene: Scene) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item)
        noticed = element(ns.PUBSUB_ATTACHMENTS, "noticed")
        unknown = element("urn:x", "signature")
        raw = element(ns.PUBSUB_ATTACHMENTS, "attachments", None, unknown, by.signature, noticed)
        assert find_signatures(by.publisher, Attachments.from_xml(raw)) == (by,)

    async def test_the_policy_decides_whose_signatures_count(self, scene: Scene) -> None:
        item = item_of(post())
        juliet, tybalt = scene.signed(scene.juliet, item), scene.signed(scene.tybalt, item)
        spoilt = replace(tybalt, publisher=scene.romeo.jid)
        both = (juliet, spoilt)
        assert (await scene.verify(item, *both)).verdict is Verdict.INVALID
        for policy, verdict in (
            (any_of(scene.juliet.jid), Verdict.TRUSTED),
            (any_of(scene.romeo.jid), Verdict.INVALID),
            (any_of(scene.tybalt.jid), Verdict.UNSIGNED),
            (all_of(scene.juliet.jid, scene.romeo.jid), Verdict.INVALID),
        ):
            assert (await scene.verify(item, *both, policy=policy)).verdict is verdict

    async def test_independent_signatures_count_each(self, scene: Scene) -> None:
        item = item_of(post())
        earlier = stated(scene.juliet, time=datetime.now(UTC) - timedelta(days=1))
        given = (scene.signed(scene.juliet, item, earlier), scene.signed(scene.romeo, item))
        policy = all_of(scene.juliet.jid, scene.romeo.jid)
        found = await scene.verify(item, *given, policy=policy)
        assert (found.verdict, found.absent) == (Verdict.TRUSTED, frozenset())
