"""Attachments as values: what is read, what is written, what is kept for others (XEP-0470)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits, ns
from e2ee.attachments import Attachments, Noticed, Reactions
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from tests.support.xml import elements

THEN = datetime(2022, 7, 11, 12, 7, 24, tzinfo=UTC)
SIGNATURE = element(ns.PUBSUB_SIGNING, "signature", {}, "the first")
ANOTHER = element(ns.PUBSUB_SIGNING, "signature", {}, "the second")
UNKNOWN = element("urn:example:bookmark", "shelf", {"n": "3"}, "kept as it is ")
FOREIGN = element("urn:example:bookmark", "signature", {}, "of another kind")

EXAMPLE = """
<attachments xmlns='urn:xmpp:pubsub-attachments:1'>
  <noticed timestamp="2022-07-11T12:07:24Z" />
  <reactions timestamp="2022-07-11T12:07:48Z">
    <reaction>👷</reaction>
    <reaction>🔨</reaction>
  </reactions>
</attachments>
"""


def read(inside: str) -> Attachments:
    document = f"<attachments xmlns='{ns.PUBSUB_ATTACHMENTS}'>{inside}</attachments>"
    return Attachments.from_xml(parse_xml(document.encode()))


@st.composite
def attachments(draw: st.DrawFn) -> Attachments:
    """Draw any attachments, on the second, as stamps are."""
    times = st.none() | st.datetimes(timezones=st.just(UTC)).map(
        lambda at: at.replace(microsecond=0)
    )
    emoji = st.sampled_from("👷🔨🔧🚧💃🩰")
    chosen = st.lists(emoji, unique=True, max_size=4).map(tuple)
    return Attachments(
        noticed=draw(st.none() | st.builds(Noticed, times)),
        reactions=draw(st.none() | st.builds(Reactions, chosen, times)),
        others=tuple(draw(st.lists(elements(), max_size=3))),
    )


class TestRead:
    def test_the_example_of_the_specification(self) -> None:
        found = Attachments.from_xml(parse_xml(EXAMPLE.strip().encode()))
        assert found == Attachments(
            Noticed(THEN), Reactions(("👷", "🔨"), THEN.replace(second=48)), ()
        )

    def test_nothing_need_be_there(self) -> None:
        assert read("") == Attachments()
        assert read("<noticed/><reactions/>") == Attachments(Noticed(), Reactions(()))

    def test_a_reaction_counts_once(self) -> None:
        assert read(
            "<reactions><reaction>👷</reaction><reaction> 👷\n</reaction></reactions>"
        ).reactions == Reactions(("👷",))

    @pytest.mark.parametrize(
        "document",
        [
            "<attachments/>",
            "<attachments xmlns='http://jabber.org/protocol/pubsub'><noticed/></attachments>",
            "<attachments xmlns='urn:xmpp:pubsub-attachments:0'/>",
            "<noticed xmlns='urn:xmpp:pubsub-attachments:1'/>",
        ],
        ids=["no namespace", "as in the examples", "another version", "another element"],
    )
    def test_only_the_element_in_its_namespace(self, document: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            Attachments.from_xml(parse_xml(document.encode()))
        assert caught.value.code == ErrorCode.MALFORMED

    @pytest.mark.parametrize(
        ("inside", "code"),
        [
            ("text", ErrorCode.MALFORMED),
            ("<noticed/><noticed/>", ErrorCode.MALFORMED),
            ("<reactions/><reactions/>", ErrorCode.MALFORMED),
            ("<noticed timestamp='yesterday'/>", ErrorCode.MALFORMED),
            ("<reactions timestamp='2022-07-11T12:07:48'/>", ErrorCode.MALFORMED),
            ("<reactions><reaction/></reactions>", ErrorCode.MALFORMED),
            ("<reactions><reaction><b/>x</reaction></reactions>", ErrorCode.MALFORMED),
            (f"<reactions><reaction>{'x' * 65}</reaction></reactions>", ErrorCode.LIMIT_EXCEEDED),
            (
                "<reactions>"
                + "".join(f"<reaction>{n}</reaction>" for n in range(limits.MAX_REACTIONS + 1))
                + "</reactions>",
                ErrorCode.LIMIT_EXCEEDED,
            ),
        ],
    )
    def test_x_14_what_is_malformed_or_too_much(self, inside: str, code: ErrorCode) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            read(inside)
        assert caught.value.code == code

    def test_x_11_elements_of_another_namespace_are_others(self) -> None:
        found = read("<noticed xmlns='urn:example:x'/><reactions xmlns=''/>")
        assert (found.noticed, found.reactions) == (None, None)
        assert [other.namespace for other in found.others] == ["urn:example:x", ""]


class TestWrite:
    @given(attachments())
    def test_what_is_written_is_read(self, given_: Attachments) -> None:
        again = Attachments.from_xml(parse_xml(write_xml(given_.to_xml()).encode()))
        assert (again.noticed, again.reactions) == (given_.noticed, given_.reactions)
        assert len(again.others) == len(given_.others)
        assert all(map(Element.same_content, again.others, given_.others))

    @pytest.mark.parametrize(
        "reactions",
        [("",), (" 👷",), ("👷", "👷"), ("x" * 65,), tuple(map(str, range(65)))],
    )
    def test_reactions_that_nobody_reads_are_not_made(self, reactions: tuple[str, ...]) -> None:
        with pytest.raises(ApiMisuse):
            Reactions(reactions)

    @pytest.mark.parametrize("known", [Noticed(), Reactions(("👷",))])
    def test_known_ones_have_one_place(self, known: Noticed | Reactions) -> None:
        with pytest.raises(ApiMisuse):
            Attachments(others=(known.to_xml(),))
        with pytest.raises(ApiMisuse):
            Attachments().replacing(known.to_xml())


class TestChange:
    def test_q_16_unknown_attachments_are_preserved(self) -> None:
        """Republishing replaces the whole item: what we do not know must be in it again (§4.1)."""
        document = f"""
            <shelf xmlns='urn:example:bookmark' n='3'>kept as it is </shelf>
            <p:shelf xmlns:p='urn:example:prefixed' p:n='1'><p:row/></p:shelf>
            <signature xmlns='{ns.PUBSUB_SIGNING}'>old</signature>
            <noticed timestamp='2022-07-11T12:07:24Z'/>"""
        theirs = read(document)
        ours = theirs.replacing(SIGNATURE).with_reactions(Reactions(("👷",)))
        published = parse_xml(write_xml(ours.to_xml()).encode())
        assert Attachments.from_xml(published).noticed == Noticed(THEN)
        assert ours.others == (*theirs.others[:2], SIGNATURE)
        before = parse_xml(write_xml(theirs.to_xml()).encode())
        for kept in ("urn:example:bookmark", "urn:example:prefixed"):
            assert published.only(kept, "shelf") == before.only(kept, "shelf")

    def test_one_takes_the_place_of_all_of_its_kind(self) -> None:
        many = Attachments(others=(UNKNOWN, SIGNATURE, FOREIGN, SIGNATURE, UNKNOWN))
        assert many.replacing(ANOTHER).others == (UNKNOWN, ANOTHER, FOREIGN, UNKNOWN)
        assert Attachments(others=(UNKNOWN,)).replacing(ANOTHER).others == (UNKNOWN, ANOTHER)

    def test_one_kind_is_taken_away(self) -> None:
        many = Attachments(Noticed(), None, (SIGNATURE, FOREIGN, ANOTHER))
        assert many.without(ns.PUBSUB_SIGNING, "signature") == Attachments(
            Noticed(), None, (FOREIGN,)
        )
        assert many.find_all(ns.PUBSUB_SIGNING, "signature") == (SIGNATURE, ANOTHER)

    def test_our_own_come_and_go(self) -> None:
        assert Attachments(others=(UNKNOWN,)).with_noticed(Noticed(THEN)) == Attachments(
            Noticed(THEN), None, (UNKNOWN,)
        )
        assert (
            Attachments(Noticed(), Reactions(("👷",))).with_noticed(None).with_reactions(None)
            == Attachments()
        )
