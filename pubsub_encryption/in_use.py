"""The secret in use: what encrypts now, judged by the keys that vouched for it.

Rule: reads inside a transaction of the caller; how secrets change is decided in ``keychain.py``,
and whose keys are believed in the key rings of ``ox``.
"""

from __future__ import annotations

from e2ee.errors import ApiMisuse, ErrorCode, TrustUndecided
from e2ee.names import NodeAddress
from e2ee.storage import Transaction
from ox.account import OxAccount
from ox.soundness import refused_keys
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node_secret import NodeSecret
from pubsub_encryption.sharing import load_keychain

__all__ = ["keychain_to_read", "keychain_within", "secret_in_use", "trusted"]


async def keychain_within(tx: Transaction, ox: OxAccount, address: NodeAddress) -> Keychain:
    """Return what the account knows of the node.

    Raises:
        ApiMisuse: ``no-active-secret``: nothing was ever received or created.
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    keychain = await load_keychain(tx, ox, address)
    if keychain is None:
        raise ApiMisuse(
            f"no secret of {address} was ever shared with {ox.account}",
            code=ErrorCode.NO_ACTIVE_SECRET,
            rule="XEP-0473 §5.2",
        )
    return keychain


async def keychain_to_read(tx: Transaction, ox: OxAccount, address: NodeAddress) -> Keychain:
    """Return what the account can read a node with, perhaps nothing: it may be one like any other.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    keychain = await load_keychain(tx, ox, address)
    return keychain or Keychain(address, address.service, frozenset())


async def trusted(tx: Transaction, ox: OxAccount, keychain: Keychain) -> Keychain:
    """Withdraw what keys vouched for that are distrusted or revoked by now."""
    ring = await ox.keys_within(tx, keychain.owner)
    for signer in await refused_keys(ox.engine, ring):
        keychain = keychain.disapprove(signer)
    return keychain


async def secret_in_use(tx: Transaction, ox: OxAccount, keychain: Keychain) -> NodeSecret:
    """Return the secret that encrypts now, of a keychain as :func:`trusted` returns it.

    Raises:
        ApiMisuse: as ``Keychain.current``; ``forbidden`` also when it is dated ahead of our clock.
        TrustUndecided: the key that vouched for it waits for the user's decision, struck since or
            not: beside a key of the owner that they authenticated it may be anybody's.
    """
    secret = keychain.current
    if secret.is_ahead_of(ox.ports.clock()):
        raise ApiMisuse(
            f"the secret of {keychain.address} is dated ahead of our clock; rotate it",
            code=ErrorCode.FORBIDDEN,
            rule="XEP-0473 §5.2",
        )
    ring = (await ox.keys_within(tx, keychain.owner)).with_former_keys()
    if secret.signer in ring.undecided:
        raise TrustUndecided(
            f"the secret of {keychain.address} is from a key that waits for a decision",
            subjects=(secret.signer,),
            rule="XEP-0473 §9",
        )
    return secret
