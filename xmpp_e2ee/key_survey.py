"""A survey of keys: what an account knows of its own and of others', each inspected anew.

Rule: reads only, and public parts only; how it looks is the command line's business.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from e2ee import ns
from e2ee.errors import PeerMisbehaved
from e2ee.key_events import KeyEvent, KeyEvents
from e2ee.names import BareJid
from ox.account import OxAccount
from ox.engine import Certificate
from ox.keys import KeyRing, names_jid
from ox.known_key import KnownKey
from ox.ring_rows import people_within

__all__ = ["FoundKey", "FoundRing", "survey"]


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, and what can be said of it today.

    Attributes:
        known: as it is stored.
        ours: whether its secret part is in the store.
        accepted: whether it is encrypted to and believed, as far as trust goes.
        waits: whether it is not, until the user decides about it.
        certificate: its public part, or ``None`` where it was not fetched or is not sound.
        named: whether a valid user id of it names its owner.
        events: what happened to it and the user was not shown yet, oldest first.
    """

    known: KnownKey
    ours: bool
    accepted: bool
    waits: bool
    certificate: Certificate | None
    named: bool
    events: tuple[KeyEvent, ...]


@dataclass(frozen=True, slots=True)
class FoundRing:
    """The keys of one JID.

    Attributes:
        jid: whose.
        listed: whether the JID's list of keys is known.
        keys: in the order in which they were met.
    """

    jid: BareJid
    listed: bool
    keys: tuple[FoundKey, ...]


async def survey(
    account: OxAccount, people: Collection[BareJid] | None = None
) -> tuple[FoundRing, ...]:
    """Look at the keys of ``people``; without any, at those of the account and then of all others.

    Raises:
        StoreFailed: what the store raises.
    """
    if people is None:
        async with account.ports.store.exclusive(account.scope) as tx:
            others = set(await people_within(tx, account.account)) - {account.account}
        people = [account.account, *sorted(others)]
    pending = await KeyEvents(account.ports.store, account.account).pending()
    events = [each for each in pending if each.encryption == ns.OX]
    return tuple([await _look(account, await account.keys(jid), events) for jid in people])


async def _look(account: OxAccount, ring: KeyRing, events: Collection[KeyEvent]) -> FoundRing:
    accepted, undecided = ring.accepted, ring.undecided
    keys = []
    for known in ring.keys:
        certificate = None
        if known.seen is not None:
            with suppress(PeerMisbehaved):  # sound when it came, and no more
                certificate = await account.engine.inspect(known.seen)
        keys.append(
            FoundKey(
                known=known,
                ours=known.fingerprint == ring.ours,
                accepted=known in accepted,
                waits=known.fingerprint in undecided,
                certificate=certificate,
                named=certificate is not None and names_jid(certificate, ring.jid),
                events=tuple(
                    each for each in events if (each.jid, each.key) == (ring.jid, known.fingerprint)
                ),
            )
        )
    return FoundRing(ring.jid, ring.listed, tuple(keys))
