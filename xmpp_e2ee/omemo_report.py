"""The report of the OMEMO story: what was expected, what was found, and the figures.

Rule: values and their JSON; ``docs/cli.md`` documents the keys, which only ever grow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from xmpp_e2ee.report import Check, Server

__all__ = ["OmemoReport", "PlayedDevice", "Sizes"]

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class PlayedDevice:
    """One device at the end of the story.

    Attributes:
        jid: its full JID.
        id: its id in the list of its account.
        said: how many messages it sent.
        read: how many it read.
        refused: how many reached it that were not for it, or not from whom they said.
    """

    jid: str
    id: int
    said: int
    read: int
    refused: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there was, in bytes.

    Attributes:
        plain: all lines in UTF-8.
        shortest: the shortest line.
        longest: the longest line.
        smallest: the smallest encrypted payload.
        largest: the largest encrypted payload.
        wire: all that crossed the server, either way, keys and requests included.
    """

    plain: int
    shortest: int
    longest: int
    smallest: int
    largest: int
    wire: int


@dataclass(frozen=True, slots=True)
class OmemoReport:
    """A whole story.

    Attributes:
        messages: how many were sent; one to a room counts once.
        devices: in the order of their entrance.
        bytes: sizes.
        server: what the server saw.
        checks: all that must hold.
        seconds: how long it took.
    """

    messages: int
    devices: tuple[PlayedDevice, ...]
    bytes: Sizes
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
