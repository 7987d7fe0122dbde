"""Pubsub on the wire (XEP-0060): effects become requests; answers and notifications become items.

Rule: elements only, for the client's side; nothing here waits, decrypts or decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import (
    Affiliate,
    Configure,
    Create,
    Delete,
    NodeConfig,
    Publish,
    Retract,
    Subscribe,
    Unsubscribe,
)
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.xmltree import Element, element
from xmpp_e2ee.transport import IqKind

__all__ = [
    "Item",
    "NodeEffect",
    "Page",
    "Request",
    "fetch_items",
    "fetch_page",
    "read_items",
    "read_page",
    "read_retracted",
    "request_for",
    "write_form",
]

NodeEffect = Publish | Retract | Create | Configure | Delete | Affiliate | Subscribe | Unsubscribe
"""The effects that are requests; the remaining one, ``Send``, is a message."""

_RULE: Final = "XEP-0060 §6.5"


@dataclass(frozen=True, slots=True)
class Request:
    """One IQ: to whom, of which kind, with which payload."""

    to: BareJid
    kind: IqKind
    payload: Element = field(repr=False)


@dataclass(frozen=True, slots=True)
class Item:
    """One item as a service gave it.

    Attributes:
        id: its id.
        payload: its one child; ``None`` where the service notifies without payloads.
        publisher: who published it, if the service says so; never believed.
        source: the whole ``<item/>``, as it was given.
    """

    id: ItemId
    payload: Element | None = field(repr=False)
    publisher: Jid | None
    source: Element = field(repr=False)

    def arrival(self, address: NodeAddress) -> Arrival:
        """Return where this item stood."""
        sender = self.publisher or Jid(address.service)
        return Arrival(StanzaKind.ITEM, sender, node=address, item_id=self.id)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of items.

    Attributes:
        items: in the service's order.
        last: where the next page begins; ``None`` when there is none (XEP-0059).
    """

    items: tuple[Item, ...]
    last: str | None


def request_for(effect: NodeEffect, account: BareJid) -> Request:
    """Return the request by which ``account`` performs an effect on a node."""
    match effect:
        case Publish(address, item_id, payload, options):
            item = element(ns.PUBSUB, "item", {"id": item_id} if item_id else None, payload)
            children = [element(ns.PUBSUB, "publish", {"node": address.node}, item)]
            if options:
                form = write_form(ns.PUBSUB_PUBLISH_OPTIONS, options)
                children.append(element(ns.PUBSUB, "publish-options", None, form))
            return _set(address, ns.PUBSUB, *children)
        case Retract(address, item_id):
            item = element(ns.PUBSUB, "item", {"id": item_id})
            attributes = {"node": address.node, "notify": "true"}
            return _set(address, ns.PUBSUB, element(ns.PUBSUB, "retract", attributes, item))
        case Create(address, config):
            children = [element(ns.PUBSUB, "create", {"node": address.node})]
            if config:
                form = write_form(ns.PUBSUB_NODE_CONFIG, config)
                children.append(element(ns.PUBSUB, "configure", None, form))
            return _set(address, ns.PUBSUB, *children)
        case Configure(address, config):
            form = write_form(ns.PUBSUB_NODE_CONFIG, config)
            return _own(address, "configure", form)
        case Delete(address):
            return _own(address, "delete")
        case Affiliate(address, jid, affiliation):
            return _own(address, "affiliations", _entry("affiliation", jid, affiliation))
        case Subscribe(address):
            attributes = {"node": address.node, "jid": str(account)}
            return _set(address, ns.PUBSUB, element(ns.PUBSUB, "subscribe", attributes))
        case Unsubscribe(address, jid):
            return _own(address, "subscriptions", _entry("subscription", jid, "none"))
        case _:
            assert_never(effect)


def _set(address: NodeAddress, namespace: str, *children: Element) -> Request:
    return Request(address.service, IqKind.SET, element(namespace, "pubsub", None, *children))


