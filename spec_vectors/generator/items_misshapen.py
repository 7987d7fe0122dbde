"""Items whose packets are at fault: in clear, out of order, beside each other, in each other.

Rule: the wrapper and all encryption are sound; what must fail is the packets' grammar or bounds.
"""

from __future__ import annotations

import bz2
from base64 import b64decode
from collections.abc import Callable, Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.item import encrypted, item_case, refused, writer
from spec_vectors.generator.items_sound import FROZEN
from spec_vectors.generator.openpgp import (
    Writer,
    bzip2,
    deflate_run,
    literal,
    old_packet,
    packet,
    partial,
    stored_zip,
)
from spec_vectors.generator.world import ENTRY, LONG_ENTRY

__all__ = ["cases"]

_HEAD = b"b\0\0\0\0\0"
_LITERAL = literal(ENTRY.encode())
_MARKER = packet(10, b"PGP")
_SIGNATURE = packet(2, b"\x04\x00\x16\x08" + bytes(6))

_Make = Callable[[Writer], bytes]
_Rows = tuple[tuple[str, str, str, _Make], ...]

_FROZEN = (
    ("gpg-armor", "G-21", "malformed"),
    ("gpg-clear-signed", "G-21", "malformed"),
    ("gpg-signed", "G-19", "malformed"),
    ("gpg-password-or-key", "N-15", "malformed"),
    ("gpg-key-only", "N-15", "malformed"),
    ("gpg-signed-only", "G-01", "not-encrypted"),
    ("gpg-stored", "G-01", "not-encrypted"),
    ("gpg-stored-zip", "G-01", "not-encrypted"),
)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, flag, code in _FROZEN:
        item = encrypted(b64decode(FROZEN[name]["message"]))
        yield item_case(name, [flag], f"made by: {FROZEN[name]['how']}", item, refused(code))
    for code, rows in (
        ("not-encrypted", _IN_CLEAR),
        ("malformed", _OUTSIDE),
        ("malformed", _INSIDE),
        ("limit-exceeded", _COSTLY),
    ):
        for name, flag, comment, make in rows:
            yield item_case(name, [flag], comment, encrypted(make(writer(name))), refused(code))


def _alone(packets: bytes) -> _Make:
    return lambda write: packets


def _before(packets: bytes) -> _Make:
    return lambda write: packets + write.sound(ENTRY)


def _between(packets: bytes) -> _Make:
    def make(write: Writer) -> bytes:
        first, key = write.skesk()
        return first + packets + write.seipd(key, _LITERAL)

    return make


def _after(packets: bytes) -> _Make:
    return lambda write: write.sound(ENTRY) + packets


def _behind_skesk(packets: bytes) -> _Make:
    return lambda write: write.skesk()[0] + packets


def _inside(packets: bytes) -> _Make:
    return lambda write: write.message(packets)


def _cut(octets: int) -> _Make:
    return lambda write: write.sound(ENTRY)[:octets]


def _framed(frame: Callable[[bytes], bytes]) -> _Make:
    """Frame the body of a long container in another way."""

    def make(write: Writer) -> bytes:
        first, key = write.skesk()
        return first + frame(write.seipd(key, literal(LONG_ENTRY.encode()))[3:])

    return make


def _partial_skesk(write: Writer) -> bytes:
    message = write.sound(ENTRY)
    return partial(3, message[2:15], 0) + message[15:]


def _nested(layers: int) -> bytes:
    packets = _LITERAL
    for _ in range(layers):
        packets = stored_zip(packets)
    return packets


def _spaces(octets: int) -> bytes:
    return literal(ENTRY.encode() + b" " * octets)


def _zip_bomb(runs: int) -> bytes:
    head = b"\xcb\xff" + (len(_HEAD) + 1 + 258 * runs).to_bytes(4) + _HEAD
    return packet(8, b"\x01" + deflate_run(head, b" ", runs))


def _flood(count: int) -> _Make:
    """Put session keys for other passphrases in front."""
    return lambda write: (
        b"".join([write.skesk("x" * 43)[0] for _ in range(count - 1)]) + write.sound(ENTRY)
    )


_IN_CLEAR: _Rows = (
    ("clear-literal", "G-01", "a literal and nothing else", _alone(_LITERAL)),
    (
        "clear-literal-endless",
        "G-01",
        "a literal without a length",
        _alone(old_packet(11, _HEAD + ENTRY.encode(), 3)),
    ),
    ("clear-compressed", "G-01", "a compressed literal", _alone(bzip2(_LITERAL))),
    ("clear-signature", "G-01", "a detached signature", _alone(_SIGNATURE)),
    ("literal-before", "G-01", "a literal before a sound message", _before(_LITERAL)),
    ("literal-for-container", "G-01", "a session key, then a literal", _behind_skesk(_LITERAL)),
    (
        "compressed-for-container",
        "G-01",
        "a session key, then a compressed literal",
        _behind_skesk(stored_zip(_LITERAL)),
    ),
)

