"""Sealed rows: what the inner store may see of them, and what becomes of altered ones."""

from __future__ import annotations

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.storage import Change, Key, Put, Remove, Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sealed import SealedStore
from e2ee.stores.sealed_rows import SealedRows
from e2ee.stores.sealing import SealingKey
from tests.support.leaks import Canary, everything_printable, no_leak_in_logs

ME = ("juliet@capulet.lit",)
KEY = SealingKey(Secret(b"\1" * 32))
NATIVE = NativePrimitives()
SEAL = ("sealed store",)
CORRUPT = ErrorCode.STORE_CORRUPT
HIDDEN = (
    "a4969dc475ad7109dab3164b40213b1f",
    "2e266e103eb27afda51320cbc66df470",
)
ROW = (
    "01ba08e5f0a477e75d911bf21bfb99ed5328791eb28212160fc18fa3287bc40ba3fce63c88ba2244"
    "06d7621f08d1c58979e6837944e92b9fd15de498c40d"
)


@pytest.fixture
def inner() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def store(inner: MemoryStore) -> SealedStore:
    return await SealedStore.create(inner, KEY, NATIVE)


async def commit(store: Store, *changes: Change) -> None:
    async with store.exclusive(()) as tx:
        await tx.commit(changes)


async def everything(store: Store) -> dict[Key, bytes]:
    async with store.exclusive(()) as tx:
        return dict(await tx.scan((), limit=100_000))


async def rows_of(inner: Store) -> dict[Key, bytes]:
    """Return the sealed rows, without the seal."""
    return {key: value for key, value in (await everything(inner)).items() if key != SEAL}


async def get(store: Store, key: Key) -> bytes | None:
    async with store.exclusive(key) as tx:
        return await tx.get(key)


async def assert_corrupt(store: Store, key: Key) -> None:
    """Every way to the row of ``key`` says that something was altered."""
    with pytest.raises(StoreFailed) as failure:
        await get(store, key)
    assert failure.value.code is CORRUPT
    for prefix in (key[:1], ()):
        async with store.exclusive(()) as tx:
            with pytest.raises(StoreFailed) as failure:
                await tx.scan(prefix)
            assert failure.value.code is CORRUPT


# What the inner store sees


async def test_r_08_neither_keys_nor_values_reach_the_inner_store(
    inner: MemoryStore, store: SealedStore
) -> None:
    canaries = [Canary(f"canary-{name}-{name * 20}") for name in "abcd"]
    one, two, three, value = canaries
    key = (one.text, two.text, three.text)
    with no_leak_in_logs(*canaries):
        await commit(store, Put(key, value.raw), Put(key[:1], value.raw * 100))
    for hidden, written in (await everything(inner)).items():
        for canary in canaries:
            canary.assert_absent(repr(hidden), "a hidden key")
            assert canary.raw[:8] not in written
    assert await get(store, key) == value.raw


async def test_equal_parts_look_alike_below_one_parent_only(
    inner: MemoryStore, store: SealedStore
) -> None:
    keys: list[Key] = [("a",), ("b",), ("a", "a"), ("a", "b"), ("b", "a"), ("b", "a", "a")]
    await commit(store, *(Put(key, b"") for key in keys))
    hidden = sorted(await rows_of(inner))
    assert sorted(map(len, hidden)) == sorted(map(len, keys))
    parts = {part for key in hidden for part in key}
    assert len(parts) == len(keys)  # one for each different beginning
    assert all(len(part) == 32 for part in parts)


async def test_two_stores_and_two_writes_have_nothing_in_common(
    inner: MemoryStore, store: SealedStore
) -> None:
    await commit(store, Put(ME, b"1"))
    [(key, value)] = (await rows_of(inner)).items()
    await commit(store, Put(ME, b"1"))
    assert (await rows_of(inner))[key] != value
    second = MemoryStore()
    await commit(await SealedStore.create(second, KEY, NATIVE), Put(ME, b"1"))
    assert set(await rows_of(second)).isdisjoint({key})


async def test_z_01_nothing_prints_a_sealed_value(inner: MemoryStore, store: SealedStore) -> None:
    canary = Canary("canary-of-a-sealed-row")
    await commit(store, Put((*ME, "a"), canary.raw), Put((*ME, "b"), b"altered"))
    [*rows] = await rows_of(inner)
    subjects: list[object] = [store]
    for hidden in rows:
        whole = (await rows_of(inner))[hidden]
        await commit(inner, Put(hidden, whole[:-1]))
        async with store.exclusive(ME) as tx:
            subjects.append(tx)
            with pytest.raises(StoreFailed) as failure:
                await tx.scan(ME)
            subjects.append(failure.value)
        await commit(inner, Put(hidden, whole))
    assert await get(store, (*ME, "a")) == canary.raw
    for subject in subjects:
        for where, printed in everything_printable(subject):
            canary.assert_absent(printed, where)


