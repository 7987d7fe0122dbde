"""A server with clients on it, for the tests of the roof.

Rule: set-up only; the stores are in memory and the clock is the machine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from e2ee.names import BareJid, Jid, NodeAddress
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustOnFirstSight
from e2ee.xmltree import Element, element
from ox.engine_sequoia import SequoiaEngine
from pubsub_encryption import ItemResult, NodeEncryption, OpenedItem
from xmpp_e2ee.client import Client
from xmpp_e2ee.service import Service, Session
from xmpp_e2ee.transport import Transport

__all__ = [
    "JULIET",
    "NURSE",
    "ROMEO",
    "TYBALT",
    "World",
    "empty_ports",
    "entry",
    "grant",
    "payloads",
    "titles",
]

DOMAIN = BareJid.parse("verona.example")
JULIET, ROMEO, NURSE, TYBALT = (
    BareJid(DOMAIN.domain, name) for name in ("juliet", "romeo", "nurse", "tybalt")
)
ATOM = "http://www.w3.org/2005/Atom"


class World:
    """A server.

    Attributes:
        service: the server.
        wire: every stanza that crossed it, as text.
    """

    def __init__(self) -> None:
        self.wire: list[str] = []
        self.service = Service(DOMAIN, lambda: datetime.now(UTC), self.wire.append)

    def connect(self, account: BareJid, resource: str = "phone") -> Session:
        """Connect a device."""
        return self.service.connect(Jid(account, resource))

    async def client(
        self, account: BareJid, session: Session | None = None, transport: Transport | None = None
    ) -> tuple[Client, Session]:
        """Connect a client with a new key that it has announced."""
        session = session or self.connect(account)
        engine = SequoiaEngine(NativePrimitives())
        client = Client(account, empty_ports(), engine, transport or session)
        await client.gather({account})
        await client.ox.generate()
        assert await client.flush() == ()
        return client, session

    async def blog(self, owner: Client, address: NodeAddress | None = None) -> NodeEncryption:
        """Create an encrypted node."""
        node = owner.node(address or NodeAddress(owner.account, "blog"))
        await node.create(ATOM)
        assert await owner.flush() == ()
        return node


def empty_ports() -> Ports:
    """Return what an account needs from outside, with nothing in its store."""
    policy = BlindTrustOnFirstSight()
    return Ports(MemoryStore(), NativePrimitives(), policy, lambda: datetime.now(UTC))


async def grant(owner: Client, node: NodeEncryption, member: BareJid) -> None:
    """Give access."""
    await owner.gather({member})
    await node.grant(member)
    assert await owner.flush() == ()


def entry(title: str) -> Element:
    """Return a small Atom entry."""
    return element(ATOM, "entry", None, element(ATOM, "title", None, title))


def titles(results: Sequence[ItemResult]) -> list[str]:
    """Return the titles of entries that were opened."""
    return [payload.elements[0].text for payload in payloads(results)]


def payloads(results: Sequence[ItemResult]) -> list[Element]:
    """Return what was opened, and fail on everything else."""
    assert all(isinstance(result, OpenedItem) for result in results), results
    return [result.payload for result in results if isinstance(result, OpenedItem)]
