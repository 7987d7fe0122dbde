"""What signatures are for, as scenes: a post in somebody else's name, an announcement of two.

Rule: the scenes and their checks; the story that they are part of is in ``demo.py``. The server's
operator helps whoever forges, as he could.
"""

from __future__ import annotations

from typing import Final

from e2ee import ns
from e2ee.attachment_nodes import attachment_node
from e2ee.attachments import Attachments
from e2ee.effects import ACCESS_MODEL, PUBLISH_MODEL, Create
from e2ee.history import Sighting
from e2ee.names import ItemId, ItemPlace, NodeAddress
from e2ee.xmltree import Element, element
from pubsub_encryption import encrypt_attachments
from signing import Verdict, Verification, all_of, any_of
from xmpp_e2ee.narrator import Narrator
from xmpp_e2ee.nodes import StoredItem
from xmpp_e2ee.player import Player
from xmpp_e2ee.report import Check
from xmpp_e2ee.service import Service
from xmpp_e2ee.signed_node import SignedNode

__all__ = ["announce_together", "forge_a_post"]

_NOTICEBOARD: Final = ((ACCESS_MODEL, "open"), (PUBLISH_MODEL, "open"))


async def forge_a_post(
    juliet: Player, tybalt: Player, nurse: Player, service: Service, narrator: Narrator
) -> tuple[Check, ...]:
    """Let a member who has the secret write as the owner, and the operator move what she wrote."""
    narrator.scene("Tybalt writes a post in Juliet's name")
    node = juliet.blog.address
    note = ItemPlace(node, await juliet.publish(_post("The gate stays shut tonight")))
    forged, moved = (ItemPlace(node, tybalt.client.new_item_id()) for _ in range(2))
    by_juliet = any_of(juliet.account)
    found = await tybalt.fetch(note.item_id, by_juliet)
    copied = [each.signature for each in found.attachments] if found else []
    attachments = await encrypt_attachments(tybalt.blog, Attachments(others=tuple(copied)))
    post = await tybalt.blog.encrypt(_post("The gate is open tonight"))
    _plant(service, juliet, forged, post, attachments)
    narrator.tell(
        "He has the secret, so that he can encrypt; the operator stores it as hers, and beside it"
        " the signature of her last post. And shows that one once more, under another id."
    )
    (stored,) = (item for item in service.stored(node) if item.id == note.item_id)
    (attached,) = service.stored(attachment_node(note))
    _plant(service, juliet, moved, stored.payload, attached.payload)

    places = (note, forged, moved)
    genuine, false, again = [await nurse.verify(place.item_id, by_juliet) for place in places]
    narrator.tell(
        f"The Nurse decrypts all three. What Juliet wrote is {_verdict(genuine)}. What Tybalt wrote"
        f" is {_verdict(false)}. The third bears Juliet's signature, but was {_sighting(again)}."
    )
    for place in places:
        await juliet.retract(place.item_id)
    return (
        _check(
            "genuine-post-is-recognised",
            "posts that are shown as Juliet's",
            _verdict(genuine) == Verdict.TRUSTED,
        ),
        _check(
            "forged-post-is-recognised",
            "posts in Juliet's name that are shown as forged",
            _verdict(false) == Verdict.INVALID,
        ),
        _check(
            "moved-post-is-recognised",
            "posts of Juliet's that are shown as moved",
            _sighting(again) == Sighting.MOVED,
        ),
    )


async def announce_together(
    juliet: Player, romeo: Player, nurse: Player, service: Service, narrator: Narrator
) -> tuple[Check, ...]:
    """Let two sign one item, which counts once both have."""
    narrator.scene("Juliet and Romeo announce something together")
    board = NodeAddress(service.component, "noticeboard")
    both = all_of(juliet.account, romeo.account)
    await juliet.client.perform(Create(board, _NOTICEBOARD))
    hers, his, read = (
        SignedNode(player.client, board, _NOTICEBOARD) for player in (juliet, romeo, nurse)
    )
    announced = await hers.publish(_post("Married this morning"), beside=[romeo.account])
    await juliet.flush()
    alone = await read.verify(await read.fetch(announced.item_id, both), both)
    narrator.tell(
        "It is for all to read, on a noticeboard where all may write. Juliet has signed it, and"
        f" named Romeo beside her; until he signs it too, it is {alone.verdict}."
    )
    shown = await his.fetch(announced.item_id, any_of(juliet.account))
    await his.co_sign(shown, juliet.account)
    together = await read.verify(await read.fetch(announced.item_id, both), both)
    narrator.tell(f"He signs the same words. Now, the Nurse is told, it is {together.verdict}:")
    narrator.show_reading(nurse.title, [together.payload])
    trusted = [each for each in together.signers if each.verdict is Verdict.TRUSTED]
    return (
        _check(
            "announcement-waits-for-romeo",
            "announcements that wait for Romeo's signature",
            alone.verdict is not Verdict.TRUSTED and alone.absent == {romeo.account},
        ),
        Check(
            "announcement-is-co-signed",
            "signatures of the announcement that are verified",
            2,
            len(trusted) if together.verdict is Verdict.TRUSTED else 0,
        ),
    )


def _post(title: str) -> Element:
    return element(ns.ATOM, "entry", None, element(ns.ATOM, "title", None, title))


def _plant(
    service: Service, author: Player, place: ItemPlace, payload: Element, attachments: Element
) -> None:
    service.plant(place.node, StoredItem(place.item_id, payload, author.account))
    attached = StoredItem(ItemId(str(author.account)), attachments, author.account)
    service.plant(attachment_node(place), attached)


def _verdict(of: Verification | None) -> str:
    return "unreadable" if of is None else of.verdict


def _sighting(of: Verification | None) -> str:
    return "unreadable" if of is None else of.sighting or "new"


def _check(name: str, about: str, holds: bool) -> Check:
    return Check(name, about, 1, int(holds))
