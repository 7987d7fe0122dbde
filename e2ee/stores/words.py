"""Words: how a text is split for an index, and which pieces of it are shown for a hit.

Rule: pure functions over text; what is found by which words is the index's business.

A word is a run of letters and digits, with the marks that go with them. Case never counts, and the
diacritics of Latin letters only where a stemmer asks for them. Scripts without spaces give long
words, which are found by their beginnings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple
from unicodedata import category, normalize

__all__ = ["Word", "snippet", "split"]

_WORD: Final = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*")
_MAX_WORD: Final = 255  # characters that tell words apart; engines take some 2,000 bytes
_SHOWN: Final = 200  # characters of a snippet
_LEAD: Final = 40  # of them before the first match
_CUT: Final = "…"


class Word(NamedTuple):
    """A word where it stands.

    Attributes:
        start: the index of its first character in the text.
        end: the index after its last.
        form: without case, composed (NFC): what a stemmer takes.
        folded: the same without the diacritics of Latin letters: what is compared.
    """

    start: int
    end: int
    form: str
    folded: str


def split(text: str) -> tuple[Word, ...]:
    """Return the words of a text in their order."""
    return tuple(Word(*match.span(), *_forms(match[0])) for match in _WORD.finditer(text))


def snippet(
    text: str, words: Sequence[Word], matched: Sequence[int]
) -> tuple[tuple[str, bool], ...]:
    """Return the piece of a text in which most of what was looked for comes together.

    Args:
        text: the whole of it.
        words: what :func:`split` made of it.
        matched: the indices in ``words`` of what was looked for, ascending; if there is none, the
            text's beginning is shown.

    Returns:
        Pieces in their order, each with whether it is a word that was looked for; ``…`` stands for
        what was left out before and after them. Nothing of an empty text.
    """
    begin = _begin(text, words, matched)
    end = begin + _SHOWN
    if end < len(text):  # at the end of a word, if one ends there
        end = max((word.end for word in words if begin < word.end <= end), default=end)
    pieces: list[tuple[str, bool]] = [(_CUT, False)] if begin else []
    at = begin
    for word in (words[index] for index in matched):
        if begin <= word.start and word.end <= end:
            pieces += [(text[at : word.start], False), (text[word.start : word.end], True)]
            at = word.end
    pieces += [(text[at:end], False)]
    pieces += [(_CUT, False)] if end < len(text) else []
    return tuple(piece for piece in pieces if piece[0])


def _begin(text: str, words: Sequence[Word], matched: Sequence[int]) -> int:
    """Return where to begin so that most different words are seen, the first such place."""
    best = most = first = 0
    seen: Counter[str] = Counter()
    for last, index in enumerate(matched):
        seen[words[index].folded] += 1
        while words[index].end - words[matched[first]].start > _SHOWN - _LEAD and first < last:
            seen[words[matched[first]].folded] -= 1
            first += 1
        different = len(+seen)
        if different > most:
            best, most = matched[first], different
    lead = words[best].start - _LEAD if most else 0
    if lead <= 0 or len(text) <= _SHOWN:
        return 0
    return next(word.start for word in words if word.start >= lead)


def _forms(word: str) -> tuple[str, str]:
    form = word.casefold()
    if form.isascii():
        form = form[:_MAX_WORD]
        return form, form
    form = normalize("NFC", form)[:_MAX_WORD]
    kept: list[str] = []
    latin = False
    for character in normalize("NFD", form):
        if category(character) != "Mn":
            latin = character.isascii()
        elif latin:
            continue
        kept.append(character)
    return form, normalize("NFC", "".join(kept))
