"""Writes the octets that fuzzing starts from, one file each, out of what other tests use as well.

Rule: what is there stays, because a key and what was encrypted to it belong together. To make one
anew, delete it; to make a finding a seed, put it there by hand.

    python -m tests.fuzz.make_seeds
"""

from __future__ import annotations

import asyncio
import bz2
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

from e2ee.lexical import encode_base64
from e2ee.omemo.version import Version
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.xmlwrite import write_xml
from ox.container import lock
from ox.elements import write_openpgp, write_pubkey
from ox.engine import KeyHandle, Revocation, S2kCount
from ox.engine_sequoia import SequoiaEngine
from ox.packets import Tag, write_packet
from spec_vectors.generator.signing import JULIETS
from spec_vectors.generator.signing import signature as signature_of
from tests.fuzz.item_signatures import STATED
from tests.fuzz.targets import AEAD_KEY, DATA, JULIET, SEEDS
from tests.support import seipd2
from tests.support.forge import forged, new_rsa, one_pass_message
from tests.support.openpgp import PASSPHRASE, literal, locked

__all__: list[str] = []

_ENGINE = SequoiaEngine(NativePrimitives())
_FINGERPRINT = "0123456789ABCDEF0123456789abcdef01234567"
_STAMP = "stamp='2026-11-01T12:00:00Z'"

_ENVELOPE = (
    "<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>hello</body>"
    "<store xmlns='urn:xmpp:hints'/></content><rpad>abc</rpad>"
    f"<time {_STAMP}/>{{}}</envelope>"
)
_CONTENT = (
    "<{0} xmlns='urn:xmpp:openpgp:0'><to jid='juliet@capulet.lit'/>"
    f"<time {_STAMP}/><rpad>abc</rpad>"
    "<payload><body xmlns='jabber:client'>hello</body></payload></{0}>"
)
_KEY, _LEGACY_KEY = encode_base64(b"k" * 32), encode_base64(b"\x05" + b"k" * 32)
_SIGNATURE = encode_base64(b"s" * 64)
_NODE = "jid='pubsub.capulet.lit' node='urn:xmpp:microblog:0' id='s'"

