"""The frozen SQLite stores: one file of every schema that was ever released, all of one content.

Rule: a sample is made once, by the release that made its schema the newest, and never again:
``python -m tests.frozen.sqlite`` writes the one of the present schema, if there is none.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from e2ee.names import BareJid, NodeAddress
from e2ee.search import Document, Forgotten
from e2ee.storage import Key, Put
from e2ee.stores.sqlite import SqliteStore
from e2ee.stores.sqlite_schema import NEWEST_SCHEMA

__all__ = ["documents", "rows", "sample"]

_HERE = Path(__file__).parent


def sample(schema: int) -> Path:
    """Return where the sample of ``schema`` lies."""
    return _HERE / f"sqlite-{schema}.db"


def rows() -> dict[Key, bytes]:
    """Return the content of every sample; ``sqlite.json`` has it with values in hex, repeated."""
    return {
        tuple(row["key"]): bytes.fromhex(row["value"]) * row["times"]
        for row in json.loads((_HERE / "sqlite.json").read_text())
    }


def documents() -> list[Document]:
    """Return what is indexed in every sample from schema 3 on, in key order."""
    return [
        Document(
            tuple(each["key"]),
            NodeAddress(BareJid.parse(each["service"]), each["node"]),
            each["title"],
            each["text"],
            each["author"],
            tuple(each["categories"]),
            datetime.fromisoformat(each["published"]) if each["published"] else None,
            each["language"],
        )
        for each in json.loads((_HERE / "sqlite-documents.json").read_text())
    ]


async def _make(path: Path) -> None:
    passing = [Forgotten((*one.key, "gone")) for one in documents()]
    async with await SqliteStore.open(path) as store:
        async with store.exclusive(()) as transaction:
            before = [replace(one, text="before") for one in documents()]
            before += [
                replace(one, key=gone.key) for one, gone in zip(documents(), passing, strict=True)
            ]
            await transaction.commit([Put(key, b"before") for key in rows()], before)
        async with store.exclusive(()) as transaction:
            changes = [Put(key, value) for key, value in rows().items()]
            await transaction.commit(changes, [*documents(), *passing])


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        made = Path(directory, "store.db")
        asyncio.run(_make(made))
        with sample(NEWEST_SCHEMA).open("xb") as file:
            file.write(made.read_bytes())
