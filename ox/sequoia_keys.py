"""Public keys as Sequoia judges them: what they say, and which of their parts to encrypt to.

Rule: of certificates that our guard let pass. Which subkeys are bound, fit and unrevoked is
Sequoia's word; ours are only the expiry, which it passes over, and how many we take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pysequoia
from pysequoia import packet

from e2ee import limits
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import parse_fingerprint
from ox.certificates import check_certificate
from ox.engine import Certificate
from ox.key_life import is_compromised, revoked_since
from ox.key_packets import PublicKey
from ox.key_parts import KeyPart, claimed, parts_of, written
from ox.key_signatures import SignatureKind
from ox.packets import Tag, read_packets, write_packet
from ox.sequoia_errors import malformed_key, sequoia

__all__ = [
    "JudgedKey",
    "first_revocation",
    "for_encryption",
    "is_over",
    "judged",
    "ours_alone",
    "recipients_of",
    "sound_parts",
]

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MARK: Final = 40  # a tag that nobody uses, and that our guard lets nobody use
_BINDINGS: Final = 4  # of one subkey, the newest; each is tried by making a message with it


@dataclass(frozen=True, slots=True)
class JudgedKey:
    """A public key as Sequoia judged it.

    Attributes:
        certificate: what it says.
        takers: its keys to encrypt to, and when each expires, aware; ``None`` for never. None of a
            revoked one.
        at: when it was judged, aware.
    """

    certificate: Certificate
    takers: tuple[tuple[PublicKey, datetime | None], ...]
    at: datetime

    @property
    def recipients(self) -> list[PublicKey]:
        """The keys to encrypt to now; none where the whole is revoked or expired."""
        if is_over(self.certificate.expires):
            return []
        return [key for key, expires in self.takers if not is_over(expires)]


def recipients_of(to: Sequence[JudgedKey]) -> list[PublicKey]:
    """Return the keys to encrypt to, of certificates that are fit for it today.

    Raises:
        PeerMisbehaved: ``unusable-key``: a certificate is expired, revoked or cannot encrypt;
            ``limit-exceeded``: together they have more keys than a message may have recipients.
    """
    recipients: list[PublicKey] = []
    for judgement in to:
        keys = judgement.recipients
        if not keys:
            raise PeerMisbehaved(
                ErrorCode.UNUSABLE_KEY,
                f"{judgement.certificate.fingerprint} is expired, revoked or cannot encrypt",
                rule="XEP-0373 §4",
            )
        recipients += keys
    most = limits.MAX_PKESK if ours_alone(recipients) else limits.MAX_PKESK - 1
    if len(recipients) > most:
        raise PeerMisbehaved(
            ErrorCode.LIMIT_EXCEEDED,
            f"more than {most} keys to encrypt to",
            rule="XEP-0373 §4",
        )
    return recipients


def ours_alone(recipients: Sequence[PublicKey]) -> bool:
    """Say whether our own containers can be encrypted to all of these."""
    return all(recipient.numbers is not None for recipient in recipients)


def is_over(expires: datetime | None) -> bool:
    """Say whether this end has come."""
    return expires is not None and expires <= datetime.now(UTC)


def judged(cert: pysequoia.Cert, keys: Sequence[PublicKey], at: datetime) -> JudgedKey:
    """Judge a certificate.

    Args:
        cert: the certificate.
        keys: its parts, from ``check_certificate``.
        at: the present, aware.
    """
    raw = bytes(cert)
    own = _own_revocations(raw)
    revoked = cert.is_revoked or own is not None
    names, expires, held = _said_today(cert)
    takers = _takers(cert) if held and not revoked and not is_over(expires) else ()
    certificate = Certificate(
        fingerprint=parse_fingerprint(cert.fingerprint.upper()),
        raw=raw,
        user_ids=names,
        created=keys[0].created,
        expires=expires,
        revoked=revoked,
        compromised=revoked and (own is None or is_compromised(own)),
        encrypts=not all(is_over(expires) for _, expires in takers),
    )
    return JudgedKey(certificate, takers, at)


def first_revocation(raw: bytes) -> datetime | None:
    """Return when a key was first revoked by itself, for whatever reason; ``None`` if never.

    Sequoia forgets one for a harmless reason, once there is a newer self-signature.
    """
    own = _own_revocations(raw)
    return None if own is None else revoked_since(own)


def sound_parts(raw: bytes) -> tuple[KeyPart, ...]:
    """Return the parts of a certificate with what it says of itself, and what of that holds.

    Sequoia writes signatures that say they are the key's own, and lie, behind everything else, and
    so behind a mark, too.
    """
    own = claimed(read_packets(raw, most=limits.MAX_CERTIFICATE_PACKETS))
    with sequoia(malformed_key()):
        marked = bytes(pysequoia.Cert.from_bytes(own + write_packet(_MARK, b"")))
    packets = read_packets(marked, most=limits.MAX_CERTIFICATE_PACKETS + 1)
    tags = [packet.tag for packet in packets]
    return parts_of(packets[: tags.index(_MARK)])


def for_encryption(judgement: JudgedKey) -> pysequoia.Cert:
    """Return a certificate of no other subkeys than those to encrypt to."""
    takers = {key.fingerprint for key in judgement.recipients}
    parts = sound_parts(judgement.certificate.raw)
    kept = [
        part for part in parts if part.tag != Tag.PUBLIC_SUBKEY or part.key.fingerprint in takers
    ]
    return pysequoia.Cert.from_bytes(written(kept))


def _said_today(cert: pysequoia.Cert) -> tuple[tuple[str, ...], datetime | None, bool]:
    """Return the user ids, the expiry, and whether a self-signature holds today.

    None may: those there are have expired, are from the future, or use a hash that is broken.
    """
    try:
        return tuple(str(user_id) for user_id in cert.user_ids), cert.expiration, True
    except RuntimeError:
        return (), None, False


def _own_revocations(raw: bytes) -> tuple[KeyPart, ...] | None:
    """Return the sound parts of a certificate that revoked itself; ``None`` for any other."""
    packets = read_packets(raw, most=limits.MAX_CERTIFICATE_PACKETS)
    kinds = {packet.body[1] for packet in packets if packet.tag == Tag.SIGNATURE}
    if SignatureKind.KEY_REVOCATION not in kinds:
        return None
    parts = sound_parts(raw)
    return parts if parts[0].revocations else None


def _takers(cert: pysequoia.Cert) -> tuple[tuple[PublicKey, datetime | None], ...]:
    """Return the keys of ``cert`` that Sequoia would encrypt to, and when each expires.

    The primary key, if it is one, and the newest few: one member of a group must not take up the
    recipients of all.
    """
    taken = _taken(cert)
    primary, *subkeys = check_certificate(bytes(cert))
    subkeys.sort(key=lambda key: key.created, reverse=True)
    keys = [key for key in (primary, *subkeys) if key.key_id in taken]
    return tuple((key, _expiry(cert, key)) for key in keys[: limits.MAX_ENCRYPTION_KEYS])


def _taken(cert: pysequoia.Cert) -> set[bytes]:
    """Return the ids of the keys that Sequoia would encrypt to.

    It alone judges bindings, flags and revocations. It passes over the expired only while there
    are others. Which keys it takes is read off a message that it makes.
    """
    try:
        probe = pysequoia.encrypt(b"", [cert], armor=False)
    except RuntimeError:
        return set()
    packets = read_packets(probe, most=limits.MAX_CERTIFICATE_PACKETS)
    return {_recipient(found.body) for found in packets if found.tag == Tag.PKESK}


def _recipient(body: bytes) -> bytes:
    """Return the key id that a PKESK names, in version 6 as the end of a v4 fingerprint."""
    return body[1:9] if body[0] == 3 else body[15:23]


def _expiry(cert: pysequoia.Cert, key: PublicKey) -> datetime | None:
    """Return when a subkey expires, by its newest binding that Sequoia accepts."""
    lead: list[packet.Packet] = []
    subkey: packet.Packet | None = None
    bindings: list[packet.Packet] = []
    current = None
    for found in packet.PacketPile.from_bytes(bytes(cert)):
        if found.tag == packet.Tag.PublicSubkey:
            current = bytes.fromhex(found.fingerprint or "")
            subkey = found if current == key.fingerprint else subkey
        elif current is None:
            lead.append(found)
        elif (
            current == key.fingerprint
            and found.signature_type == packet.SignatureType.SubkeyBinding
            and found.issuer_fingerprint in (None, cert.fingerprint)
        ):
            bindings.append(found)
    if subkey is None:
        return cert.expiration  # it is the primary key
    if all(binding.key_validity_period is None for binding in bindings):
        return None
    for binding in sorted(bindings, key=_made, reverse=True)[:_BINDINGS]:
        if key.key_id in _taken(pysequoia.Cert.from_packets([*lead, subkey, binding])):
            period = binding.key_validity_period
            return None if period is None else key.created + period
    return _LONG_AGO


def _made(signature: packet.Packet) -> datetime:
    return signature.signature_created or _LONG_AGO
