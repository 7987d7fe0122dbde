"""What the ``key`` commands are given: an account in a store, and files that hold secrets or not.

Rule: how it is said, and how an account is opened as it was said; what is done with it is in
``key.py`` and ``key_files.py`` beside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from e2ee.errors import PeerMisbehaved
from e2ee.names import BareJid, Fingerprint, parse_fingerprint
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.stores.sealing import Unlock
from e2ee.trust import BlindTrustOnFirstSight
from ox.account import OxAccount
from ox.engine_sequoia import SequoiaEngine
from xmpp_e2ee import stores
from xmpp_e2ee.cli.command import json_option, run
from xmpp_e2ee.cli.store_options import ADDRESS, ANCHORS, EXISTING, JID, Lock, lock_options
from xmpp_e2ee.key_changes import ListMissing
from xmpp_e2ee.store_address import StoreAddress

__all__ = ["EXIT_STATUS", "FINGERPRINT", "Whose", "on_account", "only_key_option"]

_F = TypeVar("_F", bound=Callable[..., Any])


EXIT_STATUS: Final = """\b
Exit status:
  0    done
  2    wrong usage, or a file that cannot be used
  3    the library refused, or gave up
  130  interrupted
  141  whoever read the output closed it
"""

only_key_option = click.option(
    "--only-key",
    is_flag=True,
    help="Your word that the account has announced no OpenPGP key but this one. It is needed until "
    "a client has fetched its list: the key of any other device would be struck from it.",
)
"""Gives a command the argument ``only_key``."""


class _Fingerprint(click.ParamType[Fingerprint]):
    """A fingerprint as it is shown somewhere: in any case, in groups or not."""

    name = "fingerprint"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fingerprint:
        try:
            return parse_fingerprint("".join(value.split()).upper())
        except PeerMisbehaved:
            self.fail("a fingerprint has 40 hexadecimal digits", param, ctx)


FINGERPRINT = _Fingerprint()


@dataclass(frozen=True, slots=True)
class Whose:
    """An account in a store, as it was said on the command line.

    Attributes:
        address: of the store.
        account: its JID.
        lock: of the store.
        anchors: the directory with the account's anchor, or ``None``.
    """

    address: StoreAddress
    account: BareJid
    lock: Lock
    anchors: Path | None

    def unlocks(self) -> tuple[Unlock, ...]:
        """Return what unlocks the store, for which somebody may be asked: outside of a loop."""
        sealed = None if self.address.is_missing else run(stores.seal_of(self.address))
        return self.lock.open(self.address, sealed)

    @asynccontextmanager
    async def open(self, unlocks: Sequence[Unlock]) -> AsyncIterator[OxAccount]:
        """Open the account.

        Raises:
            click.UsageError: it has a guard that was not named; or, in the block, its list of keys
                would have to be known.
            StoreFailed: as ``stores.open_account``.
        """
        try:
            opening = stores.open_account(self.address, unlocks, self.account, self.anchors)
            async with opening as store:
                ports = Ports(store, NativePrimitives(), BlindTrustOnFirstSight(), _present)
                yield OxAccount(self.account, ports, SequoiaEngine(ports.primitives))
        except stores.GuardMissing as missing:
            raise click.UsageError(f"{missing}; name the directory of its --anchors") from None
        except ListMissing as missing:
            raise click.UsageError(
                f"{missing}: connect a client, or say --only-key if there was none"
            ) from None


def _present() -> datetime:
    return datetime.now(UTC)


def on_account(*, must_exist: bool = True) -> Callable[[_F], _F]:
    """Give a command ADDRESS and the options for an account in it, as the argument ``whose``.

    Args:
        must_exist: whether a SQLite file that is not there is refused, and not made.
    """

    def decorate(command: _F) -> _F:
        @click.argument("address", type=EXISTING if must_exist else ADDRESS)
        @click.option("--account", type=JID, required=True, metavar="JID", help="Which account.")
        @click.option(
            "--anchors",
            type=ANCHORS,
            metavar="DIR",
            help="The directory of the account's anchor, where it is guarded.",
        )
        @lock_options("lock", "The store's lock")
        @json_option
        @wraps(command)
        def chosen(**arguments: Any) -> Any:
            named = {
                name: arguments.pop(name) for name in ("address", "account", "lock", "anchors")
            }
            return command(**arguments, whose=Whose(**named))

        return chosen  # type: ignore[return-value]

    return decorate
