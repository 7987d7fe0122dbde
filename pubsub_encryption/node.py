"""NodeEncryption: one encrypted pubsub node, for its owner and its members (XEP-0473 0.1.1).

Rule: every operation is one transaction; what must be sent is queued in it and leaves afterwards.
How secrets may change is decided in ``keychain.py``; how they arrive, in ``sharing.py``; how items
are encrypted, in ``items.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Final

from e2ee import limits, ns
from e2ee.arrival import Arrival
from e2ee.effects import (
    ACCESS_MODEL,
    MAX_ITEMS,
    NODE_TYPE,
    PERSIST_ITEMS,
    Affiliate,
    Affiliation,
    Create,
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
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress, SecretId, parse_fingerprint
from e2ee.outbox import queued
from e2ee.renewal import renewal_within
from e2ee.secret import Secret
from e2ee.storage import Transaction
from e2ee.tokens import random_token
from e2ee.xmltree import Element
from ox.account import OxAccount
from ox.soundness import refused_keys
from pubsub_encryption.elements import Reason, Revoke
from pubsub_encryption.items import (
    ClearItem,
    ItemResult,
    OpenedItem,
    UnreadableItem,
    open_items,
    seal_item,
)
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.letters import letter, share
from pubsub_encryption.node_secret import NodeSecret, SecretState
from pubsub_encryption.rotation import Rotation
from pubsub_encryption.sharing import load_keychain, save_keychain

__all__ = ["FEATURES", "NodeEncryption"]

FEATURES: Final = (ns.OX_PUBSUB,)
"""Service discovery features that a client using this package announces (XEP-0473 §8)."""

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


class NodeEncryption:
    """One encrypted node as one account sees it."""

    def __init__(self, address: NodeAddress, ox: OxAccount) -> None:
        """Bind a node to the account that uses it; state is read from the store when needed."""
        self.address = address
        self.ox = ox

    async def keychain(self) -> Keychain:
        """Return what this account knows of the node.

        Raises:
            ApiMisuse: ``no-active-secret``: nothing was ever received or created.
        """
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            return await self._load(tx)

    # -- items

    async def encrypt(self, payload: Element) -> Element:
        """Encrypt the payload of an item with the current secret; publish what is returned.

        Item ids must be random: one derived from the content tells the service about it (§9).
        Publish at once: an item encrypted before a rotation and published after it can still be
        read by whoever the rotation removed.

        Raises:
            ApiMisuse: ``no-active-secret`` or ``forbidden``: nothing may encrypt; never plain text.
                A secret that a distrusted or revoked key vouched for does not encrypt either, nor
                one dated ahead of our clock.
        """
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            secret = self._encrypting(await self._trusted(tx, await self._load(tx)))
        return await seal_item(self.ox.engine, secret, payload)

    async def decrypt(self, payload: Element, arrival: Arrival) -> OpenedItem:
        """Decrypt the payload of one item of this node.

        Raises:
            PeerMisbehaved: ``not-encrypted`` for an item in clear; ``context-mismatch`` for an
                item of another node; ``malformed`` and what the engine refuses.
            SecretMissing: the item names a secret that the owner has not shared with us.
            CannotDecrypt: every cryptographic failure.
        """
        (result,) = await self.decrypt_many([(payload, arrival)])
        if isinstance(result, ClearItem):
            raise PeerMisbehaved(ErrorCode.NOT_ENCRYPTED, "an item in clear", rule="XEP-0473 §5.1")
        if isinstance(result, UnreadableItem):
            raise result.error
        return result

    async def decrypt_many(
        self, items: Sequence[tuple[Element, Arrival]]
    ) -> tuple[ItemResult, ...]:
        """Decrypt a page of items, each on its own: a bad one never spoils the others.

        The event loop runs between pages, so keep one to a few hundred items.

        Args:
            items: payload elements with where each was found.
        """
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            keychain = await load_keychain(tx, self.ox, self.address)
        if keychain is None:  # a node like any other, of which we know no secret yet
            keychain = Keychain(self.address, self.address.service, frozenset())
        return await open_items(self.ox.engine, keychain, items)

    # -- the owner's part

    async def create(self, content_type: str | None = None) -> SecretId:
        """Make the node's first secret; queue the node's creation and our own copy of the secret.

        Args:
            content_type: the ``pubsub#type`` that the node would have in clear, usually the
                namespace of its payloads; told to members only (§5.2).

        Raises:
            ApiMisuse: the node has a keychain already, or the account has no key;
                ``unusable-key``: it is expired or revoked.
        """
        if len(content_type or "") > limits.MAX_TYPE_CHARS:
            raise ApiMisuse("a type that nobody would read", code=ErrorCode.LIMIT_EXCEEDED)
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            if await load_keychain(tx, self.ox, self.address) is not None:
                raise ApiMisuse(f"{self.address} has secrets already; rotate them instead")
            signer = await self._signer(tx)
            renewal = await renewal_within(tx, self.ox.account)
            keychain = Keychain(self.address, self.ox.account, frozenset({signer})).renewed(renewal)
            keychain = self._with_new_secret(keychain, signer, content_type=content_type)
            copy = await share(self.ox, tx, self.address, keychain.current, self.ox.account)
            await self._commit(tx, keychain, [Create(self.address, _NODE_CONFIG), copy])
            return keychain.current.id

    async def grant(
        self, newcomer: BareJid, *, may_publish: bool = False, again: bool = False
    ) -> None:
        """Give access: queue the affiliation and every secret that ``newcomer`` lacks (§5.3).

        Old secrets go along as revoked, so that the whole history can be read.

        Args:
            newcomer: who.
            may_publish: whether they may publish too.
            again: send what they had before as well: they lost it, with their key perhaps.

        Raises:
            ApiMisuse: ``not-owner``: this account does not own the node; ``no-active-secret``:
                nothing is known of it; the newcomer is the owner; ``unusable-key``: our own key
                is expired or revoked.
            DataMissing: keys of the newcomer must be fetched first.
            TrustUndecided: no key of the newcomer was accepted.
            PeerMisbehaved: ``unusable-key``.
        """
        if newcomer == self.ox.account:
            raise ApiMisuse("the owner needs no grant")
        affiliation = Affiliation.PUBLISHER if may_publish else Affiliation.MEMBER
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            keychain = await self._owned(tx)
            if any(secret.state is SecretState.ACTIVE for secret in keychain.secrets):
                self._encrypting(keychain)  # nobody is given what we would not encrypt with
            effects: list[Effect] = [Affiliate(self.address, newcomer, affiliation)]
            for secret in keychain.secrets:
                if again or newcomer not in secret.shared_with:
                    effects.append(await share(self.ox, tx, self.address, secret, newcomer))
                    keychain = keychain.shared(secret.id, {newcomer})
            await self._commit(tx, keychain.admit(newcomer), effects)

    async def rotate(
        self,
        *,
        revoke: Collection[BareJid] = (),
        reasons: Sequence[Reason] = (),
        clock_is_right: bool = False,
    ) -> Rotation:
        """Revoke the secrets in use, remove ``revoke`` from the node, make a new secret (§5.3).

        Queued in this order, which is safe to stop after every step: those who leave are
        unsubscribed (a removed affiliation alone lets services go on delivering), then lose their
        affiliation; everybody who had a secret is told that it is revoked; those who stay, and
        ourselves, get the new one. Items published before stay readable to whoever could read them.

        After a renewal of the account nobody stays unasked; see ``Rotation.unsure``. Read the
        archive of this account first: what it did since the copy is in there.

        Args:
            revoke: who loses access.
            reasons: why, for people; at most one per language.
            clock_is_right: the user's word that our clock was ahead before and is right now; only
                then are secrets passed over that it dated ahead.

        Raises:
            DataMissing: keys of our own must be fetched first, or nobody could be told anything.
            ApiMisuse: ``not-owner``; ``no-active-secret``: nothing is known of the node; the owner
                is to be removed; two reasons in one language; secrets are dated ahead of our clock;
                ``unusable-key``: our own key is expired or revoked, so that nobody could be told
                anything.
        """
        if len({reason.language for reason in reasons}) != len(reasons):
            raise ApiMisuse("two reasons in one language", rule="XEP-0473 §5.3")
        if self.ox.account in revoke:
            raise ApiMisuse("the owner cannot be removed from the node")
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            before = await self._owned(tx)
            await self._check_own_keys(tx)
            revoked = before.to_revoke
            keychain = self._with_new_secret(
                before, await self._signer(tx), leaving=revoke, clock_is_right=clock_is_right
            )
            new = keychain.current
            effects: list[Effect] = []
            for jid in sorted(revoke):
                effects.append(Unsubscribe(self.address, jid))
                effects.append(Affiliate(self.address, jid, Affiliation.NONE))
            untold: dict[BareJid, ErrorCode] = {}
            for secret in revoked:
                notice = Revoke(self.address, secret.id, tuple(reasons)).to_xml()
                for jid in sorted(secret.shared_with | {self.ox.account}):
                    try:
                        effects.append(await letter(self.ox, tx, notice, jid))
                    except _UNREACHABLE as error:
                        untold[jid] = error.code
                        keychain = keychain.untold(secret.id, jid)
            for jid in sorted(keychain.members | {self.ox.account}):
                try:
                    effects.append(await share(self.ox, tx, self.address, new, jid))
                except _UNREACHABLE as error:
                    untold[jid] = error.code
                else:
                    keychain = keychain.shared(new.id, {jid} - {self.ox.account})
            await self._commit(tx, keychain, effects)
        return Rotation(
            new.id,
            tuple(secret.id for secret in revoked),
            MappingProxyType(untold),
            () if before.confirmed else tuple(sorted(before.members - frozenset(revoke))),
        )

    async def approve(self, owner: BareJid, signer: Fingerprint) -> None:
        """Record the user's word that ``owner``, with this key, may share secrets of the node.

        Needed once for a node that is not on its owner's own account, and again for each new key
        of the owner; naming another owner withdraws every earlier approval, and what the one before
        shared encrypts no more.

        Raises:
            PeerMisbehaved: ``malformed``: ``signer`` is no fingerprint.
        """
        signer = parse_fingerprint(signer)  # as shown to a user it may have spaces
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            keychain = await load_keychain(tx, self.ox, self.address)
            if keychain is None:
                renewal = await renewal_within(tx, self.ox.account)
                keychain = Keychain(self.address, owner, frozenset()).renewed(renewal)
            await tx.commit([save_keychain(self.ox, keychain.approve(owner, signer))])

    async def disapprove(self, signer: Fingerprint) -> None:
        """Withdraw the approval of one key; what it vouched for encrypts no more.

        Raises:
            ApiMisuse: ``no-active-secret``: nothing is known of the node.
        """
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            keychain = await self._load(tx)
            await tx.commit([save_keychain(self.ox, keychain.disapprove(signer))])

    async def missing(self) -> tuple[Fetch, ...]:
        """Say what to fetch before a rotation, so that every member can be told.

        Raises:
            ApiMisuse: ``no-active-secret``: nothing is known of the node.
        """
        keychain = await self.keychain()
        people = keychain.members.union(*(secret.shared_with for secret in keychain.secrets))
        return await self.ox.missing(people | {self.ox.account})

    # -- steps

    async def _load(self, tx: Transaction) -> Keychain:
        keychain = await load_keychain(tx, self.ox, self.address)
        if keychain is None:
            raise ApiMisuse(
                f"no secret of {self.address} was ever shared with {self.ox.account}",
                code=ErrorCode.NO_ACTIVE_SECRET,
                rule="XEP-0473 §5.2",
            )
        return keychain

    async def _trusted(self, tx: Transaction, keychain: Keychain) -> Keychain:
        """Withdraw what keys vouched for that are distrusted or revoked by now."""
        ring = await self.ox.keys_within(tx, keychain.owner)
        for signer in await refused_keys(self.ox.engine, ring):
            keychain = keychain.disapprove(signer)
        return keychain

    def _encrypting(self, keychain: Keychain) -> NodeSecret:
        secret = keychain.current
        if secret.is_ahead_of(self.ox.ports.clock()):
            raise ApiMisuse(
                f"the secret of {self.address} is dated ahead of our clock; rotate it",
                code=ErrorCode.FORBIDDEN,
                rule="XEP-0473 §5.2",
            )
        return secret

    async def _owned(self, tx: Transaction) -> Keychain:
        keychain = await self._trusted(tx, await self._load(tx))
        if keychain.owner != self.ox.account or await self._signer(tx) not in keychain.approved:
            raise ApiMisuse(
                f"only {keychain.owner} may share and revoke secrets of {self.address}",
                code=ErrorCode.NOT_OWNER,
                rule="XEP-0473 §9",
            )
        return keychain

    async def _check_own_keys(self, tx: Transaction) -> None:
        ours = await self.ox.keys_within(tx, self.ox.account)
        if ours.outdated:
            raise DataMissing("keys of our own are missing", fetches=ours.missing)

    async def _signer(self, tx: Transaction) -> Fingerprint:
        own = (await self.ox.own_key_within(tx)).certificate
        if not own.encrypts:
            raise ApiMisuse("our own key is expired or revoked", code=ErrorCode.UNUSABLE_KEY)
        return own.fingerprint

    def _with_new_secret(
        self,
        keychain: Keychain,
        signer: Fingerprint,
        *,
        leaving: Collection[BareJid] = (),
        content_type: str | None = None,
        clock_is_right: bool = False,
    ) -> Keychain:
        primitives = self.ox.ports.primitives
        return keychain.rotate(
            SecretId(random_token(primitives, _ID_BYTES)),
            Secret(random_token(primitives, _SECRET_BYTES).encode()),
            self.ox.ports.clock(),
            signer,
            leaving=leaving,
            content_type=content_type,
            clock_is_right=clock_is_right,
        )

    async def _commit(self, tx: Transaction, keychain: Keychain, effects: Sequence[Effect]) -> None:
        queue = await queued(tx, self.ox.account, effects)
        await tx.commit([save_keychain(self.ox, keychain), *queue])
