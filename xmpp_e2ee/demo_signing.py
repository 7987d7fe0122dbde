"""What signatures are for, as scenes: a post in somebody else's name, an announcement of two.

Rule: the scenes and their checks; the story that they are part of is in ``demo.py``. The server's
operator helps whoever forges, as he could.
"""

from __future__ import annotations

from typing import Final

from e2ee import ns
from e2ee.attachment_nodes import attachment_node
from e2ee.attachments import Attachments
from e2ee.effects import ACCESS_MODEL, PUBLISH_MODEL, Create, Retract
from e2ee.history import ItemPlace, Sighting
from e2ee.names import ItemId, NodeAddress
from e2ee.xmltree import Element, element
from pubsub_encryption import encrypt_attachments
from signing import Verdict, all_of, any_of
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
    seen = await nurse.verify(note.item_id, any_of(juliet.account))

    forged, moved = (ItemPlace(node, tybalt.client.new_item_id()) for _ in range(2))
    (signature,) = (await tybalt.signed.fetch(note.item_id)).attachments
    copied = Attachments(others=(signature.signature,))
    _plant(service, juliet, forged, await tybalt.blog.encrypt(_post("The gate is open tonight")))
    _attach(service, juliet, forged, await encrypt_attachments(tybalt.blog, copied))
    narrator.tell(
        "He has the secret, so that he can encrypt; the operator stores it as hers, and beside it"
        " the signature of her last post. The same operator shows that post once more, elsewhere."
    )
    (stored,) = (item for item in service.stored(node) if item.id == note.item_id)
    (attached,) = service.stored(attachment_node(note))
    _plant(service, juliet, moved, stored.payload)
    _attach(service, juliet, moved, attached.payload)

    false = await nurse.verify(forged.item_id, any_of(juliet.account))
    again = await nurse.verify(moved.item_id, any_of(juliet.account))
    narrator.tell(
        f"The Nurse decrypts both. The first is {false.verdict}: whoever wrote it, Juliet did not."
        f" The signature of the second is genuine, and she has met it before: {again.sighting}."
    )
    for place in (note, forged, moved):
        await juliet.client.perform(Retract(node, place.item_id))
    return (
        _check("note-is-juliet-s", "posts proved to be Juliet's", seen.verdict is Verdict.TRUSTED),
        _check(
            "forged-post-is-recognised",
            "posts in Juliet's name that are shown as forged",
            false.verdict is Verdict.INVALID,
        ),
        _check(
            "moved-post-is-recognised",
            "posts of Juliet's that are shown to have been moved",
            again.sighting is Sighting.MOVED and note in again.elsewhere,
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
    item_id = await hers.publish(_post("Married this morning"), beside=[romeo.account])
    await juliet.flush()
    alone = await read.verify(await read.fetch(item_id), both)
    narrator.tell(
        "It is for all to read, on a noticeboard where all may write. Juliet has signed it, and"
        f" named Romeo beside her; until he signs it too, it is {alone.verdict}."
    )
    await his.co_sign(await his.fetch(item_id), juliet.account)
    together = await read.verify(await read.fetch(item_id), both)
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


def _plant(service: Service, author: Player, place: ItemPlace, payload: Element) -> None:
    service.plant(place.node, StoredItem(place.item_id, payload, author.account))


def _attach(service: Service, author: Player, place: ItemPlace, payload: Element) -> None:
    item = StoredItem(ItemId(str(author.account)), payload, author.account)
    service.plant(attachment_node(place), item)


def _check(name: str, about: str, holds: bool) -> Check:
    return Check(name, about, 1, int(holds))
