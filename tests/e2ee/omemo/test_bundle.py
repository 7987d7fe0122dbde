"""Bundles: what is written, what is read, and what is not.

Rule: shapes only; signatures and curves are tested with the engines.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import encode_base64
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.version import Version
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from tests.support.peers import require_shared
from tests.support.xml import elements

KEY, OTHER, SIGNATURE = b"k" * 32, b"o" * 32, b"s" * 64
BUNDLE = Bundle(Version.TWO, b"i" * 32, 7, KEY, SIGNATURE, ((1, KEY), (2, OTHER)))
LEGACY = replace(BUNDLE, version=Version.LEGACY)

_KEYS = st.binary(min_size=32, max_size=32)
_IDS = st.integers(1, 2**32 - 1)
BUNDLES = st.builds(
    Bundle,
    st.sampled_from(Version),
    _KEYS,
    _IDS,
    _KEYS,
    st.binary(min_size=64, max_size=64),
    st.dictionaries(_IDS, _KEYS, min_size=1, max_size=5).map(lambda keys: tuple(keys.items())),
)


def two(inside: str) -> str:
    return f"<bundle xmlns='urn:xmpp:omemo:2'>{inside}</bundle>"


SPK = f"<spk id='7'>{encode_base64(KEY)}</spk>"
SPKS = f"<spks>{encode_base64(SIGNATURE)}</spks>"
IK = f"<ik>{encode_base64(b'i' * 32)}</ik>"
PK = f"<pk id='1'>{encode_base64(KEY)}</pk>"
PKS = f"<prekeys>{PK}<pk id='2'>{encode_base64(OTHER)}</pk></prekeys>"


def refused(source: str | Element) -> ErrorCode:
    with pytest.raises(PeerMisbehaved) as caught:
        Bundle.from_xml(parse_xml(source) if isinstance(source, str) else source)
    return caught.value.code


def test_version_two_is_written_as_specified() -> None:
    assert write_xml(BUNDLE.to_xml()) == two(SPK + SPKS + IK + PKS)


def test_legacy_keys_have_the_type_of_their_curve_before_them() -> None:
    key, identity = encode_base64(b"\x05" + KEY), encode_base64(b"\x05" + b"i" * 32)
    assert write_xml(replace(LEGACY, pre_keys=((1, KEY),)).to_xml()) == (
        "<bundle xmlns='eu.siacs.conversations.axolotl'>"
        f"<signedPreKeyPublic signedPreKeyId='7'>{key}</signedPreKeyPublic>"
        f"<signedPreKeySignature>{encode_base64(SIGNATURE)}</signedPreKeySignature>"
        f"<identityKey>{identity}</identityKey>"
        f"<prekeys><preKeyPublic preKeyId='1'>{key}</preKeyPublic></prekeys></bundle>"
    )


@given(BUNDLES)
def test_what_is_written_is_read(bundle: Bundle) -> None:
    assert Bundle.from_xml(parse_xml(write_xml(bundle.to_xml()))) == bundle


@given(elements(depth=1), st.sampled_from([BUNDLE, LEGACY]))
def test_unknown_children_and_attributes_are_ignored(unknown: Element, bundle: Bundle) -> None:
    def with_unknown(source: Element, depth: int) -> Element:
        inner = tuple(
            with_unknown(child, depth - 1) if isinstance(child, Element) and depth else child
            for child in source.children
        )
        children = (unknown, *inner) if depth else inner
        return replace(source, attributes=(*source.attributes, *added), children=children)

    added = tuple(attribute for attribute in unknown.attributes if attribute.namespace)
    assert Bundle.from_xml(with_unknown(bundle.to_xml(), 1)) == bundle


@pytest.mark.parametrize("version", Version)
def test_the_largest_and_the_lowest_ids_are_read(version: Version) -> None:
    lowest = 1 if version is Version.TWO else 0
    for key_id in (lowest, 2**32 - 1):
        bundle = Bundle(version, KEY, key_id, KEY, SIGNATURE, ((key_id, KEY),))
        assert Bundle.from_xml(bundle.to_xml()) == bundle


@pytest.mark.parametrize("bundle", [BUNDLE, LEGACY])
def test_o_15_a_part_that_is_missing_or_twice_there_is_malformed(bundle: Bundle) -> None:
    written = bundle.to_xml()
    for number, part in enumerate(written.children):
        without = (*written.children[:number], *written.children[number + 1 :])
        assert refused(replace(written, children=without)) is ErrorCode.MALFORMED
        assert refused(replace(written, children=(*written.children, part))) is ErrorCode.MALFORMED


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize(
    "change",
    [
        {"identity": b"i" * 31},
        {"identity": b"\x05" + b"i" * 32},
        {"signed_pre_key": b"k"},
        {"signed_pre_key": KEY + b"k"},
        {"signature": SIGNATURE[1:]},
        {"signature": SIGNATURE + b"s"},
        {"signed_pre_key_id": -1},
        {"signed_pre_key_id": 2**32},
        {"pre_keys": ()},
        {"pre_keys": ((1, KEY), (2, b"k"))},
        {"pre_keys": ((1, KEY), (1, OTHER))},
        {"pre_keys": ((2**32, KEY),)},
    ],
)
def test_o_15_wrong_sizes_and_ids_are_malformed(version: Version, change: dict[str, Any]) -> None:
    assert refused(replace(BUNDLE, version=version, **change).to_xml()) is ErrorCode.MALFORMED


def test_o_15_an_id_of_zero_is_malformed_in_version_two() -> None:
    assert refused(replace(BUNDLE, signed_pre_key_id=0).to_xml()) is ErrorCode.MALFORMED
    assert refused(replace(BUNDLE, pre_keys=((0, KEY),)).to_xml()) is ErrorCode.MALFORMED


def test_o_15_a_legacy_key_of_another_curve_is_malformed() -> None:
    right = write_xml(LEGACY.to_xml())
    wrong = right.replace(encode_base64(b"\x05" + KEY), encode_base64(b"\x06" + KEY))
    assert refused(wrong) is ErrorCode.MALFORMED


@pytest.mark.parametrize("version", Version)
def test_o_15_too_many_prekeys_are_refused(version: Version) -> None:
    keys = tuple((key_id, KEY) for key_id in range(1, limits.MAX_PRE_KEYS + 2))
    bundle = Bundle(version, KEY, 1, KEY, SIGNATURE, keys[:-1])
    assert Bundle.from_xml(bundle.to_xml()) == bundle
    assert refused(replace(bundle, pre_keys=keys).to_xml()) is ErrorCode.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    "source",
    [
        "<bundle/>",
        "<devices xmlns='urn:xmpp:omemo:2'/>",
        f"<bundle xmlns='urn:xmpp:omemo:1'>{SPK + SPKS + IK + PKS}</bundle>",
        f"<bundle xmlns='eu.siacs.conversations.axolotl'>{SPK + SPKS + IK + PKS}</bundle>",
        two(SPK.replace(" id='7'", "") + SPKS + IK + PKS),
        two(SPK + SPKS + IK + PK),
        two(SPK + SPKS + IK.replace("=", "") + PKS),
        two(SPK + SPKS + IK.replace("<ik>", "<ik><x/>") + PKS),
    ],
)
def test_what_is_no_bundle_is_malformed(source: str) -> None:
    assert refused(source) is ErrorCode.MALFORMED


@pytest.mark.parametrize("name", ["omemo2_first_flight", "legacy_first_flight"])
def test_bundles_of_libervia_are_read_and_written_alike(name: str) -> None:
    recorded = json.loads(require_shared(f"peers/libervia/{name}.json").read_text())
    found = [
        parse_xml(item).elements[0]
        for nodes in recorded["published"].values()
        for node in nodes
        for item in node["items"]
        if "bundles" in node["node"]
    ]
    assert len(found) == 6
    for source in found:
        bundle = Bundle.from_xml(source)
        assert bundle.to_xml().same_content(source)
        assert len(bundle.pre_keys) == 100
