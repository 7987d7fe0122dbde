"""The schemas of a SQLite store: today's tables, those before them, and how one becomes the next.

Rule: a schema that was released never changes; a new one gets the next number, a migration, and a
sample in ``tests/frozen``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.stores import sqlite_slots as slots
from e2ee.stores.rows import END, checksum, link
from e2ee.stores.sqlite_search import SEARCH_SCHEMA, SEARCH_SHADOWS

__all__ = ["NEWEST_SCHEMA", "check_format", "check_same_schema", "create", "upgrade"]

NEWEST_SCHEMA: Final = 3
"""The schema that this release reads and writes; in SQLite's ``user_version``."""

_APPLICATION_ID: Final = 0x65326565  # "e2ee": tells a store from every other SQLite file
_TABLE_1: Final = (
    "CREATE TABLE entry (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, "
    "checksum BLOB NOT NULL) WITHOUT ROWID"
)
_TABLE: Final = (
    "CREATE TABLE entry (key BLOB PRIMARY KEY NOT NULL, slot INTEGER NOT NULL, "
    "link BLOB NOT NULL) WITHOUT ROWID"
)
_TABLES_2: Final = (_TABLE, slots.SLOT_TABLE, slots.SLOT_INDEX)
_SCHEMAS: Final = {1: (_TABLE_1,), 2: _TABLES_2, 3: (*_TABLES_2, *SEARCH_SCHEMA)}
_SHADOWS: Final = {1: set[str](), 2: set[str](), 3: set(SEARCH_SHADOWS)}
_INSERT: Final = "INSERT INTO entry (key, slot, link) VALUES (?, ?, ?)"


def create(connection: sqlite3.Connection) -> None:
    """Make an empty store of the newest schema out of an empty database."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    _make(connection, _SCHEMAS[NEWEST_SCHEMA])
    _fill(connection, ())
    connection.execute(f"PRAGMA user_version = {NEWEST_SCHEMA}")
    connection.execute("COMMIT")


def check_format(connection: sqlite3.Connection) -> int:
    """Refuse what is no store, or is one that this release cannot read; return its schema.

    Nothing is written. Close the connection afterwards; it still holds the snapshot it has read.

    Raises:
        StoreFailed: ``store-too-new``; ``store-corrupt`` for a database of somebody else, other
            tables, or damaged pages.
    """
    connection.execute("BEGIN")  # one snapshot, whoever migrates the store at this moment
    [(application_id,)] = connection.execute("PRAGMA application_id").fetchall()
    if application_id != _APPLICATION_ID:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the file is not a store of this project")
    schema = _schema(connection)
    select = "SELECT type, name, sql FROM sqlite_master ORDER BY rowid"
    found = connection.execute(select).fetchall()
    shadows = {name for kind, name, _ in found if kind == "table"} & _SHADOWS[schema]
    tables = tuple(sql for _, name, sql in found if name not in shadows)
    if tables != _SCHEMAS[schema] or shadows != _SHADOWS[schema]:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the tables of the store were altered")
    if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the pages of the store are damaged")
    return schema


def check_same_schema(connection: sqlite3.Connection) -> None:
    """Make sure that an open store still has the schema that it was opened with.

    Raises:
        StoreFailed: ``store-too-new`` when a later release has migrated it meanwhile;
            ``store-corrupt`` when its number went back.
    """
    if _schema(connection) != NEWEST_SCHEMA:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the store was replaced while it was open")


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a store of an older schema to the newest one, all of it or nothing.

    Whatever happens, close the connection after an error: that undoes what was begun.

    Raises:
        StoreFailed: ``store-corrupt`` when a row was altered.
        sqlite3.Error: among others ``SQLITE_BUSY``, when another process is at work; try again.
    """
    if _schema(connection) == NEWEST_SCHEMA:
        return
    connection.execute("BEGIN IMMEDIATE")
    schema = _schema(connection)  # another process may have been first
    if schema < 2:
        _rows_to_slots(connection)
    if schema < 3:
        _make(connection, SEARCH_SCHEMA)
    connection.execute(f"PRAGMA user_version = {NEWEST_SCHEMA}")
    connection.execute("COMMIT")


def _schema(connection: sqlite3.Connection) -> int:
    [(schema,)] = connection.execute("PRAGMA user_version").fetchall()
    if schema > NEWEST_SCHEMA:
        raise StoreFailed(
            ErrorCode.STORE_TOO_NEW,
            f"the store has schema {schema}, this release knows {NEWEST_SCHEMA}",
        )
    if schema < 1:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the store has no schema number")
    return int(schema)


def _rows_to_slots(connection: sqlite3.Connection) -> None:
    """Schema 1 to 2: values move into slots, rows get links, and a first one comes before them."""
    connection.execute("ALTER TABLE entry RENAME TO entry_1")
    _make(connection, _TABLES_2)
    select = "SELECT key, value, checksum FROM entry_1 ORDER BY key"
    with closing(connection.execute(select)) as rows:  # left open, it would outlive the connection
        _fill(connection, rows)
    connection.execute("DROP TABLE entry_1")


def _make(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    for table in tables:
        connection.execute(table)


def _fill(connection: sqlite3.Connection, rows: Iterable[tuple[Any, Any, Any]]) -> None:
    """Write ``rows`` in order, key, value and checksum of each, into the tables of schema 2."""
    before, slot = b"", 0  # the first row has no value
    for raw_key, value, written in rows:
        if (
            not isinstance(raw_key, bytes)
            or not isinstance(value, bytes)
            or not raw_key
            or written != checksum(raw_key, value)
        ):
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored row was altered")
        connection.execute(_INSERT, (before, slot, link(before, raw_key)))
        before, slot = raw_key, slots.occupy(connection, raw_key, value)
    connection.execute(_INSERT, (before, slot, link(before, END)))
