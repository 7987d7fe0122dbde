"""What a user is told of other people's keys, each thing once; and which notifications count."""

from __future__ import annotations

from datetime import timedelta

import pytest

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.key_events import KeyEvents, KeyNews
from e2ee.names import BareJid, Fetch, Fingerprint, Jid, NodeAddress
from e2ee.records import pack
from e2ee.storage import Put
from e2ee.trust import Trust
from ox.elements import PublicKeysList, data_node, metadata_address
from tests.support.forge import Forged, forged
from tests.support.ox_keys import JULIET, ROMEO, friends
from tests.support.ox_world import Person, World

News = list[tuple[str, str, KeyNews]]


@pytest.fixture
def world() -> World:
    return World()


def events(person: Person) -> KeyEvents:
    return KeyEvents(person.store, person.jid)


async def told(person: Person) -> News:
    """Return what waits to be shown, and show it."""
    pending = await events(person).pending()
    await events(person).shown(pending)
    assert await events(person).pending() == ()
    return [(str(event.jid), event.key, event.news) for event in pending]


async def publish(world: World, juliet: Person, romeo: Person, *keys: Forged) -> None:
    world.ahead += timedelta(seconds=1)
    world.announce(ROMEO, *(key.public for key in keys))
    await juliet.hear_of(romeo)


class TestKeys:
    async def test_first_sight_is_no_news_and_a_later_key_is(self, world: World) -> None:
        one, two = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, one)
        assert await told(juliet) == []
        await publish(world, juliet, romeo, one, two)
        assert await told(juliet) == [(ROMEO, two.name, KeyNews.NEW)]
        await publish(world, juliet, romeo, one, two)
        assert await told(juliet) == []

    async def test_g_11_beside_a_key_that_was_vouched_for_it_is_an_alarm(
        self, world: World
    ) -> None:
        one, two = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, one)
        await juliet.ox.decide(romeo.jid, Fingerprint(one.name), Trust.AUTHENTICATED)
        await publish(world, juliet, romeo, two)
        news = await told(juliet)
        assert sorted(news, key=lambda each: each[2]) == [
            (ROMEO, two.name, KeyNews.CHANGED),
            (ROMEO, one.name, KeyNews.GONE),
        ]

    async def test_g_12_a_ghost_in_our_own_list_is_told_even_if_it_is_the_first(
        self, world: World
    ) -> None:
        ghost = forged(f"xmpp:{JULIET}")
        world.announce(JULIET, ghost.public)
        juliet = world.stranger(JULIET)
        await juliet.gather(juliet)
        assert await told(juliet) == [(JULIET, ghost.name, KeyNews.NEW)]

    async def test_a_key_that_goes_and_one_that_comes_back(self, world: World) -> None:
        one, two = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, one)
        await publish(world, juliet, romeo, two)
        await publish(world, juliet, romeo, one, two)
        assert await told(juliet) == [(ROMEO, two.name, KeyNews.NEW)]  # nothing is gone now

    async def test_what_was_decided_or_went_again_is_no_news(self, world: World) -> None:
        one, two, three = (forged(f"xmpp:{ROMEO}") for _ in range(3))
        juliet, romeo = await friends(world, one)
        await publish(world, juliet, romeo, one, two, three)
        await juliet.ox.decide(romeo.jid, Fingerprint(two.name), Trust.DISTRUSTED)
        await publish(world, juliet, romeo, one, two)
        assert await told(juliet) == []

    async def test_g_10_lists_that_change_do_not_pile_up_events(self, world: World) -> None:
        one = forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, one)
        for _ in range(9):
            await publish(world, juliet, romeo, one, forged(f"xmpp:{ROMEO}"))
        assert len(await told(juliet)) == 1

    @pytest.mark.parametrize("still_listed", [True, False])
    async def test_g_14_a_revocation_is_told_once(self, world: World, still_listed: bool) -> None:
        one, two = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, one)
        revoked = one.revoked()
        await publish(world, juliet, romeo, *([revoked, two] if still_listed else [two]))
        await juliet.fetch_key(revoked.public, romeo)
        news = [each for each in await told(juliet) if each[1] == one.name]
        gone = [] if still_listed else [(ROMEO, one.name, KeyNews.GONE)]
        assert sorted(news) == sorted([*gone, (ROMEO, one.name, KeyNews.REVOKED)])
        await juliet.fetch_key(one.public, romeo)
        await juliet.fetch_key(revoked.public, romeo)
        assert await told(juliet) == []

    async def test_g_10_revoked_keys_that_nobody_used_are_not_told(self, world: World) -> None:
        juliet, romeo = await friends(world, one := forged(f"xmpp:{ROMEO}"))
        for _ in range(2):
            world.announce(ROMEO, one.public, forged(f"xmpp:{ROMEO}").revoked().public)
            await juliet.hear_of(romeo)
        assert [event.news for event in await events(juliet).pending()] == [KeyNews.NEW]
        world.announce(ROMEO, one.public)
        await juliet.hear_of(romeo)
        assert await events(juliet).pending() == ()

    async def test_they_wait_for_another_process_and_stay_until_they_are_shown(
        self, world: World
    ) -> None:
        one, two = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, one)
        await publish(world, juliet, romeo, one, two)
        first = await events(juliet.restarted()).pending()
        assert await events(juliet).pending() == first
        assert first[0].encryption == "urn:xmpp:openpgp:0"
        await events(juliet).shown(first)
        await events(juliet).shown(first)
        assert await events(juliet).pending() == ()

    @pytest.mark.parametrize(
        ("last", "value", "code"),
        [
            ("new", pack("key-event", 1, {"time": "yesterday"}), ErrorCode.STORE_CORRUPT),
            ("new", pack("key-event", 1, {}), ErrorCode.STORE_CORRUPT),
            (
                "other",
                pack("key-event", 1, {"time": "2026-11-22T00:00:00Z"}),
                ErrorCode.STORE_CORRUPT,
            ),
            ("new", pack("key-event", 2, {}), ErrorCode.STORE_TOO_NEW),
        ],
    )
    async def test_r_04_a_damaged_record_is_refused(
        self, world: World, last: str, value: bytes, code: ErrorCode
    ) -> None:
        juliet = world.stranger(JULIET)
        await juliet.write(Put((JULIET, "key-events", "x", ROMEO, "A" * 40, last), value))
        with pytest.raises(StoreFailed) as caught:
            await events(juliet).pending()
        assert caught.value.code is code


