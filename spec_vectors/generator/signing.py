"""How a case about a signed item is put together (XEP-0475, XEP-0476), and what is signed.

Rule: form only; the cases stand in the ``signatures_…`` beside this. Signed texts are put together
from parts in canonical form that were written by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from spec_vectors.generator.case import Case, document
from spec_vectors.generator.omemo import b64
from spec_vectors.generator.signing_keys import Key
from spec_vectors.generator.world import ATOM, JULIET, NURSE, ROMEO

__all__ = [
    "CANONICAL_ENTRY",
    "ITEM_ENTRY",
    "JULIETS",
    "LATER",
    "NURSES",
    "OPENPGP",
    "ROMEOS",
    "SIGNING",
    "STAMP",
    "attached",
    "by_juliet",
    "item",
    "known",
    "sign",
    "sign_data",
    "signature",
    "signed_case",
    "stated",
    "valid",
]

SIGNING: Final = "urn:xmpp:pubsub-signing:0"
OPENPGP: Final = "urn:xmpp:pubsub-signing:openpgp:0"
PUBSUB: Final = "http://jabber.org/protocol/pubsub"

STAMP: Final = "2024-06-01T12:00:00Z"
"""When items are signed, unless a case is about that."""
LATER: Final = "2024-07-01T12:00:00Z"
"""The present."""

JULIETS: Final = Key("juliet", f"xmpp:{JULIET}")
ROMEOS: Final = Key("romeo", f"xmpp:{ROMEO}")
NURSES: Final = Key("nurse", f"xmpp:{NURSE}")

ITEM_ENTRY: Final = f"<entry xmlns='{ATOM}'><title type='text'>She is so pretty!</title></entry>"
CANONICAL_ENTRY: Final = (
    f'<entry xmlns="{ATOM}"><title type="text">She is so pretty!</title></entry>'
)


def item(
    payload: str = ITEM_ENTRY, attributes: str = " id='1' publisher='juliet@capulet.example'"
) -> str:
    """Return an item as the service hands it out."""
    return f"<item xmlns='{PUBSUB}'{attributes}>{payload}</item>"


def sign_data(
    payload: str = CANONICAL_ENTRY,
    *signers: str,
    to: str = JULIET,
    stamp: str = STAMP,
    beside: str = "",
    attributes: str = "",
) -> str:
    """Return the text that is signed, given the payload in canonical form."""
    names = "".join(f"<signer>{jid}</signer>" for jid in signers or (JULIET,))
    return (
        f'<sign-data xmlns="{SIGNING}"><to jid="{to}"></to><time stamp="{stamp}"></time>{names}'
        f'{beside}<item xmlns="{PUBSUB}"{attributes}>{payload}</item></sign-data>'
    )


def stated(*signers: str, stamp: str = STAMP) -> str:
    """Return what an attachment says of what was signed beside the item."""
    names = "".join(f"<signer>{jid}</signer>" for jid in signers or (JULIET,))
    return f"<time stamp='{stamp}'/>{names}"


def sign(packets: bytes) -> str:
    """Return the element of XEP-0476."""
    return f"<sign xmlns='{OPENPGP}'>{b64(packets)}</sign>"


def signature(packets: bytes, inside: str | None = None) -> str:
    """Return an attachment: ``inside`` is said of what was signed, by Juliet alone if omitted."""
    return f"<signature xmlns='{SIGNING}'>{inside or stated()}{sign(packets)}</signature>"


def by_juliet(data: str | None = None, inside: str | None = None, **how: Any) -> dict[str, Any]:
    """Return Juliet's attachment, a signature of ``data``, or of the usual."""
    return attached(JULIET, signature(JULIETS.sign(data or sign_data(), **how), inside))


def attached(publisher: str, xml: str | bytes) -> dict[str, Any]:
    """Return an attachment as it was found; what may be hostile is octets."""
    return {
        "publisher": publisher,
        "signature": document(xml.encode() if isinstance(xml, str) else xml),
    }


def known(
    jid: str, *keys: Key | bytes, trust: str = "accepted", announced: bool = True
) -> list[dict[str, Any]]:
    """Return keys of somebody, which the reader has fetched."""
    return [
        {
            "jid": jid,
            "key": b64(key.public() if isinstance(key, Key) else key),
            "trust": trust,
            "announced": announced,
        }
        for key in keys
    ]


def valid(
    publisher: str, signed: str, outcome: str = "trusted", reading: str = "strict"
) -> dict[str, Any]:
    """Return the outcome of a valid signature."""
    return {"publisher": publisher, "outcome": outcome, "reading": reading, "signed": signed}


def signed_case(
    case_id: str,
    flags: Sequence[str],
    comment: str,
    attachments: Sequence[dict[str, Any]],
    expect: str | Sequence[dict[str, Any] | str],
    *,
    fetched: str | bytes | None = None,
    keys: Sequence[dict[str, Any]] | None = None,
    service: str = JULIET,
    verdict: str = "",
    absent: Sequence[str] = (),
) -> Case:
    """Return a case.

    Args:
        case_id: see ``Case``.
        flags: see ``Case``.
        comment: see ``Case``.
        attachments: what was found beside the item.
        expect: of each attachment its outcome, a code for one that is not valid; or a code alone
            for what cannot be verified at all.
        fetched: the item; the usual one if omitted.
        keys: what is known; Juliet's key, accepted, if omitted.
        service: where the item stood.
        verdict: in sum; that of the only attachment if omitted.
        absent: who is listed beside a signature that is not refused, and has not signed.
    """
    source = item() if fetched is None else fetched
    given = {
        "now": LATER,
        "place": {"service": service, "node": "urn:xmpp:microblog:0", "item_id": "1"},
        "item": document(source.encode() if isinstance(source, str) else source),
        "keys": list(known(JULIET, JULIETS) if keys is None else keys),
        "attachments": list(attachments),
    }
    if isinstance(expect, str):
        return Case(case_id, comment, tuple(flags), given, {"outcome": expect})
    outcomes = [
        {"publisher": found["publisher"], "outcome": each} if isinstance(each, str) else each
        for found, each in zip(attachments, expect, strict=True)
    ]
    if not verdict:
        (only,) = outcomes
        verdict = _VERDICTS.get(only["outcome"], "invalid")
    return Case(
        case_id,
        comment,
        tuple(flags),
        given,
        {"verdict": verdict, "absent": list(absent), "signatures": outcomes},
    )


_VERDICTS: Final = {
    "trusted": "trusted",
    "unreliable": "unreliable",
    "ambiguous": "ambiguous",
    "data-missing": "unchecked",
}
