"""The OpenPGP engine port: what any engine must offer, as values and one protocol.

Rule: raw OpenPGP packets in and out, never armor; verifying is not a parameter; no engine's own
type, text or exception crosses this line. Native: ``engine_sequoia``. Browser: OpenPGP.js.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from e2ee.errors import E2eeError
from e2ee.names import Fingerprint
from e2ee.secret import Secret

__all__ = ["Certificate", "KeyHandle", "OpenPgpEngine", "Revocation", "S2kCount", "Signed"]


class S2kCount(IntEnum):
    """The coded count of an iterated and salted S2K (RFC 4880 §3.7.1.3)."""

    RANDOM_SECRET = 0  # 1024 bytes hashed: for secrets of at least 256 random bits
    PASSPHRASE = 255  # 65,011,712 bytes hashed: for all that is shorter


class Revocation(IntEnum):
    """Why a key is revoked (RFC 4880 §5.2.3.23)."""

    UNSPECIFIED = 0
    SUPERSEDED = 1  # what it signed before stays believable
    COMPROMISED = 2  # nothing it ever signed is believable
    RETIRED = 3  # what it signed before stays believable


@dataclass(frozen=True, slots=True)
class Certificate:
    """An inspected OpenPGP public key.

    Attributes:
        fingerprint: of the primary key.
        raw: the binary transferable public key; never secret material.
        user_ids: the self-certified, unrevoked user ids, exactly as written; none where nothing
            that the key says of itself holds today.
        created: when the primary key was made, aware.
        expires: when the primary key expires, aware; ``None`` for never.
        revoked: whether the primary key ever revoked itself, for whatever reason: no newer
            self-signature undoes that.
        compromised: whether it is, and nothing that it ever signed is believable: unless every
            revocation says that it was superseded or retired (RFC 9580 §5.2.3.31).
        encrypts: whether it has a key that can be encrypted to at the time of inspection.
    """

    fingerprint: Fingerprint
    raw: bytes = field(repr=False)
    user_ids: tuple[str, ...]
    created: datetime
    expires: datetime | None
    revoked: bool
    compromised: bool
    encrypts: bool


@dataclass(frozen=True, slots=True)
class KeyHandle:
    """One of our own keys, opaque: its secret part never prints.

    Attributes:
        certificate: its public part, inspected.
        material: the unprotected transferable secret key, binary (RFC 4880 §11.2).
    """

    certificate: Certificate
    material: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """Data whose signature was verified, and by whom.

    Attributes:
        data: the signed bytes.
        signers: the primary fingerprint of every certificate with a valid signature, and when its
            newest one says that it was made, aware; never empty.
    """

    data: bytes = field(repr=False)
    signers: Mapping[Fingerprint, datetime]


class OpenPgpEngine(Protocol):
    """What an OpenPGP engine offers. Every method raises only from ``e2ee.errors``."""

    async def generate(self, user_id: str, *, rsa: bool = False) -> KeyHandle:
        """Make a key whose only user id is ``user_id``, of Curve25519 or else of RSA-3072.

        See: OpenPGP "Keys that we make": v4, SEIPD v1 only, no expiry.
        """
        ...

    async def extend(self, key: KeyHandle, until: datetime | None) -> KeyHandle:
        """Set when a key of ours expires, by new self-signatures; ``None`` for never.

        Subkeys that expire by themselves, and are not revoked, get the same end.

        Raises:
            ApiMisuse: ``until`` is naive, not ahead of now, or too far for the format.
            PeerMisbehaved: ``unsupported-algorithm``: a primary key that is neither RSA nor
                Ed25519; ``limit-exceeded``: it says too much of itself to say it again.
        """
        ...

    async def revoke(self, key: KeyHandle, reason: Revocation) -> KeyHandle:
        """Revoke a key of ours.

        Raises:
            PeerMisbehaved: as :meth:`extend`.
        """
        ...

    async def updated(self, key: KeyHandle, public: bytes) -> KeyHandle:
        """Return a key of ours with the self-signatures of a newer copy of its public part.

        Raises:
            PeerMisbehaved: as :meth:`inspect`; ``signer-mismatch`` when they are two keys.
        """
        ...

    async def minimal(self, certificate: Certificate, user_ids: Collection[str]) -> Certificate:
        """Return a public key with nothing in it that its owner need not publish.

        What stays: the primary key, the given user ids, the subkeys that live or are revoked; of
        the signatures, only sound ones by the key itself: the newest of each part, revocations.

        Raises:
            PeerMisbehaved: as :meth:`inspect`.
        """
        ...

    async def inspect(self, raw: bytes) -> Certificate:
        """Read one binary transferable public key, also one of which nothing holds today.

        Raises:
            PeerMisbehaved: ``malformed``, ``limit-exceeded`` or ``unsupported-algorithm``.
        """
        ...

    async def merge(self, known: bytes | None, fetched: bytes) -> Certificate:
        """Join what was known of a public key, if anything was, with a copy of it.

        What stays of either is what the key itself says, and soundly, of its parts; nothing that
        others signed, and nothing that anybody could have written beside a signature. Where that is
        too much for one key, the copy counts, and what was known to be revoked.

        Raises:
            PeerMisbehaved: as :meth:`inspect`; ``signer-mismatch`` when they are two keys.
        """
        ...

    async def adopt(self, raw: Secret) -> KeyHandle:
        """Read one binary, unprotected transferable secret key from outside.

        Raises:
            PeerMisbehaved: as :meth:`inspect`; ``malformed`` also when a secret part is not that
                of its public part; ``unsupported-algorithm`` also when others encrypt to a part of
                it by which this engine cannot decrypt.
        """
        ...

    async def held(self, raw: Secret) -> KeyHandle:
        """Read a secret key that was adopted before, whatever became of it since.

        Raises:
            PeerMisbehaved: it is none.
        """
        ...

    async def seal(self, data: bytes, to: Sequence[Certificate], signer: KeyHandle) -> bytes:
        """Sign ``data``, then encrypt it to every certificate of ``to``.

        Raises:
            ApiMisuse: ``unusable-key``: ``signer`` is expired, revoked or cannot sign.
            PeerMisbehaved: ``unusable-key``: a certificate is expired, revoked or cannot encrypt;
                ``limit-exceeded``: together they have more keys than a message may have recipients.
        """
        ...

    async def open(
        self, data: bytes, keys: Sequence[KeyHandle], signers: Sequence[bytes]
    ) -> Signed:
        """Decrypt a message and verify that at least one of ``signers`` signed it.

        Args:
            data: the message.
            keys: what may decrypt it.
            signers: binary public keys. Only those that a signature names are looked into, and one
                that is not sound counts for nothing; whose they are is the caller's to know.

        Raises:
            PeerMisbehaved: ``malformed``, ``limit-exceeded``, ``not-encrypted``,
                ``unsupported-algorithm``, ``forbidden`` when nobody signed it, or
                ``bad-signature``.
            CannotDecrypt: every cryptographic failure.
        """
        ...

    async def encrypt(self, data: bytes, to: Sequence[Certificate]) -> bytes:
        """Encrypt ``data`` to every certificate of ``to``, unsigned: nothing says who wrote it.

        Raises:
            PeerMisbehaved: as :meth:`seal`.
        """
        ...

    async def decrypt(self, data: bytes, keys: Sequence[KeyHandle]) -> bytes:
        """Decrypt a message that nobody signed, as :meth:`encrypt` makes it.

        Raises:
            PeerMisbehaved: ``forbidden`` when it is signed; ``malformed``, ``limit-exceeded``,
                ``not-encrypted`` or ``unsupported-algorithm``.
            CannotDecrypt: every cryptographic failure.
        """
        ...

    async def sign_message(self, data: bytes, signer: KeyHandle) -> bytes:
        """Return a message in clear that holds ``data`` and one signature (type 0x00) over it.

        Raises:
            ApiMisuse: ``unusable-key``: ``signer`` is expired, revoked or cannot sign.
        """
        ...

    async def verify_message(self, message: bytes, signers: Sequence[bytes]) -> Signed:
        """Verify a message in clear that at least one of ``signers`` signed; see :meth:`open`.

        Raises:
            PeerMisbehaved: ``malformed``, ``limit-exceeded``, ``unsupported-algorithm``,
                ``forbidden`` when nobody signed it, or ``bad-signature``.
        """
        ...

    async def sign(self, data: bytes, signer: KeyHandle) -> bytes:
        """Return one binary detached signature (type 0x00) over ``data``.

        Raises:
            ApiMisuse: ``unusable-key``: ``signer`` is expired, revoked or cannot sign.
        """
        ...

    async def verify(self, data: bytes, signature: bytes, signers: Sequence[bytes]) -> Signed:
        """Verify one detached signature over ``data`` by one of ``signers``; see :meth:`open`.

        Raises:
            PeerMisbehaved: ``malformed`` or ``bad-signature``.
        """
        ...

    async def lock(self, data: bytes, passphrase: Secret, count: S2kCount) -> bytes:
        """Encrypt ``data`` with a passphrase: SKESK v4 and SEIPD v1, fresh salt and session key."""
        ...

    async def unlock(self, data: bytes, passphrase: Secret) -> bytes:
        """Decrypt one passphrase message.

        Raises:
            PeerMisbehaved: ``malformed``, ``limit-exceeded``, ``not-encrypted`` or
                ``unsupported-algorithm``.
            CannotDecrypt: a wrong passphrase, an altered message.
        """
        ...

    async def unlock_many(
        self, messages: Sequence[tuple[bytes, Secret]]
    ) -> tuple[bytes | E2eeError, ...]:
        """As :meth:`unlock` for many; costly S2Ks run side by side, and none runs twice.

        Returns:
            For each message its plaintext, or the error that :meth:`unlock` would have raised.
        """
        ...
