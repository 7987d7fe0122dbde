"""One device of a world in which anything happens, and what its program knows.

Rule: what a program remembers goes back with its store when an older copy of that is put back; what
is owed to whom is reckoned in ``omemo_server.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import DataMissing, E2eeError
from e2ee.names import BareJid, Jid
from e2ee.omemo.encrypting import Encrypted
from e2ee.omemo.engine import KeyExchange
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.version import Version
from e2ee.storage import Key, Store
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.xmltree import Element
from tests.support.anchors import HookedAnchor
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import waiting
from tests.support.omemo_world import Party, body

__all__ = ["ROOM", "Copy", "Member", "Posted", "place", "read", "say"]

ROOM: Final = BareJid.parse("garden@chat.verona.lit")

T = TypeVar("T")


@dataclass(frozen=True)
class Posted:
    """One message as it waits for one device.

    Attributes:
        number: counts what was posted.
        element: the ``<encrypted/>``.
        to: whom it was sent to.
        sent: when.
        text: what it says; ``None`` where it is empty.
        sender: the number of the member, and
        recipient: that of the other one; and
        epochs: of both, when it was sent.
        owed: whether it must arrive, as far as was known then.
        exchange: the key exchange that its key is in.
        id: of the message in the inbox of who reads it.
    """

    number: int
    element: Element
    to: BareJid
    sent: datetime
    text: str | None
    sender: int
    recipient: int
    epochs: tuple[int, int]
    owed: bool
    exchange: KeyExchange | None
    id: str

    @property
    def is_kept(self) -> bool:
        """Whether it waits in the inbox: an empty one of the legacy version transports a key."""
        return self.text is not None or self.element.namespace == Version.LEGACY


@dataclass
class Memory:
    """What a device's program knows, and the ledger with it.

    Attributes:
        acknowledged: the ids that it reported as delivered.
        waiting: what it was given and has not reported, by id.
        taken: the numbers of what was decrypted.
        doubtful: the numbers of empty messages at which it died: nothing says whether before.
        heard: of each other member, the epoch of what was last heard.
        exchanges: those that began a session.
    """

    acknowledged: set[str] = field(default_factory=set)
    waiting: dict[str, OpenedMessage] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)
    heard: dict[int, int] = field(default_factory=dict)
    exchanges: set[KeyExchange] = field(default_factory=set)

    def copy(self) -> Memory:
        return Memory(
            set(self.acknowledged),
            dict(self.waiting),
            set(self.taken),
            set(self.doubtful),
            dict(self.heard),
            set(self.exchanges),
        )


@dataclass(frozen=True)
class Copy:
    """An older state of a device, and how much had been posted then."""

    rows: Mapping[Key, bytes]
    memory: Memory
    posted: int


class Member:
    """One device, on a guarded store in memory.

    Attributes:
        epoch: how often an older copy of it was put back.
        unpaid: the numbers of what is not owed to it any more.
        spent: when a session first began with a prekey, in whatever life, by its id.
        copies: of its store.
    """

    def __init__(self, number: int, party: Party, store: MemoryStore, kept: Mapping[str, int]):
        self.number = number
        self.store = store
        self.anchor = HookedAnchor()
        self.anchor.kept = dict(kept)
        self.party = party
        self.party = self.reopened()
        self.memory = Memory()
        self.epoch = 0
        self.unpaid: set[int] = set()
        self.spent: dict[int, datetime] = {}
        self.copies: list[Copy] = []

    def reopened(self, behind: Callable[[Store], Store] = lambda store: store) -> Party:
        """Return the device as another process would find it."""
        return self.party.reopened(GuardedStore(behind(self.store), self.anchor))

    async def attempt(
        self, act: Callable[[Party], Awaitable[T]], crash: int | None = None
    ) -> T | None:
        """Do something; or begin it, and die where it waits for the time of that number."""
        if crash is None:
            return await act(self.party)
        try:
            return await cancel_at(_awaited(act(self.reopened(waiting))), crash)
        except asyncio.CancelledError:
            self.party = self.reopened()
            return None

    def note_taken(self, posted: Posted, *, live: bool) -> None:
        """Note that a message was decrypted, and what that says of its sender."""
        memory, epoch = self.memory, posted.epochs[0]
        memory.taken.add(posted.number)
        begins = posted.exchange is not None and posted.exchange not in memory.exchanges
        if posted.exchange is not None and begins:
            memory.exchanges.add(posted.exchange)
            self.spend(posted.exchange)
        # What an archive delivers of an older session does not bring that session back.
        if live or begins or epoch < memory.heard.get(posted.sender, 0):
            memory.heard[posted.sender] = epoch

    def spend(self, exchange: KeyExchange) -> None:
        """Note that a session began here."""
        self.spent.setdefault(exchange.pre_key_id, self.party.world.now)


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def say(party: Party, text: str, to: Sequence[BareJid], *, room: bool = False) -> Encrypted:
    """Encrypt a body, fetching what is missing."""
    content, place = [body(text)], ROOM if room else None
    return await party.looked(lambda: party.sessions.encrypt(content, to, room=place))


async def read(
    party: Party, page: Sequence[tuple[Element, Arrival]]
) -> tuple[OpenedMessage | E2eeError, ...]:
    """Decrypt a page, fetching what is missing."""
    while True:
        outcomes = await party.sessions.decrypt_many(page)
        fetches = {
            fetch for each in outcomes if isinstance(each, DataMissing) for fetch in each.fetches
        }
        if not fetches:
            return outcomes
        await party.feed(*fetches)


def place(sender: Member, to: BareJid) -> Arrival:
    """Return where a live message stands."""
    if to == ROOM:
        nick = Jid(ROOM, f"nick {sender.number}")
        return Arrival(StanzaKind.GROUPCHAT, nick, Jid(ROOM), occupant=sender.party.jid)
    return Arrival(StanzaKind.MESSAGE, sender.party.address, Jid(to))
