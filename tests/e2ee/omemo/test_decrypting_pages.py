"""Pages of an archive: many messages in one commit, none in another's way."""

from __future__ import annotations

import pytest

from e2ee.effects import Publish
from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, StoreFailed
from e2ee.names import Jid
from e2ee.omemo import decrypting
from e2ee.omemo.opened import OpenedMessage
from e2ee.storage import Store
from e2ee.xmltree import Element
from tests.support.hooked_store import HookedStore, Moment
from tests.support.omemo_letters import (
    Pair,
    key_for,
    met,
    remade,
    texts,
)
from tests.support.omemo_world import Party, body, dump


@pytest.fixture
async def pair() -> Pair:
    return await met()


async def _page(
    reader: Party, sender: Party, elements: list[Element]
) -> tuple[OpenedMessage | E2eeError, ...]:
    return await decrypting.decrypt_many(
        reader.sessions, [(each, reader.arrival(sender)) for each in elements]
    )


class Counting(HookedStore):
    """A store that counts its commits."""

    def __init__(self, store: Store) -> None:
        self.commits = 0
        super().__init__(store, self._count)

    async def _count(self, moment: Moment) -> None:
        self.commits += moment is Moment.AFTER_COMMIT


def _codes(outcomes: tuple[OpenedMessage | E2eeError, ...]) -> list[ErrorCode | None]:
    return [each.code if isinstance(each, E2eeError) else None for each in outcomes]


async def test_a_page_is_one_commit(pair: Pair) -> None:
    """Its order is kept, what fails fails alone, and what is in it twice is told once."""
    alice, bob = pair.alice, pair.bob
    carol = await pair.world.device("carol@c.example")
    good = [(await alice.encrypt(bob, content=[body(str(n))])).elements[0] for n in range(3)]
    first = (await carol.encrypt(bob, content=[body("carol")])).elements[0]
    commits = Counting(bob.store)
    counted = bob.reopened(commits)
    await counted.hear_of(carol)
    before = commits.commits
    bad = remade(good[0], bob, data=key_for(good[0], bob).data[:-1])
    page = [good[2], bad, good[0], good[2]]
    outcomes = await decrypting.decrypt_many(
        counted.sessions,
        [(each, bob.arrival(alice)) for each in page] + [(first, bob.arrival(carol))],
    )
    assert commits.commits == before + 1
    assert texts(outcomes) == ["2", "0", "carol"]
    assert _codes(outcomes)[1] in (ErrorCode.MALFORMED, ErrorCode.CANNOT_DECRYPT)
    assert _codes(outcomes)[3] is ErrorCode.REPLAY
    assert [type(effect) for effect in await bob.flush()].count(Publish) == 1
    assert texts(await bob.decrypt(good[1], alice)) == ["1"]


async def test_a_page_that_cannot_be_committed_is_not_read(pair: Pair) -> None:
    """All of it can be read again."""
    encrypted = [(await pair.alice.encrypt(pair.bob)).elements[0] for _ in range(2)]
    before = await dump(pair.bob.store)

    async def fail(moment: Moment) -> None:
        if moment is Moment.BEFORE_COMMIT:
            raise StoreFailed(ErrorCode.STORE_FULL, "full")

    full = pair.bob.reopened(HookedStore(pair.bob.store, fail))
    with pytest.raises(StoreFailed):
        await _page(full, pair.alice, encrypted)
    assert await dump(pair.bob.store) == before
    assert len(texts(await _page(pair.bob, pair.alice, encrypted))) == 2


async def test_an_empty_page_commits_nothing(pair: Pair) -> None:
    """Nor does one of which nothing could be read."""
    commits = Counting(pair.bob.store)
    counted = pair.bob.reopened(commits)
    encrypted = (await pair.alice.encrypt(pair.bob)).elements[0]
    stranger = Jid.parse("mallory@m.example")
    outcomes = await decrypting.decrypt_many(
        counted.sessions, [(encrypted, pair.bob.arrival(stranger))]
    )
    assert _codes(outcomes) == [ErrorCode.DATA_MISSING]
    assert commits.commits == 0


async def test_without_a_device_nothing_is_decrypted() -> None:
    """The caller is wrong, not the message."""
    pair = await met()
    nobody = pair.world.party("nobody@n.example")
    encrypted = (await pair.alice.encrypt(pair.bob)).elements[0]
    with pytest.raises(ApiMisuse):
        await _page(nobody, pair.alice, [encrypted])
