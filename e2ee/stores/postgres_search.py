"""The index in PostgreSQL: documents in a table of their own, found by their vectors.

Rule: statements about documents, in a transaction of the caller's; what a vector is made of is the
business of ``postgres_vectors.py``. No text is ever read as PostgreSQL's language of queries: the
query is put together of words, each of letters and digits, and goes as a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from e2ee.search import Document, Forgotten, Hit, Query
from e2ee.storage import Key
from e2ee.stores.document_record import document_bytes, parse_document_bytes
from e2ee.stores.postgres_rows import Rows, intact, page, scan, span, split_key
from e2ee.stores.postgres_vectors import (
    STEMMERS,
    Asked,
    account_digest,
    compared_of,
    standing,
    vector_of,
)
from e2ee.stores.rows import checksum, key_bytes, parse_key_bytes
from e2ee.stores.words import snippet, split

if TYPE_CHECKING:
    import asyncpg

__all__ = ["change_documents", "find_documents", "read_documents"]

_BATCH: Final = 16  # documents in one statement; the longest have some 2 MB of columns
_MOST_RANKED: Final = 4000  # each costs some 10 µs
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WEIGHTS: Final = [0.1, 0.2, 0.6, 1.0]  # of D, C, B and A

# A stemmer leaves nothing of words that are everywhere, as "the": they are their own stems.
_STEM: Final = """
    '/' || tongue || '/' || coalesce((ts_lexize(dictionary::regdictionary, form))[1], form)
"""
_FORGET: Final = """
    DELETE FROM xmpp_e2ee.document USING unnest($1::bytea[], $2::bytea[]) AS key (head, digest)
    WHERE document.head = key.head AND document.digest = key.digest
