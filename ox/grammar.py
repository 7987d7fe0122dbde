"""The guard before any engine for messages: which packets make one, and how many (RFC 4880 §11.3).

Rule: one message and nothing around it, decided before a key is tried, a passphrase stretched or an
engine called. Every name, date and format of a literal is somebody's claim and is not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_PKESK, MAX_PLAINTEXT_BYTES, MAX_SIGNATURES, MAX_SKESK
from ox.aead import AeadContainer, read_aead_container
from ox.packets import (
    Cursor,
    Packet,
    Tag,
    first_tag,
    malformed,
    read_packets,
    unsupported,
    write_packet,
)
from ox.pkesk import Pkesk, read_pkesk
from ox.skesk import Skesk, read_skesk

__all__ = [
    "EncryptedMessage",
    "PassphraseMessage",
    "SignedPayload",
    "check_detached_signatures",
    "check_encrypted_message",
    "check_literal",
    "check_passphrase_message",
    "check_signed_payload",
    "check_unsigned_payload",
    "is_in_clear",
]

_RULE: Final = "RFC 4880 §11.3"
_PLAIN: Final = frozenset({Tag.SIGNATURE, Tag.ONE_PASS_SIGNATURE, Tag.COMPRESSED, Tag.LITERAL})
_SESSION_KEYS: Final = frozenset({Tag.PKESK, Tag.SKESK})
_PKESK_VERSIONS: Final = {1: 3, 2: 6}  # by the container's version, RFC 9580 §10.3.2.1
_MOST_INNER: Final = 2 * MAX_SIGNATURES + 1  # packets inside a container
_FORMATS: Final = frozenset(b"btu")  # RFC 9580 §5.9


@dataclass(frozen=True, slots=True)
class EncryptedMessage:
    """A message to keys.

    Attributes:
        recipients: the ways in.
        container: the body of the packet of tag 18 where that has version 1, and what was read of
            it where it has version 2.
    """

    recipients: tuple[Pkesk, ...]
    container: bytes | AeadContainer = field(repr=False)


@dataclass(frozen=True, slots=True)
class PassphraseMessage:
    """A message to one passphrase; its container has version 1.

    Attributes:
        skesk: the way in.
        container: the body of the packet of tag 18.
    """

    skesk: Skesk
    container: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedPayload:
    """What a signed message is made of; its signatures are not verified yet.

    Attributes:
        data: what the literal holds.
        signatures: over it, each a packet framed anew: an engine reads what was checked here.
    """

    data: bytes = field(repr=False)
    signatures: tuple[bytes, ...] = field(repr=False)


def check_encrypted_message(data: bytes) -> EncryptedMessage:
    """Guard a binary message encrypted to keys.

    Passphrases beside the keys are tolerated in version 1, and never used.

    Raises:
        PeerMisbehaved: ``not-encrypted``; ``malformed``; ``limit-exceeded``;
            ``unsupported-algorithm`` for encryption without integrity protection, and for what
            we do not take anywhere, such as Argon2.
    """
    ways_in, container = _split(data, MAX_PKESK + MAX_SKESK)
    pkesks = [packet.body for packet in ways_in if packet.tag == Tag.PKESK]
    skesks = [packet.body for packet in ways_in if packet.tag == Tag.SKESK]
    if len(pkesks) > MAX_PKESK or len(skesks) > MAX_SKESK:
        raise _exceeded(f"more than {MAX_PKESK} recipients or {MAX_SKESK} passphrases")
    version = container[0] if container else 0
    if version not in _PKESK_VERSIONS:
        raise unsupported("container of an unknown version", "RFC 9580 §5.13")
    if not pkesks or any(body[:1] != bytes((_PKESK_VERSIONS[version],)) for body in pkesks):
        raise malformed("message that is not to keys, or in mixed versions", _RULE)
    if version == 1:
        for skesk in skesks:
            read_skesk(skesk)
        return EncryptedMessage(tuple(map(read_pkesk, pkesks)), container)
    if skesks:  # of version 6, which is where Argon2 is at home
        raise unsupported("passphrase beside the keys of a newer container", "RFC 9580 §5.3.2")
    newer = read_aead_container(container)
    return EncryptedMessage(tuple(read_pkesk(body, newer.cipher) for body in pkesks), newer)


def check_passphrase_message(data: bytes) -> PassphraseMessage:
    """Guard a binary message encrypted to exactly one passphrase: an item or a backup.

    Raises:
        PeerMisbehaved: as :func:`check_encrypted_message`; ``malformed`` when it is to keys.
    """
    ways_in, container = _split(data, MAX_SKESK)
    if any(packet.tag == Tag.PKESK for packet in ways_in):
        raise malformed("message to keys where a passphrase must do", "XEP-0473 §5.2")
    if len(ways_in) > 1:
        raise _exceeded("more than one passphrase")
    if container[:1] != b"\x01":
        raise unsupported("container of another version than 1", "RFC 4880 §5.13")
    return PassphraseMessage(read_skesk(ways_in[0].body), container)


def check_signed_payload(data: bytes) -> SignedPayload:
    """Guard what was inside a container, or stands in clear: one literal and its signatures.

    Raises:
        PeerMisbehaved: ``malformed``; ``limit-exceeded``; ``unsupported-algorithm`` for another
            signature version than 4; ``forbidden`` when there is no signature; ``bad-signature``
            for one that is not over a binary document.
    """
    packets = read_packets(data, most=_MOST_INNER, payload=True)
    tags = [packet.tag for packet in packets]
    if tags.count(Tag.LITERAL) != 1:
        raise malformed("signed message with no literal, or several", _RULE)
    count = tags.index(Tag.LITERAL)
    one_pass = [Tag.ONE_PASS_SIGNATURE] * count + [Tag.LITERAL] + [Tag.SIGNATURE] * count
    signatures_first = [Tag.SIGNATURE] * count + [Tag.LITERAL]
    if tags not in (one_pass, signatures_first):
        raise malformed("packets that make no signed message", _RULE)
    if count == 0:
        raise PeerMisbehaved(ErrorCode.FORBIDDEN, "not signed", rule="XEP-0373 §3.1")
    if count > MAX_SIGNATURES:
        raise _exceeded(f"more than {MAX_SIGNATURES} signatures")
    for packet in packets:
        if packet.tag != Tag.LITERAL:
            _check_signature(packet)
    return SignedPayload(
        _literal_data(packets[count]),
        tuple(
            write_packet(packet.tag, packet.body)
            for packet in packets
            if packet.tag == Tag.SIGNATURE
        ),
    )


def check_detached_signatures(data: bytes, *, most: int) -> tuple[bytes, ...]:
    """Guard binary detached signatures over a binary document, one behind another.

    Args:
        data: at least one.
        most: how many there may be.

    Returns:
        Each of them, a packet framed anew.

    Raises:
        PeerMisbehaved: ``malformed``, armor too; ``limit-exceeded``; ``unsupported-algorithm`` for
            another version than 4; ``bad-signature`` for one that is not over a binary document,
            and for any other packet: what brings its own data along is not detached.
    """
    if first_tag(data) not in (None, Tag.SIGNATURE):  # at a glance: it may have no length
        raise _not_detached()
    packets = read_packets(data, most=most)
    if not packets:
        raise malformed("no signature", "RFC 4880 §11.4")
    for packet in packets:
        if packet.tag != Tag.SIGNATURE:
            raise _not_detached()
        _check_signature(packet)
    return tuple(write_packet(packet.tag, packet.body) for packet in packets)


def check_literal(data: bytes) -> bytes:
    """Guard what was inside a container, unsigned: exactly one literal; return what it holds.

    Raises:
        PeerMisbehaved: ``malformed`` or ``limit-exceeded``.
    """
    packets = read_packets(data, most=_MOST_INNER, payload=True)
    if [packet.tag for packet in packets] != [Tag.LITERAL]:
        raise malformed("not exactly one literal", _RULE)
    return _literal_data(packets[0])


def check_unsigned_payload(data: bytes) -> bytes:
    """Guard what was inside a container to keys, where a signature must not be.

    Raises:
        PeerMisbehaved: as :func:`check_literal`; ``forbidden`` when it is signed.
    """
    if first_tag(data) in (Tag.SIGNATURE, Tag.ONE_PASS_SIGNATURE):
        raise PeerMisbehaved(
            ErrorCode.FORBIDDEN, "signed, and read as if it were not", rule="XEP-0373 §3.1"
        )
    return check_literal(data)


def is_in_clear(data: bytes) -> bool:
    """Say whether a message starts as one that anybody can read, signed or not."""
    return first_tag(data) in _PLAIN


def _split(data: bytes, most: int) -> tuple[tuple[Packet, ...], bytes]:
    """Return the ways into a message, at least one, and its one container."""
    if is_in_clear(data):  # at a glance: such a packet may have no length
        raise _not_encrypted()
    packets = read_packets(data, most=most + 2)
    ways_in = 0
    while ways_in < len(packets) and packets[ways_in].tag in _SESSION_KEYS:
        ways_in += 1
    rest = [packet.tag for packet in packets[ways_in:]]
    if rest[:1] and rest[0] in _PLAIN:
        raise _not_encrypted()
    if rest[:1] and rest[0] in (Tag.SED, Tag.AEAD):
        raise unsupported("encryption other than the one with integrity protection", _RULE)
    if not ways_in or rest != [Tag.SEIPD]:
        raise malformed("packets that make no encrypted message", _RULE)
    return packets[:ways_in], packets[ways_in].body


def _check_signature(packet: Packet) -> None:
    version = 4 if packet.tag == Tag.SIGNATURE else 3  # of a one-pass signature
    if packet.body[:1] != bytes((version,)):
        raise unsupported("signature of another version than 4", "RFC 4880 §5.2")
    if packet.body[1:2] != b"\x00":
        raise PeerMisbehaved(
            ErrorCode.BAD_SIGNATURE, "not a signature over a binary document", rule="RFC 4880 §5.2"
        )


def _literal_data(packet: Packet) -> bytes:
    cursor = Cursor(packet.body, "RFC 4880 §5.9")
    if cursor.number(1) not in _FORMATS:
        raise malformed("literal of an unknown format", "RFC 4880 §5.9")
    cursor.take(cursor.number(1) + 4)  # a file name and a date, never used
    data = cursor.rest()
    if len(data) > MAX_PLAINTEXT_BYTES:
        raise _exceeded(f"more than {MAX_PLAINTEXT_BYTES} bytes of plaintext")
    return data


def _not_detached() -> PeerMisbehaved:
    return PeerMisbehaved(
        ErrorCode.BAD_SIGNATURE, "not a detached signature", rule="RFC 4880 §11.4"
    )


def _exceeded(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, f"OpenPGP message with {what}", rule=_RULE)


def _not_encrypted() -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.NOT_ENCRYPTED, "OpenPGP message that is not encrypted")