def _own(address: NodeAddress, name: str, *children: Element) -> Request:
    action = element(ns.PUBSUB_OWNER, name, {"node": address.node}, *children)
    return _set(address, ns.PUBSUB_OWNER, action)


def _entry(name: str, jid: BareJid, value: str) -> Element:
    return element(ns.PUBSUB_OWNER, name, {"jid": str(jid), name: value})


def write_form(form_type: str, fields: NodeConfig) -> Element:
    """Return a submitted data form (XEP-0004)."""
    return element(
        ns.DATA_FORMS,
        "x",
        {"type": "submit"},
        _field("FORM_TYPE", form_type, {"type": "hidden"}),
        *(_field(name, value) for name, value in fields),
    )


def _field(name: str, value: str, attributes: Mapping[str, str] | None = None) -> Element:
    content = element(ns.DATA_FORMS, "value", None, *([value] if value else []))
    return element(ns.DATA_FORMS, "field", {"var": name, **(attributes or {})}, content)


def fetch_items(address: NodeAddress, ids: Sequence[ItemId] = ()) -> Request:
    """Ask for the items with these ids, or without ids for the most recent one."""
    wanted = [element(ns.PUBSUB, "item", {"id": item_id}) for item_id in ids]
    attributes = {"node": address.node} if ids else {"node": address.node, "max_items": "1"}
    return _get(address, element(ns.PUBSUB, "items", attributes, *wanted))


def fetch_page(address: NodeAddress, size: int, after: str | None) -> Request:
    """Ask for up to ``size`` items, those that follow ``after`` (XEP-0059) or the first ones."""
    bounds = [element(ns.RSM, "max", None, str(size))]
    if after is not None:
        bounds.append(element(ns.RSM, "after", None, after))
    items = element(ns.PUBSUB, "items", {"node": address.node})
    return _get(address, items, element(ns.RSM, "set", None, *bounds))


def _get(address: NodeAddress, *children: Element) -> Request:
    return Request(address.service, IqKind.GET, element(ns.PUBSUB, "pubsub", None, *children))


def read_page(answer: Element | None) -> Page:
    """Read the answer to :func:`fetch_items` or :func:`fetch_page`.

    A service without result sets answers with all items and no ``<set/>``: the only page.

    Raises:
        PeerMisbehaved: ``malformed``.
    """
    if answer is None or not answer.is_(ns.PUBSUB, "pubsub"):
        raise PeerMisbehaved(ErrorCode.MALFORMED, "an answer without items", rule=_RULE)
    items = read_items(answer.only(ns.PUBSUB, "items", rule=_RULE))
    result_set = answer.optional(ns.RSM, "set", rule=_RULE)
    last = None if result_set is None else result_set.optional(ns.RSM, "last", rule=_RULE)
    return Page(items, last.text if last is not None and items else None)


def read_items(source: Element) -> tuple[Item, ...]:
    """Read the items below ``<items/>``, of an answer or of a notification.

    Raises:
        PeerMisbehaved: ``malformed``: an item without an id, or with several payloads.
    """
    return tuple(
        _read_item(child)
        for child in source.elements
        if child.name == "item" and child.namespace == source.namespace
    )


def read_retracted(source: Element) -> tuple[ItemId, ...]:
    """Read which items are gone, below ``<items/>`` of a notification (§7.2.2).

    Raises:
        PeerMisbehaved: ``malformed``: one without an id.
    """
    gone = source.find_all(ns.PUBSUB_EVENT, "retract")
    return tuple([ItemId(each.require("id", rule="XEP-0060 §7.2.2")) for each in gone])


def _read_item(source: Element) -> Item:
    if len(source.elements) > 1:
        raise PeerMisbehaved(ErrorCode.MALFORMED, "an item with several payloads", rule=_RULE)
    publisher = source.get("publisher")
    return Item(
        id=ItemId(source.require("id", rule=_RULE)),
        payload=source.elements[0] if source.elements else None,
        publisher=None if publisher is None else Jid.parse(publisher),
        source=source,
    )
