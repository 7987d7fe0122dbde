"""Letters: how an owner's word on a secret becomes a signed message to one person (XEP-0473 §5).

Rule: one element in one effect for the caller's own commit; whom to tell what, and what that
changes, is decided in ``owner.py``.
"""

from __future__ import annotations

from typing import Final

from e2ee import ns
from e2ee.effects import Send
from e2ee.names import BareJid, NodeAddress
from e2ee.storage import Transaction
from e2ee.tokens import random_token
from e2ee.xmltree import Element, element
from ox.account import OxAccount
from pubsub_encryption.elements import SharedSecret
from pubsub_encryption.node_secret import NodeSecret, SecretState

__all__ = ["letter", "share"]

_ID_BYTES: Final = 16  # 22 base64url characters
_STORE_HINT: Final = element(ns.HINTS, "store")


async def share(
    ox: OxAccount, tx: Transaction, address: NodeAddress, secret: NodeSecret, to: BareJid
) -> Send:
    """Return the effect that sends a secret of the node at ``address`` to ``to``.

    Raises:
        As ``OxAccount.seal``.
    """
    shared = SharedSecret(
        address,
        secret.id,
        secret.passphrase,
        secret.created,
        secret.state is SecretState.REVOKED,
        secret.type,
    )
    return await letter(ox, tx, shared.to_xml(), to)


async def letter(ox: OxAccount, tx: Transaction, content: Element, to: BareJid) -> Send:
    """Return the effect that sends one element, signed and encrypted, to ``to``.

    Raises:
        As ``OxAccount.seal``.
    """
    # One element a message: Libervia 0.9 reads the first of several and ignores the rest.
    openpgp = await ox.seal_within(tx, [content], {to})
    return Send(to, (openpgp, _STORE_HINT), random_token(ox.ports.primitives, _ID_BYTES))
