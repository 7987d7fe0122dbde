"""Items whose encryption is at fault: altered, without integrity, by algorithms that are not taken.

Rule: the wrapper, the secret and the order of the packets are sound; what must fail is decrypting.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.item import encrypted, item_case, refused, writer
from spec_vectors.generator.items_sound import FROZEN
from spec_vectors.generator.openpgp import Writer, literal, packet
from spec_vectors.generator.world import ENTRY, LONG_ENTRY

__all__ = ["cases"]

_LITERAL = literal(ENTRY.encode())
_SALT = b"saltsalt"

_Make = Callable[[Writer], bytes]

_REFUSED_CIPHERS = ("idea", "3des", "cast5", "blowfish", "twofish", "camellia128", "camellia256")


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, comment, make in _ALTERED:
        item = encrypted(make(writer(name)))
        yield item_case(name, ["G-15"], comment, item, refused("cannot-decrypt"))
    for cipher in _REFUSED_CIPHERS:
        frozen = FROZEN[f"gpg-{cipher}"]
        yield item_case(
            f"gpg-{cipher}",
            ["CIPHER"],
            f"made by: {frozen['how']}",
            encrypted(b64decode(frozen["message"])),
            refused("unsupported-algorithm"),
        )
    for name, flag, comment, make in _UNSUPPORTED:
        item = encrypted(make(writer(name)))
        yield item_case(name, [flag], comment, item, refused("unsupported-algorithm"))


def _flip(at: int) -> _Make:
    """Flip the lowest bit of one octet of a message of 163."""

    def make(write: Writer) -> bytes:
        message = bytearray(write.sound(ENTRY))
        message[at] ^= 0x01
        return bytes(message)

    return make


def _resized(change: Callable[[bytes], bytes]) -> _Make:
    """Change the encrypted octets; the packet's length agrees."""

    def make(write: Writer) -> bytes:
        first, key = write.skesk()
        container = write.seipd(key, literal(LONG_ENTRY.encode()))
        return first + packet(18, b"\x01" + change(container[4:]))

    return make


def _ended(end: bytes) -> _Make:
    """Put ``end`` in the place of the modification detection code."""

    def make(write: Writer) -> bytes:
        first, key = write.skesk()
        return first + write.seipd(key, _LITERAL, end=end)

    return make


def _with_session_key(session_key: bytes) -> _Make:
    """Encrypt a session key that does not fit."""

    def make(write: Writer) -> bytes:
        first, key = write.skesk(session_key=session_key)
        return first + write.seipd(key.ljust(32, b"\0"), _LITERAL)

    return make


def _unrepeated(write: Writer) -> bytes:
    first, key = write.skesk()
    return first + write.seipd(key, _LITERAL, prefix=bytes(range(18)))


_ALTERED: tuple[tuple[str, str, _Make], ...] = (
    ("flip-salt", "a bit of the salt", _flip(7)),
    ("flip-count", "a bit of the coded count", _flip(14)),
    ("flip-prefix", "a bit of the random prefix", _flip(20)),
    ("flip-repeated", "a bit of the repeated octets, which the quick check looks at", _flip(35)),
    ("flip-framing", "a bit of the literal's length", _flip(37)),
    ("flip-text", "a bit of the text", _flip(80)),
    ("flip-code", "a bit of the modification detection code", _flip(-10)),
    ("flip-last", "the last bit", _flip(-1)),
    ("shorter", "the last octet removed", _resized(lambda octets: octets[:-1])),
    ("longer", "an octet added", _resized(lambda octets: octets + b"\0")),
    ("cut-code", "the detection code cut off", _resized(lambda octets: octets[:-22])),
    (
        "blocks-swapped",
        "two blocks swapped",
        _resized(lambda octets: octets[:64] + octets[80:96] + octets[64:80] + octets[96:]),
    ),
    (
        "block-repeated",
        "a block repeated",
        _resized(lambda octets: octets[:64] + octets[48:64] + octets[64:]),
    ),
    ("only-prefix", "18 octets, and no code", _resized(lambda octets: octets[:18])),
    ("empty-container", "no encrypted octet at all", _resized(lambda octets: b"")),
    ("no-code", "encrypted without a code", _ended(b"")),
    ("zero-code", "a code of zeros", _ended(b"\xd3\x14" + bytes(20))),
    ("unframed-code", "22 zeros for the code and its header", _ended(bytes(22))),
    ("prefix-not-repeated", "a right code over a prefix that is not repeated", _unrepeated),
    (
        "session-key-of-camellia",
        "an encrypted session key that says Camellia",
        _with_session_key(b"\x0d" + bytes(32)),
    ),
    (
        "session-key-too-short",
        "an encrypted session key of 16 octets that says AES-256",
        _with_session_key(b"\x09" + bytes(16)),
    ),
)


