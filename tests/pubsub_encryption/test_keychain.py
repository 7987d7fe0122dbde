"""Keychain: every transition, and the N rows that are decided there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved, SecretMissing
from e2ee.names import BareJid, Fingerprint, NodeAddress, SecretId
from e2ee.secret import Secret
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.keychain_record import keychain_from_record, keychain_to_record
from pubsub_encryption.node_secret import NodeSecret, SecretState

JULIET = BareJid.parse("juliet@capulet.lit")
ROMEO = BareJid.parse("romeo@montague.lit")
TYBALT = BareJid.parse("tybalt@capulet.lit")
KEY = Fingerprint("A" * 40)
OTHER_KEY = Fingerprint("B" * 40)
NODE = NodeAddress(JULIET, "blog")
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def secret(name: str, age_minutes: float = 0, value: str | None = None) -> NodeSecret:
    text = value or f"{name:x<43}"
    return NodeSecret(SecretId(name), Secret(text.encode()), NOW - timedelta(minutes=age_minutes))


def empty() -> Keychain:
    return Keychain(NODE, JULIET, frozenset({KEY}))


def holding(*secrets: NodeSecret) -> Keychain:
    chain = empty()
    for each in secrets:
        chain = chain.adopt(each, JULIET, KEY, NOW)
    return chain


class TestCurrent:
    def test_the_newest_active_secret_is_current_whatever_the_order(self) -> None:
        old, new = secret("old", 10), secret("new", 1)
        assert holding(old, new).current.id == holding(new, old).current.id == "new"

    def test_n_05_ties_are_decided_by_id(self) -> None:
        a, b = secret("a"), secret("b")
        assert holding(a, b).current.id == holding(b, a).current.id == "b"

    def test_n_05_a_revoked_newest_secret_is_not_current(self) -> None:
        chain = holding(secret("old", 10), secret("new", 1)).revoke(SecretId("new"), JULIET, KEY)
        assert chain.current.id == "old"

    def test_n_10_without_an_active_secret_nothing_encrypts(self) -> None:
        chain = holding(secret("only")).revoke(SecretId("only"), JULIET, KEY)
        for none in (empty(), chain):
            with pytest.raises(ApiMisuse) as error:
                _ = none.current
            assert error.value.code is ErrorCode.NO_ACTIVE_SECRET

    def test_n_08_a_short_secret_decrypts_but_never_encrypts(self) -> None:
        chain = holding(secret("s", value="x" * 31))
        assert chain.require(SecretId("s")).is_weak
        with pytest.raises(ApiMisuse) as error:
            _ = chain.current
        assert error.value.code is ErrorCode.FORBIDDEN

    def test_n_08_white_space_around_a_secret_is_trimmed_and_kept_as_a_second_reading(self) -> None:
        spaced = secret("s", value="\n    " + "x" * 43 + "\n  ")
        assert spaced.passphrase == Secret(b"x" * 43)
        assert spaced.passphrases == (Secret(b"x" * 43), spaced.value)
        assert secret("t").passphrases == (secret("t").value,)

    def test_n_08_only_xml_white_space_is_trimmed(self) -> None:
        assert (
            secret("s", value="\u00a0" + "x" * 43).passphrase.reveal().startswith("\u00a0".encode())
        )

    @pytest.mark.parametrize(
        ("text", "random"),
        [("x" * 43, True), ("x" * 42, False), ("x" * 42 + " y", False), ("é" * 43, False)],
    )
    def test_only_43_base64url_characters_need_no_stretching(self, text: str, random: bool) -> None:
        assert secret("s", value=text).is_random is random


class TestAdopt:
    @pytest.mark.parametrize(
        ("sharer", "signer"), [(ROMEO, KEY), (JULIET, OTHER_KEY), (ROMEO, OTHER_KEY)]
    )
    def test_n_02_only_the_pinned_owner_with_an_approved_key_shares(
        self, sharer: BareJid, signer: Fingerprint
    ) -> None:
        chain = holding(secret("a"))
        with pytest.raises(PeerMisbehaved) as error:
            chain.adopt(secret("b"), sharer, signer, NOW)
        assert error.value.code is ErrorCode.NOT_OWNER
        assert chain == holding(secret("a"))

    def test_n_06_the_same_id_with_another_secret_is_refused_and_the_first_kept(self) -> None:
        chain = holding(secret("a"))
        with pytest.raises(PeerMisbehaved) as error:
            chain.adopt(secret("a", value="y" * 43), JULIET, KEY, NOW)
        assert error.value.code is ErrorCode.SECRET_CONFLICT
        assert chain.require(SecretId("a")).value == secret("a").value

    def test_n_06_the_same_secret_again_changes_neither_value_nor_date(self) -> None:
        chain = holding(secret("a", 10))
        again = chain.adopt(secret("a", 1), JULIET, KEY, NOW)
        assert again == chain

    def test_n_04_a_secret_replayed_after_its_revocation_stays_revoked(self) -> None:
        chain = holding(secret("a")).revoke(SecretId("a"), JULIET, KEY)
        assert chain.adopt(secret("a"), JULIET, KEY, NOW) == chain

    def test_n_04_a_revocation_that_arrives_first_is_kept(self) -> None:
        chain = empty().revoke(SecretId("a"), JULIET, KEY)
        assert chain.tombstones == {SecretId("a")}
        chain = chain.adopt(secret("a"), JULIET, KEY, NOW)
        assert chain.require(SecretId("a")).state is SecretState.REVOKED
        assert not chain.tombstones

    def test_n_04_a_known_secret_that_comes_again_as_revoked_is_revoked(self) -> None:
        revoked = replace(secret("a"), state=SecretState.REVOKED)
        assert (
            holding(secret("a")).adopt(revoked, JULIET, KEY, NOW).secrets[0].state
            is SecretState.REVOKED
        )

    def test_n_05_a_secret_from_the_future_is_stale(self) -> None:
        late = secret("a", -limits.MAX_CLOCK_SKEW.total_seconds() / 60 - 0.1)
        with pytest.raises(PeerMisbehaved) as error:
            empty().adopt(late, JULIET, KEY, NOW)
        assert error.value.code is ErrorCode.STALE
        just = secret("a", -limits.MAX_CLOCK_SKEW.total_seconds() / 60)
        assert empty().adopt(just, JULIET, KEY, NOW).current.id == "a"

    def test_n_05_a_secret_from_the_far_past_is_taken(self) -> None:
        old = replace(secret("a"), created=datetime(1, 1, 1, tzinfo=UTC))
        taken = empty().adopt(old, JULIET, KEY, NOW).find(SecretId("a"))
        assert taken == replace(old, signer=KEY)

    def test_n_19_the_number_of_secrets_is_bounded_tombstones_included(self) -> None:
        full = replace(
            empty(),
            secrets=tuple(secret(f"{n}") for n in range(limits.MAX_SECRETS_PER_NODE - 1)),
            tombstones=frozenset({SecretId("gone")}),
        )
        changes: list[Callable[[], Keychain]] = [
            lambda: full.adopt(secret("one-more"), JULIET, KEY, NOW),
            lambda: full.revoke(SecretId("another"), JULIET, KEY),
        ]
        for change in changes:
            with pytest.raises(PeerMisbehaved) as error:
                change()
            assert error.value.code is ErrorCode.LIMIT_EXCEEDED
        assert full.revoke(SecretId("0"), JULIET, KEY).secrets[0].state is SecretState.REVOKED

    def test_n_11_no_number_of_secrets_keeps_an_owner_from_removing_somebody(self) -> None:
        full = replace(
            empty(), secrets=tuple(secret(f"{n}") for n in range(limits.MAX_SECRETS_PER_NODE))
        )
        assert full.rotate(SecretId("new"), Secret(b"x" * 43), NOW, KEY).current.id == "new"


class TestRevoke:
    @pytest.mark.parametrize(("sharer", "signer"), [(ROMEO, KEY), (JULIET, OTHER_KEY)])
    def test_n_03_nobody_but_the_owner_revokes(self, sharer: BareJid, signer: Fingerprint) -> None:
        with pytest.raises(PeerMisbehaved) as error:
            holding(secret("a")).revoke(SecretId("a"), sharer, signer)
        assert error.value.code is ErrorCode.NOT_OWNER

    def test_n_03_an_unknown_id_revoked_by_the_owner_leaves_one_tombstone(self) -> None:
        once = empty().revoke(SecretId("x"), JULIET, KEY)
        assert once.revoke(SecretId("x"), JULIET, KEY) == once


class TestRotate:
    def test_rotation_revokes_all_and_makes_the_new_one_current(self) -> None:
        chain = holding(secret("a", 2), secret("b", 1)).admit(ROMEO).admit(TYBALT)
        rotated = chain.rotate(SecretId("c"), Secret(b"c" * 43), NOW, KEY, leaving={TYBALT})
        assert [s.state for s in rotated.secrets] == ["revoked", "revoked", "active"]
        assert rotated.current.id == "c"
        assert rotated.members == {ROMEO}

    def test_the_new_secret_is_dated_after_all_others_on_the_wire(self) -> None:
        chain = empty()
        for n in range(20):
            chain = chain.rotate(SecretId(f"{9 - n % 10}{n}"), Secret(b"x" * 43), NOW, KEY)
        stamps = [s.created for s in chain.secrets]
        assert stamps == sorted(set(stamps))
        assert all(not stamp.microsecond for stamp in stamps)

    def test_a_runaway_clock_stops_rotation_rather_than_dating_the_future(self) -> None:
        ahead = secret("a", -limits.MAX_CLOCK_SKEW.total_seconds() / 60)
        with pytest.raises(ApiMisuse):
            holding(ahead).rotate(SecretId("b"), Secret(b"x" * 43), NOW, KEY)

    def test_r_12_a_clock_that_was_ahead_and_is_right_again_does_not_stop_rotation(self) -> None:
        ahead = NOW + timedelta(days=3650)
        chain = empty().rotate(SecretId("a"), Secret(b"x" * 43), ahead, KEY)
        with pytest.raises(ApiMisuse):  # as far as we can tell, it may be our clock that is behind
            chain.rotate(SecretId("b"), Secret(b"x" * 43), NOW, KEY)
        mended = chain.rotate(SecretId("b"), Secret(b"x" * 43), NOW, KEY, clock_is_right=True)
        assert mended.current.id == "b"
        assert [s.created for s in mended.secrets] == [NOW, NOW + timedelta(seconds=1)]

    def test_an_id_is_never_used_twice(self) -> None:
        with pytest.raises(ApiMisuse):
            holding(secret("a")).rotate(SecretId("a"), Secret(b"x" * 43), NOW, KEY)

    def test_the_type_is_inherited(self) -> None:
        chain = empty().rotate(SecretId("a"), Secret(b"x" * 43), NOW, KEY, content_type="urn:t")
        assert chain.rotate(SecretId("b"), Secret(b"x" * 43), NOW, KEY).current.type == "urn:t"


class TestFollow:
    """What another device of the owner did is learnt from its own messages."""

    def test_who_got_the_current_secret_is_a_member(self) -> None:
        before = holding(secret("a"))
        assert before.follow(before, SecretId("a"), NOW, {ROMEO}).members == {ROMEO}

    def test_a_new_current_secret_begins_membership_anew(self) -> None:
        before = holding(secret("a", 5)).admit(TYBALT).admit(ROMEO)
        adopted = before.adopt(secret("b", 1), JULIET, KEY, NOW)
        after = adopted.follow(before, SecretId("b"), NOW, {ROMEO})
        assert after.members == {ROMEO}
        again = after.adopt(secret("b", 1), JULIET, KEY, NOW).follow(
            after, SecretId("b"), NOW, set()
        )
        assert again.members == {ROMEO}

    def test_an_old_secret_says_nothing_about_membership(self) -> None:
        before = holding(secret("a", 5), secret("b", 1))
        after = before.follow(before, SecretId("a"), NOW, {ROMEO})
        assert not after.members
        assert after.require(SecretId("a")).shared_with == {ROMEO}


class TestRemoved:
    """Who was removed comes back by a grant alone."""

    def test_n_12_another_device_that_did_not_know_cannot_bring_them_back(self) -> None:
        ours = holding(secret("a", 5)).admit(ROMEO).admit(TYBALT)
        ours = ours.rotate(SecretId("b"), Secret(b"b" * 43), NOW, KEY, leaving={TYBALT})
        theirs = replace(secret("c"), created=NOW + timedelta(seconds=30))
        merged = ours.adopt(theirs, JULIET, KEY, NOW).follow(
            ours, SecretId("c"), NOW, {ROMEO, TYBALT}
        )
        assert merged.members == {ROMEO}
        with pytest.raises(ApiMisuse) as error:
            _ = merged.current
        assert error.value.code is ErrorCode.FORBIDDEN
        again = merged.rotate(SecretId("d"), Secret(b"d" * 43), NOW, KEY)
        assert again.current.id == "d"
        assert again.members == {ROMEO}

    def test_a_grant_brings_them_back(self) -> None:
        chain = holding(secret("a", 5)).admit(TYBALT)
        chain = chain.rotate(SecretId("b"), Secret(b"b" * 43), NOW, KEY, leaving={TYBALT})
        assert chain.removed == {TYBALT}
        assert chain.admit(TYBALT).shared(SecretId("b"), {TYBALT}).current.id == "b"


class TestDisapprove:
    def test_what_a_withdrawn_key_vouched_for_encrypts_no_more(self) -> None:
        chain = holding(secret("good", 5)).approve(JULIET, OTHER_KEY)
        chain = chain.adopt(secret("evil"), JULIET, OTHER_KEY, NOW)
        assert chain.current.id == "evil"
        chain = chain.disapprove(OTHER_KEY)
        assert chain.current.id == "good"
        assert chain.require(SecretId("evil")).state is SecretState.REVOKED
        with pytest.raises(PeerMisbehaved):
            chain.adopt(secret("more"), JULIET, OTHER_KEY, NOW)

    def test_n_12_whom_a_withdrawn_key_let_in_is_no_member(self) -> None:
        before = holding(secret("a", 5)).approve(JULIET, OTHER_KEY).admit(ROMEO)
        chain = before.adopt(secret("evil"), JULIET, OTHER_KEY, NOW)
        chain = chain.follow(before, SecretId("evil"), NOW, {TYBALT})
        assert chain.disapprove(OTHER_KEY).members == frozenset()

    def test_n_04_a_revocation_outlives_the_key_that_shared_the_secret(self) -> None:
        chain = holding(secret("a")).approve(JULIET, OTHER_KEY)
        chain = chain.revoke(SecretId("a"), JULIET, OTHER_KEY).disapprove(KEY)
        late = chain.adopt(secret("a"), JULIET, OTHER_KEY, NOW)
        assert late.require(SecretId("a")).state is SecretState.REVOKED
        with pytest.raises(PeerMisbehaved) as error:
            chain.adopt(secret("a", value="y" * 43), JULIET, OTHER_KEY, NOW)
        assert error.value.code is ErrorCode.SECRET_CONFLICT


class TestClockThatWasAhead:
    """What a runaway clock of ours dated must not hide what our other device did meanwhile."""

    def test_n_12_somebody_the_other_device_removed_stays_out(self) -> None:
        ahead = NOW + timedelta(hours=2)
        ours = holding(secret("a", 5)).admit(ROMEO).shared(SecretId("a"), {ROMEO})
        ours = ours.rotate(SecretId("s1"), Secret(b"x" * 43), ahead, KEY)
        ours = ours.shared(SecretId("s1"), {ROMEO})
        theirs = secret("s2", -0.1)
        after = ours.adopt(theirs, JULIET, KEY, NOW).follow(ours, SecretId("s2"), NOW)
        assert after.members == frozenset()
        mended = after.rotate(SecretId("s3"), Secret(b"x" * 43), NOW, KEY, clock_is_right=True)
        assert mended.members == frozenset()
        assert mended.current.id == "s3"

    def test_n_12_also_when_it_was_heard_of_while_the_clock_was_ahead(self) -> None:
        ahead = NOW + timedelta(hours=2)
        ours = holding(secret("a", 5)).admit(ROMEO).shared(SecretId("a"), {ROMEO})
        ours = ours.rotate(SecretId("s1"), Secret(b"x" * 43), ahead, KEY)
        heard = ours.adopt(secret("s2", -0.1), JULIET, KEY, ahead)
        heard = heard.follow(ours, SecretId("s2"), ahead)
        mended = heard.rotate(SecretId("s3"), Secret(b"x" * 43), NOW, KEY, clock_is_right=True)
        assert mended.members == frozenset()


class TestAnotherOwner:
    """What somebody wrongly approved left behind does not stand in the owner's way."""

    def test_their_secret_gives_way_to_the_owners_of_the_same_id(self) -> None:
        squatted = Keychain(NODE, ROMEO, frozenset({OTHER_KEY}))
        squatted = squatted.adopt(secret("a", value="y" * 43), ROMEO, OTHER_KEY, NOW)
        mended = squatted.approve(JULIET, KEY).adopt(secret("a"), JULIET, KEY, NOW)
        assert mended.current == replace(secret("a"), signer=KEY)
        assert len(mended.secrets) == 1

    def test_n_04_a_revocation_outlives_a_wrong_approval_that_was_mended(self) -> None:
        chain = empty().revoke(SecretId("a"), JULIET, KEY)
        mended = chain.approve(ROMEO, OTHER_KEY).approve(JULIET, KEY)
        assert keychain_from_record(keychain_to_record(mended)) == mended
        late = mended.adopt(secret("a"), JULIET, KEY, NOW)
        assert late.require(SecretId("a")).state is SecretState.REVOKED
        between = chain.approve(ROMEO, OTHER_KEY)
        assert keychain_from_record(keychain_to_record(between)) == between
        assert between.adopt(secret("a"), ROMEO, OTHER_KEY, NOW).current.id == "a"

    def test_neither_their_tombstones_nor_their_number_count(self) -> None:
        squatted = Keychain(
            NODE,
            ROMEO,
            frozenset({OTHER_KEY}),
            tuple(
                replace(secret(f"{n}"), signer=OTHER_KEY)
                for n in range(limits.MAX_SECRETS_PER_NODE - 1)
            ),
            frozenset({SecretId("a")}),
        )
        mended = squatted.approve(JULIET, KEY).adopt(secret("a"), JULIET, KEY, NOW)
        assert mended.current.id == "a"


def test_require_names_the_missing_secret() -> None:
    with pytest.raises(SecretMissing) as error:
        empty().require(SecretId("lost"))
    assert error.value.secret_id == "lost"


def test_approving_another_owner_withdraws_the_approvals_of_the_first() -> None:
    chain = empty().approve(JULIET, OTHER_KEY)
    assert chain.approved == {KEY, OTHER_KEY}
    assert chain.approve(ROMEO, OTHER_KEY).approved == {OTHER_KEY}


def test_a_keychain_survives_its_record() -> None:
    chain = holding(secret("a", 3), secret("b")).revoke(SecretId("t"), JULIET, KEY).admit(ROMEO)
    chain = chain.shared(SecretId("b"), {ROMEO, TYBALT}).untold(SecretId("b"), TYBALT)
    assert keychain_from_record(keychain_to_record(chain)) == chain
