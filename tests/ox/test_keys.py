"""KeyRing: what a JID's keys become, step by step, and which user ids name a JID."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits
from e2ee.errors import ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress
from e2ee.trust import Trust
from ox.elements import METADATA_NODE, PublicKeyMetadata, PublicKeysList
from ox.engine import Certificate
from ox.key_record import ring_from_record, ring_to_record
from ox.keys import KeyRing, names_jid, user_id
from ox.known_key import KnownKey

JULIET = BareJid.parse("juliet@capulet.lit")
TIME = datetime(2026, 11, 22, tzinfo=UTC)
A, B, C = (Fingerprint(letter * 40) for letter in "ABC")


def listed(*fingerprints: Fingerprint) -> PublicKeysList:
    return PublicKeysList(tuple(PublicKeyMetadata(each, TIME) for each in fingerprints))


def certificate(fingerprint: Fingerprint, *user_ids: str, raw: bytes = b"raw") -> Certificate:
    return Certificate(
        fingerprint, raw, user_ids or ("xmpp:juliet@capulet.lit",), TIME, None, False, False, True
    )


def ring(*fingerprints: Fingerprint, trust: Trust = Trust.AUTOMATIC) -> KeyRing:
    """Return Juliet's ring after her first list, nothing fetched."""
    return KeyRing(JULIET).announce(listed(*fingerprints), trust)


def trusts(of: KeyRing) -> dict[Fingerprint, Trust]:
    return {key.fingerprint: key.trust for key in of.keys}


class TestUserIds:
    def test_ours_is_the_jid_with_its_scheme(self) -> None:
        assert user_id(JULIET) == "xmpp:juliet@capulet.lit"

    @pytest.mark.parametrize(
        "text",
        [
            "xmpp:juliet@capulet.lit",
            "xmpp:Juliet@CAPULET.lit",
            "xmpp:juliet@capulet.lit.",
            "xmpp:ｊｕｌｉｅｔ@capulet.lit",  # RFC 8265: width is mapped
        ],
    )
    def test_forms_of_the_same_jid_name_it(self, text: str) -> None:
        assert names_jid(certificate(A, text), JULIET)
        assert names_jid(certificate(A, "Juliet <j@capulet.lit>", text, "xmpp:"), JULIET)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "juliet@capulet.lit",
            "xmpp:",
            "xmpp:capulet.lit",
            "XMPP:juliet@capulet.lit",
            " xmpp:juliet@capulet.lit",
            "xmpp: juliet@capulet.lit",
            "xmpp://juliet@capulet.lit",
            "xmpp:juliet@capulet.lit ",
            "xmpp:juliet@capulet.lit\0",
            "xmpp:juliet@capulet.lit\n",
            "xmpp:juliet@capulet.lit\ufffd",
            "xmpp:juliet@capulet.lit/balcony",
            "xmpp:juliet@capulet.lit?message",
            "xmpp:juliet@capulet.lit#x",
            "xmpp:juliet%40capulet.lit",
            "xmpp:juliet@capulet.lit.example",
            "xmpp:juliet@capulet.example.evil.org",
            "xmpp:xjuliet@capulet.lit",
            "xmpp:jul\u0456et@capulet.lit",  # Cyrillic і
            "xmpp:juliet@capulet.lit xmpp:romeo@montague.lit",
            "xmpp:juliet@capulet.lit <romeo@montague.lit>",
            "Juliet <xmpp:juliet@capulet.lit>",
            "xmpp:" + "j" * 5000 + "@capulet.lit",
        ],
    )
    def test_g_09_nothing_else_names_it(self, text: str) -> None:
        assert not names_jid(certificate(A, text), JULIET)

    def test_g_09_a_key_for_two_jids_names_both_and_no_third(self) -> None:
        both = certificate(A, "xmpp:juliet@capulet.lit", "xmpp:nurse@capulet.lit")
        assert names_jid(both, JULIET)
        assert names_jid(both, BareJid.parse("nurse@capulet.lit"))
        assert not names_jid(both, BareJid.parse("tybalt@capulet.lit"))

    @given(st.text())
    def test_any_text_is_answered(self, text: str) -> None:
        assert isinstance(names_jid(certificate(A, f"xmpp:{text}"), JULIET), bool)


