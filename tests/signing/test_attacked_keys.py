"""With which key: undecided, distrusted, revoked, expired and struck ones (Q-15).

Rule: one attack each, made by whoever can make it, against a reader who knows all keys.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from e2ee.errors import DataMissing, ErrorCode, PeerMisbehaved
from e2ee.names import Fetch
from e2ee.trust import ManualTrust, Trust
from ox.detached import KeyState
from ox.elements import metadata_address
from signing.policy import any_of
from signing.signatures import ItemSignatures
from signing.verdict import Doubt, Verdict
from tests.support.forge import (
    LONG_AGO,
    Forged,
    certify,
    forged,
    new_ed25519,
)
from tests.support.ox_world import Person
from tests.support.signed_items import (
    JULIET,
    PLACE,
    Scene,
    item_of,
    post,
    refusal,
    stated,
)

HOUR = timedelta(hours=1)


class TestKeys:
    """Three levels: invalid, valid and not trusted, valid and trusted (Q-15)."""

    async def replaced(self, scene: Scene, who: Person, key: Forged) -> None:
        """Let the Nurse fetch another copy of the same key."""
        await scene.nurse.fetch_key(key.public, who)

    async def listed_anew(self, scene: Scene, reader: Person, key: Forged) -> None:
        """Let Juliet announce her key once more, and a reader hear of that and fetch nothing."""
        scene.world.ahead = HOUR / 60
        scene.world.announce(JULIET, key.public)
        fetch = Fetch(metadata_address(scene.juliet.jid))
        await reader.ox.feed(fetch, scene.world.nodes[fetch.address])

    async def test_q_15_undecided(self, scene: Scene) -> None:
        item = item_of(post())
        wary = scene.world.stranger("paris@verona.lit", trust=ManualTrust())
        await wary.gather(scene.juliet)
        by = scene.signed(scene.juliet, item)
        found = await scene.verify(item, by, reader=wary)
        assert (found.verdict, found.signers[0].trust) == (Verdict.UNTRUSTED, Trust.UNDECIDED)
        assert found.signers[0].code is None
        with pytest.raises(PeerMisbehaved) as caught:
            found.require()
        assert caught.value.code is ErrorCode.UNTRUSTED
        assert found.require(Verdict.TRUSTED, Verdict.UNTRUSTED) == post()
        key = found.signers[0].key
        assert key is not None
        await wary.ox.decide(scene.juliet.jid, key, Trust.AUTHENTICATED)
        found = await scene.verify(item, by, reader=wary)
        assert (found.verdict, found.signers[0].trust) == (Verdict.TRUSTED, Trust.AUTHENTICATED)

    async def test_q_15_distrusted(self, scene: Scene) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item)
        (key,) = (await scene.nurse.ox.keys(scene.juliet.jid)).keys
        await scene.nurse.ox.decide(scene.juliet.jid, key.fingerprint, Trust.DISTRUSTED)
        assert refusal(await scene.verify(item, by)) is ErrorCode.UNTRUSTED

    @pytest.mark.parametrize("reason", [1, 3])
    async def test_q_15_superseded_or_retired_after_signing(
        self, scene: Scene, reason: int
    ) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item, made=datetime.now(UTC) - HOUR)
        key = scene.keys[scene.juliet.jid]
        await self.replaced(scene, scene.juliet, key.revoked(reason))
        found = await scene.verify(item, by)
        assert found.verdict is Verdict.TRUSTED
        assert (found.signers[0].then, found.signers[0].now) == (KeyState.VALID, KeyState.RETIRED)
        assert Doubt.KEY_RETIRED in found.signers[0].doubts

    @pytest.mark.parametrize("reason", [0, 2, None])
    async def test_q_15_compromised_whenever(self, scene: Scene, reason: int | None) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item, made=datetime.now(UTC) - HOUR)
        assert (await scene.verify(item, by)).require()
        key = scene.keys[scene.juliet.jid]
        await self.replaced(scene, scene.juliet, key.revoked(reason))
        found = await scene.verify(item, by)
        assert found.signers[0].code is ErrorCode.BAD_SIGNATURE

    async def test_q_15_expired_before_and_after(self, scene: Scene) -> None:
        name, primary = b"xmpp:paris@verona.lit", new_ed25519()
        key = forged(
            primary=primary, certified=certify(primary, name, key_lasts=timedelta(days=100))
        )
        paris = scene.world.stranger("paris@verona.lit")
        scene.world.announce(str(paris.jid), key.public)
        await scene.nurse.gather(paris)
        scene.keys[paris.jid] = key
        item = item_of(post())
        in_time, too_late = (
            scene.signed(paris, item, stated(paris, time=made), made=made)
            for made in (LONG_AGO + timedelta(days=50), LONG_AGO + timedelta(days=150))
        )
        assert refusal(await scene.verify(item, too_late)) is ErrorCode.BAD_SIGNATURE
        found = await scene.verify(item, in_time)
        assert found.verdict is Verdict.TRUSTED
        assert (found.signers[0].then, found.signers[0].now) == (KeyState.VALID, KeyState.EXPIRED)

    async def test_q_15_a_key_that_is_announced_no_more(self, scene: Scene) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item)
        await scene.nurse.ox.decide(
            scene.juliet.jid,
            (await scene.nurse.ox.keys(scene.juliet.jid)).keys[0].fingerprint,
            Trust.AUTHENTICATED,
        )
        scene.world.announce(JULIET, forged(f"xmpp:{JULIET}").public)
        await scene.nurse.hear_of(scene.juliet)
        found = await scene.verify(item, by)
        assert found.verdict is Verdict.TRUSTED
        assert found.signers[0].doubts == {Doubt.KEY_NOT_ANNOUNCED}
        assert found.missing == ()

    async def test_q_15_a_key_that_may_be_revoked_by_now(self, scene: Scene) -> None:
        """Its list is dated anew, and the key not fetched since: what it proves is from before."""
        item, asked = item_of(post()), any_of(scene.juliet.jid)
        by = scene.signed(scene.juliet, item)
        assert (await scene.verify(item, by)).signers[0].doubts == frozenset()
        key = scene.keys[scene.juliet.jid]
        await self.listed_anew(scene, scene.nurse, key.revoked())
        found = await scene.verify(item, by, policy=asked)
        assert found.verdict is Verdict.TRUSTED
        assert found.signers[0].doubts == {Doubt.KEY_OUTDATED}
        assert found.missing == await ItemSignatures(scene.nurse.ox).missing([by])
        assert len(found.missing) == 1
        await scene.nurse.gather(scene.juliet)
        assert refusal(await scene.verify(item, by)) is ErrorCode.BAD_SIGNATURE

    async def test_q_15_nobody_signs_beside_a_key_that_may_be_revoked(self, scene: Scene) -> None:
        item = item_of(post())
        by = scene.signed(scene.juliet, item, stated(scene.juliet, scene.romeo))
        await self.listed_anew(scene, scene.romeo, scene.keys[scene.juliet.jid])
        signatures = ItemSignatures(scene.romeo.ox)
        with pytest.raises(DataMissing) as caught:
            await signatures.co_sign(item, PLACE, by.signature, by.publisher)
        assert caught.value.fetches == await signatures.missing([by])
        await scene.romeo.gather(scene.juliet)
        assert await signatures.co_sign(item, PLACE, by.signature, by.publisher)
