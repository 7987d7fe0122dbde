"""What is published of an account's own keys, and that it stays so, whatever others do to it.

Rule: changes for the caller's own commit, and each key at most once a day: whoever undoes it must
not drive us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.errors import PeerMisbehaved
from e2ee.names import Fingerprint
from e2ee.outbox import queued
from e2ee.storage import Change, Transaction
from ox.announcement import announce, publication, repeated_on, was_repeated_on
from ox.engine import Certificate
from ox.keys import KeyRing, is_user_id_of

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = ["announced_again", "published", "published_again"]


async def published(account: OxAccount, certificate: Certificate) -> Certificate:
    """Return the minimal export of a key of ours: nothing in it but what names this account.

    Raises:
        PeerMisbehaved: as ``OpenPgpEngine.minimal``.
    """
    names = [text for text in certificate.user_ids if is_user_id_of(text, account.account)]
    return await account.engine.minimal(certificate, names)


async def announced_again(
    account: OxAccount, tx: Transaction, ring: KeyRing, fetched: bytes | None
) -> list[Change]:
    """Announce our key anew when what is published lacks it, or a part of it; its revocation, too.

    Args:
        account: whose.
        tx: reads of one snapshot.
        ring: the account's own, or somebody's, of which nothing is announced.
        fetched: our key as it was just fetched, and is in the ring with all that was known of it.
    """
    ours = None if ring.ours is None else ring.find(ring.ours)
    if ours is None or (ours.announced and fetched is None):
        return []
    if ours.raw is None or ours.changed:
        return []  # not before it was fetched, or a revocation would be overwritten
    now = account.ports.clock()
    if await was_repeated_on(tx, account.scope, ours.fingerprint, now):
        return []
    certificate = await account.engine.inspect(ours.raw)
    lacking = fetched is not None and await _says_less(account, fetched, certificate)
    struck = not ours.announced and not certificate.revoked
    if not (lacking or struck) or not (certificate.revoked or ours.trust.accepts):
        return []
    ring = ring.own(certificate, now)
    return [
        repeated_on(account.scope, ours.fingerprint, now),
        *await announce(tx, ring, await published(account, certificate), now),
    ]


async def published_again(
    account: OxAccount,
    tx: Transaction,
    ring: KeyRing,
    fingerprint: Fingerprint,
    fetched: bytes | None,
) -> list[Change]:
    """Publish a former key of ours anew when its data node does not tell that it is revoked.

    No list names it.

    Args:
        account: whose.
        tx: reads of one snapshot.
        ring: the account's own.
        fingerprint: of any key of it.
        fetched: that key as it was just fetched; ``None`` where there was none.
    """
    former = ring.find(fingerprint)
    if former is None or former.raw is None or not former.succeeded:
        return []
    now = account.ports.clock()
    certificate = await account.engine.inspect(former.raw)
    if not certificate.revoked or await was_repeated_on(tx, account.scope, fingerprint, now):
        return []
    if fetched is not None and not await _says_less(account, fetched, certificate):
        return []
    effect = publication(account.account, await published(account, certificate), now)
    return [
        repeated_on(account.scope, fingerprint, now),
        *await queued(tx, account.account, [effect]),
    ]


async def _says_less(account: OxAccount, fetched: bytes, certificate: Certificate) -> bool:
    """Say whether our key as it was fetched lacks something of what we would publish of it."""
    try:
        found = await published(account, await account.engine.inspect(fetched))
    except PeerMisbehaved:
        return True
    return found.raw != (await published(account, certificate)).raw
