"""Signed items against GnuPG and sqop: the very bytes that XEP-0475 means, written by hand.

What these programs sign and verify is a text in this file, and never passes our canonicaliser.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from e2ee import ns
from e2ee.errors import ErrorCode
from e2ee.lexical import encode_base64, format_time
from e2ee.names import BareJid, ItemId, ItemPlace, NodeAddress
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from signing.elements import Signature
from signing.openpgp import open_sign
from signing.readings import Reading
from signing.signatures import ItemSignatures
from signing.signed_by import SignedBy
from signing.verdict import SignerVerdict, Verdict
from tests.support.gnupg import Gnupg, gnupg
from tests.support.ox_world import World, fingerprint_of
from tests.support.peers import require_program

pytestmark = pytest.mark.slow

JULIET, ROMEO = BareJid.parse("juliet@capulet.lit"), BareJid.parse("romeo@montague.lit")
NODE = NodeAddress(BareJid.parse("pubsub.capulet.lit"), "urn:xmpp:microblog:0")
PLACE = ItemPlace(NODE, ItemId("balcony"))

SIGNED = (
    '<sign-data xmlns="urn:xmpp:pubsub-signing:0"><to jid="pubsub.capulet.lit"></to>'
    '<time stamp="{time}"></time><signer>{signer}</signer>'
    '<item xmlns="http://jabber.org/protocol/pubsub">{payload}</item></sign-data>'
)
"""What is signed (``sign-data`` as Libervia has it), around the canonical form of a payload."""

PAYLOADS = {
    "<entry xmlns='http://www.w3.org/2005/Atom'><title type='text'>O Romeo</title></entry>": (
        '<entry xmlns="http://www.w3.org/2005/Atom"><title type="text">O Romeo</title></entry>'
    ),
    "<x xmlns='urn:x' b='2' a='1'><y xmlns='urn:y'/><z/></x>": (
        '<x xmlns="urn:x" a="1" b="2"><y xmlns="urn:y"></y><z></z></x>'
    ),
    "<x xmlns='urn:x'>Où est-tu, &#x1F339; 日本 &amp; &lt;&gt;&quot;'</x>": (
        '<x xmlns="urn:x">Où est-tu, 🌹 日本 &amp; &lt;&gt;"\'</x>'
    ),
    "<x xmlns='urn:x' t='&lt;&gt;&amp;&quot;' xml:lang='it' a=\"'\"/>": (
        '<x xmlns="urn:x" a="\'" t="&lt;>&amp;&quot;" xml:lang="it"></x>'
    ),
    "<p xmlns='http://www.w3.org/1999/xhtml' xml:space='preserve'>Ann <b>owes</b> Bob\n</p>": (
        '<p xmlns="http://www.w3.org/1999/xhtml" xml:space="preserve">Ann <b>owes</b> Bob\n</p>'
    ),
}
"""Payloads as they may be published, and their canonical form, by hand."""

USED, OTHER = list(PAYLOADS.items())[:2]


class Signer(Protocol):
    """Another OpenPGP program, which has a key of Romeo's."""

    public: bytes

    def sign(self, data: bytes, *options: str) -> bytes:
        """Return a binary detached signature, unless ``options`` ask for something else."""
        ...

    def verifies(self, data: bytes, signature: bytes, public: bytes) -> bool:
        """Say whether a detached signature is by this public key."""
        ...


