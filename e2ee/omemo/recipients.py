"""Who reads a message: which devices of which people, in which version; and why others do not.

Rule: decides, and changes nothing. A device is written to only by an identity that is pinned and
that the policy uses, and only while its account's list names it (XEP-0384 §5.5.2).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from e2ee.draft import Draft
from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, TrustUndecided
from e2ee.names import BareJid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.known_device import KnownDevice, is_recent
from e2ee.omemo.own_rows import own_within
from e2ee.omemo.peers import missing_within
from e2ee.omemo.ring import LIST_AGE, DeviceRing
from e2ee.omemo.ring_rows import bundle_within, ring_within
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import sessions_within
from e2ee.omemo.version import Version
from e2ee.renewal import Renewal
from e2ee.trust import Trust

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = [
    "DeviceReport",
    "Outcome",
    "Recipient",
    "Recipients",
    "recipients_within",
    "refused",
]


class Outcome(StrEnum):
    """What became of one device when a message was encrypted."""

    ENCRYPTED = "encrypted"
    STARTED = "started"  # encrypted, with a session that it has not heard of yet
    LEFT_OUT = "left-out"  # the caller wished so
    UNVERIFIED = "unverified"  # the caller wished to write to verified devices alone
    DISTRUSTED = "distrusted"
    IDENTITY_CHANGED = "identity-changed"  # it shows another identity, which is not decided about
    NO_BUNDLE = "no-bundle"  # it has published none
    BAD_BUNDLE = "bad-bundle"
    NOT_FETCHED = "not-fetched"  # too many bundles of this account were asked for; try again later
    NO_BODY = "no-body"  # it speaks the legacy version alone, and there is no body to read
    AMBIGUOUS = "ambiguous"  # in the legacy version its id alone names it, and another one, too

    @property
    def reads(self) -> bool:
        """Whether the device can read the message."""
        return self in (Outcome.ENCRYPTED, Outcome.STARTED)


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What became of one device when a message was encrypted.

    Attributes:
        device: which.
        version: in which version it is written to.
        outcome: what became of it.
        code: why its bundle was refused, where it was.
        is_stale: whether it has not answered for long (``KnownDevice.is_stale``); it is written to
            all the same, and the user may leave it out.
    """

    device: Device
    version: Version
    outcome: Outcome
    code: ErrorCode | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Recipient:
    """One device to be written to.

    Attributes:
        device: which.
        version: in which version.
        fingerprint: of its identity, the one that was accepted.
        way: the session to send with, or the bundle to start one with.
        is_stale: as in its report.
    """

    device: Device
    version: Version
    fingerprint: IdentityFingerprint
    way: Session | Bundle
    is_stale: bool = False

    def report(self, outcome: Outcome, code: ErrorCode | None = None) -> DeviceReport:
        """Return what became of it."""
        return DeviceReport(self.device, self.version, outcome, code, self.is_stale)


@dataclass(slots=True)
class Recipients:
    """All devices of some people.

    Attributes:
        rings: of all these people, our own account among them.
        chosen: the devices to write to.
        passed_over: what became of the others.
    """

    rings: list[DeviceRing] = field(default_factory=list)
    chosen: list[Recipient] = field(default_factory=list)
    passed_over: list[DeviceReport] = field(default_factory=list)


async def recipients_within(
    sessions: OmemoSessions,
    draft: Draft,
    versions: Collection[Version],
    people: Collection[BareJid],
    leaving_out: Collection[Device],
    *,
    verified_only: bool,
    in_room: bool = False,
) -> Recipients:
    """Choose among the devices of ``people`` and our own others.

    A room goes on whatever one who is in it asked us: else each of them could silence it.

    Args:
        sessions: the device that writes.
        draft: to read in.
        versions: in which it may write; a device that is listed in none of them is not considered.
        people: who may read.
        leaving_out: devices to go without.
        verified_only: whether to write to none that the user did not vouch for.
        in_room: whether it is for a room.

    Raises:
        ApiMisuse: ``opted-out``: somebody asked to write in clear, and the user has not answered.
        DataMissing: lists or bundles must be fetched first.
        PeerMisbehaved: ``downgrade``: somebody had devices, and has none now.
        TrustUndecided: devices that the user must decide about or leave out.
    """
    everybody = sorted({*people, sessions.account}, key=str)
    renewal = Renewal((await own_within(draft)).renewal)
    choice = _Choice(sessions, draft, versions, renewal, frozenset(leaving_out), verified_only)
    for jid in everybody:
        ring = await ring_within(draft, jid)
        if ring.opted_out and jid != sessions.account and not in_room:
            raise ApiMisuse(
                f"{jid} asks to write in clear; the user must answer first",
                code=ErrorCode.OPTED_OUT,
                rule="XEP-0384 §5.7",
            )
        await choice.consider(ring)
    if choice.incomplete:
        # What is not there and not to be asked for now is reported, and stands in nobody's way.
        fetches = await missing_within(sessions, draft, everybody)
        if fetches:
            raise DataMissing("what devices publish must be fetched first", fetches=fetches)
    for ring in choice.recipients.rings:
        if ring.jid != sessions.account:
            ring.check_downgrade(versions)
    if choice.undecided:
        raise TrustUndecided(
            "there are devices that nobody decided about",
            subjects=tuple(map(str, choice.undecided)),
            rule="XEP-0384 §8",
        )
    return choice.recipients


