"""What an account must fetch of people, hears of them, and is told by its user."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial

import pytest

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode
from e2ee.key_events import KeyNews
from e2ee.limits import MAX_BUNDLE_FETCHES, MAX_DEVICES
from e2ee.names import BareJid, Fetch, Jid, NodeAddress
from e2ee.omemo import peers, ring
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.renewal import renew
from e2ee.storage import Key, Store, Transaction
from e2ee.trust import BlindTrustBeforeVerification, ManualTrust, Trust
from tests.support.omemo_views import known, level, told
from tests.support.omemo_world import Party, World, refused

JULIET, ROMEO, MALLORY = "juliet@capulet.lit", "romeo@montague.lit", "mallory@evil.example"
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def world() -> World:
    return World()


class Unguarded:
    """A store whose accounts can be renewed though nobody guards them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def renewal(self, scope: Key) -> AbstractAsyncContextManager[Transaction]:
        return self._store.exclusive(scope)


class TestMissing:
    async def test_lists_first_then_the_bundles_that_they_name(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        assert await peers.missing(juliet.sessions, ()) == ()
        lists = [devices_fetch(Version.TWO, romeo.jid)]
        assert list(await peers.missing(juliet.sessions, {romeo.jid})) == lists
        await juliet.feed(*lists)
        bundles = await peers.missing(juliet.sessions, {romeo.jid})
        assert bundles == (bundle_fetch(Version.TWO, romeo.device),)
        await juliet.feed(*bundles)
        assert await peers.missing(juliet.sessions, {romeo.jid}) == ()

    async def test_our_own_others_are_recipients_too(self, world: World) -> None:
        juliet, tablet = await world.device(JULIET), await world.device(JULIET)
        romeo = await world.device(ROMEO)
        await juliet.hear_of(romeo)
        await juliet.hear_of(juliet)
        assert set(await peers.missing(juliet.sessions, {romeo.jid})) == {
            bundle_fetch(Version.TWO, tablet.device),
            bundle_fetch(Version.TWO, romeo.device),
        }

    async def test_r_12_lists_have_an_age_and_clocks_jump(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        for jump in (timedelta(days=1), -timedelta(days=3650), timedelta(days=7300)):
            world.wait(jump)
            fetches = await peers.missing(juliet.sessions, {romeo.jid})
            assert set(fetches) == {
                devices_fetch(Version.TWO, juliet.jid),
                devices_fetch(Version.TWO, romeo.jid),
            }
            await juliet.gather(romeo)  # and comes to an end

    async def test_nothing_is_fetched_of_whom_we_have_a_session_with(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.say("Hi", romeo)
        world.wait(TEN_MINUTES)
        assert await peers.missing(juliet.sessions, {romeo.jid}) == ()

    async def test_after_a_renewal_all_is_fetched_again(self, world: World) -> None:
        """Sessions from before may have been ahead of what is stored of them."""
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.say("Hi", romeo)
        await renew(Unguarded(juliet.store), juliet.jid, world.clock)
        assert devices_fetch(Version.TWO, romeo.jid) in await peers.missing(
            juliet.sessions, {romeo.jid}
        )
        await juliet.hear_of(juliet)
        await juliet.hear_of(romeo)
        fetches = await peers.missing(juliet.sessions, {romeo.jid})
        assert fetches == (bundle_fetch(Version.TWO, romeo.device),)

    async def test_who_is_distrusted_or_undecided_is_not_fetched(self, world: World) -> None:
        juliet = await world.device(JULIET, trust=ManualTrust())
        bad, new = world.crowd(ROMEO, 2)
        await juliet.gather(bad.jid)  # undecided, but then the user can see what about
        assert await level(juliet, bad) is Trust.UNDECIDED
        name = (await known(juliet, bad)).fingerprint
        assert name is not None
        await peers.decide(juliet.sessions, bad.jid, name, Trust.DISTRUSTED)
        world.wait(TEN_MINUTES)
        assert await peers.missing(juliet.sessions, {bad.jid}) == ()
        name = (await known(juliet, new)).fingerprint
        assert name is not None
        await peers.decide(juliet.sessions, new.jid, name, Trust.AUTHENTICATED)
        fetches = await peers.missing(juliet.sessions, {bad.jid})
        assert fetches == (bundle_fetch(Version.TWO, new),)

    async def test_o_19_a_flood_of_ids_costs_twenty_bundles_in_ten_minutes(
        self, world: World
    ) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        crowd = world.crowd(ROMEO, MAX_DEVICES - 1)
        world.announce(ROMEO, *(each.id for each in crowd), romeo.device.id)
        world.wait(TEN_MINUTES)
        await juliet.hear_of(romeo)
        fetches = await peers.missing(juliet.sessions, {romeo.jid})
        assert len(fetches) == MAX_BUNDLE_FETCHES
        assert fetches[0] == bundle_fetch(Version.TWO, romeo.device)  # whom we know comes first
        await juliet.gather(romeo)
        assert await peers.missing(juliet.sessions, {romeo.jid}) == ()
        await juliet.hear_of(romeo)  # however often they are announced
        assert await peers.missing(juliet.sessions, {romeo.jid}) == ()
        world.wait(TEN_MINUTES)
        assert len(await peers.missing(juliet.sessions, {romeo.jid})) == MAX_BUNDLE_FETCHES

    async def test_o_14_devices_whose_bundles_are_gone_stand_before_nobody_for_ever(
        self, world: World
    ) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        dead = range(1, 2 * MAX_BUNDLE_FETCHES + 1)
        world.announce(ROMEO, *dead, romeo.device.id)
        asked: list[Fetch] = []
        for _ in range(4):
            await juliet.hear_of(romeo)
            fetches = await peers.missing(juliet.sessions, {romeo.jid})
            asked += fetches
            await juliet.feed(*fetches)
            world.wait(TEN_MINUTES)
        assert (await known(juliet, romeo.device)).fingerprint == await romeo.fingerprint()
        assert set(asked) >= {
            bundle_fetch(Version.TWO, Device(romeo.jid, DeviceId(each))) for each in dead
        }

    async def test_o_19_nor_does_an_emptied_list_leave_anything(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        rows = await _rows(juliet)
        world.announce(ROMEO, romeo.device.id, *range(1, MAX_DEVICES))
        await juliet.hear_of(romeo)
        world.announce(ROMEO, romeo.device.id)
        await juliet.hear_of(romeo)
        assert await _rows(juliet) == rows

    async def test_o_19_r_13_nor_do_strangers_that_were_shown(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ring, "MAX_DEVICES", 2)
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        await juliet.decide(romeo, Trust.AUTHENTICATED)
        for _ in range(4):
            ghosts = world.crowd(ROMEO, 4)  # each time with other identities
            world.announce(ROMEO, *(each.id for each in ghosts))
            world.wait(TEN_MINUTES)
            await juliet.hear_of(romeo)
            await juliet.gather(romeo)
            world.announce(ROMEO, romeo.device.id)
            await juliet.hear_of(romeo)
        async with juliet.store.exclusive(juliet.sessions.scope) as tx:
            owners = await tx.scan((JULIET, "omemo", "identity"))
            bundles = await tx.scan((JULIET, "omemo", "bundle"))
        assert len(owners) == 3
        assert len(bundles) <= 4
        assert len(await told(juliet)) <= 2 * 2  # of both that are known still, what they showed

    async def test_r_13_sessions_go_with_their_devices(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ring, "MAX_DEVICES", 1)
        juliet, jid = await world.device(JULIET), BareJid.parse(ROMEO)
        for _ in range(4):
            romeo = await world.device(ROMEO)
            world.announce(ROMEO, romeo.device.id)
            await romeo.hear_of(romeo)
            await juliet.hear_of(romeo)
            for _ in range(2):  # the second session archives the first
                await romeo.looked(partial(romeo.sessions.renew_session, juliet.device))
                await romeo.encrypt(juliet)  # never sent: juliet keeps a key for it
                await romeo.say("Hi", juliet)
                await romeo.flush()
                await juliet.read()
        known_ids = {str(each.id) for each in (await peers.devices(juliet.sessions, jid)).devices}
        assert len(known_ids) == 2
        async with juliet.store.exclusive(juliet.sessions.scope) as tx:
            for name in ("session", "archive", "skipped"):
                rows = await tx.scan((JULIET, "omemo", name))
                assert {row[5] for row, _ in rows} == known_ids, name

    async def test_r_05_a_bundle_from_before_a_renewal_is_fetched_again(self, world: World) -> None:
        """In the time that is lost, its prekey may have been used."""
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        await renew(Unguarded(juliet.store), juliet.jid, world.clock)
        await juliet.hear_of(juliet)
        await juliet.hear_of(romeo)
        fetches = await peers.missing(juliet.sessions, {romeo.jid})
        assert fetches == (bundle_fetch(Version.TWO, romeo.device),)


async def _rows(party: Party) -> int:
    async with party.store.exclusive(party.sessions.scope) as tx:
        return sum([len(raw) for _, raw in await tx.scan((str(party.jid), "omemo", "ring"))])


class TestNotified:
    @pytest.mark.parametrize(
        ("sender", "node", "to", "kind", "believed"),
        [
            (ROMEO, Version.TWO.devices_node, JULIET, StanzaKind.ITEM, True),
            (ROMEO, Version.TWO.devices_node, None, StanzaKind.ITEM, True),
            (f"{ROMEO}/orchard", Version.TWO.devices_node, JULIET, StanzaKind.ITEM, False),
            (ROMEO, Version.TWO.devices_node, "nurse@capulet.lit", StanzaKind.ITEM, False),
            (ROMEO, Version.TWO.devices_node, JULIET, StanzaKind.MESSAGE, False),
            (ROMEO, Version.TWO.bundles_node, JULIET, StanzaKind.ITEM, False),
            (ROMEO, Version.LEGACY.devices_node, JULIET, StanzaKind.ITEM, False),
            (MALLORY, Version.TWO.devices_node, JULIET, StanzaKind.ITEM, False),
        ],
    )
    async def test_o_14_only_the_lists_owner_speaks_of_it(
        self, world: World, sender: str, node: str, to: str | None, kind: StanzaKind, believed: bool
    ) -> None:
        juliet = world.party(JULIET)
        arrival = Arrival(
            kind,
            Jid.parse(sender),
            None if to is None else Jid.parse(to),
            node=NodeAddress(BareJid.parse(ROMEO), node),
        )
        expected = (devices_fetch(Version.TWO, BareJid.parse(ROMEO)),) if believed else ()
        assert peers.notified(juliet.sessions, arrival) == expected


class TestDecide:
    async def test_z_13_what_was_never_shown_cannot_be_decided_about(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        for jid in (romeo.jid, juliet.jid):
            async with refused(ErrorCode.SIGNER_MISMATCH, juliet):
                await peers.decide(
                    juliet.sessions, jid, IdentityFingerprint("9" * 64), Trust.AUTHENTICATED
                )

    async def test_what_waits_for_a_decision_waits_no_more(self, world: World) -> None:
        juliet = await world.device(JULIET, trust=ManualTrust())
        romeo = await world.device(ROMEO)
        await juliet.gather(romeo)
        assert await told(juliet) == {(ROMEO, await romeo.fingerprint(), KeyNews.NEW)}
        await juliet.decide(romeo, Trust.UNDECIDED)  # the user saw it, and wants to think
        assert await told(juliet) == set()

    async def test_what_was_shown_to_the_user_does_not_come_again(self, world: World) -> None:
        juliet = await world.device(JULIET, trust=ManualTrust())
        romeo = await world.device(ROMEO)
        await juliet.gather(romeo)
        await juliet.events.shown(await juliet.events.pending())
        await juliet.hear_of(romeo)
        await juliet.feed(bundle_fetch(Version.TWO, romeo.device))
        assert await told(juliet) == set()

    async def test_a_new_device_after_verification_is_a_change(self, world: World) -> None:
        juliet = await world.device(JULIET, trust=BlindTrustBeforeVerification())
        romeo = await world.device(ROMEO)
        await juliet.gather(romeo)
        second = await world.device(ROMEO)
        await juliet.hear_of(romeo)
        await juliet.gather(romeo)
        assert await told(juliet) == set()
        assert await level(juliet, second.device) is Trust.AUTOMATIC
        await juliet.decide(romeo, Trust.AUTHENTICATED)
        third = await world.device(ROMEO)
        await juliet.hear_of(romeo)
        await juliet.gather(romeo)
        assert await told(juliet) == {(ROMEO, await third.fingerprint(), KeyNews.CHANGED)}
        assert await level(juliet, second.device) is Trust.AUTOMATIC
        assert await level(juliet, third.device) is Trust.UNDECIDED

    async def test_an_opt_out_is_answered(self, world: World) -> None:
        juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
        await juliet.gather(romeo)
        await peers.answer_opt_out(juliet.sessions, romeo.jid)
        assert not (await peers.devices(juliet.sessions, romeo.jid)).opted_out
