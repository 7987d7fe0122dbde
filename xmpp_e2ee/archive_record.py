"""How far an export was read, as rows of the account: for each file a count, and what was left.

Rule: rows in a draft of the caller, so that a count and what it counts are one commit. Of a message
that could not be read they name sender and reason, and nothing of its content.

Each row is found by its key, under the digest of the file:

    progress    how many entries were taken in or left, and what became of them
    left        the entries that were left, each by its number, and why
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from e2ee.draft import Draft
from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.records import pack, unpack
from e2ee.storage import Key

__all__ = ["Left", "Outcome", "Progress", "ProgressRows"]

_PROGRESS: Final = "archive-progress"
_LEFT: Final = "archive-left"
_FORMAT: Final = 1


class Outcome(StrEnum):
    """What became of an entry that is not left."""

    MESSAGES = "messages"  # decrypted and verified; of OMEMO it waits in the inbox
    SECRETS = "secrets"  # messages whose secrets of nodes were taken in
    ITEMS = "items"  # decrypted, verified and kept
    ATTACHMENTS = "attachments"  # to an item of an encrypted node: decrypted
    MOVED = "moved"  # items that belong elsewhere, by what was seen before
    ROLLED_BACK = "rolled-back"  # items that are older than what is known in their place
    KNOWN = "known"  # taken in before
    OWN = "own"  # messages of this very device, which keeps no key to them
    CLEAR = "clear"  # not encrypted


@dataclass(frozen=True, slots=True)
class Left:
    """An entry that could not be read.

    Attributes:
        number: of the entry in its file, from 0.
        what: which message or item it is.
        code: what stands in the way, and
        reason: the same in words.
    """

    number: int
    what: str
    code: ErrorCode
    reason: str

    @classmethod
    def because(cls, number: int, what: str, error: E2eeError) -> Left:
        """Return an entry with the error that it met."""
        return cls(number, what, error.code, str(error))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file was read.

    Attributes:
        done: how many of its entries were taken in or left: the first ones.
        counts: of those that were taken in, by what became of them.
    """

    done: int = 0
    counts: Mapping[Outcome, int] = field(default_factory=dict)

    def to_record(self) -> bytes:
        """Return it as it is stored."""
        counts = {outcome.value: count for outcome, count in self.counts.items()}
        return pack(_PROGRESS, _FORMAT, {"done": self.done, "counts": counts})

    @classmethod
    def from_record(cls, raw: bytes) -> Progress:
        """Read it back.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        fields = unpack(raw, _PROGRESS, _FORMAT)
        try:
            done, counts = fields["done"], fields["counts"]
            read = {Outcome(name): count for name, count in counts.items()}
            if not all(type(number) is int and number >= 0 for number in (done, *read.values())):
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise StoreFailed(
                ErrorCode.STORE_CORRUPT, "the stored progress of an archive is damaged"
            ) from None
        return cls(done, read)


class ProgressRows:
    """The rows of one file, as they will be after the commit."""

    def __init__(self, draft: Draft, digest: str) -> None:
        """Read and write in a draft.

        Args:
            draft: the caller's.
            digest: of the file; see ``ExportFile``.
        """
        self._draft = draft
        self._digest = digest

    async def progress(self) -> Progress:
        """Return how far the file was read.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        raw = await self._draft.get(self._row("progress"))
        return Progress() if raw is None else Progress.from_record(raw)

    def put(self, progress: Progress) -> None:
        """Note how far the file was read."""
        self._draft.put(self._row("progress"), progress.to_record())

    def leave(self, left: Left) -> None:
        """Note that an entry could not be read."""
        fields = {"what": left.what, "code": left.code.value, "reason": left.reason}
        self._draft.put(self._left(left.number), pack(_LEFT, _FORMAT, fields))

    def take(self, number: int) -> None:
        """Note that an entry is left no more."""
        self._draft.remove(self._left(number))

    async def is_left(self, number: int) -> bool:
        """Say whether an entry is left."""
        return await self._draft.get(self._left(number)) is not None

    async def left(self) -> tuple[Left, ...]:
        """Return what was left, in the order of the file.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        rows = await self._draft.scan(self._row("left"))
        return tuple([_left_from_record(int(key[-1]), raw) for key, raw in rows])

    def _left(self, number: int) -> Key:
        return self._row("left", f"{number:020d}")  # sorts as it counts

    def _row(self, part: str, *more: str) -> Key:
        return self._draft.row("archive", self._digest, part, *more)


def _left_from_record(number: int, raw: bytes) -> Left:
    fields = unpack(raw, _LEFT, _FORMAT)
    try:
        what, code, reason = fields["what"], ErrorCode(fields["code"]), fields["reason"]
        if not (isinstance(what, str) and isinstance(reason, str)):
            raise TypeError
    except (KeyError, TypeError, ValueError):
        raise StoreFailed(
            ErrorCode.STORE_CORRUPT, "a stored entry of an archive is damaged"
        ) from None
    return Left(number, what, code, reason)
