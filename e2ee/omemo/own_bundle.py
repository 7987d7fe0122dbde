"""What is published of our keys: our bundle in each version, made from what is stored.

Rule: a bundle is derived from the rows each time, never kept beside them; no bundle is published of
prekeys that some lost time may have used.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from e2ee.draft import Draft
from e2ee.effects import (
    ACCESS_MODEL,
    MAX_ITEMS,
    PERSIST_ITEMS,
    Delete,
    NodeConfig,
    Publish,
    Retract,
)
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device
from e2ee.omemo.known_device import is_recent
from e2ee.omemo.own_record import OwnDevice, OwnKeys
from e2ee.omemo.own_rows import (
    changes_keys,
    keys_within,
    own_within,
    pre_keys_within,
    put_keys,
    put_own,
)
from e2ee.omemo.prekeys import forget_spent, replace_all
from e2ee.omemo.version import CURRENT, Version, bundle_fetch
from e2ee.renewal import Renewal

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = [
    "OPEN_NODE",
    "bundle_publication",
    "bundle_withdrawal",
    "publish_changed_bundles",
    "publish_if_due",
]

OPEN_NODE: Final[NodeConfig] = ((ACCESS_MODEL, "open"), (PERSIST_ITEMS, "true"))
"""The configuration of every node of OMEMO (XEP-0384 §5.3.1, §5.3.2)."""

_CONFIG: Final = {
    Version.TWO: (*OPEN_NODE, (MAX_ITEMS, "max")),  # one node for all devices of the account
    Version.LEGACY: OPEN_NODE,
}
_REPUBLISHED: Final = timedelta(days=1)  # even if nothing changed
_PERIOD: Final = timedelta(minutes=10)
_MAX_PUBLICATIONS: Final = 20  # of one bundle within it: whoever spends our prekeys drives us


async def publish_changed_bundles(sessions: OmemoSessions, draft: Draft) -> None:
    """Queue that each bundle is published whose keys this draft changed.

    Call it once before a draft is committed in which prekeys were used.
    """
    for version in sessions.engines:
        if changes_keys(draft, version):
            await publish_if_due(sessions, draft, version)


async def publish_if_due(sessions: OmemoSessions, draft: Draft, version: Version) -> None:
    """Queue that our bundle is published, if it is not what was published last.

    Or if that was long ago: it may have been refused, or lost since. Where too much was published
    of late it waits for the next change or ``maintain``; what is spent is accepted until then.
    """
    own, keys = await own_within(draft), await keys_within(draft, version)
    now = sessions.ports.clock()
    last = keys.published[-1] if keys.published else None
    if not keys.changed and not _is_outdated(own, keys) and is_recent(last, _REPUBLISHED, now):
        return
    if len(_recent(keys, now)) < _MAX_PUBLICATIONS:
        publication = await bundle_publication(sessions, draft, version)
        if not own.left:
            draft.send(publication)


async def bundle_publication(sessions: OmemoSessions, draft: Draft, version: Version) -> Publish:
    """Return what publishes our bundle as it is now, and note that this was done."""
    own, keys = await _sure(sessions, draft, version)
    pre_keys = await pre_keys_within(draft, keys)
    now = sessions.ports.clock()
    if own.catching_up_since is None:
        forget_spent(draft, version, pre_keys, now)
    put_keys(draft, replace(keys, changed=False, published=(*_recent(keys, now), now)))
    bundle = Bundle(
        version=version,
        identity=sessions.engines[version].identity(own.identity),
        signed_pre_key_id=keys.signed.id,
        signed_pre_key=keys.signed.public,
        signature=keys.signed.signature,
        pre_keys=tuple([(key.key.id, key.key.public) for key in pre_keys if key.spent is None]),
    )
    place = bundle_fetch(version, own.device)
    return Publish(
        place.address, place.item_id or CURRENT, bundle.to_xml(), options=_CONFIG[version]
    )


def bundle_withdrawal(version: Version, device: Device) -> Retract | Delete:
    """Return what takes our bundle away; in the legacy version its node with it."""
    place = bundle_fetch(version, device)
    if place.item_id is None:
        return Delete(place.address)
    return Retract(place.address, place.item_id)


async def _sure(
    sessions: OmemoSessions, draft: Draft, version: Version
) -> tuple[OwnDevice, OwnKeys]:
    """Return our device and keys of which surely nobody has used any.

    After a renewal others may have sent messages, in the lost time, that are in the archive now:
    what they used is kept as in a catch-up, which is what must follow.
    """
    own, keys = await own_within(draft), await keys_within(draft, version)
    if _is_outdated(own, keys):
        now = sessions.ports.clock()
        own = replace(own, catching_up_since=own.catching_up_since or now)
        put_own(draft, own)
        keys = await replace_all(sessions, draft, own, keys, now)
        put_keys(draft, keys)
    return own, keys


def _recent(keys: OwnKeys, now: datetime) -> tuple[datetime, ...]:
    return tuple(moment for moment in keys.published if is_recent(moment, _PERIOD, now))


def _is_outdated(own: OwnDevice, keys: OwnKeys) -> bool:
    return Renewal(own.renewal).outdates(keys.renewal)
