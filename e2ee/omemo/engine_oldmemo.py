"""OldmemoEngine: the legacy version of OMEMO (XEP-0384 0.2.2), on the package oldmemo.

Rule: the only file that knows that package, which is AGPL and installed by whoever asks for it; it
keeps no state and implements no primitive.
"""

from __future__ import annotations

from typing import Final

import xeddsa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from oldmemo import oldmemo
from oldmemo import oldmemo_pb2 as pb2

from e2ee.errors import ApiMisuse, CannotDecrypt
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.curve25519 import check_public_key, malformed
from e2ee.omemo.device import IdentityFingerprint
from e2ee.omemo.double_ratchet import RatchetSuite
from e2ee.omemo.engine import KeyExchange, Payload, Random, RatchetMessage
from e2ee.omemo.protobuf import read_fields
from e2ee.omemo.ratchet_engine import RatchetEngine, Suite
from e2ee.omemo.version import Version
from e2ee.secret import Secret

__all__ = ["OldmemoEngine"]

_KEY_BYTES: Final = 16
_TAG_BYTES: Final = 16
_IV_BYTES: Final = 12
_IVS: Final = frozenset({12, 16})  # the second is what the first clients wrote
_MESSAGE_TAG_BYTES: Final = 8
_BLOCK_BYTES: Final = 16
_FORMAT: Final = b"\x33"  # of libsignal: version 3, by somebody who knows no later one
_CURVE: Final = b"\x05"  # of libsignal: what every encoded key begins with
_SIGN_BIT: Final = 0x80
_RULE: Final = "XEP-0384 0.2.2 §4"


class OldmemoEngine(RatchetEngine):
    """``OmemoEngine`` of the legacy version: libsignal's messages, AES-128-GCM payloads."""

    version = Version.LEGACY
    _suite = Suite(
        engine="oldmemo",
        state=oldmemo.StateImpl,
        info=oldmemo.StateImpl.INFO,
        ratchet=RatchetSuite(
            ratchet=oldmemo.DoubleRatchetImpl,
            root=oldmemo.RootChainKDFImpl,
            chain=oldmemo.MessageChainKDFImpl,
            constant=oldmemo.DoubleRatchetImpl.MESSAGE_CHAIN_CONSTANT,
            aead=oldmemo.AEADImpl,
        ),
        key_materials=frozenset({_KEY_BYTES, _KEY_BYTES + _TAG_BYTES}),
    )

    # -- keys

    def sign_label(self, own: Secret, label: str) -> bytes:
        """Refuse: this version knows no labels; see :meth:`OmemoEngine.sign_label`."""
        raise ApiMisuse("the legacy version knows no device labels")

    def is_label_of(self, label: str, signature: bytes, fingerprint: IdentityFingerprint) -> bool:
        """Return ``False``: this version knows no labels."""
        return False

    # -- payloads

    def seal_payload(self, plaintext: bytes, random: Random) -> tuple[Payload, Secret]:
        """Encrypt a payload (0.2.2 §4.5); see :meth:`OmemoEngine.seal_payload`."""
        key, iv = random(_KEY_BYTES), random(_IV_BYTES)
        sealed = AESGCM(key).encrypt(iv, plaintext, None)
        ciphertext, tag = sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
        return Payload(ciphertext, iv), Secret(key + tag)

    def open_payload(self, payload: Payload, key_material: Secret) -> bytes:
        """Decrypt a payload; see :meth:`OmemoEngine.open_payload`."""
        if payload.iv is None or len(payload.iv) not in _IVS:
            raise CannotDecrypt
        if len(key_material) != _KEY_BYTES + _TAG_BYTES:
            raise CannotDecrypt
        try:
            return _open_payload(payload.ciphertext, payload.iv, key_material)
        except InvalidTag:
            raise CannotDecrypt from None

    @property
    def empty(self) -> Secret | None:
        """Return ``None``: a message without payload transports a key."""
        return None

    # -- messages

    def read_message(self, raw: bytes) -> RatchetMessage:
        """Read the header of a message; see :meth:`OmemoEngine.read_message`."""
        fields = _formatted(raw[:-_MESSAGE_TAG_BYTES])
        numbers, octets = read_fields(fields, numbers=(2, 3), octets=(1, 4))
        if not octets[4] or len(octets[4]) % _BLOCK_BYTES:
            raise malformed("a ciphertext of no whole blocks", _RULE)
        return RatchetMessage(_decoded(octets[1]), numbers[2], numbers[3], raw)

    def read_exchange(self, raw: bytes) -> tuple[KeyExchange, RatchetMessage]:
        """Read a key exchange with its message; see :meth:`OmemoEngine.read_exchange`."""
        numbers, octets = read_fields(_formatted(raw), numbers=(1, 6), octets=(2, 3, 4))
        identity = _decoded(octets[3])
        self.fingerprint(identity)
        exchange = KeyExchange(identity, _decoded(octets[2]), numbers[6], numbers[1])
        return exchange, self.read_message(octets[4])

    def write_exchange(self, exchange: KeyExchange, message: bytes) -> bytes:
        """Put a key exchange around a message; see :meth:`OmemoEngine.write_exchange`."""
        written: bytes = pb2.OMEMOKeyExchange(
            pk_id=exchange.pre_key_id,
            spk_id=exchange.signed_pre_key_id,
            ik=_CURVE + exchange.identity,
            ek=_CURVE + exchange.ephemeral,
            message=message,
        ).SerializeToString()
        return _FORMAT + written

    # -- how this version writes what both have

    def _write_identity(self, ed25519: bytes) -> bytes:
        return xeddsa.ed25519_pub_to_curve25519_pub(ed25519)

    def _read_identity(self, identity: bytes) -> bytes:
        check_public_key(identity, _RULE)
        return xeddsa.curve25519_pub_to_ed25519_pub(identity, False)

    def _encode(self, public: bytes) -> bytes:
        return _CURVE + public

    def _read_signature(self, bundle: Bundle) -> tuple[bytes, bytes]:
        """Take the sign of the identity out of the signature's top bit, which is always 0."""
        last = bundle.signature[-1]
        identity = xeddsa.curve25519_pub_to_ed25519_pub(bundle.identity, bool(last & _SIGN_BIT))
        return identity, bundle.signature[:-1] + bytes([last & ~_SIGN_BIT])

    def _write_signature(self, signature: bytes, ed25519: bytes) -> bytes:
        return signature[:-1] + bytes([signature[-1] | ed25519[-1] & _SIGN_BIT])

    def _bound(self, bound: bytes, *, from_initiator: bool) -> bytes:
        """Put the sender's identity first, as libsignal does; X3DH puts the initiator's there."""
        half = len(bound) // 2
        return bound if from_initiator else bound[half:] + bound[:half]


def _formatted(raw: bytes) -> bytes:
    """Return what follows the byte that names libsignal's format."""
    if raw[:1] != _FORMAT:
        raise malformed("not a message of libsignal's format 3", _RULE)
    return raw[1:]


def _decoded(key: bytes) -> bytes:
    """Return an X25519 key without the byte that it is encoded with."""
    if key[:1] != _CURVE:
        raise malformed("a key of an unknown curve", _RULE)
    check_public_key(key[1:], _RULE)
    return key[1:]


def _open_payload(ciphertext: bytes, iv: bytes, key_material: Secret) -> bytes:
    """Decrypt AES-128-GCM; what is not authentic is an ``InvalidTag``."""
    raw = key_material.reveal()
    return AESGCM(raw[:_KEY_BYTES]).decrypt(iv, ciphertext + raw[_KEY_BYTES:], None)
