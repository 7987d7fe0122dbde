"""Rows in PostgreSQL: how a key lies in a table and its index, and what is read back of a row.

Rule: what the tables of rows share; which ones there are, and what is written, is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.storage import Key
from e2ee.stores.rows import AFTER_PREFIX, checksum, key_bytes, parse_key_bytes

if TYPE_CHECKING:
    import asyncpg

__all__ = ["Rows", "intact", "page", "scan", "span", "split_key"]

_HEAD: Final = 1024  # bytes of a key in the index, which takes some 2,700 of a row

Rows = Callable[..., Awaitable[Sequence["asyncpg.Record"]]]
"""Runs one statement with its values, in the transaction; returns its rows."""


def split_key(raw_key: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a key's head and digest, which the index holds, and its tail, which it need not."""
    head, tail = raw_key[:_HEAD], raw_key[_HEAD:]
    return head, blake2b(raw_key, digest_size=16).digest() if tail else b"", tail


def span(prefix: Key, after: Key | None = None) -> tuple[bytes, bytes]:
    """Return the least key that begins with ``prefix`` and is beyond ``after``, and the end."""
    first = key_bytes(prefix)
    end = first + AFTER_PREFIX
    if after is not None:
        first = max(first, key_bytes(after) + b"\x00")
    return first, end


def scan(table: str) -> str:
    """Return the statement of a page of ``table``; see :func:`page`."""
    return f"""
        SELECT head || tail, value, checksum FROM xmpp_e2ee.{table}
        WHERE (head, tail) >= ($1, $2) AND (head, tail) < ($3, $4)
        ORDER BY head, tail LIMIT $5
    """  # noqa: S608  # of constants


async def page(
    rows: Rows, statement: str, prefix: Key, after: Key | None, limit: int
) -> list[tuple[Key, bytes]]:
    """Return up to ``limit`` rows beyond ``after`` whose key begins with ``prefix``, in key order.

    Raises:
        StoreFailed: ``store-corrupt`` when one was altered.
    """
    first, end = span(prefix, after)
    first_head, _, first_tail = split_key(first)
    end_head, _, end_tail = split_key(end)
    found: list[tuple[Key, bytes]] = []
    for row in await rows(statement, first_head, first_tail, end_head, end_tail, limit):
        value = intact(row, first, end)
        found.append((parse_key_bytes(row[0]), value))
        first = row[0] + b"\x00"
    return found


def intact(row: asyncpg.Record, first: bytes, last: bytes) -> bytes:
    """Return the value of a row that is as it was written, with a key where it was looked for.

    Args:
        row: begins with its raw key, its value and its checksum.
        first: the least key that it may have.
        last: the greatest.

    Raises:
        StoreFailed: ``store-corrupt`` when it is not.
    """
    raw_key, value, written, *_ = row
    if (
        isinstance(raw_key, bytes)
        and isinstance(value, bytes)
        and first <= raw_key <= last
        and written == checksum(raw_key, value)
    ):
        return value
    raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored row was altered")
