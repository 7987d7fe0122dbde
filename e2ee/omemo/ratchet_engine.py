"""What the engines of both versions share: keys, key agreement and sessions, by X3DH and ratchet.

Rule: the only file that knows the package x3dh. What differs between the versions is
in ``engine_twomemo.py`` and ``engine_oldmemo.py``; no primitive is implemented here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import x3dh
import xeddsa
from x3dh.identity_key_pair import IdentityKeyPairSeed

from e2ee.errors import CannotDecrypt, EngineFailed, ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_SKIPPED
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.curve25519 import KEY_BYTES, check_public_key, is_signed, malformed
from e2ee.omemo.device import IdentityFingerprint
from e2ee.omemo.double_ratchet import RatchetSuite
from e2ee.omemo.engine import (
    Agreement,
    KeyExchange,
    PreKey,
    Random,
    Ratchet,
    RatchetMessage,
    Received,
    SignedPreKey,
    SkippedKey,
)
from e2ee.omemo.version import Version
from e2ee.secret import Secret

__all__ = ["RatchetEngine", "Suite"]

_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Suite:
    """What the package of a version brings.

    Attributes:
        engine: the package's name.
        state: its X3DH.
        info: the info string of that.
        ratchet: its Double Ratchet.
        key_materials: how many bytes of key material a message may carry.
    """

    engine: str
    state: type[x3dh.BaseState]
    info: bytes
    ratchet: RatchetSuite
    key_materials: frozenset[int]


class RatchetEngine(ABC):
    """The half of :class:`~e2ee.omemo.engine.OmemoEngine` that is the same in both versions."""

    version: Version
    _suite: Suite

    # -- what differs

    @abstractmethod
    def _write_identity(self, ed25519: bytes) -> bytes:
        """Return a public identity key as the version writes it."""

    @abstractmethod
    def _read_identity(self, identity: bytes) -> bytes:
        """Return the Ed25519 form of a public identity key that the version writes so."""

    @abstractmethod
    def _encode(self, public: bytes) -> bytes:
        """Return an X25519 key as the version signs it."""

    @abstractmethod
    def _read_signature(self, bundle: Bundle) -> tuple[bytes, bytes]:
        """Return the Ed25519 form of a bundle's identity, and the plain signature by it."""

    @abstractmethod
    def _write_signature(self, signature: bytes, ed25519: bytes) -> bytes:
        """Return a signature by this identity as the version writes it."""

    @abstractmethod
    def _bound(self, bound: bytes, *, from_initiator: bool) -> bytes:
        """Return the associated data of a message in this direction."""

    # -- keys

    def new_identity(self, random: Random) -> Secret:
        """Make an identity key; see :meth:`OmemoEngine.new_identity`."""
        while True:
            seed = random(KEY_BYTES)
            if xeddsa.seed_to_ed25519_pub(seed)[-1] < 0x80:
                return Secret(seed)

    def identity(self, own: Secret) -> bytes:
        """Return our public identity key; see :meth:`OmemoEngine.identity`."""
        return self._write_identity(xeddsa.seed_to_ed25519_pub(own.reveal()))

    def fingerprint(self, identity: bytes) -> IdentityFingerprint:
        """Return the fingerprint of an identity key; see :meth:`OmemoEngine.fingerprint`."""
        try:
            curve25519 = xeddsa.ed25519_pub_to_curve25519_pub(self._read_identity(identity))
        except (ValueError, xeddsa.XEdDSAException):
            raise malformed("no identity key", "XEP-0384 §4.2") from None
        return IdentityFingerprint(curve25519.hex())

    def new_pre_key(self, pre_key_id: int, random: Random) -> PreKey:
        """Make a one-time prekey; see :meth:`OmemoEngine.new_pre_key`."""
        private = random(KEY_BYTES)
        return PreKey(pre_key_id, Secret(private), xeddsa.priv_to_curve25519_pub(private))

    def new_signed_pre_key(self, own: Secret, pre_key_id: int, random: Random) -> SignedPreKey:
        """Make a prekey and sign it; see :meth:`OmemoEngine.new_signed_pre_key`."""
        pair = self.new_pre_key(pre_key_id, random)
        signature = xeddsa.ed25519_seed_sign(own.reveal(), self._encode(pair.public))
        ed25519 = xeddsa.seed_to_ed25519_pub(own.reveal())
        return SignedPreKey(
            pre_key_id, pair.private, pair.public, self._write_signature(signature, ed25519)
        )

    def check_bundle(self, bundle: Bundle) -> None:
        """Check a bundle; see :meth:`OmemoEngine.check_bundle`."""
        self.fingerprint(bundle.identity)
        if len(bundle.signature) != _SIGNATURE_BYTES or not bundle.pre_keys:
            raise malformed("not the bundle of a device", "XEP-0384 §5.3.2")
        for key in (bundle.signed_pre_key, *(public for _, public in bundle.pre_keys)):
            check_public_key(key, "XEP-0384 §5.3.2")
        identity, signature = self._read_signature(bundle)
        if not is_signed(self._encode(bundle.signed_pre_key), signature, identity):
            raise _bad_signature()

    # -- sessions

    async def start(
        self, own: Secret, bundle: Bundle, key_material: Secret
    ) -> tuple[Agreement, bytes]:
        """Agree with a device on a session; see :meth:`OmemoEngine.start`."""
        if not bundle.pre_keys:
            raise malformed("a bundle without prekeys", "XEP-0384 §5.3.2")
        try:
            return await self._start(own, bundle, key_material)
        except x3dh.KeyAgreementException:
            raise _bad_signature() from None
        except (ValueError, xeddsa.XEdDSAException):
            raise malformed("a bundle with unusable keys", "XEP-0384 §5.3.2") from None

    async def _start(
        self, own: Secret, bundle: Bundle, key_material: Secret
    ) -> tuple[Agreement, bytes]:
        """Do what :meth:`start` does; whatever fails is the packages' own exception."""
        identity, signature = self._read_signature(bundle)
        ids = {public: pre_key_id for pre_key_id, public in bundle.pre_keys}
        shared, bound, header = await self._state(own).get_shared_secret_active(
            x3dh.Bundle(identity, bundle.signed_pre_key, signature, frozenset(ids))
        )
        assert header.pre_key is not None  # noqa: S101  # there was one, and it is required
        ratchet, message = await self._suite.ratchet.encrypt_first(
            shared, bundle.signed_pre_key, key_material.reveal(), bound
        )
        exchange = KeyExchange(
            identity=self._write_identity(header.identity_key),
            ephemeral=header.ephemeral_key,
            signed_pre_key_id=bundle.signed_pre_key_id,
            pre_key_id=ids[header.pre_key],
        )
        return Agreement(exchange, ratchet, bound), message

    async def accept(
        self,
        own: Secret,
        signed_pre_key: SignedPreKey,
        pre_key: PreKey,
        exchange: KeyExchange,
        message: RatchetMessage,
    ) -> tuple[Agreement, Received]:
        """Build the session that a key exchange asks for; see :meth:`OmemoEngine.accept`."""
        _check_distance(message.number)
        if message.ratchet_key == signed_pre_key.public:
            raise CannotDecrypt
        try:
            return await self._accept(own, signed_pre_key, pre_key, exchange, message)
        except Exception:  # whatever a library makes of a forgery
            raise CannotDecrypt from None

    async def _accept(
        self,
        own: Secret,
        signed_pre_key: SignedPreKey,
        pre_key: PreKey,
        exchange: KeyExchange,
        message: RatchetMessage,
    ) -> tuple[Agreement, Received]:
        """Do what :meth:`accept` does; whatever fails is the packages' own exception."""
        shared, bound, pair = await self._state(
            own, signed_pre_key, pre_key
        ).get_shared_secret_passive(
            x3dh.Header(
                self._read_identity(exchange.identity),
                exchange.ephemeral,
                signed_pre_key.public,
                pre_key.public,
            )
        )
        ratchet, plaintext, skipped = await self._suite.ratchet.decrypt_first(
            shared, pair.priv, message, bound
        )
        return Agreement(exchange, ratchet, bound), self._received(plaintext, ratchet, skipped, 0)

    async def encrypt(
        self, ratchet: Ratchet, bound: bytes, key_material: Secret, *, initiator: bool
    ) -> tuple[Ratchet, bytes]:
        """Encrypt key material with a session; see :meth:`OmemoEngine.encrypt`."""
        try:
            return await self._suite.ratchet.encrypt(
                ratchet, key_material.reveal(), self._bound(bound, from_initiator=initiator)
            )
        except Exception:  # nothing here is a peer's
            raise EngineFailed(self._suite.engine, "cannot encrypt") from None

    async def decrypt(
        self,
        ratchet: Ratchet,
        bound: bytes,
        message: RatchetMessage,
        skipped: SkippedKey | None,
        *,
        initiator: bool,
    ) -> Received:
        """Decrypt key material with a session; see :meth:`OmemoEngine.decrypt`."""
        lost = 0 if skipped else _check_place(ratchet, message)
        bound = self._bound(bound, from_initiator=not initiator)
        try:
            return await self._decrypt(ratchet, bound, message, skipped, lost)
        except Exception:  # whatever a library makes of a forgery
            raise CannotDecrypt from None

    async def _decrypt(
        self,
        ratchet: Ratchet,
        bound: bytes,
        message: RatchetMessage,
        skipped: SkippedKey | None,
        lost: int,
    ) -> Received:
        """Do what :meth:`decrypt` does; whatever fails is the packages' own exception."""
        if skipped:
            plaintext = await self._suite.ratchet.open(skipped.key, message, bound)
            return self._received(plaintext, ratchet, (), 0)
        after, plaintext, passed_over = await self._suite.ratchet.decrypt(ratchet, message, bound)
        return self._received(plaintext, after, passed_over, lost)

    def _received(
        self, plaintext: bytes, ratchet: Ratchet, skipped: tuple[SkippedKey, ...], lost: int
    ) -> Received:
        """Return what was decrypted, if it is key material of the version at all."""
        if len(plaintext) not in self._suite.key_materials:
            raise CannotDecrypt
        return Received(Secret(plaintext), ratchet, skipped, lost)

    def _state(
        self,
        own: Secret,
        signed_pre_key: SignedPreKey | None = None,
        pre_key: PreKey | None = None,
    ) -> x3dh.BaseState:
        """Return the package's X3DH with our identity and the keys that are needed, no others."""
        private = own.reveal() if signed_pre_key is None else signed_pre_key.private.reveal()
        return self._suite.state.from_model(
            x3dh.BaseStateModel.model_construct(
                identity_key=IdentityKeyPairSeed(own.reveal()).model,
                # Its signature and age are never asked for; an initiator does not use it at all.
                signed_pre_key=x3dh.SignedPreKeyPairModel.model_construct(
                    priv=private, sig=b"", timestamp=0
                ),
                old_signed_pre_key=None,
                pre_keys=frozenset() if pre_key is None else frozenset({pre_key.private.reveal()}),
            ),
            x3dh.IdentityKeyFormat.ED_25519,
            x3dh.HashFunction.SHA_256,
            self._suite.info,
        )


