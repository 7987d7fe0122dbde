"""The inbox: messages that were decrypted, until the program has taken them in.

Rule: rows in a draft of the caller, and nothing decrypts here. A message is kept in the very commit
that consumes its key, so that no crash can lose it; only the program's own word removes it.

How many wait is the program's to bound: whoever never calls ``delivered`` keeps all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.lexical import encode_base64
from e2ee.omemo.inbox_record import opened_from_record, opened_to_record
from e2ee.omemo.message import DeviceKey, ReceivedMessage
from e2ee.omemo.opened import OpenedMessage
from e2ee.records import pack, unpack

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["delivered", "id_of", "keep_opened", "take_out", "undelivered", "waiting_within"]

_INBOX: Final = "inbox"
_COUNT: Final = "omemo-inbox-count"
_FORMAT: Final = 1


async def delivered(sessions: OmemoSessions, opened: Collection[OpenedMessage]) -> None:
    """See ``OmemoSessions.delivered``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        for message in opened:
            take_out(draft, message)
        await draft.commit()


def take_out(draft: Draft, message: OpenedMessage) -> None:
    """Have a message wait no more, because it is kept elsewhere; one that does not is no error."""
    draft.remove(draft.row("omemo", _INBOX, message.id))


async def undelivered(sessions: OmemoSessions) -> tuple[OpenedMessage, ...]:
    """See ``OmemoSessions.undelivered``."""
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        rows = await draft.scan(draft.row("omemo", _INBOX))
    waiting = [opened_from_record(raw, row[-1]) for row, raw in rows]
    return tuple([opened for opened, _ in sorted(waiting, key=lambda pair: pair[1])])


async def waiting_within(draft: Draft, message_id: str) -> OpenedMessage | None:
    """Return the message of that id if it waits, else ``None``.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await draft.get(draft.row("omemo", _INBOX, message_id))
    return None if raw is None else opened_from_record(raw, message_id)[0]


async def keep_opened(draft: Draft, opened: OpenedMessage) -> None:
    """Have a message wait, behind all that wait already.

    Raises:
        PeerMisbehaved: ``limit-exceeded``: it could not be read again; none may hold up the others.
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    row = draft.row("omemo", "inbox-count")
    raw = await draft.get(row)
    count = 0 if raw is None else unpack(raw, _COUNT, _FORMAT).get("count")
    if type(count) is not int:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored count of messages is damaged")
    draft.put(draft.row("omemo", _INBOX, opened.id), opened_to_record(opened, count))
    draft.put(row, pack(_COUNT, _FORMAT, {"count": count + 1}))


def id_of(received: ReceivedMessage, key: DeviceKey, arrival: Arrival) -> str:
    """Return what names a message in the inbox: hexadecimal SHA-256.

    Digested is all of the element that is for us, and where it stood. Not what others have in it
    nor how it was written, nor the archive's stamp, so that the same stanza has the same name when
    it comes again by another way. Nor, in a room, to whom of us the room addressed it.

    Args:
        received: the element.
        key: ours in it.
        arrival: where it stood.
    """
    node, payload = arrival.node, received.payload
    iv = received.iv if payload is None else payload.iv
    to = None if arrival.kind is StanzaKind.GROUPCHAT or arrival.to is None else arrival.to.bare
    fields = {
        "version": received.version.name,
        "sid": received.sid,
        "key": encode_base64(key.data),
        "exchange": key.kex,
        "payload": None if payload is None else encode_base64(payload.ciphertext),
        "iv": None if iv is None else encode_base64(iv),
        "stanza": arrival.kind.value,
        "sender": str(arrival.sender),
        "occupant": None if arrival.occupant is None else str(arrival.occupant),
        "to": None if to is None else str(to),
        "node": node and [str(node.service), node.node],
        "item": arrival.item_id,
    }
    return sha256(pack("omemo-arrival", _FORMAT, fields)).hexdigest()
