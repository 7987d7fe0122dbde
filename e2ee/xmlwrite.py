"""XML out: an :class:`Element` becomes text that parses back to the same content.

Rule: writing only; what a tree says is never changed, whatever its prefixes and declarations claim.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from e2ee import ns
from e2ee.xmltree import Element

__all__ = ["write_xml"]

_PREDEFINED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}
_IN_TEXT: Final = re.compile(r"[&<>\r]")  # a bare CR would be read as LF
_IN_ATTRIBUTE: Final = re.compile(r"[&<>'\"\t\n\r]")  # bare white space would be read as spaces
_NOT_ASCII_SAFE: Final = re.compile(r"[&<>'\"\\\t\n\r]|[^\x00-\x7f]")

_ALWAYS_BOUND: Final = {"": "", "xml": ns.XML}


def write_xml(element: Element, *, ascii_only: bool = False) -> str:
    """Serialise an element, without an XML declaration and with single-quoted attributes.

    Prefixes and declarations are written as the tree has them; missing declarations are added.
    Where they contradict a name, the name wins: its prefix is declared anew, or one is made up.

    Args:
        element: what to write.
        ascii_only: write everything but ASCII, and also line feed, tab, backslash and quotes, as
            references, because Libervia 0.9 spoils these after decrypting an item. Names cannot be
            written so; one that is not ASCII stays as it is.
    """
    escapes = (_NOT_ASCII_SAFE, _NOT_ASCII_SAFE) if ascii_only else (_IN_TEXT, _IN_ATTRIBUTE)
    parts: list[str] = []
    _write(element, _ALWAYS_BOUND, escapes, parts)
    return "".join(parts)


def _write(
    element: Element,
    scope: Mapping[str, str],
    escapes: tuple[re.Pattern[str], re.Pattern[str]],
    parts: list[str],
) -> None:
    """Append one element; the recursion is bounded by the depth of the tree."""
    in_text, in_attribute = escapes
    tag = _StartTag(element, scope)
    parts.append(f"<{tag.name}")
    parts += [
        f" {name}='{in_attribute.sub(_reference, value)}'"
        for name, value in (*tag.declarations(), *tag.attributes)
    ]
    if not element.children:
        parts.append("/>")
        return
    parts.append(">")
    for child in element.children:
        if isinstance(child, str):
            parts.append(in_text.sub(_reference, child))
        else:
            _write(child, tag.scope, escapes, parts)
    parts.append(f"</{tag.name}>")


def _reference(match: re.Match[str]) -> str:
    character = match.group()
    return _PREDEFINED.get(character) or f"&#{ord(character)};"


class _StartTag:
    """The names of one start tag, and the declarations that make them mean what they should."""

    def __init__(self, element: Element, scope: Mapping[str, str]) -> None:
        self._outer = scope
        self._declared: dict[str, str] = {}  # in the order of writing
        self._used: dict[str, str] = {}  # prefixes that mean something on this very tag
        prefix = "xml" if element.namespace == ns.XML else element.prefix
        self._used[prefix] = element.namespace
        for declared, uri in element.declarations:
            if self._used.setdefault(declared, uri) == uri:
                self._declared[declared] = uri
        self._bind(prefix, element.namespace)
        self.name = _qualified(prefix, element.name)
        self.attributes = [
            (_qualified(self._prefix_for(item.namespace, item.prefix), item.name), item.value)
            for item in element.attributes
        ]
        self.scope = {**scope, **self._declared} if self._declared else scope

    def declarations(self) -> list[tuple[str, str]]:
        """Return the declarations to write, as attributes."""
        return [
            (f"xmlns:{prefix}" if prefix else "xmlns", uri)
            for prefix, uri in self._declared.items()
        ]

    def _bind(self, prefix: str, namespace: str) -> None:
        self._used[prefix] = namespace
        if prefix not in self._declared and self._outer.get(prefix) != namespace:
            self._declared[prefix] = namespace

    def _prefix_for(self, namespace: str, wish: str) -> str:
        """Return the prefix of an attribute, bound to its namespace."""
        if not namespace:
            return ""
        if namespace == ns.XML:
            return "xml"
        if wish and self._used.get(wish, namespace) == namespace:
            self._bind(wish, namespace)
            return wish
        for prefix, uri in {**self._outer, **self._used}.items():
            if prefix and uri == namespace:
                self._bind(prefix, namespace)
                return prefix
        number = 0
        while f"ns{number}" in self._used or f"ns{number}" in self._outer:
            number += 1
        self._bind(f"ns{number}", namespace)
        return f"ns{number}"


def _qualified(prefix: str, name: str) -> str:
    return f"{prefix}:{name}" if prefix else name
