"""OpenPGP packets: their framing, and the octets inside a body (RFC 4880 §3.2, §4.2, §4.3).

Rule: framing and octets only; which packets may stand where is decided in ``grammar`` and
``certificates``. No length that a packet claims is believed before that many octets are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_MESSAGE_BYTES

__all__ = [
    "Cursor",
    "Packet",
    "Tag",
    "first_tag",
    "malformed",
    "read_packets",
    "unsupported",
    "write_mpi",
    "write_literal",
    "write_packet",
]

_MIN_FIRST_PART: Final = 512  # octets; RFC 4880 §4.2.2.4


class Tag(IntEnum):
    """The packet tags that we name (RFC 4880 §4.3); any other number is only a number."""

    PKESK = 1
    SIGNATURE = 2
    SKESK = 3
    ONE_PASS_SIGNATURE = 4
    SECRET_KEY = 5
    PUBLIC_KEY = 6
    SECRET_SUBKEY = 7
    COMPRESSED = 8
    SED = 9  # encrypted without integrity protection
    LITERAL = 11
    USER_ID = 13
    PUBLIC_SUBKEY = 14
    USER_ATTRIBUTE = 17
    SEIPD = 18
    AEAD = 20  # LibrePGP's own; RFC 9580 never took it


_STREAMED: Final = frozenset({Tag.COMPRESSED, Tag.SED, Tag.LITERAL, Tag.SEIPD, Tag.AEAD})
"""Only data packets may come in parts or without a length (RFC 4880 §4.2.2.4)."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet without its framing.

    Attributes:
        tag: the packet's tag, 1 to 63.
        body: its octets, partial lengths joined.
    """

    tag: int
    body: bytes = field(repr=False)


def malformed(what: str, rule: str) -> PeerMisbehaved:
    """Return the error for octets that are not what OpenPGP prescribes."""
    return PeerMisbehaved(ErrorCode.MALFORMED, what, rule=rule)


def unsupported(what: str, rule: str) -> PeerMisbehaved:
    """Return the error for OpenPGP that we know of, and do not take."""
    return PeerMisbehaved(ErrorCode.UNSUPPORTED_ALGORITHM, what, rule=rule)


class Cursor:
    """Reads octets from the front of ``data``; to run out of them is ``malformed``."""

    __slots__ = ("_at", "_data", "_rule")

    def __init__(self, data: bytes, rule: str) -> None:
        self._data = data
        self._at = 0
        self._rule = rule

    def __bool__(self) -> bool:
        """Tell whether octets are left."""
        return self._at < len(self._data)

    @property
    def position(self) -> int:
        """How many octets have been read."""
        return self._at

    def take(self, count: int) -> bytes:
        """Read exactly ``count`` octets."""
        end = self._at + count
        if end > len(self._data):
            raise malformed("cut short", self._rule)
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, octets: int) -> int:
        """Read a big-endian unsigned number."""
        return int.from_bytes(self.take(octets))

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(len(self._data) - self._at)

    def mpi(self) -> int:
        """Read a multiprecision integer (RFC 4880 §3.2).

        Its length must be the exact one, so that one number has one form.
        """
        bits = self.number(2)
        value = self.number((bits + 7) // 8)
        if value.bit_length() != bits:
            raise malformed("multiprecision integer with a wrong length", "RFC 4880 §3.2")
        return value

    def finish(self) -> None:
        """Require that nothing is left."""
        if self:
            raise malformed("octets left over", self._rule)


def write_mpi(value: int) -> bytes:
    """Return ``value`` as a multiprecision integer (RFC 4880 §3.2)."""
    bits = value.bit_length()
    return bits.to_bytes(2) + value.to_bytes((bits + 7) // 8)


def first_tag(data: bytes) -> int | None:
    """Return the tag of the first packet, or ``None`` if ``data`` cannot be a packet."""
    if not data or not data[0] & 0x80:
        return None
    return data[0] & 0x3F if data[0] & 0x40 else data[0] >> 2 & 0x0F


def read_packets(data: bytes, *, most: int, payload: bool = False) -> tuple[Packet, ...]:
    """Split ``data`` into packets, to its last octet.

    Args:
        data: binary packets; old and new headers, partial lengths where they are allowed.
        most: how many packets there may be.
        payload: whether ``data`` was inside a container: only there may a data packet have no
            length and reach to the end, as gpg 2.2 writes its compressed packet.

    Raises:
        PeerMisbehaved: ``malformed``, or ``limit-exceeded`` for too many octets or packets.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, f"more than {MAX_MESSAGE_BYTES} bytes")
    cursor = Cursor(data, "RFC 4880 §4.2")
    packets: list[Packet] = []
    while cursor:
        if len(packets) == most:
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, f"more than {most} OpenPGP packets")
        packets.append(_read_packet(cursor, payload))
    return tuple(packets)


def write_packet(tag: int, body: bytes) -> bytes:
    """Return a packet with a new-format header and a definite length (RFC 4880 §4.2.2)."""
    size = len(body)
    if size < 192:
        length = size.to_bytes(1)
    elif size < 8384:
        length = (size - 192 + (192 << 8)).to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(4)
    return bytes((0xC0 | tag,)) + length + body


def write_literal(data: bytes) -> bytes:
    """Return a binary literal without name or date (RFC 4880 §5.9)."""
    return write_packet(Tag.LITERAL, b"b\0\0\0\0\0" + data)


def _read_packet(cursor: Cursor, payload: bool) -> Packet:
    header = cursor.number(1)
    if not header & 0x80:
        raise malformed("not an OpenPGP packet; armor is not taken", "RFC 4880 §4.2")
    tag = header & 0x3F if header & 0x40 else header >> 2 & 0x0F
    if tag == 0:
        raise malformed("packet with the reserved tag 0", "RFC 4880 §4.3")
    if header & 0x40:
        return Packet(tag, _new_body(cursor, tag))
    length_type = header & 0x03
    if length_type < 3:
        return Packet(tag, cursor.take(cursor.number(1 << length_type)))
    if payload and tag in _STREAMED:
        return Packet(tag, cursor.rest())
    raise malformed("packet without a length", "RFC 4880 §4.2.1")


def _new_body(cursor: Cursor, tag: int) -> bytes:
    parts: list[bytes] = []
    while True:
        size, partial = _new_length(cursor)
        if partial and (tag not in _STREAMED or (not parts and size < _MIN_FIRST_PART)):
            raise malformed("partial length where none may be", "RFC 4880 §4.2.2.4")
        parts.append(cursor.take(size))
        if not partial:
            return b"".join(parts)


def _new_length(cursor: Cursor) -> tuple[int, bool]:
    first = cursor.number(1)
    if first < 192:
        return first, False
    if first < 224:
        return (first - 192 << 8) + cursor.number(1) + 192, False
    if first < 255:
        return 1 << (first & 0x1F), True
    return cursor.number(4), False
