"""OpenPGP for XMPP (XEP-0373, XEP-0374): keys in PEP, signed and encrypted elements, messages.

Rule: re-exports only. The native engine stands apart, in ``ox.engine_sequoia``, so that this
package loads where it cannot.
"""

from ox.account import OxAccount
from ox.backup import Backup, SkippedKey, open_backup, restore, seal_backup
from ox.backup_code import BackupCode
from ox.backup_node import backup_address, prepare_backup_node, publish_backup, withdraw_backup
from ox.chat import CHAT_FEATURES, OpenedMessage, Room, open_message, seal_message
from ox.elements import FEATURES, Content, ContentKind, PublicKeyMetadata, PublicKeysList
from ox.engine import Certificate, KeyHandle, OpenPgpEngine, Revocation, S2kCount, Signed
from ox.keys import KeyRing
from ox.known_key import KnownKey
from ox.opened import OpenedCrypt, OpenedOx
from ox.sealing import Recipients
from ox.uri import KeyUri

__all__ = [
    "CHAT_FEATURES",
    "FEATURES",
    "Backup",
    "BackupCode",
    "Certificate",
    "Content",
    "ContentKind",
    "KeyHandle",
    "KeyRing",
    "KeyUri",
    "KnownKey",
    "OpenPgpEngine",
    "OpenedCrypt",
    "OpenedMessage",
    "OpenedOx",
    "OxAccount",
    "PublicKeyMetadata",
    "PublicKeysList",
    "Recipients",
    "Revocation",
    "Room",
    "S2kCount",
    "Signed",
    "SkippedKey",
    "backup_address",
    "open_backup",
    "open_message",
    "prepare_backup_node",
    "publish_backup",
    "restore",
    "seal_backup",
    "seal_message",
    "withdraw_backup",
]
