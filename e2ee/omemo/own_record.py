"""What is kept of our own device: its identity, and its keys in each version; and how it is stored.

Rule: values and their stored form. A damaged record is ``store-corrupt``, never a new device; where
the rows are is in ``own_rows.py``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import format_time, parse_time
from e2ee.names import BareJid
from e2ee.omemo.device import MAX_OWN_DEVICE_ID, Device, DeviceId
from e2ee.omemo.engine import PreKey, SignedPreKey
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.renewal import read_count
from e2ee.secret import Secret

__all__ = [
    "OwnDevice",
    "OwnKeys",
    "OwnPreKey",
    "keys_from_record",
    "keys_to_record",
    "own_from_record",
    "own_to_record",
    "pre_key_from_record",
    "pre_key_to_record",
]

_OWN: Final = "omemo-own"
_KEYS: Final = "omemo-own-keys"
_PRE_KEY: Final = "omemo-pre-key"
_FORMAT: Final = 1
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OwnDevice:
    """Our own device.

    Attributes:
        device: its name.
        identity: the seed of its identity key, 32 bytes; the same in all versions.
        versions: in which it has keys, and was announced.
        label: what the user calls it.
        left: whether it was withdrawn: it still decrypts, and nothing of it is published.
        catching_up_since: when the catch-up with the archive began that still runs, if one does.
        renewal: the count of the account's renewals, for what is built now.
    """

    device: Device
    identity: Secret
    versions: tuple[Version, ...] = ()
    label: str | None = None
    left: bool = False
    catching_up_since: datetime | None = None
    renewal: int = 0

    def spoken(self, enabled: Collection[Version]) -> tuple[Version, ...]:
        """Return in which of the enabled versions it has keys."""
        return tuple(version for version in self.versions if version in enabled)


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of our device in one version, but for the one-time prekeys themselves.

    Attributes:
        version: which.
        signed: the signed prekey that is offered, and
        made: since when, aware.
        former: the one before; it is accepted until the next takes its place.
        last: the greatest id that a one-time prekey was ever given. None is given again.
        fresh: how many one-time prekeys there are to offer.
        changed: whether the bundle that was published last is not what it should be.
        published: when it was published of late, aware.
        renewal: the count of the account's renewals under which all of them were made.
    """

    version: Version
    signed: SignedPreKey
    made: datetime
    former: SignedPreKey | None
    last: int
    fresh: int
    changed: bool
    published: tuple[datetime, ...]
    renewal: int


@dataclass(frozen=True, slots=True)
class OwnPreKey:
    """A one-time prekey of ours.

    Attributes:
        key: the key.
        spent: whether somebody used it: it is offered no more, and soon deleted.
    """

    key: PreKey
    spent: bool = False


def own_to_record(own: OwnDevice) -> bytes:
    """Return our device as a stored record; the count of renewals is kept elsewhere."""
    since = own.catching_up_since
    fields = {
        "jid": str(own.device.jid),
        "id": own.device.id,
        "identity": _text(own.identity.reveal()),
        "versions": [version.name for version in own.versions],
        "label": own.label,
        "left": own.left,
        "catching-up-since": None if since is None else format_time(since),
    }
    return pack(_OWN, _FORMAT, fields)


