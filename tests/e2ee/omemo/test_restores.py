"""A device whose store was put back from an older copy, and whoever talks with it (R-05, D-24)."""

from __future__ import annotations

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.renewal import renew
from e2ee.stores.guarded import GuardedStore
from e2ee.trust import BlindTrustBeforeVerification
from tests.support.anchors import HookedAnchor
from tests.support.omemo_world import Party, World, body, copied

TRUST = BlindTrustBeforeVerification()


async def renewed(party: Party, anchor: HookedAnchor, copy: GuardedStore) -> Party:
    """Return a device on a copy of its store, which is refused and then renewed."""
    restored = party.reopened(copy)
    with pytest.raises(StoreFailed) as caught:
        await restored.sessions.own_device()
    assert caught.value.code is ErrorCode.STORE_ROLLED_BACK
    await renew(copy, party.jid, party.world.clock)
    return restored


async def test_r_05_a_session_that_may_have_begun_in_the_lost_time_is_not_sent_with() -> None:
    """A key exchange from before the copy builds it anew, and the peer has gone on with the old."""
    world, anchor = World(), HookedAnchor()
    juliet = await world.device("juliet@capulet.lit", trust=TRUST)
    juliet = juliet.reopened(GuardedStore(juliet.store, anchor))
    romeo = await world.device("romeo@montague.lit", trust=TRUST)
    one = (await romeo.encrypt(juliet, content=[body("one")])).elements[0]
    two = (await romeo.encrypt(juliet, content=[body("two")])).elements[0]
    await juliet.hear_of(romeo)
    copy = GuardedStore(await copied(juliet.store), anchor)
    await juliet.decrypt(one, romeo)
    await juliet.flush()
    await romeo.read()
    juliet = await renewed(juliet, anchor, copy)
    assert (await juliet.decrypt(two, romeo)).content[0].text == "two"
    await juliet.flush()
    await juliet.say("three", romeo)
    assert [opened.content[0].text for opened in await romeo.read() if opened.content] == ["three"]
