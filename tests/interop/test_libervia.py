"""What Libervia 0.9 can read of our items, and its own items read by ours.

Libervia hands the decrypted octets to a text formatter, as Python shows bytes: what is not ASCII,
line feeds, tabs and backslashes come out as escapes, and with both kinds of quotes inside nothing
comes out at all. So it reads a document exactly if its octets are shown as themselves.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from e2ee import ns
from e2ee.names import BareJid, NodeAddress, SecretId
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element
from pubsub_encryption.elements import EncryptedItem, SharedSecret
from pubsub_encryption.items import OpenedItem, seal_item
from tests.support.blog import cast
from tests.support.node_items import ENGINE, secret
from tests.support.node_world import stood_in
from tests.support.peers import require_shared
from tests.support.xml import elements

SAMPLES = ("xep-example-atom", "xep-example-newlines", "libervia-made-geoloc")


def formatted(plaintext: bytes) -> str:
    """Return what Libervia's formatter makes of decrypted octets."""
    return repr(plaintext)[2:-1]


def in_ascii_names(tree: Element) -> Element:
    """Return the tree with names in ASCII; no reference can stand in a name."""
    return replace(
        tree,
        name=_ascii(tree.name),
        prefix=_ascii(tree.prefix),
        attributes=tuple(
            Attribute(_ascii(it.name), it.value, it.namespace, _ascii(it.prefix))
            for it in tree.attributes
        ),
        declarations=tuple((_ascii(prefix), uri) for prefix, uri in tree.declarations),
        children=tuple(
            in_ascii_names(child) if isinstance(child, Element) else child
            for child in tree.children
        ),
    )


def _ascii(name: str) -> str:
    return "".join(char if char.isascii() else "x" for char in name)


@given(elements())
async def test_every_plaintext_that_we_write_survives_libervias_formatter(tree: Element) -> None:
    payload = Element(ns.ATOM, "entry", children=(in_ascii_names(tree),))
    sealed = EncryptedItem.from_xml(await seal_item(ENGINE, secret(), payload))
    plaintext = await ENGINE.unlock(sealed.ciphertext, secret().passphrase)
    assert plaintext.isascii()
    assert not set(plaintext) & set(b'\n\t\r\\"')
    assert not plaintext.startswith(b"<?")
    assert formatted(plaintext) == plaintext.decode()
    assert parse_xml(plaintext).same_content(payload)


async def test_the_formatter_is_libervias() -> None:
    """The recorded item that Libervia itself spoilt shows that the model above is right."""
    spoilt = next(case for case in samples() if case["id"] == "xep-example-newlines")
    shown = formatted(spoilt["openpgp_plaintext"].encode())
    assert shown in spoilt["libervia_reads_back"]["item"]


@pytest.mark.parametrize("name", SAMPLES)
async def test_every_recorded_item_opens_with_its_shared_secret(name: str) -> None:
    case = next(case for case in samples() if case["id"] == name)
    address = NodeAddress(BareJid.parse(case["service"]), case["node"])
    network, (juliet, romeo) = await cast("juliet", "romeo")
    node = romeo.node(address)
    await node.approve(juliet.jid, await juliet.fingerprint())
    shared = SharedSecret(
        address,
        SecretId(case["secret"]["id"]),
        Secret(case["secret"]["key"].encode()),
        min(datetime.fromtimestamp(case["secret"]["timestamp"], UTC), network.clock()),
    )
    await romeo.read(await juliet.write_to(romeo, shared.to_xml()))
    (encrypted,) = parse_xml(case["item_encrypted"]).elements
    opened = await node.decrypt(encrypted, stood_in(address))
    assert isinstance(opened, OpenedItem)
    assert opened.payload == parse_xml(case["openpgp_plaintext"])
    again = await node.encrypt(opened.payload)
    assert (await node.decrypt(again, stood_in(address))).payload.same_content(opened.payload)


def test_these_are_all_the_samples() -> None:
    assert tuple(case["id"] for case in samples()) == SAMPLES


def samples() -> list[dict[str, Any]]:
    found = json.loads(require_shared("peers/libervia/oxps_items.json").read_text())
    return list(found["cases"])
