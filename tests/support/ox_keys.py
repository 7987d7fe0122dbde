"""Two who meet with keys of their own making, and to which of these anything is encrypted.

Rule: plumbing only; what is wrong with a key, a test says itself.
"""

from __future__ import annotations

from e2ee.secret import Secret
from ox.backup_code import BackupCode
from ox.certificates import check_certificate
from tests.support.forge import Forged, KeyPair
from tests.support.ox_world import Person, World, meet, recipients

__all__ = ["JULIET", "ROMEO", "encrypted_to", "friends", "key_id", "typed_code", "without_data"]

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"


async def friends(world: World, key: Forged) -> tuple[Person, Person]:
    """Return Juliet, who has met Romeo with his ``key``, and Romeo."""
    juliet, romeo = await world.person(JULIET), await world.person(ROMEO, key=key.secret)
    await meet(juliet, romeo)
    return juliet, romeo


async def encrypted_to(person: Person, *to: Person) -> set[bytes]:
    """Return the ids of the keys that ``person`` encrypts to, without that of the account."""
    own = check_certificate((await person.ox.own_key()).certificate.raw)
    sealed_to = recipients(await person.seal(*to))
    assert own[-1].key_id in sealed_to
    return sealed_to - {own[-1].key_id}


def key_id(of: Forged | KeyPair) -> bytes:
    """Return the id by which messages name a key; of a certificate, of its encryption subkey."""
    key = of.encryption if isinstance(of, Forged) else of
    return key.fingerprint[-8:]


def without_data(world: World, key: Forged) -> None:
    """Withhold a key that is listed."""
    for address in [each for each in world.nodes if key.name in each.node]:
        del world.nodes[address]


def typed_code(text: str) -> BackupCode:
    """Return a backup code as somebody typed it in."""
    return BackupCode.parse(Secret(text.encode()))
