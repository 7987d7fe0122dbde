"""What happens to a key after it was made: prolonged, revoked, brought up to date, published.

Rule: from packets to packets. Given are only signatures of which the engine says that they hold;
what others signed is never taken over. The secret part of a key never leaves its own form.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from e2ee.errors import ApiMisuse
from e2ee.limits import MAX_CERTIFICATE_PACKETS
from e2ee.secret import Secret
from ox.certificates import check_secret_key
from ox.engine import Revocation
from ox.key_packets import PublicKey, hashed_form, read_public_key, read_secret_key
from ox.key_signatures import (
    KeySignature,
    PrimarySigner,
    SignatureKind,
    Subpacket,
    SubpacketKind,
    seconds,
    signed_user_id,
)
from ox.packets import Packet, Tag, read_packets, write_packet

__all__ = ["extended", "is_compromised", "minimal", "revoked", "with_signatures"]

_CERTIFICATIONS: Final = frozenset(
    {
        SignatureKind.GENERIC_CERTIFICATION,
        SignatureKind.PERSONA_CERTIFICATION,
        SignatureKind.CASUAL_CERTIFICATION,
        SignatureKind.POSITIVE_CERTIFICATION,
    }
)
_NEWEST_OF: Final = {
    Tag.PUBLIC_KEY: frozenset({SignatureKind.DIRECT_KEY}),
    Tag.USER_ID: _CERTIFICATIONS,
    Tag.PUBLIC_SUBKEY: frozenset({SignatureKind.SUBKEY_BINDING}),
}
"""The kinds of signatures of which the newest one counts, by what they are made over."""

_REVOCATIONS: Final = frozenset(
    {
        SignatureKind.KEY_REVOCATION,
        SignatureKind.SUBKEY_REVOCATION,
        SignatureKind.CERTIFICATION_REVOCATION,
    }
)
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A key, a subkey or a user id, with what the primary key says of it."""

    tag: int
    body: bytes
    signatures: tuple[KeySignature, ...]

    @property
    def newest(self) -> KeySignature | None:
        """The signature that counts."""
        kinds = _NEWEST_OF.get(Tag(self.tag), frozenset())
        counting = [each for each in self.signatures if each.kind in kinds]
        return max(counting, key=lambda each: each.created, default=None)

    def standing(self, now: datetime) -> tuple[KeySignature, ...]:
        """The signature that counts, and the one until then where that was made ahead of now."""
        made = tuple(each for each in self.signatures if each.created <= now)
        counting = (replace(self, signatures=made).newest, self.newest)
        return tuple(dict.fromkeys(each for each in counting if each is not None))

    @property
    def revocations(self) -> tuple[KeySignature, ...]:
        return tuple(each for each in self.signatures if each.kind in _REVOCATIONS)

    @property
    def over(self) -> bytes:
        """What signatures over it hash after the primary key."""
        if self.tag == Tag.PUBLIC_KEY:
            return b""
        return signed_user_id(self.body) if self.tag == Tag.USER_ID else hashed_form(self.body)

    def written(self, *signatures: KeySignature | None) -> bytes:
        """Return it with these signatures."""
        kept = b"".join(each.packet for each in signatures if each is not None)
        return write_packet(Tag(self.tag), self.body) + kept


def extended(
    public: Sequence[Packet], material: Secret, until: datetime | None, now: datetime
) -> bytes:
    """Return a certificate with new self-signatures, by which it expires at ``until``.

    Args:
        public: its sound packets.
        material: its transferable secret key.
        until: aware; ``None`` for never.
        now: the present, aware.

    Raises:
        ApiMisuse: ``until`` is naive, not ahead, or too far for the format.
        PeerMisbehaved: ``unsupported-algorithm``: a primary key that is neither RSA nor Ed25519.
    """
    if until is not None and (until.tzinfo is None or until <= now):
        raise ApiMisuse("a key needs an aware end in the future")
    primary, *parts = _parts(public)
    signer = PrimarySigner(check_secret_key(material)[0])
    written = []
    for part in (primary, *parts):
        newest = part.newest
        if newest is None or _is_settled(part, newest):
            written.append(part.written(*part.signatures))
            continue
        key = read_public_key(part.body if part.tag == Tag.PUBLIC_SUBKEY else primary.body)
        made = max(now.replace(microsecond=0), newest.created)
        said = (*_lasting(key, until), *_said(newest))
        again = signer.sign(SignatureKind(newest.kind), part.over, said, made)
        # Of two signatures of one second nobody could tell which one counts.
        older = (
            each for each in part.signatures if each.kind != newest.kind or each.created < made
        )
        written.append(part.written(*older) + again)
    return b"".join(written)


