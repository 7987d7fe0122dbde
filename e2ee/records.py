"""Records: how state becomes bytes in a store, each with its kind and format number.

Rule: the one place that turns JSON into stored bytes and back. A record that is not exactly what
was written is ``store-corrupt``, one from a newer release ``store-too-new``; never a fresh start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed

__all__ = ["pack", "unpack"]

_RESERVED: Final = frozenset({"kind", "format"})
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def pack(kind: str, version: int, fields: Mapping[str, Any]) -> bytes:
    """Serialise ``fields`` (JSON values) as a record of ``kind`` in format ``version``.

    Raises:
        ApiMisuse: a field is named ``kind`` or ``format``.
    """
    if not _RESERVED.isdisjoint(fields):
        raise ApiMisuse("a record with a field of a reserved name")
    return _ENCODER.encode({"kind": kind, "format": version, **fields}).encode()


def unpack(raw: bytes, kind: str, version: int) -> dict[str, Any]:
    """Return the fields of a record.

    Raises:
        StoreFailed: ``store-corrupt`` when it is no record of this kind; ``store-too-new`` when
            its format number is above ``version``.
    """
    try:
        record = json.loads(raw.decode())  # of bytes, it would guess the encoding
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("kind") != kind:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, f"a stored record is not a {kind}")
    found = record.get("format")
    if type(found) is not int or found < 1:  # ``true`` is an int to isinstance
        raise StoreFailed(ErrorCode.STORE_CORRUPT, f"a stored {kind} has no format number")
    if found > version:
        raise StoreFailed(
            ErrorCode.STORE_TOO_NEW,
            f"a stored {kind} has format {found}, this release knows {version}",
        )
    return record