class TestNotified:
    NODE = metadata_address(BareJid.parse(ROMEO))

    def arrival(self, sender: str, node: NodeAddress | None, to: str = JULIET) -> Arrival:
        return Arrival(StanzaKind.ITEM, Jid.parse(sender), Jid.parse(to), node=node)

    def test_of_a_list_that_changed_the_newest_is_fetched(self, world: World) -> None:
        ox = world.stranger(JULIET).ox
        assert ox.notified(self.arrival(ROMEO, self.NODE)) == (Fetch(self.NODE),)
        assert ox.notified(self.arrival(ROMEO, self.NODE, f"{JULIET}/x")) == (Fetch(self.NODE),)

    @pytest.mark.parametrize(
        ("sender", "owner", "to"),
        [
            (ROMEO, JULIET, JULIET),  # claims to be ours
            ("mallory@montague.lit", ROMEO, JULIET),
            (f"{ROMEO}/orchard", ROMEO, JULIET),  # a client, not his service
            (ROMEO, ROMEO, "nurse@capulet.lit"),
        ],
    )
    def test_g_12_one_that_is_not_from_the_owner_is_ignored(
        self, world: World, sender: str, owner: str, to: str
    ) -> None:
        ox = world.stranger(JULIET).ox
        node = metadata_address(BareJid.parse(owner))
        assert ox.notified(self.arrival(sender, node, to)) == ()

    def test_other_nodes_and_other_stanzas_are_none_of_ours(self, world: World) -> None:
        ox = world.stranger(JULIET).ox
        for node in (
            None,
            NodeAddress(BareJid.parse(ROMEO), "urn:xmpp:omemo:2:devices"),
            NodeAddress(BareJid.parse(ROMEO), data_node(Fingerprint("A" * 40))),
        ):
            assert ox.notified(self.arrival(ROMEO, node)) == ()
        message = Arrival(StanzaKind.MESSAGE, Jid.parse(ROMEO), node=self.NODE)
        assert ox.notified(message) == ()

    async def test_an_event_about_nothing_empties_nothing_by_itself(self, world: World) -> None:
        one = forged(f"xmpp:{ROMEO}")
        juliet, romeo = await friends(world, one)
        (fetch,) = juliet.ox.notified(self.arrival(ROMEO, self.NODE))
        await juliet.ox.feed(fetch, world.nodes[fetch.address])
        assert (await juliet.ox.keys(romeo.jid)).recipients
        await juliet.ox.feed(fetch, PublicKeysList(()).to_xml())
        assert not (await juliet.ox.keys(romeo.jid)).recipients
