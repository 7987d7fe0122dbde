"""Settling: what an account notes once a service has done something, or has refused it.

Rule: what follows in the account's own state, and no request; each is safe to note twice.
"""

from __future__ import annotations

from collections.abc import Collection

from e2ee.attachment_nodes import parse_attachment_node
from e2ee.effects import Create, Delete, Effect, Retract
from e2ee.errors import PeerMisbehaved
from e2ee.names import ItemId, ItemPlace, NodeAddress
from ox.account import OxAccount
from pubsub_encryption import NodeEncryption
from signing import ItemSignatures

__all__ = ["note_performed", "note_refused", "note_retracted"]


async def note_performed(ox: OxAccount, effect: Effect) -> None:
    """Note what is there no more; before the outbox forgets, so that no crash can lose it."""
    if isinstance(effect, Delete):
        await _settle(ox, effect)
    elif isinstance(effect, Retract):
        await note_retracted(ox, effect.address, [effect.item_id])


async def note_refused(ox: OxAccount, effect: Effect) -> None:
    """Note what is not ours."""
    if isinstance(effect, Create):
        await _settle(ox, effect)


async def note_retracted(ox: OxAccount, address: NodeAddress, ids: Collection[ItemId]) -> None:
    """Note that these items are gone: if they come back, they are ``Sighting.ROLLED_BACK``.

    Raises:
        PeerMisbehaved: ``malformed``: one of the ids is none.
    """
    places = [ItemPlace(address, item_id) for item_id in ids]
    await ItemSignatures(ox).retracted(places)


async def _settle(ox: OxAccount, effect: Create | Delete) -> None:
    try:
        target = parse_attachment_node(effect.address).node
    except PeerMisbehaved:
        return  # any other node
    await NodeEncryption(target, ox).attachments_settled(effect)
