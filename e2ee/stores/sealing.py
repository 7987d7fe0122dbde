"""Seals: how the data key of a sealed store is locked, by a passphrase or by a given key.

Rule: what a seal is and how it opens; the rows under it are sealed in ``sealed_rows.py``.

A seal is a record of kind ``seal`` with the fields ``unlock`` (``passphrase`` or ``key``),
``nonce`` (12 bytes) and ``wrapped``: the data key of 32 bytes, encrypted by AES-256-GCM with all
the other fields as associated data. A passphrase adds what Argon2id needs: ``salt`` (16 bytes),
``passes``, ``memory`` (KiB) and ``lanes``. Bytes are in hexadecimal.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from unicodedata import category, normalize

from e2ee import limits
from e2ee.errors import ApiMisuse, CannotDecrypt, EngineFailed, ErrorCode, StoreFailed
from e2ee.ports import Argon2Cost, Primitives
from e2ee.records import pack, unpack
from e2ee.secret import Secret

__all__ = ["DATA_KEY_BYTES", "Passphrase", "Seal", "SealingKey", "Unlock"]

DATA_KEY_BYTES: Final = 32

_FORMAT: Final = 1
_COST: Final = Argon2Cost(passes=3, memory=64 * 1024, lanes=4)  # RFC 9106 §4, second choice
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_WRAPPED_BYTES: Final = DATA_KEY_BYTES + 16
_NEVER_TYPED: Final = {"Cc", "Cn", "Co", "Cs", "Zl", "Zp"}  # general categories of Unicode


class Passphrase:
    """What somebody types to unlock a store; it never prints."""

    __slots__ = ("secret",)

    def __init__(self, text: str) -> None:
        """Take a passphrase, prepared so that every keyboard's form of it is the same.

        As in OpaqueString (RFC 8265 §4.2), every space becomes U+0020, and the text NFC.

        Raises:
            ApiMisuse: it is no text, or empty; or it has a line break, a control character, a lone
                surrogate, or a private or unassigned code point, which another release of Unicode
                may prepare otherwise.
        """
        secret = _prepared(text)
        del text  # or a traceback with locals would show it
        if secret is None:
            raise ApiMisuse("a passphrase is text without control characters, and not empty")
        self.secret = secret

    def __repr__(self) -> str:
        return "<Passphrase>"


class SealingKey:
    """A random key of 32 bytes that is kept elsewhere, such as in the system's keyring."""

    __slots__ = ("secret",)

    def __init__(self, secret: Secret) -> None:
        """Take a key.

        Raises:
            ApiMisuse: it is not a ``Secret`` of exactly 32 bytes.
        """
        if not isinstance(secret, Secret) or len(secret) != DATA_KEY_BYTES:
            raise ApiMisuse(f"a sealing key is a Secret of {DATA_KEY_BYTES} bytes")
        self.secret = secret

    def __repr__(self) -> str:
        return "<SealingKey>"


