"""What the tests of ``xmpp-e2ee store`` share: stores of four kinds, filled, and the command.

Rule: makes, fills and reads stores without the code that is tested; judges nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from e2ee.primitives import NativePrimitives
from e2ee.storage import Key, Put, Store
from e2ee.stores.sealed import SealedStore
from e2ee.stores.sealing import Passphrase
from e2ee.stores.sqlite import SqliteStore
from tests.support.postgres import PASSWORD
from xmpp_e2ee.cli import main

__all__ = ["CLI", "HOSTILE", "KINDS", "PASSPHRASE", "Rows", "StoreFile", "make", "run"]

CLI = [sys.executable, "-m", "xmpp_e2ee", "store"]
PASSPHRASE = "O Romeo, Romeo, wherefore art thou Romeo?"
KINDS = ("sqlite", "sealed-sqlite", "postgres", "sealed-postgres")

Rows = dict[Key, bytes]

HOSTILE: Rows = {
    (account, *rest): value
    for account in (
        *("juliet@capulet.lit", "romeo@montague.lit", "", "\0", "\1", "\x1b[31m", "[bold]", "/"),
        *("'; drop table entry; --", "a", "a\0", "a\0b", "ab", "\ud800", "\U0010ffff", "花見"),
    )
    for rest, value in [
        ((), b"one part"),
        (("\0generation",), b"7"),
        (("", "", "", "", "", "", ""), b""),
        (("x", "\udfff"), bytes(range(256)) * 40),
    ]
}
"""Rows whose keys try everything that a key may be."""


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A store of one kind, and how a test gets at it.

    Attributes:
        address: as it is typed; of a database, with its password.
        folder: where a file with the passphrase lies.
        sealed: whether it is.
    """

    address: str
    folder: Path
    sealed: bool

    def unlock(self, prefix: str = "") -> list[str]:
        """Return the options that unlock it."""
        return [f"--{prefix}passphrase-file", self.secret_file()] if self.sealed else []

    def secret_file(self, passphrase: str = PASSPHRASE) -> str:
        """Return the path of a file with a passphrase."""
        path = self.folder / f"passphrase-{len(passphrase)}"
        path.write_text(f"{passphrase}\nnot this\n", encoding="utf-8")
        path.chmod(0o600)
        return str(path)

    def rows(self, passphrase: str = PASSPHRASE) -> Rows:
        """Return everything in it."""

        async def read() -> Rows:
            async with self.open(passphrase) as store, store.exclusive(()) as tx:
                return dict(await tx.scan((), limit=1_000_000))

        return asyncio.run(read())

    def put(self, rows: Rows) -> None:
        """Write rows, those of each account in one commit."""

        async def write() -> None:
            async with self.open(PASSPHRASE) as store:
                for account in {key[0]: None for key in rows}:
                    changes = [Put(key, value) for key, value in rows.items() if key[0] == account]
                    async with store.exclusive((account,)) as tx:
                        await tx.commit(changes)

        asyncio.run(write())

    @asynccontextmanager
    async def inner(self) -> AsyncIterator[Store]:
        """Open it without unlocking it."""
        if self.address.startswith("postgresql:"):
            from e2ee.stores.postgres import PostgresStore

            async with await PostgresStore.open(self.address) as postgres:
                yield postgres
        else:
            async with await SqliteStore.open(self.address) as sqlite:
                yield sqlite

    @asynccontextmanager
    async def open(self, passphrase: str) -> AsyncIterator[Store]:
        """Open it."""
        async with self.inner() as inner:
            if self.sealed:
                yield await SealedStore.open(inner, Passphrase(passphrase), NativePrimitives())
            else:
                yield inner


def make(kind: str, folder: Path, request: pytest.FixtureRequest, rows: Rows) -> StoreFile:
    """Make a store of one of the ``KINDS`` and fill it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if kind.endswith("postgres"):
        from e2ee.stores.postgres_schema import migrate

        address = request.getfixturevalue("postgres_server").create_database()
        asyncio.run(migrate(address))
    else:
        address = str(folder / f"{kind}.sqlite")
    made = StoreFile(address, folder, kind.startswith("sealed"))

    async def seal() -> None:
        async with made.inner() as inner:
            if made.sealed:
                await SealedStore.create(inner, Passphrase(PASSPHRASE), NativePrimitives())

    asyncio.run(seal())
    made.put(rows)
    return made


def run(command: str, *arguments: str | Path) -> Result:
    """Run one of the commands; no output holds the password of the database, nor a traceback."""
    result = CliRunner().invoke(main, ["store", command, *map(str, arguments)])
    assert PASSWORD not in result.output
    assert "sesame" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
