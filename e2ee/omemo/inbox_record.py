"""How a decrypted message waits in a store until the program has taken it in.

Rule: the stored form alone, and all of an :class:`OpenedMessage` is in it; a damaged record is
``store-corrupt``, never a message that was lost.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.omemo.device import Device, parse_device_id, parse_identity_fingerprint
from e2ee.omemo.fields import read_flag, read_number, read_octets, write_octets
from e2ee.omemo.opened import OpenedMessage, TransportedKey
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.sce import Remark
from e2ee.secret import Secret
from e2ee.trust import Trust
from e2ee.xmlkeep import keep_elements, kept_elements
from e2ee.xmltree import Element

__all__ = ["opened_from_record", "opened_to_record"]

_KIND: Final = "omemo-inbox"
_FORMAT: Final = 1


def opened_to_record(opened: OpenedMessage, place: int) -> bytes:
    """Return a message as a stored record.

    Args:
        opened: the message.
        place: how many were kept before it.

    Raises:
        PeerMisbehaved: ``limit-exceeded``: it is longer than what can be read again.
    """
    key = opened.key
    return pack(
        _KIND,
        _FORMAT,
        {
            "place": place,
            "id": opened.id,
            "version": opened.version.name,
            "jid": str(opened.sender.jid),
            "device": str(opened.sender.id),
            "fingerprint": opened.fingerprint,
            "trust": opened.trust.value,
            "arrival": _arrival_to_fields(opened.arrival),
            "content": _document(opened.content),
            "dropped": _document(opened.dropped),
            "remarks": sorted(opened.remarks),
            "time": opened.time and opened.time.isoformat(),
            "is_empty": opened.is_empty,
            "key": key and [write_octets(key.key.reveal()), write_octets(key.iv)],
            "is_rewritable": opened.is_rewritable,
            "lost": opened.lost,
            "opted_out": opened.opted_out,
            "reason": opened.reason,
        },
    )


def opened_from_record(raw: bytes, message_id: str) -> tuple[OpenedMessage, int]:
    """Read a stored message, and its place among the others.

    Args:
        raw: the record.
        message_id: of the message that must be in it.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _KIND, _FORMAT)
    try:
        opened, place = _opened(fields), read_number(fields["place"])
        if opened.id == message_id and opened_to_record(opened, place) == raw:
            return opened, place
    except (KeyError, TypeError, ValueError, E2eeError):
        pass
    raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored message is damaged")


def _opened(fields: dict[str, Any]) -> OpenedMessage:
    key, time = fields["key"], fields["time"]
    return OpenedMessage(
        id=fields["id"],
        version=Version[fields["version"]],
        sender=Device(BareJid.parse(fields["jid"]), parse_device_id(fields["device"])),
        fingerprint=parse_identity_fingerprint(fields["fingerprint"]),
        trust=Trust(fields["trust"]),
        arrival=_arrival(fields["arrival"]),
        content=_elements(fields["content"]),
        dropped=_elements(fields["dropped"]),
        remarks=frozenset(map(Remark, fields["remarks"])),
        time=None if time is None else datetime.fromisoformat(time),
        is_empty=read_flag(fields["is_empty"]),
        key=None
        if key is None
        else TransportedKey(Secret(read_octets(key[0])), read_octets(key[1])),
        is_rewritable=read_flag(fields["is_rewritable"]),
        lost=read_number(fields["lost"]),
        opted_out=read_flag(fields["opted_out"]),
        reason=None if fields["reason"] is None else str(fields["reason"]),
    )


def _arrival_to_fields(arrival: Arrival) -> dict[str, Any]:
    node = arrival.node
    return {
        "kind": arrival.kind.value,
        "sender": str(arrival.sender),
        "to": None if arrival.to is None else str(arrival.to),
        "stamp": arrival.stamp and arrival.stamp.isoformat(),
        "occupant": None if arrival.occupant is None else str(arrival.occupant),
        "node": node and [str(node.service), node.node],
        "item": arrival.item_id,
    }


def _arrival(fields: dict[str, Any]) -> Arrival:
    to, stamp = fields["to"], fields["stamp"]
    occupant, node = fields["occupant"], fields["node"]
    item_id = fields["item"]
    return Arrival(
        kind=StanzaKind(fields["kind"]),
        sender=Jid.parse(fields["sender"]),
        to=None if to is None else Jid.parse(to),
        stamp=None if stamp is None else datetime.fromisoformat(stamp),
        occupant=None if occupant is None else BareJid.parse(occupant),
        node=None if node is None else NodeAddress(BareJid.parse(node[0]), node[1]),
        item_id=None if item_id is None else ItemId(str(item_id)),
    )


def _document(elements: tuple[Element, ...]) -> str | None:
    return keep_elements(elements) if elements else None


def _elements(document: str | None) -> tuple[Element, ...]:
    return () if document is None else kept_elements(document)
