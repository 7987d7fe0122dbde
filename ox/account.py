"""OxAccount: one account's OpenPGP for XMPP: its own key, the keys of others, sealing and opening.

Rule: every operation is one transaction of the account's store; what must be sent is queued in it.
How is in ``own_key.py``, ``others.py``, ``sealing.py`` and ``opening.py``; here is their face.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from e2ee.arrival import Arrival
from e2ee.names import BareJid, Fetch, Fingerprint
from e2ee.ports import Ports
from e2ee.secret import Secret
from e2ee.storage import Change, Key, Transaction
from e2ee.trust import Trust
from e2ee.xmltree import Element
from ox import others, own_key
from ox.engine import KeyHandle, OpenPgpEngine, Revocation
from ox.keys import KeyRing
from ox.opened import OpenedCrypt, OpenedOx
from ox.opening import open_signed, open_unsigned, take_in
from ox.ring_rows import ring_within
from ox.sealing import Recipients, recipients_within, seal_crypt, seal_sign, seal_signcrypt

__all__ = ["OxAccount"]


class OxAccount:
    """OpenPGP for XMPP (XEP-0373 0.7.0) for one account."""

    def __init__(self, account: BareJid, ports: Ports, engine: OpenPgpEngine) -> None:
        """Bind an account to its ports; state is read from the store by each operation."""
        self.account = account
        self.ports = ports
        self.engine = engine
        self.scope: Key = (str(account),)

    # -- our own key

    async def generate(self, *, rsa: bool = False) -> Fingerprint:
        """Make this account's key and queue its announcement, data node first (XEP-0373 §4).

        A key that was revoked is succeeded; it still opens what the archive holds.

        Args:
            rsa: make RSA-3072 keys, for who must be read by programs without Curve25519.

        Raises:
            ApiMisuse: the account has a key that is not revoked.
            DataMissing: the account's own list of keys must be fetched first.
        """
        return await own_key.generate(self, rsa=rsa)

    async def adopt(self, material: Secret, *, replacing: Fingerprint | None = None) -> Fingerprint:
        """Take over a key made elsewhere and queue its announcement.

        Args:
            material: the binary, unprotected transferable secret key.
            replacing: the account's present key, if this one shall succeed it though it is not
                revoked. It still opens what the archive holds.

        Raises:
            ApiMisuse: the account has this key already, or one that is neither revoked nor the one
                replaced.
            DataMissing: the account's own list of keys must be fetched first, then this key as it
                was published, though no list names it: only that tells whether it is revoked.
            PeerMisbehaved: ``signer-mismatch``: no valid user id names this account;
                ``unusable-key``: it is revoked, also if only its published copy says so, or the
                user distrusts it; what the engine raises for a bad key.
        """
        return await own_key.adopt(self, material, replacing)

    async def extend(self, until: datetime | None) -> None:
        """Set when our key expires, an expired one too, and queue its announcement.

        Args:
            until: aware, in whole seconds; ``None`` for never.

        Raises:
            ApiMisuse: no key; ``until`` is naive or not ahead; ``unusable-key``: it is revoked.
            DataMissing: the account's own list of keys must be fetched first.
            PeerMisbehaved: ``unsupported-algorithm``: a primary key that only its maker can renew;
                ``limit-exceeded``: one that says too much of itself to say it again.
        """
        await own_key.extend(self, until)

    async def revoke(self, fingerprint: Fingerprint, reason: Revocation) -> None:
        """Revoke our key for ever, and queue that it is published.

        Its data node tells it; the list drops it, unless no other key would be left in it. Nothing
        is signed with it any more, and :meth:`generate` may make its successor.

        Args:
            fingerprint: of our key, as it was shown to the user who wants it.
            reason: why; what others make of it is in ``Revocation``.

        Raises:
            ApiMisuse: also when our key is another one by now.
            ApiMisuse, DataMissing, PeerMisbehaved: as :meth:`extend`.
        """
        await own_key.revoke(self, fingerprint, reason)

    async def export_public(self) -> bytes:
        """Return our public key as it is published (XEP-0373 §7.2): binary and minimal.

        The primary key, the user ids that name this account, subkeys that live or are revoked, each
        with its newest self-signature, and revocations; nothing else.

        Raises:
            ApiMisuse, StoreFailed: as :meth:`own_key`.
        """
        return await own_key.export_public(self)

    async def own_key(self) -> KeyHandle:
        """Return this account's key with all that is known of it.

        Raises:
            ApiMisuse: it has none; see :meth:`generate`.
            StoreFailed: ``store-corrupt``: it had one, and part of it is lost.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            return await self.own_key_within(tx)

    async def own_key_within(self, tx: Transaction) -> KeyHandle:
        """As :meth:`own_key`, inside a transaction of the caller."""
        return await own_key.own_key_within(self, tx)

    # -- the keys of others

    async def missing(self, people: Collection[BareJid]) -> tuple[Fetch, ...]:
        """Say what must be fetched before ``people`` can be written to or believed."""
        async with self.ports.store.exclusive(self.scope) as tx:
            return await others.missing_within(self, tx, people)

    def notified(self, arrival: Arrival) -> tuple[Fetch, ...]:
        """Say what to fetch and feed after an event of a node (XEP-0373 §4.5).

        The event's payload is not looked at: it may be absent, and only the most recent item
        counts. An event that is not from the bare account whose list it is about is ignored.

        Args:
            arrival: of the event: an item, its node, who sent the stanza.
        """
        return others.notified(self, arrival)

    async def feed(self, fetch: Fetch, payload: Element | None) -> None:
        """Take in what was fetched, and note what the user should be told (``KeyEvents``).

        Args:
            fetch: what was asked for.
            payload: the payload of the most recent item; ``None`` where there is none.

        Raises:
            ApiMisuse: no node of XEP-0373.
            PeerMisbehaved: the list or the key is not what it must be; nothing was kept. Feed
                ``None`` for such a key that was never fetched, and its owner is written to without
                it; one that is known stays as it is.
        """
        await others.feed(self, fetch, payload)

    async def keys(self, jid: BareJid) -> KeyRing:
        """Return what is known of the keys of ``jid``."""
        async with self.ports.store.exclusive(self.scope) as tx:
            return await self.keys_within(tx, jid)

    async def keys_within(self, tx: Transaction, jid: BareJid) -> KeyRing:
        """As :meth:`keys`, inside a transaction of the caller.

        What is from before the account's newest renewal must be fetched again.
        """
        return await ring_within(tx, self.account, jid)

    async def decide(self, jid: BareJid, fingerprint: Fingerprint, trust: Trust) -> None:
        """Record the user's decision about one key, named by the fingerprint that was shown.

        Raises:
            PeerMisbehaved: ``signer-mismatch``: the JID never announced this key.
        """
        await others.decide(self, jid, fingerprint, trust)

    async def verify(self, jid: BareJid, uri: str) -> None:
        """Record what a URI says that ``jid`` showed the user, who confirmed it; see ``KeyUri``.

        Args:
            jid: whom the user means, whatever the URI says.
            uri: a Trust Message URI for OpenPGP (XEP-0434 §9.1), or ``openpgp4fpr:``.

        Raises:
            PeerMisbehaved: as ``KeyUri.parse``; ``signer-mismatch``: it is about another account,
                or trusts a key that the JID never announced. Nothing was decided.
        """
        await others.verify(self, jid, uri)

    # -- sealing

    async def recipients(self, people: Collection[BareJid]) -> Mapping[BareJid, Recipients]:
        """Say which keys of ``people`` would be encrypted to now, and which would be left out.

        For the user to see before anything is sealed, ourselves too if named. What was not fetched
        yet is not known here; see :meth:`missing`.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            return {jid: await recipients_within(self, tx, jid) for jid in sorted(people)}

    async def seal(self, content: Sequence[Element], to: Collection[BareJid]) -> Element:
        """Sign and encrypt ``content`` for ``to`` and for ourselves; return ``<openpgp/>``.

        Raises:
            ApiMisuse: nobody to write to, an element without a namespace, no key of our own;
                ``unusable-key``: our own key is expired, revoked or cannot sign.
            DataMissing: keys must be fetched first.
            TrustUndecided: somebody has no key that was accepted.
            PeerMisbehaved: ``unusable-key``: somebody has only expired or revoked keys.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            return await self.seal_within(tx, content, to)

    async def seal_within(
        self, tx: Transaction, content: Sequence[Element], to: Collection[BareJid]
    ) -> Element:
        """As :meth:`seal`, inside a transaction of the caller, for profiles of XEP-0373."""
        return await seal_signcrypt(self, tx, content, to, to)

    async def sign(self, content: Sequence[Element], to: Collection[BareJid]) -> Element:
        """Sign ``content`` for ``to``, in clear; return ``<openpgp/>`` with a ``<sign/>``.

        Everybody on the way can read it.

        Raises:
            ApiMisuse: as :meth:`seal`.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            return await seal_sign(self, tx, content, to)

    async def crypt(self, content: Sequence[Element], to: Collection[BareJid]) -> Element:
        """Encrypt ``content`` for ``to`` and for ourselves, unsigned.

        Returns:
            ``<openpgp/>`` with a ``<crypt/>``; nobody can tell who wrote it.

        Raises:
            As :meth:`seal`, but for what only signing needs.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            return await seal_crypt(self, tx, content, to)

    # -- opening

    async def open(self, openpgp: Element, arrival: Arrival) -> OpenedOx:
        """Open a ``<signcrypt/>`` or ``<sign/>`` and check all that XEP-0373 §3.2 asks for.

        Opening alone remembers nothing: call :meth:`mark_handled`, or a profile's own method, once
        the content has been taken in; only then is a second delivery refused as a replay.

        Raises:
            ApiMisuse: this account has no key.
            DataMissing: keys of the sender must be fetched first.
            TrustUndecided: it is signed by a key that the user has not decided about, or that was
                trusted at first sight until they authenticated another one of the sender's.
            PeerMisbehaved: ``bad-signature``; ``forbidden``: nobody signed it, another content
                element than what OpenPGP did to it, or in a room; ``context-mismatch``, ``stale``,
                ``replay``, and what the parsers raise.
            CannotDecrypt: every cryptographic failure.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            return await self.open_within(tx, openpgp, arrival)

    async def open_within(self, tx: Transaction, openpgp: Element, arrival: Arrival) -> OpenedOx:
        """As :meth:`open`, inside a transaction of the caller, for profiles of XEP-0373."""
        return await open_signed(self, tx, openpgp, arrival)

    async def open_crypt(self, openpgp: Element, arrival: Arrival) -> OpenedCrypt:
        """Open a ``<crypt/>``, of which nobody knows who wrote it.

        As with :meth:`open`, opening alone remembers nothing.

        Raises:
            ApiMisuse: this account has no key.
            PeerMisbehaved: ``not-encrypted``; ``forbidden``: it is signed, another content element,
                or in a room; ``context-mismatch``, ``stale``, ``replay``, and what the parsers
                raise.
            CannotDecrypt: every cryptographic failure.
        """
        return await open_unsigned(self, openpgp, arrival)

    async def mark_handled(self, opened: OpenedOx | OpenedCrypt) -> None:
        """Remember that ``opened`` was taken in; a second delivery is refused from now on.

        Raises:
            ApiMisuse, PeerMisbehaved, TrustUndecided: as :meth:`mark_handled_within`.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            await tx.commit(await self.mark_handled_within(tx, opened))

    async def mark_handled_within(
        self, tx: Transaction, opened: OpenedOx | OpenedCrypt
    ) -> list[Change]:
        """Return the changes of :meth:`mark_handled`, for the caller's own commit.

        Raises:
            ApiMisuse: another account opened it.
            PeerMisbehaved: ``replay``: another task took it in first; ``bad-signature``: its signer
                was struck, distrusted or revoked since it was opened, or must be fetched again.
            TrustUndecided: its signer is accepted no more.
        """
        return await take_in(self, tx, opened)
