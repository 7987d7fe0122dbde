"""The names of things: addresses, nodes, items, secrets, keys.

Rule: a name is checked once, when it is made; afterwards it is compared as it is. No XML, no I/O.
JIDs are prepared per RFC 7622 by ``precis-i18n`` (localpart, resourcepart) and ``idna`` (domain).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NewType

import idna
from precis_i18n import get_profile

from e2ee import limits
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.xmlnames import NOT_CHAR

__all__ = [
    "BareJid",
    "Fetch",
    "Fingerprint",
    "ItemId",
    "ItemPlace",
    "Jid",
    "NodeAddress",
    "SecretId",
    "parse_fingerprint",
]

ItemId = NewType("ItemId", str)
"""The id of a pubsub item (XEP-0060 §7.1): opaque, compared as it is."""

SecretId = NewType("SecretId", str)
"""The id of a node's shared secret (XEP-0473 §5.1): opaque, compared as it is."""

Fingerprint = NewType("Fingerprint", str)
"""An OpenPGP v4 fingerprint of a primary key: 40 upper-case hexadecimal digits (XEP-0373 §4.1)."""

_MAX_PART_BYTES: Final = 1023  # RFC 7622 §3.1: each part, in UTF-8
_LOCALPART: Final = get_profile("UsernameCaseMapped")  # RFC 7622 §3.3
_RESOURCE: Final = get_profile("OpaqueString")  # RFC 7622 §3.4
_LOCALPART_EXCLUDED: Final = frozenset("\"&'/:<>@")  # RFC 7622 §3.3.1
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 5891 §4.4, in ASCII
_MAX_DOMAIN: Final = 253  # characters of a domain name (RFC 1035 §2.3.4); idna bounds A-labels
_NO_DOMAIN: Final = "JID whose domainpart is not a domain name"
_FINGERPRINT: Final = re.compile(r"[0-9A-F]{40}\Z")


def _malformed(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.MALFORMED, what, rule="RFC 7622 §3")


def _bounded(part: str, name: str) -> str:
    if not 1 <= len(part.encode("utf-8", "surrogatepass")) <= _MAX_PART_BYTES:
        raise _malformed(f"JID with a {name} of zero or more than {_MAX_PART_BYTES} bytes")
    return part


def _domain(text: str) -> str:
    _bounded(text, "domainpart")
    if text.startswith("["):
        return _ip_literal(text)
    name = text.lower()
    if not text.isascii() or "xn--" in name:
        try:
            name = idna.decode(idna.encode(text, uts46=True))
        except (idna.IDNAError, UnicodeError):
            raise _malformed(_NO_DOMAIN) from None
    name = name.removesuffix(".")  # RFC 7622 §3.2.1
    if len(name) > _MAX_DOMAIN or (
        name.isascii() and not all(map(_LABEL.fullmatch, name.split(".")))
    ):
        raise _malformed(_NO_DOMAIN)
    return _bounded(name, "domainpart")


def _ip_literal(text: str) -> str:
    try:
        if "%" in text or not text.endswith("]"):  # a zone is no part of an address
            raise _malformed(_NO_DOMAIN)
        return f"[{ipaddress.IPv6Address(text[1:-1])}]"
    except ValueError:
        raise _malformed(_NO_DOMAIN) from None


def _local(text: str) -> str:
    _bounded(text, "localpart")
    try:
        prepared: str = _LOCALPART.enforce(text)
    except UnicodeError:
        raise _malformed("JID whose localpart has a forbidden character") from None
    if _LOCALPART_EXCLUDED & set(prepared):
        raise _malformed("JID whose localpart has a forbidden character")
    return _bounded(prepared, "localpart")


def _resource(text: str) -> str:
    _bounded(text, "resourcepart")
    try:
        prepared: str = _RESOURCE.enforce(text)
    except UnicodeError:
        raise _malformed("JID whose resourcepart has a forbidden character") from None
    return _bounded(prepared, "resourcepart")


@dataclass(frozen=True, slots=True, order=True)
class BareJid:
    """A JID without a resource, prepared for comparison; make it with :meth:`parse`."""

    domain: str
    local: str = ""

    @classmethod
    def parse(cls, text: str) -> BareJid:
        """Prepare ``text`` as a bare JID (RFC 7622).

        Raises:
            PeerMisbehaved: ``malformed`` when it is no JID, or has a resource.
        """
        jid = Jid.parse(text)
        if jid.resource:
            raise _malformed("a bare JID is required; this one has a resource")
        return jid.bare

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.local else self.domain


@dataclass(frozen=True, slots=True, order=True)
class Jid:
    """A JID with or without a resource, prepared for comparison; make it with :meth:`parse`."""

    bare: BareJid
    resource: str = ""

    @classmethod
    def parse(cls, text: str) -> Jid:
        """Prepare ``text`` as a JID (RFC 7622).

        Raises:
            PeerMisbehaved: ``malformed`` when it is no JID.
        """
        return _parse(text)

    def __str__(self) -> str:
        return f"{self.bare}/{self.resource}" if self.resource else str(self.bare)


@lru_cache(maxsize=4096)  # preparation costs about 20 µs, and the same few JIDs come again
def _parse(text: str) -> Jid:
    address, slash, resource = text.partition("/")
    local, at, domain = address.rpartition("@")
    if at and "@" in local:
        raise _malformed("JID with more than one @ before its resource")
    return Jid(
        BareJid(_domain(domain), _local(local) if at else ""),
        _resource(resource) if slash else "",
    )


@dataclass(frozen=True, slots=True, order=True)
class NodeAddress:
    """A pubsub node: the service's bare JID and the node's name, compared as it is.

    Raises:
        PeerMisbehaved: ``malformed`` for a name that is empty, oversized or no text.
    """

    service: BareJid
    node: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.node) <= limits.MAX_NODE_CHARS or NOT_CHAR.search(self.node):
            raise PeerMisbehaved(
                ErrorCode.MALFORMED, "a node without a proper name", rule="XEP-0060 §12.12"
            )

    def __str__(self) -> str:
        return f"{self.node} at {self.service}"


@dataclass(frozen=True, slots=True, order=True)
class ItemPlace:
    """Where an item stands: its node and its id, compared as it is.

    Raises:
        PeerMisbehaved: ``malformed`` for an id that is empty, oversized or no text.
    """

    node: NodeAddress
    item_id: ItemId

    def __post_init__(self) -> None:
        if not 1 <= len(self.item_id) <= limits.MAX_ITEM_ID_CHARS or NOT_CHAR.search(self.item_id):
            raise PeerMisbehaved(
                ErrorCode.MALFORMED, "an item without a proper id", rule="XEP-0060 §12.8"
            )

    def __str__(self) -> str:
        return f"{self.item_id} in {self.node}"


@dataclass(frozen=True, slots=True)
class Fetch:
    """A need: fetch this from pubsub and feed the answer.

    ``item_id`` is ``None`` for the most recent item.
    """

    address: NodeAddress
    item_id: ItemId | None = None


def parse_fingerprint(text: str) -> Fingerprint:
    """Check an OpenPGP v4 fingerprint string: 40 upper-case hexadecimal digits (XEP-0373 §4.1).

    Raises:
        PeerMisbehaved: ``malformed`` when it is anything else.
    """
    if not _FINGERPRINT.match(text):
        raise PeerMisbehaved(
            ErrorCode.MALFORMED, "not an OpenPGP v4 fingerprint string", rule="XEP-0373 §4.1"
        )
    return Fingerprint(text)
