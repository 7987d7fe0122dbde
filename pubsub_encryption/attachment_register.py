"""AttachmentRegister: the attachment nodes that an owner made beside an encrypted node.

Rule: values and their stored form. It is there so that access changes everywhere at once; what is
granted and taken away is decided in ``owner.py``. Another device of the owner has its own.

Each row is found by its key: one of the encrypted node, and below it one for each attachment node,
so that to open one costs as much beside thousands as beside none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from e2ee import limits
from e2ee.effects import Affiliation
from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, NodeAddress
from e2ee.records import pack, unpack
from e2ee.storage import Change, Key, Put, Remove, Transaction
from ox.account import OxAccount

__all__ = [
    "AttachmentNode",
    "AttachmentRegister",
    "find_node",
    "load_nodes",
    "load_register",
    "remove_node",
    "save_node",
    "save_register",
]

_REGISTER: Final = "attachment-register"
_NODE: Final = "attachment-node"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class AttachmentRegister:
    """What this device made and granted beside an encrypted node.

    Attributes:
        address: the encrypted node.
        count: how many attachment nodes it made.
        publishers: whom it let publish; another member may only read.
    """

    address: NodeAddress
    count: int = 0
    publishers: frozenset[BareJid] = frozenset()

    def affiliation(self, member: BareJid) -> Affiliation:
        """Return what a member may do."""
        return Affiliation.PUBLISHER if member in self.publishers else Affiliation.MEMBER

    def one_more(self) -> AttachmentRegister:
        """Note that there is another attachment node.

        Raises:
            ApiMisuse: ``limit-exceeded``: there are ``limits.MAX_ATTACHMENT_NODES`` already.
        """
        if self.count >= limits.MAX_ATTACHMENT_NODES:
            raise ApiMisuse(
                f"too many attachment nodes of {self.address}; close old ones",
                code=ErrorCode.LIMIT_EXCEEDED,
            )
        return replace(self, count=self.count + 1)

    def one_less(self) -> AttachmentRegister:
        """Note that an attachment node is there no more."""
        return replace(self, count=self.count - 1)

    def granted(self, member: BareJid, affiliation: Affiliation) -> AttachmentRegister:
        """Note what somebody may do from now on."""
        others = self.publishers - {member}
        publishes = affiliation is Affiliation.PUBLISHER
        return replace(self, publishers=others | {member} if publishes else others)


@dataclass(frozen=True, slots=True)
class AttachmentNode:
    """One attachment node that this device made.

    Attributes:
        address: where it is.
        is_closing: whether its deletion was queued. Until the service has deleted it, whoever is
            removed is removed there, too.
    """

    address: NodeAddress
    is_closing: bool = False


# -- rows


async def load_register(tx: Transaction, ox: OxAccount, address: NodeAddress) -> AttachmentRegister:
    """Read the register of a node; an empty one where nothing was made or granted yet.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await tx.get(_register_key(ox, address))
    if raw is None:
        if await tx.scan(_node_key(ox, address), limit=1):
            raise _damaged()  # the bound would not hold
        return AttachmentRegister(address)
    fields = unpack(raw, _REGISTER, _FORMAT)
    try:
        register = AttachmentRegister(
            NodeAddress(BareJid.parse(fields["service"]), fields["node"]),
            fields["count"],
            frozenset(map(BareJid.parse, fields["publishers"])),
        )
        is_count = type(register.count) is int and register.count >= 0
        if is_count and register.address == address and _pack_register(register) == raw:
            return register
    except (KeyError, TypeError, ValueError, E2eeError):
        pass  # as damaged as one that reads like another
    raise _damaged() from None


async def load_nodes(
    tx: Transaction, ox: OxAccount, address: NodeAddress
) -> tuple[AttachmentNode, ...]:
    """Read all attachment nodes that were made beside a node, in the order of their names.

    Raises:
        StoreFailed: as :func:`load_register`.
    """
    nodes: list[AttachmentNode] = []
    last: Key | None = None
    while page := await tx.scan(_node_key(ox, address), last):
        nodes += [_read_node(address, key[-1], raw) for key, raw in page]
        last = page[-1][0]
    return tuple(nodes)


async def find_node(
    tx: Transaction, ox: OxAccount, address: NodeAddress, node: NodeAddress
) -> AttachmentNode | None:
    """Read one attachment node; ``None`` if this device did not make it.

    Raises:
        StoreFailed: as :func:`load_register`.
    """
    raw = await tx.get(_node_key(ox, address, node.node))
    return None if raw is None else _read_node(address, node.node, raw)


def save_register(ox: OxAccount, register: AttachmentRegister) -> Put:
    """Return the change that stores a register, of which the nodes are no part."""
    return Put(_register_key(ox, register.address), _pack_register(register))


def save_node(ox: OxAccount, address: NodeAddress, node: AttachmentNode) -> Put:
    """Return the change that stores one attachment node of the encrypted node ``address``."""
    return Put(_node_key(ox, address, node.address.node), _pack_node(address, node))


def remove_node(ox: OxAccount, address: NodeAddress, node: AttachmentNode) -> Change:
    """Return the change that forgets one attachment node."""
    return Remove(_node_key(ox, address, node.address.node))


def _read_node(address: NodeAddress, name: str, raw: bytes) -> AttachmentNode:
    fields = unpack(raw, _NODE, _FORMAT)
    node = AttachmentNode(NodeAddress(address.service, name), fields.get("closing") is True)
    if _pack_node(address, node) != raw:
        raise _damaged()
    return node


def _register_key(ox: OxAccount, address: NodeAddress) -> Key:
    return (*ox.scope, "oxps-attachments", str(address.service), address.node)


def _node_key(ox: OxAccount, address: NodeAddress, *name: str) -> Key:
    return (*ox.scope, "oxps-attachment-nodes", str(address.service), address.node, *name)


def _pack_register(register: AttachmentRegister) -> bytes:
    return pack(
        _REGISTER,
        _FORMAT,
        {
            "service": str(register.address.service),
            "node": register.address.node,
            "count": register.count,
            "publishers": sorted(map(str, register.publishers)),
        },
    )


def _pack_node(address: NodeAddress, node: AttachmentNode) -> bytes:
    return pack(
        _NODE,
        _FORMAT,
        {
            "service": str(address.service),
            "of": address.node,
            "node": node.address.node,
            "closing": node.is_closing,
        },
    )


def _damaged() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a stored register of attachment nodes is damaged")
