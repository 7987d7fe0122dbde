"""What a targeted item is by: the place where it stood, and the digest that it is recognised by.

Rule: pure, and before anything is decrypted, but for :func:`only_payload`: what may be inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Self

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.eme import is_encrypted
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import decode_base64, encode_base64
from e2ee.names import ItemPlace, Jid
from e2ee.omemo.device import DeviceId, parse_device_id
from e2ee.records import pack
from e2ee.xmltree import Element
from ox.elements import read_openpgp
from ox.packets import read_packets
from pubsub_encryption.targeted import TargetedPayload

__all__ = ["PlacedItem", "content_digest", "is_payload", "only_payload"]

_RULE: Final = "XEP-0477 §3.1"
_MOST_PACKETS: Final = limits.MAX_PKESK + limits.MAX_SKESK + 1
_NO_PAYLOADS: Final = frozenset(
    {ns.CLIENT, ns.SERVER, ns.OMEMO_2, ns.OMEMO_LEGACY, ns.OX, ns.OX_PUBSUB, ns.PTE, ns.SCE}
)
"""Namespaces of what is encrypted, or said in messages, which a service could put into an item."""


@dataclass(frozen=True, slots=True)
class PlacedItem:
    """A targeted item where it stood; nothing of it is decrypted.

    Attributes:
        targeted: its payload.
        place: where.
        arrival: the same for whom decrypts it, its sender whom it says that it is by.
        digest: what it is recognised by; see :func:`content_digest`.
    """

    targeted: TargetedPayload
    place: ItemPlace
    arrival: Arrival
    digest: bytes

    @classmethod
    def read(cls, payload: Element, arrival: Arrival) -> Self:
        """Read the payload of an item, and compare whom it says that it is by with where it stood.

        A service that publishes for others may name no publisher; then only the inside tells.

        Raises:
            PeerMisbehaved: ``context-mismatch``: published by somebody else, or no item of a node;
                ``unsupported-algorithm``; ``malformed``, ``limit-exceeded``.
        """
        targeted = TargetedPayload.from_xml(payload)
        if arrival.kind is not StanzaKind.ITEM or arrival.node is None or arrival.item_id is None:
            raise _misplaced("a targeted item that stood in no node")
        named, service = arrival.sender.bare, arrival.node.service
        if named != targeted.by and (named != service or service.local):
            raise _misplaced(f"published by {named}, and said to be by somebody else")
        inside = replace(arrival, sender=Jid(targeted.by), to=None, occupant=None)
        place = ItemPlace(arrival.node, arrival.item_id)
        return cls(targeted, place, inside, content_digest(targeted))


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
    """Say whether an element may be the payload of a targeted item.

    What is encrypted already may not, nor what is said in messages: nothing inside says where it
    belongs, so that a service could make items of messages.
    """
    return bool(payload.namespace) and not (
        payload.namespace in _NO_PAYLOADS or is_encrypted(payload)
    )


def only_payload(content: Sequence[Element]) -> Element:
    """Return the payload among what was decrypted.

    Raises:
        PeerMisbehaved: ``malformed``: other than one element; ``context-mismatch``: it may not be
            one, see :func:`is_payload`.
    """
    if len(content) != 1:
        raise PeerMisbehaved(ErrorCode.MALFORMED, "an item of other than one payload", rule=_RULE)
    if not is_payload(content[0]):
        raise _misplaced("what is said in messages, or encrypted, is no payload of an item")
    return content[0]


def _misplaced(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.CONTEXT_MISMATCH, what, rule=_RULE)
