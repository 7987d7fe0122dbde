"""The elements of OpenPGP for XMPP (XEP-0373 0.7.0) as values, and their XML.

Rule: shape only. What a signature or a key proves is decided in ``account.py`` and ``keys.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import decode_base64, encode_base64, format_time, parse_time
from e2ee.names import BareJid, Fingerprint, Jid, NodeAddress, parse_fingerprint
from e2ee.xmltree import Element, element

__all__ = [
    "FEATURES",
    "METADATA_NODE",
    "Content",
    "ContentKind",
    "PublicKeyMetadata",
    "PublicKeysList",
    "data_node",
    "metadata_address",
    "read_openpgp",
    "read_pubkey",
    "write_openpgp",
    "write_pubkey",
]

FEATURES: Final = (f"{ns.OX}:public-keys+notify",)
"""Service discovery features that a client using this package announces (XEP-0373 §4.5)."""

METADATA_NODE: Final = f"{ns.OX}:public-keys"
"""The PEP node that lists the fingerprints of an account's keys (XEP-0373 §4.2)."""

_RULE: Final = "XEP-0373 §3.1"
_OFFSET_WITHOUT_COLON: Final = re.compile(r"([+-]\d{2})(\d{2})\Z")


def data_node(fingerprint: Fingerprint) -> str:
    """Return the name of the PEP node that holds one public key (XEP-0373 §4.1)."""
    return f"{METADATA_NODE}:{fingerprint}"


def metadata_address(jid: BareJid) -> NodeAddress:
    """Return where ``jid`` announces its keys (XEP-0373 §4.2)."""
    return NodeAddress(jid, METADATA_NODE)


def write_openpgp(message: bytes) -> Element:
    """Wrap a binary OpenPGP message in ``<openpgp/>`` (XEP-0373 §3.1)."""
    return element(ns.OX, "openpgp", None, encode_base64(message))


def read_openpgp(source: Element) -> bytes:
    """Return the binary OpenPGP message of ``<openpgp/>``.

    Raises:
        PeerMisbehaved: ``malformed`` when it is another element or not base64.
    """
    _expect(source, "openpgp")
    return decode_base64(source.leaf_text(_RULE), _RULE)


class ContentKind(StrEnum):
    """The three content elements, each by its name (XEP-0373 §3.1)."""

    SIGNCRYPT = "signcrypt"
    SIGN = "sign"
    CRYPT = "crypt"


@dataclass(frozen=True, slots=True)
class Content:
    """A content element: ``<signcrypt/>``, ``<sign/>`` or ``<crypt/>`` (XEP-0373 §3.1).

    Attributes:
        kind: which of them.
        to: bare JIDs of the intended recipients, as written; at least one but in ``<crypt/>``,
            where we write none.
        time: when it was signed or encrypted, aware.
        payload: the secured extension elements.
        padding: the text of ``<rpad/>``; ``None`` where there is none.
    """

    kind: ContentKind
    to: tuple[BareJid, ...]
    time: datetime
    payload: tuple[Element, ...] = field(repr=False)
    padding: str | None = field(default=None, repr=False)

    def to_xml(self) -> Element:
        """Return the element; stamps are written in seconds and ``Z``."""
        padding = () if self.padding is None else (self._padding_element(),)
        return element(
            ns.OX,
            self.kind,
            None,
            *(element(ns.OX, "to", {"jid": str(jid)}) for jid in self.to),
            element(ns.OX, "time", {"stamp": format_time(self.time)}),
            *padding,
            element(ns.OX, "payload", None, *self.payload),
        )

    def _padding_element(self) -> Element:
        return element(ns.OX, "rpad", None, *([self.padding] if self.padding else []))

    @classmethod
    def from_xml(cls, source: Element, kind: ContentKind) -> Content:
        """Read a content element; unknown children are ignored.

        Args:
            source: the element.
            kind: which one it must be, by what OpenPGP did to it.

        Raises:
            PeerMisbehaved: ``forbidden`` for another content element; ``malformed``.
        """
        if source.namespace == ns.OX and source.name in set(ContentKind) - {kind}:
            raise PeerMisbehaved(
                ErrorCode.FORBIDDEN, f"<{source.name}/> where <{kind}/> is required", rule=_RULE
            )
        _expect(source, kind)
        recipients = source.find_all(ns.OX, "to")
        if not recipients and kind is not ContentKind.CRYPT:
            raise PeerMisbehaved(ErrorCode.MALFORMED, f"<{kind}/> without <to/>", rule=_RULE)
        padding = source.optional(ns.OX, "rpad", rule=_RULE)
        payload = source.only(ns.OX, "payload", rule=_RULE).elements
        if any(not child.namespace for child in payload):
            raise PeerMisbehaved(
                ErrorCode.MALFORMED, "a payload element without a namespace", rule=_RULE
            )
        return cls(
            kind=kind,
            to=tuple(Jid.parse(child.require("jid", rule=_RULE)).bare for child in recipients),
            time=_read_stamp(source.only(ns.OX, "time", rule=_RULE).require("stamp", rule=_RULE)),
            payload=payload,
            padding=None if padding is None else padding.text,
        )


