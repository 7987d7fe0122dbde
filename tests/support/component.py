"""A component: many accounts on one store, and a worker of it that is a process of its own.

    python -m tests.support.component register PLACE FIRST LAST
    python -m tests.support.component take-in PLACE FIRST LAST SEED
    python -m tests.support.component perform PLACE FIRST LAST WORKER WORKERS

Every account has a key and a node of its own, and in its outbox what these made necessary; the last
of it is a message to itself, with the node's secret. A worker prints a JSON list for every account
that it was at work on: its number, and what the role did.

The numbers are those of accounts, from FIRST up to LAST and without it. Any worker may take in a
message of any account: the store sees to it that it is taken in once. What leaves the outbox is
performed *at least* once, so that no two workers may be at it for one account: each performs for
the accounts whose hash gives its number.

Rule: what a component has to do, with the library's public calls alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from random import Random
from typing import Final
from zlib import crc32

from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Send
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fetch, Jid, NodeAddress
from e2ee.outbox import Outbox
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.storage import Store
from e2ee.trust import BlindTrustOnFirstSight
from ox.account import OxAccount
from ox.elements import metadata_address
from ox.engine_sequoia import SequoiaEngine
from pubsub_encryption.node import NodeEncryption
from pubsub_encryption.sharing import receive
from tests.support.stores import Place, opened

__all__ = ["EFFECTS", "Component", "command", "responsible"]

EFFECTS: Final = 4
"""What is in the outbox of a new account: its key, the list of its keys, its node, the message."""


class Component:
    """The accounts of one store, each made out of its number when it is needed."""

    def __init__(self, store: Store) -> None:
        primitives = NativePrimitives()
        trust = BlindTrustOnFirstSight()
        self.ports = Ports(store, primitives, trust, lambda: datetime.now(UTC))
        self.engine = SequoiaEngine(primitives)

    def account(self, number: int) -> OxAccount:
        """Return an account."""
        return OxAccount(_jid(number), self.ports, self.engine)

    def node(self, number: int) -> NodeEncryption:
        """Return the node of an account."""
        account = self.account(number)
        return NodeEncryption(NodeAddress(account.account, "blog"), account)

    def outbox(self, number: int) -> Outbox:
        """Return the outbox of an account."""
        return Outbox(self.ports.store, _jid(number))

    async def register(self, number: int) -> None:
        """Give an account its key and its node."""
        account = self.account(number)
        await account.feed(Fetch(metadata_address(account.account)), None)
        await account.generate()
        await self.node(number).create()

    async def take_in(self, number: int) -> bool:
        """Take in the message that an account wrote to itself; say whether it was new."""
        account = self.account(number)
        *_, message = await self.outbox(number).pending()
        assert isinstance(message.effect, Send)
        me = Jid(account.account)
        try:
            read = await account.open(
                message.effect.children[0], Arrival(StanzaKind.MESSAGE, me, me)
            )
            await receive(account, read)
        except PeerMisbehaved as error:
            if error.code is not ErrorCode.REPLAY:
                raise
            return False
        return True

    async def perform(self, number: int) -> list[int]:
        """Perform what waits in the outbox of an account; return the ids of its jobs."""
        outbox = self.outbox(number)
        performed = []
        for job in await outbox.pending():
            performed.append(job.id)
            await outbox.done(job.id)
        return performed


def responsible(number: int, workers: int) -> int:
    """Return which of the workers empties the outbox of an account."""
    return crc32(str(_jid(number)).encode()) % workers


def command(role: str, place: Place, *options: int) -> list[str]:
    """Return the command line of a role."""
    numbers = map(str, options)
    return [sys.executable, "-m", "tests.support.component", role, place.to_text(), *numbers]


def _jid(number: int) -> BareJid:
    return BareJid.parse(f"user{number:05d}@capulet.lit")


async def _main(role: str, place: Place, first: int, last: int, *options: int) -> None:
    numbers = list(range(first, last))
    async with opened(place) as store:
        component = Component(store)
        if role == "register":
            for number in numbers:
                await component.register(number)
        elif role == "take-in":
            Random(*options).shuffle(numbers)
            for number in numbers:
                print(json.dumps([number, await component.take_in(number)]))
        else:
            worker, workers = options
            for number in numbers:
                if responsible(number, workers) == worker:
                    print(json.dumps([number, await component.perform(number)]))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Place.from_text(sys.argv[2]), *map(int, sys.argv[3:])))
