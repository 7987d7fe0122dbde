"""How a KeyRing is stored.

Rule: the stored form alone; a damaged record is ``store-corrupt``, never an empty ring.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import format_time, parse_time
from e2ee.names import BareJid, parse_fingerprint
from e2ee.records import pack, unpack
from e2ee.renewal import read_count
from e2ee.trust import Trust
from ox.keys import KeyRing
from ox.known_key import KnownKey

__all__ = ["ring_from_record", "ring_to_record"]

_KIND: Final = "key-ring"
_FORMAT: Final = 4
_REMEMBERED: Final = 64  # rings; a page of items is mostly by the same few people


def ring_to_record(ring: KeyRing) -> bytes:
    """Return the ring as a stored record."""
    return pack(
        _KIND,
        _FORMAT,
        {
            "jid": str(ring.jid),
            "listed": ring.listed,
            "ours": ring.ours,
            "renewal": ring.renewal,
            "keys": [_key_to_fields(key) for key in ring.keys],
        },
    )


@lru_cache(_REMEMBERED)
def ring_from_record(raw: bytes) -> KeyRing:
    """Read a stored ring.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _KIND, _FORMAT)
    try:
        if fields["format"] < _FORMAT:
            fields, raw = _upgraded(fields)
        ring = KeyRing(
            jid=BareJid.parse(fields["jid"]),
            keys=tuple(_key_from_fields(key) for key in fields["keys"]),
            listed=bool(fields["listed"]),
            ours=None if fields["ours"] is None else parse_fingerprint(fields["ours"]),
            renewal=read_count(fields["renewal"]),
        )
    except (KeyError, TypeError, ValueError, E2eeError):
        raise _damaged() from None
    if ring_to_record(ring) != raw:  # a value of another type reads like the right one
        raise _damaged()
    return ring


def _upgraded(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return what an older format would be in this one.

    Format 1 knew of no renewals, format 2 of no dates, and format 3 of no former keys of ours.
    """
    kept = {name: value for name, value in fields.items() if name not in ("kind", "format")}
    since: dict[str, Any] = {"succeeded": False}
    if fields["format"] < 3:
        since |= {"date": None, "changed": False}
    if fields["format"] < 2:
        kept["renewal"] = 0
        since |= {"former": None, "absent": False}
    upgraded = {**kept, "keys": [{**key, **since} for key in fields["keys"]]}
    return upgraded, pack(_KIND, _FORMAT, upgraded)


def _key_to_fields(key: KnownKey) -> dict[str, Any]:
    return {
        "fingerprint": key.fingerprint,
        "trust": key.trust.value,
        "announced": key.announced,
        "raw": b64encode(key.raw).decode() if key.raw else None,
        "former": b64encode(key.former).decode() if key.former else None,
        "absent": key.absent,
        "date": format_time(key.date) if key.date else None,
        "changed": key.changed,
        "succeeded": key.succeeded,
    }


def _key_from_fields(fields: Mapping[str, Any]) -> KnownKey:
    return KnownKey(
        fingerprint=parse_fingerprint(fields["fingerprint"]),
        trust=Trust(fields["trust"]),
        announced=bool(fields["announced"]),
        raw=b64decode(fields["raw"], validate=True) if fields["raw"] else None,
        former=b64decode(fields["former"], validate=True) if fields["former"] else None,
        absent=bool(fields["absent"]),
        date=parse_time(fields["date"]) if fields["date"] else None,
        changed=bool(fields["changed"]),
        succeeded=bool(fields["succeeded"]),
    )


def _damaged() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a stored key ring is damaged")
