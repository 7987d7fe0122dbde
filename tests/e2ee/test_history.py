"""History: what each sighting is called, what is remembered, and at what cost."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from e2ee import limits
from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.history import CIPHER_LINE, History, Seen, Sighting, line_of
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.storage import Put, Store
from e2ee.stores.memory import MemoryStore
from tests.support.sightings import ME, NOW, Sight, at, digest, place, rows, see, see_all
from tests.support.source import ROOT

FIRST, SAME, REPLACED, ROLLED_BACK, MOVED = Sighting
FROZEN = ROOT / "tests" / "frozen"
ONE, TWO, THREE = place("1"), place("2"), place("1", "other")


@pytest.fixture
def store() -> Store:
    return MemoryStore()


async def retract(store: Store, where: ItemPlace) -> None:
    async with store.exclusive(ME) as tx:
        history = History(tx, ME)
        await history.retracted(where)
        await tx.commit(history.changes())


async def newest(store: Store, where: ItemPlace, line: str = "cipher") -> datetime | None:
    async with store.exclusive(ME) as tx:
        return await History(tx, ME).newest_stamp(where, line)


class TestPlaces:
    def test_places_are_ordered_and_compare_ids_as_they_are(self) -> None:
        assert place("1", "a") < place("2", "a") < place("1", "b")
        assert place("a") != place("A")
        assert str(ONE) == "1 in blog at pubsub.capulet.lit"

    @pytest.mark.parametrize("item", ["", "i" * 4097, "\x00", "\ud800", "\ufffe"])
    def test_an_item_has_a_proper_id(self, item: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            ItemPlace(ONE.node, ItemId(item))
        assert caught.value.code is ErrorCode.MALFORMED


class TestVersions:
    async def test_a_new_item_is_first_and_then_the_same(self, store: Store) -> None:
        assert await see(store, ONE, "a") is FIRST
        assert await see(store, ONE, "a") is SAME
        assert await see(store, TWO, "b") is FIRST

    async def test_a_new_version_replaces_and_an_old_one_is_rolled_back(self, store: Store) -> None:
        assert await see(store, ONE, "a") is FIRST
        assert await see(store, ONE, "b") is REPLACED
        assert await see(store, ONE, "a") is ROLLED_BACK
        assert await see(store, ONE, "a") is ROLLED_BACK, "it says so again"
        assert await see(store, ONE, "b") is SAME
        assert await see(store, ONE, "c") is REPLACED
        assert await see(store, ONE, "b") is ROLLED_BACK

    async def test_q_07_an_older_stamp_is_older_though_it_is_seen_later(self, store: Store) -> None:
        assert await see(store, ONE, "b", 2) is FIRST
        assert await see(store, ONE, "a", 1) is ROLLED_BACK, "it was never seen before"
        assert await newest(store, ONE) == at(2)
        assert await see(store, ONE, "b", 2) is SAME
        assert await see(store, ONE, "c", 3) is REPLACED
        assert await newest(store, ONE) == at(3)

    async def test_of_equal_stamps_what_is_seen_later_is_newer(self, store: Store) -> None:
        """Two versions of one second: none is called old before a later one was seen here."""
        assert await see(store, ONE, "a", 1) is FIRST
        assert await see(store, ONE, "b", 1) is REPLACED
        assert await see(store, ONE, "a", 1) is ROLLED_BACK
        assert await see(store, ONE, "b", 1) is SAME

    async def test_a_version_without_a_stamp_hides_no_stamp(self, store: Store) -> None:
        await see(store, ONE, "b", 2)
        assert await see(store, ONE, "c") is REPLACED
        assert await newest(store, ONE) == at(2)
        assert await see(store, ONE, "a", 1) is ROLLED_BACK

    async def test_stamps_count_to_the_microsecond_and_in_any_zone(self, store: Store) -> None:
        tick = timedelta(microseconds=1)
        moved = (NOW - tick).astimezone(timezone(timedelta(hours=5, minutes=30)))
        async with store.exclusive(ME) as tx:
            history = History(tx, ME)
            await history.saw(ONE, "cipher", digest("a"), NOW, NOW)
            seen = await history.saw(ONE, "cipher", digest("b"), moved, NOW)
            assert seen.sighting is ROLLED_BACK
            seen = await history.saw(ONE, "cipher", digest("c"), NOW + tick, NOW)
            assert seen.sighting is REPLACED
            await tx.commit(history.changes())
        assert await newest(store, ONE) == NOW + tick

    async def test_lines_of_a_place_do_not_follow_each_other(self, store: Store) -> None:
        assert await see(store, ONE, "a", 1, "juliet") is FIRST
        assert await see(store, ONE, "b", 2, "romeo") is FIRST
        assert await see(store, ONE, "a", 1, "juliet") is SAME
        assert await see(store, ONE, "a", 1, "romeo") is ROLLED_BACK
        assert await newest(store, ONE, "juliet") == at(1)
        assert await newest(store, ONE, "romeo") == at(2)
        assert await newest(store, ONE, "nurse") is None
        assert await newest(store, TWO, "romeo") is None

    async def test_no_signer_has_the_line_of_what_is_encrypted(self, store: Store) -> None:
        cipher = BareJid.parse(CIPHER_LINE)
        assert await see(store, ONE, "a", None, CIPHER_LINE) is FIRST
        assert await see(store, ONE, "b", 1, line_of(cipher)) is FIRST
        assert await see(store, ONE, "a", None, CIPHER_LINE) is SAME

    async def test_accounts_know_nothing_of_each_other(self, store: Store) -> None:
        other = ("romeo@montague.lit",)
        await see(store, ONE, "a")
        (seen,) = await see_all(store, [Sight(TWO, "a")], scope=other)
        assert seen.sighting is FIRST


class TestRetracted:
    async def test_what_was_retracted_and_comes_back_is_old(self, store: Store) -> None:
        await see(store, ONE, "a")
        await retract(store, ONE)
        assert await see(store, ONE, "a") is ROLLED_BACK
        assert await see(store, ONE, "a") is ROLLED_BACK, "it says so again"
        assert await see(store, ONE, "b") is REPLACED
        assert await see(store, ONE, "b") is SAME
        assert await see(store, ONE, "a") is ROLLED_BACK

    async def test_every_line_of_the_place_is_gone(self, store: Store) -> None:
        await see(store, ONE, "a")
        await see(store, ONE, "b", 1, "juliet")
        await see(store, TWO, "c")
        await retract(store, ONE)
        assert await see(store, ONE, "b", 1, "juliet") is ROLLED_BACK
        assert await see(store, ONE, "d") is REPLACED
        assert await see(store, ONE, "b", 1, "juliet") is ROLLED_BACK
        assert await see(store, TWO, "c") is SAME

    async def test_an_older_version_after_a_retraction_is_older_still(self, store: Store) -> None:
        await see(store, ONE, "b", 2)
        await retract(store, ONE)
        assert await see(store, ONE, "a", 1) is ROLLED_BACK

    async def test_it_may_be_retracted_where_it_was_just_seen(self, store: Store) -> None:
        await see(store, ONE, "a", 1, "juliet")
        async with store.exclusive(ME) as tx:
            history = History(tx, ME)
            await history.saw(ONE, "cipher", digest("b"), None, NOW)
            await history.saw(TWO, "cipher", digest("c"), None, NOW)
            await history.retracted(ONE)
            await tx.commit(history.changes())
        assert await see(store, ONE, "a", 1, "juliet") is ROLLED_BACK
        assert await see(store, ONE, "b") is ROLLED_BACK
        assert await see(store, TWO, "c") is SAME

    async def test_a_place_of_which_nothing_is_known_leaves_no_row(self, store: Store) -> None:
        await retract(store, ONE)
        assert await rows(store) == {}
        assert await see(store, ONE, "a") is FIRST

    async def test_to_retract_it_again_changes_nothing(self, store: Store) -> None:
        await see(store, ONE, "a")
        await retract(store, ONE)
        async with store.exclusive(ME) as tx:
            history = History(tx, ME)
            await history.retracted(ONE)
            assert history.changes() == []


class TestN13:
    """What a service can do with items that all members may decrypt, and what of it is seen."""

    async def test_n_13_items_swapped_between_ids(self, store: Store) -> None:
        await see(store, ONE, "a")
        await see(store, TWO, "b")
        swapped = await see_all(store, [Sight(ONE, "b"), Sight(TWO, "a")])
        assert swapped == [Seen(MOVED, NOW, (TWO,)), Seen(MOVED, NOW, (ONE,))]
        again = await see_all(store, [Sight(ONE, "b"), Sight(TWO, "a")])
        assert again == swapped, "it says so again"
        put_right = await see_all(store, [Sight(ONE, "a"), Sight(TWO, "b")])
        assert put_right == [Seen(ROLLED_BACK, NOW, (TWO,)), Seen(ROLLED_BACK, NOW, (ONE,))]
        assert await see(store, ONE, "c") is REPLACED, "by its author"
        assert await see(store, ONE, "c") is SAME

    async def test_n_13_an_item_in_another_node_of_the_same_secret(self, store: Store) -> None:
        await see(store, ONE, "a")
        assert await see_all(store, [Sight(THREE, "a")]) == [Seen(MOVED, NOW, (ONE,))]

    async def test_n_13_a_copy_in_the_same_page(self, store: Store) -> None:
        first, second = await see_all(store, [Sight(ONE, "a"), Sight(TWO, "a")])
        assert (first.sighting, second) == (FIRST, Seen(MOVED, NOW, (ONE,)))

    async def test_n_13_an_old_version_served_again(self, store: Store) -> None:
        await see(store, ONE, "a")
        await see(store, ONE, "b")
        assert await see(store, ONE, "a") is ROLLED_BACK

    async def test_n_13_an_old_version_of_another_item(self, store: Store) -> None:
        """That it is not of this place matters more than that it is old."""
        await see(store, ONE, "a", 1)
        await see(store, ONE, "b", 3)
        await see(store, TWO, "c", 2)
        assert await see(store, TWO, "a", 1) is MOVED
        assert await see(store, TWO, "c", 2) is SAME, "what was moved here is older than it"

    @pytest.mark.parametrize("dated", [True, False])
    async def test_n_13_a_rollback_is_not_hidden_by_showing_the_new_version_elsewhere(
        self, store: Store, *, dated: bool
    ) -> None:
        old, new = (1, 2) if dated else (None, None)
        assert await see(store, ONE, "old", old) is FIRST
        assert await see(store, TWO, "new", new) is FIRST
        assert await see(store, ONE, "new", new) is MOVED
        assert await see(store, ONE, "old", old) is ROLLED_BACK
        assert await see(store, ONE, "old", old) is ROLLED_BACK, "it says so again"
        assert await see(store, ONE, "new", new) is MOVED

    async def test_n_13_nor_by_showing_it_in_more_places_than_are_remembered(
        self, store: Store
    ) -> None:
        decoys = [place(f"decoy {number}") for number in range(9)]
        assert await see(store, ONE, "old", 1) is FIRST
        await see_all(store, [Sight(each, "new", 2) for each in decoys])
        assert await see(store, ONE, "new", 2) is MOVED
        assert await see(store, ONE, "old", 1) is ROLLED_BACK
        assert await see(store, ONE, "newest", 3) is REPLACED
        assert await see(store, ONE, "newest", 3) is SAME

    async def test_n_13_what_is_moved_into_an_empty_place_is_the_newest_there(
        self, store: Store
    ) -> None:
        assert await see(store, TWO, "new", 2) is FIRST
        assert await see(store, ONE, "new", 2) is MOVED
        assert await see(store, ONE, "old", 1) is ROLLED_BACK

    async def test_n_13_what_is_fetched_first_cannot_be_told(self, store: Store) -> None:
        """The limit of all this: a copy that is shown first, an old version that is shown first."""
        assert await see(store, TWO, "a") is FIRST, "it belongs to ONE"
        assert await see(store, ONE, "a") is MOVED, "it belongs here"
        assert await see(store, THREE, "old") is FIRST
        assert await see(store, THREE, "new") is REPLACED

    async def test_a_content_in_many_places(self, store: Store) -> None:
        places = [place(str(number)) for number in range(12)]
        seen = await see_all(store, [Sight(each, "a") for each in places])
        assert [each.sighting for each in seen] == [FIRST] + [MOVED] * 11
        assert seen[7].elsewhere == tuple(places[:7])
        assert seen[11].elsewhere == tuple(places[:8]), "no more are remembered"
        (again,) = await see_all(store, [Sight(places[11], "a")], now=at(5))
        assert again == Seen(MOVED, at(5), tuple(places[:8]))


class TestTimes:
    async def test_since_is_when_it_was_first_seen_there(self, store: Store) -> None:
        await see_all(store, [Sight(ONE, "a")], now=at(1))
        await see_all(store, [Sight(TWO, "a")], now=at(2))
        one, two = await see_all(store, [Sight(ONE, "a"), Sight(TWO, "a")], now=at(3))
        assert (one.since, two.since) == (at(1), at(2))

    async def test_r_12_a_clock_that_jumps_gives_no_negative_age_and_no_rollback(
        self, store: Store
    ) -> None:
        years = 10 * 366 * 24 * 60
        for jump in (0, years, -years, 0):
            seen = await see_all(store, [Sight(ONE, "a"), Sight(TWO, f"{jump}")], now=at(jump))
            assert all(each.since <= at(jump) for each in seen)
            assert ROLLED_BACK not in {each.sighting for each in seen[:1]}
        assert await see(store, TWO, "new") is REPLACED
        (seen_back,) = await see_all(store, [Sight(ONE, "a")], now=at(-years))
        assert seen_back == Seen(SAME, at(-years), ())

    @pytest.mark.parametrize(
        ("stamp", "now"), [(NOW.replace(tzinfo=None), NOW), (None, NOW.replace(tzinfo=None))]
    )
    async def test_a_time_has_a_zone(
        self, store: Store, stamp: datetime | None, now: datetime
    ) -> None:
        async with store.exclusive(ME) as tx:
            with pytest.raises(ApiMisuse):
                await History(tx, ME).saw(ONE, "cipher", digest("a"), stamp, now)

    @pytest.mark.parametrize("length", [0, 31, 33, 64])
    async def test_a_digest_has_32_bytes(self, store: Store, length: int) -> None:
        async with store.exclusive(ME) as tx:
            with pytest.raises(ApiMisuse):
                await History(tx, ME).saw(ONE, "cipher", bytes(length), None, NOW)


class TestWhatIsKept:
    async def test_nothing_is_kept_without_a_commit(self, store: Store) -> None:
        async with store.exclusive(ME) as tx:
            await History(tx, ME).saw(ONE, "cipher", digest("a"), None, NOW)
        assert await see(store, ONE, "a") is FIRST

    async def test_what_tells_nothing_new_writes_nothing(self, store: Store) -> None:
        await see_all(store, [Sight(ONE, "a"), Sight(ONE, "b"), Sight(TWO, "a")])
        async with store.exclusive(ME) as tx:
            history = History(tx, ME)
            for where, content in ((ONE, "b"), (ONE, "a"), (TWO, "a")):
                await history.saw(where, "cipher", digest(content), None, at(5))
            assert history.changes() == []

    async def test_no_content_is_kept_and_each_row_is_changed_once(self, store: Store) -> None:
        async with store.exclusive(ME) as tx:
            history = History(tx, ME)
            for content in ("a", "b", "c"):
                await history.saw(ONE, "cipher", digest(content), None, NOW)
            keys = [change.key for change in history.changes()]
            assert len(keys) == len(set(keys))

    async def test_r_13_what_was_not_seen_for_longest_is_forgotten(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_HISTORY_ITEMS", 16)
        for number in range(16):
            assert await see(store, place(str(number)), f"{number}") is FIRST
        assert await see(store, place("0"), "0") is SAME
        assert await see(store, place("new"), "new") is FIRST
        for number in (0, *range(2, 16)):
            assert await see(store, place(str(number)), f"{number}") is SAME
        assert await see(store, place("1"), "1") is FIRST, "this one was forgotten"

    async def test_r_13_a_page_that_is_longer_than_all_that_is_remembered(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_HISTORY_ITEMS", 4)
        await see_all(store, [Sight(place(str(number)), f"{number}") for number in range(20)])
        for number in range(20, 40):
            assert await see(store, place(str(number)), f"{number}") is FIRST
        contents = [key for key in await rows(store) if key[2] == "content"]
        assert len(contents) == 4

    async def test_r_13_many_versions_of_one_place_take_the_room_of_as_many_items(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_HISTORY_ITEMS", 4)
        for number in range(20):
            assert await see(store, ONE, f"{number}", number) in (FIRST, REPLACED)
        assert await see(store, ONE, "0", 0) is ROLLED_BACK, "forgotten, but its stamp is old"
        assert len(await rows(store)) <= 2 * 4 + 4

    async def test_r_13_who_fills_a_node_has_nothing_of_another_forgotten(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_HISTORY_ITEMS", 20)
        await see_all(store, [Sight(ONE, "old", 1, "juliet"), Sight(ONE, "new", 2, "juliet")])
        for page in range(20):
            flood = [place(f"{page} {number}", "tybalt") for number in range(7)]
            await see_all(store, [Sight(each, str(each), 3, "tybalt") for each in flood])
        assert await see(store, ONE, "old", 1, "juliet") is ROLLED_BACK
        assert await see(store, ONE, "new", 2, "juliet") is SAME

    async def test_r_13_nor_has_who_copies_into_a_node_what_stands_in_another(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A content takes room in each node where it is seen, and is forgotten in each alone."""
        monkeypatch.setattr(limits, "MAX_HISTORY_ITEMS", 8)
        await see(store, ONE, "new", 2)
        await see(store, THREE, "new", 2)
        for number in range(30):
            await see(store, place(f"{number}", "other"), f"{number}", 3)
        assert await see(store, ONE, "new", 2) is SAME
        assert await see(store, ONE, "old", 1) is ROLLED_BACK
        assert await see(store, THREE, "new", 2) is MOVED, "as often as it is seen there"

    async def test_r_13_however_many_sign_the_author_s_line_stays(self, store: Store) -> None:
        await see_all(store, [Sight(ONE, f"{n}", 1, f"page{n}") for n in range(200)])
        assert await see(store, ONE, "old", 1, "juliet") is FIRST
        assert await see(store, ONE, "new", 2, "juliet") is REPLACED
        assert await see(store, ONE, "old", 1, "juliet") is ROLLED_BACK
        await retract(store, ONE)
        assert await see(store, ONE, "0", 1, "page0") is ROLLED_BACK
        assert await see(store, ONE, "new", 2, "juliet") is ROLLED_BACK

    async def test_r_13_names_have_no_say_in_how_long_a_row_is(self, store: Store) -> None:
        long = "\U0001f339" * 4095
        places = [place(long + str(n), long) for n in range(8)]
        line = line_of(BareJid.parse(f"{'j' * 1000}@capulet.lit"))
        seen = await see_all(store, [Sight(each, "a", 1, line) for each in [*places, ONE]])
        assert [each.sighting for each in seen] == [FIRST] + [MOVED] * 8, "recognised all the same"
        assert {each.elsewhere for each in seen} == {()}, "and not named"
        for key, value in (await rows(store)).items():
            assert sum(map(len, key)) < 256
            assert len(value) < 2048

    async def test_no_two_places_and_lines_are_one(self, store: Store) -> None:
        for number, where in enumerate(
            [place("bc", "a"), place("c", "ab"), place("1:c", "a"), place("c", "a1:")]
        ):
            assert await see(store, where, f"{number}") is FIRST
            assert await see(store, where, f"other {number}", None, "juliet") is FIRST


