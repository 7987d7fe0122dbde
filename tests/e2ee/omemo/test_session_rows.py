"""Where sessions lie: the current one, sixteen older ones, and the message keys that are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2ee.draft import Draft
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.limits import MAX_ARCHIVED_SESSIONS, MAX_SKIPPED_CHAINS, MAX_SKIPPED_KEYS
from e2ee.names import BareJid
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.engine import Received, SkippedKey
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import (
    archived_within,
    put_archived,
    put_session,
    replace_session,
    session_within,
    sessions_within,
    skipped_within,
    take_in,
)
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from e2ee.storage import Key, Put
from e2ee.stores.memory import MemoryStore
from tests.e2ee.omemo.test_session_record import PEER, a_session

ME = BareJid.parse("juliet@capulet.lit")


class Rows:
    """A store of one account, and drafts over it."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    @asynccontextmanager
    async def draft(self) -> AsyncIterator[Draft]:
        """Yield a draft, and commit it."""
        async with self.store.exclusive((str(ME),)) as tx:
            draft = Draft(tx, ME)
            yield draft
            await draft.commit()

    async def dump(self, *parts: str) -> dict[Key, bytes]:
        async with self.draft() as draft:
            return dict(await draft.scan(draft.row("omemo", *parts)))


@pytest.fixture
def rows() -> Rows:
    return Rows()


def session(number: int, peer: Device = PEER, version: Version = Version.TWO) -> Session:
    """Return a session that no other is."""
    a = a_session()
    exchange = replace(a.exchange, ephemeral=number.to_bytes(32))
    return replace(a, exchange=exchange, peer=peer, version=version, skipped=())


def passed(chain: int, numbers: Iterator[int] | range) -> tuple[SkippedKey, ...]:
    """Return message keys of one chain."""
    return tuple(
        SkippedKey(chain.to_bytes(32), number, (chain * 10_000 + number).to_bytes(32))
        for number in numbers
    )


def received(*skipped: SkippedKey) -> Received:
    ratchet = replace(a_session().ratchet, previous=11)
    return Received(Secret(bytes(48)), ratchet, skipped)


async def kept(rows: Rows, of: Session) -> list[tuple[bytes, int]]:
    """Return the first twenty message keys that are found for a session, of each chain."""
    async with rows.draft() as draft:
        return [
            (chain.ratchet_key, number)
            for chain in of.skipped
            for number in range(20)
            if await skipped_within(draft, of, chain.ratchet_key, number)
        ]


async def test_sessions_are_found_by_device_and_by_jid(rows: Rows) -> None:
    others = [
        replace(PEER, id=DeviceId(1)),
        replace(PEER, jid=BareJid.parse("romeo@montague.lit.example")),
    ]
    async with rows.draft() as draft:
        put_session(draft, session(0))
        put_session(draft, session(1, others[0]))
        put_session(draft, session(2, others[1]))
        put_session(draft, session(3, PEER, Version.LEGACY))
    async with rows.draft() as draft:
        assert await session_within(draft, Version.TWO, PEER) == session(0)
        assert await session_within(draft, Version.LEGACY, PEER) == session(3, PEER, Version.LEGACY)
        assert await session_within(draft, Version.LEGACY, others[0]) is None
        found = await sessions_within(draft, Version.TWO, PEER.jid, [PEER.id, DeviceId(9)])
        assert found == {PEER.id: session(0)}


async def test_o_20_what_is_replaced_is_archived_newest_first(rows: Rows) -> None:
    for number in range(3):
        async with rows.draft() as draft:
            await replace_session(draft, session(number))
    async with rows.draft() as draft:
        assert await session_within(draft, Version.TWO, PEER) == session(2)
        archived = await archived_within(draft, Version.TWO, PEER)
        assert archived == ((1, session(1)), (0, session(0)))
        moved = replace(session(0), confirmed=False)
        put_archived(draft, 0, moved)
    async with rows.draft() as draft:
        assert (await archived_within(draft, Version.TWO, PEER))[1] == (0, moved)


async def test_o_20_all_replacements_of_one_draft_are_archived(rows: Rows) -> None:
    """A page of archive may hold several key exchanges."""
    async with rows.draft() as draft:
        for number in range(4):
            await replace_session(draft, session(number))
    async with rows.draft() as draft:
        found = [each for _, each in await archived_within(draft, Version.TWO, PEER)]
        assert found == [session(2), session(1), session(0)]


