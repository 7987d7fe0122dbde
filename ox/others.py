"""What an account learns and believes of the keys of people: lists, keys, decisions, URIs.

Rule: one transaction each, from what was fetched to the next KeyRing with what it is worth telling;
what a ring makes of it is decided in ``keys.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fetch, Fingerprint, parse_fingerprint
from e2ee.storage import Change, Transaction
from e2ee.trust import Trust
from e2ee.xmltree import Element
from ox.elements import METADATA_NODE, PublicKeysList, metadata_address, read_pubkey
from ox.engine import Certificate
from ox.keys import KeyRing
from ox.known_key import KnownKey
from ox.news import news
from ox.ring_rows import put_ring, ring_within
from ox.upkeep import announced_again, published_again
from ox.uri import KeyUri

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = ["decide", "feed", "missing_within", "notified", "verify"]


async def missing_within(
    account: OxAccount, tx: Transaction, people: Collection[BareJid]
) -> tuple[Fetch, ...]:
    """See ``OxAccount.missing``."""
    rings = [await ring_within(tx, account.account, jid) for jid in sorted(people)]
    return tuple(fetch for ring in rings for fetch in ring.missing)


def notified(account: OxAccount, arrival: Arrival) -> tuple[Fetch, ...]:
    """See ``OxAccount.notified``."""
    sender = arrival.sender
    believable = (
        arrival.kind is StanzaKind.ITEM
        and arrival.node == metadata_address(sender.bare)
        and not sender.resource
        and (arrival.to is None or arrival.to.bare == account.account)
    )
    return (Fetch(arrival.node),) if believable and arrival.node else ()


async def feed(account: OxAccount, fetch: Fetch, payload: Element | None) -> None:
    """See ``OxAccount.feed``."""
    jid, node = fetch.address.service, fetch.address.node
    async with account.ports.store.exclusive(account.scope) as tx:
        before = await ring_within(tx, account.account, jid)
        revoked: KnownKey | None = None
        again: list[Change] = []
        ours: bytes | None = None
        if node == METADATA_NODE:
            listed = PublicKeysList(()) if payload is None else PublicKeysList.from_xml(payload)
            ring = before.announce(listed, _first_sight(account, jid))
        elif node.startswith(f"{METADATA_NODE}:"):
            expected = parse_fingerprint(node.removeprefix(f"{METADATA_NODE}:"))
            if jid == account.account:
                before = before.asked_for(expected)
            fetched = None if payload is None else read_pubkey(payload)
            if fetched is None:
                ring = before.withdraw(expected)
            else:
                certificate = await _fetched(account, before.find(expected), fetched)
                ring = before.deliver(certificate, expected)
                revoked = await _newly_revoked(account, before.find(expected), certificate)
                ours = fetched if expected == ring.ours else None
            again += await published_again(account, tx, ring, expected, fetched)
        else:
            raise ApiMisuse(f"{node} is no node of OpenPGP for XMPP")
        now = account.ports.clock()
        again += await announced_again(account, tx, ring, ours)
        told = news(account.account, before, ring, now, revoked=revoked)
        await tx.commit([put_ring(account.account, ring), *told, *again])


def _first_sight(account: OxAccount, jid: BareJid) -> Trust:
    # A key that the server adds to our own list is a stranger's until the user says otherwise.
    return Trust.UNDECIDED if jid == account.account else account.ports.trust.first_sight(jid)


async def _fetched(account: OxAccount, known: KnownKey | None, fetched: bytes) -> Certificate:
    """Return a fetched key with all that was known of it: what was revoked stays revoked."""
    return await account.engine.merge(None if known is None else known.seen, fetched)


async def _newly_revoked(
    account: OxAccount, known: KnownKey | None, certificate: Certificate
) -> KnownKey | None:
    if known is None or not certificate.revoked:
        return None
    if known.seen is None and known.trust is Trust.UNDECIDED:
        return None  # nobody ever had a use for it
    if known.seen is not None and (await account.engine.inspect(known.seen)).revoked:
        return None
    return known


async def decide(account: OxAccount, jid: BareJid, fingerprint: Fingerprint, trust: Trust) -> None:
    """See ``OxAccount.decide``."""
    async with account.ports.store.exclusive(account.scope) as tx:
        before = await ring_within(tx, account.account, jid)
        ring = before.decide(fingerprint, trust)
        await _commit(account, tx, before, ring)


async def verify(account: OxAccount, jid: BareJid, uri: str) -> None:
    """See ``OxAccount.verify``."""
    shown = KeyUri.parse(uri)
    if shown.jid not in (None, jid):
        raise PeerMisbehaved(
            ErrorCode.SIGNER_MISMATCH, f"a URI of the keys of another than {jid}", rule="XEP-0434"
        )
    async with account.ports.store.exclusive(account.scope) as tx:
        before = ring = await ring_within(tx, account.account, jid)
        for fingerprint in shown.trust:
            ring = ring.decide(fingerprint, Trust.AUTHENTICATED)
        for fingerprint in shown.distrust:
            ring = ring.distrust(fingerprint)
        await _commit(account, tx, before, ring)


async def _commit(account: OxAccount, tx: Transaction, before: KeyRing, ring: KeyRing) -> None:
    told = news(account.account, before, ring, account.ports.clock())
    await tx.commit([put_ring(account.account, ring), *told])
