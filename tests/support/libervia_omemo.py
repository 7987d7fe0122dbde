"""Libervia's recorded OMEMO devices: the nodes that it published, and devices of ours on its keys.

Rule: brings recorded material into a world of ours; what comes of it is for the tests to say.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from e2ee.draft import Draft
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.engine import PreKey, SignedPreKey
from e2ee.omemo.own_record import OwnPreKey
from e2ee.omemo.own_rows import keys_within, own_within, put_keys, put_own, put_pre_key
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from tests.support.omemo_world import Party, World

__all__ = ["FIELDS", "adopted", "world_of"]

FIELDS = {Version.TWO: "omemo2", Version.LEGACY: "legacy"}


def world_of(recorded: Any, now: datetime) -> World:
    """Return a world with the nodes that Libervia published, at that time."""
    world = World(now=now)
    for nodes in recorded["published"].values():
        for node in nodes:
            address = NodeAddress(BareJid.parse(node["service"]), node["node"])
            items = [parse_xml(item) for item in node["items"]]
            world.nodes[address] = {
                ItemId(item.require("id", None)): item.elements[0] for item in items
            }
    return world


async def adopted(recorded: Any, name: str, world: World) -> Party:
    """Return a device of ours that has the keys of one of Libervia's."""
    keys = recorded["devices"][name]
    made = await World().device(keys["jid"], versions=list(FIELDS))
    party = world.party(keys["jid"], versions=list(FIELDS), store=made.store)
    party.device = Device(party.jid, DeviceId(keys["device_id"]))
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        own = await own_within(draft)
        identity = Secret(bytes.fromhex(keys["identity_ed25519_seed_hex"]))
        put_own(draft, replace(own, device=party.device, identity=identity))
        for version, field in FIELDS.items():
            await _adopt(draft, version, keys[field])
        await draft.commit()
    await party.hear_of(party)
    return party


async def _adopt(draft: Draft, version: Version, keys: Any) -> None:
    """Put recorded prekeys in the place of those with the same ids."""
    signed = keys["signed_pre_key"]
    assert signed["id"] == 1
    ours = SignedPreKey(*_pair(signed), signature=bytes.fromhex(signed["signature_hex"]))
    put_keys(draft, replace(await keys_within(draft, version), signed=ours))
    for pre_key_id, key in keys["pre_keys"].items():
        put_pre_key(draft, version, OwnPreKey(PreKey(*_pair({"id": int(pre_key_id), **key}))))


def _pair(key: Any) -> tuple[int, Secret, bytes]:
    """Return the id and both halves of a recorded key."""
    return key["id"], Secret(bytes.fromhex(key["private_hex"])), bytes.fromhex(key["public_hex"])
