"""Containers and keys against real gpg, both ways; GnuPG 2.2 is the strictest peer here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product

import pysequoia
import pytest

from e2ee.secret import Secret
from ox.certificates import check_certificate
from ox.container import lock, wrap
from ox.engine import S2kCount
from ox.grammar import SignedPayload, check_literal, check_signed_payload
from ox.keygen import generate_key
from tests.support.gnupg import Gnupg, gnupg
from tests.support.openpgp import (
    PASSPHRASE,
    decryption_keys_of,
    encryption_keys_of,
    unlocked,
    unwrapped,
)

pytestmark = pytest.mark.slow

SIZES = (0, 1, 191, 192, 8383, 8384, 70_000)
DIGESTS = ("MD5", "SHA1", "RIPEMD160", "SHA224", "SHA256", "SHA384", "SHA512")
CIPHERS = ("AES", "AES192", "AES256")
COMPRESSIONS = ("none", "zip", "zlib", "bzip2")
USER_ID = "xmpp:juliet@capulet.lit"
TEXT = "<entry>Où est-tu, Roméo ?</entry>\n".encode() * 20


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gnupg]:
    with gnupg() as found:
        yield found


@pytest.fixture(scope="module")
def key(gpg: Gnupg) -> tuple[bytes, Secret]:
    """Return a key of ours that gpg has imported, secret part and all."""
    public, secret = generate_key(USER_ID, datetime(2026, 1, 1, tzinfo=UTC), os.urandom)
    gpg.run("--import", data=secret.reveal())
    return public, secret


def fingerprint(key: tuple[bytes, Secret]) -> str:
    return check_certificate(key[0])[0].fingerprint.hex().upper()


def signed(secret: Secret, data: bytes) -> bytes:
    return pysequoia.sign(pysequoia.Tsk.from_bytes(secret.reveal()).signer(), data, armor=False)


def verified(payload: SignedPayload, key: tuple[bytes, Secret]) -> bool:
    cert = pysequoia.Cert.from_bytes(key[0])
    (signature,) = map(pysequoia.Sig.from_bytes, payload.signatures)
    return bool(pysequoia.verify(payload.data, lambda _: [cert], signature=signature).valid_sigs)


@pytest.mark.parametrize("count", S2kCount)
@pytest.mark.parametrize("size", SIZES)
def test_gpg_reads_what_we_lock(gpg: Gnupg, size: int, count: S2kCount) -> None:
    data = os.urandom(size)
    message = lock(data, PASSPHRASE, count, os.urandom)
    assert gpg.run("--decrypt", data=message, passphrase=PASSPHRASE.reveal()) == data


def test_gpg_refuses_what_was_altered(gpg: Gnupg) -> None:
    message = bytearray(lock(b"hello", PASSPHRASE, S2kCount.RANDOM_SECRET, os.urandom))
    message[-1] ^= 1
    with pytest.raises(subprocess.CalledProcessError):
        gpg.run("--decrypt", data=bytes(message), passphrase=PASSPHRASE.reveal())


@pytest.mark.parametrize(
    ("mode", "digest", "cipher"), list(product(("0", "1", "3"), DIGESTS, CIPHERS))
)
def test_we_read_every_s2k_of_gpg(gpg: Gnupg, mode: str, digest: str, cipher: str) -> None:
    message = gpg.run(
        "--symmetric",
        *("--s2k-mode", mode, "--s2k-digest-algo", digest, "--s2k-cipher-algo", cipher),
        *("--s2k-count", "65536"),
        data=TEXT,
        passphrase=PASSPHRASE.reveal(),
    )
    assert unlocked(message) == TEXT


@pytest.mark.parametrize("digest", DIGESTS)
def test_we_read_gpgs_own_count(gpg: Gnupg, digest: str) -> None:
    arguments = ("--symmetric", "--s2k-digest-algo", digest)
    message = gpg.run(*arguments, data=TEXT, passphrase=PASSPHRASE.reveal())
    assert unlocked(message) == TEXT


@pytest.mark.parametrize(("compression", "size"), list(product(COMPRESSIONS, SIZES)))
def test_we_read_every_length_and_compression_of_gpg(
    gpg: Gnupg, compression: str, size: int
) -> None:
    arguments = ("--symmetric", "--s2k-count", "1088", "--compress-algo", compression)
    for data in (os.urandom(size), os.urandom(size).hex().encode()[:size]):
        message = gpg.run(*arguments, data=data, passphrase=PASSPHRASE.reveal())
        assert unlocked(message) == data


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_we_read_gpgs_text_mode(gpg: Gnupg, compression: str) -> None:
    arguments = ("--symmetric", "--s2k-count", "1088", "--compress-algo", compression)
    message = gpg.run(*arguments, "--textmode", data=TEXT, passphrase=PASSPHRASE.reveal())
    assert unlocked(message) == TEXT.replace(b"\n", b"\r\n")


def test_we_read_gpgs_file_names_without_using_them(gpg: Gnupg) -> None:
    arguments = ("--symmetric", "--s2k-count", "1088", "--set-filename", "../../.bashrc")
    message = gpg.run(*arguments, data=TEXT, passphrase=PASSPHRASE.reveal())
    assert unlocked(message) == TEXT


def test_gpg_takes_our_keys(gpg: Gnupg, key: tuple[bytes, Secret]) -> None:
    listed = gpg.run("--list-secret-keys", "--with-colons", fingerprint(key)).decode()
    records = [line.split(":") for line in listed.splitlines()]
    user_ids = [record[9].replace(r"\x3a", ":") for record in records if record[0] == "uid"]
    assert user_ids == [USER_ID]
    primary, subkey = (record for record in records if record[0] in ("sec", "ssb"))
    assert (primary[3], primary[16], primary[6]) == ("22", "ed25519", "")  # no expiry
    assert (subkey[3], subkey[16], subkey[6]) == ("18", "cv25519", "")
    assert set(primary[11]) >= set("sc")
    assert subkey[11] == "e"
    checked = gpg.run("--check-signatures", "--with-colons", fingerprint(key)).decode()
    signatures = [line.split(":") for line in checked.splitlines() if line.startswith("sig:")]
    assert [record[1] for record in signatures] == ["!", "!"]


@pytest.mark.parametrize("kind", ["seed", "scalar"])
def test_gpg_takes_keys_whose_numbers_are_short(gpg: Gnupg, kind: str) -> None:
    def zeros_first(count: int) -> bytes:
        return (
            b"\0\0" + os.urandom(count - 2) if kind == "seed" else os.urandom(count - 2) + b"\0\0"
        )

    key = generate_key(f"xmpp:{kind}@capulet.lit", datetime(2026, 1, 1, tzinfo=UTC), zeros_first)
    gpg.run("--import", data=key[1].reveal())
    user = ("--local-user", fingerprint(key), "--recipient", fingerprint(key))
    message = gpg.run("--sign", "--encrypt", *user, data=TEXT)
    assert gpg.run("--decrypt", data=message) == TEXT
    payload = check_signed_payload(unwrapped(message, decryption_keys_of(key[1])))
    assert payload.data == TEXT
    assert verified(payload, key)
    exported = Secret(gpg.run("--export-secret-keys", fingerprint(key)))
    assert unwrapped(message, decryption_keys_of(exported))


@pytest.mark.parametrize("size", SIZES)
def test_gpg_reads_what_we_wrap(gpg: Gnupg, key: tuple[bytes, Secret], size: int) -> None:
    data = os.urandom(size)
    message = wrap(signed(key[1], data), encryption_keys_of(key[0]), os.urandom)
    status = gpg.home / "status"
    arguments = ("--status-file", str(status), "--decrypt")
    assert gpg.run(*arguments, data=message) == data
    said = status.read_bytes()  # with Sequoia's salt in it, which is no text
    assert f"VALIDSIG {fingerprint(key)}".encode() in said
    assert b"DECRYPTION_OKAY" in said
    assert b"GOODMDC" in said


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("size", SIZES)
def test_we_read_what_gpg_signs_and_encrypts(
    gpg: Gnupg, key: tuple[bytes, Secret], size: int, compression: str
) -> None:
    data = os.urandom(size)
    user = ("--local-user", fingerprint(key), "--recipient", fingerprint(key))
    message = gpg.run("--sign", "--encrypt", *user, "--compress-algo", compression, data=data)
    payload = check_signed_payload(unwrapped(message, decryption_keys_of(key[1])))
    assert payload.data == data
    assert verified(payload, key)


def test_gpg_keeps_to_what_our_keys_say(gpg: Gnupg, key: tuple[bytes, Secret]) -> None:
    """AES-256, version 1, no compression: our preferences, against gpg's own defaults."""
    message = gpg.run("--encrypt", "--recipient", fingerprint(key), data=TEXT)
    assert len(message) > len(TEXT)
    assert check_literal(unwrapped(message, decryption_keys_of(key[1]))) == TEXT


