"""How an effect is stored: each kind as fields of JSON, elements as XML.

Rule: the stored form alone. What was not written by this file is ``store-corrupt``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from e2ee.effects import (
    Affiliate,
    Affiliation,
    Configure,
    Create,
    Delete,
    Effect,
    NodeConfig,
    Publish,
    Retract,
    Send,
    Subscribe,
    Unsubscribe,
)
from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.xmlparse import parse_xml
from e2ee.xmlwrite import write_xml

__all__ = ["effect_from_fields", "effect_to_fields"]


def effect_to_fields(effect: Effect) -> dict[str, Any]:
    """Return the effect as JSON values."""
    fields: dict[str, Any] = {"effect": type(effect).__name__.lower()}
    if not isinstance(effect, Send):
        fields |= {"service": str(effect.address.service), "node": effect.address.node}
    match effect:
        case Publish(_, item_id, payload, options):
            fields |= {"item": item_id, "payload": write_xml(payload), "config": options}
        case Retract(_, item_id):
            fields |= {"item": item_id}
        case Create(_, config) | Configure(_, config):
            fields |= {"config": config}
        case Affiliate(_, jid, affiliation):
            fields |= {"jid": str(jid), "affiliation": affiliation.value}
        case Unsubscribe(_, jid):
            fields |= {"jid": str(jid)}
        case Send(to, children, stanza_id):
            fields |= {"to": str(to), "children": [*map(write_xml, children)], "id": stanza_id}
        case Delete() | Subscribe():
            pass
        case _:
            assert_never(effect)
    return fields


def effect_from_fields(fields: Mapping[str, Any]) -> Effect:
    """Return the effect that :func:`effect_to_fields` wrote.

    Raises:
        StoreFailed: ``store-corrupt`` when it wrote no such thing.
    """
    try:
        return _read(fields)
    except (KeyError, TypeError, ValueError, E2eeError):
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored effect is damaged") from None


def _read(fields: Mapping[str, Any]) -> Effect:
    kind = fields["effect"]
    if kind == "send":
        children = tuple(parse_xml(_text(child)) for child in fields["children"])
        return Send(_jid(fields["to"]), children, _text(fields["id"]))
    address = NodeAddress(_jid(fields["service"]), _text(fields["node"]))
    match kind:
        case "publish":
            item_id = None if fields["item"] is None else ItemId(_text(fields["item"]))
            payload = parse_xml(_text(fields["payload"]))
            return Publish(address, item_id, payload, _config(fields["config"]))
        case "retract":
            return Retract(address, ItemId(_text(fields["item"])))
        case "create":
            return Create(address, _config(fields["config"]))
        case "configure":
            return Configure(address, _config(fields["config"]))
        case "delete":
            return Delete(address)
        case "affiliate":
            return Affiliate(address, _jid(fields["jid"]), Affiliation(fields["affiliation"]))
        case "subscribe":
            return Subscribe(address)
        case "unsubscribe":
            return Unsubscribe(address, _jid(fields["jid"]))
    raise ValueError(kind)


def _config(pairs: Sequence[Sequence[object]]) -> NodeConfig:
    return tuple((_text(name), _text(value)) for name, value in pairs)


def _jid(value: object) -> BareJid:
    return BareJid.parse(_text(value))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value))
    return value
