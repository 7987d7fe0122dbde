"""What was handled: the digests of messages that were taken in, by which a replay is known.

Rule: rows in the caller's transaction, nothing else; what is digested is decided in ``opened.py``.
A digest is remembered from when it was handled, however old its message: an archive delivers
messages of any age, and delivers them again. It is forgotten after 90 days on which something was
handled; these are counted, not measured, so that a clock that jumps makes nothing forgotten.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.records import pack
from e2ee.storage import Change, Key, Put, Remove, Transaction

__all__ = ["check_unhandled", "mark_handled"]

_DAYS: Final = 90
_FORGOTTEN_AT_ONCE: Final = 64  # rows; more than one message adds, so that none pile up
_MARK: Final = pack("ox-handled", 1, {})


async def check_unhandled(tx: Transaction, scope: Key, digest: bytes) -> None:
    """Refuse what was handled before.

    Raises:
        PeerMisbehaved: ``replay``.
    """
    if await tx.get(_by_digest(scope, digest.hex())) is not None:
        raise PeerMisbehaved(ErrorCode.REPLAY, "this was handled before", rule="XEP-0373 §3.2")


async def mark_handled(tx: Transaction, scope: Key, digest: bytes, now: datetime) -> list[Change]:
    """Return the changes that remember ``digest``, and forget what is old enough.

    Args:
        tx: reads of one snapshot.
        scope: where the account's rows are.
        digest: of what was taken in.
        now: the present, aware; only its day matters.

    Raises:
        PeerMisbehaved: ``replay``: another task was first.
    """
    await check_unhandled(tx, scope, digest)
    today = _day(now)
    earlier = {key[-1] for key, _ in await tx.scan(_days(scope), limit=_DAYS + 1)} - {today}
    forgotten = await _forget(tx, scope, min(earlier)) if len(earlier) >= _DAYS else []
    return [
        *forgotten,
        Put((*_days(scope), today), _MARK),
        Put((*_by_day(scope), today, digest.hex()), _MARK),
        Put(_by_digest(scope, digest.hex()), _MARK),
    ]


async def _forget(tx: Transaction, scope: Key, day: str) -> list[Change]:
    """Return the changes that forget a day, or begin to."""
    oldest = [key for key, _ in await tx.scan((*_by_day(scope), day), limit=_FORGOTTEN_AT_ONCE)]
    changes: list[Change] = []
    for key in oldest:
        changes += [Remove(key), Remove(_by_digest(scope, key[-1]))]
    if len(oldest) < _FORGOTTEN_AT_ONCE:
        changes.append(Remove((*_days(scope), day)))
    return changes


def _by_digest(scope: Key, digest: str) -> Key:
    return (*scope, "ox", "handled", digest)


def _by_day(scope: Key) -> Key:
    return (*scope, "ox", "handled-on")


def _days(scope: Key) -> Key:
    return (*scope, "ox", "handled-days")


def _day(now: datetime) -> str:
    return f"{now.toordinal():08d}"  # sorts as it counts