def test_we_read_what_gpg_sends_to_hidden_recipients(gpg: Gnupg, key: tuple[bytes, Secret]) -> None:
    message = gpg.run("--encrypt", "--hidden-recipient", fingerprint(key), data=TEXT)
    assert check_literal(unwrapped(message, decryption_keys_of(key[1]))) == TEXT


def test_we_read_what_gpg_sends_to_keys_and_a_passphrase(
    gpg: Gnupg, key: tuple[bytes, Secret]
) -> None:
    arguments = ("--encrypt", "--symmetric", "--recipient", fingerprint(key))
    message = gpg.run(*arguments, data=TEXT, passphrase=PASSPHRASE.reveal())
    assert check_literal(unwrapped(message, decryption_keys_of(key[1]))) == TEXT


@pytest.mark.parametrize("algorithm", ["rsa3072", "rsa2048", "future-default"])
def test_gpgs_own_keys_work_both_ways(
    gpg: Gnupg, key: tuple[bytes, Secret], algorithm: str
) -> None:
    name = f"xmpp:{algorithm}@montague.lit"
    usage = ("sign,encr", "never") if algorithm.startswith("rsa") else ("default", "never")
    gpg.run("--quick-generate-key", name, algorithm, *usage)
    theirs = gpg.run("--export", name), Secret(gpg.run("--export-secret-keys", name))
    message = wrap(signed(key[1], TEXT), encryption_keys_of(theirs[0]), os.urandom)
    assert gpg.run("--decrypt", data=message) == TEXT
    arguments = ("--sign", "--encrypt", "--local-user", name, "--recipient", name)
    for more in ((), ("--textmode",)):
        message = gpg.run(*arguments, *more, data=TEXT)
        inner = unwrapped(message, decryption_keys_of(theirs[1]))
        if not more:
            assert check_signed_payload(inner).data == TEXT
