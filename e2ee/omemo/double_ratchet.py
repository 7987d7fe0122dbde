"""The Double Ratchet on the package doubleratchet, made from our ``Ratchet`` and turned back.

Rule: the only file that knows how that package keeps its state; nothing of it is kept here. A
ratchet of the package serves one message and is thrown away, with all that was done to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import xeddsa
from doubleratchet import (
    AEAD,
    KDF,
    DiffieHellmanRatchetModel,
    DoubleRatchet,
    Header,
    KDFChainModel,
    SkippedMessageKeys,
    SymmetricKeyRatchetModel,
)
from doubleratchet.recommended.diffie_hellman_ratchet_curve25519 import DiffieHellmanRatchet

from e2ee.limits import MAX_SKIPPED
from e2ee.omemo.engine import Chain, Ratchet, RatchetMessage, SkippedKey

__all__ = ["RatchetSuite"]


@dataclass(frozen=True, slots=True)
class RatchetSuite:
    """The functions by which a version of OMEMO parametrises the Double Ratchet (XEP-0384 §4.3).

    The package's own ``DoubleRatchet`` is not used but for one function: it copies its whole state
    for each message, and keeps the skipped keys together, which are rows of their own here.

    Attributes:
        ratchet: joins associated data to a header.
        root: the KDF of the root chain.
        chain: the KDF of the message chains.
        constant: what each step of a message chain is fed.
        aead: encrypts with a message key.
    """

    ratchet: type[DoubleRatchet]
    root: type[KDF]
    chain: type[KDF]
    constant: bytes
    aead: type[AEAD]

    async def encrypt_first(
        self, shared: bytes, peer_public: bytes, plaintext: bytes, bound: bytes
    ) -> tuple[Ratchet, bytes]:
        """Begin as the initiator with a shared secret of 32 bytes; encrypt the first message."""
        return await self._encrypt(await self._created(None, peer_public, shared), plaintext, bound)

    async def decrypt_first(
        self, shared: bytes, own_private: bytes, message: RatchetMessage, bound: bytes
    ) -> tuple[Ratchet, bytes, tuple[SkippedKey, ...]]:
        """Begin as the other side, by decrypting a message of the initiator's first chain."""
        ratchet = await self._created(own_private, message.ratchet_key, shared)
        return await self._decrypt(ratchet, message, bound)

    async def encrypt(
        self, ratchet: Ratchet, plaintext: bytes, bound: bytes
    ) -> tuple[Ratchet, bytes]:
        """Encrypt the next message; return the state after it, and the message."""
        return await self._encrypt(self._loaded(ratchet), plaintext, bound)

    async def decrypt(
        self, ratchet: Ratchet, message: RatchetMessage, bound: bytes
    ) -> tuple[Ratchet, bytes, tuple[SkippedKey, ...]]:
        """Decrypt a message; return the state after it, the plaintext, and what was skipped."""
        return await self._decrypt(self._loaded(ratchet), message, bound)

    async def open(self, key: bytes, message: RatchetMessage, bound: bytes) -> bytes:
        """Decrypt a message by its own key."""
        header = _header(message)
        bound = self.ratchet._build_associated_data(bound, header)
        return await self.aead.decrypt(message.raw, key, bound)

    async def _encrypt(
        self, ratchet: _KnownKey, plaintext: bytes, bound: bytes
    ) -> tuple[Ratchet, bytes]:
        key, header = await ratchet.next_encryption_key()
        bound = self.ratchet._build_associated_data(bound, header)
        return ratchet.saved(), await self.aead.encrypt(plaintext, key, bound)

    async def _decrypt(
        self, ratchet: _KnownKey, message: RatchetMessage, bound: bytes
    ) -> tuple[Ratchet, bytes, tuple[SkippedKey, ...]]:
        key, skipped = await ratchet.next_decryption_key(_header(message))
        plaintext = await self.open(key, message, bound)
        return (
            ratchet.saved(),
            plaintext,
            tuple(SkippedKey(*of_message, kept) for of_message, kept in skipped.items()),
        )

    async def _created(
        self, own_private: bytes | None, peer_public: bytes, shared: bytes
    ) -> _KnownKey:
        return await _KnownKey.create(
            own_private, peer_public, self.root, shared, self.chain, self.constant, MAX_SKIPPED
        )

    def _loaded(self, ratchet: Ratchet) -> _KnownKey:
        model = DiffieHellmanRatchetModel(
            own_ratchet_priv=ratchet.own_private,
            other_ratchet_pub=ratchet.peer_public,
            root_chain=_model(ratchet.root),
            symmetric_key_ratchet=SymmetricKeyRatchetModel(
                receiving_chain=None if ratchet.receiving is None else _model(ratchet.receiving),
                sending_chain=_model(ratchet.sending),
                previous_sending_chain_length=ratchet.previous,
            ),
        )
        loaded = _KnownKey.from_model(model, self.root, self.chain, self.constant, MAX_SKIPPED)
        loaded.know(ratchet.own_private, ratchet.own_public)
        return loaded


class _KnownKey(DiffieHellmanRatchet):
    """The package's ratchet on X25519, which derives each of our public keys only once.

    To derive it for every message was half of the time that encrypting takes. And it asks libsodium
    as x3dh does: OpenSSL derives the public key anew whenever it meets a private one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.know(b"", b"")

    def know(self, private: bytes, public: bytes) -> None:
        """Take these for the halves of one key of ours."""
        self._private, self._public = private, public

    def _derive_pub(self, priv: bytes) -> bytes:  # type: ignore[override]  # instances call it
        if priv is not self._private:
            self.know(priv, xeddsa.priv_to_curve25519_pub(priv))
        return self._public

    @staticmethod
    def _perform_diffie_hellman(own_priv: bytes, other_pub: bytes) -> bytes:
        return xeddsa.x25519(own_priv, other_pub)

    async def next_decryption_key(self, header: Header) -> tuple[bytes, SkippedMessageKeys]:
        """Derive the key of a message, and silently none of a chain that ended too far ahead.

        The package leaves those out as well, but says so by ``warnings.warn``: to the whole
        process, where it may be an exception.
        """
        received = self.receiving_chain_length or 0
        if header.previous_sending_chain_length - received > MAX_SKIPPED:
            header = header._replace(previous_sending_chain_length=0)
        return await super().next_decryption_key(header)

    def saved(self) -> Ratchet:
        """Return the state."""
        model = self.model
        chains = model.symmetric_key_ratchet
        assert chains.sending_chain is not None  # noqa: S101  # there always is one
        return Ratchet(
            own_private=model.own_ratchet_priv,
            own_public=self._derive_pub(model.own_ratchet_priv),
            peer_public=model.other_ratchet_pub,
            root=_chain(model.root_chain),
            sending=_chain(chains.sending_chain),
            receiving=None if chains.receiving_chain is None else _chain(chains.receiving_chain),
            previous=chains.previous_sending_chain_length,
        )


def _header(message: RatchetMessage) -> Header:
    return Header(message.ratchet_key, message.previous, message.number)


def _model(chain: Chain) -> KDFChainModel:
    return KDFChainModel(length=chain.length, key=chain.key)


def _chain(model: KDFChainModel) -> Chain:
    return Chain(model.key, model.length)
