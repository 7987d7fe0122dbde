"""Holds the primitives that OMEMO stands on to Wycheproof's vectors of their known mistakes.

Rule: each is called as ours and the packages' code calls it; every deviation is listed at the top,
with its reason, and what is listed must deviate.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import xeddsa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from doubleratchet import DecryptionFailedException
from doubleratchet.recommended import HashFunction
from doubleratchet.recommended.crypto_provider_impl import CryptoProviderImpl

from e2ee.errors import PeerMisbehaved
from e2ee.omemo.curve25519 import check_public_key, is_signed
from tests.support.peers import require_shared

Case = dict[str, Any]

DEVIATIONS: dict[str, Callable[[Case], bool]] = {
    # Acceptable there, an error here: whoever sends such a key knows beforehand what is agreed on.
    "x25519": lambda case: "ZeroSharedSecret" in case["flags"],
    # The interface takes nonces of 8 to 128 bytes; OMEMO has 12 and 16.
    "aes_gcm": lambda case: case["result"] == "valid" and not 8 <= len(case["iv"]) // 2 <= 128,
}
"""By file, which cases are answered otherwise, and why; none of any other file."""


def _cases(name: str) -> Iterator[tuple[Case, Case]]:
    """Yield each case with its group."""
    path = require_shared(f"vectors/wycheproof/{name}_test.json")
    for group in json.loads(path.read_text(encoding="utf-8"))["testGroups"]:
        for case in group["tests"]:
            yield group, case


def _check(
    name: str, answer: Callable[[Case, Case], bytes | bool | None], key: str | None = None
) -> None:
    """Fail unless exactly the listed cases have another answer than the file's.

    Args:
        name: of the file.
        answer: what we make of a group's case: a value, ``None`` for a refusal; or whether it is
            valid.
        key: where the value stands that a valid case must yield.
    """
    listed = DEVIATIONS.get(name)
    for group, case in _cases(name):
        deviates = listed is not None and listed(case)
        expected: bytes | bool | None = case["result"] != "invalid"
        if key is not None:
            expected = bytes.fromhex(case[key]) if expected else None
        assert (answer(group, case) != expected) == deviates, case


def test_x25519() -> None:
    """libsodium's, by xeddsa: of X3DH and of the ratchet."""

    def answer(group: Case, case: Case) -> bytes | None:
        public, private = bytes.fromhex(case["public"]), bytes.fromhex(case["private"])
        try:
            return xeddsa.x25519(private, public)
        except xeddsa.XEdDSAException:
            return None

    _check("x25519", answer, "shared")


def test_o_08_unfit_x25519_keys_are_refused_before_they_are_used() -> None:
    """Those that yield zero, and each key's second form, which no client writes."""
    for _, case in _cases("x25519"):
        key = bytes.fromhex(case["public"])
        unfit = {"ZeroSharedSecret", "NonCanonicalPublic"} & set(case["flags"]) or key[-1] > 0x7F
        try:
            check_public_key(key, "a rule")
            refused = False
        except PeerMisbehaved:
            refused = True
        assert refused == bool(unfit), case


def test_ed25519() -> None:
    """Verification, by xeddsa: of signed prekeys and labels."""

    def answer(group: Case, case: Case) -> bool:
        message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
        return is_signed(message, signature, bytes.fromhex(group["publicKey"]["pk"]))

    _check("ed25519", answer)


def _run(step: Any) -> Any:
    """Run a coroutine of the packages', which never waits for anything."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


def test_aes_cbc() -> None:
    """AES-CBC with PKCS#7, OpenSSL's: of messages and payloads of version 2."""

    def answer(group: Case, case: Case) -> bytes | None:
        key, iv = bytes.fromhex(case["key"]), bytes.fromhex(case["iv"])
        ciphertext = bytes.fromhex(case["ct"])
        try:
            plaintext = _run(CryptoProviderImpl.aes_cbc_decrypt(key, iv, ciphertext))
        except DecryptionFailedException:
            return None
        assert _run(CryptoProviderImpl.aes_cbc_encrypt(key, iv, plaintext)) == ciphertext
        return bytes(plaintext)

    _check("aes_cbc_pkcs5", answer, "msg")


def test_aes_gcm() -> None:
    """AES-GCM, OpenSSL's: of payloads of the legacy version."""

    def answer(group: Case, case: Case) -> bytes | None:
        sealed = bytes.fromhex(case["ct"] + case["tag"])
        nonce, bound = bytes.fromhex(case["iv"]), bytes.fromhex(case["aad"])
        try:
            return AESGCM(bytes.fromhex(case["key"])).decrypt(nonce, sealed, bound)
        except (InvalidTag, ValueError):
            return None

    _check("aes_gcm", answer, "msg")


def test_hkdf() -> None:
    """HKDF-SHA-256, OpenSSL's: of X3DH, root chains, message keys and payloads."""

    def answer(group: Case, case: Case) -> bytes | None:
        salt, info = bytes.fromhex(case["salt"]), bytes.fromhex(case["info"])
        material = bytes.fromhex(case["ikm"])
        try:
            derived = CryptoProviderImpl.hkdf_derive(
                HashFunction.SHA_256, case["size"], salt, info, material
            )
            return bytes(_run(derived))
        except ValueError:
            return None

    _check("hkdf_sha256", answer, "okm")


@pytest.mark.parametrize("ours", [True, False], ids=["our own payloads", "the packages' messages"])
def test_hmac(ours: bool) -> None:
    """HMAC-SHA-256, by the standard library and by OpenSSL."""

    def answer(group: Case, case: Case) -> bool:
        key, message = bytes.fromhex(case["key"]), bytes.fromhex(case["msg"])
        tag = (
            hmac.digest(key, message, "sha256")
            if ours
            else _run(CryptoProviderImpl.hmac_calculate(key, HashFunction.SHA_256, message))
        )
        return hmac.compare_digest(tag[: group["tagSize"] // 8], bytes.fromhex(case["tag"]))

    _check("hmac_sha256", answer)
