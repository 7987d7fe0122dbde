"""Items that Libervia 0.9 signed with GnuPG, recorded, and verified here."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from e2ee import ns
from e2ee.attachments import Attachments
from e2ee.errors import ErrorCode
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.trust import ManualTrust, TrustPolicy
from e2ee.xmlparse import parse_xml
from signing.profile import Ambiguity
from signing.readings import Reading
from signing.signatures import ItemSignatures
from signing.signed_by import find_signatures
from signing.verdict import Doubt, SignerVerdict, Verdict
from tests.support.ox_world import World
from tests.support.peers import require_shared

PLAIN, TRIMMED = ("geoloc", "cdata"), ("atom-xep", "ws-preserve-default")


def recorded(name: str) -> Any:
    return json.loads(require_shared(f"peers/libervia/{name}.json").read_text())


def case(name: str) -> dict[str, Any]:
    cases: dict[str, dict[str, Any]] = {
        each["id"]: each for each in recorded("pubsub_signing")["cases"]
    }
    return cases[name]


async def verdict(case: dict[str, Any], trust: TrustPolicy | None = None) -> SignerVerdict:
    """Let Mercutio, who has met the signer, verify a recorded item."""
    world, signer = World(), BareJid.parse(case["signer"])
    reader = await world.person("mercutio@verona.lit", trust=trust)
    keys = recorded("keys")["keys"].values()
    world.announce(
        str(signer), *(b64decode(k["public_key_b64"]) for k in keys if k["jid"] == str(signer))
    )
    await reader.learn(signer)
    # Recorded without the namespace that it has in a stream.
    item = parse_xml(case["item"].replace("<item", f"<item xmlns='{ns.PUBSUB}'", 1))
    node = NodeAddress(BareJid.parse(case["service"]), case["node"])
    verified = await ItemSignatures(reader.ox).verify(
        item,
        ItemPlace(node, ItemId(item.require("id"))),
        find_signatures(signer, Attachments.from_xml(parse_xml(case["attachments"]))),
    )
    (found,) = verified.signers
    assert verified.verdict is found.verdict
    return found


@pytest.mark.parametrize("name", PLAIN)
async def test_what_it_signs_is_verified(name: str) -> None:
    found = await verdict(case(name))
    assert (found.verdict, found.code) == (Verdict.TRUSTED, None)
    assert found.key == case(name)["signed_by"]
    assert (found.reading, found.ambiguities) == (Reading.STRICT, frozenset())
    assert found.doubts == {Doubt.TIME_DIFFERS}, "it was recorded with a stamp of its own"
    undecided = await verdict(case(name), ManualTrust())
    assert undecided.verdict is Verdict.UNTRUSTED


@pytest.mark.parametrize("name", TRIMMED)
async def test_q_08_what_it_trimmed_is_ambiguous(name: str) -> None:
    found = await verdict(case(name))
    assert found.verdict is Verdict.AMBIGUOUS
    assert found.ambiguities == {Ambiguity.TRIMMED}


@pytest.mark.parametrize("name", PLAIN + TRIMMED)
async def test_q_05_no_other_item_is(name: str) -> None:
    other = case(name)
    item = other["item"]
    for spoiled in (
        other | {"item": item.replace("</", "X</", 1)},
        other | {"item": item.replace("xmlns='", "xmlns='x", 1)},
        other | {"service": "romeo@montague.lit"},
    ):
        found = await verdict(spoiled)
        assert (found.verdict, found.code) == (Verdict.INVALID, ErrorCode.BAD_SIGNATURE)
