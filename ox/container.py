"""Containers: packets under a session key, their integrity protected (RFC 4880 §5.6, §5.13).

Rule: nothing that was decrypted is looked at before the modification detection code over all of it
was found right; every failure up to there is the same ``CannotDecrypt``. We write version 1 only,
and no compression.
"""

from __future__ import annotations

import bz2
import hashlib
import zlib
from collections.abc import Sequence
from hmac import compare_digest
from typing import Final, Protocol

from e2ee.errors import ApiMisuse, CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.limits import (
    MAX_EXPANSION,
    MAX_PKESK,
    MAX_PLAINTEXT_BYTES,
    MIN_EXPANSION_BYTES,
)
from e2ee.secret import Secret
from ox.aead import AeadContainer, open_aead
from ox.ciphers import Random, Symmetric, cfb_decrypt, cfb_encrypt
from ox.engine import S2kCount
from ox.grammar import EncryptedMessage, PassphraseMessage, check_literal
from ox.key_packets import PublicKey
from ox.packets import (
    Cursor,
    Tag,
    first_tag,
    malformed,
    read_packets,
    unsupported,
    write_literal,
    write_packet,
)
from ox.pkesk import DecryptionKey, session_keys, write_pkesk
from ox.s2k import Hash, Specifier, derive
from ox.session_key import SessionKey
from ox.skesk import open_skesk, write_skesk

__all__ = ["expand", "lock", "unlock", "unwrap", "wrap"]

_VERSION: Final = b"\x01"
_BLOCK: Final = 16  # octets of an AES block
_MDC: Final = b"\xd3\x14"  # how the packet of the code starts, RFC 4880 §5.14
_MDC_BYTES: Final = len(_MDC) + 20  # its digest is SHA-1's
_SALT_BYTES: Final = 8


def lock(data: bytes, passphrase: Secret, count: S2kCount, random: Random) -> bytes:
    """Encrypt ``data`` to a passphrase, with a fresh salt and a fresh session key.

    Args:
        data: any octets; written as one binary literal without name or date.
        passphrase: its octets, UTF-8 for text.
        count: how much work it is to try another passphrase, and to open the message.
        random: makes the salt and the session key.

    Returns:
        One SKESK (AES-256, iterated and salted SHA-256) and one SEIPD of version 1, binary.

    Raises:
        ApiMisuse: ``data`` is longer than anybody of us would read.
    """
    _refuse_long(data)
    s2k = Specifier(Hash.SHA256, random(_SALT_BYTES), count)
    stretched = derive(s2k, passphrase, Symmetric.AES256.key_length)
    session_key = SessionKey.fresh(random)
    return write_packet(Tag.SKESK, write_skesk(session_key, s2k, stretched)) + _seal(
        write_literal(data), session_key, random
    )


def unlock(message: PassphraseMessage, stretched: Secret) -> bytes:
    """Decrypt what :func:`lock` or another program made.

    Args:
        message: from ``grammar.check_passphrase_message``.
        stretched: ``s2k.derive(message.skesk.s2k, passphrase, message.skesk.cipher.key_length)``;
            the costly part, which may run anywhere and be remembered.

    Returns:
        What the message's one literal holds.

    Raises:
        CannotDecrypt: another passphrase, or an altered message.
        PeerMisbehaved: ``malformed``, ``limit-exceeded`` or ``unsupported-algorithm`` for what
            the holder of the passphrase put inside.
    """
    session_key = open_skesk(message.skesk, stretched)
    return check_literal(expand(_open(message.container, session_key)))


def wrap(inner: bytes, recipients: Sequence[PublicKey], random: Random) -> bytes:
    """Encrypt signed packets to every one of ``recipients``.

    Args:
        inner: packets, such as a signed message.
        recipients: the keys to encrypt to, already judged to be the right ones; 1 to 32.
        random: makes the session key and the ephemeral keys.

    Returns:
        PKESKs of version 3 and one SEIPD of version 1, binary.

    Raises:
        ApiMisuse: no recipient, or more of them or of ``inner`` than anybody of us would read.
        PeerMisbehaved: ``unsupported-algorithm`` or ``unusable-key`` for a recipient's key.
    """
    _refuse_long(inner)
    if not 1 <= len(recipients) <= MAX_PKESK:
        raise ApiMisuse(
            f"encryption to {len(recipients)} keys; 1 to {MAX_PKESK} are possible",
            code=ErrorCode.LIMIT_EXCEEDED,
        )
    session_key = SessionKey.fresh(random)
    ways_in = [
        write_packet(Tag.PKESK, write_pkesk(session_key, recipient, random))
        for recipient in recipients
    ]
    return b"".join(ways_in) + _seal(inner, session_key, random)


