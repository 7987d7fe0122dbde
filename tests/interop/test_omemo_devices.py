"""Several OMEMO devices, ours and python-omemo's: on one account, in a room, with one prekey."""

from __future__ import annotations

from dataclasses import replace

import pytest

from e2ee.arrival import Arrival, StanzaKind
from e2ee.names import BareJid, Jid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device
from e2ee.omemo.device_list import DeviceList
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.xmltree import Element
from tests.support.omemo_peers import (
    BOTH,
    JULIET,
    NURSE,
    ROMEO,
    PeerDevice,
    PeerRefused,
    Peers,
    ours,
    say,
    settle,
    text_of,
    written,
)
from tests.support.omemo_world import Party, World, body

pytestmark = pytest.mark.slow


async def test_two_devices_of_ours(
    world: World, juliet: Party, romeo: PeerDevice, version: Version
) -> None:
    other = await ours(world, JULIET, version)
    await juliet.hear_of(other)
    for party in (juliet, other):
        await party.decide_all(juliet)  # of our own account nobody is believed unasked
    await say(juliet, "from the first", romeo)
    assert await settle(juliet, other, romeo) == [[], ["from the first"], ["from the first"]]
    romeo.say("to both", juliet.jid)
    assert await settle(juliet, other, romeo) == [["to both"], ["to both"], []]
    await say(other, "from the other", romeo)
    assert await settle(juliet, other, romeo) == [["from the other"], [], ["from the other"]]


async def test_two_devices_of_theirs(
    juliet: Party, romeo: PeerDevice, peers: Peers, version: Version
) -> None:
    """Of both releases on one account, so that they must agree with each other as well."""
    other = peers(ROMEO, version, release=2)
    await say(juliet, "to both", romeo)
    assert await settle(juliet, romeo, other) == [[], ["to both"], ["to both"]]
    romeo.say("from the first", juliet.jid)
    assert await settle(juliet, romeo, other) == [["from the first"], [], ["from the first"]]
    other.say("from the other", juliet.jid)
    assert await settle(juliet, romeo, other) == [["from the other"], ["from the other"], []]


async def test_one_device_of_each_on_one_account(
    world: World, juliet: Party, romeo: PeerDevice, peers: Peers, version: Version
) -> None:
    """Neither drops the other from the list, and each reads what the other one sends."""
    other = peers(JULIET, version)
    await juliet.hear_of(juliet)
    await juliet.decide_all(juliet)
    listed = world.serve(devices_fetch(version, juliet.jid))
    assert listed is not None
    ids = {device.id for device in DeviceList.from_xml(listed).devices}
    assert ids == {juliet.device.id, other.device.id}
    await say(juliet, "from ours", romeo)
    assert await settle(juliet, other, romeo) == [[], ["from ours"], ["from ours"]]
    other.say("from theirs", romeo.jid)
    assert await settle(juliet, other, romeo) == [["from theirs"], [], ["from theirs"]]


async def test_who_speaks_both_versions_is_written_to_in_the_second(
    world: World, peers: Peers
) -> None:
    """And may answer in either."""
    juliet = await ours(world, JULIET, Version.LEGACY)
    romeo = peers(ROMEO, *BOTH)
    (element,) = await written(juliet, "in one version", romeo)
    assert element.namespace == Version.TWO
    assert romeo.decrypt(element, juliet) == "in one version"
    for version in (*BOTH, *BOTH):
        (element,) = romeo.encrypt(f"in {version}", juliet.jid, version=version)
        assert element.namespace == version
        assert text_of(await juliet.decrypt(element, romeo.address)) == f"in {version}"


