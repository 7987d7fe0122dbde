"""What text means: the one accepted form of each, and refusals of all others.

Rule: each refusal is the one typed error.
"""

from __future__ import annotations

import base64
import random
import re
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.lexical import (
    decode_base64,
    decode_percent,
    encode_base64,
    encode_percent,
    format_time,
    parse_boolean,
    parse_integer,
    parse_time,
    trim_xml,
)


def refused(parse: Callable[..., object], *given: object) -> ErrorCode:
    with pytest.raises(PeerMisbehaved) as caught:
        parse(*given)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.code


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_percent_encoding_agrees_with_the_standard_library(text: str) -> None:
    encoded = encode_percent(text)
    assert encoded == urllib.parse.quote(text, safe="")
    assert decode_percent(encoded) == text


@pytest.mark.parametrize("text", ["%", "%4", "%4g", "a%%41", "\xe4", "%FF", "%C3", "%ED%A0%80"])
def test_percent_encoding_of_no_text_is_refused(text: str) -> None:
    assert refused(decode_percent, text) is ErrorCode.MALFORMED


def test_white_space_is_what_xml_calls_so() -> None:
    assert trim_xml(" \t\r\n a b \n") == "a b"
    for other in "\u00a0\u0085\u2003\u2028\u3000\ufeff\u200b\x0b\x0c\x1c":
        assert trim_xml(f"{other} a {other}") == f"{other} a {other}"


@given(data=st.binary(max_size=200), gap=st.sampled_from([" ", "\n", "\r\n", "\t \n"]))
def test_x_23_base64_round_trips_with_white_space_anywhere(data: bytes, gap: str) -> None:
    text = encode_base64(data)
    assert text == base64.b64encode(data).decode()
    assert decode_base64(text) == data
    assert decode_base64(gap + gap.join(text) + gap) == data


@pytest.mark.parametrize(
    "text",
    [
        "QQ",
        "QQ=",
        "QQ===",
        "QQ==QQ==",
        "QQ==Qg==",
        "Q",
        "=",
        "====",
        "=QQ=",
        "Q=Q=",
        "QR==",
        "QUJ=",
        "-_-_",
        "QQ==!",
        "QUI*",
        "QQ==\x00",
        "QQ==\x0b",
        "QQ==\x0c",
        "QQ==\u00a0",
        "\ufeffQQ==",
        "ＱＱ==",
        "QQ&#61;=",
        "&lt;",
        "-----BEGIN PGP MESSAGE-----",
        "\ud800",
    ],
)
def test_x_23_other_base64_is_refused(text: str) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        decode_base64(text, "XEP-0373 §3.1")
    assert caught.value.code is ErrorCode.MALFORMED
    assert caught.value.rule == "XEP-0373 §3.1"


def test_x_23_base64_is_bounded() -> None:
    assert decode_base64(" " * 1024 * 1024) == b""
    assert decode_base64("QUJD" + "\n" * 1024 * 1024 + "QQ==") == b"ABCA"
    assert refused(decode_base64, " " * (limits.MAX_XML_BYTES + 1)) is ErrorCode.LIMIT_EXCEEDED


@given(text=st.text(alphabet="QUJDR-_=+/ \n!", max_size=12))
def test_x_23_whatever_is_accepted_is_canonical(text: str) -> None:
    try:
        data = decode_base64(text)
    except PeerMisbehaved:
        return
    assert encode_base64(data) == re.sub("[ \n]", "", text)


@pytest.mark.parametrize("number", [0, 1, 9, 10, 2**31, 2**32 - 1])
def test_integers_in_range(number: int) -> None:
    assert parse_integer(str(number), 0, 2**32 - 1) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+1",
        "-1",
        "-0",
        " 1 ",
        "1\n",
        "00",
        "00012",
        "1e3",
        "1.0",
        "0x1",
        "1_000",
        "１",
        "١٢",
        "²",
        "4294967296",
        "9" * 5000,
        "1" + "0" * 40_000,
        "NaN",
        "\x001",
    ],
    ids=lambda text: text[:12],
)
def test_x_24_other_integers_are_refused(text: str) -> None:
    assert refused(parse_integer, text, 0, 2**32 - 1) is ErrorCode.MALFORMED


