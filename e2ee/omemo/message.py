"""The encrypted element of OMEMO: a payload for all, and for each device the key to it; its XML.

Rule: a value and its codec. Of what arrives only our part is read strictly: nobody can spoil our
message by a broken key for somebody else. What a key says is for the engine to read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize

from e2ee import limits
from e2ee.errors import PeerMisbehaved
from e2ee.lexical import decode_base64, encode_base64, parse_boolean
from e2ee.names import BareJid
from e2ee.omemo.device import Device, DeviceId, parse_device_id
from e2ee.omemo.engine import Payload
from e2ee.omemo.reading import misshapen, octets, too_many, version_of
from e2ee.omemo.version import Version
from e2ee.xmltree import Element, element

__all__ = ["DeviceKey", "EncryptedMessage", "ReceivedMessage", "read_encrypted"]

_ROOTS: Final = dict.fromkeys(Version, "encrypted")
_RULES: Final = {Version.TWO: "XEP-0384 §5.5", Version.LEGACY: "XEP-0384 0.2.2 §4.5"}
_EXCHANGE: Final = {Version.TWO: "kex", Version.LEGACY: "prekey"}
_IV_LENGTHS: Final = (12, 16)


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The key material for one device, encrypted with its session.

    Attributes:
        rid: of the device.
        data: the message of its ratchet, with a key exchange around it where there is one.
        kex: whether there is one.
    """

    rid: DeviceId
    data: bytes
    kex: bool = False


@dataclass(frozen=True, slots=True)
class EncryptedMessage:
    """An encrypted element that we send (XEP-0384 §5.5; legacy: 0.2.2 §4.5).

    Attributes:
        version: of which version.
        sid: our device's id.
        keys: for each account those of its devices, one at least; in the legacy version, which
            does not say whose they are, all of them under ``None``.
        payload: what is encrypted; ``None`` in an empty message.
        iv: of a legacy message without payload, 12 bytes; a payload has its own.
    """

    version: Version
    sid: DeviceId
    keys: Mapping[BareJid | None, tuple[DeviceKey, ...]]
    payload: Payload | None
    iv: bytes | None = None

    def to_xml(self) -> Element:
        """Return the element."""
        header = element(self.version, "header", {"sid": str(self.sid)}, *self._header())
        if self.payload is None:
            return element(self.version, "encrypted", None, header)
        ciphertext = encode_base64(self.payload.ciphertext)
        payload = element(self.version, "payload", None, ciphertext)
        return element(self.version, "encrypted", None, header, payload)

    def _header(self) -> Iterator[Element]:
        for jid, keys in self.keys.items():
            written = [self._key(key) for key in keys]
            if jid is None:
                yield from written
            else:
                yield element(self.version, "keys", {"jid": str(jid)}, *written)
        iv = self.iv if self.payload is None else self.payload.iv
        if iv is not None:
            yield element(self.version, "iv", None, encode_base64(iv))

    def _key(self, key: DeviceKey) -> Element:
        # To some its presence alone means a key exchange, so "false" is never written.
        kex = {_EXCHANGE[self.version]: "true"} if key.kex else {}
        return element(self.version, "key", {"rid": str(key.rid), **kex}, encode_base64(key.data))


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """What an encrypted element has for our device; nothing of it is authenticated.

    Attributes:
        version: of which version.
        sid: the id of the device that claims to have sent it.
        key: the one for our device; ``None``: it is not for us.
        payload: what is encrypted; ``None``: it is an empty message, or transports a key.
        iv: of a legacy message without payload, 12 or 16 bytes; a payload has its own.
    """

    version: Version
    sid: DeviceId
    key: DeviceKey | None
    payload: Payload | None
    iv: bytes | None = None


def read_encrypted(source: Element, own: Device) -> ReceivedMessage:
    """Read an encrypted element of either version; what is unknown in it is ignored.

    Keys are ignored, however broken, when they are for another device or account. So is an account
    that is no JID. Who else can read it is not told: the network can take their keys away.

    Args:
        source: the element.
        own: our device.

    Raises:
        PeerMisbehaved: ``malformed``: two keys for our device, or one that is empty; a payload
            that is there and empty; ``limit-exceeded``: more than ``limits.MAX_MESSAGE_KEYS`` keys
            or accounts, ``limits.MAX_MESSAGE_JID_CHARS`` characters of JIDs, or
            ``limits.MAX_DEVICE_KEY_BYTES`` of our key.
    """
    version = version_of(source, _ROOTS)
    rule = _RULES[version]
    header = source.only(version, "header", rule)
    sid = parse_device_id(header.require("sid", rule), rule)
    if version is Version.TWO:
        ours, total = _addressed(header, own.jid, rule)
        iv = None
    else:
        ours = header.find_all(version, "key")
        total = len(ours)
        iv = octets(header.only(version, "iv", rule), _IV_LENGTHS, rule)
    if total > limits.MAX_MESSAGE_KEYS:
        raise too_many("keys in one message", rule)
    mine = [holder for holder in ours if _rid(holder) == own.id]
    if len(mine) > 1:
        raise misshapen("two keys for one device", rule)
    holder = source.optional(version, "payload", rule)
    payload = None if holder is None else Payload(_filled(holder, rule), iv)
    return ReceivedMessage(
        version,
        sid,
        _read_key(mine[0], version, own.id, rule) if mine else None,
        payload,
        iv if payload is None else None,
    )


def _addressed(header: Element, own: BareJid, rule: str) -> tuple[tuple[Element, ...], int]:
    """Return the keys for our account, and the number of all keys (version 2)."""
    accounts = header.find_all(Version.TWO, "keys")
    names = [account.get("jid") or "" for account in accounts]
    if len(names) > limits.MAX_MESSAGE_KEYS or sum(map(len, names)) > limits.MAX_MESSAGE_JID_CHARS:
        raise too_many("accounts in one message", rule)
    keys = [account.find_all(Version.TWO, "key") for account in accounts]
    ours = [found for name, found in zip(names, keys, strict=True) if _names(name, own)]
    if len(ours) > 1:
        raise misshapen("two <keys/> for one account", rule)
    return ours[0] if ours else (), sum(map(len, keys))


def _names(text: str, own: BareJid) -> bool:
    """Say whether a JID is ours; to prepare all that are not would take half a second."""
    folded = _folded(text)
    is_likely = folded == _folded(str(own)) or ("xn--" in folded and not own.domain.isascii())
    return is_likely and _jid(text) == own


def _folded(jid: str) -> str:
    return normalize("NFKC", normalize("NFKC", jid).casefold()).removesuffix(".")


def _jid(text: str) -> BareJid | None:
    try:
        return BareJid.parse(text)
    except PeerMisbehaved:
        return None


def _rid(holder: Element) -> DeviceId | None:
    try:
        return parse_device_id(holder.require("rid"))
    except PeerMisbehaved:
        return None


def _read_key(holder: Element, version: Version, rid: DeviceId, rule: str) -> DeviceKey:
    kex = holder.get(_EXCHANGE[version])
    data = _filled(holder, rule)
    if len(data) > limits.MAX_DEVICE_KEY_BYTES:
        raise too_many("bytes in a key", rule)
    return DeviceKey(rid, data, kex is not None and parse_boolean(kex, rule))


def _filled(holder: Element, rule: str) -> bytes:
    raw = decode_base64(holder.leaf_text(rule), rule)
    if not raw:
        raise misshapen(f"<{holder.name}/> that is empty", rule)
    return raw
