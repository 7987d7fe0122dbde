"""Items of a node both ways with OpenPGP.js and sqop, through ``NodeEncryption``."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from e2ee.errors import ErrorCode
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import UnreadableItem
from tests.support.blog import Stage
from tests.support.node_items import PAYLOADS
from tests.support.node_world import stood_in
from tests.support.peers import require_npm_package, require_program

pytestmark = pytest.mark.slow

COMPRESSIONS = {"uncompressed": 0, "zip": 1, "zlib": 2}
CIPHERS = {"aes128": 7, "aes192": 8, "aes256": 9}


def openpgpjs(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Have OpenPGP.js answer requests, in one process."""
    require_npm_package("openpgp")
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    script = Path(__file__).parent / "passphrase.mjs"
    done = subprocess.run(
        ["node", str(script)], input=lines.encode(), capture_output=True, check=True, timeout=120
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def sqop(folder: Path, action: str, passphrase: Secret, data: bytes) -> bytes:
    """Have sqop encrypt or decrypt with a passphrase."""
    phrase = folder / "phrase"
    phrase.write_bytes(passphrase.reveal())
    options = ["--no-armor"] if action == "encrypt" else []
    done = subprocess.run(
        [require_program("sqop"), action, *options, "--with-password", str(phrase)],
        input=data,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout


async def opened(stage: Stage, messages: list[bytes]) -> list[Element | ErrorCode]:
    """Open messages as items of the blog; return payloads, or why there is none."""
    secret = (await stage.owner.keychain()).current
    page = [
        (EncryptedItem(secret.id, message).to_xml(), stood_in(stage.blog)) for message in messages
    ]
    results = await stage.node("romeo").decrypt_many(page)
    return [
        result.error.code if isinstance(result, UnreadableItem) else result.payload
        for result in results
    ]


async def test_openpgpjs_reads_our_items() -> None:
    stage = await Stage.set("romeo")
    passphrase = (await stage.owner.keychain()).current.passphrase.reveal().decode()
    items = [EncryptedItem.from_xml(await stage.owner.encrypt(payload)) for payload in PAYLOADS]
    answers = openpgpjs(
        *({"does": "unlock", "data": b64encode(item.ciphertext).decode(), "passphrase": passphrase}
          for item in items)
    )  # fmt: skip
    for answer, payload in zip(answers, PAYLOADS, strict=True):
        assert parse_xml(b64decode(answer["data"])).same_content(payload)


async def test_we_read_openpgpjs_items_in_every_cipher_and_compression() -> None:
    stage = await Stage.set("romeo")
    passphrase = (await stage.owner.keychain()).current.passphrase.reveal().decode()
    requests: list[dict[str, Any]] = [
        {
            "does": "lock",
            "data": b64encode(write_xml(payload).encode()).decode(),
            "passphrase": passphrase,
            "config": {
                "preferredSymmetricAlgorithm": cipher,
                "preferredCompressionAlgorithm": compression,
                "s2kIterationCountByte": 96,
            },
        }
        for cipher in CIPHERS.values()
        for compression in COMPRESSIONS.values()
        for payload in PAYLOADS[:2]
    ]
    requests.append({**requests[1], "config": {}})  # whatever it does by itself
    answers = openpgpjs(*requests)
    results = await opened(stage, [b64decode(answer["data"]) for answer in answers])
    for result, request in zip(results, requests, strict=True):
        assert isinstance(result, Element), (result, request["config"])
        assert write_xml(result) == b64decode(request["data"]).decode()


async def test_containers_of_version_2_are_refused_by_name() -> None:
    stage = await Stage.set("romeo")
    passphrase = (await stage.owner.keychain()).current.passphrase.reveal().decode()
    request = {
        "does": "lock",
        "data": b64encode(write_xml(PAYLOADS[0]).encode()).decode(),
        "passphrase": passphrase,
        "config": {"aeadProtect": True},
    }
    (answer,) = openpgpjs(request)
    assert await opened(stage, [b64decode(answer["data"])]) == [ErrorCode.UNSUPPORTED_ALGORITHM]


async def test_sqop_reads_our_items(tmp_path: Path) -> None:
    stage = await Stage.set("romeo")
    passphrase = (await stage.owner.keychain()).current.passphrase
    for payload in PAYLOADS:
        item = EncryptedItem.from_xml(await stage.owner.encrypt(payload))
        plaintext = sqop(tmp_path, "decrypt", passphrase, item.ciphertext)
        assert parse_xml(plaintext).same_content(payload)


async def test_we_read_sqops_items(tmp_path: Path) -> None:
    stage = await Stage.set("romeo")
    passphrase = (await stage.owner.keychain()).current.passphrase
    messages = [
        sqop(tmp_path, "encrypt", passphrase, write_xml(payload).encode()) for payload in PAYLOADS
    ]
    for result, payload in zip(await opened(stage, messages), PAYLOADS, strict=True):
        assert isinstance(result, Element), result
        assert result.same_content(payload)
