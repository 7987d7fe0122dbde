"""A disk that loses its power: what a program does to its files, and what may be left of that.

Rule: knows files, names and flushes, and nothing of what is in them.

The model is of POSIX alone, which is less than any file system keeps: a flush of a file keeps its
bytes and not its name, a flush of a folder keeps names and no bytes, and of all else any part may
be kept, sector by sector and in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from random import Random
from typing import Final

from tests.support.syscalls import run_traced

__all__ = ["Cut", "Disk", "Event", "record"]

_SECTOR: Final = 512  # bytes; the least that a disk writes whole
_FOLDER: Final = -1
_CALLS: Final = (
    *("openat", "pwrite64", "ftruncate", "fdatasync", "fsync", "link", "rename", "mkdir", "rmdir"),
    *("unlink", "unlinkat", "write"),
)
_OPTIONS: Final = (
    "--seccomp-bpf",
    "-y",
    "-xx",
    "-s",
    "10000000",
    "-e",
    "signal=none",
    "-e",
    ",".join(_CALLS),
)
_LINE: Final = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d+)")
_DESCRIPTOR: Final = re.compile(r"(\w+)<((?:\\x..)*)>")
_TEXT: Final = re.compile(r'"((?:\\x..)*)"')


@dataclass(frozen=True, slots=True)
class Event:
    """One call that went well.

    Attributes:
        call: its name; ``"say"`` for a line that the program has written.
        paths: the files that it names, absolute.
        data: what it writes, or the line.
        number: the offset of a write, the new size of a file, or 0.
    """

    call: str
    paths: tuple[str, ...]
    data: bytes = field(default=b"", repr=False)
    number: int = 0


def record(strace: str, script: str, *arguments: object) -> list[Event]:
    """Run a program, and return what it did to files and said, in order."""
    log = run_traced(strace, _OPTIONS, script, *arguments)[1]
    return [event for line in log.splitlines() if (event := _parse(line))]


def _parse(line: str) -> Event | None:
    found = _LINE.match(line)
    assert found, line[:200]  # two processes at once would interrupt each other's lines
    call, words, result = found.groups()
    if int(result) < 0:
        return None
    files = [(number, _bytes(path).decode()) for number, path in _DESCRIPTOR.findall(words)]
    texts = [_bytes(text) for text in _TEXT.findall(words)]
    last = words.rpartition(", ")[2]
    match call:
        case "write" if files[0][0] == "1":
            return Event("say", (), texts[0].strip())
        case "write":
            return Event(call, (files[0][1],))
        case "pwrite64":
            return Event(call, (files[0][1],), texts[0], int(last))
        case "ftruncate":
            return Event(call, (files[0][1],), b"", int(last))
        case "fsync" | "fdatasync":
            return Event("fsync", (files[0][1],))
        case "openat" if "O_CREAT" not in words:
            return None
        case "unlinkat" if "AT_REMOVEDIR" in words:
            call = "rmdir"
    start = files[0][1] if files else "/"
    paths = tuple(str(PurePosixPath(start, text.decode())) for text in texts)
    return Event({"unlinkat": "unlink", "openat": "create"}.get(call, call), paths)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(frozen=True, slots=True)
class _Change:
    """One change that a flush of ``flushed`` keeps; of a file's bytes, or of a folder's names."""

    flushed: int | str
    path: str = ""  # of a name
    file: int | None = None  # what the name means from now on
    offset: int = 0
    data: bytes | None = None  # None: the file ends at ``offset``


@dataclass(frozen=True, slots=True)
class Cut:
    """What is on a disk after a power cut.

    Attributes:
        files: each path below the disk's folder, and what it leads to: the number of a file, so
            that two names of one file are known, or of no file for a folder.
        contents: the bytes of each file.
    """

    files: dict[str, int]
    contents: dict[int, bytes]

    def write(self, directory: Path) -> None:
        """Lay the files out in ``directory``, which is made for them."""
        directory.mkdir(mode=0o700)
        laid: dict[int, Path] = {}
        for name, number in sorted(self.files.items()):
            path = directory / name
            if not path.parent.exists():  # its folder was lost, and so is it
                continue
            if number == _FOLDER:
                path.mkdir(mode=0o700)
            elif number in laid:
                path.hardlink_to(laid[number])
            else:
                path.touch(0o600)
                path.write_bytes(self.contents.get(number, b""))
                laid[number] = path


class Disk:
    """A folder on a disk, as its changes come in.

    Args:
        root: the folder.
        ignored: how the names end of those files that a power cut takes whole.
    """

    def __init__(self, root: Path, ignored: str) -> None:
        self._root = root
        self._ignored = ignored
        self._names: dict[str, int] = {}  # as the program sees them
        self._kept = Cut({}, {})
        self._waiting: list[_Change] = []
        self._files = 0

    def take(self, event: Event) -> None:
        """Take in what the program did next."""
        paths = [self._inside(path) for path in event.paths]
        if not paths or None in paths:
            return
        path, *others = [path for path in paths if path is not None]
        match event.call:
            case "create" if path not in self._names:
                self._files += 1
                self._name(path, self._files)
            case "create":
                pass
            case "mkdir":
                self._name(path, _FOLDER)
            case "link":
                self._name(others[0], self._names[path])
            case "rename":
                self._name(others[0], self._names[path])
                self._name(path, None)
            case "unlink" | "rmdir":
                self._name(path, None)
            case "pwrite64" | "ftruncate":
                data = event.data if event.call == "pwrite64" else None
                number = self._names[path]
                self._waiting.append(_Change(number, offset=event.number, data=data))
            case "fsync":
                number = self._names.get(path, _FOLDER)
                self._flush(path if number == _FOLDER else number)
            case _:
                raise AssertionError(f"what does {event.call} do to {path}?")

    def cuts(self) -> Iterator[Cut]:
        """Yield what is left when nothing, all, all but one file, or one file alone was flushed."""
        flushed = {change.flushed for change in self._waiting}
        choices = [
            set(),
            flushed,
            *({one} for one in flushed),
            *(flushed - {one} for one in flushed),
        ]
        for choice in choices:
            yield _applied(self._kept, [c for c in self._waiting if c.flushed in choice])

    def torn(self, random: Random) -> Cut:
        """Return what may be left otherwise: a beginning, some changes, or some sectors."""
        waiting = self._waiting
        match random.randrange(3):
            case 0:
                chosen = waiting[: random.randint(0, len(waiting))]
            case 1:
                chosen = [change for change in waiting if random.random() < 0.5]
            case _:
                sectors = [sector for change in waiting for sector in _sectors(change)]
                chosen = [sector for sector in sectors if random.random() < 0.7]
        return _applied(self._kept, chosen)

    def _inside(self, path: str) -> str | None:
        if path.endswith((self._ignored, "(deleted)")):
            return None
        found = PurePosixPath(path)
        return str(found.relative_to(self._root)) if found.is_relative_to(self._root) else None

    def _name(self, path: str, number: int | None) -> None:
        folder = str(PurePosixPath(path).parent)
        self._waiting.append(_Change(folder, path=path, file=number))
        if number is None:
            del self._names[path]
        else:
            self._names[path] = number

    def _flush(self, flushed: int | str) -> None:
        self._kept = _applied(self._kept, [c for c in self._waiting if c.flushed == flushed])
        self._waiting = [c for c in self._waiting if c.flushed != flushed]


def _applied(cut: Cut, changes: list[_Change]) -> Cut:
    files = dict(cut.files)
    contents = dict(cut.contents)
    for change in changes:
        if not isinstance(change.flushed, int):
            if change.file is None:
                files.pop(change.path, None)
            else:
                files[change.path] = change.file
            continue
        old = contents.get(change.flushed, b"")
        before = old[: change.offset].ljust(change.offset, b"\0")  # a hole is full of zeros
        after = b"" if change.data is None else old[change.offset + len(change.data) :]
        contents[change.flushed] = before + (change.data or b"") + after
    return Cut(files, contents)


def _sectors(change: _Change) -> Iterator[_Change]:
    if change.data is None:
        yield change
        return
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, start // _SECTOR * _SECTOR + _SECTOR)
        part = change.data[start - change.offset : stop - change.offset]
        yield replace(change, offset=start, data=part)
        start = stop
