"""Keys after a renewal: fetched again before anybody is written to or believed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.names import BareJid, Fetch, Fingerprint, Jid, NodeAddress
from e2ee.renewal import Renewal, renew
from e2ee.secret import Secret
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.trust import Trust
from ox.elements import (
    PublicKeysList,
    data_node,
    metadata_address,
    read_pubkey,
    write_pubkey,
)
from ox.key_record import ring_from_record, ring_to_record
from ox.keys import KeyRing
from ox.known_key import KnownKey
from tests.support.anchors import memory_with
from tests.support.forge import forged
from tests.support.ox_world import (
    Person,
    World,
    body,
    dump,
    fingerprint_of,
    meet,
    recipients,
    refused,
)
from tests.support.source import ROOT

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
FROZEN = ROOT / "tests" / "frozen"
A, B, C, D = (Fingerprint(letter * 40) for letter in "ABCD")


class Stage:
    """Juliet on a guarded store, whose contents may be put back, and Romeo."""

    def __init__(self, world: World, anchors: AnchorFiles, inner: MemoryStore) -> None:
        self.world = world
        self.anchors = anchors
        self.inner = inner
        self.store = GuardedStore(inner, anchors)
        self.juliet: Person = world.stranger(JULIET, store=self.store)
        self.romeo: Person

    @classmethod
    async def set(
        cls, folder: Path, romeos_key: Secret | None = None, juliets_key: Secret | None = None
    ) -> Stage:
        world = World()
        stage = cls(world, AnchorFiles(folder / "anchors"), MemoryStore())
        stage.juliet = await world.person(JULIET, key=juliets_key, store=stage.store)
        stage.romeo = await world.person(ROMEO, key=romeos_key)
        await meet(stage.juliet, stage.romeo)
        return stage

    async def after(self, work: Callable[[Stage], Awaitable[object]]) -> Stage:
        """Return the stage after work that a copy of the store from before does not know of."""
        copy = await dump(self.inner)
        await work(self)
        older = Stage(self.world, self.anchors, await memory_with(copy))
        older.romeo = self.romeo
        return older

    def revoke(self, revoked: bytes, *, struck: bool) -> None:
        """Let another device of Juliet's publish that their key is revoked."""
        me = self.juliet.jid
        self.world.nodes[NodeAddress(me, data_node(fingerprint_of(revoked)))] = write_pubkey(
            revoked
        )
        if struck:
            self.world.nodes[metadata_address(me)] = PublicKeysList(()).to_xml()

    async def renewed(self) -> Person:
        await renew(self.store, self.juliet.jid, self.world.clock)
        return self.juliet


async def one_commit(stage: Stage) -> None:
    ring = await stage.juliet.ox.keys(stage.romeo.jid)
    await stage.juliet.ox.decide(stage.romeo.jid, ring.keys[0].fingerprint, Trust.AUTHENTICATED)


async def expect_revoked(juliet: Person, public: bytes) -> None:
    """Expect that Juliet publishes nothing in the place of their revoked key."""
    assert not await juliet.flush()
    node = NodeAddress(juliet.jid, data_node(fingerprint_of(public)))
    assert (await juliet.ox.engine.inspect(read_pubkey(juliet.world.nodes[node]))).revoked


async def test_r_05_every_operation_of_an_account_refuses_until_it_is_renewed(
    tmp_path: Path,
) -> None:
    before = await Stage.set(tmp_path)
    letter = await before.romeo.seal(before.juliet)
    opened = await before.juliet.open(letter, before.romeo)
    stage = await before.after(one_commit)
    ox, romeo = stage.juliet.ox, stage.romeo.jid
    fingerprint = (await stage.romeo.ox.own_key()).certificate.fingerprint
    rows = await dump(stage.inner)
    attempts: list[Awaitable[object]] = [
        *(ox.own_key(), ox.generate(), ox.missing({romeo}), ox.keys(romeo)),
        ox.decide(romeo, fingerprint, Trust.DISTRUSTED),
        ox.feed(Fetch(metadata_address(romeo)), None),
        *(ox.seal([body("x")], {romeo}), stage.juliet.open(letter, stage.romeo)),
        *(ox.mark_handled(opened), stage.juliet.outbox.pending(), stage.juliet.outbox.done(1)),
    ]
    for attempt in attempts:
        with pytest.raises(StoreFailed) as caught:
            await attempt
        assert caught.value.code is ErrorCode.STORE_ROLLED_BACK
    assert await dump(stage.inner) == rows
    juliet = await stage.renewed()
    assert (await juliet.ox.own_key()).certificate.fingerprint  # ours stays ours
    await juliet.gather(juliet, stage.romeo)
    assert await stage.romeo.open(await juliet.seal(stage.romeo), juliet)


