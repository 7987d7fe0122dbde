"""What the SQLite index does beyond the contract: what stays in the file, damage, growth."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from shutil import copyfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid, NodeAddress
from e2ee.primitives import NativePrimitives
from e2ee.search import Document, Forgotten, Hit, Query
from e2ee.secret import Secret
from e2ee.storage import Key, Put
from e2ee.stores import sqlite_search
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.sealed import SealedStore, seal_in_place
from e2ee.stores.sealing import SealingKey
from e2ee.stores.sqlite import SqliteStore
from tests.frozen.sqlite import documents, sample
from tests.support.source import ROOT

ME = ("juliet@capulet.lit",)
BLOG = NodeAddress(BareJid.parse("pubsub.capulet.lit"), "blog")
MARKS = "§¶†‡•‰‹›«»¿¡±×÷¬"  # no words: they are where the text is, and nowhere else


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with await SqliteStore.open(path) as opened:
        yield opened


def post(name: str, text: str, title: str = "") -> Document:
    return Document((*ME, name), BLOG, title, text)


async def index(store: SqliteStore, *posts: Document | Forgotten) -> None:
    async with store.exclusive(()) as tx:
        await tx.commit([], posts)
    await asyncio.sleep(0)  # the log is emptied


async def find(
    store: SqliteStore, text: str, limit: int = 20, after: Hit | None = None
) -> list[Hit]:
    async with store.exclusive(()) as tx:
        return list(await tx.search(Query(text), limit, after))


async def names(store: SqliteStore, text: str) -> list[str]:
    return [hit.key[-1] for hit in await find(store, text)]


def files(path: Path) -> bytes:
    return b"".join(found.read_bytes() for found in path.parent.iterdir() if found.is_file())


# -- what is forgotten


async def test_r_08_titles_and_texts_that_are_forgotten_or_replaced_are_in_no_file(
    store: SqliteStore, path: Path
) -> None:
    random = Random(8)
    alive: dict[Key, str] = {}
    dead: list[str] = []
    for _ in range(100):
        changes: dict[Key, Document | Forgotten] = {}
        for _ in range(random.randrange(1, 5)):
            key = (*ME, random.choice("abcdefgh"))
            if (old := alive.pop(key, None)) is not None:
                dead.append(old[:12])
            changes[key] = Forgotten(key)
            if random.randrange(3):
                alive[key] = "".join(random.choices(MARKS, k=12)) * random.choice((1, 3, 40, 300))
                title, text = random.choice(((alive[key], ""), ("", alive[key])))
                changes[key] = post(key[-1], f"{text} rose", title)
        await index(store, *changes.values())
        found = files(path)
        assert all(text[:12].encode() in found for text in alive.values())
        assert not [text for text in dead if text.encode() in found]
    assert len(dead) > 50


async def test_r_08_words_that_are_forgotten_stay_until_the_index_joins_its_parts(
    store: SqliteStore, path: Path
) -> None:
    """So it says where it is documented: no text, but its words; whoever minds seals the store."""
    await index(store, post("1", "a secret zyzzyva"), post("2", "a rose"))
    await index(store, Forgotten((*ME, "1")))
    assert await names(store, "zyzzyva") == []
    assert b"zyzzyva" in files(path)
    store._database.run("INSERT INTO word (word) VALUES ('optimize')")
    store._database.empty_log()
    assert b"zyzzyva" not in files(path)
    assert await names(store, "rose") == ["2"]


@pytest.mark.parametrize("count", [1, 700])
async def test_r_08_the_last_document_that_goes_takes_all_words_along(
    store: SqliteStore, path: Path, count: int
) -> None:
    words = [f"zyzz{number}yva" for number in range(count)]
    for first in range(0, count, 100):
        await index(store, *[post(word, f"a {word} rose") for word in words[first : first + 100]])
    await index(store, *[Forgotten((*ME, word)) for word in words[: count // 2]])
    await index(store, *[Forgotten((*ME, word)) for word in words[count // 2 :]])
    assert b"zyzz" not in files(path)
    assert await names(store, "rose") == []
    await index(store, post("1", "rose"))
    assert await names(store, "rose") == ["1"]


async def test_r_08_sealing_a_store_in_place_leaves_none_of_its_words(
    store: SqliteStore, path: Path
) -> None:
    async with store.exclusive(()) as tx:
        posts = [post(f"{number}", f"zyzzyva{number} ‡‡‡ rose") for number in range(300)]
        await tx.commit([Put((*ME, "0"), b"1")], posts)
    assert b"zyzzyva" in files(path)
    key = SealingKey(Secret(bytes(32)))
    await seal_in_place(store, key, NativePrimitives())
    await asyncio.sleep(0)
    assert b"zyzzyva" not in files(path)
    assert "‡‡‡".encode() not in files(path)
    async with store.exclusive(()) as tx:
        assert await tx.documents(()) == []
    sealed = await SealedStore.open(store, key, NativePrimitives())
    async with sealed.exclusive(ME) as again:
        assert await again.get((*ME, "0")) == b"1"


async def test_to_seal_an_empty_store_forgets_documents_without_rows(store: SqliteStore) -> None:
    await index(store, post("1", "rose"))
    await SealedStore.create(store, SealingKey(Secret(bytes(32))), NativePrimitives())
    assert await names(store, "rose") == []


# -- kills

COUNT = """
import asyncio, sys
from e2ee.names import BareJid, NodeAddress
from e2ee.search import Document, Forgotten
from e2ee.storage import Put, Remove
from e2ee.stores.sqlite import SqliteStore

