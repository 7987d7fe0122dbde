"""One character less, more or other: no change of what was signed is ever accepted (Q-05).

Rule: properties only; single attacks stand in ``test_attacked_content.py`` and beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from e2ee.errors import PeerMisbehaved
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from signing.profile import bare_item
from signing.readings import Reading
from signing.signed_by import SignedBy
from signing.verdict import Verdict, Verification
from tests.support.signed_items import Scene, item_of, xml_of

ITEM = item_of(
    xml_of(
        "<entry xmlns='urn:x' xml:lang='en' k='v'>a &amp;<b xml:space='preserve'> \U0001f339 "
        "<c xmlns='urn:y' é='\xa0'>x:y</c></b><d/></entry>"
    )
)
TAGS = "<>/='\"& "
CHARACTERS = st.sampled_from(TAGS) | st.characters(codec="utf-8")


class Reader:
    """The Nurse, beside hypothesis, which cannot wait."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.scene = runner.run(Scene.set())
        self.signed = {
            reading: self.scene.signed(self.scene.juliet, ITEM, reading=reading)
            for reading in Reading
        }

    def verify(self, item: Element, by: SignedBy) -> Verification:
        return self.runner.run(self.scene.verify(item, by))


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with asyncio.Runner() as runner:
        yield Reader(runner)


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """Return a text with one character taken out, put in or exchanged."""
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(st.just("") | CHARACTERS) + text[start + draw(st.integers(0, 1)) :]


def read(text: str) -> Element | None:
    try:
        return parse_xml(text)
    except PeerMisbehaved:
        return None


@given(st.data(), st.sampled_from(Reading))
def test_q_05_no_changed_item_is_accepted(
    reader: Reader, data: st.DataObject, reading: Reading
) -> None:
    item = read(data.draw(changed(write_xml(ITEM))))
    assume(item is not None)
    assert item is not None
    try:
        found = reader.verify(item, reader.signed[reading])
    except PeerMisbehaved:
        return
    if found.verdict is Verdict.TRUSTED:
        assert bare_item(item).same_content(bare_item(ITEM))
    else:
        assert found.verdict in (Verdict.INVALID, Verdict.AMBIGUOUS)


@given(st.data(), st.sampled_from(Reading))
def test_q_05_no_changed_signature_says_anything_else(
    reader: Reader, data: st.DataObject, reading: Reading
) -> None:
    """Neither when it was made nor by whom; or it is not valid."""
    genuine = reader.signed[reading]
    signature = read(data.draw(changed(write_xml(genuine.signature))))
    assume(signature is not None)
    assert signature is not None
    found = reader.verify(ITEM, SignedBy(genuine.publisher, signature))
    assert found.verdict in (Verdict.TRUSTED, Verdict.INVALID)
    if found.verdict is Verdict.TRUSTED:
        assert found.signers == reader.verify(ITEM, genuine).signers
