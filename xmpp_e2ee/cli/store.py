"""``xmpp-e2ee store``: looks after the stores that accounts live in.

Rule: options in, exit code out. Stores are opened in ``xmpp_e2ee/stores.py``, read and copied
beside it, asked for in ``store_options.py`` and shown in ``store_screen.py``.

Whoever is asked for a passphrase is asked between two runs of the event loop: one that looks how
the store is sealed, and one that does the work.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.names import BareJid
from e2ee.renewal import renew
from e2ee.stores.sealing import Unlock
from xmpp_e2ee import store_copy, store_survey, stores
from xmpp_e2ee.cli.command import json_option, print_json, run
from xmpp_e2ee.cli.screen import Paper, Screen, printable, show_line
from xmpp_e2ee.cli.store_options import ADDRESS, ANCHORS, EXISTING, JID, Lock, lock_options
from xmpp_e2ee.cli.store_screen import info_json, show_info
from xmpp_e2ee.narrator import Silence
from xmpp_e2ee.store_address import StoreAddress
from xmpp_e2ee.store_copy import Copied, CopyRefused, Work

__all__ = ["store"]

_EXIT_STATUS = """\b
Exit status:
  0    done, and what was read is sound
  1    the store is damaged, or the copy would not be equal to its source
  2    wrong usage, or no such store
  3    the library gave up: a store could not be opened, read or written
  130  interrupted
  141  whoever read the output closed it