"""
_INDEX: Final = f"""
    INSERT INTO xmpp_e2ee.document AS document (
        head, digest, tail, value, checksum, account, tongue, published, line, vector
    )
    SELECT head, digest, tail, value, checksum, account, tongue, published, line,
        (vector || coalesce((
            SELECT string_agg(' ''' || {_STEM} || '''' || word.places, '')
            FROM unnest(string_to_array(forms, ' '), string_to_array(written.places, ' '))
                AS word (form, places)
        ), ''))::tsvector
    FROM unnest(
        $1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[],
        $7::text[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[]
    ) AS written (
        head, digest, tail, value, checksum, account,
        tongue, dictionary, published, line, vector, forms, places
    )
    ON CONFLICT (head, digest) DO UPDATE SET
        value = excluded.value, checksum = excluded.checksum, tongue = excluded.tongue,
        published = excluded.published, line = excluded.line, vector = excluded.vector,
        number = DEFAULT
"""  # noqa: S608  # of constants
_STEMS: Final = f"""
    SELECT form, {_STEM}
    FROM unnest($1::text[], $2::text[]) AS known (tongue, dictionary), unnest($3::text[]) AS form
    WHERE EXISTS (
        SELECT FROM xmpp_e2ee.document
        WHERE document.tongue = known.tongue AND account BETWEEN $4 AND $5
    )
"""  # noqa: S608  # of constants
_BY_INDEX: Final = "SELECT set_config('enable_seqscan', 'off', true)"
_FIND: Final = """
    WITH latest AS (
        SELECT head || tail AS key, value, checksum, vector FROM xmpp_e2ee.document
        WHERE vector @@ $1::tsquery AND (
                cardinality($2::text[]) = 0 OR vector @@ $3::tsquery OR line LIKE ALL ($2)
            )
            AND head || tail >= $4 AND head || tail < $5
            AND ($6::bigint IS NULL OR published >= $6)
            AND ($7::bigint IS NULL OR published < $7)
        ORDER BY number DESC LIMIT $8
    ), ranked AS MATERIALIZED (
        SELECT *, ts_rank_cd($9::real[], vector, $10::tsquery, 1)::float8 AS rank FROM latest
    ), best AS (
        SELECT * FROM ranked
        WHERE $11::float8 IS NULL OR rank < $11 OR (rank = $11 AND key > $12)
        ORDER BY rank DESC, key LIMIT $13
    )
    SELECT key, value, checksum, rank, ARRAY (
        SELECT place FROM unnest(vector) AS word (lexeme, places), unnest(places) AS place
        WHERE lexeme = ANY ($14::text[])
    )
    FROM best ORDER BY rank DESC, key
"""
_SCAN: Final = scan("document")


async def change_documents(rows: Rows, documents: Sequence[Document | Forgotten]) -> None:
    """Index each document in place of the one at its key, and take out those that are forgotten.

    Raises:
        StoreFailed: none of it may be kept.
    """
    keys = [split_key(key_bytes(each.key)) for each in documents if isinstance(each, Forgotten)]
    if keys:
        await rows(_FORGET, [head for head, _, _ in keys], [digest for _, digest, _ in keys])
    indexed = [each for each in documents if isinstance(each, Document)]
    for first in range(0, len(indexed), _BATCH):
        batch = map(_columns, indexed[first : first + _BATCH])
        await rows(_INDEX, *map(list, zip(*batch, strict=True)))


async def find_documents(
    rows: Rows, scope: Key, query: Query, limit: int, after: Hit | None
) -> list[Hit]:
    """Return up to ``limit`` documents in ``scope`` that fit, the best first, beyond ``after``.

    Where more than 4,000 fit, as for a word that is everywhere, the latest ones are ranked: those
    that were indexed last.

    Raises:
        StoreFailed: ``store-corrupt`` when a document was altered.
    """
    asked = [Asked(split(term.text), term.prefix) for term in query.terms]
    stems = await _stems(rows, scope, asked)
    anywhere = " & ".join(each.to_tsquery("&", stems) for each in asked)
    first, end = span(scope)
    # It costs nothing in the eyes of the planner to read the vectors of all documents: it does not
    # see that they lie outside of the table, and are unpacked one by one.
    await rows(_BY_INDEX)
    found = await rows(
        _FIND,
        " & ".join((*compared_of(scope, query), anywhere)),
        [each.to_pattern() for each in asked if len(each.words) > 1],
        " & ".join(each.to_tsquery("<->", stems) for each in asked),
        *(first, end, _microseconds(query.since), _microseconds(query.until), _MOST_RANKED),
        *(_WEIGHTS, anywhere),
        *(after.rank if after else None, key_bytes(after.key) if after else b"", limit),
        [stem for each in stems.values() for stem in each],
    )
    return [_hit(row, intact(row, first, end), asked) for row in found]


async def read_documents(rows: Rows, prefix: Key, after: Key | None, limit: int) -> list[Document]:
    """Return up to ``limit`` documents beyond ``after``, in key order.

    Raises:
        StoreFailed: ``store-corrupt`` when one was altered.
    """
    found = await page(rows, _SCAN, prefix, after, limit)
    return [parse_document_bytes(key, value) for key, value in found]


async def _stems(rows: Rows, scope: Key, asked: Sequence[Asked]) -> dict[str, list[str]]:
    """Return the stems of each form, in the languages that the account has documents of."""
    forms = sorted({word.form for each in asked for word in each.whole})
    account = account_digest(scope)
    least, most = (account, account) if scope else (b"", b"\xff" * len(account))
    stems: dict[str, list[str]] = {}
    for form, stem in await rows(
        _STEMS, list(STEMMERS), list(STEMMERS.values()), forms, least, most
    ):
        stems.setdefault(form, []).append(stem)
    return stems


def _columns(document: Document) -> tuple[object, ...]:
    raw_key = key_bytes(document.key)
    value = document_bytes(document)
    tongue = document.tongue if document.tongue in STEMMERS else None
    return (
        *(*split_key(raw_key), value, checksum(raw_key, value), account_digest(document.key)),
        *(tongue, STEMMERS.get(tongue or ""), _microseconds(document.published)),
        *vector_of(document),
    )


def _hit(row: asyncpg.Record, value: bytes, asked: Sequence[Asked]) -> Hit:
    raw_key, _, _, rank, by_stem = row
    document = parse_document_bytes(parse_key_bytes(raw_key), value)
    stands = tuple(standing(document))
    words = [word for _, word, in_title in stands if not in_title]
    places = set(by_stem)
    forms = {word.form for place, word, _ in stands if place in places}
    whole = {word.folded for each in asked for word in each.whole}
    begun = tuple(each.words[-1].folded for each in asked if each.prefix)
    matched = [
        index
        for index, word in enumerate(words)
        if word.form in forms or word.folded in whole or word.folded.startswith(begun)
    ]
    return Hit(document.key, rank, document.title, snippet(document.text, words, matched))


def _microseconds(moment: datetime | None) -> int | None:
    """Return the microseconds since 1970: what PostgreSQL's own type lacks, it has."""
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)
