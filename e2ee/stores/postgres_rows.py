"""Rows in PostgreSQL: how a key lies in a table and its index, and what is read back of a row.

Rule: pure functions over bytes, and statements that every table of rows shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key
from e2ee.stores.rows import AFTER_PREFIX, checksum, key_bytes, parse_key_bytes

if TYPE_CHECKING:
    import asyncpg

__all__ = ["page_of", "scan", "span", "split_key", "value_of"]

_HEAD: Final = 1024  # bytes of a key in the index, which takes some 2,700 of a row


def split_key(raw_key: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a key's head and digest, which the index holds, and its tail, which it need not."""
    head, tail = raw_key[:_HEAD], raw_key[_HEAD:]
    return head, blake2b(raw_key, digest_size=16).digest() if tail else b"", tail


def scan(table: str) -> str:
    """Return the statement of a page of ``table``: between two of :func:`span`, then a number."""
    return f"""
        SELECT head || tail, value, checksum FROM xmpp_e2ee.{table}
        WHERE (head, tail) >= ($1, $2) AND (head, tail) < ($3, $4)
        ORDER BY head, tail LIMIT $5
    """


def span(prefix: Key, after: Key | None = None) -> tuple[bytes, bytes]:
    """Return the least key that begins with ``prefix`` and is beyond ``after``, and the end."""
    first = key_bytes(prefix)
    end = first + AFTER_PREFIX
    if after is not None:
        first = max(first, key_bytes(after) + b"\x00")
    return first, end
