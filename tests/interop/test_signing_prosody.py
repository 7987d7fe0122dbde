"""Signed items through slixmpp and a real Prosody: they verify, or fail with a type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from e2ee import ns
from e2ee.attachment_nodes import attachment_node
from e2ee.attachments import Attachments
from e2ee.effects import ACCESS_MODEL, PUBLISH_MODEL, Create, NodeConfig, Publish
from e2ee.errors import E2eeError
from e2ee.lexical import format_time
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.primitives import NativePrimitives
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from ox.detached import sign_within
from ox.engine_sequoia import SequoiaEngine
from signing import Policy, Verdict, Verification, all_of, any_of, every_signature
from signing.elements import Signature, Statement
from signing.openpgp import seal_sign
from signing.profile import bare_item
from signing.readings import signed_bytes
from tests.roof.world import empty_ports, entry
from tests.support.prosody import ProsodyServer, start_prosody
from tests.support.slixmpp_session import SlixmppSession, connected
from xmpp_e2ee.client import Client, SecretsArrived
from xmpp_e2ee.entry import is_signable, signable
from xmpp_e2ee.signed_node import SignedNode, SignedResult
from xmpp_e2ee.transport import StanzaRefused

pytestmark = pytest.mark.slow

OPEN: NodeConfig = ((ACCESS_MODEL, "open"), (PUBLISH_MODEL, "open"))


@pytest.fixture(scope="module")
def prosody() -> Iterator[ProsodyServer]:
    with (
        TemporaryDirectory(prefix="prosody-", ignore_cleanup_errors=True) as directory,
        start_prosody(Path(directory), ["juliet", "romeo"]) as server,
    ):
        yield server


@dataclass(frozen=True)
class Device:
    """A client of ours on slixmpp."""

    client: Client
    session: SlixmppSession

    @property
    def account(self) -> BareJid:
        return self.client.account

    def at(self, address: NodeAddress) -> SignedNode:
        return SignedNode(self.client, address, OPEN)


@asynccontextmanager
async def connected_pair(server: ProsodyServer) -> AsyncIterator[tuple[Device, Device]]:
    """Connect Juliet and Romeo, with new keys."""
    async with AsyncExitStack() as stack:
        devices = []
        for account in server.passwords:
            session = await stack.enter_async_context(connected(server, account))
            client = Client(account, empty_ports(), SequoiaEngine(NativePrimitives()), session)
            await client.gather({account})
            await client.ox.generate()
            assert await client.flush() == ()
            devices.append(Device(client, session))
        juliet, romeo = devices
        yield juliet, romeo


async def read(node: SignedNode, policy: Policy) -> list[SignedResult]:
    return [result async for page in node.read(policy) for result in page]


async def test_an_item_signed_by_two_is_verified(prosody: ProsodyServer) -> None:
    """Juliet's on her own account, and on a component, where anybody may attach something."""
    async with connected_pair(prosody) as (juliet, romeo):
        for service in (juliet.account, prosody.pubsub):
            board = NodeAddress(service, "board")
            await juliet.client.perform(Create(board, OPEN))
            published = await juliet.at(board).publish(entry("Married"), beside=[romeo.account])
            assert await juliet.client.flush() == ()
            both = all_of(juliet.account, romeo.account)
            found = await romeo.at(board).fetch(published.item_id, both)
            assert (await romeo.at(board).verify(found, both)).absent == {romeo.account}
            await romeo.at(board).co_sign(found, juliet.account)
            for policy in (every_signature(), any_of(juliet.account)):  # he is listed beside her
                (result,) = await read(juliet.at(board), policy)
                assert isinstance(result, Verification)
                assert result.verdict is Verdict.TRUSTED
                assert not result.absent
            (result,) = await read(juliet.at(board), both)
            assert isinstance(result, Verification)
            assert result.verdict is Verdict.TRUSTED
            assert [each.verdict for each in result.signers] == [Verdict.TRUSTED] * 2


async def test_an_encrypted_item_is_verified(prosody: ProsodyServer) -> None:
    """And its signature is encrypted, too."""
    async with connected_pair(prosody) as (juliet, romeo):
        blog = juliet.client.node(NodeAddress(juliet.account, "diary"))
        await blog.create(ns.ATOM)
        await juliet.client.gather({romeo.account})
        await blog.grant(romeo.account)
        published = await SignedNode(juliet.client, blog).publish(spaced := signable(post(" hi ")))
        assert await juliet.client.flush() == ()
        while not isinstance(
            await romeo.client.incoming(await romeo.session.inbox.get()), SecretsArrived
        ):
            pass
        theirs = SignedNode(romeo.client, romeo.client.node(blog.address))
        (result,) = await read(theirs, any_of(juliet.account))
        assert isinstance(result, Verification)
        assert result.verdict is Verdict.TRUSTED
        assert result.payload.same_content(spaced)
        place = attachment_node(ItemPlace(blog.address, published.item_id))
        ((attached,),) = [page async for page in romeo.client.pages(place)]
        assert attached.payload is not None
        assert [child.name for child in attached.payload.elements] == ["encrypted"]


