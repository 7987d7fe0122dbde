"""The inbox: what is decrypted reaches the program once, whatever crashes (P3)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.errors import ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.omemo import decrypting, inbox
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.inbox_record import opened_from_record, opened_to_record
from e2ee.omemo.opened import OpenedMessage, TransportedKey
from e2ee.omemo.version import Version
from e2ee.sce import Remark
from e2ee.secret import Secret
from e2ee.storage import Put
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import HookedStore, Moment, waiting
from tests.support.omemo_letters import EMPTY, Pair, enveloped, keyed, met, sealed, texts
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
    opened = await pair.bob.decrypt(await keyed(pair.alice, pair.bob, EMPTY), pair.alice)
    assert opened.is_empty
    assert await inbox.undelivered(pair.bob.sessions) == ()
    await inbox.delivered(pair.bob.sessions, [opened])


async def test_o_06_an_empty_message_that_tells_of_a_loss_waits(pair: Pair) -> None:
    """Or a crash would be the end of it."""
    alice, bob = pair.alice, pair.bob
    await bob.decrypt(await keyed(alice, bob, EMPTY), alice)
    for _ in range(1002):
        await keyed(alice, bob, EMPTY)
    await alice.decrypt((await bob.encrypt(alice)).elements[0], bob)
    empty = await keyed(alice, bob, EMPTY)
    opened = await bob.decrypt(empty, alice)
    assert (opened.is_empty, opened.lost) == (True, 1002)
    again = bob.reopened()
    assert await inbox.undelivered(again.sessions) == (opened,)
    assert await again.decrypt(empty, alice) == opened
    await inbox.delivered(again.sessions, [opened])
    async with refused(ErrorCode.REPLAY, again):
        await again.decrypt(empty, alice)


async def test_r_13_no_namespace_makes_a_message_long(pair: Pair) -> None:
    """What the envelope declares once is kept once, however many elements use it."""
    declared = " ".join(f"xmlns:p{n}='urn:{n}:{'x' * 900}'" for n in range(62))
    child = f"<a xmlns='urn:a' {' '.join(f'p{n}:b={chr(39) * 2}' for n in range(62))}/>"
    for content in (child * 100, f"<z xmlns='urn:z'>{child * 100}</z>"):
        encrypted = await sealed(pair.alice, pair.bob, _envelope(content, declared))
        opened = await pair.bob.decrypt(encrypted, pair.alice)
        assert await inbox.undelivered(pair.bob.sessions) == (opened,)
        assert max(map(len, (await dump(pair.bob.store)).values())) < 2 * len(write_xml(encrypted))
        await inbox.delivered(pair.bob.sessions, [opened])


@pytest.mark.parametrize("too_much", ["text", "namespaces"])
async def test_r_13_a_message_too_long_to_be_kept_fails_alone(pair: Pair, too_much: str) -> None:
    """And the rest of the page is read."""
    declared = [" ".join(f"xmlns:{p}{n}='urn:{p}{n}'" for n in range(40)) for p in "pq"]
    content = "".join(f"<a xmlns='urn:a' p{n}:b='1' q{n}:b='1'/>" for n in range(40))
    if too_much == "text":
        content, declared = f"<a xmlns='urn:a'><![CDATA[{'<' * 600_000}]]></a>" * 2, ["", ""]
    long = await sealed(pair.alice, pair.bob, _envelope(content, *declared))
    short = await enveloped(pair.alice, pair.bob, body("short"))
    before = await dump(pair.bob.store)
    arrival = pair.bob.arrival(pair.alice)
    [refusal] = await decrypting.decrypt_many(pair.bob.sessions, [(long, arrival)])
    assert isinstance(refusal, PeerMisbehaved)
    assert refusal.code is ErrorCode.LIMIT_EXCEEDED
    assert await dump(pair.bob.store) == before
    page = await decrypting.decrypt_many(pair.bob.sessions, [(long, arrival), (short, arrival)])
    assert texts(page) == ["short"]


def _envelope(content: str, outer: str, inner: str = "") -> bytes:
    return (
        f"<envelope xmlns='urn:xmpp:sce:1' {outer}><content {inner}>{content}</content>"
        "<rpad/><from jid='alice@a.example'/></envelope>"
    ).encode()


@given(
    st.lists(elements(), min_size=1, max_size=3),
    st.sampled_from(["", "xmlns='urn:w'", "xmlns='rel' xmlns:p='urn:p' xmlns:q='u:1'"]),
)
def test_content_is_kept_as_it_is(children: list[Element], declared: str) -> None:
    """By the prefixes that it was parsed with, whatever it stood in."""
    written = "".join(map(write_xml, children))
    content = parse_xml(f"<o xmlns:ns0='u:2' {declared}><w>{written}</w></o>").elements[0].elements
    opened = replace(_MESSAGE, content=content, dropped=content[:1])
    raw = opened_to_record(opened, 0)
    assert opened_from_record(raw, opened.id) == (opened, 0)
    assert len(raw) < 3 * (len(declared) + 2 * len(written)) + 2000


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
        (b'"content":"<', b'"content":"<<'),
        (b'"content":"<', b'"content":["<'),
        (b'"is_empty":false', b'"is_empty":0'),
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
        row = Draft(tx, pair.bob.jid).row("omemo", "inbox-count")
    await pair.bob.write(Put(row, b'{"count":"1","format":1,"kind":"omemo-inbox-count"}'))
    encrypted = (await pair.alice.encrypt(pair.bob)).elements[0]
    async with refused(ErrorCode.STORE_CORRUPT, pair.bob):
        await pair.bob.decrypt(encrypted, pair.alice)
