"""OpenPGP for XMPP against PGPy, whose keys and messages are in the wild; both ways.

Rule: a peer of the tests and nothing more: it accepts what must be refused (docs/dependencies.md).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import pytest

from tests.support.ox_interop import OxInterop, PeerRefused
from tests.support.peers import require_module

pytestmark = pytest.mark.slow


def quietly(work: Callable[..., bytes]) -> Callable[..., bytes]:
    """Let PGPy warn of all that it has not implemented."""

    @wraps(work)
    def wrapped(*arguments: Any) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work(*arguments)

    return wrapped


class PgpyPeer:
    """``tests.support.ox_interop.OxPeer`` on PGPy."""

    kinds: Sequence[str] = ("curve25519", "rsa3072", "everything")

    def __init__(self) -> None:
        self._pgpy: Any = require_module("pgpy")
        self._constants: Any = require_module("pgpy.constants")
        self._made: dict[tuple[str, str], bytes] = {}

    @quietly
    def new_key(self, user_id: str, kind: str) -> bytes:
        if (user_id, kind) not in self._made:
            self._made[user_id, kind] = bytes(self._generate(user_id, kind))
        return self._made[user_id, kind]

    def _generate(self, user_id: str, kind: str) -> Any:
        c, new = self._constants, self._pgpy.PGPKey.new
        signing = {c.KeyFlags.Sign, c.KeyFlags.Certify}
        encrypting = {c.KeyFlags.EncryptCommunications, c.KeyFlags.EncryptStorage}
        if kind == "curve25519":
            key = new(c.PubKeyAlgorithm.EdDSA, c.EllipticCurveOID.Ed25519)
            subkey = new(c.PubKeyAlgorithm.ECDH, c.EllipticCurveOID.Curve25519)
        else:
            key = new(c.PubKeyAlgorithm.RSAEncryptOrSign, 3072)
            subkey = new(c.PubKeyAlgorithm.RSAEncryptOrSign, 3072)
        key.add_uid(
            self._pgpy.PGPUID.new(user_id),
            usage=signing | (encrypting if kind == "everything" else set()),
            hashes=[c.HashAlgorithm.SHA512],
            ciphers=[c.SymmetricKeyAlgorithm.AES256],
            compression=[c.CompressionAlgorithm.ZLIB],
        )
        if kind != "everything":
            key.add_subkey(subkey, usage=encrypting)
        return key

    def _read(self, raw: bytes) -> Any:
        return self._pgpy.PGPKey.from_blob(raw)[0]

    @quietly
    def signcrypt(self, data: bytes, signer: bytes, to: Sequence[bytes]) -> bytes:
        c, new = self._constants, self._pgpy.PGPMessage.new
        message = new(data, format="b", compression=c.CompressionAlgorithm.ZLIB)
        message |= self._read(signer).sign(message, hash=c.HashAlgorithm.SHA512)
        cipher = c.SymmetricKeyAlgorithm.AES256
        session_key = cipher.gen_key()
        for raw in to:
            message = self._read(raw).encrypt(message, cipher=cipher, sessionkey=session_key)
        return bytes(message)

    @quietly
    def open(self, message: bytes, key: bytes, signer: bytes) -> bytes:
        read = self._pgpy.PGPMessage.from_blob(message)
        try:
            opened = self._read(key).decrypt(read)
            verified = self._read(signer).verify(opened)
        except Exception:
            raise PeerRefused from None
        if not list(verified.good_signatures):
            raise PeerRefused
        return _octets(opened.message)

    @quietly
    def lock(self, data: bytes, passphrase: bytes) -> bytes:
        return bytes(self._pgpy.PGPMessage.new(data, format="b").encrypt(passphrase.decode()))

    @quietly
    def unlock(self, message: bytes, passphrase: bytes) -> bytes:
        read = self._pgpy.PGPMessage.from_blob(message)
        try:
            return _octets(read.decrypt(passphrase.decode()).message)
        except Exception:
            raise PeerRefused from None


def _octets(found: bytes | bytearray | str) -> bytes:
    return found.encode() if isinstance(found, str) else bytes(found)


@pytest.fixture(scope="module")
def peer() -> PgpyPeer:
    return PgpyPeer()


class TestPgpy(OxInterop):
    """The suite, nothing else."""
