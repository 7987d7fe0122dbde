"""OmemoEngine: the port to one version of OMEMO's cryptography, and the values that pass it.

Rule: protocols and values only. An engine keeps nothing: state goes in, new state comes out, and
what became of the old is the caller's business. It knows neither XML nor stores nor trust.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import IdentityFingerprint
from e2ee.omemo.version import Version
from e2ee.secret import Secret

__all__ = [
    "Agreement",
    "Chain",
    "KeyExchange",
    "OmemoEngine",
    "Payload",
    "PreKey",
    "Random",
    "Ratchet",
    "RatchetMessage",
    "Received",
    "SignedPreKey",
    "SkippedKey",
]

Random = Callable[[int], bytes]
"""``Primitives.random``: returns so many random bytes."""


@dataclass(frozen=True, slots=True)
class PreKey:
    """A one-time prekey of ours: X25519, 32 bytes each; ids count from 1 (XEP-0384 §5.3.2)."""

    id: int
    private: Secret
    public: bytes


@dataclass(frozen=True, slots=True)
class SignedPreKey:
    """A signed prekey of ours: X25519, 32 bytes each, and our identity's signature, 64 bytes."""

    id: int
    private: Secret
    public: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """What the receiver of a first message needs to build the session (``OMEMOKeyExchange``).

    Attributes:
        identity: the initiator's identity key, 32 bytes, as the version writes it: Ed25519 in
            version 2, Curve25519 in the legacy one.
        ephemeral: the initiator's ephemeral X25519 key, 32 bytes.
        signed_pre_key_id: which signed prekey of the receiver was used.
        pre_key_id: which one-time prekey of the receiver was used.
    """

    identity: bytes
    ephemeral: bytes
    signed_pre_key_id: int
    pre_key_id: int


@dataclass(frozen=True, slots=True)
class RatchetMessage:
    """One message of the Double Ratchet, its header read but nothing of it authenticated.

    Attributes:
        ratchet_key: the sender's ratchet key, X25519, 32 bytes.
        number: its number in the sending chain, from 0.
        previous: how many messages the sending chain before had.
        raw: all of it as it travels, without a key exchange around it.
    """

    ratchet_key: bytes
    number: int
    previous: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """A KDF chain: its key of 32 bytes, and how many steps it has made."""

    key: bytes = field(repr=False)
    length: int


@dataclass(frozen=True, slots=True)
class Ratchet:
    """The state of a Double Ratchet, without the message keys that were skipped.

    Attributes:
        own_private: our X25519 ratchet key, 32 bytes, and
        own_public: its public half.
        peer_public: the peer's ratchet key, 32 bytes.
        root: the root chain.
        sending: the chain of what we send; its length numbers the next message.
        receiving: the chain of what we receive; ``None`` until the peer has sent something.
        previous: the length of the sending chain before; ``None`` where there was none.
    """

    own_private: bytes = field(repr=False)
    own_public: bytes
    peer_public: bytes
    root: Chain
    sending: Chain
    receiving: Chain | None
    previous: int | None