class TestAnnounce:
    def test_the_list_is_missing_first_then_the_keys(self) -> None:
        assert KeyRing(JULIET).missing == (Fetch(NodeAddress(JULIET, METADATA_NODE)),)
        node = NodeAddress(JULIET, f"{METADATA_NODE}:{A}")
        assert ring(A).missing == (Fetch(node),)
        assert ring(A).deliver(certificate(A), A).missing == ()
        assert ring().missing == KeyRing(JULIET).missing  # it may announce one any day

    def test_first_keys_get_the_trust_of_first_sight_and_later_ones_none(self) -> None:
        later = ring(A).announce(listed(A, B), Trust.AUTOMATIC)
        assert trusts(later) == {A: Trust.AUTOMATIC, B: Trust.UNDECIDED}
        assert later.undecided == (B,)
        assert later.unfetched_recipients == (A,)

    def test_an_empty_list_is_not_yet_first_sight(self) -> None:
        assert trusts(ring().announce(listed(A), Trust.AUTOMATIC)) == {A: Trust.AUTOMATIC}

    def test_g_11_a_list_of_others_in_between_gains_no_trust(self) -> None:
        for between in (listed(), listed(C)):
            later = ring(A).announce(between, Trust.AUTOMATIC)
            assert trusts(later.announce(listed(B), Trust.AUTOMATIC))[B] is Trust.UNDECIDED

    def test_g_11_forgetting_everything_undecided_is_no_new_first_sight(self) -> None:
        stranger = ring(A, trust=Trust.UNDECIDED).announce(listed(), Trust.AUTOMATIC)
        assert trusts(stranger.announce(listed(B), Trust.AUTOMATIC)) == {B: Trust.UNDECIDED}

    def test_a_struck_key_is_no_recipient_and_keeps_its_trust(self) -> None:
        fetched = ring(A).deliver(certificate(A), A)
        struck = fetched.announce(listed(B), Trust.AUTOMATIC)
        assert struck.recipients == ()
        assert trusts(struck)[A] is Trust.AUTOMATIC
        back = struck.announce(listed(A), Trust.AUTOMATIC)
        assert [key.fingerprint for key in back.recipients] == [A]

    def test_g_14_a_key_that_is_listed_again_is_fetched_again(self) -> None:
        """What was not there to be fetched may have been its revocation."""
        fetched = ring(A).deliver(certificate(A), A)
        anew = PublicKeysList((PublicKeyMetadata(A, TIME + timedelta(days=1)),))
        for withheld in (
            fetched.announce(anew, Trust.AUTOMATIC).withdraw(A),
            fetched.announce(listed(), Trust.AUTOMATIC).withdraw(A),
        ):
            assert withheld.missing == ()
            for again in (anew, listed(A)):
                back = withheld.announce(again, Trust.AUTOMATIC)
                assert back.missing == ring(A).missing
                assert back.deliver(certificate(A), A).missing == ()
                assert back.withdraw(A).recipients == ()

    def test_g_10_lists_that_change_do_not_fill_the_ring(self) -> None:
        grown = ring(A).deliver(certificate(A, raw=b"raw"), A)
        for turn in range(20):
            crowd = [Fingerprint(f"{turn:02d}{n:038X}") for n in range(limits.MAX_PUBLIC_KEYS)]
            grown = grown.announce(listed(*crowd), Trust.AUTOMATIC)
            for each in crowd:
                grown = grown.deliver(certificate(each), each)
        assert len(grown.keys) == limits.MAX_PUBLIC_KEYS + 1
        kept = grown.find(A)
        assert kept is not None
        assert (kept.trust, kept.announced, kept.raw) == (Trust.AUTOMATIC, False, b"raw")

    def test_g_11_what_was_listed_and_never_shown_is_met_anew(self) -> None:
        for shown_first in (True, False):
            met = ring(A, B)
            met = met.deliver(certificate(A), A) if shown_first else met.withdraw(B)
            met = met.withdraw(B) if shown_first else met.deliver(certificate(A), A)
            assert trusts(met) == {A: Trust.AUTOMATIC, B: Trust.UNDECIDED}
            assert trusts(met.announce(listed(B), Trust.AUTOMATIC))[B] is Trust.UNDECIDED

    def test_while_nothing_was_shown_it_is_still_first_sight(self) -> None:
        """A server that fails for a moment makes no stranger of a contact."""
        back = ring(A).withdraw(A).announce(listed(A), Trust.AUTOMATIC)
        assert back.deliver(certificate(A), A).recipients

    def test_what_the_user_decided_is_never_forgotten(self) -> None:
        for decided in (Trust.AUTHENTICATED, Trust.DISTRUSTED):
            later = ring(A, B).decide(B, decided).announce(listed(A), Trust.AUTOMATIC)
            assert trusts(later)[B] is decided

    def test_a_distrusted_key_is_not_fetched(self) -> None:
        assert ring(A).decide(A, Trust.DISTRUSTED).missing == ()


