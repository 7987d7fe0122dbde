"""Runs a case of ``spec_vectors/omemo`` on this library, and says in their words what came of it.

Rule: a translator without opinions; what is right stands in the files.
"""

from __future__ import annotations

from typing import Any

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import encode_base64
from e2ee.names import BareJid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.device_list import DeviceList
from e2ee.omemo.message import read_encrypted
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from tests.vectors.running import document

__all__ = ["run_omemo"]


def run_omemo(path: str, given: dict[str, Any]) -> dict[str, Any]:
    """Read one element, of the kind that the file of this path is about."""
    try:
        source = parse_xml(document(given["element"]))
        match path:
            case "omemo/bundles.json":
                found = _bundle(Bundle.from_xml(source))
            case "omemo/device_lists.json":
                found = _device_list(DeviceList.from_xml(source))
            case _:
                found = _encrypted(source, given["own"])
    except PeerMisbehaved as error:
        return {"outcome": error.code.value}
    return {"outcome": "read", **found}


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else encode_base64(raw)


def _bundle(bundle: Bundle) -> dict[str, Any]:
    return {
        "version": bundle.version.value,
        "identity": _base64(bundle.identity),
        "signed_pre_key": {
            "id": bundle.signed_pre_key_id,
            "key": _base64(bundle.signed_pre_key),
            "signature": _base64(bundle.signature),
        },
        "pre_keys": [{"id": key_id, "key": _base64(key)} for key_id, key in bundle.pre_keys],
    }


def _device_list(listed: DeviceList) -> dict[str, Any]:
    return {
        "version": listed.version.value,
        "devices": [
            {
                "id": device.id,
                "label": device.label
                and {"text": device.label, "signature": _base64(device.label_signature)},
            }
            for device in listed.devices
        ],
    }


def _encrypted(source: Element, own: dict[str, Any]) -> dict[str, Any]:
    device = Device(BareJid.parse(own["jid"]), DeviceId(own["device"]))
    found = read_encrypted(source, device)
    if found.key is None:
        raise PeerMisbehaved(ErrorCode.NOT_FOR_US, "no key for our device")
    return {
        "version": found.version.value,
        "sid": found.sid,
        "key": {"data": _base64(found.key.data), "exchange": found.key.kex},
        "payload": None if found.payload is None else _base64(found.payload.ciphertext),
        "iv": _base64(found.iv if found.payload is None else found.payload.iv),
    }
