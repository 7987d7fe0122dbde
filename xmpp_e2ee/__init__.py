"""The roof: a client of the library, an XMPP server in a process to try it on, the command line.

Rule: re-exports only. Everything here may do I/O; nobody below imports it.
"""

from xmpp_e2ee.client import Client, ItemsArrived, SecretsArrived
from xmpp_e2ee.feed import Feed, FeedError, read_feed
from xmpp_e2ee.service import Service, Session
from xmpp_e2ee.transport import IqKind, StanzaRefused, Transport

__all__ = [
    "Client",
    "Feed",
    "FeedError",
    "IqKind",
    "ItemsArrived",
    "SecretsArrived",
    "Service",
    "Session",
    "StanzaRefused",
    "Transport",
    "read_feed",
]
