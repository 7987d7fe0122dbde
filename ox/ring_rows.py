"""Where an account keeps what it knows of keys: the rows of its KeyRings.

Rule: reads and changes inside a transaction of the caller; what a ring means is in ``keys.py``, and
its stored form in ``key_record.py``.
"""

from __future__ import annotations

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.renewal import renewal_within
from e2ee.storage import Key, Put, Transaction
from ox.key_record import ring_from_record, ring_to_record
from ox.keys import KeyRing

__all__ = ["people_within", "put_ring", "ring_within"]


async def ring_within(tx: Transaction, account: BareJid, jid: BareJid) -> KeyRing:
    """Return what ``account`` knows of the keys of ``jid``.

    What is from before the account's newest renewal must be fetched again.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await tx.get(_row(account, jid))
    ring = KeyRing(jid) if raw is None else ring_from_record(raw)
    if ring.jid != jid:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a key ring in the place of another")
    return ring.renewed(await renewal_within(tx, account))


async def people_within(tx: Transaction, account: BareJid) -> tuple[BareJid, ...]:
    """Return whose keys ``account`` knows or has looked for, itself among them.

    Raises:
        StoreFailed: ``store-corrupt``.
    """
    people: list[BareJid] = []
    after: Key | None = None
    while page := await tx.scan(_rows(account), after):
        people += [ring_from_record(raw).jid for _, raw in page]
        after = page[-1][0]
    return tuple(people)


def put_ring(account: BareJid, ring: KeyRing) -> Put:
    """Return the change that keeps a ring."""
    return Put(_row(account, ring.jid), ring_to_record(ring))


def _row(account: BareJid, jid: BareJid) -> Key:
    return (*_rows(account), str(jid))


def _rows(account: BareJid) -> Key:
    return (str(account), "ox", "ring")
