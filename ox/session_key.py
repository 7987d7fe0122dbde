"""SessionKey: the key of one container and its cipher, as it travels (RFC 4880 §5.1, §5.3).

Rule: a value and its two written forms; how it is hidden is in ``pkesk`` and ``skesk``.
"""

from __future__ import annotations

from dataclasses import dataclass

from e2ee.secret import Secret
from ox.ciphers import Random, Symmetric

__all__ = ["SessionKey"]


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The key of one container, and the cipher that it is for."""

    cipher: Symmetric
    key: Secret

    @classmethod
    def fresh(cls, random: Random) -> SessionKey:
        """Make a new AES-256 session key."""
        return cls(Symmetric.AES256, Secret(random(Symmetric.AES256.key_length)))

    @classmethod
    def unpack(cls, packed: Secret) -> SessionKey | None:
        """Read the cipher's octet and the key; ``None`` when it is not that."""
        raw = packed.reveal()
        cipher = Symmetric.find(raw[0]) if raw else None
        if cipher is None or len(raw) != 1 + cipher.key_length:
            return None
        return cls(cipher, Secret(raw[1:]))

    @classmethod
    def unpack_checked(cls, packed: Secret, cipher: Symmetric | None = None) -> SessionKey | None:
        """Read what :meth:`pack_checked` returns; ``None`` when it is not that.

        Args:
            packed: the session key as it travelled.
            cipher: what it is for, where the octet for that was left out (RFC 9580 §5.1.2).
        """
        if cipher is not None:
            packed = Secret(bytes((cipher,)) + packed.reveal())
        found = cls.unpack(Secret(packed.reveal()[:-2]))
        return found if found is not None and found.pack_checked() == packed else None

    def pack(self) -> Secret:
        """Return the cipher's octet and the key."""
        return Secret(bytes((self.cipher,)) + self.key.reveal())

    def pack_checked(self) -> Secret:
        """Return the cipher's octet, the key, and the sum of its octets modulo 65536."""
        checksum = sum(self.key.reveal()) & 0xFFFF
        return Secret(self.pack().reveal() + checksum.to_bytes(2))