def unwrap(message: EncryptedMessage, keys: Sequence[DecryptionKey], random: Random) -> bytes:
    """Decrypt what :func:`wrap` or another program made.

    Args:
        message: from ``grammar.check_encrypted_message``.
        keys: ours; recipients who are not named are tried with every one.
        random: makes session keys that take the place of failed ones.

    Returns:
        The packets inside, without compression, for ``grammar.check_signed_payload``.

    Raises:
        CannotDecrypt: not to one of ``keys``, or altered.
        PeerMisbehaved: ``malformed``, ``limit-exceeded`` or ``unsupported-algorithm``.
    """
    for session_key in session_keys(message.recipients, keys, random):
        try:
            packets = _open(message.container, session_key)
        except CannotDecrypt:
            continue
        return expand(packets)
    raise CannotDecrypt


def _seal(packets: bytes, session_key: SessionKey, random: Random) -> bytes:
    prefix = random(_BLOCK)
    protected = prefix + prefix[-2:] + packets + _MDC
    sealed = cfb_encrypt(session_key.key, protected + _digest(protected))
    return write_packet(Tag.SEIPD, _VERSION + sealed)


def _open(container: bytes | AeadContainer, session_key: SessionKey) -> bytes:
    """Return the packets inside, once the codes over them were found right."""
    if isinstance(container, AeadContainer):
        return open_aead(container, session_key)
    plain = cfb_decrypt(session_key.key, container[1:])
    if len(plain) < _BLOCK + 2 + _MDC_BYTES:
        raise CannotDecrypt
    protected, digest = plain[:-20], plain[-20:]
    # All three are compared whatever the first one says, so that none can be probed alone: the
    # repeated octets would tell two octets of any message to who sends enough altered copies.
    right = compare_digest(_digest(protected), digest)
    right &= compare_digest(protected[-2:], _MDC)
    right &= compare_digest(protected[_BLOCK - 2 : _BLOCK], protected[_BLOCK : _BLOCK + 2])
    if not right:
        raise CannotDecrypt
    return protected[_BLOCK + 2 : -2]


def _digest(protected: bytes) -> bytes:
    return hashlib.sha1(protected, usedforsecurity=False).digest()  # RFC 4880 §5.14 knows no other


def expand(packets: bytes) -> bytes:
    """Undo one layer of compression, if there is one.

    Args:
        packets: what was inside a container, or a message that stands in clear.

    Raises:
        PeerMisbehaved: ``malformed``, ``limit-exceeded`` or ``unsupported-algorithm``.
    """
    if first_tag(packets) != Tag.COMPRESSED:
        return packets
    packet, *more = read_packets(packets, most=2, payload=True)
    compressed = packet.body[1:]
    most = min(MAX_PLAINTEXT_BYTES, max(MIN_EXPANSION_BYTES, MAX_EXPANSION * len(compressed)))
    decompressor = _decompressor(Cursor(packet.body, "RFC 4880 §5.6").number(1))
    try:
        expanded = decompressor.decompress(compressed, most + 1)
    except (zlib.error, OSError):
        raise malformed("compressed data that is damaged", "RFC 4880 §5.6") from None
    if len(expanded) > most:
        raise _exceeded(f"more than {most} bytes out of compressed data")
    if more or decompressor.unused_data or not decompressor.eof:
        raise malformed("compressed data cut short, or with more after it", "RFC 4880 §5.6")
    if first_tag(expanded) == Tag.COMPRESSED:
        raise _exceeded("more than one layer of compression")
    return expanded


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _decompressor(algorithm: int) -> _Decompressor:
    match algorithm:
        case 1:
            return zlib.decompressobj(-zlib.MAX_WBITS)  # ZIP: deflate and nothing around it
        case 2:
            return zlib.decompressobj()
        case 3:
            return bz2.BZ2Decompressor()
    raise unsupported("compression other than ZIP, ZLIB and BZIP2", "RFC 4880 §9.3")


def _refuse_long(data: bytes) -> None:
    if len(data) > MAX_PLAINTEXT_BYTES:
        raise ApiMisuse(
            f"more than {MAX_PLAINTEXT_BYTES} bytes to encrypt", code=ErrorCode.LIMIT_EXCEEDED
        )


def _exceeded(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, what, rule="RFC 4880 §5.6")
