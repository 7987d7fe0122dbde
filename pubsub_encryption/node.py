"""NodeEncryption: one encrypted pubsub node, for its owner and its members (XEP-0473 0.1.1).

Rule: every operation is one transaction; what must be sent is queued in it and leaves afterwards.
How secrets may change is decided in ``keychain.py``; how they arrive, in ``sharing.py``; which one
encrypts, in ``in_use.py``; what the owner does, in ``owner.py``; how items are encrypted, in
``items.py``. Here is their face.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from e2ee import ns
from e2ee.arrival import Arrival
from e2ee.effects import Create, Delete, Effect
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import (
    BareJid,
    Fetch,
    Fingerprint,
    ItemId,
    NodeAddress,
    SecretId,
    parse_fingerprint,
)
from e2ee.renewal import renewal_within
from e2ee.xmltree import Element
from ox.account import OxAccount
from pubsub_encryption.elements import Reason
from pubsub_encryption.in_use import (
    keychain_to_read,
    keychain_within,
    secret_in_use,
    trusted,
)
from pubsub_encryption.items import (
    ClearItem,
    ItemResult,
    OpenedItem,
    UnreadableItem,
    open_items,
    seal_item,
)
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.owner import (
    attachments_settled,
    close_attachments,
    create,
    grant,
    open_attachments,
    rotate,
)
from pubsub_encryption.rotation import Rotation
from pubsub_encryption.sharing import load_keychain, save_keychain

__all__ = ["FEATURES", "NodeEncryption"]

FEATURES: Final = (ns.OX_PUBSUB,)
"""Service discovery features that a client using this package announces (XEP-0473 §8)."""


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
            return await keychain_within(tx, self.ox, self.address)

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
            TrustUndecided: the key that vouched for the secret waits for the user's decision: they
                authenticated another key of the owner since.
        """
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            keychain = await keychain_within(tx, self.ox, self.address)
            secret = await secret_in_use(tx, self.ox, await trusted(tx, self.ox, keychain))
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
            keychain = await keychain_to_read(tx, self.ox, self.address)
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
        return await create(self.ox, self.address, content_type)

    async def grant(
        self, newcomer: BareJid, *, may_publish: bool = False, again: bool = False
    ) -> None:
        """Give access: queue the affiliation and every secret that ``newcomer`` lacks (§5.3).

        Old secrets go along as revoked, so that the whole history can be read. The affiliation is
        queued for each attachment node that this device opened, too.

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
        await grant(self.ox, self.address, newcomer, may_publish=may_publish, again=again)

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
        affiliation, at the attachment nodes that this device opened, too; everybody who had a
        secret is told that it is revoked; those who stay, and ourselves, get the new one. Items
        published before stay readable to whoever could read them.

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
        return await rotate(
            self.ox,
            self.address,
            revoke=revoke,
            reasons=reasons,
            clock_is_right=clock_is_right,
        )

    async def open_attachments(
        self, item_id: ItemId, features: Collection[str], *, then: Sequence[Effect] = ()
    ) -> None:
        """Let the members attach to an item: queue its attachment node and their affiliations (§6).

        Who may publish in the node may attach; other members read. From now on this device grants
        and revokes there as in the node itself; another one of ours does not know of it, and there
        the encryption must do. Where the service creates such nodes, which anybody's item then has,
        or where it was done before, only ``then`` is queued.

        Args:
            item_id: the item.
            features: what the service announces (XEP-0030).
            then: what is not tried unless all of that succeeded, each after the one before it: the
                publication of the item, and of our own attachments. Were the item there first,
                somebody else could make the node and own it.

        Raises:
            ApiMisuse: ``not-owner``; ``no-active-secret``: nothing is known of the node;
                ``unusable-key``: our own key is expired or revoked; ``limit-exceeded``: there are
                ``limits.MAX_ATTACHMENT_NODES`` already, or an effect is too large.
            PeerMisbehaved: ``malformed``: an id of which no node can be named.
        """
        await open_attachments(self.ox, self.address, item_id, features, then)

    async def close_attachments(self, item_id: ItemId, *, after: Sequence[Effect] = ()) -> None:
        """Queue the deletion of an item's attachment node, if this device opened it.

        Services keep such nodes when an item is retracted. Whoever is removed from this node is
        removed there, too, until :meth:`attachments_settled`; closing it again queues the deletion
        again.

        Args:
            item_id: the item.
            after: what is queued in any case and without whose success nothing is deleted: the
                item's retraction.

        Raises:
            PeerMisbehaved: ``malformed``: an id of which no node can be named.
        """
        await close_attachments(self.ox, self.address, item_id, after)

    async def attachments_settled(self, effect: Create | Delete) -> None:
        """Take in that an attachment node of this node is not there, or not ours.

        Call it whenever the service has performed a deletion or refused a creation, before that is
        reported to the outbox. Of any other node nothing is changed.

        Args:
            effect: what was queued.
        """
        await attachments_settled(self.ox, self.address, effect)

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
            keychain = await keychain_within(tx, self.ox, self.address)
            await tx.commit([save_keychain(self.ox, keychain.disapprove(signer))])

    async def missing(self) -> tuple[Fetch, ...]:
        """Say what to fetch before a rotation, so that every member can be told.

        Raises:
            ApiMisuse: ``no-active-secret``: nothing is known of the node.
        """
        keychain = await self.keychain()
        people = keychain.members.union(*(secret.shared_with for secret in keychain.secrets))
        return await self.ox.missing(people | {self.ox.account})
