"""How a DeviceRing is stored.

Rule: the stored form alone; a damaged record is ``store-corrupt``, never an empty ring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import decode_base64, encode_base64, format_time, parse_time
from e2ee.names import BareJid
from e2ee.omemo.device import parse_device_id, parse_identity_fingerprint
from e2ee.omemo.known_device import KnownDevice, Refusal
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.renewal import read_count
from e2ee.trust import Trust

__all__ = ["ring_from_record", "ring_to_record"]

_KIND: Final = "omemo-ring"
_FORMAT: Final = 1
_Value = TypeVar("_Value")


def ring_to_record(ring: DeviceRing) -> bytes:
    """Return the ring as a stored record."""
    return pack(
        _KIND,
        _FORMAT,
        {
            "jid": str(ring.jid),
            "devices": [_device_to_fields(device) for device in ring.devices],
            "listed": {version.name: format_time(when) for version, when in ring.listed.items()},
            "spoke": _names(ring.spoke),
            "decided": {name: trust.value for name, trust in ring.decided.items()},
            "seen": ring.seen,
            "vouched": ring.vouched,
            "opted_out": ring.opted_out,
            "reason": ring.reason,
            "fetches": [format_time(when) for when in ring.fetches],
            "announced": [[version.name, format_time(when)] for version, when in ring.announced],
            "renewal": ring.renewal,
        },
    )


def ring_from_record(raw: bytes) -> DeviceRing:
    """Read a stored ring.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    return _short(raw) if len(raw) <= _SHORT else _read(raw)


def _read(raw: bytes) -> DeviceRing:
    fields = unpack(raw, _KIND, _FORMAT)
    try:
        ring = DeviceRing(
            jid=BareJid.parse(fields["jid"]),
            devices=tuple(map(_device_from_fields, fields["devices"])),
            listed={Version[name]: parse_time(when) for name, when in fields["listed"].items()},
            spoke=_versions(fields["spoke"]),
            decided={
                parse_identity_fingerprint(name): Trust(trust)
                for name, trust in fields["decided"].items()
            },
            seen=bool(fields["seen"]),
            vouched=bool(fields["vouched"]),
            opted_out=bool(fields["opted_out"]),
            reason=fields["reason"],
            fetches=tuple(map(parse_time, fields["fetches"])),
            announced=tuple(
                (Version[name], parse_time(when)) for name, when in fields["announced"]
            ),
            renewal=read_count(fields["renewal"]),
        )
        written = ring_to_record(ring)
    except (AttributeError, KeyError, TypeError, ValueError, E2eeError):
        raise _damaged() from None
    if written != raw or not _is_sound(ring):  # a value of another type reads like the right one
        raise _damaged()
    return ring


_SHORT: Final = 4096  # bytes: a few devices; a stranger's hundreds, kept, would fill the memory
_short = lru_cache(maxsize=256)(_read)  # the same are read for each message, at 20 µs a device


def _is_sound(ring: DeviceRing) -> bool:
    shown = [device.fingerprint for device in ring.devices if device.fingerprint]
    return (
        len({device.id for device in ring.devices}) == len(ring.devices)
        and len(set(shown)) == len(shown)
        and (ring.seen or not shown)
        and (ring.vouched or Trust.AUTHENTICATED not in ring.decided.values())
        and (ring.reason is None or isinstance(ring.reason, str))
        and all(
            device.trust is ring.decided.get(device.fingerprint, device.trust)
            for device in ring.devices
            if device.fingerprint
        )
    )


def _device_to_fields(device: KnownDevice) -> dict[str, Any]:
    signature = device.label_signature
    return {
        "id": str(device.id),
        "trust": device.trust.value,
        "fingerprint": device.fingerprint,
        "offered": device.offered,
        "listed": _names(device.listed),
        "once": _names(device.once),
        "named": device.named,
        "label": device.label,
        "label_signature": None if signature is None else encode_base64(signature),
        "refused": [
            [each.version.name, each.code.value, format_time(each.when)] for each in device.refused
        ],
        "heard": None if device.heard is None else format_time(device.heard),
        "wrote": None if device.wrote is None else format_time(device.wrote),
    }


def _device_from_fields(fields: Mapping[str, Any]) -> KnownDevice:
    def read(name: str, parse: Callable[[str], _Value]) -> _Value | None:
        return None if fields[name] is None else parse(fields[name])

    return KnownDevice(
        id=parse_device_id(fields["id"]),
        trust=Trust(fields["trust"]),
        fingerprint=read("fingerprint", parse_identity_fingerprint),
        offered=read("offered", parse_identity_fingerprint),
        listed=_versions(fields["listed"]),
        once=_versions(fields["once"]),
        named=bool(fields["named"]),
        label=read("label", str),
        label_signature=read("label_signature", decode_base64),
        refused=tuple(
            Refusal(Version[name], ErrorCode(code), parse_time(when))
            for name, code, when in fields["refused"]
        ),
        heard=read("heard", parse_time),
        wrote=read("wrote", parse_time),
    )


def _names(versions: frozenset[Version]) -> list[str]:
    return sorted(version.name for version in versions)


def _versions(names: list[str]) -> frozenset[Version]:
    return frozenset(Version[name] for name in names)


def _damaged() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a stored ring of OMEMO devices is damaged")
