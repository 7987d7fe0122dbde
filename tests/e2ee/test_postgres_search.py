"""The index in PostgreSQL: stems of each language, long documents, plans, grants, migration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits
from e2ee.errors import ErrorCode
from e2ee.names import BareJid, NodeAddress
from e2ee.search import Document, Forgotten, Hit, Query
from e2ee.storage import Key
from e2ee.stores import postgres_schema, postgres_search
from e2ee.stores.postgres import PostgresStore
from e2ee.stores.postgres_schema import migrate
from e2ee.stores.words import split
from tests.support.postgres import PostgresServer
from tests.support.postgres_stores import connected, failed, get, put
from tests.support.stores import made

pytestmark = pytest.mark.slow

ME = ("juliet@capulet.lit",)
BALCONY = NodeAddress(BareJid.parse("pubsub.capulet.lit"), "balcony")


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    """Return the address of a database; to make one for every test takes longer than the test."""
    return postgres_server.create_database()


@pytest.fixture
async def dsn(database: str, tmp_path: Path) -> str:
    """Return the address of a PostgreSQL database with the tables, and nothing in them."""
    return (await made("postgres", tmp_path, lambda: database)).address


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.open(dsn) as store:
        yield store


def post(name: str, text: str, title: str = "", language: str | None = None) -> Document:
    return Document((*ME, name), BALCONY, title, text, language=language)


async def index(store: PostgresStore, *documents: Document | Forgotten, scope: Key = ME) -> None:
    async with store.exclusive(scope) as tx:
        await tx.commit([], documents)


async def find(store: PostgresStore, query: Query | str, scope: Key = ME) -> Sequence[Hit]:
    async with store.exclusive(scope) as tx:
        return await tx.search(Query(query) if isinstance(query, str) else query, limit=1000)


async def names(store: PostgresStore, query: Query | str, scope: Key = ME) -> list[str]:
    return sorted(hit.key[-1] for hit in await find(store, query, scope))


@pytest.mark.parametrize(
    ("language", "text", "query"),
    [
        ("de-AT", "Die Häuser am See", "Haus"),
        ("en-GB", "she encrypted the letters", "encrypting letter"),
        ("fr", "les chevaux étaient élevés", "élevé"),
        ("es", "las bibliotecas", "biblioteca"),
        ("it", "le biblioteche", "biblioteca"),
        ("nl", "de bibliotheken", "bibliotheek"),
        ("sv", "husen vid sjön", "hus"),
        ("nb", "bøkene", "bøker"),
        ("pt", "as cifras quebradas", "cifra quebrada"),
        ("ru", "зашифрованные сообщения", "зашифрованное сообщение"),
        ("fi", "taloissa", "talossa"),
        ("tr", "kitaplar", "kitap"),
        ("hu", "házak", "ház"),
        ("ro", "cărțile", "cărți"),
    ],
)
async def test_words_are_found_by_the_stems_of_their_own_language(
    store: PostgresStore, language: str, text: str, query: str
) -> None:
    await index(store, post("1", text, language=language), post("2", text))
    assert "1" in await names(store, query)
    assert await names(store, f'"{text}"') == ["1", "2"]
    for word in split(text):
        assert await names(store, word.form) == ["1", "2"]  # nothing is left out as too common


async def test_no_stem_is_found_in_another_language(store: PostgresStore) -> None:
    await index(
        store,
        post("de", "Rosen", language="de"),
        post("en", "rosy", language="en"),
        post("xx", "Rosen rosy", language="tlh"),
    )
    assert await names(store, "rose") == ["de"]  # whose stem in English is not that of "rosy"
    assert await names(store, "rosiness") == ["en"]
    assert await names(store, "rosen") == ["de", "xx"]
    assert await names(store, "ros*") == ["de", "en", "xx"]
    assert await names(store, "/en/rosi") == []


async def test_a_phrase_is_found_by_its_stems_too(store: PostgresStore) -> None:
    await index(store, post("1", "the trade-offs of encrypted mails", language="en"))
    for query in ("trade-off", '"encrypted mail"', '"offs of encrypting"', '"of encrypt*"'):
        assert await names(store, query) == ["1"], query
    for query in ('"mail encrypted"', '"trade of"'):
        assert await names(store, query) == [], query


async def test_a_phrase_is_found_wherever_it_stands(store: PostgresStore) -> None:
    """Also where PostgreSQL keeps no places: after the 16,383rd word, or the 255th of its kind."""
    many = "a b " * 12_000
    often = "the x " * 300 + "the rose"
    await index(store, post("many", f"{many} far away {many}"), post("often", often, language="en"))
    for query in ('"far away"', '"b far"', "far-aw*", '"away a b"'):
        assert await names(store, query) == ["many"], query
    for query in ('"away far"', '"far b"', '"a far"', '"b away"', '"ar away"'):
        assert await names(store, query) == [], query
    assert await names(store, '"the rose"') == ["often"]
    assert await names(store, '"x rose"') == []
    [hit] = await find(store, '"far away"')
    assert [piece for piece, found in hit.snippet if found] == ["far", "away"]


def _crowded(size: int) -> str:
    """Return a text of as many different words of as many bytes as can be."""
    first, each = 0x20000, []
    for number in range(limits.MAX_DOCUMENT_CHARS // (size + 1)):
        digits = (number % 200, number // 200 % 200, number // 40_000)
        each.append("".join(chr(first + 200 * place + digits[place]) for place in range(size)))
    return " ".join(each)


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_r_13_the_longest_documents_fit(store: PostgresStore, size: int) -> None:
    """Whatever they say: PostgreSQL takes 1 MiB of words."""
    text = _crowded(size)
    if size == 1:
        text = " ".join(map(chr, range(0x20000, 0x20000 + 42_000))) + " é" * 8000
    categories = tuple(f"{number:04096}" for number in range(limits.MAX_CATEGORIES))
    document = replace(post("1", text, language="de"), categories=categories, author="me")
    await index(store, document, post("2", "ß" * limits.MAX_DOCUMENT_CHARS, language="de"))
    last = split(text)[-1].form
    assert await names(store, Query(last, category=categories[-1], author="me")) == ["1"]
    assert await names(store, "ß*") == ["2"]


async def test_r_13_a_search_goes_through_the_index(
    dsn: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And touches as good as nothing of other accounts, before and after the first statistics."""
    random = Random(13)
    words = [f"word{number}" for number in range(500)]
    others = [
        replace(
            post("", " ".join(random.choices(words, k=30)), language="en"),
            key=(f"{number % 50}@capulet.lit", str(number)),
        )
        for number in range(5000)
    ]
    await index(store, *others, post("1", "word7 word8", language="en"), scope=())
    statements: list[tuple[str, tuple[object, ...]]] = []
    async with connected(dsn) as rival:

        async def rows(statement: str, *values: object) -> Sequence[object]:
            statements.append((statement, values))
            return await rival.fetch(statement, *values)

        for analyze in (False, True):
            await rival.execute("ANALYZE xmpp_e2ee.document" if analyze else "SELECT 1")
            for plan_cache in ("force_custom_plan", "force_generic_plan"):
                async with rival.transaction():
                    await rival.execute(f"SET LOCAL plan_cache_mode = {plan_cache}")
                    statements.clear()
                    query = Query('word7 "word7 word8"')
                    found = await postgres_search.find_documents(rows, ME, query, 20, None)  # type: ignore[arg-type]
                    assert [hit.key for hit in found] == [(*ME, "1")]
                    for statement, values in statements:
                        plan = await rival.fetch(f"EXPLAIN (ANALYZE) {statement}", *values)
                        text = "\n".join(line for (line,) in plan)
                        assert "Seq Scan" not in text, text
                    assert "document_vector" in text, text
                    assert "Rows Removed" not in text.partition("SubPlan")[0], text


