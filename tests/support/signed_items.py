"""Juliet who writes, Romeo who writes beside her, Tybalt who is against it, the Nurse who reads.

Rule: makes items and signatures, good or bad, and judges nothing; what becomes of them, tests say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from e2ee import ns
from e2ee.errors import ErrorCode
from e2ee.lexical import format_time
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.storage import Put
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from signing.elements import Signature, Statement
from signing.openpgp import seal_sign
from signing.policy import Policy, every_signature
from signing.profile import bare_item
from signing.readings import Reading, signed_bytes
from signing.signatures import ItemSignatures
from signing.signed_by import SignedBy
from signing.verdict import SignerVerdict, Verdict, Verification
from tests.support.forge import Forged, forged, sign
from tests.support.ox_world import Person, World, dump

__all__ = [
    "JULIET",
    "NODE",
    "NURSE",
    "PLACE",
    "TYBALT",
    "Scene",
    "at",
    "item_of",
    "own",
    "post",
    "refusal",
    "rewritten",
    "stated",
    "xml_of",
]

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
TYBALT, NURSE = "tybalt@capulet.lit", "nurse@capulet.lit"
NODE = NodeAddress(BareJid.parse("pubsub.verona.lit"), "urn:xmpp:microblog:0")
"""Where everybody may write."""

PLACE = ItemPlace(NODE, ItemId("balcony"))


@dataclass(frozen=True)
class Scene:
    """Four accounts that have met, and the keys of those who write."""

    world: World
    juliet: Person
    romeo: Person
    tybalt: Person
    nurse: Person
    keys: dict[BareJid, Forged]

    @classmethod
    async def set(cls) -> Scene:
        """Return a scene of its own; how everybody met is played once and then copied."""
        if not _PLAYED:
            _PLAYED.append(await cls._play())
        (first,) = _PLAYED
        world = World(nodes=dict(first.world.nodes))
        cast = (first.juliet, first.romeo, first.tybalt, first.nurse)
        juliet, romeo, tybalt, nurse = [await _copied(world, person) for person in cast]
        return cls(world, juliet, romeo, tybalt, nurse, dict(first.keys))

    @classmethod
    async def _play(cls) -> Scene:
        world = World()
        keys = {BareJid.parse(jid): forged(f"xmpp:{jid}") for jid in (JULIET, ROMEO, TYBALT)}
        juliet, romeo, tybalt = [
            await world.person(str(jid), key=key.secret) for jid, key in keys.items()
        ]
        nurse = await world.person(NURSE)
        await nurse.gather(juliet, romeo, tybalt)
        await romeo.gather(juliet)
        return cls(world, juliet, romeo, tybalt, nurse, keys)

    def signed(
        self,
        by: Person,
        item: Element,
        statement: Statement | None = None,
        *,
        service: BareJid = NODE.service,
        reading: Reading = Reading.STRICT,
        made: datetime | None = None,
        as_: BareJid | None = None,
    ) -> SignedBy:
        """Sign whatever is asked for.

        Args:
            by: whose key signs.
            item: as it stands somewhere.
            statement: what is said beside it; now and by its signer alone, if not given.
            service: that it names.
            reading: which bytes are signed.
            made: when OpenPGP says so.
            as_: who attaches it; who signs it, if not given.
        """
        statement = statement or stated(by)
        data = signed_bytes(bare_item(item), service, statement, reading)
        packet = sign(self.keys[by.jid].primary, data, created=made)
        return SignedBy(as_ or by.jid, Signature(statement, seal_sign(packet)).to_xml())

    async def verify(
        self,
        item: Element,
        *attachments: SignedBy,
        place: ItemPlace = PLACE,
        policy: Policy | None = None,
        reader: Person | None = None,
    ) -> Verification:
        """Let the Nurse verify an item."""
        signatures = ItemSignatures((reader or self.nurse).ox)
        return await signatures.verify(item, place, attachments, policy or every_signature())


_PLAYED: list[Scene] = []


async def _copied(world: World, person: Person) -> Person:
    rows = await dump(person.store)
    copy = world.stranger(str(person.jid))
    await copy.write(*(Put(key, value) for key, value in rows.items()))
    return copy


def stated(*signers: Person, time: datetime | None = None) -> Statement:
    """Return what is said beside an item: when, now if not given, and by whom."""
    return Statement(format_time(time or datetime.now(UTC)), tuple(each.jid for each in signers))


def post(text: str = "Deny thy father") -> Element:
    """Return a blog post."""
    title = element(ns.ATOM, "title", None, text)
    return element(ns.ATOM, "entry", None, title, element(ns.ATOM, "id", None, "tag:1"))


def item_of(payload: Element, item_id: str = PLACE.item_id) -> Element:
    """Return the item as a service hands it out."""
    return element(ns.PUBSUB, "item", {"id": item_id, "publisher": JULIET}, payload)


def at(item_id: str, node: str = NODE.node, service: str = str(NODE.service)) -> ItemPlace:
    """Return another place."""
    return ItemPlace(NodeAddress(BareJid.parse(service), node), ItemId(item_id))


def xml_of(text: str) -> Element:
    """Return a payload from its XML."""
    return parse_xml(text)


def rewritten(by: SignedBy, *children: Element) -> SignedBy:
    """Return a signature with other children before its last one."""
    last = by.signature.elements[-1]
    return SignedBy(by.publisher, replace(by.signature, children=(*children, last)))


def own(name: str, attributes: dict[str, str] | None = None, *text: str) -> Element:
    """Return an element of XEP-0475."""
    return element(ns.PUBSUB_SIGNING, name, attributes, *text)


def refusal(found: Verification) -> ErrorCode | None:
    """Return why the one signature of an item is not valid; of what it says nothing is proven."""
    (signer,) = found.signers
    assert (signer.verdict is Verdict.INVALID) == (signer.code is not None)
    if signer.verdict is Verdict.INVALID:
        assert found.verdict is Verdict.INVALID
        nothing = SignerVerdict(signer.signer, signer.verdict, signer.code, signer.claimed)
        assert signer == nothing
        assert found.sighting is None
    return signer.code
