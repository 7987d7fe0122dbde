"""Device lists: what is written, what is read, and what is not.

Rule: shapes only; what becomes of a list, and whether a label is its device's own, is elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import encode_base64
from e2ee.omemo.device import MAX_DEVICE_ID, DeviceId
from e2ee.omemo.device_list import DeviceList, ListedDevice, is_label
from e2ee.omemo.version import Version
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from tests.support.peers import require_shared
from tests.support.xml import characters, elements

SIGNATURE = b"s" * 64
SIGNED = f"labelsig='{encode_base64(SIGNATURE)}'"

_IDS = st.integers(1, MAX_DEVICE_ID).map(DeviceId)
_LABELLED = st.builds(
    ListedDevice,
    _IDS,
    (characters() | st.just("Gajim on a laptop 🌹")).filter(is_label),
    st.binary(min_size=64, max_size=64),
)
_DEVICES = st.builds(ListedDevice, _IDS) | _LABELLED


def listed(*devices: ListedDevice, version: Version = Version.TWO) -> DeviceList:
    return DeviceList(version, devices)


def device(number: int, label: str | None = None) -> ListedDevice:
    return ListedDevice(DeviceId(number), label, None if label is None else SIGNATURE)


def two(inside: str) -> DeviceList:
    return DeviceList.from_xml(parse_xml(f"<devices xmlns='urn:xmpp:omemo:2'>{inside}</devices>"))


def refused(source: str | Element) -> ErrorCode:
    with pytest.raises(PeerMisbehaved) as caught:
        DeviceList.from_xml(parse_xml(source) if isinstance(source, str) else source)
    return caught.value.code


def test_both_versions_are_written_as_specified() -> None:
    assert write_xml(listed(device(12345, "Dino"), device(4223)).to_xml()) == (
        f"<devices xmlns='urn:xmpp:omemo:2'><device id='12345' label='Dino' {SIGNED}/>"
        "<device id='4223'/></devices>"
    )
    assert write_xml(listed(device(12345, "Dino"), version=Version.LEGACY).to_xml()) == (
        "<list xmlns='eu.siacs.conversations.axolotl'><device id='12345'/></list>"
    )


@given(st.lists(_DEVICES, unique_by=lambda each: each.id, max_size=5).map(tuple))
def test_what_is_written_is_read(devices: tuple[ListedDevice, ...]) -> None:
    written = parse_xml(write_xml(listed(*devices).to_xml()))
    assert DeviceList.from_xml(written) == listed(*devices)
    unlabelled = tuple(ListedDevice(each.id) for each in devices)
    legacy = listed(*devices, version=Version.LEGACY).to_xml()
    assert DeviceList.from_xml(legacy) == listed(*unlabelled, version=Version.LEGACY)


@given(elements(depth=1))
def test_unknown_children_and_attributes_are_ignored(unknown: Element) -> None:
    known = listed(device(1, "Dino"))
    written = known.to_xml()
    added = tuple(attribute for attribute in unknown.attributes if attribute.namespace)
    inner = tuple(
        replace(child, attributes=(*child.attributes, *added), children=(unknown,))
        for child in written.elements
    )
    spoilt = replace(written, attributes=added, children=(unknown, *inner))
    assert DeviceList.from_xml(spoilt) == known


def test_an_empty_list_is_a_list() -> None:
    assert two("") == listed()


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize(
    "written", ["0", "-1", "+1", "01", " 1", "1 ", "", "a", "1.0", "4294967296", "1" * 5000, "١"]
)
def test_o_14_an_id_that_is_none_is_malformed(version: Version, written: str) -> None:
    source = write_xml(listed(device(7), version=version).to_xml())
    assert refused(source.replace("'7'", f"'{written}'")) is ErrorCode.MALFORMED


@pytest.mark.parametrize("version", Version)
def test_o_14_a_device_without_an_id_or_twice_there_is_malformed(version: Version) -> None:
    twice = listed(device(7), device(8), device(7), version=version).to_xml()
    assert refused(twice) is ErrorCode.MALFORMED
    once = write_xml(listed(device(7), version=version).to_xml())
    assert refused(once.replace(" id='7'", "")) is ErrorCode.MALFORMED
    assert refused(once.replace("id='7'", "xml:id='7'")) is ErrorCode.MALFORMED


@pytest.mark.parametrize("version", Version)
def test_o_14_too_many_devices_are_refused(version: Version) -> None:
    devices = tuple(map(device, range(1, limits.MAX_DEVICES + 2)))
    most = listed(*devices[:-1], version=version)
    assert DeviceList.from_xml(most.to_xml()) == most
    assert refused(listed(*devices, version=version).to_xml()) is ErrorCode.LIMIT_EXCEEDED


@pytest.mark.parametrize(
    "source",
    [
        "<devices/>",
        "<list xmlns='urn:xmpp:omemo:2'/>",
        "<devices xmlns='urn:xmpp:omemo:1'/>",
        "<devices xmlns='eu.siacs.conversations.axolotl'/>",
        "<bundle xmlns='urn:xmpp:omemo:2'/>",
    ],
)
def test_what_is_no_list_is_malformed(source: str) -> None:
    assert refused(source) is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    "attributes",
    [
        "label='Dino'",
        f"{SIGNED}",
        f"label='' {SIGNED}",
        f"label='{'x' * (limits.MAX_LABEL_CHARS + 1)}' {SIGNED}",
        f"label='{'x' * 10_000}' {SIGNED}",
        f"label='Dino&#10;trusted' {SIGNED}",
        f"label='Dino&#x85;' {SIGNED}",
        f"label='Dino&#x2028;' {SIGNED}",
        f"label='&#x202e;oniD' {SIGNED}",
        f"label='&#x2067;oniD' {SIGNED}",
        f"label='&#x200f;oniD' {SIGNED}",
        f"label='Dino' labelsig='{encode_base64(SIGNATURE[1:])}'",
        f"label='Dino' labelsig='{encode_base64(SIGNATURE + b's')}'",
        "label='Dino' labelsig=''",
        "label='Dino' labelsig='not base64'",
    ],
)
def test_o_33_a_label_that_is_none_is_dropped_and_nothing_else(attributes: str) -> None:
    found = two(f"<device id='1' {attributes}/><device id='2' label='Dino' {SIGNED}/>")
    assert found == listed(device(1), device(2, "Dino"))


def test_legacy_lists_have_no_labels() -> None:
    source = write_xml(listed(device(1, "Dino")).to_xml())
    legacy = source.replace("urn:xmpp:omemo:2", "eu.siacs.conversations.axolotl")
    found = DeviceList.from_xml(parse_xml(legacy.replace("devices", "list")))
    assert found == listed(device(1), version=Version.LEGACY)


@pytest.mark.parametrize("label", ["Gajim on Ubuntu", "電話", "📱👩‍💻", "ג'ולייט", "x" * 256])
def test_ordinary_labels_in_any_script_are_labels(label: str) -> None:
    assert is_label(label)


@pytest.mark.parametrize("name", ["omemo2_first_flight", "legacy_first_flight"])
def test_lists_of_libervia_are_read(name: str) -> None:
    """Its label has no signature, so that it does not count."""
    recorded = json.loads(require_shared(f"peers/libervia/{name}.json").read_text())
    found = {
        version: {
            who: DeviceList.from_xml(parse_xml(node["items"][0]).elements[0])
            for who, nodes in recorded["published"].items()
            for node in nodes
            if node["node"] == version.devices_node
        }
        for version in Version
    }
    devices = recorded["devices"]
    juliet = device(devices["juliet"]["device_id"])
    romeo = (device(devices["romeo-1"]["device_id"]), device(devices["romeo-2"]["device_id"]))
    for version in Version:
        assert found[version] == {
            "juliet": listed(juliet, version=version),
            "romeo": listed(*romeo, version=version),
        }
