"""The rows of a cache: damaged, written by a newer release, and how many of them there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from e2ee import limits
from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.storage import Put, Remove
from e2ee.stores.memory import MemoryStore
from e2ee.xmlparse import parse_xml
from e2ee.xmlwrite import write_xml
from pubsub_encryption.cache_policy import CachePolicy
from pubsub_encryption.items import Authorship
from tests.support.cached_items import (
    BLOG,
    ME,
    Desk,
    at_id,
    by_device,
    by_member,
    check_rows,
)
from tests.support.hooked_store import HookedStore, Moment
from tests.support.source import ROOT

VALUES: tuple[Any, ...] = (None, True, 1, -1, 1.5, "", "x", [], ["a"], {}, {"a": 1})


async def damaged(desk: Desk, kind: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the fields of the one row of a kind."""
    (row,) = [(key, raw) for key, raw in (await desk.rows()).items() if key[2] == kind]
    fields = json.loads(row[1])
    change(fields)
    raw = json.dumps(fields, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    async with desk.store.exclusive((str(ME),)) as tx:
        await tx.commit([Put(row[0], raw)])


async def refusal(desk: Desk, kind: str) -> E2eeError | None:
    """Read an item, or let it go, whichever needs the row; return what is refused."""
    try:
        if kind == "item":
            await desk.cache.get(at_id("1"))
        else:
            await desk.cache.forget(at_id("1"))
    except StoreFailed as error:
        return error
    return None


@pytest.mark.parametrize("kind", ["item", "turn", "count", "node-count"])
async def test_a_damaged_row_is_reported(kind: str) -> None:
    desk = Desk(MemoryStore())
    await desk.keep(by_device("1", "one"))
    names = [
        name
        for key, raw in (await desk.rows()).items()
        for name in json.loads(raw)
        if key[2] == kind
    ]
    for name in names:
        for value in VALUES:
            desk = Desk(MemoryStore())
            await desk.keep(by_device("1", "one"))

            def change(fields: dict[str, Any], name: str = name, value: object = value) -> None:
                fields[name] = value

            await damaged(desk, kind, change)
            error = await refusal(desk, kind)
            if error is None:  # another value that could have been written
                continue
            assert error.code is ErrorCode.STORE_CORRUPT, (name, value)
            assert "one" not in repr(error)
        await damaged(desk, kind, lambda fields, name=name: fields.pop(name))  # type: ignore[misc]
        error = await refusal(desk, kind)
        assert error
        assert error.code is ErrorCode.STORE_CORRUPT


@pytest.mark.parametrize("kind", ["item", "turn", "count", "node-count"])
async def test_a_row_of_a_newer_release_is_left_alone(kind: str) -> None:
    desk = Desk(MemoryStore())
    await desk.keep(by_device("1", "one"))
    await damaged(desk, kind, lambda fields: fields.update(format=2))
    before = await desk.rows()
    error = await refusal(desk, kind)
    assert error
    assert error.code is ErrorCode.STORE_TOO_NEW
    assert await desk.rows() == before


@pytest.mark.parametrize("kind", ["turn", "count"])
async def test_a_lost_row_is_reported(kind: str) -> None:
    desk = Desk(MemoryStore())
    await desk.keep(by_device("1", "one"))
    (key,) = [key for key in await desk.rows() if key[2] == kind]
    async with desk.store.exclusive((str(ME),)) as tx:
        await tx.commit([Remove(key)])
    with pytest.raises(StoreFailed) as caught:
        await desk.cache.forget(at_id("1"))
    assert caught.value.code is ErrorCode.STORE_CORRUPT


FROZEN = ROOT / "tests" / "frozen" / "item-cache-1.tsv"
ITEMS = (
    by_member("1", "one"),
    replace(by_device("é /", "薔薇 \n"), verdict="trusted"),
    replace(by_device("2", "two"), authorship=Authorship.OPENPGP_KEY, device=None, trust=None),
)


async def test_the_stored_form_is_the_frozen_one() -> None:
    desk = Desk(MemoryStore())
    await desk.keep(*ITEMS)
    stored = b"".join(
        b"\t".join([*(part.encode() for part in key[1:]), value]) + b"\n"
        for key, value in sorted((await desk.rows()).items())
    )
    assert FROZEN.read_bytes() == stored


async def test_what_an_older_release_stored_is_read() -> None:
    desk = Desk(MemoryStore())
    rows = [row.split(b"\t") for row in FROZEN.read_bytes().splitlines()]
    async with desk.store.exclusive((str(ME),)) as tx:
        await tx.commit(
            [Put((str(ME), *(part.decode() for part in key)), value) for *key, value in rows]
        )
    assert [await desk.cache.get(item.place) for item in ITEMS] == list(ITEMS)
    await desk.cache.forget(BLOG)
    check_rows(await desk.rows())


async def test_an_item_in_the_row_of_another_one_is_reported() -> None:
    desk = Desk(MemoryStore())
    await desk.keep(by_member("1", "one"), by_member("2", "two"))
    (_, raw), (two, _) = sorted(
        (key, raw) for key, raw in (await desk.rows()).items() if key[2] == "item"
    )
    async with desk.store.exclusive((str(ME),)) as tx:
        await tx.commit([Put(two, raw)])
    with pytest.raises(StoreFailed) as caught:
        await desk.cache.get(at_id("2"))
    assert caught.value.code is ErrorCode.STORE_CORRUPT


async def test_elements_come_back_as_they_were() -> None:
    """With the prefixes that they inherited, which text may refer to."""
    envelope = parse_xml(
        "<e xmlns='urn:e' xmlns:p='urn:p' xmlns:q='urn:q' xmlns:r='urn:r'><p:x r:a='p:v' b='1'>"
        + "<p:y/><q:z xmlns='urn:z' xml:lang='de'> <w/>\n</q:z>" * 50
        + "</p:x></e>"
    )
    (payload,) = envelope.elements
    desk = Desk(MemoryStore())
    await desk.keep(replace(by_member("1", "x"), payload=payload))
    kept = await desk.cache.get(at_id("1"))
    assert kept
    assert kept.payload == payload
    (raw,) = [raw for key, raw in (await desk.rows()).items() if key[2] == "item"]
    assert len(raw) < 2 * len(write_xml(envelope).encode())


async def test_what_is_too_long_leaves_the_draft_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(MemoryStore())
    await desk.keep(by_member("1", "one"))
    before = await desk.rows()
    monkeypatch.setattr("e2ee.xmlkeep.MAX_XML_BYTES", 100)
    with pytest.raises(PeerMisbehaved) as caught:
        await desk.keep(by_member("1", "longer " * 20))
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    assert await desk.rows() == before


async def test_r_13_growth_is_bounded_and_each_item_costs_the_same() -> None:
    """Rows in step with the policy, and as many reads for the last item as for the first."""
    reads = 0

    async def count(moment: Moment) -> None:
        nonlocal reads
        reads += moment in (Moment.GET, Moment.SCAN)

    policy = CachePolicy(max_items=50, max_items_per_node=30)
    desk = Desk(HookedStore(MemoryStore(), count), policy)
    costs: list[int] = []
    for number in range(300):
        node = replace(BLOG, node=f"{number % 7}")
        reads = 0
        await desk.keep(by_member(f"{number}", f"{number}", node))
        costs.append(reads)
        assert len(await desk.rows()) <= 3 * policy.max_items + 7 + 1
    assert max(costs[100:]) <= max(costs[:100]) <= 16
    check_rows(await desk.rows())


async def test_r_13_long_names_count() -> None:
    """What the rows hold is never much more than the policy says, whatever a node is named."""
    policy = CachePolicy(max_bytes=500_000)
    desk = Desk(MemoryStore(), policy)
    node = replace(BLOG, node="\U0001f600" * limits.MAX_NODE_CHARS)
    for number in range(20):
        name = "\U0001f600" * (limits.MAX_ITEM_ID_CHARS - 2) + f"{number:02}"
        await desk.keep(by_member(name, "x", node))
        held = sum(
            len(raw) + len("".join(key).encode()) for key, raw in (await desk.rows()).items()
        )
        assert held < policy.max_bytes
    assert await desk.ids(node)


def test_what_could_keep_nothing_is_refused() -> None:
    for wrong in (
        {"max_items": 0},
        {"max_bytes": -1},
        {"max_items_per_node": 0},
        {"max_age": timedelta(0)},
    ):
        with pytest.raises(ApiMisuse):
            CachePolicy(**wrong)


def test_an_item_shows_nothing_of_what_it_says() -> None:
    item = by_member("1", "O Romeo, Romeo!")
    assert "Romeo" not in repr(item)
    with pytest.raises(ApiMisuse):
        replace(item, digest=b"short")
    for naive in ({"stored": datetime(2026, 1, 1)}, {"time": datetime(2026, 1, 1)}):
        with pytest.raises(ApiMisuse):
            replace(item, **naive)  # type: ignore[arg-type]
