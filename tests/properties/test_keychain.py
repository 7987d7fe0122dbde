"""Keychain against a model that is too simple to be wrong, and in every order of delivery.

The model knows only facts: which secrets were met, which were revoked, who was let in. What the
keychain makes of them must follow from these sets alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fingerprint, NodeAddress, SecretId
from e2ee.secret import Secret
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.keychain_record import keychain_from_record, keychain_to_record
from pubsub_encryption.node_secret import NodeSecret, SecretState

JULIET = BareJid.parse("juliet@capulet.lit")
KEY, OTHER_KEY = Fingerprint("A" * 40), Fingerprint("B" * 40)
NODE = NodeAddress(JULIET, "blog")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

people = st.sampled_from(
    [BareJid.parse(f"{name}@capulet.lit") for name in ("romeo", "nurse", "tybalt")]
)
groups = st.frozensets(people)
ids = st.sampled_from([SecretId(name) for name in "abcdef"])
strangers = st.sampled_from(
    [
        (BareJid.parse("tybalt@capulet.lit"), KEY),
        (JULIET, OTHER_KEY),
        (NODE.service, Fingerprint("0" * 40)),
    ]
)


def secret(name: SecretId, state: SecretState = SecretState.ACTIVE) -> NodeSecret:
    """Return the one secret of a name; some of them have the same date."""
    age = timedelta(minutes=ord(name) % 4)
    return NodeSecret(name, Secret(name.encode() * 43), NOW - age, state)


def empty() -> Keychain:
    return Keychain(NODE, JULIET, frozenset({KEY}))


class KeychainMachine(RuleBasedStateMachine):
    """The owner's own keychain: what the owner does, what arrives, what strangers try."""

    @initialize()
    def begin(self) -> None:
        self.chain = empty()
        self.met: dict[SecretId, NodeSecret] = {}
        self.revoked: set[SecretId] = set()
        self.members: set[BareJid] = set()
        self.rotations = 0

    @rule(name=ids, revoked=st.booleans())
    def the_owner_shares(self, name: SecretId, revoked: bool) -> None:
        """Whether it is new, a repetition, or a replay after its revocation."""
        state = SecretState.REVOKED if revoked else SecretState.ACTIVE
        self.chain = self.chain.adopt(secret(name, state), JULIET, KEY, NOW)
        self.met.setdefault(name, secret(name))
        if revoked:
            self.revoked.add(name)

    @rule(name=ids, value=st.sampled_from([b"another", b" \n", b"aaa"]))
    def the_owner_shares_another_secret_of_one_id(self, name: SecretId, value: bytes) -> None:
        if name in self.met:
            other = replace(secret(name), value=Secret(value))
            self.refused(
                ErrorCode.SECRET_CONFLICT, lambda: self.chain.adopt(other, JULIET, KEY, NOW)
            )

    @rule(name=ids, seconds=st.integers(1, 10**9))
    def the_owner_shares_from_the_future(self, name: SecretId, seconds: int) -> None:
        late = NOW + limits.MAX_CLOCK_SKEW + timedelta(seconds=seconds)
        future = replace(secret(name), created=late)
        self.refused(ErrorCode.STALE, lambda: self.chain.adopt(future, JULIET, KEY, NOW))

    @rule(name=ids)
    def the_owner_revokes(self, name: SecretId) -> None:
        self.chain = self.chain.revoke(name, JULIET, KEY)
        self.revoked.add(name)

    @rule(name=ids, who=strangers, revoked=st.booleans())
    def a_stranger_shares(
        self, name: SecretId, who: tuple[BareJid, Fingerprint], revoked: bool
    ) -> None:
        state = SecretState.REVOKED if revoked else SecretState.ACTIVE
        forged = secret(name, state)
        self.refused(ErrorCode.NOT_OWNER, lambda: self.chain.adopt(forged, *who, NOW))

    @rule(name=ids, who=strangers)
    def a_stranger_revokes(self, name: SecretId, who: tuple[BareJid, Fingerprint]) -> None:
        self.refused(ErrorCode.NOT_OWNER, lambda: self.chain.revoke(name, *who))

    @rule(leaving=groups)
    def rotate(self, leaving: frozenset[BareJid]) -> None:
        before = self.chain
        if any(found.created >= NOW + limits.MAX_CLOCK_SKEW for found in before.secrets):
            return  # so many rotations in one moment that the clock must be wrong
        self.rotations += 1
        name = SecretId(f"rotation {self.rotations}")
        self.chain = before.rotate(name, Secret(b"r" * 43), NOW, KEY, leaving=leaving)
        self.revoked |= set(self.met)
        self.met[name] = self.chain.require(name)
        self.members -= leaving
        assert self.chain.current.id == name
        assert all(self.chain.current.created > earlier.created for earlier in before.secrets)

    @rule(name=ids)
    def rotate_to_a_known_id(self, name: SecretId) -> None:
        if name in self.met or name in self.revoked:
            with pytest.raises(ApiMisuse):
                self.chain.rotate(name, Secret(b"r" * 43), NOW, KEY)

    @rule(who=people)
    def grant(self, who: BareJid) -> None:
        for found in self.chain.secrets:
            self.chain = self.chain.shared(found.id, {who})
        self.chain = self.chain.admit(who)
        self.members.add(who)

    def refused(self, code: ErrorCode, change: object) -> None:
        before = self.chain
        with pytest.raises(PeerMisbehaved) as error:
            change()  # type: ignore[operator]
        assert error.value.code is code
        assert self.chain is before

    @invariant()
    def each_secret_is_what_it_was_when_it_was_met(self) -> None:
        found = {known.id: (known.value, known.created) for known in self.chain.secrets}
        assert found == {name: (known.value, known.created) for name, known in self.met.items()}
        assert len(self.chain.secrets) == len(found)

    @invariant()
    def what_was_revoked_is_revoked_for_good(self) -> None:
        active = {s.id for s in self.chain.secrets if s.state is SecretState.ACTIVE}
        assert active == set(self.met) - self.revoked
        assert self.chain.tombstones == self.revoked - set(self.met)

    @invariant()
    def the_newest_active_secret_is_current(self) -> None:
        active = set(self.met) - self.revoked
        if active:
            newest = max(active, key=lambda name: (self.met[name].created, name))
            if not self.met[newest].is_weak:
                assert self.chain.current.id == newest
        else:
            with pytest.raises(ApiMisuse):
                _ = self.chain.current

    @invariant()
    def the_members_are_those_who_were_let_in_and_not_removed(self) -> None:
        assert self.chain.members == self.members

    @invariant()
    def it_survives_its_record(self) -> None:
        assert keychain_from_record(keychain_to_record(self.chain)) == self.chain


