"""What stands in ``<sign/>`` and is no detached OpenPGP signature as XEP-0476 wants it.

Rule: the element around it is sound, and so is the item.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.omemo import BAD_BASE64
from spec_vectors.generator.openpgp import literal, packet
from spec_vectors.generator.signing import (
    JULIETS,
    attached,
    known,
    sign_data,
    signature,
    signed_case,
)
from spec_vectors.generator.signing_keys import TEXT
from spec_vectors.generator.world import JULIET

__all__ = ["cases"]

BAD, MALFORMED, UNSUPPORTED = "bad-signature", "malformed", "unsupported-algorithm"
_STANDALONE, _TIMESTAMP = 0x02, 0x40


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _packets()
    sound = JULIETS.sign(sign_data())
    assert len(sound) % 3, "its base64 has no padding that could be wrong"
    for case_id, comment, spoil in BAD_BASE64:
        text = b64encode(sound).decode()
        xml = signature(sound).replace(text, spoil(text))
        yield signed_case(
            f"base64-{case_id}", ["X-23"], f"base64: {comment}", [attached(JULIET, xml)],
            [MALFORMED],
        )  # fmt: skip


def _packets() -> Iterator[Case]:
    data = sign_data()
    sound = JULIETS.sign(data)
    changed = bytearray(sound)
    changed[-1] ^= 1
    body = sound[3:] if sound[1] >= 192 else sound[2:]
    for case_id, flag, comment, packets, code in (
        ("none", "Q-11", "nothing", b"", MALFORMED),
        ("no-packet", "Q-11", "what is no packet", b"signed, Juliet", MALFORMED),
        ("bit", "Q-05", "a bit that was turned over", bytes(changed), BAD),
        ("cut", "Q-11", "an octet less", sound[:-1], MALFORMED),
        ("more", "Q-11", "an octet more", sound + b"\0", MALFORMED),
        ("text", "Q-11", "over text, in which line ends may change", JULIETS.sign(data, kind=TEXT),
         BAD),
        ("standalone", "Q-11", "over nothing but itself", JULIETS.sign(data, kind=_STANDALONE),
         BAD),
        ("timestamp", "Q-11", "a time stamp", JULIETS.sign(data, kind=_TIMESTAMP), BAD),
        ("inline", "Q-11", "a message that brings its text along", JULIETS.inline(data), BAD),
        ("inline-only", "Q-11", "with the text after it", sound + literal(data.encode()), BAD),
        ("key", "Q-11", "with the key after it", sound + JULIETS.public(), BAD),
        ("key-alone", "Q-11", "a key", JULIETS.public(), BAD),
        ("marker", "G-19", "with a marker before it", packet(10, b"PGP") + sound, BAD),
        ("unknown", "G-19", "with an unknown packet after it", sound + packet(60, b""), BAD),
        ("compressed", "G-16", "compressed", packet(8, b"\0" + sound), BAD),
        ("armor", "Q-11", "in armor", b"-----BEGIN PGP SIGNATURE-----\n\n" + b64encode(sound)
         + b"\n-----END PGP SIGNATURE-----\n", MALFORMED),
        ("clear-signed", "Q-11", "in clear text", b"-----BEGIN PGP SIGNED MESSAGE-----\n",
         MALFORMED),
        ("two-one-bad", "Q-11", "two, of which one is not valid", sound + bytes(changed), BAD),
        ("two-one-elsewhere", "Q-11", "two, of which one is of another item",
         JULIETS.sign(sign_data("<x></x>")) + sound, BAD),
        ("nine", "Q-17", "nine of them", sound * 9, "limit-exceeded"),
        ("sha-1", "Q-11", "with SHA-1", JULIETS.sign(data, digest=2), BAD),
        ("version-3", "Q-11", "of version 3", packet(2, b"\3" + body[1:]), UNSUPPORTED),
        ("version-5", "Q-11", "of version 5", JULIETS.sign(data, version=5), UNSUPPORTED),
        ("version-6", "Q-11", "of version 6", JULIETS.sign(data, version=6), UNSUPPORTED),
    ):  # fmt: skip
        yield signed_case(
            f"packet-{case_id}", [flag], comment, [attached(JULIET, signature(packets))], [code],
            keys=known(JULIET, JULIETS),
        )  # fmt: skip
