"""Containers of version 2 for the tests, in any of which anything can be wrong (RFC 9580 §5.13.2).

Rule: a second implementation beside ``ox.aead``, by the letter; it judges nothing. Keys are
Sequoia's, which say that they take such containers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache

import pysequoia
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESOCB3
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from e2ee.secret import Secret
from ox.key_packets import X25519, PublicKey
from ox.packets import Tag, write_packet
from tests.support.openpgp import encryption_keys_of

__all__ = ["KINDS", "Sealed", "message_to", "newer_key", "sealed", "way_in"]

KINDS = ["cv25519", "x25519", "rsa"]
"""The kinds of encryption keys that :func:`newer_key` makes."""


@cache
def newer_key(kind: str) -> tuple[bytes, Secret]:
    """Return a key of version 4 whose features say that it takes containers of version 2."""
    match kind:
        case "rsa":
            made = pysequoia.Tsk.generate("xmpp:a@b.c", cipher_suite=pysequoia.CipherSuite.RSA2k)
        case "x25519":
            x25519 = pysequoia.EncryptionAlgorithm.X25519
            made = pysequoia.Tsk.generate("xmpp:a@b.c", encryption_algorithm=x25519)
        case _:
            made = pysequoia.Tsk.generate("xmpp:a@b.c")
    return bytes(made.extract_certificate()), Secret(bytes(made))


@dataclass(frozen=True)
class Sealed:
    """A container in its parts; ``replace`` one, and it is wrong."""

    head: bytes
    salt: bytes
    chunks: tuple[bytes, ...]
    last_tag: bytes

    @property
    def body(self) -> bytes:
        """The body of its packet."""
        return self.head + self.salt + b"".join(self.chunks) + self.last_tag

    @property
    def packet(self) -> bytes:
        """The whole packet."""
        return write_packet(Tag.SEIPD, self.body)

    def with_chunks(self, *chunks: bytes) -> Sealed:
        """Return it with other chunks and the same last tag."""
        return replace(self, chunks=chunks)


def sealed(
    packets: bytes, key: bytes, *, cipher: int = 9, mode: int = 2, size_octet: int = 0
) -> Sealed:
    """Encrypt ``packets`` under a session key, in chunks of ``64 << size_octet`` octets."""
    head, salt = bytes((2, cipher, mode, size_octet)), os.urandom(32)
    bound = b"\xd2" + head
    nonce_length = {2: 15, 3: 12}[mode]
    length = len(key) + nonce_length - 8
    derived = HKDF(SHA256(), length, salt, bound).derive(key)
    kind = AESOCB3 if mode == 2 else AESGCM
    aead: AESOCB3 | AESGCM = kind(derived[: len(key)])
    prefix, size = derived[len(key) :], 64 << size_octet
    chunks = tuple(
        aead.encrypt(prefix + index.to_bytes(8), packets[start : start + size], bound)
        for index, start in enumerate(range(0, len(packets), size))
    )
    last = aead.encrypt(prefix + len(chunks).to_bytes(8), b"", bound + len(packets).to_bytes(8))
    return Sealed(head, salt, chunks, last)


def way_in(recipient: PublicKey, key: bytes) -> bytes:
    """Return a packet of version 6 that gives ``key`` to the holder of an X25519 key."""
    assert isinstance(recipient.numbers, X25519)
    ephemeral = X25519PrivateKey.generate()
    point = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient.numbers.point))
    keyed = point + recipient.numbers.point + shared
    wrapped = aes_key_wrap(HKDF(SHA256(), 16, None, b"OpenPGP X25519").derive(keyed), key)
    name = b"\x15\x04" + recipient.fingerprint
    fields = b"\x19" + point + bytes((len(wrapped),)) + wrapped
    return write_packet(Tag.PKESK, b"\x06" + name + fields)


def message_to(certificate: bytes, packets: bytes, *, size_octet: int = 6) -> bytes:
    """Encrypt any octets to the X25519 key of a certificate."""
    (recipient,) = encryption_keys_of(certificate)
    key = os.urandom(32)
    return way_in(recipient, key) + sealed(packets, key, size_octet=size_octet).packet
