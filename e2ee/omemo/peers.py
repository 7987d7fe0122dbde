"""What an account learns and believes of the devices of people: lists, bundles, decisions.

Rule: one transaction each, from what was fetched to the next DeviceRing; what a ring makes of it is
decided in ``ring.py``, and whose an identity is in ``identities.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING

from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.errors import ApiMisuse, CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fetch, NodeAddress
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.device_list import DeviceList
from e2ee.omemo.engine import OmemoEngine
from e2ee.omemo.identities import claim_within, identify_within
from e2ee.omemo.known_device import KnownDevice, is_recent
from e2ee.omemo.own_list import announce_within, withdraw
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.own_rows import own_or_none
from e2ee.omemo.ring import LIST_AGE, DeviceRing
from e2ee.omemo.ring_rows import bundle_within, drop_bundle, put_bundle, put_ring, ring_within
from e2ee.omemo.ring_steps import keep
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import sessions_within
from e2ee.omemo.version import Version, bundle_fetch, device_of_bundle, devices_fetch
from e2ee.renewal import Renewal, renewal_within
from e2ee.trust import Trust
from e2ee.xmltree import Element

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = [
    "answer_opt_out",
    "decide",
    "devices",
    "feed",
    "missing",
    "missing_within",
    "notified",
]


# -- what is missing


async def missing(sessions: OmemoSessions, people: Collection[BareJid]) -> tuple[Fetch, ...]:
    """See ``OmemoSessions.missing``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        return await missing_within(sessions, Draft(tx, sessions.account), people)


async def missing_within(
    sessions: OmemoSessions, draft: Draft, people: Collection[BareJid]
) -> tuple[Fetch, ...]:
    """As :func:`missing`, inside a draft of the caller."""
    everybody = sorted({*people, sessions.account}) if people else []
    fetches: list[Fetch] = []
    for jid in everybody:
        ring = await ring_within(draft, jid)
        fetches += _missing_lists(sessions, ring) or await _missing_bundles(sessions, draft, ring)
    return tuple(fetches)


def _missing_lists(sessions: OmemoSessions, ring: DeviceRing) -> list[Fetch]:
    now = sessions.ports.clock()
    return [
        devices_fetch(version, ring.jid)
        for version in sessions.engines
        if not is_recent(ring.listed.get(version), LIST_AGE, now)
    ]


async def _missing_bundles(sessions: OmemoSessions, draft: Draft, ring: DeviceRing) -> list[Fetch]:
    """Return what to fetch to begin sessions, or to show the user what to decide about."""
    now, policy = sessions.ports.clock(), sessions.ports.trust
    renewal = await renewal_within(draft, sessions.account)
    ids = {device.id for device in ring.devices if device.listed}
    current = {
        version: await sessions_within(draft, version, ring.jid, ids)
        for version in sessions.engines
    }
    wanted: list[tuple[datetime, Fetch]] = []
    for known in ring.devices:
        level = ring.level(known, policy)
        version = ring.version_of(known, sessions.engines)
        device = Device(ring.jid, known.id)
        if (
            version is not None
            and (level.accepts or known.fingerprint is None)
            and not known.refusal(version, now)
            and not _sends(current[version].get(known.id), known, renewal)
            and await bundle_within(draft, version, device, now) is None
        ):
            wanted.append((known.refused_at(version), bundle_fetch(version, device)))
    # Who was met first comes first, so that no flood of others delays them; but after those whose
    # bundle was never refused: a device that is dead stands before nobody for ever.
    wanted.sort(key=itemgetter(0))
    return [fetch for _, fetch in wanted][: ring.allowance(now)]


def _sends(session: Session | None, known: KnownDevice, renewal: Renewal) -> bool:
    return session is not None and session.sends_to(known.fingerprint, renewal)


# -- what was found


def notified(sessions: OmemoSessions, arrival: Arrival) -> tuple[Fetch, ...]:
    """See ``OmemoSessions.notified``."""
    sender = arrival.sender
    ours = arrival.to is None or arrival.to.bare == sessions.account
    if arrival.kind is not StanzaKind.ITEM or sender.resource or not ours:
        return ()
    lists = (devices_fetch(version, sender.bare) for version in sessions.engines)
    return tuple(fetch for fetch in lists if fetch.address == arrival.node)


