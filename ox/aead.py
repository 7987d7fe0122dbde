"""Containers of version 2: packets in chunks, each authenticated (RFC 9580 §5.13.2). Read only.

Rule: nothing is given out before every chunk and their number were found right; every failure is
the same ``CannotDecrypt``. Whoever has a key that Sequoia made is written to so; we write version
1, which everybody reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_AEAD_CHUNKS
from e2ee.secret import Secret
from ox.ciphers import Aead, AeadKey, Symmetric, hkdf_sha256
from ox.packets import Cursor, Tag, malformed, unsupported
from ox.session_key import SessionKey

__all__ = ["AeadContainer", "open_aead", "read_aead_container"]

_RULE: Final = "RFC 9580 §5.13.2"
_SALT_BYTES: Final = 32
_TAG_BYTES: Final = 16  # of OCB and GCM
_INDEX_BYTES: Final = 8  # of a chunk's number, the end of its nonce
_MAX_SIZE_OCTET: Final = 16  # chunks of 4 MiB


@dataclass(frozen=True, slots=True)
class AeadContainer:
    """A container of version 2, its head read.

    Attributes:
        head: what every chunk is bound to: the packet's tag, and the container's first 4 octets.
        cipher: what the session key is for.
        mode: how the chunks are authenticated.
        chunk_length: octets of a whole chunk with its tag.
        salt: what makes the keys of this container its own, 32 octets.
        sealed: the chunks, without the last tag.
        last_tag: what authenticates the length of them all, 16 octets.
    """

    head: bytes
    cipher: Symmetric
    mode: Aead
    chunk_length: int
    salt: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    last_tag: bytes = field(repr=False)


def read_aead_container(body: bytes) -> AeadContainer:
    """Read the body of a packet of tag 18, version 2; nothing is decrypted.

    Raises:
        PeerMisbehaved: ``malformed``; ``limit-exceeded``: too many chunks;
            ``unsupported-algorithm`` for another version, another cipher than AES, and EAX, which
            nobody writes who was not asked to.
    """
    cursor = Cursor(body, _RULE)
    if cursor.number(1) != 2:
        raise unsupported("container of another version than 2", _RULE)
    cipher, mode = Symmetric.find(cursor.number(1)), Aead.find(cursor.number(1))
    if cipher is None or mode is None:
        raise unsupported("container with another algorithm than AES in OCB or GCM", _RULE)
    size_octet = cursor.number(1)
    if size_octet > _MAX_SIZE_OCTET:
        raise malformed("container in chunks of an impossible size", _RULE)
    head = bytes((0xC0 | Tag.SEIPD,)) + body[: cursor.position]
    salt, protected = cursor.take(_SALT_BYTES), cursor.rest()
    if len(protected) < _TAG_BYTES:
        raise malformed("container without its last tag", _RULE)
    chunk_length = (64 << size_octet) + _TAG_BYTES
    sealed, last_tag = protected[:-_TAG_BYTES], protected[-_TAG_BYTES:]
    if len(sealed) > MAX_AEAD_CHUNKS * chunk_length:
        raise PeerMisbehaved(
            ErrorCode.LIMIT_EXCEEDED, f"container of more than {MAX_AEAD_CHUNKS} chunks", rule=_RULE
        )
    return AeadContainer(head, cipher, mode, chunk_length, salt, sealed, last_tag)


def open_aead(container: AeadContainer, session_key: SessionKey) -> bytes:
    """Return the packets inside, once every chunk, their order and their number were found right.

    Raises:
        CannotDecrypt: another session key, or any octet altered, moved, added or missing.
    """
    mode, key_length = container.mode, container.cipher.key_length
    prefix_length = mode.nonce_length - _INDEX_BYTES
    derived = hkdf_sha256(
        session_key.key, container.head, key_length + prefix_length, salt=container.salt
    ).reveal()
    key, prefix = AeadKey(mode, Secret(derived[:key_length])), derived[key_length:]
    chunks: list[bytes] = []
    for start in range(0, len(container.sealed), container.chunk_length):
        chunk = container.sealed[start : start + container.chunk_length]
        nonce = prefix + len(chunks).to_bytes(_INDEX_BYTES)
        chunks.append(key.open(nonce, chunk, container.head))
    packets = b"".join(chunks)
    nonce = prefix + len(chunks).to_bytes(_INDEX_BYTES)
    key.open(nonce, container.last_tag, container.head + len(packets).to_bytes(_INDEX_BYTES))
    return packets
