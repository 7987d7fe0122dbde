"""What is published of our device's name: the account's device list, with what others put there.

Rule: our own entry is ours to write; the others are republished as they were found, labels with
their signatures (XEP-0384 §5.3.1).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from e2ee.draft import Draft
from e2ee.effects import Publish
from e2ee.errors import DataMissing, ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_DEVICES
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.known_device import is_recent
from e2ee.omemo.own_bundle import OPEN_NODE, bundle_publication, bundle_withdrawal
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.own_rows import own_within
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.ring_rows import ring_within
from e2ee.omemo.version import CURRENT, Version, devices_fetch

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["announce_within", "fetched_ring", "list_publication", "withdraw"]

_LIST_AGE: Final = timedelta(minutes=10)  # that we go by when we publish another


async def fetched_ring(
    sessions: OmemoSessions, draft: Draft, versions: tuple[Version, ...]
) -> DeviceRing:
    """Return our account's ring, whose lists were just fetched.

    A list is published whole: of an older one a device that was added since would be struck.

    Raises:
        DataMissing: the lists of some of these versions must be fetched first.
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    ring = await ring_within(draft, sessions.account)
    fetches = tuple(
        devices_fetch(version, sessions.account)
        for version in versions
        if not is_recent(ring.listed.get(version), _LIST_AGE, sessions.ports.clock())
    )
    if fetches:
        raise DataMissing("our account's own device lists are missing", fetches=fetches)
    return ring


async def announce_within(
    sessions: OmemoSessions, draft: Draft, version: Version, ring: DeviceRing
) -> None:
    """Queue that our device is announced again in a version whose list lacks it.

    Its bundle first: whoever took the one may have taken the other. A list that is full stays as
    it is.

    Args:
        sessions: the account.
        draft: to write in.
        version: one that our device has keys in; and it has not left.
        ring: our account's, as it is now. It is for the caller to see that this has an end.
    """
    own = await own_within(draft)
    if len(_others(own, version, ring)) < MAX_DEVICES:
        bundle = await bundle_publication(sessions, draft, version)
        draft.send(bundle, list_publication(sessions, own, version, ring), chained=True)


def withdraw(
    sessions: OmemoSessions, draft: Draft, own: OwnDevice, version: Version, ring: DeviceRing
) -> None:
    """Queue that our device, which has left, is taken from a list, and then its bundle away."""
    listed = list_publication(sessions, own, version, ring)
    draft.send(listed, bundle_withdrawal(version, own.device), chained=True)


def list_publication(
    sessions: OmemoSessions, own: OwnDevice, version: Version, ring: DeviceRing
) -> Publish:
    """Return what publishes our account's device list: the others', and ours unless it has left.

    Raises:
        PeerMisbehaved: ``limit-exceeded``: there is no room for ours.
    """
    listed = _others(own, version, ring)
    if not own.left:
        if len(listed) >= MAX_DEVICES:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED,
                f"the account lists {MAX_DEVICES} devices already",
                rule="XEP-0384 §5.3.1",
            )
        listed.append(_ours(sessions, own, version))
    return Publish(
        devices_fetch(version, own.device.jid).address,
        CURRENT,
        DeviceList(version, tuple(listed)).to_xml(),
        OPEN_NODE,
    )


def _ours(sessions: OmemoSessions, own: OwnDevice, version: Version) -> ListedDevice:
    if own.label is None or version is Version.LEGACY:
        return ListedDevice(own.device.id)
    signature = sessions.engines[version].sign_label(own.identity, own.label)
    return ListedDevice(own.device.id, own.label, signature)


def _others(own: OwnDevice, version: Version, ring: DeviceRing) -> list[ListedDevice]:
    return [
        ListedDevice(known.id, known.label, known.label_signature)
        for known in ring.devices
        if version in known.listed and known.id != own.device.id
    ]
