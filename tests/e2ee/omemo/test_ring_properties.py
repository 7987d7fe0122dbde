"""Whatever is listed, shown and decided, in whatever order: what a ring never does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.omemo import ring as ring_module
from e2ee.omemo.device import DeviceId, IdentityFingerprint
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.ring_record import ring_from_record, ring_to_record
from e2ee.omemo.version import Version
from e2ee.trust import (
    BlindTrustBeforeVerification,
    BlindTrustOnFirstSight,
    ManualTrust,
    Trust,
    TrustPolicy,
)

IDS = st.integers(1, 4).map(DeviceId)
NAMES = st.integers(1, 5).map(lambda number: IdentityFingerprint(f"{number:064x}"))
VERSIONS = st.sampled_from(Version)
MAX_KEPT = 2


class Rings(RuleBasedStateMachine):
    """A ring under a hostile server, beside what its user and policy ever accepted."""

    policy: TrustPolicy = BlindTrustOnFirstSight()

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 7, 1, tzinfo=UTC)
        self.ring = DeviceRing(BareJid.parse("romeo@montague.lit"))
        self.decided: dict[IdentityFingerprint, Trust] = {}
        self.first: set[DeviceId] = set()  # listed before anybody showed an identity, and since
        self.believed: set[IdentityFingerprint] = set()  # shown first by one of these
        self.kept = patch.object(ring_module, "MAX_DEVICES", MAX_KEPT)
        self.kept.start()

    def teardown(self) -> None:
        self.kept.stop()

    @rule(version=VERSIONS, ids=st.sets(IDS))
    def announce(self, version: Version, ids: set[DeviceId]) -> None:
        entries = tuple(ListedDevice(each) for each in sorted(ids))
        level = self.ring.sight(self.policy, ours=False)
        self.ring = self.ring.announce(DeviceList(version, entries), level, self.now)
        if not self.ring.seen:
            self.first |= ids
        self.first &= {device.id for device in self.ring.devices if device.listed}

    @rule(device_id=IDS, name=NAMES)
    def show(self, device_id: DeviceId, name: IdentityFingerprint) -> None:
        before = self.ring.find(device_id)
        try:
            later = self.policy.later(self.ring.jid, verified=self.ring.vouched)
            self.ring = self.ring.pin(device_id, name, later)
        except PeerMisbehaved:
            assert not self.ring.shows(device_id, name)
            return
        assert before is None or before.fingerprint in (None, name)
        if device_id in self.first and (before is None or before.fingerprint is None):
            self.believed.add(name)

    @rule(device_id=IDS, name=NAMES)
    def offer(self, device_id: DeviceId, name: IdentityFingerprint) -> None:
        shown = {device.id: device.fingerprint for device in self.ring.devices}
        self.ring = self.ring.offer(device_id, name)
        assert shown == {device.id: device.fingerprint for device in self.ring.devices}

    @rule(device_id=IDS, version=VERSIONS)
    def refuse(self, device_id: DeviceId, version: Version) -> None:
        self.ring = self.ring.refuse(device_id, version, ErrorCode.DATA_MISSING, self.now)

    @rule(name=NAMES)
    def disown(self, name: IdentityFingerprint) -> None:
        if name not in self.decided:
            self.ring = self.ring.disown(name, self.now)

    @rule(name=NAMES, trust=st.sampled_from(Trust))
    def decide(self, name: IdentityFingerprint, trust: Trust) -> None:
        try:
            self.ring = self.ring.decide(name, trust)
        except PeerMisbehaved:
            assert name not in self.decided
            return
        self.decided[name] = trust
        if trust is Trust.AUTHENTICATED:
            self.first &= {device.id for device in self.ring.devices if device.fingerprint}

    @rule(device_id=IDS)
    def live(self, device_id: DeviceId) -> None:
        self.ring = self.ring.wrote_to([device_id], self.now).heard_from(device_id, self.now)

    @rule(days=st.integers(-4000, 4000))
    def jump(self, days: int) -> None:
        self.now = datetime(2026, 7, 1, tzinfo=UTC) + timedelta(days=days)

    @invariant()
    def what_nobody_accepted_is_not_used(self) -> None:
        for device in self.ring.devices:
            name = device.fingerprint
            if name is None or not self.ring.level(device, self.policy).accepts:
                continue
            assert self.decided.get(name, Trust.AUTOMATIC).accepts
            assert name in self.decided or name in self.believed
            assert self.ring.level_of(name, self.policy).accepts

    @invariant()
    def what_is_distrusted_is_never_used(self) -> None:
        for name, trust in self.decided.items():
            if trust is Trust.DISTRUSTED:
                assert self.ring.level_of(name, self.policy) is Trust.DISTRUSTED

    @invariant()
    def no_decision_is_lost(self) -> None:
        assert self.ring.decided == self.decided

    @invariant()
    def it_stays_small(self) -> None:
        unlisted = [device for device in self.ring.devices if not device.listed]
        assert len(unlisted) <= MAX_KEPT + len(self.decided)
        assert all(device.fingerprint for device in unlisted)

    @invariant()
    def it_is_kept_as_it_is(self) -> None:
        assert ring_from_record(ring_to_record(self.ring)) == self.ring  # names are unique, too


class RingsOfTheCareful(Rings):
    """Nothing is used but what the user accepted."""

    policy = ManualTrust()

    @invariant()
    def nothing_is_believed_unasked(self) -> None:
        for device in self.ring.devices:
            if device.fingerprint and self.ring.level(device, self.policy).accepts:
                assert self.decided[device.fingerprint] is Trust.AUTHENTICATED


class RingsOfTheBlind(Rings):
    """From the first verification on no new device is used."""

    policy = BlindTrustBeforeVerification()

    @rule(device_id=IDS, name=NAMES)
    def show(self, device_id: DeviceId, name: IdentityFingerprint) -> None:
        if not self.ring.vouched and self.ring.find(device_id) is not None:
            self.first.add(device_id)
        super().show(device_id, name)


EXAMPLES = settings().max_examples  # of the profile
for machine in (Rings, RingsOfTheCareful, RingsOfTheBlind):
    machine.TestCase.settings = settings(max_examples=EXAMPLES // 2, stateful_step_count=20)
TestRings = Rings.TestCase
TestRingsOfTheCareful = RingsOfTheCareful.TestCase
TestRingsOfTheBlind = RingsOfTheBlind.TestCase
