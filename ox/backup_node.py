"""The private PEP node where the backup of an account's secret keys is kept (XEP-0373 §5).

Rule: no backup leaves before the node's configuration, as its service reports it, was found to be
private. So it takes three steps: fetch the configuration and :func:`prepare_backup_node`; if that
queued anything, perform it and fetch the configuration again; then :func:`publish_backup`.
"""

from __future__ import annotations

from typing import Final

from e2ee import ns
from e2ee.effects import (
    ACCESS_MODEL,
    DELIVER_PAYLOADS,
    MAX_ITEMS,
    PERSIST_ITEMS,
    SEND_LAST_PUBLISHED_ITEM,
    Configure,
    Create,
    Delete,
    Effect,
    NodeConfig,
    Publish,
)
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.outbox import queued
from e2ee.xmltree import Element
from ox.account import OxAccount

__all__ = [
    "BACKUP_NODE",
    "backup_address",
    "prepare_backup_node",
    "publish_backup",
    "withdraw_backup",
]

BACKUP_NODE: Final = f"{ns.OX}:secret-key"
"""The PEP node that holds the backup (XEP-0373 §5.2)."""

_PRIVATE: Final = (ACCESS_MODEL, "whitelist")
_SETTINGS: Final[NodeConfig] = (
    _PRIVATE,
    (PERSIST_ITEMS, "true"),
    (MAX_ITEMS, "1"),  # what an older code opens is not kept
    (SEND_LAST_PUBLISHED_ITEM, "never"),
    (DELIVER_PAYLOADS, "false"),
)
_BOOLEANS: Final = {"0": "false", "1": "true"}  # a service may report either form


def backup_address(jid: BareJid) -> NodeAddress:
    """Return where ``jid`` keeps its backup; the payload of the newest item is ``<secretkey/>``."""
    return NodeAddress(jid, BACKUP_NODE)


async def prepare_backup_node(account: OxAccount, config: NodeConfig | None) -> bool:
    """Queue what makes the node private, if it is not.

    Args:
        account: whose node.
        config: the fields of the node's configuration form as its service reports it to the owner
            (XEP-0060 §8.2.1); ``None`` where there is no such node.

    Returns:
        Whether anything was queued: then fetch the configuration again once it was performed.

    Raises:
        StoreFailed: what the store raises.
    """
    address = backup_address(account.account)
    if config is None:
        await _queue(account, Create(address, _SETTINGS))
        return True
    reported = dict(config)
    # A field that the service does not have would only make it refuse the whole form.
    settings = tuple(field for field in _SETTINGS if field == _PRIVATE or field[0] in reported)
    if _is_private(config) and all(_same(reported[name], value) for name, value in settings):
        return False
    await _queue(account, Configure(address, settings))
    return True


async def publish_backup(account: OxAccount, backup: Element, config: NodeConfig) -> None:
    """Queue the publication of a backup in place of the one before.

    The service is asked once more: the publication's precondition is a private node.

    Args:
        account: whose backup.
        backup: ``<secretkey/>`` from ``backup.seal_backup``.
        config: as :func:`prepare_backup_node` takes it, fetched once nothing of that is left to do.

    Raises:
        PeerMisbehaved: ``forbidden``: the node is not private, whatever was asked of the service.
        StoreFailed: what the store raises.
    """
    if not _is_private(config):
        raise PeerMisbehaved(
            ErrorCode.FORBIDDEN, "others may read the node for backups", rule="XEP-0373 §5"
        )
    address = backup_address(account.account)
    await _queue(account, Publish(address, ItemId("current"), backup, (_PRIVATE,)))


async def withdraw_backup(account: OxAccount) -> None:
    """Queue the deletion of the node with every backup in it; done where there is none.

    Raises:
        StoreFailed: what the store raises.
    """
    await _queue(account, Delete(backup_address(account.account)))


async def _queue(account: OxAccount, effect: Effect) -> None:
    async with account.ports.store.exclusive(account.scope) as tx:
        await tx.commit(await queued(tx, account.account, [effect]))


def _is_private(config: NodeConfig) -> bool:
    return [value for name, value in config if name == ACCESS_MODEL] == [_PRIVATE[1]]


def _same(reported: str, wanted: str) -> bool:
    return _BOOLEANS.get(reported, reported) == _BOOLEANS.get(wanted, wanted)
