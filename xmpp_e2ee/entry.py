"""An Atom entry (RFC 4287): what a reader shows of it, and the form in which it is signed.

Rule: what is Atom's alone; text for people, which nobody trusts, and equal content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from e2ee import ns
from e2ee.errors import ApiMisuse
from e2ee.xmltree import Element
from signing.profile import prepare

__all__ = ["is_signable", "opening_of", "signable", "text_of", "title_of"]

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


def signable(entry: Element) -> Element:
    """Return the same entry as it can be signed; as it is, where it cannot.

    Prefixes go, which no text of an Atom entry refers to; white space is marked as meant.
    """
    try:
        return prepare(_without_prefixes(entry))
    except ApiMisuse:
        return entry


def is_signable(entry: Element) -> bool:
    """Say whether an entry can be signed as it is."""
    try:
        return prepare(entry) == entry
    except ApiMisuse:
        return False


def _without_prefixes(source: Element) -> Element:
    children = [
        _without_prefixes(child) if isinstance(child, Element) else child
        for child in source.children
    ]
    return replace(source, prefix="", declarations=(), children=tuple(children))


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
