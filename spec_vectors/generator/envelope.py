"""How a case about an envelope of Stanza Content Encryption is put together (XEP-0420).

Rule: plaintext and form only; the cases stand in ``envelopes_opened`` and ``envelopes_refused``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spec_vectors.generator.case import Case, document
from spec_vectors.generator.world import JULIET, ROMEO

__all__ = [
    "BODY",
    "CHAT",
    "IQ",
    "ITEM",
    "NOW",
    "OMEMO",
    "ROOM",
    "ROOMS",
    "ROOM_JID",
    "SCE",
    "SEALED",
    "arrival",
    "envelope",
    "envelope_case",
    "opened",
]

SCE = "urn:xmpp:sce:1"
NOW = "2026-03-01T12:00:00Z"
SEALED = "2026-03-01T11:59:58Z"
BODY = "<body xmlns='jabber:client'>Wherefore art thou, Romeo?</body>"
ROOM_JID = "garden@rooms.capulet.example"

OMEMO = ("rpad", "from")
"""What a message to one must have; <from/> is only recommended by XEP-0384."""

ROOMS = ("rpad", "from", "to")
"""What a message to a room must have."""


def arrival(
    kind: str, sender: str, to: str | None, stamp: str | None = None, occupant: str | None = None
) -> dict[str, str | None]:
    """Return how a stanza arrived; ``occupant`` is the real JID behind a room's sender."""
    return {"kind": kind, "from": sender, "to": to, "stamp": stamp, "occupant": occupant}


CHAT = arrival("message", f"{JULIET}/balcony", f"{ROMEO}/orchard")
ROOM = arrival("groupchat", f"{ROOM_JID}/jule", f"{ROMEO}/orchard", occupant=JULIET)
IQ = arrival("iq", f"{JULIET}/balcony", f"{ROMEO}/orchard")
ITEM = arrival("item", JULIET, None)


def envelope(
    content: str = BODY,
    *,
    rpad: str | None = "C1DHN9HK-9A25tSmwK4hU",
    time: str | None = SEALED,
    to: str | None = ROMEO,
    from_: str | None = JULIET,
    more: str = "",
) -> str:
    """Return an envelope; an affix that is ``None`` is left out, ``more`` stands last."""
    affixes = [
        "" if rpad is None else f"<rpad>{rpad}</rpad>",
        "" if time is None else f"<time stamp='{time}'/>",
        "" if to is None else f"<to jid='{to}'/>",
        "" if from_ is None else f"<from jid='{from_}'/>",
    ]
    return (
        f"<envelope xmlns='{SCE}'><content>{content}</content>{''.join(affixes)}{more}</envelope>"
    )


def opened(
    *content: str,
    dropped: Sequence[tuple[str, str]] = (),
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the outcome of an envelope that opens; dropped are namespaces and names."""
    return {
        "outcome": "opened",
        "content": list(content),
        "dropped": [{"namespace": namespace, "name": name} for namespace, name in dropped],
        "remarks": sorted(remarks),
    }


def envelope_case(
    case_id: str,
    flags: Sequence[str],
    comment: str,
    xml: str | bytes,
    expect: Mapping[str, Any],
    *,
    arrived: Mapping[str, str | None] = CHAT,
    requires: Sequence[str] = OMEMO,
    now: str = NOW,
) -> Case:
    """Return a case."""
    given = {
        "profile": {"requires": list(requires)},
        "arrival": dict(arrived),
        "now": now,
        "envelope": document(xml.encode() if isinstance(xml, str) else xml),
    }
    return Case(case_id, comment, tuple(flags), given, dict(expect))
