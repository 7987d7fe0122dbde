"""Where a store lies, as it is typed: the path of a SQLite file, or the address of a database.

Rule: text in, text out; nothing is opened here. Only ``place`` holds a password, and it is never
shown.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

__all__ = ["AddressError", "StoreAddress", "StoreKind", "without_passwords"]

_SCHEMES: Final = ("postgresql", "postgres")
_SHOWN: Final = ("host", "port", "dbname", "database", "user", "service")
_HOST: Final = re.compile(r"(\[[^][]*\]|[^][:]*)(:[0-9]*)?")
_CREDENTIALS: Final = re.compile(r"(postgres[\w+.-]*:/+).*@")  # a password may have spaces
_OPTIONS: Final = re.compile(r"(postgres[\w+.-]*:/+[^\s?]*)\?\S*")
_PASSWORD: Final = re.compile(r"(\bpass\w*\s*=\s*)(?:'[^']*'|\S+)", re.IGNORECASE)
_NEARLY: Final = re.compile(r"postgres\w*:|(?:.*\s)?(?:host|user|dbname|service|password)\s*=")
_PORT: Final = ":5432"  # where PostgreSQL listens unless it is told otherwise


class AddressError(ValueError):
    """The text names no store; the message does not repeat it."""


class StoreKind(StrEnum):
    """What a store is kept in."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A store that is there or not; make it with :meth:`parse`.

    Attributes:
        kind: what it is kept in.
        shown: for people, without a password.
        identity: the same for whoever asks: the file's real path, or host and database.
        place: the absolute path, or the address for the driver, perhaps with a password.
    """

    kind: StoreKind
    shown: str
    identity: str
    place: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a path, or a ``postgresql://`` address as asyncpg takes it.

        Raises:
            AddressError: the text is empty, names another kind of database, or is an address in
                which a password could be taken for something else.
        """
        scheme, separator, _ = text.partition("://")
        if scheme in _SCHEMES and separator:
            return cls(StoreKind.POSTGRESQL, *_shown_and_identity(text), text)
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9+]+", scheme) and separator:
            raise AddressError("a store is a SQLite file or postgresql://…")
        if not text or "\0" in text:
            raise AddressError("a store has a path or an address")
        if _NEARLY.match(text):  # no path: what libpq takes, or a slash too few
            raise AddressError("the address of a database is postgresql://user@host/database")
        return cls(StoreKind.SQLITE, text, os.path.realpath(text), os.path.abspath(text))

    @property
    def is_missing(self) -> bool:
        """Whether it is a file that is not there; a database says so itself."""
        return self.kind is StoreKind.SQLITE and not os.path.lexists(self.place)

    def __str__(self) -> str:
        return self.shown


def without_passwords(text: str) -> str:
    """Return ``text`` without what may be a password in the addresses that it quotes."""
    return _PASSWORD.sub(r"\1…", _OPTIONS.sub(r"\1", _CREDENTIALS.sub(r"\1", text)))


def _shown_and_identity(text: str) -> tuple[str, str]:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise AddressError("this is no address of a database") from None
    credentials, _, hosts = parts.netloc.rpartition("@")
    if (
        parts.fragment
        or "@" in parts.path + parts.query  # then the password reaches into them
        or not all(_HOST.fullmatch(host) for host in hosts.split(","))
    ):
        raise AddressError("in the address of a database, write / ? # @ : of a password as %2F …")
    database = parts.path.lstrip("/")
    options = [(name, value) for name, value in parse_qsl(parts.query) if name in _SHOWN]
    query = f"?{urlencode(options, safe='/')}" if options else ""
    user = credentials.partition(":")[0]
    shown = (
        f"postgresql://{user}@{hosts}/{database}" if user else f"postgresql://{hosts}/{database}"
    )
    return shown + query, _identity(hosts, unquote(database), unquote(user), dict(options))


def _identity(hosts: str, database: str, user: str, given: dict[str, str]) -> str:
    hosts = given.get("host", hosts).lower()
    if "port" in given:
        hosts = f"{hosts}:{given['port']}"
    hosts = ",".join(host.removesuffix(_PORT) for host in hosts.split(","))
    user = given.get("user", user)
    database = given.get("database", given.get("dbname", database)) or user
    service = f"?service={given['service']}" if "service" in given else ""
    return f"postgresql://{hosts}/{database}{service}"
