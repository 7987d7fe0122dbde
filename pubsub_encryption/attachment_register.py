"""AttachmentRegister: the attachment nodes that an owner made beside an encrypted node.

Rule: a value and its stored form. It is there so that access changes everywhere at once; what is
granted and taken away is decided in ``owner.py``. Another device of the owner has its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from e2ee import limits
from e2ee.effects import Affiliation
from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, NodeAddress
from e2ee.records import pack, unpack
from e2ee.storage import Key, Put, Transaction
from ox.account import OxAccount

__all__ = ["AttachmentRegister", "load_register", "save_register"]

_KIND: Final = "attachment-register"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class AttachmentRegister:
    """What this device made and granted beside an encrypted node.

    Attributes:
        address: the encrypted node.
        nodes: the attachment nodes that it made.
        publishers: whom it let publish; another member may only read.
    """

    address: NodeAddress
    nodes: frozenset[NodeAddress] = frozenset()
    publishers: frozenset[BareJid] = frozenset()

    def affiliation(self, member: BareJid) -> Affiliation:
        """Return what a member may do."""
        return Affiliation.PUBLISHER if member in self.publishers else Affiliation.MEMBER

    def opened(self, node: NodeAddress) -> AttachmentRegister:
        """Note that an attachment node is there.

        Raises:
            ApiMisuse: ``limit-exceeded``: ``limits.MAX_ATTACHMENT_NODES`` have one already.
        """
        if len(self.nodes) >= limits.MAX_ATTACHMENT_NODES:
            raise ApiMisuse(
                f"too many attachment nodes of {self.address}; close old ones",
                code=ErrorCode.LIMIT_EXCEEDED,
            )
        return replace(self, nodes=self.nodes | {node})

    def closed(self, node: NodeAddress) -> AttachmentRegister:
        """Note that an attachment node is there no more."""
        return replace(self, nodes=self.nodes - {node})

    def granted(self, member: BareJid, affiliation: Affiliation) -> AttachmentRegister:
        """Note what somebody may do from now on."""
        others = self.publishers - {member}
        publishes = affiliation is Affiliation.PUBLISHER
        return replace(self, publishers=others | {member} if publishes else others)


def _key(ox: OxAccount, address: NodeAddress) -> Key:
    return (*ox.scope, "oxps-attachments", str(address.service), address.node)


async def load_register(tx: Transaction, ox: OxAccount, address: NodeAddress) -> AttachmentRegister:
    """Read the register of a node; an empty one where nothing was made or granted yet.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await tx.get(_key(ox, address))
    if raw is None:
        return AttachmentRegister(address)
    fields = unpack(raw, _KIND, _FORMAT)
    try:
        service = BareJid.parse(fields["service"])
        register = AttachmentRegister(
            NodeAddress(service, fields["node"]),
            frozenset(NodeAddress(service, name) for name in fields["nodes"]),
            frozenset(map(BareJid.parse, fields["publishers"])),
        )
        if register.address == address and _pack(register) == raw:
            return register
    except (KeyError, TypeError, ValueError, E2eeError):
        pass  # as damaged as one that reads like another
    raise StoreFailed(
        ErrorCode.STORE_CORRUPT, "a stored register of attachment nodes is damaged"
    ) from None


def save_register(ox: OxAccount, register: AttachmentRegister) -> Put:
    """Return the change that stores a register."""
    return Put(_key(ox, register.address), _pack(register))


def _pack(register: AttachmentRegister) -> bytes:
    return pack(
        _KIND,
        _FORMAT,
        {
            "service": str(register.address.service),
            "node": register.address.node,
            "nodes": sorted(each.node for each in register.nodes),
            "publishers": sorted(map(str, register.publishers)),
        },
    )
