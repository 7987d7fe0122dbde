"""Runs a case of ``spec_vectors/pte`` on this library, and says in their words what came of it.

Rule: a translator without opinions; what is right stands in the files.
"""

from __future__ import annotations

from typing import Any

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import PeerMisbehaved
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.xmlparse import parse_xml
from pubsub_encryption.targeted import TargetedPayload
from pubsub_encryption.targeted_content import PlacedItem
from tests.vectors.running import document

__all__ = ["run_targeted"]


def run_targeted(given: dict[str, Any]) -> dict[str, Any]:
    """Read one item up to what decrypts it; what is inside is an ``Element``."""
    stood = given["arrival"]
    arrival = Arrival(
        StanzaKind.ITEM,
        Jid.parse(stood["publisher"] or stood["service"]),
        node=NodeAddress(BareJid.parse(stood["service"]), stood["node"]),
        item_id=ItemId(stood["item_id"]),
    )
    try:
        payload = parse_xml(document(given["item"]))
        if not TargetedPayload.is_targeted(payload):
            return {"outcome": "clear"}
        targeted = PlacedItem.read(payload, arrival).targeted
    except PeerMisbehaved as error:
        return {"outcome": error.code.value}
    return {
        "outcome": "read",
        "by": str(targeted.by),
        "type": targeted.type,
        "inner": targeted.inner,
    }
