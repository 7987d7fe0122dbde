"""Symmetric-key encrypted session keys, version 4: a passphrase opens a container (RFC 4880 §5.3).

Rule: the passphrase itself never comes here, only what ``s2k.derive`` made of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from e2ee.errors import CannotDecrypt
from e2ee.secret import Secret
from ox.ciphers import Symmetric, cfb_decrypt, cfb_encrypt
from ox.packets import Cursor, malformed, unsupported
from ox.s2k import Specifier, read_specifier, write_specifier
from ox.session_key import SessionKey

__all__ = ["Skesk", "open_skesk", "read_skesk", "write_skesk"]

_RULE: Final = "RFC 4880 §5.3"
_KEY_SIZES: Final = frozenset(1 + cipher.key_length for cipher in Symmetric)


@dataclass(frozen=True, slots=True)
class Skesk:
    """One way to a container's session key through a passphrase.

    Attributes:
        cipher: what the stretched passphrase is a key for.
        s2k: how to stretch the passphrase into ``cipher.key_length`` octets.
        encrypted_key: the session key, encrypted; empty when the stretched passphrase is it.
    """

    cipher: Symmetric
    s2k: Specifier
    encrypted_key: bytes = field(repr=False)


def read_skesk(body: bytes) -> Skesk:
    """Read the body of a packet of tag 3.

    Raises:
        PeerMisbehaved: ``malformed``; ``unsupported-algorithm`` for another version, for another
            cipher than AES, and for Argon2 and its like.
    """
    cursor = Cursor(body, _RULE)
    if cursor.number(1) != 4:
        raise unsupported("encrypted session key of another version than 4", _RULE)
    cipher = Symmetric.find(cursor.number(1))
    if cipher is None:
        raise unsupported("another cipher than AES", "RFC 4880 §9.2")
    skesk = Skesk(cipher, read_specifier(cursor), cursor.rest())
    if skesk.encrypted_key and len(skesk.encrypted_key) not in _KEY_SIZES:
        raise malformed("encrypted session key of an impossible length", _RULE)
    return skesk


def open_skesk(skesk: Skesk, stretched: Secret) -> SessionKey:
    """Return the session key that ``stretched`` leads to; a wrong one may go unnoticed here.

    Raises:
        CannotDecrypt: what came out is no session key.
    """
    if not skesk.encrypted_key:
        return SessionKey(skesk.cipher, stretched)
    found = SessionKey.unpack(Secret(cfb_decrypt(stretched, skesk.encrypted_key)))
    if found is None:
        raise CannotDecrypt
    return found


def write_skesk(session_key: SessionKey, s2k: Specifier, stretched: Secret) -> bytes:
    """Return the body that gives ``session_key`` to whoever can stretch a passphrase the same way.

    ``stretched`` (AES-256) must come from a salt never used before: it encrypts with a zero IV, and
    of two session keys under one salt, whoever has the first knows half of the second.
    """
    encrypted_key = cfb_encrypt(stretched, session_key.pack().reveal())
    return bytes((4, Symmetric.AES256)) + write_specifier(s2k) + encrypted_key
