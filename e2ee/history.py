"""History: which content was seen where, so that swaps, replays and rollbacks are recognised.

Rule: places and digests in the caller's transaction, never content; what a sighting means to the
user is said by who asks. Order comes from stamps and from the order of sightings, never from our
own clock, which may jump.

Each row is found by its key, in which a line and a place stand by their digests; beside the rows of
``forgetting.py`` there are these:

    content   of a line: where it was seen, the first place first; the first is where it belongs
    tip       of a place and a line: the newest version, and whether that is old by now
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.forgetting import Forgetting
from e2ee.history_record import ContentRecord, SightingRecord, Tip, TurnRecord, digest_of
from e2ee.names import BareJid, ItemPlace, NodeAddress
from e2ee.storage import Change, Key, Put, Remove, Transaction

__all__ = ["CIPHER_LINE", "History", "Seen", "Sighting", "line_of"]

CIPHER_LINE: Final = "cipher"
"""The line of versions of what is encrypted."""

_MAX_PLACES: Final = 8  # of one content; one beyond is reported as moved, and not remembered
_FORGOTTEN_AT_ONCE: Final = 2  # sightings; more than one adds, so that none pile up
_PAGE: Final = 1000  # tips of a place read at once


def line_of(signer: BareJid) -> str:
    """Return the line of versions of what somebody signs, which is no name of another line."""
    return f"signed by {signer}"


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
            sighting is not ``MOVED``: then this is the place where it was seen first. A place whose
            names are longer than 1024 bytes together is recognised, and not named here.
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

    What was moved into a place and is newer than what stood there makes that old all the same:
    whoever shows a new version elsewhere first could else serve the old one here for ever. So a
    service that moves something can have what belongs in its place look ``ROLLED_BACK`` until its
    author replaces it; hide the old behind the moved it cannot.

    ``limits.MAX_HISTORY_ITEMS`` contents in their places are remembered. Those of the node that has
    most are forgotten first, and among these the ones that were not seen for longest. A sighting
    reads and writes a fixed number of rows, and one that tells nothing new writes none.
    """

    def __init__(self, tx: Transaction, scope: Key) -> None:
        """Begin to gather sightings.

        Args:
            tx: the caller's transaction.
            scope: where the account's rows are.
        """
        self._tx = tx
        self._root: Key = (*scope, "history")
        self._turns = Forgetting(tx, self._root)
        self._changed: dict[Key, bytes | None] = {}

    async def saw(
        self, place: ItemPlace, line: str, digest: bytes, stamp: datetime | None, now: datetime
    ) -> Seen:
        """Take in that a content stands in a place, and say what is known of it.

        Only for what was authenticated, or whoever can write to the node fills the history. What
        the same object was told before counts. Of two versions of which one has no stamp, the one
        that is seen later is the newer one; so is it where both have the same: of two that were
        made within the same second, the order in which this account met them decides.

        Args:
            place: where it stands.
            line: which versions follow each other: ``CIPHER_LINE`` for all cipher texts,
                :func:`line_of` for what somebody signs.
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
        seen = TurnRecord(digest_of(line), digest.hex(), _digest_of(place))
        tip = await self._tip(seen.place, seen.line)
        known = await self._known(seen.line, seen.content)
        is_newer = tip is None or _is_newer(seen, stamp, tip, known)
        sighting = _judged(seen, tip, known, is_newer=is_newer)
        places = await self._noted(seen, known, place, now)
        if is_newer:
            self._advance(seen, stamp, tip, remembered=seen.place in places)
        since = places[seen.place].since if seen.place in places else now
        elsewhere = (each.place for key, each in places.items() if key != seen.place)
        return Seen(
            sighting,
            min(since, now),  # our clock may have been ahead
            tuple(each for each in elsewhere if each is not None),
        )

    async def retracted(self, place: ItemPlace) -> None:
        """Take in that a place holds nothing any more: what stood there is old if it comes back.

        Raises:
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        prefix = (*self._root, "tip", _digest_of(place))
        tips: dict[Key, bytes | None] = {}
        after: Key | None = None
        while rows := await self._tx.scan(prefix, after, _PAGE):
            tips.update(rows)
            after = rows[-1][0]
        tips |= {key: raw for key, raw in self._changed.items() if key[: len(prefix)] == prefix}
        for key, raw in tips.items():
            if raw is not None and not (tip := Tip.from_record(raw)).gone:
                self._changed[key] = replace(tip, gone=True).to_record()

    async def newest_stamp(self, place: ItemPlace, line: str) -> datetime | None:
        """Return the latest stamp of this line in this place, aware, or ``None``.

        Raises:
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        tip = await self._tip(_digest_of(place), digest_of(line))
        return tip.stamp if tip else None

    async def places(self, line: str, digest: bytes) -> tuple[ItemPlace, ...]:
        """Return where a content was seen, the first place first; nothing if it is not remembered.

        Raises:
            StoreFailed: what the store raises; ``store-corrupt``, ``store-too-new``.
        """
        known = await self._known(digest_of(line), digest.hex())
        return tuple(each.place for each in known.values() if each.place is not None)

    def changes(self) -> list[Change]:
        """Return what to commit with the rest of the operation, once all is seen."""
        rows = self._changed.items()
        changes = [Remove(key) if value is None else Put(key, value) for key, value in rows]
        return [*changes, *self._turns.changes()]

    # -- what is remembered, and forgotten

    def _advance(
        self, seen: TurnRecord, stamp: datetime | None, tip: Tip | None, *, remembered: bool
    ) -> None:
        """Make a content the newest of its line in its place."""
        if tip is not None and tip.stamp is not None:
            stamp = max(stamp or tip.stamp, tip.stamp)
        if remembered:
            newer: Tip | None = Tip(seen.content, stamp)
        else:  # a tip goes when its content does, and this one would never go
            newer = tip and replace(tip, stamp=stamp, gone=True)
        if newer is not None and newer != tip:
            self._changed[self._tip_key(seen.place, seen.line)] = newer.to_record()

    async def _noted(
        self, seen: TurnRecord, known: dict[str, SightingRecord], place: ItemPlace, now: datetime
    ) -> dict[str, SightingRecord]:
        """Note where a content was seen, and that it was; return where it was seen by now."""
        here = known.get(seen.place)
        if here is None and len(known) >= _MAX_PLACES:
            return known
        before = here.turn if here else None
        turn = await self._turns.take(seen, _digest_of_node(place.node), before)
        noted = replace(here, turn=turn) if here else SightingRecord.of(turn, now, place)
        places = {**known, seen.place: noted}
        if noted != here:
            self._changed[self._content_key(seen.line, seen.content)] = ContentRecord(
                places
            ).to_record()
        if here is None:
            for _ in range(_FORGOTTEN_AT_ONCE):
                await self._forget()
        return places

    async def _forget(self) -> None:
        gone = await self._turns.forget()
        if gone is None:
            return
        places = await self._known(gone.line, gone.content)
        if places.pop(gone.place, None) is None:
            raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored content of a history is lost")
        rest = ContentRecord(places).to_record() if places else None
        self._changed[self._content_key(gone.line, gone.content)] = rest
        tip = await self._tip(gone.place, gone.line)
        if tip is not None and tip.newest == gone.content:
            self._changed[self._tip_key(gone.place, gone.line)] = None

    # -- rows, as they will be after the commit

    async def _known(self, line: str, content: str) -> dict[str, SightingRecord]:
        """Return where a content was seen; nothing if it is not remembered."""
        raw = await self._get(self._content_key(line, content))
        return {} if raw is None else dict(ContentRecord.from_record(raw).places)

    async def _tip(self, place: str, line: str) -> Tip | None:
        raw = await self._get(self._tip_key(place, line))
        return None if raw is None else Tip.from_record(raw)

    async def _get(self, key: Key) -> bytes | None:
        return self._changed[key] if key in self._changed else await self._tx.get(key)

    def _content_key(self, line: str, content: str) -> Key:
        return (*self._root, "content", line, content)

    def _tip_key(self, place: str, line: str) -> Key:
        return (*self._root, "tip", place, line)


def _is_newer(
    seen: TurnRecord, stamp: datetime | None, tip: Tip, known: dict[str, SightingRecord]
) -> bool:
    """Say whether a content is newer than the newest that is known of its line in its place."""
    if seen.content == tip.newest:
        return False
    if stamp is not None and tip.stamp is not None and stamp != tip.stamp:
        return stamp > tip.stamp
    return seen.place not in known


def _judged(
    seen: TurnRecord, tip: Tip | None, known: dict[str, SightingRecord], *, is_newer: bool
) -> Sighting:
    if known and next(iter(known)) != seen.place:
        return Sighting.MOVED
    if tip is None:
        return Sighting.SAME if known else Sighting.FIRST
    if seen.content == tip.newest and not tip.gone:
        return Sighting.SAME
    return Sighting.REPLACED if is_newer else Sighting.ROLLED_BACK


def _digest_of(place: ItemPlace) -> str:
    return digest_of(str(place.node.service), place.node.node, place.item_id)


def _digest_of_node(node: NodeAddress) -> str:
    return digest_of(str(node.service), node.node)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ApiMisuse("a time without a zone")
    return moment.astimezone(UTC)
