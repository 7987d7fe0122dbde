"""The elements of XEP-0373: what is written, what is read, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits, ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fingerprint, NodeAddress
from e2ee.padding import random_padding
from e2ee.primitives import NativePrimitives
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.elements import (
    METADATA_NODE,
    Content,
    ContentKind,
    PublicKeyMetadata,
    PublicKeysList,
    data_node,
    metadata_address,
    read_openpgp,
    read_pubkey,
    write_openpgp,
    write_pubkey,
)

JULIET, ROMEO = BareJid.parse("juliet@capulet.lit"), BareJid.parse("romeo@montague.lit")
ONE, TWO = Fingerprint("A" * 40), Fingerprint("0123456789" * 4)
SIGNCRYPT = ContentKind.SIGNCRYPT
TIME = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BODY = element(ns.CLIENT, "body", None, "Good pilgrim")
TO = "<to jid='juliet@capulet.lit'/>"
STAMP = "<time stamp='2026-11-22T12:00:00Z'/>"
PAYLOAD = "<payload><body xmlns='jabber:client'>Good pilgrim</body></payload>"


def ox(inner: str, name: str = "signcrypt") -> Element:
    return parse_xml(f"<{name} xmlns='urn:xmpp:openpgp:0'>{inner}</{name}>")


def refuse_signcrypt(inner: str, code: ErrorCode = ErrorCode.MALFORMED) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        Content.from_xml(ox(inner), SIGNCRYPT)
    assert caught.value.code is code


class TestSigncrypt:
    def test_is_written_as_the_specification_has_it(self) -> None:
        value = Content(SIGNCRYPT, (JULIET, ROMEO), TIME, (BODY,), "rpad")
        assert write_xml(value.to_xml()) == (
            "<signcrypt xmlns='urn:xmpp:openpgp:0'><to jid='juliet@capulet.lit'/>"
            f"<to jid='romeo@montague.lit'/>{STAMP}<rpad>rpad</rpad>{PAYLOAD}</signcrypt>"
        )

    @pytest.mark.parametrize("padding", [None, "", "x" * 200])
    def test_is_read_as_it_was_written(self, padding: str | None) -> None:
        value = Content(SIGNCRYPT, (JULIET,), TIME, (BODY, BODY), padding)
        assert Content.from_xml(parse_xml(write_xml(value.to_xml())), SIGNCRYPT).time == TIME
        read = Content.from_xml(value.to_xml(), SIGNCRYPT)
        assert read == value

    def test_may_have_its_children_in_any_order_and_unknown_ones(self) -> None:
        inner = f"{PAYLOAD}<x xmlns='urn:example'/>{STAMP}<rpad/>{TO}<unknown/>"
        assert Content.from_xml(ox(inner), SIGNCRYPT).to == (JULIET,)

    def test_prefixes_make_no_difference(self) -> None:
        prefixed = parse_xml(
            "<o:signcrypt xmlns:o='urn:xmpp:openpgp:0'><o:to jid='juliet@capulet.lit'/>"
            "<o:time stamp='2026-11-22T12:00:00Z'/><o:payload><body xmlns='jabber:client'/>"
            "</o:payload></o:signcrypt>"
        )
        assert Content.from_xml(prefixed, SIGNCRYPT).to == (JULIET,)

    def test_a_resource_is_read_and_dropped(self) -> None:
        inner = f"<to jid='Juliet@CAPULET.lit/balcony'/>{STAMP}{PAYLOAD}"
        assert Content.from_xml(ox(inner), SIGNCRYPT).to == (JULIET,)

    @pytest.mark.parametrize("name", ["sign", "crypt"])
    def test_g_02_other_content_elements_are_refused(self, name: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            Content.from_xml(ox(f"{TO}{STAMP}{PAYLOAD}", name), SIGNCRYPT)
        assert caught.value.code is ErrorCode.FORBIDDEN

    @pytest.mark.parametrize(
        "document",
        [
            f"<signcrypt>{TO}{STAMP}{PAYLOAD}</signcrypt>",
            f"<signcrypt xmlns='urn:xmpp:openpgp:1'>{TO}{STAMP}{PAYLOAD}</signcrypt>",
            f"<openpgp xmlns='urn:xmpp:openpgp:0'>{TO}{STAMP}{PAYLOAD}</openpgp>",
            "<body xmlns='jabber:client'>hello</body>",
        ],
    )
    def test_g_02_anything_else_is_refused(self, document: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            Content.from_xml(parse_xml(document), SIGNCRYPT)
        assert caught.value.code is ErrorCode.MALFORMED

    @pytest.mark.parametrize(
        "inner",
        [
            STAMP + PAYLOAD,
            TO + PAYLOAD,
            TO + STAMP,
            TO + STAMP + STAMP + PAYLOAD,
            TO + STAMP + PAYLOAD + PAYLOAD,
            TO + STAMP + PAYLOAD + "<rpad>a</rpad><rpad>b</rpad>",
            "<to/>" + STAMP + PAYLOAD,
            "<to jid=''/>" + STAMP + PAYLOAD,
            "<to jid='a@b@c'/>" + STAMP + PAYLOAD,
            "<to xmlns='urn:example' jid='juliet@capulet.lit'/>" + STAMP + PAYLOAD,
            "<to xmlns:x='urn:example' x:jid='juliet@capulet.lit'/>" + STAMP + PAYLOAD,
            TO + "<to jid=' '/>" + STAMP + PAYLOAD,
            TO + "<time/>" + PAYLOAD,
            TO + STAMP + "<payload><body xmlns=''/></payload>",
        ],
    )
    def test_g_06_missing_twofold_or_broken_children_are_refused(self, inner: str) -> None:
        refuse_signcrypt(inner)

    @pytest.mark.parametrize(
        "stamp",
        [
            "",
            "2026-11-22",
            "2026-11-22T12:00:00",
            "2026-11-22T12:00:00 Z",
            "2026-11-22T12:00:60Z",
            "2026-02-30T12:00:00Z",
            "20261122T12:00:00Z",
            "2026-11-22T12:00:00+1",
            "2026-11-22T12:00:00+٠٠٠٠",
            "yesterday",
        ],
    )
    def test_g_07_a_stamp_that_is_no_moment_is_refused(self, stamp: str) -> None:
        refuse_signcrypt(f"{TO}<time stamp='{stamp}'/>{PAYLOAD}")

    @pytest.mark.parametrize(
        "stamp",
        [
            "2026-11-22T12:00:00Z",
            "2026-11-22T12:00:00.000Z",
            "2026-11-22T14:00:00+02:00",
            "2026-11-22T12:00:00+0000",  # Profanity
            "2026-11-22T08:30:00-0330",
        ],
    )
    def test_stamps_of_others_are_read(self, stamp: str) -> None:
        read = Content.from_xml(ox(f"{TO}<time stamp='{stamp}'/>{PAYLOAD}"), SIGNCRYPT)
        assert read.time == TIME
        assert read.time.utcoffset() == timedelta(0)

    def test_does_not_print_what_it_holds(self) -> None:
        assert "pilgrim" not in repr(Content(SIGNCRYPT, (JULIET,), TIME, (BODY,), "pilgrim"))


class TestPadding:
    def test_has_any_length_up_to_200(self) -> None:
        texts = [random_padding(NativePrimitives()) for _ in range(2000)]
        lengths = {len(text) for text in texts}
        assert max(lengths) == 200
        assert min(lengths) == 0
        assert len(lengths) > 190

    def test_is_written_as_it_is(self) -> None:
        assert set("".join(random_padding(NativePrimitives()) for _ in range(50))) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        )


class TestOpenpgp:
    @given(st.binary(min_size=1))
    def test_carries_any_octets(self, raw: bytes) -> None:
        assert read_openpgp(write_openpgp(raw)) == raw

    def test_may_be_broken_into_lines(self) -> None:
        assert read_openpgp(ox("\n  aGVs\n  bG8=\n", "openpgp")) == b"hello"

    @pytest.mark.parametrize(
        "text",
        ["aGVsbG8", "aGVsbG9=", "aGVs_G8=", "aGVsbG8=aGVsbG8=", "-----BEGIN PGP MESSAGE-----"],
    )
    def test_anything_but_base64_is_refused(self, text: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            read_openpgp(ox(text, "openpgp"))
        assert caught.value.code is ErrorCode.MALFORMED

    def test_another_element_is_refused(self) -> None:
        for source in (ox("aGVsbG8=", "pubkey"), parse_xml("<openpgp>aGVsbG8=</openpgp>")):
            with pytest.raises(PeerMisbehaved):
                read_openpgp(source)


class TestPubkey:
    def test_is_written_and_read(self) -> None:
        written = write_pubkey(b"key")
        assert write_xml(written) == (
            "<pubkey xmlns='urn:xmpp:openpgp:0'><data>a2V5</data></pubkey>"
        )
        assert read_pubkey(written) == b"key"

    @pytest.mark.parametrize(
        "inner",
        [
            "",
            "<data>a2V5</data><data>a2V5</data>",
            "<data>a2V</data>",
            "<data xmlns=''>a2V5</data>",
        ],
    )
    def test_g_10_no_key_or_two_are_refused(self, inner: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            read_pubkey(ox(inner, "pubkey"))
        assert caught.value.code is ErrorCode.MALFORMED

    def test_g_10_an_oversized_key_is_refused(self) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            read_pubkey(write_pubkey(bytes(limits.MAX_CERTIFICATE_BYTES + 1)))
        assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


class TestPublicKeysList:
    def test_is_written_and_read(self) -> None:
        value = PublicKeysList((PublicKeyMetadata(ONE, TIME), PublicKeyMetadata(TWO, TIME)))
        assert write_xml(value.to_xml()) == (
            "<public-keys-list xmlns='urn:xmpp:openpgp:0'>"
            f"<pubkey-metadata v4-fingerprint='{ONE}' date='2026-11-22T12:00:00Z'/>"
            f"<pubkey-metadata v4-fingerprint='{TWO}' date='2026-11-22T12:00:00Z'/>"
            "</public-keys-list>"
        )
        assert PublicKeysList.from_xml(value.to_xml()) == value
        assert PublicKeysList.from_xml(PublicKeysList(()).to_xml()).keys == ()

    @pytest.mark.parametrize(
        "inner",
        [
            f"<pubkey-metadata v4-fingerprint='{ONE.lower()}' date='2026-11-22T12:00:00Z'/>",
            f"<pubkey-metadata v4-fingerprint='{ONE[1:]}' date='2026-11-22T12:00:00Z'/>",
            f"<pubkey-metadata v4-fingerprint='{ONE}' date='today'/>",
            f"<pubkey-metadata v4-fingerprint='{ONE}'/>",
            "<pubkey-metadata date='2026-11-22T12:00:00Z'/>",
            f"<pubkey-metadata v4-fingerprint='{ONE}' date='2026-11-22T12:00:00Z'/>" * 2,
        ],
    )
    def test_g_10_a_broken_or_ambiguous_list_is_refused(self, inner: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            PublicKeysList.from_xml(ox(inner, "public-keys-list"))
        assert caught.value.code is ErrorCode.MALFORMED

    def test_g_10_a_list_without_end_is_refused(self) -> None:
        keys = tuple(PublicKeyMetadata(Fingerprint(f"{n:040X}"), TIME) for n in range(33))
        with pytest.raises(PeerMisbehaved) as caught:
            PublicKeysList.from_xml(PublicKeysList(keys).to_xml())
        assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
        assert len(PublicKeysList.from_xml(PublicKeysList(keys[1:]).to_xml()).keys) == 32


def test_nodes_are_named_as_the_specification_says() -> None:
    assert metadata_address(JULIET) == NodeAddress(JULIET, "urn:xmpp:openpgp:0:public-keys")
    assert data_node(ONE) == f"{METADATA_NODE}:{ONE}"


def test_a_moment_without_a_zone_is_not_written() -> None:
    with pytest.raises(ApiMisuse):
        Content(SIGNCRYPT, (JULIET,), TIME.replace(tzinfo=None), (BODY,)).to_xml()
