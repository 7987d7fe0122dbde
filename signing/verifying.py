"""Verifying: from an item and the signatures beside it to what they prove (XEP-0475 §5.3, §7).

Rule: what somebody attached never raises; it becomes a verdict with its code. Only keys that the
account knows are used, and only the tree that was verified is handed out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from e2ee.errors import DataMissing, EngineFailed, ErrorCode, PeerMisbehaved
from e2ee.history import History, Sighting, line_of
from e2ee.limits import MAX_CLOCK_SKEW
from e2ee.names import BareJid, Fetch, ItemPlace
from e2ee.storage import Transaction
from e2ee.xmltree import Element
from ox.detached import Judged, KeyState, judge_within
from signing.elements import Signature, Statement
from signing.openpgp import open_sign
from signing.policy import Outcome, Policy, judge
from signing.readings import Reading
from signing.signed_by import SignedBy, looked_at
from signing.verdict import Doubt, SignerVerdict, Uncovered, Unverifiable, Verdict, Verification
from signing.wrapped_item import WrappedItem

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = [
    "Checked",
    "FetchedItem",
    "check_signature",
    "missing",
    "verify_many",
]

_RULE: Final = "XEP-0475 §5"
_SIGHTINGS: Final = tuple(Sighting)  # as they get worse


@dataclass(frozen=True, slots=True)
class FetchedItem:
    """An item with every signature that was found beside it; see ``ItemSignatures.verify``."""

    item: Element = field(repr=False)
    place: ItemPlace
    attachments: tuple[SignedBy, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """One signature after it was looked at.

    Attributes:
        verdict: what it proves by itself.
        statement: what it is a signature of; ``None`` where it is of none that its publisher may
            sign.
    """

    verdict: SignerVerdict
    statement: Statement | None


async def missing(ox: OxAccount, attachments: Collection[SignedBy]) -> tuple[Fetch, ...]:
    """See ``ItemSignatures.missing``."""
    return await ox.missing({each.publisher for each in attachments})


async def verify_many(
    ox: OxAccount, items: Sequence[FetchedItem], policy: Policy
) -> tuple[Verification | Unverifiable, ...]:
    """See ``ItemSignatures.verify_many``."""
    results: list[Verification | Unverifiable] = []
    async with ox.ports.store.exclusive(ox.scope) as tx:
        history = History(tx, ox.scope)
        for fetched in items:
            try:
                results.append(await _verified(ox, tx, history, fetched, policy))
            except PeerMisbehaved as error:
                results.append(Unverifiable(error, fetched.place))
        if changes := history.changes():
            await tx.commit(changes)
    return tuple(results)


async def check_signature(
    ox: OxAccount, tx: Transaction, item: WrappedItem, by: SignedBy
) -> Checked:
    """Verify one signature by the keys of its publisher, whatever is known from history.

    Args:
        ox: the account that reads.
        tx: reads of one snapshot.
        item: what it should be a signature of.
        by: the signature.
    """
    statement: Statement | None = None
    claimed: datetime | None = None
    try:
        signature = Signature.from_xml(by.signature)
        claimed = signature.statement.time
        if by.publisher not in signature.statement.signers:
            raise PeerMisbehaved(
                ErrorCode.SIGNER_MISMATCH, f"{by.publisher} is no signer of it", rule=_RULE
            )
        statement = signature.statement
        if signature.to not in (None, item.place.node.service):
            raise PeerMisbehaved(ErrorCode.CONTEXT_MISMATCH, "for another service", rule=_RULE)
        if claimed > ox.ports.clock() + MAX_CLOCK_SKEW:
            raise PeerMisbehaved(ErrorCode.STALE, "a signature from the future", rule=_RULE)
        reading, judged = await _judged(ox, tx, item, by.publisher, signature)
    except DataMissing as error:
        verdict = SignerVerdict(
            by.publisher, Verdict.UNCHECKED, error.code, claimed, missing=error.fetches
        )
    except (PeerMisbehaved, EngineFailed) as error:
        verdict = SignerVerdict(by.publisher, Verdict.INVALID, error.code, claimed)
    else:
        verdict = _valid(by.publisher, signature.statement, item, reading, judged)
    return Checked(verdict, statement)


async def _judged(
    ox: OxAccount, tx: Transaction, item: WrappedItem, signer: BareJid, signature: Signature
) -> tuple[Reading, Judged]:
    """Return the first reading by which the signature is one of the item, and what it proves."""
    packets = open_sign(signature.profile)
    tried: list[bytes] = []
    for reading in item.readings:
        data = item.signed_bytes(signature.statement, reading)
        if data in tried:
            continue  # two readings have the same bytes for most items
        tried.append(data)
        try:
            return reading, await judge_within(ox, tx, signer, data, packets)
        except DataMissing as error:
            failed: PeerMisbehaved | DataMissing = error
        except PeerMisbehaved as error:
            if error.code is not ErrorCode.BAD_SIGNATURE:
                raise
            failed = error
    raise failed


def _valid(
    signer: BareJid, statement: Statement, item: WrappedItem, reading: Reading, judged: Judged
) -> SignerVerdict:
    why = item.ambiguities(reading)
    if why:
        verdict = Verdict.AMBIGUOUS
    else:
        verdict = Verdict.TRUSTED if judged.trust.accepts else Verdict.UNTRUSTED
    doubts = set()
    late = judged.made - statement.time
    if late < -MAX_CLOCK_SKEW or (signer == statement.signers[0] and late > MAX_CLOCK_SKEW):
        doubts.add(Doubt.TIME_DIFFERS)  # who signs beside the first may do so much later
    if not judged.announced:
        doubts.add(Doubt.KEY_NOT_ANNOUNCED)
    if judged.now is KeyState.RETIRED:
        doubts.add(Doubt.KEY_RETIRED)
    if judged.missing:
        doubts.add(Doubt.KEY_OUTDATED)
    return SignerVerdict(
        signer,
        verdict,
        claimed=statement.time,
        made=judged.made,
        key=judged.key,
        trust=judged.trust,
        then=judged.then,
        now=judged.now,
        reading=reading,
        ambiguities=why,
        doubts=frozenset(doubts),
        missing=judged.missing,
    )


@dataclass(slots=True)
class _Group:
    """The signatures of one statement, by their signers.

    Attributes:
        signers: who should have signed.
        verdicts: of those who did.
        statement: what they signed; ``None`` for a signature of nothing that can be signed.
    """

    signers: tuple[BareJid, ...]
    verdicts: dict[BareJid, SignerVerdict]
    statement: Statement | None = None

    def outcome(self) -> Outcome:
        proven = {signer: each.verdict for signer, each in self.verdicts.items()}
        return Outcome(self.signers, proven)


async def _verified(
    ox: OxAccount, tx: Transaction, history: History, fetched: FetchedItem, policy: Policy
) -> Verification:
    found = looked_at(fetched.attachments, policy)
    item = WrappedItem(fetched.item, fetched.place)
    attached = Counter(by.publisher for by in found)
    groups = _grouped(
        [
            await check_signature(ox, tx, item, by)
            if attached[by.publisher] == 1
            else _one_too_many(by)
            for by in found
        ]
    )
    for group in groups:
        await _remember(history, item, group, policy, ox.ports.clock())
    verdict, absent = judge(policy, [group.outcome() for group in groups])
    signers = [each for group in groups for each in group.verdicts.values()]
    seen = [each.sighting for each in signers if each.sighting is not None]
    return Verification(
        verdict,
        tuple(signers),
        absent,
        len({by.publisher for by in fetched.attachments} - attached.keys()),
        item.place,
        frozenset(Uncovered),
        max(seen, key=_SIGHTINGS.index, default=None),
        tuple(dict.fromkeys(other for each in signers for other in each.elsewhere)),
        item.payload,
    )


def _one_too_many(by: SignedBy) -> Checked:
    """Refuse what stands beside another one of the same publisher: nobody can say which counts."""
    return Checked(SignerVerdict(by.publisher, Verdict.INVALID, ErrorCode.MALFORMED), None)


def _grouped(checked: Sequence[Checked]) -> list[_Group]:
    """Put together what was signed together; what is a signature of nothing stands alone."""
    groups: list[_Group] = []
    together: dict[Statement, _Group] = {}
    for each in checked:
        signer, statement = each.verdict.signer, each.statement
        if statement in together:
            together[statement].verdicts[signer] = each.verdict
            continue
        signers = statement.signers if statement else (signer,)
        groups.append(_Group(signers, {signer: each.verdict}, statement))
        if statement:
            together[statement] = groups[-1]
    return groups


async def _remember(
    history: History, item: WrappedItem, group: _Group, policy: Policy, now: datetime
) -> None:
    """Note who signed what here, each in a line of versions in which nobody else writes.

    Neither who does not count, nor a key that is not believed: anybody could fill the history.
    """
    statement = group.statement
    believed = [
        (signer, verdict)
        for signer, verdict in group.verdicts.items()
        if verdict.trust is not None and verdict.trust.accepts and policy.counts(signer)
    ]
    if statement is None or not believed:
        return
    for signer, verdict in believed:
        # The very bytes that were signed: of others, one signature would make many versions.
        signed = item.signed_bytes(statement, verdict.reading or Reading.STRICT)
        digest = hashlib.sha256(signed).digest()
        line = line_of(signer)
        seen = await history.saw(item.place, line, digest, statement.time, now)
        newest = await history.newest_stamp(item.place, line)
        superseded = {Doubt.SUPERSEDED} if newest and newest > statement.time else set()
        group.verdicts[signer] = replace(
            verdict,
            sighting=seen.sighting,
            elsewhere=seen.elsewhere,
            doubts=verdict.doubts | superseded,
        )
