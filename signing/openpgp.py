"""The OpenPGP profile of pubsub signing (XEP-0476 0.1.0): a detached signature in ``<sign/>``.

Rule: its element and the packets in it; what is signed is said by XEP-0475, and by whom in
``ox.detached``.
"""

from __future__ import annotations

from typing import Final

from e2ee import ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import decode_base64, encode_base64
from e2ee.limits import MAX_SIGNATURE_PACKETS
from e2ee.xmltree import Element, element
from ox.grammar import check_detached_signatures

__all__ = ["open_sign", "seal_sign"]

_RULE: Final = "XEP-0476 §2"


def seal_sign(signature: bytes) -> Element:
    """Return ``<sign/>`` with a binary detached signature (RFC 4880 §11.4)."""
    return element(ns.PUBSUB_SIGNING_OPENPGP, "sign", None, encode_base64(signature))


def open_sign(sign: Element) -> tuple[bytes, ...]:
    """Return the detached signatures in ``<sign/>``: nearly always one.

    Who has several keys may have signed with all of them (Libervia does), and all must then be
    valid: none is passed over.

    Returns:
        One binary packet each, ``limits.MAX_SIGNATURE_PACKETS`` at most; none is verified yet.

    Raises:
        PeerMisbehaved: ``malformed``: another element, no canonical base64, no packets of OpenPGP,
            armor; ``bad-signature``: inline, or not over a binary document; ``limit-exceeded``;
            ``unsupported-algorithm``.
    """
    if not sign.is_(ns.PUBSUB_SIGNING_OPENPGP, "sign"):
        raise PeerMisbehaved(ErrorCode.MALFORMED, f"<{sign.name}/>, not <sign/>", rule=_RULE)
    data = decode_base64(sign.leaf_text(_RULE), _RULE)
    return check_detached_signatures(data, most=MAX_SIGNATURE_PACKETS)
