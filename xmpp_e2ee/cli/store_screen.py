"""How the ``store`` commands show what they found, to people and to programs.

Rule: looks only. Names come from a store, so they are text and never markup, and what a terminal
would obey is written out.
"""

from __future__ import annotations

from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from e2ee.stores.sealing import Seal
from xmpp_e2ee.cli.screen import printable, show_line
from xmpp_e2ee.store_address import StoreAddress
from xmpp_e2ee.stores import Outside, Schema

__all__ = ["info_json", "show_info"]

_SHOWN: Final = 12  # names of accounts


def show_info(out: Console, address: StoreAddress, schema: Schema, outside: Outside | None) -> None:
    """Show what can be seen of a store from outside; ``None`` where it must be migrated first."""
    rows = {"store": f"{address}", "kind": f"{address.kind}", "schema": _schema(schema)}
    if outside is not None:
        rows |= {
            "sealed": _sealed(outside.seal),
            "rows": f"{outside.rows:,}",
            "bytes": f"{outside.bytes:,}",
            "accounts": f"{outside.accounts:,}",
        }
        if outside.disk is not None:
            rows["bytes on disk"] = f"{outside.disk:,}"
    table = Table(box=SIMPLE_HEAD, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, Text(printable(value)))
    out.print(table)
    names = outside.names or () if outside else ()
    for name in names[:_SHOWN]:
        show_line(out, f"  · {name}")
    if len(names) > _SHOWN:
        show_line(out, f"  … and {len(names) - _SHOWN:,} more")


def info_json(address: StoreAddress, schema: Schema, outside: Outside | None) -> dict[str, Any]:
    """Return the same as the values of a JSON object."""
    seen = {
        "sealed": _seal_json(outside.seal),
        "rows": outside.rows,
        "bytes": outside.bytes,
        "accounts": outside.accounts,
        "names": outside.names,
        "disk": outside.disk,
    } if outside else None  # fmt: skip
    return {
        "store": str(address),
        "kind": address.kind,
        "schema": schema.found,
        "newest": schema.newest,
        "seen": seen,
    }


def _schema(schema: Schema) -> str:
    if schema.found == schema.newest:
        return f"{schema.found}, the newest"
    found = f"{schema.found}" if schema.found else "none yet"
    return f"{found}; {schema.newest} is the newest: run xmpp-e2ee store migrate"


def _sealed(seal: Seal | None) -> str:
    if seal is None:
        return "no"
    if seal.cost is None:
        return "with a key"
    cost = seal.cost
    return (
        f"with a passphrase (Argon2id, {cost.passes} passes over {cost.memory // 1024} MiB, "
        f"{cost.lanes} lanes)"
    )


def _seal_json(seal: Seal | None) -> dict[str, Any] | None:
    if seal is None:
        return None
    cost = seal.cost
    return {
        "with": seal.kind,
        "argon2id": None
        if cost is None
        else {"passes": cost.passes, "memory": cost.memory, "lanes": cost.lanes},
    }
