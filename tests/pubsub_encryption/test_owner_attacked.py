"""Attacks on who decides what encrypts: services, stolen keys, other devices, false archives."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, TrustUndecided
from e2ee.names import BareJid, Fingerprint, NodeAddress, SecretId
from e2ee.secret import Secret
from e2ee.storage import Put
from e2ee.trust import BlindTrustOnFirstSight, Trust
from e2ee.xmltree import element
from ox.engine import KeyHandle
from ox.key_record import ring_to_record
from ox.known_key import KnownKey
from pubsub_encryption.elements import Reason
from pubsub_encryption.node_secret import NodeSecret, SecretState
from pubsub_encryption.sharing import known_nodes, load_keychain, receive, save_keychain
from tests.support.blog import blog_of, cast, share
from tests.support.node_world import Network, Person, entry
from tests.support.ox_world import dump, refused


class Credulous(BlindTrustOnFirstSight):
    """A policy that believes anybody to own anything."""

    def owns_node(self, address: NodeAddress, sharer: BareJid) -> bool:
        return True


@pytest.mark.parametrize("policy", [BlindTrustOnFirstSight(), Credulous()])
async def test_n_01_a_service_does_not_own_what_it_hosts(policy: BlindTrustOnFirstSight) -> None:
    """It has an address like anybody, can make a key, and knows every node's name."""
    network = Network()
    service, romeo = await network.people("pubsub.capulet.lit", "romeo@montague.lit")
    garden = NodeAddress(service.jid, "garden")
    romeo.trust = policy
    object.__setattr__(romeo.ports, "trust", policy)
    async with refused(ErrorCode.UNDECIDED, romeo):
        await romeo.read(await service.write_to(romeo, share(network, garden, "evil")))


async def test_n_02_a_distrusted_owners_key_encrypts_nothing_any_more() -> None:
    network, (juliet, romeo) = await cast("juliet", "romeo")
    blog = blog_of(juliet)
    await romeo.read(await juliet.write_to(romeo, share(network, blog, "evil")))
    await romeo.node(blog).encrypt(entry("before"))
    await romeo.ox.decide(juliet.jid, await juliet.fingerprint(), Trust.DISTRUSTED)
    with pytest.raises(ApiMisuse) as error:
        await romeo.node(blog).encrypt(entry("after"))
    assert error.value.code is ErrorCode.NO_ACTIVE_SECRET
    await romeo.node(blog).disapprove(await juliet.fingerprint())
    assert not (await romeo.node(blog).keychain()).approved


@pytest.mark.parametrize("struck", [False, True])
async def test_n_02_what_first_sight_vouched_for_waits_once_the_owner_is_verified(
    struck: bool,
) -> None:
    """The service added a key to the owner's before anybody looked, and shared a secret by it."""
    network, (juliet, romeo) = await cast("juliet", "romeo")
    reader, owner, ghost = (Person(network, each) for each in (romeo.jid, juliet.jid, juliet.jid))
    await reader.learn(reader.jid)
    await reader.ox.generate()
    await reader.flush()
    for device in (owner, ghost):
        await device.learn(juliet.jid)
        await device.ox.generate()
        await device.flush()
        await device.learn(reader.jid)
    await reader.learn(juliet.jid)
    blog = blog_of(juliet)
    await reader.read(await ghost.write_to(reader, share(network, blog, "evil")))
    await reader.node(blog).encrypt(entry("before"))
    if struck:
        network.announce(str(juliet.jid), (await owner.ox.own_key()).certificate.raw)
        await reader.hear_of(juliet)
    await reader.ox.decide(juliet.jid, await owner.fingerprint(), Trust.AUTHENTICATED)
    with pytest.raises(TrustUndecided) as error:
        await reader.node(blog).encrypt(entry("after"))
    assert error.value.subjects == (await ghost.fingerprint(),)
    await reader.ox.decide(juliet.jid, await ghost.fingerprint(), Trust.AUTHENTICATED)
    await reader.node(blog).encrypt(entry("it was hers"))


