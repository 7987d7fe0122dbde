"""Outbox: the durable, ordered queue of effects between a committed operation and the network.

Rule: an effect is queued in the very transaction that made it necessary, and leaves the queue only
when the roof reports what became of it. Performed at least once: a crash between performing and
reporting performs it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from e2ee.effect_record import effect_from_fields, effect_to_fields
from e2ee.effects import Effect
from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.primitives import NativePrimitives
from e2ee.records import pack, unpack
from e2ee.storage import Change, Key, Put, Remove, Store, Transaction

__all__ = [
    "PREDECESSOR_FAILED",
    "Job",
    "Outbox",
    "Refused",
    "queued",
    "queued_chains",
    "withdrawn",
]

PREDECESSOR_FAILED: Final = "predecessor-failed"
"""The condition of an effect that was never tried, because the one before it was refused."""

_KIND: Final = "job"
_COUNTER: Final = "job-counter"
_FORMAT: Final = 1
_PAGE: Final = 200  # jobs read at once
_SKIPPED_BYTES: Final = 6  # of 20 digits, for more renewals than there are days in 900 years


@dataclass(frozen=True, slots=True)
class Job:
    """One effect that waits to be performed.

    Attributes:
        id: grows with every effect of the account and is never used again.
        effect: what to perform.
    """

    id: int
    effect: Effect


@dataclass(frozen=True, slots=True)
class Refused:
    """One effect that a service refused, kept until the account was told.

    Attributes:
        id: the job's.
        effect: what was refused.
        condition: the stanza error's condition, or ``PREDECESSOR_FAILED``.
    """

    id: int
    effect: Effect
    condition: str


async def queued(
    tx: Transaction, account: BareJid, effects: Sequence[Effect], *, chained: bool = False
) -> list[Change]:
    """Return the changes that queue ``effects``, for the caller's own commit.

    Call it once in a transaction, with all its effects; what two calls return is not committed.

    Args:
        tx: the caller's transaction in the account's scope.
        account: whose outbox.
        effects: in the order in which they are to be performed.
        chained: each must not be tried unless the one before it succeeded.

    Raises:
        ApiMisuse: ``limit-exceeded`` when an effect is too large to be sent, or no XML.
        StoreFailed: what the store raises; ``store-corrupt`` when the count of jobs was lost.
    """
    chains = [effects] if chained else [(effect,) for effect in effects]
    return await queued_chains(tx, account, chains)


async def queued_chains(
    tx: Transaction, account: BareJid, chains: Sequence[Sequence[Effect]]
) -> list[Change]:
    """As :func:`queued`, for several rows of effects of which none depends on another.

    Args:
        tx: the caller's transaction in the account's scope.
        account: whose outbox.
        chains: in each, an effect must not be tried unless the one before it succeeded.
    """
    if not any(chains):
        return []
    number = await _last(tx, account)
    changes: list[Change] = []
    for chain in chains:
        end = number + len(chain)
        for effect in chain:
            number += 1
            following = number + 1 if number < end else None
            changes.append(Put(_key(account, "waiting", number), _write(effect, following)))
    return [Put(_counter(account), pack(_COUNTER, _FORMAT, {"last": number})), *changes]


async def withdrawn(tx: Transaction, account: BareJid) -> tuple[tuple[Job, ...], list[Change]]:
    """Return all effects that wait, oldest first, and the changes that make them wait no more.

    The store may lack what was done since: at random, so that another copy that is renewed comes to
    other ones, the next number is far beyond all that were given then.

    Args:
        tx: the caller's transaction in the account's scope.
        account: whose outbox.
    """
    jobs: list[Job] = []
    skipped = int.from_bytes(NativePrimitives().random(_SKIPPED_BYTES))
    number = await _last(tx, account) + skipped
    changes: list[Change] = [Put(_counter(account), pack(_COUNTER, _FORMAT, {"last": number}))]
    last: Key | None = None
    while page := await tx.scan(_key(account, "waiting"), last, _PAGE):
        jobs += [_job(key, raw) for key, raw in page]
        changes += [Remove(key) for key, _ in page]
        last = page[-1][0]
    return tuple(jobs), changes


class Outbox:
    """The outbox of one account."""

    def __init__(self, store: Store, account: BareJid) -> None:
        """Bind an outbox; it holds nothing but what is in the store."""
        self._store = store
        self._account = account

    async def pending(self, limit: int = _PAGE) -> tuple[Job, ...]:
        """Return up to ``limit`` effects that wait, oldest first; perform them in this order.

        After a refusal was reported, ask again: those that depended on it wait no more.
        """
        async with self._store.exclusive(_scope(self._account)) as tx:
            rows = await tx.scan(_key(self._account, "waiting"), limit=limit)
        return tuple(_job(key, raw) for key, raw in rows)

    async def done(self, job_id: int) -> None:
        """Report that an effect was performed; to report it again changes nothing."""
        async with self._store.exclusive(_scope(self._account)) as tx:
            await tx.commit([Remove(_key(self._account, "waiting", job_id))])

    async def failed(self, job_id: int, condition: str) -> None:
        """Report that a service refused an effect; it and what depends on it wait no more.

        Only for refusals: what a broken network prevented is still pending.

        Args:
            job_id: which; one that does not wait changes nothing.
            condition: the stanza error's condition.
        """
        async with self._store.exclusive(_scope(self._account)) as tx:
            changes: list[Change] = []
            refused: int | None = job_id
            while refused is not None:
                raw = await tx.get(_key(self._account, "waiting", refused))
                if raw is None:
                    break
                fields = _read(raw)
                refusal = {"does": fields["does"], "next": fields["next"], "condition": condition}
                changes += [
                    Remove(_key(self._account, "waiting", refused)),
                    Put(_key(self._account, "refused", refused), pack(_KIND, _FORMAT, refusal)),
                ]
                condition = PREDECESSOR_FAILED
                refused = fields["next"]
            await tx.commit(changes)

    async def refused(self, limit: int = _PAGE) -> tuple[Refused, ...]:
        """Return up to ``limit`` effects that were refused, oldest first."""
        async with self._store.exclusive(_scope(self._account)) as tx:
            rows = await tx.scan(_key(self._account, "refused"), limit=limit)
        return tuple(_refused(key, raw) for key, raw in rows)

    async def forget(self, job_id: int) -> None:
        """Drop a refused effect that the user was told of; to drop it again changes nothing."""
        async with self._store.exclusive(_scope(self._account)) as tx:
            await tx.commit([Remove(_key(self._account, "refused", job_id))])


async def _last(tx: Transaction, account: BareJid) -> int:
    raw = await tx.get(_counter(account))
    if raw is None:
        if await tx.scan((*_scope(account), "outbox"), limit=1):
            raise StoreFailed(
                ErrorCode.STORE_CORRUPT, "there are stored jobs, but no count of them"
            )
        return 0
    last = unpack(raw, _COUNTER, _FORMAT).get("last")
    if not isinstance(last, int):
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored counter of jobs is damaged")
    return last


def _write(effect: Effect, following: int | None) -> bytes:
    try:
        does = effect_to_fields(effect)
        effect_from_fields(does)  # what cannot be read would hold up all the others
        return pack(_KIND, _FORMAT, {"does": does, "next": following})
    except (UnicodeEncodeError, StoreFailed):
        raise ApiMisuse(
            "an effect that is too large to be sent, or no XML", code=ErrorCode.LIMIT_EXCEEDED
        ) from None


def _read(raw: bytes) -> dict[str, Any]:
    fields = unpack(raw, _KIND, _FORMAT)
    match fields:
        case {"does": dict(), "next": int() | None}:
            return fields
    raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored job is damaged")


def _job(key: Key, raw: bytes) -> Job:
    return Job(int(key[-1]), effect_from_fields(_read(raw)["does"]))


def _refused(key: Key, raw: bytes) -> Refused:
    match _read(raw):
        case {"does": fields, "condition": str(condition)}:
            return Refused(int(key[-1]), effect_from_fields(fields), condition)
    raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored refusal is damaged")


def _scope(account: BareJid) -> Key:
    return (str(account),)


def _counter(account: BareJid) -> Key:
    return (*_scope(account), "outbox", "last")


def _key(account: BareJid, state: str, job_id: int | None = None) -> Key:
    # Twenty digits sort as they count, for longer than any account lives.
    number = () if job_id is None else (f"{job_id:020d}",)
    return (*_scope(account), "outbox", state, *number)