async def main():
    node = NodeAddress(BareJid.parse("pubsub.capulet.lit"), "blog")
    async with await SqliteStore.open(sys.argv[1]) as store:
        while True:
            async with store.exclusive(("me",)) as tx:
                rows = await tx.scan(("me",))
                number = int(rows[-1][0][1]) + 1 if rows else 0
                new = ("me", f"{number:06}")
                document = Document(new, node, "", f"rose {number} " * 50)
                olds = [key for key, _ in rows[:-5]]
                changes = [Put(new, b"1"), *map(Remove, olds)]
                await tx.commit(changes, [document, *map(Forgotten, olds)])
            print(number, flush=True)
            await asyncio.sleep(0)
asyncio.run(main())
"""


@pytest.mark.slow
async def test_r_01_a_killed_process_leaves_an_index_of_just_the_rows(path: Path) -> None:
    last = -1
    for turn in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", COUNT, str(path)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(3 + turn):
            last = int(process.stdout.readline())
        process.kill()
        last = max([last, *map(int, process.communicate()[0].split())])
        async with await SqliteStore.open(path) as store:
            async with store.exclusive(()) as tx:
                keys = [key for key, _ in await tx.scan(())]
                assert [one.key for one in await tx.documents(())] == keys
                assert sorted(hit.key for hit in await tx.search(Query("rose"))) == keys
            assert int(keys[-1][1]) in (last, last + 1)
            store._database.run("INSERT INTO word (word) VALUES ('integrity-check')")


# -- damage

DAMAGES = {
    "a text": "UPDATE slot SET content = replace(content, 'rose', 'eros')",
    "no slot": "DELETE FROM slot",
    "another's slot": "UPDATE document SET slot = 3 - slot",
    "a length": "UPDATE document SET text = text + 1",
    "another place between": "UPDATE document SET title = title + 1, text = text - 1",
    "a huge length": "UPDATE document SET title = 1 << 60",
    "a negative length": "UPDATE document SET title = -1",
    "a length as text": "UPDATE document SET title = 'x'",
    "another key": "UPDATE document SET key = key || x'6100'",
    "a key as a number": "UPDATE document SET key = id",
    "the index": "UPDATE word_data SET block = zeroblob(40) WHERE id > 10",
    "no index": "DELETE FROM word_data",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_r_04_what_was_altered_is_found_or_not_shown(path: Path, damage: str) -> None:
    async with await SqliteStore.open(path) as store:
        await index(store, post("1", "a rose"), post("2", "a rose"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    async with await SqliteStore.open(path) as store:
        assert await failing(names(store, "rose")) or await names(store, "rose") == []
        assert await failing(index(store, post("1", "other"))) or await names(store, "other")
        async with store.exclusive(()) as tx:  # what is not of the index is as it was
            assert await tx.scan(()) == []
            await tx.commit([Put((*ME, "a"), b"1")])


async def failing(work: Awaitable[object]) -> bool:
    """Return whether it fails, as it must where it does not do what was asked."""
    try:
        await work
    except StoreFailed as failure:
        return failure.code is ErrorCode.STORE_CORRUPT
    return False


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TRIGGER t AFTER INSERT ON word_data BEGIN DELETE FROM entry; END",
        "CREATE TRIGGER word_content AFTER INSERT ON slot BEGIN DELETE FROM entry; END",
        "CREATE TABLE word_content (id)",
        "DROP VIEW spoken",
        "DROP TABLE word",
        "DROP INDEX document_key",
    ],
)
async def test_r_04_tables_that_are_not_ours_are_refused(path: Path, change: str) -> None:
    await (await SqliteStore.open(path)).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    with pytest.raises(StoreFailed) as failure:
        await SqliteStore.open(path)
    assert failure.value.code is ErrorCode.STORE_CORRUPT


async def test_a_sqlite_without_fts5_is_told_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Without(sqlite3.Connection):
        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            return super().execute(sql.replace("fts5", "fts0"), *parameters)  # type: ignore[arg-type]

    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *of, **options: connect(*of, **options, factory=Without)
    )
    with pytest.raises(StoreFailed, match="FTS5") as failure:
        await SqliteStore.open(path)
    assert failure.value.code is ErrorCode.STORE_FAILED
    assert not list(path.parent.iterdir())


# -- earlier schemas


@pytest.mark.parametrize("schema", [1, 2])
async def test_r_09_a_store_from_before_there_was_an_index_gets_one(
    path: Path, schema: int
) -> None:
    copyfile(sample(schema), path)
    path.chmod(0o600)
    async with await SqliteStore.open(path) as store:
        assert await names(store, "rose") == []
        await index(store, *documents())
        assert len(await names(store, "rose")) == 2


async def test_r_09_the_frozen_index_is_read_and_written(path: Path) -> None:
    copyfile(sample(3), path)
    path.chmod(0o600)
    async with await SqliteStore.open(path) as store:
        async with store.exclusive(()) as tx:
            assert await tx.documents(()) == documents()
        assert await names(store, "before") == []
        assert sorted(await names(store, "roses")) == ["1", "1"]
        assert await names(store, "creme дом") == ["2"]
        async with store.exclusive(()) as tx:
            asked = Query("rose*", author="juliet@capulet.lit", category="names")
            [hit] = await tx.search(asked)
        assert hit.snippet[1] == ("rose", True)
        await index(store, *[Forgotten(one.key) for one in documents()])
        assert await names(store, "rose") == []


# -- R-13 and ranking


async def test_r_13_to_index_the_same_again_and_again_does_not_grow(
    store: SqliteStore, path: Path
) -> None:
    random = Random(13)
    words = [f"word{number}" for number in range(500)]
    sizes = []
    for turn in range(1200):
        text = " ".join(random.choices(words, k=50))
        await index(store, post(f"{turn % 20}", text))
        if turn % 300 == 299:
            sizes.append(path.stat().st_size)
    assert sizes[-1] <= sizes[0] * 1.5


async def test_of_a_word_that_is_everywhere_the_latest_are_ranked(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_search, "_MOST_RANKED", 5)
    await index(store, *[post(f"{number}", "rose " * (9 - number)) for number in range(9)])
    assert sorted(await names(store, "rose")) == ["4", "5", "6", "7", "8"]
    await index(store, post("1", "rose"))
    assert sorted(await names(store, "rose")) == ["1", "5", "6", "7", "8"]
    [first] = await find(store, "rose", 1)
    assert [hit.key[-1] for hit in await find(store, "rose", 20, first)] == [
        name for name in await names(store, "rose") if name != first.key[-1]
    ]
    async with store.exclusive(()) as tx:  # what is asked for besides comes first
        await tx.commit([], [replace(post("x", "rose"), author="romeo")])
    await index(store, *[post(f"y{number}", "rose") for number in range(9)])
    async with store.exclusive(()) as tx:
        [hit] = await tx.search(Query("rose", author="romeo"))
    assert hit.key[-1] == "x"


# -- Guarded


async def test_r_05_an_index_that_was_put_back_is_refused(path: Path, tmp_path: Path) -> None:
    """A commit of documents alone is one of the account."""
    anchors = AnchorFiles(tmp_path / "anchors")
    async with await SqliteStore.open(path) as inner:
        guarded = GuardedStore(inner, anchors)
        async with guarded.exclusive(ME) as tx:
            await tx.commit([], [post("1", "rose")])
        await asyncio.sleep(0)
    copy = tmp_path / "copy.db"
    copyfile(path, copy)
    copy.chmod(0o600)
    async with await SqliteStore.open(path) as inner:
        guarded = GuardedStore(inner, anchors)
        async with guarded.exclusive(ME) as tx:
            await tx.commit([], [Forgotten((*ME, "1"))])
    async with await SqliteStore.open(copy) as inner:
        await index(inner, Document(("romeo@montague.lit", "1"), BLOG, "", "thorn"))
        guarded = GuardedStore(inner, anchors)
        for scope in (ME, ()):
            with pytest.raises(StoreFailed) as failure:
                async with guarded.exclusive(scope) as tx:
                    await tx.search(Query("rose"))
            assert failure.value.code is ErrorCode.STORE_ROLLED_BACK
        async with guarded.exclusive(()) as tx:
            with pytest.raises(StoreFailed):
                await tx.documents(())
        async with guarded.exclusive(()) as tx:
            assert len(await tx.search(Query("thorn"))) == 1


# -- A model

WORDS = ("rose", "thorn", "moon", "balcony", "night", "name")
steps = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.none() | st.lists(st.sampled_from(WORDS), max_size=6),
        st.booleans(),
    ),
    max_size=25,
)


@given(steps)
async def test_the_index_is_what_a_dictionary_would_say(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[str] | None, bool]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "store.db"
    model: dict[str, list[str]] = {}
    async with await SqliteStore.open(path) as store:
        for name, words, committed in steps:
            change = post(name, " ".join(words)) if words is not None else Forgotten((*ME, name))
            async with store.exclusive(ME) as tx:
                if not committed:
                    continue
                await tx.commit([], [change])
            if words is None:
                model.pop(name, None)
            else:
                model[name] = words
        for word in WORDS:
            found = {name for name, words in model.items() if word in words}
            assert set(await names(store, word)) == found
        for first, second in pairwise(WORDS):
            phrase = {
                name for name, words in model.items() if f"{first} {second}" in " ".join(words)
            }
            assert set(await names(store, f'"{first} {second}"')) == phrase
        async with store.exclusive(()) as tx:
            kept = {one.key[-1]: one.text.split() for one in await tx.documents(())}
            assert kept == model
        store._database.run("INSERT INTO word (word) VALUES ('integrity-check')")
