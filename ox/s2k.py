"""String-to-key: a passphrase becomes a key (RFC 4880 §3.7).

Rule: pure and bounded; what a specifier asks for is known, and refused, before an octet is hashed.
Argon2 is refused: 85 bytes of it can ask for gigabytes and minutes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from e2ee.secret import Secret
from ox.packets import Cursor, unsupported

__all__ = ["Hash", "Specifier", "derive", "read_specifier", "write_specifier"]

_BLOCK: Final = 1024 * 1024
"""Octets hashed at once. hashlib lets other threads run meanwhile, but each call may wait for the
interpreter afterwards; 62 calls for the highest count are few enough."""

_SIMPLE, _SALTED, _ITERATED = 0, 1, 3  # RFC 4880 §3.7.1
_SALT_BYTES: Final = 8


class Hash(IntEnum):
    """Hash algorithms that may stretch a passphrase (RFC 4880 §9.4)."""

    MD5 = 1
    SHA1 = 2
    RIPEMD160 = 3
    SHA256 = 8
    SHA384 = 9
    SHA512 = 10
    SHA224 = 11


@dataclass(frozen=True, slots=True)
class Specifier:
    """How a passphrase is stretched. Hashable, so that results can be remembered by it.

    Attributes:
        hash: the hash algorithm.
        salt: 8 octets, or none for a simple S2K.
        coded_count: 0 to 255 for an iterated S2K, ``None`` for one that hashes once.
    """

    hash: Hash
    salt: bytes
    coded_count: int | None

    @property
    def count(self) -> int:
        """How many octets are hashed at least (RFC 4880 §3.7.1.3): 0, or 1024 to 65,011,712."""
        if self.coded_count is None:
            return 0
        return (16 + (self.coded_count & 15)) << ((self.coded_count >> 4) + 6)


def read_specifier(cursor: Cursor) -> Specifier:
    """Read a simple, salted, or iterated and salted specifier.

    Raises:
        PeerMisbehaved: ``malformed`` when cut short; ``unsupported-algorithm`` for Argon2, for
            GnuPG's extensions, and for any other kind or hash.
    """
    kind = cursor.number(1)
    if kind not in (_SIMPLE, _SALTED, _ITERATED):
        raise unsupported("string-to-key of a kind that is not taken", "RFC 4880 §3.7.1")
    try:
        algorithm = Hash(cursor.number(1))
    except ValueError:
        raise unsupported("string-to-key with an unknown hash", "RFC 4880 §9.4") from None
    salt = b"" if kind == _SIMPLE else cursor.take(_SALT_BYTES)
    return Specifier(algorithm, salt, cursor.number(1) if kind == _ITERATED else None)


def write_specifier(specifier: Specifier) -> bytes:
    """Return the octets that :func:`read_specifier` reads."""
    if specifier.coded_count is not None:
        head, tail = _ITERATED, bytes((specifier.coded_count,))
    else:
        head, tail = _SALTED if specifier.salt else _SIMPLE, b""
    return bytes((head, specifier.hash)) + specifier.salt + tail


def derive(specifier: Specifier, passphrase: Secret, key_length: int) -> Secret:
    """Stretch ``passphrase`` into ``key_length`` octets.

    Expensive: up to 65,011,712 octets hashed for each digest that the key needs. It touches
    nothing else and may run on any thread.

    Raises:
        PeerMisbehaved: ``unsupported-algorithm`` when this machine's hashlib lacks the hash.
    """
    hasher = _hasher(specifier.hash)  # fails, if it does, before the passphrase is in sight
    unit = specifier.salt + passphrase.reveal()
    total = max(specifier.count, len(unit))  # the whole unit is hashed at least once
    block = unit * (min(total, _BLOCK) // len(unit) + 1) if unit else b""
    key = b""
    while True:
        # Each further digest starts with one more zero octet, RFC 4880 §3.7.1.1.
        hasher.update(bytes(len(key) // hasher.digest_size))
        whole, part = divmod(total, len(block)) if block else (0, 0)
        for _ in range(whole):
            hasher.update(block)
        hasher.update(block[:part])
        key += hasher.digest()
        if len(key) >= key_length:
            return Secret(key[:key_length])
        hasher = _hasher(specifier.hash)


def _hasher(algorithm: Hash) -> hashlib._Hash:
    try:
        return hashlib.new(algorithm.name.lower(), usedforsecurity=False)
    except ValueError:
        raise unsupported("hash that is not on this machine", "RFC 4880 §9.4") from None
