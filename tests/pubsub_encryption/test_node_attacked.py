"""A node under attack: steps half done, hostile keys, a service that lies, members who forge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from e2ee.errors import CannotDecrypt, ErrorCode, SecretMissing
from e2ee.names import Fetch, Fingerprint, NodeAddress
from e2ee.secret import Secret
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from ox.elements import data_node, metadata_address, write_pubkey
from ox.keys import user_id
from pubsub_encryption.elements import EncryptedItem, SharedSecret
from pubsub_encryption.items import Authorship, ClearItem, OpenedItem, UnreadableItem
from pubsub_encryption.node_secret import SecretState
from tests.support.blog import Stage, told
from tests.support.forge import ENCRYPT, bind, forged, new_curve25519
from tests.support.node_world import (
    Person,
    after_every_cancellation,
    entry,
    stood_in,
)
from tests.support.ox_world import dump, refused


class TestUnreachable:
    """Whoever cannot be told never keeps the others from the new secret; a grant mends it."""

    async def test_n_11_a_member_without_a_usable_key_is_named_and_mended(self) -> None:
        stage = await Stage.set("nurse", "romeo")
        nurse = stage["nurse"]
        keys = metadata_address(nurse.jid)
        withdrawn = parse_xml("<public-keys-list xmlns='urn:xmpp:openpgp:0'/>")
        await stage.juliet.ox.feed(Fetch(keys), withdrawn)
        rotation = await stage.owner.rotate()
        assert dict(rotation.untold) == {nurse.jid: ErrorCode.UNUSABLE_KEY}
        await stage.deliver()
        item = await stage.owner.encrypt(entry("after"))
        assert await stage.read("romeo", item) == "after"
        assert await stage.read("nurse", item) == ErrorCode.UNKNOWN_SECRET
        old = (await stage.node("nurse").keychain()).current.id
        assert old == rotation.revoked[0]

        await stage.juliet.hear_of(nurse)
        await stage.owner.grant(nurse.jid)
        effects = await stage.deliver()
        shared = [
            SharedSecret.from_xml(content) for _, content in await told(stage.juliet, effects)
        ]
        assert [(secret.id, secret.revoked) for secret in shared] == [
            (old, True), (rotation.secret_id, False)
        ]  # fmt: skip
        assert await stage.read("nurse", item) == "after"
        assert (await stage.node("nurse").keychain()).current.id == rotation.secret_id

    @pytest.mark.parametrize("subkeys", [31, 40])
    async def test_n_11_a_key_with_too_many_subkeys_stops_no_rotation(self, subkeys: int) -> None:
        """Tybalt grows his key beyond what one message takes; he goes all the same."""
        stage = await Stage.set("romeo", others=("tybalt",))
        tybalt = stage["tybalt"].jid
        key = forged(user_id(tybalt))
        grown = key.plus(
            *(
                part
                for subkey in [new_curve25519() for _ in range(subkeys)]
                for part in (subkey, bind(key.primary, subkey, ENCRYPT))
            )
        )
        other = Person(stage.network, tybalt)
        await other.learn(tybalt)
        await other.adopt(key.secret)
        await other.flush()
        del stage.people["tybalt"]  # his first device cannot read what is for the new key
        await stage.juliet.hear_of(other)
        await stage.juliet.ox.decide(tybalt, Fingerprint(key.name), Trust.AUTHENTICATED)
        await stage.owner.grant(tybalt)
        data = NodeAddress(tybalt, data_node(Fingerprint(key.name)))
        await stage.juliet.ox.feed(Fetch(data), write_pubkey(grown.public))
        rotation = await stage.owner.rotate(revoke={tybalt})
        assert not rotation.untold
        await stage.deliver()
        item = await stage.owner.encrypt(entry("after"))
        assert await stage.read("romeo", item) == "after"

    async def test_what_must_be_fetched_before_a_rotation_is_said(self) -> None:
        stage = await Stage.set("romeo")
        second = Person(stage.network, stage.juliet.jid)
        own = await stage.juliet.ox.own_key()
        await second.learn(second.jid)
        await second.ox.adopt(Secret(own.material.reveal()))
        await second.catch_up()
        missing = await second.node(stage.blog).missing()
        assert Fetch(metadata_address(stage["romeo"].jid)) in missing
        await second.learn(stage["romeo"].jid)
        assert await second.node(stage.blog).missing() == ()


class TestHalfDone:
    """N-11: publishing while a rotation is half done, and what a restart resumes."""

    async def test_n_11_from_the_first_moment_nothing_is_encrypted_with_the_old_secret(
        self,
    ) -> None:
        """Whatever part of the rotation has left, and again after every effect is repeated."""
        stage = await Stage.set("romeo", "tybalt")
        old = (await stage.owner.keychain()).current.id
        rotation = await stage.owner.rotate(revoke={stage["tybalt"].jid})
        jobs = await stage.juliet.outbox.pending()
        assert len(jobs) == 7
        items = [await stage.owner.encrypt(entry("0"))]
        for number, job in enumerate(jobs, 1):
            stage.juliet.perform(job.effect)
            stage.juliet.perform(job.effect)  # as after a crash before this was reported
            items.append(await stage.owner.encrypt(entry(f"{number}")))
            await stage.juliet.outbox.done(job.id)
        assert {EncryptedItem.from_xml(item).secret_id for item in items} == {rotation.secret_id}

        repeated = stage.network.letters[-10:]
        assert repeated[::2] == repeated[1::2]  # the same id, so that the receiver can tell
        new = [await stage[letter.to.local].took_in(letter) for letter in repeated]
        assert new == [True, False] * 5
        assert await stage.read("romeo", items[0]) == "0"
        assert await stage.read("tybalt", items[0]) == ErrorCode.UNKNOWN_SECRET
        assert (await stage.node("romeo").keychain()).require(old).state is SecretState.REVOKED

    async def test_n_11_a_member_between_both_messages_publishes_nothing(self) -> None:
        stage = await Stage.set("romeo")
        await stage.owner.rotate()
        await stage.juliet.flush()
        revocation, secret = [
            letter for letter in stage.network.letters[-4:] if letter.to == stage["romeo"].jid
        ]
        await stage["romeo"].read(revocation)
        async with refused(ErrorCode.NO_ACTIVE_SECRET, stage["romeo"]):
            await stage.node("romeo").encrypt(entry("x"))
        await stage["romeo"].read(secret)
        await stage.node("romeo").encrypt(entry("x"))

    async def test_n_10_a_member_who_missed_the_rotation_uses_what_is_then_flagged(self) -> None:
        """A service that withholds the revocation gains an item that every reader sees flagged."""
        stage = await Stage.set("romeo")
        await stage.owner.rotate()
        await stage.juliet.flush()
        await stage.juliet.catch_up()
        item = await stage.node("romeo").encrypt(entry("late"))
        opened = await stage.owner.decrypt(item, stood_in(stage.blog))
        assert opened.secret_state is SecretState.REVOKED

    @pytest.mark.parametrize("step", ["create", "grant", "rotate"])
    async def test_r_11_cancelled_anywhere_a_step_is_whole_or_was_never_begun(
        self, step: str
    ) -> None:
        stage = await Stage.set("romeo", others=("nurse",))
        nurse, romeo, diary = (
            stage["nurse"].jid,
            stage["romeo"].jid,
            NodeAddress(stage.juliet.jid, "d"),
        )
        steps = {
            "create": lambda device: device.node(diary).create(),
            "grant": lambda device: device.node(stage.blog).grant(nurse),
            "rotate": lambda device: device.node(stage.blog).rotate(revoke={romeo}),
        }
        queued = {"create": 2, "grant": 2, "rotate": 5}
        left, changed = await after_every_cancellation(stage.juliet, steps[step])
        assert left > 5
        assert len(changed) > 1
        for device in changed:
            assert len(await device.flush()) == queued[step]
            keychain = await device.node(diary if step == "create" else stage.blog).keychain()
            assert len(keychain.secrets) == (2 if step == "rotate" else 1)
            assert keychain.members == {
                "create": frozenset(), "grant": {nurse, romeo}, "rotate": frozenset()
            }[step]  # fmt: skip


class TestRecipients:
    """N-12: who is encrypted to follows from what we decided, never from what a service says."""

    async def test_n_12_a_member_whom_the_service_puts_back_is_sent_nothing(self) -> None:
        stage = await Stage.set("romeo", "tybalt")
        await stage.owner.rotate(revoke={stage["tybalt"].jid})
        await stage.deliver()
        fetched = await stage.owner.encrypt(entry("secret"))  # what the service lets him fetch
        assert await stage.read("tybalt", fetched) == ErrorCode.UNKNOWN_SECRET
        await stage.owner.rotate()
        effects = await stage.deliver()
        assert not [e for e in effects if getattr(e, "to", None) == stage["tybalt"].jid]
        assert (await stage.owner.keychain()).members == {stage["romeo"].jid}

    async def test_n_12_a_ghost_key_in_a_members_list_is_not_encrypted_to(self) -> None:
        """The service adds a key of its own, in Romeo's name, to Romeo's list."""
        stage = await Stage.set("romeo", others=("nurse",))
        romeo = stage["romeo"]
        ghost = Person(stage.network, romeo.jid)
        await ghost.hear_of(romeo)
        await ghost.ox.generate()
        await ghost.flush()
        await ghost.learn(stage.juliet.jid)
        await stage.juliet.hear_of(romeo)
        ring = await stage.juliet.ox.keys(romeo.jid)
        assert [key.announced for key in ring.keys] == [True, True]

        await stage.owner.rotate()
        await stage.owner.grant(stage["nurse"].jid)
        await stage.juliet.flush()
        for letter in stage.network.letters[-6:]:
            if letter.to == romeo.jid:
                with pytest.raises(CannotDecrypt):
                    await ghost.open_letter(letter)
                await romeo.read(letter)
        assert (await stage.node("romeo").keychain()).current == replace(
            (await stage.owner.keychain()).current, shared_with=frozenset()
        )

    async def test_n_12_a_key_of_the_removed_under_a_members_name_is_refused(self) -> None:
        stage = await Stage.set("romeo", "tybalt")
        (tybalts,) = (await stage.juliet.ox.keys(stage["tybalt"].jid)).keys
        listed = parse_xml(
            "<public-keys-list xmlns='urn:xmpp:openpgp:0'><pubkey-metadata "
            f"v4-fingerprint='{tybalts.fingerprint}' date='2026-11-22T00:00:00Z'/>"
            "</public-keys-list>"
        )
        romeo = stage["romeo"].jid
        await stage.juliet.ox.feed(Fetch(metadata_address(romeo)), listed)
        data = NodeAddress(romeo, data_node(tybalts.fingerprint))
        async with refused(ErrorCode.SIGNER_MISMATCH, stage.juliet):
            await stage.juliet.ox.feed(Fetch(data), write_pubkey(tybalts.raw or b""))


class TestReading:
    async def test_n_14_an_item_in_clear_is_not_decrypted(self) -> None:
        stage = await Stage.set("romeo")
        clear, sealed = entry("in clear"), await stage.owner.encrypt(entry("encrypted"))
        async with refused(ErrorCode.NOT_ENCRYPTED, stage["romeo"]):
            await stage.node("romeo").decrypt(clear, stood_in(stage.blog))
        first, second = await stage.node("romeo").decrypt_many(
            [(clear, stood_in(stage.blog)), (sealed, stood_in(stage.blog))]
        )
        assert isinstance(first, ClearItem)
        assert isinstance(second, OpenedItem)

    async def test_n_14_a_stranger_reads_what_stands_in_clear_and_learns_whose_secret_lacks(
        self,
    ) -> None:
        stage = await Stage.set(others=("tybalt",))
        sealed = await stage.owner.encrypt(entry("encrypted"))
        page = [(entry("in clear"), stood_in(stage.blog)), (sealed, stood_in(stage.blog))]
        clear, missing = await stage.node("tybalt").decrypt_many(page)
        assert isinstance(clear, ClearItem)
        assert isinstance(missing, UnreadableItem)
        assert isinstance(missing.error, SecretMissing)
        assert missing.error.secret_id == (await stage.owner.keychain()).current.id

    async def test_n_16_a_member_can_write_in_the_owners_name_and_the_result_says_so(self) -> None:
        stage = await Stage.set("romeo", "nurse")
        forged_item = await stage.node("romeo").encrypt(entry("I, Juliet, love Paris"))
        opened = await stage.node("nurse").decrypt(
            forged_item, stood_in(stage.blog, stage.juliet.jid)
        )
        assert opened.authorship is Authorship.NODE_KEY_HOLDER

    async def test_n_10_without_a_secret_nothing_is_published_in_clear(self) -> None:
        stage = await Stage.set(others=("tybalt",))
        async with refused(ErrorCode.NO_ACTIVE_SECRET, stage["tybalt"]):
            await stage.node("tybalt").encrypt(entry("x"))
        await (
            stage["tybalt"]
            .node(stage.blog)
            .approve(stage.juliet.jid, await stage.juliet.fingerprint())
        )
        async with refused(ErrorCode.NO_ACTIVE_SECRET, stage["tybalt"]):
            await stage.node("tybalt").encrypt(entry("x"))

    async def test_reading_and_writing_items_changes_no_state(self) -> None:
        stage = await Stage.set("romeo")
        before = await dump(stage["romeo"].store)
        item = await stage.node("romeo").encrypt(entry("x"))
        await stage.node("romeo").decrypt(item, stood_in(stage.blog))
        await stage.node("romeo").decrypt(item, stood_in(stage.blog))
        assert await dump(stage["romeo"].store) == before

    async def test_n_20_our_ids_are_random(self) -> None:
        """Ids of secrets and stanzas: 128 bits each, and the same for nobody."""
        stages = [await Stage.set("romeo") for _ in range(2)]
        ids = [letter.id for stage in stages for letter in stage.network.letters]
        for stage in stages:
            ids += [secret.id for secret in (await stage.owner.keychain()).secrets]
        assert len(set(ids)) == len(ids) == 6
        assert {len(name) for name in ids} == {22}