TEXTS: dict[str, dict[str, str]] = {
    "backup-code": {
        "dashes": "TWNK-KD5Y-MT3T-E1GS-DRDB-KVTW",
        "typed": "twnk kd5y mt3te1gsdrdb—kvtw",
    },
    "canonical": {
        "names": "<a xmlns='urn:1' xmlns:p='urn:1' p:z='1' z='2'><q:b xmlns:q='urn:2' é='&#9;'"
        " xml:lang='de'/><b xmlns=''/></a>",
        "texts": "<a b='&quot;'>\n x &amp; <b xml:space='preserve'> &#13;\u00a0"
        "<c xml:space='default'> y </c></b><![CDATA[<z> ]]></a>",
    },
    "elements": {
        "signcrypt": _CONTENT.format("signcrypt"),
        "sign": _CONTENT.format("sign"),
        "crypt": _CONTENT.format("crypt"),
        "public-keys-list": "<public-keys-list xmlns='urn:xmpp:openpgp:0'><pubkey-metadata "
        f"v4-fingerprint='{_FINGERPRINT.upper()}' date='2026-11-01T12:00:00+0000'/>"
        "</public-keys-list>",
        "encrypted": "<encrypted xmlns='urn:xmpp:openpgp:pubsub:0' key='s'>aGVsbG8=</encrypted>",
        "shared-secret": f"<shared-secret xmlns='urn:xmpp:openpgp:pubsub:0' {_NODE} "
        "timestamp='2026-11-01T12:00:00Z' revoked='false' type='t'>secret</shared-secret>",
        "revoke": f"<revoke xmlns='urn:xmpp:openpgp:pubsub:0' {_NODE}><reason>lost</reason>"
        "<reason xml:lang='fr'>perdu</reason></revoke>",
        "openpgp": write_xml(write_openpgp(b"hello")),
        "pubkey": write_xml(write_pubkey(b"hello")),
    },
    "feed": {
        "entry": "<entry xmlns='http://www.w3.org/2005/Atom'><title>Roses</title></entry>",
        "feed": "<feed xmlns='http://www.w3.org/2005/Atom' xml:lang='en' xml:base='http://a.lit/'>"
        "<author><name>Juliet</name></author><entry xml:base='b'><id>urn:a:1</id></entry></feed>",
    },
    "item-signature": {
        name: signature_of(JULIETS.sign(signed), said) for name, (said, signed) in STATED.items()
    },
    "jid": {
        "bare": "juliet@capulet.lit",
        "full": "Où.est\\20tu@xn--dmin-moa0i.example/balcon 🌹",
        "ipv6": "a@[2001:db8::1]/b",
    },
    "lexical": {
        "base64": "aGVs\nbG8=",
        "boolean": " true ",
        "integer": "+007",
        "time": "1969-07-21T02:56:15.123-05:00",
    },
    "omemo-bundle": {
        "legacy": f"<bundle xmlns='{Version.LEGACY}'>"
        f"<signedPreKeyPublic signedPreKeyId='1'>{_LEGACY_KEY}</signedPreKeyPublic>"
        f"<signedPreKeySignature>{_SIGNATURE}</signedPreKeySignature>"
        f"<identityKey>{_LEGACY_KEY}</identityKey>"
        f"<prekeys><preKeyPublic preKeyId='2'>{_LEGACY_KEY}</preKeyPublic></prekeys></bundle>",
        "two": f"<bundle xmlns='{Version.TWO}'><spk id='1'>{_KEY}</spk><spks>{_SIGNATURE}</spks>"
        f"<ik>{_KEY}</ik><prekeys><pk id='2'>{_KEY}</pk><pk id='3'>{_KEY}</pk></prekeys></bundle>",
    },
    "omemo-device-list": {
        "legacy": f"<list xmlns='{Version.LEGACY}'><device id='1'/><device id='2'/></list>",
        "two": f"<devices xmlns='{Version.TWO}'><device id='12345'/>"
        f"<device id='4223' label='Gajim on Ubuntu' labelsig='{_SIGNATURE}'/></devices>",
    },
    "omemo-encrypted": {
        "legacy": f"<encrypted xmlns='{Version.LEGACY}'><header sid='27183'>"
        "<key rid='31415' prekey='true'>a2V5</key><key rid='1'>a2V5</key>"
        "<iv>aWlpaWlpaWlpaWlp</iv></header><payload>c2VjcmV0</payload></encrypted>",
        "legacy-key-transport": f"<encrypted xmlns='{Version.LEGACY}'><header sid='27183'>"
        "<key rid='31415'>a2V5</key><iv>aWlpaWlpaWlpaWlpaWlpaQ==</iv></header></encrypted>",
        "two": f"<encrypted xmlns='{Version.TWO}'><header sid='27183'>"
        "<keys jid='juliet@capulet.lit'><key rid='31415' kex='true'>a2V5</key></keys>"
        "<keys jid='romeo@montague.lit'><key rid='1'>a2V5</key></keys></header>"
        "<payload>c2VjcmV0</payload></encrypted>",
        "two-empty": f"<encrypted xmlns='{Version.TWO}'><header sid='27183'>"
        "<keys jid='juliet@capulet.lit'><key rid='31415' kex='0'>a2V5</key></keys></header>"
        "</encrypted>",
    },
    "sce-envelope": {
        "iq": _ENVELOPE.format(
            "<to jid='juliet@capulet.lit/b'/><from jid='romeo@montague.lit/a'/>"
        ),
        "item": _ENVELOPE.format("<from jid='romeo@montague.lit'/>"),
        "message": _ENVELOPE.format(
            "<from jid='romeo@montague.lit'/><to jid='juliet@capulet.lit'/>"
        ),
        "room": _ENVELOPE.format(
            "<from jid='romeo@montague.lit'/><to jid='orchard@rooms.capulet.lit'/>"
        ),
    },
    "uri": {
        "openpgp4fpr": f"OPENPGP4FPR:{_FINGERPRINT}",
        "trust-message": "xmpp:juli%C3%A9t@capulet.lit?trust-message;"
        f"encryption=urn:xmpp:openpgp:0;trust={_FINGERPRINT};distrust={'a' * 40}",
    },
    "xml": {
        "cdata": "<a xmlns='u:1'><![CDATA[<b>&amp;]]]]><![CDATA[>]]></a>\n",
        "entities": "<a b='&lt;&#x41;&#10;&quot;'>&amp;&gt;&apos;\r\n&#13;</a>",
        "names": "<p:é xmlns:p='u:1' xmlns='u:2' p:a='1' a='2'><b xmlns=''/>"
        "<p:b xmlns:p='r'/></p:é>",
        "xml-prefix": "<a xml:lang='fr' xml:space='preserve'> <b xmlns:q='u:3'>日本</b> </a>",
    },
}
"""What is text."""


