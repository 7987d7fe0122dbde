"""Fetching: what a need names, asked for where it is published.

Rule: one request and its answer; who needs it, and what it is worth, is decided by who feeds it.
"""

from __future__ import annotations

from typing import Final

from e2ee.names import Fetch
from e2ee.xmltree import Element
from xmpp_e2ee.pubsub import fetch_items, read_page
from xmpp_e2ee.transport import StanzaRefused, Transport

__all__ = ["fetched"]

_NOTHING_THERE: Final = "item-not-found"


async def fetched(transport: Transport, fetch: Fetch) -> Element | None:
    """Return the payload that ``fetch`` names; ``None`` where there is none.

    Raises:
        PeerMisbehaved: ``malformed``: the service answers with something else.
        StanzaRefused: it answers with an error that does not say that nothing is there.
    """
    request = fetch_items(fetch.address, [fetch.item_id] if fetch.item_id else [])
    try:
        answer = await transport.request(request.to, request.kind, request.payload)
    except StanzaRefused as refusal:
        if refusal.condition != _NOTHING_THERE:
            raise
        return None
    items = read_page(answer).items
    return items[-1].payload if items else None