"""


class _Refused(click.ClickException):
    """What was looked at does not hold: one line on stderr."""

    exit_code = 1


@click.group(epilog=_EXIT_STATUS)
def store() -> None:
    """Look after the stores that accounts live in.

    A store is a SQLite file, named by its path, or a PostgreSQL database, named by its address:
    postgresql://user@host/database, with the password in PGPASSFILE rather than in the address.
    Either may be sealed, and is then unlocked by a passphrase or by a key in the system's keyring.
    """


@store.command("info", epilog=_EXIT_STATUS)
@click.argument("address", type=EXISTING)
@json_option
def _info(address: StoreAddress, as_json: bool) -> None:
    """Show what can be seen of the store at ADDRESS, without unlocking or changing it."""
    schema = run(stores.schema_of(address))
    outside = None
    if schema.found == schema.newest:
        with _work(as_json)("reading", None) as step:
            outside = run(stores.look(address, step))
    if as_json:
        print_json(**info_json(address, schema, outside))
    else:
        show_info(_paper(), address, schema, outside)


@store.command("check", epilog=_EXIT_STATUS)
@click.argument("address", type=EXISTING)
@lock_options("lock", "The store's lock")
@json_option
def _check(address: StoreAddress, lock: Lock, as_json: bool) -> None:
    """Read everything in the store at ADDRESS, and verify every row."""
    try:
        unlocks = lock.open(address, run(stores.seal_of(address)))
        with _work(as_json)("checking", None) as step:
            found = run(_read_all(address, unlocks, step))
    except StoreFailed as failure:  # the store does not even open
        if failure.code is not ErrorCode.STORE_CORRUPT:
            raise
        found = store_survey.Findings(damage=str(failure))
    if as_json:
        print_json(
            ok=found.damage is None, store=str(address), rows=found.rows,
            bytes=found.bytes, accounts=found.accounts, damage=found.damage,
        )  # fmt: skip
    else:
        out = _paper()
        show_line(out, f"{found.rows:,} rows of {found.accounts:,} accounts are sound.")
        if found.damage is not None:
            show_line(out, f"DAMAGED  {found.damage}", "bold red")
    if found.damage is not None:
        raise SystemExit(1)


@store.command("seal", epilog=_EXIT_STATUS)
@click.argument("address", type=EXISTING)
@lock_options("lock", "The lock of a store that is sealed already")
@lock_options("new", "The new lock", "new-")
@json_option
def _seal(address: StoreAddress, lock: Lock, new: Lock, as_json: bool) -> None:
    """Seal the plain store at ADDRESS in place, or change what unlocks a sealed one.

    No program may have the store open meanwhile. Copies from before, on disks and in backups, stay
    as they are.
    """
    found = run(stores.seal_of(address))
    unlocks = lock.open(address, found)
    unlock = new.make(address)
    run(stores.seal(address, unlocks, unlock))
    after = run(stores.seal_of(address))
    kind = after.kind if after else None
    if as_json:
        before = found.kind if found else None
        print_json(store=str(address), before=before, after=kind)
    elif found is None:
        show_line(_paper(), f"{address} is sealed, with a {kind}.")
    else:
        show_line(_paper(), f"{address} is unlocked by the new {kind} from now on.")


@store.command("migrate", epilog=_EXIT_STATUS)
@click.argument("address", type=EXISTING)
@json_option
def _migrate(address: StoreAddress, as_json: bool) -> None:
    """Bring the store at ADDRESS to the newest schema; a database gets its tables.

    A SQLite file is also migrated by whatever opens it next.
    """
    schema = run(stores.migrate(address))
    if as_json:
        before, after = schema.found, schema.newest
        print_json(store=str(address), before=before, after=after)
    elif schema.found == schema.newest:
        show_line(_paper(), f"{address} has schema {schema.newest} already.")
    else:
        told = f"from schema {schema.found}" if schema.found else "from nothing"
        show_line(_paper(), f"{address} is migrated, {told} to schema {schema.newest}.")


@store.command("copy", epilog=_EXIT_STATUS)
@click.argument("source", type=EXISTING)
@click.argument("destination", type=ADDRESS)
@lock_options("source_lock", "The lock of SOURCE", "from-")
@lock_options("destination_lock", "The lock of DESTINATION", "to-")
@click.option("--seal", "sealed", is_flag=True, help="Seal DESTINATION, which is new or empty.")
@click.option("--plain", is_flag=True, help="Make a plain copy of a sealed store.")
@json_option
def _copy(
    source: StoreAddress,
    destination: StoreAddress,
    source_lock: Lock,
    destination_lock: Lock,
    sealed: bool,
    plain: bool,
    as_json: bool,
) -> None:
    """Copy all accounts from SOURCE to DESTINATION, and compare every row.

    DESTINATION is a file, made if need be, or a database that was migrated. Nothing that it holds
    is overwritten: accounts that are there already must be equal. Each account is copied whole or
    not at all, and the same command goes on after an interruption.
    """
    if source.identity == destination.identity:
        raise click.UsageError("SOURCE and DESTINATION are one store")
    here = run(stores.seal_of(source))
    there = None if destination.is_missing else run(stores.seal_of(destination))
    if here is not None and there is None and sealed == plain:
        raise click.UsageError(f"{source} is sealed and {destination} is not: --seal or --plain?")
    if plain and (sealed or there is not None):
        raise click.UsageError("--plain is for a DESTINATION that is not sealed")
    unlocks = source_lock.open(source, here)
    anew = sealed and there is None
    to = (
        (destination_lock.make(destination),) if anew else destination_lock.open(destination, there)
    )
    try:
        done = run(_copy_all(source, unlocks, destination, to, anew, _work(as_json)))
    except CopyRefused as refusal:
        names = ", ".join(map(printable, refusal.accounts))
        raise _Refused(f"{refusal}: {names}") from None
    if as_json:
        print_json(
            source=str(source), destination=str(destination),
            accounts=done.accounts, present=done.present,
            rows=done.rows, bytes=done.bytes, sealed=bool(to),
        )  # fmt: skip
    else:
        _show_copied(done)


@store.command("renew", epilog=_EXIT_STATUS)
@click.argument("address", type=EXISTING)
@click.option("--account", type=JID, required=True, metavar="JID", help="Which account.")
@click.option(
    "--anchors", type=ANCHORS, required=True, metavar="DIR", help="The directory of its anchor."
)
@lock_options("lock", "The store's lock")
@json_option
def _renew(
    address: StoreAddress, account: BareJid, anchors: Path, lock: Lock, as_json: bool
) -> None:
    """Let a guarded account be used again after its store was put back from an older copy.

    What was to be sent before is dropped, because later changes may contradict it. Keys of others
    are fetched anew before they are used, and secrets of nodes encrypt only once their owner has
    vouched for them again. Look at the decisions on trust: those made since the copy are lost.
    """
    unlocks = lock.open(address, run(stores.seal_of(address)))

    async def work() -> int:
        async with stores.open_guarded(address, unlocks, anchors) as guarded:
            return len(await renew(guarded, account, lambda: datetime.now(UTC)))

    dropped = run(work())
    if as_json:
        print_json(store=str(address), account=str(account), dropped=dropped)
    else:
        out = _paper()
        show_line(out, f"{account} may be used again in {address}.")
        if dropped:
            things = "1 change is" if dropped == 1 else f"{dropped:,} changes are"
            show_line(out, f"{things} not sent any more.")


async def _read_all(
    address: StoreAddress, unlocks: tuple[Unlock, ...], step: store_survey.Step
) -> store_survey.Findings:
    async with stores.open_store(address, unlocks) as opened:
        return await store_survey.check(opened, step)


async def _copy_all(
    source: StoreAddress,
    source_unlocks: tuple[Unlock, ...],
    destination: StoreAddress,
    destination_unlocks: tuple[Unlock, ...],
    anew: bool,
    work: Work,
) -> Copied:
    async with stores.open_store(source, source_unlocks) as here:
        if anew:
            await _seal_anew(destination, *destination_unlocks)
        async with stores.open_store(destination, destination_unlocks) as there:
            try:
                return await store_copy.copy(here, there, work)
            except (asyncio.CancelledError, StoreFailed):
                click.echo("The copy is incomplete, but every account in it is whole.", err=True)
                click.echo("The same command goes on where this one ended.", err=True)
                raise


async def _seal_anew(address: StoreAddress, unlock: Unlock) -> None:
    try:
        await stores.create_sealed(address, unlock)
    except ApiMisuse:
        raise click.UsageError(
            f"{address} is plain and not empty; run xmpp-e2ee store seal on it first"
        ) from None


def _show_copied(done: Copied) -> None:
    out = _paper()
    show_line(out, f"{done.rows:,} rows of {done.accounts:,} accounts are equal in both stores.")
    if done.present:
        show_line(out, f"{done.present:,} of the accounts were there before.")


def _work(as_json: bool) -> Work:
    return Silence().work if as_json else Screen(_paper(), Console(stderr=True)).work


def _paper() -> Paper:
    return Paper(highlight=False)