def post(title: str, *attributes: Attribute, content: Element | None = None) -> Element:
    """Return an Atom entry whose title has these attributes."""
    title_element = Element(ns.ATOM, "title", attributes, (title,) if title else ())
    return element(ns.ATOM, "entry", None, title_element, *([content] if content else []))


XHTML = "http://www.w3.org/1999/xhtml"
FOREIGN = "urn:example:foreign"
SPACES = ["", " ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u0085", "\u2028", "\u200b", "\ufeff"]
PIECES = ["word", "&", "<b>", "]]>", "'", '"', "é", "花", "🌱", "&#10;", "a b", *SPACES]


def texts() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(PIECES), max_size=4).map("".join)


def attributes() -> st.SearchStrategy[Attribute]:
    plain = st.builds(Attribute, st.sampled_from(["type", "ä"]), texts())
    foreign = st.builds(Attribute, st.just("type"), texts(), st.just(FOREIGN), st.just("p"))
    language = st.just(Attribute("lang", "fr", ns.XML))
    space = st.sampled_from(["default", "preserve"]).map(lambda it: Attribute("space", it, ns.XML))
    return plain | foreign | language | space


@st.composite
def payloads(draw: st.DrawFn) -> Element:
    """A post as some program may write it: edge spaces, prefixes, awkward attributes."""
    given = draw(st.lists(attributes(), max_size=2, unique_by=lambda it: (it.namespace, it.name)))
    before, inside, after = draw(texts()), draw(texts()), draw(texts())
    emphasis = element(XHTML, "em", None, *([inside] if inside else []))
    mixed = [part for part in (before, emphasis, after) if part]
    content = Element(XHTML, "div", children=tuple(mixed), prefix=draw(st.sampled_from(["", "h"])))
    written = post(draw(texts()), *given, content=draw(st.none() | st.just(content)))
    return signable(written) if draw(st.booleans()) else written


async def signed_anyway(device: Device, place: ItemPlace, payload: Element) -> Element:
    """Sign what we would not sign of our own accord, as another program may."""
    ox = device.client.ox
    statement = Statement(format_time(datetime.now(UTC).replace(microsecond=0)), (ox.account,))
    item = bare_item(element(ns.PUBSUB, "item", None, payload))
    data = signed_bytes(item, place.node.service, statement)
    async with ox.ports.store.exclusive(ox.scope) as tx:
        packet = await sign_within(ox, tx, data)
    return Signature(statement, seal_sign(packet)).to_xml()


async def brought_across(juliet: Device, romeo: Device, payload: Element) -> Verification | None:
    """Publish a payload with Juliet's signature; return what Romeo finds, if it arrives at all."""
    place = ItemPlace(NodeAddress(juliet.account, "crossing"), ItemId("item"))
    signature = await signed_anyway(juliet, place, payload)
    attachments = Attachments(others=(signature,)).to_xml()
    own_id = ItemId(str(juliet.account))
    node = romeo.at(place.node)
    try:
        await juliet.client.perform(Publish(place.node, place.item_id, payload))
        await juliet.client.perform(Publish(attachment_node(place), own_id, attachments))
        return await node.verify(await node.fetch(place.item_id), any_of(juliet.account))
    except (E2eeError, StanzaRefused):
        return None


def test_x_20_a_transport_never_makes_another_accepted_text(prosody: ProsodyServer) -> None:
    """Whatever slixmpp and Prosody make of an item: what is valid is what was signed.

    And what we would sign ourselves always is.
    """
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        juliet, romeo = runner.run(stack.enter_async_context(connected_pair(prosody)))
        place = ItemPlace(NodeAddress(juliet.account, "crossing"), ItemId("item"))
        for address in (place.node, attachment_node(place)):
            runner.run(juliet.client.perform(Create(address, OPEN)))
        verdicts = set()

        @given(payloads())
        @example(parse_xml(f"<a:entry xmlns:a='{ns.ATOM}'><a:title>a:QName</a:title></a:entry>"))
        @example(parse_xml(f"<entry xmlns='{ns.ATOM}'>\n  <title> She is </title>\n</entry>"))
        @example(post("Ça va ?", Attribute("lang", "fr", ns.XML)))
        @example(post("tab", Attribute("type", "a\tb\nc\rd")))
        @example(post("lines\r\nof text\r"))
        @example(post("foreign", Attribute("type", "x", FOREIGN, "p"), Attribute("type", "x")))
        def crossing(payload: Element) -> None:
            result = runner.run(brought_across(juliet, romeo, payload))
            if result is not None:
                verdicts.add(result.verdict)
                assert result.verdict is not Verdict.TRUSTED or result.payload.same_content(payload)
            if is_signable(payload):
                assert result is not None
                assert result.verdict is Verdict.TRUSTED

        try:
            crossing()
        finally:
            runner.run(stack.aclose())
        assert verdicts == {Verdict.TRUSTED, Verdict.AMBIGUOUS, Verdict.INVALID}
