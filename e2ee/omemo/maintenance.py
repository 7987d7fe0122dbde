"""What is due with time: other prekeys, the bundle once more, the end of a catch-up.

Rule: one transaction each, driven by the program; no timer lives here. A clock that jumps must not
make anything expire twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from e2ee.draft import Draft
from e2ee.omemo.own_bundle import publish_if_due
from e2ee.omemo.own_record import OwnDevice, OwnKeys
from e2ee.omemo.own_rows import keys_within, own_within, pre_keys_within, put_keys, put_own
from e2ee.omemo.prekeys import forget_spent, refill, rotate

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["catch_up", "caught_up", "maintain"]

_ROTATION_PERIOD: Final = timedelta(days=7)  # XEP-0384 §4.3: a week to a month
_MAX_CATCH_UP: Final = timedelta(days=1)  # a program that died in one may never end it


async def maintain(sessions: OmemoSessions) -> None:
    """See ``OmemoSessions.maintain``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own, now = await own_within(draft), sessions.ports.clock()
        since = own.catching_up_since
        if since is not None:
            since = min(since, now)  # one that was begun by a clock that was ahead
            own = replace(own, catching_up_since=since if now - since < _MAX_CATCH_UP else None)
            put_own(draft, own)
        if own.catching_up_since is None:
            for version in own.versions:
                keys = await keys_within(draft, version)
                forget_spent(draft, version, await pre_keys_within(draft, keys), now)
        for version in own.spoken(sessions.engines):
            keys = _aged(sessions, own, await keys_within(draft, version), now)
            put_keys(draft, refill(sessions, draft, keys))
            await publish_if_due(sessions, draft, version)
        await draft.commit()


async def catch_up(sessions: OmemoSessions) -> None:
    """See ``OmemoSessions.catch_up``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own = await own_within(draft)
        put_own(draft, replace(own, catching_up_since=sessions.ports.clock()))
        for version in own.spoken(sessions.engines):
            await publish_if_due(sessions, draft, version)
        await draft.commit()


async def caught_up(sessions: OmemoSessions) -> None:
    """See ``OmemoSessions.caught_up``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        put_own(draft, replace(await own_within(draft), catching_up_since=None))
        await draft.commit()


def _aged(sessions: OmemoSessions, own: OwnDevice, keys: OwnKeys, now: datetime) -> OwnKeys:
    if keys.renewal < own.renewal:
        return keys  # all are about to be replaced
    if now < keys.made:  # by a clock that was ahead; its age counts from the present
        return replace(keys, made=now)
    return rotate(sessions, own, keys, now) if now - keys.made >= _ROTATION_PERIOD else keys
