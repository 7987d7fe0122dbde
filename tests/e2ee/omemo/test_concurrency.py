"""Many tasks that write and read with two devices at once (R-06)."""

from __future__ import annotations

import asyncio

import pytest

from e2ee.omemo.message import read_encrypted
from e2ee.omemo.version import Version
from e2ee.xmltree import Element
from tests.support.hooked_store import waiting
from tests.support.omemo_world import Party, World, body

TASKS = 32
EACH = 100


def position(engine_of: Party, reader: Party, element: Element) -> tuple[bytes, int]:
    """Return the position of a ratchet at which a message was encrypted."""
    key = read_encrypted(element, reader.device).key
    assert key is not None
    engine = engine_of.sessions.engines[Version.TWO]
    message = engine.read_exchange(key.data)[1] if key.kex else engine.read_message(key.data)
    return message.ratchet_key, message.number


@pytest.mark.slow
async def test_r_06_thirty_two_tasks_write_and_read_at_once() -> None:
    world = World()
    parties = [await world.device("juliet@capulet.lit"), await world.device("romeo@montague.lit")]
    for party, other in (parties, parties[::-1]):
        await party.gather(other)
    # Each task sees the device as another process does, and lets others in at every moment.
    positions: list[tuple[bytes, int]] = []
    texts: list[str] = []

    async def work(number: int) -> None:
        writer, reader = parties[:: -1 if number % 2 else 1]
        mine = writer.reopened(waiting(writer.store))
        theirs = reader.reopened(waiting(reader.store))
        for turn in range(EACH):
            content = [body(f"task {number}, message {turn}")]
            [element] = (await mine.sessions.encrypt(content, {reader.jid})).elements
            positions.append(position(writer, reader, element))
            opened = await theirs.decrypt(element, writer)
            texts.append(opened.content[0].text)
            await theirs.sessions.delivered([opened])

    await asyncio.gather(*[work(number) for number in range(TASKS)])
    assert len(positions) == len(set(positions)) == TASKS * EACH
    assert sorted(texts) == sorted(
        f"task {number}, message {turn}" for number in range(TASKS) for turn in range(EACH)
    )
    for party in parties:
        assert await party.sessions.undelivered() == ()
