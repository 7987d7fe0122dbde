"""The ring of one account's devices: what is believed of whom, whatever is listed and shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from e2ee.errors import ErrorCode, PeerMisbehaved, StoreFailed
from e2ee.limits import MAX_BUNDLE_FETCHES, MAX_DEVICES
from e2ee.names import BareJid
from e2ee.omemo.device import DeviceId, IdentityFingerprint
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.known_device import KnownDevice
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.version import Version
from e2ee.renewal import Renewal
from e2ee.trust import (
    BlindTrustBeforeVerification,
    BlindTrustOnFirstSight,
    ManualTrust,
    Trust,
    TrustPolicy,
)

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ROMEO = BareJid.parse("romeo@montague.lit")
BOTH = (Version.TWO, Version.LEGACY)
FIRST, BEFORE_VERIFICATION = BlindTrustOnFirstSight(), BlindTrustBeforeVerification()


def name(number: int) -> IdentityFingerprint:
    """Return the fingerprint of an identity."""
    return IdentityFingerprint(f"{number:064x}")


def listing(*ids: int, version: Version = Version.TWO) -> DeviceList:
    """Return a list of devices."""
    return DeviceList(version, tuple(ListedDevice(DeviceId(each)) for each in ids))


def ring(*ids: int, version: Version = Version.TWO) -> DeviceRing:
    """Return a ring whose devices were met at first sight and have shown an identity each."""
    met = DeviceRing(ROMEO).announce(listing(*ids, version=version), Trust.AUTOMATIC, NOW)
    for each in ids:
        met = met.pin(DeviceId(each), name(each))
    return met


def known(of: DeviceRing, device_id: int) -> KnownDevice:
    """Return a device that a ring must have."""
    device = of.find(DeviceId(device_id))
    assert device is not None
    return device


def relisted(of: DeviceRing, *ids: int, policy: TrustPolicy = FIRST) -> DeviceRing:
    """Return the ring after another list of version 2, under a policy."""
    return of.announce(listing(*ids), of.sight(policy, ours=False), NOW)


class TestLists:
    def test_the_first_devices_are_believed_and_later_ones_are_not(self) -> None:
        before = DeviceRing(ROMEO)
        met = before.announce(listing(1, 2), before.sight(FIRST, ours=False), NOW)
        met = met.pin(DeviceId(1), name(1))
        met = relisted(met, 1, 2, 3)
        levels = [met.level(device, FIRST) for device in met.devices]
        assert levels == [Trust.AUTOMATIC, Trust.AUTOMATIC, Trust.UNDECIDED]

    def test_first_sight_lasts_until_an_identity_is_seen(self) -> None:
        """Until then nobody knows any better."""
        met = relisted(relisted(DeviceRing(ROMEO), 1), 2)
        assert [device.id for device in met.devices] == [2]
        assert known(met, 2).trust is Trust.AUTOMATIC

    def test_o_14_no_device_of_our_own_account_is_the_first(self) -> None:
        """A server that adds a device to our own list would read all that we write."""
        assert DeviceRing(ROMEO).sight(FIRST, ours=True) is Trust.UNDECIDED
        assert DeviceRing(ROMEO).sight(ManualTrust(), ours=True) is Trust.UNDECIDED
        assert DeviceRing(ROMEO).sight(BEFORE_VERIFICATION, ours=True) is Trust.UNDECIDED

    def test_o_14_an_added_device_gets_nothing(self) -> None:
        met = relisted(ring(1), 1, 666).pin(DeviceId(666), name(666))
        assert met.level(known(met, 666), FIRST) is Trust.UNDECIDED

    def test_o_14_an_emptied_list_forgets_no_decision(self) -> None:
        met = ring(1, 2).decide(name(1), Trust.AUTHENTICATED).decide(name(2), Trust.DISTRUSTED)
        met = relisted(relisted(met), 1, 2)
        assert known(met, 1).trust is Trust.AUTHENTICATED
        assert known(met, 2).trust is Trust.DISTRUSTED

    def test_a_believed_device_that_comes_back_is_believed(self) -> None:
        met = relisted(relisted(ring(1)), 1)
        assert met.level(known(met, 1), FIRST) is Trust.AUTOMATIC
        assert known(met, 1).fingerprint == name(1)

    def test_o_19_what_was_listed_once_and_never_shown_is_forgotten(self) -> None:
        flood = relisted(ring(1), *range(1, MAX_DEVICES + 1))
        assert len(flood.devices) == MAX_DEVICES
        assert [device.id for device in relisted(flood, 1).devices] == [1]

    def test_o_19_r_13_shown_and_struck_devices_are_bounded(self) -> None:
        met = ring(1, 2).decide(name(1), Trust.AUTHENTICATED)
        for start in range(1000, 1000 + 4 * MAX_DEVICES, MAX_DEVICES):
            met = relisted(met, *range(start, start + MAX_DEVICES))
            for each in range(start, start + MAX_DEVICES):
                met = met.pin(DeviceId(each), name(each))
        met = relisted(met)
        assert len(met.devices) == MAX_DEVICES + 1
        assert known(met, 1).trust is Trust.AUTHENTICATED  # decided
        assert known(met, 2).trust is Trust.AUTOMATIC  # believed: kept longer than the strangers
        assert met.find(DeviceId(1000)) is None

    def test_r_13_devices_that_no_list_names_are_bounded(self) -> None:
        """Anybody may send messages from ids of their choice."""
        met = ring(1)
        for each in range(1000, 1000 + 2 * MAX_DEVICES):
            met = met.pin(DeviceId(each), name(each))
        assert len(met.devices) == MAX_DEVICES + 1
        assert met.level(known(met, 999 + 2 * MAX_DEVICES), FIRST) is Trust.UNDECIDED

    def test_labels_come_from_version_2_alone(self) -> None:
        entry = ListedDevice(DeviceId(1), "Laptop", b"s" * 64)
        met = ring(1).announce(DeviceList(Version.TWO, (entry,)), Trust.UNDECIDED, NOW)
        met = met.announce(listing(1, version=Version.LEGACY), Trust.UNDECIDED, NOW)
        assert (known(met, 1).label, known(met, 1).label_signature) == ("Laptop", b"s" * 64)
        assert known(relisted(met, 1), 1).label is None

    def test_a_renewal_makes_lists_be_fetched_again(self) -> None:
        met = ring(1).renewed(Renewal(1, NOW))
        assert met.listed == {}
        assert known(met, 1).fingerprint == name(1)
        assert met.renewed(Renewal(1, NOW)) is met
        with pytest.raises(StoreFailed) as caught:
            met.renewed(Renewal())
        assert caught.value.code is ErrorCode.STORE_CORRUPT

    def test_o_14_our_device_is_put_back_a_few_times_a_day(self) -> None:
        met = DeviceRing(ROMEO)
        for _ in range(3):
            assert met.may_announce(Version.TWO, NOW)
            met = met.announced_again(Version.TWO, NOW)
        assert not met.may_announce(Version.TWO, NOW)
        assert met.may_announce(Version.LEGACY, NOW)
        assert met.may_announce(Version.TWO, NOW + timedelta(days=1))
        assert met.may_announce(Version.TWO, NOW - timedelta(days=3650))  # it was ahead


class TestVersions:
    def test_o_31_a_device_that_had_version_2_is_never_written_to_in_legacy(self) -> None:
        met = ring(1).announce(listing(1, 2, version=Version.LEGACY), Trust.UNDECIDED, NOW)
        assert met.version_of(known(met, 1), BOTH) is Version.TWO
        assert met.version_of(known(met, 2), BOTH) is Version.LEGACY
        struck = met.announce(listing(2), Trust.UNDECIDED, NOW)
        assert struck.version_of(known(struck, 1), BOTH) is Version.TWO
        assert struck.version_of(known(struck, 2), BOTH) is Version.TWO

    def test_a_device_that_is_not_listed_in_a_version_of_ours_has_none(self) -> None:
        met = ring(1, version=Version.LEGACY)
        assert met.version_of(known(met, 1), [Version.TWO]) is None
        gone = met.announce(listing(version=Version.LEGACY), Trust.UNDECIDED, NOW)
        assert gone.version_of(known(gone, 1), BOTH) is None

    def test_o_31_an_emptied_list_is_a_downgrade(self) -> None:
        for gone in (
            relisted(ring(1)),
            ring(1)
            .announce(listing(7, version=Version.LEGACY), Trust.UNDECIDED, NOW)
            .announce(listing(), Trust.UNDECIDED, NOW),
            ring(1, version=Version.LEGACY).announce(
                listing(version=Version.LEGACY), Trust.UNDECIDED, NOW
            ),
        ):
            with pytest.raises(PeerMisbehaved) as caught:
                gone.check_downgrade(BOTH)
            assert caught.value.code is ErrorCode.DOWNGRADE

    def test_o_31_more_than_there_was_is_no_downgrade(self) -> None:
        upgraded = relisted(ring(1, version=Version.LEGACY), 2)
        upgraded = upgraded.announce(listing(version=Version.LEGACY), Trust.UNDECIDED, NOW)
        upgraded.check_downgrade(BOTH)
        DeviceRing(ROMEO).check_downgrade(BOTH)
        ring(1, version=Version.LEGACY).check_downgrade([Version.TWO])

    def test_o_31_an_identity_is_written_to_in_no_less_under_another_id(self) -> None:
        met = ring(1).announce(listing(), Trust.UNDECIDED, NOW)
        met = met.announce(listing(7, version=Version.LEGACY), Trust.AUTOMATIC, NOW)
        met = met.pin(DeviceId(7), name(1))
        assert [device.id for device in met.devices] == [7]
        assert met.version_of(known(met, 7), BOTH) is Version.TWO
        offered = relisted(ring(1), 2).announce(
            listing(7, version=Version.LEGACY), Trust.AUTOMATIC, NOW
        )
        offered = offered.pin(DeviceId(7), name(7)).offer(DeviceId(7), name(1))
        accepted = offered.decide(name(1), Trust.AUTHENTICATED)
        assert known(accepted, 7).fingerprint == name(1)
        assert accepted.version_of(known(accepted, 7), BOTH) is Version.TWO

    @pytest.mark.parametrize("policy", [FIRST, BEFORE_VERIFICATION])
    def test_o_31_one_that_only_a_later_legacy_list_names_is_undecided(
        self, policy: TrustPolicy
    ) -> None:
        first = DeviceRing(ROMEO).announce(listing(1, 2), Trust.AUTOMATIC, NOW)
        old = first.announce(listing(1, 2, 3, version=Version.LEGACY), Trust.AUTOMATIC, NOW)
        assert known(old, 3).trust is Trust.AUTOMATIC  # was there from the beginning
        struck = relisted(old, 2).announce(
            listing(2, 3, version=Version.LEGACY), Trust.AUTOMATIC, NOW
        )
        assert struck.find(DeviceId(1)) is None
        level = struck.sight(policy, ours=False)
        back = struck.announce(listing(1, 2, 3, version=Version.LEGACY), level, NOW)
        assert known(back, 1).trust is Trust.UNDECIDED
        assert back.pin(DeviceId(1), name(1)).level_of(name(1), policy) is Trust.UNDECIDED


class TestIdentities:
    def test_o_27_another_identity_waits_for_the_user(self) -> None:
        met = ring(1)
        assert met.objection(DeviceId(1), name(9)) is ErrorCode.IDENTITY_CHANGED
        assert not met.shows(DeviceId(1), name(9))
        with pytest.raises(PeerMisbehaved) as caught:
            met.pin(DeviceId(1), name(9))
        assert caught.value.code is ErrorCode.IDENTITY_CHANGED
        offered = met.offer(DeviceId(1), name(9))
        assert known(offered, 1).fingerprint == name(1)
        assert offered.level_of(name(9), FIRST) is Trust.UNDECIDED
        accepted = offered.decide(name(9), Trust.AUTHENTICATED)
        assert known(accepted, 1).fingerprint == name(9)
        assert known(accepted, 1).offered is None
        assert accepted.level_of(name(9), FIRST) is Trust.AUTHENTICATED
        assert accepted.level_of(name(1), FIRST) is Trust.UNDECIDED

    def test_o_27_one_that_is_distrusted_is_offered_no_more(self) -> None:
        met = ring(1).offer(DeviceId(1), name(9)).decide(name(9), Trust.DISTRUSTED)
        assert known(met, 1) == known(ring(1), 1)
        assert met.offer(DeviceId(1), name(9)) == met
        asked = met.decide(name(9), Trust.UNDECIDED).offer(DeviceId(1), name(9))
        assert known(asked, 1).offered == name(9)

    def test_one_that_is_distrusted_is_so_wherever_it_is_shown(self) -> None:
        met = relisted(ring(1).offer(DeviceId(1), name(9)).decide(name(9), Trust.DISTRUSTED), 1, 2)
        met = met.pin(DeviceId(2), name(9), Trust.AUTOMATIC)
        assert met.level(known(met, 2), BEFORE_VERIFICATION) is Trust.DISTRUSTED

    def test_o_26_another_identity_was_not_heard_yet(self) -> None:
        met = ring(1).heard_from(DeviceId(1), NOW).offer(DeviceId(1), name(9))
        met = met.decide(name(9), Trust.AUTHENTICATED)
        assert known(met, 1).heard is None

    def test_o_27_to_be_asked_about_it_changes_nothing(self) -> None:
        met = ring(1).offer(DeviceId(1), name(9)).decide(name(9), Trust.UNDECIDED)
        assert (known(met, 1).fingerprint, known(met, 1).offered) == (name(1), name(9))

    def test_o_16_an_identity_is_one_devices(self) -> None:
        met = relisted(ring(1), 1, 2)
        assert met.objection(DeviceId(2), name(1)) is ErrorCode.SIGNER_MISMATCH
        with pytest.raises(PeerMisbehaved) as caught:
            met.pin(DeviceId(2), name(1))
        assert caught.value.code is ErrorCode.SIGNER_MISMATCH

    @pytest.mark.parametrize("trust", [Trust.AUTHENTICATED, Trust.AUTOMATIC, Trust.DISTRUSTED])
    def test_an_identity_takes_what_is_believed_of_it_to_a_new_id(self, trust: Trust) -> None:
        met = ring(1)
        met = met if trust is Trust.AUTOMATIC else met.decide(name(1), trust)
        moved = relisted(met, 2).pin(DeviceId(2), name(1))
        assert [device.id for device in moved.devices] == [2]
        assert known(moved, 2).trust is trust

    def test_o_16_what_is_offered_to_two_devices_becomes_one_devices(self) -> None:
        met = ring(1, 2).offer(DeviceId(1), name(9)).offer(DeviceId(2), name(9))
        met = met.decide(name(9), Trust.AUTHENTICATED)
        assert [device.fingerprint for device in met.devices] == [name(9), name(2)]
        assert all(device.offered is None for device in met.devices)

    def test_o_16_who_has_it_keeps_it_while_listed(self) -> None:
        met = relisted(ring(1), 1, 2).pin(DeviceId(2), name(2))
        met = met.offer(DeviceId(2), name(1)).decide(name(1), Trust.AUTHENTICATED)
        assert [device.fingerprint for device in met.devices] == [name(1), name(2)]
        assert known(met, 1).trust is Trust.AUTHENTICATED

    def test_one_that_is_proven_to_be_anothers_is_taken_away(self) -> None:
        met = ring(1, 2).disown(name(1), NOW)
        assert known(met, 1).fingerprint is None
        assert known(met, 1).refusal(Version.TWO, NOW) is ErrorCode.SIGNER_MISMATCH
        assert known(met.pin(DeviceId(1), name(9)), 1).trust is Trust.UNDECIDED
        assert ring(1).disown(name(9), NOW) == ring(1)

    def test_o_16_what_an_envelope_named_stays_named_under_another_id(self) -> None:
        met = ring(1).named_by(name(1))
        assert known(met, 1).named
        assert met.named_by(name(1)) is met.named_by(name(9)) is met
        moved = relisted(met, 2).pin(DeviceId(2), name(1))
        assert known(moved, 2).named
        assert not known(moved.disown(name(1), NOW), 2).named

    def test_a_device_that_lost_an_identity_is_not_judged_by_it(self) -> None:
        met = ring(1).decide(name(1), Trust.DISTRUSTED).disown(name(1), NOW)
        assert known(met.pin(DeviceId(1), name(9)), 1).trust is Trust.UNDECIDED

    def test_o_14_one_whose_bundle_was_kept_back_must_not_wait_for_its_day(self) -> None:
        met = DeviceRing(ROMEO).announce(listing(1, 2, 3), Trust.AUTOMATIC, NOW)
        met = met.refuse(DeviceId(1), Version.TWO, ErrorCode.DATA_MISSING, NOW)
        met = met.refuse(DeviceId(3), Version.TWO, ErrorCode.DATA_MISSING, NOW)
        met = met.pin(DeviceId(1), name(1))  # the first of all
        assert known(met, 1).trust is Trust.AUTOMATIC
        assert known(met.pin(DeviceId(2), name(2)), 2).trust is Trust.AUTOMATIC
        assert known(met.pin(DeviceId(3), name(3)), 3).trust is Trust.UNDECIDED
        assert known(met.pin(DeviceId(3), name(3), Trust.AUTOMATIC), 3).trust is Trust.AUTOMATIC

    def test_an_id_that_no_list_named_is_undecided(self) -> None:
        met = ring(1).pin(DeviceId(2), name(2))
        assert met.level(known(met, 2), BEFORE_VERIFICATION) is Trust.UNDECIDED
        assert met.version_of(known(met, 2), BOTH) is None


class TestDecisions:
    def test_z_13_only_what_was_shown_can_be_decided_about(self) -> None:
        """The fingerprint names what the user saw, and not what lies there now."""
        for trust in Trust:
            with pytest.raises(PeerMisbehaved) as caught:
                ring(1).decide(name(9), trust)
            assert caught.value.code is ErrorCode.SIGNER_MISMATCH

    def test_z_13_an_offer_that_was_replaced_is_not_accepted(self) -> None:
        met = ring(1).offer(DeviceId(1), name(8)).offer(DeviceId(1), name(9))
        with pytest.raises(PeerMisbehaved):
            met.decide(name(8), Trust.AUTHENTICATED)

    def test_o_32_levels(self) -> None:
        met = relisted(ring(1, 2), 1, 2, 3).pin(DeviceId(3), name(3))
        met = met.decide(name(2), Trust.DISTRUSTED)
        expected = [Trust.AUTOMATIC, Trust.DISTRUSTED, Trust.UNDECIDED]
        assert [met.level(device, FIRST) for device in met.devices] == expected
        assert [met.level_of(name(each), FIRST) for each in (1, 2, 3)] == expected
        assert met.level_of(name(9), FIRST) is Trust.UNDECIDED
        careful = [met.level(device, ManualTrust()) for device in met.devices]
        assert careful == [Trust.UNDECIDED, Trust.DISTRUSTED, Trust.UNDECIDED]

    def test_o_32_once_one_is_verified_the_policy_says_what_others_are_worth(self) -> None:
        met = ring(1, 2).decide(name(1), Trust.AUTHENTICATED)
        assert met.level(known(met, 2), FIRST) is Trust.UNDECIDED  # XEP-0450 §6.2
        assert met.level(known(met, 2), BEFORE_VERIFICATION) is Trust.AUTOMATIC
        assert met.sight(BEFORE_VERIFICATION, ours=False) is Trust.UNDECIDED

    def test_vouching_for_one_ends_first_sight_for_the_unseen(self) -> None:
        met = relisted(ring(1), 1, 2, policy=BEFORE_VERIFICATION)
        assert known(met, 2).trust is Trust.AUTOMATIC
        met = met.decide(name(1), Trust.AUTHENTICATED).pin(DeviceId(2), name(2))
        assert met.level(known(met, 2), BEFORE_VERIFICATION) is Trust.UNDECIDED

    def test_what_was_vouched_for_stays_so_where_another_took_its_place(self) -> None:
        met = ring(1).decide(name(1), Trust.AUTHENTICATED).offer(DeviceId(1), name(9))
        met = met.decide(name(9), Trust.AUTOMATIC)
        assert met.vouched
        assert met.level_of(name(1), FIRST) is Trust.AUTHENTICATED
        assert met.decide(name(1), Trust.DISTRUSTED).level_of(name(1), FIRST) is Trust.DISTRUSTED

    @pytest.mark.parametrize("policy", [FIRST, BEFORE_VERIFICATION])
    @pytest.mark.parametrize("after", [Trust.DISTRUSTED, Trust.UNDECIDED, Trust.AUTOMATIC])
    def test_o_32_what_was_verified_once_ends_blind_trust_for_ever(
        self, policy: TrustPolicy, after: Trust
    ) -> None:
        """Whoever distrusts a stolen phone does not ask to believe what comes in its place."""
        met = ring(1, 2).decide(name(1), Trust.AUTHENTICATED).decide(name(1), after)
        met = relisted(met, 1, 2, 3, policy=policy).pin(DeviceId(3), name(3))
        assert met.level(known(met, 3), policy) is Trust.UNDECIDED
        assert met.level(known(met, 2), FIRST) is Trust.UNDECIDED

    def test_opting_out_is_answered(self) -> None:
        asked = ring(1).opt_out("for the record")
        assert (asked.opted_out, asked.reason) == (True, "for the record")
        assert asked.opt_in() == ring(1)
        assert "record" not in repr(asked)


class TestBundles:
    def test_o_14_no_more_than_twenty_in_ten_minutes(self) -> None:
        met = ring(1)
        for each in range(MAX_BUNDLE_FETCHES + 5):
            assert met.allowance(NOW) == max(0, MAX_BUNDLE_FETCHES - each)
            met = met.fetched(NOW)
        assert len(met.fetches) == MAX_BUNDLE_FETCHES
        assert met.allowance(NOW + timedelta(minutes=10)) == MAX_BUNDLE_FETCHES
        assert len(met.fetched(NOW + timedelta(minutes=10)).fetches) == 1

    def test_r_12_no_jump_of_the_clock_stops_fetching(self) -> None:
        met = ring(1)
        for _ in range(MAX_BUNDLE_FETCHES):
            met = met.fetched(NOW)
        for jump in (timedelta(days=3650), -timedelta(days=3650), -timedelta(seconds=1)):
            assert met.allowance(NOW + jump) == MAX_BUNDLE_FETCHES

    def test_a_refusal_stands_for_ten_minutes(self) -> None:
        met = ring(1).refuse(DeviceId(1), Version.TWO, ErrorCode.BAD_SIGNATURE, NOW)
        met = met.refuse(DeviceId(1), Version.LEGACY, ErrorCode.DATA_MISSING, NOW)
        met = met.refuse(DeviceId(1), Version.TWO, ErrorCode.MALFORMED, NOW)
        device = known(met, 1)
        assert len(device.refused) == 2
        assert device.refusal(Version.TWO, NOW) is ErrorCode.MALFORMED
        assert device.refusal(Version.LEGACY, NOW) is ErrorCode.DATA_MISSING
        assert device.refusal(Version.TWO, NOW + timedelta(minutes=10)) is None
        assert known(met.pin(DeviceId(1), name(1)), 1).refused == ()
        assert met.refuse(DeviceId(9), Version.TWO, ErrorCode.MALFORMED, NOW) is met


class TestSignsOfLife:
    def test_o_26_a_device_that_never_answers_is_stale_and_stays(self) -> None:
        met = ring(1, 2).wrote_to([DeviceId(1)], NOW)
        later = NOW + timedelta(days=90)
        assert not known(met, 1).is_stale(later - timedelta(seconds=1))
        assert known(met, 1).is_stale(later)
        assert not known(met, 2).is_stale(later)  # nothing was written to it
        assert met.wrote_to([DeviceId(1)], later) is met  # since the first one
        assert met.version_of(known(met, 1), BOTH) is Version.TWO
        assert met.level(known(met, 1), FIRST) is Trust.AUTOMATIC
        assert not known(met.heard_from(DeviceId(1), later), 1).is_stale(later)

    def test_o_26_who_talks_is_noted_once_a_day(self) -> None:
        met = ring(1).heard_from(DeviceId(1), NOW)
        assert met.heard_from(DeviceId(1), NOW + timedelta(hours=23)) is met
        assert met.wrote_to([DeviceId(1)], NOW + timedelta(hours=23)) is met
        assert met.heard_from(DeviceId(1), NOW + timedelta(days=1)) is not met
        assert met.heard_from(DeviceId(9), NOW) is met
        written = met.wrote_to([DeviceId(1)], NOW + timedelta(days=2))
        assert known(written, 1).wrote == NOW + timedelta(days=2)

    def test_r_12_jumps_of_the_clock_make_nobody_stale_for_good(self) -> None:
        ahead = NOW + timedelta(days=3650)
        met = ring(1).wrote_to([DeviceId(1)], ahead)
        assert not known(met, 1).is_stale(NOW)
        met = met.wrote_to([DeviceId(1)], NOW)
        assert known(met, 1).wrote == NOW
        assert not known(met.heard_from(DeviceId(1), NOW), 1).is_stale(ahead)
        assert (
            known(ring(1).heard_from(DeviceId(1), ahead).heard_from(DeviceId(1), NOW), 1).heard
            == NOW
        )