class TestDeliver:
    def test_a_key_must_be_the_one_that_its_node_names(self) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            ring(A, B).deliver(certificate(B), A)
        assert caught.value.code is ErrorCode.SIGNER_MISMATCH

    def test_a_key_must_be_announced(self) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            ring(A).deliver(certificate(B), B)
        assert caught.value.code is ErrorCode.SIGNER_MISMATCH

    def test_a_new_key_must_name_the_jid(self) -> None:
        for user_ids in ((), ("xmpp:romeo@montague.lit",)):
            nameless = Certificate(A, b"raw", user_ids, TIME, None, False, False, True)
            with pytest.raises(PeerMisbehaved) as caught:
                ring(A).deliver(nameless, A)
            assert caught.value.code is ErrorCode.SIGNER_MISMATCH

    def test_g_14_a_known_key_may_lose_its_name(self) -> None:
        """Else the copy from before its user id was revoked would stay."""
        known = ring(A).deliver(certificate(A, raw=b"old"), A)
        nameless = Certificate(A, b"new", (), TIME, None, False, False, True)
        found = known.deliver(nameless, A).find(A)
        assert found is not None
        assert found.raw == b"new"

    def test_a_withdrawn_key_is_not_asked_for_again(self) -> None:
        assert ring(A, B).withdraw(A).missing == ring(B).missing
        assert ring(A).withdraw(B) == ring(A)


