"""What unlocks a sealed store: a passphrase from a file, or a key that the system's keyring keeps.

Rule: blocks, and so runs outside of the event loop; asking a person is the command line's business.
"""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path
from typing import Final

from e2ee.errors import EngineFailed, ErrorCode, StoreFailed
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.stores.sealing import Passphrase, SealingKey
from xmpp_e2ee.store_address import StoreAddress

__all__ = [
    "PassphraseError",
    "keys_from_keyring",
    "new_key_in_keyring",
    "read_passphrase",
    "read_secret_line",
]

_SERVICE: Final = "xmpp-e2ee"
_LONGEST: Final = 4096  # bytes of a passphrase
_KEY: Final = 32  # bytes


class PassphraseError(Exception):
    """The file holds no passphrase or code that may be used; the message says why."""


def read_passphrase(path: Path) -> Passphrase:
    """Return the passphrase in a file; see :func:`read_secret_line`."""
    return Passphrase(read_secret_line(path))


def read_secret_line(path: Path) -> str:
    """Return the first line of a file that nobody else can read, without its end.

    Raises:
        PassphraseError: others can read or write the file, it cannot be read, its first line is
            empty, longer than 4096 bytes, or no UTF-8.
    """
    try:
        with path.open("rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & 0o077:
                raise PassphraseError("others can read or write the file; chmod 600 it")
            line = _first_line(file.fileno())
    except OSError as error:
        raise PassphraseError(error.strerror or "the file cannot be read") from None
    if not line or len(line) > _LONGEST:
        raise PassphraseError(f"its first line is empty or longer than {_LONGEST} bytes")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise PassphraseError("its first line is not UTF-8") from None


def keys_from_keyring(address: StoreAddress) -> tuple[SealingKey, ...]:
    """Return the keys that the system's keyring keeps for a store, the newest first.

    Raises:
        EngineFailed: there is no keyring, it is locked, or what it keeps is no key.
        StoreFailed: ``store-wrong-key`` when it keeps none for this store.
    """
    if not (entries := _entries(address)):
        raise StoreFailed(ErrorCode.STORE_WRONG_KEY, "the keyring keeps no key for this store")
    try:
        keys = [base64.b64decode(entry, validate=True) for entry in entries]
    except ValueError:  # also for what is not ASCII
        keys = []
    if not keys or any(len(key) != _KEY for key in keys):
        raise EngineFailed("keyring", "what it keeps for this store is no key")
    return tuple(SealingKey(Secret(key)) for key in keys)


def new_key_in_keyring(address: StoreAddress) -> SealingKey:
    """Make a random key of 32 bytes, and have the system's keyring keep it for a store.

    Keys that it kept for the store before stay behind the new one, because a key that is lost takes
    the store with it: until the store is locked anew, only an older one opens it.

    Raises:
        EngineFailed: there is no keyring, it is locked, or it does not keep what it is given.
    """
    import keyring

    raw = NativePrimitives().random(_KEY)
    entry = " ".join([base64.b64encode(raw).decode(), *_entries(address)])
    try:
        keyring.set_password(_SERVICE, address.identity, entry)
    except Exception:  # a backend may raise anything
        raise EngineFailed("keyring", "it did not keep a new key") from None
    if Secret(" ".join(_entries(address)).encode()) != Secret(entry.encode()):
        raise EngineFailed("keyring", "it did not keep a new key")  # like a backend that drops all
    return SealingKey(Secret(raw))


def _first_line(descriptor: int) -> bytes:
    read = b""  # a pipe gives it in pieces
    while b"\n" not in read and len(read) <= _LONGEST and (more := os.read(descriptor, _LONGEST)):
        read += more
    return read.partition(b"\n")[0].removesuffix(b"\r")


def _entries(address: StoreAddress) -> list[str]:
    import keyring

    try:
        return (keyring.get_password(_SERVICE, address.identity) or "").split()
    except Exception:  # a backend may raise anything
        raise EngineFailed("keyring", "there is none, or it is locked") from None
