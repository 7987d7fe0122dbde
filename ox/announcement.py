"""What an account publishes of its own keys: the key itself, then the list that names it.

Rule: changes for the caller's own commit. The data node is acknowledged before its fingerprint is
listed (XEP-0373 §4.2), so both are queued chained, in this order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from e2ee.effects import (
    ACCESS_MODEL,
    DELIVER_PAYLOADS,
    SEND_LAST_PUBLISHED_ITEM,
    NodeConfig,
    Publish,
)
from e2ee.lexical import format_time
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.outbox import queued
from e2ee.records import pack
from e2ee.storage import Change, Key, Put, Transaction
from e2ee.trust import Trust
from ox.elements import (
    PublicKeyMetadata,
    PublicKeysList,
    data_node,
    metadata_address,
    write_pubkey,
)
from ox.engine import Certificate
from ox.keys import KeyRing

__all__ = ["announce", "repeated_on", "was_repeated_on"]

_OPEN_NODE: Final[NodeConfig] = ((ACCESS_MODEL, "open"), (DELIVER_PAYLOADS, "false"))
_LIST_NODE: Final[NodeConfig] = (*_OPEN_NODE, (SEND_LAST_PUBLISHED_ITEM, "on_sub"))


async def announce(
    tx: Transaction, scope: Key, ring: KeyRing, certificate: Certificate, now: datetime
) -> list[Change]:
    """Return the changes that announce a key beside what is listed already.

    Args:
        tx: reads of one snapshot.
        scope: where the account's rows are.
        ring: the account's own, with our key in it. What the user distrusts is dropped.
        certificate: the account's own key, as it is to be published.
        now: the present, aware.
    """
    listed = tuple(
        PublicKeyMetadata(key.fingerprint, key.date or now)
        for key in ring.keys
        if key.announced and key.trust is not Trust.DISTRUSTED
    )
    effects = _effects(ring.jid, certificate, PublicKeysList(listed), now)
    return await queued(tx, ring.jid, effects, chained=True)


async def was_repeated_on(tx: Transaction, scope: Key, now: datetime) -> bool:
    """Say whether the account announced its key again on this day, because somebody undid it."""
    return await tx.get(_row(scope)) == _day(now)


def repeated_on(scope: Key, now: datetime) -> Change:
    """Return the change that notes that the account announces its key again on this day."""
    return Put(_row(scope), _day(now))


def _row(scope: Key) -> Key:
    return (*scope, "ox", "announced-on")


def _day(moment: datetime) -> bytes:
    return pack("ox-announced-on", 1, {"day": moment.toordinal()})


def _effects(
    account: BareJid, certificate: Certificate, keys: PublicKeysList, now: datetime
) -> tuple[Publish, Publish]:
    return (
        Publish(
            NodeAddress(account, data_node(certificate.fingerprint)),
            ItemId(format_time(now)),
            write_pubkey(certificate.raw),
            _OPEN_NODE,
        ),
        Publish(metadata_address(account), ItemId("current"), keys.to_xml(), _LIST_NODE),
    )
