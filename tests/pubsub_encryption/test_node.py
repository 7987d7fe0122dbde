"""A node of one owner and some members: what each step queues, who reads what, and who does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from e2ee.effects import Affiliate, Affiliation, Create, Send, Unsubscribe
from e2ee.errors import ErrorCode
from e2ee.names import BareJid, NodeAddress, SecretId
from pubsub_encryption.elements import Reason, Revoke, SharedSecret
from pubsub_encryption.node import FEATURES
from pubsub_encryption.node_secret import SecretState
from tests.support.blog import Stage, told
from tests.support.node_world import (
    Network,
    Person,
    entry,
)
from tests.support.ox_world import refused


class TestCreate:
    async def test_it_queues_the_node_and_one_copy_for_ourselves(self) -> None:
        network = Network()
        (juliet,) = await network.people("juliet@capulet.lit")
        blog = NodeAddress(juliet.jid, "blog")
        secret_id = await juliet.node(blog).create("http://www.w3.org/2005/Atom")
        effects = await juliet.flush()
        assert effects[0] == Create(
            blog,
            (
                ("pubsub#access_model", "whitelist"),
                ("pubsub#type", "urn:xmpp:openpgp:pubsub:0"),
                ("pubsub#persist_items", "true"),
                ("pubsub#max_items", "max"),
            ),
        )
        ((to, content),) = await told(juliet, effects[1:])
        shared = SharedSecret.from_xml(content)
        assert to == juliet.jid
        assert (shared.address, shared.id, shared.revoked) == (blog, secret_id, False)
        assert shared.type == "http://www.w3.org/2005/Atom"
        assert len(shared.value) == 43
        assert (await juliet.node(blog).keychain()).current.is_random

    async def test_a_node_is_created_once(self) -> None:
        stage = await Stage.set()
        async with refused(ErrorCode.API_MISUSE, stage.juliet):
            await stage.owner.create()

    async def test_without_a_key_nothing_is_created(self) -> None:
        juliet = Person(Network(), BareJid.parse("juliet@capulet.lit"))
        node = juliet.node(NodeAddress(juliet.jid, "blog"))
        async with refused(ErrorCode.API_MISUSE, juliet):
            await node.create()
        await juliet.learn(juliet.jid)
        await juliet.ox.generate()
        await node.create()

    def test_the_feature_is_announced(self) -> None:
        assert FEATURES == ("urn:xmpp:openpgp:pubsub:0",)


class TestGrant:
    async def test_affiliation_first_then_every_secret_one_a_message(self) -> None:
        stage = await Stage.set(others=("nurse",))
        await stage.owner.rotate()
        await stage.owner.rotate()
        await stage.deliver()
        nurse = stage["nurse"].jid
        await stage.owner.grant(nurse)
        effects = await stage.deliver()
        assert effects[0] == Affiliate(stage.blog, nurse, Affiliation.MEMBER)
        contents = await told(stage.juliet, effects[1:])
        assert [to for to, _ in contents] == [nurse] * 3
        shared = [SharedSecret.from_xml(content) for _, content in contents]
        assert [secret.revoked for secret in shared] == [True, True, False]
        assert [secret.created for secret in shared] == sorted(secret.created for secret in shared)
        heard = (await stage.node("nurse").keychain()).secrets
        assert heard == tuple(
            replace(secret, shared_with=frozenset())
            for secret in (await stage.owner.keychain()).secrets
        )

    async def test_a_newcomer_reads_the_whole_history(self) -> None:
        stage = await Stage.set("romeo", others=("nurse",))
        items = []
        for number in range(3):
            items.append(await stage.owner.encrypt(entry(f"entry {number}")))
            await stage.owner.rotate()
            await stage.deliver()
        assert await stage.read("nurse", items[0]) == ErrorCode.UNKNOWN_SECRET
        await stage.owner.grant(stage["nurse"].jid)
        await stage.deliver()
        assert [await stage.read("nurse", item) for item in items] == [
            "entry 0", "entry 1", "entry 2"
        ]  # fmt: skip

    async def test_granting_again_sends_only_what_is_missing(self) -> None:
        stage = await Stage.set("romeo")
        romeo = stage["romeo"].jid
        await stage.owner.grant(romeo, may_publish=True)
        assert await stage.deliver() == [Affiliate(stage.blog, romeo, Affiliation.PUBLISHER)]

    @pytest.mark.parametrize("who", ["romeo", "tybalt"])
    async def test_n_02_nobody_but_the_owner_grants_and_rotates(self, who: str) -> None:
        stage = await Stage.set("romeo", others=("tybalt", "nurse"))
        revocation = Revoke(stage.blog, SecretId("unheard of")).to_xml()
        await stage["tybalt"].read(await stage.juliet.write_to(stage["tybalt"], revocation))
        async with refused(ErrorCode.NOT_OWNER, stage[who]):
            await stage.node(who).grant(stage["nurse"].jid)
        async with refused(ErrorCode.NOT_OWNER, stage[who]):
            await stage.node(who).rotate()
        async with refused(ErrorCode.API_MISUSE, stage[who]):
            await stage.node(who).create()

    async def test_the_owner_neither_joins_nor_leaves(self) -> None:
        stage = await Stage.set("romeo")
        async with refused(ErrorCode.API_MISUSE, stage.juliet):
            await stage.owner.grant(stage.juliet.jid)
        async with refused(ErrorCode.API_MISUSE, stage.juliet):
            await stage.owner.rotate(revoke={stage.juliet.jid})

    async def test_whoever_has_no_usable_key_is_granted_nothing_yet(self) -> None:
        stage = await Stage.set()
        paris = Person(stage.network, BareJid.parse("paris@verona.lit"))
        async with refused(ErrorCode.DATA_MISSING, stage.juliet):
            await stage.owner.grant(paris.jid)
        await stage.juliet.learn(paris.jid)  # he has published nothing
        async with refused(ErrorCode.UNUSABLE_KEY, stage.juliet):
            await stage.owner.grant(paris.jid)
        await paris.learn(paris.jid)
        await paris.ox.generate()
        await paris.flush()
        await stage.juliet.hear_of(paris)
        await stage.owner.grant(paris.jid)

    async def test_nothing_on_the_network_shows_a_secret(self) -> None:
        stage = await Stage.set("romeo")
        await stage.owner.rotate(reasons=[Reason("a private matter")])
        await stage.deliver()
        secrets = [s.value.reveal().decode() for s in (await stage.owner.keychain()).secrets]
        carried = "".join("".join(letter.children) for letter in stage.network.letters)
        assert not any(text in carried for text in [*secrets, "private matter", "blog"])
        hints = {letter.children[1:] for letter in stage.network.letters}
        assert hints == {("<store xmlns='urn:xmpp:hints'/>",)}


class TestRotate:
    async def test_the_effects_and_their_order(self) -> None:
        """Unsubscribed, removed, everybody told of the revocation, the new secret for who stays."""
        stage = await Stage.set("nurse", "romeo", "tybalt")
        old = (await stage.owner.keychain()).current.id
        tybalt = stage["tybalt"].jid
        rotation = await stage.owner.rotate(revoke={tybalt}, reasons=[Reason("a feud", "en")])
        effects = await stage.deliver()
        assert effects[:2] == [
            Unsubscribe(stage.blog, tybalt),
            Affiliate(stage.blog, tybalt, Affiliation.NONE),
        ]
        contents = await told(stage.juliet, effects[2:])
        assert [(to.local, content.name) for to, content in contents] == [
            *((name, "revoke") for name in ("juliet", "nurse", "romeo", "tybalt")),
            *((name, "shared-secret") for name in ("juliet", "nurse", "romeo")),
        ]
        notices = [Revoke.from_xml(content) for _, content in contents[:4]]
        assert set(notices) == {Revoke(stage.blog, old, (Reason("a feud", "en"),))}
        shared = {SharedSecret.from_xml(content).id for _, content in contents[4:]}
        assert shared == {rotation.secret_id}
        assert (rotation.revoked, dict(rotation.untold)) == ((old,), {})
        ids = [effect.id for effect in effects if isinstance(effect, Send)]
        assert len(set(ids)) == 7

    async def test_members_read_on_and_the_removed_one_does_not(self) -> None:
        stage = await Stage.set("romeo", "tybalt")
        before = await stage.owner.encrypt(entry("before"))
        await stage.owner.rotate(revoke={stage["tybalt"].jid})
        await stage.deliver()
        after = await stage.owner.encrypt(entry("after"))
        read = {
            name: [await stage.read(name, item) for item in (before, after)]
            for name in stage.people
        }
        assert read == {
            "juliet": ["before", "after"],
            "romeo": ["before", "after"],
            "tybalt": ["before", ErrorCode.UNKNOWN_SECRET],
        }
        async with refused(ErrorCode.NO_ACTIVE_SECRET, stage["tybalt"]):
            await stage.node("tybalt").encrypt(entry("x"))

    async def test_the_removed_may_come_back(self) -> None:
        stage = await Stage.set("tybalt")
        tybalt = stage["tybalt"].jid
        await stage.owner.rotate(revoke={tybalt})
        await stage.deliver()
        meanwhile = await stage.owner.encrypt(entry("meanwhile"))
        await stage.owner.rotate()
        assert tybalt not in {e.to for e in await stage.deliver() if isinstance(e, Send)}
        await stage.owner.grant(tybalt)
        await stage.deliver()
        assert await stage.read("tybalt", meanwhile) == "meanwhile"

    @pytest.mark.parametrize(
        "reasons", [[Reason("a"), Reason("b")], [Reason("a", "fr"), Reason("b", "fr")]]
    )
    async def test_two_reasons_in_one_language_are_refused(self, reasons: list[Reason]) -> None:
        stage = await Stage.set("romeo")
        async with refused(ErrorCode.API_MISUSE, stage.juliet):
            await stage.owner.rotate(reasons=reasons)

    async def test_reasons_that_are_no_text_are_refused(self) -> None:
        stage = await Stage.set("romeo")
        for reason in (Reason("\0"), Reason("a", "\ufffe")):
            async with refused(ErrorCode.API_MISUSE, stage.juliet):
                await stage.owner.rotate(reasons=[reason])
        await stage.owner.rotate(reasons=[Reason("a"), Reason("b", "en"), Reason("", "fr")])
        await stage.deliver()

    async def test_two_devices_that_rotate_at_once_end_with_one_current_secret(self) -> None:
        stage = await Stage.set("romeo")
        second = await stage.juliet.another_device()
        await second.catch_up()
        await stage.owner.rotate()
        await second.node(stage.blog).rotate()
        await second.flush()
        await stage.deliver()
        await second.catch_up()
        chains = [
            await person.node(stage.blog).keychain()
            for person in (stage.juliet, second, stage["romeo"])
        ]
        assert len({chain.current.id for chain in chains}) == 1
        assert [s.state for s in chains[0].secrets].count(SecretState.ACTIVE) == 2
        rotation = await stage.owner.rotate()
        assert len(rotation.revoked) == 2
        await stage.deliver()
        states = [secret.state for secret in (await stage.node("romeo").keychain()).secrets]
        assert states.count(SecretState.ACTIVE) == 1
