"""The key to a message for one device: encrypted with the session that we share, or with a new one.

Rule: no session is ever started with a bundle whose identity is not the one pinned for its device,
whatever was checked when it was fetched (SECURITY O1).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from e2ee.draft import Draft
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.message import DeviceKey
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.ring_rows import drop_bundle
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import replace_session
from e2ee.secret import Secret

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["first_key", "next_key"]


async def next_key(
    sessions: OmemoSessions, session: Session, key_material: Secret
) -> tuple[Session, DeviceKey]:
    """Encrypt key material with a session.

    Until the device has answered, every message carries the key exchange that we started with.

    Returns:
        The session as it is afterwards, for the caller to keep, and what to send.
    """
    engine = sessions.engines[session.version]
    ratchet, message = await engine.encrypt(
        session.ratchet, session.bound, key_material, initiator=session.initiator
    )
    exchanging = session.initiator and not session.confirmed
    if exchanging:
        message = engine.write_exchange(session.exchange, message)
    return replace(session, ratchet=ratchet), DeviceKey(session.peer.id, message, exchanging)


async def first_key(
    sessions: OmemoSessions,
    draft: Draft,
    own: OwnDevice,
    device: Device,
    pinned: IdentityFingerprint,
    bundle: Bundle,
    key_material: Secret,
) -> DeviceKey:
    """Start a session with a device by sending key material, and use its bundle up.

    Args:
        sessions: the account's.
        draft: to keep the session in, as the current one; nothing is written where it fails.
        own: our device.
        device: with whom.
        pinned: the fingerprint of the identity that is accepted of that device.
        bundle: what the device published.
        key_material: what to send.

    Raises:
        PeerMisbehaved: ``identity-changed``: the bundle has another identity; what the engine
            raises for a hostile one.
    """
    engine = sessions.engines[bundle.version]
    if engine.fingerprint(bundle.identity) != pinned:
        raise PeerMisbehaved(
            ErrorCode.IDENTITY_CHANGED, f"a bundle with another identity than that of {device}"
        )
    agreement, message = await engine.start(own.identity, bundle, key_material)
    session = Session(
        version=bundle.version,
        peer=device,
        fingerprint=pinned,
        exchange=agreement.exchange,
        initiator=True,
        confirmed=False,
        bound=agreement.bound,
        ratchet=agreement.ratchet,
        renewal=own.renewal,
    )
    await replace_session(draft, session)
    drop_bundle(draft, bundle.version, device)
    return DeviceKey(device.id, engine.write_exchange(agreement.exchange, message), kex=True)
