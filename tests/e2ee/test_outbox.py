"""The outbox: in order, at least once, across restarts, and never with a job lost or mistaken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from e2ee.effects import Affiliate, Affiliation, Create, Effect, Publish, Send, Unsubscribe
from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.outbox import PREDECESSOR_FAILED, Job, Outbox, Refused, queued
from e2ee.records import pack
from e2ee.storage import Change, Key, Put, Remove, Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmltree import element
from tests.support.cancellation import cancel_at

JULIET = BareJid.parse("juliet@capulet.lit")
ROMEO = BareJid.parse("romeo@montague.lit")
BLOG = NodeAddress(JULIET, "blog")
OUT = Unsubscribe(BLOG, ROMEO)
GONE = Affiliate(BLOG, ROMEO, Affiliation.NONE)
NEW = Send(ROMEO, (), "1")
STATE = Put((str(JULIET), "state"), b"rotated")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        async with await SqliteStore.open(tmp_path / "store.db") as opened:
            yield opened


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store, JULIET)


async def queue(
    store: Store, *effects: Effect, chained: bool = False, who: BareJid = JULIET
) -> None:
    async with store.exclusive((str(who),)) as transaction:
        await transaction.commit(await queued(transaction, who, effects, chained=chained))


async def change(store: Store, *changes: Change) -> None:
    async with store.exclusive((str(JULIET),)) as transaction:
        await transaction.commit(changes)


async def everything(store: Store) -> dict[Key, bytes]:
    async with store.exclusive(()) as transaction:
        return dict(await transaction.scan((), limit=10_000))


def effects(jobs: Sequence[Job | Refused]) -> list[Effect]:
    return [job.effect for job in jobs]


async def test_effects_wait_in_order_until_they_are_done(store: Store, outbox: Outbox) -> None:
    await queue(store, OUT, GONE)
    await queue(store)
    await queue(store, NEW)
    jobs = await outbox.pending()
    assert effects(jobs) == [OUT, GONE, NEW]
    assert await outbox.pending(2) == jobs[:2]
    await outbox.done(jobs[1].id)
    assert await outbox.pending() == (jobs[0], jobs[2])
    for job in jobs:
        await outbox.done(job.id)
    assert await outbox.pending() == ()
    assert await outbox.refused() == ()


async def test_order_is_by_number_and_ids_are_never_used_again(
    store: Store, outbox: Outbox
) -> None:
    await queue(store, *[NEW] * 120)
    assert [job.id for job in await outbox.pending()] == [*range(1, 121)]
    for number in (9, 10, 11, 99, 100, 120):
        await outbox.failed(number, "gone")
        await outbox.done(number - 1)
    assert [refused.id for refused in await outbox.refused()] == [9, 10, 11, 99, 100, 120]
    await queue(store, NEW)
    assert [job.id for job in await outbox.pending()][-2:] == [118, 121]


async def test_effects_are_committed_with_their_cause_or_not_at_all(
    store: Store, outbox: Outbox
) -> None:
    async with store.exclusive((str(JULIET),)) as transaction:
        await queued(transaction, JULIET, [OUT])
    assert await everything(store) == {}
    async with store.exclusive((str(JULIET),)) as transaction:
        await transaction.commit([STATE, *await queued(transaction, JULIET, [OUT, NEW])])
    assert (await everything(store))[STATE.key] == b"rotated"
    assert effects(await outbox.pending()) == [OUT, NEW]


async def test_accounts_do_not_see_each_other(store: Store, outbox: Outbox) -> None:
    await queue(store, NEW, who=ROMEO)
    assert await outbox.pending() == ()
    (job,) = await Outbox(store, ROMEO).pending()
    await outbox.done(job.id)
    await outbox.failed(job.id, "gone")
    assert await Outbox(store, ROMEO).pending() == (job,)


async def test_a_refused_effect_is_listed_and_the_others_go_on(
    store: Store, outbox: Outbox
) -> None:
    await queue(store, OUT, GONE, NEW)
    first, second, third = await outbox.pending()
    await outbox.failed(first.id, "feature-not-implemented")
    assert await outbox.pending() == (second, third)
    assert await outbox.refused() == (Refused(first.id, OUT, "feature-not-implemented"),)
    await outbox.forget(first.id)
    assert await outbox.refused() == ()
    assert await outbox.pending() == (second, third)


async def test_reports_may_be_repeated_and_come_late(store: Store, outbox: Outbox) -> None:
    await queue(store, OUT, GONE)
    first, second = await outbox.pending()
    await outbox.done(first.id)
    await outbox.failed(second.id, "forbidden")
    before = await everything(store)
    for late in (first.id, second.id, second.id + 1, 10**6):
        await outbox.done(late)
        await outbox.failed(late, "gone")
    await outbox.forget(first.id)
    assert await everything(store) == before
    await outbox.forget(second.id)
    await outbox.forget(second.id)
    await queue(store, NEW)
    assert [job.id for job in await outbox.pending()] == [second.id + 1]


async def test_what_depends_on_a_refused_effect_is_refused_with_it(
    store: Store, outbox: Outbox
) -> None:
    await queue(store, NEW)
    await queue(store, OUT, GONE, Create(BLOG), chained=True)
    await queue(store, NEW)
    before, first, second, third, after = await outbox.pending()
    await outbox.done(first.id)
    await outbox.failed(second.id, "forbidden")
    assert await outbox.pending() == (before, after)
    assert await outbox.refused() == (
        Refused(second.id, GONE, "forbidden"),
        Refused(third.id, Create(BLOG), PREDECESSOR_FAILED),
    )
    await outbox.failed(before.id, "gone")
    assert await outbox.pending() == (after,)


async def test_r_01_the_outbox_survives_a_restart(tmp_path: Path) -> None:
    async with await SqliteStore.open(tmp_path / "store.db") as store:
        await queue(store, OUT, GONE, NEW)
        first, second, third = await Outbox(store, JULIET).pending()
        await Outbox(store, JULIET).done(first.id)
        await Outbox(store, JULIET).failed(second.id, "forbidden")
    async with await SqliteStore.open(tmp_path / "store.db") as store:
        again = Outbox(store, JULIET)
        assert await again.pending() == (third,)
        assert await again.refused() == (Refused(second.id, GONE, "forbidden"),)
        await again.done(third.id)
    async with await SqliteStore.open(tmp_path / "store.db") as store:
        await queue(store, NEW)
        (job,) = await Outbox(store, JULIET).pending()
        assert job.id > third.id


async def test_r_03_a_commit_that_fails_queues_nothing(tmp_path: Path) -> None:
    async with await SqliteStore.open(tmp_path / "store.db") as store:
        await queue(store, OUT)
        store._database.run("PRAGMA max_page_count = 5")
        large = Publish(BLOG, ItemId("1"), element("urn:x", "entry", None, "x" * 100_000))
        with pytest.raises(StoreFailed):
            await queue(store, NEW, large)
        store._database.run("PRAGMA max_page_count = 1000")
        await queue(store, GONE)
        jobs = await Outbox(store, JULIET).pending()
        assert effects(jobs) == [OUT, GONE]
        assert jobs[1].id == jobs[0].id + 1


async def test_r_04_a_lost_counter_is_no_fresh_start(store: Store, outbox: Outbox) -> None:
    await queue(store, OUT)
    await change(store, Remove((str(JULIET), "outbox", "last")))
    with pytest.raises(StoreFailed) as failure:
        await queue(store, NEW)
    assert failure.value.code is ErrorCode.STORE_CORRUPT
    assert effects(await outbox.pending()) == [OUT]


@pytest.mark.parametrize(
    "record",
    [
        pack("job", 1, {}),
        pack("job", 1, {"does": {}, "next": None}),
        pack("job", 1, {"does": "send", "next": None}),
        pack("job", 1, {"does": {"effect": "send", "to": "a@b", "children": [], "id": "1"}}),
        pack("key", 1, {"does": {}, "next": None}),
        b"",
    ],
)
async def test_r_04_a_spoiled_job_is_corrupt(store: Store, outbox: Outbox, record: bytes) -> None:
    await queue(store, NEW)
    for state, ask in (("waiting", outbox.pending), ("refused", outbox.refused)):
        key = (str(JULIET), "outbox", state, "1".zfill(20))
        await change(store, Put(key, record))
        with pytest.raises(StoreFailed) as failure:
            await ask()
        assert failure.value.code is ErrorCode.STORE_CORRUPT
        await change(store, Remove(key))


async def test_r_04_a_refusal_without_its_condition_is_corrupt(
    store: Store, outbox: Outbox
) -> None:
    await queue(store, NEW)
    waiting = (str(JULIET), "outbox", "waiting", "1".zfill(20))
    record = (await everything(store))[waiting]
    await change(store, Put((*waiting[:2], "refused", waiting[3]), record))
    with pytest.raises(StoreFailed) as failure:
        await outbox.refused()
    assert failure.value.code is ErrorCode.STORE_CORRUPT


async def test_r_09_a_job_of_a_later_release_is_refused(store: Store, outbox: Outbox) -> None:
    await queue(store, NEW)
    key = (str(JULIET), "outbox", "waiting", "1".zfill(20))
    await change(store, Put(key, pack("job", 2, {"does": {"effect": "dance"}, "next": None})))
    for ask in (outbox.pending(), outbox.failed(1, "gone")):
        with pytest.raises(StoreFailed) as failure:
            await ask
        assert failure.value.code is ErrorCode.STORE_TOO_NEW


@pytest.mark.parametrize(
    "unsendable",
    [
        Publish(BLOG, None, element("urn:x", "entry", None, "x" * 2 * 1024 * 1024)),
        Publish(BLOG, ItemId("\ud800"), element("urn:x", "entry")),
    ],
    ids=["too large", "item id"],
)
async def test_what_could_not_be_read_again_is_not_queued(
    store: Store, outbox: Outbox, unsendable: Effect
) -> None:
    with pytest.raises(ApiMisuse):
        await queue(store, NEW, unsendable)
    assert await everything(store) == {}


async def test_r_11_cancellation_at_every_await_loses_no_job(store: Store, outbox: Outbox) -> None:
    """Whoever is cancelled while others are inside has reported, or the job still waits."""

    async def report(step: int) -> bool:
        (job,) = await outbox.pending()
        async with store.exclusive(("other",)):
            task = asyncio.create_task(cancel_at(outbox.done(job.id), step))
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert await outbox.pending() == ((job,) if task.cancelled() else ())
        return task.cancelled()

    await queue(store, NEW)
    assert await report(0)
    assert not await report(1)
