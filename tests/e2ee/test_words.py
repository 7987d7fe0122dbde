"""How texts are split into words, and what is shown of them."""

from __future__ import annotations

import sys
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from e2ee.stores.words import snippet, split

TEXTS = st.text(st.sampled_from("aäÄe\u0301й日 -_…\n'\"\\/1") | st.characters(codec="utf-8"))


def folded(text: str) -> list[str]:
    return [word.folded for word in split(text)]


def test_words_are_letters_digits_and_their_marks() -> None:
    assert folded("End-to-end, it's 007_x (2nd)") == [
        *("end", "to", "end", "it", "s", "007", "x", "2nd"),
    ]
    assert folded(" -_'\u0301 ") == []


def test_case_and_the_diacritics_of_latin_letters_do_not_count() -> None:
    assert folded("Ärger ÉTÉ e\u0301te\u0301 Straße ŁÓDŹ") == [
        *("arger", "ete", "ete", "strasse", "łodz"),
    ]
    assert folded("Мой ДОМ") == ["мой", "дом"]  # й is a letter of its own
    assert [word.form for word in split("Ärger e\u0301te\u0301")] == ["ärger", "été"]


def test_no_word_has_what_an_engine_could_read() -> None:
    """Of all characters, so that a word between quotation marks is a word."""
    everything = " ".join(map(chr, range(sys.maxunicode + 1)))
    for word in split(everything):
        assert word.folded
        assert word.form
        assert not set("'\"\\/%_ ") & set(word.folded + word.form)
        assert not any(map(str.isspace, word.folded + word.form))


def test_long_words_are_told_apart_by_their_beginning() -> None:
    [word] = split("é" * 5000)
    assert len(word.form) == len(word.folded) == 255
    assert word.end == 5000


@given(TEXTS)
def test_words_stand_where_they_say_and_splitting_is_stable(text: str) -> None:
    words = split(text)
    assert sorted(words) == list(words)
    for word in words:
        assert folded(text[word.start : word.end]) == [word.folded]
        assert folded(word.folded) == [word.folded]


@given(TEXTS, st.integers(1, 80), st.randoms(use_true_random=False))
def test_a_snippet_is_a_short_piece_of_the_text_with_its_matches_marked(
    text: str, times: int, random: Random
) -> None:
    long = text * times
    words = split(long)
    matched = [index for index in range(len(words)) if random.random() < 0.1]
    pieces = snippet(long, words, matched)
    shown = "".join(piece for piece, _ in pieces)
    assert len(shown) <= 202
    assert shown.removeprefix("…").removesuffix("…") in long
    assert all(piece for piece, _ in pieces)
    marked = {piece for piece, found in pieces if found}
    assert marked <= {long[words[index].start : words[index].end] for index in matched}
    if len(long) <= 200:
        assert shown == long
        assert [piece for piece, found in pieces if found] == [
            long[words[index].start : words[index].end] for index in matched
        ]


def test_a_snippet_shows_where_most_of_it_comes_together() -> None:
    text = "rose " + "x " * 200 + "thorn and rose, rose " + "y " * 200
    words = split(text)
    matched = [index for index, word in enumerate(words) if word.folded in ("rose", "thorn")]
    pieces = snippet(text, words, matched)
    assert [piece for piece, found in pieces if found] == ["thorn", "rose", "rose"]
    assert pieces[0] == ("…", False)
    assert pieces[-1] == ("…", False)
    assert snippet("", (), ()) == ()
