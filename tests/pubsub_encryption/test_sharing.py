"""Secrets as they arrive: who may share them, what is taken in, and what is never believed.

Every refusal here leaves the store as it was, and the genuine message works afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta

import pytest

from e2ee import limits
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.names import BareJid, Jid, NodeAddress, SecretId
from e2ee.secret import Secret
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.items import OpenedItem, seal_item
from pubsub_encryption.node_secret import NodeSecret, SecretState
from pubsub_encryption.sharing import receive
from tests.support.blog import blog_of, cast, revoke, share
from tests.support.node_world import (
    Network,
    Person,
    after_every_cancellation,
    entry,
    stood_in,
)
from tests.support.ox_world import dump, refused

SERVICE = BareJid.parse("pubsub.capulet.lit")
NOBODY = BareJid.parse("nobody@capulet.lit")
GARDEN = NodeAddress(SERVICE, "garden")
"""A node on a pubsub service, which is nobody's account."""


class TestFirstSecret:
    """N-01: whoever shares first would own the node."""

    async def test_n_01_on_an_accounts_own_node_only_the_account_itself_shares(self) -> None:
        network, (juliet, romeo, tybalt) = await cast("juliet", "romeo", "tybalt")
        blog = blog_of(juliet)
        forged = await tybalt.write_to(romeo, share(network, blog, "evil"))
        async with refused(ErrorCode.NOT_OWNER, romeo):
            await romeo.read(forged)
        async with refused(ErrorCode.NOT_OWNER, romeo):
            await romeo.read(await tybalt.write_to(romeo, revoke(blog, "s")))
        (keychain,) = await romeo.read(await juliet.write_to(romeo, share(network, blog)))
        assert keychain.owner == juliet.jid
        assert keychain.current.id == "s"
        async with refused(ErrorCode.NOT_OWNER, romeo):
            await romeo.read(forged)

    async def test_n_01_elsewhere_the_user_names_the_owner(self) -> None:
        network, (juliet, romeo, tybalt) = await cast("juliet", "romeo", "tybalt")
        forged = await tybalt.write_to(romeo, share(network, GARDEN, "evil"))
        genuine = await juliet.write_to(romeo, share(network, GARDEN))
        for letter in (forged, genuine):
            async with refused(ErrorCode.UNDECIDED, romeo):
                await romeo.read(letter)
        with pytest.raises(TrustUndecided) as question:
            await romeo.read(forged)
        assert question.value.subjects == (str(tybalt.jid), await tybalt.fingerprint())

        await romeo.node(GARDEN).approve(juliet.jid, await juliet.fingerprint())
        async with refused(ErrorCode.NOT_OWNER, romeo):
            await romeo.read(forged)
        (keychain,) = await romeo.read(genuine)
        assert keychain.current.id == "s"

    async def test_n_01_an_approval_is_of_one_key(self) -> None:
        network, (juliet, romeo, tybalt) = await cast("juliet", "romeo", "tybalt")
        await romeo.node(GARDEN).approve(juliet.jid, await tybalt.fingerprint())
        async with refused(ErrorCode.NOT_OWNER, romeo):
            await romeo.read(await juliet.write_to(romeo, share(network, GARDEN)))

    async def test_n_01_what_is_no_fingerprint_is_not_approved(self) -> None:
        _, (juliet, romeo) = await cast("juliet", "romeo")
        shown = (await juliet.fingerprint()).lower()
        async with refused(ErrorCode.MALFORMED, romeo):
            await romeo.node(GARDEN).approve(juliet.jid, shown)  # type: ignore[arg-type]

    async def test_n_01_a_wrong_approval_can_be_mended(self) -> None:
        """What the impostor shared opens what was read with it, and encrypts nothing any more."""
        network, (juliet, romeo, tybalt) = await cast("juliet", "romeo", "tybalt")
        node = romeo.node(GARDEN)
        await node.approve(tybalt.jid, await tybalt.fingerprint())
        await romeo.read(await tybalt.write_to(romeo, share(network, GARDEN, "evil")))
        written = await node.encrypt(entry("to the impostor"))
        await node.approve(juliet.jid, await juliet.fingerprint())
        async with refused(ErrorCode.NO_ACTIVE_SECRET, romeo):
            await node.encrypt(entry("to nobody"))
        await romeo.read(
            await juliet.write_to(romeo, share(network, GARDEN, age=timedelta(hours=1)))
        )
        assert (await node.keychain()).current.id == "s"
        opened = await node.decrypt(written, stood_in(GARDEN))
        assert opened.secret_state is SecretState.REVOKED
        async with refused(ErrorCode.NOT_OWNER, romeo):
            await romeo.read(await tybalt.write_to(romeo, share(network, GARDEN, "evil2")))


