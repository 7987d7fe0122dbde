"""Items as their readers meet them: a keychain, and messages by whoever has its secret.

Rule: what several tests of items share; no test.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from e2ee.arrival import Arrival
from e2ee.errors import E2eeError, ErrorCode
from e2ee.names import BareJid, Fingerprint, NodeAddress, SecretId
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.xmltree import Element
from ox.container import lock
from ox.engine import S2kCount
from ox.engine_sequoia import SequoiaEngine
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import ItemResult, OpenedItem, UnreadableItem, open_items, seal_item
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node_secret import NodeSecret, SecretState
from tests.support.node_world import entry, stood_in

__all__ = [
    "ENGINE",
    "ENTRY",
    "JULIET",
    "KEYCHAIN",
    "NODE",
    "NOW",
    "OTHER_NODE",
    "PAYLOADS",
    "ROMEO",
    "TEXT",
    "assert_refused",
    "holding",
    "holds",
    "item",
    "opened",
    "refusal",
    "secret",
]

ENGINE = SequoiaEngine(NativePrimitives())
JULIET = BareJid.parse("juliet@capulet.lit")
ROMEO = BareJid.parse("romeo@montague.lit")
NODE = NodeAddress(JULIET, "blog")
OTHER_NODE = NodeAddress(JULIET, "diary")
TEXT = "ZSRD5lK9mz-5VHNyu2N1XLiJZ8I87jkv85ceZkVrOGA"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
ENTRY = entry("O Romeo, Romeo!")


PAYLOADS = (
    ENTRY,
    entry("Où est Roméo ? 薔薇 🌹"),
    entry("' \" \\ \t \n & <>"),
    entry(" ".join(map(str, range(15_000)))),
)
"""What peers must read of us and we of them."""


def secret(
    name: str = "s", value: str = TEXT, state: SecretState = SecretState.ACTIVE
) -> NodeSecret:
    return NodeSecret(SecretId(name), Secret(value.encode()), NOW, state)


def holding(*secrets: NodeSecret, address: NodeAddress = NODE) -> Keychain:
    return Keychain(address, JULIET, frozenset({Fingerprint("A" * 40)}), secrets)


KEYCHAIN = holding(secret())


def item(message: bytes, name: str = "s") -> Element:
    return EncryptedItem(SecretId(name), message).to_xml()


def holds(
    plaintext: bytes | str, value: str = TEXT, count: S2kCount = S2kCount.RANDOM_SECRET
) -> bytes:
    """Return a sound message with any plain text, as whoever has the secret can make it."""
    data = plaintext.encode() if isinstance(plaintext, str) else plaintext
    return lock(data, Secret(value.encode()), count, os.urandom)


async def opened(
    payload: Element, keychain: Keychain = KEYCHAIN, arrival: Arrival | None = None
) -> ItemResult:
    (result,) = await open_items(ENGINE, keychain, [(payload, arrival or stood_in(NODE))])
    return result


async def refusal(
    payload: Element, keychain: Keychain = KEYCHAIN, arrival: Arrival | None = None
) -> E2eeError:
    """Open one item that cannot be read, and return why."""
    result = await opened(payload, keychain, arrival)
    assert isinstance(result, UnreadableItem), result
    return result.error


async def assert_refused(payload: Element, code: ErrorCode, keychain: Keychain = KEYCHAIN) -> None:
    """Expect one error, and that the genuine item opens afterwards with the same keychain."""
    assert (await refusal(payload, keychain)).code is code
    genuine = await opened(await seal_item(ENGINE, secret(), ENTRY))
    assert isinstance(genuine, OpenedItem)
