"""The rows of a SQLite store: their chain, their slots, and damage to either (R-04)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Change, Key, Put, Remove, Transaction
from e2ee.stores.rows import END, checksum, key_bytes, link
from e2ee.stores.sqlite import SqliteStore
from e2ee.stores.sqlite_rows import change_rows, read_row, read_rows
from e2ee.stores.sqlite_schema import create

ME = ("juliet@capulet.lit",)
FIRST, BEFORE, OURS, THEIRS, LAST = ((*ME, *key) for key in ("a", "b0", "b1", "d1", "e"))
ROWS: dict[Key, bytes] = {key: key[-1].encode() * 9 for key in (FIRST, BEFORE, OURS, THEIRS, LAST)}


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
        await transaction.commit([Put(key, value) for key, value in ROWS.items()])
    return path


def alter(path: Path, statement: str) -> None:
    """Do what somebody could do who knows SQL but not our checksums and links."""
    keys = {"first": FIRST, "before": (*ME, "a", "9"), "ours": OURS, "after": (*ME, "c")}
    keys |= {"theirs": THEIRS}
    named = {name: key_bytes(key) for name, key in keys.items()}
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, named).rowcount


async def corrupt(store: SqliteStore, *changes: Change) -> None:
    with pytest.raises(StoreFailed) as failure:
        async with store.exclusive(ME) as transaction:
            await transaction.commit(changes)
    assert failure.value.code is ErrorCode.STORE_CORRUPT


async def one(transaction: Transaction) -> None:
    await transaction.get(OURS)


async def page(transaction: Transaction) -> None:
    await transaction.scan((*ME, "b"))


async def everything(transaction: Transaction) -> None:
    await transaction.scan(ME)


OUR_SLOT = "(SELECT slot FROM entry WHERE key = :ours)"
THEIR_SLOT = "(SELECT slot FROM entry WHERE key = :theirs)"
DAMAGES = {
    "a value in another's place": f"UPDATE slot SET content = (SELECT content FROM slot "
    f"WHERE id = {THEIR_SLOT}) WHERE id = {OUR_SLOT}",
    "another's slot": f"UPDATE entry SET slot = {THEIR_SLOT} WHERE key = :ours",
    "no such slot": "UPDATE entry SET slot = 1000000 WHERE key = :ours",
    "a slot as text": "UPDATE entry SET slot = 'ours' WHERE key = :ours",
    "a slot that is gone": f"DELETE FROM slot WHERE id = {OUR_SLOT}",
    "a vacant slot": f"UPDATE slot SET owner = zeroblob(16), content = zeroblob(size) "
    f"WHERE id = {OUR_SLOT}",
    "another content": f"UPDATE slot SET content = zeroblob(48) WHERE id = {OUR_SLOT}",
    "a short content": f"UPDATE slot SET content = x'32' WHERE id = {OUR_SLOT}",
    "no content": f"UPDATE slot SET content = x'' WHERE id = {OUR_SLOT}",
    "a content as text": f"UPDATE slot SET content = CAST(content AS TEXT) WHERE id = {OUR_SLOT}",
    "a content as a number": f"UPDATE slot SET content = 1 WHERE id = {OUR_SLOT}",
    "another link": "UPDATE entry SET link = zeroblob(16) WHERE key = :ours",
    "a link as text": "UPDATE entry SET link = CAST(link AS TEXT) WHERE key = :ours",
    "a key before": "UPDATE entry SET key = :before WHERE key = :ours",
    "a key after": "UPDATE entry SET key = :after WHERE key = :ours",
    "a key as a number": "UPDATE entry SET key = 7 WHERE key = :ours",
    "a row that is gone": "DELETE FROM entry WHERE key = :ours",
    "two rows that are gone": "DELETE FROM entry WHERE key IN (:ours, :theirs)",
    "all rows gone": "DELETE FROM entry WHERE key != x''",
    "the beginning gone": "DELETE FROM entry WHERE key <= :ours",
    "the end gone": "DELETE FROM entry WHERE key >= :ours",
    "a whole table gone": "DELETE FROM entry",
}


@pytest.mark.parametrize("read", [one, page, everything])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_r_04_what_was_altered_or_is_missing_is_corrupt(
    path: Path, damage: str, read: object
) -> None:
    alter(path, damage)
    async with await SqliteStore.open(path) as store:
        with pytest.raises(StoreFailed) as failure:
            async with store.exclusive(ME) as transaction:
                await read(transaction)  # type: ignore[operator]
        assert failure.value.code is ErrorCode.STORE_CORRUPT


NEIGHBOURLY = {name: damage for name, damage in DAMAGES.items() if "gone" not in name}


@pytest.mark.parametrize("damage", NEIGHBOURLY.values(), ids=NEIGHBOURLY)
async def test_r_04_the_rows_that_are_no_neighbours_are_as_good_as_before(
    path: Path, damage: str
) -> None:
    alter(path, damage)
    async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
        assert await transaction.get(LAST) == ROWS[LAST]
        await transaction.commit([Put(LAST, b"new"), Put((*ME, "f"), b"f")])


async def turn_pages(transaction: Transaction, length: int) -> None:
    after = None
    while rows := await transaction.scan(ME, after, length):
        after = rows[-1][0]


@pytest.mark.parametrize("page", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("missing", ROWS)
async def test_r_04_a_missing_row_is_found_by_pages_of_any_length(
    path: Path, missing: Key, page: int
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM entry WHERE key = ?", (key_bytes(missing),))
    async with await SqliteStore.open(path) as store, store.exclusive(ME) as transaction:
        with pytest.raises(StoreFailed):
            await turn_pages(transaction, page)


async def test_r_04_a_row_that_slipped_in_is_corrupt(path: Path) -> None:
    """A whole row of another time: taken out by us, put in again by somebody else."""
    raw_key = key_bytes(OURS)
    with closing(sqlite3.connect(path)) as connection:
        [row] = connection.execute("SELECT * FROM entry WHERE key = ?", (raw_key,)).fetchall()
        [slot] = connection.execute("SELECT * FROM slot WHERE id = ?", (row[1],)).fetchall()
    async with await SqliteStore.open(path) as store:
        async with store.exclusive(ME) as transaction:
            await transaction.commit([Remove(OURS)])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO entry VALUES (?, ?, ?)", row)
            connection.execute("REPLACE INTO slot VALUES (?, ?, ?, ?)", slot)
        for read in (one, page, everything):
            with pytest.raises(StoreFailed) as failure:
                async with store.exclusive(ME) as transaction:
                    await read(transaction)
            assert failure.value.code is ErrorCode.STORE_CORRUPT


@pytest.mark.parametrize(
    "change",
    [
        Put(OURS, b"again"), Put((*ME, "c"), b"beside"), Put((*ME, "b", "00"), b"beside"),
        Remove(THEIRS), Remove(BEFORE), Remove(OURS), Put(THEIRS, b"longer" * 9),
    ],
)  # fmt: skip
async def test_r_04_no_change_beside_a_missing_row_covers_it_up(path: Path, change: Change) -> None:
    alter(path, "DELETE FROM entry WHERE key = :ours")
    async with await SqliteStore.open(path) as store:
        await corrupt(store, Put((*ME, "z"), b"1"), change, Put((*ME, "0"), b"1"))
        async with store.exclusive(ME) as transaction:
            assert await transaction.get((*ME, "z")) is None
            assert await transaction.get((*ME, "0")) is None


@pytest.mark.parametrize("size", [1, 9, 1000])
async def test_r_04_an_entry_that_names_another_slot_overwrites_nothing(
    path: Path, size: int
) -> None:
    alter(path, DAMAGES["another's slot"])
    async with await SqliteStore.open(path) as store:
        await corrupt(store, Put(OURS, b"x" * size))
        await corrupt(store, Remove(OURS))
        async with store.exclusive(ME) as transaction:
            assert await transaction.get(THEIRS) == ROWS[THEIRS]


async def test_r_04_a_list_of_vacancies_that_names_a_slot_in_use_overwrites_nothing(
    path: Path,
) -> None:
    """The list is an index, which no check of ours reads; the slot itself has the last word."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'zeroblob(16)', 'owner') "
            "WHERE name = 'vacancy'"
        )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("REINDEX")  # now it lists every slot
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'owner = owner', 'owner = zeroblob(16)') "
            "WHERE name = 'vacancy'"
        )
    async with await SqliteStore.open(path) as store:
        await corrupt(store, Put((*ME, "new"), b"x" * 9))
        async with store.exclusive(ME) as transaction:
            for key, value in ROWS.items():
                assert await transaction.get(key) == value


