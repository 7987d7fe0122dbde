"""Whose identity is it that a device shows, by its bundle or by a key exchange that we decrypted.

Rule: the one way by which an identity becomes a device's without the user. It belongs to the first
device that shows it; but a bundle can be copied by anybody, and what is not bound to its sender be
passed on as another's. So it goes to the account that an envelope of the identity names, and where
the user accepts it, there it stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.draft import Draft
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.own_rows import own_or_none
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.ring_rows import owner_within, ring_within
from e2ee.omemo.ring_steps import keep
from e2ee.omemo.version import Version
from e2ee.trust import Trust

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["claim_within", "identify_within"]


async def identify_within(
    sessions: OmemoSessions,
    draft: Draft,
    device: Device,
    fingerprint: IdentityFingerprint,
    *,
    proven: bool,
) -> ErrorCode | None:
    """Say whether an identity is that of a device; the first that it shows becomes its own.

    Another one, or one that is another account's, is kept for the user to decide about, and noted
    in ``KeyEvents``.

    Args:
        sessions: the face of it all.
        draft: the caller's.
        device: which shows it, listed or not; not our own one.
        fingerprint: of what it shows.
        proven: whether the identity itself says that it is this account's: an envelope was
            decrypted that names it (version 2). An empty message and a legacy one say nothing of
            the kind, and prove no more than a bundle does.

    Returns:
        ``None``: it is; what that is worth says ``DeviceRing.level``. Else why not:
        ``identity-changed``, or ``signer-mismatch``: it is that of another device.
    """
    before = await ring_within(draft, device.jid)
    known = before.find(device.id)
    if known is not None and known.fingerprint == fingerprint and not known.refused:
        return None
    if await _is_ours(sessions, draft, fingerprint):
        return ErrorCode.SIGNER_MISMATCH
    rival = await _rival(draft, device.jid, fingerprint)
    now, policy = sessions.ports.clock(), sessions.ports.trust
    code = before.objection(device.id, fingerprint)
    if code is None and rival is not None:
        if proven and _yields(rival, fingerprint):
            await keep(draft, rival, rival.disown(fingerprint, now), now)
        else:
            code = ErrorCode.SIGNER_MISMATCH
    if code is None:
        later = policy.later(device.jid, verified=before.vouched)
        after = before.pin(device.id, fingerprint, later)
        after = after.named_by(fingerprint) if proven else after
    elif before.holder(fingerprint) is None:
        after = before.offer(device.id, fingerprint)
    else:
        return code  # to accept it would take it from the device whose it is
    await keep(draft, before, after, now)
    return code


async def claim_within(
    sessions: OmemoSessions, draft: Draft, jid: BareJid, fingerprint: IdentityFingerprint
) -> None:
    """Take an identity from another account's device, because the user says that it is ``jid``'s.

    Raises:
        PeerMisbehaved: ``signer-mismatch``: they said the same of that other one.
    """
    rival = await _rival(draft, jid, fingerprint)
    if rival is None:
        return
    if _is_accepted(rival, fingerprint):
        raise PeerMisbehaved(
            ErrorCode.SIGNER_MISMATCH, f"the identity of a device of {rival.jid}, not of {jid}"
        )
    now = sessions.ports.clock()
    await keep(draft, rival, rival.disown(fingerprint, now), now)


async def _rival(draft: Draft, jid: BareJid, fingerprint: IdentityFingerprint) -> DeviceRing | None:
    """Return the ring of another account that has a device with this identity."""
    owner = await owner_within(draft, fingerprint)
    if owner is None or owner.jid == jid:
        return None
    ring = await ring_within(draft, owner.jid)
    return ring if ring.holder(fingerprint) else None


def _yields(rival: DeviceRing, fingerprint: IdentityFingerprint) -> bool:
    holder = rival.holder(fingerprint)
    return not _is_accepted(rival, fingerprint) and not (holder and holder.named)


def _is_accepted(rival: DeviceRing, fingerprint: IdentityFingerprint) -> bool:
    return rival.decided.get(fingerprint, Trust.UNDECIDED).accepts


async def _is_ours(sessions: OmemoSessions, draft: Draft, fingerprint: IdentityFingerprint) -> bool:
    own = await own_or_none(draft)
    engine = sessions.engines[Version.TWO]
    return own is not None and fingerprint == engine.fingerprint(engine.identity(own.identity))
