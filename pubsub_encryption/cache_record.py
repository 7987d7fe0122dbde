"""How a cache is stored: its items, the order in which they came, and their counts.

Rule: rows as values, and their stored form. What was not written by this file is ``store-corrupt``,
never an item that was forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import parse_time
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress, SecretId
from e2ee.omemo.device import DeviceId
from e2ee.records import pack, unpack
from e2ee.trust import Trust
from e2ee.xmlkeep import keep_elements, kept_elements
from pubsub_encryption.cached_item import CachedItem
from pubsub_encryption.items import Authorship

__all__ = ["CacheCount", "ItemRecord", "NodeCount", "TurnRecord"]

_FORMAT: Final = 1
_ITEM: Final = "cached-item"
_TURN: Final = "cache-turn"
_COUNT: Final = "cache-count"
_NODE: Final = "cache-node-count"


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One item, and the turn in which it was kept."""

    item: CachedItem
    turn: int

    def to_record(self) -> bytes:
        """Return the stored form.

        Raises:
            PeerMisbehaved: ``limit-exceeded``: a payload that could not be read again.
        """
        item = self.item
        return pack(
            _ITEM,
            _FORMAT,
            {
                "place": _place_to_fields(item.place),
                "digest": item.digest.hex(),
                "payload": keep_elements([item.payload]),
                "authorship": item.authorship.value,
                "stored": item.stored.isoformat(),
                "sender": None if item.sender is None else str(item.sender),
                "device": item.device,
                "fingerprint": item.fingerprint,
                "trust": item.trust and item.trust.value,
                "secret_id": item.secret_id,
                "time": item.time and item.time.isoformat(),
                "verdict": item.verdict,
                "turn": self.turn,
            },
        )

    @classmethod
    def from_record(cls, raw: bytes, place: ItemPlace) -> Self:
        """Read what :meth:`to_record` wrote.

        Args:
            raw: the record.
            place: of the item that must be in it.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _ITEM, _FORMAT):
            case {
                "place": fields,
                "digest": str(digest),
                "payload": str(document),
                "authorship": str(authorship),
                "stored": str(stored),
                "sender": str() | None as sender,
                "device": int() | None as device,
                "fingerprint": str() | None as fingerprint,
                "trust": str() | None as trust,
                "secret_id": str() | None as secret_id,
                "time": str() | None as time,
                "verdict": str() | None as verdict,
                "turn": int(turn),
            } if fields == _place_to_fields(place):
                try:
                    (payload,) = kept_elements(document)
                    item = CachedItem(
                        place=place,
                        digest=bytes.fromhex(digest),
                        payload=payload,
                        authorship=Authorship(authorship),
                        stored=parse_time(stored),
                        sender=None if sender is None else BareJid.parse(sender),
                        device=None if device is None else DeviceId(device),
                        fingerprint=fingerprint,
                        trust=None if trust is None else Trust(trust),
                        secret_id=None if secret_id is None else SecretId(secret_id),
                        time=None if time is None else parse_time(time),
                        verdict=verdict,
                    )
                except (ValueError, E2eeError):
                    raise _damaged(_ITEM) from None
                return cls(item, turn)
        raise _damaged(_ITEM)


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """Which item came at one turn, with what must be known to let it go."""

    place: ItemPlace
    size: int
    stored: datetime

    def to_record(self) -> bytes:
        """Return the stored form."""
        fields = {
            "place": _place_to_fields(self.place),
            "size": self.size,
            "stored": self.stored.isoformat(),
        }
        return pack(_TURN, _FORMAT, fields)

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _TURN, _FORMAT):
            case {
                "place": [str(service), str(node), str(item_id)],
                "size": int(size),
                "stored": str(stored),
            }:
                try:
                    address = NodeAddress(BareJid.parse(service), node)
                    return cls(ItemPlace(address, ItemId(item_id)), size, parse_time(stored))
                except E2eeError:
                    raise _damaged(_TURN) from None
        raise _damaged(_TURN)


@dataclass(frozen=True, slots=True)
class CacheCount:
    """The last turn that was given, how many items there are, and how long they are together."""

    last: int = 0
    items: int = 0
    size: int = 0

    def to_record(self) -> bytes:
        """Return the stored form."""
        fields = {"last": self.last, "items": self.items, "size": self.size}
        return pack(_COUNT, _FORMAT, fields)

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _COUNT, _FORMAT):
            case {"last": int(last), "items": int(items), "size": int(size)}:
                return cls(last, items, size)
        raise _damaged(_COUNT)


@dataclass(frozen=True, slots=True)
class NodeCount:
    """How many items of one node there are."""

    items: int = 0

    def to_record(self) -> bytes:
        """Return the stored form."""
        return pack(_NODE, _FORMAT, {"items": self.items})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _NODE, _FORMAT):
            case {"items": int(items)}:
                return cls(items)
        raise _damaged(_NODE)


def _place_to_fields(place: ItemPlace) -> list[str]:
    return [str(place.node.service), place.node.node, place.item_id]


def _damaged(kind: str) -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, f"a stored {kind} is damaged")
