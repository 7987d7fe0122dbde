"""Attachment nodes: where what is attached to an item stands, and whose it is (XEP-0470 0.2.0).

Rule: names and effects only. What is attached is in ``attachments.py``; who is let in to a node of
an encrypted one, in ``pubsub_encryption``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from e2ee import ns
from e2ee.arrival import Arrival
from e2ee.effects import (
    ACCESS_MODEL,
    MAX_ITEMS,
    PERSIST_ITEMS,
    PUBLISH_MODEL,
    Create,
    NodeConfig,
)
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.lexical import JID_PLAIN, decode_percent, encode_percent
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.xmlnames import NOT_CHAR

__all__ = [
    "attached_by",
    "attachment_effects",
    "attachment_node",
    "attachment_nodes",
    "parse_attachment_node",
    "summary_node",
]

_RULE: Final = "XEP-0470 §4.1"
_SPACES: Final = ("%20", "+")  # RFC 3986; and as forms write it, which Libervia does
_NODE: Final = re.compile(
    re.escape(ns.PUBSUB_ATTACHMENTS)
    + r"/xmpp:(?P<jid>[^?#;]+)\?;node=(?P<node>[^;#]+);item=(?P<item>[^;#]+)"
)


def attachment_node(place: ItemPlace) -> NodeAddress:
    """Return the node to which attachments of an item are published, as we write its name.

    Raises:
        PeerMisbehaved: ``malformed``: the name would be longer than ``limits.MAX_NODE_CHARS``, or
            the item's id is no text.
    """
    return attachment_nodes(place)[0]


def attachment_nodes(place: ItemPlace) -> tuple[NodeAddress, ...]:
    """Return every node in which attachments of an item may stand; ours first.

    There are two only where a name has a space in it, which programs write in two ways.

    Raises:
        PeerMisbehaved: as :func:`attachment_node`.
    """
    item_id = _text(place.item_id)
    service = place.node.service
    names = (
        f"{ns.PUBSUB_ATTACHMENTS}/xmpp:{encode_percent(str(service), JID_PLAIN)}?"
        f";node={encode_percent(place.node.node).replace('%20', space)}"
        f";item={encode_percent(item_id).replace('%20', space)}"
        for space in _SPACES
    )
    return tuple([NodeAddress(service, name) for name in dict.fromkeys(names)])


def parse_attachment_node(address: NodeAddress) -> ItemPlace:
    """Return the item whose attachments stand in a node.

    Raises:
        PeerMisbehaved: ``malformed``: it is none of the item's :func:`attachment_nodes`;
            ``context-mismatch``: it names an item of another service.
    """
    found = _NODE.fullmatch(address.node)
    if found is None:
        raise _malformed("not the name of an attachment node")
    node, item = (decode_percent(found[part].replace("+", " "), _RULE) for part in ("node", "item"))
    service = BareJid.parse(decode_percent(found["jid"], _RULE))
    if service != address.service:
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, "attachments to an item of another service", rule=_RULE
        )
    place = ItemPlace(NodeAddress(service, node), ItemId(_text(item)))
    if address not in attachment_nodes(place):  # else one item would have any number of them
        raise _malformed("an attachment node with its name spelt otherwise")
    return place


def summary_node(target: NodeAddress) -> NodeAddress:
    """Return the node in which a service keeps the summaries of a node's items (§4.6).

    Raises:
        PeerMisbehaved: ``malformed``: the name would be longer than ``limits.MAX_NODE_CHARS``.
    """
    return NodeAddress(target.service, f"{ns.PUBSUB_ATTACHMENTS_SUMMARY}/{target.node}")


def attachment_effects(
    place: ItemPlace, target: NodeConfig, features: Collection[str]
) -> tuple[Create, ...]:
    """Return what the publisher of an item performs so that others can attach to it.

    Nobody else ever creates the node, or it would be theirs (§4.1); and not the publisher either
    where the service does, which would refuse it (§4.4).

    Args:
        place: the item.
        target: the configuration of the item's own node, its access model included; this and the
            publish model, where there is one, are the attachment node's too. Perform it again once
            the target is configured otherwise.
        features: what the service announces (XEP-0030).

    Raises:
        ApiMisuse: ``target`` names no access model: the service's own may be open.
        PeerMisbehaved: as :func:`attachment_node`.
    """
    if ns.PUBSUB_ATTACHMENTS in features:
        return ()
    followed = tuple([field for field in target if field[0] in (ACCESS_MODEL, PUBLISH_MODEL)])
    if ACCESS_MODEL not in dict(followed):
        raise ApiMisuse("an attachment node has the access model of its target", rule=_RULE)
    config = (*followed, (PERSIST_ITEMS, "true"), (MAX_ITEMS, "max"))  # an item for each account
    return (Create(attachment_node(place), config),)


def attached_by(arrival: Arrival) -> BareJid:
    """Return whose attachments an item of an attachment node holds: its id says so (§4.1).

    Where the service names a publisher it must be that account. It proves nothing: the service may
    lie about both. An arrival does not tell whether nobody was named or the service itself, so that
    on an account's own service (XEP-0163) that account is taken for whoever it attaches something
    as; it could replace what is there anyway. A signature among the attachments proves itself.

    Raises:
        PeerMisbehaved: ``malformed``: the id is no bare JID as RFC 7622 prepares it;
            ``context-mismatch``: it is not the publisher's.
    """
    if arrival.node is None or arrival.item_id is None:
        raise PeerMisbehaved(ErrorCode.CONTEXT_MISMATCH, "attachments in no item", rule=_RULE)
    jid = BareJid.parse(arrival.item_id)
    if str(jid) != arrival.item_id:
        raise _malformed("attachments under a JID that is not prepared")  # a second item of theirs
    publisher = arrival.sender.bare
    if publisher not in (jid, arrival.node.service):  # or nobody was named
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, "attachments under somebody else's JID", rule=_RULE
        )
    return jid


def _text(item_id: str) -> str:
    if not item_id or NOT_CHAR.search(item_id):
        raise _malformed("an item without a proper id")
    return item_id


def _malformed(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.MALFORMED, what, rule=_RULE)
