"""What is inside a targeted item, whatever its algorithm: opened, checked, and known by its digest.

Rule: reads in the caller's transaction and draft, and commits nothing; what is kept, and for how
long, is the cache's business. What is read once and never again is judged before its key is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.eme import is_encrypted
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import decode_base64, encode_base64
from e2ee.names import Fingerprint, ItemPlace, Jid
from e2ee.omemo.decrypting import decrypt_within
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint, parse_device_id
from e2ee.omemo.inbox import take_out
from e2ee.omemo.sessions import OmemoSessions
from e2ee.records import pack
from e2ee.storage import Transaction
from e2ee.trust import Trust
from e2ee.xmltree import Element
from ox.account import OxAccount
from ox.elements import read_openpgp
from ox.packets import read_packets
from pubsub_encryption.items import Authorship
from pubsub_encryption.targeted import TargetedPayload

__all__ = [
    "TargetedContent",
    "check_place",
    "content_digest",
    "is_payload",
    "open_omemo",
    "open_openpgp",
]

_RULE: Final = "XEP-0477 §3.1"
_MOST_PACKETS: Final = limits.MAX_PKESK + limits.MAX_SKESK + 1
_OF_MESSAGES: Final = frozenset(
    {ns.CLIENT, ns.SERVER, ns.OMEMO_2, ns.OMEMO_LEGACY, ns.OX, ns.OX_PUBSUB, ns.PTE, ns.SCE}
)
"""Namespaces of what is said in messages, which a service might put into an item, or encrypted."""


@dataclass(frozen=True, slots=True)
class TargetedContent:
    """What an algorithm decrypted, and who it proves to have written it.

    Attributes:
        payload: what the item would hold in clear.
        authorship: ``DEVICE`` or ``OPENPGP_KEY``.
        device: the OMEMO device that encrypted it; ``None`` where a key of OpenPGP signed it.
        fingerprint: of that device's identity key, or of that key.
        trust: what was known of it when it was decrypted.
        time: when its author says that it was encrypted, aware.
    """

    payload: Element = field(repr=False)
    authorship: Authorship
    device: Device | None
    fingerprint: IdentityFingerprint | Fingerprint
    trust: Trust
    time: datetime | None


def check_place(targeted: TargetedPayload, arrival: Arrival) -> ItemPlace:
    """Return where an item stood, if whom the service names is who it says that it is by.

    A service that publishes for others may name nobody: then only the inside tells.

    Raises:
        PeerMisbehaved: ``context-mismatch``: by somebody else, or no item of a node.
    """
    if arrival.kind is not StanzaKind.ITEM or arrival.node is None or arrival.item_id is None:
        raise _misplaced("a targeted item that stood in no node")
    named, service = arrival.sender.bare, arrival.node.service
    if named != targeted.by and (named != service or service.local):
        raise _misplaced(f"published by {named}, and said to be by another")
    return ItemPlace(arrival.node, arrival.item_id)


def content_digest(targeted: TargetedPayload) -> bytes:
    """Return what a targeted item is recognised by: SHA-256, 32 bytes.

    Digested is what nobody can change without its being another content: who it is by, and the
    cipher text. Not how it is written, nor the keys of those who may read it: a service that takes
    one away, or frames the packets of OpenPGP anew, makes no other item of it.

    Raises:
        PeerMisbehaved: ``unsupported-algorithm``; ``malformed``, ``limit-exceeded``.
    """
    device: DeviceId | None = None
    match targeted.type:
        case ns.OMEMO_2:
            header = targeted.inner.only(ns.OMEMO_2, "header", _RULE)
            device = parse_device_id(header.require("sid", _RULE), _RULE)
            payload = targeted.inner.only(ns.OMEMO_2, "payload", _RULE)
            ciphertext = decode_base64(payload.leaf_text(_RULE), _RULE)
        case ns.OX:
            packets = read_packets(read_openpgp(targeted.inner), most=_MOST_PACKETS)
            ciphertext = packets[-1].body if packets else b""
        case _:
            raise PeerMisbehaved(
                ErrorCode.UNSUPPORTED_ALGORITHM, "an algorithm that is not spoken here", rule=_RULE
            )
    fields = {
        "by": str(targeted.by),
        "type": targeted.type,
        "device": device,
        "ciphertext": encode_base64(ciphertext),
    }
    return sha256(pack("targeted-content", 1, fields)).digest()


def is_payload(payload: Element) -> bool:
    """Say whether an element may be the payload of an item, and is not encrypted itself.

    What is said in messages may not: nothing in an item says where it belongs, so that a service
    could make items of messages.
    """
    unsaid = payload.namespace not in _OF_MESSAGES
    return bool(payload.namespace) and unsaid and not is_encrypted(payload)


async def open_omemo(
    sessions: OmemoSessions, draft: Draft, targeted: TargetedPayload, arrival: Arrival
) -> TargetedContent:
    """Open an item in OMEMO; the step of the session is in the draft, and nothing in the inbox.

    Call ``publish_changed_bundles`` before the draft is committed.

    Raises:
        As ``OmemoSessions.decrypt``; PeerMisbehaved: ``malformed``, ``context-mismatch``: other
            than one payload. Then the draft has at most which identity was shown.
    """
    part = Draft(draft, draft.account)
    try:
        opened = await decrypt_within(sessions, part, targeted.inner, _by(targeted, arrival))
    except PeerMisbehaved:
        part.merge()
        raise
    content = TargetedContent(
        _payload(opened.content),
        Authorship.DEVICE,
        opened.sender,
        opened.fingerprint,
        opened.trust,
        opened.time,
    )
    take_out(part, opened)
    part.merge()
    return content


async def open_openpgp(
    ox: OxAccount, tx: Transaction, targeted: TargetedPayload, arrival: Arrival
) -> TargetedContent:
    """Open an item in OpenPGP for XMPP, which changes nothing and can be done again.

    Raises:
        As ``OxAccount.open``; PeerMisbehaved: ``forbidden``: it is not encrypted; ``malformed``,
            ``context-mismatch``: other than one payload.
    """
    opened = await ox.open_within(tx, targeted.inner, _by(targeted, arrival))
    opened.require_encrypted(_RULE)
    payload = _payload(opened.content)
    key = (await ox.keys_within(tx, opened.sender)).find(opened.signer)
    trust = key.trust if key else Trust.UNDECIDED
    return TargetedContent(
        payload, Authorship.OPENPGP_KEY, None, opened.signer, trust, opened.time
    )


def _by(targeted: TargetedPayload, arrival: Arrival) -> Arrival:
    """Return the arrival of an item whose sender is whom it says that it is by."""
    return replace(arrival, sender=Jid(targeted.by), to=None, occupant=None)


def _payload(content: Sequence[Element]) -> Element:
    if len(content) != 1:
        raise PeerMisbehaved(ErrorCode.MALFORMED, "an item with other than one payload", rule=_RULE)
    if not is_payload(content[0]):
        raise _misplaced("what is said in messages, or encrypted, is no payload of an item")
    return content[0]


def _misplaced(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.CONTEXT_MISMATCH, what, rule=_RULE)
