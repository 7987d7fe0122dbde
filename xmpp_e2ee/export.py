"""Exports: XML files of any size become the stanzas in them, one after the other.

A stanza may be the whole file, as a page that was saved is, or stand in it or in a section of it,
or where the portable format of XEP-0227 has one: there what a server kept of a user has that user
for its sender. Elsewhere is what a peer may have written, and nothing in it is a stanza.

Rule: from files to elements, and nothing of a stanza is read but its name. What a file holds is as
hostile as what a network brings; of it, never more than one stanza is in memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final, NoReturn

from lxml import etree

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element

__all__ = ["ExportError", "ExportFile", "find_files", "read_stanzas"]

_CHUNK: Final = 4 * 1024
_MAX_PROLOG: Final = 64 * 1024  # bytes, through the root's start tag
_DECLARED: Final = re.compile(
    rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?(?:\s|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL
)
_DIGITS: Final = re.compile(r"(\d+)")


class _Place(Enum):
    """What an element is, and so what may stand in it."""

    DOCUMENT = auto()
    PAGE = auto()  # the root, of no format that is known
    SECTION = auto()  # of a page
    SERVER = auto()  # from here on: XEP-0227
    HOST = auto()
    USER = auto()
    OFFLINE = auto()
    ARCHIVE = auto()
    STANZA = auto()
    OPAQUE = auto()


_PIE: Final = "urn:xmpp:pie:0"  # XEP-0227 1.1
_PRESENCES: Final = frozenset(f"{{{space}}}presence" for space in (ns.CLIENT, ns.SERVER))
_MESSAGES: Final = {f"{{{space}}}message": _Place.STANZA for space in (ns.CLIENT, ns.SERVER)}
_RESULT: Final = {f"{{{ns.MAM}}}result": _Place.STANZA}
_PUBSUB: Final = {f"{{{ns.PUBSUB}}}pubsub": _Place.STANZA}
_STANZAS: Final = {
    **_MESSAGES,
    **{f"{{{space}}}iq": _Place.STANZA for space in (ns.CLIENT, ns.SERVER)},
    **_RESULT,
    **_PUBSUB,
}
_PLACES: Final[Mapping[_Place, Mapping[str, _Place]]] = {
    _Place.DOCUMENT: {**_STANZAS, f"{{{_PIE}}}server-data": _Place.SERVER},
    _Place.PAGE: _STANZAS,
    _Place.SECTION: _STANZAS,
    _Place.SERVER: {f"{{{_PIE}}}host": _Place.HOST},
    _Place.HOST: {f"{{{_PIE}}}user": _Place.USER},
    _Place.USER: {
        f"{{{_PIE}}}offline-messages": _Place.OFFLINE,
        f"{{{_PIE}#mam}}archive": _Place.ARCHIVE,
        **_PUBSUB,
    },
    _Place.OFFLINE: _MESSAGES,
    _Place.ARCHIVE: _RESULT,
    _Place.STANZA: {},
    _Place.OPAQUE: {},
}


class ExportError(Exception):
    """A file or a directory that cannot be read."""


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file of an export.

    Attributes:
        path: where it is.
        digest: SHA-256 of all that is in it, 64 hexadecimal digits: wherever it is moved to, it is
            the same file.
    """

    path: Path
    digest: str


def find_files(sources: Sequence[Path]) -> tuple[ExportFile, ...]:
    """Return the files of an export, each once.

    Args:
        sources: files, and directories that are searched for ``*.xml``, in capitals too; links to
            further directories are not followed. What a directory holds comes in the order of its
            names, by which page 10 follows page 9.

    Raises:
        ExportError: something is not there, is no regular file, or cannot be read; a directory
            holds no such file.
    """
    found: dict[str, ExportFile] = {}
    for source in sources:
        for path in _paths(source):
            try:
                with _opened(path) as file:
                    digest = file_digest(file, "sha256").hexdigest()
            except OSError as error:
                _refuse(error, path)
            found.setdefault(digest, ExportFile(path, digest))
    return tuple(found.values())


def read_stanzas(path: Path) -> Iterator[Element | PeerMisbehaved]:
    """Read the stanzas of a file, in their order: messages, answers, and what XEP-0227 has instead.

    Presences and everything else are passed over, whatever they hold. Stanzas are the root, its
    children, and the children of these if they are of the root's own namespace, as the sections of
    a page are; in XEP-0227, what is waiting for a user, the user's archive and its nodes.

    Yields:
        Each stanza, or why it is none. What cannot be read at all ends the file, as its last error:
        no XML, a document type declaration, or a place where a download was cut off. A file that
        has no stanza has an error for it.

    Raises:
        ExportError: the file cannot be read, or is no regular file.
    """
    reader = _Reader()
    found = False
    try:
        with _opened(path) as file:
            # The parser would read all of a declaration, however long, before it reports the root.
            # Without NULs, UTF-16 and UTF-32 look alike here; in what else could hide one, the
            # reader finds it.
            if _DECLARED.match(file.read(_MAX_PROLOG).replace(b"\0", b"")):
                yield _declaration()
                return
            file.seek(0)
            while True:
                chunk = file.read(_CHUNK)
                for stanza in reader.feed(chunk):
                    found = True
                    yield stanza
                if not chunk or reader.ended:
                    break
    except OSError as error:
        _refuse(error, path)
    if not found:
        yield PeerMisbehaved(ErrorCode.MALFORMED, "a file without any stanza")


