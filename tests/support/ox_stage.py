"""Juliet who reads, Romeo who writes to her, Mercutio who writes to both, and what each can send.

Rule: makes letters, good or bad, and judges nothing; what must become of them, tests say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from e2ee.errors import ErrorCode
from e2ee.names import BareJid
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from ox.elements import Content, ContentKind, write_openpgp
from tests.support.forge import Forged, encrypted, forged, one_pass_message, sign
from tests.support.ox_world import Person, World, body, meet, refused

__all__ = ["JULIET", "MERCUTIO", "ROMEO", "Stage", "staged", "text"]

JULIET, ROMEO, MERCUTIO = "juliet@capulet.lit", "romeo@montague.lit", "mercutio@verona.lit"


@dataclass(frozen=True)
class Stage:
    """Juliet reads, Romeo is her friend, Mercutio is another, and the server does as we like."""

    world: World
    juliet: Person
    romeo: Person
    mercutio: Person
    romeos_key: Forged
    juliets_certificate: bytes

    def letter(self, data: bytes, *signatures: bytes) -> Element:
        """Return signed octets, encrypted to Juliet; by Romeo's own key if nothing is given."""
        signatures = signatures or (sign(self.romeos_key.primary, data),)
        return self.to_juliet(one_pass_message(data, *signatures))

    def to_juliet(self, inner: bytes) -> Element:
        """Encrypt packets to Juliet, as anybody can."""
        return write_openpgp(encrypted(inner, self.juliets_certificate))

    @asynccontextmanager
    async def refuses(self, code: ErrorCode) -> AsyncIterator[None]:
        """Expect a refusal that changes nothing, after which Romeo's own message is read."""
        genuine = await self.romeo.seal(self.juliet)
        async with refused(code, self.juliet):
            yield
        assert await self.juliet.open(genuine, self.romeo)


async def staged(*keys: bytes) -> Stage:
    """Set the stage; ``keys`` are what Romeo announces beside the key that he writes with."""
    world, key = World(), forged(f"xmpp:{ROMEO}")
    juliet, romeo = await world.person(JULIET), await world.person(ROMEO, key=key.secret)
    mercutio = await world.person(MERCUTIO)
    world.announce(ROMEO, key.public, *keys)
    await meet(juliet, romeo, mercutio)
    certificate = (await juliet.ox.own_key()).certificate.raw
    return Stage(world, juliet, romeo, mercutio, key, certificate)


def text(
    to: str = JULIET,
    time: datetime | None = None,
    kind: ContentKind = ContentKind.SIGNCRYPT,
    said: str = "hello",
) -> bytes:
    """Return a content element as octets."""
    value = Content(kind, (BareJid.parse(to),), time or datetime.now(UTC), (body(said),))
    return write_xml(value.to_xml()).encode()
