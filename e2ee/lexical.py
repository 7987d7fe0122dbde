"""What text means: base64, integers, booleans, times and white space, each read in one form only.

Percent-encoded text, too, which has several forms: whoever needs one compares. Rule: text in, value
out, or ``malformed``; nothing here knows of elements.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Final, NoReturn

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.xmlnames import S

__all__ = [
    "JID_PLAIN",
    "decode_base64",
    "decode_percent",
    "encode_base64",
    "encode_percent",
    "format_time",
    "parse_boolean",
    "parse_integer",
    "parse_time",
    "trim_xml",
]

_INTEGER: Final = re.compile(r"0|[1-9][0-9]*")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"  # XML Schema: at most 14 hours
)
_ESCAPED: Final = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile("[A-Za-z0-9._~-]")  # RFC 3986 §2.3
_BOOLEANS: Final = {"0": False, "1": True, "false": False, "true": True}

JID_PLAIN: Final = re.compile(r"[A-Za-z0-9._~!$'()*+,:@\[\]-]")
"""The characters of a JID that stand for themselves in an XMPP URI (RFC 5122 §2.2)."""


def _malformed(what: str, rule: str | None) -> NoReturn:
    raise PeerMisbehaved(ErrorCode.MALFORMED, what, rule=rule) from None


def trim_xml(text: str) -> str:
    """Remove white space from both ends: XML S, never what Unicode adds (XML 1.0 §2.3)."""
    return text.strip(S)


def encode_base64(data: bytes) -> str:
    """Return ``data`` in base64 (RFC 4648 §4), padded and without line breaks."""
    return b64encode(data).decode()


def decode_base64(text: str, rule: str | None = None) -> bytes:
    """Return the bytes of base64 text (RFC 4648 §4).

    Only the one canonical form of the bytes is accepted, with XML white space anywhere between its
    characters.

    Args:
        text: at most ``limits.MAX_XML_BYTES`` characters.
        rule: the section to name in an error.

    Raises:
        PeerMisbehaved: ``malformed``, or ``limit-exceeded`` when it is too long.
    """
    if len(text) > limits.MAX_XML_BYTES:
        raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "base64 that is too long", rule=rule)
    try:
        packed = text.encode("ascii").translate(None, S.encode())
        data = b64decode(packed, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        _malformed("text that is not base64", rule)
    if b64encode(data) != packed:
        _malformed("base64 in a form that is not canonical", rule)
    return data


def encode_percent(text: str, plain: re.Pattern[str] = _UNRESERVED) -> str:
    """Return ``text`` percent-encoded in UTF-8, by upper-case digits (RFC 3986 §2.1).

    Args:
        text: of XML characters.
        plain: matches a character that stands for itself; the unreserved ones, if not given.
    """
    return "".join(
        [
            each if plain.fullmatch(each) else "".join(f"%{octet:02X}" for octet in each.encode())
            for each in text
        ]
    )


def decode_percent(text: str, rule: str | None = None) -> str:
    """Return what percent-encoded text stands for (RFC 3986 §2.1).

    Raises:
        PeerMisbehaved: ``malformed``: it is not ASCII, an escape is broken, or what they stand for
            is not UTF-8.
    """
    if not text.isascii() or "%" in _ESCAPED.sub("", text):
        _malformed("text that is no ASCII, or with a broken escape", rule)
    octets = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text).encode("latin-1")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        _malformed("escapes that are not UTF-8", rule)


def parse_integer(text: str, low: int, high: int, rule: str | None = None) -> int:
    """Return the integer that ``text`` writes in decimal digits, from ``low`` to ``high`` (≥ 0).

    Raises:
        PeerMisbehaved: ``malformed`` for signs, leading zeros, white space, other digits, or a
            value out of range.
    """
    if len(text) > len(str(high)) or not _INTEGER.fullmatch(text):  # bounded before int() sees it
        _malformed("text that is not an integer in range", rule)
    value = int(text)
    if not low <= value <= high:
        _malformed("text that is not an integer in range", rule)
    return value


def parse_boolean(text: str, rule: str | None = None) -> bool:
    """Return the boolean that ``text`` writes: ``true``, ``false``, ``1`` or ``0`` (XML Schema).

    Raises:
        PeerMisbehaved: ``malformed`` for anything else.
    """
    if text not in _BOOLEANS:
        _malformed("text that is not a boolean", rule)
    return _BOOLEANS[text]


def parse_time(text: str, rule: str = "XEP-0082 §3.2") -> datetime:
    """Return the moment that ``text`` writes as a DateTime (XEP-0082), aware and in UTC.

    A fraction is cut to microseconds.

    Raises:
        PeerMisbehaved: ``malformed`` without a zone, for a moment that does not exist (second 60,
            hour 24, 30 February), or one outside the years 1 to 9999 in UTC.
    """
    if not _TIME.fullmatch(text):
        _malformed("text that is not a DateTime", rule)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        _malformed("a DateTime that does not exist", rule)


def format_time(moment: datetime) -> str:
    """Return a moment as a DateTime of XEP-0082: UTC, whole seconds, ``Z``.

    Raises:
        ApiMisuse: ``moment`` has no zone.
    """
    if moment.tzinfo is None:
        raise ApiMisuse("a time without a zone", rule="XEP-0082 §3.2")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
