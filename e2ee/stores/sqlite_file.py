"""The file of a SQLite store: who may touch it, how it is made, and how it is opened.

Rule: whether a file may be used is decided here, when it is opened; what lies in it is the business
of ``sqlite_schema.py`` and ``sqlite_rows.py``. For POSIX file systems with hard links, and never
for a network share, on which SQLite's write-ahead log cannot be shared between processes.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.stores.files import flush_names
from e2ee.stores.sqlite_errors import translated
from e2ee.stores.sqlite_schema import check_format, create, upgrade

__all__ = ["OpenFile", "open_file", "schema_of_file"]

_MODE: Final = 0o600  # SQLite gives it to the companions, too
_COMPANIONS: Final = ("", "-wal", "-shm")
_DRAFT: Final = "draft"
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_SETTINGS: Final = """
    PRAGMA trusted_schema = OFF;  -- no function runs because a table says so
    PRAGMA cell_size_check = ON;  -- finds damaged pages sooner
    PRAGMA mmap_size = 0;         -- or a file that is cut short would kill the process
    PRAGMA temp_store = MEMORY;   -- no temporary files beside ours
"""
_WRITER_SETTINGS: Final = """
    PRAGMA synchronous = FULL;    -- NORMAL loses the last commits in a power cut
    PRAGMA fullfsync = ON;        -- on macOS nothing less reaches the disk
    PRAGMA secure_delete = ON;    -- zeros where a secret was; not everywhere the default
"""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A store's file that was found fit, and the connection to it.

    Attributes:
        connection: the only one that this process writes through.
        path: absolute, without symbolic links.
        identity: device and inode of the file when it was opened.
    """

    connection: sqlite3.Connection
    path: Path
    identity: tuple[int, int]

    def check_same(self) -> None:
        """Make sure that the file still has its name, or commits would go where nobody looks.

        Raises:
            StoreFailed: ``store-corrupt``.
            OSError: it cannot be asked.
        """
        with suppress(FileNotFoundError):
            if _identity(self.path) == self.identity:
                return
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the store was replaced while it was open")


def open_file(path: Path) -> OpenFile:
    """Open the store's file at the absolute ``path``, made or migrated first where it must be.

    Raises:
        StoreFailed: ``store-forbidden`` when another user could read or replace the file, or this
            one cannot write to it; ``store-corrupt`` when it is damaged or no store;
            ``store-too-new`` when a later release wrote it, and the file is left as it was;
            ``store-locked`` when another process is busy with it for the moment; ``store-full`` or
            ``store-failed`` otherwise.
    """
    with translated():
        path = _placed(path)
        if not os.path.lexists(path):
            _create(path)
        identity = _identity(path)
        _check(path)
        file = OpenFile(_writer(path), path, identity)
        try:
            file.check_same()
            upgrade(file.connection)
        except BaseException:
            file.connection.close()
            raise
        return file


def schema_of_file(path: Path) -> int:
    """Return the number of the schema of the file at the absolute ``path``, which is not changed.

    Raises:
        StoreFailed: as :func:`open_file`; ``store-failed`` also when there is no file.
    """
    with translated():
        return _check(_placed(path))


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _placed(path: Path) -> Path:
    """Return ``path`` without symbolic links in its directory, which is checked."""
    directory = Path(os.path.realpath(path.parent, strict=True))
    _check_directory(directory)
    return directory / path.name


def _check(path: Path) -> int:
    """Check the files and what is in them without a change; return the schema."""
    _check_files(path)
    with closing(_open(path, "ro")) as reader:  # a writer may write even when it is closed
        return check_format(reader)


def _check_directory(directory: Path) -> None:
    """Refuse a directory in which others could put a file of theirs in the place of ours."""
    found = directory.stat()
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & _OTHERS_MAY_WRITE:
        raise _forbidden("the store's directory can be changed by other users")
    for ancestor in directory.parents:
        mode = ancestor.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:  # sticky, as /tmp: only its own may go
            raise _forbidden("a directory above the store can be changed by every user")
    if not _may_write(directory):
        raise _forbidden("the store's directory is read-only for this user")


def _create(path: Path) -> None:
    """Make the file whole and then name it, so that none is ever seen half made."""
    with TemporaryDirectory(dir=path.parent, prefix=_draft_prefix(path)) as directory:
        draft = Path(directory, _DRAFT)
        draft.touch(_MODE)
        draft.chmod(_MODE)  # whatever the umask has taken away
        with closing(_writer(draft)) as connection:
            create(connection)
            # Closing would do it, too, but not say when it could not: the log is not named with it.
            [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if busy:
                raise StoreFailed(ErrorCode.STORE_LOCKED, "the new store is in use by others")
        with suppress(FileExistsError):  # another process was first: its file is as good
            os.link(draft, path)
    flush_names(path.parent)


def _check_files(path: Path) -> None:
    _forget_drafts(path)
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
            raise _forbidden(
                "the store is not a plain file that this user alone can read and write"
            )
        if found.st_nlink > 1:  # opened by two names, it would have two logs
            raise _forbidden("the store's file has a second name, a hard link")
    if os.path.lexists(f"{path}-journal"):  # SQLite would write to the file what it says
        raise StoreFailed(
            ErrorCode.STORE_CORRUPT, "another program's journal lies beside the store"
        )
    if not _may_write(path):
        raise _forbidden("the store's file is read-only for this user")


def _forget_drafts(path: Path) -> None:
    """Remove the second name of a file whose maker was killed before it could do so itself."""
    if path.lstat().st_nlink == 1:
        return
    for directory in path.parent.iterdir():
        if directory.name.startswith(_draft_prefix(path)):
            with suppress(FileNotFoundError):  # the maker is alive and does so at this moment
                draft = directory / _DRAFT
                if draft.samefile(path):
                    draft.unlink()
                    rmtree(directory, ignore_errors=True)  # a power cut leaves companions, too


def _draft_prefix(path: Path) -> str:
    return f".{path.name}-"


def _may_write(path: Path) -> bool:
    """Return whether the permissions and the file system let this user write to ``path``."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _forbidden(message: str) -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_FORBIDDEN, message)


def _writer(path: Path) -> sqlite3.Connection:
    connection = _open(path, "rw")
    try:
        [(mode,)] = connection.execute("PRAGMA journal_mode = WAL").fetchall()
        if mode != "wal":
            raise StoreFailed(ErrorCode.STORE_FAILED, "no write-ahead log on this file system")
        connection.executescript(_WRITER_SETTINGS)
        _make_sure_of_writing(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_sure_of_writing(connection: sqlite3.Connection) -> None:
    """Refuse a connection that was opened for reading only, and would stay so.

    SQLite opens in that way what it cannot open for writing at the moment, be it for want of a file
    descriptor.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")  # begins to read where it cannot begin to write
        [(schema,)] = connection.execute("PRAGMA user_version").fetchall()
        connection.execute(f"PRAGMA user_version = {schema}")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # somebody else writes: so can we
            raise


def _open(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=0,  # waiting inside SQLite would hold up the event loop
        isolation_level=None,  # transactions begin where we say so
    )
    # Damage may turn a BLOB into invalid text, which the default factory does not survive.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.executescript(_SETTINGS)  # none of them reads the file
    _check_engine(connection)
    return connection


def _check_engine(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("SELECT fts5_source_id()")
    except sqlite3.OperationalError:
        connection.close()
        raise StoreFailed(
            ErrorCode.STORE_FAILED, "this Python's SQLite was built without FTS5"
        ) from None
