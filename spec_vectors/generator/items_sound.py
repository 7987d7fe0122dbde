"""Items that must open: as real programs write them, and as the specification allows.

Rule: every outcome here is ``opened``; who refuses one of these locks honest people out.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

from spec_vectors.generator.case import Case
from spec_vectors.generator.item import encrypted, item_case, opened, secret, writer
from spec_vectors.generator.openpgp import (
    bzip2,
    literal,
    old_packet,
    packet,
    partial,
    stored_zip,
    stored_zlib,
)
from spec_vectors.generator.world import ATOM, ENTRY, ENTRY_UTF8, LONG_ENTRY, SECRET

__all__ = ["FROZEN", "cases"]

FROZEN = {
    message["id"]: message
    for message in json.loads(
        (Path(__file__).parents[1] / "fixtures" / "items.json").read_text(encoding="utf-8")
    )["messages"]
}
"""What real programs wrote; see ``fixtures/freeze.py``."""

_FAMILIES = (
    *("gpg-default", "gpg-aes", "gpg-simple", "gpg-salted", "gpg-iterated", "gpg-zip", "gpg-zlib"),
    *("gpg-bzip2", "gpg-partial", "gpg-textmode", "gpg-utf8", "gpg-file", "gpg-for", "sqop"),
)
"""How the names of those begin that must open."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, message in FROZEN.items():
        if not name.startswith(_FAMILIES):
            continue
        flags = ["INTEROP"]
        flags += ["OPTIONAL_HASH"] if "ripemd160" in name else []
        flags += ["G-20"] if name in ("gpg-file-name", "gpg-for-your-eyes-only") else []
        yield item_case(
            name,
            flags,
            f"made by: {message['how']}",
            encrypted(b64decode(message["message"])),
            opened(message["plaintext"]),
        )
    yield from _framing()
    yield from _payloads()
    yield from _secrets()


def _framing() -> Iterator[Case]:
    """OpenPGP that is written otherwise than gpg does, and is as sound."""

    def case(name: str, comment: str, message: bytes, payload: str = ENTRY) -> Case:
        return item_case(name, ["G-19"], comment, encrypted(message), opened(payload))

    write = writer("least")
    yield case("least", "AES-256, SHA-256, 1024 octets hashed", write.sound(ENTRY))
    for name, cipher in (("aes128", 7), ("aes192", 8), ("aes256", 9)):
        write = writer(f"session-key-{name}")
        length = 16 + 8 * (cipher - 7)
        first, key = write.skesk(session_key=bytes((cipher,)) + write.random(length))
        yield case(
            f"session-key-{name}",
            f"an encrypted session key for {name}, itself under AES-256",
            first + write.seipd(key, literal(ENTRY.encode())),
        )
    write = writer("session-key-under-aes128")
    first, key = write.skesk(cipher=7, session_key=b"\x09" + write.random(32))
    yield case(
        "session-key-under-aes128",
        "a session key for AES-256 under AES-128",
        first + write.seipd(key, literal(ENTRY.encode())),
    )
    write = writer("old-headers")
    first, key = write.skesk()
    container = write.seipd(key, old_packet(11, b"b\0\0\0\0\0" + ENTRY.encode()))
    yield case(
        "old-headers",
        "old-format headers wherever they can be; tag 18 has none",
        old_packet(3, first[2:], 0) + container,
    )
    write = writer("indeterminate-inside")
    yield case(
        "indeterminate-inside",
        "a literal without a length, which reaches to the end",
        write.message(old_packet(11, b"b\0\0\0\0\0" + ENTRY.encode(), 3)),
    )
    write = writer("partial-container")
    first, key = write.skesk()
    body = write.seipd(key, literal(LONG_ENTRY.encode()))[3:]
    yield case(
        "partial-container", "a container in two parts", first + partial(18, body), LONG_ENTRY
    )
    write = writer("long-length")
    first, key = write.skesk()
    body = write.seipd(key, literal(ENTRY.encode()))[2:]
    yield case(
        "long-length",
        "a length of five octets where one would do",
        first + b"\xd2\xff" + len(body).to_bytes(4) + body,
    )
    for name, squeeze in (("zip", stored_zip), ("zlib", stored_zlib), ("bzip2", bzip2)):
        write = writer(f"compressed-{name}")
        yield case(
            f"compressed-{name}",
            f"{name} in a packet with a length",
            write.message(squeeze(literal(ENTRY_UTF8.encode()))),
            ENTRY_UTF8,
        )
    for name, head in (
        ("utf-8", b"u\0\0\0\0\0"),
        ("dated", b"b\x08_CONSOLE\xff\xff\xff\xff"),
        ("named", b"b\xff" + b"/" * 255 + bytes(4)),
    ):
        write = writer(f"literal-{name}")
        yield item_case(
            f"literal-{name}",
            ["G-20"],
            "a literal's format, name and date mean nothing",
            encrypted(write.message(packet(11, head + ENTRY.encode()))),
            opened(ENTRY),
        )


