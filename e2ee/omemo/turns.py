"""Turns: the ratchet keys that a device was heard under, by which a replay is known for one.

Rule: rows in a draft of the caller; only what was authenticated is remembered. A key that is
forgotten makes nothing readable twice: its messages are refused all the same, for another reason.

Archives deliver again what was read long ago, and nobody wants to be warned of that (XEP-0384 §6).
A session itself only knows the keys of the chains that it still can read.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.omemo.device import Device
from e2ee.omemo.draft import Draft
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.storage import Key

__all__ = ["is_known", "remember"]

_KIND: Final = "omemo-turns"
_FORMAT: Final = 1
_KEY: Final = 32  # bytes
_KEPT: Final = 16  # keys in each of the 256 rows of a device, the newest ones


async def is_known(draft: Draft, version: Version, device: Device, ratchet_key: bytes) -> bool:
    """Say whether a device was heard under a ratchet key before.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    return ratchet_key in await _keys(draft, _row(draft, version, device, ratchet_key))


async def remember(draft: Draft, version: Version, device: Device, ratchet_key: bytes) -> None:
    """Remember a ratchet key, 32 bytes, and forget the oldest where there are too many.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    row = _row(draft, version, device, ratchet_key)
    keys = [*await _keys(draft, row), ratchet_key][-_KEPT:]
    draft.put(row, pack(_KIND, _FORMAT, {"keys": b64encode(b"".join(keys)).decode()}))


async def _keys(draft: Draft, row: Key) -> list[bytes]:
    raw = await draft.get(row)
    if raw is None:
        return []
    try:
        joined = b64decode(unpack(raw, _KIND, _FORMAT)["keys"], validate=True)
    except (KeyError, TypeError, ValueError):
        joined = b""
    if not joined or len(joined) % _KEY:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "stored ratchet keys are damaged")
    return [joined[start : start + _KEY] for start in range(0, len(joined), _KEY)]


def _row(draft: Draft, version: Version, device: Device, ratchet_key: bytes) -> Key:
    # By the first byte, so that what is read and written for each turn stays short.
    where = ratchet_key[:1].hex()
    return draft.row("turns", version.name, str(device.jid), str(device.id), where)
