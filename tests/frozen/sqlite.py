"""The frozen SQLite stores: one file of every schema that was ever released, all of one content.

Rule: a sample is made once, by the release that made its schema the newest, and never again:
``python -m tests.frozen.sqlite`` writes the one of the present schema, if there is none.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from e2ee.storage import Key, Put
from e2ee.stores.sqlite import SqliteStore
from e2ee.stores.sqlite_schema import NEWEST_SCHEMA

__all__ = ["rows", "sample"]

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


async def _make(path: Path) -> None:
    async with await SqliteStore.open(path) as store:
        async with store.exclusive(()) as transaction:
            await transaction.commit([Put(key, b"before") for key in rows()])
        async with store.exclusive(()) as transaction:
            await transaction.commit([Put(key, value) for key, value in rows().items()])


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        made = Path(directory, "store.db")
        asyncio.run(_make(made))
        with sample(NEWEST_SCHEMA).open("xb") as file:
            file.write(made.read_bytes())
