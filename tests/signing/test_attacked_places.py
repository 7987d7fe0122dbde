"""Where and when something was signed: places, versions and times that are not what they seem.

Rule: one attack each, made by whoever can make it, against a reader who knows all keys.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from e2ee.errors import ErrorCode
from e2ee.history import Sighting
from e2ee.limits import MAX_CLOCK_SKEW
from e2ee.names import BareJid
from signing.elements import Signature
from signing.policy import any_of
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

    async def test_q_07_who_does_not_count_leaves_no_trace(self, scene: Scene) -> None:
        item, asked = item_of(post()), any_of(scene.juliet.jid)
        rows = await dump(scene.nurse.store)
        found = await scene.verify(item, scene.signed(scene.tybalt, item), policy=asked)
        assert (found.verdict, found.sighting) == (Verdict.UNSIGNED, None)
        assert await dump(scene.nurse.store) == rows
