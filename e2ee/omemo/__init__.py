"""OMEMO (XEP-0384): sessions with devices, messages that only they can read, and their trust.

Rule: re-exports only. The engines stand apart, in ``engine_twomemo`` and ``engine_oldmemo``, so
that this package loads where they cannot.
"""

from e2ee.omemo.bundle import Bundle
from e2ee.omemo.chat import (
    FALLBACK,
    FEATURES,
    OpenedChat,
    SealedChat,
    open_message,
    seal_message,
)
from e2ee.omemo.device import (
    Device,
    DeviceId,
    IdentityFingerprint,
    parse_device_id,
    parse_identity_fingerprint,
)
from e2ee.omemo.device_list import DeviceList, ListedDevice
from e2ee.omemo.encrypting import Encrypted
from e2ee.omemo.engine import OmemoEngine
from e2ee.omemo.known_device import KnownDevice
from e2ee.omemo.opened import OpenedMessage, TransportedKey
from e2ee.omemo.opt_out import OptOut
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.recipients import DeviceReport, Outcome
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.rooms import RoomAffiliation, RoomRoster
from e2ee.omemo.sessions import OmemoSessions
from e2ee.omemo.version import Version

__all__ = [
    "FALLBACK",
    "FEATURES",
    "Bundle",
    "Device",
    "DeviceId",
    "DeviceList",
    "DeviceReport",
    "DeviceRing",
    "Encrypted",
    "IdentityFingerprint",
    "KnownDevice",
    "ListedDevice",
    "OmemoEngine",
    "OmemoSessions",
    "OpenedChat",
    "OpenedMessage",
    "OptOut",
    "Outcome",
    "OwnDevice",
    "RoomAffiliation",
    "RoomRoster",
    "SealedChat",
    "TransportedKey",
    "Version",
    "open_message",
    "parse_device_id",
    "parse_identity_fingerprint",
    "seal_message",
]
