"""Reception: which session with a device decrypts a message, and what becomes of it then.

Rule: :func:`receive` only reads, and what it returns may be given up; :func:`settle` keeps it. No
failure to decrypt is ever answered, and none starts a session (XEP-0384 §6).

There is no budget for failures, though anybody on the way can send what fails: to read no more of
a device after some would let a server silence it. Instead each failure is cheap, whatever it says:
what a header can make us compute is bounded over all sessions that are tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from e2ee.draft import Draft
from e2ee.errors import CannotDecrypt, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_SKIPPED
from e2ee.omemo import turns
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.empty_messages import queue_empty
from e2ee.omemo.engine import KeyExchange, OmemoEngine, RatchetMessage, Received, SkippedKey
from e2ee.omemo.message import DeviceKey
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.prekeys import (
    pre_key_used,
    pre_key_within,
    signed_pre_key_within,
    unused_since,
)
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import (
    archived_within,
    put_archived,
    put_session,
    replace_session,
    session_within,
    skipped_within,
    take_in,
)

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["Reception", "receive", "replay", "settle"]

_HEARTBEAT: Final = 53  # the number of a message that asks for one (XEP-0384 §6)
_MAX_STEPS: Final = 2 * MAX_SKIPPED + 1
"""How many steps of chains one message may cost over all sessions that are tried."""


@dataclass(frozen=True, slots=True)
class Reception:
    """A message that a session decrypted; nothing of it is kept yet.

    Attributes:
        session: as it was before; a new one as it was agreed on.
        slot: where it is archived; ``None`` for the current one, and for a new one.
        is_new: whether the message begins it.
        message: what was decrypted.
        received: what came of it.
        used: the kept key that decrypted it, where it had been passed over.
    """

    session: Session
    slot: int | None
    is_new: bool
    message: RatchetMessage
    received: Received
    used: SkippedKey | None = None

    def is_late(self, *, live: bool) -> bool:
        """Say whether something newer of its sender was surely decrypted before.

        Its own session went on without it; or that was replaced since, and is not just heard of.
        What an archive delivers of a replaced session is no sign that the peer uses it: the peer
        may have begun the current one since, because it lost this one.

        Args:
            live: whether the message comes right from its sender.
        """
        replaced = self.slot is not None and self.session.confirmed and not live
        return self.used is not None or replaced


async def receive(
    draft: Draft,
    own: OwnDevice,
    engine: OmemoEngine,
    sender: Device,
    key: DeviceKey,
) -> Reception:
    """Decrypt the key for our device; nothing is written.

    A key exchange that built a session before is that session's; any other asks for a new one, of
    an identity that the caller has to judge.

    Args:
        draft: to read in.
        own: our device.
        engine: of the version.
        sender: the device that claims to have sent it.
        key: what it sent.

    Raises:
        CannotDecrypt: no session is the one.
        PeerMisbehaved: ``malformed``; ``no-session``: there is none, or a key exchange names
            prekeys that we do not have; ``replay``; ``too-many-skipped``.
    """
    exchange: KeyExchange | None = None
    if key.kex:
        exchange, message = engine.read_exchange(key.data)
    else:
        message = engine.read_message(key.data)
    version = engine.version
    current = await session_within(draft, version, sender)
    if current is not None and _is_of(current, exchange, message):
        return await _decrypted(draft, engine, None, current, message)
    archived = await archived_within(draft, version, sender)
    for slot, session in archived:
        if _is_of(session, exchange, message):
            return await _decrypted(draft, engine, slot, session, message)
    if exchange is not None:
        return await _begun(draft, own, engine, sender, exchange, message)
    every: list[tuple[int | None, Session]] = [] if current is None else [(None, current)]
    return await _turned(draft, engine, sender, [*every, *archived], message)


async def _turned(
    draft: Draft,
    engine: OmemoEngine,
    sender: Device,
    sessions: Sequence[tuple[int | None, Session]],
    message: RatchetMessage,
) -> Reception:
    """Decrypt a message of a chain that no session knows yet, so that any may be meant.

    The cheapest is tried first: the right one knows most of the chain that ended.
    """
    refusals: list[E2eeError] = []
    steps = 0
    for slot, session in sorted(sessions, key=lambda each: _steps(each[1], message)):
        steps += _steps(session, message)
        if refusals and steps > _MAX_STEPS:
            break
        try:
            return await _decrypted(draft, engine, slot, session, message)
        except (CannotDecrypt, PeerMisbehaved) as error:
            refusals.append(error)
    if refusals:
        replays = [each for each in refusals if each.code is ErrorCode.REPLAY]
        raise (replays or refusals)[0] from None
    raise PeerMisbehaved(
        ErrorCode.NO_SESSION, f"there is no session with {sender}", rule="XEP-0384 §5.6"
    )


def _steps(session: Session, message: RatchetMessage) -> int:
    """Return how many steps of chains it costs to try a session with a new chain."""
    ended = session.ratchet.receiving
    passed_over = message.previous - ended.length if ended else 0
    return 1 + message.number + (passed_over if 0 < passed_over <= MAX_SKIPPED else 0)


def _is_of(session: Session, exchange: KeyExchange | None, message: RatchetMessage) -> bool:
    if exchange is not None:
        return session.exchange == exchange and not session.initiator
    chains = (chain.ratchet_key for chain in session.skipped)
    return message.ratchet_key in (session.ratchet.peer_public, *chains)


async def _decrypted(
    draft: Draft,
    engine: OmemoEngine,
    slot: int | None,
    session: Session,
    message: RatchetMessage,
) -> Reception:
    key = message.ratchet_key
    used = await skipped_within(draft, session, key, message.number)
    if used is None and key != session.ratchet.peer_public:
        await _check_unheard(draft, engine, session.fingerprint, message)
    received = await engine.decrypt(
        session.ratchet, session.bound, message, used, initiator=session.initiator
    )
    return Reception(session, slot, False, message, received, used)


async def _begun(
    draft: Draft,
    own: OwnDevice,
    engine: OmemoEngine,
    sender: Device,
    exchange: KeyExchange,
    message: RatchetMessage,
) -> Reception:
    """Build the session that a key exchange asks for."""
    version, fingerprint = engine.version, engine.fingerprint(exchange.identity)
    await _check_unheard(draft, engine, fingerprint, message)
    signed_pre_key = await signed_pre_key_within(draft, version, exchange.signed_pre_key_id)
    pre_key = await pre_key_within(draft, version, exchange.pre_key_id)
    if signed_pre_key is None or pre_key is None:
        raise PeerMisbehaved(
            ErrorCode.NO_SESSION, "a key exchange with a prekey that is no more", rule="X3DH §3.4"
        )
    agreement, received = await engine.accept(
        own.identity, signed_pre_key, pre_key, exchange, message
    )
    session = Session(
        version=version,
        peer=sender,
        fingerprint=fingerprint,
        exchange=exchange,
        initiator=False,
        confirmed=True,
        bound=agreement.bound,
        ratchet=agreement.ratchet,
        # One that began in a lost time, too, has gone on there: it is not sent with (D-24).
        renewal=await unused_since(draft, version, exchange.pre_key_id),
    )
    return Reception(session, None, True, message, received)


async def _check_unheard(
    draft: Draft,
    engine: OmemoEngine,
    fingerprint: IdentityFingerprint,
    message: RatchetMessage,
) -> None:
    """Refuse what came under a ratchet key whose message keys were all used or dropped."""
    if await turns.is_known(draft, engine.version, fingerprint, message.ratchet_key):
        raise replay()


def replay() -> PeerMisbehaved:
    """Return the error for what was decrypted before, or whose key was dropped."""
    return PeerMisbehaved(ErrorCode.REPLAY, "a message decrypted before", rule="XEP-0384 §6")


async def settle(
    sessions: OmemoSessions,
    draft: Draft,
    own: OwnDevice,
    reception: Reception,
    ring: DeviceRing,
    *,
    live: bool,
) -> int:
    """Keep what a message did to its session, and queue what it asks for.

    A new session becomes the current one (§5.6) and is answered by an empty message (§6). An
    archived one that the peer turns out to use becomes it, too: because it has only now heard of
    it, or because this very message is live. Where both sides began one at once, they so come to
    use the same one with the first message that does not cross another.

    Args:
        sessions: the account.
        draft: to write in.
        own: our device.
        reception: the message.
        ring: of the sender; only sessions of the identity that a device has in it are sent with.
        live: whether the message comes right from its sender.

    Returns:
        How many messages can never be read any more from now on.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    before, key = reception.session, reception.message.ratchet_key
    session = await take_in(draft, before, reception.received, reception.used)
    known = ring.find(session.peer.id)
    usable = (
        known is not None
        and known.fingerprint == session.fingerprint
        and session.renewal == own.renewal
        and not own.left
    )
    turned = reception.used is None and (reception.is_new or key != before.ratchet.peer_public)
    if turned:
        await turns.remember(draft, session.version, session.fingerprint, key)
    lost = reception.received.lost + _dropped(reception, session)
    if reception.is_new:
        await pre_key_used(sessions, draft, session.version, session.exchange.pre_key_id)
        lost += await replace_session(draft, session)
    elif reception.slot is None:
        put_session(draft, session)
    elif usable and not reception.is_late(live=live):
        lost += await replace_session(draft, session)
    else:
        put_archived(draft, reception.slot, session)
        return lost
    beats = reception.message.number >= _HEARTBEAT and key == session.ratchet.peer_public
    beats = beats and key != session.heartbeat
    if usable and (reception.is_new or beats):
        if beats:
            session = replace(session, heartbeat=key)
        await queue_empty(sessions, draft, session)
    return lost


def _dropped(reception: Reception, after: Session) -> int:
    """Return how many kept keys were dropped, because they are too many for one session."""
    kept = sum(chain.count for chain in reception.session.skipped)
    kept += len(reception.received.skipped) - (reception.used is not None)
    return kept - sum(chain.count for chain in after.skipped)
