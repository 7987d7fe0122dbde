"""Turns: the ratchet keys that an identity was heard under, by which a replay is known for one.

Rule: rows in a draft of the caller; only what was authenticated is remembered. It is remembered of
the identity, whatever becomes of its device: that a message is from this id and account, nothing
proves, and under another one it is the same message still.

Archives deliver again what was read long ago, and nobody wants to be warned of that (XEP-0384 §6).
A session itself only knows the keys of the chains that it still can read. And as long as a used
prekey is kept, nothing else tells a key exchange that comes again from a new one. Of so many turns
that the oldest are forgotten, their prekeys are deleted long since.
"""

from __future__ import annotations

from typing import Final

from e2ee.draft import Draft
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.omemo.device import IdentityFingerprint
from e2ee.omemo.fields import read_octets, write_octets
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.storage import Key

__all__ = ["is_known", "remember"]

_KIND: Final = "omemo-turns"
_FORMAT: Final = 1
_KEY: Final = 32  # bytes
_KEPT: Final = 16  # keys in each of the 256 rows of an identity, the newest ones


async def is_known(
    draft: Draft, version: Version, fingerprint: IdentityFingerprint, ratchet_key: bytes
) -> bool:
    """Say whether an identity was heard under a ratchet key before.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    return ratchet_key in await _keys(draft, _row(draft, version, fingerprint, ratchet_key))


async def remember(
    draft: Draft, version: Version, fingerprint: IdentityFingerprint, ratchet_key: bytes
) -> None:
    """Remember a ratchet key, 32 bytes, and forget the oldest where there are too many.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    row = _row(draft, version, fingerprint, ratchet_key)
    keys = [*await _keys(draft, row), ratchet_key][-_KEPT:]
    draft.put(row, pack(_KIND, _FORMAT, {"keys": write_octets(b"".join(keys))}))


async def _keys(draft: Draft, row: Key) -> list[bytes]:
    raw = await draft.get(row)
    if raw is None:
        return []
    try:
        joined = read_octets(unpack(raw, _KIND, _FORMAT)["keys"])
    except (KeyError, ValueError):
        joined = b""
    if not joined or len(joined) % _KEY:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "stored ratchet keys are damaged")
    return [joined[start : start + _KEY] for start in range(0, len(joined), _KEY)]


def _row(
    draft: Draft, version: Version, fingerprint: IdentityFingerprint, ratchet_key: bytes
) -> Key:
    # By the first byte, so that what is read and written for each turn stays short.
    return draft.row("omemo", "turns", version.name, fingerprint, ratchet_key[:1].hex())
