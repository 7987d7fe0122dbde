"""What an encrypted message says of who reads it, and a decrypted one of what was said.

Rule: reads what is there; who should read is the test's business.
"""

from __future__ import annotations

from e2ee.omemo.device import DeviceId
from e2ee.omemo.encrypting import Encrypted
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.recipients import Outcome
from e2ee.omemo.version import Version

__all__ = ["outcomes", "rids", "said_in"]


def outcomes(encrypted: Encrypted) -> dict[DeviceId, Outcome]:
    """Return what became of each device."""
    return {each.device.id: each.outcome for each in encrypted.report}


def said_in(opened: OpenedMessage) -> list[str]:
    """Return the texts of what was encrypted."""
    return [each.text for each in opened.content]


def rids(encrypted: Encrypted, version: Version = Version.TWO) -> set[int]:
    """Return the ids of the devices that an element has keys for."""
    [found] = [each for each in encrypted.elements if each.namespace == version]
    header = found.only(version, "header")
    holders = [header, *header.find_all(version, "keys")]
    return {
        int(key.require("rid")) for holder in holders for key in holder.find_all(version, "key")
    }
