"""Where an account keeps its own device: the rows of the device, of its keys, and of its prekeys.

Rule: reads and changes inside a draft of the caller; what they hold is in ``own_record.py``. What
must be there and is not is ``store-corrupt``: our device is never made anew in silence.
"""

from __future__ import annotations

from typing import Final

from e2ee.draft import Draft
from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.omemo.own_record import (
    OwnDevice,
    OwnKeys,
    OwnPreKey,
    keys_from_record,
    keys_to_record,
    own_from_record,
    own_to_record,
    pre_key_from_record,
    pre_key_to_record,
)
from e2ee.omemo.version import Version
from e2ee.renewal import renewal_within
from e2ee.storage import Key

__all__ = [
    "changes_keys",
    "drop_pre_key",
    "keys_within",
    "own_or_none",
    "own_within",
    "pre_keys_within",
    "put_keys",
    "put_own",
    "put_pre_key",
    "stored_pre_key",
]

_OF_A_DEVICE: Final = ("own-keys", "prekey", "session", "archive", "inbox")
"""Rows that only an account with a device has."""


async def own_within(draft: Draft) -> OwnDevice:
    """Return our device, one that has left included.

    Raises:
        ApiMisuse: there is none.
        StoreFailed: ``store-corrupt``: there was one, and it is lost or damaged; ``store-too-new``.
    """
    own = await own_or_none(draft)
    if own is None:
        raise ApiMisuse(f"{draft.account} has no OMEMO device here; register one first")
    return own


async def own_or_none(draft: Draft) -> OwnDevice | None:
    """As :func:`own_within`; ``None`` where there never was a device."""
    raw = await draft.get(draft.row("omemo", "own"))
    if raw is None:
        for name in _OF_A_DEVICE:
            if await draft.scan(draft.row("omemo", name)):
                raise StoreFailed(ErrorCode.STORE_CORRUPT, "our own stored device is lost")
        return None
    return own_from_record(raw, draft.account, (await renewal_within(draft, draft.account)).count)


def put_own(draft: Draft, own: OwnDevice) -> None:
    """Keep our device."""
    draft.put(draft.row("omemo", "own"), own_to_record(own))


async def keys_within(draft: Draft, version: Version) -> OwnKeys:
    """Return our keys in a version that our device has.

    Raises:
        StoreFailed: ``store-corrupt``: they are lost or damaged; ``store-too-new``.
    """
    raw = await draft.get(_keys_row(draft, version))
    if raw is None:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored keys of our own device are lost")
    return keys_from_record(raw, version)


def put_keys(draft: Draft, keys: OwnKeys) -> None:
    """Keep our keys in one version."""
    draft.put(_keys_row(draft, keys.version), keys_to_record(keys))


def changes_keys(draft: Draft, version: Version) -> bool:
    """Say whether the draft changes our keys in one version."""
    return draft.changes_row(_keys_row(draft, version))


async def stored_pre_key(draft: Draft, version: Version, pre_key_id: int) -> OwnPreKey | None:
    """Return a one-time prekey, spent or not; ``None`` for one that is gone or never was.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    row = _pre_key_row(draft, version, pre_key_id)
    raw = await draft.get(row)
    return None if raw is None else _pre_key_at(draft, version, row, raw)


async def pre_keys_within(draft: Draft, keys: OwnKeys) -> tuple[OwnPreKey, ...]:
    """Return all one-time prekeys of a version, the oldest first, spent ones included.

    Raises:
        StoreFailed: ``store-corrupt``: some are lost or damaged; ``store-too-new``.
    """
    version = keys.version
    rows = await draft.scan(_pre_key_rows(draft, version))
    pre_keys = tuple([_pre_key_at(draft, version, row, raw) for row, raw in rows])
    if sum(pre_key.spent is None for pre_key in pre_keys) != keys.fresh:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "stored prekeys of our own device are lost")
    return pre_keys


def put_pre_key(draft: Draft, version: Version, pre_key: OwnPreKey) -> None:
    """Keep a one-time prekey."""
    row = _pre_key_row(draft, version, pre_key.key.id)
    draft.put(row, pre_key_to_record(version, pre_key))


def drop_pre_key(draft: Draft, version: Version, pre_key_id: int) -> None:
    """Delete a one-time prekey, its private half with it."""
    draft.remove(_pre_key_row(draft, version, pre_key_id))


def _keys_row(draft: Draft, version: Version) -> Key:
    return draft.row("omemo", "own-keys", version.name)


def _pre_key_rows(draft: Draft, version: Version) -> Key:
    return draft.row("omemo", "prekey", version.name)


def _pre_key_row(draft: Draft, version: Version, pre_key_id: int) -> Key:
    return (*_pre_key_rows(draft, version), f"{pre_key_id:010d}")  # digits sort as they count


def _pre_key_at(draft: Draft, version: Version, row: Key, raw: bytes) -> OwnPreKey:
    pre_key = pre_key_from_record(raw, version)
    if _pre_key_row(draft, version, pre_key.key.id) != row:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a prekey of ours in the place of another")
    return pre_key
