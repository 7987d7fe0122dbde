"""DeviceRing: the devices of one account, and what is believed of each.

Rule: pure transitions from one DeviceRing to the next. A device keeps the identity that it showed
first, and an identity is one device's. What the user decides is decided about an identity, and
outlives every list and every device.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_BUNDLE_FETCHES, MAX_DEVICES
from e2ee.names import BareJid
from e2ee.omemo.device import DeviceId, IdentityFingerprint
from e2ee.omemo.device_list import DeviceList
from e2ee.omemo.known_device import BUNDLE_AGE, KnownDevice, Refusal, in_seconds, is_recent
from e2ee.omemo.version import Version
from e2ee.renewal import Renewal
from e2ee.trust import Trust, TrustPolicy

__all__ = ["LIST_AGE", "DeviceRing"]

LIST_AGE: Final = timedelta(days=1)  # nobody tells us of the lists of those we are no contact of
_ANNOUNCE_AGE: Final = timedelta(days=1)
_MAX_ANNOUNCED: Final = 3  # times that our device is put back into one list within a day


@dataclass(frozen=True, slots=True)
class DeviceRing:
    """The devices of one account, in the order in which they were met; never our own one.

    Attributes:
        jid: whose.
        devices: those that are listed, and those of before that showed an identity. Ids and
            fingerprints are unique.
        listed: when the latest list of each version was fetched, aware, in seconds; even one that
            is empty or not there.
        spoke: the versions in which it ever listed a device.
        decided: what the user decided, by identity.
        seen: whether any of its devices ever showed an identity: from then on no other is the
            first.
        vouched: whether the user ever vouched for an identity of this JID; whatever they think of
            it now, what nobody vouched for is not to be believed blindly again.
        opted_out: whether it asks to write in clear, and the user has not answered, and
        reason: why, in its words.
        fetches: when bundles were fetched, as far as it counts still.
        announced: when our own device was put back into our lists, as far as it counts still; only
            in our own ring.
        renewal: the count of the account's renewals that the ring knows of.
    """

    jid: BareJid
    devices: tuple[KnownDevice, ...] = ()
    listed: Mapping[Version, datetime] = field(default_factory=dict)
    spoke: frozenset[Version] = frozenset()
    decided: Mapping[IdentityFingerprint, Trust] = field(default_factory=dict)
    seen: bool = False
    vouched: bool = False
    opted_out: bool = False
    reason: str | None = field(default=None, repr=False)
    fetches: tuple[datetime, ...] = ()
    announced: tuple[tuple[Version, datetime], ...] = ()
    renewal: int = 0

    # -- what is known

    def find(self, device_id: DeviceId) -> KnownDevice | None:
        """Return the device with this id, or ``None``."""
        return next((device for device in self.devices if device.id == device_id), None)

    def holder(self, fingerprint: IdentityFingerprint) -> KnownDevice | None:
        """Return the device whose identity it is, or ``None``."""
        return next((each for each in self.devices if each.fingerprint == fingerprint), None)

    def level(self, device: KnownDevice, policy: TrustPolicy) -> Trust:
        """Return what a device's trust is worth now.

        One that the policy does not use is undecided. Without an identity there is nothing to be
        used, whatever the level.
        """
        return self._effective(device.trust, policy)

    def level_of(self, fingerprint: IdentityFingerprint, policy: TrustPolicy) -> Trust:
        """Return the level of an identity: a session's, which may not be its device's any more."""
        holder = self.holder(fingerprint)
        trust = holder.trust if holder else self.decided.get(fingerprint, Trust.UNDECIDED)
        return self._effective(trust, policy)

    def _effective(self, trust: Trust, policy: TrustPolicy) -> Trust:
        used = trust is Trust.DISTRUSTED or policy.uses(trust, verified=self.vouched)
        return trust if used else Trust.UNDECIDED

    def sight(self, policy: TrustPolicy, *, ours: bool) -> Trust:
        """Return the level of a device that a list names now for the first time.

        Args:
            policy: the user's.
            ours: whether this is our own ring: whom a server adds there reads all that we write,
                so that no policy answers for the user.
        """
        if ours:
            return Trust.UNDECIDED
        if self.seen:
            return policy.later(self.jid, verified=self.vouched)
        return policy.first_sight(self.jid)

    def version_of(self, device: KnownDevice, enabled: Collection[Version]) -> Version | None:
        """Return the version to write to a device in, ``None`` for one that is listed no more.

        One that was ever listed in version 2 is never written to in the legacy version.
        """
        if device.listed.isdisjoint(enabled):
            return None
        return Version.TWO if Version.TWO in device.once else Version.LEGACY

    def check_downgrade(self, enabled: Collection[Version]) -> None:
        """Refuse to go on with less than this JID had; not for our own, where others may go.

        Raises:
            PeerMisbehaved: ``downgrade``: it had devices in the strongest version that it ever
                spoke, and its list is empty now or has vanished.
        """
        for version in Version:  # the strongest first
            if version in enabled and any(version in device.listed for device in self.devices):
                return
            if version in enabled and version in self.spoke:
                raise PeerMisbehaved(
                    ErrorCode.DOWNGRADE, f"{self.jid} had OMEMO devices, and has none now"
                )

    # -- lists

    def announce(self, found: DeviceList, level: Trust, now: datetime) -> DeviceRing:
        """Take in the list of one version.

        A device that is listed no more and showed no identity is forgotten. Where the JID spoke
        version 2, one that only a later legacy list names is undecided, whatever the policy: it may
        be one of those, under another id or forgotten, that is to be written to in less.

        Args:
            found: the list; an empty one where there is none.
            level: of the devices that are new; see :meth:`sight`.
            now: the present, aware.
        """
        is_first = not self.seen and found.version not in self.listed
        if found.version is Version.LEGACY and Version.TWO in self.spoke and not is_first:
            level = Trust.UNDECIDED
        entries = {entry.id: entry for entry in found.devices}
        met = {device.id for device in self.devices}
        new = tuple(KnownDevice(each, level) for each in entries if each not in met)
        devices = tuple(
            device.relisted(found.version, entries.get(device.id)) for device in self.devices + new
        )
        return replace(
            self,
            devices=self._retained(devices),
            listed={**self.listed, found.version: in_seconds(now)},
            spoke=self.spoke | {found.version} if entries else self.spoke,
        )

    def renewed(self, renewal: Renewal) -> DeviceRing:
        """Return the ring as it counts under the account's newest renewal: lists are fetched again.

        Raises:
            StoreFailed: ``store-corrupt``: the ring knows of a later renewal.
        """
        if not renewal.outdates(self.renewal):
            return self
        return replace(self, listed={}, renewal=renewal.count)

    def may_announce(self, version: Version, now: datetime) -> bool:
        """Say whether our device may be put back into our list once more: no war is won so."""
        times = [when for each, when in self._announced(now) if each is version]
        return len(times) < _MAX_ANNOUNCED

    def announced_again(self, version: Version, now: datetime) -> DeviceRing:
        """Note that our device is put back into our list."""
        return replace(self, announced=(*self._announced(now), (version, in_seconds(now))))

    def _announced(self, now: datetime) -> list[tuple[Version, datetime]]:
        return [each for each in self.announced if is_recent(each[1], _ANNOUNCE_AGE, now)]

    # -- bundles

    def allowance(self, now: datetime) -> int:
        """Return how many bundles may be asked for now, so that no list drives us to ask."""
        return MAX_BUNDLE_FETCHES - len(self._fetched(now))

    def fetched(self, now: datetime) -> DeviceRing:
        """Note that a bundle was fetched."""
        fetches = (*self._fetched(now), in_seconds(now))
        return replace(self, fetches=fetches[-MAX_BUNDLE_FETCHES:])

    def _fetched(self, now: datetime) -> list[datetime]:
        return [when for when in self.fetches if is_recent(when, BUNDLE_AGE, now)]

    def refuse(
        self, device_id: DeviceId, version: Version, code: ErrorCode, now: datetime
    ) -> DeviceRing:
        """Note why the bundle of a device was not taken; a device that is not known has none."""
        device = self.find(device_id)
        if device is None:
            return self
        return self._with(device.refusing(Refusal(version, code, in_seconds(now))))

    # -- identities

    def objection(self, device_id: DeviceId, fingerprint: IdentityFingerprint) -> ErrorCode | None:
        """Say why an identity is not that of a device, ``None`` where it is or may be.

        Returns:
            ``signer-mismatch``: it is that of another device that is listed;
            ``identity-changed``: the device has another one.
        """
        holder = self.holder(fingerprint)
        if holder is not None and holder.id != device_id and holder.listed:
            return ErrorCode.SIGNER_MISMATCH
        device = self.find(device_id)
        if device is not None and device.fingerprint not in (None, fingerprint):
            return ErrorCode.IDENTITY_CHANGED
        return None

    def shows(self, device_id: DeviceId, fingerprint: IdentityFingerprint) -> bool:
        """Say whether an identity is that of a device, or may become it; see :meth:`objection`."""
        return self.objection(device_id, fingerprint) is None

    def pin(
        self, device_id: DeviceId, fingerprint: IdentityFingerprint, later: Trust = Trust.UNDECIDED
    ) -> DeviceRing:
        """Take the first identity that a device shows for its own; by ``identities.py`` alone.

        What was decided about it counts for this device, and so does what was believed of it under
        an id that is listed no more. A device that no list named is undecided.

        Args:
            device_id: of the device.
            fingerprint: what it shows.
            later: the level of a device that was listed at first sight, but whose bundle was
                refused then, once another identity was seen: nobody waits for their day.

        Raises:
            PeerMisbehaved: what :meth:`objection` says; nothing else accepts another identity than
                :meth:`decide`.
        """
        if (objection := self.objection(device_id, fingerprint)) is not None:
            raise PeerMisbehaved(objection, f"another identity than that of {self.jid}#{device_id}")
        device = self.find(device_id) or KnownDevice(device_id, Trust.UNDECIDED)
        if device.fingerprint == fingerprint:
            return self._with(replace(device, refused=()))
        late = self.seen and device.refused and device.trust is Trust.AUTOMATIC
        former = self.holder(fingerprint)
        trust = former.trust if former else later if late else device.trust
        return self._given(device, fingerprint, self.decided.get(fingerprint, trust))

    def offer(self, device_id: DeviceId, fingerprint: IdentityFingerprint) -> DeviceRing:
        """Keep another identity that a device shows, for the user to decide about.

        There is one at a time; one that the user distrusts is not offered.
        """
        device = self.find(device_id)
        if device is None or self.decided.get(fingerprint) is Trust.DISTRUSTED:
            return self
        return self._with(replace(device, offered=fingerprint))

    def disown(self, fingerprint: IdentityFingerprint, now: datetime) -> DeviceRing:
        """Take an identity from its device, because it was proven to be somebody else's."""
        holder = self.holder(fingerprint)
        if holder is None:
            return self
        ring = self._with(replace(holder, fingerprint=None, trust=Trust.UNDECIDED, named=False))
        for version in holder.listed:
            ring = ring.refuse(holder.id, version, ErrorCode.SIGNER_MISMATCH, now)
        return replace(ring, devices=ring._retained(ring.devices))

    def decide(self, fingerprint: IdentityFingerprint, trust: Trust) -> DeviceRing:
        """Set what the user decided about an identity that was shown to them.

        To accept one that is offered makes it its device's. With the first one that is vouched for,
        first sight is over: devices that showed none yet are trusted no more.

        Raises:
            PeerMisbehaved: ``signer-mismatch``: no device of this JID shows it.
        """
        holder = self.holder(fingerprint)
        taker = next((each for each in self.devices if each.offered == fingerprint), None)
        if not (holder or taker or fingerprint in self.decided):
            raise PeerMisbehaved(
                ErrorCode.SIGNER_MISMATCH, f"no device of {self.jid} shows this identity"
            )
        ring = replace(
            self,
            decided={**self.decided, fingerprint: trust},
            vouched=self.vouched or trust is Trust.AUTHENTICATED,
        )
        if taker and trust.accepts and not (holder and holder.listed):
            ring = ring._given(taker, fingerprint, trust)
        elif holder:
            ring = ring._with(replace(holder, trust=trust))
        devices = ring.devices
        if trust is not Trust.UNDECIDED:
            devices = tuple(device.answered(fingerprint) for device in devices)
        if trust is Trust.AUTHENTICATED:
            devices = tuple(device.without_benefit() for device in devices)
        return replace(ring, devices=devices)

    # -- signs of life

    def heard_from(self, device_id: DeviceId, now: datetime) -> DeviceRing:
        """Note that a message of a device was decrypted; to the day, so that few are written."""
        device = self.find(device_id)
        heard = device and device.heard_at(now)
        return self if heard is None or heard is device else self._with(heard)

    def named_by(self, fingerprint: IdentityFingerprint) -> DeviceRing:
        """Note that an authenticated envelope of an identity named this JID as its sender's.

        Whoever copied the identity's bundle, or passes on what it sent elsewhere, has none.
        """
        holder = self.holder(fingerprint)
        if holder is None or holder.named:
            return self
        return self._with(replace(holder, named=True))

    def wrote_to(self, ids: Collection[DeviceId], now: datetime) -> DeviceRing:
        """Note that something was encrypted for devices; of active ones nothing is noted."""
        devices = tuple(
            device.written_to_at(now) if device.id in ids else device for device in self.devices
        )
        return self if devices == self.devices else replace(self, devices=devices)

    def opt_out(self, reason: str | None) -> DeviceRing:
        """Note that the JID asks to write in clear (XEP-0384 §5.7)."""
        return replace(self, opted_out=True, reason=reason)

    def opt_in(self) -> DeviceRing:
        """Note that the user answered, or that the JID thought better of it."""
        return replace(self, opted_out=False, reason=None)

    # -- steps

    def _with(self, changed: KnownDevice) -> DeviceRing:
        devices = tuple(changed if each.id == changed.id else each for each in self.devices)
        return replace(self, devices=devices)

    def _given(
        self, device: KnownDevice, fingerprint: IdentityFingerprint, trust: Trust
    ) -> DeviceRing:
        """Return the ring in which an identity is that of ``device`` and of no other.

        The versions that it was ever listed in go with it: under no id is it written to in less.
        """
        changed = device.showing(fingerprint, trust)
        if former := self.holder(fingerprint):
            changed = replace(changed, once=device.once | former.once, named=former.named)
        others = [each for each in self.devices if each.fingerprint != fingerprint]
        if not any(each.id == device.id for each in others):
            others.append(device)
        devices = tuple(changed if each.id == device.id else each for each in others)
        answered = tuple(each.answered(fingerprint) for each in devices)
        return replace(self, devices=self._retained(answered), seen=True)

    def _retained(self, devices: tuple[KnownDevice, ...]) -> tuple[KnownDevice, ...]:
        """Forget devices that are not listed: those without identity, and the oldest of too many.

        A server and its user can list, show and strike any number. What the user decided about is
        kept, and what was believed is kept longer than what was not.
        """
        idle = [
            device
            for device in devices
            if not device.listed and device.fingerprint and device.fingerprint not in self.decided
        ]
        idle.sort(key=lambda device: device.trust.accepts)
        forgotten = {device.id for device in idle[: max(0, len(idle) - MAX_DEVICES)]}
        return tuple(
            device
            for device in devices
            if device.listed or (device.fingerprint and device.id not in forgotten)
        )
