"""What follows when a ring becomes another: whose identities are, which rows are void, and news.

Rule: one step, kept whole in a draft of the caller; it is decided in ``ring.py``, and here only
compared. What the user did is no news to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from e2ee import ns
from e2ee.draft import Draft
from e2ee.key_events import KeyEvent, KeyNews, noted, outdated
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.known_device import KnownDevice
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.ring_rows import drop_bundle, drop_owner, put_owner, put_ring
from e2ee.omemo.session_rows import drop_sessions
from e2ee.omemo.version import Version
from e2ee.storage import Put
from e2ee.trust import Trust

__all__ = ["keep"]

_AWAITING: Final = frozenset({KeyNews.NEW, KeyNews.CHANGED})

_News = tuple[IdentityFingerprint, KeyNews]


async def keep(draft: Draft, before: DeviceRing, after: DeviceRing, now: datetime) -> None:
    """Keep a ring with all that follows from the step.

    Args:
        draft: the caller's.
        before: the ring as it is kept.
        after: the same JID's, as it is to be.
        now: the present, aware.

    Raises:
        StoreFailed: what the store raises.
    """
    put_ring(draft, after)
    _keep_owners(draft, before, after)
    for known in before.devices:
        device, later = Device(after.jid, known.id), after.find(known.id)
        for version in Version:
            if known.fingerprint != _shown(later):
                drop_bundle(draft, version, device)
            if later is None:
                await drop_sessions(draft, version, device)
    _keep_news(draft, before, after, now)


def _keep_owners(draft: Draft, before: DeviceRing, after: DeviceRing) -> None:
    for known in before.devices:
        if known.fingerprint is not None and after.holder(known.fingerprint) is None:
            drop_owner(draft, known.fingerprint)
    for known in after.devices:
        if known.fingerprint is not None and known.fingerprint != _shown(before.find(known.id)):
            put_owner(draft, known.fingerprint, Device(after.jid, known.id))


def _keep_news(draft: Draft, before: DeviceRing, after: DeviceRing, now: datetime) -> None:
    over = [
        change
        for key, what in _over(before, after)
        for change in outdated(draft.account, ns.OMEMO_2, after.jid, key, [what])
    ]
    told = [KeyEvent(after.jid, key, what, ns.OMEMO_2, now) for key, what in _told(before, after)]
    for change in [*over, *noted(draft.account, told)]:
        if isinstance(change, Put):
            draft.put(change.key, change.value)
        else:
            draft.remove(change.key)


def _told(before: DeviceRing, after: DeviceRing) -> Iterator[_News]:
    """Yield what is news in a step."""
    for known in after.devices:
        former = before.find(known.id)
        if known.offered is not None and (former is None or former.offered != known.offered):
            yield known.offered, KeyNews.CHANGED
        if known.fingerprint is None:
            continue
        if known.trust is Trust.UNDECIDED and before.holder(known.fingerprint) is None:
            yield known.fingerprint, KeyNews.CHANGED if before.vouched else KeyNews.NEW
        if former is not None and former.listed and not known.listed and former.trust.accepts:
            yield known.fingerprint, KeyNews.GONE


def _over(before: DeviceRing, after: DeviceRing) -> Iterator[_News]:
    """Yield what a step makes untrue."""
    for known in before.devices:
        later = after.find(known.id)
        if known.offered is not None and (later is None or later.offered != known.offered):
            yield known.offered, KeyNews.CHANGED
        if known.fingerprint is None:
            continue
        holder = after.holder(known.fingerprint)
        if holder is None:
            yield from ((known.fingerprint, what) for what in KeyNews)
        elif holder.listed and not known.listed:
            yield known.fingerprint, KeyNews.GONE
    for fingerprint, trust in after.decided.items():
        if before.decided.get(fingerprint) is not trust:
            yield from ((fingerprint, what) for what in _AWAITING)


def _shown(known: KnownDevice | None) -> IdentityFingerprint | None:
    return None if known is None else known.fingerprint
