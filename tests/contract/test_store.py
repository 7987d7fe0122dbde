"""What every store promises (``e2ee/storage.py``), on every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.storage import Change, Key, Put, Remove, Store
from e2ee.stores import turns
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from tests.support.cancellation import cancel_at

ME = ("juliet@capulet.lit",)
HOSTILE = (
    *("", "\0", "\0\0", "\0\1", "\1", "\1\0", "\1\1", "\2", " ", "'; drop table entry; --", '"'),
    *("/", "//", "a", "a\0", "a\0b", "a\1", "a/b", "ab", "%", "_", "*", "\\", "\x7f", "\x80"),
    *("\u07ff", "\u0800", "\ud800", "\udfff", "\ue000", "\ufffd", "\uffff", "\U00010000"),
    *("\U0010ffff", "e\u0301", "\u00e9", "null", "0", "00", "b" * 5000),
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        async with await SqliteStore.open(tmp_path / "store.db") as opened:
            yield opened


async def commit(store: Store, *changes: Change, scope: Key = ME) -> None:
    async with store.exclusive(scope) as transaction:
        await transaction.commit(changes)


async def everything(store: Store) -> dict[Key, bytes]:
    async with store.exclusive(()) as transaction:
        return dict(await transaction.scan((), limit=10_000))


async def test_what_is_put_is_read_and_what_is_deleted_is_gone(store: Store) -> None:
    await commit(store, Put((*ME, "a"), b"1"), Put((*ME, "b"), b""), Put((*ME, "c"), b"\0" * 9000))
    await commit(store, Put((*ME, "a"), b"2"), Remove((*ME, "c")), Remove((*ME, "never")))
    async with store.exclusive(ME) as transaction:
        assert await transaction.get((*ME, "a")) == b"2"
        assert await transaction.get((*ME, "b")) == b""
        assert await transaction.get((*ME, "c")) is None


@pytest.mark.parametrize("second", [Put((*ME, "a"), b"2"), Remove((*ME, "a"))])
async def test_two_changes_of_one_key_are_refused(store: Store, second: Change) -> None:
    """One of them would be lost, which is never what a caller means."""
    await commit(store, Put((*ME, "a"), b"0"))
    with pytest.raises(ApiMisuse):
        await commit(store, Put((*ME, "a"), b"1"), second)
    assert await everything(store) == {(*ME, "a"): b"0"}


async def test_a_block_without_a_commit_keeps_nothing(store: Store) -> None:
    await commit(store, Put((*ME, "a"), b"1"))
    async with store.exclusive(ME) as transaction:
        await transaction.get((*ME, "a"))
    with pytest.raises(ZeroDivisionError):
        async with store.exclusive(ME):
            raise ZeroDivisionError
    assert await everything(store) == {(*ME, "a"): b"1"}


async def test_a_commit_is_all_or_nothing(store: Store) -> None:
    await commit(store, Put((*ME, "a"), b"1"))
    for wrong in (
        Put(("other", "a"), b"2"),
        Put((), b"2"),
        Put((*ME, "b"), bytearray(b"2")),  # type: ignore[arg-type]
        Put((*ME, "b"), "2"),  # type: ignore[arg-type]
        Remove((*ME, 2)),  # type: ignore[arg-type]
    ):
        with pytest.raises(ApiMisuse):
            await commit(store, Put((*ME, "a"), b"2"), Remove((*ME, "a")), wrong)
        assert await everything(store) == {(*ME, "a"): b"1"}
    await commit(store, Put((*ME, "a"), b"3"))


async def test_a_transaction_is_over_after_its_commit_and_after_its_block(store: Store) -> None:
    async with store.exclusive(ME) as transaction:
        await transaction.commit([Put((*ME, "a"), b"1")])
        with pytest.raises(ApiMisuse):
            await transaction.commit([])
        with pytest.raises(ApiMisuse):
            await transaction.get((*ME, "a"))
    async with store.exclusive(ME) as unused:
        pass
    for over in (transaction, unused):
        with pytest.raises(ApiMisuse):
            await over.get((*ME, "a"))
        with pytest.raises(ApiMisuse):
            await over.scan(ME)
        with pytest.raises(ApiMisuse):
            await over.commit([Remove((*ME, "a"))])
    assert await everything(store) == {(*ME, "a"): b"1"}


async def test_blocks_of_one_task_do_not_nest(store: Store) -> None:
    async with store.exclusive(ME) as transaction:
        with pytest.raises(ApiMisuse):
            async with store.exclusive(("other",)):
                pass
        async with MemoryStore().exclusive(ME):  # another store is another matter
            pass
        await transaction.commit([Put((*ME, "a"), b"1")])
    assert await everything(store) == {(*ME, "a"): b"1"}


async def test_a_block_reads_nothing_outside_of_its_scope(store: Store) -> None:
    """Another block may be at work there, so that there is no snapshot of it to be seen."""
    await commit(store, Put(("other", "a"), b"1"), scope=("other",))
    async with store.exclusive((*ME, "a")) as transaction:
        for key in (("other", "a"), (*ME, "b"), ME):
            with pytest.raises(ApiMisuse):
                await transaction.get(key)
        for prefix in ((), ME, ("other",), (*ME, "b")):
            with pytest.raises(ApiMisuse):
                await transaction.scan(prefix)
        assert await transaction.get((*ME, "a")) is None
        assert not await transaction.scan((*ME, "a"))


@pytest.mark.parametrize("key", [(), ("a",) * 9, "abc", ["a"], ("a", 1), (b"a",), None])
async def test_what_is_no_key_is_refused(store: Store, key: Key) -> None:
    async with store.exclusive(()) as transaction:
        with pytest.raises(ApiMisuse):
            await transaction.get(key)
        if key not in ((), None):
            with pytest.raises(ApiMisuse):
                await transaction.scan(key)
            with pytest.raises(ApiMisuse):
                await transaction.scan(ME, after=key)
            with pytest.raises(ApiMisuse):
                async with store.exclusive(key):
                    pass
        with pytest.raises(ApiMisuse):
            await transaction.scan(ME, limit=0)


async def test_r_14_hostile_keys_stay_apart_and_in_order(store: Store) -> None:
    keys = [(*ME, one, *more) for one in HOSTILE for more in ((), ("",), ("a",), ("\0", "/"))]
    rows = {key: repr(key).encode() for key in keys}
    await commit(store, *(Put(key, value) for key, value in rows.items()))
    async with store.exclusive(()) as transaction:
        assert [key for key, _ in await transaction.scan((), limit=10_000)] == sorted(keys)
        assert dict(await transaction.scan(ME)) == rows
        for key, value in rows.items():
            assert await transaction.get(key) == value
            under = [found for found, _ in await transaction.scan(key)]
            assert under == sorted(other for other in keys if other[: len(key)] == key)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_pages_follow_each_other_without_gap_or_repeat(store: Store, size: int) -> None:
    keys = sorted((*ME, letter, str(number)) for letter in "abc" for number in range(4))
    await commit(store, *(Put(key, b"") for key in keys))
    async with store.exclusive(()) as transaction:
        for prefix in ((), ME, (*ME, "b"), (*ME, "b", "2"), (*ME, "d"), ("other",)):
            pages, after = [], None
            while page := await transaction.scan(prefix, after, size):
                assert len(page) <= size
                pages += [key for key, _ in page]
                after = page[-1][0]
            assert pages == [key for key in keys if key[: len(prefix)] == prefix]
        inside = keys[4:8]
        assert [key for key, _ in await transaction.scan((*ME, "b"), ("a",))] == inside
        assert [key for key, _ in await transaction.scan((*ME, "b"), (*ME, "b"))] == inside
        assert [
            key for key, _ in await transaction.scan((*ME, "b"), (*ME, "b", "1", "x"))
        ] == inside[2:]
        assert not await transaction.scan((*ME, "b"), (*ME, "c"))


async def test_a_block_sees_one_snapshot(store: Store) -> None:
    await commit(store, Put((*ME, "a"), b"1"))
    order: list[str] = []

    async def write() -> None:
        await commit(store, Put((*ME, "a"), b"2"))
        order.append("written")

    async with store.exclusive(ME) as transaction:
        writer = asyncio.create_task(write())
        for _ in range(10):
            await asyncio.sleep(0)
            assert await transaction.get((*ME, "a")) == b"1"
        order.append("read")
    await writer
    assert order == ["read", "written"]
    assert await everything(store) == {(*ME, "a"): b"2"}


async def test_r_06_no_update_of_32_tasks_is_lost(store: Store) -> None:
    async def add(scope: Key) -> None:
        for _ in range(4):
            async with store.exclusive(scope) as transaction:
                count = int(await transaction.get((*ME, "count")) or 0)
                await asyncio.sleep(0)
                await transaction.commit([Put((*ME, "count"), str(count + 1).encode())])

    async with asyncio.TaskGroup() as group:
        for number in range(32):
            group.create_task(add(ME if number % 2 else ()))
    assert await everything(store) == {(*ME, "count"): b"128"}


async def test_r_06_a_wait_for_another_task_is_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait() -> None:
        with pytest.raises(StoreFailed) as failure:
            await everything(store)
        assert failure.value.code is ErrorCode.STORE_LOCKED

    async with store.exclusive(ME) as transaction:
        monkeypatch.setattr(turns, "_LOCK_WAIT", 0.01)
        await asyncio.create_task(wait())
        await transaction.commit([Put((*ME, "a"), b"1")])
    assert await everything(store) == {(*ME, "a"): b"1"}


async def test_r_11_a_cancelled_wait_leaves_the_others_in_line(store: Store) -> None:
    async def put(name: str) -> None:
        await commit(store, Put((*ME, name), b"1"))

    async with store.exclusive(ME):
        waiting = [asyncio.create_task(put(name)) for name in "abc"]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        waiting[1].cancel()
    await asyncio.wait(waiting)
    assert await everything(store) == {(*ME, "c"): b"1"}


async def test_r_11_cancellation_at_every_await_keeps_all_or_nothing(store: Store) -> None:
    async def work(number: int) -> None:
        async with store.exclusive(ME) as transaction:
            await asyncio.sleep(0)
            before = await transaction.get((*ME, "a"))
            await asyncio.sleep(0)
            await transaction.commit(
                [Put((*ME, name), str(number).encode()) for name in "ab"] if before else []
            )
            await asyncio.sleep(0)

    async def contended(number: int, step: int) -> None:
        hold = asyncio.Event()

        async def holder() -> None:
            async with store.exclusive(ME):
                await hold.wait()

        held = asyncio.create_task(holder())
        await asyncio.sleep(0)
        attempt = asyncio.create_task(cancel_at(work(number), step))
        await asyncio.sleep(0)
        hold.set()
        await asyncio.wait([held, attempt])
        ends.append(attempt.cancelled())

    await commit(store, *(Put((*ME, name), b"0") for name in "ab"))
    ends: list[bool] = []
    for step in range(6):
        before = await everything(store)
        await contended(step + 1, step)
        after = await everything(store)
        assert after[(*ME, "a")] == after[(*ME, "b")]
        assert after == before or after[(*ME, "a")] == str(step + 1).encode()
    assert ends == [True] * 4 + [False] * 2  # in line, before, between and after; then at no await