async def test_r_05_after_a_renewal_keys_are_fetched_before_anybody_is_written_to(
    tmp_path: Path,
) -> None:
    stage = await Stage.set(tmp_path)
    juliet, romeo = await stage.renewed(), stage.romeo
    me, him = juliet.jid, romeo.jid
    key = (await romeo.ox.own_key()).certificate.fingerprint
    own = (await juliet.ox.own_key()).certificate.fingerprint
    assert await juliet.ox.missing({me, him}) == (
        Fetch(metadata_address(me)),
        Fetch(metadata_address(him)),
    )
    letter = await romeo.seal(juliet)
    for address, fetches in (
        (metadata_address(me), (metadata_address(me),)),
        (NodeAddress(me, data_node(own)), (NodeAddress(me, data_node(own)),)),
        (metadata_address(him), (metadata_address(him),)),
        (NodeAddress(him, data_node(key)), (NodeAddress(him, data_node(key)),)),
    ):
        with pytest.raises(DataMissing) as caught:
            await juliet.seal(romeo)
        assert caught.value.fetches == tuple(map(Fetch, fetches))
        with pytest.raises(DataMissing):
            await juliet.open(letter, romeo)
        await juliet.ox.feed(Fetch(address), stage.world.nodes[address])
    assert await juliet.ox.missing({me, him}) == ()
    assert len(recipients(await juliet.seal(romeo))) == 2
    assert await juliet.open(letter, romeo)
    assert (await juliet.ox.keys(him)).renewal == 1


async def test_r_05_a_message_opened_before_a_renewal_is_not_taken_in_after_it(
    tmp_path: Path,
) -> None:
    stage = await Stage.set(tmp_path)
    opened = await stage.juliet.open(await stage.romeo.seal(stage.juliet), stage.romeo)
    juliet = await stage.renewed()
    with pytest.raises(PeerMisbehaved) as caught:
        await juliet.ox.mark_handled(opened)
    assert caught.value.code is ErrorCode.BAD_SIGNATURE
    await juliet.gather(juliet, stage.romeo)
    await juliet.ox.mark_handled(opened)


async def test_r_05_what_is_struck_or_gone_since_is_not_believed_by_the_copy(
    tmp_path: Path,
) -> None:
    stage = await Stage.set(tmp_path)
    letter = await stage.romeo.seal(stage.juliet)
    juliet, him = await stage.renewed(), stage.romeo.jid
    key = NodeAddress(him, data_node((await stage.romeo.ox.own_key()).certificate.fingerprint))
    await juliet.gather(juliet)
    await juliet.ox.feed(Fetch(metadata_address(him)), stage.world.nodes[metadata_address(him)])
    await juliet.ox.feed(Fetch(key), None)
    assert await juliet.ox.missing({him}) == ()
    for archived in (None, stage.world.clock()):
        arrival = Arrival(StanzaKind.MESSAGE, Jid(him), Jid(juliet.jid), archived)
        with pytest.raises(PeerMisbehaved) as caught:
            await juliet.ox.open(letter, arrival)
        assert caught.value.code is ErrorCode.BAD_SIGNATURE
    await juliet.hear_of(stage.romeo)
    assert await juliet.open(letter, stage.romeo)


async def test_r_05_a_server_that_lost_our_list_does_not_take_our_key(tmp_path: Path) -> None:
    stage = await Stage.set(tmp_path)
    juliet = await stage.renewed()
    before = (await juliet.ox.own_key()).certificate.fingerprint
    with pytest.raises(ApiMisuse):
        await juliet.ox.generate()
    stage.world.ahead += timedelta(days=1)  # our key was announced on this day already
    await juliet.ox.feed(Fetch(metadata_address(juliet.jid)), None)
    assert (await juliet.ox.own_key()).certificate.fingerprint == before
    await juliet.gather(juliet, stage.romeo)
    assert len(await juliet.flush()) == 2  # it is announced again
    assert len(recipients(await juliet.seal(stage.romeo))) == 2


async def test_r_05_a_server_that_lost_all_of_ours_does_not_block_us(tmp_path: Path) -> None:
    stage = await Stage.set(tmp_path)
    juliet = await stage.renewed()
    stage.world.ahead += timedelta(days=1)
    for address in [address for address in stage.world.nodes if address.service == juliet.jid]:
        del stage.world.nodes[address]
    await juliet.gather(juliet, stage.romeo)
    assert await juliet.ox.missing({juliet.jid}) == ()
    assert len(await juliet.flush()) == 2
    assert len(recipients(await juliet.seal(stage.romeo))) == 2