async def test_n_02_nor_is_it_handed_to_newcomers() -> None:
    """An owner's second key is distrusted; what it vouched for is granted as revoked."""
    network, (juliet, romeo) = await cast("juliet", "romeo")
    blog = blog_of(juliet)
    node = juliet.node(blog)
    await node.create()
    other = Fingerprint("E" * 40)
    async with juliet.store.exclusive((str(juliet.jid),)) as tx:
        keychain = await load_keychain(tx, juliet.ox, blog)
        assert keychain is not None
        evil = NodeSecret(SecretId("evil"), Secret(b"e" * 43), network.clock())
        keychain = keychain.approve(juliet.jid, other).adopt(evil, juliet.jid, other, evil.created)
        ring = await juliet.ox.keys_within(tx, juliet.jid)
        bad = KnownKey(other, Trust.DISTRUSTED, announced=False)
        ring = replace(ring, keys=(*ring.keys, bad))
        key = (str(juliet.jid), "ox", "ring", str(juliet.jid))
        await tx.commit([save_keychain(juliet.ox, keychain), Put(key, ring_to_record(ring))])
    await node.grant(romeo.jid)
    await juliet.flush()
    await romeo.catch_up()
    known = await romeo.node(blog).keychain()
    assert known.require(SecretId("evil")).state is SecretState.REVOKED
    assert known.current.id != "evil"


async def test_n_03_whoever_has_what_a_distrusted_key_shared_is_told() -> None:
    """Revoked here by distrust alone, it would go on encrypting at everybody who was sent it."""
    _, (juliet, romeo) = await cast("juliet", "romeo")
    blog = blog_of(juliet)
    node = juliet.node(blog)
    await node.create()
    await node.grant(romeo.jid)
    other = Fingerprint("E" * 40)
    async with juliet.store.exclusive((str(juliet.jid),)) as tx:
        keychain = await load_keychain(tx, juliet.ox, blog)
        assert keychain is not None
        stolen = replace(keychain.current, signer=other)
        keychain = replace(keychain, secrets=(stolen,)).approve(juliet.jid, other)
        await tx.commit([save_keychain(juliet.ox, keychain)])
    await node.disapprove(other)
    rotation = await node.rotate()
    assert rotation.revoked == (stolen.id,)
    await juliet.flush()
    await romeo.catch_up()
    known = await romeo.node(blog).keychain()
    assert known.require(stolen.id).state is SecretState.REVOKED


async def test_n_12_a_secret_that_somebody_removed_has_is_not_granted() -> None:
    _, (juliet, romeo, paris) = await cast("juliet", "romeo", "paris")
    node = juliet.node(blog_of(juliet))
    await node.create()
    await node.grant(romeo.jid)
    await node.rotate(revoke=[romeo.jid])
    async with juliet.store.exclusive((str(juliet.jid),)) as tx:
        keychain = await load_keychain(tx, juliet.ox, blog_of(juliet))
        assert keychain is not None
        held = keychain.shared(keychain.current.id, {romeo.jid})
        await tx.commit([save_keychain(juliet.ox, held)])
    async with refused(ErrorCode.FORBIDDEN, juliet):
        await node.grant(paris.jid)
    await node.rotate()
    await node.grant(paris.jid)


async def test_g_14_a_key_revoked_since_a_message_was_opened_shares_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, (juliet, romeo) = await cast("juliet", "romeo")
    letter = await juliet.write_to(romeo, share(network, blog_of(juliet)))
    opened = await romeo.open_letter(letter)

    async def revoked(*_: object) -> frozenset[Fingerprint]:
        return frozenset({await juliet.fingerprint()})

    with monkeypatch.context() as patched:
        patched.setattr("ox.opening.refused_keys", revoked)
        async with refused(ErrorCode.BAD_SIGNATURE, romeo):
            await receive(romeo.ox, opened)
    await receive(romeo.ox, opened)


