"""Targeted items as Libervia 0.9 makes them: its recorded item, and its devices as ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode
from e2ee.history import Sighting
from e2ee.lexical import parse_time
from e2ee.names import ItemId, ItemPlace, Jid, NodeAddress
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from pubsub_encryption.items import Authorship
from tests.support.libervia_omemo import adopted, world_of
from tests.support.node_world import entry
from tests.support.omemo_world import World, refused
from tests.support.peers import require_shared
from tests.support.targeted_world import read, said, targeted

READERS = ("romeo-1", "romeo-2")


@pytest.fixture
def recorded() -> Any:
    return json.loads(require_shared("peers/libervia/pte_items.json").read_text())


@pytest.fixture
def world(recorded: Any) -> World:
    (case,) = recorded["cases"]
    envelope = parse_xml(case["envelope"])
    stamp = envelope.only(ns.SCE, "time", None).require("stamp", None)
    return world_of(recorded, parse_time(stamp))


def shown(case: Any) -> tuple[Element, Arrival]:
    """Return the payload of the recorded item, and where it stood."""
    item = parse_xml(case["item_encrypted"])
    publisher = Jid.parse(item.require("publisher", None))
    node = NodeAddress(publisher.bare, "urn:xmpp:microblog:0")
    place = ItemId(item.require("id", None))
    arrival = Arrival(StanzaKind.ITEM, publisher, node=node, item_id=place)
    (payload,) = item.elements
    return payload, arrival


async def test_its_item_is_read_by_both_devices(recorded: Any, world: World) -> None:
    """It has neither sender nor recipient inside, and one is not required in an item."""
    for case in recorded["cases"]:
        payload, arrival = shown(case)
        for name in READERS:
            romeo = await adopted(recorded, name, world)
            opened = await read(romeo, payload, arrival)
            (plain,) = parse_xml(case["item_plain"]).elements
            assert opened.item.payload.same_content(plain)
            assert str(opened.item.sender) == case["by"]
            assert opened.item.device == recorded["devices"]["juliet"]["device_id"]
            assert opened.item.authorship is Authorship.DEVICE
            assert opened.item.time == world.now
            again = await read(romeo, payload, arrival)
            assert (again.item, again.seen.sighting) == (opened.item, Sighting.SAME)


async def test_its_author_and_publisher_are_compared(recorded: Any, world: World) -> None:
    """Libervia does not."""
    for case in recorded["cases"]:
        payload, arrival = shown(case)
        romeo = await adopted(recorded, READERS[0], world)
        assert arrival.node is not None
        other = Arrival(
            StanzaKind.ITEM,
            Jid.parse("mallory@attacker.example"),
            node=arrival.node,
            item_id=arrival.item_id,
        )
        async with refused(ErrorCode.CONTEXT_MISMATCH, romeo):
            await read(romeo, payload, other)
        assert await read(romeo, payload, arrival)


async def test_its_devices_read_what_we_write(recorded: Any, world: World) -> None:
    """With the bundles that it published, and without a recipient inside, which it refuses."""
    juliet = await adopted(recorded, "juliet", world)
    romeos = [await adopted(recorded, name, world) for name in READERS]
    await juliet.gather(*romeos)
    address = NodeAddress(juliet.jid, "urn:xmpp:microblog:0")
    place = ItemPlace(address, ItemId("ours"))
    written = await targeted(juliet).encrypt(entry("ours"), {romeos[0].jid}, place)
    arrival = Arrival(StanzaKind.ITEM, Jid(juliet.jid), node=address, item_id=ItemId("ours"))
    for romeo in romeos:
        assert said(await read(romeo, written.payload, arrival)) == "ours"
