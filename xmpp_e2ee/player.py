"""A player: one device of one account, with its store, its connection and what it has heard.

Rule: what a user does with a client; the order in which things happen is the story's.
"""

from __future__ import annotations

from collections.abc import Callable

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, E2eeError
from e2ee.names import BareJid, ItemId, Jid, NodeAddress
from e2ee.ports import Ports
from e2ee.xmltree import Element
from ox.engine_sequoia import SequoiaEngine
from pubsub_encryption import (
    EncryptedItem,
    ItemResult,
    Keychain,
    NodeEncryption,
    OpenedItem,
)
from signing import FetchedItem, Policy, Verification
from xmpp_e2ee.client import Client, ItemsArrived, SecretsArrived
from xmpp_e2ee.nodes import StoredItem
from xmpp_e2ee.service import Service
from xmpp_e2ee.signed_node import SignedNode
from xmpp_e2ee.transport import StanzaRefused

__all__ = ["Player"]


class Player:
    """One device.

    Attributes:
        name: what programs call it.
        title: what people call it, or rather its user.
        jid: its full JID.
        client: its client.
        session: its connection.
        heard: the items that notifications brought, decrypted or not.
    """

    def __init__(self, name: str, title: str, jid: Jid, service: Service, ports: Ports) -> None:
        """Connect a device with a store of its own."""
        self.name = name
        self.title = title
        self.jid = jid
        self.heard: list[ItemResult] = []
        self.session = service.connect(jid)
        engine = SequoiaEngine(ports.primitives, ports.executor)
        self.client = Client(jid.bare, ports, engine, self.session)
        self._node: NodeEncryption | None = None

    @property
    def account(self) -> BareJid:
        """Whose device it is."""
        return self.jid.bare

    @property
    def blog(self) -> NodeEncryption:
        """The encrypted node, once this device has made it or was sent a secret of it."""
        if self._node is None:
            raise ApiMisuse(f"{self.jid} was told of no encrypted node")
        return self._node

    @property
    def signed(self) -> SignedNode:
        """The same node, with the signatures of its items."""
        return SignedNode(self.client, self.blog)

    async def make_key(self) -> None:
        """Make the account's OpenPGP key and announce it."""
        await self.client.gather({self.client.account})
        await self.client.ox.generate()
        await self.flush()

    async def take_key_from(self, other: Player) -> None:
        """Carry the account's key over from its other device."""
        key = await other.client.ox.own_key()
        await self.client.gather({self.client.account})
        await self.client.ox.adopt(key.material)
        await self.flush()

    async def make_blog(self, address: NodeAddress, content_type: str) -> None:
        """Create the encrypted node."""
        self._node = self.client.node(address)
        await self.blog.create(content_type)
        await self.flush()

    async def grant(self, newcomer: BareJid) -> None:
        """Give somebody access."""
        await self.client.gather({newcomer})
        await self.blog.grant(newcomer)
        await self.flush()

    async def remove(self, member: BareJid) -> None:
        """Take somebody's access away."""
        await self.client.gather_members(self.blog)
        await self.blog.rotate(revoke={member})
        await self.flush()

    async def flush(self) -> None:
        """Send what waits to be sent.

        Raises:
            StanzaRefused: the server does not let us.
        """
        refused = await self.client.flush()
        if refused:
            raise StanzaRefused(refused[0].condition)

    async def publish(self, entry: Element, *, signed: bool = True) -> ItemId:
        """Publish one entry, with or without a signature."""
        if not signed:
            return await self.client.publish(self.blog, entry)
        published = await self.signed.publish(entry)
        await self.flush()
        return published.item_id

    async def retract(self, item_id: ItemId) -> None:
        """Delete one entry, and what is attached to it."""
        await self.signed.retract(item_id)
        await self.flush()

    async def subscribe(self) -> None:
        """Ask to be notified of new entries."""
        await self.client.subscribe(self.blog)

    async def catch_up(self) -> None:
        """Take in what has arrived."""
        while self.session.inbox:
            news = await self.client.incoming(self.session.inbox.popleft())
            match news:
                case SecretsArrived(keychains):
                    self._node = self.client.node(keychains[-1].address)
                case ItemsArrived(_, results):
                    self.heard += results

    async def read(self, policy: Policy, progress: Callable[[int], object]) -> list[Verification]:
        """Read and verify the whole node; what cannot be opened is left out."""
        verified = []
        async for page in self.signed.read(policy):
            verified += [result for result in page if isinstance(result, Verification)]
            progress(len(page))
        return verified

    async def fetch(self, item_id: ItemId, policy: Policy) -> FetchedItem | None:
        """Read one entry, with its signatures; ``None`` if it cannot be opened."""
        try:
            return await self.signed.fetch(item_id, policy)
        except E2eeError:
            return None

    async def verify(self, item_id: ItemId, policy: Policy) -> Verification | None:
        """Read and verify one entry; ``None`` if it cannot be opened."""
        found = await self.fetch(item_id, policy)
        return None if found is None else await self.signed.verify(found, policy)

    async def keychain(self) -> Keychain:
        """Return what this device knows of the node's secrets."""
        return await self.blog.keychain()

    async def try_everything(self, stored: StoredItem) -> Element | None:
        """Try to read an item with every secret that this device ever had, whatever it names."""
        if not EncryptedItem.is_encrypted(stored.payload):
            return stored.payload
        ciphertext = EncryptedItem.from_xml(stored.payload).ciphertext
        for secret in (await self.keychain()).secrets:
            claimed = EncryptedItem(secret.id, ciphertext).to_xml()
            arrival = Arrival(
                StanzaKind.ITEM,
                Jid(stored.publisher),
                node=self.blog.address,
                item_id=stored.id,
            )
            (result,) = await self.blog.decrypt_many([(claimed, arrival)])
            if isinstance(result, OpenedItem):
                return result.payload
        return None
