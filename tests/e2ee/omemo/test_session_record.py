"""A stored session is read as it was written, or refused; nothing in between."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.engine import Chain, KeyExchange, Ratchet
from e2ee.omemo.session import Session, SkippedChain
from e2ee.omemo.session_record import (
    session_from_record,
    session_to_record,
    skipped_from_record,
    skipped_to_record,
)
from e2ee.omemo.version import Version

PEER = Device(BareJid.parse("romeo@montague.lit"), DeviceId(31415))

keys = st.binary(min_size=32, max_size=32)
counts = st.integers(0, 2**40)
ids = st.integers(0, 2**32 - 1)
chains = st.builds(Chain, keys, counts)
sessions = st.builds(
    Session,
    version=st.sampled_from(Version),
    peer=st.just(PEER),
    fingerprint=keys.map(lambda key: IdentityFingerprint(key.hex())),
    exchange=st.builds(KeyExchange, keys, keys, ids, ids),
    initiator=st.booleans(),
    confirmed=st.booleans(),
    bound=st.binary(min_size=64, max_size=66),
    ratchet=st.builds(
        Ratchet, keys, keys, keys, chains, chains, st.none() | chains, st.none() | counts
    ),
    skipped=st.lists(st.builds(SkippedChain, keys, st.integers(1, 2000)), max_size=3).map(tuple),
    heartbeat=st.none() | keys,
    renewal=counts,
)


def a_session() -> Session:
    """Return one with something in every place."""
    key = [bytes([number]) * 32 for number in range(16)]
    ratchet = Ratchet(
        key[0], key[1], key[2], Chain(key[3], 4), Chain(key[5], 6), Chain(key[7], 8), 9
    )
    return Session(
        version=Version.TWO,
        peer=PEER,
        fingerprint=IdentityFingerprint(key[10].hex()),
        exchange=KeyExchange(key[11], key[12], 1, 77),
        initiator=True,
        confirmed=True,
        bound=key[13] * 2,
        ratchet=ratchet,
        skipped=(SkippedChain(key[14], 3),),
        heartbeat=key[15],
        renewal=2,
    )


@given(sessions)
def test_what_is_written_is_read(session: Session) -> None:
    record = session_to_record(session)
    assert session_from_record(record, session.version, PEER) == session


@given(st.dictionaries(ids, keys, max_size=5))
def test_kept_keys_are_read_in_their_order(kept: dict[int, bytes]) -> None:
    read = skipped_from_record(skipped_to_record(kept), len(kept))
    assert list(read.items()) == list(kept.items())


def _corrupt(raw: bytes) -> None:
    with pytest.raises(StoreFailed) as caught:
        session_from_record(raw, Version.TWO, PEER)
    assert caught.value.code is ErrorCode.STORE_CORRUPT


_WRONG: list[Any] = [None, True, -1, 1.0, "", "x", "AA==", [], ["AA==", 1], [1, 2, 3], {}, [[]]]


@pytest.mark.parametrize("wrong", _WRONG, ids=repr)
@pytest.mark.parametrize("name", sorted(json.loads(session_to_record(a_session()))))
def test_o_35_values_of_another_type_are_damage(name: str, wrong: Any) -> None:
    """Every field, replaced by what it cannot be."""
    whole = json.loads(session_to_record(a_session()))
    may_be: dict[str, list[Any]] = {
        "heartbeat": [None],
        "skipped": [[]],
        "initiator": [True],
        "confirmed": [True],
    }
    if any(type(wrong) is type(right) and wrong == right for right in may_be.get(name, [])):
        return
    _corrupt(json.dumps({**whole, name: wrong}).encode())


@pytest.mark.parametrize("name", sorted(json.loads(session_to_record(a_session()))))
def test_o_35_a_lost_value_is_damage(name: str) -> None:
    whole = json.loads(session_to_record(a_session()))
    del whole[name]
    _corrupt(json.dumps(whole).encode())


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pre_keys", [1, 2**32]),
        ("pre_keys", [1]),
        ("pre_keys", [1, 2, 3]),
        ("lengths", [4, 6, 8]),
        ("lengths", [4, 6, None, 9]),
        ("lengths", [4, True, 8, 9]),
        ("lengths", [4, 6, 8, -1]),
        ("lengths", [4, None, 8, 9]),
        ("skipped", [[json.loads(session_to_record(a_session()))["skipped"][0][0], 0]]),
        ("fingerprint", "AB" * 32),
        ("keys", " " + json.loads(session_to_record(a_session()))["keys"]),
        ("keys", json.loads(session_to_record(a_session()))["keys"] + "AAAA"),
        ("bound", "AAAA"),
    ],
)
def test_o_35_values_out_of_bounds_are_damage(name: str, wrong: Any) -> None:
    _corrupt(json.dumps({**json.loads(session_to_record(a_session())), name: wrong}).encode())


@given(st.data())
def test_o_35_one_altered_byte_is_damage_or_a_session(data: st.DataObject) -> None:
    """No altered record makes anything but a whole session or ``store-corrupt``."""
    raw = bytearray(session_to_record(a_session()))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(StoreFailed):
        session = session_from_record(bytes(raw), Version.TWO, PEER)
        assert session_from_record(session_to_record(session), Version.TWO, PEER) == session


@pytest.mark.parametrize(
    "place",
    [
        replace(PEER, id=DeviceId(2)),
        replace(PEER, jid=BareJid.parse("tybalt@capulet.lit")),
        Version.LEGACY,
    ],
)
def test_r_04_a_session_in_the_place_of_another_is_damage(place: Device | Version) -> None:
    raw = session_to_record(a_session())
    version, peer = (Version.TWO, place) if isinstance(place, Device) else (place, PEER)
    with pytest.raises(StoreFailed, match="damaged"):
        session_from_record(raw, version, peer)


def test_a_newer_record_is_not_touched() -> None:
    newer = json.dumps({**json.loads(session_to_record(a_session())), "format": 2}).encode()
    with pytest.raises(StoreFailed) as caught:
        session_from_record(newer, Version.TWO, PEER)
    assert caught.value.code is ErrorCode.STORE_TOO_NEW


@pytest.mark.parametrize(
    "fields",
    [{"keys": "AA=="}, {"keys": "AAA"}, {"keys": None}, {}, {"keys": ""}],
    ids=repr,
)
def test_o_35_damaged_message_keys_are_damage(fields: dict[str, Any]) -> None:
    record = {"kind": "omemo-skipped-keys", "format": 1, **fields}
    with pytest.raises(StoreFailed) as caught:
        skipped_from_record(json.dumps(record).encode(), 1)
    assert caught.value.code is ErrorCode.STORE_CORRUPT


def test_message_keys_are_counted() -> None:
    record = skipped_to_record({1: bytes(32), 2: bytes(32)})
    for count in (0, 1, 3):
        with pytest.raises(StoreFailed):
            skipped_from_record(record, count)


def test_p8_no_key_is_printed() -> None:
    """What must stay secret is in no ``repr`` of a session, and in no text of an error."""
    session = a_session()
    ratchet = session.ratchet
    assert ratchet.receiving
    chain_keys = [each.key for each in (ratchet.root, ratchet.sending, ratchet.receiving)]
    for secret in [ratchet.own_private, *chain_keys]:
        assert repr(secret)[2:-1] not in repr(session)