@pytest.mark.parametrize("known", [True, False], ids=["it was known here", "never seen here"])
@pytest.mark.parametrize("struck", [True, False], ids=["struck", "listed"])
async def test_r_05_a_revocation_of_our_own_key_outlives_a_copy_that_lacks_it(
    tmp_path: Path, struck: bool, known: bool
) -> None:
    key = forged(f"xmpp:{JULIET}")
    stage = await Stage.set(tmp_path, juliets_key=key.secret)

    async def revoke(stage: Stage) -> None:
        stage.revoke(key.revoked().public, struck=struck)
        if known:
            await stage.juliet.fetch_key(key.revoked().public)
        await one_commit(stage)

    older = await stage.after(revoke)
    older.world.ahead += timedelta(days=2)  # our key was announced on this day already
    juliet = await older.renewed()
    await juliet.gather(juliet, older.romeo)
    await expect_revoked(juliet, key.public)
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await juliet.seal(older.romeo)


async def test_g_14_a_revocation_of_our_own_key_by_another_device_is_not_overwritten(
    tmp_path: Path,
) -> None:
    key = forged(f"xmpp:{JULIET}")
    stage = await Stage.set(tmp_path, juliets_key=key.secret)
    stage.revoke(key.revoked().public, struck=True)
    stage.world.ahead += timedelta(days=2)
    me = metadata_address(stage.juliet.jid)
    for _ in range(2):  # a list that comes twice changes nothing
        await stage.juliet.ox.feed(Fetch(me), stage.world.nodes[me])
        await expect_revoked(stage.juliet, key.public)
        with pytest.raises(DataMissing) as caught:
            await stage.juliet.seal(stage.romeo)
        node = NodeAddress(stage.juliet.jid, data_node(fingerprint_of(key.public)))
        assert caught.value.fetches == (Fetch(node),)
    await stage.juliet.gather(stage.juliet)
    await expect_revoked(stage.juliet, key.public)
    async with refused(ErrorCode.UNUSABLE_KEY, stage.juliet):
        await stage.juliet.seal(stage.romeo)


@pytest.mark.parametrize("renewed", [False, True], ids=["at first", "after a renewal"])
async def test_g_14_no_key_is_adopted_before_its_published_copy_was_fetched(
    tmp_path: Path, renewed: bool
) -> None:
    key = forged(f"xmpp:{JULIET}")
    world, inner = World(), MemoryStore()
    store = GuardedStore(inner, AnchorFiles(tmp_path / "anchors"))
    juliet = world.stranger(JULIET, store=store)
    world.announce(JULIET, key.public)
    if renewed:
        await juliet.gather(juliet)
        await renew(store, juliet.jid, world.clock)
    world.announce(JULIET, key.revoked().public)
    for address in (
        metadata_address(juliet.jid),
        NodeAddress(juliet.jid, data_node(fingerprint_of(key.public))),
    ):
        with pytest.raises(DataMissing) as caught:
            await juliet.ox.adopt(key.secret)
        assert caught.value.fetches == (Fetch(address),)
        await juliet.ox.feed(Fetch(address), world.nodes[address])
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await juliet.ox.adopt(key.secret)
    assert not await juliet.flush()


async def test_g_14_a_published_copy_that_is_gone_keeps_nobody_from_adopting(
    tmp_path: Path,
) -> None:
    key = forged(f"xmpp:{JULIET}")
    world = World()
    juliet = world.stranger(JULIET)
    world.announce(JULIET, key.public)
    del world.nodes[NodeAddress(juliet.jid, data_node(fingerprint_of(key.public)))]
    await juliet.gather(juliet)
    await juliet.ox.adopt(key.secret)
    assert len(await juliet.flush()) == 2


@pytest.mark.parametrize("served", ["as it was", "revoked", "gone"])
async def test_r_05_what_a_key_struck_since_has_signed_is_read_from_the_archive(
    tmp_path: Path, served: str
) -> None:
    old, new = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
    stage = await Stage.set(tmp_path, old.secret)
    letter, then = await stage.romeo.seal(stage.juliet), stage.world.clock()
    node = NodeAddress(stage.romeo.jid, data_node(fingerprint_of(old.public)))
    stage.world.announce(ROMEO, new.public)
    if served == "revoked":
        stage.world.nodes[node] = write_pubkey(old.revoked().public)
    if served == "gone":
        del stage.world.nodes[node]
    juliet = await stage.renewed()
    await juliet.gather(juliet, stage.romeo)
    with pytest.raises(DataMissing) as caught:
        await juliet.open(letter, stage.romeo, stamp=then)
    assert caught.value.fetches == (Fetch(node),)
    async with refused(ErrorCode.BAD_SIGNATURE, juliet):  # which is not asked for what is struck
        await juliet.open(letter, stage.romeo)
    await juliet.ox.feed(Fetch(node), stage.world.nodes.get(node))
    if served == "as it was":
        assert await juliet.open(letter, stage.romeo, stamp=then)
    else:
        async with refused(ErrorCode.BAD_SIGNATURE, juliet):
            await juliet.open(letter, stage.romeo, stamp=then)
    assert ring_from_record(ring_to_record(await juliet.ox.keys(stage.romeo.jid)))
    await juliet.hear_of(stage.romeo)
    assert await juliet.ox.missing({stage.romeo.jid}) == ()


