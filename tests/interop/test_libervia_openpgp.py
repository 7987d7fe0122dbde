"""OpenPGP that Libervia made with GnuPG: keys, items, elements and a backup, all recorded."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.secret import Secret
from ox.certificates import check_certificate, check_secret_key
from ox.grammar import (
    check_detached_signatures,
    check_encrypted_message,
    check_literal,
    check_signed_payload,
)
from ox.pkesk import DecryptionKey
from tests.support.openpgp import decryption_keys_of, unlocked, unwrapped
from tests.support.peers import require_shared


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(require_shared(f"peers/libervia/{name}.json").read_text())
    return found


def packets_in(element: str) -> bytes:
    """Return the base64 text of an element that holds nothing else."""
    return base64.b64decode(element.split(">", 1)[1].split("<", 1)[0], validate=True)


@pytest.fixture(scope="module")
def keys() -> tuple[DecryptionKey, ...]:
    return tuple(
        ready
        for key in recorded("keys")["keys"].values()
        for ready in decryption_keys_of(Secret(base64.b64decode(key["secret_key_b64"])))
    )


def test_keys_are_read() -> None:
    for key in recorded("keys")["keys"].values():
        public = check_certificate(base64.b64decode(key["public_key_b64"]))
        secret = check_secret_key(Secret(base64.b64decode(key["secret_key_b64"])))
        assert [each.public for each in secret] == list(public)
        assert public[0].fingerprint.hex().upper() == key["fingerprint"]


def test_items_unlock() -> None:
    for case in recorded("oxps_items")["cases"]:
        passphrase = Secret(case["secret"]["key"].encode())
        encrypted = case["item_encrypted"]
        message = packets_in(encrypted[encrypted.index("<encrypted") :])
        assert unlocked(message, passphrase) == case["openpgp_plaintext"].encode(), case["id"]


def test_elements_unwrap(keys: tuple[DecryptionKey, ...]) -> None:
    for case in recorded("ox_elements")["cases"]:
        data = packets_in(case["openpgp_element"])
        if case["kind"] == "sign":
            with pytest.raises(PeerMisbehaved) as caught:
                check_encrypted_message(data)
            assert caught.value.code is ErrorCode.NOT_ENCRYPTED
            continue
        inner = unwrapped(data, keys)
        signed = case["kind"] == "signcrypt"
        content = check_signed_payload(inner).data if signed else check_literal(inner)
        assert content == case["content_element"].encode(), case["id"]


def test_the_backup_unlocks() -> None:
    for case in recorded("ox_secret_key_backup")["cases"]:
        data = unlocked(packets_in(case["secretkey_element"]), Secret(case["code"].encode()))
        assert data == base64.b64decode(case["plaintext_b64"])
        primary, *_ = check_secret_key(Secret(data))
        assert [primary.public.fingerprint.hex().upper()] == case["fingerprints"]


def test_detached_signatures_are_taken() -> None:
    for case in recorded("pubsub_signing")["cases"]:
        check_detached_signatures(base64.b64decode(case["signature_b64"]), most=1)
