"""How the ``key`` commands show keys, to people and to programs.

Rule: looks only, and of public parts only. User ids are others' text, never markup, and what a
terminal would obey is written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console

from e2ee.errors import ErrorCode
from e2ee.key_events import KeyNews
from e2ee.lexical import format_time
from e2ee.names import Fingerprint
from ox.engine import Certificate
from xmpp_e2ee.cli.command import print_json
from xmpp_e2ee.cli.key_options import Whose
from xmpp_e2ee.cli.screen import Paper, show_line
from xmpp_e2ee.key_survey import FoundKey, FoundRing

__all__ = ["grouped", "ring_json", "show_change", "show_ring"]

_NEWS: Final = {
    KeyNews.NEW: "new: it appeared after other keys",
    KeyNews.CHANGED: "new: it appeared beside a key that you authenticated",
    KeyNews.GONE: "gone: it was believed, and is announced no more",
    KeyNews.REVOKED: "revoked by its owner",
}


def grouped(fingerprint: Fingerprint) -> str:
    """Return a fingerprint as people compare it: ten groups of four digits, in two halves."""
    groups = [fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4)]
    return "  ".join(" ".join(half) for half in (groups[:5], groups[5:]))


def show_ring(out: Console, ring: FoundRing) -> None:
    """Show the keys of one JID."""
    show_line(out, f"{ring.jid}", "bold")
    if not ring.keys:
        told = "no key is announced" if ring.listed else "nothing is known of any key"
        show_line(out, f"    {told}")
    for key in ring.keys:
        show_line(out, f"    {grouped(key.known.fingerprint)}", "cyan")
        show_line(out, f"        {_standing(key)}")
        for event in key.events:
            show_line(
                out, f"        {_NEWS[event.news]} (learned on {event.time:%Y-%m-%d})", "yellow"
            )
        if key.certificate is None:
            show_line(out, "        not fetched yet, or not sound")
            continue
        show_line(out, f"        {_dates(key.certificate)}")
        for user_id in key.certificate.user_ids:
            show_line(out, f"        {user_id}")
        for warning in _warnings(key, key.certificate):
            show_line(out, f"        {warning}", "bold red")


def show_change(
    whose: Whose,
    fingerprint: Fingerprint,
    waiting: int,
    what: str,
    *,
    as_json: bool,
    skipped: Sequence[tuple[Fingerprint | None, ErrorCode]] | None = None,
) -> None:
    """Say what happened to the account's own key, and what waits to be sent.

    Args:
        whose: the account.
        fingerprint: of its key now.
        waiting: how many effects wait.
        what: happened to the key.
        as_json: whether to print a JSON object instead.
        skipped: keys that were found beside it and not taken, each with the reason.
    """
    if as_json:
        told = {} if skipped is None else {"skipped": [
            {"fingerprint": each, "error": error} for each, error in skipped
        ]}  # fmt: skip
        print_json(
            store=str(whose.address), account=str(whose.account),
            fingerprint=fingerprint, waiting=waiting, **told,
        )  # fmt: skip
        return
    out = Paper(highlight=False)
    show_line(out, f"The key {grouped(fingerprint)} of {whose.account} {what}.")
    for each, error in skipped or ():
        name = "A key" if each is None else grouped(each)
        show_line(out, f"{name} is not taken over: {error}.")
    if waiting:
        things = "1 change waits" if waiting == 1 else f"{waiting:,} changes wait"
        show_line(out, f"{things} to be sent by the client that connects next.")


def ring_json(ring: FoundRing) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {
        "jid": str(ring.jid),
        "listed": ring.listed,
        "keys": [
            {
                "fingerprint": key.known.fingerprint,
                "ours": key.ours,
                "trust": key.known.trust,
                "accepted": key.accepted,
                "waits": key.waits,
                "announced": key.known.announced,
                "named": key.named,
                "events": [
                    {"news": event.news, "time": format_time(event.time)} for event in key.events
                ],
                "certificate": _certificate_json(key.certificate),
            }
            for key in ring.keys
        ],
    }


def _standing(key: FoundKey) -> str:
    ours = "ours, " if key.ours else ""
    waits = ", waits for your decision" if key.waits else ""
    announced = "announced" if key.known.announced else "not announced any more"
    return f"{ours}{key.known.trust}{waits}, {announced}"


def _dates(certificate: Certificate) -> str:
    expires = certificate.expires
    until = "never expires" if expires is None else f"expires on {expires:%Y-%m-%d}"
    return f"made on {certificate.created:%Y-%m-%d}, {until}"


def _warnings(key: FoundKey, certificate: Certificate) -> list[str]:
    if certificate.revoked:
        return ["REVOKED"]
    if certificate.expires is not None and certificate.expires <= datetime.now(UTC):
        return ["EXPIRED"]
    if not key.named:
        return ["no valid user id names its owner"]
    return [] if certificate.encrypts else ["cannot be encrypted to"]


def _certificate_json(certificate: Certificate | None) -> dict[str, Any] | None:
    if certificate is None:
        return None
    expires = certificate.expires
    return {
        "user_ids": certificate.user_ids,
        "created": format_time(certificate.created),
        "expires": None if expires is None else format_time(expires),
        "revoked": certificate.revoked,
        "encrypts": certificate.encrypts,
    }
