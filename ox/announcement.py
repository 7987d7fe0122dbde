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
from e2ee.names import BareJid, Fingerprint, ItemId, NodeAddress
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

__all__ = ["announce", "publication", "repeated_on", "was_repeated_on"]

_OPEN_NODE: Final[NodeConfig] = ((ACCESS_MODEL, "open"), (DELIVER_PAYLOADS, "false"))
_LIST_NODE: Final[NodeConfig] = (*_OPEN_NODE, (SEND_LAST_PUBLISHED_ITEM, "on_sub"))


async def announce(
    tx: Transaction, ring: KeyRing, certificate: Certificate, now: datetime
) -> list[Change]:
    """Return the changes that announce a key beside what is listed already.

    Args:
        tx: reads of one snapshot.
        ring: the account's own, with our key in it. What the user distrusts is dropped.
        certificate: the account's own key, as it is to be published.
        now: the present, aware.
    """
    listed = tuple(
        PublicKeyMetadata(key.fingerprint, key.date or now)
        for key in ring.keys
        if key.announced and key.trust is not Trust.DISTRUSTED
    )
    list_ = Publish(
        metadata_address(ring.jid), ItemId("current"), PublicKeysList(listed).to_xml(), _LIST_NODE
    )
    effects = [publication(ring.jid, certificate, now), list_]
    return await queued(tx, ring.jid, effects, chained=True)


def publication(account: BareJid, certificate: Certificate, now: datetime) -> Publish:
    """Return the effect that publishes a key, listed or not (XEP-0373 §4.1).

    Args:
        account: whose.
        certificate: the key, as it is to be published.
        now: the present, aware.
    """
    return Publish(
        NodeAddress(account, data_node(certificate.fingerprint)),
        ItemId(format_time(now)),
        write_pubkey(certificate.raw),
        _OPEN_NODE,
    )


async def was_repeated_on(
    tx: Transaction, scope: Key, fingerprint: Fingerprint, now: datetime
) -> bool:
    """Say whether the account published this key again on this day, because somebody undid it."""
    return await tx.get(_row(scope, fingerprint)) == _day(now)


def repeated_on(scope: Key, fingerprint: Fingerprint, now: datetime) -> Change:
    """Return the change that notes that the account publishes this key again on this day."""
    return Put(_row(scope, fingerprint), _day(now))


def _row(scope: Key, fingerprint: Fingerprint) -> Key:
    return (*scope, "ox", "announced-on", fingerprint)


def _day(moment: datetime) -> bytes:
    return pack("ox-announced-on", 1, {"day": moment.toordinal()})
