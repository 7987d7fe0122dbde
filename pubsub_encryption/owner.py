"""What a node's owner does: its first secret, access, rotation, attachments (XEP-0473 §5.3, §6).

Rule: one transaction each; what must be sent is queued in it and leaves afterwards. How secrets may
change is decided in ``keychain.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Final

from e2ee import limits, ns
from e2ee.attachment_nodes import attachment_effects, attachment_node
from e2ee.effects import (
    ACCESS_MODEL,
    MAX_ITEMS,
    NODE_TYPE,
    PERSIST_ITEMS,
    Affiliate,
    Affiliation,
    Create,
    Delete,
    Effect,
    NodeConfig,
    Unsubscribe,
)
from e2ee.errors import (
    ApiMisuse,
    DataMissing,
    EngineFailed,
    ErrorCode,
    PeerMisbehaved,
    TrustUndecided,
)
from e2ee.names import BareJid, Fingerprint, ItemId, ItemPlace, NodeAddress, SecretId
from e2ee.outbox import queued
from e2ee.renewal import renewal_within
from e2ee.secret import Secret
from e2ee.storage import Change, Transaction
from e2ee.tokens import random_token
from ox.account import OxAccount
from pubsub_encryption.attachment_register import (
    AttachmentNode,
    find_node,
    load_nodes,
    load_register,
    remove_node,
    save_node,
    save_register,
)
from pubsub_encryption.elements import Reason, Revoke
from pubsub_encryption.in_use import keychain_within, secret_in_use, trusted
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.letters import letter, share
from pubsub_encryption.node_secret import SecretState
from pubsub_encryption.rotation import Rotation
from pubsub_encryption.sharing import load_keychain, save_keychain

__all__ = [
    "attachments_settled",
    "close_attachments",
    "create",
    "grant",
    "open_attachments",
    "rotate",
]

_NODE_CONFIG: Final[NodeConfig] = (
    (ACCESS_MODEL, "whitelist"),
    (NODE_TYPE, ns.OX_PUBSUB),  # the plain text's own type travels with the secret (§6)
    (PERSIST_ITEMS, "true"),
    (MAX_ITEMS, "max"),
)
_SECRET_BYTES: Final = 32  # 43 base64url characters: no work to guess, none needed to stretch
_ID_BYTES: Final = 16  # 22 base64url characters
_UNREACHABLE: Final = (DataMissing, EngineFailed, PeerMisbehaved, TrustUndecided)
"""One member's keys, however hostile, never keep the others from a new secret."""


async def create(ox: OxAccount, address: NodeAddress, content_type: str | None) -> SecretId:
    """See ``NodeEncryption.create``."""
    if len(content_type or "") > limits.MAX_TYPE_CHARS:
        raise ApiMisuse("a type that nobody would read", code=ErrorCode.LIMIT_EXCEEDED)
    async with ox.ports.store.exclusive(ox.scope) as tx:
        if await load_keychain(tx, ox, address) is not None:
            raise ApiMisuse(f"{address} has secrets already; rotate them instead")
        signer = await _signer(tx, ox)
        renewal = await renewal_within(tx, ox.account)
        keychain = Keychain(address, ox.account, frozenset({signer})).renewed(renewal)
        keychain = _with_new_secret(ox, keychain, signer, content_type=content_type)
        copy = await share(ox, tx, address, keychain.current, ox.account)
        await _commit(tx, ox, keychain, [Create(address, _NODE_CONFIG), copy])
        return keychain.current.id


async def grant(
    ox: OxAccount, address: NodeAddress, newcomer: BareJid, *, may_publish: bool, again: bool
) -> None:
    """See ``NodeEncryption.grant``."""
    if newcomer == ox.account:
        raise ApiMisuse("the owner needs no grant")
    affiliation = Affiliation.PUBLISHER if may_publish else Affiliation.MEMBER
    async with ox.ports.store.exclusive(ox.scope) as tx:
        keychain = await _owned(tx, ox, address)
        if any(secret.state is SecretState.ACTIVE for secret in keychain.secrets):
            await secret_in_use(tx, ox, keychain)  # nobody is given what we would not encrypt with
        register = await load_register(tx, ox, address)
        attached = await load_nodes(tx, ox, address)
        opened = [node.address for node in attached if not node.is_closing]
        effects: list[Effect] = [
            Affiliate(node, newcomer, affiliation) for node in (address, *opened)
        ]
        for secret in keychain.secrets:
            if again or newcomer not in secret.shared_with:
                effects.append(await share(ox, tx, address, secret, newcomer))
                keychain = keychain.shared(secret.id, {newcomer})
        register = register.granted(newcomer, affiliation)
        await _commit(tx, ox, keychain.admit(newcomer), effects, save_register(ox, register))


