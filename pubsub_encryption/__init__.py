"""Encrypted pubsub: nodes whose members share secrets (XEP-0473), and single items (XEP-0477).

Rule: re-exports only.
"""

from pubsub_encryption.attachments import (
    OpenedAttachments,
    decrypt_attachments,
    decrypt_many_attachments,
    encrypt_attachments,
)
from pubsub_encryption.cache import FoundItem, ItemCache
from pubsub_encryption.cache_policy import CachePolicy
from pubsub_encryption.cached_item import CachedItem
from pubsub_encryption.elements import EncryptedItem, Reason, Revoke, SharedSecret
from pubsub_encryption.items import Authorship, ClearItem, ItemResult, OpenedItem, UnreadableItem
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node import FEATURES, NodeEncryption
from pubsub_encryption.node_secret import NodeSecret, SecretState
from pubsub_encryption.reading import NodeReader, ReadItem, ReadResult
from pubsub_encryption.rotation import Rotation
from pubsub_encryption.sharing import known_nodes, receive
from pubsub_encryption.targeted import TargetedPayload
from pubsub_encryption.targeted_items import TARGETED_FEATURES, TargetedItem, TargetedItems
from pubsub_encryption.targeted_reading import (
    OpenedTargeted,
    TargetedResult,
    UnreadableTargeted,
)

__all__ = [
    "FEATURES",
    "TARGETED_FEATURES",
    "Authorship",
    "CachePolicy",
    "CachedItem",
    "ClearItem",
    "EncryptedItem",
    "FoundItem",
    "ItemCache",
    "ItemResult",
    "Keychain",
    "NodeEncryption",
    "NodeReader",
    "NodeSecret",
    "OpenedAttachments",
    "OpenedItem",
    "OpenedTargeted",
    "ReadItem",
    "ReadResult",
    "Reason",
    "Revoke",
    "Rotation",
    "SecretState",
    "SharedSecret",
    "TargetedItem",
    "TargetedItems",
    "TargetedPayload",
    "TargetedResult",
    "UnreadableItem",
    "UnreadableTargeted",
    "decrypt_attachments",
    "decrypt_many_attachments",
    "encrypt_attachments",
    "known_nodes",
    "receive",
]
