"""How a history is stored: contents, the places where they were seen, and their count.

Rule: rows as values, and their stored form. What was not written by this file is ``store-corrupt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import parse_time
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.records import pack, unpack

__all__ = ["ContentRecord", "CountRecord", "PlaceRecord", "Tip", "TurnRecord"]

_FORMAT: Final = 1
_CONTENT: Final = "history-content"
_COUNT: Final = "history-count"
_PLACE: Final = "history-place"
_TURN: Final = "history-turn"


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """Where one content was seen.

    Attributes:
        turn: when it was seen last, as counted by :class:`CountRecord`.
        places: where, and since when, aware; at least one, in the order in which they were seen.
    """

    turn: int
    places: Mapping[ItemPlace, datetime]

    @property
    def origin(self) -> ItemPlace:
        """Where it was seen first."""
        return next(iter(self.places))

    def to_record(self) -> bytes:
        """Return the stored form."""
        places = [
            [str(place.node.service), place.node.node, place.item_id, since.isoformat()]
            for place, since in self.places.items()
        ]
        return pack(_CONTENT, _FORMAT, {"turn": self.turn, "places": places})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _CONTENT, _FORMAT):
            case {"turn": int(turn), "places": [_, *_] as places}:
                return cls(turn, dict(map(_place, places)))
        raise _damaged(_CONTENT)


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest version of one line in one place.

    Attributes:
        newest: its digest, in hexadecimal digits.
        stamp: the latest of the line's stamps, aware; ``None`` where none had one.
        gone: whether the place was retracted since.
    """

    newest: str
    stamp: datetime | None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class PlaceRecord:
    """What stands in one place: of each line of versions the newest."""

    tips: Mapping[str, Tip]

    def to_record(self) -> bytes:
        """Return the stored form."""
        lines = {
            line: [tip.newest, tip.stamp.isoformat() if tip.stamp else None, tip.gone]
            for line, tip in self.tips.items()
        }
        return pack(_PLACE, _FORMAT, {"lines": lines})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _PLACE, _FORMAT):
            case {"lines": dict(lines)}:
                return cls({line: _tip(fields) for line, fields in lines.items()})
        raise _damaged(_PLACE)


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """Which content was seen at one turn: its line, and its digest in hexadecimal digits."""

    line: str
    content: str

    def to_record(self) -> bytes:
        """Return the stored form."""
        return pack(_TURN, _FORMAT, {"line": self.line, "content": self.content})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _TURN, _FORMAT):
            case {"line": str(line), "content": str(content)}:
                return cls(line, content)
        raise _damaged(_TURN)


@dataclass(frozen=True, slots=True)
class CountRecord:
    """The last turn that was given, and how many contents there are."""

    last: int = 0
    contents: int = 0

    def to_record(self) -> bytes:
        """Return the stored form."""
        return pack(_COUNT, _FORMAT, {"last": self.last, "contents": self.contents})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _COUNT, _FORMAT):
            case {"last": int(last), "contents": int(contents)}:
                return cls(last, contents)
        raise _damaged(_COUNT)


def _place(fields: object) -> tuple[ItemPlace, datetime]:
    match fields:
        case [str(service), str(node), str(item_id), str(since)]:
            try:
                address = NodeAddress(BareJid.parse(service), node)
                return ItemPlace(address, ItemId(item_id)), parse_time(since)
            except E2eeError:
                raise _damaged(_CONTENT) from None
    raise _damaged(_CONTENT)


def _tip(fields: object) -> Tip:
    match fields:
        case [str(newest), str() | None as stamp, bool(gone)]:
            try:
                return Tip(newest, None if stamp is None else parse_time(stamp), gone)
            except E2eeError:
                raise _damaged(_PLACE) from None
    raise _damaged(_PLACE)


def _damaged(kind: str) -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, f"a stored {kind} is damaged")
