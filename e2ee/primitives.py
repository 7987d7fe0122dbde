"""Native primitives: the operating system's randomness, and OpenSSL's ciphers by ``cryptography``.

Rule: the only implementation of ``ports.Primitives`` outside the browser; nothing is cached, so a
forked process never repeats its parent.
"""

from __future__ import annotations

import secrets

from e2ee.errors import CannotDecrypt, EngineFailed
from e2ee.ports import Argon2Cost
from e2ee.secret import Secret

__all__ = ["NativePrimitives"]


class NativePrimitives:
    """``ports.Primitives`` on this machine."""

    def random(self, count: int) -> bytes:
        """Return ``count`` bytes from the operating system's generator."""
        return secrets.token_bytes(count)

    def seal_aes_gcm(self, key: Secret, nonce: bytes, plaintext: bytes, bound: bytes) -> bytes:
        """Encrypt with AES-256-GCM; see ``ports.Primitives.seal_aes_gcm``."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(key.reveal()).encrypt(nonce, plaintext, bound)

    def open_aes_gcm(self, key: Secret, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
        """Decrypt with AES-256-GCM; see ``ports.Primitives.open_aes_gcm``."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(key.reveal()).decrypt(nonce, sealed, bound)
        except InvalidTag:
            raise CannotDecrypt from None

    def argon2id(self, passphrase: Secret, salt: bytes, cost: Argon2Cost) -> Secret:
        """Derive a key from a passphrase; see ``ports.Primitives.argon2id``."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        try:
            kdf = Argon2id(
                salt=salt,
                length=32,
                iterations=cost.passes,
                lanes=cost.lanes,
                memory_cost=cost.memory,
            )
        except UnsupportedAlgorithm:
            raise EngineFailed("argon2id", "this machine's OpenSSL does not have it") from None
        return Secret(kdf.derive(passphrase.reveal()))