Unlock = Passphrase | SealingKey
"""What unlocks a sealed store."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A locked data key. All of it may be read without unlocking; it holds no secret in clear.

    Attributes:
        cost: what a passphrase costs, or ``None`` when a given key unlocks.
    """

    cost: Argon2Cost | None
    _salt: bytes = field(repr=False)
    _nonce: bytes = field(repr=False)
    _wrapped: bytes = field(repr=False)

    @property
    def kind(self) -> Literal["passphrase", "key"]:
        """Say what unlocks it."""
        return "key" if self.cost is None else "passphrase"

    @classmethod
    async def lock(
        cls, data_key: Secret, unlock: Unlock, primitives: Primitives, executor: Executor | None
    ) -> Seal:
        """Lock ``data_key`` of 32 bytes so that ``unlock`` opens it.

        Args:
            data_key: what to lock.
            unlock: a passphrase costs 64 MiB and about a tenth of a second.
            primitives: randomness and ciphers.
            executor: where a passphrase is stretched; without one it blocks the event loop.

        Raises:
            ApiMisuse: ``unlock`` is neither.
            EngineFailed: not enough memory for the passphrase, no thread, or no Argon2id.
        """
        _check_unlock(unlock)
        typed = isinstance(unlock, Passphrase)
        empty = cls(
            cost=_COST if typed else None,
            _salt=primitives.random(_SALT_BYTES) if typed else b"",
            _nonce=primitives.random(_NONCE_BYTES),
            _wrapped=b"",
        )
        key = await empty._wrapping_key(unlock, primitives, executor)
        wrapped = primitives.seal_aes_gcm(key, empty._nonce, data_key.reveal(), empty._bound())
        return replace(empty, _wrapped=wrapped)

    async def open(
        self, unlock: Unlock, primitives: Primitives, executor: Executor | None
    ) -> Secret:
        """Return the data key; any number of wrong tries does no harm.

        Raises:
            ApiMisuse: ``unlock`` is neither a passphrase nor a key.
            StoreFailed: ``store-wrong-key``.
            EngineFailed: not enough memory for the passphrase, no thread, or no Argon2id.
        """
        _check_unlock(unlock)
        offered = "passphrase" if isinstance(unlock, Passphrase) else "key"
        if offered != self.kind:
            raise StoreFailed(
                ErrorCode.STORE_WRONG_KEY,
                f"the store was sealed with a {self.kind}, which a {offered} does not open",
            )
        key = await self._wrapping_key(unlock, primitives, executor)
        try:
            data_key = primitives.open_aes_gcm(key, self._nonce, self._wrapped, self._bound())
        except CannotDecrypt:
            raise StoreFailed(
                ErrorCode.STORE_WRONG_KEY,
                f"the {offered} is not the one that this store was sealed with, "
                "or its seal was altered",
            ) from None
        return Secret(data_key)

    def to_bytes(self) -> bytes:
        """Serialise the seal."""
        return pack("seal", _FORMAT, {**self._fields(), "wrapped": self._wrapped.hex()})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Seal:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            StoreFailed: ``store-corrupt`` when it is anything else, or asks for more work than
                ``limits`` allow; ``store-too-new`` when a later release wrote it.
        """
        fields = unpack(raw, "seal", _FORMAT)
        try:
            typed = fields["unlock"] == "passphrase"
            seal = cls(
                cost=_read_cost(fields) if typed else None,
                _salt=_read_bytes(fields, "salt", _SALT_BYTES) if typed else b"",
                _nonce=_read_bytes(fields, "nonce", _NONCE_BYTES),
                _wrapped=_read_bytes(fields, "wrapped", _WRAPPED_BYTES),
            )
        except (KeyError, TypeError, ValueError):
            raise _altered() from None
        if seal.to_bytes() != raw:  # more fields, or the same ones in other words
            raise _altered()
        return seal

    def _fields(self) -> dict[str, str | int]:
        fields: dict[str, str | int] = {"unlock": self.kind, "nonce": self._nonce.hex()}
        if self.cost is not None:
            fields["salt"] = self._salt.hex()
            fields["passes"] = self.cost.passes
            fields["memory"] = self.cost.memory
            fields["lanes"] = self.cost.lanes
        return fields

    def _bound(self) -> bytes:
        return pack("seal", _FORMAT, self._fields())

    async def _wrapping_key(
        self, unlock: Unlock, primitives: Primitives, executor: Executor | None
    ) -> Secret:
        """Return the key that the data key is encrypted with."""
        if self.cost is None:
            return unlock.secret
        work = (unlock.secret, self._salt, self.cost)
        try:
            if executor is None:
                return primitives.argon2id(*work)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(executor, primitives.argon2id, *work)
        except (MemoryError, RuntimeError):
            raise EngineFailed("argon2id", "not enough memory, or no thread to run on") from None


def _check_unlock(unlock: object) -> None:
    if not isinstance(unlock, Unlock):
        raise ApiMisuse("a store is unlocked by a Passphrase or a SealingKey")


def _prepared(text: object) -> Secret | None:
    """Return a passphrase's bytes, or ``None`` when it is none."""
    if not isinstance(text, str) or not text:
        return None
    if not _NEVER_TYPED.isdisjoint(map(category, text)):
        return None
    spaced = "".join(" " if category(char) == "Zs" else char for char in text)
    return Secret(normalize("NFC", spaced).encode())


def _read_cost(fields: dict[str, Any]) -> Argon2Cost:
    cost = Argon2Cost(fields["passes"], fields["memory"], fields["lanes"])
    if (
        all(type(part) is int for part in (cost.passes, cost.memory, cost.lanes))
        and 1 <= cost.passes <= limits.MAX_ARGON2_PASSES
        and 1 <= cost.lanes <= limits.MAX_ARGON2_LANES
        and 8 * cost.lanes <= cost.memory <= limits.MAX_ARGON2_MEMORY  # RFC 9106 §3.1
    ):
        return cost
    raise _altered()


def _read_bytes(fields: dict[str, Any], name: str, length: int) -> bytes:
    raw = bytes.fromhex(fields[name])
    if len(raw) != length:
        raise _altered()
    return raw


def _altered() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "the seal of the store was altered")
