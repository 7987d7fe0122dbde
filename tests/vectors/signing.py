"""Runs a case of ``spec_vectors/signing`` on this library, and says in their words what came of it.

Rule: a translator without opinions; what is right stands in the files.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta
from itertools import groupby
from typing import Any

from e2ee.errors import ApiMisuse, PeerMisbehaved
from e2ee.lexical import parse_time
from e2ee.names import BareJid, Fetch, ItemId, ItemPlace, NodeAddress
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.stores.memory import MemoryStore
from e2ee.trust import ManualTrust, Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from ox.account import OxAccount
from ox.elements import (
    PublicKeyMetadata,
    PublicKeysList,
    data_node,
    metadata_address,
    write_pubkey,
)
from ox.engine import OpenPgpEngine
from signing import ItemSignatures, SignedBy, SignerVerdict, Verdict
from signing.canonical import canonical
from signing.elements import Signature
from signing.profile import bare_item, prepare
from signing.readings import signed_bytes
from tests.support.ox_world import fingerprint_of
from tests.vectors.running import document

__all__ = ["run_canonical", "run_signatures"]

_READER = BareJid.parse("reader@verona.example")
_TRUST = {"accepted": Trust.AUTHENTICATED, "distrusted": Trust.DISTRUSTED}
_VALID = {
    Verdict.TRUSTED: "trusted",
    Verdict.UNTRUSTED: "unreliable",
    Verdict.AMBIGUOUS: "ambiguous",
}


def run_canonical(given: dict[str, Any]) -> dict[str, Any]:
    """Put one element in canonical form, and say whether it may be signed."""
    try:
        source = parse_xml(document(given["element"]))
    except PeerMisbehaved as error:
        return {"outcome": error.code.value}
    return {
        "outcome": "canonical",
        "text": canonical(source).decode(),
        "signable": _signable(source),
    }


def _signable(payload: Element) -> str:
    try:
        prepared = prepare(payload)
    except ApiMisuse as refused:
        return refused.code.value
    return "as-it-stands" if prepared == payload else "with-space-preserved"


async def run_signatures(given: dict[str, Any], engine: OpenPgpEngine) -> dict[str, Any]:
    """Verify the signatures of one item."""
    now = parse_time(given["now"])
    ports = Ports(MemoryStore(), NativePrimitives(), ManualTrust(), lambda: now)
    ox = OxAccount(_READER, ports, engine)
    for jid, keys in groupby(given["keys"], lambda key: str(key["jid"])):
        await _learn(ox, BareJid.parse(jid), list(keys))
    stood = given["place"]
    node = NodeAddress(BareJid.parse(stood["service"]), stood["node"])
    place = ItemPlace(node, ItemId(stood["item_id"]))
    try:
        item = parse_xml(document(given["item"]))
        attachments = [
            SignedBy(BareJid.parse(each["publisher"]), parse_xml(document(each["signature"])))
            for each in given["attachments"]
        ]
        result = await ItemSignatures(ox).verify(item, place, attachments)
    except PeerMisbehaved as error:
        return {"outcome": error.code.value}
    verdicts = list(result.signers)
    found = []
    for each in attachments:
        verdict = next(found for found in verdicts if found.signer == each.publisher)
        verdicts.remove(verdict)
        found.append(_verdict(verdict, item, place, each))
    assert not verdicts
    return {
        "verdict": _VALID.get(result.verdict, result.verdict.value),
        "absent": sorted(map(str, result.absent)),
        "signatures": found,
    }


def _verdict(
    verdict: SignerVerdict, item: Element, place: ItemPlace, by: SignedBy
) -> dict[str, Any]:
    found: dict[str, Any] = {"publisher": str(by.publisher)}
    if verdict.code is not None:
        return {**found, "outcome": verdict.code.value}
    assert verdict.reading is not None
    statement = Signature.from_xml(by.signature).statement
    signed = signed_bytes(bare_item(item), place.node.service, statement, verdict.reading)
    return {
        **found,
        "outcome": _VALID[verdict.verdict],
        "reading": verdict.reading.value,
        "signed": signed.decode(),
    }


async def _learn(ox: OxAccount, jid: BareJid, keys: list[dict[str, Any]]) -> None:
    """Take in all keys of somebody and what the user thinks of them, then their list of today."""
    today = ox.ports.clock()
    known = {fingerprint_of(raw): key for key in keys if (raw := b64decode(key["key"]))}
    for moment, listed in (
        (today - timedelta(days=1), known),
        (today, {name: key for name, key in known.items() if key["announced"]}),
    ):
        entries = tuple(PublicKeyMetadata(name, moment) for name in listed)
        await ox.feed(Fetch(metadata_address(jid)), PublicKeysList(entries).to_xml())
        for name, key in known.items():
            address = NodeAddress(jid, data_node(name))
            await ox.feed(Fetch(address), write_pubkey(b64decode(key["key"])))
            if key["trust"] in _TRUST:
                await ox.decide(jid, name, _TRUST[key["trust"]])
