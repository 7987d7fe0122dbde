"""Renewal: how an account goes on after its store was put back from an older copy.

Rule: the row that says so, and the one commit that writes it. What a layer must ask for anew, it
finds out itself when it reads its own rows: each knows the renewal under which it was last sure.

What was done since the copy is lost here and known elsewhere: revocations, rotations, decisions of
the user, and which messages were handled. The last are taken in again from the archive; the user
must look at their decisions themselves.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.limits import MAX_CLOCK_SKEW
from e2ee.names import BareJid
from e2ee.outbox import Job, withdrawn
from e2ee.ports import Clock
from e2ee.records import pack, unpack
from e2ee.storage import Key, Put, Readable, Transaction

__all__ = ["Renewable", "Renewal", "read_count", "renew", "renewal_within"]

_KIND: Final = "renewal"
_FORMAT: Final = 1
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


class Renewable(Protocol):
    """A store whose accounts can be renewed: ``stores.guarded.GuardedStore``."""

    def renewal(self, scope: Key) -> AbstractAsyncContextManager[Transaction]:
        """Open the block whose commit makes an account that is refused whole again."""
        ...


@dataclass(frozen=True, slots=True)
class Renewal:
    """The newest renewal of an account.

    Attributes:
        count: how often the account was renewed, as far as its store knows; 0 for never.
        since: when, aware; whatever is older may be from before what was lost.
    """

    count: int = 0
    since: datetime = _BEGINNING

    def outdates(self, count: int) -> bool:
        """Say whether what was sure under renewal ``count`` is not sure any more.

        Raises:
            StoreFailed: ``store-corrupt``: this renewal came first, so a later one was lost.
        """
        if count > self.count:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored renewal of an account is lost")
        return count < self.count

    def precedes(self, moment: datetime) -> bool:
        """Say whether what is dated ``moment``, aware, was surely said since the renewal.

        Whoever dated it may have a clock that is ahead of ours, by as much as is ever accepted.
        """
        return moment - self.since > MAX_CLOCK_SKEW  # a difference, because a sum may overflow


async def renew(store: Renewable, account: BareJid, clock: Clock) -> tuple[Job, ...]:
    """Renew an account, in one commit, so that its store may be used again.

    Also for an account that its guard does not refuse, when the user knows that the store is an
    older copy. From then on the keys of others are fetched again before they are used, and the
    secrets of nodes encrypt only once their owner has vouched for them anew.

    Args:
        store: the guard around the account's store.
        account: whose.
        clock: the present, and it must be right: what is dated five minutes later counts as new.
            After a clock that is behind, what was sent before the copy was put back would count,
            too; after one that is ahead, nothing until then. It is never taken to be earlier than
            at the renewal before.

    Returns:
        The effects that waited in the outbox, oldest first. They wait no more, because they may
        contradict what was done since the copy.

    Raises:
        StoreFailed: what the store raises; nothing was renewed.
    """
    async with store.renewal((str(account),)) as tx:
        before = await renewal_within(tx, account)
        jobs, removals = await withdrawn(tx, account)
        renewal = Renewal(before.count + 1, max(before.since, clock()))
        fields = {"count": renewal.count, "since": renewal.since.isoformat()}
        await tx.commit([*removals, Put(_row(account), pack(_KIND, _FORMAT, fields))])
    return jobs


async def renewal_within(tx: Readable, account: BareJid) -> Renewal:
    """Return the newest renewal of an account; one of count 0 where there is none.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await tx.get(_row(account))
    if raw is None:
        return Renewal()
    fields = unpack(raw, _KIND, _FORMAT)
    try:
        renewal = Renewal(read_count(fields["count"]), datetime.fromisoformat(fields["since"]))
    except (KeyError, TypeError, ValueError):
        raise _damaged() from None
    if renewal.count == 0 or renewal.since.tzinfo is None:
        raise _damaged()
    return renewal


def read_count(value: object) -> int:
    """Return a count of renewals as a layer's own record has it: a whole number, 0 or more.

    Raises:
        StoreFailed: ``store-corrupt``: it is anything else, such as ``true`` or ``3.0``.
    """
    if type(value) is not int or value < 0:
        raise _damaged()
    return value


def _row(account: BareJid) -> Key:
    return (str(account), "renewal")


def _damaged() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "the stored renewal of an account is damaged")
