"""The ground floor: names, errors, secrets, XML, envelopes, trust, stores and effects.

Rule: re-exports only. Stores stand apart, in ``e2ee.stores``; they do I/O.
"""

from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import (
    Affiliate,
    Affiliation,
    Configure,
    Create,
    Delete,
    Effect,
    NodeConfig,
    Publish,
    Retract,
    Send,
    Subscribe,
    Unsubscribe,
    fulfilled,
    remedy,
)
from e2ee.errors import (
    ApiMisuse,
    CannotDecrypt,
    DataMissing,
    E2eeError,
    EngineFailed,
    ErrorCode,
    PeerMisbehaved,
    SecretMissing,
    StoreFailed,
    TrustUndecided,
)
from e2ee.key_events import KeyEvent, KeyEvents, KeyNews
from e2ee.names import BareJid, Fetch, Fingerprint, ItemId, Jid, NodeAddress, SecretId
from e2ee.outbox import Job, Outbox, Refused
from e2ee.ports import Clock, Ports, Primitives
from e2ee.primitives import NativePrimitives
from e2ee.search import Document, Forgotten, Hit, Query, is_searchable
from e2ee.secret import Secret
from e2ee.trust import (
    BlindTrustBeforeVerification,
    BlindTrustOnFirstSight,
    ManualTrust,
    Trust,
    TrustPolicy,
)
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml

__all__ = [
    "ApiMisuse",
    "Affiliate",
    "Affiliation",
    "Arrival",
    "Attribute",
    "BareJid",
    "BlindTrustBeforeVerification",
    "BlindTrustOnFirstSight",
    "CannotDecrypt",
    "Clock",
    "Configure",
    "Create",
    "DataMissing",
    "Delete",
    "Document",
    "E2eeError",
    "Effect",
    "Element",
    "EngineFailed",
    "ErrorCode",
    "Fetch",
    "Fingerprint",
    "Forgotten",
    "Hit",
    "ItemId",
    "Jid",
    "Job",
    "KeyEvent",
    "KeyEvents",
    "KeyNews",
    "ManualTrust",
    "NativePrimitives",
    "NodeAddress",
    "NodeConfig",
    "Outbox",
    "PeerMisbehaved",
    "Ports",
    "Primitives",
    "Publish",
    "Query",
    "Refused",
    "Retract",
    "Secret",
    "SecretId",
    "SecretMissing",
    "Send",
    "StanzaKind",
    "StoreFailed",
    "Subscribe",
    "Trust",
    "TrustPolicy",
    "TrustUndecided",
    "Unsubscribe",
    "element",
    "fulfilled",
    "is_searchable",
    "parse_xml",
    "remedy",
    "write_xml",
]
