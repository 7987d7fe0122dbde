"""Our own device: made and announced, labelled, withdrawn.

Rule: each change is one transaction with what must be published of it. Its keys are made in
``prekeys.py``; it is read, in a draft of the caller, by ``own_rows.own_within``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from e2ee.draft import Draft
from e2ee.errors import ApiMisuse
from e2ee.omemo.device import MAX_OWN_DEVICE_ID, Device, DeviceId
from e2ee.omemo.device_list import is_label
from e2ee.omemo.own_bundle import bundle_publication
from e2ee.omemo.own_list import fetched_ring, list_publication, withdraw
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.own_rows import keys_within, own_or_none, own_within, pre_keys_within, put_own
from e2ee.omemo.prekeys import make_keys
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.version import Version
from e2ee.renewal import renewal_within

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["leave", "own_device", "register", "relabel"]

_ID_BYTES: Final = 4


async def register(sessions: OmemoSessions, label: str | None = None) -> Device:
    """See ``OmemoSessions.register``."""
    _check_label(label)
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own = await own_or_none(draft)
        spoken = tuple(sessions.engines)
        if own is not None and not own.left and set(spoken) <= set(own.versions):
            raise ApiMisuse(f"{own.device} is registered already")
        ring = await fetched_ring(sessions, draft, spoken)
        if own is None:
            own = await _new(sessions, draft, ring)
        new = [version for version in spoken if version not in own.versions]
        own = replace(
            own,
            versions=(*own.versions, *new),
            label=own.label if label is None else label,
            left=False,
        )
        put_own(draft, own)
        for version in new:
            make_keys(sessions, draft, own, version, sessions.ports.clock())
        for version in spoken:
            bundle = await bundle_publication(sessions, draft, version)
            listed = list_publication(sessions, own, version, ring)
            draft.send(bundle, listed, chained=True)  # nobody shall look for a bundle in vain
        await draft.commit()
    return own.device


async def own_device(sessions: OmemoSessions) -> OwnDevice:
    """See ``OmemoSessions.own_device``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own = await own_within(draft)
        for version in own.versions:
            await pre_keys_within(draft, await keys_within(draft, version))
    return own


async def relabel(sessions: OmemoSessions, label: str | None) -> None:
    """See ``OmemoSessions.relabel``."""
    _check_label(label)
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own = replace(await own_within(draft), label=label)
        if own.left:
            raise ApiMisuse(f"{own.device} has left; register it again first")
        ring = await fetched_ring(sessions, draft, (Version.TWO,))
        put_own(draft, own)
        draft.send(list_publication(sessions, own, Version.TWO, ring))
        await draft.commit()


async def leave(sessions: OmemoSessions) -> None:
    """See ``OmemoSessions.leave``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own = replace(await own_within(draft), left=True)
        spoken = own.spoken(sessions.engines)
        ring = await fetched_ring(sessions, draft, spoken)
        put_own(draft, own)
        for version in spoken:
            withdraw(sessions, draft, own, version, ring)
        await draft.commit()


async def _new(sessions: OmemoSessions, draft: Draft, ring: DeviceRing) -> OwnDevice:
    random = sessions.ports.primitives.random
    device_id = 0
    while device_id == 0 or ring.find(DeviceId(device_id)) is not None:  # XEP-0384 §6
        device_id = int.from_bytes(random(_ID_BYTES)) & MAX_OWN_DEVICE_ID
    return OwnDevice(
        device=Device(sessions.account, DeviceId(device_id)),
        identity=sessions.engines[Version.TWO].new_identity(random),
        renewal=(await renewal_within(draft, sessions.account)).count,
    )


def _check_label(label: str | None) -> None:
    if label is not None and not is_label(label):
        raise ApiMisuse("a label that is empty, too long, or no plain text", rule="XEP-0384 §5.3.1")
