"""OpenPGP messages written by hand: sound ones, and each way in which one can be wrong.

Rule: a second implementation, naive and independent of ``ox``, so that an error there cannot hide
in the vectors. Only what a passphrase message needs (RFC 4880 §5.3, §5.13; RFC 9580 for refusals).
"""

from __future__ import annotations

import bz2
import hashlib
import zlib
from collections.abc import Callable

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from spec_vectors.generator.world import SECRET

__all__ = [
    "Writer",
    "bzip2",
    "deflate_run",
    "literal",
    "old_packet",
    "packet",
    "partial",
    "stored_zip",
    "stored_zlib",
    "stretch",
]

_HASHES = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}


def packet(tag: int, body: bytes) -> bytes:
    """Return a packet with a new-format header."""
    size = len(body)
    if size < 192:
        length = bytes((size,))
    elif size < 8384:
        length = (size - 192 + 0xC000).to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(4)
    return bytes((0xC0 | tag,)) + length + body


def old_packet(tag: int, body: bytes, length_type: int = 1) -> bytes:
    """Return a packet with an old-format header; type 3 has no length at all."""
    length = b"" if length_type == 3 else len(body).to_bytes(1 << length_type)
    return bytes((0x80 | tag << 2 | length_type,)) + length + body


def partial(tag: int, body: bytes, exponent: int = 9) -> bytes:
    """Return a packet in two parts, of which the first has ``2 ** exponent`` octets."""
    first, rest = body[: 1 << exponent], body[1 << exponent :]
    return bytes((0xC0 | tag, 0xE0 | exponent)) + first + packet(tag, rest)[1:]


def literal(data: bytes, head: bytes = b"b\0\0\0\0\0") -> bytes:
    """Return a literal packet; ``head`` is its format, file name and date."""
    return packet(11, head + data)


def stretch(passphrase: bytes, salt: bytes, count: int, algorithm: int, length: int) -> bytes:
    """Return the key of a passphrase (RFC 4880 §3.7.1), naively."""
    unit = salt + passphrase
    total = max(count, len(unit))
    repeated = (unit * (total // len(unit) + 1))[:total]
    key = zeros = b""
    while len(key) < length:
        key += hashlib.new(_HASHES[algorithm], zeros + repeated).digest()
        zeros += b"\0"
    return key[:length]


def _cfb(key: bytes, iv: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), CFB(iv)).encryptor().update(data)


def _stored(data: bytes) -> bytes:
    size = len(data)
    return b"\x01" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data


def stored_zip(data: bytes) -> bytes:
    """Return ``data``, less than 64 KiB, as a compressed packet of ZIP: a block that is not packed.

    Written by hand, because zlib's output differs between its releases.
    """
    return packet(8, b"\x01" + _stored(data))


def stored_zlib(data: bytes) -> bytes:
    """Return the same as a compressed packet of ZLIB."""
    return packet(8, b"\x02\x78\x01" + _stored(data) + zlib.adler32(data).to_bytes(4))


def bzip2(data: bytes) -> bytes:
    """Return ``data`` as a compressed packet of BZIP2, whose one encoder never changes."""
    return packet(8, b"\x03" + bz2.compress(data))


def deflate_run(before: bytes, octet: bytes, runs: int) -> bytes:
    """Return deflate of ``before`` and of ``octet`` 1 + 258 × ``runs`` times: 1.6 octets a run."""
    bits = ["110"]  # the last block, fixed codes; bits in the order of RFC 1951 §3.1.1
    for code in before + octet:
        bits.append(f"{0x30 + code:08b}" if code < 144 else f"{0x190 + code - 144:09b}")
    bits += ["1100010100000"] * runs + ["0000000"]  # length 258, distance 1; the end
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return bytes(int(stream[at : at + 8][::-1], 2) for at in range(0, len(stream), 8))


class Writer:
    """Writes messages with the randomness of one case."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self.random = random

    def skesk(
        self,
        passphrase: str = SECRET,
        *,
        version: int = 4,
        cipher: int = 9,
        kind: int = 3,
        algorithm: int = 8,
        coded_count: int = 0,
        session_key: bytes | None = None,
    ) -> tuple[bytes, bytes]:
        """Return a packet, and the key that it leads to.

        Args:
            passphrase: the secret.
            version: of the packet.
            cipher: its number; AES is 7 to 9.
            kind: of the S2K: 0 simple, 1 salted, 3 iterated and salted.
            algorithm: the hash's number.
            coded_count: of an iterated S2K.
            session_key: the cipher's octet and the key, to be encrypted; else there is none.
        """
        salt = self.random(8) if kind else b""
        count = (16 + (coded_count & 15)) << ((coded_count >> 4) + 6) if kind == 3 else 0
        key = stretch(passphrase.encode(), salt, count, algorithm, 16 + 8 * (cipher - 7))
        specifier = bytes((kind, algorithm)) + salt + (bytes((coded_count,)) if kind == 3 else b"")
        encrypted = b"" if session_key is None else _cfb(key, bytes(16), session_key)
        body = bytes((version, cipher)) + specifier + encrypted
        return packet(3, body), key if session_key is None else session_key[1:]

    def prefix(self) -> bytes:
        """Return a container's first 18 octets: random ones, of which the last two come twice."""
        start = self.random(16)
        return start + start[-2:]

    def seipd(
        self, key: bytes, packets: bytes, *, prefix: bytes = b"", end: bytes | None = None
    ) -> bytes:
        """Return a container of version 1; ``end`` replaces the modification detection code."""
        protected = (prefix or self.prefix()) + packets
        if end is None:
            protected += b"\xd3\x14"
            end = hashlib.sha1(protected).digest()
        return packet(18, b"\x01" + _cfb(key, bytes(16), protected + end))

    def sed(self, key: bytes, packets: bytes) -> bytes:
        """Return a container without integrity protection, tag 9 (RFC 4880 §5.7)."""
        start = _cfb(key, bytes(16), self.prefix())
        return packet(9, start + _cfb(key, start[2:], packets))

    def message(self, packets: bytes, passphrase: str = SECRET) -> bytes:
        """Return a sound message around ``packets``."""
        first, key = self.skesk(passphrase)
        return first + self.seipd(key, packets)

    def sound(self, plaintext: str | bytes, passphrase: str = SECRET) -> bytes:
        """Return a sound message that holds ``plaintext``."""
        raw = plaintext.encode() if isinstance(plaintext, str) else plaintext
        return self.message(literal(raw), passphrase)
