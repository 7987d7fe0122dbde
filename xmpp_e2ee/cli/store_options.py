"""What commands on a store are given: addresses, accounts, and what locks and unlocks a store.

Rule: a passphrase comes from a terminal or a file, never from an argument or the environment; the
commands themselves are in ``store.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from e2ee.errors import ApiMisuse, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.stores.sealing import Passphrase, Seal, Unlock
from xmpp_e2ee.store_address import AddressError, StoreAddress
from xmpp_e2ee.unlocking import (
    PassphraseError,
    keys_from_keyring,
    new_key_in_keyring,
    read_passphrase,
)

__all__ = ["ADDRESS", "ANCHORS", "EXISTING", "JID", "Lock", "lock_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


class _Address(click.ParamType[StoreAddress]):
    """A store's address; complaints never repeat it, because it may hold a password."""

    name = "address"

    def __init__(self, *, must_exist: bool) -> None:
        self._must_exist = must_exist

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> StoreAddress:
        try:
            address = StoreAddress.parse(value)
        except AddressError as error:
            self.fail(str(error), param, ctx)
        if self._must_exist and address.is_missing:
            self.fail(f"{address}: No such file", param, ctx)
        return address


class _BareJid(click.ParamType[BareJid]):
    """A JID without a resource."""

    name = "jid"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> BareJid:
        try:
            return BareJid.parse(value)
        except PeerMisbehaved as error:
            self.fail(str(error), param, ctx)


ADDRESS = _Address(must_exist=False)
EXISTING = _Address(must_exist=True)
JID = _BareJid()
ANCHORS = click.Path(path_type=Path, exists=True, file_okay=False)
"""The directory of a guard's anchors. It is never made here: a misspelt one would hold none."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What locks or unlocks a store, as it was said on the command line.

    Attributes:
        file: whose first line is the passphrase, or ``None``.
        keyring: whether the system's keyring keeps a key; where neither is said, somebody is asked.
    """

    file: Path | None
    keyring: bool

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return self.keyring or self.file is not None

    def open(self, address: StoreAddress, seal: Seal | None) -> tuple[Unlock, ...]:
        """Return what may unlock a store that is sealed like this; nothing for a plain one."""
        if seal is None:
            if self:
                raise click.UsageError(f"{address} is not sealed")
            return ()
        if self.keyring:
            return keys_from_keyring(address)
        if self.file is None and seal.kind == "key":
            raise click.UsageError(f"{address} is sealed with a key; say --keyring for it")
        return (self._passphrase(f"Passphrase of {address}", new=False),)

    def make(self, address: StoreAddress) -> Unlock:
        """Return what a store will be locked with."""
        if self.keyring:
            return new_key_in_keyring(address)
        return self._passphrase(f"New passphrase of {address}", new=True)

    def _passphrase(self, prompt: str, *, new: bool) -> Passphrase:
        try:
            if self.file is not None:
                return read_passphrase(self.file)
            if not sys.stdin.isatty():
                raise click.UsageError(
                    "there is no terminal to ask for a passphrase on; name a file or the keyring"
                )
            typed = click.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True)
            return Passphrase(typed)
        except PassphraseError as error:
            raise click.UsageError(f"{self.file}: {error}") from None
        except ApiMisuse as error:
            raise click.UsageError(str(error)) from None


def lock_options(name: str, whose: str, prefix: str = "") -> Callable[[_F], _F]:
    """Give a command the options for one lock, which it gets as the argument ``name``.

    Args:
        name: of the argument.
        whose: the lock, for the help text.
        prefix: of the options, such as ``new-``.
    """

    def decorate(command: _F) -> _F:
        @click.option(
            f"--{prefix}passphrase-file",
            f"{name}_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"{whose}: the first line of FILE, which nobody else may read.",
        )
        @click.option(
            f"--{prefix}keyring",
            f"{name}_keyring",
            is_flag=True,
            help=f"{whose}: a random key, kept by the system's keyring.",
        )
        @wraps(command)
        def locked(**arguments: Any) -> Any:
            lock = Lock(arguments.pop(f"{name}_file"), arguments.pop(f"{name}_keyring"))
            if lock.keyring and lock.file is not None:
                raise click.UsageError(
                    f"--{prefix}keyring and --{prefix}passphrase-file exclude each other"
                )
            return command(**arguments, **{name: lock})

        return locked  # type: ignore[return-value]

    return decorate
