"""Whoever is cancelled at whichever await: all or nothing is kept, and nobody stays locked out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import count

import pytest

from e2ee.storage import Key, Put, Store
from e2ee.stores import turns
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import waiting
from tests.support.stores import Place, opened

ME = ("juliet@capulet.lit",)
A, B = (*ME, "a"), (*ME, "b")
STEPS_OF_OURS = 3  # awaits in ``change`` itself
A_MOMENT = 0.02  # seconds; in which whoever waits in line for a store gets as far as they can


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LOCK_WAIT", 5.0)  # seconds, after which a lock counts as lost


async def change(store: Store, value: bytes) -> None:
    async with store.exclusive(ME) as transaction:
        await asyncio.sleep(0)
        await transaction.get(A)
        await transaction.scan(ME)
        await asyncio.sleep(0)
        await transaction.commit([Put(A, value), Put(B, value)])
        await asyncio.sleep(0)


async def rows(store: Store, scope: Key) -> dict[Key, bytes]:
    async with store.exclusive(scope) as transaction:
        return dict(await transaction.scan(ME if scope else ()))


@asynccontextmanager
async def somebody_inside(store: Store) -> AsyncIterator[None]:
    """Let another task stay in a block while the caller gets as far as they can."""
    entered = asyncio.Event()

    async def stay() -> None:
        async with store.exclusive(ME):
            entered.set()
            await asyncio.sleep(A_MOMENT)

    async with asyncio.TaskGroup() as group:
        group.create_task(stay())
        await entered.wait()
        yield


async def cancel_everywhere(
    store: Store,
    watching: Store,
    in_the_way: Callable[[], AbstractAsyncContextManager[None]],
    times: int,
) -> int:
    """Cancel a change at one await after the other; return how many there were."""
    await change(store, b"before all")
    for step in count():
        before = await rows(watching, ())
        value = b"%d" % step
        async with in_the_way():
            attempt = asyncio.create_task(cancel_at(change(store, value), step, times))
            await asyncio.wait([attempt])
        after = await rows(watching, ME)  # by somebody else, and at once
        assert after == before or after == before | {A: value, B: value}
        assert after == await rows(store, ()) == await rows(store, ME)
        if not attempt.cancelled():
            assert not attempt.cancelling(), "a cancellation was swallowed"
            assert attempt.result() is None
            assert after[A] == value
            return step
    raise AssertionError


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("contended", [False, True])
async def test_r_11_a_task_is_cancelled_at_every_await(
    store: Store, contended: bool, times: int
) -> None:
    def in_the_way() -> AbstractAsyncContextManager[None]:
        return somebody_inside(store) if contended else nullcontext()

    steps = await cancel_everywhere(store, store, in_the_way, times)
    assert steps >= STEPS_OF_OURS + contended


@pytest.mark.parametrize("contended", [False, True])
async def test_r_11_a_task_is_cancelled_at_every_await_beside_another_process(
    place: Place, contended: bool
) -> None:
    """What another opening of a store sees is what another process would.

    Between the layers of the one that is cancelled others get their turn, too.
    """
    async with opened(place, waiting) as store, opened(place) as other:

        def in_the_way() -> AbstractAsyncContextManager[None]:
            return somebody_inside(other) if contended else nullcontext()

        steps = await cancel_everywhere(store, other, in_the_way, times=1)
    assert steps >= STEPS_OF_OURS + contended


async def test_r_11_cancelled_waits_leave_the_others_in_line(store: Store) -> None:
    """However many give up waiting, whoever stays gets their turn."""

    async def put(number: int) -> None:
        async with store.exclusive(ME) as transaction:
            await transaction.commit([Put((*ME, str(number)), b"1")])

    for crowd in range(4):
        async with store.exclusive(ME):
            line = [asyncio.create_task(put(4 * crowd + number)) for number in range(4)]
            await asyncio.sleep(0)
            line[0].cancel()
            await asyncio.sleep(A_MOMENT)
            line[1].cancel()
            line[2].cancel()
        await asyncio.wait(line)
        assert [task.cancelled() for task in line] == [True, True, True, False]
    assert set(await rows(store, ())) == {(*ME, str(number)) for number in (3, 7, 11, 15)}
