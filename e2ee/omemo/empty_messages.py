"""Empty messages: what keeps a session going, or starts one, and says nothing (XEP-0384 §5.5.3).

Rule: each waits in the outbox, in the commit that keeps its session; none carries content, so that
none needs more trust than that its identity is its device's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee import ns
from e2ee.draft import Draft
from e2ee.effects import Send
from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, PeerMisbehaved
from e2ee.names import Fetch
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.device_keys import first_key, next_key
from e2ee.omemo.known_device import is_recent
from e2ee.omemo.message import DeviceKey, EncryptedMessage
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.own_rows import own_within
from e2ee.omemo.ring import LIST_AGE
from e2ee.omemo.ring_rows import bundle_within, ring_within
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import replace_session
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.renewal import Renewal
from e2ee.secret import Secret
from e2ee.tokens import random_token
from e2ee.trust import Trust
from e2ee.xmltree import element

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["queue_empty", "renew_session"]

_STORE: Final = element(ns.HINTS, "store")  # else a server keeps no message without a body
_ID_BYTES: Final = 16
_LEGACY_KEY_BYTES: Final = 16
_LEGACY_IV_BYTES: Final = 12


async def renew_session(sessions: OmemoSessions, device: Device) -> None:
    """See ``OmemoSessions.renew_session``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own = await own_within(draft)
        if own.left or device == own.device:
            raise ApiMisuse("no session is renewed with our own device, or once that has left")
        pinned, bundle = await _startable(sessions, draft, own, device)
        material = _material(sessions, bundle.version)
        key = await first_key(sessions, draft, own, device, pinned, bundle, material)
        _queue(sessions, draft, own, device, bundle.version, key)
        await draft.commit()


async def queue_empty(sessions: OmemoSessions, draft: Draft, session: Session) -> Session:
    """Queue an empty message, encrypted with a session, which becomes or stays the current one.

    Returns:
        The session as it is afterwards, and kept.

    Raises:
        ApiMisuse: no device of our own; a session from before a renewal, which only decrypts.
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    own = await own_within(draft)
    if not session.sends_to(session.fingerprint, Renewal(own.renewal)):
        raise ApiMisuse("a session from before the store was put back is not sent with")
    after, key = await next_key(sessions, session, _material(sessions, session.version))
    await replace_session(draft, after)
    _queue(sessions, draft, own, session.peer, session.version, key)
    return after


async def _startable(
    sessions: OmemoSessions, draft: Draft, own: OwnDevice, device: Device
) -> tuple[IdentityFingerprint, Bundle]:
    """Return the identity that is pinned for a device, and a bundle to start a session with.

    An undecided device may have a session: nothing but an empty message is sent with it until the
    user has decided (XEP-0384 §8).

    Raises:
        DataMissing, PeerMisbehaved: as ``OmemoSessions.renew_session`` says.
    """
    now = sessions.ports.clock()
    spoken = own.spoken(sessions.engines)
    ring = await ring_within(draft, device.jid)
    lists = [each for each in spoken if not is_recent(ring.listed.get(each), LIST_AGE, now)]
    if lists:
        raise _missing(*(devices_fetch(version, device.jid) for version in lists))
    known = ring.find(device.id)
    version = None if known is None else ring.version_of(known, spoken)
    if known is None or version is None:
        raise PeerMisbehaved(ErrorCode.UNUSABLE_KEY, f"{device} is not announced")
    if known.trust is Trust.DISTRUSTED:
        raise PeerMisbehaved(ErrorCode.UNTRUSTED, f"{device} is distrusted")
    bundle = await bundle_within(draft, version, device, now)
    if bundle is not None and known.fingerprint is not None:
        return known.fingerprint, bundle
    refusal = known.refusal(version, now)
    if refusal is not None:
        raise PeerMisbehaved(refusal, f"the bundle of {device} was refused")
    raise _missing(bundle_fetch(version, device))


def _material(sessions: OmemoSessions, version: Version) -> Secret:
    """Return what an empty message encrypts; in the legacy version a key that is for nothing."""
    empty = sessions.engines[version].empty
    return empty or Secret(sessions.ports.primitives.random(_LEGACY_KEY_BYTES))


def _queue(
    sessions: OmemoSessions,
    draft: Draft,
    own: OwnDevice,
    device: Device,
    version: Version,
    key: DeviceKey,
) -> None:
    legacy = version is Version.LEGACY
    primitives = sessions.ports.primitives
    message = EncryptedMessage(
        version=version,
        sid=own.device.id,
        keys={None if legacy else device.jid: (key,)},
        payload=None,
        iv=primitives.random(_LEGACY_IV_BYTES) if legacy else None,
    )
    stanza_id = random_token(primitives, _ID_BYTES)
    draft.send(Send(device.jid, (message.to_xml(), _STORE), stanza_id))


def _missing(*fetches: Fetch) -> DataMissing:
    return DataMissing("what devices publish must be fetched first", fetches=fetches)