async def test_n_05_an_archive_does_not_know_the_future() -> None:
    network, (juliet, romeo) = await cast("juliet", "romeo")
    blog = blog_of(juliet)
    network.ahead = timedelta(hours=23)
    ahead = share(network, blog, "early")
    network.ahead = timedelta(0)
    letter = await juliet.write_to(romeo, ahead)
    for stamp in (None, network.clock() + timedelta(hours=23)):
        async with refused(ErrorCode.STALE, romeo):
            await romeo.read(letter, stamp)


async def test_n_11_an_owner_whose_own_key_is_dead_is_told_before_anything_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, (juliet,) = await cast("juliet")
    node = juliet.node(blog_of(juliet))
    await node.create()
    await juliet.flush()
    own = juliet.ox.own_key_within

    async def dead(tx: object) -> KeyHandle:
        handle = await own(tx)  # type: ignore[arg-type]
        object.__setattr__(handle.certificate, "encrypts", False)
        return handle

    monkeypatch.setattr(juliet.ox, "own_key_within", dead)
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await node.rotate()


async def test_n_19_nobody_fills_a_store_with_nodes_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_NODES_PER_SERVICE", 3)
    network, (mallory, romeo) = await cast("tybalt", "romeo")
    for number in range(3):
        blog = NodeAddress(mallory.jid, f"node {number}")
        await romeo.read(await mallory.write_to(romeo, share(network, blog, f"s{number}")))
    async with refused(ErrorCode.LIMIT_EXCEEDED, romeo):
        blog = NodeAddress(mallory.jid, "one more")
        await romeo.read(await mallory.write_to(romeo, share(network, blog, "more")))
    again = NodeAddress(mallory.jid, "node 0")
    await romeo.read(await mallory.write_to(romeo, share(network, again, "second")))
    assert [address.node for address in await known_nodes(romeo.ox)] == [
        "node 0",
        "node 1",
        "node 2",
    ]


async def test_n_19_a_type_is_bounded() -> None:
    network, (juliet, romeo) = await cast("juliet", "romeo")
    secret = share(network, blog_of(juliet), "s")
    attributes = {item.name: item.value for item in secret.attributes}
    long = attributes | {"type": "t" * (limits.MAX_TYPE_CHARS + 1)}
    letter = await juliet.write_to(
        romeo, element(secret.namespace, secret.name, long, *secret.children)
    )
    async with refused(ErrorCode.LIMIT_EXCEEDED, romeo):
        await romeo.read(letter)


async def test_a_member_who_lost_everything_is_granted_it_again() -> None:
    network, (juliet, romeo) = await cast("juliet", "romeo")
    node = juliet.node(blog_of(juliet))
    await node.create()
    await node.grant(romeo.jid)
    await node.rotate()
    await juliet.flush()
    before = len(network.letters)
    await node.grant(romeo.jid)
    await juliet.flush()
    assert len(network.letters) == before
    await node.grant(romeo.jid, again=True)
    await juliet.flush()
    assert len(network.letters) == before + 2


async def test_n_19_a_type_that_nobody_would_read_is_not_written() -> None:
    _, (juliet,) = await cast("juliet")
    async with refused(ErrorCode.LIMIT_EXCEEDED, juliet):
        await juliet.node(blog_of(juliet)).create("t" * (limits.MAX_TYPE_CHARS + 1))


def test_reasons_do_not_print() -> None:
    assert "Tybalt" not in repr(Reason("Tybalt is dead"))


async def test_the_owner_is_not_granted_their_own_node() -> None:
    _, (juliet,) = await cast("juliet")
    node = juliet.node(blog_of(juliet))
    await node.create()
    before = await dump(juliet.store)
    with pytest.raises(ApiMisuse):
        await node.grant(juliet.jid)
    assert await dump(juliet.store) == before
