"""What every store promises (``e2ee/storage.py``), on every store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace

import pytest

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.storage import Change, Key, Put, Remove, Store
from e2ee.stores import turns
from e2ee.stores.memory import MemoryStore
from tests.support.stores import Place, opened

ME = ("juliet@capulet.lit",)
HOSTILE = (
    *("", "\0", "\0\0", "\0\1", "\1", "\1\0", "\1\1", "\2", " ", "'; drop table entry; --", '"'),
    *("/", "//", "a", "a\0", "a\0b", "a\1", "a/b", "ab", "%", "_", "*", "\\", "\x7f", "\x80"),
    *("\u07ff", "\u0800", "\ud800", "\udfff", "\ue000", "\ufffd", "\uffff", "\U00010000"),
    *("\U0010ffff", "e\u0301", "\u00e9", "null", "0", "00", "b" * 5000),
)


OVERLAPPING: tuple[tuple[Key, Key], ...] = (
    (ME, ME),
    ((), ()),
    ((), ME),
    ((), (*ME, "a")),
    (ME, (*ME, "a")),
    ((*ME, "a"), (*ME, "a", "b", "c", "d", "e", "f", "g")),
    (("\0",), ("\0", "")),
)
APART: tuple[Key, ...] = (
    *(ME, ("romeo@montague.lit",), ("juliet@capulet.li",), ("juliet@capulet.lit\0",)),
    *(("", "juliet@capulet.lit"), ("a", "b"), ("a", "bc"), ("ab", "c"), ("a/b", "c")),
)


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


async def test_what_is_no_change_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await commit(store, Put((*ME, "a"), b"1"))
    monkeypatch.setattr(limits, "MAX_VALUE_BYTES", 1000)
    looks_like_one = SimpleNamespace(key=(*ME, "a"))
    for wrong in (
        None,
        1,
        [None],
        [looks_like_one],
        iter(()),
        [Put((*ME, "a"), bytes(1001))],
    ):
        with pytest.raises(ApiMisuse):
            async with store.exclusive(ME) as transaction:
                await transaction.commit(wrong)  # type: ignore[arg-type]
        assert await everything(store) == {(*ME, "a"): b"1"}


@pytest.mark.parametrize("limit", [0, -1, 2**31, 2**63, 1.5, True, "1", None])
async def test_what_is_no_number_of_rows_is_refused(store: Store, limit: int) -> None:
    async with store.exclusive(ME) as transaction:
        with pytest.raises(ApiMisuse):
            await transaction.scan(ME, limit=limit)


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


async def test_r_14_long_keys_that_do_not_compress_are_told_apart_by_their_last_letter(
    store: Store,
) -> None:
    """An index may hold a few KB of a key; a store must not depend on it."""
    random = Random(14)
    for size in (700, 2_000, 10_000):
        long = "".join(chr(random.randrange(0x20, 0xD7FF)) for _ in range(size))
        lasts = ("", "\0", "a", "b", "\U0010ffff")
        rows: dict[Key, bytes] = {(*ME, long + last): last.encode() for last in lasts}
        rows[*ME, long, "part"] = b"part"
        await commit(store, *(Put(key, value) for key, value in rows.items()))
        async with store.exclusive(ME) as transaction:
            assert [*await transaction.scan(ME)] == sorted(rows.items())
            assert [*await transaction.scan((*ME, long))] == sorted(rows.items())[:2]
            after_a = await transaction.scan(ME, (*ME, long + "a"), 1)
            assert [*after_a] == [((*ME, long + "b"), b"b")]
            for key, value in rows.items():
                assert await transaction.get(key) == value
            assert await transaction.get((*ME, long + "c")) is None
            await transaction.commit([Put((*ME, long), b"2"), Remove((*ME, long + "a"))])
        rows[*ME, long] = b"2"
        del rows[*ME, long + "a"]
        assert await everything(store) == rows
        await commit(store, *(Remove(key) for key in rows))


async def test_r_14_an_account_does_not_see_into_one_whose_name_begins_alike(store: Store) -> None:
    for scope in APART:
        await commit(store, Put((*scope, "a"), repr(scope).encode()), scope=scope)
    for scope in APART:
        async with store.exclusive(scope) as transaction:
            found = await transaction.scan(scope)
            assert [*found] == [((*scope, "a"), repr(scope).encode())]


async def test_a_value_may_be_large(store: Store) -> None:
    value = Random(0).randbytes(2 * 1024 * 1024)
    await commit(store, Put((*ME, "a"), value), Put((*ME, "b"), b""))
    async with store.exclusive(ME) as transaction:
        assert await transaction.get((*ME, "a")) == value
        assert dict(await transaction.scan(ME)) == {(*ME, "a"): value, (*ME, "b"): b""}


async def test_r_13_a_commit_may_be_long(store: Store) -> None:
    rows = {(*ME, f"{number:05d}"): b"%d" % number for number in range(3000)}
    await commit(store, *(Put(key, value) for key, value in rows.items()))
    assert await everything(store) == rows
    await commit(store, *(Remove(key) for key in rows))
    assert await everything(store) == {}


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


@pytest.mark.parametrize("scopes", OVERLAPPING, ids=repr)
async def test_r_06_blocks_whose_scopes_overlap_exclude_each_other(
    store: Store, scopes: tuple[Key, Key]
) -> None:
    shared = await taking_turns([store], scopes)
    assert await everything(store) == {shared: b"16"}


@pytest.mark.parametrize("scopes", OVERLAPPING, ids=repr)
async def test_r_06_scopes_that_overlap_exclude_each_other_between_processes(
    place: Place, scopes: tuple[Key, Key]
) -> None:
    """To a store, another opening is like another process; here one can look into both."""
    async with opened(place) as store, opened(place) as other:
        shared = await taking_turns([store, other], scopes)
        assert await everything(store) == await everything(other) == {shared: b"16"}


async def taking_turns(stores: Sequence[Store], scopes: tuple[Key, Key]) -> Key:
    """Count to 16 in blocks of which no two may be at work together; return the counter's key."""
    inside = 0
    shared = (*max(scopes, key=len), "shared")[:8]

    async def add(store: Store, scope: Key) -> None:
        nonlocal inside
        async with store.exclusive(scope) as transaction:
            inside += 1
            assert inside == 1
            count = int(await transaction.get(shared) or 0)
            await asyncio.sleep(0)
            assert inside == 1
            inside -= 1
            await transaction.commit([Put(shared, b"%d" % (count + 1))])

    async with asyncio.TaskGroup() as group:
        for scope in scopes:
            for store in stores:
                for _ in range(8 // len(stores)):
                    group.create_task(add(store, scope))
    return shared


async def test_r_06_blocks_in_different_scopes_do_not_disturb_each_other(store: Store) -> None:
    """Whether or not they run side by side; a block of the whole store sees all of them between."""
    sums: list[int] = []

    async def add(scope: Key) -> None:
        async with store.exclusive(scope) as transaction:
            count = int(await transaction.get((*scope, "count")) or 0) + 1
            await asyncio.sleep(0)
            await transaction.commit([Put((*scope, name), b"%d" % count) for name in ("count", "")])

    async def add_up() -> None:
        async with store.exclusive(()) as transaction:
            rows = dict(await transaction.scan(()))
            await asyncio.sleep(0)
            assert dict(await transaction.scan(())) == rows
        by_scope = Counter(key[:-1] for key in rows)
        assert set(by_scope.values()) <= {2}
        assert all(rows[*scope, "count"] == rows[*scope, ""] for scope in by_scope)
        sums.append(sum(map(int, rows.values())) // 2)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            for scope in APART:
                group.create_task(add(scope))
            group.create_task(add_up())
    await add_up()
    assert sums == sorted(sums)
    assert sums[-1] == 4 * len(APART)


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
