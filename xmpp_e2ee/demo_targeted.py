"""What targeted items are for, as a scene: posts for one reader in a blog that is open to all.

Rule: the scene and its checks; the story that it is part of is in ``demo.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from e2ee import ns
from e2ee.arrival import Arrival
from e2ee.effects import ACCESS_MODEL, Create, Publish
from e2ee.errors import DataMissing, E2eeError, ErrorCode
from e2ee.history import Sighting
from e2ee.names import BareJid, ItemPlace, NodeAddress
from e2ee.omemo import Device
from e2ee.omemo.engine_twomemo import TwomemoEngine
from e2ee.search import Hit, Query
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from pubsub_encryption import (
    ClearItem,
    ItemCache,
    OpenedTargeted,
    TargetedItems,
    TargetedPayload,
    TargetedResult,
    UnreadableTargeted,
)
from xmpp_e2ee.narrator import Narrator
from xmpp_e2ee.omemo_client import OmemoClient
from xmpp_e2ee.player import Player
from xmpp_e2ee.report import Check

__all__ = ["LETTERS", "write_for_one"]

_Page = Sequence[tuple[Element, Arrival]]

_MICROBLOG: Final = "urn:xmpp:microblog:0"
_QUERY: Final = "nightin*"
_SAMPLE: Final = 240  # characters of a stored payload that are shown


def _post(title: str, content: str) -> Element:
    return element(
        ns.ATOM,
        "entry",
        None,
        element(ns.ATOM, "title", None, title),
        element(ns.ATOM, "content", None, content),
    )


LETTERS: Final = (
    _post("The orchard wall", "It is high and hard to climb. Come when the nightingale sings."),
    _post("Not the lark", "What envious streaks do lace the severing clouds in yonder east."),
)
"""What Juliet writes for Romeo alone, in this order."""

_NOTICE: Final = _post("Notice", "The garden is closed on Mondays.")


async def write_for_one(
    juliet: Player, romeo: Player, nurse: Player, letters: Sequence[Element], narrator: Narrator
) -> tuple[Check, ...]:
    """Let Juliet write for Romeo alone where everybody may read.

    Args:
        juliet: who writes.
        romeo: for whom.
        nurse: who may read the node as well.
        letters: what Juliet writes, two posts.
        narrator: told what happens.

    Raises:
        E2eeError: the library gave up.
        StanzaRefused: the server refused what it should not.
    """
    narrator.scene("Juliet writes for Romeo alone, in a blog that is open to all")
    hers, his, other = [await _Reader.enter(player) for player in (juliet, romeo, nurse)]
    blog = NodeAddress(juliet.account, _MICROBLOG)
    await juliet.client.perform(Create(blog, ((ACCESS_MODEL, "open"),)))
    await juliet.client.perform(Publish(blog, juliet.client.new_item_id(), _NOTICE))
    first, second = letters

    stored = await hers.write(first, romeo.account, blog)
    narrator.tell("Beside a notice for everybody, the server stores")
    narrator.show_source(write_xml(stored)[:_SAMPLE])
    read = _opened(await his.read(await his.fetch(blog)))
    await hers.catch_up()
    await hers.write(second, romeo.account, blog)
    page = await his.fetch(blog)
    again = _opened(await his.read(page))
    spent = await his.count_spent(page)
    by_her = sum(_is_by(each, hers.device) for each in again)
    narrator.show_reading(romeo.title, [each.item.payload for each in again])
    narrator.tell(
        f"It is proven that Juliet's device wrote {by_her} of them. OMEMO opens each once, and"
        f" refuses {spent} by now; the first he reads again from his cache."
    )
    shown = await other.read(await other.fetch(blog))
    sealed = [each for each in shown if not isinstance(each, ClearItem)]
    reasons = {each.error.code for each in sealed if isinstance(each, UnreadableTargeted)}
    narrator.tell(
        f"The Nurse reads the notice, and sees that Juliet wrote {len(sealed)} posts more. She"
        f" reads {len(_opened(shown)) or 'none'} of them: {', '.join(sorted(reasons))}."
    )
    as_written = sum(
        each.item.payload.same_content(letter) for each, letter in zip(again, letters, strict=False)
    )
    as_before = sum(
        before.item == now.item and now.seen.sighting is Sighting.SAME
        for before, now in zip(read, again, strict=False)
    )
    count = len(letters)
    return (
        Check(
            "romeo-reads-what-is-for-him",
            "posts for Romeo alone that he reads word for word",
            count,
            as_written,
        ),
        Check(
            "romeo-knows-who-wrote-for-him",
            "posts for Romeo alone that are proven to be by Juliet's device",
            count,
            by_her,
        ),
        Check(
            "romeo-reads-again-from-his-cache",
            "posts for Romeo alone that he reads again as he read them first",
            1,
            as_before,
        ),
        Check(
            "omemo-opens-a-post-once",
            "posts for Romeo alone that OMEMO refuses to open a second time",
            count,
            spent,
        ),
        Check(
            "nurse-sees-posts-for-romeo",
            "posts for Romeo alone that the Nurse sees are there",
            count,
            len(sealed),
        ),
        Check(
            "nurse-reads-no-post-for-romeo",
            "posts for Romeo alone that the Nurse reads",
            0,
            len(_opened(shown)),
        ),
        *await _search(his.items.cache, first, narrator),
    )


async def _search(cache: ItemCache, wanted: Element, narrator: Narrator) -> tuple[Check, ...]:
    """Let Romeo find a post by a word of it, where his store has an index."""
    if not cache.is_searchable:
        narrator.tell("His store keeps no index of words, so that he cannot search in it.")
        return ()
    found = await cache.search(Query(_QUERY))
    narrator.tell(f"Without the server he looks for {_QUERY} in his cache, and finds")
    for each in found:
        narrator.tell(f"· {each.hit.title}: {_marked(each.hit)}")
    right = sum(each.item.payload.same_content(wanted) for each in found)
    return (
        Check(
            "romeo-finds-a-post-by-a-word",
            "posts for Romeo alone that he finds by a word of them",
            1,
            right,
        ),
    )


class _Reader:
    """A player who writes and reads targeted items with an OMEMO device."""

    def __init__(self, player: Player, omemo: OmemoClient, device: Device) -> None:
        self.device = device
        self.items = TargetedItems(player.account, omemo.sessions.ports, omemo.sessions, None)
        self._player = player
        self._omemo = omemo

    @classmethod
    async def enter(cls, player: Player) -> _Reader:
        """Make the OMEMO device of a player."""
        await player.catch_up()
        omemo = OmemoClient(player.client, player.session, [TwomemoEngine()])
        return cls(player, omemo, await omemo.register(f"{player.title}, {player.jid.resource}"))

    async def write(self, post: Element, to: BareJid, blog: NodeAddress) -> Element:
        """Publish a post for one reader; return it as the server stores it."""
        place = ItemPlace(blog, self._player.client.new_item_id())
        written = await self._omemo.supplied(lambda: self.items.encrypt(post, {to}, place))
        await self._player.client.perform(Publish(blog, place.item_id, written.payload))
        return written.payload

    async def fetch(self, blog: NodeAddress) -> _Page:
        """Fetch what is in the blog, as it is there."""
        return [
            (item.payload, item.arrival(blog))
            async for items in self._player.client.pages(blog)
            for item in items
            if item.payload
        ]

    async def read(self, page: _Page) -> tuple[TargetedResult, ...]:
        """Read what was fetched, and answer a new session."""

        async def read() -> tuple[TargetedResult, ...]:
            results = await self.items.decrypt_many(page)
            for each in results:
                if isinstance(each, UnreadableTargeted) and isinstance(each.error, DataMissing):
                    raise each.error
            return results

        results = await self._omemo.supplied(read)
        await self._player.flush()
        return results

    async def catch_up(self) -> None:
        """Take in the answer to a new session, so that it goes on."""
        while self._player.session.inbox:
            await self._omemo.incoming(self._player.session.inbox.popleft())

    async def count_spent(self, page: _Page) -> int:
        """Have OMEMO itself open each post; count those whose keys are gone."""
        spent = 0
        for payload, arrival in page:
            if TargetedPayload.is_targeted(payload):
                try:
                    inner = TargetedPayload.from_xml(payload).inner
                    await self._omemo.sessions.decrypt(inner, arrival)
                except E2eeError as refusal:
                    spent += refusal.code is ErrorCode.REPLAY
        return spent


def _opened(results: Sequence[TargetedResult]) -> list[OpenedTargeted]:
    return [each for each in results if isinstance(each, OpenedTargeted)]


def _is_by(opened: OpenedTargeted, device: Device) -> bool:
    return (opened.item.sender, opened.item.device) == (device.jid, device.id)


def _marked(hit: Hit) -> str:
    """Return the snippet of a hit, with what was looked for in guillemets."""
    return "".join(f"«{text}»" if is_match else text for text, is_match in hit.snippet)
