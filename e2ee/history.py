"""History: which content was seen where, so that swaps, replays and rollbacks are recognised.

Rule: places and digests in the caller's transaction, never content; what a sighting means to the
user is said by who asks. Order comes from stamps and from the order of sightings, never from our
own clock, which may jump.

Each row is found by its key:

    content   where it was seen, the first place first; the first one is where it belongs
    place     for each line of versions the newest, and whether it was retracted since
    turn      the contents by when they were seen last: the first is the first to be forgotten
    count     how many contents there are, and the last turn
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.history_record import ContentRecord, CountRecord, PlaceRecord, Tip, TurnRecord
from e2ee.names import ItemPlace
from e2ee.storage import Change, Key, Put, Remove, Transaction

__all__ = ["CIPHER_LINE", "History", "Seen", "Sighting"]

CIPHER_LINE: Final = "cipher"
"""The line of versions of what is encrypted; what is signed has one for each signer."""

_MAX_PLACES: Final = 8  # of one content; one beyond is reported as moved, and not remembered
_MAX_LINES: Final = limits.MAX_SIGNATURES_PER_ITEM + 1  # of one place: its signers, its cipher text
_LAGGING: Final = 8  # what is seen again moves up once it lags by this part of all, to spare writes
_FORGOTTEN_AT_ONCE: Final = 2  # contents; more than one sighting adds, so that none pile up


class Sighting(StrEnum):
    """What is known of a content that is seen in a place; what matters most comes last."""

    FIRST = "first"  # nothing is known of this line here, nor of this content anywhere
    SAME = "same"  # the newest that is known here
    REPLACED = "replaced"  # new, and newer than what is known here
    ROLLED_BACK = "rolled-back"  # older than what is known here, or retracted since
    MOVED = "moved"  # known from another place before it was seen in this one


@dataclass(frozen=True, slots=True)
class Seen:
    """What one sighting is, by all that the account saw before.

    Attributes:
        sighting: what it is.
        since: when this content was first seen in this place, aware; never after the present.
        elsewhere: where else this content was seen, in the order in which it was; also where the
            sighting is not ``MOVED``: then this is the place where it was seen first.
    """

    sighting: Sighting
    since: datetime
    elsewhere: tuple[ItemPlace, ...]


class History:
    """What one account saw where: one object over one open transaction, for all its sightings.

    It recognises what the account itself saw before, and nothing else. What is fetched first cannot
    be told from what belongs there: if a copy is shown before the original, the original is
    ``MOVED``; an old version that is shown first is ``FIRST``. That a newer version is withheld is
    not seen at all. A publisher who puts equal content into another place by intent cannot be told
    from a service that does, so that is ``MOVED``, too, and stays so.

    ``limits.MAX_HISTORY_ITEMS`` contents are remembered; those that were not seen for longest are
    forgotten first, by the count of sightings since and not by any clock. A sighting reads and
    writes a fixed number of rows, and one that tells nothing new writes none.
    """

    def __init__(self, tx: Transaction, scope: Key) -> None:
        """Begin to gather sightings.

        Args:
            tx: the caller's transaction.
            scope: where the account's rows are.
        """
        self._tx = tx
        self._root: Key = (*scope, "history")
        self._changed: dict[Key, bytes | None] = {}
        self._count: CountRecord | None = None
        self._forgotten: Key | None = None

    async def saw(
        self, place: ItemPlace, line: str, digest: bytes, stamp: datetime | None, now: datetime
    ) -> Seen:
        """Take in that a content stands in a place, and say what is known of it.

        Only for what was authenticated, or whoever can write to the node fills the history. What
        the same object was told before counts. Of two versions of which one has no stamp, the one
        that is seen later is the newer one; so is it where both have the same.

        Args:
            place: where it stands.
            line: which versions follow each other: one name for all cipher texts, another one for
                what each signer signs.
            digest: SHA-256, 32 bytes, of what nobody can change without its being another content:
                of a cipher text what is in the container, not the packets around it.
            stamp: when its author dates it, aware; the caller has refused one that lies ahead.
                ``None`` where nothing dates it but the service.
            now: the present, aware.

        Raises:
            ApiMisuse: a digest of another length, a time without a zone.
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        if len(digest) != 32:
            raise ApiMisuse("a digest of other than 32 bytes")
        stamp, now = _utc(stamp) if stamp else None, _utc(now)
        content = digest.hex()
        tips = await self._tips(place)
        tip = tips.get(line)
        known = await self._content(line, content)
        sighting = _judged(place, content, stamp, tip, known)
        is_newest = sighting in (Sighting.FIRST, Sighting.SAME, Sighting.REPLACED)
        if tip is None:
            if is_newest and len(tips) < _MAX_LINES:
                self._put_tips(place, {**tips, line: Tip(content, stamp)})
        elif is_newest and content != tip.newest:
            latest = max(filter(None, (stamp, tip.stamp)), default=None)
            self._put_tips(place, {**tips, line: Tip(content, latest)})
        places = await self._note(line, content, known, place, now)
        since = min(places.get(place, now), now)  # our clock may have been ahead
        return Seen(sighting, since, tuple(each for each in places if each != place))

    async def retracted(self, place: ItemPlace) -> None:
        """Take in that a place holds nothing any more: what stood there is old if it comes back.

        Raises:
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        tips = await self._tips(place)
        gone = {line: replace(tip, gone=True) for line, tip in tips.items()}
        if gone != tips:
            self._put_tips(place, gone)

    async def newest_stamp(self, place: ItemPlace, line: str) -> datetime | None:
        """Return the latest stamp of this line in this place, aware, or ``None``.

        Raises:
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        tip = (await self._tips(place)).get(line)
        return tip.stamp if tip else None

    async def places(self, line: str, digest: bytes) -> tuple[ItemPlace, ...]:
        """Return where a content was seen, the first place first; nothing if it is not remembered.

        Raises:
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        known = await self._content(line, digest.hex())
        return tuple(known.places) if known else ()

    def changes(self) -> list[Change]:
        """Return what to commit with the rest of the operation, once all is seen."""
        return [
            Remove(key) if value is None else Put(key, value)
            for key, value in self._changed.items()
        ]

    # -- contents, and the order in which they are forgotten

    async def _note(
        self,
        line: str,
        content: str,
        known: ContentRecord | None,
        place: ItemPlace,
        now: datetime,
    ) -> Mapping[ItemPlace, datetime]:
        """Note where a content was seen, and that it was; return where it was seen by now."""
        count = await self._counted()
        places = dict(known.places) if known else {}
        if len(places) < _MAX_PLACES:
            places.setdefault(place, now)
        turn = known.turn if known else None
        if turn is None or count.last - turn > limits.MAX_HISTORY_ITEMS // _LAGGING:
            if turn is not None:
                self._changed[self._turn_key(turn)] = None
            turn = count.last + 1
            self._changed[self._turn_key(turn)] = TurnRecord(line, content).to_record()
            self._set_count(CountRecord(turn, count.contents + (known is None)))
        noted = ContentRecord(turn, places)
        if noted != known:
            self._changed[self._content_key(line, content)] = noted.to_record()
        if known is None:
            await self._forget()
        return places

    async def _forget(self) -> None:
        """Forget what was not seen for longest, of what was there before this transaction."""
        for _ in range(_FORGOTTEN_AT_ONCE):
            count = await self._counted()
            if count.contents <= limits.MAX_HISTORY_ITEMS:
                break
            turn = await self._first_turn()
            if turn is None:
                break
            await self._remove(turn)
            self._set_count(replace(count, contents=count.contents - 1))

    async def _first_turn(self) -> TurnRecord | None:
        prefix = (*self._root, "turn")
        while rows := await self._tx.scan(prefix, self._forgotten, 1):
            ((self._forgotten, raw),) = rows
            if self._forgotten not in self._changed:  # else it was seen again meanwhile
                self._changed[self._forgotten] = None
                return TurnRecord.from_record(raw)
        return None

    async def _remove(self, turn: TurnRecord) -> None:
        known = await self._content(turn.line, turn.content)
        if known is None:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored content of a history is lost")
        self._changed[self._content_key(turn.line, turn.content)] = None
        tips = await self._tips(known.origin)
        tip = tips.get(turn.line)
        if tip is not None and tip.newest == turn.content:
            rest = {line: tips[line] for line in tips if line != turn.line}
            self._put_tips(known.origin, rest)

    # -- rows, as they will be after the commit

    async def _counted(self) -> CountRecord:
        if self._count is None:
            raw = await self._tx.get(self._count_key())
            if raw is not None:
                self._count = CountRecord.from_record(raw)
            elif await self._tx.scan(self._root, limit=1):
                raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored count of a history is lost")
            else:
                self._count = CountRecord()
        return self._count

    async def _content(self, line: str, content: str) -> ContentRecord | None:
        raw = await self._get(self._content_key(line, content))
        return None if raw is None else ContentRecord.from_record(raw)

    async def _tips(self, place: ItemPlace) -> Mapping[str, Tip]:
        raw = await self._get(self._place_key(place))
        return {} if raw is None else PlaceRecord.from_record(raw).tips

    async def _get(self, key: Key) -> bytes | None:
        return self._changed[key] if key in self._changed else await self._tx.get(key)

    def _put_tips(self, place: ItemPlace, tips: Mapping[str, Tip]) -> None:
        self._changed[self._place_key(place)] = PlaceRecord(tips).to_record() if tips else None

    def _set_count(self, count: CountRecord) -> None:
        self._count = count
        self._changed[self._count_key()] = count.to_record()

    def _content_key(self, line: str, content: str) -> Key:
        return (*self._root, "content", line, content)

    def _count_key(self) -> Key:
        return (*self._root, "count")

    def _place_key(self, place: ItemPlace) -> Key:
        return (*self._root, "place", str(place.node.service), place.node.node, place.item_id)

    def _turn_key(self, turn: int) -> Key:
        return (*self._root, "turn", f"{turn:020d}")  # sorts as it counts


def _judged(
    place: ItemPlace,
    content: str,
    stamp: datetime | None,
    tip: Tip | None,
    known: ContentRecord | None,
) -> Sighting:
    if known is not None and known.origin != place:
        return Sighting.MOVED
    if tip is None:
        return Sighting.FIRST if known is None else Sighting.SAME
    if content == tip.newest and not tip.gone:
        return Sighting.SAME
    is_older = stamp is not None and tip.stamp is not None and stamp < tip.stamp
    return Sighting.REPLACED if known is None and not is_older else Sighting.ROLLED_BACK


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ApiMisuse("a time without a zone")
    return moment.astimezone(UTC)
