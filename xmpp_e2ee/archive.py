"""Archive: an account's exports, decrypted into its store, at any time a bit further.

Rule: pages and counts. A page and the note that it was read are one commit, so that whoever is
killed goes on where they were: nothing is decrypted twice, and nothing lost. What an entry is and
how it is read is in ``archived.py`` and ``archive_reading.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2ee.draft import Draft
from e2ee.errors import PeerMisbehaved
from e2ee.omemo.sessions import OmemoSessions
from ox.account import OxAccount
from pubsub_encryption.cache import ItemCache
from xmpp_e2ee.archive_reading import ArchivePage, OnceReading, read_repeatable
from xmpp_e2ee.archive_record import Left, Outcome, Progress, ProgressRows
from xmpp_e2ee.archived import Entry, Unusable, entries_of
from xmpp_e2ee.export import ExportFile, read_stanzas

__all__ = ["Archive", "FileReport"]

_PAGE: Final = 100  # entries of one commit: a blink


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of a file, in this run and in all before.

    Attributes:
        path: the file.
        counts: of its messages and items, by what became of them.
        left: what could not be read, in the order of the file.
    """

    path: Path
    counts: Mapping[Outcome, int]
    left: tuple[Left, ...]


class Archive:
    """The archive of one account: messages and items that came before, perhaps long ago.

    What was decrypted from OMEMO waits in the inbox for the program, and items are in the cache, as
    if they had come today. Lists of devices, and keys, are no news in an archive: they are passed
    over. So whose keys are not known yet is to be fetched by a client first.
    """

    def __init__(
        self, ox: OxAccount, sessions: OmemoSessions, cache: ItemCache | None = None
    ) -> None:
        """Bind an account to what opens its messages; all of one store.

        Args:
            ox: the account.
            sessions: its OMEMO device, which need not be there.
            cache: where items are kept; ``None`` for that of the account, with the usual bounds.
        """
        self._ox = ox
        self._sessions = sessions
        self._cache = cache or ItemCache(ox.account, ox.ports)

    async def read(self, file: ExportFile, step: Callable[[int], object]) -> None:
        """Read what was not read yet of a file.

        Args:
            file: which.
            step: is told of how many entries each commit was.

        Raises:
            ExportError: the file cannot be read.
            StoreFailed: what is committed is; call it again.
        """
        async with self._ox.ports.store.exclusive(self._ox.scope) as tx:
            done = (await self._rows(Draft(tx, self._ox.account), file).progress()).done
        await self._take_in(file, lambda number: number >= done, step)

    async def read_left(self, file: ExportFile, step: Callable[[int], object]) -> None:
        """Try once more what was left of a file: what it lacked may have come since.

        Args:
            file: which.
            step: is told of how many entries each commit was.

        Raises:
            ExportError, StoreFailed: as :meth:`read`.
        """
        numbers = {left.number for left in (await self.report(file)).left}
        if numbers:
            await self._take_in(file, numbers.__contains__, step)

    async def report(self, file: ExportFile) -> FileReport:
        """Return what became of a file.

        Raises:
            StoreFailed: ``store-corrupt``, ``store-too-new``.
        """
        async with self._ox.ports.store.exclusive(self._ox.scope) as tx:
            rows = self._rows(Draft(tx, self._ox.account), file)
            return FileReport(file.path, (await rows.progress()).counts, await rows.left())

    async def _take_in(
        self, file: ExportFile, wanted: Callable[[int], bool], step: Callable[[int], object]
    ) -> None:
        page: dict[int, Entry] = {}
        for number, entry in enumerate(self._entries(file)):
            if wanted(number):
                page[number] = entry
            if len(page) == _PAGE:
                await self._commit(file, page)
                step(len(page))
                page = {}
        if page:
            await self._commit(file, page)
            step(len(page))

    def _entries(self, file: ExportFile) -> Iterator[Entry]:
        for stanza in read_stanzas(file.path):
            if isinstance(stanza, PeerMisbehaved):
                yield Unusable(stanza)
            else:
                yield from entries_of(stanza, self._ox.account)

    async def _commit(self, file: ExportFile, page: ArchivePage) -> None:
        results = await read_repeatable(self._ox, self._cache, page)
        async with self._ox.ports.store.exclusive(self._ox.scope) as tx:
            draft = Draft(tx, self._ox.account)
            reading = OnceReading(self._ox, self._sessions, self._cache, tx, draft)
            rows = self._rows(draft, file)
            progress = await rows.progress()
            counts = Counter(progress.counts)
            for number, entry in page.items():
                again = number < progress.done
                if again and not await rows.is_left(number):
                    continue  # another process was faster
                result = results[number] if number in results else await reading.read(entry)
                if not isinstance(result, Outcome):
                    rows.leave(Left.because(number, str(entry), result))
                    continue
                counts[result] += 1
                if again:
                    rows.take(number)
            rows.put(Progress(max(progress.done, *[number + 1 for number in page]), counts))
            await reading.finish()
            await draft.commit()

    def _rows(self, draft: Draft, file: ExportFile) -> ProgressRows:
        return ProgressRows(draft, file.digest)
