"""KnownDevice: what is known of one device of an account.

Rule: a value and what follows from it alone; what is believed of it is decided in ``ring.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from e2ee.errors import ErrorCode
from e2ee.omemo.device import DeviceId, IdentityFingerprint
from e2ee.omemo.device_list import ListedDevice
from e2ee.omemo.version import Version
from e2ee.trust import Trust

__all__ = ["BUNDLE_AGE", "KnownDevice", "Refusal", "in_seconds", "is_recent"]

BUNDLE_AGE: Final = timedelta(minutes=10)  # others use its prekeys up, and no event says so
_STALE_AGE: Final = timedelta(days=90)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_ACTIVE_AGE: Final = timedelta(days=1)  # who was heard within it is not noted as heard again


def is_recent(moment: datetime | None, age: timedelta, now: datetime) -> bool:
    """Say whether ``moment`` is less than ``age`` ago; never so in the future, as clocks jump."""
    return moment is not None and timedelta() <= now - moment < age


def in_seconds(moment: datetime) -> datetime:
    """Return a moment as it is kept: in whole seconds."""
    return moment.replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the bundle of a device in one version was not taken, and when, aware, in seconds.

    The code of a bundle that is not there is ``data-missing``.
    """

    version: Version
    code: ErrorCode
    when: datetime


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """One device of an account.

    Attributes:
        id: its id.
        trust: what the user decided about its identity, or else what the policy said when it was
            met. What counts is :meth:`DeviceRing.level`.
        fingerprint: of the identity that it showed first, or that the user accepted in its place;
            ``None`` until it showed one.
        offered: of another identity that it showed since, which waits for the user's decision and
            is never used before.
        listed: the versions whose latest list has it.
        once: the versions whose lists ever had it.
        label: what its list calls it, and
        label_signature: the signature that was never checked; ``OmemoSessions.devices`` does that.
        named: whether an authenticated envelope of its identity named its account: what proves
            that the identity is not another's that was copied or passed on.
        refused: the bundles that were not taken since the last one that was; one for each version.
        heard: when it was last known to be alive, aware, to the day.
        wrote: since when what we write to it is not answered; ``None`` where it is.
    """

    id: DeviceId
    trust: Trust
    fingerprint: IdentityFingerprint | None = None
    offered: IdentityFingerprint | None = None
    listed: frozenset[Version] = frozenset()
    once: frozenset[Version] = frozenset()
    label: str | None = None
    label_signature: bytes | None = None
    named: bool = False
    refused: tuple[Refusal, ...] = ()
    heard: datetime | None = None
    wrote: datetime | None = None

    def is_stale(self, now: datetime) -> bool:
        """Say whether it was silent for 90 days though we wrote to it; it may be lost."""
        return self.wrote is not None and now - self.wrote >= _STALE_AGE

    def refusal(self, version: Version, now: datetime) -> ErrorCode | None:
        """Return why its bundle was refused just now, so that it is not asked for again."""
        return next(
            (
                each.code
                for each in self.refused
                if each.version is version and is_recent(each.when, BUNDLE_AGE, now)
            ),
            None,
        )

    def refused_at(self, version: Version) -> datetime:
        """Return when its bundle was refused last, aware; the beginning of time for never."""
        times = [each.when for each in self.refused if each.version is version]
        return max(times, default=_NEVER)

    def relisted(self, version: Version, entry: ListedDevice | None) -> KnownDevice:
        """Return the device as the list of one version has it, or has it not."""
        if entry is None:
            return replace(self, listed=self.listed - {version})
        listed = replace(self, listed=self.listed | {version}, once=self.once | {version})
        if version is not Version.TWO:  # the only one that knows labels
            return listed
        return replace(listed, label=entry.label, label_signature=entry.label_signature)

    def refusing(self, refusal: Refusal) -> KnownDevice:
        """Return the device with the newest refusal of its version."""
        others = tuple(each for each in self.refused if each.version is not refusal.version)
        return replace(self, refused=(*others, refusal))

    def showing(self, fingerprint: IdentityFingerprint, trust: Trust) -> KnownDevice:
        """Return the device with an identity that is its own from now on."""
        return replace(
            self,
            fingerprint=fingerprint,
            trust=trust,
            named=False,
            refused=(),
            heard=None,
            wrote=None,
        )

    def answered(self, fingerprint: IdentityFingerprint) -> KnownDevice:
        """Return the device without this identity on offer."""
        return replace(self, offered=None) if self.offered == fingerprint else self

    def without_benefit(self) -> KnownDevice:
        """Return the device trusted no more, if that was before it showed any identity."""
        unseen = self.fingerprint is None and self.trust is Trust.AUTOMATIC
        return replace(self, trust=Trust.UNDECIDED) if unseen else self

    def heard_at(self, now: datetime) -> KnownDevice:
        """Return the device as it is alive at ``now``; the same one, if that is no news."""
        if self.wrote is None and is_recent(self.heard, _ACTIVE_AGE, now):
            return self
        return replace(self, heard=in_seconds(now), wrote=None)

    def written_to_at(self, now: datetime) -> KnownDevice:
        """Return the device as it was written to at ``now``; the same one, if that is no news."""
        awaited = self.wrote is not None and self.wrote <= now  # else by a clock that was ahead
        if awaited or is_recent(self.heard, _ACTIVE_AGE, now):
            return self
        return replace(self, wrote=in_seconds(now))
