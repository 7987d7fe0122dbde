"""Effects: what the protocol obliges an account to send, as values that the roof performs.

Rule: values only, each safe to perform twice; how they become stanzas is the roof's business. Their
stored form is in ``effect_record.py``, their queue in ``outbox.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.xmltree import Element

__all__ = [
    "ACCESS_MODEL",
    "DELIVER_PAYLOADS",
    "MAX_ITEMS",
    "NODE_TYPE",
    "PERSIST_ITEMS",
    "PUBLISH_MODEL",
    "SEND_LAST_PUBLISHED_ITEM",
    "Affiliate",
    "Affiliation",
    "Configure",
    "Create",
    "Delete",
    "Effect",
    "NodeConfig",
    "Publish",
    "Retract",
    "Send",
    "Subscribe",
    "Unsubscribe",
    "fulfilled",
    "remedy",
]

# Fields of the node configuration form (XEP-0060 §16.4.4)
ACCESS_MODEL: Final = "pubsub#access_model"
DELIVER_PAYLOADS: Final = "pubsub#deliver_payloads"
MAX_ITEMS: Final = "pubsub#max_items"
NODE_TYPE: Final = "pubsub#type"
PERSIST_ITEMS: Final = "pubsub#persist_items"
PUBLISH_MODEL: Final = "pubsub#publish_model"
SEND_LAST_PUBLISHED_ITEM: Final = "pubsub#send_last_published_item"

NodeConfig = tuple[tuple[str, str], ...]
"""Fields of a node's configuration with their values, in the order to be written."""


class Affiliation(StrEnum):
    """What somebody may do at a node (XEP-0060 §4.1)."""

    OWNER = "owner"
    PUBLISHER = "publisher"
    PUBLISH_ONLY = "publish-only"
    MEMBER = "member"
    NONE = "none"
    OUTCAST = "outcast"


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish one item (XEP-0060 §7.1).

    Attributes:
        address: the node.
        item_id: the item's id; ``None`` lets the service choose.
        payload: the item's one child.
        options: preconditions of the publication (§7.1.5), also used to create the node.
    """

    address: NodeAddress
    item_id: ItemId | None
    payload: Element
    options: NodeConfig = ()


@dataclass(frozen=True, slots=True)
class Retract:
    """Delete one item and tell the subscribers (XEP-0060 §7.2)."""

    address: NodeAddress
    item_id: ItemId


@dataclass(frozen=True, slots=True)
class Create:
    """Create a node with a configuration (XEP-0060 §8.1.3)."""

    address: NodeAddress
    config: NodeConfig = ()


@dataclass(frozen=True, slots=True)
class Configure:
    """Change a node's configuration (XEP-0060 §8.2)."""

    address: NodeAddress
    config: NodeConfig


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a node (XEP-0060 §8.4)."""

    address: NodeAddress


@dataclass(frozen=True, slots=True)
class Affiliate:
    """Set somebody's affiliation (XEP-0060 §8.9.2)."""

    address: NodeAddress
    jid: BareJid
    affiliation: Affiliation


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe ourselves (XEP-0060 §6.1)."""

    address: NodeAddress


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """As the owner, end somebody's subscription (XEP-0060 §8.8.2)."""

    address: NodeAddress
    jid: BareJid


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message.

    Attributes:
        to: the recipient's bare JID.
        children: the message's children, hints included.
        id: the stanza's id; the same when the effect is performed again, so that whoever receives
            it twice can tell.
    """

    to: BareJid
    children: tuple[Element, ...] = field(repr=False)
    id: str


Effect = (
    Publish | Retract | Create | Configure | Delete | Affiliate | Subscribe | Unsubscribe | Send
)


def fulfilled(effect: Effect, condition: str) -> bool:
    """Say whether a refusal means that what the effect is for has been reached before.

    So it is when an effect is performed again after a crash.
    """
    match effect, condition:
        case ((Retract() | Delete() | Unsubscribe()), "item-not-found"):
            return True
        case Affiliate(affiliation=Affiliation.NONE), "item-not-found":
            return True  # nobody has access to what is not there
        case Create(config=()), "conflict":
            return True
    return False


_KNOWN_OPTIONS: Final = {ACCESS_MODEL, PERSIST_ITEMS}
"""The preconditions that every service knows which knows any; ejabberd 23 knows no others."""


def remedy(effect: Effect, condition: str) -> tuple[Effect, ...]:
    """Return what to perform instead of an effect that a service refused; nothing if in vain.

    All of it, in this order, unless one is refused in a way that is not :func:`fulfilled`.

    A node that exists already is configured; a publication whose preconditions do not hold is
    repeated once the owner has configured the node so that they do (XEP-0060 §7.1.5). Of a service
    that does not know all preconditions, the node is configured before anything is published.

    Args:
        effect: what was refused.
        condition: the stanza error's condition, RFC 6120's or XEP-0060's own.
    """
    match effect, condition:
        case Create(address, config), "conflict" if config:
            return (Configure(address, config),)
        case Publish(address, _, _, options), "precondition-not-met" | "conflict" if options:
            return (Configure(address, options), effect)
        case Publish(address, _, _, options), "resource-constraint":
            known = tuple(option for option in options if option[0] in _KNOWN_OPTIONS)
            if known != options:
                fitting = replace(effect, options=known)
                return (Create(address), Configure(address, options), fitting)
    return ()
