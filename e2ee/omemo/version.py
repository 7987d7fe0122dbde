"""The versions of OMEMO that are spoken, and the pubsub nodes in which each keeps what is public.

Rule: names and addresses only; which version is used with whom is decided in ``ring.py``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from e2ee import ns
from e2ee.names import BareJid, Fetch, ItemId, NodeAddress
from e2ee.omemo.device import Device, DeviceId, parse_device_id

__all__ = ["CURRENT", "Version", "bundle_fetch", "device_of_bundle", "devices_fetch"]

CURRENT: Final = ItemId("current")
"""The id of the one item in a node that has one (XEP-0060 §12.20)."""

_LEGACY_DEVICES: Final = f"{ns.OMEMO_LEGACY}.devicelist"
_LEGACY_BUNDLE: Final = f"{ns.OMEMO_LEGACY}.bundles:"


class Version(StrEnum):
    """A version of OMEMO, by its namespace."""

    TWO = ns.OMEMO_2
    LEGACY = ns.OMEMO_LEGACY

    @property
    def devices_node(self) -> str:
        """The node of the device list (XEP-0384 §5.3.1; legacy: 0.2.2 §4.2)."""
        return f"{ns.OMEMO_2}:devices" if self is Version.TWO else _LEGACY_DEVICES

    @property
    def bundles_node(self) -> str:
        """The node of the bundles; of the legacy version, how the name of each one begins."""
        return f"{ns.OMEMO_2}:bundles" if self is Version.TWO else _LEGACY_BUNDLE


def devices_fetch(version: Version, jid: BareJid) -> Fetch:
    """Return the need for the device list of ``jid``: the most recent item counts."""
    return Fetch(NodeAddress(jid, version.devices_node))


def bundle_fetch(version: Version, device: Device) -> Fetch:
    """Return the need for the bundle of ``device``.

    In version 2 it is the item named after the device in the one node of bundles; in the legacy
    version the most recent item of a node of its own.
    """
    if version is Version.TWO:
        address = NodeAddress(device.jid, version.bundles_node)
        return Fetch(address, ItemId(str(device.id)))
    return Fetch(NodeAddress(device.jid, f"{version.bundles_node}{device.id}"))


def device_of_bundle(fetch: Fetch) -> tuple[Version, DeviceId] | None:
    """Return whose bundle a need is for, the reverse of :func:`bundle_fetch`; else ``None``.

    Raises:
        PeerMisbehaved: ``malformed``: a node of bundles, but no device id.
    """
    node = fetch.address.node
    if node == Version.TWO.bundles_node and fetch.item_id is not None:
        return Version.TWO, parse_device_id(fetch.item_id)
    if node.startswith(_LEGACY_BUNDLE):
        return Version.LEGACY, parse_device_id(node.removeprefix(_LEGACY_BUNDLE))
    return None
