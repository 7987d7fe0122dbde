"""Our prekeys: made, found by the id that somebody used, spent, rotated, replaced.

Rule: keys and how many there are; what is published of them is in ``own_bundle.py``. A one-time
prekey that was used is spent: it is offered no more, and deleted after a day, when the bundle
without it is published, and no catch-up runs (XEP-0384 §6). Ids grow, and none is given twice.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from e2ee.draft import Draft
from e2ee.omemo.engine import PreKey, SignedPreKey
from e2ee.omemo.known_device import is_recent
from e2ee.omemo.own_record import OwnDevice, OwnKeys, OwnPreKey
from e2ee.omemo.own_rows import (
    drop_pre_key,
    keys_within,
    own_within,
    pre_keys_within,
    put_keys,
    put_pre_key,
    stored_pre_key,
)
from e2ee.omemo.version import Version

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = [
    "PRE_KEYS",
    "forget_spent",
    "make_keys",
    "pre_key_used",
    "pre_key_within",
    "refill",
    "replace_all",
    "rotate",
    "signed_pre_key_within",
    "unused_since",
]

PRE_KEYS: Final = 100  # XEP-0384 §4.3: around 100, never fewer than 25
_MAX_SPENT: Final = 1000  # that are kept: whoever uses our prekeys up makes us keep no more
_SPENT_AGE: Final = timedelta(days=1)  # a publication may be refused, or wait for a network
_MIN_LEAP: Final = 1 << 16  # ids; more than were given since any copy of a store was made
_LEAP_BYTES: Final = 3  # so that the two thousand million ids last for a hundred renewals and more


async def signed_pre_key_within(
    draft: Draft, version: Version, pre_key_id: int
) -> SignedPreKey | None:
    """Return our signed prekey with an id: the one that is offered, or the one before.

    Returns:
        ``None`` for any other; also for a version in which our device was never announced.

    Raises:
        ApiMisuse: no device.
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    if version not in (await own_within(draft)).versions:
        return None
    keys = await keys_within(draft, version)
    for key in (keys.signed, keys.former):
        if key is not None and key.id == pre_key_id:
            return key
    return None


async def pre_key_within(draft: Draft, version: Version, pre_key_id: int) -> PreKey | None:
    """Return our one-time prekey with an id, a spent one too as long as it is not deleted.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    found = await stored_pre_key(draft, version, pre_key_id)
    return None if found is None else found.key


async def unused_since(draft: Draft, version: Version, pre_key_id: int) -> int:
    """Return the count of the renewal since which surely nobody has used a one-time prekey of ours.

    One that is spent may have been used before any of them, in a time that is lost.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    found = await stored_pre_key(draft, version, pre_key_id)
    unused = found is not None and found.spent is None
    return (await keys_within(draft, version)).renewal if unused else 0


async def pre_key_used(
    sessions: OmemoSessions, draft: Draft, version: Version, pre_key_id: int
) -> None:
    """Take a one-time prekey from what is offered, because somebody built a session with it.

    Another takes its place. Call ``publish_changed_bundles`` before the draft is committed.
    """
    found = await stored_pre_key(draft, version, pre_key_id)
    if found is None or found.spent is not None:
        return
    put_pre_key(draft, version, replace(found, spent=sessions.ports.clock()))
    keys = await keys_within(draft, version)
    put_keys(draft, refill(sessions, draft, replace(keys, fresh=keys.fresh - 1, changed=True)))


def make_keys(
    sessions: OmemoSessions, draft: Draft, own: OwnDevice, version: Version, now: datetime
) -> None:
    """Make the keys of our device in a version in which it has none."""
    random = sessions.ports.primitives.random
    signed = sessions.engines[version].new_signed_pre_key(own.identity, 1, random)
    keys = OwnKeys(
        version=version,
        signed=signed,
        made=now,
        former=None,
        last=0,
        fresh=0,
        changed=True,
        published=(),
        renewal=own.renewal,
    )
    put_keys(draft, refill(sessions, draft, keys))


def refill(sessions: OmemoSessions, draft: Draft, keys: OwnKeys) -> OwnKeys:
    """Make as many one-time prekeys as are lacking; return what the keys are with them."""
    engine, random = sessions.engines[keys.version], sessions.ports.primitives.random
    lacking = max(0, PRE_KEYS - keys.fresh)
    for pre_key_id in range(keys.last + 1, keys.last + lacking + 1):
        put_pre_key(draft, keys.version, OwnPreKey(engine.new_pre_key(pre_key_id, random)))
    return replace(
        keys,
        last=keys.last + lacking,
        fresh=keys.fresh + lacking,
        changed=keys.changed or lacking > 0,
    )


def rotate(
    sessions: OmemoSessions, own: OwnDevice, keys: OwnKeys, now: datetime, leap: int = 1
) -> OwnKeys:
    """Make another signed prekey; the one before is still accepted, the one before that no more.

    Args:
        sessions: the account.
        own: our device.
        keys: its keys in a version.
        now: the present, aware.
        leap: how far ahead its id is.
    """
    engine, random = sessions.engines[keys.version], sessions.ports.primitives.random
    signed = engine.new_signed_pre_key(own.identity, keys.signed.id + leap, random)
    return replace(keys, signed=signed, made=now, former=keys.signed, changed=True)


async def replace_all(
    sessions: OmemoSessions, draft: Draft, own: OwnDevice, keys: OwnKeys, now: datetime
) -> OwnKeys:
    """Replace all prekeys, because some were used in a time that is lost (D-24).

    They are spent. What was made in that time had ids, too: the next ones are far beyond, at random
    so that another copy that is renewed comes to others.
    """
    for pre_key in await pre_keys_within(draft, keys):
        put_pre_key(draft, keys.version, replace(pre_key, spent=pre_key.spent or now))
    leap = _MIN_LEAP + int.from_bytes(sessions.ports.primitives.random(_LEAP_BYTES))
    keys = rotate(sessions, own, keys, now, leap)
    spent = replace(keys, last=keys.last + leap, fresh=0, renewal=own.renewal)
    return refill(sessions, draft, spent)


def forget_spent(
    draft: Draft, version: Version, pre_keys: Collection[OwnPreKey], now: datetime
) -> None:
    """Delete those of all one-time prekeys that were used, their private halves with them.

    Not at once: until the bundle without them is published, others take them from the one before.
    Nobody says when that is; after a day ``maintain`` publishes it once more.
    """
    spent = [pre_key for pre_key in pre_keys if pre_key.spent is not None]
    for place, pre_key in enumerate(reversed(spent)):
        if place >= _MAX_SPENT or not is_recent(pre_key.spent, _SPENT_AGE, now):
            drop_pre_key(draft, version, pre_key.key.id)
