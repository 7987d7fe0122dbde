"""``xmpp-e2ee key``: an account's OpenPGP key and what it believes of others', without a network.

Rule: options in, exit code out. How an account is chosen is in ``key_options.py``, how keys look in
``key_screen.py``; the commands that move keys between files and stores are in ``key_transfer.py``.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

import click

from e2ee.names import BareJid, Fingerprint
from e2ee.trust import Trust
from ox.engine import Revocation
from xmpp_e2ee.cli.command import print_json, run
from xmpp_e2ee.cli.key_options import (
    EXIT_STATUS,
    FINGERPRINT,
    Whose,
    on_account,
    only_key_option,
)
from xmpp_e2ee.cli.key_screen import grouped, ring_json, show_change, show_ring
from xmpp_e2ee.cli.key_transfer import backup, export, import_, restore
from xmpp_e2ee.cli.screen import Paper, show_line
from xmpp_e2ee.cli.store_options import JID
from xmpp_e2ee.key_changes import Decided, OwnKey, check_list, decide, waiting
from xmpp_e2ee.key_survey import FoundRing, survey

__all__ = ["key"]

_LEVELS: Final = (Trust.AUTHENTICATED, Trust.DISTRUSTED, Trust.UNDECIDED)
"""What a person may decide; automatic is what happens without."""

_REASONS: Final = {reason.name.lower().replace("_", "-"): reason for reason in Revocation}


@click.group(epilog=EXIT_STATUS)
def key() -> None:
    """Look after OpenPGP keys, in a store and without a network.

    ADDRESS is a store, as for xmpp-e2ee store. What servers must be told of a change waits in the
    store, and the client that next connects with it sends it. A secret is written only where an
    option asks for it.
    """


for _command in (export, import_, backup, restore):
    key.add_command(_command)


@key.command("generate", epilog=EXIT_STATUS)
@on_account(must_exist=False)
@click.option("--rsa", is_flag=True, help="RSA of 3072 bits, for clients that know nothing newer.")
@only_key_option
def _generate(whose: Whose, rsa: bool, only_key: bool, as_json: bool) -> None:
    """Make the account's key, by Curve25519, in the store at ADDRESS.

    A SQLite file that is not there is made, plain; xmpp-e2ee store seal seals it.
    """
    unlocks = whose.unlocks()

    async def generate() -> tuple[Fingerprint, int]:
        async with whose.open(unlocks) as account:
            await check_list(account, only_key=only_key)
            return await account.generate(rsa=rsa), await waiting(account)

    show_change(whose, *run(generate()), "is made", as_json=as_json)


@key.command("show", epilog=EXIT_STATUS)
@on_account()
@click.argument("jid", type=JID, required=False)
def _show(whose: Whose, jid: BareJid | None, as_json: bool) -> None:
    """Show what the account knows of keys: of those of JID, or else of its own and all others."""
    unlocks = whose.unlocks()

    async def look() -> tuple[FoundRing, ...]:
        async with whose.open(unlocks) as account:
            return await survey(account, None if jid is None else [jid])

    rings = run(look())
    if as_json:
        print_json(
            store=str(whose.address), account=str(whose.account), people=[*map(ring_json, rings)]
        )
    else:
        out = Paper(highlight=False)
        for ring in rings:
            show_ring(out, ring)


@key.command("trust", epilog=EXIT_STATUS)
@on_account()
@click.argument("jid", type=JID)
@click.argument("fingerprint", type=FINGERPRINT, required=False)
@click.argument("level", type=click.Choice([*map(str, _LEVELS)]), required=False)
@click.option("--uri", help="What to decide, as a URI that JID showed you: xmpp: or openpgp4fpr:.")
def _trust(
    whose: Whose,
    jid: BareJid,
    fingerprint: Fingerprint | None,
    level: str | None,
    uri: str | None,
    as_json: bool,
) -> None:
    """Record what you decided about the key of JID with this FINGERPRINT, which you compared.

    An authenticated key is written to and believed, and from then on no other key of JID is that
    you did not authenticate, too; a distrusted one is neither. JID must have announced the key to
    you. Instead of FINGERPRINT and LEVEL, a URI may say the same.
    """
    decision: tuple[Fingerprint, Trust] | str
    if uri is not None and fingerprint is None:
        decision = uri
    elif uri is None and fingerprint is not None and level is not None:
        decision = (fingerprint, Trust(level))
    else:
        raise click.UsageError("say FINGERPRINT and LEVEL, or --uri")
    unlocks = whose.unlocks()

    async def record() -> tuple[Decided, ...]:
        async with whose.open(unlocks) as account:
            return await decide(account, jid, decision)

    try:
        decided = run(record())
    except OwnKey as own:
        raise click.UsageError(str(own)) from None
    if as_json:
        print_json(
            store=str(whose.address), account=str(whose.account), jid=str(jid),
            decisions=[asdict(each) for each in decided],
        )  # fmt: skip
        return
    for each in decided:
        told = "still" if each.before is each.after else f"no more {each.before}, but"
        line = f"{grouped(each.fingerprint)} of {jid} is {told} {each.after}."
        show_line(Paper(highlight=False), line)


@key.command("extend", epilog=EXIT_STATUS)
@on_account()
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The day when it expires, in UTC.")
@click.option("--never", is_flag=True, help="It does not expire.")
def _extend(whose: Whose, until: datetime | None, never: bool, as_json: bool) -> None:
    """Set when the account's key expires, even if it has expired already.

    It expires when that day begins. Others go on encrypting to it as soon as they hear of that.
    """
    if never is (until is not None):
        raise click.UsageError("say --until DAY or --never")
    unlocks = whose.unlocks()
    end = None if until is None else until.replace(tzinfo=UTC)

    async def extend() -> tuple[Fingerprint, int]:
        async with whose.open(unlocks) as account:
            await account.extend(end)
            return (await account.own_key()).certificate.fingerprint, await waiting(account)

    what = "never expires" if end is None else f"expires on {end:%Y-%m-%d}"
    show_change(whose, *run(extend()), what, as_json=as_json)


@key.command("revoke", epilog=EXIT_STATUS)
@on_account()
@click.option("--reason", type=click.Choice(_REASONS), required=True, help="What to tell.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def _revoke(whose: Whose, reason: str, yes: bool, as_json: bool) -> None:
    """Revoke the account's key, for ever.

    Whoever hears of it encrypts to the key no more, and believes nothing that it signs. What was
    encrypted to it can still be read with this store.
    """
    unlocks = whose.unlocks()

    async def own() -> Fingerprint:
        async with whose.open(unlocks) as account:
            return (await account.own_key()).certificate.fingerprint

    async def revoke() -> int:
        async with whose.open(unlocks) as account:
            await account.revoke(fingerprint, _REASONS[reason])
            return await waiting(account)

    fingerprint = run(own())
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask on; say --yes")
        question = f"Revoke {grouped(fingerprint)} of {whose.account} for ever?"
        click.confirm(question, abort=True, err=True)
    show_change(whose, fingerprint, run(revoke()), "is revoked", as_json=as_json)
