"""Policy: whose signatures count, how many are asked for, and what all of them prove in sum.

Rule: pure. What each signature proves by itself was found out in ``verifying.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from e2ee.errors import ApiMisuse
from e2ee.names import BareJid
from signing.verdict import Verdict

__all__ = ["Outcome", "Policy", "all_of", "any_of", "every_signature", "judge", "k_of"]

_ORDER: Final = tuple(Verdict)  # worst first


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose signatures count; made by the functions of this module.

    Attributes:
        named: whose do; ``None`` for everybody's.
        at_least: how many of the named must have signed; ``None`` for everybody's.
    """

    named: frozenset[BareJid] | None
    at_least: int | None

    def __post_init__(self) -> None:
        if self.named is None and self.at_least is None:
            return
        if self.named is None or self.at_least is None or not 1 <= self.at_least <= len(self.named):
            raise ApiMisuse("a policy that asks for none of its signers, or for more than it names")

    def counts(self, signer: BareJid) -> bool:
        """Say whether a signature of ``signer`` is looked at."""
        return self.named is None or signer in self.named


def every_signature() -> Policy:
    """Return the policy of XEP-0475 §7: whoever signed, one bad signature spoils all.

    It does not say *who* must have signed: anybody may sign anybody's item, and anybody who can
    attach something can spoil it. Where the author is known, use :func:`any_of`.
    """
    return Policy(None, None)


def any_of(*signers: BareJid) -> Policy:
    """Return the policy that one of ``signers`` has signed; others do not matter.

    Raises:
        ApiMisuse: nobody is named.
    """
    return Policy(frozenset(signers), 1)


def all_of(*signers: BareJid) -> Policy:
    """Return the policy that all of ``signers`` have signed, together or each alone.

    Raises:
        ApiMisuse: nobody is named.
    """
    return Policy(frozenset(signers), len(frozenset(signers)))


def k_of(k: int, *signers: BareJid) -> Policy:
    """Return the policy that at least ``k`` of ``signers`` have signed, together or each alone.

    Raises:
        ApiMisuse: ``k`` is below one or above the number of signers.
    """
    return Policy(frozenset(signers), k)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the signatures over one statement prove, one by one.

    Attributes:
        signers: who is listed, in order.
        verdicts: of those who signed; nobody else.
    """

    signers: tuple[BareJid, ...]
    verdicts: Mapping[BareJid, Verdict]

    @property
    def absent(self) -> frozenset[BareJid]:
        """Who is listed and has not signed."""
        return frozenset(self.signers) - self.verdicts.keys()

    @property
    def signed(self) -> frozenset[BareJid]:
        """Who has signed, as far as is known, and not only attached something."""
        return frozenset(
            jid for jid, found in self.verdicts.items() if found is not Verdict.INVALID
        )

    def proves(self, signer: BareJid) -> Verdict:
        """Return what the signature of one who signed proves, given those of the others.

        All who are listed must have signed what it says; only they themselves need to be trusted.
        """
        others = [self.verdicts.get(other, Verdict.INVALID) for other in self.signers]
        spoilt = [verdict for verdict in others if verdict in (Verdict.INVALID, Verdict.UNCHECKED)]
        return _worst([self.verdicts[signer], *spoilt])


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of one or more verdicts."""
    return min(verdicts, key=_ORDER.index)


def judge(policy: Policy, outcomes: Sequence[Outcome]) -> tuple[Verdict, frozenset[BareJid]]:
    """Return what all prove in sum, and who is listed beside one who counts and has not signed.

    Of each named signer the best signature counts, and of these the best ``at_least``.
    """
    counting = [each for each in outcomes if any(map(policy.counts, each.verdicts))]
    absent = frozenset(
        jid for each in counting if any(map(policy.counts, each.signed)) for jid in each.absent
    )
    if policy.named is None or policy.at_least is None:
        found = [each.proves(signer) for each in counting for signer in each.verdicts]
        return _worst(found) if found else Verdict.UNSIGNED, absent
    best = sorted(
        (_best(counting, signer) for signer in policy.named), key=_ORDER.index, reverse=True
    )
    proven = best[policy.at_least - 1]
    if proven is Verdict.UNSIGNED and Verdict.INVALID in best:
        proven = Verdict.INVALID  # rather a warning than a lack
    return proven, absent


def _best(outcomes: Sequence[Outcome], signer: BareJid) -> Verdict:
    signed = [each.proves(signer) for each in outcomes if signer in each.verdicts]
    return max(signed, key=_ORDER.index, default=Verdict.UNSIGNED)
