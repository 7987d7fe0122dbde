"""Decrypting: from a received ``<encrypted/>`` to a message that waits in the inbox.

Rule: the step of a session is kept in the same commit as the message that it yields, or not at all.
A failure changes nothing, but for one thing: that a device proved to have another identity than its
own is kept, for the user to decide about.

What cannot be seen: that an item was moved to another id or node, or a message without a recipient
inside, as one to several is, made an item or sent to somebody else of them, because nothing inside
says where it belongs; and in the legacy version any change of place at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.errors import DataMissing, E2eeError, ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.names import BareJid
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.identities import identify_within
from e2ee.omemo.inbox import id_of, keep_opened, waiting_within
from e2ee.omemo.known_device import is_recent
from e2ee.omemo.message import ReceivedMessage, read_encrypted
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.own_bundle import publish_changed_bundles
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.own_rows import own_within
from e2ee.omemo.plaintext import Plaintext, read_plaintext
from e2ee.omemo.reception import Reception, receive, replay, settle
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.ring_rows import put_ring, ring_within
from e2ee.omemo.version import Version, devices_fetch
from e2ee.trust import Trust
from e2ee.xmltree import Element

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["decrypt", "decrypt_many", "decrypt_within"]

_JUST_FETCHED: Final = timedelta(minutes=1)  # an older list may lack a device that is new
_RULE: Final = "XEP-0384 §5.6"


async def decrypt(sessions: OmemoSessions, encrypted: Element, arrival: Arrival) -> OpenedMessage:
    """See ``OmemoSessions.decrypt``."""
    [outcome] = await decrypt_many(sessions, [(encrypted, arrival)])
    if isinstance(outcome, E2eeError):
        raise outcome
    return outcome


async def decrypt_many(
    sessions: OmemoSessions, page: Sequence[tuple[Element, Arrival]]
) -> tuple[OpenedMessage | E2eeError, ...]:
    """See ``OmemoSessions.decrypt_many``."""
    outcomes: list[OpenedMessage | E2eeError] = []
    told: set[str] = set()
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own = await own_within(draft)
        for encrypted, arrival in page:
            outcome = await _outcome(sessions, draft, own, encrypted, arrival)
            if isinstance(outcome, OpenedMessage):
                twice = outcome.id in told  # it waits, and the program is told of it once
                told.add(outcome.id)
                outcome = replay() if twice else outcome
            outcomes.append(outcome)
        if told:
            await publish_changed_bundles(sessions, draft)
        await draft.commit()
    return tuple(outcomes)


async def _outcome(
    sessions: OmemoSessions, draft: Draft, own: OwnDevice, encrypted: Element, arrival: Arrival
) -> OpenedMessage | E2eeError:
    """Decrypt one message of a page; what is wrong with it alone is returned.

    Without the frames that it came from: they hold keys, and what was decrypted.
    """
    try:
        return await _decrypted(sessions, draft, own, encrypted, arrival)
    except StoreFailed:
        raise
    except E2eeError as error:
        error.__context__ = None
        return error.with_traceback(None)


async def decrypt_within(
    sessions: OmemoSessions, draft: Draft, encrypted: Element, arrival: Arrival
) -> OpenedMessage:
    """As ``OmemoSessions.decrypt``, in a draft of the caller.

    Call ``publish_changed_bundles`` before the draft is committed. After an error it may be
    committed or not; all that it then has of this message is which identity was shown.
    """
    outcome = await _outcome(sessions, draft, await own_within(draft), encrypted, arrival)
    if isinstance(outcome, E2eeError):
        raise outcome
    return outcome


async def _decrypted(
    sessions: OmemoSessions, draft: Draft, own: OwnDevice, encrypted: Element, arrival: Arrival
) -> OpenedMessage:
    received = read_encrypted(encrypted, own.device)
    sender = Device(_sender(arrival), received.sid)
    if sender == own.device:
        raise PeerMisbehaved(ErrorCode.FORBIDDEN, "a message of our own device", rule=_RULE)
    if received.key is None:
        raise PeerMisbehaved(ErrorCode.NOT_FOR_US, "a message without our device", rule=_RULE)
    engine = sessions.engines.get(received.version)
    if engine is None:
        raise PeerMisbehaved(ErrorCode.UNSUPPORTED_ALGORITHM, "a version that is not spoken here")
    if received.version is Version.LEGACY and arrival.kind is StanzaKind.ITEM:
        raise PeerMisbehaved(ErrorCode.FORBIDDEN, "a legacy message in an item", rule=_RULE)
    message_id = id_of(received, received.key, arrival)
    waiting = await waiting_within(draft, message_id)
    if waiting is not None:
        return waiting
    now = sessions.ports.clock()
    ring = await _naming(draft, received.version, sender, now)
    reception = await receive(draft, own, engine, sender, received.key)
    part = Draft(draft, sessions.account)
    plaintext = read_plaintext(engine, received, reception.received.key_material, arrival, now)
    fingerprint = reception.session.fingerprint
    if reception.is_new:
        ring = await _identified(sessions, part, sender, fingerprint, proven=plaintext.names_sender)
    trust = ring.level_of(fingerprint, sessions.ports.trust)
    if trust is Trust.DISTRUSTED:
        raise PeerMisbehaved(ErrorCode.UNTRUSTED, f"{sender} is distrusted", rule="XEP-0384 §8")
    lost = await settle(sessions, part, own, reception, ring, live=arrival.is_live)
    after = _noted(sessions, ring, reception, plaintext, arrival, trust, now)
    if after != ring:
        put_ring(part, after)
    opened = _opened(message_id, received, arrival, reception, plaintext, trust, lost)
    if not opened.is_empty or opened.lost:
        await keep_opened(part, opened)
    part.merge()
    return opened


def _sender(arrival: Arrival) -> BareJid:
    """Return whose device must have sent it."""
    if arrival.occupant is not None:
        return arrival.occupant
    if arrival.kind is StanzaKind.GROUPCHAT:
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, "from a room, and nobody knows from whom", rule=_RULE
        )
    return arrival.sender.bare


async def _naming(draft: Draft, version: Version, sender: Device, now: datetime) -> DeviceRing:
    """Return the ring of a sender's account, whose lists name the sender or once did (§6).

    One that is listed no more may have sent what an archive holds; its identity says who it is.

    Raises:
        DataMissing: no list ever named it, and there may be a newer one.
        PeerMisbehaved: ``untrusted``: no list ever named it.
    """
    ring = await ring_within(draft, sender.jid)
    if ring.find(sender.id) is not None:
        return ring
    if not is_recent(ring.listed.get(version), _JUST_FETCHED, now):
        raise DataMissing(
            f"{sender} is on no list that is known",
            fetches=(devices_fetch(version, sender.jid),),
        )
    raise PeerMisbehaved(
        ErrorCode.UNTRUSTED, f"{sender} is no device that {sender.jid} announces", rule=_RULE
    )


async def _identified(
    sessions: OmemoSessions,
    part: Draft,
    sender: Device,
    fingerprint: IdentityFingerprint,
    *,
    proven: bool,
) -> DeviceRing:
    """Return the ring in which the identity that a new session came with is the sender's.

    Only what it decrypted shows it: else an old key exchange from an archive would show again what
    was replaced long ago.

    Raises:
        PeerMisbehaved: ``identity-changed``, ``signer-mismatch``: it is another's. What follows for
            the ring is kept all the same.
    """
    code = await identify_within(sessions, part, sender, fingerprint, proven=proven)
    if code is not None:
        part.merge()
        raise PeerMisbehaved(code, f"another identity than that of {sender}", rule=_RULE)
    return await ring_within(part, sender.jid)


def _noted(
    sessions: OmemoSessions,
    ring: DeviceRing,
    reception: Reception,
    plaintext: Plaintext,
    arrival: Arrival,
    trust: Trust,
    now: datetime,
) -> DeviceRing:
    """Note that a device is alive, whose it says it is, and whether they ask to write in clear.

    Not what a device asks that nobody believes, nor our own other one, which asked somebody else,
    nor what was overtaken by something that it has said since; nor an item, which is no message to
    us and may be of any age.
    """
    sender, fingerprint = reception.session.peer, reception.session.fingerprint
    live = arrival.is_live
    seen = now if live else arrival.stamp and min(arrival.stamp, now)
    known = ring.find(sender.id)
    if known and seen and all(mark is None or mark <= seen for mark in (known.heard, known.wrote)):
        ring = ring.heard_from(sender.id, seen)
    if plaintext.names_sender:
        ring = ring.named_by(fingerprint)
    is_message = plaintext.content and arrival.kind is not StanzaKind.ITEM
    asks = is_message and trust.accepts and sender.jid != sessions.account
    if asks and not reception.is_late(live=live):
        opt_out = plaintext.opt_out
        ring = ring.opt_in() if opt_out is None else ring.opt_out(opt_out.reason)
    return ring


def _opened(
    message_id: str,
    received: ReceivedMessage,
    arrival: Arrival,
    reception: Reception,
    plaintext: Plaintext,
    trust: Trust,
    lost: int,
) -> OpenedMessage:
    opt_out = plaintext.opt_out
    return OpenedMessage(
        id=message_id,
        version=received.version,
        sender=reception.session.peer,
        fingerprint=reception.session.fingerprint,
        trust=trust,
        arrival=arrival,
        content=plaintext.content,
        dropped=plaintext.dropped,
        remarks=plaintext.remarks,
        time=plaintext.time,
        is_empty=plaintext.is_empty,
        key=plaintext.key,
        # Who else reads it, the network can hide: it takes their keys away.
        is_rewritable=received.version is Version.LEGACY and received.payload is not None,
        lost=lost,
        opted_out=opt_out is not None,
        reason=None if opt_out is None else opt_out.reason,
    )
