"""Pubsub nodes as servers keep them (XEP-0060): items, affiliations, subscriptions, permissions.

Rule: the service's memory and who may do what to it, without XML; requests and answers are in
``pubsub_service.py``. It does what Prosody and ejabberd were seen to do, also where that is a trap:
whoever loses an affiliation stays subscribed and goes on being notified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from e2ee.effects import ACCESS_MODEL, DELIVER_PAYLOADS, MAX_ITEMS, PUBLISH_MODEL, Affiliation
from e2ee.names import BareJid, ItemId
from e2ee.xmltree import Element
from xmpp_e2ee.transport import StanzaRefused

__all__ = ["Node", "StoredItem"]

_ACCESS_MODELS: Final = ("open", "whitelist")
_BOOLEANS: Final = {"0": "false", "1": "true"}
_READERS: Final = frozenset({Affiliation.OWNER, Affiliation.PUBLISHER, Affiliation.MEMBER})
_WRITERS: Final = frozenset({Affiliation.OWNER, Affiliation.PUBLISHER})


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One item: what the service keeps, and reads."""

    id: ItemId
    payload: Element
    publisher: BareJid


@dataclass(slots=True)
class Node:
    """One node.

    Attributes:
        config: the fields of its configuration; closed to strangers unless it says otherwise.
        affiliations: what each JID may do; those who are not in it, nothing but read an open node.
        subscribers: who is notified.
        items: by id, the least recently published first.
    """

    config: dict[str, str]
    affiliations: dict[BareJid, Affiliation]
    subscribers: set[BareJid] = field(default_factory=set)
    items: dict[ItemId, StoredItem] = field(default_factory=dict)

    @classmethod
    def create(cls, owner: BareJid, config: Mapping[str, str]) -> Node:
        """Make a node.

        Raises:
            StanzaRefused: ``not-acceptable`` for an access model that is not supported.
        """
        node = cls({ACCESS_MODEL: "whitelist"}, {owner: Affiliation.OWNER})
        node.configure(owner, config)
        return node

    @property
    def delivers_payloads(self) -> bool:
        """Whether notifications contain the items' payloads."""
        return self.config.get(DELIVER_PAYLOADS, "true") == "true"

    # -- what the owner may do

    def configure(self, sender: BareJid, config: Mapping[str, str]) -> None:
        """Change fields of the configuration."""
        self.check_owner(sender)
        changes = {name: _BOOLEANS.get(value, value) for name, value in config.items()}
        if changes.get(ACCESS_MODEL, "open") not in _ACCESS_MODELS:
            raise StanzaRefused("not-acceptable")
        self.config |= changes
        self._trim()

    def affiliate(self, sender: BareJid, jid: BareJid, affiliation: Affiliation) -> None:
        """Set an affiliation. A subscription that ``jid`` has is left alone, as servers do."""
        self.check_owner(sender)
        if jid == sender and affiliation is not Affiliation.OWNER:
            raise StanzaRefused("not-acceptable")  # there would be nobody to take it back
        self.affiliations[jid] = affiliation

    def end_subscription(self, sender: BareJid, jid: BareJid) -> None:
        """As the owner, end a subscription, if there is one."""
        self.check_owner(sender)
        self.subscribers.discard(jid)

    def check_owner(self, sender: BareJid) -> None:
        """Refuse whoever does not own the node."""
        if self.affiliations.get(sender) is not Affiliation.OWNER:
            raise StanzaRefused("forbidden")

    # -- what publishers and readers may do

    def publish(self, sender: BareJid, item: StoredItem, options: Mapping[str, str]) -> None:
        """Store an item; one with the same id is replaced, whoever published it."""
        self._check_writer(sender)
        for name, value in options.items():
            if self.config.get(name) != _BOOLEANS.get(value, value):
                raise StanzaRefused("precondition-not-met")
        self.items.pop(item.id, None)
        self.items[item.id] = item
        self._trim()

    def retract(self, sender: BareJid, item_id: ItemId) -> None:
        """Delete an item; an open node's writers cannot even delete their own."""
        self._check(sender, _WRITERS)
        if self.items.pop(item_id, None) is None:
            raise StanzaRefused("item-not-found")

    def subscribe(self, sender: BareJid) -> None:
        """Notify ``sender`` from now on."""
        self.check_reader(sender)
        self.subscribers.add(sender)

    def check_reader(self, sender: BareJid) -> None:
        """Refuse whoever may not read the node."""
        is_open = self.config[ACCESS_MODEL] == "open"
        if not is_open or self.affiliations.get(sender) is Affiliation.OUTCAST:
            self._check(sender, _READERS)

    def find(self, sender: BareJid, ids: Sequence[ItemId], newest: int | None) -> list[StoredItem]:
        """Return the items with these ids, or the ``newest`` ones, or all; oldest first."""
        self.check_reader(sender)
        if ids:
            return [self.items[item_id] for item_id in ids if item_id in self.items]
        return list(self.items.values())[-newest if newest else 0 :]

    def _check_writer(self, sender: BareJid) -> None:
        is_open = self.config.get(PUBLISH_MODEL) == "open"
        if not is_open or self.affiliations.get(sender) is Affiliation.OUTCAST:
            self._check(sender, _WRITERS)

    def _check(self, sender: BareJid, allowed: frozenset[Affiliation]) -> None:
        if self.affiliations.get(sender) not in allowed:
            raise StanzaRefused("forbidden")

    def _trim(self) -> None:
        bound = self.config.get(MAX_ITEMS, "max")
        if bound.isdecimal():
            for item_id in list(self.items)[: -int(bound) or None]:
                del self.items[item_id]
