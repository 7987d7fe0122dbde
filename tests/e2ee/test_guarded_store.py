"""GuardedStore: what has left the device is never missing from the store that goes on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.renewal import renew
from e2ee.storage import Key, Put, Remove, Store
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore, is_guarded
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from tests.support.anchors import GuardedFile, HookedAnchor, memory_with
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import waiting
from tests.support.ox_world import World, dump

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
ME, OTHER = (JULIET,), (ROMEO,)
ROW = (*ME, "\0generation")
clock = World().clock


async def read(store: Store, account: str = JULIET) -> int:
    async with store.exclusive((account,)) as tx:
        return int(await tx.get((account, "count")) or 0)


async def count_up(store: Store, account: str = JULIET) -> int:
    async with store.exclusive((account,)) as tx:
        number = int(await tx.get((account, "count")) or 0) + 1
        await tx.commit([Put((account, "count"), str(number).encode())])
    return number


async def renewed(store: GuardedStore, account: str = JULIET) -> None:
    await renew(store, BareJid.parse(account), clock)


@contextmanager
def failing(code: ErrorCode) -> Iterator[None]:
    with pytest.raises(StoreFailed) as caught:
        yield
    assert caught.value.code is code


async def expect_refused(store: GuardedStore, inner: Store) -> None:
    """Expect that nothing of Juliet's can be read or changed, and that nothing has changed."""
    before = await dump(inner)

    async def scan_all() -> None:
        async with store.exclusive(()) as tx:
            await tx.scan(())

    async def change_all() -> None:
        async with store.exclusive(()) as tx:
            await tx.commit([Put((*OTHER, "a"), b""), Put((*ME, "a"), b"")])

    async def get_one() -> None:
        async with store.exclusive(()) as tx:
            await tx.get((*ME, "never"))

    async def look_inside() -> None:
        async with store.exclusive((*ME, "ox", "ring")):
            pytest.fail("let in")

    attempts: list[Callable[[], Coroutine[Any, Any, object]]] = [
        *(partial(read, store), partial(count_up, store)),
        *(scan_all, change_all, get_one, look_inside),
    ]
    for attempt in attempts:
        with failing(ErrorCode.STORE_ROLLED_BACK):
            await attempt()
    assert await dump(inner) == before


async def test_an_account_is_guarded_from_its_first_commit_under_a_guard_on() -> None:
    inner = MemoryStore()
    guarded = GuardedStore(inner, HookedAnchor())
    await count_up(inner)
    await read(guarded)
    assert not await is_guarded(inner, JULIET)
    await count_up(guarded)
    assert await is_guarded(inner, JULIET)
    assert not await is_guarded(inner, ROMEO)


@pytest.fixture
def file(tmp_path: Path) -> GuardedFile:
    return GuardedFile(tmp_path)


@asynccontextmanager
async def both(file: GuardedFile) -> AsyncIterator[tuple[GuardedStore, SqliteStore]]:
    async with await SqliteStore.open(file.path) as inner:
        yield GuardedStore(inner, AnchorFiles(file.anchors)), inner


async def worked(file: GuardedFile, commits: int = 1) -> None:
    async with file.opened() as store:
        for _ in range(commits):
            await count_up(store)


@pytest.mark.parametrize("missing", [1, 2, 10])
async def test_r_05_a_store_that_was_put_back_is_refused_until_renewed(
    file: GuardedFile, missing: int
) -> None:
    await worked(file, 3)
    async with file.opened() as store:
        await count_up(store, ROMEO)
    copy = file.copy("copy.db")
    await worked(file, missing)
    newer = file.copy("newer.db")
    file.put_back(copy)
    async with both(file) as (store, inner):
        await expect_refused(store, inner)
        assert await count_up(store, ROMEO) == 2  # who has lost nothing goes on
        await renewed(store)
        assert await count_up(store) == 4
    async with both(file) as (store, inner):
        assert await count_up(store) == 5
    file.put_back(newer)  # which lacks what was done since the renewal
    async with both(file) as (store, inner):
        await expect_refused(store, inner)
        with failing(ErrorCode.STORE_ROLLED_BACK):
            await read(store, ROMEO)


async def test_r_05_a_store_that_was_lost_is_refused_until_renewed(file: GuardedFile) -> None:
    await worked(file)
    file.path.unlink()
    async with both(file) as (store, inner):
        with failing(ErrorCode.STORE_ROLLED_BACK):
            await read(store)
        async with store.renewal(ME):
            pass
        with failing(ErrorCode.STORE_ROLLED_BACK):
            await count_up(store)
        assert not await dump(inner)
        await renewed(store)
        assert await count_up(store) == 1


async def test_r_05_a_store_without_its_anchor_is_refused_until_renewed(file: GuardedFile) -> None:
    await worked(file)
    shutil.rmtree(file.anchors)
    async with both(file) as (store, inner):
        await expect_refused(store, inner)
        assert not file.anchors.exists()
        await renewed(store)
        assert await count_up(store) == 2
    copy = file.copy("copy.db")
    await worked(file)
    file.put_back(copy)
    async with both(file) as (store, inner):
        await expect_refused(store, inner)