# What somebody altered


async def test_r_04_no_byte_of_a_row_can_be_altered(inner: MemoryStore, store: SealedStore) -> None:
    key = (*ME, "a")
    await commit(store, Put(key, b"value"), Put((*ME, "b"), b"intact"))
    hidden = store._rows.hide(key)
    whole = (await rows_of(inner))[hidden]
    for place in range(len(whole)):
        for mask in (0x01, 0x80, 0xFF):
            altered = bytearray(whole)
            altered[place] ^= mask
            await commit(inner, Put(hidden, bytes(altered)))
            await assert_corrupt(store, key)
    for wrong in (*(whole[:length] for length in range(len(whole))), whole + b"\0", b"\0" + whole):
        await commit(inner, Put(hidden, wrong))
        await assert_corrupt(store, key)
    assert await get(store, (*ME, "b")) == b"intact"
    await commit(inner, Put(hidden, whole))
    assert await everything(store) == {key: b"value", (*ME, "b"): b"intact"}


async def test_r_04_rows_do_not_change_places(inner: MemoryStore, store: SealedStore) -> None:
    one, two = (*ME, "a"), (*ME, "b")
    await commit(store, Put(one, b"1"), Put(two, b"2"))
    at_one, at_two = store._rows.hide(one), store._rows.hide(two)
    rows = await rows_of(inner)
    await commit(inner, Put(at_one, rows[at_two]), Put(at_two, rows[at_one]))
    await assert_corrupt(store, one)
    await assert_corrupt(store, two)


async def test_r_04_no_row_can_be_moved_elsewhere(inner: MemoryStore, store: SealedStore) -> None:
    key = (*ME, "a")
    await commit(store, Put(key, b"1"), Put(("romeo@montague.lit", "a"), b"2"))
    hidden = store._rows.hide(key)
    romeo = store._rows.hide(("romeo@montague.lit",))
    sealed_row = (await rows_of(inner))[hidden]
    for place in (
        (*romeo, hidden[1]),
        (*hidden, hidden[1]),
        hidden[1:],
        (hidden[0] + "\0" + hidden[1],),
        (*romeo, "\ud800"),
    ):
        await commit(inner, Put(place, sealed_row))
        with pytest.raises(StoreFailed) as failure:
            await everything(store)
        assert failure.value.code is CORRUPT
        await commit(inner, Remove(place))
    assert await everything(store) == {key: b"1", ("romeo@montague.lit", "a"): b"2"}


async def test_r_04_a_row_of_another_sealed_store_is_none_of_ours(
    inner: MemoryStore, store: SealedStore
) -> None:
    foreign = MemoryStore()
    await commit(await SealedStore.create(foreign, KEY, NATIVE), Put(ME, b"1"))
    await commit(store, Put(ME, b"2"))
    [(hidden, value)] = (await rows_of(foreign)).items()
    await commit(inner, Put(store._rows.hide(ME), value))
    await assert_corrupt(store, ME)
    await commit(store, Put(ME, b"2"))
    await commit(inner, Put(hidden, value))
    with pytest.raises(StoreFailed):
        await everything(store)
    assert await get(store, ME) == b"2"


async def test_r_04_a_plain_row_is_none_of_ours(inner: MemoryStore, store: SealedStore) -> None:
    await commit(store, Put(ME, b"1"))
    for key, value in ((ME, b"1"), ((*SEAL, "a"), b""), ((*store._rows.hide(ME), "a"), b"\1" * 99)):
        await commit(inner, Put(key, value))
        with pytest.raises(StoreFailed) as failure:
            await everything(store)
        assert failure.value.code is CORRUPT
        await commit(inner, Remove(key))
    assert await everything(store) == {ME: b"1"}


async def test_r_04_two_keys_with_one_hash_would_be_noticed(
    inner: MemoryStore, store: SealedStore
) -> None:
    """Nobody can make such a pair; whoever could would be handed another key's value."""
    key = (*ME, "a")
    for other in ((*ME, "b"), ("romeo@montague.lit", "a"), ME):
        hidden = store._rows.hide(key)
        await commit(inner, Put(hidden, store._rows.seal(other, hidden, b"1")))
        with pytest.raises(StoreFailed) as failure:
            await get(store, key)
        assert failure.value.code is CORRUPT
    with pytest.raises(StoreFailed):
        async with store.exclusive(ME) as tx:
            await tx.scan(ME)


async def test_hidden_keys_stay_as_they_were_in_earlier_releases() -> None:
    """Another hash would find no row of an existing store."""
    rows = SealedRows(Secret(bytes(range(32))), NATIVE)
    assert rows.hide(("juliet@capulet.lit", "oxps")) == HIDDEN
    assert rows.open(HIDDEN, bytes.fromhex(ROW), ()) == (("juliet@capulet.lit", "oxps"), b"value")
