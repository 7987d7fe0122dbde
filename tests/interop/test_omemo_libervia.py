"""OMEMO as Libervia 0.9 makes it: its recorded devices, bundles and first messages."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from e2ee import ns
from e2ee.errors import ErrorCode
from e2ee.lexical import parse_time
from e2ee.names import BareJid, Jid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.engine_oldmemo import OldmemoEngine
from e2ee.omemo.engine_twomemo import TwomemoEngine
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from tests.support.libervia_omemo import FIELDS, adopted, world_of
from tests.support.omemo_world import World, refused
from tests.support.peers import require_shared

FILES = {Version.TWO: "omemo2_first_flight", Version.LEGACY: "legacy_first_flight"}
JULIET = Jid.parse("juliet@capulet.example/balcony")


@pytest.fixture(params=list(FILES), ids=list(FIELDS.values()))
def version(request: pytest.FixtureRequest) -> Version:
    return Version(request.param)


@pytest.fixture
def recorded(version: Version) -> Any:
    return json.loads(require_shared(f"peers/libervia/{FILES[version]}.json").read_text())


@pytest.fixture
def world(recorded: Any) -> World:
    """Return a world with the nodes that Libervia published, at the time it did."""
    return world_of(recorded, parse_time("2026-11-22T15:06:00Z"))


def encrypted_in(message: Any, version: Version) -> Element:
    return parse_xml(message["message"]).only(version, "encrypted", None)


async def test_its_lists_and_bundles_are_read(
    recorded: Any, world: World, version: Version
) -> None:
    """Its labels are not signed, and therefore not shown."""
    engine = {Version.TWO: TwomemoEngine, Version.LEGACY: OldmemoEngine}[version]()
    for keys in recorded["devices"].values():
        device = Device(BareJid.parse(keys["jid"]), DeviceId(keys["device_id"]))
        listed = world.serve(devices_fetch(version, device.jid))
        assert listed is not None
        assert ListedDevice(device.id) in DeviceList.from_xml(listed).devices
        served = world.serve(bundle_fetch(version, device))
        assert served is not None
        bundle = Bundle.from_xml(served)
        engine.check_bundle(bundle)
        assert bundle.identity == engine.identity(
            Secret(bytes.fromhex(keys["identity_ed25519_seed_hex"]))
        )


async def test_its_messages_are_read_in_every_order(
    recorded: Any, world: World, version: Version
) -> None:
    """On each of the two devices, once."""
    for name in ("romeo-1", "romeo-2"):
        for order in permutations(recorded["messages"]):
            romeo = await adopted(recorded, name, world)
            for message in order:
                element = encrypted_in(message, version)
                opened = await romeo.decrypt(element, JULIET)
                assert opened.sender.id == recorded["devices"]["juliet"]["device_id"]
                assert opened.content[0].is_(ns.CLIENT, "body")
                assert opened.content[0].text == message["body"]
                if version is Version.TWO:
                    sent = parse_xml(message["envelope"])
                    content = sent.only(ns.SCE, "content", None)
                    assert all(map(Element.same_content, opened.content, content.elements))
                    time = sent.only(ns.SCE, "time", None)
                    assert opened.time == parse_time(time.require("stamp", None))
                assert await romeo.decrypt(element, JULIET) == opened
                await romeo.sessions.delivered([opened])
                async with refused(ErrorCode.REPLAY, romeo):
                    await romeo.decrypt(element, JULIET)


async def test_its_devices_read_what_we_write(
    recorded: Any, world: World, version: Version
) -> None:
    """With the bundles that it published."""
    juliet = await adopted(recorded, "juliet", world)
    for address in [each for each in world.nodes if each.service == juliet.jid]:
        if not address.node.startswith(version):
            del world.nodes[address]
    for name in ("romeo-1", "romeo-2"):
        romeo = await adopted(recorded, name, world)
        await romeo.decide_all(romeo)  # the other of the two
        elements = (await romeo.encrypt(juliet.jid)).elements
        (element,) = (each for each in elements if each.namespace == version)
        (said,) = (await juliet.decrypt(element, romeo)).content
        assert said.text == "Good pilgrim"
