"""The readings of XEP-0475, byte for byte, and that they are never taken for one another.

Rule: bytes only; that Libervia's are these is in ``test_libervia_bytes.py``.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import assume, given

from e2ee import ns
from e2ee.errors import PeerMisbehaved
from e2ee.names import BareJid
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from signing.canonical import canonical
from signing.elements import Statement
from signing.profile import ambiguities, bare_item, readings_for
from signing.readings import Reading, signed_bytes
from tests.support.xml import elements

SERVICE = BareJid.parse("pubsub.capulet.example")
JULIET, ROMEO = BareJid.parse("juliet@capulet.example"), BareJid.parse("romeo@montague.example")
STATEMENT = Statement("2026-01-02T03:04:05Z", (JULIET, ROMEO))

TIME = '<time stamp="2026-01-02T03:04:05Z"></time>'
TO = '<to jid="pubsub.capulet.example"></to>'
TEXTS = "<signer>juliet@capulet.example</signer><signer>romeo@montague.example</signer>"
ATTRIBUTES = (
    '<signer jid="juliet@capulet.example"></signer><signer jid="romeo@montague.example"></signer>'
)
PAYLOAD = '<p xmlns="urn:x">{}</p>'
EXPECTED = {
    Reading.STRICT: (
        f'<sign-data xmlns="urn:xmpp:pubsub-signing:0">{TO}{TIME}{TEXTS}'
        f'<item xmlns="http://jabber.org/protocol/pubsub">{PAYLOAD}</item></sign-data>',
        "\xa0x",
    ),
    Reading.LIBERVIA: (
        f'<sign-data xmlns="urn:xmpp:pubsub-signing:0">{TO}{TIME}{TEXTS}'
        f'<item xmlns="http://jabber.org/protocol/pubsub">{PAYLOAD}</item></sign-data>',
        "x",
    ),
    Reading.PROSE: (
        f'<sign-data xmlns="urn:xmpp:pubsub-signature:0">{TO}{TIME}{ATTRIBUTES}'
        f'<item xmlns="http://jabber.org/protocol/pubsub">{PAYLOAD}</item></sign-data>',
        "\xa0x",
    ),
    Reading.EXAMPLE: (
        f"<sign-data>{TO}{TIME}{TEXTS}<item>{PAYLOAD}</item></sign-data>",
        "\xa0x",
    ),
}


def item(payload: str, attributes: str = "") -> Element:
    return bare_item(parse_xml(f"<item xmlns='{ns.PUBSUB}'{attributes}>{payload}</item>"))


@pytest.mark.parametrize("reading", Reading)
def test_q_10_each_reading_has_its_own_bytes(reading: Reading) -> None:
    form, text = EXPECTED[reading]
    found = signed_bytes(item("<p xmlns='urn:x'> \xa0x\n</p>"), SERVICE, STATEMENT, reading)
    assert found == form.format(text).encode()


def test_q_10_we_write_one_reading_and_try_all_in_a_fixed_order() -> None:
    plain = item("<p xmlns='urn:x'>x</p>")
    assert signed_bytes(plain, SERVICE, STATEMENT) == signed_bytes(
        plain, SERVICE, STATEMENT, Reading.STRICT
    )
    assert readings_for(plain) == (
        Reading.STRICT,
        Reading.LIBERVIA,
        Reading.PROSE,
        Reading.EXAMPLE,
    )


@pytest.mark.parametrize("text", ["x", " x ", "\xa0x", " \u3000 x", "", "\n"])
def test_q_10_the_order_of_trying_makes_no_difference(text: str) -> None:
    """Two readings agree on the bytes only where they agree on what is ambiguous, too."""
    plain = item(f"<p xmlns='urn:x'>{text}</p>")
    for one, other in combinations(Reading, 2):
        if signed_bytes(plain, SERVICE, STATEMENT, one) == signed_bytes(
            plain, SERVICE, STATEMENT, other
        ):
            assert {one, other} == {Reading.STRICT, Reading.LIBERVIA}
            assert bool(ambiguities(plain, one)) == bool(ambiguities(plain, other))


def test_other_readings_are_for_plain_items() -> None:
    plain = "<p xmlns='urn:x'> x</p>"
    for strange in (
        "<x:p xmlns:x='urn:x'/>",
        "<p xmlns='urn:x' xmlns:y='urn:y'/>",
        "<p xmlns='urn:x'><q a='&#9;'/></p>",
        "<p xmlns='urn:x'>a&#13;b</p>",
    ):
        assert readings_for(item(strange)) == (Reading.STRICT,)
    assert readings_for(item(plain, " a='&#10;'")) == (Reading.STRICT,)
    assert readings_for(item(plain, " xml:lang='en'")) == tuple(Reading)


@given(elements())
def test_an_item_has_one_form_inside_of_its_wrapper_and_alone(tree: Element) -> None:
    """Made apart and put together, as if the whole had been made canonical at once."""
    wrapped = element(ns.PUBSUB, "item", {}, tree)
    try:
        signed = signed_bytes(wrapped, SERVICE, STATEMENT)
    except PeerMisbehaved:
        assume(False)
    whole = parse_xml(signed_bytes(item("<p/>"), SERVICE, STATEMENT))
    assert canonical(replace(whole, children=(*whole.children[:-1], wrapped))) == signed
