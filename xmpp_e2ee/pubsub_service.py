"""The pubsub part of the in-process server (XEP-0060, XEP-0163): requests in, answers out.

Rule: XML on one side, ``nodes.py`` on the other; it waits for nothing and decrypts nothing. Every
account's bare JID is a PEP service whose nodes only that account creates; on the component, anybody
does. Access models open and whitelist; result sets (XEP-0059) forwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from e2ee import limits, ns
from e2ee.effects import ACCESS_MODEL, Affiliation
from e2ee.errors import PeerMisbehaved
from e2ee.lexical import parse_integer
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.xmltree import Element, element
from xmpp_e2ee.nodes import Node, StoredItem
from xmpp_e2ee.transport import IqKind, StanzaRefused

__all__ = ["PubsubService"]

_NewId = Callable[[], str]
_Notify = Callable[[BareJid, BareJid, Element], None]


class PubsubService:
    """All nodes of a server."""

    def __init__(self, component: BareJid, new_id: _NewId, notify: _Notify) -> None:
        """Begin without nodes.

        Args:
            component: where everybody may create nodes.
            new_id: names items that were published without an id.
            notify: called with the service, the subscriber and the ``<event/>``.
        """
        self._component = component
        self._new_id = new_id
        self._notify = notify
        self._nodes: dict[NodeAddress, Node] = {}

    def stored(self, address: NodeAddress) -> tuple[StoredItem, ...]:
        """Return what whoever runs the service has of a node: all of it, oldest first."""
        return tuple(self._node(address).items.values())

    def plant(self, address: NodeAddress, item: StoredItem) -> None:
        """Put an item into a node, as whoever runs the service can; a new node is open."""
        node = self._nodes.setdefault(address, Node.create(item.publisher, {ACCESS_MODEL: "open"}))
        node.items[item.id] = item

    def answer(
        self, sender: BareJid, service: BareJid, kind: IqKind, payload: Element
    ) -> Element | None:
        """Carry out a request and return the payload of its result.

        Raises:
            StanzaRefused: the sender may not do this, or it makes no sense.
        """
        try:
            match kind, payload.namespace:
                case IqKind.GET, ns.DISCO_INFO:
                    feature = element(ns.DISCO_INFO, "feature", {"var": ns.PUBSUB})
                    return element(ns.DISCO_INFO, "query", None, feature)
                case IqKind.GET, ns.PUBSUB:
                    return self._items(sender, service, payload)
                case IqKind.SET, ns.PUBSUB:
                    return self._change(sender, service, payload)
                case IqKind.SET, ns.PUBSUB_OWNER:
                    self._own(sender, service, payload)
                    return None
        except PeerMisbehaved:
            raise StanzaRefused("bad-request") from None
        raise StanzaRefused("feature-not-implemented")

    # -- reading

    def _items(self, sender: BareJid, service: BareJid, payload: Element) -> Element:
        wanted = payload.only(ns.PUBSUB, "items")
        address = NodeAddress(service, wanted.require("node"))
        ids = [ItemId(item.require("id")) for item in wanted.find_all(ns.PUBSUB, "item")]
        newest = wanted.get("max_items")
        found = self._node(address).find(sender, ids, _integer(newest) if newest else None)
        bounds = payload.optional(ns.RSM, "set")
        if bounds is None:
            return element(ns.PUBSUB, "pubsub", None, _items(address, found))
        begin, end = _window(found, bounds)
        page = found[begin:end]
        facts = [element(ns.RSM, "count", None, str(len(found)))]
        if page:
            first = element(ns.RSM, "first", {"index": str(begin)}, page[0].id)
            facts = [first, element(ns.RSM, "last", None, page[-1].id), *facts]
        result_set = element(ns.RSM, "set", None, *facts)
        return element(ns.PUBSUB, "pubsub", None, _items(address, page), result_set)

    # -- publishing and subscribing

    def _change(self, sender: BareJid, service: BareJid, payload: Element) -> Element | None:
        action = payload.elements[0] if payload.elements else _bad_request()
        address = NodeAddress(service, action.require("node"))
        match action.name:
            case "publish":
                return self._publish(sender, address, action, payload)
            case "retract":
                item_id = ItemId(action.only(ns.PUBSUB, "item").require("id"))
                self._node(address).retract(sender, item_id)
                self._tell(
                    address, _event(address, element(ns.PUBSUB_EVENT, "retract", {"id": item_id}))
                )
            case "create":
                if address in self._nodes:
                    raise StanzaRefused("conflict")
                options = payload.optional(ns.PUBSUB, "configure")
                self._create(sender, address, _read_form(options))
            case "subscribe":
                if BareJid.parse(action.require("jid")) != sender:
                    raise StanzaRefused("invalid-jid")
                self._node(address).subscribe(sender)
            case "unsubscribe":
                self._node(address).subscribers.discard(sender)
            case _:
                raise StanzaRefused("feature-not-implemented")
        return None

    def _publish(
        self, sender: BareJid, address: NodeAddress, action: Element, payload: Element
    ) -> Element:
        source = action.only(ns.PUBSUB, "item")
        if len(source.elements) != 1:
            raise StanzaRefused("invalid-payload")
        options = _read_form(payload.optional(ns.PUBSUB, "publish-options"))
        if address not in self._nodes:
            self._create(sender, address, options)
        item = StoredItem(ItemId(source.get("id") or self._new_id()), source.elements[0], sender)
        node = self._node(address)
        node.publish(sender, item, options)
        news = _item(ns.PUBSUB_EVENT, item, with_payload=node.delivers_payloads)
        self._tell(address, _event(address, news))
        published = element(ns.PUBSUB, "item", {"id": item.id})
        return element(
            ns.PUBSUB,
            "pubsub",
            None,
            element(ns.PUBSUB, "publish", {"node": address.node}, published),
        )

    def _create(self, sender: BareJid, address: NodeAddress, config: dict[str, str]) -> None:
        if address.service not in (sender, self._component):
            raise StanzaRefused("forbidden")
        self._nodes[address] = Node.create(sender, config)

    # -- the owner's requests

    def _own(self, sender: BareJid, service: BareJid, payload: Element) -> None:
        action = payload.elements[0] if payload.elements else _bad_request()
        address = NodeAddress(service, action.require("node"))
        node = self._node(address)
        match action.name:
            case "configure":
                node.configure(sender, _read_form(action))
            case "delete":
                node.check_owner(sender)
                self._tell(address, element(ns.PUBSUB_EVENT, "delete", {"node": address.node}))
                del self._nodes[address]
            case "affiliations":
                for entry in action.find_all(ns.PUBSUB_OWNER, "affiliation"):
                    jid = BareJid.parse(entry.require("jid"))
                    node.affiliate(sender, jid, _affiliation(entry.require("affiliation")))
            case "subscriptions":
                for entry in action.find_all(ns.PUBSUB_OWNER, "subscription"):
                    if entry.require("subscription") != "none":
                        raise StanzaRefused("feature-not-implemented")
                    node.end_subscription(sender, BareJid.parse(entry.require("jid")))
            case _:
                raise StanzaRefused("feature-not-implemented")

    def _node(self, address: NodeAddress) -> Node:
        if address not in self._nodes:
            raise StanzaRefused("item-not-found")
        return self._nodes[address]

    def _tell(self, address: NodeAddress, news: Element) -> None:
        event = element(ns.PUBSUB_EVENT, "event", None, news)
        for jid in sorted(self._node(address).subscribers):
            self._notify(address.service, jid, event)


def _bad_request() -> NoReturn:
    raise StanzaRefused("bad-request")


def _integer(text: str) -> int:
    return parse_integer(text, 1, limits.MAX_ELEMENTS)


def _affiliation(text: str) -> Affiliation:
    try:
        return Affiliation(text)
    except ValueError:
        _bad_request()


def _window(found: Sequence[StoredItem], bounds: Element) -> tuple[int, int]:
    """Return where in ``found`` the page begins and ends that was asked for (XEP-0059)."""
    size = _integer(bounds.only(ns.RSM, "max").text)
    after = bounds.optional(ns.RSM, "after")
    if after is None:
        return 0, size
    begin = next((n for n, item in enumerate(found, 1) if item.id == after.text), None)
    if begin is None:
        raise StanzaRefused("item-not-found")
    return begin, begin + size


def _items(address: NodeAddress, found: Sequence[StoredItem]) -> Element:
    items = (_item(ns.PUBSUB, item) for item in found)
    return element(ns.PUBSUB, "items", {"node": address.node}, *items)


def _item(namespace: str, item: StoredItem, *, with_payload: bool = True) -> Element:
    attributes = {"id": item.id, "publisher": str(item.publisher)}
    return element(namespace, "item", attributes, *([item.payload] if with_payload else []))


def _event(address: NodeAddress, news: Element) -> Element:
    return element(ns.PUBSUB_EVENT, "items", {"node": address.node}, news)


def _read_form(parent: Element | None) -> dict[str, str]:
    form = None if parent is None else parent.optional(ns.DATA_FORMS, "x")
    if form is None:
        return {}
    fields = {
        field.require("var"): field.only(ns.DATA_FORMS, "value").text
        for field in form.find_all(ns.DATA_FORMS, "field")
    }
    fields.pop("FORM_TYPE", None)
    return fields
