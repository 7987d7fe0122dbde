"""Where an account keeps what it knows of devices: rings, bundles, and whose an identity is.

Rule: reads and changes inside a draft of the caller; what a ring means is in ``ring.py``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from e2ee.draft import Draft
from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.bundle_record import bundle_from_record, bundle_to_record
from e2ee.omemo.device import Device, IdentityFingerprint, parse_device_id
from e2ee.omemo.known_device import BUNDLE_AGE, in_seconds, is_recent
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.ring_record import ring_from_record, ring_to_record
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.renewal import renewal_within
from e2ee.storage import Key

__all__ = [
    "bundle_within",
    "drop_bundle",
    "drop_owner",
    "owner_within",
    "put_bundle",
    "put_owner",
    "put_ring",
    "ring_within",
]

_OWNER: Final = "omemo-identity"
_FORMAT: Final = 1


async def ring_within(draft: Draft, jid: BareJid) -> DeviceRing:
    """Return what is known of the devices of ``jid``.

    Lists from before the account's newest renewal must be fetched again.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await draft.get(_ring_row(draft, jid))
    ring = DeviceRing(jid) if raw is None else ring_from_record(raw)
    if ring.jid != jid:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a ring of OMEMO devices in another's place")
    return ring.renewed(await renewal_within(draft, draft.account))


def put_ring(draft: Draft, ring: DeviceRing) -> None:
    """Keep a ring."""
    draft.put(_ring_row(draft, ring.jid), ring_to_record(ring))


async def bundle_within(
    draft: Draft, version: Version, device: Device, now: datetime
) -> Bundle | None:
    """Return the bundle of a device, ``None`` if none was fetched within the last ten minutes.

    Nor is there one that was fetched before the account's newest renewal: the prekey that we take
    from it may be the one that we took in the time that is lost.

    It was checked when it was fed, and its identity was the one that counts then; whoever starts a
    session asks the ring again.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await draft.get(_bundle_row(draft, version, device))
    if raw is None:
        return None
    bundle, fetched, renewal = bundle_from_record(raw)
    if bundle.version is not version:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored bundle in another's place")
    if (await renewal_within(draft, draft.account)).outdates(renewal):
        return None
    return bundle if is_recent(fetched, BUNDLE_AGE, now) else None


async def put_bundle(draft: Draft, device: Device, bundle: Bundle, now: datetime) -> None:
    """Keep a bundle that was fetched now, and drop those of the same account that are too old.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    for row, raw in await draft.scan(
        draft.row("omemo", "bundle", bundle.version.name, str(device.jid))
    ):
        _, fetched, _ = bundle_from_record(raw)
        if not is_recent(fetched, BUNDLE_AGE, now):
            draft.remove(row)
    row = _bundle_row(draft, bundle.version, device)
    renewal = await renewal_within(draft, draft.account)
    draft.put(row, bundle_to_record(bundle, in_seconds(now), renewal.count))


def drop_bundle(draft: Draft, version: Version, device: Device) -> None:
    """Forget a bundle: it was used, or is not to be."""
    draft.remove(_bundle_row(draft, version, device))


async def owner_within(draft: Draft, fingerprint: IdentityFingerprint) -> Device | None:
    """Return the device that showed an identity first, be it known still or not.

    Raises:
        StoreFailed: ``store-corrupt``.
    """
    raw = await draft.get(_identity_row(draft, fingerprint))
    if raw is None:
        return None
    fields = unpack(raw, _OWNER, _FORMAT)
    try:
        owner = Device(BareJid.parse(fields["jid"]), parse_device_id(fields["id"]))
    except (AttributeError, KeyError, TypeError, E2eeError):
        raise _no_owner() from None
    if _owner_record(owner) != raw:
        raise _no_owner()
    return owner


def put_owner(draft: Draft, fingerprint: IdentityFingerprint, device: Device) -> None:
    """Keep whose an identity is."""
    draft.put(_identity_row(draft, fingerprint), _owner_record(device))


def drop_owner(draft: Draft, fingerprint: IdentityFingerprint) -> None:
    """Forget whose an identity was."""
    draft.remove(_identity_row(draft, fingerprint))


def _owner_record(owner: Device) -> bytes:
    return pack(_OWNER, _FORMAT, {"jid": str(owner.jid), "id": str(owner.id)})


def _no_owner() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a stored owner of an identity is damaged")


def _ring_row(draft: Draft, jid: BareJid) -> Key:
    return draft.row("omemo", "ring", str(jid))


def _bundle_row(draft: Draft, version: Version, device: Device) -> Key:
    return draft.row("omemo", "bundle", version.name, str(device.jid), str(device.id))


def _identity_row(draft: Draft, fingerprint: IdentityFingerprint) -> Key:
    return draft.row("omemo", "identity", fingerprint)
