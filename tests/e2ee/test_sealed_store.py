"""SealedStore: what the inner store may see, and what becomes of rows that somebody altered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.ports import Argon2Cost
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.storage import Change, Key, Put, Remove, Store
from e2ee.stores import sealed, sealing
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sealed import SealedStore, read_seal, seal_in_place
from e2ee.stores.sealing import Passphrase, SealingKey
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import HookedStore, Moment

ME = ("juliet@capulet.lit",)
KEY = SealingKey(Secret(b"\1" * 32))
OTHER_KEY = SealingKey(Secret(b"\2" * 32))
PASSPHRASE = Passphrase("wherefore art thou")
NATIVE = NativePrimitives()
SEAL = ("sealed store",)
CORRUPT = ErrorCode.STORE_CORRUPT


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_COST", Argon2Cost(passes=1, memory=8, lanes=1))


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


# The same as any other store


async def test_r_14_hostile_keys_stay_apart(store: SealedStore) -> None:
    parts = ["", "\0", "\0\0", "a", "a\0", "/", "\ud800", "\udfff", "\U0010ffff", "sealed store"]
    keys: list[Key] = [(one,) for one in parts] + [(one, two) for one in parts for two in parts]
    keys += [("a", "b" * 32, *("c",) * 6), ("a\0b",), ("a", "b"), ("ab",)]
    rows = {key: repr(key).encode() for key in dict.fromkeys(keys)}
    await commit(store, *(Put(key, value) for key, value in rows.items()))
    assert list((await everything(store)).items()) == sorted(rows.items())
    for key, value in rows.items():
        assert await get(store, key) == value


PART = st.sampled_from(["", "a", "b", "ab", "\0", "\U0010ffff"])
KEYS = st.lists(PART, min_size=1, max_size=3).map(tuple)
CHANGES = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=3)), max_size=8)
SCANS = st.tuples(
    st.lists(PART, max_size=2).map(tuple), st.one_of(st.none(), KEYS), st.integers(1, 7)
)


@given(st.lists(st.tuples(CHANGES, SCANS, KEYS), max_size=8))
async def test_a_sealed_store_is_a_sorted_dictionary(
    steps: list[tuple[dict[Key, bytes | None], tuple[Key, Key | None, int], Key]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealed, "_PAGE", 3)
        inner = MemoryStore()
        model: dict[Key, bytes] = {}
        store = await SealedStore.create(inner, KEY, NATIVE)
        for changes, (prefix, after, limit), key in steps:
            made: list[Change] = []
            for changed, value in changes.items():
                made.append(Remove(changed) if value is None else Put(changed, value))
                model.pop(changed, None)
                if value is not None:
                    model[changed] = value
            await commit(store, *made)
            async with store.exclusive(prefix) as tx:
                page = await tx.scan(prefix, after, limit)
            expected: Sequence[tuple[Key, bytes]] = [
                row
                for row in sorted(model.items())
                if row[0][: len(prefix)] == prefix and (after is None or row[0] > after)
            ]
            assert page == expected[:limit]
            assert await get(store, key) == model.get(key)
        assert await everything(await SealedStore.open(inner, KEY, NATIVE)) == model


async def test_a_long_scan_lets_others_run(
    store: SealedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "_PAGE", 2)
    await commit(store, *(Put((*ME, str(number)), b"") for number in range(9)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    async with store.exclusive(ME) as tx:
        assert len(await tx.scan(ME, limit=3)) == 3
    assert turns >= 3
    counting.cancel()


# Creating and opening


@pytest.mark.parametrize("unlock", [KEY, PASSPHRASE])
async def test_what_was_sealed_is_there_when_it_is_opened_anew(
    inner: MemoryStore, unlock: SealingKey | Passphrase
) -> None:
    await commit(await SealedStore.create(inner, unlock, NATIVE), Put(ME, b"1"))
    assert await everything(await SealedStore.open(inner, unlock, NATIVE)) == {ME: b"1"}


async def test_the_seal_is_not_a_row(inner: MemoryStore, store: SealedStore) -> None:
    assert await everything(store) == {}
    assert await get(store, SEAL) is None
    await commit(store, Put(SEAL, b"mine"))
    assert await everything(await SealedStore.open(inner, KEY, NATIVE)) == {SEAL: b"mine"}


async def test_a_seal_is_read_without_unlocking(inner: MemoryStore) -> None:
    assert await read_seal(inner) is None
    await SealedStore.create(inner, PASSPHRASE, NATIVE)
    seal = await read_seal(inner)
    assert seal is not None
    assert (seal.kind, seal.cost) == ("passphrase", Argon2Cost(1, 8, 1))


async def test_only_an_empty_store_is_sealed_from_the_start(inner: MemoryStore) -> None:
    await commit(inner, Put(ME, b"1"))
    with pytest.raises(ApiMisuse):
        await SealedStore.create(inner, KEY, NATIVE)
    assert await everything(inner) == {ME: b"1"}


async def test_a_sealed_store_is_not_sealed_anew(inner: MemoryStore, store: SealedStore) -> None:
    before = await everything(inner)
    with pytest.raises(ApiMisuse):
        await SealedStore.create(inner, OTHER_KEY, NATIVE)
    assert await everything(inner) == before


@pytest.mark.parametrize("rows", [[], [Put(ME, b"1")]])
async def test_what_is_not_sealed_does_not_open(inner: MemoryStore, rows: list[Put]) -> None:
    await commit(inner, *rows)
    with pytest.raises(StoreFailed, match="not sealed") as failure:
        await SealedStore.open(inner, KEY, NATIVE)
    assert failure.value.code is ErrorCode.STORE_TOO_OLD
    assert await everything(inner) == {row.key: row.value for row in rows}


async def test_r_10_a_wrong_unlock_does_no_harm(inner: MemoryStore, store: SealedStore) -> None:
    await commit(store, Put(ME, b"1"))
    before = await everything(inner)
    for wrong in (OTHER_KEY, PASSPHRASE) * 5:
        with pytest.raises(StoreFailed) as failure:
            await SealedStore.open(inner, wrong, NATIVE)
        assert failure.value.code is ErrorCode.STORE_WRONG_KEY
    assert await everything(inner) == before
    assert await everything(await SealedStore.open(inner, KEY, NATIVE)) == {ME: b"1"}


async def test_r_10_a_seal_of_another_store_opens_nothing(
    inner: MemoryStore, store: SealedStore
) -> None:
    """It opens with its own key, and then no row is there or none is sound."""
    await commit(store, Put(ME, b"1"))
    foreign = MemoryStore()
    await SealedStore.create(foreign, OTHER_KEY, NATIVE)
    seal = (await everything(foreign))[SEAL]
    mine = (await everything(inner))[SEAL]
    await commit(inner, Put(SEAL, seal))
    with pytest.raises(StoreFailed):
        await SealedStore.open(inner, KEY, NATIVE)
    with pytest.raises(StoreFailed):
        await everything(await SealedStore.open(inner, OTHER_KEY, NATIVE))
    with pytest.raises(StoreFailed):  # or the rows would be lost with their data key
        await store.relock(PASSPHRASE)
    await commit(inner, Put(SEAL, mine))
    assert await everything(await SealedStore.open(inner, KEY, NATIVE)) == {ME: b"1"}


async def test_r_10_a_seal_of_another_store_under_the_same_key_opens_no_empty_store(
    inner: MemoryStore, store: SealedStore
) -> None:
    """Else an account would begin afresh in it, with a new identity."""
    await commit(store, Put(ME, b"1"))
    other = MemoryStore()
    await SealedStore.create(other, KEY, NATIVE)
    await commit(inner, Put(SEAL, (await everything(other))[SEAL]))
    before = await everything(inner)
    with pytest.raises(StoreFailed) as caught:
        await SealedStore.open(inner, KEY, NATIVE)
    assert caught.value.code is CORRUPT
    assert await everything(inner) == before


async def test_what_is_no_unlock_is_refused(inner: MemoryStore, store: SealedStore) -> None:
    before = await everything(inner)
    text: Any = "correct horse"
    for attempt in (
        SealedStore.create(MemoryStore(), text, NATIVE),
        SealedStore.open(inner, text, NATIVE),
        store.relock(text),
        seal_in_place(MemoryStore(), text, NATIVE),
    ):
        with pytest.raises(ApiMisuse) as caught:
            await attempt
        assert text not in str(caught.value)
    assert await everything(inner) == before


# Relocking


async def test_relock_changes_the_seal_alone(inner: MemoryStore, store: SealedStore) -> None:
    await commit(store, Put(ME, b"1"))
    also_open = await SealedStore.open(inner, KEY, NATIVE)
    rows = await rows_of(inner)
    await store.relock(PASSPHRASE)
    assert await rows_of(inner) == rows
    with pytest.raises(StoreFailed):
        await SealedStore.open(inner, KEY, NATIVE)
    for opened in (store, also_open, await SealedStore.open(inner, PASSPHRASE, NATIVE)):
        await commit(opened, Put(ME, b"2"))
        assert await everything(opened) == {ME: b"2"}
    with pytest.raises(StoreFailed) as failure:
        await also_open.relock(OTHER_KEY)  # it would undo what it does not know of
    assert failure.value.code is ErrorCode.STORE_WRONG_KEY
    await store.relock(OTHER_KEY)
    assert await everything(await SealedStore.open(inner, OTHER_KEY, NATIVE)) == {ME: b"2"}


@pytest.mark.parametrize("moment", Moment)
async def test_r_01_relock_breaks_off_with_the_old_seal_or_the_new_one(
    inner: MemoryStore, store: SealedStore, moment: Moment
) -> None:
    await commit(store, Put(ME, b"1"))

    async def crash(reached: Moment) -> None:
        if reached is moment and armed:
            raise ZeroDivisionError

    armed = False
    crashing = await SealedStore.open(HookedStore(inner, crash), KEY, NATIVE)
    armed = True
    with suppress(ZeroDivisionError):  # a scan is never reached
        await crashing.relock(PASSPHRASE)
    after = moment in (Moment.AFTER_COMMIT, Moment.LEAVE, Moment.SCAN)
    works, fails = (PASSPHRASE, KEY) if after else (KEY, PASSPHRASE)
    assert await everything(await SealedStore.open(inner, works, NATIVE)) == {ME: b"1"}
    with pytest.raises(StoreFailed):
        await SealedStore.open(inner, fails, NATIVE)


async def test_r_11_relock_is_cancelled_as_a_whole(inner: MemoryStore, store: SealedStore) -> None:
    async def give_way(moment: Moment) -> None:
        await asyncio.sleep(0)

    await commit(store, Put(ME, b"1"))
    ends = []
    for step in range(6):
        slow = await SealedStore.open(HookedStore(inner, give_way), KEY, NATIVE)
        attempt = asyncio.create_task(cancel_at(slow.relock(PASSPHRASE), step))
        await asyncio.wait([attempt])
        ends.append(attempt.cancelled())
        seal = await read_seal(inner)
        assert seal is not None
        works = PASSPHRASE if seal.kind == "passphrase" else KEY
        again = await SealedStore.open(inner, works, NATIVE)
        assert await everything(again) == {ME: b"1"}
        await again.relock(KEY)
    assert ends == [True] * 5 + [False]  # enter, get, before, after, leave; then at no await
