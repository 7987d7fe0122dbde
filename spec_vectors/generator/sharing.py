"""How a case about secrets that arrive is put together (XEP-0473 §5.2, §5.3).

Rule: form only; the cases stand in ``secrets_taken`` and ``secrets_refused``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from spec_vectors.generator.case import Case
from spec_vectors.generator.world import FEED, JULIET, JULIET_KEY, OXPS, ROMEO, SECRET

__all__ = [
    "CREATED",
    "LATER",
    "NOW",
    "SECOND",
    "Step",
    "keychain",
    "known",
    "pin",
    "refused_between",
    "revoke",
    "secrets_case",
    "shared",
    "step",
]

NOW = "2026-03-01T12:00:00Z"
CREATED = "2026-01-02T03:04:05Z"
LATER = "2026-02-03T04:05:06Z"
SECOND = "s1XbQvO0hXTQ2wC4bm7PpRkq1nJZyYdLw8fUe5Gt9aM"
"""Another secret of 43 characters."""

Step = tuple[dict[str, Any], str]
"""What arrives, and its outcome."""


def _element(name: str, attributes: Mapping[str, str | None], inside: str) -> str:
    written = "".join(
        f" {key}={quoteattr(value)}" for key, value in attributes.items() if value is not None
    )
    return f"<{name} xmlns='{OXPS}'{written}>{inside}</{name}>"


def _place(address: Mapping[str, str]) -> dict[str, str]:
    return {"jid": address["service"], "node": address["node"]}


def shared(
    key: str | None = "s1",
    value: str = SECRET,
    created: str | None = CREATED,
    *,
    address: Mapping[str, str] = FEED,
    inside: str | None = None,
    **others: str | None,
) -> str:
    """Return ``<shared-secret/>``; an attribute that is ``None`` is left out.

    Args:
        key: its id.
        value: the secret, as text.
        created: its timestamp, as written.
        address: the node that it is for.
        inside: what stands between the tags instead of the secret, as markup.
        others: further attributes; ``jid`` and ``node`` replace those of ``address``.
    """
    attributes = {**_place(address), "id": key, "timestamp": created, **others}
    return _element("shared-secret", attributes, escape(value) if inside is None else inside)


def revoke(
    key: str | None = "s1",
    *,
    address: Mapping[str, str] = FEED,
    inside: str = "",
    **others: str | None,
) -> str:
    """Return ``<revoke/>``, in the manner of :func:`shared`."""
    return _element("revoke", {**_place(address), "id": key, **others}, inside)


def step(
    outcome: str,
    *content: str,
    sender: str = JULIET,
    signer: str = JULIET_KEY,
    now: str = NOW,
    stamp: str | None = None,
    message: str = "",
) -> Step:
    """Return a step; two with the same ``message`` are one signed message, delivered twice."""
    arrives = {
        "message": message,
        "sender": sender,
        "signer": signer,
        "now": now,
        "stamp": stamp,
        "content": list(content),
    }
    return arrives, outcome


def pin(
    node: Mapping[str, str] = FEED, owner: str = JULIET, approved: Sequence[str] = (JULIET_KEY,)
) -> dict[str, Any]:
    """Return whom the reader has accepted as the owner of a node, and by which keys."""
    return {"node": dict(node), "owner": owner, "approved": sorted(approved)}


def known(
    key: str = "s1",
    value: str = SECRET,
    created: str = CREATED,
    state: str = "active",
    content_type: str | None = None,
) -> dict[str, Any]:
    """Return a secret as it must be kept."""
    return {"id": key, "value": value, "created": created, "state": state, "type": content_type}


def keychain(
    *secrets: Mapping[str, Any],
    current: str | None = None,
    refused: str | None = None,
    tombstones: Sequence[str] = (),
    node: Mapping[str, str] = FEED,
    owner: str = JULIET,
    approved: Sequence[str] = (JULIET_KEY,),
) -> dict[str, Any]:
    """Return what must be kept of a node; say what is current where several might be."""
    active = [secret["id"] for secret in secrets if secret["state"] == "active"]
    if refused is not None:
        newest = {"refused": refused}
    elif active:
        newest = {"id": active[0] if len(active) == 1 else _said(current)}
    else:
        newest = {"refused": "no-active-secret"}
    return {
        **pin(node, owner, approved),
        "secrets": [dict(secret) for secret in secrets],
        "tombstones": sorted(tombstones),
        "current": newest,
    }


def _said(current: str | None) -> str:
    if current is None:
        raise ValueError("several active secrets: which one is current?")
    return current


def secrets_case(
    case_id: str,
    flags: Sequence[str],
    comment: str,
    *steps: Step,
    keychains: Sequence[Mapping[str, Any]],
    pinned: Sequence[Mapping[str, Any]] | None = None,
    account: str = ROMEO,
) -> Case:
    """Return a case.

    Args:
        case_id: its id.
        flags: its flags.
        comment: for people.
        steps: what arrives, in order.
        keychains: what must be kept in the end, of each node in the order of its first mention.
        pinned: the owners accepted before; by default Juliet for ``FEED``.
        account: whose keychains these are.
    """
    arriving = []
    for number, (arrives, _) in enumerate(steps, 1):
        arriving.append({**arrives, "message": arrives["message"] or f"message {number}"})
    given = {
        "account": account,
        "pinned": [dict(one) for one in ([pin()] if pinned is None else pinned)],
        "steps": arriving,
    }
    expect = {
        "steps": [outcome for _, outcome in steps],
        "keychains": [dict(one) for one in keychains],
    }
    return Case(case_id, comment, tuple(flags), given, expect)


def refused_between(
    name: str, flag: str, comment: str, code: str, content: Sequence[str], **by: str
) -> Case:
    """Return a case: a good secret, what must be refused, then another good one."""
    return secrets_case(
        name,
        [flag],
        comment,
        step("taken", shared()),
        step(code, *content, **by),
        step("taken", shared("s3", SECOND, LATER)),
        keychains=[keychain(known(), known("s3", SECOND, LATER), current="s3")],
    )
