"""What the tests of ``xmpp-e2ee key`` share: Juliet's store, and the commands, watched for secrets.

Rule: whatever is run here must print nothing of a secret key; a test that asks for one reads it
from a file, or says so.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import jsonschema
from click.testing import CliRunner, Result

from e2ee.names import Fingerprint
from e2ee.stores.sqlite import SqliteStore
from ox.packets import Tag, read_packets
from tests.support.ox_keys import JULIET, ROMEO
from tests.support.ox_world import Person, World, meet
from tests.support.source import ROOT
from xmpp_e2ee.cli import main

__all__ = ["Home", "assert_no_secret", "secrets_in"]

_T = TypeVar("_T")
_SECRET_BYTES = 32

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}
_FINGERPRINT = {"type": "string", "pattern": "^[0-9A-F]{40}$"}
_TRUST = {"enum": ["authenticated", "automatic", "undecided", "distrusted"]}
_TIME = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$"}


def _closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _of_account(**properties: Any) -> dict[str, Any]:
    return _closed(format={"const": 1}, store=_TEXT, account=_TEXT, **properties)


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, schema]}


_CERTIFICATE = _closed(
    user_ids=_array(_TEXT), created=_TIME, expires=_or_null(_TIME), revoked=_FLAG, encrypts=_FLAG
)
_KEY = _closed(
    fingerprint=_FINGERPRINT,
    ours=_FLAG,
    trust=_TRUST,
    accepted=_FLAG,
    waits=_FLAG,
    announced=_FLAG,
    named=_FLAG,
    events=_array(_closed(news={"enum": ["new", "changed", "gone", "revoked"]}, time=_TIME)),
    certificate=_or_null(_CERTIFICATE),
)
_CHANGED = {"fingerprint": _FINGERPRINT, "waiting": _COUNT}
_SCHEMAS = {
    "generate": _of_account(**_CHANGED),
    "show": _of_account(people=_array(_closed(jid=_TEXT, listed=_FLAG, keys=_array(_KEY)))),
    "export": _of_account(fingerprint=_FINGERPRINT, file=_TEXT, bytes=_COUNT, secret=_FLAG),
    "import": _of_account(**_CHANGED),
    "backup": _of_account(fingerprint=_FINGERPRINT, file=_TEXT, code=_or_null(_TEXT)),
    "restore": _of_account(
        **_CHANGED, skipped=_array(_closed(fingerprint=_or_null(_FINGERPRINT), error=_TEXT))
    ),
    "trust": _of_account(
        jid=_TEXT,
        decisions=_array(_closed(fingerprint=_FINGERPRINT, before=_TRUST, after=_TRUST)),
    ),
    "extend": _of_account(**_CHANGED),
    "revoke": _of_account(**_CHANGED),
}
"""What docs/cli.md promises."""


class Home:
    """Juliet's store in a file, and the world around it."""

    def __init__(self, folder: Path, name: str = "juliet") -> None:
        self.folder = folder
        self.address = str(folder / f"{name}.sqlite")
        self.world = World()

    def use(self, work: Callable[[Person], Awaitable[_T]]) -> _T:
        """Let a client do something with the store."""

        async def connected() -> _T:
            async with await SqliteStore.open(self.address) as store:
                return await work(self.world.stranger(JULIET, store=store))

        return asyncio.run(connected())

    def meet_romeo(self) -> tuple[Fingerprint, Fingerprint]:
        """Give Juliet a key by a client and let her meet Romeo; return both fingerprints."""

        async def met(juliet: Person) -> tuple[Fingerprint, Fingerprint]:
            romeo = await self.world.person(ROMEO)
            await juliet.gather(juliet)
            ours = await juliet.ox.generate()
            await juliet.flush()
            await meet(juliet, romeo)
            return ours, (await romeo.ox.own_key()).certificate.fingerprint

        return self.use(met)

    def run(
        self, command: str, *arguments: str | Path, status: int = 0, typed: bytes | None = None
    ) -> Result:
        """Run a command on Juliet's account; it ends as it should, and shows no secret."""
        result = CliRunner().invoke(
            main,
            ["key", command, self.address, "--account", JULIET, *map(str, arguments)],
            input=typed,
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            result.exception
        )
        assert result.exit_code == status, result.output
        if status:
            assert result.stdout == ""
        assert_no_secret(result.stdout_bytes + result.stderr_bytes, self.secrets())
        return result

    def program(
        self, command: str, *arguments: str | Path, output: IO[bytes]
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command on Juliet's account as a program that prints to ``output``."""
        words = ["-m", "xmpp_e2ee", "key", command, self.address, "--account", JULIET]
        return subprocess.run(
            [sys.executable, *words, *map(str, arguments)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )

    def told(self, command: str, *arguments: str | Path) -> dict[str, Any]:
        """Run with ``--json`` and return the object, which fits its schema."""
        result = self.run(command, *arguments, "--json")
        assert result.stderr == ""
        values: dict[str, Any] = json.loads(result.stdout)
        jsonschema.validate(values, _SCHEMAS[command])
        assert (values["store"], values["account"]) == (self.address, JULIET)
        return values

    def secrets(self) -> list[bytes]:
        """Return the secret numbers of every secret key that lies open in the file."""

        async def read() -> list[bytes]:
            async with await SqliteStore.open(self.address) as store, store.exclusive(()) as tx:
                rows = await tx.scan((JULIET, "ox"))
                held = [raw for key, raw in rows if key[2] in ("own", "succeeded")]
            return [secret for raw in held for secret in secrets_in(raw)]

        return asyncio.run(read()) if Path(self.address).exists() else []


def secrets_in(raw: bytes) -> list[bytes]:
    """Return the last octets of each secret key's secret numbers, before the checksum."""
    packets = [
        packet
        for packet in read_packets(raw, most=100)
        if packet.tag in (Tag.SECRET_KEY, Tag.SECRET_SUBKEY)
    ]
    return [packet.body[-2 - _SECRET_BYTES : -2] for packet in packets]


def assert_no_secret(printed: bytes, secrets: list[bytes]) -> None:
    """Fail if any of ``secrets`` is printed, raw, in hexadecimal or inside of base64."""
    for secret in secrets:
        forms = {secret, secret.hex().encode(), secret.hex().upper().encode()}
        for offset in range(3):
            forms.add(b64encode(bytes(offset) + secret)[4:-4])
        for form in forms:
            assert form not in printed, "a secret is printed"