async def test_the_latest_are_ranked_where_too_many_fit(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_search, "_MOST_RANKED", 3)
    await index(store, *(post(str(number), "rose") for number in range(5)))
    assert await names(store, "rose") == ["2", "3", "4"]
    await index(store, post("0", "a rose"))
    assert await names(store, "rose") == ["0", "3", "4"]


async def test_a_document_that_was_altered_is_refused(dsn: str, store: PostgresStore) -> None:
    await index(store, post("1", "rose"), post("2", "thorn"))
    async with connected(dsn) as rival:
        await rival.execute("UPDATE xmpp_e2ee.document SET value = value || ' ' WHERE number = 1")
    assert await failed(find(store, "rose")) is ErrorCode.STORE_CORRUPT
    assert await names(store, "thorn") == ["2"]
    await index(store, post("1", "a rose"))  # written anew, it is as it should be
    assert await names(store, "rose") == ["1"]


async def test_r_09_a_store_without_an_index_gets_one(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = postgres_server.create_database()
    with monkeypatch.context() as earlier:
        earlier.setattr(postgres_schema, "SCHEMA", 1)
        earlier.setattr(postgres_schema, "_STEPS", postgres_schema._STEPS[:1])
        assert await migrate(dsn) == (0, 1)
    async with connected(dsn) as rival:
        await rival.execute(
            "INSERT INTO xmpp_e2ee.receipt (client, seat, number, written)"
            " VALUES ('client', 0, 1, now())"
        )
    assert await failed(PostgresStore.open(dsn)) is ErrorCode.STORE_TOO_OLD
    assert await migrate(dsn) == (1, 2)
    async with await PostgresStore.open(dsn) as store:
        await put(store, (*ME, "a"))
        assert await find(store, "rose") == []
        await index(store, post("1", "rose"))
        assert await names(store, "rose") == ["1"]


async def test_a_database_in_another_encoding_has_no_index(
    postgres_server: PostgresServer,
) -> None:
    """It lacks the letters of most languages; its rows are bytes, and as good as any."""
    postgres_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    dsn = postgres_server.dsn("latin")
    await migrate(dsn)
    async with await PostgresStore.open(dsn) as store:
        assert not store.searchable
        await put(store, (*ME, "薔薇"))
        assert await get(store, (*ME, "薔薇")) == b"1"


async def test_r_07_a_user_without_the_grant_has_no_index(
    postgres_server: PostgresServer, dsn: str
) -> None:
    database = dsn.rpartition("/")[2]
    role = f"searcher_{database}"
    assert postgres_schema.__doc__ is not None
    statements = [
        line.strip(" ;").replace("TO component", f"TO {role}")
        for line in postgres_schema.__doc__.splitlines()
        if line.startswith("    GRANT")
    ]
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'", database)
    mine = f"postgresql://{role}:p@127.0.0.1:{postgres_server.port}/{database}"
    *rows, documents = statements
    for statement in rows:
        postgres_server.execute(statement, database)
    async with await PostgresStore.open(mine) as store:
        assert not store.searchable
        await put(store, (*ME, "a"))
    postgres_server.execute(documents, database)
    async with await PostgresStore.open(mine) as store:
        assert store.searchable
        await index(store, post("1", "rose"))
        await index(store, post("1", "a rose"), post("2", "rose"), Forgotten((*ME, "3")))
        await index(store, Forgotten((*ME, "2")))
        assert await names(store, "rose") == ["1"]


WORDS = st.sampled_from(["a", "b", "ab", "ä", "B", "rose", "Rosen", "1", "the"])
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", "-", ". ", "\n"]))).map(
    lambda pairs: "".join(word + mark for word, mark in pairs)
)
TERMS = st.one_of(
    WORDS,
    WORDS.map(lambda word: f"{word}*"),
    st.lists(WORDS, min_size=1, max_size=3).map(lambda words: f'"{" ".join(words)}"'),
    st.lists(WORDS, min_size=1, max_size=3).map("-".join),
    st.lists(WORDS, min_size=1, max_size=3).map(lambda words: "-".join(words) + "*"),
)


def _fits(query: Query, document: Document) -> bool:
    """Say what no index would: by looking for each term in the line of the document's words."""
    lines = [
        "".join(f" {word.folded}" for word in split(text)) + " "
        for text in (document.title, document.text)
    ]
    return all(
        any(
            "".join(f" {word.folded}" for word in split(term.text)) + (" " * (not term.prefix))
            in line
            for line in lines
        )
        for term in query.terms
    )


async def test_what_is_found_is_what_fits(dsn: str, store: PostgresStore) -> None:
    """Random queries over random documents without a language, against a plain look at each."""
    documents: list[Document] = []
    queries: list[Query] = []

    @given(TEXTS, TEXTS, st.lists(TERMS, min_size=1, max_size=3).map(" ".join))
    def gather(title: str, text: str, query: str) -> None:
        documents.append(post(str(len(documents)), text, title))
        queries.append(Query(query))

    gather()
    await index(store, *documents)
    async with store.exclusive(ME) as tx:
        for query in queries:
            found = {hit.key for hit in await tx.search(query, limit=1000)}
            assert found == {each.key for each in documents if _fits(query, each)}, query.text
