"""Signatures by a primary key over its own parts: written, and read so far as to renew them.

Rule: packets and subpackets (RFC 4880 §5.2); whether a signature holds is the engine's to say, and
which ones a key needs is decided in ``keygen.py``, ``key_parts.py`` and ``key_life.py``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.secret import Secret
from ox.ciphers import Ed25519Private, RsaPrivate
from ox.key_packets import (
    Algorithm,
    Ed25519Seed,
    PublicKey,
    Rsa,
    RsaSecret,
    SecretKey,
    fingerprint_of,
    hashed_form,
)
from ox.packets import Cursor, Tag, malformed, unsupported, write_mpi, write_packet
from ox.s2k import Hash

__all__ = [
    "KeySignature",
    "PrimarySigner",
    "SignatureKind",
    "Subpacket",
    "SubpacketKind",
    "seconds",
    "signed_user_id",
]

_RULE: Final = "RFC 4880 §5.2.3"
_CRITICAL: Final = 0x80
_AREA: Final = 0xFFFF  # octets of subpackets, each area
_SIGN: Final = 0x02  # the flag of a key that signs data


class SignatureKind(IntEnum):
    """What a primary key and its parts say of one another (RFC 4880 §5.2.1)."""

    GENERIC_CERTIFICATION = 0x10
    PERSONA_CERTIFICATION = 0x11
    CASUAL_CERTIFICATION = 0x12
    POSITIVE_CERTIFICATION = 0x13
    SUBKEY_BINDING = 0x18
    PRIMARY_BINDING = 0x19  # by a subkey that signs, of the primary key
    DIRECT_KEY = 0x1F
    KEY_REVOCATION = 0x20
    SUBKEY_REVOCATION = 0x28
    CERTIFICATION_REVOCATION = 0x30


class SubpacketKind(IntEnum):
    """The subpackets that we write or look for (RFC 4880 §5.2.3.1; 33 is RFC 9580's)."""

    CREATED = 2
    EXPIRES = 3
    KEY_EXPIRES = 9
    CIPHERS = 11
    ISSUER = 16
    HASHES = 21
    COMPRESSIONS = 22
    PRIMARY_USER_ID = 25
    KEY_FLAGS = 27
    REASON = 29
    FEATURES = 30
    EMBEDDED = 32
    ISSUER_FINGERPRINT = 33


_ISSUERS: Final = frozenset({SubpacketKind.ISSUER, SubpacketKind.ISSUER_FINGERPRINT})


@dataclass(frozen=True, slots=True)
class Subpacket:
    """One subpacket; ``kind`` is without the bit that makes it critical."""

    kind: int
    body: bytes
    critical: bool = False

    def written(self) -> bytes:
        """Return it with its length (RFC 4880 §5.2.3.1)."""
        size = 1 + len(self.body)
        length = bytes((size,)) if size < 192 else b"\xff" + size.to_bytes(4)
        return length + bytes((self.kind | (_CRITICAL if self.critical else 0),)) + self.body


@dataclass(frozen=True, slots=True)
class KeySignature:
    """A signature packet of version 4, so far as it says something of a key.

    Attributes:
        kind: its type.
        hashed: the subpackets that are signed.
        unhashed: those that are not: anybody can write them.
        head: the octets of all that is signed; what differs only in the rest says the same.
        proof: the octets after both areas.
    """

    kind: int
    hashed: tuple[Subpacket, ...]
    unhashed: tuple[Subpacket, ...]
    head: bytes
    proof: bytes

    @classmethod
    def read(cls, body: bytes) -> KeySignature:
        """Read the body of a signature packet.

        Raises:
            PeerMisbehaved: ``malformed``, ``unsupported-algorithm``.
        """
        cursor = Cursor(body, _RULE)
        if cursor.number(1) != 4:
            raise unsupported("signature of another version than 4", _RULE)
        kind = cursor.number(1)
        cursor.take(2)
        hashed = _area(cursor.take(cursor.number(2)))
        head = body[: cursor.position]
        unhashed = _area(cursor.take(cursor.number(2)))
        return cls(kind, hashed, unhashed, head, cursor.rest())

    @property
    def body(self) -> bytes:
        """The body of its packet.

        Raises:
            PeerMisbehaved: ``limit-exceeded``: more beside it than a signature can have.
        """
        return self.head + _written_area(self.unhashed) + self.proof

    @property
    def packet(self) -> bytes:
        """It itself, with its framing; errors as of :attr:`body`."""
        return write_packet(Tag.SIGNATURE, self.body)

    @property
    def created(self) -> datetime:
        """When it was made; the beginning of time if it does not say."""
        return datetime.fromtimestamp(self._number(SubpacketKind.CREATED), UTC)

    @property
    def key_lasts(self) -> int:
        """After how many seconds its key expires; 0 for never."""
        return self._number(SubpacketKind.KEY_EXPIRES)

    @property
    def reason(self) -> int | None:
        """Why it revokes (RFC 4880 §5.2.3.23), if it says so."""
        found = [each.body for each in self.hashed if each.kind == SubpacketKind.REASON]
        return found[-1][0] if found and found[-1] else None

    def is_by(self, key: PublicKey) -> bool:
        """Say whether it claims to be by ``key``."""
        areas = (*self.hashed, *self.unhashed)
        return any(
            (each.kind == SubpacketKind.ISSUER_FINGERPRINT and each.body[1:] == key.fingerprint)
            or (each.kind == SubpacketKind.ISSUER and each.body == key.key_id)
            for each in areas
        )

    @property
    def names_nobody(self) -> bool:
        """Whether it does not say by whom it is."""
        return not any(each.kind in _ISSUERS for each in (*self.hashed, *self.unhashed))

    @property
    def flags(self) -> int | None:
        """What its key is for (RFC 4880 §5.2.3.21), the first octet, if it says so."""
        found = [each.body for each in self.hashed if each.kind == SubpacketKind.KEY_FLAGS]
        return found[-1][0] if found and found[-1] else None

    def bare(self, by: PublicKey, of: PublicKey | None = None) -> KeySignature:
        """Return it with nothing unsigned but who made it, and that a subkey binds itself back.

        Args:
            by: who made it.
            of: the subkey that it binds, if it does.
        """
        issuer = Subpacket(SubpacketKind.ISSUER, by.key_id)
        return replace(self, unhashed=(issuer, *(self._bound_back(of) if of else ())))

    def _bound_back(self, subkey: PublicKey) -> tuple[Subpacket, ...]:
        """Return the signature by which a subkey that signs answers, where it is not signed here.

        The first one that claims to be it; what is written beside that is left out, too.
        """
        if self.kind != SignatureKind.SUBKEY_BINDING or not (self.flags or 0) & _SIGN:
            return ()
        if any(_answer(each, subkey) for each in self.hashed):
            return ()
        found = (answer for each in self.unhashed if (answer := _answer(each, subkey)))
        return tuple(Subpacket(SubpacketKind.EMBEDDED, each.bare(subkey).body) for each in found)[
            :1
        ]

    def _number(self, kind: SubpacketKind) -> int:
        found = [each.body for each in self.hashed if each.kind == kind]
        return int.from_bytes(found[-1][:4]) if found else 0


class PrimarySigner:
    """A primary key that signs its own parts, with SHA-512."""

    def __init__(self, key: SecretKey) -> None:
        """Make it from the secret key.

        Raises:
            PeerMisbehaved: ``unsupported-algorithm``: neither RSA nor Ed25519; ``malformed``: its
                parts do not belong together, so that a signature would give it away.
        """
        self.public = key.public
        self._body = key.body
        self._private = _private(key)

    def sign(
        self,
        kind: SignatureKind,
        over: bytes,
        subpackets: tuple[Subpacket, ...],
        made: datetime,
        beside: tuple[Subpacket, ...] = (),
    ) -> bytes:
        """Return a signature packet over the primary key and ``over`` (RFC 4880 §5.2.4).

        Args:
            kind: its type.
            over: what the type hashes after the primary key: :func:`signed_user_id`, the
                ``hashed_form`` of a subkey, or nothing.
            subpackets: what it says beside its time and its issuer.
            made: its time, aware.
            beside: what stands beside it unsigned, and proves itself.

        Raises:
            PeerMisbehaved: ``limit-exceeded``: more than a signature can say.
        """
        time = Subpacket(SubpacketKind.CREATED, int(made.timestamp()).to_bytes(4))
        fingerprint = fingerprint_of(self._body)
        issuer = Subpacket(SubpacketKind.ISSUER_FINGERPRINT, b"\x04" + fingerprint)
        head = bytes((4, kind, self.public.algorithm, Hash.SHA512))
        head += _written_area((time, *subpackets, issuer))
        trailer = b"\x04\xff" + len(head).to_bytes(4)
        digest = hashlib.sha512(hashed_form(self._body) + over + head + trailer).digest()
        outside = _written_area((Subpacket(SubpacketKind.ISSUER, fingerprint[-8:]), *beside))
        return write_packet(Tag.SIGNATURE, head + outside + digest[:2] + self._numbers(digest))

    def _numbers(self, digest: bytes) -> bytes:
        if isinstance(self._private, RsaPrivate):
            return write_mpi(int.from_bytes(self._private.sign_sha512(digest)))
        made = self._private.sign(digest)
        if self.public.algorithm == Algorithm.ED25519:
            return made
        return write_mpi(int.from_bytes(made[:32])) + write_mpi(int.from_bytes(made[32:]))


def signed_user_id(name: bytes) -> bytes:
    """Return what signatures over a user id hash of it (RFC 4880 §5.2.4)."""
    return b"\xb4" + len(name).to_bytes(4) + name


def seconds(kind: SubpacketKind, count: int) -> Subpacket:
    """Return a subpacket that says a span of time."""
    return Subpacket(kind, count.to_bytes(4))


def _area(data: bytes) -> tuple[Subpacket, ...]:
    cursor = Cursor(data, _RULE)
    found = []
    while cursor:
        size = cursor.number(1)
        if size == 0xFF:
            size = cursor.number(4)
        elif size >= 192:
            size = (size - 192 << 8) + cursor.number(1) + 192
        kind, *body = cursor.take(size)
        found.append(Subpacket(kind & ~_CRITICAL, bytes(body), bool(kind & _CRITICAL)))
    return tuple(found)


def _written_area(subpackets: tuple[Subpacket, ...]) -> bytes:
    area = b"".join(each.written() for each in subpackets)
    if len(area) > _AREA:
        raise PeerMisbehaved(
            ErrorCode.LIMIT_EXCEEDED, f"more than {_AREA} octets of subpackets", rule=_RULE
        )
    return len(area).to_bytes(2) + area


def _answer(subpacket: Subpacket, subkey: PublicKey) -> KeySignature | None:
    """Return the signature in a subpacket, if it says that it is a subkey's answer."""
    if subpacket.kind != SubpacketKind.EMBEDDED:
        return None
    try:
        found = KeySignature.read(subpacket.body)
    except PeerMisbehaved:
        return None
    return found if found.kind == SignatureKind.PRIMARY_BINDING and found.is_by(subkey) else None


def _private(key: SecretKey) -> Ed25519Private | RsaPrivate:
    match key.public.numbers, key.numbers:
        case Rsa() as rsa, RsaSecret() as secret:
            try:
                return RsaPrivate(rsa.modulus, rsa.exponent, d=secret.d, p=secret.p, q=secret.q)
            except ValueError:
                raise malformed("RSA key whose parts do not belong together", _RULE) from None
        case _, Ed25519Seed(Secret() as seed):
            private = Ed25519Private(seed)
            if not key.body.endswith(private.public):
                raise malformed("Ed25519 key whose parts do not belong together", _RULE)
            return private
    raise unsupported("primary key that is neither RSA nor Ed25519", _RULE)