class TestDecide:
    def test_only_announced_keys_can_be_decided_about(self) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            ring(A).decide(B, Trust.AUTHENTICATED)
        assert caught.value.code is ErrorCode.SIGNER_MISMATCH

    def test_g_11_vouching_for_one_ends_first_sight_for_the_unseen(self) -> None:
        met = ring(A, B, C).deliver(certificate(B), B).decide(A, Trust.AUTHENTICATED)
        expected = {A: Trust.AUTHENTICATED, B: Trust.AUTOMATIC, C: Trust.UNDECIDED}
        assert trusts(met) == expected
        assert trusts(ring(A, B).decide(A, Trust.DISTRUSTED))[B] is Trust.AUTOMATIC

    def test_g_11_first_sight_does_not_replace_what_was_vouched_for(self) -> None:
        met = ring(A, B).deliver(certificate(A), A).deliver(certificate(B), B)
        met = met.decide(A, Trust.AUTHENTICATED).withdraw(A)
        assert met.recipients == ()
        assert met.undecided == (B,)
        for decided in (met.decide(A, Trust.DISTRUSTED), met.decide(B, Trust.AUTHENTICATED)):
            assert [key.fingerprint for key in decided.recipients] == [B]

    def test_g_11_beside_one_that_was_vouched_for_first_sight_counts_no_more(self) -> None:
        met = ring(A, B).deliver(certificate(A), A).deliver(certificate(B), B)
        vouched = met.decide(A, Trust.AUTHENTICATED)
        assert [key.fingerprint for key in vouched.accepted] == [A]
        assert vouched.undecided == (B,)
        assert trusts(vouched)[B] is Trust.AUTOMATIC  # as it was, should the user think again
        for level in (Trust.DISTRUSTED, Trust.UNDECIDED):
            assert [key.fingerprint for key in vouched.decide(A, level).accepted] == [B]
        both = vouched.decide(B, Trust.AUTHENTICATED)
        assert [key.fingerprint for key in both.accepted] == [A, B]

    @pytest.mark.parametrize("trust", Trust)
    def test_only_accepted_and_fetched_keys_are_recipients(self, trust: Trust) -> None:
        decided = ring(A).decide(A, trust)
        assert decided.recipients == ()
        fetched = decided.deliver(certificate(A), A)
        accepted = trust in (Trust.AUTHENTICATED, Trust.AUTOMATIC)
        assert bool(fetched.recipients) is accepted

    def test_our_own_key_is_marked_as_ours(self) -> None:
        ours = ring(A).own(certificate(B), TIME)
        assert ours.ours == B
        assert trusts(ours)[B] is Trust.AUTHENTICATED
        assert ours.listed

    def test_a_former_key_of_our_own_is_remembered_and_counts_only_for_the_past(self) -> None:
        former = ring(A).own(certificate(B), TIME).own(certificate(C), TIME)
        for keys in ((C,), (B, C)):  # whoever lists it again brings nothing back
            former = former.announce(listed(*keys), Trust.UNDECIDED)
            assert [key.fingerprint for key in former.accepted] == [C]
            past = {key.fingerprint for key in former.with_former_keys().accepted}
            assert past == {B, C}
        distrusted = former.decide(B, Trust.DISTRUSTED).with_former_keys()
        assert [key.fingerprint for key in distrusted.accepted] == [C]


RINGS = st.lists(
    st.builds(
        KnownKey,
        st.sampled_from([A, B, C]),
        st.sampled_from(list(Trust)),
        st.booleans(),
        st.none() | st.binary(min_size=1),
        succeeded=st.booleans(),
    ),
    unique_by=lambda key: key.fingerprint,
).flatmap(
    lambda keys: st.builds(
        KeyRing, st.just(JULIET), st.just(tuple(keys)), st.booleans(), st.none() | st.just(A)
    )
)


class TestRecord:
    @given(RINGS)
    def test_is_read_as_it_was_written(self, written: KeyRing) -> None:
        assert ring_from_record(ring_to_record(written)) == written

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("jid", "juliet@"),
            ("jid", "Juliet@capulet.lit"),
            ("listed", 1),
            ("listed", "no"),
            ("ours", 1),
            ("keys", None),
            ("keys", {}),
            ("keys", [{}]),
            ("keys", [{"fingerprint": "a", "trust": "automatic", "announced": True, "raw": None}]),
            ("keys", [{"fingerprint": A, "trust": "blind", "announced": True, "raw": None}]),
            ("keys", [{"fingerprint": A, "trust": "automatic", "announced": 1, "raw": None}]),
            ("keys", [{"fingerprint": A, "trust": "automatic", "announced": True, "raw": ""}]),
            ("keys", [{"fingerprint": A, "trust": "automatic", "announced": True, "raw": "?"}]),
            ("keys", [{"fingerprint": A, "trust": "automatic", "announced": True}]),
            ("more", 1),
        ],
    )
    def test_r_04_anything_else_is_refused(self, field: str, value: object) -> None:
        fields = json.loads(ring_to_record(ring(A)))
        altered = json.dumps({**fields, field: value}, separators=(",", ":"), sort_keys=True)
        with pytest.raises(StoreFailed) as caught:
            ring_from_record(altered.encode())
        assert caught.value.code is ErrorCode.STORE_CORRUPT

    def test_a_newer_record_is_left_alone(self) -> None:
        newer = ring_to_record(ring(A)).replace(b'"format":4', b'"format":5')
        with pytest.raises(StoreFailed) as caught:
            ring_from_record(newer)
        assert caught.value.code is ErrorCode.STORE_TOO_NEW