async def test_o_20_the_same_session_again_is_not_archived(rows: Rows) -> None:
    async with rows.draft() as draft:
        await replace_session(draft, session(0))
        await replace_session(draft, replace(session(0), confirmed=False))
        assert await archived_within(draft, Version.TWO, PEER) == ()
        assert await session_within(draft, Version.TWO, PEER) == replace(
            session(0), confirmed=False
        )


async def test_o_21_an_archived_session_becomes_the_current_one(rows: Rows) -> None:
    async with rows.draft() as draft:
        for number in range(3):
            await replace_session(draft, session(number))
    async with rows.draft() as draft:
        await replace_session(draft, session(1))
    async with rows.draft() as draft:
        assert await session_within(draft, Version.TWO, PEER) == session(1)
        archived = await archived_within(draft, Version.TWO, PEER)
        assert [each for _, each in archived] == [session(2), session(0)]


async def test_o_20_the_oldest_are_dropped_with_their_message_keys(rows: Rows) -> None:
    count = MAX_ARCHIVED_SESSIONS + 3
    for number in range(count):
        async with rows.draft() as draft:
            taken = await take_in(draft, session(number), received(*passed(1, range(5))), None)
            await replace_session(draft, taken)
    async with rows.draft() as draft:
        archived = [each for _, each in await archived_within(draft, Version.TWO, PEER)]
    assert [int.from_bytes(each.exchange.ephemeral) for each in archived] == list(
        range(count - 2, count - 2 - MAX_ARCHIVED_SESSIONS, -1)
    )
    assert len(await rows.dump("skipped")) == MAX_ARCHIVED_SESSIONS + 1
    for each in archived:
        assert len(await kept(rows, each)) == 5


async def test_kept_keys_are_found_once_and_used_once(rows: Rows) -> None:
    async with rows.draft() as draft:
        before = await take_in(draft, session(0), received(*passed(1, range(3, 6))), None)
        assert before.confirmed
        assert before.ratchet.previous == 11
    async with rows.draft() as draft:
        used = await skipped_within(draft, before, (1).to_bytes(32), 4)
        assert used == passed(1, range(4, 5))[0]
        assert await skipped_within(draft, before, (1).to_bytes(32), 7) is None
        assert await skipped_within(draft, before, (2).to_bytes(32), 4) is None
        after = await take_in(draft, before, received(), used)
    assert [number for _, number in await kept(rows, after)] == [3, 5]
    async with rows.draft() as draft:
        for number in (5, 3):
            used = await skipped_within(draft, after, (1).to_bytes(32), number)
            after = await take_in(draft, after, received(), used)
    assert after.skipped == ()
    assert await rows.dump("skipped") == {}


async def test_keys_of_two_chains_are_kept_apart(rows: Rows) -> None:
    """A message after a ratchet step passes over the end of one chain and the start of another."""
    async with rows.draft() as draft:
        both = [*passed(1, range(2)), *passed(2, range(3))]
        after = await take_in(draft, session(0), received(*both), None)
        after = await take_in(draft, after, received(*passed(2, range(7, 9))), None)
    assert [(chain.ratchet_key[-1], chain.count) for chain in after.skipped] == [(1, 2), (2, 5)]
    assert [number for key, number in await kept(rows, after) if key[-1] == 2] == [0, 1, 2, 7, 8]


async def test_sessions_with_one_device_keep_their_keys_apart(rows: Rows) -> None:
    """Even if the peer uses one ratchet key in two sessions."""
    async with rows.draft() as draft:
        one = await take_in(draft, session(1), received(*passed(1, range(2))), None)
        two = await take_in(draft, session(2), received(*passed(1, range(5))), None)
    assert len(await kept(rows, one)) == 2
    assert len(await kept(rows, two)) == 5


async def test_o_05_the_oldest_keys_go_first(rows: Rows) -> None:
    async with rows.draft() as draft:
        after = await take_in(draft, session(0), received(*passed(1, range(1000))), None)
        after = await take_in(draft, after, received(*passed(2, range(1000))), None)
        after = await take_in(draft, after, received(*passed(3, range(10))), None)
    assert [chain.count for chain in after.skipped] == [990, 1000, 10]
    numbers = [number for key, number in await kept(rows, after) if key[-1] == 1]
    assert numbers == list(range(10, 20))