async def _octets() -> Iterator[tuple[str, str, bytes]]:
    """Return what is not, as target, name and octets."""
    own = await _kept("curve25519", (await _ENGINE.generate(f"xmpp:{JULIET}")).material)
    newer = await _kept("x25519", seipd2.newer_key("x25519")[1])
    rsa = await _kept("rsa2048", forged(f"xmpp:{JULIET}", primary=new_rsa(2048)).secret)
    revoked = await _ENGINE.revoke(own, Revocation.COMPROMISED)
    ending = await _ENGINE.extend(own, datetime(2100, 1, 1, tzinfo=UTC))
    stranger = await _ENGINE.generate("xmpp:romeo@montague.lit")
    signature = await _ENGINE.sign(DATA, own)
    inline = await _ENGINE.sign_message(DATA, own)
    certificates = [key.certificate for key in (own, newer, rsa)]
    deflated = zlib.compress(inline)
    return iter(
        [
            ("aead-container", "gcm", seipd2.sealed(b"a" * 200, AEAD_KEY, mode=3).body),
            ("aead-container", "ocb", seipd2.sealed(literal(DATA), AEAD_KEY).body),
            ("backup", "one-key", own.material.reveal()),
            ("backup", "two-keys", own.material.reveal() + stranger.material.reveal()),
            ("certificate", "curve25519", own.certificate.raw),
            ("certificate", "ending", ending.certificate.raw),
            ("certificate", "revoked", revoked.certificate.raw),
            ("certificate", "rsa2048", rsa.certificate.raw),
            ("certificate", "two-user-ids", forged("xmpp:a@b.lit", "Romeo <a@b.lit>").public),
            ("certificate", "x25519", newer.certificate.raw),
            ("message", "crypt", await _ENGINE.encrypt(DATA, [own.certificate])),
            ("message", "signcrypt", await _ENGINE.seal(DATA, certificates, own)),
            ("message", "version-2", seipd2.message_to(newer.certificate.raw, inline)),
            ("passphrase-message", "cheap", _lock(DATA)),
            ("passphrase-message", "without-session-key", locked(literal(DATA))),
            ("payload", "bzip2", write_packet(Tag.COMPRESSED, b"\3" + bz2.compress(inline))),
            ("payload", "literal", literal(DATA)),
            ("payload", "signature-first", signature + literal(DATA)),
            ("payload", "signed", inline),
            ("payload", "twice-signed", one_pass_message(DATA, signature, signature)),
            ("payload", "zip", write_packet(Tag.COMPRESSED, b"\1" + deflated[2:-4])),
            ("payload", "zip-without-length", b"\xa3\1" + deflated[2:-4]),
            ("payload", "zlib", write_packet(Tag.COMPRESSED, b"\2" + deflated)),
            ("secret-key", "revoked", revoked.material.reveal()),
            ("signature", "detached", signature),
        ]
    )


async def _kept(name: str, material: Secret) -> KeyHandle:
    """Return the key of that name, which is ``material`` where there is none yet."""
    _write("secret-key", name, material.reveal())
    return await _ENGINE.adopt(Secret((SEEDS / "secret-key" / name).read_bytes()))


def _lock(data: bytes) -> bytes:
    return lock(data, PASSPHRASE, S2kCount.RANDOM_SECRET, NativePrimitives().random)


def _write(target: str, name: str, data: bytes) -> None:
    path = SEEDS / target / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def main() -> None:
    """Write what is missing."""
    for target, named in TEXTS.items():
        for name, text in named.items():
            _write(target, name, text.encode())
    for target, name, data in asyncio.run(_octets()):
        _write(target, name, data)


if __name__ == "__main__":
    main()