class GpgSigner:
    """``Signer`` on gpg."""

    def __init__(self, gpg: Gnupg, algorithm: str) -> None:
        self._gpg = gpg
        wish = f"{algorithm}Name-Real: xmpp:{ROMEO}\nExpire-Date: 0\n%no-protection\n%commit\n"
        status = gpg.home / "status"
        gpg.run("--status-file", str(status), "--full-generate-key", data=wish.encode())
        self.name = status.read_text().split()[-1]
        self.public = gpg.run("--export", self.name)

    def sign(self, data: bytes, *options: str) -> bytes:
        kind = () if "--sign" in options else ("--detach-sign",)
        return self._gpg.run(*options, "--local-user", self.name, *kind, data=data)

    def verifies(self, data: bytes, signature: bytes, public: bytes) -> bool:
        self._gpg.run("--import", data=public)
        path, status = self._gpg.home / "signature", self._gpg.home / "status"
        path.write_bytes(signature)
        try:
            self._gpg.run("--status-file", str(status), "--verify", str(path), "-", data=data)
        except subprocess.CalledProcessError:
            return False
        lines = [line.split()[1:] for line in status.read_text("latin-1").splitlines()]
        return ["VALIDSIG", fingerprint_of(public)] in [[*line[:1], *line[-1:]] for line in lines]


