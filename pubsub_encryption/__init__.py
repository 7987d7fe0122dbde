"""Encrypted pubsub nodes (XEP-0473): shared secrets that are shared, rotated and revoked.

Rule: re-exports only.
"""

from pubsub_encryption.attachments import (
    OpenedAttachments,
    decrypt_attachments,
    decrypt_many_attachments,
    encrypt_attachments,
)
from pubsub_encryption.elements import EncryptedItem, Reason, Revoke, SharedSecret
from pubsub_encryption.items import Authorship, ClearItem, ItemResult, OpenedItem, UnreadableItem
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node import FEATURES, NodeEncryption
from pubsub_encryption.node_secret import NodeSecret, SecretState
from pubsub_encryption.rotation import Rotation
from pubsub_encryption.sharing import known_nodes, receive

__all__ = [
    "FEATURES",
    "Authorship",
    "ClearItem",
    "EncryptedItem",
    "ItemResult",
    "Keychain",
    "NodeEncryption",
    "NodeSecret",
    "OpenedAttachments",
    "OpenedItem",
    "Reason",
    "Revoke",
    "Rotation",
    "SecretState",
    "SharedSecret",
    "UnreadableItem",
    "decrypt_attachments",
    "decrypt_many_attachments",
    "encrypt_attachments",
    "known_nodes",
    "receive",
]