class _Reader:
    """Takes a document in pieces, and throws away what it has read."""

    def __init__(self) -> None:
        self.ended = False
        self._parser = etree.XMLPullParser(
            events=("start", "end"),
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            collect_ids=False,
            remove_comments=True,
            remove_pis=True,
        )
        self._open = [_Place.DOCUMENT]  # and what is around the next element
        self._root: Any = None
        self._stanza: Any = None
        self._bytes = 0  # fed since the stanza began, or the file
        self._owner: str | None = None

    def feed(self, chunk: bytes) -> Iterator[Element | PeerMisbehaved]:
        """Take in a piece, the last of which is empty; yield what is complete by it."""
        failed = None
        try:
            if chunk:
                self._parser.feed(chunk)
            else:
                self._parser.close()
        except (etree.XMLSyntaxError, ValueError) as error:
            failed = str(error).partition("\n")[0]
        for event, node in self._parser.read_events():
            if event == "start":
                if self._root is None and node.getroottree().docinfo.internalDTD is not None:
                    self.ended = True
                    yield _declaration()
                    return
                self._start(node)
                continue
            place = self._open.pop()
            if node is self._stanza:
                yield self._stanza_from(node)
                self._stanza = None
            elif place is _Place.USER:
                self._owner = None
            if self._stanza is None or self._is_beyond():
                _drop(node)
        self._bytes += len(chunk)
        if failed is not None:
            self.ended = True
            yield PeerMisbehaved(ErrorCode.MALFORMED, f"not XML from here on: {failed}")
        elif self._root is None and self._bytes >= _MAX_PROLOG:
            self.ended = True
            yield PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED, f"no element in the first {_MAX_PROLOG} bytes"
            )

    def _start(self, node: Any) -> None:
        place = self._place(node)
        self._open.append(place)
        if self._root is None:
            self._root = node
        if place is _Place.STANZA:
            self._stanza, self._bytes = node, 0
        elif place is _Place.USER:
            self._owner = f"{node.get('name', '')}@{node.getparent().get('jid', '')}"

    def _place(self, node: Any) -> _Place:
        around = self._open[-1]
        known = _PLACES[around].get(node.tag)
        if known is not None:
            return known
        if node.tag not in _PRESENCES:
            if around is _Place.DOCUMENT:
                return _Place.PAGE
            # Of another namespace it is content, which a peer may have chosen.
            if around is _Place.PAGE and _namespace(node) == _namespace(self._root):
                return _Place.SECTION
        return _Place.OPAQUE

    def _is_beyond(self) -> bool:
        """Say whether the stanza is beyond the bounds, so that nothing of it is kept."""
        return self._bytes > limits.MAX_XML_BYTES + _CHUNK

    def _stanza_from(self, node: Any) -> Element | PeerMisbehaved:
        if self._is_beyond():
            return PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED, f"a stanza of more than {limits.MAX_XML_BYTES} bytes"
            )
        try:
            # lxml declares on the stanza what was in scope around it.
            stanza = parse_xml(etree.tostring(node, encoding="unicode", with_tail=False))
        except PeerMisbehaved as error:
            return error.with_traceback(None)
        return self._owned(stanza)

    def _owned(self, stanza: Element) -> Element | PeerMisbehaved:
        """Return a stanza as the server sends it, of what it keeps for the user around it."""
        if stanza.namespace not in (ns.MAM, ns.PUBSUB):
            return stanza
        if self._owner is None:
            return PeerMisbehaved(
                ErrorCode.MALFORMED, f"<{stanza.name}/> in no stanza: nobody says whose it is"
            )
        if stanza.namespace == ns.MAM:
            return element(ns.CLIENT, "message", {"from": self._owner}, stanza)
        return element(ns.CLIENT, "iq", {"type": "result", "from": self._owner}, stanza)


def _declaration() -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.MALFORMED, "a document type declaration, which is refused")


def _namespace(node: Any) -> str:
    return str(node.tag).rpartition("}")[0]


def _drop(node: Any) -> None:
    """Throw away an element that has ended, and all before it."""
    node.clear()
    parent = node.getparent()
    if parent is not None:
        while node.getprevious() is not None:
            del parent[0]


def _paths(source: Path) -> list[Path]:
    """Return the file, or the files of the directory."""
    try:
        if not source.is_dir():
            return [source]
        paths = [
            Path(folder, name)
            for folder, _, names in os.walk(source, onerror=_reraise)
            for name in names
            if name.lower().endswith(".xml")
        ]
    except OSError as error:
        _refuse(error, source)
    if not paths:
        raise ExportError(f"{source}: no file in it is named *.xml")
    return sorted(paths, key=lambda path: _natural(path, source))


def _opened(path: Path) -> BufferedReader:
    """Open a file that has an end; to open another one could already take for ever."""
    if not S_ISREG(path.stat().st_mode):
        raise ExportError(f"{path}: no regular file")
    return path.open("rb")


def _reraise(error: OSError) -> NoReturn:
    raise error


def _refuse(error: OSError, path: Path) -> NoReturn:
    raise ExportError(f"{error.filename or path}: {error.strerror}") from None


def _natural(path: Path, folder: Path) -> list[tuple[bool, int, str]]:
    parts = _DIGITS.split(str(path.relative_to(folder)))
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
