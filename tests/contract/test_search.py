"""What every store with an index promises (``e2ee/search.py``), on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from e2ee import limits
from e2ee.errors import ApiMisuse
from e2ee.names import BareJid, NodeAddress
from e2ee.search import Document, Forgotten, Hit, Query, SearchStore, is_searchable
from e2ee.storage import Key, Put, Remove
from tests.support.stores import Place, made, opened

ME = ("juliet@capulet.lit",)
PUBSUB = BareJid.parse("pubsub.capulet.lit")
BALCONY = NodeAddress(PUBSUB, "balcony")
KITCHEN = NodeAddress(PUBSUB, "kitchen")
MORNING = datetime(2026, 5, 1, 6, 0, tzinfo=UTC)

SEARCHABLE = [
    "sqlite",
    "guarded-sqlite",
    pytest.param("postgres", marks=pytest.mark.slow),
    pytest.param("guarded-postgres", marks=pytest.mark.slow),
]


@pytest.fixture(params=SEARCHABLE)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return await made(request.param, tmp_path, lambda: request.getfixturevalue("database"))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[SearchStore]:
    async with opened(place) as store:
        assert is_searchable(store)
        yield store


def post(name: str, text: str = "", title: str = "", account: Key = ME) -> Document:
    return Document((*account, "cache", name), BALCONY, title, text, language="en")


async def index(store: SearchStore, *documents: Document | Forgotten, scope: Key = ()) -> None:
    async with store.exclusive(scope) as tx:
        await tx.commit([], documents)


async def find(store: SearchStore, query: Query | str, scope: Key = ()) -> list[Hit]:
    async with store.exclusive(scope) as tx:
        return list(await tx.search(Query(query) if isinstance(query, str) else query))


async def names(store: SearchStore, query: Query | str, scope: Key = ()) -> list[str]:
    return sorted(hit.key[-1] for hit in await find(store, query, scope))


async def everything(store: SearchStore) -> list[Document]:
    async with store.exclusive(()) as tx:
        return list(await tx.documents(()))


def text_of(hit: Hit) -> str:
    return "".join(piece for piece, _ in hit.snippet)


def matched(hit: Hit) -> list[str]:
    return [piece for piece, found in hit.snippet if found]


async def test_all_words_must_be_there_in_title_or_text_in_any_case(store: SearchStore) -> None:
    await index(
        store,
        post("1", "What light through yonder window breaks?", "The East"),
        post("2", "Deny thy father and refuse thy name", "LIGHT"),
        post("3", "Nothing of it"),
    )
    assert await names(store, "light") == ["1", "2"]
    assert await names(store, "Light YONDER") == ["1"]
    assert await names(store, "east light") == ["1"]
    assert await names(store, "light name") == ["2"]
    assert await names(store, "light nothing") == []
    assert await names(store, "moon") == []


async def test_a_phrase_is_words_beside_each_other(store: SearchStore) -> None:
    await index(
        store,
        post("1", "an end-to-end encryption"),
        post("2", "from the end to the end; encryption too", "of one"),
    )
    assert await names(store, '"end to end"') == ["1"]
    assert await names(store, "end-to-end") == ["1"]
    assert await names(store, "end to") == ["1", "2"]
    assert await names(store, '"end encryption"') == ["1", "2"]  # marks stand between words
    assert await names(store, '"one from"') == []  # title and text are apart
    assert await names(store, '"the end" encr*') == ["2"]


async def test_the_beginning_of_a_word_is_enough_with_a_star(store: SearchStore) -> None:
    await index(store, post("1", "ciphertext"), post("2", "cipher"), post("3", "a decipherment"))
    assert await names(store, "ciphert*") == ["1"]
    assert await names(store, "ciph*") == ["1", "2"]
    assert await names(store, "cip") == []
    assert await names(store, "CIPHERTEX*") == ["1"]


async def test_english_words_are_found_in_their_other_forms(store: SearchStore) -> None:
    await index(store, post("1", "she encrypted the letters"), post("2", "a letter's seal"))
    assert await names(store, "encrypt") == ["1"]
    assert await names(store, "encrypting letter") == ["1"]
    assert await names(store, "letters") == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Crème brûlée", "creme brulee"),
        ("Creme brulee", "crème brûlée"),
        ("Äpfel", "apfel"),
        ("ДОМ", "дом"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("日本語の文章", "日本*"),
        ("Agent 007", "007"),
    ],
)
async def test_words_of_every_language_are_found(store: SearchStore, text: str, query: str) -> None:
    await index(store, replace(post("1", text), language=None), post("2", "another"))
    assert await names(store, query) == ["1"]


HOSTILE = (
    *("OR", "AND", "NOT rose", "NEAR(rose)", "title:rose", "text : rose", "{text} rose", "^rose"),
    *("rose;drop", "rose'--", "rose)", "(rose", "rose|tree", "rose&!tree", "rose:*A", "rose:*"),
    *("rose\\", "-rose", "+rose", "rose<->tree", "rose\\:a", "facets:rose", "rose!", "$1", "%s0"),
    *("rose\u0085", "\u202erose", "rose\U0010ffff0", "ro\u00adse", "a" * 1000),
)


@pytest.mark.parametrize("text", HOSTILE)
async def test_no_text_is_read_as_an_engines_language(store: SearchStore, text: str) -> None:
    """Each finds a document of its own words, and none that has nothing of them."""
    try:
        query = Query(text)
    except ApiMisuse:
        return  # of no words
    await index(store, post("1", f"before {text} after"), post("2", "rose or tree, and not a near"))
    await index(store, post("3", "drop table documents"))
    found = await names(store, query)
    assert "1" in found
    assert "3" not in found


async def test_filters_are_exact_and_of_their_own(store: SearchStore) -> None:
    one = replace(
        post("1", "rose"),
        author="juliet@capulet.lit",
        categories=("flowers", "of 'love'"),
        published=MORNING,
    )
    two = replace(post("2", "rose"), node=KITCHEN, author="romeo", published=None)
    await index(store, one, two)
    assert await names(store, Query("rose", node=BALCONY)) == ["1"]
    assert await names(store, Query("rose", node=NodeAddress(PUBSUB, "balcon"))) == []
    assert await names(store, Query("rose", author="juliet@capulet.lit")) == ["1"]
    assert await names(store, Query("rose", author="juliet")) == []
    assert await names(store, Query("rose", author="flowers")) == []
    assert await names(store, Query("rose", author="")) == []
    assert await names(store, Query("rose", category="flowers")) == ["1"]
    assert await names(store, Query("rose", category="of 'love'")) == ["1"]
    assert await names(store, Query("rose", category="love")) == []
    assert await names(store, Query("rose", category="")) == []
    assert await names(store, Query("rose", category="flowers", author="romeo")) == []
    assert await names(store, "flowers") == []  # a category is no word of the text
    assert await names(store, "juliet") == []
    assert await names(store, "balcony") == []


async def test_times_are_from_and_up_to_but_not_with(store: SearchStore) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    first = datetime(1, 1, 1, tzinfo=UTC)
    await index(
        store,
        replace(post("1", "rose"), published=MORNING),
        replace(
            post("2", "rose"), published=(MORNING + timedelta(microseconds=1)).astimezone(east)
        ),
        replace(post("3", "rose"), published=None),
        replace(post("4", "rose"), published=first),
        replace(post("5", "rose"), published=datetime.max.replace(tzinfo=UTC)),
    )
    assert await names(store, Query("rose", since=MORNING)) == ["1", "2", "5"]
    assert await names(store, Query("rose", until=MORNING)) == ["4"]
    assert await names(store, Query("rose", since=MORNING.astimezone(east), until=MORNING)) == []
    later = MORNING + timedelta(microseconds=1)
    assert await names(store, Query("rose", since=MORNING, until=later)) == ["1"]
    assert await names(store, Query("rose", since=first)) == ["1", "2", "4", "5"]
    assert await names(store, "rose") == ["1", "2", "3", "4", "5"]


async def test_the_best_comes_first_and_a_title_counts_more(store: SearchStore) -> None:
    dull = "nothing of interest happens in this long and winding text"
    await index(
        store,
        *[post(f"x{number}", dull) for number in range(20)],
        post("once", f"rose {dull} {dull}"),
        post("often", "rose rose rose rose of thorns"),
        post("titled", f"{dull} {dull}", "rose"),
    )
    found = await find(store, "rose")
    assert [hit.key[-1] for hit in found][-1] == "once"
    assert {hit.key[-1] for hit in found} == {"often", "titled", "once"}
    assert [hit.rank for hit in found] == sorted((hit.rank for hit in found), reverse=True)


async def test_pages_fit_together(store: SearchStore) -> None:
    """Also where many fit equally well."""
    posts = [post(f"{number:02}", "rose " * (1 + number // 7)) for number in range(35)]
    await index(store, *posts)
    async with store.exclusive(ME) as tx:
        whole = list(await tx.search(Query("rose"), limit=100))
        assert len(whole) == 35
        for size in (1, 4, 34, 35, 36):
            pages: list[Hit] = []
            while page := await tx.search(Query("rose"), size, pages[-1] if pages else None):
                assert len(page) <= size
                pages += page
            assert pages == whole


async def test_a_snippet_shows_where_the_words_are(store: SearchStore) -> None:
    long = "prologue " * 200 + "the roses that were red " + "epilogue " * 200
    await index(store, post("1", long, "A title"), post("2", "no flower", "Roses"))
    hits = {hit.key[-1]: hit for hit in await find(store, "rose")}
    assert matched(hits["1"]) == ["roses"]
    assert hits["1"].title == "A title"
    assert len(text_of(hits["1"])) < 600
    assert "the roses that" in text_of(hits["1"])
    assert matched(hits["2"]) == []
    assert text_of(hits["2"]) == "no flower"
    assert hits["2"].title == "Roses"
    assert text_of((await find(store, "red"))[0]).count("red") == 1


async def test_a_snippet_is_the_text_as_it_is(store: SearchStore) -> None:
    text = "<b>rose</b> & \\x01 [rose] …\n\ttail $1 {0} “rose”"
    await index(store, post("1", text))
    [hit] = await find(store, "rose")
    assert text_of(hit) == text
    assert matched(hit) == ["rose"] * 3


async def test_a_document_takes_the_place_of_the_one_before(store: SearchStore) -> None:
    old = replace(post("1", "old words", "first"), author="romeo", categories=("old",))
    await index(store, old, post("2", "other words"))
    await index(store, post("1", "new words", "second"))
    assert await names(store, "old") == []
    assert await names(store, "first") == []
    assert await names(store, Query("words", author="romeo")) == []
    assert await names(store, Query("words", category="old")) == []
    assert await names(store, "words") == ["1", "2"]
    [hit] = await find(store, "new")
    assert hit.title == "second"


async def test_what_is_forgotten_is_not_found(store: SearchStore) -> None:
    await index(store, post("1", "rose"), post("2", "rose"))
    await index(store, Forgotten((*ME, "cache", "1")), Forgotten((*ME, "never")))
    assert await names(store, "rose") == ["2"]
    await index(store, Forgotten((*ME, "cache", "2")))
    assert await names(store, "rose") == []
    assert await everything(store) == []
    await index(store, post("2", "rose again"))
    assert await names(store, "rose") == ["2"]


async def test_rows_and_documents_are_committed_together_or_not_at_all(
    store: SearchStore,
) -> None:
    key = (*ME, "cache", "1")
    async with store.exclusive(ME) as tx:
        await tx.commit([Put(key, b"1")], [post("1", "rose")])
    async with store.exclusive(ME) as tx:
        assert [hit.key for hit in await tx.search(Query("rose"))] == [key]
    wrong: Sequence[object] = (
        [post("1", "thorn"), post("1", "thorn")],
        [post("1", "thorn"), Forgotten((*ME, "cache", "1"))],
        [post("1", "thorn"), post("1", "thorn", account=("romeo@montague.lit",))],
        [Forgotten(("romeo@montague.lit", "cache"))],
        [post("1", "thorn"), None],
        [Put(key, b"2")],
        [Forgotten(())],
        iter([post("1", "thorn")]),
        None,
    )
    for documents in wrong:
        with pytest.raises(ApiMisuse):
            async with store.exclusive(ME) as tx:
                await tx.commit([Put(key, b"2"), Remove((*ME, "x"))], documents)  # type: ignore[arg-type]
        async with store.exclusive(ME) as tx:
            assert await tx.get(key) == b"1"
            assert await tx.documents(ME) == [post("1", "rose")]
            assert await tx.search(Query("thorn")) == []
    async with store.exclusive(ME) as tx:
        with pytest.raises(ApiMisuse):
            await tx.commit([Put((*ME, "a"), b""), Put((*ME, "a"), b"")], [post("1", "thorn")])
    assert await names(store, "rose") == ["1"]


async def test_a_block_finds_only_what_lies_in_its_scope(store: SearchStore) -> None:
    accounts: list[Key] = [ME, ("juliet@capulet.li",), ("juliet@capulet.lit\0",), ("romeo",)]
    await index(store, *[post(f"of {account[0]}", "rose", account=account) for account in accounts])
    await index(store, replace(post("x", "rose"), key=(*ME, "cach", "e")))
    for account in accounts[1:]:
        assert await names(store, "rose", account) == [f"of {account[0]}"]
    assert await names(store, "rose", (*ME, "cache")) == [f"of {ME[0]}"]
    assert await names(store, "rose", (*ME, "cach")) == ["e"]
    assert await names(store, "rose", ME) == ["e", f"of {ME[0]}"]
    assert len(await names(store, "rose")) == 5
    async with store.exclusive((*ME, "cache")) as tx:
        [hit] = await tx.search(Query("rose"), limit=1)
        assert hit.key == (*ME, "cache", f"of {ME[0]}")
        assert await tx.search(Query("rose"), limit=1, after=hit) == []
        with pytest.raises(ApiMisuse):
            await tx.documents(ME)


async def test_a_transaction_that_is_over_is_not_searched(store: SearchStore) -> None:
    async with store.exclusive(ME) as tx:
        await tx.commit([], [post("1", "rose")])
        for ask in (lambda: tx.search(Query("rose")), lambda: tx.documents(ME)):
            with pytest.raises(ApiMisuse):
                await ask()
        with pytest.raises(ApiMisuse):
            await tx.commit([], [])
    with pytest.raises(ApiMisuse):
        await tx.search(Query("rose"))


async def test_what_is_no_question_is_refused(store: SearchStore) -> None:
    async with store.exclusive(ME) as tx:
        for limit in (0, -1, limits.MAX_HITS + 1, 1.5, True, None, "1"):
            with pytest.raises(ApiMisuse):
                await tx.search(Query("rose"), limit)  # type: ignore[arg-type]
        with pytest.raises(ApiMisuse):
            await tx.search("rose")  # type: ignore[arg-type]
        with pytest.raises(ApiMisuse):
            await tx.search(Query("rose"), 1, (*ME, "a"))  # type: ignore[arg-type]


async def test_documents_come_back_as_they_were_in_key_order(store: SearchStore) -> None:
    documents = [
        replace(
            post(name, text, title),
            author=author,
            categories=categories,
            published=published,
            language=language,
        )
        for name, text, title, author, categories, published, language in (
            ("", "", "", None, (), None, None),
            ("\0", "\U0010ffff\u0301 " * 50, "", "", ("",), MORNING, ""),
            (
                "a",
                "x" * (limits.MAX_DOCUMENT_CHARS - 5),
                "title",
                "a" * 4096,
                ("b",) * 2,
                None,
                "de",
            ),
            ("a\0b", "薔薇 " * 20_000, "…", "'", ('"', "{}", "a, b"), MORNING, "zh-Hant-TW"),
            ("ä", "\t\n", " ", " ", (" ",), datetime(9999, 12, 31, 23, tzinfo=UTC), "x-y"),
        )
    ]
    documents += [replace(post("1", "rose"), key=("\ud800", "\udfff"))]
    await index(store, *reversed(documents))
    assert await everything(store) == sorted(documents, key=lambda one: one.key)
    async with store.exclusive(ME) as tx:
        pages: list[Document] = []
        while page := await tx.documents(ME, pages[-1].key if pages else None, 2):
            pages += page
        assert pages == documents[:-1]
        assert await tx.documents((*ME, "cache", "a")) == documents[2:3]


async def test_rows_alone_leave_the_index_as_it_is(store: SearchStore) -> None:
    await index(store, post("1", "rose"))
    async with store.exclusive(ME) as tx:
        await tx.commit([Put((*ME, "cache", "1"), b"2"), Remove((*ME, "cache", "2"))])
    assert await names(store, "rose") == ["1"]


async def test_the_index_is_there_when_the_store_is_opened_again(place: Place) -> None:
    async with opened(place) as store:
        assert is_searchable(store)
        await index(store, post("1", "rose"))
        await index(store, post("2", "rose"), Forgotten((*ME, "cache", "1")))
    async with opened(place) as store:
        assert is_searchable(store)
        assert await names(store, "rose") == ["2"]
        assert await everything(store) == [post("2", "rose")]


async def test_many_tasks_index_and_search_side_by_side(store: SearchStore) -> None:
    async def work(number: int) -> None:
        account = (f"user{number % 3}",)
        for turn in range(3):
            await index(store, post(f"{number}", f"rose {turn}", account=account), scope=account)
            assert f"{number}" in await names(store, "rose", account)

    await asyncio.gather(*map(work, range(9)))
    assert await names(store, "2 rose") == sorted(map(str, range(9)))


async def test_other_stores_say_that_they_have_no_index(tmp_path: Path) -> None:
    for kind in ("memory", "sealed-sqlite", "guarded-sealed-sqlite"):
        folder = tmp_path / kind
        folder.mkdir()
        async with opened(await made(kind, folder, str)) as store:
            assert not is_searchable(store)