def own_from_record(raw: bytes, jid: BareJid, renewal: int) -> OwnDevice:
    """Read our stored device.

    Args:
        raw: the record.
        jid: whose it must be.
        renewal: the count of the account's renewals.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _OWN, _FORMAT)
    try:
        since = fields["catching-up-since"]
        own = OwnDevice(
            device=Device(BareJid.parse(fields["jid"]), _device_id(fields["id"])),
            identity=Secret(_bytes(fields["identity"], _KEY_BYTES)),
            versions=tuple(Version[name] for name in fields["versions"]),
            label=fields["label"],
            left=bool(fields["left"]),
            catching_up_since=None if since is None else parse_time(since),
            renewal=renewal,
        )
        intact = own_to_record(own) == raw and own.device.jid == jid
    except (AttributeError, KeyError, TypeError, ValueError, E2eeError):
        raise _damaged("device") from None
    return _checked(own, intact and isinstance(own.label, str | None), "device")


def keys_to_record(keys: OwnKeys) -> bytes:
    """Return the keys of one version as a stored record."""
    fields = {
        "version": keys.version.name,
        "signed": _signed_to_fields(keys.signed),
        "made": format_time(keys.made),
        "former": None if keys.former is None else _signed_to_fields(keys.former),
        "last": keys.last,
        "fresh": keys.fresh,
        "changed": keys.changed,
        "published": [format_time(moment) for moment in keys.published],
        "renewal": keys.renewal,
    }
    return pack(_KEYS, _FORMAT, fields)


def keys_from_record(raw: bytes, version: Version) -> OwnKeys:
    """Read the stored keys of one version.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _KEYS, _FORMAT)
    try:
        former = fields["former"]
        keys = OwnKeys(
            version=Version[fields["version"]],
            signed=_signed_from_fields(fields["signed"]),
            made=parse_time(fields["made"]),
            former=None if former is None else _signed_from_fields(former),
            last=read_count(fields["last"]),
            fresh=read_count(fields["fresh"]),
            changed=bool(fields["changed"]),
            published=tuple(map(parse_time, fields["published"])),
            renewal=read_count(fields["renewal"]),
        )
        intact = keys_to_record(keys) == raw and keys.version is version
    except (KeyError, TypeError, ValueError, E2eeError):
        raise _damaged("keys") from None
    return _checked(keys, intact, "keys")


def pre_key_to_record(version: Version, pre_key: OwnPreKey) -> bytes:
    """Return a one-time prekey as a stored record."""
    fields = {
        "version": version.name,
        "id": pre_key.key.id,
        "private": _text(pre_key.key.private.reveal()),
        "public": _text(pre_key.key.public),
        "spent": pre_key.spent,
    }
    return pack(_PRE_KEY, _FORMAT, fields)


def pre_key_from_record(raw: bytes, version: Version) -> OwnPreKey:
    """Read a stored one-time prekey of a version.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _PRE_KEY, _FORMAT)
    try:
        key = PreKey(
            read_count(fields["id"]),
            Secret(_bytes(fields["private"], _KEY_BYTES)),
            _bytes(fields["public"], _KEY_BYTES),
        )
        pre_key = OwnPreKey(key, bool(fields["spent"]))
        intact = pre_key_to_record(version, pre_key) == raw
    except (KeyError, TypeError, ValueError, E2eeError):
        raise _damaged("prekey") from None
    return _checked(pre_key, intact, "prekey")


def _signed_to_fields(key: SignedPreKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "private": _text(key.private.reveal()),
        "public": _text(key.public),
        "signature": _text(key.signature),
    }


def _signed_from_fields(fields: dict[str, Any]) -> SignedPreKey:
    return SignedPreKey(
        read_count(fields["id"]),
        Secret(_bytes(fields["private"], _KEY_BYTES)),
        _bytes(fields["public"], _KEY_BYTES),
        _bytes(fields["signature"], _SIGNATURE_BYTES),
    )


def _device_id(value: object) -> DeviceId:
    if type(value) is not int or not 1 <= value <= MAX_OWN_DEVICE_ID:
        raise ValueError(value)
    return DeviceId(value)


def _bytes(text: str, length: int) -> bytes:
    raw = b64decode(text, validate=True)
    if len(raw) != length:
        raise ValueError(length)
    return raw


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def _checked(value: _T, intact: bool, what: str) -> _T:
    if not intact:  # a value of another type reads like the right one; or another's row
        raise _damaged(what)
    return value


def _damaged(what: str) -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, f"what is stored of our own {what} is damaged")