@dataclass(frozen=True, slots=True)
class SkippedKey:
    """The message key of a message that has not arrived yet: 32 bytes."""

    ratchet_key: bytes
    number: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two devices agreed on by X3DH: the ratchet, and what each of its messages is bound to.

    Attributes:
        exchange: the key exchange, to be sent until the receiver has answered.
        ratchet: the state after the first message.
        bound: the associated data of every message, both identity keys.
    """

    exchange: KeyExchange
    ratchet: Ratchet
    bound: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """What decrypting one message yields; nothing was kept yet.

    Attributes:
        key_material: what was encrypted, 16 to 48 bytes; see :meth:`OmemoEngine.open_payload`.
        ratchet: the state after it; the one before, where the key was a skipped one.
        skipped: the keys of messages that were passed over, in order; to be kept.
        lost: how many messages were passed over whose keys are not computed, because they are too
            many: they can never be read.
    """

    key_material: Secret
    ratchet: Ratchet
    skipped: tuple[SkippedKey, ...] = ()
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Payload:
    """An encrypted payload.

    Attributes:
        ciphertext: as it stands in ``<payload/>``.
        iv: of the legacy version, 12 or 16 bytes; ``None`` in version 2.
    """

    ciphertext: bytes
    iv: bytes | None = None


class OmemoEngine(Protocol):
    """One version's cryptography.

    Every method that meets what a peer made raises ``CannotDecrypt`` or ``PeerMisbehaved`` and
    nothing else, whatever it meets; every other failure is ``EngineFailed``.
    """

    @property
    def version(self) -> Version:
        """Which version this is."""
        ...

    # -- keys

    def new_identity(self, random: Random) -> Secret:
        """Make an identity key: a seed of 32 bytes whose Ed25519 public key has sign bit 0.

        Some clients refuse the other half of all keys, though they are valid.
        """
        ...

    def identity(self, own: Secret) -> bytes:
        """Return the public identity key of our seed, 32 bytes as the version writes it."""
        ...

    def fingerprint(self, identity: bytes) -> IdentityFingerprint:
        """Return the fingerprint of an identity key, 32 bytes as the version writes it.

        Raises:
            PeerMisbehaved: ``malformed``: no key, or one of small order.
        """
        ...

    def new_pre_key(self, pre_key_id: int, random: Random) -> PreKey:
        """Make a one-time prekey."""
        ...

    def new_signed_pre_key(self, own: Secret, pre_key_id: int, random: Random) -> SignedPreKey:
        """Make a prekey and sign it with our identity."""
        ...

    def sign_label(self, own: Secret, label: str) -> bytes:
        """Sign a device label, Ed25519, 64 bytes (XEP-0384 §5.3.1).

        Raises:
            ApiMisuse: the version knows no labels.
        """
        ...

    def is_label_of(self, label: str, signature: bytes, fingerprint: IdentityFingerprint) -> bool:
        """Say whether the identity signed a label; ``False`` for whatever is no signature."""
        ...

    def check_bundle(self, bundle: Bundle) -> None:
        """Check everything about a bundle that needs no knowledge of its owner.

        Its signed prekey must be signed by its identity, and no key may be of small order.

        Raises:
            PeerMisbehaved: ``bad-signature``, ``malformed``.
        """
        ...

    # -- payloads

    def seal_payload(self, plaintext: bytes, random: Random) -> tuple[Payload, Secret]:
        """Encrypt what all recipients shall read; return it and its key material.

        Key material is what each device gets by its session: in version 2 a key of 32 bytes and an
        authentication tag of 16 (XEP-0384 §4.4), in the legacy one 16 and 16.
        """
        ...

    def open_payload(self, payload: Payload, key_material: Secret) -> bytes:
        """Decrypt a payload, once all of it is authenticated.

        Raises:
            CannotDecrypt: it is not what the key material is for, or that is for none.
        """
        ...

    @property
    def empty(self) -> Secret | None:
        """The key material of every empty message: 32 zero bytes in version 2 (XEP-0384 §5.5.3).

        ``None`` in the legacy version, where a message without payload transports a key, 16 bytes.
        """
        ...

    # -- messages

    def read_message(self, raw: bytes) -> RatchetMessage:
        """Read the header of a message (``OMEMOAuthenticatedMessage``).

        Raises:
            PeerMisbehaved: ``malformed``.
        """
        ...

    def read_exchange(self, raw: bytes) -> tuple[KeyExchange, RatchetMessage]:
        """Read a message with the key exchange around it (``OMEMOKeyExchange``).

        Raises:
            PeerMisbehaved: ``malformed``, a key of small order included.
        """
        ...

    def write_exchange(self, exchange: KeyExchange, message: bytes) -> bytes:
        """Put a key exchange around a message."""
        ...

    # -- sessions

    async def start(
        self, own: Secret, bundle: Bundle, key_material: Secret
    ) -> tuple[Agreement, bytes]:
        """Agree with a device on a session, and encrypt its first message.

        Args:
            own: our identity's seed.
            bundle: of the device; a checked one, whose identity was accepted. One of its prekeys is
                picked at random.
            key_material: what to send.

        Returns:
            The agreement, and the first message without the key exchange around it.

        Raises:
            PeerMisbehaved: as :meth:`check_bundle`, or ``malformed`` without any prekey.
        """
        ...

    async def accept(
        self,
        own: Secret,
        signed_pre_key: SignedPreKey,
        pre_key: PreKey,
        exchange: KeyExchange,
        message: RatchetMessage,
    ) -> tuple[Agreement, Received]:
        """Build the session that a key exchange asks for, by decrypting a message that came in it.

        Raises:
            CannotDecrypt: they do not fit each other.
            PeerMisbehaved: ``too-many-skipped``.
        """
        ...

    async def encrypt(
        self, ratchet: Ratchet, bound: bytes, key_material: Secret, *, initiator: bool
    ) -> tuple[Ratchet, bytes]:
        """Encrypt key material with a session; the ratchet given must never encrypt again.

        Args:
            ratchet: the session's state.
            bound: what :class:`Agreement` says.
            key_material: what to send.
            initiator: whether the session was started by us.
        """
        ...

    async def decrypt(
        self,
        ratchet: Ratchet,
        bound: bytes,
        message: RatchetMessage,
        skipped: SkippedKey | None,
        *,
        initiator: bool,
    ) -> Received:
        """Decrypt key material with a session.

        Args:
            ratchet: the session's state.
            bound: what :class:`Agreement` says.
            message: what arrived.
            skipped: the kept key of this very message, where there is one.
            initiator: whether the session was started by us.

        Raises:
            CannotDecrypt: it is not from this session, or was altered.
            PeerMisbehaved: ``replay``: this message was decrypted before, or its key is gone;
                ``too-many-skipped``: it is more than ``limits.MAX_SKIPPED`` ahead. Neither is
                authenticated: anybody can make a header that says so.
        """
        ...