class TestAuthority:
    """N-02 and N-03: later secrets and revocations come from the pinned owner alone."""

    async def test_n_02_a_second_secret_by_another_is_refused(self) -> None:
        network, (juliet, romeo, tybalt) = await cast("juliet", "romeo", "tybalt")
        blog = blog_of(juliet)
        await romeo.read(await juliet.write_to(romeo, share(network, blog)))
        for stranger in (tybalt, romeo):
            async with refused(ErrorCode.NOT_OWNER, romeo):
                await romeo.read(await stranger.write_to(romeo, share(network, blog, "evil")))
        assert (await romeo.node(blog).keychain()).current.id == "s"

    async def test_n_02_a_new_key_of_the_owner_needs_the_users_word_twice(self) -> None:
        """Once to be believed at all, and once to share secrets of the node."""
        network, (juliet, romeo) = await cast("juliet", "romeo")
        blog = blog_of(juliet)
        await romeo.read(await juliet.write_to(romeo, share(network, blog)))
        anew = Person(network, juliet.jid)
        await anew.learn(anew.jid)
        await anew.ox.generate()
        await anew.flush()
        await anew.learn(romeo.jid)
        letter = await anew.write_to(romeo, share(network, blog, "t"))

        async with refused(ErrorCode.BAD_SIGNATURE, romeo):
            await romeo.read(letter)
        await romeo.hear_of(juliet)
        async with refused(ErrorCode.UNDECIDED, romeo):
            await romeo.read(letter)
        await romeo.ox.decide(juliet.jid, await anew.fingerprint(), Trust.AUTHENTICATED)
        async with refused(ErrorCode.NOT_OWNER, romeo):
            await romeo.read(letter)
        await romeo.node(blog).approve(juliet.jid, await anew.fingerprint())
        (keychain,) = await romeo.read(letter)
        assert {secret.id for secret in keychain.secrets} == {"s", "t"}
        of_the_old_one = await juliet.write_to(romeo, share(network, blog, "u"))
        async with refused(ErrorCode.UNDECIDED, romeo):
            await romeo.read(of_the_old_one)
        await romeo.ox.decide(juliet.jid, await juliet.fingerprint(), Trust.AUTHENTICATED)
        await romeo.read(of_the_old_one)

    async def test_n_03_a_revocation_by_another_is_refused(self) -> None:
        network, (juliet, romeo, tybalt) = await cast("juliet", "romeo", "tybalt")
        blog = blog_of(juliet)
        await romeo.read(await juliet.write_to(romeo, share(network, blog)))
        async with refused(ErrorCode.NOT_OWNER, romeo):
            await romeo.read(await tybalt.write_to(romeo, revoke(blog)))
        assert (await romeo.node(blog).keychain()).current.id == "s"

    async def test_n_03_a_revocation_is_for_one_node_and_kept_for_what_is_unknown(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        blog, diary = blog_of(juliet), NodeAddress(juliet.jid, "diary")
        await romeo.read(await juliet.write_to(romeo, share(network, blog)))
        await romeo.read(await juliet.write_to(romeo, revoke(diary)))
        assert (await romeo.node(blog).keychain()).current.id == "s"
        assert (await romeo.node(diary).keychain()).tombstones == {"s"}
        await romeo.read(await juliet.write_to(romeo, share(network, diary)))
        async with refused(ErrorCode.NO_ACTIVE_SECRET, romeo):
            await romeo.node(diary).encrypt(entry("x"))


class TestMessage:
    """A message is taken in whole or not at all, once."""

    async def test_several_secrets_of_several_nodes_are_taken_in_at_once(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        blog, diary = blog_of(juliet), NodeAddress(juliet.jid, "diary")
        keychains = await romeo.read(
            await juliet.write_to(
                romeo,
                share(network, blog, "a", age=timedelta(minutes=2)),
                element("urn:x", "something-else"),
                share(network, diary, "a"),
                share(network, blog, "b"),
                revoke(blog, "a"),
            )
        )
        assert [keychain.address for keychain in keychains] == [blog, diary]
        stored = await romeo.node(blog).keychain()
        assert stored == keychains[0]
        assert [(s.id, s.state) for s in stored.secrets] == [("a", "revoked"), ("b", "active")]

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (lambda n, j: share(n, blog_of(j), "s", "y" * 43), ErrorCode.SECRET_CONFLICT),
            (lambda n, j: share(n, blog_of(j), "t", age=timedelta(minutes=-6)), ErrorCode.STALE),
            (
                lambda n, j: share(n, NodeAddress(BareJid("romeo.lit", "x"), "b")),
                ErrorCode.NOT_OWNER,
            ),
            (lambda n, j: share(n, GARDEN), ErrorCode.UNDECIDED),
            (lambda n, j: revoke(GARDEN), ErrorCode.UNDECIDED),
            (lambda n, j: element("urn:xmpp:openpgp:pubsub:0", "revoke"), ErrorCode.MALFORMED),
            (
                lambda n, j: element("urn:xmpp:openpgp:pubsub:0", "shared-secret"),
                ErrorCode.MALFORMED,
            ),
            (lambda n, j: share(n, blog_of(j), "t", "x" * 1025), ErrorCode.LIMIT_EXCEEDED),
        ],
    )
    @pytest.mark.parametrize("first", [True, False])
    async def test_n_06_one_bad_element_spoils_its_whole_message(
        self, bad: Callable[[Network, Person], Element], code: ErrorCode, first: bool
    ) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        good = [share(network, blog_of(juliet), "g"), share(network, NodeAddress(juliet.jid, "c"))]
        await romeo.read(await juliet.write_to(romeo, share(network, blog_of(juliet))))
        content = [bad(network, juliet), *good] if first else [*good, bad(network, juliet)]
        async with refused(code, romeo):
            await romeo.read(await juliet.write_to(romeo, *content))
        await romeo.read(await juliet.write_to(romeo, *good))
        assert (await romeo.node(blog_of(juliet)).keychain()).find(SecretId("g"))

    async def test_a_second_delivery_is_a_replay(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        letter = await juliet.write_to(romeo, share(network, blog_of(juliet)))
        early = await romeo.open_letter(letter)
        await romeo.read(letter)
        async with refused(ErrorCode.REPLAY, romeo):
            await romeo.read(letter)
        async with refused(ErrorCode.REPLAY, romeo):  # opened before, taken in after the first
            await receive(romeo.ox, early)

    async def test_n_04_a_secret_sent_anew_after_its_revocation_stays_revoked(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        blog = blog_of(juliet)
        for content in (share(network, blog), revoke(blog), share(network, blog)):
            (keychain,) = await romeo.read(await juliet.write_to(romeo, content))
        assert [secret.state for secret in keychain.secrets] == [SecretState.REVOKED]

    async def test_a_message_about_something_else_is_left_to_others(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        nested = element("urn:x", "forwarded", None, share(network, blog_of(juliet)))
        future = element("urn:xmpp:openpgp:pubsub:1", "shared-secret")
        letter = await juliet.write_to(romeo, nested, future)
        before = await dump(romeo.store)
        assert await romeo.read(letter) == ()
        assert await romeo.read(letter) == ()  # it was not marked as handled
        assert await dump(romeo.store) == before

    async def test_n_05_an_old_secret_is_read_from_the_archive_and_a_hoarded_one_is_stale(
        self,
    ) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        letter = await juliet.write_to(romeo, share(network, blog_of(juliet)))
        sent = network.clock()
        network.ahead += timedelta(days=400)
        async with refused(ErrorCode.STALE, romeo):
            await romeo.read(letter)
        (keychain,) = await romeo.read(letter, sent)
        assert abs(keychain.current.created - sent) < timedelta(minutes=1)

    async def test_n_05_a_secret_is_judged_by_the_time_of_its_message(self) -> None:
        """Read late, it is as stale as it was when it was sent; so all its readers agree."""
        network, (juliet, romeo) = await cast("juliet", "romeo")
        early = share(network, blog_of(juliet), age=-timedelta(minutes=6))
        letter = await juliet.write_to(romeo, early)
        sent = network.clock()
        network.ahead += timedelta(days=400)
        async with refused(ErrorCode.STALE, romeo):
            await romeo.read(letter, sent)

    async def test_n_07_one_node_has_one_keychain_however_its_service_is_written(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        blog = blog_of(juliet)
        await romeo.read(await juliet.write_to(romeo, share(network, blog)))
        written = write_xml(revoke(blog)).replace("juliet@capulet.lit", "JULIET@Capulet.LIT")
        (keychain,) = await romeo.read(await juliet.write_to(romeo, parse_xml(written)))
        assert [secret.state for secret in keychain.secrets] == [SecretState.REVOKED]

    @pytest.mark.parametrize("content", [share, lambda network, blog: revoke(blog)])
    async def test_r_11_cancelled_anywhere_it_is_taken_in_whole_or_not_at_all(
        self, content: Callable[[Network, NodeAddress], Element]
    ) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        letter = await juliet.write_to(romeo, content(network, blog_of(juliet)))
        left, changed = await after_every_cancellation(romeo, lambda device: device.read(letter))
        assert left > 5
        assert len(changed) > 1
        for device in changed:  # the same as if it had never been cancelled
            assert await dump(device.store) == await dump(changed[-1].store)
            async with refused(ErrorCode.REPLAY, device):
                await device.read(letter)


class TestBounds:
    async def test_n_19_a_message_holds_64_secrets_at_most(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        blog = blog_of(juliet)
        many = [
            share(network, blog, f"{number}") for number in range(limits.MAX_SECRETS_PER_MESSAGE)
        ]
        async with refused(ErrorCode.LIMIT_EXCEEDED, romeo):
            await romeo.read(await juliet.write_to(romeo, *many, revoke(blog, "one more")))
        (keychain,) = await romeo.read(await juliet.write_to(romeo, *many))
        assert len(keychain.secrets) == limits.MAX_SECRETS_PER_MESSAGE

    async def test_n_19_a_node_holds_1024_secrets_at_most(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        blog, page = blog_of(juliet), limits.MAX_SECRETS_PER_MESSAGE
        for first in range(0, limits.MAX_SECRETS_PER_NODE, page):
            many = [share(network, blog, f"{number}") for number in range(first, first + page)]
            await romeo.read(await juliet.write_to(romeo, *many))
        async with refused(ErrorCode.LIMIT_EXCEEDED, romeo):
            await romeo.read(await juliet.write_to(romeo, share(network, blog, "one more")))
        (keychain,) = await romeo.read(await juliet.write_to(romeo, revoke(blog, "7")))
        assert len(keychain.secrets) == limits.MAX_SECRETS_PER_NODE
        await romeo.node(blog).encrypt(entry("still of use"))

    async def test_n_08_a_short_secret_is_taken_but_never_encrypts(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        node = romeo.node(blog_of(juliet))
        await romeo.read(await juliet.write_to(romeo, share(network, node.address, "s", "x" * 31)))
        async with refused(ErrorCode.FORBIDDEN, romeo):
            await node.encrypt(entry("x"))
        weak = NodeSecret(SecretId("s"), Secret(b"x" * 31), network.clock())
        item = await seal_item(romeo.ox.engine, weak, entry("theirs"))
        assert isinstance(await node.decrypt(item, stood_in(node.address)), OpenedItem)

    async def test_n_18_the_type_is_kept_and_believed_by_nobody(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        content = share(network, blog_of(juliet), content_type="http://jabber.org/protocol/geoloc")
        await romeo.read(await juliet.write_to(romeo, content))
        node = romeo.node(blog_of(juliet))
        assert (await node.keychain()).current.type == "http://jabber.org/protocol/geoloc"
        opened = await node.decrypt(await node.encrypt(entry("a poem")), stood_in(node.address))
        assert opened.payload.same_content(entry("a poem"))


class TestClearText:
    """Libervia takes secrets that stand in clear in a message; there is no way in for them here."""

    async def test_n_01_a_secret_in_clear_is_never_opened(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        arrival = Arrival(StanzaKind.MESSAGE, Jid(juliet.jid), Jid(romeo.jid))
        for clear in (share(network, blog_of(juliet)), revoke(blog_of(juliet))):
            async with refused(ErrorCode.MALFORMED, romeo):
                await romeo.ox.open(clear, arrival)
            wrapped = element("urn:xmpp:openpgp:0", "openpgp", None, clear)
            with pytest.raises(PeerMisbehaved):
                await romeo.ox.open(wrapped, arrival)
        async with refused(ErrorCode.NO_ACTIVE_SECRET, romeo):
            await romeo.node(blog_of(juliet)).keychain()

    async def test_g_02_what_was_signed_in_clear_was_never_a_secret(self) -> None:
        network, (juliet, romeo) = await cast("juliet", "romeo")
        arrival = Arrival(StanzaKind.MESSAGE, Jid(juliet.jid), Jid(romeo.jid))
        for content in (share(network, blog_of(juliet)), revoke(blog_of(juliet))):
            letter = await juliet.ox.sign((content,), {romeo.jid})
            opened = await romeo.ox.open(letter, arrival)
            async with refused(ErrorCode.FORBIDDEN, romeo):
                await receive(romeo.ox, opened)
        assert await romeo.read(await juliet.write_to(romeo, share(network, blog_of(juliet))))

    def test_n_01_the_only_door_takes_what_was_opened_and_no_element(self) -> None:
        assert inspect.get_annotations(receive)["opened"] == "OpenedOx"
        assert set(inspect.signature(receive).parameters) == {"ox", "opened"}