class TestStored:
    SIGHTS = (
        Sight(ONE, "a", 1, "juliet@capulet.lit"),
        Sight(TWO, "a", 1, "juliet@capulet.lit"),
        Sight(ONE, "c", 2, "juliet@capulet.lit"),
        Sight(ONE, "b"),
        Sight(ItemPlace(NodeAddress(BareJid.parse("romeo@montague.lit"), "é /"), ItemId("'")), "d"),
    )

    async def test_the_stored_form_is_the_frozen_one(self, store: Store) -> None:
        await see_all(store, self.SIGHTS)
        await retract(store, TWO)
        await retract(store, ONE)
        stored = b"".join(
            b"\t".join([*(part.encode() for part in key[1:]), value]) + b"\n"
            for key, value in sorted((await rows(store)).items())
        )
        assert (FROZEN / "history-1.tsv").read_bytes() == stored

    async def test_what_an_older_release_stored_is_read(self, store: Store) -> None:
        await self._thaw(store)
        assert await see(store, ONE, "a", 1, "juliet@capulet.lit") is ROLLED_BACK
        assert await see(store, TWO, "a", 1, "juliet@capulet.lit") is MOVED
        assert await see(store, self.SIGHTS[-1].place, "d") is SAME
        assert await see(store, ONE, "b") is ROLLED_BACK, "it was retracted"

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"sightings":5', b'"sightings":"5"'),
            (b'"last":5', b'"last":null'),
            (b",1,", b',"1",'),
            (b'"places":[[', b'"places":[[],['),
            (b'["pubsub.capulet.lit"', b'["@"'),
            (b'["pubsub.capulet.lit"', b"[1"),
            (b',"2026-11-22T12:00:00+00:00",', b',"yesterday",'),
            (b'"newest":"', b'"new":"'),
            (b'"gone":true', b'"gone":1'),
            (b'"2026-11-22T12:02:00+00:00"', b'"tomorrow"'),
            (b'"kind":"history-content"', b'"kind":"history-tip"'),
            (b'"format":1', b'"format":0'),
            (b'"format":1', b'"format":2'),
        ],
    )
    async def test_r_04_a_damaged_row_is_refused(
        self, store: Store, old: bytes, new: bytes
    ) -> None:
        await self._thaw(store, old, new)
        with pytest.raises(StoreFailed) as caught:
            await see_all(store, (*self.SIGHTS, Sight(ONE, "new")))
        too_new = b'"format":2' in new
        code = ErrorCode.STORE_TOO_NEW if too_new else ErrorCode.STORE_CORRUPT
        assert caught.value.code is code

    async def test_r_04_rows_that_are_lost_are_no_fresh_start(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "MAX_HISTORY_ITEMS", 4)
        await self._thaw(store)
        kept = await rows(store)
        for lost in [(*ME, "history", "count"), min(key for key in kept if key[2] == "content")]:
            store = MemoryStore()
            async with store.exclusive(ME) as tx:
                await tx.commit([Put(key, raw) for key, raw in kept.items() if key != lost])
            with pytest.raises(E2eeError) as caught:
                await see_all(store, [Sight(place(f"{n}"), f"new {n}") for n in range(6)])
            assert caught.value.code is ErrorCode.STORE_CORRUPT

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"kind":"history-turn"', b'"kind":"turn"'),
            (b'"kind":"history-turn","line"', b'"kind":"history-turn","lines"'),
            (b'"kind":"history-share"', b'"kind":"share"'),
            (b'"sightings":4', b'"sightings":null'),
            (b"\tshare\t", b"\tlost\t"),
        ],
    )
    async def test_r_04_a_damaged_row_is_refused_when_something_is_to_be_forgotten(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes
    ) -> None:
        monkeypatch.setattr(limits, "MAX_HISTORY_ITEMS", 4)
        await self._thaw(store, old, new)
        with pytest.raises(StoreFailed) as caught:
            await see_all(store, [Sight(place(f"{n}"), f"new {n}") for n in range(6)])
        assert caught.value.code is ErrorCode.STORE_CORRUPT

    async def _thaw(self, store: Store, old: bytes = b"", new: bytes = b"") -> None:
        frozen = (FROZEN / "history-1.tsv").read_bytes()
        assert old in frozen
        changes = []
        for row in frozen.replace(old, new).splitlines() if old else frozen.splitlines():
            *key, value = row.split(b"\t")
            changes.append(Put((*ME, *(part.decode() for part in key)), value))
        async with store.exclusive(ME) as tx:
            await tx.commit(changes)