def test_r_04_checksums_and_links_are_as_they_lie_in_files() -> None:
    assert len({checksum(b"a", b"bc"), checksum(b"ab", b"c"), checksum(b"abc", b"")}) == 3
    assert checksum(b"a", b"b").hex() == "1e315901b782ecb01d4f2eb3c6369b5f"
    assert len({link(b"a", b"bc"), link(b"ab", b"c"), link(b"", b"abc")}) == 3
    assert link(b"a", b"b").hex() == "d2dbe74b3b4ff8025e5061b75c333b45"


# -- any batch of changes against a plain dictionary


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create(connection)
        yield connection


def check(connection: sqlite3.Connection, expected: dict[Key, bytes]) -> None:
    """Every row is there, in order and linked; every slot has one owner or none."""
    assert read_rows(connection, b"", END, 1000) == sorted(expected.items())
    chain = connection.execute("SELECT key, link, slot FROM entry ORDER BY key").fetchall()
    keys = [row[0] for row in chain]
    assert keys == [b"", *sorted(map(key_bytes, expected))]
    assert [row[1] for row in chain] == list(map(link, keys, [*keys[1:], END]))
    used = connection.execute("SELECT id FROM slot WHERE owner != zeroblob(16)").fetchall()
    assert sorted(row[2] for row in chain[1:]) == sorted(slot for (slot,) in used)
    vacant = connection.execute("SELECT content FROM slot WHERE owner = zeroblob(16)").fetchall()
    assert not any(any(content) for (content,) in vacant)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


