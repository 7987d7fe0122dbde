"""Reads with our engines what Libervia wrote to two devices whose private keys are known.

Rule: recorded material beside the repository, skipped where it is absent; the live exchanges with
other implementations are in ``tests/interop``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from e2ee.names import BareJid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.engine import PreKey, SignedPreKey
from e2ee.omemo.message import read_encrypted
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from tests.support.omemo_forge import Half, KeyOwner, new_engine
from tests.support.peers import require_shared

FILES = {Version.TWO: "omemo2", Version.LEGACY: "legacy"}


def _flight(version: Version) -> dict[str, Any]:
    path = require_shared(f"peers/libervia/{FILES[version]}_first_flight.json")
    flight: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return flight


def _owner(version: Version, device: dict[str, Any]) -> KeyOwner:
    """Return a recorded device with its private keys.

    Its signatures are recorded plain, and published in the legacy version with the sign of the
    identity, which of these devices is 0 and 1.
    """
    keys = device[FILES[version]]
    signed = keys["signed_pre_key"]
    signature = bytearray.fromhex(signed["signature_hex"])
    if version is Version.LEGACY:
        signature[-1] |= bytes.fromhex(device["identity_ed25519_public_hex"])[-1] & 0x80
    return KeyOwner(
        new_engine(version),
        Secret(bytes.fromhex(device["identity_ed25519_seed_hex"])),
        SignedPreKey(
            signed["id"],
            Secret(bytes.fromhex(signed["private_hex"])),
            bytes.fromhex(signed["public_hex"]),
            bytes(signature),
        ),
        {
            int(number): PreKey(
                int(number),
                Secret(bytes.fromhex(key["private_hex"])),
                bytes.fromhex(key["public_hex"]),
            )
            for number, key in keys["pre_keys"].items()
        },
    )


@pytest.mark.parametrize("name", ["romeo-1", "romeo-2"])
@pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
async def test_libervias_first_flight_is_read(version: Version, name: str) -> None:
    """By either device."""
    flight = _flight(version)
    juliet = _owner(version, flight["devices"]["juliet"])
    romeo = _owner(version, flight["devices"][name])
    device = flight["devices"][name]
    own = Device(BareJid.parse(device["jid"]), DeviceId(device["device_id"]))
    half: Half | None = None
    for recorded in flight["messages"]:
        encrypted = parse_xml(recorded["message"]).only(version, "encrypted")
        message = read_encrypted(encrypted, own)
        assert message.sid == flight["devices"]["juliet"]["device_id"]
        assert message.key is not None
        assert message.key.kex
        assert message.payload is not None
        if half is None:
            half, received = await romeo.accept(message.key.data)
        else:
            exchange, inner = romeo.engine.read_exchange(message.key.data)
            assert exchange == half.exchange
            received = await half.read(inner.raw)
        plaintext = romeo.engine.open_payload(message.payload, received.key_material)
        expected = recorded["envelope"] if version is Version.TWO else recorded["body"]
        assert plaintext.decode() == expected
    assert half is not None
    assert not half.skipped
    assert half.exchange.identity == juliet.engine.identity(juliet.own)


@pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
def test_libervias_bundles_are_sound(version: Version) -> None:
    """As it published them, and as its private keys say."""
    flight = _flight(version)
    owners = {
        str(device["device_id"]): _owner(version, device) for device in flight["devices"].values()
    }
    found = 0
    for published in (node for nodes in flight["published"].values() for node in nodes):
        if not published["node"].startswith(version.bundles_node):
            continue
        for item in map(parse_xml, published["items"]):
            number = published["node"].rpartition(":")[2] if version is Version.LEGACY else None
            owner = owners[number or item.require("id")]
            bundle = Bundle.from_xml(item.only(version, "bundle"))
            owner.engine.check_bundle(bundle)
            assert sorted(bundle.pre_keys) == sorted(owner.bundle.pre_keys)
            assert replace(bundle, pre_keys=()) == replace(owner.bundle, pre_keys=())
            found += 1
    assert found == len(owners)
