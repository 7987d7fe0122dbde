"""What another device of ours did is learnt from its messages (D-20)."""

from __future__ import annotations

import pytest

from e2ee.errors import ApiMisuse, ErrorCode
from e2ee.trust import Trust
from tests.support.blog import blog_of, cast, revoke, share
from tests.support.node_world import (
    Person,
)
from tests.support.ox_world import refused


class TestOtherDevices:
    """What another device of ours did is learnt from its messages (D-20)."""

    async def test_the_other_device_knows_the_secrets_and_the_members(self) -> None:
        _, (juliet, romeo, nurse) = await cast("juliet", "romeo", "nurse")
        blog = blog_of(juliet)
        await juliet.node(blog).create()
        await juliet.node(blog).grant(romeo.jid)
        await juliet.flush()
        second = await juliet.another_device()
        await second.catch_up()
        first, other = await juliet.node(blog).keychain(), await second.node(blog).keychain()
        assert other == first
        await second.learn(nurse.jid)
        await second.node(blog).grant(nurse.jid)
        await second.flush()
        for person in (nurse, juliet):
            await person.catch_up()
        assert (await nurse.node(blog).keychain()).current.id == first.current.id
        assert (await juliet.node(blog).keychain()).members == {romeo.jid, nurse.jid}

    @pytest.mark.parametrize("heard", range(1, 6))
    @pytest.mark.parametrize("backwards", [False, True])
    async def test_n_12_whoever_was_removed_on_one_device_is_sent_nothing_by_the_other(
        self, heard: int, backwards: bool
    ) -> None:
        """Whichever part of the removal the other device has heard of, and in whichever order."""
        network, (juliet, romeo, tybalt) = await cast("juliet", "romeo", "tybalt")
        blog = blog_of(juliet)
        await juliet.node(blog).create()
        await juliet.node(blog).grant(romeo.jid)
        await juliet.node(blog).grant(tybalt.jid)
        await juliet.flush()
        second = await juliet.another_device()
        await second.catch_up()
        assert (await second.node(blog).keychain()).members == {romeo.jid, tybalt.jid}

        await juliet.node(blog).rotate(revoke={tybalt.jid})
        await juliet.flush()
        news = network.letters[second.letters_read :]
        assert len(news) == 5  # three revocations, two secrets
        for letter in (news[::-1] if backwards else news)[:heard]:
            await second.read(letter)
        await second.node(blog).rotate()
        sent = len(network.letters)
        await second.flush()
        for letter in network.letters[sent:]:
            if letter.to == tybalt.jid:
                await tybalt.read(letter)
        keychain = await second.node(blog).keychain()
        assert tybalt.jid not in keychain.members
        with pytest.raises(ApiMisuse):
            _ = (await tybalt.node(blog).keychain()).current

    async def test_a_grant_after_another_devices_removal_counts(self) -> None:
        _, (juliet, romeo, nurse) = await cast("juliet", "romeo", "nurse")
        blog = blog_of(juliet)
        await juliet.node(blog).create()
        await juliet.node(blog).grant(romeo.jid)
        await juliet.flush()
        second = await juliet.another_device()
        await second.learn(nurse.jid)
        await second.catch_up()
        notice = await juliet.write_to(
            juliet, revoke(blog, (await juliet.node(blog).keychain()).current.id)
        )
        await second.read(notice)
        assert not (await second.node(blog).keychain()).members
        await second.node(blog).grant(nurse.jid)
        again = await juliet.write_to(
            juliet, revoke(blog, (await juliet.node(blog).keychain()).current.id)
        )
        await second.read(again)
        assert (await second.node(blog).keychain()).members == {nurse.jid}

    async def test_n_02_a_device_with_another_key_shares_nothing_unasked(self) -> None:
        """Not before the user has accepted its key, and let it share for this node."""
        network, (juliet,) = await cast("juliet")
        blog = blog_of(juliet)
        await juliet.node(blog).create()
        second = Person(network, juliet.jid)
        await second.hear_of(juliet)
        await second.ox.generate()
        await second.flush()
        await second.ox.decide(juliet.jid, await juliet.fingerprint(), Trust.AUTHENTICATED)
        await juliet.hear_of(juliet)
        letter = await second.write_to(juliet, share(network, blog, "t"))
        async with refused(ErrorCode.UNDECIDED, juliet):
            await juliet.read(letter)
        await juliet.ox.decide(juliet.jid, await second.fingerprint(), Trust.AUTHENTICATED)
        async with refused(ErrorCode.NOT_OWNER, juliet):
            await juliet.read(letter)
        await juliet.node(blog).approve(juliet.jid, await second.fingerprint())
        await juliet.read(letter)

        await second.read(await juliet.write_to(juliet, share(network, blog, "u")))
        async with refused(ErrorCode.NOT_OWNER, second):
            await second.node(blog).rotate()
        await second.node(blog).approve(juliet.jid, await second.fingerprint())
        await second.node(blog).rotate()
