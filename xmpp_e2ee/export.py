"""Exports: XML files of any size become the stanzas in them, one after the other.

A stanza may be the whole file, as a page that was saved is, or stand anywhere in it, as in the
portable format of XEP-0227: there what a server kept of a user has that user for its sender.

Rule: from files to elements, and nothing of a stanza is read but its name. What a file holds is as
hostile as what a network brings; of it, never more than one stanza is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from lxml import etree

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element

__all__ = ["ExportError", "ExportFile", "find_files", "read_stanzas"]

_CHUNK: Final = 64 * 1024
_DIGITS: Final = re.compile(r"(\d+)")
_PIE: Final = "urn:xmpp:pie:0"  # XEP-0227 1.1
_HOST: Final = f"{{{_PIE}}}host"
_USER: Final = f"{{{_PIE}}}user"
_RESULT: Final = f"{{{ns.MAM}}}result"
_PUBSUB: Final = f"{{{ns.PUBSUB}}}pubsub"
_STANZAS: Final = frozenset(
    {
        *(f"{{{space}}}{name}" for space in (ns.CLIENT, ns.SERVER) for name in ("message", "iq")),
        _RESULT,
        _PUBSUB,
    }
)


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
        sources: files, and directories that are searched for ``*.xml``. These come in the order of
            their names, by which page 10 follows page 9.

    Raises:
        ExportError: something is not there, or cannot be read; a directory holds no such file.
    """
    found: dict[str, ExportFile] = {}
    for source in sources:
        paths = [source]
        if source.is_dir():
            paths = [path for path in source.rglob("*.xml") if path.is_file()]
            paths.sort(key=lambda path: _natural(path, source))
            if not paths:
                raise ExportError(f"{source}: no file in it is named *.xml")
        for path in paths:
            try:
                with path.open("rb") as file:
                    digest = file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise ExportError(f"{path}: {error.strerror}") from None
            found.setdefault(digest, ExportFile(path, digest))
    return tuple(found.values())


def read_stanzas(path: Path) -> Iterator[Element | PeerMisbehaved]:
    """Read the stanzas of a file, in their order: messages, answers, and what XEP-0227 has instead.

    Presences and everything else are passed over.

    Yields:
        Each stanza, or why it is none. What cannot be read at all ends the file, as its last error:
        no XML, a document type declaration, or a place where a download was cut off. A file that
        has no stanza has an error for it.

    Raises:
        ExportError: the file cannot be read.
    """
    reader = _Reader()
    found = False
    try:
        with path.open("rb") as file:
            while True:
                chunk = file.read(_CHUNK)
                for stanza in reader.feed(chunk):
                    found = True
                    yield stanza
                if not chunk or reader.ended:
                    break
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror}") from None
    if not found:
        yield PeerMisbehaved(ErrorCode.MALFORMED, "a file without any stanza")


class _Where(Enum):
    """Where the reader is."""

    OUTSIDE = auto()
    INSIDE = auto()  # of a stanza, which is kept
    BEYOND = auto()  # the bounds of one, of which nothing is kept


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
        self._where = _Where.OUTSIDE
        self._stanza: Any = None
        self._bytes = 0  # fed since the stanza began
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
                if self._has_declaration(node):
                    self.ended = True
                    yield PeerMisbehaved(
                        ErrorCode.MALFORMED, "a document type declaration, which is refused"
                    )
                    return
                self._start(node)
            elif node is self._stanza:
                yield self._stanza_from(node)
                self._stanza, self._where = None, _Where.OUTSIDE
                _drop(node)
            elif self._where is not _Where.INSIDE:
                if node.tag == _USER:
                    self._owner = None
                _drop(node)
        if self._where is _Where.INSIDE:
            self._bytes += len(chunk)
            if self._bytes > limits.MAX_XML_BYTES + _CHUNK:
                self._where = _Where.BEYOND
        if failed is not None:
            self.ended = True
            yield PeerMisbehaved(ErrorCode.MALFORMED, f"not XML from here on: {failed}")

    def _has_declaration(self, node: Any) -> bool:
        return node.getparent() is None and node.getroottree().docinfo.internalDTD is not None

    def _start(self, node: Any) -> None:
        if self._where is not _Where.OUTSIDE:
            return
        if node.tag in _STANZAS:
            self._stanza, self._where, self._bytes = node, _Where.INSIDE, 0
        elif node.tag == _USER:
            host = node.getparent()
            domain = host.get("jid") if host is not None and host.tag == _HOST else None
            self._owner = f"{node.get('name', '')}@{domain or ''}"

    def _stanza_from(self, node: Any) -> Element | PeerMisbehaved:
        if self._where is _Where.BEYOND:
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


def _drop(node: Any) -> None:
    """Throw away an element that has ended, and all before it."""
    node.clear()
    parent = node.getparent()
    if parent is not None:
        while node.getprevious() is not None:
            del parent[0]


def _natural(path: Path, folder: Path) -> list[tuple[bool, int, str]]:
    parts = _DIGITS.split(str(path.relative_to(folder)))
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