async def test_a_room_with_both_versions(world: World, peers: Peers) -> None:
    """Who has the legacy version alone gets that, everybody else the second, naming the room."""
    room = BareJid.parse("balcony@rooms.example")
    juliet = await ours(world, JULIET, Version.LEGACY)
    nurse = await ours(world, NURSE, Version.TWO)
    romeo, tybalt = peers(ROMEO, Version.TWO), peers("tybalt@capulet.example", Version.LEGACY)
    others = (nurse.jid, romeo.jid, tybalt.jid)

    async def heard(reader: Party, sender: Party | PeerDevice, encrypted: Element) -> OpenedMessage:
        occupant = Jid(room, sender.jid.local)
        place = Arrival(StanzaKind.GROUPCHAT, occupant, Jid(reader.jid), occupant=sender.jid)
        return await reader.looked(lambda: reader.sessions.decrypt(encrypted, place))

    encrypted = await juliet.encrypt(*others, content=(body("What man art thou"),), room=room)
    two, legacy = encrypted.elements
    assert romeo.decrypt(two, juliet, to=room) == "What man art thou"
    assert tybalt.decrypt(legacy, juliet) == "What man art thou"
    opened = await heard(nurse, juliet, two)
    assert text_of(opened) == "What man art thou"

    (answer,) = romeo.encrypt("By a name", juliet.jid, nurse.jid, room=room)
    for reader in (juliet, nurse):
        opened = await heard(reader, romeo, answer)
        assert text_of(opened) == "By a name"
        assert not opened.is_rewritable


async def test_each_reads_the_label_of_the_other(world: World, peers: Peers, release: int) -> None:
    """Whose signature it checks; but release 1 refuses a list with any signature in it."""
    juliet = await world.device(JULIET, label="Balcony 🌙")
    romeo = peers(ROMEO, Version.TWO)
    if release == 1:
        with pytest.raises(PeerRefused, match="XMLSchemaValidationError"):
            romeo.labels(juliet.jid)
        return
    assert romeo.labels(juliet.jid) == {juliet.device.id: "Balcony 🌙"}
    romeo.relabel("Orchard <&>")
    await juliet.gather(romeo.jid)
    known = (await juliet.sessions.devices(romeo.jid)).find(romeo.device.id)
    assert known is not None
    assert known.label == "Orchard <&>"


def leave_one_pre_key(world: World, device: Device, version: Version) -> None:
    """Publish a bundle with one prekey only, which everybody must take."""
    fetch = bundle_fetch(version, device)
    served = world.serve(fetch)
    assert served is not None
    bundle = Bundle.from_xml(served)
    world.publish(fetch, replace(bundle, pre_keys=bundle.pre_keys[:1]).to_xml())


async def test_our_catch_up_reads_two_that_took_the_same_prekey(
    world: World, juliet: Party, romeo: PeerDevice, peers: Peers, version: Version
) -> None:
    nurse = peers(NURSE, version)
    leave_one_pre_key(world, juliet.device, version)
    await juliet.sessions.catch_up()
    romeo.say("with the key", juliet.jid)
    nurse.say("with the same", juliet.jid)
    assert (await settle(juliet, romeo, nurse))[0] == ["with the key", "with the same"]
    await juliet.sessions.caught_up()
    await juliet.flush()
    await say(juliet, "to one", romeo)
    await say(juliet, "to the other", nurse)
    assert await settle(juliet, romeo, nurse) == [[], ["to one"], ["to the other"]]


async def test_their_catch_up_answers_at_its_end(
    world: World, juliet: Party, romeo: PeerDevice, version: Version
) -> None:
    """Each took a prekey of its own: of two with the same, python-omemo loses the second."""
    nurse = await ours(world, NURSE, version)
    romeo.before_catch_up()
    await say(juliet, "first", romeo)
    await say(nurse, "second", romeo)
    assert await settle(juliet, nurse, romeo) == [[], [], ["first", "second"]]
    assert romeo.address not in [letter.sender for letter in world.mail]
    romeo.after_catch_up()
    assert [letter.sender for letter in world.mail].count(romeo.address) == 2
    romeo.say("to one", juliet.jid)
    romeo.say("to the other", nurse.jid)
    assert await settle(juliet, nurse, romeo) == [["to one"], ["to the other"], []]