async def test_o_05_whole_chains_go_first(rows: Rows) -> None:
    after = session(0)
    async with rows.draft() as draft:
        for chain in range(MAX_SKIPPED_CHAINS + 5):
            after = await take_in(draft, after, received(*passed(chain, range(3))), None)
    assert [int.from_bytes(chain.ratchet_key) for chain in after.skipped] == list(
        range(5, MAX_SKIPPED_CHAINS + 5)
    )
    assert len(await rows.dump("skipped")) == MAX_SKIPPED_CHAINS


async def test_o_05_a_peer_who_skips_for_ever_costs_no_more(rows: Rows) -> None:
    """A thousand messages skipped in each of a hundred chains: rows and records stay bounded."""
    after = session(0)
    for chain in range(100):
        async with rows.draft() as draft:
            after = await take_in(draft, after, received(*passed(chain, range(1000))), None)
            put_session(draft, after)
    stored = await rows.dump("skipped")
    assert sum(chain.count for chain in after.skipped) == MAX_SKIPPED_KEYS
    assert [int.from_bytes(chain.ratchet_key) for chain in after.skipped] == [98, 99]
    assert len(stored) == 2
    assert sum(map(len, stored.values())) < 100_000
    [record] = (await rows.dump("session")).values()
    assert len(record) < 2000


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.integers(1, 900)), min_size=1, max_size=2),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
async def test_o_05_what_is_counted_is_what_is_kept(
    steps: list[list[tuple[int, int]]], chance: object
) -> None:
    """Whatever is skipped and used, the counts are right, the bounds hold, the newest survive."""
    rows, after = Rows(), session(0)
    every: dict[bytes, int] = {}
    model: dict[tuple[bytes, int], bytes] = {}
    for step in steps:
        skipped: list[SkippedKey] = []
        for chain, count in dict(step).items():
            key = chain.to_bytes(32)
            start = every.get(key, 0)
            every[key] = start + count
            skipped += passed(chain, range(start, start + count))
        async with rows.draft() as draft:
            after = await take_in(draft, after, received(*skipped), None)
            model |= {(each.ratchet_key, each.number): each.key for each in skipped}
            total = sum(each.count for each in after.skipped)
            assert total <= MAX_SKIPPED_KEYS
            assert len(after.skipped) <= MAX_SKIPPED_CHAINS
            newest = skipped[-1]
            found = await skipped_within(draft, after, newest.ratchet_key, newest.number)
            assert found is not None or newest.ratchet_key == after.skipped[0].ratchet_key
            if found:
                assert found.key == model[found.ratchet_key, found.number]
                after = await take_in(draft, after, received(), found)
                gone = await skipped_within(draft, after, found.ratchet_key, found.number)
                assert gone is None
    assert len(await rows.dump("skipped")) == len(after.skipped)


async def test_o_35_lost_message_keys_are_damage(rows: Rows) -> None:
    async with rows.draft() as draft:
        after = await take_in(draft, session(0), received(*passed(1, range(3))), None)
    async with rows.draft() as draft:
        for key in await draft.scan(draft.row("omemo", "skipped")):
            draft.remove(key[0])
    async with rows.draft() as draft:
        with pytest.raises(StoreFailed) as caught:
            await skipped_within(draft, after, (1).to_bytes(32), 0)
        assert caught.value.code is ErrorCode.STORE_CORRUPT


async def test_o_35_a_row_of_another_kind_is_damage(rows: Rows) -> None:
    async with rows.draft() as draft:
        await replace_session(draft, session(0))
        await replace_session(draft, session(1))
    [(row, raw)] = (await rows.dump("archive")).items()
    async with rows.store.exclusive((str(ME),)) as tx:
        await tx.commit([Put((*row[:-1], "x"), raw)])
    async with rows.draft() as draft:
        with pytest.raises(StoreFailed) as caught:
            await archived_within(draft, Version.TWO, PEER)
        assert caught.value.code is ErrorCode.STORE_CORRUPT
