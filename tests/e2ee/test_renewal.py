"""Renewal: one commit, after which nothing waits in the outbox and every layer can tell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from e2ee.effects import Send
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.outbox import Outbox, queued
from e2ee.renewal import Renewal, renew, renewal_within
from e2ee.storage import Put, Store
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from tests.support.anchors import HookedAnchor, memory_with
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import waiting
from tests.support.ox_world import dump

JULIET, ROMEO = BareJid.parse("juliet@capulet.lit"), BareJid.parse("romeo@montague.lit")
ROW = (str(JULIET), "renewal")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def queue(store: Store, account: BareJid, count: int) -> None:
    async with store.exclusive((str(account),)) as tx:
        effects = [Send(ROMEO, (), f"stanza {number}") for number in range(count)]
        await tx.commit(await queued(tx, account, effects))


async def newest(store: Store, account: BareJid = JULIET) -> Renewal:
    async with store.exclusive((str(account),)) as tx:
        return await renewal_within(tx, account)


async def test_r_05_a_renewal_empties_the_outbox_and_counts() -> None:
    store = GuardedStore(MemoryStore(), HookedAnchor())
    outbox = Outbox(store, JULIET)
    await queue(store, JULIET, 450)  # more than a page
    await queue(store, ROMEO, 1)
    await outbox.failed(7, "forbidden")
    waited = await outbox.pending(1000)
    assert await newest(store) == Renewal()
    assert await renew(store, JULIET, lambda: NOW) == waited
    assert len(waited) == 449
    assert not await outbox.pending()
    assert [job.id for job in await outbox.refused()] == [7]  # the user has not been told yet
    assert len(await Outbox(store, ROMEO).pending()) == 1
    assert await newest(store) == Renewal(1, NOW)
    assert await newest(store, ROMEO) == Renewal()
    assert await renew(store, JULIET, lambda: NOW + timedelta(days=1)) == ()
    assert await newest(store) == Renewal(2, NOW + timedelta(days=1))
    await queue(store, JULIET, 1)
    (job,) = await outbox.pending()
    assert job.id > 451  # no number is used again


def test_what_was_sure_under_an_earlier_renewal_is_not_sure() -> None:
    renewal = Renewal(2, NOW)
    assert [renewal.outdates(count) for count in range(3)] == [True, True, False]
    with pytest.raises(StoreFailed) as caught:
        renewal.outdates(3)
    assert caught.value.code is ErrorCode.STORE_CORRUPT
    assert not Renewal().outdates(0)
    assert Renewal().since < NOW


def test_n_12_only_what_no_clock_dated_before_the_renewal_precedes_it() -> None:
    renewal = Renewal(1, NOW)
    for seconds, surely in ((-1, False), (0, False), (300, False), (301, True)):
        assert renewal.precedes(NOW + timedelta(seconds=seconds)) is surely
    for end in (datetime.min, datetime.max):
        moment = end.replace(tzinfo=UTC)
        assert renewal.precedes(moment) is (moment > NOW)
        assert not Renewal(1, moment).precedes(moment)
    assert Renewal().precedes(NOW)


async def test_r_12_a_clock_that_jumps_back_takes_no_renewal_back() -> None:
    store = GuardedStore(MemoryStore(), HookedAnchor())
    await renew(store, JULIET, lambda: NOW)
    await renew(store, JULIET, lambda: NOW - timedelta(days=1000))
    assert await newest(store) == Renewal(2, NOW)


async def test_r_05_a_job_of_the_copy_has_no_number_of_what_was_lost() -> None:
    """A program that went on performing reports what it has done by its number."""
    inner, anchor = MemoryStore(), HookedAnchor()
    await queue(GuardedStore(inner, anchor), JULIET, 1)
    copy = await dump(inner)
    given: list[int] = []
    for _ in range(3):
        store = GuardedStore(await memory_with(copy), anchor)
        await renew(store, JULIET, lambda: NOW)
        await queue(store, JULIET, 5)
        given += [job.id for job in await Outbox(store, JULIET).pending()]
    assert len(set(given)) == len(given)
    assert min(given) > 1000


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (b"", ErrorCode.STORE_CORRUPT),
        (b'{"kind":"renewal","format":1}', ErrorCode.STORE_CORRUPT),
        *(
            (b'{"kind":"renewal","format":1,"count":%s,"since":%s}' % row, ErrorCode.STORE_CORRUPT)
            for row in (
                (b"0", b'"2026-11-22T12:00:00+00:00"'),
                (b"true", b'"2026-11-22T12:00:00+00:00"'),
                (b'"1"', b'"2026-11-22T12:00:00+00:00"'),
                (b"1.0", b'"2026-11-22T12:00:00+00:00"'),
                (b"Infinity", b'"2026-11-22T12:00:00+00:00"'),
                (b"1", b'"2026-11-22T12:00:00"'),
                (b"1", b"1"),
            )
        ),
        (b'{"kind":"renewal","format":2}', ErrorCode.STORE_TOO_NEW),
    ],
)
async def test_r_04_a_damaged_renewal_is_not_taken_for_none(row: bytes, code: ErrorCode) -> None:
    inner = MemoryStore()
    store = GuardedStore(inner, HookedAnchor())
    await renew(store, JULIET, lambda: NOW)
    async with store.exclusive((str(JULIET),)) as tx:
        await tx.commit([Put(ROW, row)])
    before = await dump(inner)
    for attempt in (newest(store), renew(store, JULIET, lambda: NOW)):
        with pytest.raises(StoreFailed) as caught:
            await attempt
        assert caught.value.code is code
    assert await dump(inner) == before


async def test_what_a_release_has_written_is_read() -> None:
    store = MemoryStore()
    raw = b'{"count":3,"format":1,"kind":"renewal","since":"2026-11-22T12:00:00+00:00"}'
    async with store.exclusive((str(JULIET),)) as tx:
        await tx.commit([Put(ROW, raw)])
    assert await newest(store) == Renewal(3, NOW)


async def test_r_11_a_renewal_that_is_cancelled_is_whole_or_was_not() -> None:
    ends: list[tuple[bool, int]] = []
    while not ends or ends[-1][0]:
        inner, anchor = MemoryStore(), HookedAnchor()
        store = GuardedStore(inner, anchor)
        await queue(store, JULIET, 3)
        work = renew(GuardedStore(waiting(inner), anchor), JULIET, lambda: NOW)
        attempt = asyncio.create_task(cancel_at(work, len(ends)))
        await asyncio.wait([attempt])
        count = (await newest(store)).count
        assert len(await Outbox(store, JULIET).pending()) == (0 if count else 3)
        ends.append((attempt.cancelled(), count))
    assert [count for _, count in ends] == sorted(count for _, count in ends)
    assert (True, 0) in ends
    assert (True, 1) in ends