async def feed(sessions: OmemoSessions, fetch: Fetch, payload: Element | None) -> None:
    """See ``OmemoSessions.feed``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        for version in sessions.engines:
            if fetch.address == NodeAddress(fetch.address.service, version.devices_node):
                await _feed_list(sessions, draft, version, fetch.address.service, payload)
                break
        else:
            await _feed_bundle(sessions, draft, fetch, payload)
        await draft.commit()


async def _feed_list(
    sessions: OmemoSessions,
    draft: Draft,
    version: Version,
    jid: BareJid,
    payload: Element | None,
) -> None:
    found = DeviceList(version, ()) if payload is None else DeviceList.from_xml(payload)
    if found.version is not version:
        raise PeerMisbehaved(
            ErrorCode.MALFORMED, "a device list of another version", rule="XEP-0384 §5.3.1"
        )
    now = sessions.ports.clock()
    before = await ring_within(draft, jid)
    ours = jid == sessions.account
    own = await own_or_none(draft) if ours else None
    others = tuple(each for each in found.devices if own is None or each.id != own.device.id)
    level = before.sight(sessions.ports.trust, ours=ours)
    ring = before.announce(replace(found, devices=others), level, now)
    if own is not None and (len(others) < len(found.devices)) is own.left:
        ring = await _corrected(sessions, draft, version, own, ring)
    await keep(draft, before, ring, now)


async def _corrected(
    sessions: OmemoSessions, draft: Draft, version: Version, own: OwnDevice, ring: DeviceRing
) -> DeviceRing:
    """Announce our device again, whose list lacks it (XEP-0384 §5.3.1), a few times a day.

    Or withdraw it again, that has left, where the list names it.
    """
    now = sessions.ports.clock()
    if version not in own.versions or not ring.may_announce(version, now):
        return ring
    if own.left:
        withdraw(sessions, draft, own, version, ring)
    else:
        await announce_within(sessions, draft, version, ring)
    return ring.announced_again(version, now)


async def _feed_bundle(
    sessions: OmemoSessions, draft: Draft, fetch: Fetch, payload: Element | None
) -> None:
    version, device_id = device_of_bundle(fetch) or (None, None)
    if version is None or device_id is None or version not in sessions.engines:
        raise ApiMisuse(f"{fetch.address.node} is no node of the OMEMO that is spoken here")
    device = Device(fetch.address.service, device_id)
    ring = await ring_within(draft, device.jid)
    if ring.find(device_id) is None:
        return  # struck from its list meanwhile
    now = sessions.ports.clock()
    put_ring(draft, ring.fetched(now))
    drop_bundle(draft, version, device)  # whatever was there before
    code = await _take_bundle(sessions, draft, version, device, payload)
    if code is not None:
        ring = await ring_within(draft, device.jid)
        put_ring(draft, ring.refuse(device_id, version, code, now))


async def _take_bundle(
    sessions: OmemoSessions,
    draft: Draft,
    version: Version,
    device: Device,
    payload: Element | None,
) -> ErrorCode | None:
    """Keep a bundle, or return why not; none stands in the way of another device's."""
    if payload is None:
        return ErrorCode.DATA_MISSING
    engine = sessions.engines[version]
    try:
        bundle, fingerprint = _checked(engine, payload)
    except (PeerMisbehaved, CannotDecrypt) as refusal:
        return refusal.code
    code = await identify_within(sessions, draft, device, fingerprint, proven=False)
    if code is None:
        await put_bundle(draft, device, bundle, sessions.ports.clock())
    return code


def _checked(engine: OmemoEngine, payload: Element) -> tuple[Bundle, IdentityFingerprint]:
    bundle = Bundle.from_xml(payload)
    if bundle.version is not engine.version:
        raise PeerMisbehaved(
            ErrorCode.MALFORMED, "a bundle of another version", rule="XEP-0384 §5.3.2"
        )
    engine.check_bundle(bundle)
    return bundle, engine.fingerprint(bundle.identity)


# -- what is believed


async def devices(sessions: OmemoSessions, jid: BareJid) -> DeviceRing:
    """See ``OmemoSessions.devices``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        ring = await ring_within(Draft(tx, sessions.account), jid)
    engine = sessions.engines[Version.TWO]
    return replace(ring, devices=tuple(_rightly_labelled(engine, each) for each in ring.devices))


def _rightly_labelled(engine: OmemoEngine, known: KnownDevice) -> KnownDevice:
    """Return a device without a label that its identity did not sign (XEP-0384 §5.3.1)."""
    signed = (
        known.label is not None
        and known.label_signature is not None
        and known.fingerprint is not None
        and engine.is_label_of(known.label, known.label_signature, known.fingerprint)
    )
    return known if signed else replace(known, label=None, label_signature=None)


async def decide(
    sessions: OmemoSessions, jid: BareJid, fingerprint: IdentityFingerprint, trust: Trust
) -> None:
    """See ``OmemoSessions.decide``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        before = await ring_within(draft, jid)
        after = before.decide(fingerprint, trust)
        if after.holder(fingerprint) is not None:
            await claim_within(sessions, draft, jid, fingerprint)
        await keep(draft, before, after, sessions.ports.clock())
        await draft.commit()


async def answer_opt_out(sessions: OmemoSessions, jid: BareJid) -> None:
    """See ``OmemoSessions.answer_opt_out``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        put_ring(draft, (await ring_within(draft, jid)).opt_in())
        await draft.commit()