def _payloads() -> Iterator[Case]:
    """Payloads that are unusual and sound."""
    for name, flag, comment, plaintext, payload in (
        (
            "character-references",
            "INTEROP",
            "ASCII alone, as for readers that mangle anything else",
            f"<entry xmlns='{ATOM}'><title>O&#249; est Rom&#xe9;o? &#128572;</title></entry>",
            f"<entry xmlns='{ATOM}'><title>Où est Roméo? 😼</title></entry>",
        ),
        (
            "cdata",
            "X-07",
            "a CDATA section is text like any other",
            f"<entry xmlns='{ATOM}'><title>a<![CDATA[<!-- b & c -->]]>d</title></entry>",
            f"<entry xmlns='{ATOM}'><title>a&lt;!-- b &amp; c --&gt;d</title></entry>",
        ),
        (
            "prefixed",
            "X-12",
            "a prefix instead of a default namespace",
            f"<a:entry xmlns:a='{ATOM}'><a:title>x</a:title></a:entry>",
            f"<entry xmlns='{ATOM}'><title>x</title></entry>",
        ),
        (
            "prefix-rebound",
            "X-12",
            "a prefix that means something else further inside",
            f"<a:entry xmlns:a='{ATOM}'><a:x xmlns:a='urn:example:x'/><a:id/></a:entry>",
            f"<entry xmlns='{ATOM}'><x xmlns='urn:example:x'/><id/></entry>",
        ),
        (
            "surrounded-by-space",
            "X-28",
            "white space around the payload",
            f"\n  {ENTRY}\r\n",
            ENTRY,
        ),
        (
            "both-quotes",
            "INTEROP",
            "both kinds of quotes",
            f'<entry xmlns="{ATOM}" a=\'"\' b="\'"/>',
            f"<entry xmlns='{ATOM}' a='\"' b='&apos;'/>",
        ),
        (
            "foreign-payload",
            "X-27",
            "a payload of an unknown namespace",
            "<x xmlns='urn:example:unknown' y='z'/>",
            "<x xmlns='urn:example:unknown' y='z'/>",
        ),
        (
            "encrypted-again",
            "X-27",
            "a payload that is encrypted itself is handed out as it is, not opened again",
            encrypted(b"x"),
            encrypted(b"x"),
        ),
    ):
        yield item_case(
            name, [flag], comment, encrypted(writer(name).sound(plaintext)), opened(payload)
        )


def _secrets() -> Iterator[Case]:
    """Secrets that are unusual, and decrypt all the same."""
    spaced = f"\n    {SECRET}\n  "
    for name, flag, comment, known, passphrase in (
        ("revoked", "N-09", "a revoked secret opens, and the result says so", SECRET, SECRET),
        ("short", "N-08", "a short secret decrypts; it must not encrypt", "Romeo", "Romeo"),
        ("spaced-trimmed", "N-08", "white space around, not meant", spaced, SECRET),
        ("spaced-meant", "N-08", "white space around, meant: as Libervia reads it", spaced, spaced),
        ("no-break-spaces", "N-08", "U+00A0 is no white space", f"\xa0{SECRET}", f"\xa0{SECRET}"),
        ("not-ascii", "N-08", "a secret in UTF-8", "Ῥωμαῖος " * 6 + "🗡", "Ῥωμαῖος " * 6 + "🗡"),
    ):
        state = "revoked" if name == "revoked" else "active"
        yield item_case(
            f"secret-{name}",
            [flag],
            comment,
            encrypted(writer(name).sound(ENTRY, passphrase)),
            opened(ENTRY, state=state),
            secrets=[secret(known, state=state)],
        )
    frozen = FROZEN["gpg-spaced"]
    yield item_case(
        "gpg-spaced",
        ["INTEROP", "N-08"],
        "white space around, meant, by gpg; two readings cost two attempts",
        encrypted(b64decode(frozen["message"])),
        opened(ENTRY),
        secrets=[secret(frozen["passphrase"])],
    )
