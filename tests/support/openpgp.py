"""OpenPGP for the tests: our calls put together, and messages that nobody honest would write.

Rule: the writers here are a second implementation, naive and whole in memory, so that what they
agree on with ``ox`` is not one mistake twice. No private name of ``ox`` is used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

import pysequoia
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from e2ee.secret import Secret
from ox.certificates import check_certificate, check_secret_key
from ox.container import unlock, unwrap
from ox.grammar import check_encrypted_message, check_passphrase_message
from ox.key_packets import PublicKey
from ox.keygen import generate_key
from ox.packets import Tag, read_packets, write_packet
from ox.pkesk import DecryptionKey, decryption_keys
from ox.s2k import derive

__all__ = [
    "PASSPHRASE",
    "cfb",
    "decryption_keys_of",
    "encryption_keys_of",
    "literal",
    "locked",
    "naive_s2k",
    "one_pass",
    "own_key",
    "seipd",
    "signature",
    "skesk",
    "unlocked",
    "unwrapped",
]

PASSPHRASE = Secret(b"ZSRD5lK9mz-5VHNyu2N1XLiJZ8I87jkv85ceZkVrOGA")


def unlocked(data: bytes, passphrase: Secret = PASSPHRASE) -> bytes:
    """Guard, stretch and open a passphrase message: what an engine does in three places."""
    message = check_passphrase_message(data)
    skesk_ = message.skesk
    return unlock(message, derive(skesk_.s2k, passphrase, skesk_.cipher.key_length))


def unwrapped(data: bytes, keys: Sequence[DecryptionKey]) -> bytes:
    """Guard and open a message to keys."""
    return unwrap(check_encrypted_message(data), keys, os.urandom)


@cache
def own_key() -> tuple[bytes, Secret]:
    """Return a key of ours, public and secret part, made once."""
    return generate_key("xmpp:juliet@capulet.lit", datetime(2026, 1, 1, tzinfo=UTC), os.urandom)


def decryption_keys_of(secret_key: Secret) -> tuple[DecryptionKey, ...]:
    """Return the keys of a transferable secret key that decrypt."""
    return _prepared(secret_key.reveal())


@cache
def _prepared(secret_key: bytes) -> tuple[DecryptionKey, ...]:
    return decryption_keys(check_secret_key(Secret(secret_key)))


def encryption_keys_of(certificate: bytes) -> list[PublicKey]:
    """Return the keys of a certificate that Sequoia would encrypt to."""
    probe = pysequoia.encrypt(b"", [pysequoia.Cert.from_bytes(certificate)], armor=False)
    taken = [packet.body for packet in read_packets(probe, most=9) if packet.tag == Tag.PKESK]
    named = {body[1:9] if body[0] == 3 else body[15:23] for body in taken}  # version 3, or 6
    return [key for key in check_certificate(certificate) if key.key_id in named]


def naive_s2k(hash_name: str, salt: bytes, count: int, passphrase: bytes, length: int) -> bytes:
    """Return RFC 4880 §3.7.1 by the letter: the whole input in memory, hashed at once."""
    unit = salt + passphrase
    size = max(count, len(unit))
    repeated = (unit * (size // max(len(unit), 1) + 1))[:size]
    key = b""
    zeros = b""
    while len(key) < length:
        key += hashlib.new(hash_name, zeros + repeated).digest()
        zeros += b"\0"
    return key[:length]


def cfb(key: bytes, data: bytes) -> bytes:
    """Encrypt with AES-CFB and a zero IV."""
    encrypted: bytes = Cipher(algorithms.AES(key), CFB(bytes(16))).encryptor().update(data)
    return encrypted


def skesk(passphrase: Secret = PASSPHRASE) -> tuple[bytes, bytes]:
    """Return a packet without a session key inside, and the key that it leads to."""
    salt = b"saltsalt"
    key = naive_s2k("sha256", salt, 1024, passphrase.reveal(), 32)
    return write_packet(Tag.SKESK, b"\x04\x09\x03\x08" + salt + b"\x00"), key


def seipd(key: bytes, packets: bytes, *, prefix: bytes = bytes(range(16)) + b"\x0e\x0f") -> bytes:
    """Return a container of version 1 with a right code at its end, whatever the prefix."""
    protected = prefix + packets + b"\xd3\x14"
    sealed = cfb(key, protected + hashlib.sha1(protected).digest())
    return write_packet(Tag.SEIPD, b"\x01" + sealed)


def locked(packets: bytes) -> bytes:
    """Return a sound container for ``PASSPHRASE`` with any octets inside."""
    packet, key = skesk()
    return packet + seipd(key, packets)


def literal(data: bytes, head: bytes = b"b\0\0\0\0\0") -> bytes:
    """Return a literal packet; ``head`` is its format, name and date."""
    return write_packet(Tag.LITERAL, head + data)


def one_pass(kind: int = 0) -> bytes:
    """Return a one-pass signature packet."""
    return write_packet(Tag.ONE_PASS_SIGNATURE, bytes((3, kind, 8, 22)) + bytes(8) + b"\x01")


def signature(kind: int = 0, version: int = 4) -> bytes:
    """Return a signature packet of the right shape that verifies nothing."""
    return write_packet(Tag.SIGNATURE, bytes((version, kind, 22, 8)) + bytes(6))
