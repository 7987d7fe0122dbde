"""OpenPGP for XMPP against GnuPG 2.2: keys, signed and encrypted messages, items, both ways."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.secret import Secret
from ox.certificates import check_secret_key
from ox.engine import KeyHandle
from tests.support.gnupg import Gnupg, gnupg
from tests.support.ox_interop import TEXT, OxInterop, PeerRefused
from tests.support.ox_world import World, fingerprint_of, meet, refused

pytestmark = pytest.mark.slow

KINDS = {
    "curve25519": "Key-Type: EDDSA\nKey-Curve: ed25519\nKey-Usage: sign\n"
    "Subkey-Type: ECDH\nSubkey-Curve: cv25519\nSubkey-Usage: encrypt\n",
    "rsa3072": "Key-Type: RSA\nKey-Length: 3072\nKey-Usage: sign\n"
    "Subkey-Type: RSA\nSubkey-Length: 3072\nSubkey-Usage: encrypt\n",
    "everything": "Key-Type: RSA\nKey-Length: 3072\nKey-Usage: sign,encrypt\n",  # as Libervia's
    "ecdsa": "Key-Type: ECDSA\nKey-Curve: nistp256\nKey-Usage: sign\n"
    "Subkey-Type: ECDH\nSubkey-Curve: cv25519\nSubkey-Usage: encrypt\n",
    "half-p256": "Key-Type: EDDSA\nKey-Curve: ed25519\nKey-Usage: sign\n"
    "Subkey-Type: ECDH\nSubkey-Curve: nistp256\nSubkey-Usage: encrypt\n",
    "dsa": "Key-Type: DSA\nKey-Length: 2048\nKey-Usage: sign\n"
    "Subkey-Type: RSA\nSubkey-Length: 2048\nSubkey-Usage: encrypt\n",
    "p256": "Key-Type: ECDSA\nKey-Curve: nistp256\nKey-Usage: sign\n"
    "Subkey-Type: ECDH\nSubkey-Curve: nistp256\nSubkey-Usage: encrypt\n",
}
"""What gpg is asked for when it makes a key."""


class GpgPeer:
    """``tests.support.ox_interop.OxPeer`` on gpg; its home keeps what it was ever handed."""

    kinds: Sequence[str] = ("curve25519", "rsa3072", "everything")

    def __init__(self, gpg: Gnupg) -> None:
        self._gpg = gpg
        self._made: dict[tuple[str, str], bytes] = {}

    def new_key(self, user_id: str, kind: str) -> bytes:
        if (user_id, kind) not in self._made:
            before = self._secret_keys()
            wish = f"{KINDS[kind]}Name-Real: {user_id}\nExpire-Date: 0\n%no-protection\n%commit\n"
            self._gpg.run("--full-generate-key", data=wish.encode())
            (name,) = self._secret_keys() - before
            self._made[user_id, kind] = self._gpg.run("--export-secret-keys", name)
        return self._made[user_id, kind]

    def public(self, secret: bytes) -> bytes:
        return self._gpg.run("--export", self._learn(secret, ()))

    def _secret_keys(self) -> set[str]:
        rows = self._gpg.run("--list-secret-keys", "--with-colons").decode().splitlines()
        lines = [row.split(":") for row in rows]
        return {name[9] for line, name in pairwise(lines) if (line[0], name[0]) == ("sec", "fpr")}

    def _learn(self, secret: bytes, public: Sequence[bytes]) -> str:
        self._gpg.run("--import", data=secret)
        for raw in public:
            self._gpg.run("--import", data=raw)
        return check_secret_key(Secret(secret))[0].public.fingerprint.hex().upper()

    def signcrypt(self, data: bytes, signer: bytes, to: Sequence[bytes], *options: str) -> bytes:
        who = ["--local-user", self._learn(signer, to)]
        for raw in to:
            who += ["--recipient", fingerprint_of(raw)]
        return self._gpg.run(*options, "--sign", "--encrypt", *who, data=data)

    def open(self, message: bytes, key: bytes, signer: bytes) -> bytes:
        name = self._learn(key, [signer])
        status = self._gpg.home / "status"
        try:
            data = self._gpg.run(
                *("--status-file", str(status), "--try-secret-key", name, "--decrypt"),
                data=message,
            )
        except subprocess.CalledProcessError:
            raise PeerRefused from None
        lines = [line.split()[1:] for line in status.read_text("latin-1").splitlines()]
        words = {line[0]: line for line in lines if line}
        # What gpg wrote counts only if it says all of it (it writes what it then refuses, too).
        if not words.keys() >= {"DECRYPTION_OKAY", "GOODSIG", "VALIDSIG"}:
            raise PeerRefused
        if words["VALIDSIG"][-1] != fingerprint_of(signer):
            raise PeerRefused
        return data

    def revoked(self, key: bytes) -> bytes:
        """Return the public key with the revocation that gpg keeps ready for it."""
        name = self._learn(key, [])
        armored = (self._gpg.home / "openpgp-revocs.d" / f"{name}.rev").read_text()
        self._gpg.run("--import", data=armored.replace(":-----BEGIN", "-----BEGIN").encode())
        return self._gpg.run("--export", name)

    def lock(self, data: bytes, passphrase: bytes) -> bytes:
        return self._gpg.run("--symmetric", data=data, passphrase=passphrase)

    def unlock(self, message: bytes, passphrase: bytes) -> bytes:
        try:
            return self._gpg.run("--decrypt", data=message, passphrase=passphrase)
        except subprocess.CalledProcessError:
            raise PeerRefused from None


@pytest.fixture(scope="module")
def peer() -> Iterator[GpgPeer]:
    with gnupg() as gpg:
        yield GpgPeer(gpg)


class TestGpg(OxInterop):
    @pytest.mark.parametrize(
        "options",
        [
            ("--compress-algo", "none"),
            ("--compress-algo", "zip"),
            ("--compress-algo", "zlib"),
            ("--compress-algo", "bzip2"),
            ("--cipher-algo", "AES"),
            ("--cipher-algo", "AES192"),
            ("--digest-algo", "SHA256"),
            ("--throw-keyids",),
            ("--set-filename", "somewhere/else"),
            ("--rfc4880",),
        ],
        ids=" ".join,
    )
    async def test_we_read_whatever_else_it_writes(
        self, peer: GpgPeer, juliet: KeyHandle, options: tuple[str, ...]
    ) -> None:
        romeo = await self.romeos(peer, "curve25519")
        to = [romeo.certificate.raw, juliet.certificate.raw]
        message = peer.signcrypt(TEXT, romeo.material.reveal(), to, *options)
        signed = await self.engine.open(message, [juliet], [romeo.certificate.raw])
        assert signed.data == TEXT

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            (("--digest-algo", "SHA1"), ErrorCode.BAD_SIGNATURE),
            (("--textmode",), ErrorCode.BAD_SIGNATURE),
            (("--faked-system-time", "20200101T000000"), ErrorCode.BAD_SIGNATURE),
            (("--faked-system-time", "20990101T000000"), ErrorCode.BAD_SIGNATURE),
            (("--cipher-algo", "TWOFISH"), ErrorCode.CANNOT_DECRYPT),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
    )
    async def test_g_03_we_refuse_what_proves_nothing(
        self, peer: GpgPeer, juliet: KeyHandle, options: tuple[str, ...], code: ErrorCode
    ) -> None:
        romeo = await self.romeos(peer, "curve25519")
        always = ("--ignore-time-conflict", "--ignore-valid-from")
        try:
            message = peer.signcrypt(
                TEXT, romeo.material.reveal(), [juliet.certificate.raw], *always, *options
            )
        except subprocess.CalledProcessError:
            pytest.skip("gpg itself refuses to write this")
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await self.engine.open(message, [juliet], [romeo.certificate.raw])
        assert caught.value.code is code  # type: ignore[attr-defined]

    async def test_a_curve_that_is_not_ours_is_written_to_all_the_same(
        self, peer: GpgPeer, juliet: KeyHandle
    ) -> None:
        raw = peer.new_key("xmpp:romeo@montague.lit", "p256")
        romeo = await self.engine.inspect(peer.public(raw))
        both = [romeo, juliet.certificate]
        message = await self.engine.seal(TEXT, both, juliet)
        assert peer.open(message, raw, juliet.certificate.raw) == TEXT
        assert (await self.engine.open(message, [juliet], [each.raw for each in both])).data == TEXT
        ours = peer.signcrypt(TEXT, raw, [juliet.certificate.raw])
        assert (await self.engine.open(ours, [juliet], [each.raw for each in both])).data == TEXT

    @pytest.mark.parametrize("kind", ["curve25519", "rsa3072", "everything", "ecdsa"])
    async def test_what_we_can_decrypt_by_is_adopted(self, peer: GpgPeer, kind: str) -> None:
        world = World()
        romeo = await world.person("romeo@montague.lit")
        raw = peer.new_key("xmpp:tybalt@capulet.lit", kind)
        tybalt = await world.person("tybalt@capulet.lit", key=Secret(raw))
        await meet(romeo, tybalt)
        assert await tybalt.open(await romeo.seal(tybalt), romeo)
        assert await romeo.open(await tybalt.seal(romeo), tybalt)

    @pytest.mark.parametrize("kind", ["p256", "half-p256", "dsa"])
    async def test_what_we_cannot_decrypt_by_is_not(self, peer: GpgPeer, kind: str) -> None:
        tybalt = World().stranger("tybalt@capulet.lit")
        await tybalt.gather(tybalt)
        raw = Secret(peer.new_key("xmpp:tybalt@capulet.lit", kind))
        async with refused(ErrorCode.UNSUPPORTED_ALGORITHM, tybalt):
            await tybalt.ox.adopt(raw)

    async def test_a_revocation_by_gpg_is_one(self, peer: GpgPeer, juliet: KeyHandle) -> None:
        raw = peer.new_key("xmpp:benvolio@montague.lit", "curve25519")
        benvolio = await self.engine.adopt(Secret(raw))
        revoked = peer.revoked(raw)
        merged = await self.engine.merge(benvolio.certificate.raw, revoked)
        assert merged.revoked
        with pytest.raises(PeerMisbehaved) as caught:
            await self.engine.seal(TEXT, [merged], juliet)
        assert caught.value.code is ErrorCode.UNUSABLE_KEY
