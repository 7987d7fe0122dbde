"""The wish to write in clear: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest

from e2ee import ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.omemo.opt_out import OptOut
from e2ee.xmlparse import parse_xml
from e2ee.xmlwrite import write_xml


@pytest.mark.parametrize("reason", [None, "My screen reader cannot, sorry <&> 🌹"])
def test_what_is_written_is_read(reason: str | None) -> None:
    opt_out = OptOut(reason)
    assert OptOut.from_xml(parse_xml(write_xml(opt_out.to_xml()))) == opt_out


def test_as_the_specification_shows_it() -> None:
    """XEP-0384 §5.6."""
    written = (
        "<opt-out xmlns='urn:xmpp:omemo:2'><reason>I lost my keys</reason>"
        "<later xmlns='urn:later'/></opt-out>"
    )
    assert OptOut.from_xml(parse_xml(written)) == OptOut("I lost my keys")


def test_an_empty_reason_is_none() -> None:
    assert OptOut("").to_xml() == OptOut().to_xml()
    written = f"<opt-out xmlns='{ns.OMEMO_2}'><reason/></opt-out>"
    assert OptOut.from_xml(parse_xml(written)) == OptOut()


@pytest.mark.parametrize("reason", ["a" * 257, "\u202enosaer", "two\nlines"])
def test_o_30_a_reason_that_deceives_or_floods_is_none(reason: str) -> None:
    assert OptOut.from_xml(OptOut(reason).to_xml()) == OptOut()


@pytest.mark.parametrize(
    "xml",
    [
        "<opt-out xmlns='urn:other'/>",
        f"<opt-in xmlns='{ns.OMEMO_2}'/>",
        f"<opt-out xmlns='{ns.OMEMO_2}'><reason>a</reason><reason>b</reason></opt-out>",
        f"<opt-out xmlns='{ns.OMEMO_2}'><reason>a<b/></reason></opt-out>",
    ],
)
def test_what_is_none_is_refused(xml: str) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        OptOut.from_xml(parse_xml(xml))
    assert caught.value.code is ErrorCode.MALFORMED