_OUTSIDE: _Rows = (
    ("text", "G-19", "no OpenPGP at all", _alone(ENTRY.encode())),
    ("one-octet", "G-19", "one octet", _cut(1)),
    ("cut-in-skesk", "G-19", "cut off inside the session key", _cut(9)),
    ("cut-in-container", "G-19", "cut off inside the container", _cut(-5)),
    ("skesk-alone", "G-19", "a session key and no container", _cut(15)),
    (
        "container-alone",
        "G-19",
        "a container and no session key",
        lambda write: write.seipd(bytes(32), _LITERAL),
    ),
    ("reserved-tag", "G-19", "tag 0", _before(b"\xc0\x00")),
    ("marker-before", "G-19", "a marker first", _before(_MARKER)),
    ("marker-between", "G-19", "a marker in between", _between(_MARKER)),
    ("marker-after", "G-19", "a marker last", _after(_MARKER)),
    ("padding-after", "G-19", "a padding packet of RFC 9580", _after(packet(21, bytes(8)))),
    ("private-after", "G-19", "a private packet last", _after(packet(60, b"x"))),
    ("zero-after", "G-19", "an octet after the message", _after(b"\0")),
    ("line-feed-after", "G-19", "a line feed after the message", _after(b"\n")),
    ("literal-after", "G-19", "a literal after the message", _after(_LITERAL)),
    (
        "two-messages",
        "G-19",
        "two messages",
        lambda write: write.sound(ENTRY) + write.sound(ENTRY),
    ),
    (
        "two-containers",
        "G-19",
        "two containers for one session key",
        lambda write: write.sound(ENTRY) + write.seipd(bytes(32), _LITERAL),
    ),
    (
        "skesk-after",
        "G-19",
        "the session key after the container",
        lambda write: write.sound(ENTRY) + write.skesk()[0],
    ),
    ("partial-skesk", "G-19", "a session key in parts", _partial_skesk),
    (
        "short-first-part",
        "G-19",
        "a first part of 256 octets",
        _framed(lambda body: partial(18, body, 8)),
    ),
    (
        "claims-4-gib",
        "G-19",
        "a container that says that it has 4 GiB",
        _framed(lambda body: b"\xd2\xff\xff\xff\xff\xff" + body),
    ),
    (
        "endless-encrypted",
        "G-19",
        "an old header without a length, of tag 9",
        _framed(lambda body: old_packet(9, body, 3)),
    ),
    ("key-length", "G-17", "an encrypted session key of 5 octets", lambda write: (
        packet(3, b"\x04\x09\x03\x08saltsalt\0" + bytes(5)) + write.seipd(bytes(32), _LITERAL)
    )),
    ("s2k-cut-short", "G-17", "a salt of 4 octets", lambda write: (
        packet(3, b"\x04\x09\x03\x08salt") + write.seipd(bytes(32), _LITERAL)
    )),
)  # fmt: skip

_INSIDE: _Rows = (
    ("nested", "G-19", "a message inside the message", lambda write: (
        write.message(write.sound(ENTRY))
    )),
    ("two-literals", "G-19", "two literals", _inside(_LITERAL + literal(b" "))),
    ("three-literals", "G-19", "three literals", _inside(_LITERAL + literal(b" ") * 2)),
    ("no-literal", "G-19", "nothing", _inside(b"")),
    ("marker-inside", "G-19", "a marker beside the literal", _inside(_LITERAL + _MARKER)),
    ("user-id-inside", "G-19", "a user id for a literal", _inside(packet(13, ENTRY.encode()))),
    ("text-inside", "G-19", "XML without a literal around it", _inside(ENTRY.encode())),
    ("signature-inside", "G-19", "a signature before the literal", _inside(_SIGNATURE + _LITERAL)),
    ("literal-cut-short", "G-19", "a literal longer than it is",
     _inside(b"\xcb\x7f" + _LITERAL[2:60])),
    ("literal-headless", "G-20", "a literal without a date", _inside(packet(11, b"b\0"))),
    ("literal-long-name", "G-20", "a name longer than all",
     _inside(packet(11, b"b\xff" + bytes(4)))),
    ("literal-unknown-format", "G-20", "an unknown format",
     _inside(literal(ENTRY.encode(), b"x" + bytes(5)))),
    ("literal-empty", "X-28", "a literal of nothing", _inside(literal(b""))),
    ("compressed-and-more", "G-16", "a literal after the compressed one",
     _inside(stored_zip(_LITERAL) + literal(b" "))),
    ("compressed-trailing", "G-16", "an octet after the compressed ones",
     _inside(packet(8, stored_zip(_LITERAL)[2:] + b"\0"))),
    ("compressed-cut-short", "G-16", "compressed octets that end early",
     _inside(packet(8, b"\x03" + bz2.compress(_LITERAL)[:-9]))),
    ("compressed-garbage", "G-16", "ZIP that is none", _inside(packet(8, b"\x01\xff\xff\xff"))),
    ("compressed-empty", "G-16", "a compressed packet of nothing", _inside(packet(8, b""))),
    ("compressed-two-literals", "G-16", "two literals, compressed",
     _inside(bzip2(_LITERAL + literal(b" ")))),
)  # fmt: skip

_COSTLY: _Rows = (
    ("two-passphrases", "G-17", "two session keys; an item has one passphrase", _flood(2)),
    ("five-passphrases", "G-17", "five of them", _flood(5)),
    ("fifty-passphrases", "G-17", "fifty of them", _flood(50)),
    ("bomb-bzip2-12-mib", "G-16", "12 MiB, more than any item holds",
     _inside(bzip2(_spaces(12 << 20)))),
    ("bomb-bzip2-1-mib", "G-16", "1 MiB out of a few octets", _inside(bzip2(_spaces(1 << 20)))),
    ("bomb-zip", "G-16", "half a MiB, 158 times what it was", _inside(_zip_bomb(2000))),
    ("nested-bzip2", "G-16", "a compressed packet in a compressed one",
     _inside(bzip2(bzip2(_LITERAL)))),
    ("nested-zip", "G-16", "the same with ZIP", _inside(_nested(2))),
    ("nested-20", "G-16", "20 layers of compression", _inside(_nested(20))),
)  # fmt: skip
