"""The device list of an account: which devices it announces, under which labels, and its XML.

Rule: a value and its codec; what becomes of a list is in ``ring.py``, and whether a label is its
device's own is for the engine to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from e2ee import limits
from e2ee.errors import PeerMisbehaved
from e2ee.lexical import decode_base64, encode_base64
from e2ee.omemo.device import DeviceId, parse_device_id
from e2ee.omemo.reading import misshapen, too_many, version_of
from e2ee.omemo.version import Version
from e2ee.xmlnames import NOT_CHAR
from e2ee.xmltree import Element, element

__all__ = ["DeviceList", "ListedDevice", "is_label"]

_ROOTS: Final = {Version.TWO: "devices", Version.LEGACY: "list"}
_RULES: Final = {Version.TWO: "XEP-0384 §5.3.1", Version.LEGACY: "XEP-0384 0.2.2 §4.3"}
_SIGNATURE_BYTES: Final = 64
_DECEIVING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text
    "\u2028\u2029]"  # line ends
)


def is_label(text: str) -> bool:
    """Say whether a text may be a device's label.

    It has 1 to ``limits.MAX_LABEL_CHARS`` characters, and none that would make it look like
    another one, or like more than a label.
    """
    if not 1 <= len(text) <= limits.MAX_LABEL_CHARS:
        return False
    return not (_DECEIVING.search(text) or NOT_CHAR.search(text))


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device as a list names it.

    Attributes:
        id: its id.
        label: what its user calls it, for version 2 only; nobody has checked the signature yet.
        label_signature: of the label by the device's identity, Ed25519, 64 bytes; ``None`` exactly
            where there is no label.
    """

    id: DeviceId
    label: str | None = None
    label_signature: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices of an account in one version (XEP-0384 §5.3.1; legacy: 0.2.2 §4.3)."""

    version: Version
    devices: tuple[ListedDevice, ...]

    def to_xml(self) -> Element:
        """Return the element; in the legacy version there are no labels."""
        return element(
            self.version,
            _ROOTS[self.version],
            None,
            *(
                element(self.version, "device", {"id": str(device.id), **self._label(device)})
                for device in self.devices
            ),
        )

    def _label(self, device: ListedDevice) -> dict[str, str]:
        if self.version is Version.LEGACY or device.label is None or device.label_signature is None:
            return {}
        return {"label": device.label, "labelsig": encode_base64(device.label_signature)}

    @classmethod
    def from_xml(cls, source: Element) -> DeviceList:
        """Read a list of either version; what is unknown in it is ignored.

        A label that is none, that is not signed, or whose signature cannot be one, is dropped, and
        nothing else with it (XEP-0384 §5.3.1).

        Raises:
            PeerMisbehaved: ``malformed``: a device id that is none, or occurs twice;
                ``limit-exceeded``: more than ``limits.MAX_DEVICES``.
        """
        version = version_of(source, _ROOTS)
        rule = _RULES[version]
        holders = source.find_all(version, "device")
        if len(holders) > limits.MAX_DEVICES:
            raise too_many("devices in one list", rule)
        devices = tuple(_read_device(version, holder, rule) for holder in holders)
        if len({device.id for device in devices}) != len(devices):
            raise misshapen("a device that is listed twice", rule)
        return cls(version, devices)


def _read_device(version: Version, holder: Element, rule: str) -> ListedDevice:
    device = ListedDevice(parse_device_id(holder.require("id", rule), rule))
    label, written = holder.get("label"), holder.get("labelsig")
    if version is Version.LEGACY or label is None or written is None or not is_label(label):
        return device
    try:
        signature = decode_base64(written, rule)
    except PeerMisbehaved:
        return device
    if len(signature) != _SIGNATURE_BYTES:
        return device
    return replace(device, label=label, label_signature=signature)
