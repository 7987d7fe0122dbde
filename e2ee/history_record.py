"""How a history is stored: what was seen where, the newest of each line, and how much there is.

Rule: rows as values, and their stored form. What was not written by this file is ``store-corrupt``.
Lines, places and nodes are named by digests, so that a name has no say in how long a row is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import parse_time
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.records import pack, unpack

__all__ = [
    "ContentRecord",
    "CountRecord",
    "ShareRecord",
    "SightingRecord",
    "Tip",
    "TurnRecord",
    "digest_of",
]

_FORMAT: Final = 1
_CONTENT: Final = "history-content"
_COUNT: Final = "history-count"
_SHARE: Final = "history-share"
_TIP: Final = "history-tip"
_TURN: Final = "history-turn"

_MAX_NAMED_BYTES: Final = 1024  # of a place, in UTF-8; a longer name is known by its digest alone


def digest_of(*names: str) -> str:
    """Return SHA-256 of names, in hexadecimal digits; no two lists of names have the same."""
    encoded = [name.encode() for name in names]
    return hashlib.sha256(b"".join(b"%d:%b" % (len(each), each) for each in encoded)).hexdigest()


@dataclass(frozen=True, slots=True)
class SightingRecord:
    """One content in one place.

    Attributes:
        turn: when it was seen there last, as counted by :class:`CountRecord`.
        since: when it was first seen there, aware.
        place: where; ``None`` where its names are too long to be kept.
    """

    turn: int
    since: datetime
    place: ItemPlace | None

    @classmethod
    def of(cls, turn: int, since: datetime, place: ItemPlace) -> Self:
        """Return the record of a sighting, which has the place's names if they are short enough."""
        long = sum(len(name.encode()) for name in _names(place)) > _MAX_NAMED_BYTES
        return cls(turn, since, None if long else place)


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """Where one content was seen.

    Attributes:
        places: by the digest of the place, in the order in which it was first seen there; at least
            one.
    """

    places: Mapping[str, SightingRecord]

    def to_record(self) -> bytes:
        """Return the stored form."""
        places = [
            [key, seen.turn, seen.since.isoformat(), seen.place and list(_names(seen.place))]
            for key, seen in self.places.items()
        ]
        return pack(_CONTENT, _FORMAT, {"places": places})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _CONTENT, _FORMAT):
            case {"places": [_, *_] as places}:
                return cls(dict(map(_sighting, places)))
        raise _damaged(_CONTENT)


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest version of one line in one place.

    Attributes:
        newest: its digest, in hexadecimal digits.
        stamp: the latest of the line's stamps, aware; ``None`` where none had one.
        gone: whether it is old by now: the place was retracted since, or had a newer version of
            which no more is known.
    """

    newest: str
    stamp: datetime | None
    gone: bool = False

    def to_record(self) -> bytes:
        """Return the stored form."""
        stamp = self.stamp.isoformat() if self.stamp else None
        return pack(_TIP, _FORMAT, {"newest": self.newest, "stamp": stamp, "gone": self.gone})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _TIP, _FORMAT):
            case {"newest": str(newest), "stamp": str() | None as stamp, "gone": bool(gone)}:
                try:
                    return cls(newest, None if stamp is None else parse_time(stamp), gone)
                except E2eeError:
                    raise _damaged(_TIP) from None
        raise _damaged(_TIP)


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What was seen at one turn: a content of a line in a place, each by its digest."""

    line: str
    content: str
    place: str

    def to_record(self) -> bytes:
        """Return the stored form."""
        fields = {"line": self.line, "content": self.content, "place": self.place}
        return pack(_TURN, _FORMAT, fields)

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _TURN, _FORMAT):
            case {"line": str(line), "content": str(content), "place": str(place)}:
                return cls(line, content, place)
        raise _damaged(_TURN)


@dataclass(frozen=True, slots=True)
class ShareRecord:
    """How many sightings of one node are remembered."""

    sightings: int

    def to_record(self) -> bytes:
        """Return the stored form."""
        return pack(_SHARE, _FORMAT, {"sightings": self.sightings})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _SHARE, _FORMAT):
            case {"sightings": int(sightings)}:
                return cls(sightings)
        raise _damaged(_SHARE)


@dataclass(frozen=True, slots=True)
class CountRecord:
    """The last turn that was given, and how many sightings are remembered."""

    last: int = 0
    sightings: int = 0

    def to_record(self) -> bytes:
        """Return the stored form."""
        return pack(_COUNT, _FORMAT, {"last": self.last, "sightings": self.sightings})

    @classmethod
    def from_record(cls, raw: bytes) -> Self:
        """Read what :meth:`to_record` wrote.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        match unpack(raw, _COUNT, _FORMAT):
            case {"last": int(last), "sightings": int(sightings)}:
                return cls(last, sightings)
        raise _damaged(_COUNT)


def _names(place: ItemPlace) -> tuple[str, str, str]:
    return str(place.node.service), place.node.node, place.item_id


def _sighting(fields: object) -> tuple[str, SightingRecord]:
    match fields:
        case [str(key), int(turn), str(since), None]:
            names = None
        case [str(key), int(turn), str(since), [str(), str(), str()] as names]:
            pass
        case _:
            raise _damaged(_CONTENT)
    try:
        return key, SightingRecord(turn, parse_time(since), names and _place(*names))
    except E2eeError:
        raise _damaged(_CONTENT) from None


def _place(service: str, node: str, item_id: str) -> ItemPlace:
    return ItemPlace(NodeAddress(BareJid.parse(service), node), ItemId(item_id))


def _damaged(kind: str) -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, f"a stored {kind} is damaged")
