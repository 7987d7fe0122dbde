"""OpenedOx and OpenedCrypt: what passed every check of XEP-0373 §3.2, and those checks.

Rule: from verified or decrypted octets to an opened message, purely; the only place that makes
either. What nobody signed is never an ``OpenedOx``. Nothing here reads a store or decrypts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

from e2ee import limits
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.names import BareJid, Fingerprint
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from ox.elements import Content, ContentKind
from ox.engine import Signed
from ox.keys import KeyRing

__all__ = ["OpenedCrypt", "OpenedOx", "check_believed", "check_decrypted", "check_signed"]

_RULE: Final = "XEP-0373 §3.2"


@dataclass(frozen=True, slots=True)
class OpenedOx:
    """A checked ``<signcrypt/>`` or ``<sign/>``.

    Attributes:
        kind: which of the two; anybody on the way may have read a ``<sign/>``, and whoever needs
            secrecy asks :meth:`require_encrypted`.
        account: whose message it is: ours, who opened it.
        sender: the bare JID whose key signed it; in a room the occupant's real one.
        signer: that key.
        to: for whom it was meant; in a room the room.
        time: when it was signed, aware.
        content: the secured elements.
        arrival: where it stood.
        digest: SHA-256 of the sender and of what was signed, by which a replay is known.
        retired: whether the key was revoked when the message was opened, and yet proves it, because
            it was superseded or retired after it had signed.
    """

    kind: ContentKind
    account: BareJid
    sender: BareJid
    signer: Fingerprint
    to: tuple[BareJid, ...]
    time: datetime
    content: tuple[Element, ...] = field(repr=False)
    arrival: Arrival
    digest: bytes = field(repr=False)
    retired: bool = False

    def require_encrypted(self, rule: str) -> None:
        """Refuse a ``<sign/>``, for profiles whose content must be secret.

        Args:
            rule: the profile's section that demands it.

        Raises:
            PeerMisbehaved: ``forbidden``.
        """
        if self.kind is not ContentKind.SIGNCRYPT:
            raise PeerMisbehaved(
                ErrorCode.FORBIDDEN, f"<{self.kind}/> where <signcrypt/> is required", rule=rule
            )


@dataclass(frozen=True, slots=True)
class OpenedCrypt:
    """A checked ``<crypt/>``: secret on its way, and written by nobody knows whom.

    Attributes:
        account: whose message it is: ours, who opened it.
        time: when it claims to have been encrypted, aware.
        content: the secured elements; whoever has our public key can have made them.
        arrival: where it stood; its sender is the server's claim.
        digest: SHA-256 of what was encrypted, by which a replay is known.
    """

    account: BareJid
    time: datetime
    content: tuple[Element, ...] = field(repr=False)
    arrival: Arrival
    digest: bytes = field(repr=False)


def check_signed(
    signed: Signed,
    kind: ContentKind,
    ring: KeyRing,
    arrival: Arrival,
    account: BareJid,
    now: datetime,
) -> OpenedOx:
    """Check who signed, for whom and when, and return the content.

    Args:
        signed: what the engine verified.
        kind: the content element that it must be, by what OpenPGP did to it.
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
    content = Content.from_xml(parse_xml(signed.data), kind)
    _check_addressee(content, arrival, account)
    _check_time(content.time, arrival, now)
    if abs(content.time - signed.signers[signer]) > limits.MAX_CLOCK_SKEW:
        raise PeerMisbehaved(ErrorCode.STALE, "the stamp is not the signature's own", rule=_RULE)
    return OpenedOx(
        kind=kind,
        account=account,
        sender=ring.jid,
        signer=signer,
        to=content.to,
        time=content.time,
        content=content.payload,
        arrival=arrival,
        digest=_digest(str(ring.jid), signed.data),
    )


def check_decrypted(data: bytes, arrival: Arrival, account: BareJid, now: datetime) -> OpenedCrypt:
    """Check for whom and when a ``<crypt/>`` was made, as far as it says, and return the content.

    Args:
        data: what the engine decrypted.
        arrival: where the message stood.
        account: ourselves.
        now: the present, aware.

    Raises:
        PeerMisbehaved: ``malformed``, ``forbidden``, ``context-mismatch`` or ``stale``.
    """
    content = Content.from_xml(parse_xml(data), ContentKind.CRYPT)
    if content.to:
        _check_addressee(content, arrival, account)
    _check_time(content.time, arrival, now)
    return OpenedCrypt(account, content.time, content.payload, arrival, _digest("", data))


def check_believed(
    ring: KeyRing, signers: Collection[Fingerprint], arrival: Arrival
) -> Fingerprint:
    """Return the first of ``signers`` that is believed of the ring's JID.

    A key that its owner announces no more still proves what the archive holds from before, and so
    does a key of our own that another one succeeded.

    Raises:
        TrustUndecided: the user must decide about them first.
        PeerMisbehaved: ``bad-signature``: none is a key of this JID, or the user distrusts it.
    """
    judged = ring if arrival.is_live else ring.with_former_keys()
    for key in judged.accepted:
        if key.fingerprint in signers and not key.outdated:
            return key.fingerprint
    undecided = tuple(each for each in judged.undecided if each in signers)
    if undecided:
        raise TrustUndecided(
            f"signed by a key of {ring.jid} that waits for a decision",
            subjects=undecided,
            rule=_RULE,
        )
    raise PeerMisbehaved(
        ErrorCode.BAD_SIGNATURE, f"signed by no key that {ring.jid} announces", rule=_RULE
    )


def _digest(sender: str, data: bytes) -> bytes:
    # With the sender: whoever received a text can sign it, too, and must not make it a replay. Not
    # with the key: of two signatures on one message, the network may take one away. What nobody
    # signed has no sender: any that the network names would be another message.
    name = sender.encode()
    return sha256(len(name).to_bytes(4) + name + data).digest()


def _check_addressee(content: Content, arrival: Arrival, account: BareJid) -> None:
    # Without this a recipient could pass a signed text on to somebody else (XEP-0373 §3.1).
    if arrival.kind is StanzaKind.GROUPCHAT:
        outer, ours = arrival.sender.bare, True  # the room put each of us in its own place
    else:
        outer = account if arrival.to is None else arrival.to.bare
        ours = outer == account or arrival.sender.bare == account
    if outer not in content.to or not ours:
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, "made for somebody else than it was sent to", rule=_RULE
        )


def _check_time(time: datetime, arrival: Arrival, now: datetime) -> None:
    reference = min(arrival.stamp or now, now)
    age = reference - time  # differences: at the ends of the calendar a sum overflows
    if age < -limits.MAX_CLOCK_SKEW:
        raise PeerMisbehaved(ErrorCode.STALE, "made in the future", rule=_RULE)
    if age > limits.MAX_OX_AGE and arrival.kind is not StanzaKind.ITEM:  # one may be of any age
        raise PeerMisbehaved(ErrorCode.STALE, "made long before it was sent", rule=_RULE)
