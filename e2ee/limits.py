"""Every bound that hostile input meets, with its unit and its reason.

Rule: a bound is a constant here, checked where input crosses a boundary; none can be switched off.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

__all__ = [
    "MAX_AEAD_CHUNKS",
    "MAX_ARCHIVED_SESSIONS",
    "MAX_ARGON2_LANES",
    "MAX_ARGON2_MEMORY",
    "MAX_ARGON2_PASSES",
    "MAX_ATTACHMENTS_PER_ITEM",
    "MAX_ATTACHMENT_NODES",
    "MAX_ATTRIBUTES",
    "MAX_BACKUP_KEYS",
    "MAX_BUNDLE_FETCHES",
    "MAX_CATEGORIES",
    "MAX_CERTIFICATE_BYTES",
    "MAX_CERTIFICATE_PACKETS",
    "MAX_CERTIFICATE_USER_IDS",
    "MAX_CLOCK_SKEW",
    "MAX_DECLARATIONS",
    "MAX_DEPTH",
    "MAX_DEVICES",
    "MAX_DEVICE_KEY_BYTES",
    "MAX_DOCUMENT_CHARS",
    "MAX_DOCUMENT_NAME_CHARS",
    "MAX_ELEMENTS",
    "MAX_ENCRYPTION_KEYS",
    "MAX_ENVELOPE_AGE",
    "MAX_EXPANSION",
    "MAX_HISTORY_ITEMS",
    "MAX_HITS",
    "MAX_ITEM_ID_CHARS",
    "MAX_KEY_RING_BYTES",
    "MAX_LABEL_CHARS",
    "MAX_MESSAGE_BYTES",
    "MAX_MESSAGE_JID_CHARS",
    "MAX_MESSAGE_KEYS",
    "MAX_NAME_BYTES",
    "MAX_NODES_PER_SERVICE",
    "MAX_NODE_CHARS",
    "MAX_OX_AGE",
    "MAX_PAYLOAD_DEPTH",
    "MAX_PKESK",
    "MAX_PLAINTEXT_BYTES",
    "MAX_PRE_KEYS",
    "MAX_PRIVATE_OPERATIONS",
    "MAX_PUBLIC_KEYS",
    "MAX_QUERY_CHARS",
    "MAX_QUERY_TERMS",
    "MAX_REACTIONS",
    "MAX_REACTION_CHARS",
    "MAX_RELATIVE_NAMESPACES",
    "MAX_RSA_BITS",
    "MAX_RSA_EXPONENT_BITS",
    "MAX_SECRETS_PER_MESSAGE",
    "MAX_SECRETS_PER_NODE",
    "MAX_SECRET_BYTES",
    "MAX_SECRET_ID_CHARS",
    "MAX_SIGNATURES",
    "MAX_SIGNATURES_PER_ITEM",
    "MAX_SIGNATURE_PACKETS",
    "MAX_SIGNERS",
    "MAX_SKESK",
    "MAX_SKIPPED",
    "MAX_SKIPPED_CHAINS",
    "MAX_SKIPPED_KEYS",
    "MAX_TEXT_BYTES",
    "MAX_TYPE_CHARS",
    "MAX_VALUE_BYTES",
    "MAX_XML_BYTES",
    "MIN_EXPANSION_BYTES",
    "MIN_RSA_BITS",
    "MIN_SECRET_CHARS",
    "MIN_UNSTRETCHED_SECRET_CHARS",
]

# XML (RFC 6120 stanzas; the decrypted document is bounded the same way)
MAX_XML_BYTES: Final = 4 * 1024 * 1024  # bytes before parsing; servers stop far below
MAX_DEPTH: Final = 64  # nested elements; also bounds every recursion over a tree
MAX_PAYLOAD_DEPTH: Final = MAX_DEPTH - 2  # of an item: <item/> is around it, and <sign-data/>
MAX_ELEMENTS: Final = 10_000  # elements in one document
MAX_ATTRIBUTES: Final = 64  # attributes on one element
MAX_DECLARATIONS: Final = 64  # namespace declarations on one element
MAX_TEXT_BYTES: Final = 1024 * 1024  # UTF-8 bytes of one run of text or one attribute value
MAX_NAME_BYTES: Final = 1024  # UTF-8 bytes of one element, attribute, prefix or namespace name
MAX_RELATIVE_NAMESPACES: Final = 64  # declarations without a scheme, in one document; see xmlparse

# Stores
MAX_VALUE_BYTES: Final = 64 * 1024 * 1024  # bytes of one row; PostgreSQL's messages end at 1 GiB

# Search
MAX_DOCUMENT_CHARS: Final = 100_000  # of a title and a text; PostgreSQL indexes 1 MiB of words
MAX_DOCUMENT_NAME_CHARS: Final = 4096  # of an author, a language, a category
MAX_CATEGORIES: Final = 64  # of one document
MAX_QUERY_CHARS: Final = 1024  # of what somebody types in
MAX_QUERY_TERMS: Final = 32  # each is looked up, and intersected with the others
MAX_HITS: Final = 1000  # of one page; each costs a snippet

# OpenPGP
MAX_PLAINTEXT_BYTES: Final = 10 * 1024 * 1024  # bytes out of one message; a stanza never holds more
MAX_MESSAGE_BYTES: Final = 11 * 1024 * 1024  # bytes of one message: its plaintext and all around it
MAX_EXPANSION: Final = 100  # plaintext bytes per compressed byte; real XML stays below 40
MIN_EXPANSION_BYTES: Final = (
    64 * 1024
)  # plaintext bytes allowed whatever the ratio: dull, short XML
MAX_AEAD_CHUNKS: Final = 16 * 1024  # of one container, authenticated one by one; Sequoia's: 4 KiB
MAX_PKESK: Final = 32  # recipients of one message; each hidden one costs a private operation
MAX_PRIVATE_OPERATIONS: Final = 64  # per message; of RSA each hashes the whole container, too
MAX_SKESK: Final = 4  # passphrases of one message; each costs an S2K. Items and backups: exactly 1
MAX_SIGNATURES: Final = 16  # signatures in one message
MAX_CERTIFICATE_BYTES: Final = 256 * 1024  # bytes of one public key; flooded ones cost seconds
MAX_CERTIFICATE_PACKETS: Final = 256  # packets in one certificate
MAX_CERTIFICATE_USER_IDS: Final = 16  # user ids in one certificate; each is verified per use
MAX_ENCRYPTION_KEYS: Final = 4  # subkeys of one certificate that are encrypted to, the newest
MAX_KEY_RING_BYTES: Final = 1024 * 1024  # bytes of all public keys of one JID; read per message
MIN_RSA_BITS: Final = 2048  # bits of a modulus; shorter ones are within reach
MAX_RSA_BITS: Final = 8192  # bits of a modulus; 16384 cost gpg 17 s a signature
MAX_RSA_EXPONENT_BITS: Final = 32  # bits of a public exponent; everyone's is 65537 or less
MAX_PUBLIC_KEYS: Final = 32  # keys that one JID may announce

# XEP-0420
MAX_ENVELOPE_AGE: Final = timedelta(minutes=30)  # from <time/> to arrival: a queue, a tunnel

# XEP-0373 and XEP-0473
MAX_CLOCK_SKEW: Final = timedelta(minutes=5)  # how far in the future a stamp may lie
MAX_OX_AGE: Final = timedelta(days=1)  # between <time/> and the arrival's own stamp
MAX_BACKUP_KEYS: Final = 16  # secret keys in one backup; people have one, and some old ones
MIN_SECRET_CHARS: Final = 32  # XEP-0473 §9 recommends 32; shorter ones never encrypt
MIN_UNSTRETCHED_SECRET_CHARS: Final = 43  # base64url characters of 256 bits; no S2K work is needed
MAX_SECRET_BYTES: Final = 1024  # bytes of one received secret
MAX_SECRET_ID_CHARS: Final = 256  # characters of a secret's id; ours have 22
MAX_NODE_CHARS: Final = 4096  # characters of a node's name; a XEP-0470 node names another one
MAX_ITEM_ID_CHARS: Final = 4096  # characters of an item's id; of XEP-0470 items it is a JID
MAX_TYPE_CHARS: Final = 1024  # characters of a <shared-secret/>'s type
MAX_NODES_PER_SERVICE: Final = 256  # nodes of one service that its owner may share unasked
MAX_SECRETS_PER_MESSAGE: Final = 64  # <shared-secret/> in one payload
MAX_SECRETS_PER_NODE: Final = 1024  # secrets kept for one node, tombstones included

# XEP-0470 and XEP-0475
MAX_REACTIONS: Final = 64  # reactions of one account to one item
MAX_REACTION_CHARS: Final = 64  # characters of one reaction; the longest emojis have some 15
MAX_ATTACHMENT_NODES: Final = 4096  # of one encrypted node; each grant and revocation goes to all
MAX_ATTACHMENTS_PER_ITEM: Final = 1000  # looked through for signatures of nobody in particular
MAX_SIGNERS: Final = 64  # signers of one signature
MAX_SIGNATURES_PER_ITEM: Final = 64  # people whose signatures of one item are looked at
MAX_SIGNATURE_PACKETS: Final = 8  # OpenPGP signatures in one of them: some sign with all their keys
MAX_HISTORY_ITEMS: Final = 100_000  # contents in their places; of the largest node, the unseen go

# Sealed stores: what a seal may ask of whoever unlocks it
MAX_ARGON2_PASSES: Final = 16  # over the memory; ours are 3
MAX_ARGON2_MEMORY: Final = 1024 * 1024  # KiB; ours are 64 MiB, and small devices have 1 GiB
MAX_ARGON2_LANES: Final = 16  # ours are 4

# OMEMO (XEP-0384)
MAX_DEVICES: Final = 128  # devices in one list; each may cost a bundle
MAX_PRE_KEYS: Final = 200  # one-time prekeys in one bundle; everyone has 100
MAX_MESSAGE_KEYS: Final = 2048  # keys in one message: a room of hundreds with all their devices
MAX_MESSAGE_JID_CHARS: Final = 64 * 1024  # of all its recipients; preparing one costs 3 µs each
MAX_DEVICE_KEY_BYTES: Final = 4096  # of one key in a message; real ones have less than 500
MAX_SKIPPED: Final = 1000  # messages of one chain that one message may pass over (§4.3)
MAX_SKIPPED_KEYS: Final = 2000  # message keys kept for one session; the oldest go first
MAX_SKIPPED_CHAINS: Final = 32  # chains of one session of which message keys are kept
MAX_ARCHIVED_SESSIONS: Final = 16  # of one device, kept for what is still on its way
MAX_LABEL_CHARS: Final = 256  # characters of a device's label; §5.3.1 recommends less than 53
MAX_BUNDLE_FETCHES: Final = 20  # bundles of one JID that are asked for within ten minutes
