"""Names: JIDs per RFC 7622, nodes, fingerprints.

Rule: the RFC's own examples first, then tricks; every refusal is the one typed error.
"""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fetch, ItemId, Jid, NodeAddress, parse_fingerprint


def refused(text: str) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        Jid.parse(text)
    assert caught.value.code is ErrorCode.MALFORMED
    assert caught.value.rule == "RFC 7622 §3"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "local", "domain", "resource"),
    [
        ("juliet@example.com", "juliet", "example.com", ""),
        ("juliet@example.com/foo", "juliet", "example.com", "foo"),
        ("juliet@example.com/foo bar", "juliet", "example.com", "foo bar"),
        ("juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar"),
        (r"foo\20bar@example.com", r"foo\20bar", "example.com", ""),
        ("fussball@example.com", "fussball", "example.com", ""),
        ("fu\u00dfball@example.com", "fu\u00dfball", "example.com", ""),
        ("\u03c0@example.com", "\u03c0", "example.com", ""),
        ("\u03a3@example.com/foo", "\u03c3", "example.com", "foo"),
        ("\u03c3@example.com/foo", "\u03c3", "example.com", "foo"),
        ("\u03c2@example.com/foo", "\u03c2", "example.com", "foo"),
        ("king@example.com/\u265a", "king", "example.com", "\u265a"),
        ("example.com", "", "example.com", ""),
        ("example.com/foobar", "", "example.com", "foobar"),
        ("a.example.com/b@example.net", "", "a.example.com", "b@example.net"),
    ],
)
def test_valid_examples_of_rfc_7622(text: str, local: str, domain: str, resource: str) -> None:
    jid = Jid.parse(text)
    assert (jid.bare.local, jid.bare.domain, jid.resource) == (local, domain, resource)
    assert Jid.parse(str(jid)) == jid


@pytest.mark.parametrize(
    "text",
    [
        '"juliet"@example.com',
        "foo bar@example.com",
        "@example.com/",
        "henry\u2163@example.com",
        "\u265a@example.com",
        "juliet@",
        "/foobar",
    ],
)
def test_invalid_examples_of_rfc_7622(text: str) -> None:
    refused(text)


def test_the_one_example_that_contradicts_its_rule() -> None:
    """A space at the beginning of a resource: OpaqueString (RFC 8265 §4.2) allows it."""
    assert Jid.parse("juliet@example.com/ foo").resource == " foo"


SAME = {
    "case": ["juliet@example.com", "JULIET@Example.COM"],
    "trailing dot": ["juliet@example.com", "juliet@example.com."],
    "other dots": [
        "juliet@example.com",
        "juliet@example\u3002com",
        "juliet@example\uff0ecom\uff61",
        "juliet@example.com\u3002",
    ],
    "full width": [
        "juliet@example.com",
        "\uff4auliet@\uff45xample.com",
        "\uff2a\uff35LIET@example.com",
    ],
    "A-label and U-label": [
        "juliet@b\u00fccher.example",
        "juliet@xn--bcher-kva.example",
        "juliet@XN--BCHER-KVA.example",
        "juliet@B\u00dcCHER.example",
        "juliet@bu\u0308cher.example.",
    ],
    "composition": ["caf\u00e9@a.example", "cafe\u0301@a.example"],
    "Kelvin and ohm": ["k\u03c9@a.example", "\u212a\u2126@a.example"],
    "ignored in domains": ["a@example.com", "a@exam\u00adple.com", "a@\u200bexample.com"],
    "addresses": ["a@[::1]", "a@[0::0001]"],
}


@pytest.mark.parametrize("texts", SAME.values(), ids=SAME)
def test_x_26_what_is_the_same_is_equal(texts: list[str]) -> None:
    assert len({Jid.parse(text) for text in texts}) == 1
    assert len({str(BareJid.parse(text)) for text in texts}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("admin@a.example", "\u0430dmin@a.example"),
        ("fussball@a.example", "fu\u00dfball@a.example"),
        ("a@fass.example", "a@fa\u00df.example"),
        ("\u03c3@a.example", "\u03c2@a.example"),
        ("i@a.example", "\u0131@a.example"),
        ("a@a.example/x", "a@a.example/X"),
        ("a@a.example/x", "a@a.example"),
        ("a.example", "a@a.example"),
        ("a@b.example", "a@b.example.org"),
    ],
)
def test_x_26_what_only_looks_the_same_is_not(one: str, other: str) -> None:
    assert Jid.parse(one) != Jid.parse(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "/",
        "a@",
        "@a",
        "a/",
        "a@b/",
        "a@b@c",
        "a@@b",
        "a\uff20b@c.example",
        "a\uff0fb@c.example",
        "a\u2100b@c.example",
        *(
            f"a{character}b@c.example"
            for character in "\"&':<> \t\n\x00\x7f\u00a0\u200d\u00ad\ufeff"
        ),
        "\ud800@c.example",
        "\ufb01@c.example",
        "\u05d0a@c.example",
        "\u06601\u06f0@c.example",
        "\U0001f600@c.example",
        "a@b c",
        "a@ b",
        "a@b ",
        "a@b\n",
        "a@b\x00",
        "a@.b",
        "a@b..c",
        "a@b..",
        "a@b\u3002.",
        "a@.",
        "a@\u3002",
        "a@-b",
        "a@b-",
        "a@b_c",
        "a@b_c.b\u00fccher.example",
        "a@b%20c",
        "a@b:5222",
        "a@b?c",
        "a@b#c",
        "a@\u2100.example",
        "a@\U0001f600.example",
        "a@\ud800.example",
        "a@xn--",
        "a@xn--a",
        "a@xn--zzzzzz",
        "a@\uff0fetc",
        f"a@{'b' * 64}.example",
        f"a@{'.'.join(['b' * 60] * 5)}",
        "a@" + ".".join(["\u00fc" * 30] * 9),
        "a@[",
        "a@[]",
        "a@[::1",
        "a@[::1]x",
        "a@[127.0.0.1]",
        "a@[fe80::1%eth0]",
        "a@[::1%<x>]",
        "a@b/x\n",
        "a@b/\x00",
        "a@b/\ud800",
        "a@b/\u200b",
        f"{'a' * 1024}@b",
        "\u00df" * 512 + "@b",
        f"a@b/{'c' * 1024}",
        "a@b/" + "\u265a" * 342,
        f"{'a' * 4096}@b",
        "a" * 1_000_000,
    ],
    ids=lambda text: ascii(text[:24]),
)
def test_x_26_what_is_no_jid_is_refused(text: str) -> None:
    refused(text)


