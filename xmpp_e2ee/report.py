"""The report of a played story: what was expected, what was found, and the figures.

Rule: values and their JSON; ``docs/cli.md`` documents the keys, which only ever grow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["Account", "Bytes", "Check", "Report", "Server"]

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold.

    Attributes:
        name: stable, for programs.
        about: the same for people.
        expected: how many there must be.
        found: how many there were.
    """

    name: str
    about: str
    expected: int
    found: int

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class Account:
    """One account at the end of the story.

    Attributes:
        jid: its bare JID.
        role: owner, member or removed.
        devices: how many clients it has.
        secrets: how many secrets of the node it holds.
        readable: how many items of the node its secrets open.
    """

    jid: str
    role: str
    devices: int
    secrets: int
    readable: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """How much there was, in bytes of UTF-8.

    Attributes:
        plain: the entries as XML.
        encrypted: the same as encrypted payloads.
        wire: all that crossed the server, either way, keys and requests included.
    """

    plain: int
    encrypted: int
    wire: int


@dataclass(frozen=True, slots=True)
class Server:
    """What the server saw.

    Attributes:
        stanzas: how many crossed it.
        sought: how many different words and titles of the entries were searched for.
        found: those that crossed in clear, or encoded but not encrypted.
        sample: one payload as it is stored.
    """

    stanzas: int
    sought: int
    found: tuple[str, ...]
    sample: str


@dataclass(frozen=True, slots=True)
class Report:
    """A whole story.

    Attributes:
        feed: where the entries came from.
        items: how many were published.
        secrets: how many secrets the node had.
        revocations: how many of them were revoked.
        accounts: in the order of their entrance.
        bytes: sizes.
        server: what the server saw.
        checks: all that must hold.
        seconds: how long it took.
    """

    feed: str
    items: int
    secrets: int
    revocations: int
    accounts: tuple[Account, ...]
    bytes: Bytes
    server: Server
    checks: tuple[Check, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        checks = [{**asdict(check), "ok": check.ok} for check in self.checks]
        return {"format": _FORMAT, "ok": self.ok, **asdict(self), "checks": checks}
