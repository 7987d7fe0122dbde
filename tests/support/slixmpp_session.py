"""A device on a real server, by slixmpp: the roof's ``Transport``, and an inbox of what came.

Rule: nothing but payloads crosses it; slixmpp itself reads and writes every stanza, so that items
take the way that they take in a program that uses slixmpp.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from xml.etree import ElementTree

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import StanzaBase
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from e2ee import ns
from e2ee.names import BareJid, Jid
from e2ee.xmltree import Attribute, Element
from tests.support.prosody import ProsodyServer
from xmpp_e2ee.transport import IqKind, StanzaRefused

__all__ = ["SlixmppSession", "connected"]

_PATIENCE: Final = 30.0  # seconds until a server that does not answer counts as broken


class SlixmppSession:
    """One connected device; make it with :func:`connected`.

    Attributes:
        jid: its full JID.
        inbox: the messages that came, as our trees.
    """

    def __init__(self, jid: Jid, xmpp: ClientXMPP) -> None:
        self.jid = jid
        self.inbox: asyncio.Queue[Element] = asyncio.Queue()
        self._xmpp = xmpp
        xmpp.register_handler(
            Callback("everything", MatchXPath(f"{{{ns.CLIENT}}}message"), self._came)
        )

    def _came(self, message: StanzaBase) -> None:
        self.inbox.put_nowait(from_slixmpp(message.xml))

    async def request(self, to: BareJid, kind: IqKind, payload: Element) -> Element | None:
        """Send an IQ; see ``Transport.request``."""
        iq = self._xmpp.make_iq(ito=str(to), itype="get" if kind is IqKind.GET else "set")
        iq.append(to_slixmpp(payload))
        try:
            answer = await iq.send(timeout=_PATIENCE)  # type: ignore[no-untyped-call]
        except IqError as error:
            raise StanzaRefused(_condition(from_slixmpp(error.iq.xml))) from None
        elements = from_slixmpp(answer.xml).elements
        return elements[0] if elements else None

    async def send(self, to: BareJid, stanza_id: str, children: Sequence[Element]) -> None:
        """Send a message; see ``Transport.send``."""
        message = self._xmpp.make_message(mto=str(to), mtype="chat")
        message["id"] = stanza_id
        for child in children:
            message.append(to_slixmpp(child))
        message.send()


@asynccontextmanager
async def connected(server: ProsodyServer, account: BareJid) -> AsyncIterator[SlixmppSession]:
    """Connect a device for the length of the block."""
    jid = Jid(account, "phone")
    xmpp = ClientXMPP(str(jid), server.passwords[account])
    xmpp.enable_direct_tls = xmpp.enable_starttls = False
    xmpp.enable_plaintext = True
    mechanisms = xmpp.plugin["feature_mechanisms"]
    mechanisms.unencrypted_plain = mechanisms.unencrypted_scram = True
    session = SlixmppSession(jid, xmpp)
    started = asyncio.Event()
    xmpp.add_event_handler("session_start", lambda event: started.set())
    xmpp.connect("127.0.0.1", server.port)
    async with asyncio.timeout(_PATIENCE):
        await started.wait()
    xmpp.send_presence()  # or no message is delivered
    try:
        yield session
    finally:
        await xmpp.disconnect()


def to_slixmpp(source: Element) -> ElementTree.Element:
    """Return the same content for slixmpp, which knows no prefixes."""
    tree = ElementTree.Element(_clark(source.namespace, source.name))
    for attribute in source.attributes:
        tree.set(_clark(attribute.namespace, attribute.name), attribute.value)
    for child in source.children:
        if isinstance(child, Element):
            tree.append(to_slixmpp(child))
        elif len(tree):
            tree[-1].tail = child
        else:
            tree.text = child
    return tree


def from_slixmpp(tree: ElementTree.Element) -> Element:
    """Return what slixmpp read as our tree; the prefixes that were written, it does not tell."""
    namespace, name = _names(tree.tag)
    attributes = []
    for key, value in tree.items():
        uri, local = _names(key)
        attributes.append(Attribute(local, value, uri))
    children: list[Element | str] = [tree.text] if tree.text else []
    for child in tree:
        children.append(from_slixmpp(child))
        if child.tail:
            children.append(child.tail)
    return Element(namespace, name, tuple(attributes), tuple(children))


def _clark(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}" if namespace else name


def _names(clark: str) -> tuple[str, str]:
    namespace, _, name = clark.rpartition("}")
    return namespace.removeprefix("{"), name


def _condition(stanza: Element) -> str:
    """Return the most precise condition of a stanza error, as the roof's transport wants it."""
    error = stanza.only(ns.CLIENT, "error")
    by_namespace = {child.namespace: child.name for child in error.elements}
    return by_namespace.get(ns.PUBSUB_ERRORS) or by_namespace[ns.STANZAS]
