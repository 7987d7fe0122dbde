"""OpenPGP keys and detached signatures written by hand, the same octets every time.

Rule: a second implementation, naive and independent of ``ox``, so that an error there cannot hide
in the vectors. Ed25519 alone, whose signatures need no randomness (RFC 4880, draft Koch EdDSA).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spec_vectors.generator.openpgp import packet

__all__ = ["BINARY", "CREATED", "SIGNED", "TEXT", "Key", "Revoked"]

CREATED: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""When keys are made."""
SIGNED: Final = datetime(2024, 6, 1, 12, tzinfo=UTC)
"""When they sign, unless a case is about that."""

BINARY, TEXT = 0x00, 0x01
_CERTIFICATION, _REVOCATION = 0x13, 0x20
_ED25519: Final = b"\x16\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01"  # algorithm 22 and its curve
_HASHES: Final = {2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512"}


class Revoked:
    """Reasons for revoking a key (RFC 4880 §5.2.3.23)."""

    SUPERSEDED, COMPROMISED, RETIRED = b"\x01", b"\x02", b"\x03"


@dataclass(frozen=True, slots=True)
class Key:
    """One key that certifies and signs.

    Attributes:
        name: what its secret follows from.
        user_id: ``xmpp:`` and the owner's bare JID, or not.
        created: when it was made.
        lifetime: how long it is valid, in seconds; 0 for ever.
    """

    name: str
    user_id: str
    created: datetime = CREATED
    lifetime: int = 0

    def public(self, *revocations: bytes) -> bytes:
        """Return the transferable public key."""
        user_id = self.user_id.encode()
        flags = _subpacket(27, b"\x03")
        if self.lifetime:
            flags += _subpacket(9, self.lifetime.to_bytes(4))
        bound = self._hashed() + b"\xb4" + len(user_id).to_bytes(4) + user_id
        certification = self._signature(bound, _CERTIFICATION, self.created, flags)
        return b"".join([packet(6, self._body()), *revocations, packet(13, user_id), certification])

    def revocation(self, reason: bytes, when: datetime) -> bytes:
        """Return the packet by which the key revokes itself."""
        return self._signature(self._hashed(), _REVOCATION, when, _subpacket(29, reason))

    def sign(
        self,
        data: str | bytes,
        made: datetime = SIGNED,
        *,
        kind: int = BINARY,
        digest: int = 10,
        version: int = 4,
    ) -> bytes:
        """Return a detached signature packet over ``data``."""
        raw = data.encode() if isinstance(data, str) else data
        return self._signature(raw, kind, made, digest=digest, version=version)

    def inline(self, data: str) -> bytes:
        """Return a signed message that brings its data along."""
        one_pass = packet(4, bytes((3, BINARY, 10, 22)) + self._fingerprint()[-8:] + b"\x01")
        literal = packet(11, b"b\0\0\0\0\0" + data.encode())
        return one_pass + literal + self.sign(data)

    def _body(self) -> bytes:
        point = b"\x40" + self._secret().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return b"\x04" + _moment(self.created) + _ED25519 + _mpi(point)

    def _secret(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.name.encode()).digest())

    def _hashed(self) -> bytes:
        return b"\x99" + len(self._body()).to_bytes(2) + self._body()

    def _fingerprint(self) -> bytes:
        return hashlib.sha1(self._hashed()).digest()

    def _signature(
        self,
        data: bytes,
        kind: int,
        made: datetime,
        more: bytes = b"",
        *,
        digest: int = 10,
        version: int = 4,
    ) -> bytes:
        issuer = _subpacket(33, b"\x04" + self._fingerprint())
        inside = _subpacket(2, _moment(made)) + issuer + more
        head = bytes((version, kind, 22, digest)) + len(inside).to_bytes(2) + inside
        trailer = bytes((version, 0xFF)) + len(head).to_bytes(4)
        hashed = hashlib.new(_HASHES[digest], data + head + trailer).digest()
        signed = self._secret().sign(hashed)
        key_id = _subpacket(16, self._fingerprint()[-8:])  # without which GnuPG 2.2 finds no key
        unhashed = len(key_id).to_bytes(2) + key_id
        body = head + unhashed + hashed[:2] + _mpi(signed[:32]) + _mpi(signed[32:])
        return packet(2, body)


def _subpacket(kind: int, body: bytes) -> bytes:
    return bytes((len(body) + 1, kind)) + body


def _moment(when: datetime) -> bytes:
    return int(when.timestamp()).to_bytes(4)


def _mpi(number: Sequence[int]) -> bytes:
    value = int.from_bytes(bytes(number))
    return value.bit_length().to_bytes(2) + value.to_bytes((value.bit_length() + 7) // 8)
