"""An encrypted node read through the cache, from a service that swaps, replays and goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from e2ee.arrival import StanzaKind
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.history import Sighting
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.xmltree import Element
from pubsub_encryption.cache import ItemCache
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import ClearItem, UnreadableItem, open_items
from pubsub_encryption.node_secret import SecretState
from pubsub_encryption.reading import NodeReader, ReadItem, ReadResult
from tests.pubsub_encryption.test_item_history import framed_anew
from tests.support.hooked_store import HookedStore, Moment, waiting
from tests.support.node_world import Network, Person, entry, stood_in
from tests.support.ox_world import dump

FIRST, SAME, REPLACED, ROLLED_BACK, MOVED = Sighting
BLOG = NodeAddress(BareJid.parse("juliet@capulet.lit"), "blog")
DIARY = NodeAddress(BLOG.service, "diary")


@dataclass
class Reader:
    """Juliet, who owns the node and reads what the service shows."""

    person: Person
    opened: list[int]

    @property
    def cache(self) -> ItemCache:
        return ItemCache(self.person.jid, self.person.ports)

    async def seal(self, text: str) -> Element:
        return await self.person.node(BLOG).encrypt(entry(text))

    async def read(
        self, *page: tuple[str, Element], node: NodeAddress = BLOG
    ) -> Sequence[ReadResult]:
        reader = NodeReader(self.person.node(node), self.cache)
        return await reader.read([(each, stood_in(node, None, name)) for name, each in page])

    async def see(self, *page: tuple[str, Element]) -> list[tuple[str, Sighting]]:
        """Return what each item says, and what its sighting is."""
        results = await self.read(*page)
        assert all(isinstance(each, ReadItem) for each in results), results
        return [
            (text_of(each.item.payload), each.seen.sighting)
            for each in results
            if isinstance(each, ReadItem)
        ]

    async def kept(self) -> dict[str, str]:
        """Return what is in the cache."""
        return {item.place.item_id: text_of(item.payload) for item in await self.cache.page(BLOG)}

    def times_opened(self) -> int:
        """Return how many items were opened since the last time."""
        number = sum(self.opened)
        self.opened.clear()
        return number


def text_of(payload: Element) -> str:
    return payload.elements[0].text


@pytest.fixture
async def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    (person,) = await Network().people("juliet@capulet.lit")
    await person.node(BLOG).create()
    opened: list[int] = []

    async def counted(engine, keychain, items):  # type: ignore[no-untyped-def]
        opened.append(len(items))
        return await open_items(engine, keychain, items)

    monkeypatch.setattr("pubsub_encryption.reading.open_items", counted)
    return Reader(person, opened)


async def test_what_was_opened_is_served(reader: Reader) -> None:
    page = [(str(number), await reader.seal(f"post {number}")) for number in range(3)]
    assert await reader.see(*page) == [(f"post {number}", FIRST) for number in range(3)]
    assert reader.times_opened() == 3
    before = await dump(reader.person.store)
    assert await reader.see(*page) == [(f"post {number}", SAME) for number in range(3)]
    assert reader.times_opened() == 0
    assert await dump(reader.person.store) == before, "what tells nothing new changes nothing"
    newer = [*page, ("3", await reader.seal("post 3"))]
    assert [sighting for _, sighting in await reader.see(*newer)] == [SAME, SAME, SAME, FIRST]
    assert reader.times_opened() == 1


async def test_what_is_framed_anew_is_served(reader: Reader) -> None:
    payload = await reader.seal("long " * 200)
    await reader.see(("1", payload))
    assert await reader.see(("1", framed_anew(payload))) == [("long " * 200, SAME)]
    assert reader.times_opened() == 1


async def test_n_13_items_swapped_between_ids(reader: Reader) -> None:
    one, two = await reader.seal("one"), await reader.seal("two")
    await reader.see(("1", one), ("2", two))
    assert await reader.see(("1", two), ("2", one)) == [("two", MOVED), ("one", MOVED)]
    assert await reader.kept() == {"1": "one", "2": "two"}
    (moved, new) = await reader.read(("1", two), ("3", two))
    assert isinstance(moved, ReadItem)
    assert isinstance(new, ReadItem)
    assert moved.seen.elsewhere == (ItemPlace(BLOG, ItemId("2")),)
    assert new.seen.sighting is MOVED
    assert await reader.kept() == {"1": "one", "2": "two"}, "nothing is put for another item"
    reader.times_opened()
    page = [("1", one), ("2", two)]
    assert await reader.see(*page) == [("one", ROLLED_BACK), ("two", ROLLED_BACK)]
    assert reader.times_opened() == 0, "they are still there, and what happened is still told"


async def test_n_13_what_is_kept_is_served_for_no_other_node(reader: Reader) -> None:
    payload = await reader.seal("one")
    await reader.see(("1", payload))
    (result,) = await reader.read(("1", payload), node=DIARY)
    assert isinstance(result, UnreadableItem), "nothing that is kept is served for another node"
    assert result.error.code is ErrorCode.UNKNOWN_SECRET


async def test_n_13_a_service_that_goes_back(reader: Reader) -> None:
    old, new = await reader.seal("old"), await reader.seal("new")
    assert await reader.see(("1", old), ("1", new)) == [("old", FIRST), ("new", REPLACED)]
    reader.times_opened()
    for _ in range(2):
        assert await reader.see(("1", old)) == [("old", ROLLED_BACK)]
        assert reader.times_opened() == 1, "the newer one is not forgotten for the older"
    assert await reader.kept() == {"1": "new"}
    assert await reader.see(("1", new)) == [("new", SAME)]
    assert reader.times_opened() == 0


async def test_n_13_a_retracted_item_comes_back(reader: Reader) -> None:
    payload = await reader.seal("one")
    await reader.see(("1", payload))
    await reader.cache.retracted(ItemPlace(BLOG, ItemId("1")))
    assert await reader.kept() == {}
    assert await reader.see(("1", payload)) == [("one", ROLLED_BACK)]
    assert await reader.kept() == {}


async def test_a_bad_item_stops_no_other(reader: Reader) -> None:
    good, other = await reader.seal("good"), await reader.seal("other")
    clear = entry("in clear")
    ciphertext = bytearray(EncryptedItem.from_xml(good).ciphertext)
    ciphertext[-1] ^= 1
    secret_id = EncryptedItem.from_xml(good).secret_id
    broken = EncryptedItem(secret_id, bytes(ciphertext)).to_xml()
    garbage = EncryptedItem(secret_id, b"garbage").to_xml()
    pages = [("1", good), ("2", broken), ("3", clear), ("4", garbage), ("5", other)]
    for expected in (FIRST, SAME):
        results = await reader.read(*pages)
        assert [type(each) for each in results] == [
            *(ReadItem, UnreadableItem, ClearItem, UnreadableItem, ReadItem)
        ]
        seen = [each.seen.sighting for each in results if isinstance(each, ReadItem)]
        assert seen == [expected, expected]
        codes = [each.error.code for each in results if isinstance(each, UnreadableItem)]
        assert codes == [ErrorCode.CANNOT_DECRYPT, ErrorCode.MALFORMED]
    assert await reader.kept() == {"1": "good", "5": "other"}
    assert await reader.see(("2", good)) == [("good", MOVED)], "what failed is in no history"


async def test_what_stood_elsewhere_is_refused(reader: Reader) -> None:
    payload = await reader.seal("one")
    await reader.see(("1", payload))
    there = stood_in(BLOG, None, "1")
    wrong = [
        replace(there, node=DIARY),
        replace(there, node=None),
        replace(there, kind=StanzaKind.MESSAGE),
        replace(there, item_id=None),
        replace(there, item_id=ItemId("")),
    ]
    results = await NodeReader(reader.person.node(BLOG), reader.cache).read(
        [(payload, arrival) for arrival in wrong]
    )
    codes = [each.error.code for each in results if isinstance(each, UnreadableItem)]
    assert codes == [ErrorCode.CONTEXT_MISMATCH] * 3 + [ErrorCode.MALFORMED] * 2


async def test_what_is_kept_says_that_its_secret_is_revoked(reader: Reader) -> None:
    payload = await reader.seal("one")
    for expected in (SecretState.ACTIVE, SecretState.ACTIVE, SecretState.REVOKED):
        if expected is SecretState.REVOKED:
            await reader.person.node(BLOG).rotate()
        (result,) = await reader.read(("1", payload))
        assert isinstance(result, ReadItem)
        assert result.item.secret_state is expected


async def test_a_verdict_comes_with_what_is_kept(reader: Reader) -> None:
    payload = await reader.seal("one")
    (first,) = await reader.read(("1", payload))
    (kept,) = await reader.cache.page(BLOG)
    await reader.cache.set_verdict(kept.place, kept.digest, "trusted")
    (second,) = await reader.read(("1", payload))
    (other,) = await reader.read(("1", await reader.seal("two")))
    verdicts = [each.verdict for each in (first, second, other) if isinstance(each, ReadItem)]
    assert verdicts == [None, "trusted", None]


async def test_a_payload_too_long_to_be_kept_is_read(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = [("1", await reader.seal("long " * 1000)), ("2", await reader.seal("short"))]
    monkeypatch.setattr("e2ee.xmlkeep.MAX_XML_BYTES", 1000)
    for expected in (FIRST, SAME):
        assert await reader.see(*page) == [("long " * 1000, expected), ("short", expected)]
    assert await reader.kept() == {"2": "short"}


async def test_all_of_a_page_is_kept_or_nothing(reader: Reader) -> None:
    page = [(str(number), await reader.seal(f"post {number}")) for number in range(3)]
    commits = 0

    async def fail(moment: Moment) -> None:
        nonlocal commits
        if moment is Moment.BEFORE_COMMIT:
            commits += 1
            raise StoreFailed(ErrorCode.STORE_FULL, "no room")

    failing = Reader(await reader.person.copied(lambda store: HookedStore(store, fail)), [])
    before = await dump(failing.person.store)
    with pytest.raises(StoreFailed):
        await failing.read(*page)
    assert commits == 1
    assert await dump(failing.person.store) == before
    assert [sighting for _, sighting in await reader.see(*page)] == [FIRST] * 3


async def test_two_readers_at_once_agree(reader: Reader) -> None:
    page = [(str(number), await reader.seal(f"post {number}")) for number in range(4)]
    both = Reader(await reader.person.copied(waiting), [])
    seen = await asyncio.gather(both.see(*page), both.see(*page[::-1]))
    assert sorted(sighting for each in seen for _, sighting in each) == [FIRST] * 4 + [SAME] * 4
    assert await both.kept() == {f"{number}": f"post {number}" for number in range(4)}