def refused(code: ErrorCode | None) -> Outcome:
    """Return what it means for a device that its bundle was refused, or not even asked for."""
    if code is None:
        return Outcome.NOT_FETCHED
    return _OUTCOMES.get(code, Outcome.BAD_BUNDLE)


_OUTCOMES: Final = {
    ErrorCode.DATA_MISSING: Outcome.NO_BUNDLE,
    ErrorCode.IDENTITY_CHANGED: Outcome.IDENTITY_CHANGED,
}


class _Choice:
    """The choice as far as it is made.

    Attributes:
        recipients: the outcome.
        undecided: the devices that the user must decide about.
        incomplete: whether something could have been fetched that is not here.
    """

    def __init__(
        self,
        sessions: OmemoSessions,
        draft: Draft,
        versions: Collection[Version],
        renewal: Renewal,
        leaving_out: frozenset[Device],
        verified_only: bool,
    ) -> None:
        self._draft = draft
        self._renewal = renewal
        self._versions = versions
        self._leaving_out = leaving_out
        self._verified_only = verified_only
        self._policy = sessions.ports.trust
        self._now = sessions.ports.clock()
        self.recipients = Recipients()
        self.undecided: list[Device] = []
        self.incomplete = False

    async def consider(self, ring: DeviceRing) -> None:
        """Consider all devices of one account."""
        self.recipients.rings.append(ring)
        self.incomplete |= not all(
            is_recent(ring.listed.get(each), LIST_AGE, self._now) for each in self._versions
        )
        for version in self._versions:
            devices = [
                each for each in ring.devices if ring.version_of(each, self._versions) is version
            ]
            if devices:
                ids = {each.id for each in devices}
                found = await sessions_within(self._draft, version, ring.jid, ids)
                for known in devices:
                    await self._consider(ring, known, version, found.get(known.id))

    async def _consider(
        self, ring: DeviceRing, known: KnownDevice, version: Version, session: Session | None
    ) -> None:
        device, stale = Device(ring.jid, known.id), known.is_stale(self._now)
        level = ring.level(known, self._policy)
        outcome, code = self._excluded(device, level), None
        if outcome is None and known.fingerprint is not None:
            if level is Trust.UNDECIDED:
                self.undecided.append(device)
                return
            way = await self._way(device, version, known.fingerprint, session)
            if way is not None:
                recipient = Recipient(device, version, known.fingerprint, way, stale)
                self.recipients.chosen.append(recipient)
                return
        if outcome is None:
            code = known.refusal(version, self._now)
            outcome = refused(code)
            self.incomplete |= code is None
        self.recipients.passed_over.append(DeviceReport(device, version, outcome, code, stale))

    def _excluded(self, device: Device, level: Trust) -> Outcome | None:
        """Return why a device must not read the message; ``None`` where it may."""
        if device in self._leaving_out:
            return Outcome.LEFT_OUT
        if level is Trust.DISTRUSTED:
            return Outcome.DISTRUSTED
        if self._verified_only and level is not Trust.AUTHENTICATED:
            return Outcome.UNVERIFIED
        return None

    async def _way(
        self,
        device: Device,
        version: Version,
        fingerprint: IdentityFingerprint,
        session: Session | None,
    ) -> Session | Bundle | None:
        """Return the session to send with, or the bundle to start one with, if there is any."""
        if session is not None and session.sends_to(fingerprint, self._renewal):
            return session
        return await bundle_within(self._draft, version, device, self._now)