async def test_r_05_a_damaged_anchor_refuses_the_account_until_it_is_removed(
    file: GuardedFile,
) -> None:
    await worked(file)
    (anchor,) = file.anchors.iterdir()
    anchor.write_bytes(b"")
    async with both(file) as (store, inner):
        before = await dump(inner)
        for attempt in (read(store), count_up(store), renewed(store)):
            with failing(ErrorCode.STORE_CORRUPT):
                await attempt
        assert await dump(inner) == before
        assert await count_up(store, ROMEO) == 1
        anchor.unlink()
        await expect_refused(store, inner)
        await renewed(store)
        assert await count_up(store) == 2


async def test_r_05_a_store_from_before_its_guard_is_taken_as_it_is(file: GuardedFile) -> None:
    async with await SqliteStore.open(file.path) as plain:
        await count_up(plain)
    copy = file.copy("copy.db")
    await worked(file)
    file.put_back(copy)
    async with both(file) as (store, inner):
        await expect_refused(store, inner)


async def test_r_05_reading_raises_no_anchor_and_a_first_commit_that_fails_neither(
    file: GuardedFile,
) -> None:
    async with file.opened() as store:
        assert await read(store) == 0
        async with store.exclusive(ME) as tx:
            await tx.commit([])
        assert not file.anchors.exists()
        with pytest.raises(ApiMisuse):
            async with store.exclusive(ME) as tx:
                await tx.commit([Put((*OTHER, "a"), b"")])
        assert not file.anchors.exists()
        assert await count_up(store) == 1


async def test_r_05_of_two_copies_in_use_at_once_one_is_refused(file: GuardedFile) -> None:
    await worked(file)
    other = file.copy("other.db")
    async with file.opened() as one, await SqliteStore.open(other) as plain:
        two = GuardedStore(plain, AnchorFiles(file.anchors))
        assert (await read(one), await read(two)) == (1, 1)
        assert await count_up(one) == 2
        await expect_refused(two, plain)
        await renewed(two)
        assert await count_up(two) == 2
        with failing(ErrorCode.STORE_ROLLED_BACK):
            await read(one)


async def test_r_05_a_crash_that_went_another_way_is_not_taken_for_the_last_commit() -> None:
    """A copy of the moment between commit and anchor has the right count, but another history."""
    inner, anchor = MemoryStore(), HookedAnchor()
    store = GuardedStore(inner, anchor)
    await count_up(store)
    before = await dump(inner)

    async def crash(what: str) -> None:
        if what == "raise_to":
            raise StoreFailed(ErrorCode.STORE_FAILED, "the power is gone")

    anchor.before = crash
    with failing(ErrorCode.STORE_UNCERTAIN):
        await count_up(store)
    anchor.before = None
    crashed = await memory_with(await dump(inner))
    assert await count_up(GuardedStore(await memory_with(before), anchor)) == 2
    await expect_refused(GuardedStore(crashed, anchor), crashed)


async def test_r_05_the_guards_own_row_is_nobodys_business(file: GuardedFile) -> None:
    async with both(file) as (store, inner):
        await count_up(store)
        await count_up(store, ROMEO)
        assert ROW in await dump(inner)
        shown = {(*ME, "count"): b"1", (*OTHER, "count"): b"1"}
        assert await dump(store) == shown
        for size in (1, 2, 3):
            rows: list[Key] = []
            async with store.exclusive(()) as tx:
                while page := await tx.scan((), rows[-1] if rows else None, size):
                    rows += [key for key, _ in page]
            assert rows == [*shown]
        async with store.exclusive(ROW) as tx:
            assert await tx.get(ROW) is None
            assert not await tx.scan(ROW)
        for change in (Put(ROW, b""), Remove(ROW), Put((*ROW, "x"), b"")):
            before = await dump(inner)
            async with store.exclusive(ME) as tx:
                with pytest.raises(ApiMisuse):
                    await tx.commit([Put((*ME, "count"), b"5"), change])
            assert await dump(inner) == before


@pytest.mark.parametrize(
    "row",
    [
        *(b"", b"{}", b'{"kind":"generation","format":1,"generation":"1"}'),
        *(
            b'{"format":1,"generation":%s,"kind":"generation","previous":%s}' % numbers
            for numbers in (
                *((b"true", b"0"), (b"5", b"false"), (b"5.0", b"1"), (b"Infinity", b"1")),
                *((b"-1", b"-2"), (b"5", b"-1"), (b"5", b"5"), (b"5", b"6"), (b"0", b"0")),
                *((b"%d" % 2**127, b"1"), (b"%d" % 2**128, b"1"), (b"%d" % 2**200, b"1")),
            )
        ),
    ],
)
async def test_r_04_a_damaged_generation_is_never_begun_anew(file: GuardedFile, row: bytes) -> None:
    async with both(file) as (store, inner):
        await count_up(store)
        async with inner.exclusive(ME) as tx:
            await tx.commit([Put(ROW, row)])
        for attempt in (read(store), count_up(store), renewed(store)):
            with failing(ErrorCode.STORE_CORRUPT):
                await attempt


