"""Items of a node both ways with GnuPG, through ``NodeEncryption``: everything that gpg can write.

gpg is given the node's secret as passphrase, as Libervia does.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from itertools import product

import pytest

from e2ee.errors import ErrorCode
from e2ee.xmlparse import parse_xml
from e2ee.xmlwrite import write_xml
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import OpenedItem, UnreadableItem
from tests.support.blog import Stage
from tests.support.gnupg import Gnupg, gnupg
from tests.support.node_items import PAYLOADS
from tests.support.node_world import entry, stood_in

pytestmark = pytest.mark.slow

MODES = ("0", "1", "3")
CIPHERS = ("AES", "AES192", "AES256")
COMPRESSIONS = ("none", "zip", "zlib", "bzip2")


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gnupg]:
    with gnupg() as found:
        yield found


def listed(gpg: Gnupg, what: str) -> list[str]:
    """Return the algorithms of one kind that this gpg has."""
    lines = gpg.run("--with-colons", "--list-config", what).decode().split(":", 2)
    return lines[2].strip().split(";")


async def test_gpg_reads_our_items(gpg: Gnupg) -> None:
    stage = await Stage.set("romeo")
    passphrase = (await stage.owner.keychain()).current.passphrase.reveal()
    for payload in PAYLOADS:
        item = EncryptedItem.from_xml(await stage.owner.encrypt(payload))
        plaintext = gpg.run("--decrypt", data=item.ciphertext, passphrase=passphrase)
        assert parse_xml(plaintext).same_content(payload)
    with pytest.raises(subprocess.CalledProcessError):
        gpg.run("--decrypt", data=item.ciphertext, passphrase=b"another")


async def test_gpg_reads_our_items_under_every_secret_of_the_history(gpg: Gnupg) -> None:
    stage = await Stage.set("romeo")
    items = []
    for number in range(3):
        items.append(EncryptedItem.from_xml(await stage.owner.encrypt(entry(f"{number}"))))
        await stage.owner.rotate()
        await stage.deliver()
    keychain = await stage.node("romeo").keychain()
    for number, item in enumerate(items):
        passphrase = keychain.require(item.secret_id).passphrase.reveal()
        plaintext = gpg.run("--decrypt", data=item.ciphertext, passphrase=passphrase)
        assert parse_xml(plaintext).same_content(entry(f"{number}"))


async def test_we_read_everything_that_gpg_can_write(gpg: Gnupg) -> None:
    """Every S2K mode, digest, AES and compression, on one page."""
    stage = await Stage.set("romeo")
    secret = (await stage.owner.keychain()).current
    kinds = list(product(MODES, listed(gpg, "digestname"), CIPHERS, COMPRESSIONS))
    assert len(kinds) >= 216
    page = []
    for number, (mode, digest, cipher, compression) in enumerate(kinds):
        message = gpg.run(
            "--symmetric",
            *("--s2k-mode", mode, "--s2k-digest-algo", digest, "--s2k-cipher-algo", cipher),
            *("--s2k-count", "65536", "--compress-algo", compression),
            data=write_xml(entry(f"élan {number}")).encode(),
            passphrase=secret.passphrase.reveal(),
        )
        page.append((EncryptedItem(secret.id, message).to_xml(), stood_in(stage.blog)))
    results = await stage.node("romeo").decrypt_many(page)
    for number, (kind, result) in enumerate(zip(kinds, results, strict=True)):
        assert isinstance(result, OpenedItem), (kind, result)
        assert result.payload.same_content(entry(f"élan {number}"))


async def test_we_read_what_gpg_writes_by_default_and_what_is_long(gpg: Gnupg) -> None:
    stage = await Stage.set("romeo")
    secret = (await stage.owner.keychain()).current
    page = [
        (
            EncryptedItem(
                secret.id,
                gpg.run(
                    "--symmetric",
                    data=write_xml(payload).encode(),
                    passphrase=secret.passphrase.reveal(),
                ),
            ).to_xml(),
            stood_in(stage.blog),
        )
        for payload in PAYLOADS
    ]
    for result, payload in zip(await stage.node("romeo").decrypt_many(page), PAYLOADS, strict=True):
        assert isinstance(result, OpenedItem), result
        assert result.payload.same_content(payload)


async def test_another_cipher_of_gpg_is_refused_by_name(gpg: Gnupg) -> None:
    stage = await Stage.set("romeo")
    secret = (await stage.owner.keychain()).current
    for cipher in ("3DES", "CAST5", "BLOWFISH", "TWOFISH", "CAMELLIA256"):
        message = gpg.run(
            "--symmetric",
            *("--s2k-cipher-algo", cipher, "--s2k-count", "65536"),
            data=b"<a xmlns='urn:x'/>",
            passphrase=secret.passphrase.reveal(),
        )
        item = EncryptedItem(secret.id, message).to_xml()
        (result,) = await stage.node("romeo").decrypt_many([(item, stood_in(stage.blog))])
        assert isinstance(result, UnreadableItem)
        assert result.error.code is ErrorCode.UNSUPPORTED_ALGORITHM
