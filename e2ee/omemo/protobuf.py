"""The wire form of Protocol Buffers, read strictly: OMEMO's messages are a few fields in it.

Rule: reads only, of version 2 of the format; what a field means is its engine's business. A library
takes the last of several values, forgives lengths and skips groups, so that two readers may see two
messages in the same bytes; here there is one reading or none.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from e2ee.errors import ErrorCode, PeerMisbehaved

__all__ = ["read_fields"]


class _Wire(IntEnum):
    """The types of a field's value; groups, 3 and 4, are none."""

    VARINT = 0
    FIXED_64 = 1
    OCTETS = 2
    FIXED_32 = 5


def read_fields(
    raw: bytes, *, numbers: Collection[int], octets: Collection[int]
) -> tuple[dict[int, int], dict[int, bytes]]:
    """Read the fields of one message, each exactly once; unknown ones are passed over.

    Args:
        raw: the message.
        numbers: the fields that are of type uint32, by their number.
        octets: the fields that are of type bytes, or messages themselves.

    Returns:
        The values of both, by field number.

    Raises:
        PeerMisbehaved: ``malformed``: a field is missing, twice, of another type or cut off; a
            number is not in its shortest form or beyond 2**32 - 1; there is a group.
    """
    found: dict[int, int] = {}
    texts: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        field, wire = key >> 3, key & 7
        if not field or field in found or field in texts:
            raise _malformed()
        number, text = None, None
        if wire == _Wire.VARINT:
            number, at = _varint(raw, at)
        elif wire == _Wire.OCTETS:
            length, at = _varint(raw, at)
            text, at = raw[at : at + length], at + length
        elif wire in (_Wire.FIXED_32, _Wire.FIXED_64):
            at += 4 if wire == _Wire.FIXED_32 else 8
        else:
            raise _malformed()
        if at > len(raw):
            raise _malformed()
        if field in numbers:
            if number is None or number >= 2**32:
                raise _malformed()
            found[field] = number
        elif field in octets:
            if text is None:
                raise _malformed()
            texts[field] = text
    if len(found) != len(numbers) or len(texts) != len(octets):
        raise _malformed()
    return found, texts


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at``, of at most 64 bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            break
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (not byte and shift) or value >= 2**64:
                break
            return value, at
    raise _malformed()


def _malformed() -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.MALFORMED, "not an OMEMO message", rule="XEP-0384 §4.3")