async def test_r_05_one_commit_moves_every_account_that_it_touches(file: GuardedFile) -> None:
    async with file.opened() as store, store.exclusive(()) as tx:
        await tx.commit([Put((*ME, "count"), b"1"), Put((*OTHER, "count"), b"1")])
    copy = file.copy("copy.db")
    async with file.opened() as store, store.exclusive(()) as tx:
        await tx.commit([Put((*ME, "count"), b"2"), Remove((*OTHER, "count"))])
    file.put_back(copy)
    async with both(file) as (store, inner):
        await expect_refused(store, inner)
        with failing(ErrorCode.STORE_ROLLED_BACK):
            await count_up(store, ROMEO)
        with pytest.raises(ApiMisuse):
            async with store.renewal(()):
                pass


@pytest.mark.parametrize("code", [ErrorCode.STORE_FULL, ErrorCode.STORE_FAILED])
async def test_r_03_an_anchor_that_fails_after_a_commit_is_raised_before_anything_else(
    code: ErrorCode,
) -> None:
    inner, anchor = MemoryStore(), HookedAnchor()
    store = GuardedStore(inner, anchor)
    await count_up(store)
    before = anchor.kept[JULIET]
    broken = True

    async def fail(what: str) -> None:
        if broken and what == "raise_to":
            raise StoreFailed(code, "the disk is full")

    anchor.before = fail
    with failing(ErrorCode.STORE_UNCERTAIN):
        await count_up(store)
    for _ in range(2):
        with failing(code):
            await read(store)
    assert anchor.kept[JULIET] == before
    broken = False
    assert await read(store) == 2  # it was kept
    assert anchor.kept[JULIET] > before
    assert await count_up(store) == 3


async def test_r_03_an_anchor_that_failed_after_writing_is_written_again() -> None:
    """What was written may be read back without having reached the disk."""
    anchor = HookedAnchor()
    store = GuardedStore(MemoryStore(), anchor)
    calls: list[str] = []

    async def note(what: str) -> None:
        calls.append(what)

    class Unflushed(HookedAnchor):
        async def raise_to(self, account: str, generation: int) -> None:
            await super().raise_to(account, generation)
            raise StoreFailed(ErrorCode.STORE_FAILED, "not flushed")

    await count_up(store)
    unflushed = Unflushed()
    unflushed.kept = anchor.kept
    store._guard._anchor = unflushed
    with failing(ErrorCode.STORE_UNCERTAIN):
        await count_up(store)
    store._guard._anchor = anchor
    anchor.before = note
    assert await read(store) == 2
    assert await read(store) == 2
    assert calls == ["highest", "raise_to", "highest", "highest"]


async def test_r_03_an_anchor_that_cannot_be_read_changes_nothing() -> None:
    inner, anchor = MemoryStore(), HookedAnchor()
    store = GuardedStore(inner, anchor)
    await count_up(store)
    before = await dump(inner)

    async def fail(what: str) -> None:
        raise StoreFailed(ErrorCode.STORE_UNREACHABLE, "away")

    anchor.before = fail
    for attempt in (read(store), count_up(store), renewed(store)):
        with failing(ErrorCode.STORE_UNREACHABLE):
            await attempt
    assert await dump(inner) == before
    anchor.before = None
    assert await count_up(store) == 2


@pytest.mark.parametrize("state", ["fresh", "used", "rolled back", "lost anchor"])
async def test_r_11_cancelled_at_any_await_it_raises_no_false_alarm(state: str) -> None:
    async def give_way(what: str) -> None:
        await asyncio.sleep(0)

    async def work(store: GuardedStore) -> None:
        if state in ("fresh", "used"):
            await count_up(store)
        else:
            await renewed(store)

    ends: list[tuple[bool, bool]] = []
    for step in count():
        memory, anchor = MemoryStore(), HookedAnchor()
        plain = GuardedStore(memory, anchor)
        if state != "fresh":
            await count_up(plain)
            older = await dump(memory)
            await count_up(plain)
        if state == "rolled back":
            memory = await memory_with(older)
        if state == "lost anchor":
            anchor.kept.clear()
        before = await dump(memory)
        anchor.before = give_way
        attempt = asyncio.create_task(cancel_at(work(GuardedStore(waiting(memory), anchor)), step))
        await asyncio.wait([attempt])
        anchor.before = None
        after = await dump(memory)
        ends.append((attempt.cancelled(), after != before))
        again = GuardedStore(memory, anchor)
        if state in ("fresh", "used") or after != before:
            await count_up(again)
        else:
            await expect_refused(again, memory)
            await renewed(again)
            await count_up(again)
        if not attempt.cancelled():
            attempt.result()
            break
    assert [changed for _, changed in ends] == sorted(changed for _, changed in ends)
    assert (True, True) in ends
    assert (True, False) in ends
