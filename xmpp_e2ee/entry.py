"""What a reader shows of an Atom entry (RFC 4287): its title, its opening words, all its text.

Rule: text for people; nothing here is trusted or sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from e2ee import ns
from e2ee.xmltree import Element

__all__ = ["opening_of", "text_of", "title_of"]

_MAX_OPENING: Final = 100  # characters; the rest of a line is cut where the line ends

_COMMANDS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal might obey instead of show: control characters, and reversals of the text."""


def title_of(entry: Element) -> str:
    """Return the title on one line; ``(untitled)`` where there is none."""
    return next(_lines(entry, "title"), "(untitled)")


def opening_of(entry: Element) -> str:
    """Return the first words of the content, or else of the summary, on one line."""
    return next(_lines(entry, "content", "summary"), "")[:_MAX_OPENING]


def text_of(entry: Element) -> str:
    """Return all text of an entry, with a space between any two pieces."""
    return " ".join(_texts(entry))


def _lines(entry: Element, *names: str) -> Iterator[str]:
    for name in names:
        for child in entry.find_all(ns.ATOM, name):
            line = " ".join(_COMMANDS.sub(" ", "".join(_texts(child))).split())
            if line:
                yield line


def _texts(source: Element) -> Iterator[str]:
    for child in source.children:
        if isinstance(child, str):
            yield child
        else:
            yield from _texts(child)
