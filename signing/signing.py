"""Signing: our own signature of an item, alone, with others, or beside somebody who signed first.

Rule: only items of the signable profile are signed, and only our key signs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from e2ee import ns
from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.history import History, Sighting, line_of
from e2ee.lexical import format_time
from e2ee.limits import MAX_SIGNERS
from e2ee.names import BareJid, ItemPlace, NodeAddress
from e2ee.storage import Transaction
from e2ee.xmltree import Element, element
from ox.detached import sign_within
from signing.elements import Signature, Statement
from signing.openpgp import seal_sign
from signing.profile import prepare
from signing.readings import Reading, signed_bytes
from signing.signed_by import SignedBy
from signing.verdict import Doubt, SignerVerdict, Verdict
from signing.verifying import Checked, check_signature
from signing.wrapped_item import WrappedItem

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = ["SignedItem", "co_sign", "sign"]

_RULE: Final = "XEP-0475 §5"


@dataclass(frozen=True, slots=True)
class SignedItem:
    """What to publish: an item, and beside it a signature.

    Attributes:
        payload: what was signed: the payload that was given, or the same with
            ``xml:space="preserve"``, without which its edge spaces would not be signed.
        signature: ``<signature/>``, to be attached to the item (XEP-0470).
    """

    payload: Element = field(repr=False)
    signature: Element = field(repr=False)


async def sign(
    ox: OxAccount, payload: Element, node: NodeAddress, beside: Sequence[BareJid]
) -> SignedItem:
    """See ``ItemSignatures.sign``."""
    signers = (ox.account, *beside)
    if len(set(signers)) != len(signers):
        raise ApiMisuse("a signer who is listed twice", rule=_RULE)
    if len(signers) > MAX_SIGNERS:
        raise ApiMisuse("too many signers", code=ErrorCode.LIMIT_EXCEEDED, rule=_RULE)
    ready = prepare(payload)
    statement = Statement(format_time(ox.ports.clock()), signers)
    data = signed_bytes(element(ns.PUBSUB, "item", None, ready), node.service, statement)
    async with ox.ports.store.exclusive(ox.scope) as tx:
        return SignedItem(ready, await _signed(ox, tx, data, statement))


async def co_sign(ox: OxAccount, item: Element, place: ItemPlace, first: SignedBy) -> Element:
    """See ``ItemSignatures.co_sign``."""
    wrapped = WrappedItem(item, place)
    _check_signable(wrapped.payload)
    async with ox.ports.store.exclusive(ox.scope) as tx:
        checked = await check_signature(ox, tx, wrapped, first)
        statement, reading = _accepted(checked)
        if statement.signers[0] != first.publisher or ox.account not in statement.signers[1:]:
            raise PeerMisbehaved(
                ErrorCode.SIGNER_MISMATCH, "a signature that asks for none of ours", rule=_RULE
            )
        if Doubt.TIME_DIFFERS in checked.verdict.doubts:
            raise PeerMisbehaved(ErrorCode.STALE, "a first signature of another time", rule=_RULE)
        history = History(tx, ox.scope)
        await _check_current(history, wrapped, statement, ox.ports.clock())
        signature = await _signed(ox, tx, wrapped.signed_bytes(statement, reading), statement)
        if changes := history.changes():
            await tx.commit(changes)
    return signature


async def _check_current(
    history: History, item: WrappedItem, statement: Statement, now: datetime
) -> None:
    """Refuse what its first signer wrote for another place, or replaced since, as far as we saw.

    What we sign is remembered as if we had verified it.
    """
    digest = hashlib.sha256(item.signed_bytes(statement)).digest()
    line = line_of(statement.signers[0])
    seen = await history.saw(item.place, line, digest, statement.time, now)
    if seen.sighting is Sighting.MOVED:
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, "an item that was moved from elsewhere", rule=_RULE
        )
    if seen.sighting is Sighting.ROLLED_BACK:
        raise PeerMisbehaved(ErrorCode.STALE, "an item that was replaced since", rule=_RULE)


def _check_signable(payload: Element) -> None:
    """Refuse from others what we would not sign of our own accord."""
    try:
        unchanged = prepare(payload) == payload
    except ApiMisuse:
        unchanged = False
    if not unchanged:
        raise PeerMisbehaved(
            ErrorCode.AMBIGUOUS, "an item outside the signable profile", rule="XEP-0475 §6"
        )


def _accepted(first: Checked) -> tuple[Statement, Reading]:
    """Return what a trusted signature is of; we sign the same bytes, by the same reading.

    Raises:
        PeerMisbehaved, DataMissing, TrustUndecided: as ``ItemSignatures.co_sign``.
    """
    verdict = first.verdict
    if verdict.missing:
        raise DataMissing(f"keys of {verdict.signer} are missing", fetches=verdict.missing)
    match first:
        case Checked(
            SignerVerdict(verdict=Verdict.TRUSTED, reading=Reading() as reading),
            Statement() as statement,
        ):
            return statement, reading
    if verdict.verdict is Verdict.UNTRUSTED and verdict.key is not None:
        raise TrustUndecided(f"no key of {verdict.signer} is trusted", subjects=(verdict.key,))
    raise PeerMisbehaved(
        verdict.code or ErrorCode.AMBIGUOUS,
        f"a first signature that is {verdict.verdict}",
        rule=_RULE,
    )


async def _signed(ox: OxAccount, tx: Transaction, data: bytes, statement: Statement) -> Element:
    packet = await sign_within(ox, tx, data)
    return Signature(statement, seal_sign(packet)).to_xml()
