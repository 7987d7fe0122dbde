"""Attachments of an encrypted node's items, which are encrypted as well (XEP-0473 §6, XEP-0470).

Rule: from elements to attachments and back, with the secrets of the node to whose items they are
attached. Who is let in to an attachment node is decided in ``owner.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.attachment_nodes import attached_by, parse_attachment_node
from e2ee.attachments import Attachments
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.lexical import trim_xml
from e2ee.names import BareJid, ItemPlace, SecretId
from e2ee.xmltree import Element, element
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import (
    Authorship,
    ClearItem,
    ItemResult,
    UnreadableItem,
)
from pubsub_encryption.node import NodeEncryption
from pubsub_encryption.node_secret import SecretState

__all__ = [
    "OpenedAttachments",
    "decrypt_attachments",
    "decrypt_many_attachments",
    "encrypt_attachments",
]

_RULE: Final = "XEP-0473 §6"


@dataclass(frozen=True, slots=True)
class OpenedAttachments:
    """The decrypted attachments of one account to one item.

    Attributes:
        attachments: what is attached.
        place: the item to which it is attached, as the service says.
        publisher: whose attachments they are, as the service says.
        authorship: always ``NODE_KEY_HOLDER``: any member can attach in any other's name; a
            signature (XEP-0475) among the attachments proves itself.
        secret_id: the secret that opened them.
        secret_state: ``REVOKED`` when the secret is revoked; see ``OpenedItem``.
        arrival: where they stood.
    """

    attachments: Attachments = field(repr=False)
    place: ItemPlace
    publisher: BareJid
    authorship: Authorship
    secret_id: SecretId
    secret_state: SecretState
    arrival: Arrival


async def encrypt_attachments(node: NodeEncryption, attachments: Attachments) -> Element:
    """Encrypt all our attachments to an item of a node; publish what is returned.

    The service sees ``<attachments/>``, which XEP-0470 demands, with one ``<encrypted/>`` in it. So
    it cannot summarise them: members do, by ``e2ee.attachment_summary.summarise``.

    Args:
        node: the encrypted node in which the item stands.
        attachments: all of them: those of before, from :func:`decrypt_attachments`, included.

    Raises:
        ApiMisuse: ``no-active-secret`` or ``forbidden``: nothing may encrypt; one of them is
            encrypted already; ``limit-exceeded``.
        TrustUndecided: as ``NodeEncryption.encrypt``.
    """
    if _encrypted(attachments):
        raise ApiMisuse("attachments that are encrypted already", rule=_RULE)
    return element(
        ns.PUBSUB_ATTACHMENTS, "attachments", {}, await node.encrypt(attachments.to_xml())
    )


async def decrypt_attachments(
    node: NodeEncryption, payload: Element, arrival: Arrival
) -> OpenedAttachments:
    """Decrypt the payload of one item of an attachment node.

    An ``<encrypted/>`` without ``<attachments/>`` around it is read, too.

    Args:
        node: the encrypted node in which the target item stands.
        payload: the one child of the attachment item.
        arrival: where that stood: ``node`` is the attachment node, ``item_id`` a bare JID.

    Raises:
        PeerMisbehaved: ``not-encrypted`` for attachments in clear; ``context-mismatch`` for those
            of an item of another node, or under the JID of anybody but their publisher;
            ``malformed``, also with anything beside ``<encrypted/>``; and what the engine refuses.
        SecretMissing: they name a secret that the owner has not shared with us.
        CannotDecrypt: every cryptographic failure.
    """
    (result,) = await decrypt_many_attachments(node, [(payload, arrival)])
    if isinstance(result, UnreadableItem):
        raise result.error
    return result


async def decrypt_many_attachments(
    node: NodeEncryption, items: Sequence[tuple[Element, Arrival]]
) -> tuple[OpenedAttachments | UnreadableItem, ...]:
    """Decrypt a page of attachment items, each on its own: a bad one never spoils the others.

    Args:
        node: the encrypted node in which the target items stand.
        items: payload elements with where each was found; as in :func:`decrypt_attachments`.
    """
    results: dict[int, OpenedAttachments | UnreadableItem] = {}
    found: list[tuple[int, ItemPlace, BareJid]] = []
    page: list[tuple[Element, Arrival]] = []
    for index, (payload, arrival) in enumerate(items):
        try:
            whose = (index, _target(node, arrival), attached_by(arrival))
            # As if it stood in the target's node: it is opened by the secrets of that one.
            page.append((_unwrapped(payload), replace(arrival, node=node.address)))
        except PeerMisbehaved as error:
            results[index] = UnreadableItem(error, arrival)
        else:
            found.append(whose)
    for (index, place, publisher), item in zip(found, await node.decrypt_many(page), strict=True):
        results[index] = _result(item, place, publisher, items[index][1])
    return tuple(results[index] for index in range(len(items)))


def _result(
    item: ItemResult, place: ItemPlace, publisher: BareJid, arrival: Arrival
) -> OpenedAttachments | UnreadableItem:
    if isinstance(item, UnreadableItem):
        return UnreadableItem(item.error, arrival)
    try:
        if isinstance(item, ClearItem):
            raise PeerMisbehaved(ErrorCode.NOT_ENCRYPTED, "attachments in clear", rule=_RULE)
        attachments = Attachments.from_xml(item.payload)
        if _encrypted(attachments):
            raise PeerMisbehaved(ErrorCode.MALFORMED, "attachments encrypted twice", rule=_RULE)
    except PeerMisbehaved as error:
        return UnreadableItem(error, arrival)
    return OpenedAttachments(
        attachments, place, publisher, item.authorship, item.secret_id, item.secret_state, arrival
    )


def _target(node: NodeEncryption, arrival: Arrival) -> ItemPlace:
    if arrival.kind is StanzaKind.ITEM and arrival.node is not None:
        place = parse_attachment_node(arrival.node)
        if place.node == node.address:
            return place
    raise PeerMisbehaved(
        ErrorCode.CONTEXT_MISMATCH, "attachments to no item of this node", rule=_RULE
    )


def _encrypted(attachments: Attachments) -> bool:
    return any(map(EncryptedItem.is_encrypted, attachments.others))


def _unwrapped(payload: Element) -> Element:
    """Return the ``<encrypted/>`` inside ``<attachments/>``; any other payload as it is."""
    within = any(map(EncryptedItem.is_encrypted, payload.elements))
    if not within or not payload.is_(ns.PUBSUB_ATTACHMENTS, "attachments"):
        return payload
    if len(payload.elements) > 1 or trim_xml(payload.text):
        raise PeerMisbehaved(
            ErrorCode.MALFORMED, "something in clear beside encrypted attachments", rule=_RULE
        )
    return payload.elements[0]
