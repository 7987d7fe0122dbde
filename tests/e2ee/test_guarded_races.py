"""GuardedStore: what happens between a commit and its anchor, in other tasks and other copies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.primitives import NativePrimitives
from e2ee.renewal import renew
from e2ee.secret import Secret
from e2ee.storage import Put, Store
from e2ee.stores import guarded
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sealed import seal_in_place
from e2ee.stores.sealing import SealingKey
from e2ee.stores.sqlite import SqliteStore
from tests.support.anchors import HookedAnchor, memory_with
from tests.support.hooked_store import HookedStore, Moment
from tests.support.ox_world import World, dump

JULIET = BareJid.parse("juliet@capulet.lit")
ME = (str(JULIET),)
clock = World().clock


async def put(store: Store, value: bytes = b"1") -> None:
    async with store.exclusive(ME) as tx:
        await tx.commit([Put((*ME, "row"), value)])


async def expect(code: ErrorCode, store: Store) -> None:
    with pytest.raises(StoreFailed) as caught:
        await put(store)
    assert caught.value.code is code


class Held(HookedAnchor):
    """Holds up whoever raises it, when told to."""

    def __init__(self, kept: dict[str, int]) -> None:
        super().__init__()
        self.kept = kept
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def raise_to(self, account: str, generation: int) -> None:
        self.reached.set()
        await self.go.wait()
        await super().raise_to(account, generation)


@pytest.fixture(params=["higher", "lower"])
def dice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the random halves of generations grow or fall, and say which."""
    throws = iter(range(1, 100) if request.param == "higher" else range(100, 1, -1))
    monkeypatch.setattr(guarded, "NativePrimitives", lambda: SimpleNamespace(random=throw(throws)))
    return str(request.param)


def throw(throws: Iterator[int]) -> Callable[[int], bytes]:
    return lambda count: next(throws).to_bytes(count)


@pytest.mark.usefixtures("dice")
async def test_r_05_a_renewal_while_another_process_raises_the_anchor_is_no_false_alarm(
    tmp_path: Path,
) -> None:
    """SQLite lets others in when the commit is durable, so before the anchor is raised."""
    anchor, path = HookedAnchor(), tmp_path / "store.db"
    async with await SqliteStore.open(path) as one, await SqliteStore.open(path) as two:
        await put(GuardedStore(one, anchor))
        held = Held(anchor.kept)
        commit = asyncio.create_task(put(GuardedStore(one, held), b"2"))
        await held.reached.wait()
        await renew(GuardedStore(two, anchor), JULIET, clock)
        held.go.set()
        await commit
        for inner in (one, two):
            await put(GuardedStore(inner, anchor), b"3")


async def test_r_05_of_two_copies_that_commit_at_once_one_at_most_goes_on(dice: str) -> None:
    """Both were whole when they began; only one of them can be what comes next."""
    inner, anchor = MemoryStore(), HookedAnchor()
    await put(GuardedStore(inner, anchor))
    other = await memory_with(await dump(inner))
    held = Held(anchor.kept)
    later = asyncio.create_task(put(GuardedStore(other, held), b"2"))
    await held.reached.wait()
    await put(GuardedStore(inner, anchor), b"3")
    held.go.set()
    if dice == "higher":  # than that of who raises the anchor later
        with pytest.raises(StoreFailed) as caught:
            await later
        assert caught.value.code is ErrorCode.STORE_UNCERTAIN
        await expect(ErrorCode.STORE_ROLLED_BACK, GuardedStore(other, anchor))
        await put(GuardedStore(inner, anchor))
    else:
        await later
        await expect(ErrorCode.STORE_ROLLED_BACK, GuardedStore(inner, anchor))
        await put(GuardedStore(other, anchor))


async def test_r_05_a_first_commit_that_fails_opens_the_anchor_to_no_other_store(
    tmp_path: Path,
) -> None:
    old = MemoryStore()
    store = GuardedStore(old, AnchorFiles(tmp_path / "lost"))
    await put(store)
    copy = await dump(old)
    await put(store, b"left the device")

    async def full(moment: Moment) -> None:
        if moment is Moment.BEFORE_COMMIT:
            raise StoreFailed(ErrorCode.STORE_FULL, "the disk is full")

    anchors = AnchorFiles(tmp_path / "anchors")
    fresh = MemoryStore()
    await expect(ErrorCode.STORE_FULL, GuardedStore(HookedStore(fresh, full), anchors))
    beginning = await anchors.highest(ME[0])
    assert beginning is not None
    assert not await dump(fresh)
    await expect(ErrorCode.STORE_ROLLED_BACK, GuardedStore(await memory_with(copy), anchors))
    await put(GuardedStore(fresh, anchors))  # it was no commit; the next one is the first
    await put(GuardedStore(fresh, anchors))
    await expect(ErrorCode.STORE_ROLLED_BACK, GuardedStore(MemoryStore(), anchors))


async def test_r_05_a_plain_store_that_is_sealed_while_it_is_open_goes_on_as_no_new_account() -> (
    None
):
    inner, anchor = MemoryStore(), HookedAnchor()
    store = GuardedStore(inner, anchor)
    await put(store)
    await seal_in_place(inner, SealingKey(Secret(b"k" * 32)), NativePrimitives())
    before = await dump(inner)
    await expect(ErrorCode.STORE_ROLLED_BACK, store)
    assert await dump(inner) == before
