"""The Double Ratchet as pure steps of our ``Ratchet``, on what the package doubleratchet derives.

Rule: the order of the steps alone (Double Ratchet §3); what derives a key and what encrypts with it
is the package's. Nothing is kept here, and a step that fails has changed nothing.
For reviewers: why it is ours is in D-49.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import xeddsa
from doubleratchet import AEAD, KDF, DoubleRatchet, Header

from e2ee.limits import MAX_SKIPPED
from e2ee.omemo.engine import Chain, Ratchet, RatchetMessage, SkippedKey
from e2ee.primitives import NativePrimitives

__all__ = ["RatchetSuite"]

_KEY: Final = 32  # bytes of every key


@dataclass(frozen=True, slots=True)
class RatchetSuite:
    """The functions by which a version of OMEMO parametrises the Double Ratchet (XEP-0384 §4.3).

    The package's own ratchets are not used: they validate and copy the whole state, and derive our
    public key anew, for each message; and they keep the skipped keys with the state, which are rows
    of their own here.

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
        private, public = _new_pair()
        root, sending = await self._new_chain(Chain(shared, 0), private, peer_public)
        ratchet = Ratchet(private, public, peer_public, root, sending, None, None)
        return await self.encrypt(ratchet, plaintext, bound)

    async def decrypt_first(
        self, shared: bytes, own_private: bytes, message: RatchetMessage, bound: bytes
    ) -> tuple[Ratchet, bytes, tuple[SkippedKey, ...]]:
        """Begin as the other side, by decrypting a message of the initiator's first chain."""
        ratchet = await self._turned(Chain(shared, 0), own_private, message.ratchet_key, None)
        return await self.decrypt(ratchet, message, bound)

    async def encrypt(
        self, ratchet: Ratchet, plaintext: bytes, bound: bytes
    ) -> tuple[Ratchet, bytes]:
        """Encrypt the next message; return the state after it, and the message."""
        header = Header(ratchet.own_public, ratchet.previous or 0, ratchet.sending.length)
        sending, key = await self._step(ratchet.sending)
        bound = self.ratchet._build_associated_data(bound, header)
        return replace(ratchet, sending=sending), await self.aead.encrypt(plaintext, key, bound)

    async def decrypt(
        self, ratchet: Ratchet, message: RatchetMessage, bound: bytes
    ) -> tuple[Ratchet, bytes, tuple[SkippedKey, ...]]:
        """Decrypt a message; return the state after it, the plaintext, and what was skipped.

        The caller has checked how far ahead it is in its own chain. Of a chain that ended more than
        ``limits.MAX_SKIPPED`` ahead no key is derived.
        """
        skipped: list[SkippedKey] = []
        if message.ratchet_key != ratchet.peer_public:
            ended = ratchet.receiving
            if ended is not None and message.previous - ended.length <= MAX_SKIPPED:
                await self._skip(ended, message.previous, ratchet.peer_public, skipped)
            ratchet = await self._turned(
                ratchet.root, ratchet.own_private, message.ratchet_key, ratchet.sending.length
            )
        assert ratchet.receiving is not None  # noqa: S101  # the peer has sent this
        receiving = await self._skip(
            ratchet.receiving, message.number, message.ratchet_key, skipped
        )
        receiving, key = await self._step(receiving)
        plaintext = await self.open(key, message, bound)
        return replace(ratchet, receiving=receiving), plaintext, tuple(skipped)

    async def open(self, key: bytes, message: RatchetMessage, bound: bytes) -> bytes:
        """Decrypt a message by its own key."""
        header = Header(message.ratchet_key, message.previous, message.number)
        bound = self.ratchet._build_associated_data(bound, header)
        return await self.aead.decrypt(message.raw, key, bound)

    async def _turned(
        self, root: Chain, own_private: bytes, peer_public: bytes, previous: int | None
    ) -> Ratchet:
        """Return the ratchet under a new key of the peer: a chain of theirs, a key and one of ours.

        Args:
            root: the root chain.
            own_private: the private key of ours that the peer knows the public half of.
            peer_public: the peer's new key.
            previous: the length of the sending chain that ends, where there is one.
        """
        root, receiving = await self._new_chain(root, own_private, peer_public)
        private, public = _new_pair()
        root, sending = await self._new_chain(root, private, peer_public)
        return Ratchet(private, public, peer_public, root, sending, receiving, previous)

    async def _new_chain(
        self, root: Chain, own_private: bytes, peer_public: bytes
    ) -> tuple[Chain, Chain]:
        """Return the root chain after a step, and the message chain that it yields."""
        agreed = xeddsa.x25519(own_private, peer_public)
        derived = await self.root.derive(root.key, agreed, 2 * _KEY)
        return Chain(derived[:_KEY], root.length + 1), Chain(derived[_KEY:], 0)

    async def _step(self, chain: Chain) -> tuple[Chain, bytes]:
        """Return a message chain after a step, and the message key that it yields."""
        derived = await self.chain.derive(chain.key, self.constant, 2 * _KEY)
        return Chain(derived[:_KEY], chain.length + 1), derived[_KEY:]

    async def _skip(
        self, chain: Chain, number: int, ratchet_key: bytes, skipped: list[SkippedKey]
    ) -> Chain:
        """Return a chain moved on to a message, and add the keys of those before to ``skipped``."""
        while chain.length < number:
            of = chain.length
            chain, key = await self._step(chain)
            skipped.append(SkippedKey(ratchet_key, of, key))
        return chain


def _new_pair() -> tuple[bytes, bytes]:
    """Return a new ratchet key of ours, private and public."""
    private = NativePrimitives().random(_KEY)
    return private, xeddsa.priv_to_curve25519_pub(private)