NAMES = st.sampled_from("abcdefgh")
VALUES = st.one_of(st.none(), st.integers(0, 200).map(bytes), st.just(bytes(6000)))


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=8), max_size=8))
def test_any_changes_leave_a_chain_without_a_gap(
    batches: list[dict[str, bytes | None]],
) -> None:
    expected: dict[Key, bytes] = {}
    with database() as connection:
        for batch in batches:
            changes: list[Change] = []
            for name, value in batch.items():
                if value is None:
                    changes.append(Remove((name,)))
                    expected.pop((name,), None)
                else:
                    changes.append(Put((name,), value))
                    expected[(name,)] = value
            change_rows(connection, changes)
            check(connection, expected)
            for name in "abcdefgh":
                assert read_row(connection, key_bytes((name,))) == expected.get((name,))


def test_many_rows_that_come_and_go_leave_a_chain_without_a_gap() -> None:
    rows: dict[Key, bytes] = {(f"{number:03}",): b"%d" % number for number in range(500)}
    with database() as connection:
        change_rows(connection, [Put(key, value) for key, value in rows.items()])
        check(connection, rows)
        change_rows(connection, [Put((*key, "x"), b"1") for key in rows])
        check(connection, rows | {(*key, "x"): b"1" for key in rows})
        change_rows(connection, [Remove(key) for key in rows])
        check(connection, {(*key, "x"): b"1" for key in rows})
        change_rows(connection, [Remove((*key, "x")) for key in rows])
        check(connection, {})
        size = connection.execute("SELECT count(*) FROM slot").fetchall()
        change_rows(connection, [Put(key, value) for key, value in rows.items()])
        check(connection, rows)
        assert connection.execute("SELECT count(*) FROM slot").fetchall() == size
