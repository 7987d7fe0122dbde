"""Items of an encrypted node: sealing one payload, opening a page of them (XEP-0473 §5.1).

Rule: from a keychain and an engine to results; nothing is read from or written to a store. One item
that cannot be opened never stops the others of its page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from e2ee import limits
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, CannotDecrypt, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.names import NodeAddress, SecretId
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from ox.engine import OpenPgpEngine, S2kCount
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node_secret import MAX_READINGS, NodeSecret, SecretState

__all__ = [
    "Authorship",
    "ClearItem",
    "ItemResult",
    "OpenedItem",
    "UnreadableItem",
    "check_place",
    "open_items",
    "seal_item",
]

_RULE: Final = "XEP-0473 §5.1"


class Authorship(StrEnum):
    """What an opened item proves about who wrote it."""

    NODE_KEY_HOLDER = "node-key-holder"  # anybody who ever had the secret (XEP-0473 §9)
    DEVICE = "device"  # an OMEMO device of the account that is named (XEP-0477)
    OPENPGP_KEY = "openpgp-key"  # who holds the OpenPGP key that signed it (XEP-0373)


@dataclass(frozen=True, slots=True)
class OpenedItem:
    """A decrypted item.

    Attributes:
        payload: what the item would hold in clear.
        authorship: always ``NODE_KEY_HOLDER``: neither the service's ``publisher`` nor anything
            in the payload proves the author; a signature (XEP-0475) does.
        secret_id: the secret that opened it.
        secret_state: ``REVOKED`` when the secret is revoked: items carry no date that can be
            trusted, so it may be old, or new and written by somebody who was removed.
        arrival: where it stood.
    """

    payload: Element = field(repr=False)
    authorship: Authorship
    secret_id: SecretId
    secret_state: SecretState
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class ClearItem:
    """An item that stood in clear in the node (XEP-0473 §6): believe nothing of it."""

    payload: Element = field(repr=False)
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class UnreadableItem:
    """An item that could not be opened, and why; the others of its page are not touched by it.

    Attributes:
        error: what ``NodeEncryption.decrypt`` would have raised.
        arrival: where it stood.
    """

    error: E2eeError
    arrival: Arrival


ItemResult = OpenedItem | ClearItem | UnreadableItem
"""What became of one item of a page."""


async def seal_item(engine: OpenPgpEngine, secret: NodeSecret, payload: Element) -> Element:
    """Encrypt one payload element with a node's secret; return ``<encrypted/>``.

    The plain text is written in ASCII with character references: Libervia 0.9 mangles anything
    else after decrypting it, and every XML reader understands it. Only names that are not ASCII
    stay as they are.

    Raises:
        ApiMisuse: the payload has no namespace, or is encrypted already; ``limit-exceeded``: we
            would not read the item ourselves.
    """
    if not payload.namespace or EncryptedItem.is_encrypted(payload):
        raise ApiMisuse("a payload needs a namespace of its own, and is encrypted once", rule=_RULE)
    count = S2kCount.RANDOM_SECRET if secret.is_random else S2kCount.PASSPHRASE
    plaintext = write_xml(payload, ascii_only=True).encode()
    message = await engine.lock(plaintext, secret.passphrase, count)
    item = EncryptedItem(secret.id, message).to_xml()
    try:
        _parsed(plaintext)
        parse_xml(write_xml(item))
    except PeerMisbehaved as error:
        raise ApiMisuse("a payload beyond our own bounds", code=error.code, rule=_RULE) from None
    return item


async def open_items(
    engine: OpenPgpEngine, keychain: Keychain, items: Sequence[tuple[Element, Arrival]]
) -> tuple[ItemResult, ...]:
    """Open a page of items; each result stands where its item stood.

    Args:
        engine: derives the costly keys of foreign items side by side where it has an executor.
        keychain: of the node in which all the items stood.
        items: payload elements with where each was found.
    """
    results: dict[int, ItemResult] = {}
    secrets: dict[int, tuple[NodeSecret, bytes]] = {}
    for index, (payload, arrival) in enumerate(items):
        try:
            check_place(keychain.address, arrival)
            if not EncryptedItem.is_encrypted(payload):
                results[index] = ClearItem(payload, arrival)
                continue
            item = EncryptedItem.from_xml(payload)
            secrets[index] = (keychain.require(item.secret_id), item.ciphertext)
        except E2eeError as error:
            results[index] = UnreadableItem(error, arrival)
    for reading in range(MAX_READINGS):
        attempts = {
            index: (data, secret.passphrases[reading])
            for index, (secret, data) in secrets.items()
            if reading < len(secret.passphrases) and (reading == 0 or _is_closed(results[index]))
        }
        outcomes = await engine.unlock_many(list(attempts.values()))
        for index, outcome in zip(attempts, outcomes, strict=True):
            results[index] = _result(outcome, secrets[index][0], items[index][1])
    return tuple(results[index] for index in range(len(items)))


def check_place(address: NodeAddress, arrival: Arrival) -> None:
    """Check that an item stood in the node of this address.

    Raises:
        PeerMisbehaved: ``context-mismatch``.
    """
    if arrival.kind is not StanzaKind.ITEM or arrival.node != address:
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH,
            "this did not stand in the node of this keychain",
            rule=_RULE,
        )


def _parsed(plaintext: bytes) -> Element:
    """Return the payload that was inside of an item.

    Raises:
        PeerMisbehaved: ``malformed``; ``limit-exceeded``, also where it would be too deep for its
            place in an ``<item/>``.
    """
    payload = parse_xml(plaintext)
    if not payload.namespace:
        raise PeerMisbehaved(ErrorCode.MALFORMED, "a payload without a namespace", rule=_RULE)
    if payload.depth > limits.MAX_PAYLOAD_DEPTH:
        raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "a payload that is too deep", rule=_RULE)
    return payload


def _is_closed(result: ItemResult) -> bool:
    return isinstance(result, UnreadableItem) and isinstance(result.error, CannotDecrypt)


def _result(outcome: bytes | E2eeError, secret: NodeSecret, arrival: Arrival) -> ItemResult:
    if isinstance(outcome, E2eeError):
        return UnreadableItem(outcome, arrival)
    try:
        payload = _parsed(outcome)
    except E2eeError as error:
        return UnreadableItem(error, arrival)
    return OpenedItem(payload, Authorship.NODE_KEY_HOLDER, secret.id, secret.state, arrival)
