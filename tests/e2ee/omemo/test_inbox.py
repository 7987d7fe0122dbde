"""The inbox: what is decrypted reaches the program once, whatever crashes (P3)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.omemo import decrypting, inbox
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.draft import Draft
from e2ee.omemo.inbox_record import opened_from_record, opened_to_record
from e2ee.omemo.opened import OpenedMessage, TransportedKey
from e2ee.omemo.version import Version
from e2ee.sce import Remark
from e2ee.secret import Secret
from e2ee.storage import Put
from e2ee.stores.memory import MemoryStore
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import HookedStore, Moment, waiting
from tests.support.omemo_letters import Pair, enveloped, keyed, met, sealed, texts
from tests.support.omemo_world import World, body, dump, refused
from tests.support.xml import elements

_ALICE = BareJid.parse("alice@a.example")
_MESSAGE = OpenedMessage(
    id="a" * 64,
    version=Version.LEGACY,
    sender=Device(_ALICE, DeviceId(2**32 - 1)),
    fingerprint=IdentityFingerprint("0f" * 32),
    trust=Trust.UNDECIDED,
    arrival=Arrival(
        StanzaKind.ITEM,
        Jid.parse("alice@a.example/ünïcode ☃"),
        Jid.parse("bob@b.example"),
        datetime(2026, 7, 1, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2))),
        _ALICE,
        NodeAddress(_ALICE, "a:node"),
        ItemId("an item"),
    ),
    content=(body("\r\n <&> \U0001f512"), element("urn:x", "empty")),
    dropped=(element("urn:xmpp:hints", "store"),),
    remarks=frozenset(Remark),
    time=datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC),
    key=TransportedKey(Secret(bytes(range(16))), bytes(12)),
    is_rewritable=True,
    lost=17,
    opted_out=True,
    reason="because",
)


@pytest.fixture
async def pair() -> Pair:
    pair = await met()
    await inbox.delivered(pair.bob.sessions, await inbox.undelivered(pair.bob.sessions))
    return pair


async def test_a_crash_after_the_commit_loses_nothing(pair: Pair) -> None:
    """P3: the program finds what it was not told of, and may hear it from the archive, too."""
    encrypted = (await pair.alice.encrypt(pair.bob)).elements[0]

    async def crash(moment: Moment) -> None:
        if moment is Moment.AFTER_COMMIT:
            raise asyncio.CancelledError

    crashing = pair.bob.reopened(HookedStore(pair.bob.store, crash))
    with pytest.raises(asyncio.CancelledError):
        await crashing.decrypt(encrypted, pair.alice)
    again = pair.bob.reopened()
    [waiting_one] = await inbox.undelivered(again.sessions)
    assert texts(waiting_one) == ["Good pilgrim"]
    before = await dump(again.store)
    assert await again.decrypt(encrypted, pair.alice, stamp=pair.world.now) == waiting_one
    assert await dump(again.store) == before
    await inbox.delivered(again.sessions, [waiting_one])
    assert await inbox.undelivered(again.sessions) == ()
    async with refused(ErrorCode.REPLAY, again):
        await again.decrypt(encrypted, pair.alice)


async def test_r_11_a_call_that_is_cancelled_loses_nothing(pair: Pair) -> None:
    """At each of its awaits: nothing was kept, or the message waits."""
    for step in range(100):
        encrypted = await enveloped(pair.alice, pair.bob, body(str(step)))
        slow = pair.bob.reopened(waiting(pair.bob.store))
        before = await dump(pair.bob.store)
        arrival = pair.bob.arrival(pair.alice)
        try:
            await cancel_at(decrypting.decrypt(slow.sessions, encrypted, arrival), step)
        except asyncio.CancelledError:
            [*kept] = await inbox.undelivered(pair.bob.sessions)
            assert kept or await dump(pair.bob.store) == before
            again = await pair.bob.decrypt(encrypted, pair.alice)
            assert texts(again) == [str(step)]
            await inbox.delivered(pair.bob.sessions, [again])
        else:
            assert step > 5
            return
    raise AssertionError("it never came to its end")


async def test_r_15_no_network_is_needed_to_keep_a_message() -> None:
    """What must be sent waits in the outbox, for ever if need be."""
    world = World()
    alice, bob = await world.device("alice@a.example"), await world.device("bob@b.example")
    for n in range(3):
        opened = await bob.decrypt((await alice.encrypt(bob)).elements[0], alice)
        assert (await inbox.undelivered(bob.sessions))[n] == opened
    assert len(await bob.outbox.pending()) == 2


async def test_messages_wait_in_their_order(pair: Pair) -> None:
    """Whatever the clock does meanwhile."""
    for text in "abc":
        encrypted = (await pair.alice.encrypt(pair.bob, content=[body(text)])).elements[0]
        await pair.bob.decrypt(encrypted, pair.alice)
        pair.world.wait(-timedelta(days=1))
    assert texts(await inbox.undelivered(pair.bob.sessions)) == ["a", "b", "c"]


async def test_the_same_stanza_by_another_way_is_the_same_message(pair: Pair) -> None:
    """An archive has its own stamp, white space, prefixes and order of attributes."""
    encrypted = (await pair.alice.encrypt(pair.bob)).elements[0]
    opened = await pair.bob.decrypt(encrypted, pair.alice)
    rewritten = _rewritten(encrypted)
    assert rewritten != encrypted
    assert await pair.bob.decrypt(rewritten, pair.alice, stamp=pair.world.now) == opened
    moved = replace(pair.bob.arrival(pair.alice), kind=StanzaKind.IQ)
    async with refused(ErrorCode.REPLAY, pair.bob):
        await decrypting.decrypt(pair.bob.sessions, encrypted, moved)


def _rewritten(source: Element) -> Element:
    children: tuple[Element | str, ...] = source.children
    if source.elements:
        children = tuple(_rewritten(child) for child in source.elements)
    elif source.text:
        children = (f"\n  {source.text[:8]}\n{source.text[8:]} ",)
    attributes = (Attribute("seen", "1", "urn:archive", "a"), *reversed(source.attributes))
    return Element(source.namespace, source.name, attributes, children, prefix="o")


async def test_empty_messages_do_not_wait(pair: Pair) -> None:
    """There is nothing to take in."""
    opened = await pair.bob.decrypt(
        await keyed(pair.alice, pair.bob, Secret(bytes(32))), pair.alice
    )
    assert opened.is_empty
    assert await inbox.undelivered(pair.bob.sessions) == ()
    await inbox.delivered(pair.bob.sessions, [opened])


async def test_content_that_could_not_be_read_again_is_refused(pair: Pair) -> None:
    """Else one message would hold up all the others."""
    inherited = " ".join(f"xmlns:p{n}='urn:{n}'" for n in range(64))
    own = " ".join(f"xmlns:q{n}='urn:{n}'" for n in range(64))
    envelope = (
        f"<envelope xmlns='urn:xmpp:sce:1' {inherited}><content>"
        f"<a xmlns='urn:a' {own[:-20]} p0:b='1' p1:b='1' p2:b='1' p3:b='1'/></content>"
        "<rpad/><from jid='alice@a.example'/></envelope>"
    )
    encrypted = await sealed(pair.alice, pair.bob, envelope.encode())
    with pytest.raises(PeerMisbehaved):
        await pair.bob.decrypt(encrypted, pair.alice)
    assert await inbox.undelivered(pair.bob.sessions) == ()


async def test_a_message_too_large_to_be_read_again_is_refused() -> None:
    """As nothing that arrives is, but what a draft is given might be."""
    store = MemoryStore()
    async with store.exclusive(("bob@b.example",)) as tx:
        draft = Draft(tx, BareJid.parse("bob@b.example"))
        text = "x" * (1024 * 1024 + 1)
        with pytest.raises(PeerMisbehaved) as refusal:
            await inbox.keep_opened(draft, replace(_MESSAGE, content=(body(text),)))
    assert refusal.value.code is ErrorCode.LIMIT_EXCEEDED


@given(elements(), st.sampled_from(["", "xmlns='urn:w'", "xmlns='jabber:client' xmlns:p='urn:p'"]))
async def test_content_is_given_as_it_is_read_again(child: Element, declared: str) -> None:
    """Whatever it stood in, and whether or not it had to be parsed anew for that."""
    content = parse_xml(f"<w {declared}>{write_xml(child)}</w>").elements
    async with MemoryStore().exclusive(("bob@b.example",)) as tx:
        draft = Draft(tx, BareJid.parse("bob@b.example"))
        kept = await inbox.keep_opened(draft, replace(_MESSAGE, content=content))
    assert kept.content == tuple([parse_xml(write_xml(each)) for each in content])


def test_all_of_a_message_is_kept() -> None:
    """Every field, to the microsecond."""
    raw = opened_to_record(_MESSAGE, 3)
    opened, place = opened_from_record(raw, _MESSAGE.id)
    assert place == 3
    assert [*map(str, opened.content)] == [*map(str, _MESSAGE.content)]
    assert all(map(Element.same_content, opened.content, _MESSAGE.content))
    assert replace(opened, content=(), dropped=()) == replace(_MESSAGE, content=(), dropped=())
    bare = OpenedMessage(
        _MESSAGE.id,
        Version.TWO,
        _MESSAGE.sender,
        _MESSAGE.fingerprint,
        Trust.AUTOMATIC,
        Arrival(StanzaKind.MESSAGE, Jid(_ALICE)),
    )
    assert opened_from_record(opened_to_record(bare, 0), bare.id) == (bare, 0)


@pytest.mark.slow
@given(elements())
@settings(max_examples=200, deadline=None)
def test_whatever_was_parsed_is_kept(content: Element) -> None:
    """A record reads back as what it is, so that nothing that arrives is refused for its form."""
    once, _ = opened_from_record(
        opened_to_record(replace(_MESSAGE, content=(content,)), 0), _MESSAGE.id
    )
    again = opened_from_record(opened_to_record(once, 0), _MESSAGE.id)
    assert again == (once, 0)
    assert once.content[0].same_content(content)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"lost":17', b'"lost":"17"'),
        (b'"lost":17', b'"lost":17.0'),
        (b'"is_rewritable":true', b'"is_rewritable":1'),
        (b'"version":"LEGACY"', b'"version":"THREE"'),
        (b'"trust":"undecided"', b'"trust":"yes"'),
        (b'"place":3', b'"place":true'),
        (b'"id":"aaaa', b'"id":"baaa'),
        (b'"device":"4294967295"', b'"device":4294967295'),
        (b'"kind":"omemo-inbox"', b'"kind":"omemo-session"'),
        (b'"reason":"because"', b'"reason":["because"]'),
        (b'"reason":"because"', b'"reason":null,"more":1'),
        (b'"opted_out":true', b'"opted_out":null'),
        (b'"item":"an item"', b'"item":5'),
        (b'"content":[', b'"content":["<a",'),
        (b'"remarks":["', b'"remarks":["no","'),
    ],
)
async def test_o_35_a_damaged_message_is_no_other(old: bytes, new: bytes) -> None:
    """Nor is it lost in silence."""
    raw = opened_to_record(_MESSAGE, 3)
    assert old in raw
    with pytest.raises(StoreFailed) as failure:
        opened_from_record(raw.replace(old, new), _MESSAGE.id)
    assert failure.value.code is ErrorCode.STORE_CORRUPT


async def test_o_35_a_damaged_count_is_no_fresh_start(pair: Pair) -> None:
    """The order of what waits would be lost."""
    async with pair.bob.store.exclusive(pair.bob.sessions.scope) as tx:
        row = Draft(tx, pair.bob.jid).row("inbox-count")
    await pair.bob.write(Put(row, b'{"count":"1","format":1,"kind":"omemo-inbox-count"}'))
    encrypted = (await pair.alice.encrypt(pair.bob)).elements[0]
    async with refused(ErrorCode.STORE_CORRUPT, pair.bob):
        await pair.bob.decrypt(encrypted, pair.alice)
