"""The values in a stored record of OMEMO: octets, flags and numbers, each read by its type.

Rule: values alone; a value of another type or length than was written is a ``ValueError``, which
whoever reads the record makes ``store-corrupt``. No reader takes a value for a similar one, so that
records with keys need not be written again to be compared.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from datetime import datetime
from math import inf

from e2ee.lexical import format_time, parse_time

__all__ = ["read_flag", "read_number", "read_octets", "read_time", "write_octets"]


def write_octets(raw: bytes) -> str:
    """Return bytes as base64."""
    return b2a_base64(raw, newline=False).decode()


def read_octets(value: object, length: int | None = None) -> bytes:
    """Return the bytes that base64 stands for.

    Args:
        value: what was stored.
        length: how many bytes they must be; any number by default.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(value, str):
        raise ValueError
    raw = a2b_base64(value, strict_mode=True)
    if length is not None and len(raw) != length:
        raise ValueError
    return raw


def read_flag(value: object) -> bool:
    """Return a boolean.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(value, bool):
        raise ValueError
    return value


def read_number(value: object, least: int = 0, most: float = inf) -> int:
    """Return a whole number.

    Raises:
        ValueError: it is anything else, ``true`` and ``1.0`` included, or out of these bounds.
    """
    if type(value) is not int or not least <= value <= most:  # ``true`` is an int to isinstance
        raise ValueError
    return value


def read_time(value: str) -> datetime:
    """Return a moment, aware, that ``format_time`` wrote.

    Raises:
        PeerMisbehaved: it is no time at all.
        ValueError: it is written in another way.
    """
    moment = parse_time(value)
    if format_time(moment) != value:
        raise ValueError
    return moment
