"""``xmpp-e2ee key export|import|backup|restore``: keys between a store and files.

Rule: as in ``key.py``; what is read and written, byte for byte, passes ``key_files.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from e2ee.errors import PeerMisbehaved, TrustUndecided
from e2ee.limits import MAX_CERTIFICATE_BYTES, MAX_XML_BYTES
from e2ee.names import Fingerprint
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from ox.backup import Backup, open_backup, seal_backup
from ox.backup import restore as take_over
from ox.backup_code import BackupCode
from xmpp_e2ee.cli.command import print_json, run
from xmpp_e2ee.cli.key_options import (
    EXIT_STATUS,
    FINGERPRINT,
    Whose,
    on_account,
    only_key_option,
)
from xmpp_e2ee.cli.key_screen import grouped, show_change
from xmpp_e2ee.cli.screen import Paper, show_line
from xmpp_e2ee.key_changes import check_list, taken_over, waiting
from xmpp_e2ee.key_files import STANDARD, KeyFileError, read_file, write_new_file
from xmpp_e2ee.unlocking import PassphraseError, read_secret_line

__all__ = ["backup", "export", "import_", "restore"]

_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.command(epilog=EXIT_STATUS)
@on_account()
@click.argument("file", type=_FILE)
@click.option("--secret", is_flag=True, help="Write the secret key, which no passphrase protects.")
def export(whose: Whose, file: Path, secret: bool, as_json: bool) -> None:
    """Write the account's public key to a new FILE, or its secret key if you say so.

    Written is a binary transferable key (RFC 4880, section 11), as gpg --import takes it; FILE may
    be - for standard output, unless that is a terminal. A secret key makes a file of mode 0600.
    """
    if file == STANDARD and as_json:
        raise click.UsageError("standard output takes the key or the JSON object: name a FILE")
    unlocks = whose.unlocks()

    async def take() -> tuple[Fingerprint, bytes]:
        async with whose.open(unlocks) as account:
            own = await account.own_key()
            raw = own.material.reveal() if secret else await account.export_public()
            return own.certificate.fingerprint, raw

    fingerprint, raw = run(take())
    _write(file, raw, secret=secret)
    if as_json:
        print_json(
            store=str(whose.address), account=str(whose.account), fingerprint=fingerprint,
            file=str(file), bytes=len(raw), secret=secret,
        )  # fmt: skip
    elif file != STANDARD:
        kind = "secret" if secret else "public"
        out = Paper(highlight=False)
        show_line(out, f"{file} holds the {kind} key {grouped(fingerprint)} of {whose.account}.")
        if secret:
            show_line(out, "No passphrase protects it.")


@click.command("import", epilog=EXIT_STATUS)
@on_account(must_exist=False)
@click.argument("file", type=_FILE)
@only_key_option
def import_(whose: Whose, file: Path, only_key: bool, as_json: bool) -> None:
    """Take over the secret key in FILE, or on standard input for -, as the account's.

    It is one binary transferable secret key without a passphrase, as gpg --export-secret-keys
    writes it, with the user id xmpp: and the account's JID. The store must not have a key yet.
    """
    material = Secret(_read(file, MAX_CERTIFICATE_BYTES))
    if material.reveal().startswith(b"-----BEGIN PGP"):
        raise click.UsageError(f"{file} is armored; take that off with gpg --dearmor")
    unlocks = whose.unlocks()

    async def adopt() -> tuple[Fingerprint, int]:
        async with whose.open(unlocks) as account:
            await check_list(account, only_key=only_key)
            adopted = await taken_over(account, lambda: account.adopt(material), only_key=only_key)
            return adopted, await waiting(account)

    show_change(whose, *run(adopt()), "is taken over", as_json=as_json)


@click.command(epilog=EXIT_STATUS)
@on_account()
@click.argument("file", type=_FILE)
@click.option("--code-file", type=_FILE, metavar="CODE", help="Write the code to a new file CODE.")
@click.option("--show-code", is_flag=True, help="Print the code.")
def backup(
    whose: Whose, file: Path, code_file: Path | None, show_code: bool, as_json: bool
) -> None:
    """Encrypt the account's secret key with a new code, into a new FILE.

    Written is the <secretkey/> element of XEP-0373, section 5, which a client publishes on a
    private node. Whoever has the code and FILE has the key: keep them apart.
    """
    if show_code == (code_file is not None) or code_file == STANDARD:
        raise click.UsageError("the code is a secret: say --code-file CODE or --show-code")
    if file == STANDARD and (as_json or show_code):
        raise click.UsageError("standard output takes one thing: name a FILE")
    unlocks = whose.unlocks()

    async def seal() -> tuple[Fingerprint, Element, BackupCode]:
        async with whose.open(unlocks) as account:
            code = BackupCode.generate(account.ports.primitives)
            fingerprint = (await account.own_key()).certificate.fingerprint
            return fingerprint, await seal_backup(account, code), code

    fingerprint, element, code = run(seal())
    made: list[Path] = []
    try:
        if code_file is not None:
            _write(code_file, f"{code.shown}\n".encode(), secret=True)
            made.append(code_file)
        _write(file, f"{write_xml(element)}\n".encode(), secret=True)
        if file != STANDARD:
            made.append(file)
            told = code.shown if show_code else None
            _tell_backup(whose, file, fingerprint, told, code_file, as_json=as_json)
    except BaseException:  # Ctrl-C too: a backup without its code opens to nobody, nor a code alone
        for each in made:
            each.unlink()
        raise


def _tell_backup(
    whose: Whose,
    file: Path,
    fingerprint: Fingerprint,
    code: str | None,
    code_file: Path | None,
    *,
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            store=str(whose.address), account=str(whose.account), fingerprint=fingerprint,
            file=str(file), code=code,
        )  # fmt: skip
    else:
        out = Paper(highlight=False)
        show_line(
            out, f"{file} holds the key {grouped(fingerprint)} of {whose.account}, encrypted."
        )
        told = f"in {code_file}" if code is None else code
        show_line(out, f"Its code, which nobody can show again, is {told}")
    sys.stdout.flush()


@click.command(epilog=EXIT_STATUS)
@on_account(must_exist=False)
@click.argument("file", type=_FILE)
@click.option(
    "--code-file",
    type=_FILE,
    metavar="CODE",
    help="The code: the first line of CODE, which nobody else may read.",
)
@click.option("--key", "chosen", type=FINGERPRINT, help="Which key, where there are several.")
@click.option(
    "--replace",
    "replacing",
    type=FINGERPRINT,
    metavar="FINGERPRINT",
    help="The account's present key, which gives way.",
)
@only_key_option
def restore(
    whose: Whose,
    file: Path,
    code_file: Path | None,
    chosen: Fingerprint | None,
    replacing: Fingerprint | None,
    only_key: bool,
    as_json: bool,
) -> None:
    """Take over the account's key from the backup in FILE, for which its code is asked.

    FILE holds a <secretkey/> element, or is - for standard input. A key that is there already is
    replaced only if you name it by --replace.
    """
    element = parse_xml(_read(file, MAX_XML_BYTES).strip())
    unlocks = whose.unlocks()
    code = _code(file, code_file)

    async def recover() -> tuple[Fingerprint, int, Backup]:
        async with whose.open(unlocks) as account:
            opened = await open_backup(account, element, code)
            await check_list(account, only_key=only_key)
            restored = await taken_over(
                account,
                lambda: take_over(account, opened, chosen=chosen, replacing=replacing),
                only_key=only_key,
            )
            return restored, await waiting(account), opened

    try:
        fingerprint, waits, opened = run(recover())
    except TrustUndecided as undecided:
        keys = ", ".join(undecided.subjects)
        raise click.UsageError(f"{undecided}; say --key or --replace, of {keys}") from None
    skipped = [(key.fingerprint, key.error.code) for key in opened.skipped]
    show_change(whose, fingerprint, waits, "is restored", as_json=as_json, skipped=skipped)


def _code(file: Path, code_file: Path | None) -> BackupCode:
    try:
        if code_file is not None:
            return BackupCode.parse(Secret(read_secret_line(code_file).encode()))
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for the code on; say --code-file")
        typed = click.prompt(f"Code of {file}", hide_input=True, err=True)
        return BackupCode.parse(Secret(typed.encode(errors="replace")))
    except PassphraseError as error:
        raise click.UsageError(f"{code_file}: {error}") from None
    except PeerMisbehaved as error:
        raise click.UsageError(str(error)) from None


def _read(file: Path, most: int) -> bytes:
    try:
        return read_file(file, most)
    except KeyFileError as error:
        raise click.UsageError(str(error)) from None


def _write(file: Path, content: bytes, *, secret: bool) -> None:
    try:
        write_new_file(file, content, secret=secret)
    except KeyFileError as error:
        raise click.UsageError(str(error)) from None
