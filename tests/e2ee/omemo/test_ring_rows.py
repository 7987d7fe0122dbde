"""The rows of rings, bundles and owners: what was written is read, and nothing else is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from e2ee.draft import Draft
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.limits import MAX_DEVICES
from e2ee.names import BareJid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.bundle_record import bundle_from_record, bundle_to_record
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.ring_record import ring_from_record, ring_to_record
from e2ee.omemo.ring_rows import (
    bundle_within,
    drop_bundle,
    drop_owner,
    owner_within,
    put_bundle,
    put_owner,
    put_ring,
    ring_within,
)
from e2ee.omemo.version import Version
from e2ee.records import pack
from e2ee.stores.memory import MemoryStore
from e2ee.trust import Trust

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
JULIET, ROMEO = BareJid.parse("juliet@capulet.lit"), BareJid.parse("romeo@montague.lit")
PHONE = Device(ROMEO, DeviceId(1))
NAME, OTHER = (IdentityFingerprint(f"{number:064x}") for number in (1, 2))


def bundle(version: Version = Version.TWO) -> Bundle:
    """Return a bundle, of which only the lengths are right."""
    return Bundle(version, b"i" * 32, 7, b"s" * 32, b"g" * 64, ((1, b"p" * 32), (2, b"q" * 32)))


def rich_ring() -> DeviceRing:
    """Return a ring that has something in every place."""
    entry = ListedDevice(PHONE.id, "Phone", b"l" * 64)
    listed = DeviceList(Version.TWO, (entry, ListedDevice(DeviceId(2))))
    ring = DeviceRing(ROMEO).announce(listed, Trust.AUTOMATIC, NOW)
    ring = ring.pin(PHONE.id, NAME).decide(NAME, Trust.AUTHENTICATED).offer(PHONE.id, OTHER)
    ring = ring.refuse(DeviceId(2), Version.TWO, ErrorCode.BAD_SIGNATURE, NOW)
    ring = ring.heard_from(PHONE.id, NOW).wrote_to([PHONE.id], NOW + timedelta(days=2))
    return ring.fetched(NOW).announced_again(Version.TWO, NOW).opt_out("because")


@pytest.fixture
async def draft() -> AsyncIterator[Draft]:
    async with MemoryStore().exclusive((str(JULIET),)) as tx:
        yield Draft(tx, JULIET)


async def test_a_ring_is_read_as_it_was_written(draft: Draft) -> None:
    assert await ring_within(draft, ROMEO) == DeviceRing(ROMEO)
    put_ring(draft, rich_ring())
    assert await ring_within(draft, ROMEO) == rich_ring()


async def test_o_35_a_ring_in_anothers_place(draft: Draft) -> None:
    draft.put(draft.row("omemo", "ring", str(JULIET)), ring_to_record(rich_ring()))
    with pytest.raises(StoreFailed) as caught:
        await ring_within(draft, JULIET)
    assert caught.value.code is ErrorCode.STORE_CORRUPT


def _same_id(fields: dict[str, Any]) -> None:
    fields["devices"][1]["id"] = "1"


def _same_identity(fields: dict[str, Any]) -> None:
    fields["devices"][1]["fingerprint"] = NAME


def _belied(fields: dict[str, Any]) -> None:
    fields["decided"][NAME] = "distrusted"


def _trusted(fields: dict[str, Any]) -> None:
    fields["devices"][0]["trust"] = "automatic"


def _forgotten(fields: dict[str, Any]) -> None:
    fields["seen"] = False


@pytest.mark.parametrize("change", [_same_id, _same_identity, _belied, _trusted, _forgotten])
def test_o_35_a_ring_that_contradicts_itself(change: Callable[[dict[str, Any]], None]) -> None:
    fields = json.loads(ring_to_record(rich_ring()))
    change(fields)
    with pytest.raises(StoreFailed) as caught:
        ring_from_record(json.dumps(fields, separators=(",", ":"), sort_keys=True).encode())
    assert caught.value.code is ErrorCode.STORE_CORRUPT


_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    1.0,
    -1,
    "",
    "x",
    "1",
    [],
    [[]],
    {},
    {"x": "y"},
    NAME,
    "TWO",
    "automatic",
)


def _mutants(value: Any) -> list[Any]:
    """Return a JSON value with each of its parts lost, or replaced by something else."""
    if isinstance(value, dict):
        lost: list[Any] = [
            {key: each for key, each in value.items() if key != name} for name in value
        ]
        parts = [{**value, name: other} for name in value for other in _mutants(value[name])]
        return [*lost, *parts, *_VALUES]
    if isinstance(value, list):
        swapped = [
            [*value[:place], other, *value[place + 1 :]]
            for place, each in enumerate(value)
            for other in _mutants(each)
        ]
        return [*swapped, value * 2, *_VALUES]
    return list(_VALUES)


def _refusals(record: bytes, rewritten: Callable[[bytes], bytes]) -> Counter[ErrorCode]:
    """Read every mutant of a record, and count why it was refused; one that is not stays itself."""
    refusals: Counter[ErrorCode] = Counter()
    for mutant in _mutants(json.loads(record)):
        raw = json.dumps(mutant, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
        try:
            assert rewritten(raw) == raw
        except StoreFailed as failure:
            refusals[failure.code] += 1
    return refusals


def test_o_35_whatever_is_lost_of_a_ring_or_of_another_type_is_found() -> None:
    record = ring_to_record(rich_ring())
    refusals = _refusals(record, lambda raw: ring_to_record(ring_from_record(raw)))
    assert set(refusals) == {ErrorCode.STORE_CORRUPT}
    assert refusals.total() > 500


def test_p7_a_long_ring_of_a_stranger_is_not_kept_in_memory() -> None:
    """Each of its lists makes another record, and a program runs for months."""
    short = ring_to_record(DeviceRing(ROMEO))
    assert ring_from_record(short) is ring_from_record(short)
    crowd = DeviceList(
        Version.TWO, tuple(ListedDevice(DeviceId(each)) for each in range(1, MAX_DEVICES + 1))
    )
    long = ring_to_record(DeviceRing(ROMEO).announce(crowd, Trust.UNDECIDED, NOW))
    assert ring_from_record(long) is not ring_from_record(long)


def test_o_35_whatever_is_lost_of_a_bundle_or_of_another_type_is_found() -> None:
    record = bundle_to_record(bundle(), NOW, 0)
    refusals = _refusals(record, lambda raw: bundle_to_record(*bundle_from_record(raw)))
    assert set(refusals) == {ErrorCode.STORE_CORRUPT}
    assert refusals.total() > 100


async def test_o_35_a_damaged_owner(draft: Draft) -> None:
    for record in (
        b"",
        pack("omemo-identity", 1, {}),
        pack("omemo-identity", 1, {"jid": str(ROMEO), "id": 1}),
        pack("omemo-identity", 1, {"jid": "ROMEO@montague.lit", "id": "1"}),
        pack("omemo-identity", 1, {"jid": str(ROMEO), "id": "0"}),
    ):
        draft.put(draft.row("omemo", "identity", NAME), record)
        with pytest.raises(StoreFailed) as caught:
            await owner_within(draft, NAME)
        assert caught.value.code is ErrorCode.STORE_CORRUPT


async def test_an_owner_is_read_as_it_was_written(draft: Draft) -> None:
    assert await owner_within(draft, NAME) is None
    put_owner(draft, NAME, PHONE)
    assert await owner_within(draft, NAME) == PHONE
    drop_owner(draft, NAME)
    assert await owner_within(draft, NAME) is None


class TestBundles:
    async def test_one_is_good_for_ten_minutes(self, draft: Draft) -> None:
        assert await bundle_within(draft, Version.TWO, PHONE, NOW) is None
        await put_bundle(draft, PHONE, bundle(), NOW)
        soon = NOW + timedelta(minutes=10, microseconds=-1)
        assert await bundle_within(draft, Version.TWO, PHONE, soon) == bundle()
        assert await bundle_within(draft, Version.LEGACY, PHONE, soon) is None
        for later in (NOW + timedelta(minutes=10), NOW - timedelta(days=3650)):
            assert await bundle_within(draft, Version.TWO, PHONE, later) is None

    async def test_it_is_used_once(self, draft: Draft) -> None:
        await put_bundle(draft, PHONE, bundle(Version.LEGACY), NOW)
        drop_bundle(draft, Version.LEGACY, PHONE)
        assert await bundle_within(draft, Version.LEGACY, PHONE, NOW) is None

    async def test_r_13_old_ones_of_the_same_account_are_dropped(self, draft: Draft) -> None:
        for each in range(1, 4):
            await put_bundle(draft, Device(ROMEO, DeviceId(each)), bundle(), NOW)
        await put_bundle(draft, PHONE, bundle(), NOW + timedelta(minutes=9))
        assert len(await draft.scan(draft.row("omemo", "bundle"))) == 3
        await put_bundle(draft, PHONE, bundle(), NOW + timedelta(minutes=10))
        assert len(await draft.scan(draft.row("omemo", "bundle"))) == 1

    async def test_o_35_one_in_anothers_place(self, draft: Draft) -> None:
        await put_bundle(draft, PHONE, bundle(), NOW)
        record = await draft.get(draft.row("omemo", "bundle", "TWO", str(ROMEO), "1"))
        assert record is not None
        draft.put(draft.row("omemo", "bundle", "LEGACY", str(ROMEO), "1"), record)
        with pytest.raises(StoreFailed) as caught:
            await bundle_within(draft, Version.LEGACY, PHONE, NOW)
        assert caught.value.code is ErrorCode.STORE_CORRUPT
