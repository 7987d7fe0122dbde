"""Whose signatures count, and what they prove in sum."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ApiMisuse
from e2ee.names import BareJid
from signing.policy import Outcome, Policy, all_of, any_of, every_signature, judge, k_of
from signing.verdict import Verdict

ANN, BOB, EVE = (BareJid.parse(f"{name}@verona.lit") for name in ("ann", "bob", "eve"))
VALID = (Verdict.AMBIGUOUS, Verdict.UNTRUSTED, Verdict.TRUSTED)
NEVER = frozenset[BareJid]()

verdicts = st.sampled_from([each for each in Verdict if each is not Verdict.UNSIGNED])


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    """One statement of a few signers, of whom at least one has signed."""
    signers = draw(st.lists(st.sampled_from([ANN, BOB, EVE]), min_size=1, unique=True))
    signed = draw(st.lists(st.sampled_from(signers), min_size=1, unique=True))
    return Outcome(tuple(signers), {jid: draw(verdicts) for jid in signed})


policies = st.sampled_from(
    [every_signature(), any_of(ANN), any_of(ANN, BOB), all_of(ANN, BOB), k_of(2, ANN, BOB, EVE)]
)


def alone(signer: BareJid, verdict: Verdict = Verdict.TRUSTED) -> Outcome:
    return Outcome((signer,), {signer: verdict})


def both(ann: Verdict | None, bob: Verdict | None) -> Outcome:
    """What a statement of both proves, of whom one may be absent."""
    found = {ANN: ann, BOB: bob}
    return Outcome((ANN, BOB), {jid: verdict for jid, verdict in found.items() if verdict})


class TestEverySignature:
    """XEP-0475 §7, to the letter."""

    def test_nothing_is_unsigned(self) -> None:
        assert judge(every_signature(), []) == (Verdict.UNSIGNED, NEVER)

    @pytest.mark.parametrize("one", Verdict)
    @pytest.mark.parametrize("other", Verdict)
    def test_the_worst_decides(self, one: Verdict, other: Verdict) -> None:
        found = [alone(ANN, one), alone(BOB, other)]
        order = list(Verdict)
        assert judge(every_signature(), found) == (min(one, other, key=order.index), NEVER)

    def test_one_bad_signature_of_anybody_spoils_all(self) -> None:
        found = [alone(ANN), alone(BOB), alone(EVE, Verdict.INVALID)]
        assert judge(every_signature(), found)[0] is Verdict.INVALID

    def test_who_is_listed_and_absent_spoils_it(self) -> None:
        assert judge(every_signature(), [both(Verdict.TRUSTED, None)]) == (
            Verdict.INVALID,
            frozenset({BOB}),
        )


class TestNamed:
    def test_others_do_not_matter(self) -> None:
        found = [alone(ANN), alone(EVE, Verdict.INVALID)]
        assert judge(any_of(ANN), found) == (Verdict.TRUSTED, NEVER)

    def test_others_do_not_help(self) -> None:
        assert judge(any_of(ANN), [alone(EVE)]) == (Verdict.UNSIGNED, NEVER)

    def test_the_best_of_any(self) -> None:
        found = [alone(ANN, Verdict.INVALID), alone(BOB)]
        assert judge(any_of(ANN, BOB), found)[0] is Verdict.TRUSTED

    def test_the_worst_of_all(self) -> None:
        found = [alone(ANN, Verdict.UNTRUSTED), alone(BOB)]
        assert judge(all_of(ANN, BOB), found)[0] is Verdict.UNTRUSTED

    def test_too_few_are_none(self) -> None:
        assert judge(all_of(ANN, BOB), [alone(ANN)])[0] is Verdict.UNSIGNED

    def test_a_bad_one_among_too_few_is_told(self) -> None:
        assert judge(all_of(ANN, BOB), [alone(ANN, Verdict.INVALID)])[0] is Verdict.INVALID

    @pytest.mark.parametrize("k", [1, 2, 3])
    def test_k_of_n(self, k: int) -> None:
        policy = k_of(k, ANN, BOB, EVE)
        for found in product((Verdict.TRUSTED, Verdict.UNTRUSTED, None), repeat=3):
            signed = [
                alone(jid, verdict)
                for jid, verdict in zip((ANN, BOB, EVE), found, strict=True)
                if verdict
            ]
            trusted = found.count(Verdict.TRUSTED) >= k
            assert (judge(policy, signed)[0] is Verdict.TRUSTED) == trusted
            assert (judge(policy, signed)[0] is Verdict.UNSIGNED) == (len(signed) < k)

    def test_alone_or_together_is_the_same(self) -> None:
        together = [both(Verdict.TRUSTED, Verdict.TRUSTED)]
        for policy in (all_of(ANN, BOB), any_of(ANN), any_of(BOB)):
            assert judge(policy, together) == (Verdict.TRUSTED, NEVER)

    @pytest.mark.parametrize(
        ("bob", "sum_"),
        [
            (Verdict.TRUSTED, Verdict.TRUSTED),
            (Verdict.UNTRUSTED, Verdict.TRUSTED),
            (Verdict.AMBIGUOUS, Verdict.TRUSTED),
            (Verdict.UNCHECKED, Verdict.UNCHECKED),
            (Verdict.INVALID, Verdict.INVALID),
            (None, Verdict.INVALID),
        ],
    )
    def test_who_signed_beside_must_have_signed_and_needs_no_trust(
        self, bob: Verdict | None, sum_: Verdict
    ) -> None:
        absent = NEVER if bob else frozenset({BOB})
        assert judge(any_of(ANN), [both(Verdict.TRUSTED, bob)]) == (sum_, absent)

    def test_who_is_absent_from_a_statement_that_does_not_count_is_not_named(self) -> None:
        found = [alone(EVE), both(Verdict.TRUSTED, None)]
        assert judge(any_of(EVE), found) == (Verdict.TRUSTED, NEVER)

    def test_a_bad_signature_names_nobody_as_absent(self) -> None:
        found = [both(Verdict.INVALID, None)]
        assert judge(any_of(ANN), found) == (Verdict.INVALID, NEVER)
        assert judge(every_signature(), found) == (Verdict.INVALID, NEVER)

    def test_a_complete_statement_stands_beside_an_incomplete_one(self) -> None:
        found = [alone(ANN), both(None, Verdict.TRUSTED)]
        assert judge(any_of(ANN), found)[0] is Verdict.TRUSTED
        assert judge(all_of(ANN, BOB), found)[0] is Verdict.INVALID


@given(policies, st.lists(outcomes(), max_size=4))
def test_the_order_of_attachments_does_not_matter(policy: Policy, found: list[Outcome]) -> None:
    results = {judge(policy, order) for order in permutations(found)}
    assert len(results) == 1


@given(policies, st.lists(outcomes(), max_size=4))
def test_trusted_needs_trusted_signatures(policy: Policy, found: list[Outcome]) -> None:
    """Whatever the policy, as many different people as it asks for have signed, and are trusted."""
    if judge(policy, found)[0] is not Verdict.TRUSTED:
        return
    trusted = {
        jid
        for each in found
        for jid, verdict in each.verdicts.items()
        if verdict is Verdict.TRUSTED and not each.absent
    }
    assert len({jid for jid in trusted if policy.counts(jid)}) >= (policy.at_least or 1)


@given(policies, st.lists(outcomes(), max_size=3), outcomes())
def test_nothing_attached_by_strangers_changes_what_is_proven_by_name(
    policy: Policy, found: list[Outcome], more: Outcome
) -> None:
    if policy.named is None or any(map(policy.counts, more.verdicts)):
        return
    assert judge(policy, [*found, more]) == judge(policy, found)


@pytest.mark.parametrize(
    "make",
    [any_of, all_of, lambda: k_of(0, ANN), lambda: k_of(2, ANN), lambda: k_of(2, ANN, ANN)],
)
def test_a_policy_that_nobody_can_meet_or_miss_is_a_mistake(make: Callable[[], Policy]) -> None:
    with pytest.raises(ApiMisuse):
        make()


def test_a_policy_of_one_half_is_a_mistake() -> None:
    with pytest.raises(ApiMisuse):
        Policy(None, 1)
    with pytest.raises(ApiMisuse):
        Policy(frozenset({ANN}), None)
