"""OMEMO against python-omemo 2 and Debian's python-omemo 1, in both versions, both ways.

The peer is a device like ours: it publishes, keeps its state, and is started by whoever is first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from itertools import count, permutations
from pathlib import Path

import pytest

from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Send
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Jid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device
from e2ee.omemo.device_list import DeviceList
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.storage import Store
from e2ee.stores.sqlite import SqliteStore
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmltree import Element
from tests.support.omemo_peers import PeerDevice, PeerRefused, peer_python, settle, text_of
from tests.support.omemo_world import Letter, Party, World, body, refused

pytestmark = pytest.mark.slow

JULIET, ROMEO, NURSE = "juliet@capulet.example", "romeo@montague.example", "nurse@capulet.example"
STALE = 60  # messages without an answer, after which each side has sent an empty one
BOTH = (Version.TWO, Version.LEGACY)

Peers = Callable[..., PeerDevice]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=[2, 1], ids=["python-omemo-2", "python-omemo-1"])
def release(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=list(BOTH), ids=["version-2", "legacy"])
def version(request: pytest.FixtureRequest) -> Version:
    return Version(request.param)


@pytest.fixture
def peers(world: World, release: int, tmp_path: Path) -> Iterator[Peers]:
    """Return what makes devices of the peer, which end with the test."""
    numbers = count()
    with ExitStack() as running:

        def made(jid: str, *versions: Version, release: int = release) -> PeerDevice:
            state = tmp_path / f"{next(numbers)}.json"
            peer = PeerDevice(world, jid, peer_python(release), state, versions)
            running.callback(peer.stop)
            return peer

        yield made


@pytest.fixture
async def juliet(world: World, version: Version) -> Party:
    """Return a device of ours, which speaks the legacy version only where it is tested."""
    return await ours(world, JULIET, version)


@pytest.fixture
def romeo(peers: Peers, version: Version) -> PeerDevice:
    """Return a device of the peer that speaks one version."""
    return peers(ROMEO, version)


async def ours(world: World, jid: str, version: Version, store: Store | None = None) -> Party:
    """Return a new device of ours that believes every new device, as chat clients do."""
    versions, trust = BOTH[: 1 + BOTH.index(version)], BlindTrustBeforeVerification()
    return await world.device(jid, versions=versions, trust=trust, store=store)


async def say(writer: Party, text: str, to: Party | PeerDevice) -> None:
    """Send a body of ours."""
    writer.post(to.jid, *await written(writer, text, to))


async def written(writer: Party, text: str, *to: Party | PeerDevice) -> tuple[Element, ...]:
    """Return a body of ours, encrypted and not sent."""
    encrypted = await writer.encrypt(*(each.jid for each in to), content=(body(text),))
    return encrypted.elements


def exchanges(letter: Letter) -> int:
    """Count the keys of a message that have a key exchange around them."""
    keys = [
        key
        for encrypted in letter.children
        for header in encrypted.elements
        for part in header.elements
        for key in (part, *part.elements)
    ]
    return sum(key.get("kex") == "true" or key.get("prekey") == "true" for key in keys)


async def test_a_conversation_begun_by_us(world: World, juliet: Party, romeo: PeerDevice) -> None:
    """Its empty answer confirms the session, so that no exchange is sent any more."""
    await say(juliet, "O Romeo, Romeo! 🌹", romeo)
    assert exchanges(world.mail[-1]) == 1
    assert await settle(juliet, romeo) == [[], ["O Romeo, Romeo! 🌹"]]
    for turn in ("Wherefore art thou Romeo?", "Deny thy father", "and refuse thy name"):
        await say(juliet, turn, romeo)
        assert exchanges(world.mail[-1]) == 0
        assert await settle(juliet, romeo) == [[], [turn]]
        romeo.say(f"{turn} <&>", juliet.jid)
        assert exchanges(world.mail[-1]) == 0
        assert await settle(juliet, romeo) == [[f"{turn} <&>"], []]


async def test_a_conversation_begun_by_them(world: World, juliet: Party, romeo: PeerDevice) -> None:
    """Our empty answer confirms the session, so that no exchange is sent any more."""
    romeo.say("Shall I hear more", juliet.jid)
    assert exchanges(world.mail[-1]) == 1
    assert await settle(juliet, romeo) == [["Shall I hear more"], []]
    for turn in ("or shall I speak at this?", "'Tis but thy name", "that is my enemy"):
        romeo.say(turn, juliet.jid)
        assert exchanges(world.mail[-1]) == 0
        await say(juliet, turn, romeo)
        assert exchanges(world.mail[-1]) == 0
        assert await settle(juliet, romeo) == [[turn], [turn]]


async def test_several_messages_before_any_answer(
    world: World, juliet: Party, romeo: PeerDevice
) -> None:
    """Each carries the same exchange."""
    for turn in "abc":
        await say(juliet, turn, romeo)
        assert exchanges(world.mail[-1]) == 1
    assert await settle(juliet, romeo) == [[], ["a", "b", "c"]]
    romeo.say("d", juliet.jid)
    assert await settle(juliet, romeo) == [["d"], []]


@pytest.mark.parametrize("established", [False, True], ids=["first", "later"])
async def test_out_of_order(
    world: World, juliet: Party, romeo: PeerDevice, established: bool
) -> None:
    if established:
        await say(juliet, "first", romeo)
        await settle(juliet, romeo)
    for order in list(permutations(range(3)))[1:]:
        ours = [await written(juliet, str(number), romeo) for number in range(3)]
        for number in order:
            (element,) = ours[number]
            assert romeo.decrypt(element, juliet) == str(number)
        await settle(juliet, romeo)
        theirs = [romeo.encrypt(str(number), juliet.jid) for number in range(3)]
        for number in order:
            (element,) = theirs[number]
            assert text_of(await juliet.decrypt(element, romeo.address)) == str(number)
        await settle(juliet, romeo)


async def test_after_a_restart_of_either_side(
    world: World, romeo: PeerDevice, version: Version, tmp_path: Path
) -> None:
    """What both keep is in their files alone, between any two messages."""
    path = tmp_path / "juliet"
    async with await SqliteStore.open(path) as store:
        juliet = await ours(world, JULIET, version, store)
    for turn in range(4):
        async with await SqliteStore.open(path) as store:
            juliet = juliet.reopened(store)
            await say(juliet, f"{turn}?", romeo)
        romeo.restart()
        async with await SqliteStore.open(path) as store:
            juliet = juliet.reopened(store)
            assert await settle(juliet, romeo) == [[], [f"{turn}?"]]
            romeo.restart()
            romeo.say(f"{turn}!", juliet.jid)
        romeo.restart()
        async with await SqliteStore.open(path) as store:
            juliet = juliet.reopened(store)
            assert await settle(juliet, romeo) == [[f"{turn}!"], []]


async def test_both_begin_at_once(juliet: Party, romeo: PeerDevice) -> None:
    """All is read, and both come to use his session.

    python-omemo keeps one session and drops its own for ours, so that our empty answer on its own
    is lost; nothing else is.
    """
    for which in ("first", "second"):
        await say(juliet, f"her {which}", romeo)
        romeo.say(f"his {which}", juliet.jid)
    assert romeo.read(juliet) == ["her first", "her second"]
    assert [text_of(each) for each in await juliet.read() if each.content] == [
        "his first",
        "his second",
    ]
    await juliet.flush()
    with pytest.raises(PeerRefused, match="DecryptionFailed"):
        romeo.read(juliet)
    for turn in range(4):
        await say(juliet, f"her {turn}", romeo)
        romeo.say(f"his {turn}", juliet.jid)
        assert await settle(juliet, romeo) == [[f"his {turn}"], [f"her {turn}"]]


async def test_two_devices_of_ours(
    world: World, juliet: Party, romeo: PeerDevice, version: Version
) -> None:
    other = await ours(world, JULIET, version)
    await juliet.hear_of(other)
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


async def test_a_replay_is_refused_by_either(juliet: Party, romeo: PeerDevice) -> None:
    for _ in range(3):
        (element,) = romeo.encrypt("once", juliet.jid)
        opened = await juliet.decrypt(element, romeo.address)
        await juliet.sessions.delivered([opened])
        async with refused(ErrorCode.REPLAY, juliet):
            await juliet.decrypt(element, romeo.address)
        (element,) = await written(juliet, "once", romeo)
        assert romeo.decrypt(element, juliet) == "once"
        with pytest.raises(PeerRefused):
            romeo.decrypt(element, juliet)
        await settle(juliet, romeo)


async def test_a_listener_shows_signs_of_life(
    world: World, juliet: Party, romeo: PeerDevice
) -> None:
    """Whoever only listens sends an empty message, so that the keys of the talker change."""
    await say(juliet, "first", romeo)
    await settle(juliet, romeo)
    for number in range(STALE):
        romeo.say(str(number), juliet.jid)
    before = len(world.mail)
    assert (await settle(juliet, romeo))[0] == [str(number) for number in range(STALE)]
    assert [letter.sender for letter in world.mail[before:]] == [juliet.address]
    for number in range(STALE):
        await say(juliet, str(number), romeo)
    before = len(world.mail)
    assert (await settle(juliet, romeo))[1] == [str(number) for number in range(STALE)]
    assert romeo.address in [letter.sender for letter in world.mail[before:]]
    await say(juliet, "last", romeo)
    assert await settle(juliet, romeo) == [[], ["last"]]


async def test_sessions_replaced_by_either_user(juliet: Party, romeo: PeerDevice) -> None:
    """What was under way on the old one is read all the same."""
    await say(juliet, "first", romeo)
    await settle(juliet, romeo)
    under_way = romeo.encrypt("under way", juliet.jid)
    await juliet.gather(romeo.jid)
    await juliet.looked(lambda: juliet.sessions.renew_session(romeo.device))
    assert text_of(await juliet.decrypt(under_way[0], romeo.address)) == "under way"
    assert await settle(juliet, romeo) == [[], []]
    await say(juliet, "on our new one", romeo)
    romeo.say("on your new one", juliet.jid)
    assert await settle(juliet, romeo) == [["on your new one"], ["on our new one"]]
    romeo.replace_sessions(juliet.jid)
    assert await settle(juliet, romeo) == [[], []]
    await say(juliet, "on your new one", romeo)
    romeo.say("on our new one", juliet.jid)
    assert await settle(juliet, romeo) == [["on our new one"], ["on your new one"]]


async def test_we_read_an_archive_of_theirs(world: World, juliet: Party, romeo: PeerDevice) -> None:
    """In pages, with one sign of life for all of it; a second time all are known."""
    await say(juliet, "first", romeo)
    await settle(juliet, romeo)
    page = []
    for number in range(STALE):
        world.wait(timedelta(minutes=1))
        (element,) = romeo.encrypt(str(number), juliet.jid)
        page.append((element, juliet.arrival(romeo.address, stamp=world.now)))
    world.wait(timedelta(days=3))
    await juliet.sessions.catch_up()
    opened = await juliet.sessions.decrypt_many(page[:40])
    opened += await juliet.sessions.decrypt_many(page[40:])
    read = [each for each in opened if isinstance(each, OpenedMessage)]
    assert list(map(text_of, read)) == [str(number) for number in range(STALE)]
    await juliet.sessions.delivered(read)
    await juliet.sessions.caught_up()
    assert [type(effect) for effect in await juliet.flush()] == [Send]
    again = await juliet.sessions.decrypt_many(page)
    assert all(isinstance(each, PeerMisbehaved) for each in again)
    assert await settle(juliet, romeo) == [[], []]


async def test_each_reads_the_label_of_the_other(world: World, peers: Peers) -> None:
    """Whose signature it checks."""
    juliet = await world.device(JULIET, label="Balcony 🌙")
    romeo = peers(ROMEO, Version.TWO)
    assert romeo.labels(juliet.jid) == {juliet.device.id: "Balcony 🌙"}
    romeo.relabel("Orchard <&>")
    await juliet.gather(romeo.jid)
    await juliet.hear_of(romeo.jid)
    known = (await juliet.sessions.devices(romeo.jid)).find(romeo.device.id)
    assert known is not None
    assert known.label is None
    (element,) = romeo.encrypt("It is my lady", juliet.jid)
    await juliet.decrypt(element, romeo.address)
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
