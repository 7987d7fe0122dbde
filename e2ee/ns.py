"""Every XML namespace this project speaks, each once, with the version of its specification.

Rule: constants only, never a registry; a new one is added here and nowhere else.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADDRESS",
    "ATOM",
    "CARBONS",
    "CLIENT",
    "DATA_FORMS",
    "DELAY",
    "DISCO_INFO",
    "EME",
    "FORWARD",
    "HINTS",
    "MAM",
    "MUC",
    "MUC_ADMIN",
    "MUC_USER",
    "OMEMO_2",
    "OMEMO_LEGACY",
    "OX",
    "OX_IM",
    "OX_PUBSUB",
    "PGP_LEGACY",
    "PTE",
    "PUBSUB",
    "PUBSUB_ATTACHMENTS",
    "PUBSUB_ATTACHMENTS_SUMMARY",
    "PUBSUB_ERRORS",
    "PUBSUB_EVENT",
    "PUBSUB_NODE_CONFIG",
    "PUBSUB_OWNER",
    "PUBSUB_PUBLISH_OPTIONS",
    "PUBSUB_SIGNATURE",
    "PUBSUB_SIGNING",
    "PUBSUB_SIGNING_OPENPGP",
    "RSM",
    "SCE",
    "SERVER",
    "SID",
    "STANZAS",
    "XML",
    "XMLNS",
]

XML: Final = "http://www.w3.org/XML/1998/namespace"  # Namespaces in XML 1.0
XMLNS: Final = "http://www.w3.org/2000/xmlns/"  # Namespaces in XML 1.0
CLIENT: Final = "jabber:client"  # RFC 6120
SERVER: Final = "jabber:server"  # RFC 6120
ATOM: Final = "http://www.w3.org/2005/Atom"  # RFC 4287
DATA_FORMS: Final = "jabber:x:data"  # XEP-0004 2.13.2
STANZAS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"  # RFC 6120 §8.3.3
PGP_LEGACY: Final = "jabber:x:encrypted"  # XEP-0027 1.4
DISCO_INFO: Final = "http://jabber.org/protocol/disco#info"  # XEP-0030 2.5.0
MUC: Final = "http://jabber.org/protocol/muc"  # XEP-0045 1.35.1
MUC_USER: Final = "http://jabber.org/protocol/muc#user"  # XEP-0045 1.35.1
MUC_ADMIN: Final = "http://jabber.org/protocol/muc#admin"  # XEP-0045 1.35.1
ADDRESS: Final = "http://jabber.org/protocol/address"  # XEP-0033 1.2.1
RSM: Final = "http://jabber.org/protocol/rsm"  # XEP-0059 1.0.1
PUBSUB: Final = "http://jabber.org/protocol/pubsub"  # XEP-0060 1.30.0
PUBSUB_ERRORS: Final = "http://jabber.org/protocol/pubsub#errors"  # XEP-0060 1.30.0
PUBSUB_EVENT: Final = "http://jabber.org/protocol/pubsub#event"  # XEP-0060 1.30.0
PUBSUB_OWNER: Final = "http://jabber.org/protocol/pubsub#owner"  # XEP-0060 1.30.0
PUBSUB_NODE_CONFIG: Final = "http://jabber.org/protocol/pubsub#node_config"  # XEP-0060 1.30.0
PUBSUB_PUBLISH_OPTIONS: Final = "http://jabber.org/protocol/pubsub#publish-options"  # XEP-0060
DELAY: Final = "urn:xmpp:delay"  # XEP-0203 2.0
CARBONS: Final = "urn:xmpp:carbons:2"  # XEP-0280 1.0.1
FORWARD: Final = "urn:xmpp:forward:0"  # XEP-0297 1.0
MAM: Final = "urn:xmpp:mam:2"  # XEP-0313 1.1.3
HINTS: Final = "urn:xmpp:hints"  # XEP-0334 1.0.0
SID: Final = "urn:xmpp:sid:0"  # XEP-0359 0.7.0
OX: Final = "urn:xmpp:openpgp:0"  # XEP-0373 0.7.0
OX_IM: Final = "urn:xmpp:openpgp:im:0"  # XEP-0374 0.2.0
EME: Final = "urn:xmpp:eme:0"  # XEP-0380 0.4.0
OMEMO_2: Final = "urn:xmpp:omemo:2"  # XEP-0384 0.9.1
OMEMO_LEGACY: Final = "eu.siacs.conversations.axolotl"  # XEP-0384 0.2.2
SCE: Final = "urn:xmpp:sce:1"  # XEP-0420 0.5.0
PUBSUB_ATTACHMENTS: Final = "urn:xmpp:pubsub-attachments:1"  # XEP-0470 0.2.0
PUBSUB_ATTACHMENTS_SUMMARY: Final = "urn:xmpp:pubsub-attachments:summary:1"  # XEP-0470 0.2.0
OX_PUBSUB: Final = "urn:xmpp:openpgp:pubsub:0"  # XEP-0473 0.1.1
PUBSUB_SIGNING: Final = "urn:xmpp:pubsub-signing:0"  # XEP-0475 0.1.0
PUBSUB_SIGNATURE: Final = "urn:xmpp:pubsub-signature:0"  # XEP-0475 0.1.0 §5, its prose alone
PUBSUB_SIGNING_OPENPGP: Final = "urn:xmpp:pubsub-signing:openpgp:0"  # XEP-0476 0.1.0
PTE: Final = "urn:xmpp:pte:0"  # XEP-0477 0.1.0
