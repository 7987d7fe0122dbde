"""Ports: what the outside gives to the library, passed in once.

Rule: protocols and passive records; nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from e2ee.secret import Secret
from e2ee.storage import Store
from e2ee.trust import TrustPolicy

__all__ = ["Argon2Cost", "Clock", "Ports", "Primitives"]

Clock = Callable[[], datetime]
"""Returns the present as an aware ``datetime`` in UTC."""


class Primitives(Protocol):
    """Randomness, AES-256-GCM and Argon2id; what else is needed joins with what needs it."""

    def random(self, count: int) -> bytes:
        """Return ``count`` bytes from the operating system's generator, never from a cache."""
        ...

    def seal_aes_gcm(self, key: Secret, nonce: bytes, plaintext: bytes, bound: bytes) -> bytes:
        """Encrypt with AES-256-GCM (NIST SP 800-38D).

        Args:
            key: 32 bytes.
            nonce: 12 bytes, never used twice with one key.
            plaintext: any length below 2 GiB.
            bound: associated data, authenticated and not part of the result.

        Returns:
            The ciphertext and then its tag of 16 bytes.
        """
        ...

    def open_aes_gcm(self, key: Secret, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
        """Decrypt what :meth:`seal_aes_gcm` returned.

        Raises:
            CannotDecrypt: any of the arguments is not what it was.
        """
        ...

    def argon2id(self, passphrase: Secret, salt: bytes, cost: Argon2Cost) -> Secret:
        """Derive 32 bytes from a passphrase by Argon2id (RFC 9106).

        Args:
            passphrase: its bytes.
            salt: 16 bytes.
            cost: how hard; the call takes long, on one thread, without the interpreter's lock.

        Raises:
            EngineFailed: there is no Argon2id here.
        """
        ...


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """How hard Argon2id works (RFC 9106 §3.1).

    Attributes:
        passes: over the memory.
        memory: in KiB.
        lanes: that could be computed side by side.
    """

    passes: int
    memory: int
    lanes: int


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that an account needs from outside.

    Attributes:
        store: where state lives.
        primitives: randomness and ciphers.
        trust: the decisions that belong to the user.
        clock: the present, aware and in UTC.
        executor: optional; hashing, and the opening of large messages, run on it beside the event
            loop. The library starts no thread of its own.
    """

    store: Store
    primitives: Primitives
    trust: TrustPolicy
    clock: Clock
    executor: Executor | None = None
