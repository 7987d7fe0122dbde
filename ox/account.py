"""OxAccount: one account's OpenPGP for XMPP: its own key, the keys of others, sealing and opening.

Rule: every operation is one transaction of the account's store; what must be sent is queued in it.
What makes an opened message believable is decided in ``opened.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from e2ee.arrival import Arrival
from e2ee.errors import (
    ApiMisuse,
    DataMissing,
    ErrorCode,
    PeerMisbehaved,
    StoreFailed,
    TrustUndecided,
)
from e2ee.names import BareJid, Fetch, Fingerprint, parse_fingerprint
from e2ee.padding import random_padding
from e2ee.ports import Ports
from e2ee.renewal import renewal_within
from e2ee.secret import Secret
from e2ee.storage import Change, Key, Put, Transaction
from e2ee.trust import Trust
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from ox.announcement import announce, was_announced_on
from ox.elements import (
    METADATA_NODE,
    PublicKeysList,
    Signcrypt,
    read_openpgp,
    read_pubkey,
    write_openpgp,
)
from ox.engine import Certificate, KeyHandle, OpenPgpEngine, Signed
from ox.handled import check_unhandled, mark_handled
from ox.key_record import ring_from_record, ring_to_record
from ox.keys import KeyRing, names_jid, user_id
from ox.opened import OpenedOx, check_believed, check_signed
from ox.soundness import refused_keys, sound_keys

__all__ = ["OxAccount"]

_RULE: Final = "XEP-0373 §3.2"


class OxAccount:
    """OpenPGP for XMPP (XEP-0373 0.7.0) for one account."""

    def __init__(self, account: BareJid, ports: Ports, engine: OpenPgpEngine) -> None:
        """Bind an account to its ports; state is read from the store by each operation."""
        self.account = account
        self.ports = ports
        self.engine = engine
        self.scope: Key = (str(account),)

    # -- our own key

    async def generate(self) -> Fingerprint:
        """Make this account's key and queue its announcement, data node first (XEP-0373 §4).

        Raises:
            ApiMisuse: the account has a key.
            DataMissing: the account's own list of keys must be fetched first.
        """
        handle = await self.engine.generate(user_id(self.account))
        async with self.ports.store.exclusive(self.scope) as tx:
            await self._install(tx, handle)
        return handle.certificate.fingerprint

    async def adopt(self, material: Secret) -> Fingerprint:
        """Take over a key made elsewhere and queue its announcement.

        Args:
            material: the binary, unprotected transferable secret key.

        Raises:
            ApiMisuse: the account has a key.
            DataMissing: the account's own list of keys must be fetched first, and what it names.
            PeerMisbehaved: ``signer-mismatch``: no valid user id names this account;
                ``unusable-key``: it is revoked, also if only its published copy says so, or the
                user distrusts it; what the engine raises for a bad key.
        """
        handle = await self.engine.adopt(material)
        async with self.ports.store.exclusive(self.scope) as tx:
            await self._install(tx, handle)
        return handle.certificate.fingerprint

    async def _install(self, tx: Transaction, handle: KeyHandle) -> None:
        if await self._own_key_or_none(tx) is not None:
            raise ApiMisuse(f"{self.account} has an OpenPGP key already")
        ring = await self.keys_within(tx, self.account)
        # A list of one would strike the keys of our other devices; a key, its own revocation.
        if fetches := ring.missing_before(handle.certificate.fingerprint):
            raise DataMissing("what we have published of our keys is missing", fetches=fetches)
        certificate = await self._fit(ring, handle.certificate)
        ring = ring.own(certificate)
        await tx.commit(
            [
                Put(self._own_key, handle.material.reveal()),
                self._put_ring(ring),
                *await announce(tx, self.scope, ring, certificate, self.ports.clock()),
            ]
        )

    async def _fit(self, ring: KeyRing, certificate: Certificate) -> Certificate:
        """Return our key to be with all that its ring knows of it, if it may be ours still."""
        known = ring.find(certificate.fingerprint)
        if known is not None and known.seen is not None:
            certificate = await self.engine.merge(known.seen, certificate.raw)
        if not names_jid(certificate, self.account):
            raise PeerMisbehaved(
                ErrorCode.SIGNER_MISMATCH,
                f"a key without the user id {user_id(self.account)}",
                rule="XEP-0373 §8.5",
            )
        if certificate.revoked or (known is not None and known.trust is Trust.DISTRUSTED):
            raise PeerMisbehaved(
                ErrorCode.UNUSABLE_KEY, "the key is revoked or distrusted", rule=_RULE
            )
        return certificate

    async def _announced_again(self, tx: Transaction, ring: KeyRing) -> list[Change]:
        """Announce our key anew when our list lacks it; once a day, or who strikes it drives us."""
        ours = None if ring.ours is None else ring.find(ring.ours)
        if ours is None or ours.announced or ours.raw is None or not ours.trust.accepts:
            return []  # not before it was fetched, or a revocation would be overwritten
        now = self.ports.clock()
        if await was_announced_on(tx, self.scope, now):
            return []
        certificate = await self.engine.inspect(ours.raw)
        if certificate.revoked:
            return []
        return await announce(tx, self.scope, ring.own(certificate), certificate, now)

    async def own_key(self) -> KeyHandle:
        """Return this account's key, its public part as it was last published.

        Raises:
            ApiMisuse: it has none; see :meth:`generate`.
            StoreFailed: ``store-corrupt``: it had one, and part of it is lost.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            return await self.own_key_within(tx)

    async def own_key_within(self, tx: Transaction) -> KeyHandle:
        """As :meth:`own_key`, inside a transaction of the caller."""
        handle = await self._own_key_or_none(tx)
        if handle is None:
            raise ApiMisuse(f"{self.account} has no OpenPGP key; generate one first")
        return handle

    async def _own_key_or_none(self, tx: Transaction) -> KeyHandle | None:
        ring = await self.keys_within(tx, self.account)
        material = await self._own_material(tx)
        if material is None and ring.ours is None:
            return None
        # The secret key and the ring must agree: never a new identity for one that was lost.
        known = None if ring.ours is None else ring.find(ring.ours)
        if material is None or known is None or known.seen is None:
            raise _own_key_lost()
        try:
            handle = await self.engine.adopt(material)
            certificate = handle.certificate
            if known.seen != certificate.raw:  # another device prolonged or revoked it
                certificate = await self.engine.inspect(known.seen)
        except PeerMisbehaved:
            raise _own_key_lost() from None
        if {handle.certificate.fingerprint, certificate.fingerprint} != {ring.ours}:
            raise _own_key_lost()
        return KeyHandle(certificate, handle.material)

    async def _own_material(self, tx: Transaction) -> Secret | None:
        material = await tx.get(self._own_key)
        return None if material is None else Secret(material)

    # -- the keys of others

    async def missing(self, people: Collection[BareJid]) -> tuple[Fetch, ...]:
        """Say what must be fetched before ``people`` can be written to or believed."""
        async with self.ports.store.exclusive(self.scope) as tx:
            return await self._missing(tx, people)

    async def _missing(self, tx: Transaction, people: Collection[BareJid]) -> tuple[Fetch, ...]:
        rings = [await self.keys_within(tx, jid) for jid in sorted(people)]
        return tuple(fetch for ring in rings for fetch in ring.missing)

    async def feed(self, fetch: Fetch, payload: Element | None) -> None:
        """Take in what was fetched; also for a list that was announced by a notification.

        Args:
            fetch: what was asked for.
            payload: the payload of the most recent item; ``None`` where there is none.

        Raises:
            ApiMisuse: no node of XEP-0373.
            PeerMisbehaved: the list or the key is not what it must be; nothing was kept. Feed
                ``None`` for such a key, and its owner is written to without it.
        """
        jid, node = fetch.address.service, fetch.address.node
        async with self.ports.store.exclusive(self.scope) as tx:
            ring = await self.keys_within(tx, jid)
            if node == METADATA_NODE:
                listed = PublicKeysList(()) if payload is None else PublicKeysList.from_xml(payload)
                ring = ring.announce(listed, self._first_sight(jid))
            elif node.startswith(f"{METADATA_NODE}:"):
                ring = await self._deliver(ring, node, payload)
            else:
                raise ApiMisuse(f"{node} is no node of OpenPGP for XMPP")
            again = await self._announced_again(tx, ring)
            await tx.commit([self._put_ring(ring), *again])

    def _first_sight(self, jid: BareJid) -> Trust:
        # A key that the server adds to our own list is a stranger's until the user says otherwise.
        return Trust.UNDECIDED if jid == self.account else self.ports.trust.first_sight(jid)

    async def _deliver(self, ring: KeyRing, node: str, payload: Element | None) -> KeyRing:
        expected = parse_fingerprint(node.removeprefix(f"{METADATA_NODE}:"))
        if payload is None:
            return ring.withdraw(expected)
        known = ring.find(expected)
        fetched = read_pubkey(payload)
        if known is not None and known.seen is not None:
            return ring.deliver(await self.engine.merge(known.seen, fetched), expected)
        return ring.deliver(await self.engine.inspect(fetched), expected)

    async def keys(self, jid: BareJid) -> KeyRing:
        """Return what is known of the keys of ``jid``."""
        async with self.ports.store.exclusive(self.scope) as tx:
            return await self.keys_within(tx, jid)

    async def decide(self, jid: BareJid, fingerprint: Fingerprint, trust: Trust) -> None:
        """Record the user's decision about one key, named by the fingerprint that was shown.

        Raises:
            PeerMisbehaved: ``signer-mismatch``: the JID never announced this key.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            ring = (await self.keys_within(tx, jid)).decide(fingerprint, trust)
            await tx.commit([self._put_ring(ring)])

    # -- sealing

    async def seal(self, content: Sequence[Element], to: Collection[BareJid]) -> Element:
        """Sign and encrypt ``content`` for ``to`` and for ourselves; return ``<openpgp/>``.

        Raises:
            ApiMisuse: nobody to write to, an element without a namespace, no key of our own.
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
        if not to:
            raise ApiMisuse("a <signcrypt/> needs somebody to be for", rule="XEP-0373 §3.1")
        if any(not child.namespace for child in content):
            raise ApiMisuse("a payload element needs a namespace", rule="XEP-0373 §3.1")
        own = await self.own_key_within(tx)
        certificates = {own.certificate.fingerprint: own.certificate}
        for jid in sorted({*to, self.account}):
            for certificate in await self._usable(tx, jid):
                certificates[certificate.fingerprint] = certificate
        signcrypt = Signcrypt(
            to=tuple(sorted(to)),
            time=self.ports.clock(),
            payload=tuple(content),
            padding=random_padding(self.ports.primitives),
        )
        message = await self.engine.seal(
            write_xml(signcrypt.to_xml()).encode(), list(certificates.values()), own
        )
        return write_openpgp(message)

    async def _usable(self, tx: Transaction, jid: BareJid) -> list[Certificate]:
        ring = await self.keys_within(tx, jid)
        sound = await sound_keys(self.engine, ring, ring.recipients)
        usable = [certificate for certificate in sound if certificate.encrypts]
        if ring.outdated or (jid != self.account and ring.unfetched_recipients):
            raise DataMissing(f"keys of {jid} are missing", fetches=ring.missing)
        if jid == self.account:
            return usable  # we have our own key; whatever a server makes of our list stops nothing
        if not ring.recipients:
            if ring.undecided:
                raise TrustUndecided(f"no key of {jid} is trusted", subjects=ring.undecided)
            raise PeerMisbehaved(ErrorCode.UNUSABLE_KEY, f"{jid} has no key", rule="XEP-0373 §4")
        if not usable:
            raise PeerMisbehaved(
                ErrorCode.UNUSABLE_KEY,
                f"every key of {jid} is expired, revoked or cannot encrypt",
                rule="XEP-0373 §4",
            )
        return usable

    # -- opening

    async def open(self, openpgp: Element, arrival: Arrival) -> OpenedOx:
        """Open ``<openpgp/>`` and check all that XEP-0373 §3.2 asks for.

        Opening alone remembers nothing: call :meth:`mark_handled`, or a profile's own method, once
        the content has been taken in; only then is a second delivery refused as a replay.

        Raises:
            ApiMisuse: this account has no key.
            DataMissing: keys of the sender must be fetched first.
            TrustUndecided: it is signed by a key that the user has not decided about.
            PeerMisbehaved: ``bad-signature``, ``forbidden``, ``context-mismatch``, ``stale``,
                ``replay``, and what the parsers raise.
            CannotDecrypt: every cryptographic failure.
        """
        message = read_openpgp(openpgp)
        sender = arrival.sender.bare
        async with self.ports.store.exclusive(self.scope) as tx:
            ring = await self.keys_within(tx, sender)
            believed = ring if arrival.stamp is None else ring.with_struck_keys()
            signed = await self._verified(tx, message, believed)
            opened = check_signed(signed, ring, arrival, self.account, self.ports.clock())
            await check_unhandled(tx, self.scope, opened.digest)
            return opened

    async def _verified(self, tx: Transaction, message: bytes, ring: KeyRing) -> Signed:
        keys = [key for key in ring.keys if key.trust is not Trust.DISTRUSTED]
        own = await self.own_key_within(tx)
        try:
            signed = await self.engine.open(message, [own], [key.raw for key in keys if key.raw])
            sound = await sound_keys(
                self.engine, ring, (k for k in keys if k.fingerprint in signed.signers)
            )
            signers = {key.fingerprint: signed.signers[key.fingerprint] for key in sound}
            if not signers:
                raise PeerMisbehaved(
                    ErrorCode.BAD_SIGNATURE, f"signed by no key of {ring.jid}", rule=_RULE
                )
            return replace(signed, signers=signers)
        except PeerMisbehaved as error:
            if error.code is ErrorCode.BAD_SIGNATURE and ring.missing:
                raise DataMissing(f"keys of {ring.jid} are missing", fetches=ring.missing) from None
            raise

    async def mark_handled(self, opened: OpenedOx) -> None:
        """Remember that ``opened`` was taken in; a second delivery is refused from now on.

        Raises:
            ApiMisuse, PeerMisbehaved, TrustUndecided: as :meth:`mark_handled_within`.
        """
        async with self.ports.store.exclusive(self.scope) as tx:
            await tx.commit(await self.mark_handled_within(tx, opened))

    async def mark_handled_within(self, tx: Transaction, opened: OpenedOx) -> list[Change]:
        """Return the changes of :meth:`mark_handled`, for the caller's own commit.

        Raises:
            ApiMisuse: another account opened it.
            PeerMisbehaved: ``replay``: another task took it in first; ``bad-signature``: its signer
                was struck, distrusted or revoked since it was opened, or must be fetched again.
            TrustUndecided: its signer is accepted no more.
        """
        if opened.account != self.account:
            raise ApiMisuse(f"a message that {opened.account} opened")
        ring = await self.keys_within(tx, opened.sender)
        check_believed(ring, {opened.signer}, opened.arrival)
        if opened.signer in await refused_keys(self.engine, ring):
            raise PeerMisbehaved(ErrorCode.BAD_SIGNATURE, "its key was revoked since", rule=_RULE)
        return await mark_handled(tx, self.scope, opened.digest, self.ports.clock())

    # -- keys of the store

    @property
    def _own_key(self) -> Key:
        return (*self.scope, "ox", "own")

    def _put_ring(self, ring: KeyRing) -> Put:
        return Put((*self.scope, "ox", "ring", str(ring.jid)), ring_to_record(ring))

    async def keys_within(self, tx: Transaction, jid: BareJid) -> KeyRing:
        """As :meth:`keys`, inside a transaction of the caller.

        What is from before the account's newest renewal must be fetched again.
        """
        raw = await tx.get((*self.scope, "ox", "ring", str(jid)))
        ring = KeyRing(jid) if raw is None else ring_from_record(raw)
        if ring.jid != jid:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "a key ring in the place of another")
        return ring.renewed(await renewal_within(tx, self.account))


def _own_key_lost() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a part of our own key is lost")
