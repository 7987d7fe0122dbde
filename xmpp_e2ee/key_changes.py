"""Changes of an account's own key without a network: what must be sure first, and what then waits.

Rule: the order of the library's calls; where the account lies and who is asked is the command
line's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from e2ee.errors import DataMissing
from e2ee.names import BareJid, Fetch, Fingerprint
from e2ee.outbox import Outbox
from e2ee.trust import Trust
from ox.account import OxAccount
from ox.elements import data_node, metadata_address
from ox.uri import KeyUri

__all__ = ["Decided", "ListMissing", "OwnKey", "check_list", "decide", "taken_over", "waiting"]

_ALL: Final = 1_000_000


class ListMissing(Exception):
    """Nobody knows which keys the account has announced; a list of ours would strike the others."""


class OwnKey(Exception):
    """The account's own key needs no decision, and another one is no way to be rid of it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision of the user about one key.

    Attributes:
        fingerprint: of the key.
        before: its trust until then.
        after: its trust from then on.
    """

    fingerprint: Fingerprint
    before: Trust
    after: Trust


async def check_list(account: OxAccount, *, only_key: bool) -> None:
    """Make sure that the account may announce a key, whose list it will then publish.

    Args:
        account: which.
        only_key: the user knows that the account has announced no key but the one to come.

    Raises:
        ListMissing: its list was not fetched, or not since a renewal, and ``only_key`` does not
            stand for it, or cannot, because keys are known of it.
    """
    ring = await account.keys(account.account)
    if ring.listed:
        return
    if ring.keys or not only_key:
        raise ListMissing(f"the list of keys that {account.account} has announced is not known")
    await account.feed(Fetch(metadata_address(account.account)), None)


async def taken_over(
    account: OxAccount, take: Callable[[], Awaitable[Fingerprint]], *, only_key: bool
) -> Fingerprint:
    """Take over a key from outside, where it is known what was published of it.

    Args:
        account: which.
        take: adopts the key; done again once its word is given.
        only_key: as of :func:`check_list`; then no published copy of the key says more than it.

    Raises:
        ListMissing: it is not known whether the key was revoked.
        E2eeError: what ``take`` raises.
    """
    try:
        return await take()
    except DataMissing as missing:
        ring = await account.keys(account.account)
        known = {data_node(key.fingerprint) for key in ring.keys}
        if not only_key or any(fetch.address.node in known for fetch in missing.fetches):
            raise ListMissing("it is not known whether the key was revoked") from None
        for fetch in missing.fetches:
            await account.feed(fetch, None)
        return await take()


async def decide(
    account: OxAccount, jid: BareJid, decision: tuple[Fingerprint, Trust] | str
) -> tuple[Decided, ...]:
    """Record what the user decided about keys of ``jid``.

    Args:
        account: whose user.
        jid: whose keys.
        decision: a key and its trust, or a URI as ``ox.uri`` reads it.

    Returns:
        What was decided; a key that ``jid`` never announced was undecided before.

    Raises:
        OwnKey: it is about the account's own key.
        PeerMisbehaved: as ``OxAccount.decide`` and ``OxAccount.verify``; nothing is recorded.
    """
    if isinstance(decision, str):
        shown = KeyUri.parse(decision)
        named = {*shown.trust, *shown.distrust}
    else:
        named = {decision[0]}
    before = await account.keys(jid)
    if before.ours in named:
        raise OwnKey(
            f"{before.ours} is the account's own key, which is trusted until it is revoked"
        )
    if isinstance(decision, str):
        await account.verify(jid, decision)
    else:
        await account.decide(jid, *decision)
    after = await account.keys(jid)
    known = {key.fingerprint: key.trust for key in before.keys}
    return tuple(
        Decided(key.fingerprint, known.get(key.fingerprint, Trust.UNDECIDED), key.trust)
        for key in after.keys
        if key.fingerprint in named
    )


async def waiting(account: OxAccount) -> int:
    """Return how many effects wait until a client connects and performs them."""
    return len(await Outbox(account.ports.store, account.account).pending(_ALL))
