"""TwomemoEngine: version 2 of OMEMO (XEP-0384 0.9), on the package twomemo.

Rule: the only file that knows that package; it keeps no state and implements no primitive.
"""

from __future__ import annotations

from hmac import compare_digest, digest
from typing import Final

import xeddsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7
from twomemo import twomemo
from twomemo import twomemo_pb2 as pb2

from e2ee.errors import CannotDecrypt
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.curve25519 import check_public_key, is_signed, malformed
from e2ee.omemo.device import IdentityFingerprint
from e2ee.omemo.double_ratchet import RatchetSuite
from e2ee.omemo.engine import KeyExchange, Payload, Random, RatchetMessage
from e2ee.omemo.protobuf import read_fields
from e2ee.omemo.ratchet_engine import RatchetEngine, Suite
from e2ee.omemo.version import Version
from e2ee.secret import Secret

__all__ = ["TwomemoEngine"]

_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16
_BLOCK_BYTES: Final = 16
_MESSAGES: Final = "XEP-0384 §4.3"


class TwomemoEngine(RatchetEngine):
    """``OmemoEngine`` of version 2."""

    version = Version.TWO
    _suite = Suite(
        engine="twomemo",
        state=twomemo.StateImpl,
        info=twomemo.StateImpl.INFO,
        ratchet=RatchetSuite(
            ratchet=twomemo.DoubleRatchetImpl,
            root=twomemo.RootChainKDFImpl,
            chain=twomemo.MessageChainKDFImpl,
            constant=twomemo.DoubleRatchetImpl.MESSAGE_CHAIN_CONSTANT,
            aead=twomemo.AEADImpl,
        ),
        key_materials=frozenset({_KEY_BYTES, _KEY_BYTES + _TAG_BYTES}),
    )

    # -- keys

    def sign_label(self, own: Secret, label: str) -> bytes:
        """Sign a device label; see :meth:`OmemoEngine.sign_label`."""
        return xeddsa.ed25519_seed_sign(own.reveal(), label.encode())

    def is_label_of(self, label: str, signature: bytes, fingerprint: IdentityFingerprint) -> bool:
        """Say whether a label was signed so; see :meth:`OmemoEngine.is_label_of`.

        The fingerprint does not say which of the two Ed25519 forms the identity has.
        """
        curve25519 = bytes.fromhex(fingerprint)
        return any(
            is_signed(
                label.encode(), signature, xeddsa.curve25519_pub_to_ed25519_pub(curve25519, sign)
            )
            for sign in (False, True)
        )

    # -- payloads

    def seal_payload(self, plaintext: bytes, random: Random) -> tuple[Payload, Secret]:
        """Encrypt a payload (XEP-0384 §4.4); see :meth:`OmemoEngine.seal_payload`."""
        key = random(_KEY_BYTES)
        cipher, authentication_key = _payload_keys(key)
        padder = PKCS7(8 * _BLOCK_BYTES).padder()
        encryptor = cipher.encryptor()
        padded = padder.update(plaintext) + padder.finalize()
        ciphertext = encryptor.update(padded) + encryptor.finalize()
        tag = digest(authentication_key, ciphertext, "sha256")[:_TAG_BYTES]
        return Payload(ciphertext), Secret(key + tag)

    def open_payload(self, payload: Payload, key_material: Secret) -> bytes:
        """Decrypt a payload (XEP-0384 §4.5); see :meth:`OmemoEngine.open_payload`."""
        try:
            return _open_payload(payload.ciphertext, key_material)
        except ValueError:
            raise CannotDecrypt from None

    @property
    def empty(self) -> Secret | None:
        """The key material of every empty message; see :attr:`OmemoEngine.empty`."""
        return Secret(bytes(_KEY_BYTES))

    # -- messages

    def read_message(self, raw: bytes) -> RatchetMessage:
        """Read the header of a message; see :meth:`OmemoEngine.read_message`."""
        _, outer = read_fields(raw, numbers=(), octets=(1, 2))
        numbers, octets = read_fields(outer[2], numbers=(1, 2), octets=(3, 4))
        if len(outer[1]) != _TAG_BYTES:
            raise malformed("an authentication tag of the wrong length", _MESSAGES)
        check_public_key(octets[3], _MESSAGES)
        if not octets[4] or len(octets[4]) % _BLOCK_BYTES:
            raise malformed("a ciphertext of no whole blocks", _MESSAGES)
        return RatchetMessage(octets[3], numbers[1], numbers[2], raw)

    def read_exchange(self, raw: bytes) -> tuple[KeyExchange, RatchetMessage]:
        """Read a key exchange with its message; see :meth:`OmemoEngine.read_exchange`."""
        numbers, octets = read_fields(raw, numbers=(1, 2), octets=(3, 4, 5))
        self.fingerprint(octets[3])
        check_public_key(octets[4], _MESSAGES)
        exchange = KeyExchange(octets[3], octets[4], numbers[2], numbers[1])
        return exchange, self.read_message(octets[5])

    def write_exchange(self, exchange: KeyExchange, message: bytes) -> bytes:
        """Put a key exchange around a message; see :meth:`OmemoEngine.write_exchange`."""
        written: bytes = pb2.OMEMOKeyExchange(
            pk_id=exchange.pre_key_id,
            spk_id=exchange.signed_pre_key_id,
            ik=exchange.identity,
            ek=exchange.ephemeral,
            message=pb2.OMEMOAuthenticatedMessage.FromString(message),
        ).SerializeToString()
        return written

    # -- how this version writes what both have

    def _write_identity(self, ed25519: bytes) -> bytes:
        return ed25519

    def _read_identity(self, identity: bytes) -> bytes:
        return identity

    def _encode(self, public: bytes) -> bytes:
        return public

    def _read_signature(self, bundle: Bundle) -> tuple[bytes, bytes]:
        return bundle.identity, bundle.signature

    def _write_signature(self, signature: bytes, ed25519: bytes) -> bytes:
        return signature

    def _bound(self, bound: bytes, *, from_initiator: bool) -> bytes:
        return bound


def _payload_keys(key: bytes) -> tuple[Cipher[CBC], bytes]:
    """Return the cipher and the authentication key that follow from a payload's key."""
    kdf = HKDF(algorithm=SHA256(), length=80, salt=bytes(32), info=b"OMEMO Payload")
    derived = kdf.derive(key)
    return Cipher(AES256(derived[:32]), CBC(derived[64:])), derived[32:64]


def _open_payload(ciphertext: bytes, key_material: Secret) -> bytes:
    """Authenticate all of a ciphertext, then decrypt it; whatever is wrong is a ``ValueError``."""
    raw = key_material.reveal()
    cipher, authentication_key = _payload_keys(raw[:_KEY_BYTES])
    tag = digest(authentication_key, ciphertext, "sha256")[:_TAG_BYTES]
    if not compare_digest(tag, raw[_KEY_BYTES:]):
        raise ValueError("not authentic")
    decryptor = cipher.decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    unpadder = PKCS7(8 * _BLOCK_BYTES).unpadder()
    return unpadder.update(padded) + unpadder.finalize()
