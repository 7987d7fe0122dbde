"""Encrypting for all devices of some people, and for our own others: an element for each version.

Rule: all of it or nothing. Every session moves on in the one commit after which the elements may
leave, so that no position of a ratchet is used twice. Who reads is decided in ``recipients.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2ee import limits, ns, sce
from e2ee.draft import Draft
from e2ee.eme import is_encrypted
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Jid
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.device_keys import first_key, next_key
from e2ee.omemo.message import DeviceKey, EncryptedMessage
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.own_rows import own_within
from e2ee.omemo.recipients import (
    DeviceReport,
    Outcome,
    Recipient,
    Recipients,
    recipients_within,
    refused,
)
from e2ee.omemo.ring_rows import put_ring
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import put_session
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from e2ee.xmltree import Element

if TYPE_CHECKING:
    from e2ee.omemo.sessions import OmemoSessions

__all__ = ["Encrypted", "encrypt", "encrypt_item_within"]


@dataclass(frozen=True, slots=True)
class Encrypted:
    """What was encrypted.

    Attributes:
        elements: one ``<encrypted/>`` for each version that was needed, all for the same stanza.
        report: what became of every device of the recipients, and of our own others.
    """

    elements: tuple[Element, ...]
    report: tuple[DeviceReport, ...]


async def encrypt(
    sessions: OmemoSessions,
    content: Sequence[Element],
    to: Collection[BareJid],
    *,
    room: BareJid | None = None,
    leaving_out: Collection[Device] = (),
    verified_only: bool = False,
) -> Encrypted:
    """See ``OmemoSessions.encrypt``."""
    people = frozenset(to) - {sessions.account} or frozenset(to)  # a room has us in its lists, too
    if not people:
        raise ApiMisuse("a message for nobody")
    if any(map(is_encrypted, content)):  # whoever reads it refuses it
        raise ApiMisuse("content that is encrypted already", rule="XEP-0384 §5.5")
    async with sessions.ports.store.exclusive(sessions.scope) as tx:
        draft = Draft(tx, sessions.account)
        own = await _own(draft)
        found = await recipients_within(
            sessions,
            draft,
            own.spoken(sessions.engines),
            people,
            leaving_out,
            verified_only=verified_only,
            in_room=room is not None,
        )

        def plaintext_in(version: Version) -> bytes | None:
            return _plaintext(sessions, version, content, people, room)

        encrypted = await _encrypted(sessions, draft, own, found, plaintext_in)
        _check_reached(people, encrypted.report)
        await draft.commit()
    return encrypted


async def encrypt_item_within(
    sessions: OmemoSessions,
    draft: Draft,
    payload: Element,
    to: Collection[BareJid],
    *,
    leaving_out: Collection[Device] = (),
    verified_only: bool = False,
) -> Encrypted:
    """Encrypt the payload of an item for chosen people, in a draft of the caller (XEP-0477).

    In version 2 alone: a legacy one would not tell who wrote it. No recipient is named inside:
    an item is for nobody, and Libervia 0.9 refuses one.

    Args:
        sessions: the device that writes.
        draft: the caller's, committed before the element may leave.
        payload: what the item would hold in clear.
        to: who may read it, beside our own other devices; nobody, for them alone.
        leaving_out: as ``OmemoSessions.encrypt``.
        verified_only: as ``OmemoSessions.encrypt``.

    Returns:
        One element, and what became of each device that speaks version 2.

    Raises:
        ApiMisuse: there is nobody to read it: no recipient, and no other device of ours; and as
            ``OmemoSessions.encrypt``.
        DataMissing, TrustUndecided, PeerMisbehaved: as ``OmemoSessions.encrypt``.
    """
    people = frozenset(to) - {sessions.account}
    own = await _own(draft)
    found = await recipients_within(
        sessions, draft, (Version.TWO,), people, leaving_out, verified_only=verified_only
    )

    def plaintext_in(_: Version) -> bytes:
        envelope = sce.Envelope((payload,), None, Jid(sessions.account), sessions.ports.clock())
        return sce.seal_envelope(envelope, sce.ITEM, sessions.ports.primitives)

    encrypted = await _encrypted(sessions, draft, own, found, plaintext_in)
    _check_reached(people, encrypted.report)
    if not encrypted.elements:
        raise ApiMisuse("an item for nobody, and no other device of ours")
    return encrypted


async def _own(draft: Draft) -> OwnDevice:
    own = await own_within(draft)
    if own.left:
        raise ApiMisuse(f"{own.device} has left; register it again first")
    return own


async def _encrypted(
    sessions: OmemoSessions,
    draft: Draft,
    own: OwnDevice,
    found: Recipients,
    plaintext_in: Callable[[Version], bytes | None],
) -> Encrypted:
    """Encrypt for all who were found.

    Args:
        sessions: the device that writes.
        draft: to write in.
        own: that device.
        found: who reads.
        plaintext_in: returns what a version encrypts; ``None`` where it has nothing to say.
    """
    elements: list[Element] = []
    report = list(found.passed_over)
    for version in own.spoken(sessions.engines):
        readers, unclear = _readers(version, found)
        report += [each.report(Outcome.AMBIGUOUS) for each in unclear]
        if not readers:
            continue
        plaintext = plaintext_in(version)
        if plaintext is None:
            report += [each.report(Outcome.NO_BODY) for each in readers]
            continue
        element, outcomes = await _written(sessions, draft, own, version, plaintext, readers)
        elements += element
        report += outcomes
    _note(draft, found, report, sessions)
    return Encrypted(tuple(elements), tuple(report))


def _readers(version: Version, found: Recipients) -> tuple[list[Recipient], list[Recipient]]:
    """Return who is written to in a version, and who cannot be.

    A legacy message says for which device a key is, and not whose. Where devices of several
    accounts have one id, none of them could tell which is its own.
    """
    chosen = [each for each in found.chosen if each.version is version]
    if version is not Version.LEGACY:
        return chosen, []
    ids = Counter(each.device.id for each in chosen)
    unclear = [each for each in chosen if ids[each.device.id] > 1]
    return [each for each in chosen if each not in unclear], unclear


def _plaintext(
    sessions: OmemoSessions,
    version: Version,
    content: Sequence[Element],
    people: Collection[BareJid],
    room: BareJid | None,
) -> bytes | None:
    """Return what a version encrypts; ``None`` where it has nothing for what is to be said."""
    if version is Version.LEGACY:
        bodies = [each.text for each in content if each.is_(ns.CLIENT, "body")]
        return next((text.encode() for text in bodies if text), None)
    # One recipient alone is who the stanza is to, and our own devices read of them there, too.
    to = room or (next(iter(people)) if len(people) == 1 else None)
    envelope = sce.Envelope(
        content=tuple(content),
        to=None if to is None else Jid(to),
        from_=Jid(sessions.account),
        time=sessions.ports.clock(),
    )
    profile = sce.OMEMO if room is None else sce.GROUPCHAT
    return sce.seal_envelope(envelope, profile, sessions.ports.primitives)


async def _written(
    sessions: OmemoSessions,
    draft: Draft,
    own: OwnDevice,
    version: Version,
    plaintext: bytes,
    readers: Sequence[Recipient],
) -> tuple[tuple[Element, ...], list[DeviceReport]]:
    """Return the element of one version, if anybody reads it, and what became of its readers."""
    random = sessions.ports.primitives.random
    payload, key_material = sessions.engines[version].seal_payload(plaintext, random)
    keys: dict[BareJid | None, list[DeviceKey]] = {}
    report: list[DeviceReport] = []
    for reader in readers:
        try:
            key = await _key(sessions, draft, own, reader, key_material)
        except PeerMisbehaved as refusal:  # its bundle; nobody else goes without for that
            report.append(reader.report(refused(refusal.code), refusal.code))
            continue
        keys.setdefault(None if version is Version.LEGACY else reader.device.jid, []).append(key)
        report.append(reader.report(Outcome.STARTED if key.kex else Outcome.ENCRYPTED))
    if not keys:
        return (), report
    if (
        len(report) > limits.MAX_MESSAGE_KEYS
        or sum(len(str(jid)) for jid in keys) > limits.MAX_MESSAGE_JID_CHARS
    ):
        raise ApiMisuse("a message for more than anybody reads", code=ErrorCode.LIMIT_EXCEEDED)
    of_each = {jid: tuple(of_jid) for jid, of_jid in keys.items()}
    return (EncryptedMessage(version, own.device.id, of_each, payload).to_xml(),), report


async def _key(
    sessions: OmemoSessions,
    draft: Draft,
    own: OwnDevice,
    reader: Recipient,
    key_material: Secret,
) -> DeviceKey:
    """Encrypt the key material for one device, and keep the session."""
    if isinstance(reader.way, Session):
        session, key = await next_key(sessions, reader.way, key_material)
        put_session(draft, session)
        return key
    return await first_key(
        sessions, draft, own, reader.device, reader.fingerprint, reader.way, key_material
    )


def _check_reached(people: Collection[BareJid], report: Sequence[DeviceReport]) -> None:
    """Refuse to send what somebody could read nowhere.

    Raises:
        PeerMisbehaved: ``unusable-key``.
    """
    reached = {each.device.jid for each in report if each.outcome.reads}
    for jid in sorted(set(people) - reached):
        raise PeerMisbehaved(ErrorCode.UNUSABLE_KEY, f"{jid} has no device that could read this")


def _note(
    draft: Draft, found: Recipients, report: Sequence[DeviceReport], sessions: OmemoSessions
) -> None:
    """Note which devices were written to, so that one that never answers is known for it."""
    written: dict[BareJid, set[DeviceId]] = {}
    for each in report:
        if each.outcome.reads:
            written.setdefault(each.device.jid, set()).add(each.device.id)
    now = sessions.ports.clock()
    for ring in found.rings:
        after = ring.wrote_to(written.get(ring.jid, ()), now)
        if after is not ring:
            put_ring(draft, after)
