"""What is kept of our own device: its identity, and its keys in each version; and how it is stored.

Rule: values and their stored form. A damaged record is ``store-corrupt``, never a new device; where
the rows are is in ``own_rows.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import format_time
from e2ee.names import BareJid
from e2ee.omemo.device import MAX_OWN_DEVICE_ID, Device, DeviceId
from e2ee.omemo.engine import PreKey, SignedPreKey
from e2ee.omemo.fields import read_flag, read_number, read_octets, read_time, write_octets
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
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
        spent: since when somebody has used it, aware: it is offered no more, and deleted when the
            bundle without it is surely published; ``None`` for one that nobody used.
    """

    key: PreKey
    spent: datetime | None = None


def own_to_record(own: OwnDevice) -> bytes:
    """Return our device as a stored record; the count of renewals is kept elsewhere."""
    since = own.catching_up_since
    fields = {
        "jid": str(own.device.jid),
        "id": own.device.id,
        "identity": write_octets(own.identity.reveal()),
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
        if fields["jid"] != str(jid):
            raise ValueError  # another's device
        since, label = fields["catching-up-since"], fields["label"]
        if not isinstance(label, str | None):
            raise ValueError
        return OwnDevice(
            device=Device(jid, DeviceId(read_number(fields["id"], 1, MAX_OWN_DEVICE_ID))),
            identity=Secret(read_octets(fields["identity"], _KEY_BYTES)),
            versions=_versions(fields["versions"]),
            label=label,
            left=read_flag(fields["left"]),
            catching_up_since=None if since is None else read_time(since),
            renewal=renewal,
        )
    except (KeyError, TypeError, ValueError, E2eeError):
        raise _damaged("device") from None


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
        if fields["version"] != version.name:
            raise ValueError  # those of another version
        former, published = fields["former"], fields["published"]
        if not isinstance(published, list):
            raise ValueError
        return OwnKeys(
            version=version,
            signed=_signed_from_fields(fields["signed"]),
            made=read_time(fields["made"]),
            former=None if former is None else _signed_from_fields(former),
            last=read_number(fields["last"]),
            fresh=read_number(fields["fresh"]),
            changed=read_flag(fields["changed"]),
            published=tuple(map(read_time, published)),
            renewal=read_number(fields["renewal"]),
        )
    except (KeyError, TypeError, ValueError, E2eeError):
        raise _damaged("keys") from None


def pre_key_to_record(version: Version, pre_key: OwnPreKey) -> bytes:
    """Return a one-time prekey as a stored record."""
    fields = {
        "version": version.name,
        "id": pre_key.key.id,
        "private": write_octets(pre_key.key.private.reveal()),
        "public": write_octets(pre_key.key.public),
        "spent": None if pre_key.spent is None else format_time(pre_key.spent),
    }
    return pack(_PRE_KEY, _FORMAT, fields)


def pre_key_from_record(raw: bytes, version: Version) -> OwnPreKey:
    """Read a stored one-time prekey of a version.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _PRE_KEY, _FORMAT)
    try:
        if fields["version"] != version.name:
            raise ValueError  # one of another version
        key = PreKey(
            read_number(fields["id"], 1),
            Secret(read_octets(fields["private"], _KEY_BYTES)),
            read_octets(fields["public"], _KEY_BYTES),
        )
        spent = fields["spent"]
        return OwnPreKey(key, None if spent is None else read_time(spent))
    except (KeyError, TypeError, ValueError, E2eeError):
        raise _damaged("prekey") from None


def _signed_to_fields(key: SignedPreKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "private": write_octets(key.private.reveal()),
        "public": write_octets(key.public),
        "signature": write_octets(key.signature),
    }


def _signed_from_fields(fields: dict[str, Any]) -> SignedPreKey:
    return SignedPreKey(
        read_number(fields["id"], 1),
        Secret(read_octets(fields["private"], _KEY_BYTES)),
        read_octets(fields["public"], _KEY_BYTES),
        read_octets(fields["signature"], _SIGNATURE_BYTES),
    )


def _versions(names: object) -> tuple[Version, ...]:
    if not isinstance(names, list):
        raise ValueError
    return tuple([Version[name] for name in names])


def _damaged(what: str) -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, f"what is stored of our own {what} is damaged")
