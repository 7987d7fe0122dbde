"""AnchorFiles: the default anchor, one small file an account in a directory of its own.

Rule: how one number is kept durably and only ever raised; what it means is decided in
``guarded.py``. For POSIX file systems.

A file holds two slots, each with its checksum. The lower one is overwritten in its place and
flushed once: that needs no space, and whatever ends it half way leaves the other one. Whoever
raises holds the file's lock, because the store's own lock may end with the commit, just before.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.stores.files import flush_names, system_failure
from e2ee.stores.turns import deadline, locked

__all__ = ["AnchorFiles"]

_MAGIC: Final = b"e2ee anchor 1\0\0\0"
_NUMBER_BYTES: Final = 16
_CHECKSUM_BYTES: Final = 16
_SLOT_BYTES: Final = len(_MAGIC) + _NUMBER_BYTES + _CHECKSUM_BYTES
_SLOTS: Final = (0, 4096)  # in two blocks of the disk, so that a damaged one takes one of them
_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_NAME_BYTES: Final = 16  # 32 hexadecimal digits
_PAUSE: Final = 0.002  # seconds; about as long as a flush
_flush: Final = getattr(os, "fdatasync", os.fsync)  # not everywhere; the content is enough


class AnchorFiles:
    """``anchor.Anchor`` in ``directory``, which is made (mode 0700) where there is none.

    For one host: stores that several hosts share need an anchor that they share, too.

    Files are named by a hash of the account. They and the directory must be this user's and nobody
    else's to touch, and the directory above must not be writable by others. When the directory is
    gone, every anchor is lost; the guard tells that from a fresh start.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Bind the anchors to their directory, which is looked at whenever one is used.

        Raises:
            ApiMisuse: no directory can have this name.
        """
        if "\0" in os.fspath(directory):
            raise ApiMisuse("the name of a directory has no NUL")
        self._directory = Path(directory).absolute()

    async def highest(self, account: str) -> int | None:
        """Return the highest generation; see ``anchor.Anchor.highest``.

        Raises:
            StoreFailed: as there; ``store-forbidden`` when another user could touch the file.
        """
        with _translated(), suppress(FileNotFoundError):
            _check_directory(self._directory)
            with _opened(self._path(account)) as file:
                return max(_slots(file, self._path(account)))
        return None

    async def raise_to(self, account: str, generation: int) -> None:
        """Remember a generation; see ``anchor.Anchor.raise_to``.

        Raises:
            StoreFailed: as there; ``store-forbidden`` as above; ``store-locked`` after a bounded
                wait for another process.
        """
        path = self._path(account)
        with _translated():
            _make_directory(self._directory)
            _check_directory(self._directory)
            if not path.exists():
                _create(path, generation)
            with _opened(path) as file:
                async with _locked(file):
                    slots = _slots(file, path)
                    if generation >= max(slots):
                        _write(file, slots.index(min(slots)), generation, path)

    def _path(self, account: str) -> Path:
        raw = account.encode("utf-8", "surrogatepass")
        digest = blake2b(raw, digest_size=_NAME_BYTES, person=b"e2ee anchor name")
        return self._directory / digest.hexdigest()


def _make_directory(directory: Path) -> None:
    with suppress(FileExistsError):
        directory.mkdir(_DIRECTORY_MODE)
        directory.chmod(_DIRECTORY_MODE)  # whatever the umask has taken away
        flush_names(directory.parent)


def _check_directory(directory: Path) -> None:
    """Refuse a directory in which others could put an older file in the place of ours."""
    found, above = directory.lstat(), directory.parent.stat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or stat.S_IMODE(found.st_mode) != _DIRECTORY_MODE
        or found.st_uid != os.geteuid()
        or above.st_uid not in (os.geteuid(), 0)
        or above.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise StoreFailed(
            ErrorCode.STORE_FORBIDDEN, "the directory of the anchors is not this user's alone"
        )


def _create(path: Path, generation: int) -> None:
    """Make the file whole and then name it, so that none is ever seen half made."""
    file, draft = mkstemp(dir=path.parent, prefix=".draft-")
    try:
        with os.fdopen(file, "wb") as writing:
            os.fchmod(file, _FILE_MODE)  # whatever the umask has taken away
            for slot, place in enumerate(_SLOTS):
                writing.seek(place)
                writing.write(_slot(generation, slot, path))
            writing.flush()
            os.fsync(file)
        with suppress(FileExistsError):  # another process was first: its file is as good
            os.link(draft, path)
    finally:
        os.unlink(draft)
    flush_names(path.parent)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        if (
            not stat.S_ISREG(found.st_mode)
            or stat.S_IMODE(found.st_mode) != _FILE_MODE
            or found.st_uid != os.geteuid()
        ):
            raise StoreFailed(
                ErrorCode.STORE_FORBIDDEN,
                "an anchor is not a plain file that this user alone can read and write",
            )
        yield file
    finally:
        os.close(file)


@asynccontextmanager
async def _locked(file: int) -> AsyncIterator[None]:
    """Keep other processes from raising; closing the file lets go."""
    until = deadline()
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() + _PAUSE > until:
                raise locked() from None
            await asyncio.sleep(_PAUSE)
        else:
            break
    yield


def _slots(file: int, path: Path) -> list[int]:
    """Return what the two slots hold; -1 for one that was not written to its end."""
    values = []
    for slot, place in enumerate(_SLOTS):
        raw = os.pread(file, _SLOT_BYTES, place)
        number = int.from_bytes(raw[len(_MAGIC) :][:_NUMBER_BYTES])
        values.append(number if raw == _slot(number, slot, path) else -1)
    if max(values) < 0:
        raise StoreFailed(
            ErrorCode.STORE_CORRUPT,
            f"the anchor {path.name} is damaged; remove the file, then renew its account",
        )
    return values


def _write(file: int, slot: int, generation: int, path: Path) -> None:
    raw = _slot(generation, slot, path)
    if os.pwrite(file, raw, _SLOTS[slot]) != len(raw):
        raise StoreFailed(ErrorCode.STORE_FULL, "an anchor could not be written to its end")
    _flush(file)


def _slot(generation: int, slot: int, path: Path) -> bytes:
    content = _MAGIC + generation.to_bytes(_NUMBER_BYTES)
    bound = path.name.encode() + bytes([slot])  # so that no slot counts in the place of another
    return content + blake2b(content + bound, digest_size=_CHECKSUM_BYTES).digest()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise what the system raises as ``StoreFailed``, without its text."""
    try:
        yield
    except OSError as error:
        raise system_failure(error, "the anchor") from None
