"""The elements of OpenPGP for XMPP Pubsub (XEP-0473 0.1.1) as values, and their XML.

Rule: shape only. Who may share, what is current and what is revoked is decided in ``keychain.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import (
    decode_base64,
    encode_base64,
    format_time,
    parse_boolean,
    parse_time,
    trim_xml,
)
from e2ee.names import BareJid, NodeAddress, SecretId
from e2ee.secret import Secret
from e2ee.xmltree import Attribute, Element, element

__all__ = ["EncryptedItem", "Reason", "Revoke", "SharedSecret"]


@dataclass(frozen=True, slots=True)
class EncryptedItem:
    """The payload of an encrypted item: parsed, nothing checked (XEP-0473 §5.1).

    Attributes:
        secret_id: the secret that it names.
        ciphertext: a binary OpenPGP message.
    """

    secret_id: SecretId
    ciphertext: bytes = field(repr=False)

    def to_xml(self) -> Element:
        """Return ``<encrypted/>``."""
        return element(
            ns.OX_PUBSUB, "encrypted", {"key": self.secret_id}, encode_base64(self.ciphertext)
        )

    @staticmethod
    def is_encrypted(payload: Element) -> bool:
        """Say whether an item's payload claims to be encrypted with a node secret."""
        return payload.is_(ns.OX_PUBSUB, "encrypted")

    @classmethod
    def from_xml(cls, source: Element) -> EncryptedItem:
        """Read ``<encrypted/>``.

        Raises:
            PeerMisbehaved: ``malformed``.
        """
        rule = "XEP-0473 §5.1"
        _expect(source, "encrypted", rule)
        return cls(_read_id(source, "key", rule), decode_base64(source.leaf_text(rule), rule))


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """``<shared-secret/>``: a secret of a node (XEP-0473 §5.2).

    Attributes:
        address: the node.
        id: the secret's id.
        value: the text between the tags exactly as it stood, UTF-8; white space around it may or
            may not be part of the passphrase (``NodeSecret`` tries both).
        created: when it was generated, aware.
        revoked: whether it came as already revoked.
        type: the ``pubsub#type`` that the node would have in clear; informational.
    """

    address: NodeAddress
    id: SecretId
    value: Secret
    created: datetime
    revoked: bool = False
    type: str | None = field(default=None, repr=False)

    def to_xml(self) -> Element:
        """Return the element; nothing surrounds the secret."""
        attributes = _address_attributes(self.address, self.id)
        attributes["timestamp"] = format_time(self.created)
        if self.revoked:
            attributes["revoked"] = "true"
        if self.type is not None:
            attributes["type"] = self.type
        return element(ns.OX_PUBSUB, "shared-secret", attributes, self.value.reveal().decode())

    @classmethod
    def from_xml(cls, source: Element) -> SharedSecret:
        """Read the element.

        Raises:
            PeerMisbehaved: ``malformed``, also for an empty secret; ``limit-exceeded``.
        """
        rule = "XEP-0473 §5.2"
        _expect(source, "shared-secret", rule)
        text = source.leaf_text(rule)
        if not trim_xml(text):
            raise PeerMisbehaved(ErrorCode.MALFORMED, "a secret that is no text", rule=rule)
        value = text.encode()
        if len(value) > limits.MAX_SECRET_BYTES:
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "an oversized secret", rule=rule)
        if len(source.get("type") or "") > limits.MAX_TYPE_CHARS:
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "an oversized type", rule=rule)
        revoked = source.get("revoked")
        return cls(
            address=_read_address(source, rule),
            id=_read_id(source, "id", rule),
            value=Secret(value),
            created=parse_time(source.require("timestamp", rule=rule)),
            revoked=revoked is not None and parse_boolean(revoked),
            type=source.get("type"),
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a secret was revoked, for people; ``language`` is an xml:lang value or ``""``."""

    text: str = field(repr=False)
    language: str = ""


@dataclass(frozen=True, slots=True)
class Revoke:
    """``<revoke/>``: a secret must not encrypt any more (XEP-0473 §5.3)."""

    address: NodeAddress
    id: SecretId
    reasons: tuple[Reason, ...] = ()

    def to_xml(self) -> Element:
        """Return the element."""
        return element(
            ns.OX_PUBSUB,
            "revoke",
            _address_attributes(self.address, self.id),
            *(_write_reason(reason) for reason in self.reasons),
        )

    @classmethod
    def from_xml(cls, source: Element) -> Revoke:
        """Read the element.

        Raises:
            PeerMisbehaved: ``malformed``, also for two reasons in one language.
        """
        rule = "XEP-0473 §5.3"
        _expect(source, "revoke", rule)
        reasons = tuple(
            Reason(child.text, child.get("lang", ns.XML) or "")
            for child in source.find_all(ns.OX_PUBSUB, "reason")
        )
        if len({reason.language for reason in reasons}) != len(reasons):
            raise PeerMisbehaved(ErrorCode.MALFORMED, "two reasons in one language", rule=rule)
        return cls(_read_address(source, rule), _read_id(source, "id", rule), reasons)


def _write_reason(reason: Reason) -> Element:
    language = (Attribute("lang", reason.language, ns.XML, "xml"),) if reason.language else ()
    return Element(ns.OX_PUBSUB, "reason", language, (reason.text,) if reason.text else ())


def _expect(source: Element, name: str, rule: str) -> None:
    if not source.is_(ns.OX_PUBSUB, name):
        raise PeerMisbehaved(
            ErrorCode.MALFORMED, f"not <{name} xmlns='{ns.OX_PUBSUB}'/>", rule=rule
        )


def _address_attributes(address: NodeAddress, secret_id: SecretId) -> dict[str, str]:
    return {"jid": str(address.service), "node": address.node, "id": secret_id}


def _read_address(source: Element, rule: str) -> NodeAddress:
    service = BareJid.parse(source.require("jid", rule=rule))
    return NodeAddress(service, source.require("node", rule=rule))


def _read_id(source: Element, attribute: str, rule: str) -> SecretId:
    text = source.require(attribute, rule=rule)
    if not 1 <= len(text) <= limits.MAX_SECRET_ID_CHARS:
        raise PeerMisbehaved(ErrorCode.MALFORMED, "an empty or oversized secret id", rule=rule)
    return SecretId(text)
