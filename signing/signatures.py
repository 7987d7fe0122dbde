"""ItemSignatures: signing pubsub items and verifying what is signed, for one account (XEP-0475).

Rule: every operation is one transaction of the account's store. How is in ``signing.py`` and
``verifying.py``; whose signatures count, in ``policy.py``. Here is their face.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from e2ee import ns
from e2ee.history import History
from e2ee.names import BareJid, Fetch, ItemPlace, NodeAddress
from e2ee.xmltree import Element
from ox.account import OxAccount
from signing.policy import Policy, every_signature
from signing.signed_by import SignedBy
from signing.signing import SignedItem, co_sign, sign
from signing.verdict import Unverifiable, Verification
from signing.verifying import FetchedItem, missing, verify_many

__all__ = ["FEATURES", "ItemSignatures"]

FEATURES: Final = (ns.PUBSUB_SIGNING, ns.PUBSUB_SIGNING_OPENPGP)
"""Service discovery features that a client using this package announces (XEP-0475 §8)."""

_EVERY_SIGNATURE: Final = every_signature()


class ItemSignatures:
    """Signatures of items, made and verified with the keys that one account knows."""

    def __init__(self, ox: OxAccount) -> None:
        """Bind it to the account; state is read from its store by each operation."""
        self.ox = ox

    async def sign(
        self, payload: Element, node: NodeAddress, *, beside: Sequence[BareJid] = ()
    ) -> SignedItem:
        """Sign the payload of an item before it is published, and before it is encrypted.

        Publish the payload that is returned, and then the signature as an attachment of the item
        (XEP-0470), which is encrypted where the item is.

        Args:
            payload: what the item will hold, in clear.
            node: where it will stand; its service is signed, the node is not.
            beside: who shall sign it, too, in the order in which they are listed after us. Until
                each of them has, the signature does not count.

        Raises:
            ApiMisuse: ``ambiguous``: other items would have the same signed bytes, or a transport
                would change it; ``limit-exceeded``: too many signers; one of them twice; no key of
                our own; ``unusable-key``: it is expired, revoked or cannot sign.
            DataMissing: our own keys must be fetched first: ours may be revoked by now.
        """
        return await sign(self.ox, payload, node, beside)

    async def co_sign(
        self, item: Element, place: ItemPlace, first: Element, first_signer: BareJid
    ) -> Element:
        """Sign what somebody else signed and wants signed by us, too.

        Show the user the payload and the other signers before.

        Args:
            item: as it was fetched; where it is encrypted, with the payload in clear.
            place: where it stands.
            first: the ``<signature/>`` of the first signer.
            first_signer: the publisher of that attachment.

        Returns:
            Our own ``<signature/>``, to be published as an attachment.

        Raises:
            PeerMisbehaved: what :meth:`verify` found wrong with the first signature; ``ambiguous``;
                ``signer-mismatch``: we are not listed, or its signer is not the first one;
                ``stale``: it was made at another time than it says, or we know a newer version
                of the item; ``context-mismatch``: we know the item from another place.
            TrustUndecided: the key of the first signer waits for the user's decision.
            DataMissing: keys of the first signer, or our own, must be fetched first.
            ApiMisuse: our own key, as :meth:`sign`.
        """
        return await co_sign(self.ox, item, place, SignedBy(first_signer, first))

    async def missing(self, attachments: Collection[SignedBy]) -> tuple[Fetch, ...]:
        """Say which public keys must be fetched before these signatures can be verified."""
        return await missing(self.ox, attachments)

    async def verify(
        self,
        item: Element,
        place: ItemPlace,
        attachments: Sequence[SignedBy],
        policy: Policy = _EVERY_SIGNATURE,
    ) -> Verification:
        """Verify the signatures of one item, and remember what was signed where.

        A bad signature raises nothing; it is said in the result. Nothing but the account's own
        store is asked.

        Args:
            item: ``<item/>`` as it was fetched, of ``pubsub`` or ``pubsub#event``; where it is
                encrypted, with the payload in clear.
            place: where it stood.
            attachments: every signature among its attachments; see ``find_signatures``.
            policy: whose signatures count; the default is XEP-0475 §7.

        Raises:
            PeerMisbehaved: ``malformed``: no item with one payload; ``context-mismatch``: another
                item id than the place's; ``limit-exceeded``: signatures that must be looked at of
                more people than ``limits.MAX_SIGNATURES_PER_ITEM``. Where the policy names signers,
                those are theirs and their co-signers'; others are left out then.
        """
        (result,) = await verify_many(
            self.ox, [FetchedItem(item, place, tuple(attachments))], policy
        )
        if isinstance(result, Unverifiable):
            raise result.error
        return result

    async def verify_many(
        self, items: Sequence[FetchedItem], policy: Policy = _EVERY_SIGNATURE
    ) -> tuple[Verification | Unverifiable, ...]:
        """Verify a page of items in one transaction; each result stands where its item stood.

        A bad item never spoils the others. Keep a page to a few hundred items.
        """
        return await verify_many(self.ox, items, policy)

    async def retracted(self, places: Collection[ItemPlace]) -> None:
        """Take in that items are there no more: what comes back is ``ROLLED_BACK``.

        Args:
            places: where they stood, once the service has said so, or retracted them for us.
        """
        async with self.ox.ports.store.exclusive(self.ox.scope) as tx:
            history = History(tx, self.ox.scope)
            for place in places:
                await history.retracted(place)
            if changes := history.changes():
                await tx.commit(changes)
