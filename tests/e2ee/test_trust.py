"""The policies: what each believes unasked, and the order of the levels that a user sees."""

from __future__ import annotations

import pytest

from e2ee.names import BareJid, NodeAddress
from e2ee.trust import (
    BlindTrustBeforeVerification,
    BlindTrustOnFirstSight,
    ManualTrust,
    Trust,
    TrustPolicy,
)

ROMEO = BareJid.parse("romeo@montague.lit")
POLICIES = [BlindTrustOnFirstSight(), BlindTrustBeforeVerification(), ManualTrust()]


def test_only_two_levels_accept() -> None:
    assert {trust for trust in Trust if trust.accepts} == {Trust.AUTHENTICATED, Trust.AUTOMATIC}


@pytest.mark.parametrize(
    ("policy", "first", "later", "later_verified", "uses_automatic"),
    [
        (BlindTrustOnFirstSight(), Trust.AUTOMATIC, Trust.UNDECIDED, Trust.UNDECIDED, (1, 0)),
        (BlindTrustBeforeVerification(), Trust.AUTOMATIC, Trust.AUTOMATIC, Trust.UNDECIDED, (1, 1)),
        (ManualTrust(), Trust.UNDECIDED, Trust.UNDECIDED, Trust.UNDECIDED, (0, 0)),
    ],
)
def test_o_32_what_a_policy_says(
    policy: TrustPolicy,
    first: Trust,
    later: Trust,
    later_verified: Trust,
    uses_automatic: tuple[int, int],
) -> None:
    assert policy.first_sight(ROMEO) is first
    assert policy.later(ROMEO, verified=False) is later
    assert policy.later(ROMEO, verified=True) is later_verified
    used = (policy.uses(Trust.AUTOMATIC, verified=verified) for verified in (False, True))
    assert tuple(used) == uses_automatic


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("verified", [True, False])
def test_o_32_nothing_is_used_that_is_undecided_or_distrusted(
    policy: TrustPolicy, verified: bool
) -> None:
    assert policy.uses(Trust.AUTHENTICATED, verified=verified)
    assert not policy.uses(Trust.UNDECIDED, verified=verified)
    assert not policy.uses(Trust.DISTRUSTED, verified=verified)


@pytest.mark.parametrize("policy", POLICIES)
def test_n_01_only_a_pep_node_is_its_owners_without_asking(policy: TrustPolicy) -> None:
    service = BareJid.parse("pubsub.montague.lit")
    assert policy.owns_node(NodeAddress(ROMEO, "blog"), ROMEO)
    assert not policy.owns_node(NodeAddress(ROMEO, "blog"), service)
    assert not policy.owns_node(NodeAddress(service, "blog"), service)
    assert not policy.owns_node(NodeAddress(service, "blog"), ROMEO)
