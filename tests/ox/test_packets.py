"""Packet framing and octets: every form that is allowed, every length that lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_MESSAGE_BYTES
from ox.packets import Cursor, Packet, Tag, first_tag, read_packets, write_mpi, write_packet

BOUNDARIES = (0, 1, 191, 192, 8383, 8384, 70_000)


def refused(data: bytes, code: ErrorCode = ErrorCode.MALFORMED, *, payload: bool = False) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        read_packets(data, most=8, payload=payload)
    assert caught.value.code is code


@pytest.mark.parametrize("size", BOUNDARIES)
def test_every_new_length_is_written_and_read(size: int) -> None:
    body = bytes(size)
    assert read_packets(write_packet(Tag.LITERAL, body), most=1) == (Packet(Tag.LITERAL, body),)


@pytest.mark.parametrize(
    ("header", "size"), [(b"\xac\x05", 5), (b"\xad\x01\x00", 256), (b"\xae\x00\x00\x00\x05", 5)]
)
def test_every_old_length_is_read(header: bytes, size: int) -> None:
    assert read_packets(header + bytes(size), most=1) == (Packet(Tag.LITERAL, bytes(size)),)


@pytest.mark.parametrize("length", [b"\xff\x00\x00\x00\x03", b"\xc0\x00", b"\x03"])
def test_new_lengths_of_five_two_and_one_octets_are_read(length: bytes) -> None:
    body = bytes(192) if length == b"\xc0\x00" else b"abc"
    assert read_packets(b"\xd2" + length + body, most=1) == (Packet(Tag.SEIPD, body),)


def test_partial_lengths_are_joined() -> None:
    parts = b"\xe9" + b"a" * 512 + b"\xe0" + b"b" + b"\xe1" + b"cc" + b"\x00"
    assert read_packets(b"\xd2" + parts, most=1) == (Packet(Tag.SEIPD, b"a" * 512 + b"bcc"),)


def test_g_19_partial_lengths_are_refused_where_none_may_be() -> None:
    refused(b"\xc1" + b"\xe9" + bytes(512) + b"\x00")  # an encrypted session key
    refused(b"\xd2" + b"\xe8" + bytes(256) + b"\x00")  # a first part of less than 512 octets
    refused(b"\xd2" + b"\xe9" + bytes(512))  # no last part
    refused(b"\xd2" + b"\xfe" + bytes(512))  # a part of 1 GiB


def test_g_19_a_packet_without_a_length_only_ends_a_payload() -> None:
    assert read_packets(b"\xa3\x01rest", most=1, payload=True) == (
        Packet(Tag.COMPRESSED, b"\x01rest"),
    )
    refused(b"\xa3\x01rest")
    refused(b"\x87\x01rest", payload=True)  # only data packets may


@pytest.mark.parametrize("header", [b"\xc0\x00", b"\x80\x00"])
def test_g_19_the_reserved_tag_is_refused(header: bytes) -> None:
    refused(header)


def test_g_21_armor_is_refused() -> None:
    refused(b"-----BEGIN PGP MESSAGE-----\n\nhQ==\n-----END PGP MESSAGE-----\n")
    assert first_tag(b"-----BEGIN PGP MESSAGE-----") is None


def test_g_23_a_length_that_lies_is_refused_without_believing_it() -> None:
    for header in (b"\xd2\xff\xff\xff\xff\xff", b"\xae\xff\xff\xff\xff", b"\xd2\xfe", b"\xd2\xc0"):
        refused(header + b"x")


def test_too_many_packets_are_refused() -> None:
    refused(b"\xcb\x00" * 9, ErrorCode.LIMIT_EXCEEDED)
    assert len(read_packets(b"\xcb\x00" * 8, most=8)) == 8


def test_too_many_octets_are_refused() -> None:
    refused(bytes(MAX_MESSAGE_BYTES + 1), ErrorCode.LIMIT_EXCEEDED)


def test_a_body_never_prints() -> None:
    assert "abc" not in repr(read_packets(write_packet(Tag.LITERAL, b"abc"), most=1))


@given(st.lists(st.tuples(st.integers(1, 63), st.binary(max_size=300)), max_size=8))
def test_what_is_written_is_read(packets: list[tuple[int, bytes]]) -> None:
    data = b"".join(write_packet(tag, body) for tag, body in packets)
    assert [(found.tag, found.body) for found in read_packets(data, most=8)] == packets
    assert first_tag(data) == (packets[0][0] if packets else None)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_g_23_every_truncation_is_refused(bodies: list[bytes], data: st.DataObject) -> None:
    packets = [write_packet(Tag.SIGNATURE, body) for body in bodies]
    whole = b"".join(packets)
    ends = {sum(map(len, packets[:count])) for count in range(len(packets) + 1)}
    cut = data.draw(st.integers(0, len(whole)))
    if cut in ends:
        read_packets(whole[:cut], most=8)
    else:
        refused(whole[:cut])


@given(st.binary(max_size=200), st.booleans())
def test_g_23_any_octets_are_read_or_refused(data: bytes, payload: bool) -> None:
    try:
        packets = read_packets(data, most=8, payload=payload)
    except PeerMisbehaved:
        return
    assert sum(len(packet.body) for packet in packets) <= len(data)


@given(st.integers(0, 2**521))
def test_mpis_round_trip(value: int) -> None:
    cursor = Cursor(write_mpi(value), "test")
    assert cursor.mpi() == value
    cursor.finish()


@pytest.mark.parametrize("written", ["0009ff", "0002ff", "0008", "00080f", "ffff00"])
def test_g_23_an_mpi_has_one_form(written: str) -> None:
    with pytest.raises(PeerMisbehaved):
        Cursor(bytes.fromhex(written), "test").mpi()