def revoked(public: Sequence[Packet], material: Secret, reason: Revocation, now: datetime) -> bytes:
    """Return a certificate with its revocation; arguments and errors as of :func:`extended`."""
    primary, *parts = _parts(public)
    signer = PrimarySigner(check_secret_key(material)[0])
    said = (Subpacket(SubpacketKind.REASON, bytes((reason,))),)
    revocation = signer.sign(SignatureKind.KEY_REVOCATION, b"", said, now)
    others = b"".join(part.written(*part.signatures) for part in parts)
    return primary.written(*primary.signatures) + revocation + others


def is_compromised(public: Sequence[Packet]) -> bool:
    """Say whether a certificate is revoked so that nothing that it ever signed is believable.

    Args:
        public: its sound packets.
    """
    return any(
        each.kind == SignatureKind.KEY_REVOCATION and each.reason not in _SOFT
        for each in _parts(public)[0].signatures
    )


def with_signatures(material: Secret, public: Sequence[Packet]) -> Secret:
    """Return a transferable secret key with the self-signatures of its certificate.

    Its parts are as before: a part that the certificate has beside them has no secret here.

    Args:
        material: the secret key.
        public: the sound packets of the certificate.
    """
    known = {(part.tag, part.body): part for part in _parts(public)}
    written = b""
    part = None
    for packet in read_packets(material.reveal(), most=MAX_CERTIFICATE_PACKETS):
        if packet.tag == Tag.SIGNATURE:
            if part is None:
                written += write_packet(Tag.SIGNATURE, packet.body)
            continue
        part = known.get(_public_form(packet))
        written += write_packet(Tag(packet.tag), packet.body)
        written += b"".join(each.packet for each in part.signatures) if part else b""
    return Secret(written)


def minimal(public: Sequence[Packet], user_ids: Collection[str], now: datetime) -> bytes:
    """Return a certificate as it is published: with nothing in it but what must be.

    Args:
        public: its sound packets.
        user_ids: which of them stay.
        now: the present, aware: what expired before it is left out.
    """
    names = {name.encode() for name in user_ids}
    written = b""
    for part in _parts(public):
        if part.tag == Tag.USER_ID and part.body not in names:
            continue
        if part.tag == Tag.PUBLIC_SUBKEY and not part.revocations and not _lives(part, now):
            continue
        if part.tag in _NEWEST_OF:
            written += part.written(*part.revocations, *part.standing(now))
    return written


def _parts(packets: Sequence[Packet]) -> list[_Part]:
    """Return the parts of a certificate, with those signatures that are by its primary key."""
    primary = read_public_key(packets[0].body)
    parts: list[_Part] = []
    for packet in packets:
        if packet.tag != Tag.SIGNATURE:
            parts.append(_Part(packet.tag, packet.body, ()))
            continue
        signature = KeySignature.read(packet.body)
        if signature.is_by(primary):
            last = parts[-1]
            parts[-1] = _Part(last.tag, last.body, (*last.signatures, signature))
    return parts


def _is_settled(part: _Part, newest: KeySignature) -> bool:
    """Say whether a part is revoked, or as it is lasts as long as its primary key."""
    return bool(part.revocations) or (part.tag == Tag.PUBLIC_SUBKEY and not newest.key_lasts)


def _public_form(packet: Packet) -> tuple[int, bytes]:
    tag = _PUBLIC.get(Tag(packet.tag))
    if tag is None:
        return packet.tag, packet.body
    return tag, read_secret_key(Secret(packet.body)).body


def _lives(subkey: _Part, now: datetime) -> bool:
    newest = subkey.newest
    if newest is None:
        return False
    lasts = timedelta(seconds=newest.key_lasts)
    return not lasts or read_public_key(subkey.body).created + lasts > now


def _lasting(key: PublicKey, until: datetime | None) -> tuple[Subpacket, ...]:
    if until is None:
        return ()
    try:
        return (seconds(SubpacketKind.KEY_EXPIRES, int((until - key.created).total_seconds())),)
    except OverflowError:
        raise ApiMisuse("an end that no key can have (RFC 4880 §5.2.3.6)") from None


def _said(signature: KeySignature) -> tuple[Subpacket, ...]:
    """Return what a signature says and a new one repeats; also that a subkey bound itself back."""
    embedded = [each for each in signature.unhashed if each.kind == SubpacketKind.EMBEDDED]
    kept = [each for each in signature.hashed if each.kind not in _MADE_ANEW]
    return (*kept, *embedded)