TestKeychainMachine = KeychainMachine.TestCase
TestKeychainMachine.settings = settings(stateful_step_count=25)


@dataclass(frozen=True)
class Shared:
    """The owner, on another device, sent a secret to these people and to itself."""

    name: SecretId
    people: frozenset[BareJid] = frozenset()
    revoked: bool = False


@dataclass(frozen=True)
class Revoked:
    name: SecretId


facts = st.lists(
    st.one_of(st.builds(Shared, ids, groups, st.booleans()), st.builds(Revoked, ids)), max_size=8
)


def followed(chain: Keychain, fact: Shared | Revoked) -> Keychain:
    """Return the keychain of the owner's other device after a message, as ``sharing`` does it."""
    if isinstance(fact, Revoked):
        return chain.revoke(fact.name, JULIET, KEY).follow(chain, fact.name, NOW)
    state = SecretState.REVOKED if fact.revoked else SecretState.ACTIVE
    adopted = chain.adopt(secret(fact.name, state), JULIET, KEY, NOW)
    return adopted.follow(chain, fact.name, NOW, fact.people)


def in_order(told: Sequence[Shared | Revoked]) -> Keychain:
    chain = empty()
    for fact in told:
        chain = followed(chain, fact)
    return replace(chain, secrets=tuple(sorted(chain.secrets, key=lambda found: found.id)))


@given(facts, st.data())
def test_the_order_and_number_of_deliveries_decide_nothing(
    told: list[Shared | Revoked], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(told), max_size=4)) if told else []
    otherwise = data.draw(st.permutations(told + again))
    assert in_order(told) == in_order(otherwise)


@given(facts)
def test_the_members_are_who_was_sent_the_latest_secret_unless_it_was_revoked(
    told: list[Shared | Revoked],
) -> None:
    chain = in_order(told)
    shares = [fact for fact in told if isinstance(fact, Shared)]
    revoked = {fact.name for fact in told if isinstance(fact, Revoked) or fact.revoked}
    if shares:
        latest = max(shares, key=lambda fact: (secret(fact.name).created, fact.name)).name
        sent = frozenset().union(*(fact.people for fact in shares if fact.name == latest))
        assert chain.members == (frozenset() if latest in revoked else sent)
    else:
        assert not chain.members


@given(facts, groups)
def test_n_12_a_rotation_is_sent_to_nobody_who_was_not_sent_the_latest_secret(
    told: list[Shared | Revoked], leaving: frozenset[BareJid]
) -> None:
    chain = in_order(told)
    rotated = chain.rotate(SecretId("next"), Secret(b"x" * 43), NOW, KEY, leaving=leaving)
    assert rotated.members == chain.members - leaving
    assert {s.id for s in rotated.secrets if s.state is SecretState.ACTIVE} == {"next"}
