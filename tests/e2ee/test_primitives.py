"""NativePrimitives: randomness that never repeats, and ciphers that agree with everyone's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf import argon2

from e2ee.errors import CannotDecrypt, EngineFailed
from e2ee.ports import Argon2Cost
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from tests.support.peers import require_shared
from tests.support.source import ROOT

_FORKING = """
import os
from e2ee.primitives import NativePrimitives
primitives = NativePrimitives()
primitives.random(16)
child = os.fork()
if child:
    os.waitpid(child, 0)
print(primitives.random(16).hex(), flush=True)
"""


def test_random_has_the_length_that_was_asked_for() -> None:
    assert [len(NativePrimitives().random(count)) for count in (0, 1, 32, 1000)] == [0, 1, 32, 1000]


def test_z_05_a_forked_process_does_not_repeat_its_parent() -> None:
    """A program of its own, because forking the test runner would fork all that it holds."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    child, parent = done.stdout.split()
    assert child != parent


def test_aes_gcm_agrees_with_wycheproof() -> None:
    found = json.loads(require_shared("vectors/wycheproof/aes_gcm_test.json").read_text())
    primitives = NativePrimitives()
    outcomes = []
    for group in found["testGroups"]:
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue  # other sizes are never used
        for case in group["tests"]:
            key = Secret(bytes.fromhex(case["key"]))
            nonce, bound = bytes.fromhex(case["iv"]), bytes.fromhex(case["aad"])
            plaintext, sealed = bytes.fromhex(case["msg"]), bytes.fromhex(case["ct"] + case["tag"])
            outcomes.append(case["result"])
            if case["result"] == "valid":
                assert primitives.seal_aes_gcm(key, nonce, plaintext, bound) == sealed
                assert primitives.open_aes_gcm(key, nonce, sealed, bound) == plaintext
            else:
                with pytest.raises(CannotDecrypt):
                    primitives.open_aes_gcm(key, nonce, sealed, bound)
    assert (outcomes.count("valid"), outcomes.count("invalid")) == (39, 27)


def test_aes_gcm_opens_nothing_that_was_altered() -> None:
    primitives = NativePrimitives()
    key, nonce = Secret(bytes(32)), bytes(12)
    sealed = primitives.seal_aes_gcm(key, nonce, b"plaintext", b"bound")
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        for wrong in (bytes(altered), sealed[:place]):
            with pytest.raises(CannotDecrypt):
                primitives.open_aes_gcm(key, nonce, wrong, b"bound")
    for other in (
        (Secret(b"\1" * 32), nonce, sealed, b"bound"),
        (key, b"\1" * 12, sealed, b"bound"),
        (key, nonce, sealed, b"bond"),
    ):
        with pytest.raises(CannotDecrypt):
            primitives.open_aes_gcm(*other)
    assert primitives.open_aes_gcm(key, nonce, sealed, b"bound") == b"plaintext"


@pytest.mark.parametrize(
    ("passphrase", "salt", "cost", "derived"),
    [
        # The reference implementation's own (its src/test.c); those of RFC 9106 §5.3 are with a
        # secret and associated data, which we have no use for.
        ("password", "somesalt", (2, 256, 1), "9dfeb910e80bad0311fee20f9c0e2b12"),
        ("password", "somesalt", (2, 256, 2), "6d093c501fd5999645e0ea3bf620d7b8"),
        ("password", "somesalt", (2, 65536, 1), "09316115d5cf24ed5a15a31a3ba326e5"),
        ("password", "somesalt", (4, 65536, 1), "9025d48e68ef7395cca9079da4c4ec3a"),
        ("password", "diffsalt", (2, 65536, 1), "bdf32b05ccc42eb15d58fd19b1f856b1"),
        ("differentpassword", "somesalt", (2, 65536, 1), "0b84d652cf6b0c4beaef0dfe278ba6a8"),
    ],
)
def test_argon2id_agrees_with_its_authors(
    passphrase: str, salt: str, cost: tuple[int, int, int], derived: str
) -> None:
    found = NativePrimitives().argon2id(
        Secret(passphrase.encode()), salt.encode(), Argon2Cost(*cost)
    )
    assert len(found) == 32
    assert found.reveal()[:16].hex() == derived


def test_an_openssl_without_argon2id_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**settings: object) -> None:
        raise UnsupportedAlgorithm("quotes its arguments")

    monkeypatch.setattr(argon2, "Argon2id", refuse)
    with pytest.raises(EngineFailed) as caught:
        NativePrimitives().argon2id(Secret(b"x"), bytes(16), Argon2Cost(1, 8, 1))
    assert caught.value.__cause__ is None
    assert "quotes" not in str(caught.value)