def _sed(write: Writer) -> bytes:
    first, key = write.skesk()
    return first + write.sed(key, _LITERAL)


def _skesk(body: bytes) -> _Make:
    """Put another session key in front; the container does not come into play."""
    return lambda write: packet(3, body) + write.seipd(bytes(32), _LITERAL)


def _container(tag: int, head: bytes) -> _Make:
    """Put another container behind a sound session key."""
    return lambda write: write.skesk()[0] + packet(tag, head + write.random(96))


def _compressed(algorithm: bytes) -> _Make:
    return lambda write: write.message(packet(8, algorithm + _LITERAL))


_UNSUPPORTED: tuple[tuple[str, str, str, _Make], ...] = (
    ("no-integrity", "G-15", "tag 9, without integrity protection (Efail)", _sed),
    (
        "no-integrity-alone",
        "G-15",
        "tag 9 without a session key: RFC 4880 means IDEA under the MD5 of the passphrase",
        lambda write: write.sed(bytes(32), _LITERAL),
    ),
    ("librepgp-aead", "G-15", "tag 20 of LibrePGP", _container(20, b"\x01\x09\x02\x10")),
    ("container-2", "G-15", "version 2 of RFC 9580", _container(18, b"\x02\x09\x02\x10")),
    ("container-0", "G-15", "a version that never was", _container(18, b"\x00")),
    (
        "skesk-5",
        "G-17",
        "version 5 of LibrePGP",
        _skesk(b"\x05\x09\x02\x03\x08" + _SALT + b"\0" + bytes(64)),
    ),
    (
        "skesk-6",
        "G-17",
        "version 6 of RFC 9580",
        _skesk(b"\x06\x1e\x09\x02\x0b\x03\x08" + _SALT + b"\0" + bytes(63)),
    ),
    ("skesk-3", "G-17", "a version that never was", _skesk(b"\x03\x09\x03\x08" + _SALT + b"\0")),
    (
        "argon2-2-gib",
        "G-17",
        "Argon2 in 2 GiB",
        _skesk(b"\x04\x09\x04" + bytes(16) + b"\x01\x04\x15"),
    ),
    (
        "argon2-255",
        "G-17",
        "Argon2, 255 times",
        _skesk(b"\x04\x09\x04" + bytes(16) + b"\xff\x04\x10"),
    ),
    ("s2k-reserved", "G-17", "the reserved kind of S2K", _skesk(b"\x04\x09\x02\x08" + _SALT)),
    ("s2k-gnu-dummy", "G-17", "GnuPG's own kind of S2K", _skesk(b"\x04\x09\x65\x00GNU\x01")),
    ("s2k-unknown-hash", "G-17", "an unknown hash", _skesk(b"\x04\x09\x03\x63" + _SALT + b"\0")),
    ("s2k-sha3", "G-17", "SHA3-256", _skesk(b"\x04\x09\x03\x0c" + _SALT + b"\0")),
    ("cipher-none", "CIPHER", "cipher 0: plaintext", _skesk(b"\x04\x00\x03\x08" + _SALT + b"\0")),
    ("cipher-unknown", "CIPHER", "an unknown cipher", _skesk(b"\x04\x63\x03\x08" + _SALT + b"\0")),
    ("compression-unknown", "G-16", "an unknown compression", _compressed(b"\x63")),
    ("compression-none", "G-16", "compression 0, which nobody writes", _compressed(b"\x00")),
)
