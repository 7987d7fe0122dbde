"""Instant messages in OpenPGP (XEP-0374 0.2.0): what a ``<message/>`` carries, both ways.

Rule: only ``<signcrypt/>``; one layer of encryption; what stood in clear is never mixed with what
was signed. Rooms are specified nowhere: experimental, and off unless a :class:`Room` is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.eme import is_encrypted
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.xmltree import Element, element
from ox.opened import OpenedOx
from ox.opening import open_signed
from ox.sealing import seal_signcrypt

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = ["FALLBACK", "CHAT_FEATURES", "OpenedMessage", "Room", "open_message", "seal_message"]

CHAT_FEATURES: Final = (ns.OX_IM, ns.EME)
"""Service discovery features of a client that uses this, beside ``elements.FEATURES``."""

FALLBACK: Final = "This message is encrypted using OpenPGP."
"""What the body in clear says to those who cannot read the message (XEP-0374 §3.2)."""

_RULE: Final = "XEP-0374 §2.2"
_HINTS: Final = (
    element(ns.EME, "encryption", {"namespace": ns.OX}),
    element(ns.HINTS, "store"),
)


@dataclass(frozen=True, slots=True)
class Room:
    """A room in which OpenPGP is used, at the user's own risk.

    The room is named as recipient, so that nothing of it passes for a message between two, nor the
    other way round. Who is in a room is what its service says.

    Attributes:
        jid: the room.
        participants: the real bare JIDs of all who read and write in it; ours may be among them.

    Raises:
        ApiMisuse: nobody is known to be in it, as in an anonymous room.
    """

    jid: BareJid
    participants: frozenset[BareJid]

    def __post_init__(self) -> None:
        if not self.participants:
            raise ApiMisuse("a room of which no real JID is known")


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """A message that was signed and encrypted.

    Attributes:
        opened: who wrote it, for whom and when; pass it to ``OxAccount.mark_handled`` once the
            message was taken in.
        content: what the sender said: every child of the payload, those of ``jabber:server`` as
            ``jabber:client``.
        outside: what stood beside it in clear, for anybody on the way to write: without bodies,
            without what says that it is encrypted, and without what ``content`` has, too.
    """

    opened: OpenedOx
    content: tuple[Element, ...] = field(repr=False)
    outside: tuple[Element, ...] = field(repr=False)


async def seal_message(
    account: OxAccount,
    payload: Sequence[Element],
    to: BareJid | Room,
    *,
    fallback: str = FALLBACK,
) -> tuple[Element, ...]:
    """Seal the children of a message.

    Args:
        account: the account that writes.
        payload: what is said, each element in a namespace: body, subject, chat state, markers.
        to: the recipient; a room only if the user wants an experiment.
        fallback: the body in clear, in the user's language.

    Returns:
        The children of the ``<message/>`` to send: the fallback, the hints and ``<openpgp/>``.

    Raises:
        ApiMisuse: ``payload`` is encrypted already, and as ``OxAccount.seal``.
        DataMissing, TrustUndecided, PeerMisbehaved: as ``OxAccount.seal``.
    """
    if any(map(is_encrypted, payload)):
        raise ApiMisuse("a payload that is encrypted already", rule=_RULE)
    named, readers = (to.jid, to.participants) if isinstance(to, Room) else (to, {to})
    async with account.ports.store.exclusive(account.scope) as tx:
        openpgp = await seal_signcrypt(account, tx, payload, readers, {named})
    return (element(ns.CLIENT, "body", None, fallback), *_HINTS, openpgp)


async def open_message(
    account: OxAccount,
    children: Sequence[Element],
    arrival: Arrival,
    *,
    room: Room | None = None,
) -> OpenedMessage:
    """Open the children of a received message.

    Args:
        account: the account that reads.
        children: all of them.
        arrival: where they stood; in a room with the sender's real JID as ``occupant``.
        room: the room that the message must be from; ``None`` refuses what comes from any.

    Raises:
        PeerMisbehaved: ``not-encrypted``: no ``<openpgp/>``; ``malformed``: several of them;
            ``forbidden``: no ``<signcrypt/>``, encrypted content inside, or a room that is not
            expected; ``context-mismatch``; and as ``OxAccount.open``.
        ApiMisuse, CannotDecrypt, DataMissing, TrustUndecided: as ``OxAccount.open``.
    """
    found = [child for child in children if child.is_(ns.OX, "openpgp")]
    if not found:
        raise PeerMisbehaved(ErrorCode.NOT_ENCRYPTED, "a message without <openpgp/>", rule=_RULE)
    if len(found) > 1:
        raise PeerMisbehaved(ErrorCode.MALFORMED, "a message with two <openpgp/>", rule=_RULE)
    _check_participant(account.account, arrival, room)
    async with account.ports.store.exclusive(account.scope) as tx:
        expected = None if room is None else room.jid
        opened = await open_signed(account, tx, found[0], arrival, expected)
    opened.require_encrypted("XEP-0374 §3.1")
    if any(map(is_encrypted, opened.content)):
        raise PeerMisbehaved(ErrorCode.FORBIDDEN, "encrypted content inside", rule=_RULE)
    content = tuple(map(_in_client, opened.content))
    inside = {(child.namespace, child.name) for child in content} | {(ns.CLIENT, "body")}
    outside = tuple(
        child
        for child in map(_in_client, children)
        if (child.namespace, child.name) not in inside and not is_encrypted(child)
    )
    return OpenedMessage(opened, content, outside)


def _check_participant(account: BareJid, arrival: Arrival, room: Room | None) -> None:
    if room is None or arrival.kind is not StanzaKind.GROUPCHAT:
        return  # judged where the message is opened
    if arrival.occupant not in {*room.participants, account}:
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, f"from nobody who is in {room.jid}", rule=_RULE
        )


def _in_client(child: Element) -> Element:
    """Return a child as a client's stanza has it; servers write the same in their namespace."""
    if child.namespace != ns.SERVER:
        return child
    return replace(child, namespace=ns.CLIENT, prefix="", declarations=())
