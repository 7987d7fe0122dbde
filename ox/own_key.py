"""An account's own OpenPGP key: made, adopted, prolonged, revoked, succeeded, and kept.

Rule: only what an account does with its own key; each change is one transaction with what must be
published of it. Packets are made by the engine, the announcement in ``announcement.py``, and what
others make of it is undone in ``upkeep.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.limits import MAX_BACKUP_KEYS
from e2ee.names import Fingerprint
from e2ee.secret import Secret
from e2ee.storage import Change, Key, Put, Remove, Transaction
from e2ee.trust import Trust
from ox.announcement import announce
from ox.engine import Certificate, KeyHandle, Revocation
from ox.keys import KeyRing, names_jid, user_id
from ox.ring_rows import put_ring, ring_within
from ox.upkeep import published

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = [
    "adopt",
    "export_public",
    "extend",
    "generate",
    "keep",
    "opening_keys",
    "own_key_within",
    "revoke",
]

_RULE: Final = "XEP-0373 §3.2"


async def generate(account: OxAccount, *, rsa: bool) -> Fingerprint:
    """See ``OxAccount.generate``."""
    handle = await account.engine.generate(user_id(account.account), rsa=rsa)
    return await _install(account, handle, made=True)


async def adopt(
    account: OxAccount,
    material: Secret,
    replacing: Fingerprint | None,
    beside: Collection[KeyHandle] = (),
) -> Fingerprint:
    """See ``OxAccount.adopt``.

    Args:
        account: whose key it becomes.
        material: as there.
        replacing: as there.
        beside: keys that it succeeded elsewhere, to be kept for what the archive holds.
    """
    return await _install(account, await account.engine.adopt(material), replacing, beside)


async def keep(account: OxAccount, keys: Collection[KeyHandle]) -> None:
    """Keep former keys of ours beside our own, for what the archive holds.

    Raises:
        ApiMisuse, StoreFailed: as :func:`own_key_within`.
    """
    async with account.ports.store.exclusive(account.scope) as tx:
        own = (await own_key_within(account, tx)).certificate.fingerprint
        ring = await ring_within(tx, account.account, account.account)
        ring, rows = await _beside(account, tx, ring, own, brought=keys)
        if rows:
            await tx.commit([put_ring(account.account, ring), *rows])


async def extend(account: OxAccount, until: datetime | None) -> None:
    """See ``OxAccount.extend``."""
    async with account.ports.store.exclusive(account.scope) as tx:
        own, ring = await _living(account, tx)
        await tx.commit(await _kept(account, tx, ring, await account.engine.extend(own, until)))


async def revoke(account: OxAccount, fingerprint: Fingerprint, reason: Revocation) -> None:
    """See ``OxAccount.revoke``."""
    async with account.ports.store.exclusive(account.scope) as tx:
        own, ring = await _living(account, tx)
        if own.certificate.fingerprint != fingerprint:
            raise ApiMisuse(f"{fingerprint} is not the key of {account.account}")
        await tx.commit(await _kept(account, tx, ring, await account.engine.revoke(own, reason)))


async def export_public(account: OxAccount) -> bytes:
    """See ``OxAccount.export_public``."""
    async with account.ports.store.exclusive(account.scope) as tx:
        own = await own_key_within(account, tx)
        return (await published(account, own.certificate)).raw


async def own_key_within(account: OxAccount, tx: Transaction) -> KeyHandle:
    """See ``OxAccount.own_key_within``."""
    handle = await _own_key_or_none(account, tx)
    if handle is None:
        raise ApiMisuse(f"{account.account} has no OpenPGP key; generate one first")
    return handle


async def opening_keys(account: OxAccount, tx: Transaction) -> list[KeyHandle]:
    """Return what decrypts: our key, and those that it succeeded, for what the archive holds.

    Raises:
        ApiMisuse, StoreFailed: as :func:`own_key_within`.
    """
    own = await own_key_within(account, tx)
    rows = await tx.scan(_succeeded(account))
    return [own, *[await _stored(account, Secret(raw)) for _, raw in rows]]


async def _install(
    account: OxAccount,
    handle: KeyHandle,
    replacing: Fingerprint | None = None,
    beside: Collection[KeyHandle] = (),
    *,
    made: bool = False,
) -> Fingerprint:
    async with account.ports.store.exclusive(account.scope) as tx:
        former = await _own_key_or_none(account, tx)
        if former is not None and former.certificate.fingerprint == handle.certificate.fingerprint:
            raise ApiMisuse(f"it is the key of {account.account} already")
        if former is not None and not (
            former.certificate.revoked or former.certificate.fingerprint == replacing
        ):
            raise ApiMisuse(f"{account.account} has an OpenPGP key already")
        ring = await ring_within(tx, account.account, account.account)
        certificate = await _fit(account, ring, handle.certificate)
        _check_fetched(ring, None if made else certificate.fingerprint)
        own = certificate.fingerprint
        ring, rows = await _beside(account, tx, ring, own, former=former, brought=beside)
        changes = await _kept(account, tx, ring, KeyHandle(certificate, handle.material))
        await tx.commit([*changes, *rows])
    return certificate.fingerprint


async def _beside(
    account: OxAccount,
    tx: Transaction,
    ring: KeyRing,
    own: Fingerprint,
    *,
    former: KeyHandle | None = None,
    brought: Collection[KeyHandle] = (),
) -> tuple[KeyRing, list[Change]]:
    """Return the ring with former keys of ours, and the changes that keep their secret parts.

    As many are kept as a backup holds beside our own: the one that is succeeded now, then what is
    kept already, as it is, because it was renewed since, then what a backup brings; of each the
    newest. What the others signed is still ours.

    Args:
        account: whose.
        tx: reads of one snapshot.
        ring: the account's own.
        own: our key, which is no former one.
        former: the key that it succeeds.
        brought: keys from a backup, our own among them perhaps.
    """
    rows = await tx.scan(_succeeded(account))
    kept = [await _stored(account, Secret(raw)) for _, raw in rows]
    ranked = [*([former] if former else []), *_newest_first(kept), *_newest_first(brought)]
    keys: dict[Fingerprint, KeyHandle] = {}
    for key in ranked:
        if key.certificate.fingerprint != own:
            keys.setdefault(key.certificate.fingerprint, key)
    before = {key.certificate.fingerprint for key in kept}
    changes: list[Change] = []
    for place, (fingerprint, key) in enumerate(keys.items()):
        row = (*_succeeded(account), fingerprint)
        if fingerprint not in before:
            ring = ring.owned(key.certificate)
        if place >= MAX_BACKUP_KEYS - 1:
            changes += [Remove(row)] if fingerprint in before else []
        elif key not in kept:
            changes.append(Put(row, key.material.reveal()))
    return ring, changes


def _newest_first(keys: Collection[KeyHandle]) -> list[KeyHandle]:
    return sorted(keys, key=lambda key: key.certificate.created, reverse=True)


async def _fit(account: OxAccount, ring: KeyRing, certificate: Certificate) -> Certificate:
    """Return our key to be with all that its ring knows of it, if it may be ours still."""
    known = ring.find(certificate.fingerprint)
    if known is not None and known.seen is not None:
        certificate = await account.engine.merge(known.seen, certificate.raw)
    if not names_jid(certificate, account.account):
        raise PeerMisbehaved(
            ErrorCode.SIGNER_MISMATCH,
            f"a key without the user id {user_id(account.account)}",
            rule="XEP-0373 §8.5",
        )
    if certificate.revoked or (known is not None and known.trust is Trust.DISTRUSTED):
        raise PeerMisbehaved(ErrorCode.UNUSABLE_KEY, "the key is revoked or distrusted", rule=_RULE)
    return certificate


async def _living(account: OxAccount, tx: Transaction) -> tuple[KeyHandle, KeyRing]:
    """Return our key and our ring, where both may change."""
    own = await own_key_within(account, tx)
    if own.certificate.revoked:
        raise ApiMisuse("our key is revoked, which is for ever", code=ErrorCode.UNUSABLE_KEY)
    ring = await ring_within(tx, account.account, account.account)
    _check_fetched(ring, own.certificate.fingerprint)
    return own, ring


def _check_fetched(ring: KeyRing, fingerprint: Fingerprint | None) -> None:
    """Refuse to publish before what is published was fetched.

    A list of one would strike the keys of our other devices, and a key its own revocation.
    """
    if fetches := ring.missing_before(fingerprint):
        raise DataMissing("what we have published of our keys is missing", fetches=fetches)


async def _kept(
    account: OxAccount, tx: Transaction, ring: KeyRing, handle: KeyHandle
) -> list[Change]:
    """Return the changes that keep our key as it is now, and publish it."""
    now = account.ports.clock()
    ring = ring.own(handle.certificate, now)
    return [
        Put(_own_key(account), handle.material.reveal()),
        put_ring(account.account, ring),
        *await announce(tx, ring, await published(account, handle.certificate), now),
    ]


async def _own_key_or_none(account: OxAccount, tx: Transaction) -> KeyHandle | None:
    ring = await ring_within(tx, account.account, account.account)
    material = await tx.get(_own_key(account))
    if material is None and ring.ours is None:
        return None
    # The secret key and the ring must agree: never a new identity for one that was lost.
    known = None if ring.ours is None else ring.find(ring.ours)
    if material is None or known is None or known.seen is None:
        raise _own_key_lost()
    handle = await _stored(account, Secret(material))
    if handle.certificate.fingerprint != ring.ours:
        raise _own_key_lost()
    if known.seen == handle.certificate.raw:
        return handle
    return await _up_to_date(account, handle, known.seen)


async def _up_to_date(account: OxAccount, handle: KeyHandle, seen: bytes) -> KeyHandle:
    """Return our key as it was last seen: another device prolonged or revoked it."""
    try:
        return await account.engine.updated(handle, seen)
    except PeerMisbehaved as error:
        if error.code is ErrorCode.SIGNER_MISMATCH:
            raise _own_key_lost() from None
    try:
        known = await account.engine.inspect(seen)
    except PeerMisbehaved:
        raise _own_key_lost() from None
    # It says too much of itself. We have our key, and go on with it as it was, unless it is over.
    ended = replace(handle.certificate, revoked=True, compromised=known.compromised, encrypts=False)
    return replace(handle, certificate=ended) if known.revoked else handle


async def _stored(account: OxAccount, material: Secret) -> KeyHandle:
    try:
        return await account.engine.held(material)
    except PeerMisbehaved:
        raise _own_key_lost() from None


def _own_key(account: OxAccount) -> Key:
    return (*account.scope, "ox", "own")


def _succeeded(account: OxAccount) -> Key:
    return (*account.scope, "ox", "succeeded")


def _own_key_lost() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a part of our own key is lost")
