"""KeyEvents: what happened to the keys of others that a user should be told, each once.

Rule: rows of the account, whatever the protocol; what is an event is decided by the protocol that
met the key. An event waits until it is marked as shown; what it is about bounds how many wait.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import format_time, parse_time
from e2ee.names import BareJid
from e2ee.records import pack, unpack
from e2ee.storage import Change, Key, Put, Remove, Store

__all__ = ["KeyEvent", "KeyEvents", "KeyNews", "noted", "outdated"]

_KIND: Final = "key-event"
_FORMAT: Final = 1
_PAGE: Final = 256


class KeyNews(StrEnum):
    """What happened to a key."""

    NEW = "new"  # it appeared, and waits for the user's decision
    CHANGED = "changed"  # as NEW, beside or after a key that the user had vouched for
    GONE = "gone"  # a key that was believed is announced no more
    REVOKED = "revoked"  # its owner revoked it


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """One thing that happened to one key.

    Attributes:
        jid: whose key.
        key: its name as the protocol writes it, a fingerprint.
        news: what happened.
        encryption: the protocol's namespace.
        time: when we learned of it, aware, in seconds.
    """

    jid: BareJid
    key: str
    news: KeyNews
    encryption: str
    time: datetime


def noted(account: BareJid, events: Collection[KeyEvent]) -> list[Change]:
    """Return the changes that keep events until they are shown, for the caller's own commit."""
    return [
        Put(_row(account, event), pack(_KIND, _FORMAT, {"time": format_time(event.time)}))
        for event in events
    ]


def outdated(
    account: BareJid, encryption: str, jid: BareJid, key: str, news: Collection[KeyNews]
) -> list[Change]:
    """Return the changes that forget what is true no more, shown or not."""
    return [Remove((str(account), "key-events", encryption, str(jid), key, each)) for each in news]


class KeyEvents:
    """The events of one account that wait to be shown."""

    def __init__(self, store: Store, account: BareJid) -> None:
        """Bind it; it holds nothing but what is in the store."""
        self._store = store
        self._account = account

    async def pending(self) -> tuple[KeyEvent, ...]:
        """Return what was not shown yet, oldest first.

        Raises:
            StoreFailed: ``store-corrupt`` or ``store-too-new``.
        """
        events: list[KeyEvent] = []
        prefix = (str(self._account), "key-events")
        last: Key | None = None
        async with self._store.exclusive((str(self._account),)) as tx:
            while page := await tx.scan(prefix, last, _PAGE):
                events += [_event(key, raw) for key, raw in page]
                last = page[-1][0]
        return tuple(sorted(events, key=lambda event: event.time))

    async def shown(self, events: Collection[KeyEvent]) -> None:
        """Forget events that the user was shown; one that waits no more is ignored."""
        async with self._store.exclusive((str(self._account),)) as tx:
            await tx.commit([Remove(row) for row in {_row(self._account, each) for each in events}])


def _row(account: BareJid, event: KeyEvent) -> Key:
    return (
        *(str(account), "key-events", event.encryption),
        *(str(event.jid), event.key, event.news.value),
    )


def _event(row: Key, raw: bytes) -> KeyEvent:
    fields = unpack(raw, _KIND, _FORMAT)
    try:
        _, _, encryption, jid, key, news = row
        return KeyEvent(
            BareJid.parse(jid), key, KeyNews(news), encryption, parse_time(fields["time"])
        )
    except (KeyError, TypeError, ValueError, E2eeError):
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored key event is damaged") from None
