"""Encrypted items that a service moves and serves again: all decrypt, and only a history tells.

What a content is recognised by is the container of its message: a service can frame the packets
around it anew, and the way in beside it, but it cannot change one octet of what is encrypted.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import pairwise

from e2ee.history import History, Sighting
from e2ee.names import ItemId, ItemPlace, NodeAddress
from e2ee.storage import Store
from e2ee.stores.memory import MemoryStore
from e2ee.xmltree import Element
from ox.grammar import check_passphrase_message
from ox.packets import Tag, read_packets
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import OpenedItem, seal_item
from tests.support.node_items import ENGINE, NODE, OTHER_NODE, holding, opened, secret
from tests.support.node_world import entry, stood_in

FIRST, SAME, REPLACED, ROLLED_BACK, MOVED = Sighting
ME = ("romeo@montague.lit",)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def sealed(text: str) -> Element:
    return await seal_item(ENGINE, secret(), entry(text))


async def read(store: Store, node: NodeAddress, item_id: str, payload: Element) -> Sighting:
    """Decrypt an item where the service says that it stands, and take it into the history."""
    result = await opened(payload, holding(secret(), address=node), stood_in(node, None, item_id))
    assert isinstance(result, OpenedItem), "the service needs no secret for any of this"
    message = check_passphrase_message(EncryptedItem.from_xml(payload).ciphertext)
    content = hashlib.sha256(message.container).digest()
    async with store.exclusive(ME) as tx:
        history = History(tx, ME)
        place = ItemPlace(node, ItemId(item_id))
        seen = await history.saw(place, "cipher", content, None, NOW)
        await tx.commit(history.changes())
    return seen.sighting


def framed_anew(payload: Element) -> Element:
    """Return the same item in packets with other headers, and partial lengths where it is long."""
    item = EncryptedItem.from_xml(payload)
    framed = b""
    for packet in read_packets(item.ciphertext, most=8):
        if packet.tag == Tag.SEIPD and len(packet.body) > 512:
            rest = len(packet.body) - 512
            size = b"\xff" + rest.to_bytes(4)
            framed += bytes([0xC0 | packet.tag, 224 + 9]) + packet.body[:512] + size
            framed += packet.body[512:]
        else:
            framed += bytes([0xC0 | packet.tag, 0xFF]) + len(packet.body).to_bytes(4) + packet.body
    assert framed != item.ciphertext
    return EncryptedItem(item.secret_id, framed).to_xml()


async def test_n_13_encrypted_items_swapped_between_ids_and_nodes() -> None:
    store = MemoryStore()
    one, two = await sealed("one"), await sealed("two")
    assert await read(store, NODE, "1", one) is FIRST
    assert await read(store, NODE, "2", two) is FIRST
    assert await read(store, NODE, "1", two) is MOVED
    assert await read(store, NODE, "2", one) is MOVED
    assert await read(store, OTHER_NODE, "1", one) is MOVED, "both nodes have the same secret"
    assert await read(store, NODE, "1", one) is ROLLED_BACK, "another stood there since"


async def test_n_13_an_old_encrypted_version_served_again() -> None:
    store = MemoryStore()
    versions = [await sealed(f"version {number}") for number in range(3)]
    assert await read(store, NODE, "1", versions[0]) is FIRST
    for old, new in pairwise(versions):
        assert await read(store, NODE, "1", new) is REPLACED
        assert await read(store, NODE, "1", old) is ROLLED_BACK
    assert await read(store, NODE, "1", versions[-1]) is SAME


async def test_n_13_what_is_framed_anew_is_recognised() -> None:
    store = MemoryStore()
    for number, text in enumerate(("short", "long " * 200)):
        payload = await sealed(text)
        assert await read(store, NODE, f"{number}", payload) is FIRST
        assert await read(store, NODE, f"{number}", framed_anew(payload)) is SAME
        assert await read(store, OTHER_NODE, f"{number}", framed_anew(payload)) is MOVED


async def test_n_13_equal_texts_of_two_items_are_two_contents() -> None:
    store = MemoryStore()
    assert await read(store, NODE, "1", await sealed("hello")) is FIRST
    assert await read(store, NODE, "2", await sealed("hello")) is FIRST


async def test_n_13_what_a_member_encrypts_anew_is_not_recognised() -> None:
    """Whoever has the secret can; only a signature tells whose text it is."""
    store = MemoryStore()
    assert await read(store, NODE, "1", await sealed("hello")) is FIRST
    assert await read(store, OTHER_NODE, "1", await sealed("hello")) is FIRST
