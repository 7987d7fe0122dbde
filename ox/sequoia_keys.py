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
from ox.key_life import is_compromised
from ox.key_packets import PublicKey
from ox.packets import Packet, Tag, read_packets, write_packet
from ox.sequoia_errors import malformed_key, sequoia

__all__ = ["Judged", "is_over", "judged", "ours_alone", "recipients_of", "sound_parts"]

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MARK: Final = write_packet(40, b"what follows does not hold")  # a tag that nobody uses
_BINDINGS: Final = 4  # of one subkey, the newest; each is tried by making a message with it


@dataclass(frozen=True, slots=True)
class Judged:
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


def recipients_of(to: Sequence[Judged]) -> list[PublicKey]:
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


def judged(cert: pysequoia.Cert, keys: Sequence[PublicKey], at: datetime) -> Judged:
    """Judge a certificate.

    Args:
        cert: the certificate.
        keys: its parts, from ``check_certificate``.
        at: the present, aware.
    """
    live = not cert.is_revoked and not is_over(cert.expiration)
    takers = _takers(cert) if live else ()
    certificate = Certificate(
        fingerprint=parse_fingerprint(cert.fingerprint.upper()),
        raw=bytes(cert),
        user_ids=tuple(str(user_id) for user_id in cert.user_ids),
        created=keys[0].created,
        expires=cert.expiration,
        revoked=cert.is_revoked,
        compromised=cert.is_revoked and is_compromised(sound_parts(bytes(cert))),
        encrypts=not all(is_over(expires) for _, expires in takers),
    )
    return Judged(certificate, takers, at)


def sound_parts(raw: bytes) -> tuple[Packet, ...]:
    """Return the packets of a certificate without signatures that say they are its own, and lie.

    Sequoia writes them behind everything else, and so behind a mark, too.
    """
    with sequoia(malformed_key()):
        written = bytes(pysequoia.Cert.from_bytes(raw + _MARK))
    return read_packets(written.partition(_MARK)[0], most=limits.MAX_CERTIFICATE_PACKETS)


def _takers(cert: pysequoia.Cert) -> tuple[tuple[PublicKey, datetime | None], ...]:
    """Return the keys of ``cert`` that Sequoia would encrypt to, and when each expires.

    The newest few: one member of a group must not take up the recipients of all.
    """
    taken = _taken(cert)
    keys = [key for key in check_certificate(bytes(cert)) if key.key_id in taken]
    newest = sorted(keys, key=lambda key: key.created, reverse=True)[: limits.MAX_ENCRYPTION_KEYS]
    return tuple((key, _expiry(cert, key)) for key in newest)


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
