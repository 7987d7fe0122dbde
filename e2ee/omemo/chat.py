"""Messages in OMEMO: what a ``<message/>`` carries beside the encrypted element, both ways.

Rule: one layer of encryption; what stood in clear is never mixed with what was encrypted. Which
versions a message is in is decided where it is encrypted. What could fail does before anything is
decrypted: a message that was is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.eme import is_encrypted
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.omemo.decrypting import decrypt_within
from e2ee.omemo.device import Device
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.recipients import DeviceReport
from e2ee.omemo.rooms import RoomRoster
from e2ee.omemo.version import Version
from e2ee.sce import outside
from e2ee.xmltree import Element, element

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = [
    "FALLBACK",
    "FEATURES",
    "OpenedChat",
    "SealedChat",
    "open_message",
    "open_message_within",
    "seal_message",
]

FEATURES: Final = (f"{Version.TWO.devices_node}+notify", ns.EME)
"""Service discovery features of a client that uses this in version 2 (XEP-0384 §5.3, XEP-0380)."""

FALLBACK: Final = "This message is encrypted using OMEMO."
"""What the body in clear says to those who cannot read the message (XEP-0380 §3)."""

_Decrypt = Callable[[Element, Arrival], Awaitable[OpenedMessage]]

_RULE: Final = "XEP-0384 §5.5"
_STORE: Final = element(ns.HINTS, "store")


@dataclass(frozen=True, slots=True)
class SealedChat:
    """The children of a ``<message/>`` to send.

    Attributes:
        children: all of them.
        report: what became of each device.
    """

    children: tuple[Element, ...]
    report: tuple[DeviceReport, ...]


@dataclass(frozen=True, slots=True)
class OpenedChat:
    """A message that was encrypted.

    Attributes:
        opened: what it said and who said it; pass it to ``OmemoSessions.delivered`` once taken in.
        outside: what stood beside it in clear, for anybody on the way to write: without bodies, and
            without what says that it is encrypted.
    """

    opened: OpenedMessage
    outside: tuple[Element, ...] = field(repr=False)


async def seal_message(
    sessions: OmemoSessions,
    content: Sequence[Element],
    to: BareJid | RoomRoster,
    *,
    leaving_out: Collection[Device] = (),
    verified_only: bool = False,
    fallback: str = FALLBACK,
) -> SealedChat:
    """Seal the children of a message.

    One ``<encrypted/>`` and one note of its method for each version that was needed; the fallback
    only where there is a legacy one, whose clients look for a body.

    Args:
        sessions: the device that writes.
        content: what is said, each element in a namespace.
        to: the recipient, or the room's roster.
        leaving_out: as ``OmemoSessions.encrypt``.
        verified_only: as ``OmemoSessions.encrypt``.
        fallback: the body in clear, in the user's language.

    Raises:
        ApiMisuse: the room's lists are not complete; and as ``OmemoSessions.encrypt``.
        DataMissing, TrustUndecided, PeerMisbehaved: as ``OmemoSessions.encrypt``.
    """
    if isinstance(to, RoomRoster):  # our own other devices are written to in any case
        room, people = to.room, to.recipients - {sessions.account}
    else:
        room, people = None, frozenset({to})
    encrypted = await sessions.encrypt(
        content, people, room=room, leaving_out=leaving_out, verified_only=verified_only
    )
    versions = [found for found in map(_version, encrypted.elements) if found]
    notes = [element(ns.EME, "encryption", {"namespace": version}) for version in versions]
    body = [element(ns.CLIENT, "body", None, fallback)] if Version.LEGACY in versions else []
    return SealedChat((*body, *notes, _STORE, *encrypted.elements), encrypted.report)


async def open_message(
    sessions: OmemoSessions,
    children: Sequence[Element],
    arrival: Arrival,
    *,
    room: RoomRoster | None = None,
) -> OpenedChat:
    """Open the children of a received message.

    Where it is there in both versions, version 2 is read if it is for this device.

    Args:
        sessions: the device that reads.
        children: all of them.
        arrival: where they stood; in a room with the sender's real JID as ``occupant``.
        room: the roster of the room that it is from; ``None`` refuses what comes from any.

    Raises:
        PeerMisbehaved: ``not-encrypted``: nothing of a version that is spoken here; ``malformed``:
            two of one version; ``forbidden``: from a room that is not expected;
            ``context-mismatch``: from nobody who is in it; and as ``OmemoSessions.decrypt``.
        ApiMisuse: more than could be the children of a stanza; and as ``OmemoSessions.decrypt``.
        CannotDecrypt, DataMissing: as ``OmemoSessions.decrypt``.
    """
    return await _opened(sessions, children, arrival, room, sessions.decrypt)


async def open_message_within(
    sessions: OmemoSessions, draft: Draft, children: Sequence[Element], arrival: Arrival
) -> OpenedChat:
    """As :func:`open_message`, of what comes from no room, in a draft of the caller.

    Call ``publish_changed_bundles`` before the draft is committed; see ``decrypt_within``.
    """

    async def decrypt(encrypted: Element, arrival: Arrival) -> OpenedMessage:
        return await decrypt_within(sessions, draft, encrypted, arrival)

    return await _opened(sessions, children, arrival, None, decrypt)


async def _opened(
    sessions: OmemoSessions,
    children: Sequence[Element],
    arrival: Arrival,
    room: RoomRoster | None,
    decrypt: _Decrypt,
) -> OpenedChat:
    found: dict[Version, Element] = {}
    for child in children:
        version = _version(child)
        if version in found:
            raise PeerMisbehaved(ErrorCode.MALFORMED, "a message encrypted twice", rule=_RULE)
        if version is not None and version in sessions.engines:
            found[version] = child
    if not found:
        raise PeerMisbehaved(ErrorCode.NOT_ENCRYPTED, "a message without OMEMO", rule=_RULE)
    _check_room(arrival, room)
    stanza = element(ns.CLIENT, "message", None, *children)
    opened = await _newest(found, arrival, decrypt)
    beside = tuple(
        child
        for child in outside(stanza, found[opened.version])
        if not is_encrypted(child) and not child.is_(ns.CLIENT, "body")
    )
    return OpenedChat(opened, beside)


async def _newest(
    found: dict[Version, Element], arrival: Arrival, decrypt: _Decrypt
) -> OpenedMessage:
    newest, *older = sorted(found, key=list(Version).index)
    try:
        return await decrypt(found[newest], arrival)
    except PeerMisbehaved as error:
        if error.code is not ErrorCode.NOT_FOR_US or not older:
            raise
    return await decrypt(found[older[0]], arrival)


def _check_room(arrival: Arrival, room: RoomRoster | None) -> None:
    if arrival.kind is not StanzaKind.GROUPCHAT:
        return
    if room is None or arrival.sender.bare != room.room:
        raise PeerMisbehaved(ErrorCode.FORBIDDEN, "from a room that is not expected", rule=_RULE)
    if arrival.occupant not in room.members:
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, f"from nobody who is in {room.room}", rule=_RULE
        )


def _version(child: Element) -> Version | None:
    """Return the version in which a child is encrypted; ``None`` where it is not, in OMEMO."""
    if child.name != "encrypted":
        return None
    return next((version for version in Version if child.namespace == version), None)