def _bad_signature() -> PeerMisbehaved:
    return PeerMisbehaved(
        ErrorCode.BAD_SIGNATURE, "the signed prekey is not signed by the identity", rule="X3DH §3.3"
    )


def _check_place(ratchet: Ratchet, message: RatchetMessage) -> int:
    """Check that a message can be one that this session has not decrypted yet.

    Returns:
        How many messages of the chain before are lost with it.
    """
    received = ratchet.receiving.length if ratchet.receiving else 0
    if message.ratchet_key == ratchet.peer_public:
        if ratchet.receiving is None:
            raise CannotDecrypt  # the peer's prekey, by which nothing is ever sent
        if message.number < received:
            raise PeerMisbehaved(
                ErrorCode.REPLAY, "a message decrypted before", rule="XEP-0384 §4.3"
            )
        _check_distance(message.number - received)
        return 0
    if message.ratchet_key == ratchet.own_public:
        raise CannotDecrypt  # our own message, reflected
    _check_distance(message.number)
    passed_over = message.previous - received if ratchet.receiving else 0
    return passed_over if passed_over > MAX_SKIPPED else 0


def _check_distance(ahead: int) -> None:
    """Check how many messages of one chain a message passes over."""
    if ahead > MAX_SKIPPED:
        raise PeerMisbehaved(
            ErrorCode.TOO_MANY_SKIPPED,
            f"more than {MAX_SKIPPED} messages were passed over",
            rule="XEP-0384 §4.3",
        )