class SqopSigner:
    """``Signer`` on sqop, which has no memory: what it reads stands in files of one folder."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._key = self._file("key", self._run("generate-key", "--no-armor", f"xmpp:{ROMEO}"))
        self.public = self._run("extract-cert", "--no-armor", data=self._key.read_bytes())

    def sign(self, data: bytes, *options: str) -> bytes:
        return self._run("sign", "--no-armor", *options, "--", self._key, data=data)

    def verifies(self, data: bytes, signature: bytes, public: bytes) -> bool:
        files = self._file("signature", signature), self._file("cert", public)
        try:
            return fingerprint_of(public) in self._run("verify", "--", *files, data=data).decode()
        except subprocess.CalledProcessError:
            return False

    def _run(self, *arguments: str | Path, data: bytes = b"") -> bytes:
        return subprocess.run(
            [self._program, *arguments], input=data, capture_output=True, check=True, timeout=60
        ).stdout

    def _file(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gnupg]:
    with gnupg() as found:
        yield found


@pytest.fixture(scope="module")
def ed25519(gpg: Gnupg) -> GpgSigner:
    return GpgSigner(gpg, "Key-Type: EDDSA\nKey-Curve: ed25519\nKey-Usage: sign\n")


@pytest.fixture(scope="module")
def rsa(gpg: Gnupg) -> GpgSigner:
    return GpgSigner(gpg, "Key-Type: RSA\nKey-Length: 3072\nKey-Usage: sign\n")


@pytest.fixture(scope="module")
def sqop(tmp_path_factory: pytest.TempPathFactory) -> SqopSigner:
    return SqopSigner(require_program("sqop"), tmp_path_factory.mktemp("sqop"))


@pytest.fixture(params=["ed25519", "rsa", "sqop"])
def romeo(request: pytest.FixtureRequest) -> Signer:
    signer: Signer = request.getfixturevalue(request.param)
    return signer


def data_of(canonical: str, time: str, signer: BareJid) -> bytes:
    return SIGNED.format(time=time, signer=signer, payload=canonical).encode()


def item_of(published: str) -> Element:
    return parse_xml(
        f"<item xmlns='{ns.PUBSUB}' id='{PLACE.item_id}' publisher='{ROMEO}'>{published}</item>"
    )


async def verdict(published: str, time: str, sign: str, *announced: bytes) -> SignerVerdict:
    """Let Juliet, who knows nobody yet, verify what Romeo published and attached."""
    world = World()
    juliet = await world.person(str(JULIET))
    world.announce(str(ROMEO), *announced)
    await juliet.learn(ROMEO)
    attached = parse_xml(
        f"<signature xmlns='{ns.PUBSUB_SIGNING}'><time stamp='{time}'/><signer>{ROMEO}</signer>"
        f"<sign xmlns='{ns.PUBSUB_SIGNING_OPENPGP}'>{sign}</sign></signature>"
    )
    verified = await ItemSignatures(juliet.ox).verify(
        item_of(published), PLACE, [SignedBy(ROMEO, attached)]
    )
    (found,) = verified.signers
    assert verified.verdict is found.verdict
    return found


class TestEach:
    async def test_they_verify_what_we_sign(self, romeo: Signer) -> None:
        juliet = await World().person(str(JULIET))
        public = (await juliet.ox.own_key()).certificate.raw
        for published, canonical in PAYLOADS.items():
            signed = await ItemSignatures(juliet.ox).sign(parse_xml(published), NODE)
            assert signed.payload == parse_xml(published)
            attached = Signature.from_xml(signed.signature)
            (packet,) = open_sign(attached.profile)
            data = data_of(canonical, attached.statement.stamp, JULIET)
            assert romeo.verifies(data, packet, public), published
            assert not romeo.verifies(data + b" ", packet, public)
            assert not romeo.verifies(data, packet, romeo.public)

    async def test_we_verify_what_they_sign(self, romeo: Signer) -> None:
        for published, canonical in PAYLOADS.items():
            time = format_time(World().clock())
            sign = encode_base64(romeo.sign(data_of(canonical, time, ROMEO)))
            found = await verdict(published, time, sign, romeo.public)
            assert (found.verdict, found.code) == (Verdict.TRUSTED, None), published
            assert found.key == fingerprint_of(romeo.public)
            assert (found.reading, found.ambiguities) == (Reading.STRICT, frozenset())

    async def test_q_05_but_nothing_else_than_they_signed(self, romeo: Signer) -> None:
        time = format_time(World().clock())
        sign = encode_base64(romeo.sign(data_of(OTHER[1], time, ROMEO)))
        found = await verdict(USED[0], time, sign, romeo.public)
        assert (found.verdict, found.code) == (Verdict.INVALID, ErrorCode.BAD_SIGNATURE)

    async def test_q_11_nor_signatures_over_text(self, romeo: Signer) -> None:
        time = format_time(World().clock())
        option = "--as=text" if isinstance(romeo, SqopSigner) else "--textmode"
        sign = encode_base64(romeo.sign(data_of(USED[1], time, ROMEO), option))
        found = await verdict(USED[0], time, sign, romeo.public)
        assert (found.verdict, found.code) == (Verdict.INVALID, ErrorCode.BAD_SIGNATURE)


class TestGpg:
    @pytest.mark.parametrize(
        ("options", "code"),
        [
            (("--digest-algo", "SHA256"), None),
            (("--digest-algo", "SHA512"), None),
            (("--digest-algo", "SHA1"), ErrorCode.BAD_SIGNATURE),
            (("--sign", "--compress-algo", "none"), ErrorCode.BAD_SIGNATURE),
            (("--sign", "--compress-algo", "zlib"), ErrorCode.BAD_SIGNATURE),
            (("--armor",), ErrorCode.MALFORMED),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
    )
    async def test_q_11_whatever_it_is_asked_to_write(
        self, rsa: GpgSigner, options: tuple[str, ...], code: ErrorCode | None
    ) -> None:
        time = format_time(World().clock())
        sign = encode_base64(rsa.sign(data_of(USED[1], time, ROMEO), *options))
        found = await verdict(USED[0], time, sign, rsa.public)
        expected = Verdict.INVALID if code else Verdict.TRUSTED
        assert (found.verdict, found.code) == (expected, code)

    async def test_q_11_two_signatures_one_behind_another(
        self, ed25519: GpgSigner, rsa: GpgSigner
    ) -> None:
        """As Libervia writes them, if somebody has two keys: both must be valid."""
        time = format_time(World().clock())
        data = data_of(USED[1], time, ROMEO)
        both = ed25519.sign(data, "--local-user", rsa.name)
        for sign in (both, rsa.sign(data) + ed25519.sign(data)):
            found = await verdict(USED[0], time, encode_base64(sign), ed25519.public, rsa.public)
            assert (found.verdict, found.code) == (Verdict.TRUSTED, None)
        for sign in (both, rsa.sign(data) + ed25519.sign(data + b" ")):
            found = await verdict(USED[0], time, encode_base64(sign), rsa.public)
            assert (found.verdict, found.code) == (Verdict.INVALID, ErrorCode.BAD_SIGNATURE)
