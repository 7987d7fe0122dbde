"""Records: what was packed comes back, and nothing else does.

Rule: bytes and fields only; stores have their own suite.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.records import pack, unpack

plain = st.none() | st.booleans() | st.integers() | st.text('aé"\n\U0001f512', max_size=4)
values = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner), max_leaves=4
)


@given(fields=st.dictionaries(st.text("abc", min_size=1), values))
def test_round_trip(fields: dict[str, object]) -> None:
    raw = pack("keychain", 3, fields)
    assert unpack(raw, "keychain", 3) == {"kind": "keychain", "format": 3, **fields}
    assert pack("keychain", 3, dict(reversed(fields.items()))) == raw


def test_exact_bytes() -> None:
    assert pack("x", 1, {"b": "é", "a": [1]}) == '{"a":[1],"b":"é","format":1,"kind":"x"}'.encode()


def test_reserved_fields_are_not_shadowed() -> None:
    for name in ("kind", "format"):
        with pytest.raises(ApiMisuse):
            pack("x", 1, {name: "y"})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff",
        b"{}",
        b'{"kind":"y","format":1}',
        b'{"kind":["x"],"format":1}',
        b'{"kind":"x"}',
        b'{"kind":"x","format":null}',
        b'{"kind":"x","format":true}',
        b'{"kind":"x","format":"1"}',
        b'{"kind":"x","format":1.0}',
        b'{"kind":"x","format":0}',
        b'{"kind":"x","format":-1}',
        b"[" * 100_000,
        b'{"kind":"x","format":1}{}',
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_altered_records_are_corrupt(raw: bytes) -> None:
    with pytest.raises(StoreFailed) as caught:
        unpack(raw, "x", 1)
    assert caught.value.code is ErrorCode.STORE_CORRUPT


def test_newer_records_are_not_guessed_at() -> None:
    with pytest.raises(StoreFailed) as caught:
        unpack(pack("x", 2, {}), "x", 1)
    assert caught.value.code is ErrorCode.STORE_TOO_NEW
    assert unpack(pack("x", 1, {}), "x", 2)["format"] == 1


def test_errors_hold_nothing_of_the_record() -> None:
    for raw in (b'{"kind":"canary"}', b'{"kind":"x","format":"canary"}', b"canary"):
        with pytest.raises(StoreFailed) as caught:
            unpack(raw, "x", 1)
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None