def test_x_26_parts_may_be_as_long_as_the_rfc_says() -> None:
    for text in (f"{'a' * 1023}@b", f"a@b/{'c' * 1023}", "a@b/" + "\u265a" * 341):
        assert str(Jid.parse(text)) == text
    assert BareJid.parse(f"a@{'.'.join(['b' * 61] * 4)}.cccc").domain.count("b") == 244


def test_x_26_bare_jids_have_no_resource() -> None:
    assert BareJid.parse("juliet@example.com") == Jid.parse("juliet@example.com/x").bare
    for text in ("juliet@example.com/x", "juliet@example.com/", "/x"):
        with pytest.raises(PeerMisbehaved) as caught:
            BareJid.parse(text)
        assert caught.value.code is ErrorCode.MALFORMED


AWKWARD = "aAzZ09.-_ßσςΣİıKΩéÉe\u0301üÜﬁａＡ１٣א٠·l\u200c\u200d\u3002\uff0e@/\u00ad♚Ⅳ"
parts = st.text(st.sampled_from(AWKWARD), min_size=1, max_size=6)


@given(text=st.text(max_size=40) | st.builds("{}@{}/{}".format, parts, parts, parts))
@example("\u0391\u03a3@b.example/\u0391\u03a3")
@example("\u0130@b.example")
@example("\u1e9e@b.example")
def test_x_26_preparing_twice_changes_nothing(text: str) -> None:
    """Whatever is accepted is what it will be compared as; whatever is not raises one error."""
    try:
        jid = Jid.parse(text)
    except PeerMisbehaved:
        return
    assert Jid.parse(str(jid)) == jid
    assert str(Jid.parse(str(jid))) == str(jid)


def test_jids_are_ordered_and_hashed_by_what_they_are() -> None:
    texts = ["b@a.example", "a@b.example", "a.example", "a@a.example"]
    assert [str(jid) for jid in sorted(map(BareJid.parse, texts))] == [
        "a.example",
        "a@a.example",
        "b@a.example",
        "a@b.example",
    ]
    assert {BareJid.parse("A@A.example"): 1}[BareJid.parse("a@a.example")] == 1


def test_node_addresses_compare_nodes_as_they_are() -> None:
    service = BareJid.parse("pubsub.example")
    assert NodeAddress(service, "Blog") != NodeAddress(service, "blog")
    assert str(NodeAddress(service, "blog")) == "blog at pubsub.example"
    assert Fetch(NodeAddress(service, "blog")).item_id is None
    assert Fetch(NodeAddress(service, "blog"), ItemId("1")) != Fetch(NodeAddress(service, "blog"))


def test_fingerprints_are_forty_upper_case_digits() -> None:
    good = "0123456789ABCDEF" * 2 + "01234567"
    assert parse_fingerprint(good) == good
    for text in (
        "",
        good[:-1],
        good + "8",
        good.lower(),
        f"0x{good}",
        f" {good}",
        f"{good}\n",
        good.replace("0", "O"),
        good.replace("0", "\uff10"),
        good.replace("01", "\u0660\u0661"),
        " ".join(good[i : i + 4] for i in range(0, 40, 4)),
    ):
        with pytest.raises(PeerMisbehaved) as caught:
            parse_fingerprint(text)
        assert caught.value.code is ErrorCode.MALFORMED
        assert caught.value.rule == "XEP-0373 §4.1"


@pytest.mark.parametrize("node", ["", "n" * 4097, "\x00", "\ud800", "\ufffe"])
def test_a_node_has_a_proper_name(node: str) -> None:
    with pytest.raises(PeerMisbehaved) as error:
        NodeAddress(BareJid.parse("capulet.lit"), node)
    assert error.value.code is ErrorCode.MALFORMED


def test_an_arrival_knows_its_zone() -> None:
    with pytest.raises(ApiMisuse):
        Arrival(StanzaKind.MESSAGE, Jid.parse("a@b"), stamp=datetime(2026, 1, 1))
