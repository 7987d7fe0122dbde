"""Secrets as they arrive: the one way from a checked ``<signcrypt/>`` into keychains (XEP-0473 §5).

Rule: only what ``OxAccount.open`` returned is believed, never an element that stood in clear. One
message is taken in whole or not at all, in one transaction with the mark that it was handled.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved, StoreFailed, TrustUndecided
from e2ee.names import NodeAddress
from e2ee.renewal import Renewal, renewal_within
from e2ee.storage import Key, Put, Transaction
from e2ee.xmltree import Element
from ox.account import OxAccount
from ox.opened import OpenedOx
from pubsub_encryption.elements import Revoke, SharedSecret
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.keychain_record import keychain_from_record, keychain_to_record
from pubsub_encryption.node_secret import NodeSecret, SecretState

__all__ = ["known_nodes", "load_keychain", "receive", "save_keychain"]

_RULE: Final = "XEP-0473 §9"


def _key(ox: OxAccount, address: NodeAddress) -> Key:
    return (*ox.scope, "oxps", str(address.service), address.node)


async def load_keychain(tx: Transaction, ox: OxAccount, address: NodeAddress) -> Keychain | None:
    """Read what the account knows of a node; ``None`` when it was never heard of.

    What is from before the account's newest renewal is not confirmed.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    raw = await tx.get(_key(ox, address))
    if raw is None:
        return None
    keychain = keychain_from_record(raw)
    if keychain.address != address:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored keychain is another node's")
    return keychain.renewed(await renewal_within(tx, ox.account))


async def known_nodes(ox: OxAccount) -> tuple[NodeAddress, ...]:
    """Return every node of which the account holds a keychain, in the order of their addresses."""
    nodes: list[NodeAddress] = []
    last: Key | None = None
    async with ox.ports.store.exclusive(ox.scope) as tx:
        while page := await tx.scan((*ox.scope, "oxps"), last):
            nodes += [keychain_from_record(raw).address for _, raw in page]
            last = page[-1][0]
    return tuple(nodes)


def save_keychain(ox: OxAccount, keychain: Keychain) -> Put:
    """Return the change that stores ``keychain``."""
    return Put(_key(ox, keychain.address), keychain_to_record(keychain))


async def receive(ox: OxAccount, opened: OpenedOx) -> tuple[Keychain, ...]:
    """Take in every ``<shared-secret/>`` and ``<revoke/>`` of a checked message.

    Args:
        ox: the account that opened it.
        opened: what it opened.

    Returns:
        The keychains as they are now, one per node; empty when the message holds neither element,
        and then the message is not marked as handled.

    Raises:
        TrustUndecided: the first secret of a pubsub service's node, whose owner only the user can
            name; see ``NodeEncryption.approve``.
        PeerMisbehaved: ``forbidden``: it came in a ``<sign/>``, and was secret to nobody;
            ``not-owner``, ``secret-conflict``, ``stale``, ``malformed``,
            ``limit-exceeded``, or ``replay``. Nothing of the message was kept.
    """
    news = _read(opened.content)
    if not news:
        return ()
    opened.require_encrypted("XEP-0473 §5.3")
    async with ox.ports.store.exclusive(ox.scope) as tx:
        renewal = await renewal_within(tx, ox.account)
        keychains: dict[NodeAddress, Keychain] = {}
        for new in news:
            before = keychains.get(new.address) or await load_keychain(tx, ox, new.address)
            before = before or (await _begin(tx, ox, new.address, opened)).renewed(renewal)
            after = _take_in(ox, before, new, opened)
            if _confirms(ox, opened, renewal, before, new):
                after = after.confirm(new.id)
            keychains[new.address] = after
        await tx.commit(
            [
                *(save_keychain(ox, keychain) for keychain in keychains.values()),
                *await ox.mark_handled_within(tx, opened),
            ]
        )
    return tuple(keychains.values())


def _read(content: tuple[Element, ...]) -> list[SharedSecret | Revoke]:
    news: list[SharedSecret | Revoke] = []
    for child in content:
        if child.is_(ns.OX_PUBSUB, "shared-secret"):
            news.append(SharedSecret.from_xml(child))
        elif child.is_(ns.OX_PUBSUB, "revoke"):
            news.append(Revoke.from_xml(child))
        if len(news) > limits.MAX_SECRETS_PER_MESSAGE:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED, "too many secrets in one message", rule="XEP-0473 §5.3"
            )
    return news


async def _begin(
    tx: Transaction, ox: OxAccount, address: NodeAddress, opened: OpenedOx
) -> Keychain:
    # Whoever shares first would own the node for us; the service may lie about its owners, and is
    # not the owner of what it hosts.
    ours = opened.sender == ox.account
    served = opened.sender == address.service and not address.service.local
    if not ours and (served or not ox.ports.trust.owns_node(address, opened.sender)):
        if address.service.local:  # an account's own node (XEP-0163); there is nothing to ask
            raise PeerMisbehaved(
                ErrorCode.NOT_OWNER,
                f"{opened.sender} shares a secret of a node of {address.service}",
                rule=_RULE,
            )
        raise TrustUndecided(
            f"{opened.sender} shares a secret of {address}; is that its owner?",
            subjects=(str(opened.sender), opened.signer),
            rule=_RULE,
        )
    known = await tx.scan(
        (*ox.scope, "oxps", str(address.service)), limit=limits.MAX_NODES_PER_SERVICE
    )
    if not ours and len(known) == limits.MAX_NODES_PER_SERVICE:
        raise PeerMisbehaved(
            ErrorCode.LIMIT_EXCEEDED, f"too many nodes of {address.service}", rule=_RULE
        )
    return Keychain(address, opened.sender, frozenset({opened.signer}))


def _confirms(
    ox: OxAccount,
    opened: OpenedOx,
    renewal: Renewal,
    before: Keychain,
    new: SharedSecret | Revoke,
) -> bool:
    """Say whether a message is surely the owner's word of after the renewal.

    Its stamp must be later, and than every secret in question, too, in case that our clock was
    behind at the renewal. Of what another device of ours shares only news counts: that device may
    lack a removal as well, and from its next secret on we know who the members are.
    """
    known = before.believed(ox.ports.clock())
    since = max([renewal.since, *(secret.created for secret in known)])
    is_news = opened.sender != ox.account or before.find(new.id) is None
    return is_news and replace(renewal, since=since).precedes(opened.time)


def _take_in(
    ox: OxAccount, keychain: Keychain, new: SharedSecret | Revoke, opened: OpenedOx
) -> Keychain:
    ours = opened.sender == ox.account
    present = ox.ports.clock()
    now = min(opened.arrival.stamp or present, present)  # no archive knows the future
    if isinstance(new, Revoke):
        changed = keychain.revoke(new.id, opened.sender, opened.signer)
        return changed.follow(keychain, new.id, present) if ours else changed
    secret = NodeSecret(
        id=new.id,
        value=new.value,
        created=new.created,
        state=SecretState.REVOKED if new.revoked else SecretState.ACTIVE,
        type=new.type,
    )
    changed = keychain.adopt(secret, opened.sender, opened.signer, now)
    return (
        changed.follow(keychain, new.id, present, set(opened.to) - {ox.account})
        if ours
        else changed
    )