def write_pubkey(raw: bytes) -> Element:
    """Wrap a binary public key in ``<pubkey/>`` (XEP-0373 §4.1)."""
    return element(ns.OX, "pubkey", None, element(ns.OX, "data", None, encode_base64(raw)))


def read_pubkey(source: Element) -> bytes:
    """Return the binary public key of ``<pubkey/>``.

    Raises:
        PeerMisbehaved: ``malformed``; ``limit-exceeded`` for an oversized key.
    """
    rule = "XEP-0373 §4.1"
    _expect(source, "pubkey")
    raw = decode_base64(source.only(ns.OX, "data", rule=rule).leaf_text(rule), rule)
    if len(raw) > limits.MAX_CERTIFICATE_BYTES:
        raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "an oversized public key", rule=rule)
    return raw


@dataclass(frozen=True, slots=True)
class PublicKeyMetadata:
    """One announced key: its fingerprint and when it was published or updated, aware."""

    fingerprint: Fingerprint
    date: datetime


@dataclass(frozen=True, slots=True)
class PublicKeysList:
    """The content of the metadata node: ``<public-keys-list/>`` (XEP-0373 §4.2)."""

    keys: tuple[PublicKeyMetadata, ...]

    def to_xml(self) -> Element:
        """Return the element."""
        return element(
            ns.OX,
            "public-keys-list",
            None,
            *(
                element(
                    ns.OX,
                    "pubkey-metadata",
                    {"v4-fingerprint": key.fingerprint, "date": format_time(key.date)},
                )
                for key in self.keys
            ),
        )

    @classmethod
    def from_xml(cls, source: Element) -> PublicKeysList:
        """Read the list.

        Raises:
            PeerMisbehaved: ``malformed``, also for a fingerprint that occurs twice;
                ``limit-exceeded`` for more than ``MAX_PUBLIC_KEYS`` keys.
        """
        rule = "XEP-0373 §4.2"
        _expect(source, "public-keys-list")
        entries = source.find_all(ns.OX, "pubkey-metadata")
        if len(entries) > limits.MAX_PUBLIC_KEYS:
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "too many announced keys", rule=rule)
        keys = tuple(
            PublicKeyMetadata(
                parse_fingerprint(entry.require("v4-fingerprint", rule=rule)),
                _read_stamp(entry.require("date", rule=rule)),
            )
            for entry in entries
        )
        if len({key.fingerprint for key in keys}) != len(keys):
            raise PeerMisbehaved(ErrorCode.MALFORMED, "a fingerprint listed twice", rule=rule)
        return cls(keys)


def _expect(source: Element, name: str) -> None:
    if not source.is_(ns.OX, name):
        raise PeerMisbehaved(ErrorCode.MALFORMED, f"not <{name} xmlns='{ns.OX}'/>", rule=_RULE)


def _read_stamp(text: str) -> datetime:
    # Profanity writes +0000, which XEP-0082 does not allow; Gajim reads it, so must we.
    return parse_time(_OFFSET_WITHOUT_COLON.sub(r"\1:\2", text))
