"""The worlds from which tests of many devices begin: made once, because keys take long to make.

Rule: honest plumbing, as ``omemo_world.py``; all that it makes is copied before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from e2ee.names import Fetch, NodeAddress
from e2ee.omemo.known_device import BUNDLE_AGE
from e2ee.omemo.version import Version
from e2ee.storage import Key
from e2ee.stores.guarded import GuardedStore
from e2ee.stores.memory import MemoryStore
from e2ee.trust import BlindTrustBeforeVerification, Trust
from e2ee.xmltree import Element
from tests.support.anchors import HookedAnchor
from tests.support.omemo_world import Party, World, dump, settle

__all__ = ["CensoredWorld", "Template", "template"]

_TRUST: Final = BlindTrustBeforeVerification()


@dataclass
class CensoredWorld(World):
    """A world whose server shows some nodes to nobody."""

    hidden: frozenset[NodeAddress] = frozenset()

    def serve(self, fetch: Fetch) -> Element | None:
        return None if fetch.address in self.hidden else super().serve(fetch)


@dataclass(frozen=True)
class Template:
    """A world from which every run begins; made once, because keys take long to make."""

    world: CensoredWorld
    parties: Sequence[Party]
    rows: Sequence[Mapping[Key, bytes]]
    anchors: Sequence[Mapping[str, int]]


async def template(
    *jids: str,
    met: bool,
    versions: Sequence[Version] = (Version.TWO,),
    hidden: frozenset[NodeAddress] = frozenset(),
) -> Template:
    """Register a device for each of ``jids``, and let all of them know of all.

    Args:
        jids: of the devices, an account as often as it has some.
        met: whether they have sessions with each other.
        versions: that they speak.
        hidden: nodes that the server shows to nobody.
    """
    world = CensoredWorld(hidden=hidden)
    stores = [MemoryStore() for _ in jids]
    anchors = [HookedAnchor() for _ in jids]
    parties: list[Party] = []
    for jid, store, anchor in zip(jids, stores, anchors, strict=True):
        guarded = GuardedStore(store, anchor)
        parties.append(await world.device(jid, versions=versions, trust=_TRUST, store=guarded))
    people = sorted({party.jid for party in parties})
    for party in parties:
        for each in people:
            await party.hear_of(each)
        await party.gather(*people)  # so that who has which identity is known
        for other in parties:
            if other.jid == party.jid and other is not party:
                await party.decide(other, Trust.AUTHENTICATED)
        await party.flush()
    for party in parties if met else ():
        world.wait(BUNDLE_AGE)  # else two may pick the same prekey of an old bundle
        encrypted = await party.encrypt(*people)
        for each in people:
            if each != party.jid:
                party.post(each, *encrypted.elements)
        await settle(*parties)
        for other in parties:
            await other.sessions.delivered(await other.sessions.undelivered())
    rows = [await dump(store) for store in stores]
    return Template(world, parties, rows, [anchor.kept for anchor in anchors])
