"""A draft: what it reads is what will be there, page by page, and it is committed once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from e2ee.draft import Draft
from e2ee.effects import Send
from e2ee.names import BareJid, NodeAddress
from e2ee.outbox import Outbox
from e2ee.search import Document, Forgotten
from e2ee.storage import Change, Key, Put, Remove
from e2ee.stores.memory import MemoryStore
from e2ee.xmltree import element
from tests.support.hooked_store import HookedStore, Moment

ME = BareJid.parse("juliet@capulet.lit")
SCOPE = (str(ME),)

keys = st.builds(
    lambda *parts: (*SCOPE, *parts), st.sampled_from("ab"), st.sampled_from("12345678")
)
changes = st.lists(
    st.one_of(st.builds(Put, keys, st.binary(max_size=1)), st.builds(Remove, keys)), max_size=12
)


def applied(rows: dict[Key, bytes], made: Sequence[Change]) -> dict[Key, bytes]:
    """Return the rows after the changes."""
    rows = dict(rows)
    for change in made:
        if isinstance(change, Put):
            rows[change.key] = change.value
        else:
            rows.pop(change.key, None)
    return rows


@given(
    stored=st.dictionaries(keys, st.binary(max_size=1)),
    own=changes,
    parts=changes,
    prefix=st.sampled_from([SCOPE, (*SCOPE, "a"), (*SCOPE, "b")]),
    after=st.none() | keys,
    limit=st.none() | st.integers(1, 20),
)
def test_a_page_is_what_will_be_there(
    stored: dict[Key, bytes],
    own: list[Change],
    parts: list[Change],
    prefix: Key,
    after: Key | None,
    limit: int | None,
) -> None:
    """In a draft, and in a part of one, which is then merged and committed."""

    async def read() -> None:
        store = MemoryStore()
        async with store.exclusive(SCOPE) as tx:
            await tx.commit([Put(key, value) for key, value in stored.items()])
        async with store.exclusive(SCOPE) as tx:
            draft = Draft(tx, ME)
            draft.take(own)
            part = Draft(draft, ME)
            part.take(parts)
            rows = applied(stored, own)
            for reader, expected in ((draft, rows), (part, applied(rows, parts))):
                assert await reader.scan(prefix, after, limit) == page(expected)
            part.merge()
            await draft.commit()
        async with store.exclusive(SCOPE) as tx:
            assert dict(await tx.scan(SCOPE)) == applied(rows, parts)

    def page(rows: dict[Key, bytes]) -> list[tuple[Key, bytes]]:
        found = [
            (key, rows[key])
            for key in sorted(rows)
            if key[: len(prefix)] == prefix and (after is None or key > after)
        ]
        return found[:limit]

    asyncio.run(read())


async def test_a_short_page_costs_one_read() -> None:
    reads = 0

    async def count(moment: Moment) -> None:
        nonlocal reads
        reads += moment is Moment.SCAN

    store = HookedStore(MemoryStore(), count)
    async with store.exclusive(SCOPE) as tx:
        await tx.commit([Put((*SCOPE, "a", f"{number:04}"), b"") for number in range(2000)])
    async with store.exclusive(SCOPE) as tx:
        draft = Draft(tx, ME)
        draft.remove((*SCOPE, "a", "0000"))
        rows = await draft.scan((*SCOPE, "a"), limit=3)
        assert [key[-1] for key, _ in rows] == ["0001", "0002", "0003"]
        assert reads == 1
        assert len(await draft.scan((*SCOPE, "a"))) == 1999
        assert reads == 4


async def test_where_nothing_changes_nothing_is_committed() -> None:
    commits = 0

    async def count(moment: Moment) -> None:
        nonlocal commits
        commits += moment is Moment.BEFORE_COMMIT

    store = HookedStore(MemoryStore(), count)
    async with store.exclusive(SCOPE) as tx:
        await Draft(tx, ME).commit()
    assert commits == 0
    async with store.exclusive(SCOPE) as tx:
        draft = Draft(tx, ME)
        draft.send(Send(ME, (element("urn:a", "a"),), "1"))
        await draft.commit()
    assert commits == 1
    assert len(await Outbox(store, ME).pending()) == 1


class _Indexed:
    """A transaction that only notes what is committed to it."""

    def __init__(self) -> None:
        self.committed: list[tuple[list[Change], list[Document | Forgotten]]] = []

    async def get(self, key: Key) -> bytes | None:
        return None

    async def scan(
        self, prefix: Key, after: Key | None = None, limit: int = 1000
    ) -> Sequence[tuple[Key, bytes]]:
        return []

    async def commit(
        self, changes: Sequence[Change], documents: Sequence[Document | Forgotten] = ()
    ) -> None:
        self.committed.append((list(changes), list(documents)))


async def test_documents_are_committed_with_the_rows() -> None:
    """The last word about each of them, and none of a part that was given up."""
    tx = _Indexed()
    draft = Draft(tx, ME)
    one, two, three = ((*SCOPE, "a", name) for name in "123")
    node = NodeAddress(ME, "blog")
    document = Document(two, node, "title", "text")
    draft.put(one, b"")
    draft.index(Forgotten(two))
    part = Draft(draft, ME)
    part.index(document)
    part.merge()
    Draft(draft, ME).index(Forgotten(three))
    await draft.commit()
    assert tx.committed == [([Put(one, b"")], [document])]
