"""What a step from one KeyRing to the next is worth telling the user.

Rule: pure comparison; the events wait in ``e2ee/key_events.py``.
"""

from __future__ import annotations

from datetime import datetime

from e2ee import ns
from e2ee.key_events import KeyEvent, KeyNews, noted, outdated
from e2ee.names import BareJid
from e2ee.storage import Change
from e2ee.trust import Trust
from ox.keys import KeyRing
from ox.known_key import KnownKey

__all__ = ["news"]

_AWAITING = (KeyNews.NEW, KeyNews.CHANGED)


def news(
    account: BareJid,
    before: KeyRing,
    after: KeyRing,
    now: datetime,
    *,
    revoked: KnownKey | None = None,
) -> list[Change]:
    """Return the changes that tell of what happened between two states of one ring.

    A key that is believed at first sight is no news; nor is what the user did.

    Args:
        account: whose events.
        before: the ring as it was.
        after: the ring as it is.
        now: the present, aware.
        revoked: the key that is found to be revoked in this step, if one is.
    """
    vouched = any(key.trust is Trust.AUTHENTICATED for key in before.keys)
    told: list[tuple[KnownKey, KeyNews]] = []
    over: list[tuple[KnownKey, tuple[KeyNews, ...]]] = []
    for key in after.keys:
        known = before.find(key.fingerprint)
        if known is None and key.trust is Trust.UNDECIDED:
            told.append((key, KeyNews.CHANGED if vouched else KeyNews.NEW))
        elif known is not None and known.announced and not key.announced and known.trust.accepts:
            told.append((key, KeyNews.GONE))
        elif known is not None and key.announced and not known.announced:
            over.append((key, (KeyNews.GONE,)))
        if known is not None and known.trust is Trust.UNDECIDED is not key.trust:
            over.append((key, _AWAITING))
    over += [(key, tuple(KeyNews)) for key in before.keys if after.find(key.fingerprint) is None]
    if revoked is not None:
        told.append((revoked, KeyNews.REVOKED))
    events = [KeyEvent(after.jid, key.fingerprint, what, ns.OX, now) for key, what in told]
    forgotten = [
        change
        for key, what in over
        for change in outdated(account, ns.OX, after.jid, key.fingerprint, what)
    ]
    return [*forgotten, *noted(account, events)]
