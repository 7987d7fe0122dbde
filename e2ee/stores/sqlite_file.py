"""The file of a SQLite store: who may touch it, how it is made, and which formats are refused.

Rule: whether a file may be used is decided here, when it is opened; its rows are read and written
in ``sqlite.py``. For POSIX file systems with hard links, and never for a network share, on which
SQLite's write-ahead log cannot be shared between processes.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed

__all__ = ["check_schema", "connect", "translated"]

_SCHEMA: Final = 1  # in SQLite's ``user_version``
_APPLICATION_ID: Final = 0x65326565  # "e2ee": tells a store from every other SQLite file
_MODE: Final = 0o600  # SQLite gives it to the companions, too
_COMPANIONS: Final = ("", "-wal", "-shm", "-journal")
_TABLE: Final = (
    "CREATE TABLE entry (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, "
    "checksum BLOB NOT NULL) WITHOUT ROWID"
)
_CREATE: Final = f"""
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {_SCHEMA};
    {_TABLE};
"""
_SETTINGS: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;    -- NORMAL loses the last commits in a power cut
    PRAGMA secure_delete = ON;    -- zeros where a secret was; not everywhere the default
    PRAGMA temp_store = MEMORY;   -- no temporary files beside ours
    PRAGMA cell_size_check = ON;  -- finds damaged pages sooner
"""
_SQLITE_CODES: Final = {
    sqlite3.SQLITE_FULL: ErrorCode.STORE_FULL,
    sqlite3.SQLITE_BUSY: ErrorCode.STORE_LOCKED,
    sqlite3.SQLITE_LOCKED: ErrorCode.STORE_LOCKED,
    sqlite3.SQLITE_PROTOCOL: ErrorCode.STORE_LOCKED,  # too many others at once
    sqlite3.SQLITE_CORRUPT: ErrorCode.STORE_CORRUPT,
    sqlite3.SQLITE_ERROR: ErrorCode.STORE_CORRUPT,  # constant statements: the tables are wrong
    sqlite3.SQLITE_NOTADB: ErrorCode.STORE_CORRUPT,
    sqlite3.SQLITE_READONLY: ErrorCode.STORE_FORBIDDEN,
    sqlite3.SQLITE_PERM: ErrorCode.STORE_FORBIDDEN,
}
_SYSTEM_CODES: Final = {
    errno.ENOSPC: ErrorCode.STORE_FULL,
    errno.EDQUOT: ErrorCode.STORE_FULL,
    errno.EACCES: ErrorCode.STORE_FORBIDDEN,
    errno.EPERM: ErrorCode.STORE_FORBIDDEN,
    errno.EROFS: ErrorCode.STORE_FORBIDDEN,
}


def connect(path: Path) -> sqlite3.Connection:
    """Open the store's file at the absolute ``path``, made first where there is none.

    Raises:
        StoreFailed: ``store-forbidden`` when another user could read or replace the file;
            ``store-corrupt`` when it is damaged or no store; ``store-too-new`` when a later
            release wrote it, and the file is left as it was; ``store-locked`` when another process
            is busy with it for the moment; ``store-full`` or ``store-failed`` otherwise.
    """
    with translated():
        _check_directory(path.parent)
        if not os.path.lexists(path):
            _create(path)
        _check_files(path)
        _check_format(path)
        return _connection(path)


def check_schema(connection: sqlite3.Connection) -> None:
    """Refuse a schema that this release does not know.

    Raises:
        StoreFailed: ``store-too-new``; ``store-corrupt`` for a number that was never used.
    """
    [(schema,)] = connection.execute("PRAGMA user_version").fetchall()
    if schema > _SCHEMA:
        raise StoreFailed(
            ErrorCode.STORE_TOO_NEW, f"the store has schema {schema}, this release knows {_SCHEMA}"
        )
    if schema < 1:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the store has no schema number")


@contextmanager
def translated() -> Iterator[None]:
    """Raise what SQLite and the system raise as ``StoreFailed``, without its text."""
    try:
        yield
    except sqlite3.Error as error:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; 0: Python's own
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        code = _SQLITE_CODES.get(primary, ErrorCode.STORE_FAILED)
        raise StoreFailed(code, f"SQLite failed with {name}") from None
    except UnicodeDecodeError:  # out of sqlite3, which quotes a damaged table in its error's text
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the tables of the store were altered") from None
    except OSError as error:
        code = _SYSTEM_CODES.get(error.errno or 0, ErrorCode.STORE_FAILED)
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise StoreFailed(code, f"the system failed with {name}") from None


def _check_directory(directory: Path) -> None:
    """Refuse a directory in which others could put a file of theirs in the place of ours."""
    found = directory.stat()
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreFailed(
            ErrorCode.STORE_FORBIDDEN, "the store's directory can be changed by other users"
        )


def _create(path: Path) -> None:
    """Make the file whole and then name it, so that none is ever seen half made."""
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as directory:
        draft = Path(directory, "draft")
        draft.touch(_MODE)
        draft.chmod(_MODE)  # whatever the umask has taken away
        with closing(_connection(draft)) as connection:
            connection.executescript(_CREATE)
        with suppress(FileExistsError):  # another process was first: its file is as good
            os.link(draft, path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # the name, too, survives a power cut
    finally:
        os.close(descriptor)


def _check_files(path: Path) -> None:
    for suffix in _COMPANIONS:
        try:
            found = Path(f"{path}{suffix}").lstat()
        except FileNotFoundError:
            continue
        if (
            not stat.S_ISREG(found.st_mode)
            or stat.S_IMODE(found.st_mode) != _MODE
            or found.st_uid != os.geteuid()
        ):
            raise StoreFailed(
                ErrorCode.STORE_FORBIDDEN,
                "the store is not a plain file that this user alone can read and write",
            )


def _check_format(path: Path) -> None:
    """Look at the file through a connection that cannot write; even closing another one writes."""
    with closing(_open(path, "ro")) as connection:
        [(application_id,)] = connection.execute("PRAGMA application_id").fetchall()
        if application_id != _APPLICATION_ID:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "the file is not a store of this project")
        check_schema(connection)
        tables = connection.execute("SELECT sql FROM sqlite_master").fetchall()
        if tables != [(_TABLE,)]:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "the tables of the store were altered")
        if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "the pages of the store are damaged")


def _connection(path: Path) -> sqlite3.Connection:
    connection = _open(path, "rw")
    try:
        connection.executescript(_SETTINGS)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _open(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=0,  # waiting inside SQLite would hold up the event loop
        isolation_level=None,  # transactions begin where we say so
    )
    # Damage may turn a BLOB into invalid text, which the default factory does not survive.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection
