"""Where sessions are kept: the current one with each device, older ones, and kept message keys.

Rule: reads and changes in a draft of the caller; what a session may be used for is decided in
``encrypting.py`` and ``decrypting.py``, and its stored form in ``session_record.py``.

A session is known again by the key exchange that built it. The current one with a device is what we
send with; what it replaced is archived, and still decrypts what is on its way. The message keys of
messages that were passed over lie in a row for each chain of the peer's, so that a session's own
record stays short whatever the peer skips.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from hashlib import sha256
from itertools import groupby
from typing import Final

from e2ee.draft import Draft
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.limits import MAX_ARCHIVED_SESSIONS, MAX_SKIPPED_CHAINS, MAX_SKIPPED_KEYS
from e2ee.names import BareJid
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.engine import KeyExchange, Received, SkippedKey
from e2ee.omemo.session import Session, SkippedChain
from e2ee.omemo.session_record import (
    session_from_record,
    session_to_record,
    skipped_from_record,
    skipped_to_record,
)
from e2ee.omemo.version import Version
from e2ee.storage import Key

__all__ = [
    "archived_within",
    "drop_sessions",
    "put_archived",
    "put_session",
    "replace_session",
    "session_within",
    "sessions_within",
    "skipped_within",
    "take_in",
]

_CURRENT: Final = "session"
_ARCHIVE: Final = "archive"
_SKIPPED: Final = "skipped"


async def session_within(draft: Draft, version: Version, device: Device) -> Session | None:
    """Return the current session with a device, or ``None``.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await draft.get(_row(draft, _CURRENT, version, device))
    return None if raw is None else session_from_record(raw, version, device)


async def sessions_within(
    draft: Draft, version: Version, jid: BareJid, ids: Collection[DeviceId]
) -> dict[DeviceId, Session]:
    """Return the current sessions with some devices of ``jid``, by device.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    sessions: dict[DeviceId, Session] = {}
    for row, raw in await draft.scan(draft.row("omemo", _CURRENT, version.name, str(jid))):
        device = Device(jid, DeviceId(_number(row)))
        if device.id in ids:
            sessions[device.id] = session_from_record(raw, version, device)
    return sessions


def put_session(draft: Draft, session: Session) -> None:
    """Keep a session as the current one, in the place of an older state of the same."""
    row = _row(draft, _CURRENT, session.version, session.peer)
    draft.put(row, session_to_record(session))


async def replace_session(draft: Draft, session: Session) -> int:
    """Make a session the current one, be it new or archived, and archive the one before it.

    Beyond ``limits.MAX_ARCHIVED_SESSIONS`` the oldest are dropped with their message keys.

    Returns:
        How many message keys were dropped so.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    version, peer = session.version, session.peer
    before = await session_within(draft, version, peer)
    put_session(draft, session)
    if before is None:
        return 0
    archived = await archived_within(draft, version, peer)
    kept = [(slot, older) for slot, older in archived if older.exchange != session.exchange]
    dropped = [slot for slot, older in archived if older.exchange == session.exchange]
    if before.exchange != session.exchange:
        slot = archived[0][0] + 1 if archived else 0
        put_archived(draft, slot, before)
        kept = [(slot, before), *kept]
    gone = kept[MAX_ARCHIVED_SESSIONS:]
    for slot, oldest in gone:
        dropped.append(slot)
        for chain in oldest.skipped:
            draft.remove(_skipped_row(draft, oldest, chain.ratchet_key))
    for slot in dropped:
        draft.remove(_slot_row(draft, version, peer, slot))
    return sum(chain.count for _, oldest in gone for chain in oldest.skipped)


async def drop_sessions(draft: Draft, version: Version, device: Device) -> None:
    """Forget all sessions with a device that is known no more, with all their message keys."""
    draft.remove(_row(draft, _CURRENT, version, device))
    for what in (_ARCHIVE, _SKIPPED):
        for row, _ in await draft.scan(_row(draft, what, version, device)):
            draft.remove(row)


async def archived_within(
    draft: Draft, version: Version, device: Device
) -> tuple[tuple[int, Session], ...]:
    """Return the archived sessions with a device and the slot of each, the newest first.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    rows = await draft.scan(_row(draft, _ARCHIVE, version, device))
    return tuple(
        [(_number(row), session_from_record(raw, version, device)) for row, raw in reversed(rows)]
    )


def put_archived(draft: Draft, slot: int, session: Session) -> None:
    """Keep an archived session where it was, in the place of an older state of the same."""
    draft.put(_slot_row(draft, session.version, session.peer, slot), session_to_record(session))


async def skipped_within(
    draft: Draft, session: Session, ratchet_key: bytes, number: int
) -> SkippedKey | None:
    """Return the kept key of one message of a session, or ``None``.

    Args:
        draft: to read in.
        session: the current one, or an archived one.
        ratchet_key: the message's, X25519, 32 bytes.
        number: the message's number in its chain.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    for chain in session.skipped:
        if chain.ratchet_key == ratchet_key:
            key = (await _keys_within(draft, session, chain)).get(number)
            return None if key is None else SkippedKey(ratchet_key, number, key)
    return None


async def take_in(
    draft: Draft, session: Session, received: Received, used: SkippedKey | None
) -> Session:
    """Return a session as it is after a message, and keep or drop message keys accordingly.

    Of more than ``limits.MAX_SKIPPED_KEYS``, or from more than ``limits.MAX_SKIPPED_CHAINS``
    chains, the oldest are dropped: they were the least likely to be needed.

    Args:
        draft: to keep the message keys in; the session itself is for the caller to put.
        session: as it was.
        received: what decrypting the message yielded.
        used: the kept key that decrypted it, which is never used again.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    chains = {chain.ratchet_key: chain.count for chain in session.skipped}
    if used is not None:
        chain = SkippedChain(used.ratchet_key, chains[used.ratchet_key])
        keys = await _keys_within(draft, session, chain)
        del keys[used.number]
        _put_keys(draft, session, chains, used.ratchet_key, keys)
    for ratchet_key, passed in groupby(received.skipped, lambda skipped: skipped.ratchet_key):
        keys = {}
        if ratchet_key in chains:
            chain = SkippedChain(ratchet_key, chains[ratchet_key])
            keys = await _keys_within(draft, session, chain)
        keys |= {skipped.number: skipped.key for skipped in passed}
        _put_keys(draft, session, chains, ratchet_key, keys)
    while len(chains) > MAX_SKIPPED_CHAINS or sum(chains.values()) > MAX_SKIPPED_KEYS:
        await _drop_oldest(draft, session, chains)
    return replace(
        session,
        ratchet=received.ratchet,
        confirmed=True,
        skipped=tuple([SkippedChain(key, count) for key, count in chains.items()]),
    )


async def _drop_oldest(draft: Draft, session: Session, chains: dict[bytes, int]) -> None:
    """Drop what is too much of the oldest chain, or all of it."""
    ratchet_key, count = next(iter(chains.items()))
    excess = sum(chains.values()) - MAX_SKIPPED_KEYS
    keys: Mapping[int, bytes] = {}
    if len(chains) <= MAX_SKIPPED_CHAINS and excess < count:
        found = await _keys_within(draft, session, SkippedChain(ratchet_key, count))
        keys = dict(list(found.items())[excess:])
    _put_keys(draft, session, chains, ratchet_key, keys)


async def _keys_within(draft: Draft, session: Session, chain: SkippedChain) -> dict[int, bytes]:
    raw = await draft.get(_skipped_row(draft, session, chain.ratchet_key))
    if raw is None:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored message keys of a chain are lost")
    return skipped_from_record(raw, chain.count)


def _put_keys(
    draft: Draft,
    session: Session,
    chains: dict[bytes, int],
    ratchet_key: bytes,
    keys: Mapping[int, bytes],
) -> None:
    """Keep these keys of a chain and no others, and count them in ``chains``."""
    row = _skipped_row(draft, session, ratchet_key)
    if keys:
        draft.put(row, skipped_to_record(keys))
        chains[ratchet_key] = len(keys)
    else:
        draft.remove(row)
        chains.pop(ratchet_key, None)


def _row(draft: Draft, what: str, version: Version, device: Device) -> Key:
    return draft.row("omemo", what, version.name, str(device.jid), str(device.id))


def _number(row: Key) -> int:
    if not row[-1].isdecimal():
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a session in a row of another kind")
    return int(row[-1])


def _slot_row(draft: Draft, version: Version, device: Device, slot: int) -> Key:
    # Ten digits sort as they count, for more sessions than a device can begin.
    return (*_row(draft, _ARCHIVE, version, device), f"{slot:010d}")


def _skipped_row(draft: Draft, session: Session, ratchet_key: bytes) -> Key:
    row = _row(draft, _SKIPPED, session.version, session.peer)
    return (*row, _tag(session.exchange), ratchet_key.hex())


def _tag(exchange: KeyExchange) -> str:
    """Return what tells a session from all others with the same device."""
    ids = exchange.signed_pre_key_id.to_bytes(4) + exchange.pre_key_id.to_bytes(4)
    return sha256(exchange.identity + exchange.ephemeral + ids).hexdigest()
