"""Tests of what the engines of both versions take for a message: the wire form, read strictly.

Rule: a genuine message is altered in its form alone; what is forged in what it says, elsewhere.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.omemo.engine import OmemoEngine
from e2ee.omemo.protobuf import read_fields
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from tests.support.omemo_forge import (
    HEADER,
    KEY_MATERIAL,
    NOT_CANONICAL,
    SMALL_ORDER,
    UNFIT_IDENTITIES,
    WRONG_SIZE,
    Fields,
    KeyOwner,
    around,
    inside,
    met,
    new_engine,
    refusal,
    refused,
    varint,
)


@pytest.fixture(params=Version, ids=lambda version: version.name)
def engine(request: pytest.FixtureRequest) -> OmemoEngine:
    return new_engine(request.param)


def _material(engine: OmemoEngine) -> Secret:
    return Secret(bytes(range(KEY_MATERIAL[engine.version])))


async def test_o_09_tags_of_another_length_or_value(engine: OmemoEngine) -> None:
    """Truncated, extended, empty, all zero; and every bit of it and of the rest."""
    ours, theirs = await met(engine)
    genuine = await ours.write(_material(engine))
    if engine.version is Version.TWO:
        outer = Fields.read(genuine)
        tag = outer.find(1)
        assert isinstance(tag, bytes)
        for wrong in (b"", tag[:8], tag[:15], tag + b"\0", tag * 2, bytes(32)):
            await refused(theirs, outer.changed(1, wrong).written(), ErrorCode.MALFORMED)
        await refused(theirs, outer.changed(1, bytes(16)).written(), ErrorCode.CANNOT_DECRYPT)
    else:
        for length in range(10):
            await refused(theirs, genuine[:length])
        for wrong in (genuine[:-8], genuine[:-1], genuine + b"\0", genuine[:-8] + bytes(8)):
            await refused(theirs, wrong)
    before = theirs.copy()
    for bit in range(8 * len(genuine)):
        altered = bytearray(genuine)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CannotDecrypt, PeerMisbehaved)):
            await theirs.read(bytes(altered))
    assert theirs == before
    assert (await theirs.read(genuine)).key_material == _material(engine)


def _garbled(fields: Fields, number: int) -> dict[str, bytes]:
    """Return what a strict reader must refuse; ``number`` is a field with a number."""
    raw = fields.written()
    value = fields.find(number)
    assert isinstance(value, int)
    others = Fields(pair for pair in fields if pair[0] != number).written()
    garbled = {
        "a field twice": raw + Fields([(number, value)]).written(),
        "a field twice, changed": Fields([(number, value + 1)]).written() + raw,
        "a group": raw + varint(15 << 3 | 3) + varint(15 << 3 | 4),
        "the end of a group": raw + varint(15 << 3 | 4),
        "a field of type 6": raw + varint(15 << 3 | 6),
        "field 0": raw + varint(0) + varint(1),
        "an overlong number": others + varint(number << 3) + varint(value, excess=1),
        "an overlong key": others + varint(number << 3, excess=1) + varint(value),
        "an endless number": others + varint(number << 3) + b"\xff" * 10 + b"\1",
        "beyond 64 bits": others + varint(number << 3) + b"\xff" * 9 + b"\2",
        "an unknown number beyond 64 bits": raw + varint(15 << 3) + b"\xff" * 9 + b"\2",
        "beyond 32 bits": others + varint(number << 3) + varint(2**32 + value),
        "a negative number": others + varint(number << 3) + varint(2**64 - 1),
        "octets for a number": others + varint(number << 3 | 2) + varint(1) + b"\1",
        "four bytes for a number": others + varint(number << 3 | 5) + bytes(4),
        "cut off in a number": others + varint(number << 3),
        "cut off in octets": raw + varint(15 << 3 | 2) + varint(5) + b"1234",
        "cut off in eight bytes": raw + varint(15 << 3 | 1) + bytes(7),
        "longer than anything": raw + varint(15 << 3 | 2) + varint(2**63),
    }
    for missing, _ in fields:
        garbled[f"without field {missing}"] = Fields(
            pair for pair in fields if pair[0] != missing
        ).written()
    return garbled


async def test_o_09_garbled_messages_are_malformed(engine: OmemoEngine) -> None:
    ours, theirs = await met(engine)
    genuine = await ours.write(_material(engine))
    fields = Fields.read(inside(engine.version, genuine))
    for name, garbled in _garbled(fields, HEADER[engine.version][0]).items():
        forged = around(engine.version, genuine, garbled)
        assert refusal(engine.read_message, forged) == ErrorCode.MALFORMED, name
    ciphertext = fields.find(4)
    assert isinstance(ciphertext, bytes)
    for wrong in (b"", ciphertext[:-1], ciphertext + b"\0", ciphertext[:-15]):
        forged = around(engine.version, genuine, fields.changed(4, wrong).written())
        await refused(theirs, forged, ErrorCode.MALFORMED)
    assert (await theirs.read(genuine)).key_material == _material(engine)


async def test_o_09_garbled_key_exchanges_are_malformed(engine: OmemoEngine) -> None:
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    _, genuine = await romeo.start(juliet.bundle, _material(engine))
    form = b"" if engine.version is Version.TWO else genuine[:1]
    fields = Fields.read(genuine.removeprefix(form))
    if engine.version is Version.TWO:
        identity, ephemeral, prefix = 3, 4, b""
    else:
        identity, ephemeral, prefix = 3, 2, b"\x05"
    forged = {name: form + raw for name, raw in _garbled(fields, 1).items()}
    for key in (*WRONG_SIZE, *SMALL_ORDER, *NOT_CANONICAL):
        forged[f"ephemeral {key.hex()}"] = form + fields.changed(ephemeral, prefix + key).written()
    for key in (*WRONG_SIZE, *UNFIT_IDENTITIES[engine.version]):
        forged[f"identity {key.hex()}"] = form + fields.changed(identity, prefix + key).written()
    if form:
        forged["another format"] = b"\x44" + genuine[1:]
        forged["no format"] = genuine[1:]
        known = fields.find(identity)
        assert isinstance(known, bytes)
        forged["another curve"] = form + fields.changed(identity, b"\4" + known[1:]).written()
    forged["nothing"] = b""
    forged["a message alone"] = engine.read_exchange(genuine)[1].raw
    for name, raw in forged.items():
        assert refusal(engine.read_exchange, raw) == ErrorCode.MALFORMED, name
    await juliet.accept(genuine)


async def test_o_09_unknown_fields_are_ignored(engine: OmemoEngine) -> None:
    """In a key exchange; the legacy one has had a registration id from the beginning."""
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    _, genuine = await romeo.start(juliet.bundle, _material(engine))
    unknown = (
        Fields([(14, 7), (15, b"later"), (15, b"twice")]).written() + varint(16 << 3 | 5) + bytes(4)
    )
    _, received = await juliet.accept(genuine + unknown + varint(17 << 3 | 1) + bytes(8))
    assert received.key_material == _material(engine)


@given(st.binary(max_size=200), st.sampled_from(Version))
def test_o_09_whatever_arrives_is_read_or_malformed(raw: bytes, version: Version) -> None:
    engine = new_engine(version)
    for read in (engine.read_message, engine.read_exchange):
        for source in (raw, b"\x33" + raw):
            with pytest.raises(PeerMisbehaved) as caught:
                read(source)
            assert caught.value.code == ErrorCode.MALFORMED


_UNKNOWN = st.tuples(st.integers(5, 2**29 - 1), st.integers(0, 2**64 - 1) | st.binary(max_size=200))


@given(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.tuples(st.binary(max_size=200), st.binary(max_size=200)),
    st.lists(_UNKNOWN, max_size=5),
    st.randoms(use_true_random=False),
)
def test_what_is_read_is_what_everybody_reads(
    numbers: tuple[int, int],
    octets: tuple[bytes, bytes],
    unknown: list[tuple[int, int | bytes]],
    random: Random,
) -> None:
    """In any order of the fields, with unknown ones between: as google's own library does."""
    from twomemo.twomemo_pb2 import OMEMOMessage

    fields = Fields(enumerate((*numbers, *octets), 1)) + unknown
    random.shuffle(fields)
    raw = Fields(fields).written()
    found, texts = read_fields(raw, numbers=(1, 2), octets=(3, 4))
    parsed = OMEMOMessage.FromString(raw)
    assert (parsed.n, parsed.pn) == (found[1], found[2]) == numbers
    assert (parsed.dh_pub, parsed.ciphertext) == (texts[3], texts[4]) == octets
