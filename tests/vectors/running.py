"""Runs a case of ``spec_vectors`` on this library, and says in their words what came of it.

Rule: a translator without opinions; what is right stands in the files.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from hashlib import sha256
from typing import Any

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, E2eeError, SecretMissing
from e2ee.lexical import parse_time
from e2ee.names import BareJid, ItemId, Jid, NodeAddress, SecretId, parse_fingerprint
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.sce import SceProfile, open_envelope
from e2ee.secret import Secret
from e2ee.storage import Put
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustOnFirstSight, Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from ox.account import OxAccount
from ox.elements import ContentKind
from ox.engine import OpenPgpEngine
from ox.key_record import ring_to_record
from ox.keys import KeyRing
from ox.known_key import KnownKey
from ox.opened import OpenedOx
from pubsub_encryption.items import ClearItem, OpenedItem, open_items
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node_secret import NodeSecret, SecretState
from pubsub_encryption.sharing import load_keychain, receive, save_keychain

__all__ = ["document", "run_envelope", "run_item", "run_secrets"]


def document(given: dict[str, str]) -> bytes:
    """Return the octets of a document that may be hostile."""
    return given["xml"].encode() if "xml" in given else b64decode(given["base64"])


def _address(given: dict[str, str]) -> NodeAddress:
    return NodeAddress(BareJid.parse(given["service"]), given["node"])


def _time(stamp: str | None) -> datetime | None:
    return None if stamp is None else parse_time(stamp)


def _refused(error: E2eeError) -> dict[str, Any]:
    found: dict[str, Any] = {"outcome": error.code.value}
    if isinstance(error, SecretMissing):
        found["secret_id"] = error.secret_id
    return found


async def run_item(given: dict[str, Any], engine: OpenPgpEngine) -> dict[str, Any]:
    """Open one item; a payload in the result is an ``Element``."""
    address = _address(given["node"])
    secrets = tuple(
        NodeSecret(
            SecretId(known["id"]),
            Secret(known["value"].encode()),
            parse_time(known["created"]),
            SecretState(known["state"]),
        )
        for known in given["secrets"]
    )
    keychain = Keychain(address, address.service, frozenset(), secrets)
    stood = _address(given["arrival"])
    arrival = Arrival(
        StanzaKind.ITEM,
        Jid(stood.service),
        node=stood,
        item_id=ItemId(given["arrival"]["item_id"]),
    )
    try:
        item = parse_xml(document(given["item"]))
    except E2eeError as error:
        return _refused(error)
    (result,) = await open_items(engine, keychain, [(item, arrival)])
    match result:
        case OpenedItem():
            return {
                "outcome": "opened",
                "payload": result.payload,
                "authorship": result.authorship.value,
                "secret": {"id": result.secret_id, "state": result.secret_state.value},
            }
        case ClearItem():
            return {"outcome": "clear", "payload": result.payload}
    return _refused(result.error)


async def run_secrets(given: dict[str, Any], engine: OpenPgpEngine) -> dict[str, Any]:
    """Take in the steps one after the other."""
    present = [datetime.min]
    ports = Ports(MemoryStore(), NativePrimitives(), BlindTrustOnFirstSight(), lambda: present[0])
    ox = OxAccount(BareJid.parse(given["account"]), ports, engine)
    nodes = {_address(pin["node"]): None for pin in given["pinned"]}
    for pin in given["pinned"]:
        approved = frozenset(map(parse_fingerprint, pin["approved"]))
        pinned = Keychain(_address(pin["node"]), BareJid.parse(pin["owner"]), approved)
        async with ports.store.exclusive(ox.scope) as tx:
            await tx.commit([save_keychain(ox, pinned)])
    outcomes = []
    for step in given["steps"]:
        present[0] = parse_time(step["now"])
        opened = _opened(ox, step)
        await _believe(ox, opened)
        try:
            keychains = await receive(ox, opened)
        except E2eeError as error:
            outcomes.append(error.code.value)
        else:
            outcomes.append("taken" if keychains else "ignored")
            nodes |= {keychain.address: None for keychain in keychains}
    kept = []
    for address in nodes:
        async with ports.store.exclusive(ox.scope) as tx:
            keychain = await load_keychain(tx, ox, address)
        assert keychain is not None
        kept.append(_keychain(keychain))
    return {"steps": outcomes, "keychains": kept}


async def _believe(ox: OxAccount, opened: OpenedOx) -> None:
    """Let the signer be an accepted key of the sender: in a vector, every one is."""
    ring = KeyRing(opened.sender, (KnownKey(opened.signer, Trust.AUTOMATIC, True),), listed=True)
    async with ox.ports.store.exclusive(ox.scope) as tx:
        await tx.commit([Put((*ox.scope, "ox", "ring", str(ring.jid)), ring_to_record(ring))])


def _opened(ox: OxAccount, step: dict[str, Any]) -> OpenedOx:
    sender = BareJid.parse(step["sender"])
    stamp = _time(step["stamp"])
    return OpenedOx(
        kind=ContentKind.SIGNCRYPT,
        account=ox.account,
        sender=sender,
        signer=parse_fingerprint(step["signer"]),
        to=(ox.account,),
        time=stamp or ox.ports.clock(),
        content=tuple(parse_xml(child) for child in step["content"]),
        arrival=Arrival(StanzaKind.MESSAGE, Jid(sender), Jid(ox.account), stamp),
        digest=sha256(step["message"].encode()).digest(),
    )


def _keychain(keychain: Keychain) -> dict[str, Any]:
    current: dict[str, str]
    try:
        current = {"id": keychain.current.id}
    except ApiMisuse as refused:
        current = {"refused": refused.code.value}
    return {
        "node": {"service": str(keychain.address.service), "node": keychain.address.node},
        "owner": str(keychain.owner),
        "approved": sorted(keychain.approved),
        "secrets": [
            {
                "id": secret.id,
                "value": secret.passphrase.reveal().decode(),
                "created": secret.created,
                "state": secret.state.value,
                "type": secret.type,
            }
            for secret in keychain.secrets
        ],
        "tombstones": sorted(keychain.tombstones),
        "current": current,
    }


def run_envelope(given: dict[str, Any]) -> dict[str, Any]:
    """Open one envelope; elements in the result are ``Element``."""
    arrived = given["arrival"]
    requires = given["profile"]["requires"]
    arrival = Arrival(
        StanzaKind(arrived["kind"]),
        Jid.parse(arrived["from"]),
        None if arrived["to"] is None else Jid.parse(arrived["to"]),
        _time(arrived["stamp"]),
        None if arrived["occupant"] is None else BareJid.parse(arrived["occupant"]),
    )
    profile = SceProfile(
        rpad="rpad" in requires,
        time="time" in requires,
        to="to" in requires,
        from_="from" in requires,
    )
    try:
        opened = open_envelope(
            document(given["envelope"]), arrival, profile, parse_time(given["now"])
        )
    except E2eeError as error:
        return _refused(error)
    content: tuple[Element, ...] = opened.envelope.content
    return {
        "outcome": "opened",
        "content": list(content),
        "dropped": [{"namespace": c.namespace, "name": c.name} for c in opened.dropped],
        "remarks": sorted(remark.value for remark in opened.remarks),
    }
