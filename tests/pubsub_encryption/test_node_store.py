"""What a store and a clock that fail do to a node: nothing half, and never a fresh start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import Fingerprint, NodeAddress
from e2ee.storage import Put
from pubsub_encryption.node import NodeEncryption
from tests.support.blog import Stage
from tests.support.hooked_store import HookedStore, Moment
from tests.support.node_world import (
    Person,
    entry,
    stood_in,
)
from tests.support.ox_world import dump, refused

STEPS: Mapping[str, Callable[[Stage, NodeEncryption], Awaitable[object]]] = {
    "grant": lambda stage, node: node.grant(stage["nurse"].jid),
    "rotate": lambda stage, node: node.rotate(),
    "approve": lambda stage, node: node.approve(stage["nurse"].jid, Fingerprint("A" * 40)),
}


async def fail(moment: Moment) -> None:
    if moment is Moment.BEFORE_COMMIT:
        raise StoreFailed(ErrorCode.STORE_FULL, "the disk is full")


@pytest.mark.parametrize("step", STEPS)
async def test_r_03_a_full_disk_leaves_everything_as_it_was(step: str) -> None:
    stage = await Stage.set("romeo", others=("nurse",))
    full = Person(stage.network, stage.juliet.jid, HookedStore(stage.juliet.store, fail))
    async with refused(ErrorCode.STORE_FULL, stage.juliet):
        await STEPS[step](stage, full.node(stage.blog))
    await STEPS[step](stage, stage.owner)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (b"", ErrorCode.STORE_CORRUPT),
        (b"{}", ErrorCode.STORE_CORRUPT),
        (b'{"kind":"keychain","format":1}', ErrorCode.STORE_CORRUPT),
        (b'{"kind":"keychain","format":2}', ErrorCode.STORE_CORRUPT),
        (b'{"kind":"keychain","format":3}', ErrorCode.STORE_TOO_NEW),
    ],
)
async def test_r_04_a_damaged_keychain_is_never_begun_anew(row: bytes, code: ErrorCode) -> None:
    stage = await Stage.set("romeo", others=("nurse",))
    item = await stage.owner.encrypt(entry("x"))
    rows = await dump(stage.juliet.store)
    (keychain,) = [key for key in rows if "oxps" in key]
    await stage.juliet.write(Put(keychain, row))
    steps: list[Callable[[], Awaitable[object]]] = [
        stage.owner.create,
        stage.owner.keychain,
        partial(stage.owner.encrypt, entry("y")),
        partial(stage.owner.decrypt, item, stood_in(stage.blog)),
    ]
    steps += [partial(step, stage, stage.owner) for step in STEPS.values()]
    for step in steps:
        async with refused(code, stage.juliet):
            await step()
    await stage.juliet.write(Put(keychain, rows[keychain]))
    await stage.owner.decrypt(item, stood_in(stage.blog))


async def test_r_04_two_keychains_that_changed_places_are_noticed() -> None:
    stage = await Stage.set("romeo")
    diary = stage.juliet.node(NodeAddress(stage.juliet.jid, "diary"))
    await diary.create()
    rows = await dump(stage.juliet.store)
    one, other = [key for key in rows if "oxps" in key]
    await stage.juliet.write(Put(one, rows[other]), Put(other, rows[one]))
    for node in (diary, stage.owner):
        async with refused(ErrorCode.STORE_CORRUPT, stage.juliet):
            await node.encrypt(entry("for the other readers"))


async def test_r_12_a_clock_that_jumps_back_dates_no_secret_and_hides_no_item() -> None:
    stage = await Stage.set("romeo")
    item = await stage.owner.encrypt(entry("x"))
    stage.network.ahead = -timedelta(days=3653)
    async with refused(ErrorCode.API_MISUSE, stage.juliet):
        await stage.owner.rotate()
    assert await stage.read("romeo", item) == "x"
    stage.network.ahead = timedelta()
    await stage.owner.rotate()
    await stage.deliver()
    assert await stage.read("romeo", await stage.owner.encrypt(entry("y"))) == "y"
