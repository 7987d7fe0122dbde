"""No position of a ratchet is used twice: by many tasks, after a crash, or on an older copy.

And the sessions around it: begun once, carried until they are answered, archived when they are
replaced, kept going by messages that say nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from e2ee import ns
from e2ee.draft import Draft
from e2ee.effects import Send
from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, StoreFailed
from e2ee.omemo import encrypting, own_device
from e2ee.omemo.empty_messages import queue_empty, renew_session
from e2ee.omemo.encrypting import Encrypted
from e2ee.omemo.recipients import Outcome
from e2ee.omemo.session_rows import archived_within, put_archived, session_within
from e2ee.omemo.version import Version, bundle_fetch
from e2ee.renewal import renew
from e2ee.storage import Store
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from e2ee.trust import Trust
from e2ee.xmltree import Element
from tests.support.anchors import HookedAnchor
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import HookedStore, Moment, waiting
from tests.support.omemo_letters import key_for, met, session_of
from tests.support.omemo_world import Party, World, body, copied, dump, refused, settle

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
BOTH = (Version.TWO, Version.LEGACY)

Position = tuple[bytes, int]


def position(element: Element, reader: Party) -> Position:
    """Return the ratchet key and the number of what an element has for a device."""
    engine = reader.sessions.engines[Version(element.namespace)]
    key = key_for(element, reader)
    message = engine.read_exchange(key.data)[1] if key.kex else engine.read_message(key.data)
    return message.ratchet_key, message.number


def positions(encrypted: Encrypted, *readers: Party) -> set[Position]:
    return {position(element, each) for element in encrypted.elements for each in readers}


async def said(sender: Party, reader: Party) -> Encrypted:
    """Encrypt without fetching anything."""
    return await encrypting.encrypt(sender.sessions, (body("hi"),), {reader.jid})


# -- many at once


@pytest.mark.parametrize("acquainted", [False, True])
async def test_o_23_tasks_at_once_use_different_positions(acquainted: bool) -> None:
    """32 tasks on two objects over one store that lets others in at every moment."""
    pair = await met()
    alice, bob = pair.alice, pair.bob
    if not acquainted:
        alice = await pair.world.device("ann@a.example")
        await alice.gather(bob)
    both = [alice.reopened(waiting(alice.store)), alice.reopened(waiting(alice.store))]
    every = await asyncio.gather(*(said(both[number % 2], bob) for number in range(32)))
    assert len({position(each.elements[0], bob) for each in every}) == 32
    for each in every:
        await bob.decrypt(each.elements[0], alice)


async def test_o_23_two_openings_of_a_file_use_different_positions(tmp_path: Path) -> None:
    """As two processes: the session that one began is the session that the other goes on with."""
    tmp_path.chmod(0o700)
    world = World()
    romeo = await world.device(ROMEO)
    async with (
        await SqliteStore.open(tmp_path / "store.db") as first,
        await SqliteStore.open(tmp_path / "store.db") as second,
    ):
        juliet = await world.device(JULIET, store=first)
        other = juliet.reopened(second)
        await juliet.gather(romeo)
        every = await asyncio.gather(
            *(said(party, romeo) for _ in range(8) for party in (juliet, other))
        )
    assert len({position(each.elements[0], romeo) for each in every}) == 16
    kinds = [report.outcome for each in every for report in each.report]
    assert set(kinds) == {Outcome.STARTED}
    for each in every:
        await romeo.decrypt(each.elements[0], juliet)


# -- interrupted


async def _stopped_everywhere(
    store: Store, act: Callable[[Store], Awaitable[object]]
) -> list[tuple[bool, MemoryStore]]:
    """Cancel an act at each of its waits, on a copy of a store each time.

    Returns:
        For each wait whether the store was changed, and the copy.
    """
    before = await dump(store)
    found: list[tuple[bool, MemoryStore]] = []
    for step in range(500):
        copy = await copied(store)
        coroutine = act(waiting(copy))
        try:
            await cancel_at(coroutine, step)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task
            task.uncancel()
            found.append((await dump(copy) != before, copy))
        else:
            return found
    raise AssertionError("it never ends")


@pytest.mark.parametrize("acquainted", [False, True])
async def test_r_11_a_cancelled_encrypt_changes_nothing_or_all(acquainted: bool) -> None:
    """Whatever was kept, the next message is at a position of its own, and is read."""
    pair = await met()
    alice, bob = pair.alice, pair.bob
    if not acquainted:
        alice = await pair.world.device("ann@a.example")
        await alice.gather(bob)
    whole = alice.reopened(await copied(alice.store))
    taken = positions(await said(whole, bob), bob)
    after = {row for row in await dump(whole.store) if "session" in row or "bundle" in row}
    stops = await _stopped_everywhere(alice.store, lambda store: said(alice.reopened(store), bob))
    assert {changed for changed, _ in stops} == {False, True}
    for changed, copy in stops:
        rows = {row for row in await dump(copy) if "session" in row or "bundle" in row}
        if changed:
            assert rows == after
        went_on = alice.reopened(copy)
        encrypted = await said(went_on, bob)
        if changed and acquainted:
            assert positions(encrypted, bob).isdisjoint(taken)
        reader = bob.reopened(await copied(bob.store))
        await reader.decrypt(encrypted.elements[0], alice)


async def test_p2_a_store_that_fails_loses_nothing() -> None:
    """What was encrypted for a commit that failed never left: its position is free."""
    pair = await met()

    class Full(Exception):
        """The disk is full."""

    async def fail(moment: Moment) -> None:
        if moment is Moment.BEFORE_COMMIT:
            raise Full

    before = await dump(pair.alice.store)
    with pytest.raises(Full):
        await said(pair.alice.reopened(HookedStore(pair.alice.store, fail)), pair.bob)
    assert await dump(pair.alice.store) == before
    await pair.bob.decrypt((await said(pair.alice, pair.bob)).elements[0], pair.alice)


# -- older copies


async def test_o_24_an_older_copy_is_refused_and_renewed_uses_no_position_again() -> None:
    world = World()
    anchor, inner = HookedAnchor(), MemoryStore()
    romeo = await world.device(ROMEO)
    juliet = await world.device(JULIET, store=GuardedStore(inner, anchor))
    await juliet.say("hi", romeo)
    await settle(juliet, romeo)
    backup = await copied(inner)
    used = [positions(await juliet.say("hi", romeo), romeo) for _ in range(3)]
    assert len(await settle(juliet, romeo)) == 3

    restored = GuardedStore(backup, anchor)
    again = juliet.reopened(restored)
    with pytest.raises(StoreFailed) as caught:
        await said(again, romeo)
    assert caught.value.code is ErrorCode.STORE_ROLLED_BACK
    world.wait(timedelta(minutes=6))
    await renew(restored, juliet.jid, world.clock)
    async with refused(ErrorCode.DATA_MISSING, again):
        await said(again, romeo)
    encrypted = await again.say("back again", romeo)
    assert [each.outcome for each in encrypted.report] == [Outcome.STARTED]
    assert not any(positions(encrypted, romeo) & each for each in used)
    [opened] = await romeo.read()
    assert [each.text for each in opened.content] == ["back again"]
    await romeo.flush()
    await settle(again, romeo)
    assert [each.outcome for each in (await again.say("well", romeo)).report] == [Outcome.ENCRYPTED]


async def test_o_24_a_session_from_before_a_renewal_still_decrypts() -> None:
    world = World()
    anchor, inner = HookedAnchor(), MemoryStore()
    romeo = await world.device(ROMEO)
    juliet = await world.device(JULIET, store=GuardedStore(inner, anchor))
    await juliet.say("hi", romeo)
    await settle(juliet, romeo)
    restored = GuardedStore(await copied(inner), anchor)
    late = await romeo.encrypt(juliet)
    world.wait(timedelta(minutes=6))
    await renew(restored, juliet.jid, world.clock)
    again = juliet.reopened(restored)
    await again.say("back again", romeo)
    stamp = world.now - timedelta(minutes=6)
    opened = await again.decrypt(late.elements[0], romeo, stamp=stamp)
    assert opened.content
    async with restored.exclusive(again.sessions.scope) as tx:
        draft = Draft(tx, again.jid)
        [(_, outdated)] = await archived_within(draft, Version.TWO, romeo.device)
        with pytest.raises(ApiMisuse):
            await queue_empty(again.sessions, draft, outdated)


# -- sessions


async def test_a_key_exchange_is_sent_until_it_is_answered() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    first, second = await juliet.say("hi", romeo), await juliet.say("hi", romeo)
    keys = [key_for(each.elements[0], romeo) for each in (first, second)]
    engine = romeo.sessions.engines[Version.TWO]
    assert [key.kex for key in keys] == [True, True]
    assert len({engine.read_exchange(key.data)[0] for key in keys}) == 1
    await settle(juliet, romeo)
    assert not key_for((await juliet.say("hi", romeo)).elements[0], romeo).kex
    assert not key_for((await romeo.say("hi", juliet)).elements[0], juliet).kex


async def test_o_20_a_replaced_session_reads_what_was_on_its_way() -> None:
    pair = await met()
    late = await pair.bob.encrypt(pair.alice)
    await pair.alice.looked(lambda: renew_session(pair.alice.sessions, pair.bob.device))
    await pair.alice.flush()
    assert (await pair.alice.decrypt(late.elements[0], pair.bob)).content
    await settle(pair.alice, pair.bob)
    for sender, reader in ((pair.alice, pair.bob), (pair.bob, pair.alice)):
        encrypted = await sender.say("hi", reader)
        assert [each.outcome for each in encrypted.report] == [Outcome.ENCRYPTED]
        [opened] = await settle(pair.alice, pair.bob)
        assert opened.content


async def test_a_renewed_session_is_told_of_by_an_empty_message() -> None:
    pair = await met()
    before = await session_of(pair.alice, pair.bob)
    await pair.alice.looked(lambda: renew_session(pair.alice.sessions, pair.bob.device))
    [sent] = await pair.alice.flush()
    assert isinstance(sent, Send)
    assert sent.to == pair.bob.jid
    assert len(sent.id) >= 16
    encrypted, hint = sent.children
    assert hint.is_(ns.HINTS, "store")
    assert encrypted.optional(Version.TWO, "payload") is None
    assert key_for(encrypted, pair.bob).kex
    [opened] = await pair.bob.read()
    assert opened.is_empty
    after = await session_of(pair.alice, pair.bob)
    assert after.exchange != before.exchange
    async with pair.alice.store.exclusive(pair.alice.sessions.scope) as tx:
        draft = Draft(tx, pair.alice.jid)
        archived = await archived_within(draft, Version.TWO, pair.bob.device)
    assert [each.exchange for _, each in archived] == [before.exchange]


async def test_r_11_a_cancelled_renewal_changes_nothing_or_all() -> None:
    pair = await met()
    alice, bob = pair.alice, pair.bob
    await alice.looked(lambda: renew_session(alice.sessions, bob.device))
    await alice.flush()
    await settle(alice, bob)
    with pytest.raises(E2eeError) as caught:
        await renew_session(alice.sessions, bob.device)
    await alice.feed(*caught.value.fetches)  # type: ignore[attr-defined]
    stops = await _stopped_everywhere(
        alice.store, lambda store: renew_session(alice.reopened(store).sessions, bob.device)
    )
    assert {changed for changed, _ in stops} == {False, True}
    for changed, copy in stops:
        went_on = alice.reopened(copy)
        assert len(await went_on.outbox.pending()) == int(changed)
        reader = bob.reopened(await copied(bob.store))
        assert (await reader.decrypt((await said(went_on, bob)).elements[0], alice)).content


async def test_what_no_session_is_renewed_with() -> None:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    with pytest.raises(E2eeError) as caught:
        await renew_session(juliet.sessions, juliet.device)
    assert caught.value.code is ErrorCode.API_MISUSE
    stranger = world.party("tybalt@capulet.lit")
    with pytest.raises(ApiMisuse, match="register"):
        await renew_session(stranger.sessions, romeo.device)
    async with refused(ErrorCode.DATA_MISSING, juliet):
        await renew_session(juliet.sessions, romeo.device)
    await juliet.gather(romeo)
    await juliet.say("hi", romeo)
    async with refused(ErrorCode.DATA_MISSING, juliet):  # the bundle was used up
        await renew_session(juliet.sessions, romeo.device)
    await juliet.decide(romeo, Trust.DISTRUSTED)
    async with refused(ErrorCode.UNTRUSTED, juliet):
        await renew_session(juliet.sessions, romeo.device)
    await own_device.leave(romeo.sessions)
    await romeo.flush()
    await juliet.hear_of(romeo)
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await renew_session(juliet.sessions, romeo.device)
    await own_device.leave(juliet.sessions)
    async with refused(ErrorCode.API_MISUSE, juliet):
        await renew_session(juliet.sessions, romeo.device)


async def test_o_15_a_refused_bundle_renews_no_session() -> None:
    pair = await met()
    stranger = await pair.world.device("eve@e.example")
    theirs = pair.world.serve(bundle_fetch(Version.TWO, stranger.device))
    assert theirs
    pair.world.publish(bundle_fetch(Version.TWO, pair.bob.device), theirs)
    with pytest.raises(E2eeError) as caught:
        await pair.alice.looked(lambda: renew_session(pair.alice.sessions, pair.bob.device))
    assert caught.value.code is ErrorCode.IDENTITY_CHANGED
    assert not await pair.alice.outbox.pending()


@pytest.mark.parametrize("legacy", [False, True])
async def test_o_11_an_empty_message_carries_nothing(legacy: bool) -> None:
    """In the legacy version it transports a key that is for nothing, made anew each time."""
    pair = await met(legacy=legacy)
    version = Version.LEGACY if legacy else Version.TWO
    sent: list[Element] = []
    for _ in range(2):
        session = await session_of(pair.alice, pair.bob, version)
        async with pair.alice.store.exclusive(pair.alice.sessions.scope) as tx:
            draft = Draft(tx, pair.alice.jid)
            after = await queue_empty(pair.alice.sessions, draft, session)
            await draft.commit()
        assert await session_of(pair.alice, pair.bob, version) == after
        [effect] = await pair.alice.flush()
        assert isinstance(effect, Send)
        assert effect.children[0].optional(version, "payload") is None
        sent.append(effect.children[0])
    first, second = await pair.bob.read()
    assert first.is_empty == second.is_empty == (not legacy)
    assert not first.content
    if legacy:
        assert first.key
        assert second.key
        assert first.key.key != second.key.key
    assert position(sent[0], pair.bob) != position(sent[1], pair.bob)


async def test_o_10_a_message_always_has_a_payload() -> None:
    pair = await met()
    encrypted = await encrypting.encrypt(pair.alice.sessions, (), {pair.bob.jid})
    assert encrypted.elements[0].only(Version.TWO, "payload").text
    opened = await pair.bob.decrypt(encrypted.elements[0], pair.alice)
    assert not opened.is_empty


async def test_o_21_an_empty_message_makes_its_session_the_current_one() -> None:
    """Where a session was archived that the other side goes on with."""
    pair = await met()
    old = await session_of(pair.alice, pair.bob)
    await pair.alice.looked(lambda: renew_session(pair.alice.sessions, pair.bob.device))
    async with pair.alice.store.exclusive(pair.alice.sessions.scope) as tx:
        draft = Draft(tx, pair.alice.jid)
        [(slot, archived)] = await archived_within(draft, Version.TWO, pair.bob.device)
        put_archived(draft, slot, archived)
        after = await queue_empty(pair.alice.sessions, draft, archived)
        await draft.commit()
    async with pair.alice.store.exclusive(pair.alice.sessions.scope) as tx:
        draft = Draft(tx, pair.alice.jid)
        assert await session_within(draft, Version.TWO, pair.bob.device) == after
        [(_, other)] = await archived_within(draft, Version.TWO, pair.bob.device)
    assert after.exchange == old.exchange != other.exchange
