"""What SQLite and the system raise, as the errors of this project.

Rule: codes only; an engine's own text may quote what was stored, and goes nowhere.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.stores.files import system_failure

__all__ = ["translated"]

_SQLITE_CODES: Final = {
    sqlite3.SQLITE_FULL: ErrorCode.STORE_FULL,
    sqlite3.SQLITE_BUSY: ErrorCode.STORE_LOCKED,
    sqlite3.SQLITE_LOCKED: ErrorCode.STORE_LOCKED,
    sqlite3.SQLITE_PROTOCOL: ErrorCode.STORE_LOCKED,  # too many others at once
    sqlite3.SQLITE_CORRUPT: ErrorCode.STORE_CORRUPT,
    sqlite3.SQLITE_ERROR: ErrorCode.STORE_CORRUPT,  # constant statements: the tables are wrong
    sqlite3.SQLITE_CONSTRAINT: ErrorCode.STORE_CORRUPT,  # a row where its neighbours know of none
    sqlite3.SQLITE_NOTADB: ErrorCode.STORE_CORRUPT,
    sqlite3.SQLITE_READONLY: ErrorCode.STORE_FORBIDDEN,
    sqlite3.SQLITE_PERM: ErrorCode.STORE_FORBIDDEN,
}


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
        raise system_failure(error, "the system") from None