async def test_g_14_a_revocation_that_the_copy_knows_survives_a_renewal(tmp_path: Path) -> None:
    key = forged(f"xmpp:{ROMEO}")
    stage = await Stage.set(tmp_path, key.secret)
    await stage.juliet.fetch_key(key.revoked().public, stage.romeo)
    juliet = await stage.renewed()
    stage.world.announce(ROMEO, key.public)  # by whoever stole it, with the server's help
    await juliet.gather(juliet, stage.romeo)
    with pytest.raises(PeerMisbehaved) as caught:
        await juliet.seal(stage.romeo)
    assert caught.value.code is ErrorCode.UNUSABLE_KEY
    with pytest.raises(PeerMisbehaved):
        await juliet.open(await stage.romeo.seal(juliet), stage.romeo)


DATE = datetime(2026, 11, 22, 12, tzinfo=UTC)


class TestRing:
    JID = BareJid.parse(JULIET)
    RING = KeyRing(
        JID,
        (
            KnownKey(A, Trust.AUTHENTICATED, True, b"the key of A"),
            KnownKey(B, Trust.AUTOMATIC, True),
            KnownKey(C, Trust.UNDECIDED, False, b"the key of C"),
            KnownKey(D, Trust.DISTRUSTED, True, b"the key of D"),
        ),
        True,
        A,
    )

    def test_what_older_formats_kept_is_read(self) -> None:
        first = (FROZEN / "key-ring-1.json").read_bytes()
        assert ring_from_record(first) == self.RING
        second = (FROZEN / "key-ring-2.json").read_bytes()
        assert ring_from_record(second) == self.RING.renewed(Renewal(3))
        third = ring_from_record((FROZEN / "key-ring-3.json").read_bytes())
        assert third.keys[1:] == self.RING.renewed(Renewal(3)).keys[1:]
        assert b'"format":4' in ring_to_record(self.RING)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"announced":true', b'"announced":1'),
            (b'"listed":true', b'"listed":1'),
            (b'"raw":null', b'"raw":""'),
            (b'"kind"', b'"more":1,"kind"'),
            (b'"trust":"automatic"', b'"trust":"blind"'),
            (b'"keys":[', b'"keys":[1,'),
        ],
    )
    def test_r_04_a_damaged_record_of_the_first_format_is_refused(
        self, old: bytes, new: bytes
    ) -> None:
        raw = (FROZEN / "key-ring-1.json").read_bytes()
        assert old in raw
        with pytest.raises(StoreFailed) as caught:
            ring_from_record(raw.replace(old, new, 1))
        assert caught.value.code is ErrorCode.STORE_CORRUPT

    def test_a_renewed_ring_is_stored_and_read(self) -> None:
        a, b, c, d = self.RING.renewed(Renewal(3)).keys
        dated = replace(a, raw=b"the key of A", former=None, date=DATE, changed=True)
        former = replace(c, succeeded=True)
        renewed = replace(self.RING, keys=(dated, b, former, d), renewal=3, listed=False)
        assert ring_from_record(ring_to_record(renewed)) == renewed
        assert (FROZEN / "key-ring-4.json").read_bytes() == ring_to_record(renewed)

    @pytest.mark.parametrize(
        "renewal", [b"Infinity", b"NaN", b'"3"', b"3.0", b"-1", b"true", b"1e999"]
    )
    def test_r_04_a_count_of_renewals_that_is_none_is_refused(self, renewal: bytes) -> None:
        raw = (FROZEN / "key-ring-2.json").read_bytes()
        assert b'"renewal":3' in raw
        with pytest.raises(StoreFailed) as caught:
            ring_from_record(raw.replace(b'"renewal":3', b'"renewal":' + renewal))
        assert caught.value.code is ErrorCode.STORE_CORRUPT

    def test_a_renewed_ring_believes_nothing_and_keeps_all(self) -> None:
        renewed = self.RING.renewed(Renewal(3))
        assert renewed.renewed(Renewal(3)) is renewed
        assert [key.raw for key in renewed.keys] == [None] * 4
        assert [key.seen for key in renewed.keys] == [key.raw for key in self.RING.keys]
        assert renewed.renewed(Renewal(4)).keys == renewed.keys
        assert renewed.recipients == ()
        assert renewed.outdated
        assert [key.trust for key in renewed.keys] == [key.trust for key in self.RING.keys]

    def test_r_04_a_ring_of_a_later_renewal_says_that_one_was_lost(self) -> None:
        with pytest.raises(StoreFailed) as caught:
            self.RING.renewed(Renewal(3)).renewed(Renewal(2))
        assert caught.value.code is ErrorCode.STORE_CORRUPT
