"""How a decrypted message waits in a store until the program has taken it in.

Rule: the stored form alone, and all of an :class:`OpenedMessage` is in it; a damaged record is
``store-corrupt``, never a message that was lost.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.omemo.device import Device, parse_device_id, parse_identity_fingerprint
from e2ee.omemo.opened import OpenedMessage, TransportedKey
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.renewal import read_count
from e2ee.sce import Remark
from e2ee.secret import Secret
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml

__all__ = ["opened_from_record", "opened_to_record"]

_KIND: Final = "omemo-inbox"
_FORMAT: Final = 1


def opened_to_record(opened: OpenedMessage, place: int) -> bytes:
    """Return a message as a stored record.

    Args:
        opened: any but an empty one.
        place: how many were kept before it.
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
            "content": [write_xml(child) for child in opened.content],
            "dropped": [write_xml(child) for child in opened.dropped],
            "remarks": sorted(opened.remarks),
            "time": opened.time and opened.time.isoformat(),
            "key": key and [_text(key.key.reveal()), _text(key.iv)],
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
        opened, place = _opened(fields), read_count(fields["place"])
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
        key=None if key is None else TransportedKey(Secret(_bytes(key[0])), _bytes(key[1])),
        is_rewritable=_flag(fields["is_rewritable"]),
        lost=read_count(fields["lost"]),
        opted_out=_flag(fields["opted_out"]),
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


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(type(value))
    return value


def _elements(sources: Sequence[str]) -> tuple[Element, ...]:
    return tuple([parse_xml(source) for source in sources])


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)
