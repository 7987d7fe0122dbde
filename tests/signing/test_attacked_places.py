"""Where and when something was signed: places, versions and times that are not what they seem.

Rule: one attack each, made by whoever can make it, against a reader who knows all keys.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from e2ee.errors import ErrorCode
from e2ee.history import Sighting
from e2ee.limits import MAX_CLOCK_SKEW
from e2ee.names import BareJid
from e2ee.trust import ManualTrust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute
from signing.elements import Signature
from signing.policy import any_of, every_signature
from signing.verdict import Doubt, Uncovered, Verdict
from tests.support.ox_world import dump
from tests.support.signed_items import (
    NODE,
    PLACE,
    Scene,
    at,
    item_of,
    own,
    post,
    refusal,
    rewritten,
    stated,
)

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)


class TestPlaceAndTime:
    async def test_q_03_no_addressee_is_no_harm(self, scene: Scene) -> None:
        """As the examples of XEP-0475 have it: the service is signed all the same."""
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        assert Signature.from_xml(genuine.signature).to is None
        assert (await scene.verify(item, genuine)).require()
        named = rewritten(
            genuine, own("to", {"jid": str(NODE.service)}), *genuine.signature.elements[:-1]
        )
        assert (await scene.verify(item, named)).require()

    @pytest.mark.parametrize(
        "services", [["pubsub.mantua.lit"], [str(NODE.service), "pubsub.mantua.lit"]]
    )
    async def test_q_03_another_addressee_or_several(
        self, scene: Scene, services: list[str]
    ) -> None:
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        to = [own("to", {"jid": service}) for service in services]
        changed = rewritten(genuine, *to, *genuine.signature.elements[:-1])
        assert refusal(await scene.verify(item, changed)) is ErrorCode.CONTEXT_MISMATCH

    async def test_q_03_a_signature_for_another_service(self, scene: Scene) -> None:
        item = item_of(post())
        elsewhere = scene.signed(scene.juliet, item, service=BareJid.parse("pubsub.mantua.lit"))
        assert refusal(await scene.verify(item, elsewhere)) is ErrorCode.BAD_SIGNATURE

    async def test_q_07_one_signature_makes_no_second_version(self, scene: Scene) -> None:
        """Libervia's reading takes any white space for none: the very bytes that were signed count.

        Or whoever adds some would have the genuine item look replaced or rolled back.
        """
        entry = "<v xmlns='urn:x'>pay 10{}</v>"
        item = item_of(parse_xml(entry.format("")))
        genuine = scene.signed(scene.juliet, item)
        assert (await scene.verify(item, genuine)).sighting is Sighting.FIRST
        for spaces in ("\u00a0", "\u00a0\u00a0"):
            changed = item_of(parse_xml(entry.format(spaces)))
            found = await scene.verify(changed, genuine)
            assert (found.verdict, found.sighting) == (Verdict.AMBIGUOUS, Sighting.SAME)
        assert (await scene.verify(item, genuine)).sighting is Sighting.SAME

    async def test_q_04_a_time_in_the_future(self, scene: Scene) -> None:
        item = item_of(post())
        ahead = datetime.now(UTC) + MAX_CLOCK_SKEW + HOUR
        early = scene.signed(scene.juliet, item, stated(scene.juliet, time=ahead))
        assert refusal(await scene.verify(item, early)) is ErrorCode.STALE
        scene.world.ahead = 2 * HOUR  # and then it is past
        assert (await scene.verify(item, early)).signers[0].doubts == {Doubt.TIME_DIFFERS}

    @pytest.mark.parametrize("differs", [-HOUR, HOUR])
    async def test_q_04_a_time_that_is_not_that_of_the_signature(
        self, scene: Scene, differs: timedelta
    ) -> None:
        item, made = item_of(post()), datetime.now(UTC) - timedelta(days=1)
        statement = stated(scene.juliet, time=made + differs)
        found = await scene.verify(item, scene.signed(scene.juliet, item, statement, made=made))
        assert found.verdict is Verdict.TRUSTED
        assert found.signers[0].doubts == {Doubt.TIME_DIFFERS}

    async def test_q_04_who_signs_beside_the_first_cannot_have_been_earlier(
        self, scene: Scene
    ) -> None:
        item, asked = item_of(post()), datetime.now(UTC) - HOUR
        statement = stated(scene.juliet, scene.romeo, time=asked)
        juliet = scene.signed(scene.juliet, item, statement, made=asked)
        for made, doubts in ((asked - HOUR, {Doubt.TIME_DIFFERS}), (asked + HOUR, set())):
            romeo = scene.signed(scene.romeo, item, statement, made=made)
            assert (await scene.verify(item, juliet, romeo)).signers[1].doubts == doubts

    async def test_q_04_a_time_that_was_altered(self, scene: Scene) -> None:
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        _, signer, _ = genuine.signature.elements
        for stamp in ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.5Z"):
            changed = rewritten(genuine, own("time", {"stamp": stamp}), signer)
            assert refusal(await scene.verify(item, changed)) is ErrorCode.BAD_SIGNATURE

    async def test_q_06_what_was_signed_for_one_place_shown_in_another(self, scene: Scene) -> None:
        """Neither id nor node are signed, which is said; what we saw before is remembered."""
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        found = await scene.verify(item, genuine)
        assert found.uncovered == {Uncovered.ITEM_ID, Uncovered.NODE, Uncovered.PUBLISHER}
        assert (found.sighting, found.elsewhere) == (Sighting.FIRST, ())
        for place in (at("tomb"), at("balcony", "urn:xmpp:other")):
            moved = await scene.verify(item_of(post(), place.item_id), genuine, place=place)
            assert moved.sighting is Sighting.MOVED
            assert PLACE in moved.elsewhere
        mantua = at("balcony", service="pubsub.mantua.lit")
        found = await scene.verify(item, genuine, place=mantua)
        assert refusal(found) is ErrorCode.BAD_SIGNATURE

    async def test_q_06_two_items_with_their_signatures_swapped(self, scene: Scene) -> None:
        items = {name: item_of(post(name), name) for name in ("a", "b")}
        genuine = {name: scene.signed(scene.juliet, item) for name, item in items.items()}
        for name, item in items.items():
            assert (await scene.verify(item, genuine[name], place=at(name))).require()
        swapped = item_of(post("b"), "a")
        assert (await scene.verify(swapped, genuine["a"], place=at("a"))).verdict is Verdict.INVALID
        found = await scene.verify(swapped, genuine["b"], place=at("a"))
        assert (found.sighting, found.elsewhere) == (Sighting.MOVED, (at("b"),))

    async def test_q_07_an_older_version_served_again(self, scene: Scene) -> None:
        versions = [item_of(post(text)) for text in ("older", "newer")]
        long_ago = datetime.now(UTC) - 3 * HOUR
        signed = [
            scene.signed(scene.juliet, item, stated(scene.juliet, time=long_ago + n * HOUR))
            for n, item in enumerate(versions)
        ]
        older, newer = zip(versions, signed, strict=True)
        assert (await scene.verify(*older)).sighting is Sighting.FIRST
        assert (await scene.verify(*newer)).sighting is Sighting.REPLACED
        found = await scene.verify(*older)
        assert found.sighting is Sighting.ROLLED_BACK
        assert Doubt.SUPERSEDED in found.signers[0].doubts
        assert Doubt.SUPERSEDED not in (await scene.verify(*newer)).signers[0].doubts

    async def test_q_07_an_older_version_seen_for_the_first_time(self, scene: Scene) -> None:
        """It is older by its signer's own stamp."""
        older, newer = item_of(post("older")), item_of(post("newer"))
        then = stated(scene.juliet, time=datetime.now(UTC) - HOUR)
        await scene.verify(newer, scene.signed(scene.juliet, newer))
        found = await scene.verify(older, scene.signed(scene.juliet, older, then))
        assert found.sighting is Sighting.ROLLED_BACK
        assert Doubt.SUPERSEDED in found.signers[0].doubts

    async def test_q_07_nobody_supersedes_what_another_signed(self, scene: Scene) -> None:
        """Not by listing the author beside oneself, either: the author did not sign that."""
        item = item_of(post())
        earlier = stated(scene.juliet, time=datetime.now(UTC) - HOUR)
        genuine = scene.signed(scene.juliet, item, earlier)
        await scene.verify(item, genuine)
        other = item_of(post("Kill Romeo"))
        for statement in (stated(scene.tybalt), stated(scene.juliet, scene.tybalt)):
            await scene.verify(other, scene.signed(scene.tybalt, other, statement))
        found = await scene.verify(item, genuine)
        assert (found.verdict, found.sighting) == (Verdict.TRUSTED, Sighting.SAME)
        assert Doubt.SUPERSEDED not in found.signers[0].doubts

    async def test_q_07_a_rollback_is_not_hidden_by_showing_the_new_version_elsewhere(
        self, scene: Scene
    ) -> None:
        versions = item_of(post("older")), item_of(post("newer"))
        older, newer = [
            (item, scene.signed(scene.juliet, item, stated(scene.juliet, time=time)))
            for item, time in zip(versions, (NOW - 2 * HOUR, NOW - HOUR), strict=True)
        ]
        await scene.verify(*older)
        decoy = replace(newer[0], attributes=(Attribute("id", "decoy"),))
        await scene.verify(decoy, newer[1], place=at("decoy"))
        assert (await scene.verify(*newer)).sighting is Sighting.MOVED
        found = await scene.verify(*older)
        assert found.sighting is Sighting.ROLLED_BACK
        assert Doubt.SUPERSEDED in found.signers[0].doubts

    async def test_q_07_nor_where_another_signs_first(self, scene: Scene) -> None:
        """Each of those who signed a version has a line of their own."""
        older, newer = item_of(post("older")), item_of(post("newer"))
        first = stated(scene.juliet, scene.romeo, time=NOW - 2 * HOUR)
        turned = stated(scene.romeo, scene.juliet, time=NOW - HOUR)
        both = (scene.juliet, scene.romeo)
        before = [scene.signed(by, older, first) for by in both]
        after = [scene.signed(by, newer, turned) for by in both]
        for policy in (every_signature(), any_of(scene.juliet.jid), any_of(scene.romeo.jid)):
            reader = scene.world.stranger("paris@verona.lit")
            await reader.gather(*both)
            await scene.verify(older, *before, policy=policy, reader=reader)
            found = await scene.verify(newer, *after, policy=policy, reader=reader)
            assert found.sighting is Sighting.REPLACED
            found = await scene.verify(older, *before, policy=policy, reader=reader)
            assert found.sighting is Sighting.ROLLED_BACK
            assert found.verdict is Verdict.TRUSTED

    async def test_q_07_two_versions_of_one_second(self, scene: Scene) -> None:
        """Neither is older; the one that was seen later is taken for the newer one."""
        statement = stated(scene.juliet, time=NOW)
        one, other = [
            (item, scene.signed(scene.juliet, item, statement))
            for item in (item_of(post("one")), item_of(post("other")))
        ]
        assert (await scene.verify(*one)).sighting is Sighting.FIRST
        assert (await scene.verify(*other)).sighting is Sighting.REPLACED
        found = await scene.verify(*one)
        assert found.sighting is Sighting.ROLLED_BACK
        assert Doubt.SUPERSEDED not in found.signers[0].doubts, "by its stamp it is not"

    async def test_q_07_others_say_nothing_of_where_the_author_wrote_it(self, scene: Scene) -> None:
        """What strangers signed here, in whatever order, is said of them."""
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        await scene.verify(item, genuine)
        for time, theirs, worst in (
            (NOW, Sighting.FIRST, Sighting.SAME),
            (NOW - HOUR, Sighting.ROLLED_BACK, Sighting.ROLLED_BACK),
        ):
            beside = scene.signed(scene.tybalt, item, stated(scene.tybalt, time=time))
            found = await scene.verify(item, beside, genuine)
            assert found.sighting is worst, "by XEP-0475 §7 everybody counts"
            assert [each.sighting for each in found.signers] == [theirs, Sighting.SAME]
            asked = any_of(scene.juliet.jid)
            found = await scene.verify(item, beside, genuine, policy=asked)
            assert found.sighting is Sighting.SAME
            assert [each.sighting for each in found.signers] == [None, Sighting.SAME]

    async def test_q_06_where_it_was_met_is_said_of_each_signer(self, scene: Scene) -> None:
        """Tybalt has signed the same text elsewhere, at another time than Juliet."""
        item, asked = item_of(post()), any_of(scene.juliet.jid)
        genuine, beside = scene.signed(scene.juliet, item), scene.signed(scene.tybalt, item)
        decoy = at("decoy")
        await scene.verify(item_of(post(), "decoy"), beside, place=decoy)
        found = await scene.verify(item, genuine, beside)
        assert (found.sighting, found.elsewhere) == (Sighting.MOVED, (decoy,))
        assert [each.elsewhere for each in found.signers] == [(), (decoy,)]
        found = await scene.verify(item, genuine, beside, policy=asked)
        assert (found.sighting, found.elsewhere) == (Sighting.SAME, ())

    async def test_q_07_who_does_not_count_leaves_no_trace(self, scene: Scene) -> None:
        item, asked = item_of(post()), any_of(scene.juliet.jid)
        rows = await dump(scene.nurse.store)
        found = await scene.verify(item, scene.signed(scene.tybalt, item), policy=asked)
        assert (found.verdict, found.sighting) == (Verdict.UNSIGNED, None)
        assert await dump(scene.nurse.store) == rows

    async def test_q_07_nor_does_who_signs_beside_a_bad_signature_that_counts(
        self, scene: Scene
    ) -> None:
        """Tybalt lists Juliet, and the service attaches something in her name."""
        item, asked = item_of(post()), any_of(scene.juliet.jid)
        statement = stated(scene.tybalt, scene.juliet, scene.romeo)
        beside = scene.signed(scene.tybalt, item, statement)
        forgery = scene.signed(scene.tybalt, item, statement, as_=scene.juliet.jid)
        rows = await dump(scene.nurse.store)
        found = await scene.verify(item, beside, forgery, policy=asked)
        assert (found.verdict, found.sighting) == (Verdict.INVALID, None)
        assert found.absent == frozenset(), "she has signed nothing that Romeo should have"
        assert await dump(scene.nurse.store) == rows

    async def test_r_13_nor_does_a_key_that_nobody_believes(self, scene: Scene) -> None:
        wary = scene.world.stranger("paris@verona.lit", trust=ManualTrust())
        await wary.gather(scene.tybalt)
        rows = await dump(wary.store)
        for number in range(3):
            item = item_of(post(f"{number}"))
            found = await scene.verify(item, scene.signed(scene.tybalt, item), reader=wary)
            assert (found.verdict, found.sighting) == (Verdict.UNTRUSTED, None)
        assert await dump(wary.store) == rows
