"""``<sign/>``: what it holds, in one form only (XEP-0476)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import encode_base64
from e2ee.limits import MAX_SIGNATURE_PACKETS
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.packets import Tag, write_packet
from signing.openpgp import open_sign, seal_sign
from tests.support.openpgp import literal, one_pass, signature

ARMORED = b"-----BEGIN PGP SIGNATURE-----\n\nwsBcBAABCAAQ\n-----END PGP SIGNATURE-----\n"
NEWER = signature(version=6)


def holding(data: bytes | str) -> Element:
    """Return ``<sign/>`` with these octets, or with this text."""
    text = data if isinstance(data, str) else encode_base64(data)
    return element(ns.PUBSUB_SIGNING_OPENPGP, "sign", None, *([text] if text else []))


def refused(sign: Element, code: ErrorCode) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        open_sign(sign)
    assert caught.value.code is code


def test_it_is_as_the_specification_shows_it() -> None:
    assert write_xml(seal_sign(b"\xc2\x00")) == (
        "<sign xmlns='urn:xmpp:pubsub-signing:openpgp:0'>wgA=</sign>"
    )


def test_what_is_sealed_is_opened() -> None:
    assert open_sign(parse_xml(write_xml(seal_sign(signature())).encode())) == (signature(),)


def test_q_11_several_signatures_are_several() -> None:
    both = signature() + signature()
    assert open_sign(holding(both)) == (signature(), signature())
    assert len(open_sign(holding(signature() * MAX_SIGNATURE_PACKETS))) == MAX_SIGNATURE_PACKETS
    refused(holding(signature() * (MAX_SIGNATURE_PACKETS + 1)), ErrorCode.LIMIT_EXCEEDED)


def test_q_11_old_headers_are_framed_anew() -> None:
    body = signature()[2:]
    assert open_sign(holding(b"\x88" + bytes((len(body),)) + body)) == (signature(),)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ErrorCode.MALFORMED),
        (ARMORED, ErrorCode.MALFORMED),
        (b"\0" + signature(), ErrorCode.MALFORMED),
        (signature() + b"\0", ErrorCode.MALFORMED),
        (signature()[:-1], ErrorCode.MALFORMED),
        (one_pass() + literal(b"x") + signature(), ErrorCode.BAD_SIGNATURE),
        (signature() + literal(b"x"), ErrorCode.BAD_SIGNATURE),
        (literal(b"x"), ErrorCode.BAD_SIGNATURE),
        (signature(0x01), ErrorCode.BAD_SIGNATURE),
        (signature(0x02), ErrorCode.BAD_SIGNATURE),
        (signature(0x40), ErrorCode.BAD_SIGNATURE),
        (signature() + signature(0x01), ErrorCode.BAD_SIGNATURE),
        (signature(version=3), ErrorCode.UNSUPPORTED_ALGORITHM),
        (NEWER, ErrorCode.UNSUPPORTED_ALGORITHM),
    ],
)
def test_q_11_nothing_but_detached_signatures(data: bytes, code: ErrorCode) -> None:
    refused(holding(data), code)


def test_x_23_base64_in_its_one_form() -> None:
    packet = write_packet(Tag.SIGNATURE, bytes((4, 0, 22, 8)) + bytes(7))
    text = encode_base64(packet)
    packed = text.removesuffix("A==")
    assert len(packed) + 3 == len(text)
    assert open_sign(holding(f"\n  {text[:8]}\n  {text[8:]}\t")) == (packet,)
    for spoiled in (
        packed + "A",
        packed + "A=",
        packed + "A===",
        packed + "B==",
        text + text,
        text.replace(text[3], "-", 1),
        text[:4] + "\u00a0" + text[4:],
        text[:-1] + "\u200b",
        "!" + text,
    ):
        refused(holding(spoiled), ErrorCode.MALFORMED)


def test_x_07_no_other_element_and_none_inside() -> None:
    text = encode_base64(signature())
    for stranger in (
        element(ns.PUBSUB_SIGNING, "sign", None, text),
        element(ns.OX, "sign", None, text),
        element(ns.PUBSUB_SIGNING_OPENPGP, "signature", None, text),
        element(ns.PUBSUB_SIGNING_OPENPGP, "sign", None, text[:8], element("urn:x", "x"), text[8:]),
    ):
        refused(stranger, ErrorCode.MALFORMED)


def test_x_27_unknown_attributes_are_ignored() -> None:
    text = encode_base64(signature())
    known = element(ns.PUBSUB_SIGNING_OPENPGP, "sign", {"by": "x"}, text)
    assert open_sign(known) == (signature(),)


PARTS = [signature(), signature(1), signature(version=3), literal(b"x"), one_pass(), ARMORED]


@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=9), max_size=10), st.data())
def test_any_octets_are_opened_or_refused(parts: list[bytes], data: st.DataObject) -> None:
    mutated = bytearray(b"".join(parts))
    if mutated:
        mutated[data.draw(st.integers(0, len(mutated) - 1))] ^= data.draw(st.integers(0, 255))
    with suppress(PeerMisbehaved):
        packets = open_sign(holding(bytes(mutated)))
        assert 1 <= len(packets) <= MAX_SIGNATURE_PACKETS
        assert open_sign(holding(b"".join(packets))) == packets
