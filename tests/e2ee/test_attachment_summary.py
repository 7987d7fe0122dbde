"""Summaries of attachments: read from a service, counted by ourselves, never believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits, ns
from e2ee.attachment_summary import Summary, summarise
from e2ee.attachments import Attachments, Noticed, Reactions
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element
from e2ee.xmlwrite import write_xml

JULIET, ROMEO, NURSE = (
    BareJid.parse(f"{name}@verona.lit") for name in ("juliet", "romeo", "nurse")
)
SIGNATURE = element(ns.PUBSUB_SIGNING, "signature")


def read(inside: str) -> Summary:
    document = f"<summary xmlns='{ns.PUBSUB_ATTACHMENTS_SUMMARY}'>{inside}</summary>"
    return Summary.from_xml(parse_xml(document.encode()))


class TestRead:
    def test_the_examples_of_the_specifications(self) -> None:
        found = read("""
            <noticed count="5" />
            <reactions>
              <reaction count="2">👷</reaction>
              <reaction>🔨</reaction>
            </reactions>
            <signature xmlns='urn:xmpp:pubsub-signing:0' >
              <signer>juliet@verona.lit</signer>
              <signer>romeo@verona.lit</signer>
              <signer>juliet@verona.lit</signer>
            </signature>
            <other xmlns='urn:example:x'/>
        """)
        assert (found.noticed, found.reactions) == (5, (("👷", 2), ("🔨", 1)))
        assert found.signers == (JULIET, ROMEO)
        (other,) = found.others
        assert other.is_("urn:example:x", "other")

    def test_nothing_is_attached(self) -> None:
        assert read("") == Summary()

    @pytest.mark.parametrize(
        ("inside", "code"),
        [
            ("text", "malformed"),
            ("<noticed/>", "malformed"),
            ("<noticed count='-1'/>", "malformed"),
            ("<noticed count='4294967296'/>", "malformed"),
            ("<noticed count='1'/><noticed count='2'/>", "malformed"),
            ("<reactions><reaction count=''>x</reaction></reactions>", "malformed"),
            ("<reactions><reaction count='0'>x</reaction></reactions>", "malformed"),
            ("<reactions><reaction/></reactions>", "malformed"),
            ("<reactions><reaction>x</reaction><reaction>x</reaction></reactions>", "malformed"),
            (f"<reactions><reaction>{'x' * 65}</reaction></reactions>", "limit-exceeded"),
            ("<signature xmlns='urn:xmpp:pubsub-signing:0'><signer/></signature>", "malformed"),
            (
                "<signature xmlns='urn:xmpp:pubsub-signing:0'>"
                + "<signer>a</signer>" * (limits.MAX_SIGNATURES_PER_ITEM + 1)
                + "</signature>",
                "limit-exceeded",
            ),
        ],
    )
    def test_what_is_malformed_or_too_much(self, inside: str, code: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            read(inside)
        assert caught.value.code == code

    def test_another_element(self) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            Summary.from_xml(element(ns.PUBSUB_ATTACHMENTS, "summary"))
        assert caught.value.code == ErrorCode.MALFORMED


class TestCount:
    def test_everybody_counts_once(self) -> None:
        attached = [
            (JULIET, Attachments(Noticed(), Reactions(("🔨", "👷")))),
            (ROMEO, Attachments(None, Reactions(("👷",)), (SIGNATURE,))),
            (JULIET, Attachments(Noticed(), Reactions(("👷", "🚧")))),
            (NURSE, Attachments(Noticed())),
        ]
        assert summarise(attached) == Summary(
            noticed=2, reactions=(("👷", 2), ("🔨", 1), ("🚧", 1)), signers=(ROMEO,)
        )

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([JULIET, ROMEO, NURSE]),
                st.builds(
                    Attachments,
                    st.none() | st.just(Noticed()),
                    st.none()
                    | st.lists(st.sampled_from("👷🔨🚧"), unique=True).map(
                        lambda chosen: Reactions(tuple(chosen))
                    ),
                    st.sampled_from([(), (SIGNATURE,)]),
                ),
            )
        )
    )
    def test_what_is_counted_is_written_and_read(
        self, attached: list[tuple[BareJid, Attachments]]
    ) -> None:
        counted = summarise(attached)
        assert Summary.from_xml(parse_xml(write_xml(counted.to_xml()).encode())) == counted
        assert counted.noticed <= 3
        assert all(count <= 3 for _, count in counted.reactions)
        assert summarise(attached * 2) == counted


def test_q_14_a_summary_that_claims_signers_proves_nothing() -> None:
    """It says whom to ask, as plain JIDs; that nobody of them signed, their attachments say."""
    claimed = read(
        "<signature xmlns='urn:xmpp:pubsub-signing:0'><signer>juliet@verona.lit</signer>"
        "</signature>"
    )
    assert claimed.signers == (JULIET,)
    assert summarise([(JULIET, Attachments(Noticed()))]).signers == ()
