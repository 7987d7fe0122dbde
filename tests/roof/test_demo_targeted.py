"""The scene of targeted items tells the truth: it fails where one leaks, or is lost."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from e2ee.draft import Draft
from e2ee.names import BareJid, ItemPlace
from e2ee.omemo import OmemoSessions, OpenedMessage
from e2ee.omemo.decrypting import decrypt_within
from e2ee.xmltree import Element
from pubsub_encryption import ItemCache, TargetedItem, TargetedItems
from pubsub_encryption.cache_rows import CacheRows
from tests.roof.test_demo import failed, played, rehearsed

NURSE = BareJid.parse("nurse@verona.example")
SEARCH = "romeo-finds-a-post-by-a-word"


async def test_where_there_is_no_index_nothing_is_searched() -> None:
    report = await rehearsed()
    assert failed(report) == set()
    assert SEARCH not in {check["name"] for check in report["checks"]}


class TestSabotage:
    """Each breaks one thing that the library must do; the demo must notice."""

    async def test_an_author_who_publishes_in_clear(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def plain(
            self: TargetedItems, payload: Element, to: Collection[BareJid], place: ItemPlace
        ) -> TargetedItem:
            return TargetedItem(payload)

        monkeypatch.setattr(TargetedItems, "encrypt", plain)
        report = await rehearsed()
        assert {"server-finds-nothing", "romeo-reads-what-is-for-him"} <= failed(report)
        assert {"nightingale", "The orchard wall"} <= set(report["server"]["found"])

    async def test_an_author_who_writes_for_the_nurse_as_well(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        genuine = TargetedItems.encrypt

        async def generous(
            self: TargetedItems, payload: Element, to: Collection[BareJid], place: ItemPlace
        ) -> TargetedItem:
            return await genuine(self, payload, {*to, NURSE}, place)

        monkeypatch.setattr(TargetedItems, "encrypt", generous)
        assert failed(await rehearsed()) == {"nurse-reads-no-post-for-romeo"}

    async def test_a_cache_that_serves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def empty(self: ItemCache, *arguments: object) -> None:
            """Serve nothing."""

        monkeypatch.setattr(ItemCache, "served_within", empty)
        assert {"romeo-reads-what-is-for-him", "romeo-reads-again-from-his-cache"} <= failed(
            await rehearsed()
        )

    async def test_a_session_that_makes_no_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever takes the device later then reads what the cache has let go."""

        async def unmoved(sessions: OmemoSessions, draft: Draft, *arguments: Any) -> OpenedMessage:
            return await decrypt_within(sessions, Draft(draft, draft.account), *arguments)

        monkeypatch.setattr("pubsub_encryption.targeted_reading.decrypt_within", unmoved)
        assert failed(await rehearsed()) == {"omemo-opens-a-post-once"}

    def test_an_index_that_learns_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        genuine = CacheRows.__init__

        def deaf(self: CacheRows, draft: Draft, policy: Any, *, is_indexed: bool) -> None:
            genuine(self, draft, policy, is_indexed=False)

        monkeypatch.setattr(CacheRows, "__init__", deaf)
        assert failed(played("--count", "2")) == {SEARCH}
