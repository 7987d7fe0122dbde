"""The eavesdropper: whoever runs the server and searches all that crosses it for plain text.

Rule: knows what to look for and nothing else: no key, no store, no name of a node.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Final

__all__ = ["Eavesdropper"]

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_WORD: Final = re.compile(r"[^\W\d_]+")
_MIN_ASCII_LETTERS: Final = 7  # so long a word never turns up in a few megabytes of random bytes
_MIN_OTHER_LETTERS: Final = 3


class Eavesdropper:
    """Reads every stanza, decodes all base64 in it, and looks for some lines and words.

    It finds what is in clear or merely encoded; short words, which any text has, it ignores.

    Attributes:
        stanzas: how many were read.
        bytes: how many bytes of UTF-8 these had.
        found: the lines and words that were seen.
    """

    def __init__(self, lines: Iterable[str], texts: Iterable[str]) -> None:
        """Look for whole ``lines``, and for the telling words of ``texts``."""
        self.stanzas = 0
        self.bytes = 0
        self.found: set[str] = set()
        self._lines = frozenset(lines)
        self._words = frozenset().union(*map(_telling_words, texts))

    @property
    def sought(self) -> int:
        """How many different words and lines it looks for."""
        return len(self._lines | self._words)

    def hear(self, stanza: str) -> None:
        """Read one stanza."""
        self.stanzas += 1
        self.bytes += len(stanza.encode())
        clear = _BASE64.sub(" ", stanza)
        self.found |= {line for line in self._lines if line in clear}
        self.found |= _telling_words(clear) & self._words
        for encoded in _BASE64.findall(stanza):
            self.found |= _telling_words(_decoded(encoded)) & self._words


def _telling_words(text: str) -> frozenset[str]:
    return frozenset(
        word
        for word in _WORD.findall(text)
        if len(word) >= (_MIN_ASCII_LETTERS if word.isascii() else _MIN_OTHER_LETTERS)
    )


def _decoded(encoded: str) -> str:
    whole = encoded.rstrip("=")
    whole = whole[: len(whole) // 4 * 4]  # what follows is less than a word
    return b64decode(whole).decode(errors="ignore")
