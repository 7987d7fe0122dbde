"""What happens to a key after it was made: prolonged, revoked, brought up to date, published.

Rule: from the parts of a key to packets. Given are only signatures of which the engine says that
they hold. The secret part of a key never leaves its own form.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from e2ee.errors import ApiMisuse
from e2ee.limits import MAX_CERTIFICATE_PACKETS
from e2ee.secret import Secret
from ox.certificates import check_secret_key
from ox.engine import Revocation
from ox.key_packets import PublicKey, read_public_key, read_secret_key
from ox.key_parts import ENCRYPT_FLAGS, KeyPart, parts_of, written
from ox.key_signatures import (
    KeySignature,
    PrimarySigner,
    SignatureKind,
    Subpacket,
    SubpacketKind,
    seconds,
)
from ox.packets import Packet, Tag, read_packets, write_packet

__all__ = [
    "extended",
    "is_compromised",
    "minimal",
    "only_signing",
    "revoked",
    "revoked_since",
    "with_signatures",
]

_SOFT: Final = frozenset({Revocation.SUPERSEDED, Revocation.RETIRED, 32})
"""The reasons after which what a key signed before stays believable, 32 of user ids among them: as
Sequoia has it (RFC 9580 §5.2.3.31)."""

_MADE_ANEW: Final = frozenset(
    {
        SubpacketKind.CREATED,
        SubpacketKind.EXPIRES,
        SubpacketKind.KEY_EXPIRES,
        SubpacketKind.ISSUER,
        SubpacketKind.ISSUER_FINGERPRINT,
    }
)
_PUBLIC: Final = {Tag.SECRET_KEY: Tag.PUBLIC_KEY, Tag.SECRET_SUBKEY: Tag.PUBLIC_SUBKEY}


def extended(
    public: Sequence[KeyPart], material: Secret, until: datetime | None, now: datetime
) -> bytes:
    """Return a certificate with new self-signatures, by which it expires at ``until``.

    Args:
        public: its sound parts.
        material: its transferable secret key.
        until: aware; ``None`` for never.
        now: the present, aware.

    Raises:
        ApiMisuse: ``until`` is naive, not ahead, or too far for the format.
        PeerMisbehaved: ``unsupported-algorithm``: a primary key that is neither RSA nor Ed25519;
            ``limit-exceeded``: a signature that says too much to be repeated.
    """
    if until is not None and (until.tzinfo is None or until <= now):
        raise ApiMisuse("a key needs an aware end in the future")
    primary = public[0]
    signer = PrimarySigner(check_secret_key(material)[0])
    certificate = []
    for part in public:
        newest = part.newest
        if newest is None or _is_settled(part, newest):
            certificate.append(part.written(*part.signatures))
            continue
        key = part.key if part.tag == Tag.PUBLIC_SUBKEY else primary.key
        made = max(now.replace(microsecond=0), newest.created)
        said = (
            *_lasting(key, until),
            *(each for each in newest.hashed if each.kind not in _MADE_ANEW),
        )
        # A subkey that signs has bound itself back, perhaps where nothing is signed.
        back = tuple(each for each in newest.unhashed if each.kind == SubpacketKind.EMBEDDED)
        again = signer.sign(SignatureKind(newest.kind), part.over, said, made, back)
        # Of two signatures of one second nobody could tell which one counts.
        older = (
            each for each in part.signatures if each.kind != newest.kind or each.created < made
        )
        certificate.append(part.written(*older) + again)
    return b"".join(certificate)


def revoked(
    public: Sequence[KeyPart], material: Secret, reason: Revocation, now: datetime
) -> bytes:
    """Return a certificate with its revocation; arguments and errors as of :func:`extended`.

    Programs forget one for a harmless reason once a newer self-signature comes alive. So where a
    clock that was ahead made one, the key is revoked once more, at that time.
    """
    primary, *parts = public
    signer = PrimarySigner(check_secret_key(material)[0])
    said = (Subpacket(SubpacketKind.REASON, bytes((reason,))),)
    ahead = {part.newest.created for part in public if part.newest and part.newest.created > now}
    revocations = [
        signer.sign(SignatureKind.KEY_REVOCATION, b"", said, made)
        for made in (now, *sorted(ahead)[-1:])
    ]
    return primary.written(*primary.signatures) + b"".join(revocations) + written(parts)


def revoked_since(public: Sequence[KeyPart]) -> datetime | None:
    """Return when a key was first revoked by itself, for whatever reason; ``None`` if never.

    Args:
        public: its sound parts.
    """
    return min((each.created for each in public[0].revocations), default=None)


def is_compromised(public: Sequence[KeyPart]) -> bool:
    """Say whether a certificate is revoked so that nothing that it ever signed is believable.

    Args:
        public: its sound parts.
    """
    return any(each.reason not in _SOFT for each in public[0].revocations)


def with_signatures(material: Secret, public: Sequence[KeyPart]) -> Secret:
    """Return a transferable secret key with the self-signatures of its certificate.

    Its parts are as before: a part that the certificate has beside them has no secret here.

    Args:
        material: the secret key.
        public: the sound parts of the certificate.
    """
    known: dict[tuple[int, bytes], KeyPart] = {(part.tag, part.body): part for part in public}
    renewed = b""
    part = None
    for packet in read_packets(material.reveal(), most=MAX_CERTIFICATE_PACKETS):
        if packet.tag == Tag.SIGNATURE:
            if part is None:
                renewed += write_packet(Tag.SIGNATURE, packet.body)
            continue
        tag, body = _public_form(packet)
        part = known.get((tag, body))
        renewed += write_packet(packet.tag, packet.body)
        renewed += b"".join(each.packet for each in part.signatures) if part else b""
    return Secret(renewed)


def minimal(public: Sequence[KeyPart], user_ids: Collection[str], now: datetime) -> bytes:
    """Return a certificate as it is published: with nothing in it but what must be.

    Args:
        public: its sound parts.
        user_ids: which of them stay.
        now: the present, aware: what expired before it is left out.
    """
    names = {name.encode() for name in user_ids}
    published = b""
    for part in public:
        if part.tag == Tag.USER_ID and part.body not in names:
            continue
        if part.tag == Tag.PUBLIC_SUBKEY and not part.revocations and not part.lives(now):
            continue
        published += part.written(*part.revocations, *part.standing(now))
    return published


def only_signing(material: Secret) -> frozenset[bytes]:
    """Return the fingerprint of the primary key, if it says that nobody shall encrypt to it.

    Args:
        material: a transferable secret key that our guard let pass.
    """
    packets = [
        packet if packet.tag == Tag.SIGNATURE else Packet(*_public_form(packet))
        for packet in read_packets(material.reveal(), most=MAX_CERTIFICATE_PACKETS)
    ]
    said = [
        part.newest.flags
        for part in parts_of(packets)
        if part.tag != Tag.PUBLIC_SUBKEY and part.newest
    ]
    silent = not said or None in said
    if silent or any(flags and flags & ENCRYPT_FLAGS for flags in said):
        return frozenset()
    return frozenset({read_public_key(packets[0].body).fingerprint})


def _is_settled(part: KeyPart, newest: KeySignature) -> bool:
    """Say whether a part is revoked, or as it is lasts as long as its primary key."""
    return bool(part.revocations) or (part.tag == Tag.PUBLIC_SUBKEY and not newest.key_lasts)


def _public_form(packet: Packet) -> tuple[int, bytes]:
    tag = _PUBLIC.get(Tag(packet.tag))
    if tag is None:
        return packet.tag, packet.body
    return tag, read_secret_key(Secret(packet.body)).body


def _lasting(key: PublicKey, until: datetime | None) -> tuple[Subpacket, ...]:
    if until is None:
        return ()
    try:
        return (seconds(SubpacketKind.KEY_EXPIRES, int((until - key.created).total_seconds())),)
    except OverflowError:
        raise ApiMisuse("an end that no key can have (RFC 4880 §5.2.3.6)") from None
