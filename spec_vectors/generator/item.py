"""How a case about one item of an encrypted node is put together (XEP-0473 §5.1).

Rule: form only; the cases stand in ``items_sound``, ``items_context``, ``items_openpgp`` and
``items_xml``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from spec_vectors.generator.case import Case, Randomness, document
from spec_vectors.generator.openpgp import Writer
from spec_vectors.generator.world import BLOG, OXPS, SECRET, SECRET_ID

__all__ = ["ITEM_ID", "encrypted", "item_case", "opened", "refused", "secret", "writer"]

ITEM_ID = "V1StGXR8-Z5jdHi6BmyT"


def writer(case_id: str) -> Writer:
    """Return a writer whose randomness follows from the case's id."""
    return Writer(Randomness(f"oxps item {case_id}").random)


def encrypted(message: bytes | str, key: str = SECRET_ID) -> str:
    """Return ``<encrypted/>``; a message that is text already stands as it is."""
    text = message if isinstance(message, str) else b64encode(message).decode()
    return f"<encrypted xmlns='{OXPS}' key='{key}'>{text}</encrypted>"


def secret(value: str = SECRET, key: str = SECRET_ID, state: str = "active") -> dict[str, str]:
    """Return a secret that the reader knows."""
    return {"id": key, "value": value, "created": "2026-01-02T03:04:05Z", "state": state}


def opened(payload: str, key: str = SECRET_ID, state: str = "active") -> dict[str, Any]:
    """Return the outcome of an item that opens."""
    return {
        "outcome": "opened",
        "payload": payload,
        "authorship": "node-key-holder",
        "secret": {"id": key, "state": state},
    }


def refused(code: str) -> dict[str, Any]:
    """Return the outcome of an item that does not."""
    return {"outcome": code}


def item_case(
    case_id: str,
    flags: Sequence[str],
    comment: str,
    item: bytes | str,
    expect: Mapping[str, Any],
    *,
    secrets: Sequence[Mapping[str, str]] | None = None,
    node: Mapping[str, str] = BLOG,
    stood: Mapping[str, str] | None = None,
) -> Case:
    """Return a case.

    Args:
        case_id: its id.
        flags: its flags.
        comment: for people.
        item: the payload of the item, a document.
        expect: its outcome.
        secrets: what the reader knows; the usual secret if nothing is said.
        node: whose secrets these are.
        stood: the node in which the item stood, if it is another.
    """
    given = {
        "node": dict(node),
        "secrets": [dict(known) for known in ([secret()] if secrets is None else secrets)],
        "item": document(item.encode() if isinstance(item, str) else item),
        "arrival": {**(node if stood is None else stood), "item_id": ITEM_ID},
    }
    return Case(case_id, comment, tuple(flags), given, dict(expect))
