"""OpenPGP for XMPP as Libervia 0.9 makes it: its recorded keys, elements and messages."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import parse_time
from e2ee.names import BareJid, Fetch, Jid, NodeAddress
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from ox.chat import open_message
from ox.elements import Content, ContentKind
from tests.support.ox_world import Person, World, refused
from tests.support.peers import require_shared

NAMES = ("juliet", "romeo", "nurse", "tybalt")


def recorded(name: str) -> Any:
    return json.loads(require_shared(f"peers/libervia/{name}.json").read_text())


@pytest.fixture
async def people() -> dict[str, Person]:
    """Return everybody, by bare JID, with the nodes that Libervia published for them."""
    keys = recorded("keys")
    world = World()
    for node in keys["pep_nodes"]:
        address = NodeAddress(BareJid.parse(node["service"]), node["node"])
        (item,) = node["items"]
        (world.nodes[address],) = parse_xml(item).elements
    published = dict(world.nodes)
    found = {}
    for name in NAMES:
        raw = Secret(b64decode(keys["keys"][name]["secret_key_b64"]))
        found[keys["keys"][name]["jid"]] = await world.person(keys["keys"][name]["jid"], key=raw)
    world.nodes = published
    return found


def same(found: Sequence[Element], expected: Sequence[Element]) -> bool:
    return len(found) == len(expected) and all(map(Element.same_content, found, expected))


async def test_its_keys_are_adopted_and_its_nodes_are_read(people: dict[str, Person]) -> None:
    """RSA-3072 that does everything, Curve25519, and RSA-2048 with a subkey for each purpose."""
    for somebody in people.values():
        for other in people.values():
            await somebody.gather(other)
            (key,) = (await somebody.ox.keys(other.jid)).keys
            own = (await other.ox.own_key()).certificate
            assert key.fingerprint == own.fingerprint
            assert key.raw == own.raw
            assert own.user_ids == (f"xmpp:{other.jid}",)


async def test_everybody_writes_to_everybody_with_its_keys(people: dict[str, Person]) -> None:
    for sender in people.values():
        for reader in people.values():
            await sender.gather(reader)
            await reader.gather(sender)
            opened = await reader.open(await sender.seal(reader), sender)
            assert opened.sender == sender.jid


async def test_its_elements_of_every_kind(people: dict[str, Person]) -> None:
    for case in recorded("ox_elements")["cases"]:
        sender, reader = people[case["from"]], people[case["to"][0]]
        await reader.gather(sender)
        plain = parse_xml(case["content_element"])
        stamp = parse_time(plain.only(ns.OX, "time").require("stamp"))
        arrival = reader.arrival(sender, stamp=stamp)
        letter, kind = parse_xml(case["openpgp_element"]), ContentKind(case["kind"])
        payload = Content.from_xml(plain, kind).payload
        unpacked = case["libervia_unpacks"][str(reader.jid)]["children"]
        assert same(payload, [parse_xml(child) for child in unpacked])
        if kind is ContentKind.CRYPT:
            opened_crypt = await reader.ox.open_crypt(letter, arrival)
            assert same(opened_crypt.content, payload)
            assert opened_crypt.time == stamp
            async with refused(ErrorCode.FORBIDDEN, reader):
                await reader.ox.open(letter, arrival)
            continue
        opened = await reader.ox.open(letter, arrival)
        assert (opened.kind, opened.signer) == (kind, case["signed_by"])
        assert (opened.to, opened.time) == ((reader.jid,), stamp)
        assert same(opened.content, payload)


async def test_what_it_signed_is_refused_out_of_its_context(people: dict[str, Person]) -> None:
    (case,) = [each for each in recorded("ox_elements")["cases"] if each["kind"] == "signcrypt"]
    sender, reader = people[case["from"]], people[case["to"][0]]
    tybalt = people["tybalt@capulet.example"]
    stamp = parse_time("2026-11-22T14:50:55Z")
    openpgp = parse_xml(case["openpgp_element"])
    for other in (sender, tybalt):
        await reader.gather(other)
    async with refused(ErrorCode.BAD_SIGNATURE, reader):
        await reader.open(openpgp, tybalt, stamp=stamp)
    async with refused(ErrorCode.CONTEXT_MISMATCH, reader):
        await reader.open(openpgp, sender, to=tybalt, stamp=stamp)
    reader.world.ahead = timedelta(days=9)
    for moment in ("2026-11-21T14:50:00Z", "2026-11-24T14:50:00Z"):
        async with refused(ErrorCode.STALE, reader):
            await reader.open(openpgp, sender, stamp=parse_time(moment))
    await sender.gather(sender)
    async with refused(ErrorCode.CANNOT_DECRYPT, sender):  # Libervia keeps no copy for itself
        await sender.open(openpgp, sender, to=reader, stamp=stamp)
    assert await reader.open(openpgp, sender, stamp=stamp)


async def test_its_messages(people: dict[str, Person]) -> None:
    for case in recorded("oxim_messages")["cases"]:
        message = parse_xml(case["encrypted_message"])
        sender, reader = people[case["from"]], people[case["to"]]
        await reader.gather(sender)
        arrival = Arrival(
            StanzaKind.MESSAGE,
            Jid.parse(message.require("from")),
            Jid.parse(message.require("to")),
            stamp=parse_time("2026-11-22T14:52:00Z"),
        )
        opened = await open_message(reader.ox, message.elements, arrival)
        plain = parse_xml(case["plain_message"].replace(" ", " xmlns='jabber:client' ", 1))
        assert same(opened.content, plain.elements)


async def test_a_node_that_is_another_persons_is_refused(people: dict[str, Person]) -> None:
    romeo = people["romeo@montague.example"]
    nodes = romeo.world.nodes
    tybalts = next(a for a in nodes if str(a.service).startswith("tybalt") and a.node[-1] != "s")
    juliet = BareJid.parse("juliet@capulet.example")
    await romeo.gather(people["juliet@capulet.example"])
    async with refused(ErrorCode.SIGNER_MISMATCH, romeo):
        await romeo.ox.feed(Fetch(NodeAddress(juliet, tybalts.node)), nodes[tybalts])
    with pytest.raises(PeerMisbehaved):
        await romeo.ox.feed(Fetch(tybalts), nodes[tybalts])