def test_x_24_ranges_hold_at_both_ends() -> None:
    assert parse_integer("1", 1, 10) == 1
    assert parse_integer("10", 1, 10) == 10
    for text in ("0", "11", "01"):
        assert refused(parse_integer, text, 1, 10) is ErrorCode.MALFORMED
    assert parse_integer(str(64 * 2**30), 0, 64 * 2**30) == 64 * 2**30


def test_x_25_booleans_are_xml_schemas_four() -> None:
    assert [parse_boolean(text) for text in ("0", "1", "false", "true")] == [False, True] * 2
    for text in ("TRUE", "True", "yes", "no", "on", "", " true", "true\n", "00", "１", "2", "t"):
        assert refused(parse_boolean, text) is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1969-07-21T02:56:15Z", datetime(1969, 7, 21, 2, 56, 15, tzinfo=UTC)),
        ("1969-07-20T21:56:15-05:00", datetime(1969, 7, 21, 2, 56, 15, tzinfo=UTC)),
        ("2004-01-25T06:05:00+01:00", datetime(2004, 1, 25, 5, 5, tzinfo=UTC)),
        ("2026-11-22T15:01:53.5Z", datetime(2026, 11, 22, 15, 1, 53, 500_000, tzinfo=UTC)),
        ("2026-11-22T15:01:53.123456789+00:00", datetime(2026, 11, 22, 15, 1, 53, 123_456, UTC)),
        (f"2026-11-22T15:01:53.{'9' * 500}Z", datetime(2026, 11, 22, 15, 1, 53, 999_999, UTC)),
        ("2026-11-22T00:00:00-00:00", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T00:00:00+14:00", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2024-02-29T23:59:59+05:45", datetime(2024, 2, 29, 18, 14, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_times_become_utc(text: str, moment: datetime) -> None:
    parsed = parse_time(text)
    assert parsed == moment
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "15:01:53Z",
        "2026-11-22T15:01:53",
        "2026-11-22T15:01:53 ",
        "2026-11-22T15:01Z",
        "2026-11-22T15Z",
        "2026-11-22 15:01:53Z",
        "2026-11-22t15:01:53Z",
        "2026-11-22T15:01:53z",
        " 2026-11-22T15:01:53Z",
        "2026-11-22T15:01:53Z\n",
        "20261122T15:01:53Z",
        "20261122T150153Z",
        "2026-W47-7T15:01:53Z",
        "2026-326T15:01:53Z",
        "2026-11-22T15:01:60Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T15:60:00Z",
        "2026-02-30T15:01:53Z",
        "2025-02-29T15:01:53Z",
        "2026-13-01T15:01:53Z",
        "2026-00-01T15:01:53Z",
        "2026-11-00T15:01:53Z",
        "0000-01-01T00:00:00Z",
        "12026-11-22T15:01:53Z",
        "-2026-11-22T15:01:53Z",
        "2026-11-22T15:01:53.Z",
        "2026-11-22T15:01:53,5Z",
        "2026-11-22T15:01:53+01",
        "2026-11-22T15:01:53+0100",
        "2026-11-22T15:01:53+01:00:00",
        "2026-11-22T15:01:53+01:60",
        "2026-11-22T15:01:53+14:01",
        "2026-11-22T15:01:53+24:00",
        "2026-11-22T15:01:53\u221201:00",
        "２０２６-11-22T15:01:53Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "1763823713",
        "now",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    assert refused(parse_time, text) is ErrorCode.MALFORMED


@given(
    st.datetimes(
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 1, 1),
        timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_written_times_are_whole_seconds_in_utc(moment: datetime) -> None:
    text = format_time(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert parse_time(text) == moment.astimezone(UTC).replace(microsecond=0)


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(ApiMisuse):
        format_time(datetime(2026, 11, 22))


def test_reading_times_agrees_with_the_standard_library() -> None:
    """On random well-formed stamps, cut into pieces by hand."""
    for seed in range(200):
        r = random.Random(seed)
        minutes = r.randint(-14 * 60, 14 * 60)
        moment = datetime(
            r.randint(1970, 2100), r.randint(1, 12), r.randint(1, 28),
            r.randint(0, 23), r.randint(0, 59), r.randint(0, 59),
            tzinfo=timezone(timedelta(minutes=minutes)),
        )  # fmt: skip
        zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        assert parse_time(f"{moment:%Y-%m-%dT%H:%M:%S}{zone}") == moment
