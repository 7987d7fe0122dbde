"""Key nodes that must not be believed: what a server can announce, alter, add and withhold.

Rule: each refusal is one typed error that leaves the store as it was, and the genuine key is taken
in afterwards; nothing is ever encrypted to a key that was not accepted or is dead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import limits, ns
from e2ee.errors import ErrorCode
from e2ee.lexical import encode_base64
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress
from e2ee.xmltree import Element, element
from ox import keys
from ox.elements import (
    PublicKeyMetadata,
    PublicKeysList,
    data_node,
    metadata_address,
    write_pubkey,
)
from ox.packets import Tag, write_mpi, write_packet
from tests.support.forge import (
    LONG_AGO,
    Forged,
    KeyPair,
    SignatureKind,
    certify,
    forged,
    new_ed25519,
    new_rsa,
    sign,
    subpacket,
)
from tests.support.ox_keys import JULIET, ROMEO, encrypted_to, friends, key_id
from tests.support.ox_world import Person, World, meet, refused

TYBALT = "tybalt@capulet.lit"
NAME = f"xmpp:{ROMEO}".encode()
ROMEOS_LIST = Fetch(metadata_address(BareJid.parse(ROMEO)))
DAY = timedelta(days=1)
SOMEBODY = Fingerprint("A" * 40)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def juliet(world: World) -> Person:
    return await world.person(JULIET)


def listing(*fingerprints: str) -> Element:
    now = datetime.now(UTC)
    return PublicKeysList(
        tuple(PublicKeyMetadata(Fingerprint(each), now) for each in fingerprints)
    ).to_xml()


# -- G-10: nodes that should hold one public key


def _flooded(count: int) -> bytes:
    key, stranger = forged(f"xmpp:{ROMEO}"), new_ed25519()
    junk = (sign(stranger, b"", 0x10, created=LONG_AGO + n * DAY) for n in range(count))
    user_id, *rest = key.parts
    assert isinstance(user_id, bytes)
    return Forged(key.primary, key.encryption, (user_id + b"".join(junk), *rest)).public


def _many_user_ids() -> bytes:
    key = new_ed25519()
    names = [
        NAME,
        *(f"xmpp:{n}@montague.lit".encode() for n in range(limits.MAX_CERTIFICATE_USER_IDS)),
    ]
    return forged(primary=key, certified=b"".join(certify(key, name) for name in names)).public


def _primary(body: bytes) -> bytes:
    return write_packet(Tag.PUBLIC_KEY, body) + write_packet(Tag.USER_ID, NAME)


def _hours_of_flags() -> bytes:
    """Return 200 octets whose key flags claim four gigabytes."""
    key = new_ed25519()
    area = b"\xff\xff\xff\xff\xff\x1b\x03"
    body = b"\x04\x13\x16\x0a" + len(area).to_bytes(2) + area + bytes(80)
    return forged(
        primary=key,
        certified=write_packet(Tag.USER_ID, NAME) + write_packet(Tag.SIGNATURE, body),
    ).public


def _rsa_1024() -> bytes:
    key = new_rsa(1024)
    return forged(primary=key, certified=certify(key, NAME)).public


def _armored() -> bytes:
    return b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + encode_base64(SOUND.public).encode()


SOUND, OTHER = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
V4 = b"\x04" + bytes(4)
HOSTILE: dict[str, tuple[ErrorCode, Callable[[], bytes]]] = {
    "junk": (ErrorCode.MALFORMED, lambda: b"junk"),
    "armor": (ErrorCode.MALFORMED, _armored),
    "another key than the node names": (ErrorCode.SIGNER_MISMATCH, lambda: OTHER.public),
    "two keys": (ErrorCode.MALFORMED, lambda: SOUND.public + OTHER.public),
    "one key twice": (ErrorCode.MALFORMED, lambda: SOUND.public + SOUND.public),
    "a secret key": (ErrorCode.MALFORMED, SOUND.secret.reveal),
    "a key cut short": (ErrorCode.MALFORMED, lambda: SOUND.public[:-1]),
    "a key with something behind it": (ErrorCode.MALFORMED, lambda: SOUND.public + b"x"),
    "a megabyte": (ErrorCode.LIMIT_EXCEEDED, lambda: bytes(1024 * 1024)),
    "1,000 signatures": (ErrorCode.LIMIT_EXCEEDED, lambda: _flooded(1000)),
    "10,000 signatures": (ErrorCode.LIMIT_EXCEEDED, lambda: _flooded(10_000)),
    "a crowd of user ids": (ErrorCode.LIMIT_EXCEEDED, _many_user_ids),
    "a subpacket without end": (ErrorCode.MALFORMED, _hours_of_flags),
    "version 3": (ErrorCode.UNSUPPORTED_ALGORITHM, lambda: _primary(b"\x03" + bytes(20))),
    "version 6": (ErrorCode.UNSUPPORTED_ALGORITHM, lambda: _primary(b"\x06" + bytes(40))),
    "RSA-1024": (ErrorCode.UNSUPPORTED_ALGORITHM, _rsa_1024),
    "RSA-16384": (
        ErrorCode.LIMIT_EXCEEDED,
        lambda: _primary(V4 + b"\x01" + 2 * write_mpi((1 << 16384) - 1)),
    ),
    "DSA": (
        ErrorCode.UNSUPPORTED_ALGORITHM,
        lambda: _primary(V4 + b"\x11" + 4 * write_mpi((1 << 1024) - 1)),
    ),
}


def _one_subkey_twice() -> bytes:
    key = forged(f"xmpp:{ROMEO}")
    return key.plus(key.encryption, key.parts[-1]).public


HOSTILE["a subkey twice"] = (ErrorCode.MALFORMED, _one_subkey_twice)


@pytest.mark.parametrize("name", HOSTILE)
async def test_g_10_a_node_that_holds_something_else(
    world: World, juliet: Person, name: str
) -> None:
    code, make = HOSTILE[name]
    romeo = world.stranger(ROMEO)
    await juliet.ox.feed(ROMEOS_LIST, listing(SOUND.name))
    node = NodeAddress(romeo.jid, data_node(Fingerprint(SOUND.name)))
    async with refused(code, juliet):
        await juliet.ox.feed(Fetch(node), write_pubkey(make()))
    async with refused(ErrorCode.MALFORMED, juliet):
        await juliet.ox.feed(Fetch(node), element(ns.OX, "pubkey", None, element(ns.OX, "data")))
    await juliet.fetch_key(SOUND.public, of=romeo)
    assert await encrypted_to(juliet, romeo) == {key_id(SOUND.encryption)}


async def test_r_13_the_keys_of_one_jid_are_bounded_together(
    world: World, juliet: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    romeo, other = world.stranger(ROMEO), forged(f"xmpp:{ROMEO}")
    monkeypatch.setattr(keys, "MAX_KEY_RING_BYTES", len(SOUND.public) + len(other.public) - 1)
    await juliet.ox.feed(ROMEOS_LIST, listing(SOUND.name, other.name))
    await juliet.fetch_key(SOUND.public, of=romeo)
    async with refused(ErrorCode.LIMIT_EXCEEDED, juliet):
        await juliet.fetch_key(other.public, of=romeo)
    await juliet.fetch_key(SOUND.revoked().public, of=romeo)  # must be known at any price
    await juliet.ox.feed(Fetch(NodeAddress(romeo.jid, data_node(Fingerprint(other.name)))), None)
    async with refused(ErrorCode.UNUSABLE_KEY, juliet):
        await juliet.seal(romeo)


async def test_g_10_a_list_that_is_none(juliet: Person) -> None:
    twice = listing(SOUND.name, SOUND.name)
    crowd = listing(*(f"{n:040X}" for n in range(10_000)))
    lower = element(ns.OX, "public-keys-list", None, *_entries(SOUND.name.lower()))
    for payload, code in (
        (twice, ErrorCode.MALFORMED),
        (crowd, ErrorCode.LIMIT_EXCEEDED),
        (lower, ErrorCode.MALFORMED),
        (write_pubkey(b"key"), ErrorCode.MALFORMED),
    ):
        async with refused(code, juliet):
            await juliet.ox.feed(ROMEOS_LIST, payload)
    await juliet.ox.feed(ROMEOS_LIST, listing(SOUND.name))


def _entries(fingerprint: str) -> list[Element]:
    attributes = {"v4-fingerprint": fingerprint, "date": "2026-11-22T12:00:00Z"}
    return [element(ns.OX, "pubkey-metadata", attributes)]


# -- G-09: user ids


UNNAMED: dict[str, Callable[[KeyPair], bytes]] = {
    "without a scheme": lambda key: certify(key, ROMEO.encode()),
    "of another JID": lambda key: certify(key, f"xmpp:{TYBALT}".encode()),
    "of another domain that begins alike": lambda key: certify(key, NAME + b".evil.example"),
    "of another domain that ends alike": lambda key: certify(key, b"xmpp:romeo@evil-montague.lit"),
    "with a resource": lambda key: certify(key, NAME + b"/orchard"),
    "with a query": lambda key: certify(key, NAME + b"?message"),
    "with a NUL": lambda key: certify(key, NAME + b"\0"),
    "with a space": lambda key: certify(key, NAME + b" "),
    "with a line break": lambda key: certify(key, NAME + b"\n"),
    "with an octet that is no UTF-8": lambda key: certify(key, NAME + b"\xff"),
    "with a comment": lambda key: certify(key, b"Romeo <" + NAME + b">"),
    "with a look-alike": lambda key: certify(key, "xmpp:r\u043emeo@montague.lit".encode()),
    "revoked": lambda key: certify(key, NAME) + _revocation(key, NAME),
    "right, but not bound": lambda key: (
        write_packet(Tag.USER_ID, NAME) + certify(key, f"xmpp:{TYBALT}".encode())
    ),
    "right, but by another's hand": lambda key: (
        certify(key, NAME, by=new_ed25519()) + certify(key, f"xmpp:{TYBALT}".encode())
    ),
    "right, but expired": lambda key: (
        certify(key, NAME, lasts=DAY) + certify(key, f"xmpp:{TYBALT}".encode())
    ),
    "right, but by SHA-1": lambda key: (
        certify(key, NAME, hash_name="sha1") + certify(key, f"xmpp:{TYBALT}".encode())
    ),
    "right, but revoked beside another": lambda key: (
        certify(key, NAME) + _revocation(key, NAME) + certify(key, f"xmpp:{TYBALT}".encode())
    ),
}


def _revocation(key: KeyPair, name: bytes) -> bytes:
    over = key.hashed + b"\xb4" + len(name).to_bytes(4) + name
    reason = subpacket(29, b"\x20")
    return sign(key, over, SignatureKind.CERTIFICATION_REVOCATION, hashed=reason)


@pytest.mark.parametrize("name", UNNAMED)
async def test_g_09_a_key_that_does_not_name_its_jid(juliet: Person, name: str) -> None:
    primary = new_ed25519()
    key = forged(primary=primary, certified=UNNAMED[name](primary))
    await juliet.ox.feed(ROMEOS_LIST, listing(key.name))
    async with refused(ErrorCode.SIGNER_MISMATCH, juliet):
        await juliet.fetch_key(key.public, of=juliet.world.stranger(ROMEO))


@pytest.mark.parametrize("text", [f"xmpp:{ROMEO}", "xmpp:Romeo@Montague.LIT"])
async def test_g_09_forms_of_its_jid_name_it(world: World, juliet: Person, text: str) -> None:
    key = forged("Romeo <romeo@example.org>", text, f"xmpp:{TYBALT}")
    world.announce(ROMEO, key.public)
    await juliet.gather(romeo := world.stranger(ROMEO))
    assert await encrypted_to(juliet, romeo) == {key_id(key.encryption)}


async def test_g_09_a_key_for_two_jids_is_trusted_for_each_alone(world: World) -> None:
    """Tybalt's key may also say that it is Romeo's: nobody asks Romeo's key ring about Tybalt."""
    both = forged(f"xmpp:{TYBALT}", f"xmpp:{ROMEO}")
    juliet, romeo = await friends(world, forged(f"xmpp:{ROMEO}"))
    tybalt = await world.person(TYBALT, key=both.secret)
    await meet(juliet, tybalt)
    letter = await tybalt.seal(juliet)
    assert await juliet.open(letter, tybalt)
    async with refused(ErrorCode.BAD_SIGNATURE, juliet):
        await juliet.open(letter, romeo)