async def rotate(
    ox: OxAccount,
    address: NodeAddress,
    *,
    revoke: Collection[BareJid],
    reasons: Sequence[Reason],
    clock_is_right: bool,
) -> Rotation:
    """See ``NodeEncryption.rotate``."""
    if len({reason.language for reason in reasons}) != len(reasons):
        raise ApiMisuse("two reasons in one language", rule="XEP-0473 §5.3")
    if ox.account in revoke:
        raise ApiMisuse("the owner cannot be removed from the node")
    async with ox.ports.store.exclusive(ox.scope) as tx:
        before = await _owned(tx, ox, address)
        await _check_own_keys(tx, ox)
        revoked = before.to_revoke
        keychain = _with_new_secret(
            ox,
            before,
            await _signer(tx, ox),
            leaving=revoke,
            clock_is_right=clock_is_right,
        )
        new = keychain.current
        register = await load_register(tx, ox, address)
        effects: list[Effect] = []
        attached = await load_nodes(tx, ox, address)
        for node in (address, *(node.address for node in attached)):
            for jid in sorted(revoke):
                effects.append(Unsubscribe(node, jid))
                effects.append(Affiliate(node, jid, Affiliation.NONE))
        for jid in revoke:
            register = register.granted(jid, Affiliation.NONE)
        untold: dict[BareJid, ErrorCode] = {}
        for secret in revoked:
            notice = Revoke(address, secret.id, tuple(reasons)).to_xml()
            for jid in sorted(secret.shared_with | {ox.account}):
                try:
                    effects.append(await letter(ox, tx, notice, jid))
                except _UNREACHABLE as error:
                    untold[jid] = error.code
                    keychain = keychain.untold(secret.id, jid)
        for jid in sorted(keychain.members | {ox.account}):
            try:
                effects.append(await share(ox, tx, address, new, jid))
            except _UNREACHABLE as error:
                untold[jid] = error.code
            else:
                keychain = keychain.shared(new.id, {jid} - {ox.account})
        await _commit(tx, ox, keychain, effects, save_register(ox, register))
    return Rotation(
        new.id,
        tuple(secret.id for secret in revoked),
        MappingProxyType(untold),
        () if before.confirmed else tuple(sorted(before.members - frozenset(revoke))),
    )


async def open_attachments(
    ox: OxAccount,
    address: NodeAddress,
    item_id: ItemId,
    features: Collection[str],
    then: Sequence[Effect],
) -> None:
    """See ``NodeEncryption.open_attachments``."""
    creates = attachment_effects(ItemPlace(address, item_id), _NODE_CONFIG, features)
    async with ox.ports.store.exclusive(ox.scope) as tx:
        effects: list[Effect] = []
        changes: list[Change] = []
        for create in creates:
            keychain = await _owned(tx, ox, address)
            known = await find_node(tx, ox, address, create.address)
            if known is not None and not known.is_closing:
                continue
            register = await load_register(tx, ox, address)
            effects.append(create)
            for member in sorted(keychain.members):
                access = register.affiliation(member)
                effects.append(Affiliate(create.address, member, access))
            changes.append(save_node(ox, address, AttachmentNode(create.address)))
            if known is None:
                changes.append(save_register(ox, register.one_more()))
        queue = await queued(tx, ox.account, [*effects, *then], chained=True)
        await tx.commit([*changes, *queue])


async def close_attachments(
    ox: OxAccount, address: NodeAddress, item_id: ItemId, after: Sequence[Effect]
) -> None:
    """See ``NodeEncryption.close_attachments``."""
    where = attachment_node(ItemPlace(address, item_id))
    async with ox.ports.store.exclusive(ox.scope) as tx:
        effects = [*after]
        changes: list[Change] = []
        if await find_node(tx, ox, address, where) is not None:
            effects.append(Delete(where))
            changes.append(save_node(ox, address, AttachmentNode(where, is_closing=True)))
        queue = await queued(tx, ox.account, effects, chained=True)
        await tx.commit([*changes, *queue])


async def attachments_settled(ox: OxAccount, address: NodeAddress, effect: Create | Delete) -> None:
    """See ``NodeEncryption.attachments_settled``."""
    async with ox.ports.store.exclusive(ox.scope) as tx:
        node = await find_node(tx, ox, address, effect.address)
        if node is not None and (node.is_closing or isinstance(effect, Create)):
            register = (await load_register(tx, ox, address)).one_less()
            await tx.commit([remove_node(ox, address, node), save_register(ox, register)])


async def _owned(tx: Transaction, ox: OxAccount, address: NodeAddress) -> Keychain:
    keychain = await trusted(tx, ox, await keychain_within(tx, ox, address))
    if keychain.owner != ox.account or await _signer(tx, ox) not in keychain.approved:
        raise ApiMisuse(
            f"only {keychain.owner} may share and revoke secrets of {address}",
            code=ErrorCode.NOT_OWNER,
            rule="XEP-0473 §9",
        )
    return keychain


async def _check_own_keys(tx: Transaction, ox: OxAccount) -> None:
    ours = await ox.keys_within(tx, ox.account)
    if ours.outdated:
        raise DataMissing("keys of our own are missing", fetches=ours.missing)


async def _signer(tx: Transaction, ox: OxAccount) -> Fingerprint:
    own = (await ox.own_key_within(tx)).certificate
    if not own.encrypts:
        raise ApiMisuse("our own key is expired or revoked", code=ErrorCode.UNUSABLE_KEY)
    return own.fingerprint


def _with_new_secret(
    ox: OxAccount,
    keychain: Keychain,
    signer: Fingerprint,
    *,
    leaving: Collection[BareJid] = (),
    content_type: str | None = None,
    clock_is_right: bool = False,
) -> Keychain:
    primitives = ox.ports.primitives
    return keychain.rotate(
        SecretId(random_token(primitives, _ID_BYTES)),
        Secret(random_token(primitives, _SECRET_BYTES).encode()),
        ox.ports.clock(),
        signer,
        leaving=leaving,
        content_type=content_type,
        clock_is_right=clock_is_right,
    )


async def _commit(
    tx: Transaction, ox: OxAccount, keychain: Keychain, effects: Sequence[Effect], *changes: Change
) -> None:
    queue = await queued(tx, ox.account, effects)
    await tx.commit([save_keychain(ox, keychain), *changes, *queue])
