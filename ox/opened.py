"""OpenedOx: a ``<signcrypt/>`` that passed every check of XEP-0373 §3.2, and those checks.

Rule: from a verified signature to an opened message, purely; the only place that makes an
``OpenedOx``. Nothing here reads a store or decrypts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

from e2ee import limits
from e2ee.arrival import Arrival
from e2ee.errors import ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.names import BareJid, Fingerprint
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from ox.elements import Signcrypt
from ox.engine import Signed
from ox.keys import KeyRing

__all__ = ["OpenedOx", "check_believed", "check_signed"]

_RULE: Final = "XEP-0373 §3.2"


@dataclass(frozen=True, slots=True)
class OpenedOx:
    """A checked ``<signcrypt/>``.

    Attributes:
        account: whose message it is: ours, who opened it.
        sender: the bare JID whose key signed it.
        signer: that key.
        to: for whom it was meant.
        time: when it was signed, aware.
        content: the secured elements.
        arrival: where it stood.
        digest: SHA-256 of the sender and of what was signed, by which a replay is known.
    """

    account: BareJid
    sender: BareJid
    signer: Fingerprint
    to: tuple[BareJid, ...]
    time: datetime
    content: tuple[Element, ...] = field(repr=False)
    arrival: Arrival
    digest: bytes = field(repr=False)


def check_signed(
    signed: Signed, ring: KeyRing, arrival: Arrival, account: BareJid, now: datetime
) -> OpenedOx:
    """Check who signed, for whom and when, and return the content.

    Args:
        signed: what the engine verified.
        ring: the keys of the sender that ``arrival`` names.
        arrival: where the message stood.
        account: ourselves.
        now: the present, aware.

    Raises:
        TrustUndecided: it is signed by a key that the user has not decided about.
        PeerMisbehaved: ``bad-signature``, ``malformed``, ``forbidden``, ``context-mismatch`` or
            ``stale``.
    """
    signer = check_believed(ring, signed.signers, arrival)
    signcrypt = Signcrypt.from_xml(parse_xml(signed.data))
    _check_addressee(signcrypt, arrival, account)
    _check_time(signcrypt.time, signed.signers[signer], min(arrival.stamp or now, now))
    return OpenedOx(
        account=account,
        sender=ring.jid,
        signer=signer,
        to=signcrypt.to,
        time=signcrypt.time,
        content=signcrypt.payload,
        arrival=arrival,
        digest=_digest(ring.jid, signed.data),
    )


def check_believed(
    ring: KeyRing, signers: Collection[Fingerprint], arrival: Arrival
) -> Fingerprint:
    """Return the first of ``signers`` that is believed of the ring's JID.

    A key that its owner announces no more still proves what the archive holds from before.

    Raises:
        TrustUndecided: the user must decide about them first.
        PeerMisbehaved: ``bad-signature``: none is a key of this JID, or the user distrusts it.
    """
    judged = ring if arrival.stamp is None else ring.with_struck_keys()
    for key in judged.accepted:
        if key.fingerprint in signers and not key.outdated:
            return key.fingerprint
    undecided = tuple(each for each in judged.undecided if each in signers)
    if undecided:
        raise TrustUndecided(
            f"signed by a key of {ring.jid} that nobody decided about",
            subjects=undecided,
            rule=_RULE,
        )
    raise PeerMisbehaved(
        ErrorCode.BAD_SIGNATURE, f"signed by no key that {ring.jid} announces", rule=_RULE
    )


def _digest(sender: BareJid, data: bytes) -> bytes:
    # With the sender: whoever received a text can sign it, too, and must not make it a replay. Not
    # with the key: of two signatures on one message, the network may take one away.
    name = str(sender).encode()
    return sha256(len(name).to_bytes(4) + name + data).digest()


def _check_addressee(signcrypt: Signcrypt, arrival: Arrival, account: BareJid) -> None:
    # Without this a recipient could pass a signed text on to somebody else (XEP-0373 §3.1).
    outer = account if arrival.to is None else arrival.to.bare
    sent_by_us = arrival.sender.bare == account
    if outer not in signcrypt.to or (outer != account and not sent_by_us):
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, "signed for somebody else than it was sent to", rule=_RULE
        )


def _check_time(time: datetime, signed: datetime, reference: datetime) -> None:
    age = reference - time  # differences: at the ends of the calendar a sum overflows
    if age < -limits.MAX_CLOCK_SKEW:
        raise PeerMisbehaved(ErrorCode.STALE, "signed in the future", rule=_RULE)
    if age > limits.MAX_OX_AGE:
        raise PeerMisbehaved(ErrorCode.STALE, "signed long before it was sent", rule=_RULE)
    if abs(time - signed) > limits.MAX_CLOCK_SKEW:
        raise PeerMisbehaved(ErrorCode.STALE, "the stamp is not the signature's own", rule=_RULE)
