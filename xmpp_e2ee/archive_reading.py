"""Reading what an archive holds: each message and item by the one encryption that it is in.

Rule: what becomes of an entry, one at a time or a few together; how far a file was read is counted
in ``archive.py``.

What OMEMO decrypts can be decrypted once: it is read in a draft of the caller, who commits it with
the count. What OpenPGP decrypts can be decrypted again, and to repeat it changes nothing: so it is
read first, in commits of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from e2ee import ns
from e2ee.attachment_nodes import parse_attachment_node
from e2ee.draft import Draft
from e2ee.eme import is_encrypted
from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.history import Sighting
from e2ee.names import NodeAddress
from e2ee.omemo.chat import open_message_within
from e2ee.omemo.inbox import waiting_within
from e2ee.omemo.own_rows import own_or_none
from e2ee.omemo.sessions import OmemoSessions
from e2ee.omemo.version import Version
from e2ee.storage import Transaction
from e2ee.xmltree import Element
from ox.account import OxAccount
from pubsub_encryption.attachments import OpenedAttachments, decrypt_many_attachments
from pubsub_encryption.cache import ItemCache
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import ClearItem, UnreadableItem
from pubsub_encryption.node import NodeEncryption
from pubsub_encryption.reading import NodeReader, ReadItem
from pubsub_encryption.sharing import receive
from pubsub_encryption.targeted import TargetedPayload
from pubsub_encryption.targeted_reading import OpenedTargeted, TargetedReading, UnreadableTargeted
from xmpp_e2ee.archive_record import Outcome
from xmpp_e2ee.archived import ArchivedItem, ArchivedMessage, Entry, Unusable

__all__ = ["OnceReading", "ArchivePage", "Result", "read_repeatable"]

ArchivePage = Mapping[int, Entry]
"""Entries of a file by their numbers, in order."""

Result = Outcome | E2eeError
"""What became of an entry, or what stands in the way."""

_SUSPICIOUS: Final = {
    Sighting.MOVED: Outcome.MOVED,
    Sighting.ROLLED_BACK: Outcome.ROLLED_BACK,
}


async def read_repeatable(ox: OxAccount, cache: ItemCache, page: ArchivePage) -> dict[int, Result]:
    """Read what OpenPGP encrypts: messages, then items of nodes, whose secrets came in these.

    A message that shares no secret is verified and not marked as handled: a client can still open
    it. Items are kept in the cache.

    Returns:
        What became of each of them; of other entries, nothing.

    Raises:
        StoreFailed: what the store raises; nothing is lost by what was done until then.
    """
    results: dict[int, Result] = {}
    items: dict[NodeAddress, dict[int, ArchivedItem]] = {}
    attached: dict[NodeAddress, dict[int, ArchivedItem]] = {}
    for number, entry in page.items():
        if isinstance(entry, ArchivedMessage) and _is_openpgp(entry):
            results[number] = await _opened(ox, entry)
        elif isinstance(entry, ArchivedItem) and _holds_attachments(entry):
            try:
                target = parse_attachment_node(entry.address).node
            except PeerMisbehaved as error:
                results[number] = error.with_traceback(None)
            else:
                attached.setdefault(target, {})[number] = entry
        elif isinstance(entry, ArchivedItem) and EncryptedItem.is_encrypted(entry.payload):
            items.setdefault(entry.address, {})[number] = entry
    for address, found in items.items():
        reader = NodeReader(NodeEncryption(address, ox), cache)
        read = await reader.read([(entry.payload, entry.arrival) for entry in found.values()])
        for number, result in zip(found, read, strict=True):
            match result:
                case ReadItem():
                    results[number] = _SUSPICIOUS.get(result.seen.sighting, Outcome.ITEMS)
                case UnreadableItem(failure):
                    results[number] = _judged(failure)
                case ClearItem():
                    results[number] = Outcome.CLEAR
    for address, found in attached.items():
        pairs = [(entry.payload, entry.arrival) for entry in found.values()]
        opened = await decrypt_many_attachments(NodeEncryption(address, ox), pairs)
        for number, each in zip(found, opened, strict=True):
            if isinstance(each, OpenedAttachments):
                results[number] = Outcome.ATTACHMENTS
            else:
                results[number] = _judged(each.error)
    return results


async def _opened(ox: OxAccount, message: ArchivedMessage) -> Result:
    try:
        openpgp = [child for child in message.children if child.is_(ns.OX, "openpgp")]
        if len(openpgp) > 1:
            raise PeerMisbehaved(ErrorCode.MALFORMED, "a message with two <openpgp/>")
        opened = await ox.open(openpgp[0], message.arrival)
        return Outcome.SECRETS if await receive(ox, opened) else Outcome.MESSAGES
    except StoreFailed:
        raise
    except E2eeError as error:
        return _judged(error)


class OnceReading:
    """The reading of everything else in a page: one object over one draft."""

    def __init__(
        self,
        ox: OxAccount,
        sessions: OmemoSessions,
        cache: ItemCache,
        tx: Transaction,
        draft: Draft,
    ) -> None:
        """Begin to read.

        Args:
            ox: the account.
            sessions: its OMEMO device.
            cache: where items are kept.
            tx: the caller's transaction, of which nothing is committed but the draft.
            draft: over it.
        """
        self._sessions = sessions
        self._before = Draft(tx, ox.account)
        self._draft = draft
        self._told: set[str] = set()
        self._items = TargetedReading(sessions, ox, cache, tx, draft)

    async def read(self, entry: Entry) -> Result:
        """Read one entry; what is wrong with it alone is returned.

        Raises:
            StoreFailed: what the store raises.
        """
        try:
            match entry:
                case Unusable(error):
                    return error
                case ArchivedMessage():
                    return await self._message(entry)
                case ArchivedItem():
                    return await self._item(entry)
        except StoreFailed:
            raise
        except E2eeError as error:
            return _judged(error)

    async def finish(self) -> None:
        """Add to the draft what follows from all that was read, once, before it is committed.

        Raises:
            StoreFailed: what the store raises.
        """
        await self._items.finish()

    async def _message(self, message: ArchivedMessage) -> Outcome:
        encrypted = [child for child in message.children if _is_omemo(child)]
        if not encrypted:
            return _in_clear(message.children)
        if await self._is_own(message, encrypted):
            return Outcome.OWN
        chat = await open_message_within(
            self._sessions, self._draft, message.children, message.arrival
        )
        name = chat.opened.id
        if name in self._told or await waiting_within(self._before, name) is not None:
            return Outcome.KNOWN
        self._told.add(name)
        return Outcome.MESSAGES

    async def _is_own(self, message: ArchivedMessage, encrypted: list[Element]) -> bool:
        own = await own_or_none(self._draft)
        if own is None or message.arrival.sender.bare != own.device.jid:
            return False
        headers = [child.optional(child.namespace, "header") for child in encrypted]
        return all(header and header.get("sid") == str(own.device.id) for header in headers)

    async def _item(self, item: ArchivedItem) -> Result:
        if not TargetedPayload.is_targeted(item.payload):
            return _in_clear([item.payload])
        result = await self._items.read(item.payload, item.arrival)
        if isinstance(result, UnreadableTargeted):
            return _judged(result.error)
        if isinstance(result, OpenedTargeted):
            return _SUSPICIOUS.get(result.seen.sighting, Outcome.ITEMS)
        return Outcome.CLEAR


def _judged(error: E2eeError) -> Result:
    """Return what an error means for an archive, without the frames, which hold what was decrypted.

    What is old there was read before.
    """
    if error.code is ErrorCode.REPLAY:
        return Outcome.KNOWN
    error.__context__ = None
    return error.with_traceback(None)


def _in_clear(elements: tuple[Element, ...] | list[Element]) -> Outcome:
    if any(map(is_encrypted, elements)):
        raise PeerMisbehaved(
            ErrorCode.UNSUPPORTED_ALGORITHM, "encrypted by what is not spoken here"
        )
    return Outcome.CLEAR


def _is_openpgp(message: ArchivedMessage) -> bool:
    children = message.children
    return any(each.is_(ns.OX, "openpgp") for each in children) and not any(
        map(_is_omemo, children)
    )


def _is_omemo(child: Element) -> bool:
    return child.name == "encrypted" and child.namespace in set(Version)


def _holds_attachments(item: ArchivedItem) -> bool:
    """Say whether an item holds encrypted attachments; in clear, they are like any other item."""
    return item.payload.is_(ns.PUBSUB_ATTACHMENTS, "attachments") and any(
        map(EncryptedItem.is_encrypted, item.payload.elements)
    )
