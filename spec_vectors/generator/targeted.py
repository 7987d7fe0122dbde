"""Targeted items: whose they are, and what may stand inside (XEP-0477 §3.1).

Rule: every item here is read or refused for its shape and its place; nothing in one decrypts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from spec_vectors.generator.case import Case, document
from spec_vectors.generator.hostile_xml import hostile
from spec_vectors.generator.omemo import BAD_BASE64, BAD_IDS, LEGACY, TWO, b64, refused
from spec_vectors.generator.openpgp import packet
from spec_vectors.generator.world import BLOG, ENTRY, FEED, JULIET, NURSE, OXPS, ROMEO, TYBALT

__all__ = ["cases"]

PTE: Final = "urn:xmpp:pte:0"
OX: Final = "urn:xmpp:openpgp:0"
KEYS: Final = f"<keys jid='{ROMEO}'><key rid='31415'>{b64(b'our key!')}</key></keys>"
HEADER: Final = f"<header sid='27183'>{KEYS}</header>"
PAYLOAD: Final = f"<payload>{b64(b'ciphertext')}</payload>"
OMEMO: Final = f"<encrypted xmlns='{TWO}'>{HEADER}{PAYLOAD}</encrypted>"
MESSAGE: Final = packet(1, b"a session key") + packet(18, b"\x01ciphertext")
OPENPGP: Final = f"<openpgp xmlns='{OX}'>{b64(MESSAGE)}</openpgp>"

MISPLACED: Final = refused("context-mismatch")
UNSUPPORTED: Final = refused("unsupported-algorithm")
LIMIT: Final = refused("limit-exceeded")
CLEAR: Final = {"outcome": "clear"}


def written(inner: str = OMEMO, algorithm: str = TWO, by: str = JULIET) -> str:
    """Return the payload of an item."""
    return f"<encrypted xmlns='{PTE}' by='{by}' type='{algorithm}'>{inner}</encrypted>"


SOUND: Final = written()


def read(inner: str = OMEMO, algorithm: str = TWO, by: str = JULIET) -> dict[str, Any]:
    """Return the outcome of an item whose inside can be handed to its algorithm."""
    return {"outcome": "read", "by": by, "type": algorithm, "inner": inner}


def case(
    case_id: str,
    flag: str,
    comment: str,
    xml: str | bytes,
    expect: Mapping[str, Any],
    *,
    node: Mapping[str, str] = BLOG,
    publisher: str | None = JULIET,
) -> Case:
    """Return a case about an item that stood in ``node``."""
    given = {
        "arrival": {**node, "item_id": "b7f3c0a2", "publisher": publisher},
        "item": document(xml.encode() if isinstance(xml, str) else xml),
    }
    return Case(case_id, comment, (flag,), given, expect)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _read()
    yield from _whose()
    yield from _by()
    yield from _algorithms()
    yield from _inside()
    yield from _omemo()
    yield from _openpgp()
    for found in hostile(SOUND):
        expect = refused(found.code)
        yield case(f"xml-{found.id}", found.flag, found.comment, found.document, expect)


def _read() -> Iterator[Case]:
    prefixed = f"<p:encrypted xmlns:p='{PTE}' type='{TWO}' by='{JULIET}'>{OMEMO}</p:encrypted>"
    other = OMEMO.replace("<payload", "<x xmlns='urn:example:x'/><payload")
    for case_id, flag, comment, xml, expect in (
        ("omemo", "INTEROP", "an item in OMEMO", SOUND, read()),
        ("openpgp", "INTEROP", "an item in OpenPGP", written(OPENPGP, OX), read(OPENPGP, OX)),
        ("prefixed", "X-12", "the same by a prefix", prefixed, read()),
        ("spaced", "X-27", "white space around what is inside", written(f"\n\t{OMEMO}\r\n "),
         read()),
        ("unknown-attribute", "X-27", "an attribute of a later version",
         SOUND.replace(" by=", " to='x' by="), read()),
        ("unknown-inside", "X-27", "an element of a later version, in the algorithm's own",
         written(other), read(other)),
        ("prefixed-twin", "X-13", "a second by, in a namespace, counts for nothing",
         SOUND.replace(" by=", f" xmlns:x='urn:example:x' x:by='{TYBALT}' by="), read()),
        ("other-letters", "X-26", "a JID is prepared before it is compared",
         written(by="Juliet@CAPULET.example."), read()),
        ("root-other", "X-11", "another element, of another protocol",
         SOUND.replace(PTE, "urn:example:x"), CLEAR),
        ("root-other-name", "X-11", "another element of the namespace",
         SOUND.replace(f"<encrypted xmlns='{PTE}'", f"<clear xmlns='{PTE}'").removesuffix(
             "</encrypted>") + "</clear>", CLEAR),
        ("root-other-version", "X-11", "a version that is not spoken",
         SOUND.replace(PTE, "urn:xmpp:pte:1"), CLEAR),
        ("root-nested", "X-11", "inside another element",
         f"<wrapped xmlns='urn:example:x'>{SOUND}</wrapped>", CLEAR),
        ("in-clear", "INTEROP", "an item in clear, of the same node", ENTRY, CLEAR),
    ):  # fmt: skip
        yield case(case_id, flag, comment, xml, expect)


def _whose() -> Iterator[Case]:
    """Whom the service names, or that it names nobody."""
    for case_id, comment, node, publisher, expect in (
        ("publisher-with-resource", "the publisher's resource does not matter", BLOG,
         f"{JULIET}/balcony", read()),
        ("publisher-not-named", "on her own account, the publisher goes without saying", BLOG,
         None, read()),
        ("service-publisher", "the service names the publisher", FEED, JULIET, read()),
        ("service-not-named", "the service names nobody: the inside must tell", FEED, None,
         read()),
        ("publisher-other", "published by somebody else in his own name", FEED, TYBALT,
         MISPLACED),
        ("publisher-other-on-account", "published by somebody else on her account", BLOG, TYBALT,
         MISPLACED),
        ("account-other", "on the account of somebody else, where nobody is named",
         {"service": TYBALT, "node": "urn:xmpp:microblog:0"}, None, MISPLACED),
        ("publisher-server", "published by her server", BLOG, "capulet.example", MISPLACED),
        ("publisher-other-service", "published by another service", FEED,
         "pubsub.montague.example", MISPLACED),
    ):  # fmt: skip
        yield case(case_id, "O-36", comment, SOUND, expect, node=node, publisher=publisher)
    for case_id, comment, by in (
        ("by-other", "it says that it is by another", TYBALT),
        ("by-other-domain", "by the same name at another server", "juliet@montague.example"),
        ("by-subdomain", "by the same name at a subdomain", "juliet@pubsub.capulet.example"),
        ("by-server", "by her server", "capulet.example"),
        ("by-cyrillic", "with a Cyrillic letter", "juli\u0435t@capulet.example"),
    ):
        yield case(case_id, "X-26", f"{comment} than its publisher", written(by=by), MISPLACED)


def _by() -> Iterator[Case]:
    for case_id, flag, comment, xml in (
        ("by-missing", "O-36", "by nobody", SOUND.replace(f" by='{JULIET}'", "")),
        ("by-prefixed", "X-13", "the author in a namespace",
         SOUND.replace(" by=", " xmlns:x='urn:example:x' x:by=")),
        ("by-capitals", "X-11", "the author's attribute in capitals",
         SOUND.replace(" by=", " BY=")),
        ("by-empty", "X-26", "an empty JID", written(by="")),
        ("by-resource", "X-26", "a JID with a resource", written(by=f"{JULIET}/balcony")),
        ("by-spaced", "X-26", "a JID with a blank", written(by=f" {JULIET}")),
        ("by-two", "X-26", "two JIDs", written(by=f"{JULIET} {NURSE}")),
        ("by-no-domain", "X-26", "a JID without a domain", written(by="juliet@")),
        ("by-no-local", "X-26", "a JID with an empty local part", written(by="@capulet.example")),
        ("by-two-ats", "X-26", "a JID with two of @", written(by="juliet@x@capulet.example")),
        ("by-uri", "X-26", "a URI", written(by=f"xmpp:{JULIET}?")),
        ("by-long", "X-26", "a local part of 1024 bytes",
         written(by=f"{'j' * 1024}@capulet.example")),
    ):  # fmt: skip
        yield case(case_id, flag, comment, xml, refused())


def _algorithms() -> Iterator[Case]:
    for case_id, flag, comment, xml in (
        ("type-missing", "O-37", "no algorithm", SOUND.replace(f" type='{TWO}'", "")),
        ("type-prefixed", "X-13", "the algorithm in a namespace",
         SOUND.replace(" type=", " xmlns:x='urn:example:x' x:type=")),
        ("type-empty", "O-37", "an empty algorithm", written(algorithm="")),
        ("type-empty-for-none", "O-37", "an empty algorithm, and an element in no namespace",
         written("<encrypted xmlns=''/>", "")),
        ("type-capitals", "O-37", "a namespace in capitals", written(algorithm=TWO.upper())),
        ("type-spaced", "O-37", "a namespace with a blank", written(algorithm=f"{TWO} ")),
        ("type-other", "O-37", "OMEMO that is said to be OpenPGP", written(algorithm=OX)),
        ("type-legacy", "O-37", "OMEMO 2 that is said to be the legacy version",
         written(algorithm=LEGACY)),
        ("type-newer", "O-37", "OMEMO 2 that is said to be another version",
         written(algorithm="urn:xmpp:omemo:3")),
        ("type-unknown", "O-37", "OMEMO that is said to be something unknown",
         written(algorithm="urn:example:x")),
    ):  # fmt: skip
        yield case(case_id, flag, comment, xml, refused())
    for case_id, comment, space in (
        ("unknown", "an algorithm that nobody knows", "urn:example:x"),
        ("legacy", "legacy OMEMO, which proves neither place nor time", LEGACY),
        ("earlier", "OMEMO of a version in between", "urn:xmpp:omemo:1"),
        ("later", "OMEMO of a later version", "urn:xmpp:omemo:3"),
        ("envelope", "an envelope that nothing encrypts", "urn:xmpp:sce:1"),
        ("node", "what is encrypted for members of a node", OXPS),
        ("itself", "a targeted item in a targeted item", PTE),
        ("atom", "an entry in clear", "http://www.w3.org/2005/Atom"),
    ):
        inner = f"<encrypted xmlns='{space}'>{HEADER}{PAYLOAD}</encrypted>"
        if space == PTE:
            inner = SOUND
        yield case(f"algorithm-{case_id}", "O-37", comment, written(inner, space), UNSUPPORTED)
    long = "urn:example:" + "x" * 1013
    yield case(
        "algorithm-long", "X-09", "an algorithm of 1025 characters",
        written(f"<encrypted xmlns='{long}'/>", long), LIMIT,
    )  # fmt: skip


def _inside() -> Iterator[Case]:
    for case_id, flag, comment, inner in (
        ("nothing", "O-37", "nothing inside", ""),
        ("only-text", "O-37", "text alone", b64(b"ciphertext")),
        ("text-before", "X-28", "text before the element", f"x{OMEMO}"),
        ("text-after", "X-28", "text after the element", f"{OMEMO}x"),
        ("no-break-space", "X-18", "a space that only Unicode calls one", f"{OMEMO}\u00a0"),
        ("twice", "X-14", "the element twice", OMEMO * 2),
        ("both", "X-14", "one element for each algorithm", OMEMO + OPENPGP),
        ("fallback", "S-09", "a text in clear beside it", f"{OMEMO}<body>Hark!</body>"),
        ("foreign-beside", "S-09", "an element of another protocol beside it",
         f"{OMEMO}<x xmlns='urn:example:x'/>"),
        ("own-namespace", "X-11", "in the namespace of the item", OMEMO.replace(TWO, PTE)),
        ("no-namespace", "X-11", "in no namespace", OMEMO.replace(TWO, "")),
        ("wrapped", "X-11", "inside something else", f"<x xmlns='urn:example:x'>{OMEMO}</x>"),
    ):  # fmt: skip
        yield case(f"inside-{case_id}", flag, comment, written(inner), refused())


def _omemo() -> Iterator[Case]:
    for case_id, flag, comment, inner in (
        ("no-header", "O-28", "no header", OMEMO.replace(HEADER, "")),
        ("two-headers", "X-14", "two headers", OMEMO.replace(HEADER, HEADER * 2)),
        ("foreign-header", "X-11", "the header in another namespace",
         OMEMO.replace("<header", "<header xmlns='urn:example:x'")),
        ("no-device", "O-28", "from no device", OMEMO.replace(" sid='27183'", "")),
        ("no-payload", "O-10", "an item that was stripped of its text",
         OMEMO.replace(PAYLOAD, "")),
        ("two-payloads", "X-14", "two payloads", OMEMO.replace(PAYLOAD, PAYLOAD * 2)),
        ("foreign-payload", "X-11", "the payload in another namespace",
         OMEMO.replace("<payload", "<payload xmlns='urn:example:x'")),
    ):  # fmt: skip
        yield case(f"omemo-{case_id}", flag, comment, written(inner), refused())
    for name, comment, text in BAD_IDS:
        yield case(
            f"omemo-device-{name}", "X-24", f"a device whose id is none: {comment}",
            written(OMEMO.replace("27183", text)), refused(),
        )  # fmt: skip
    for name, comment, spoil in BAD_BASE64:
        inner = OMEMO.replace(PAYLOAD, f"<payload>{spoil(b64(b'ciphertext'))}</payload>")
        yield case(
            f"omemo-base64-{name}", "X-23", f"base64 with {comment}", written(inner), refused()
        )


def _openpgp() -> Iterator[Case]:
    armor = f"-----BEGIN PGP MESSAGE-----\n\n{b64(MESSAGE)}\n-----END PGP MESSAGE-----"
    for case_id, flag, comment, inner in (
        ("other-name", "X-11", "another element of the namespace",
         OPENPGP.replace("<openpgp", "<pubkey").replace("</openpgp", "</pubkey")),
        ("child", "X-11", "an element instead of a text", f"<openpgp xmlns='{OX}'><x/></openpgp>"),
        ("no-base64", "X-23", "what is no base64", f"<openpgp xmlns='{OX}'>~</openpgp>"),
        ("armor", "G-21", "armor", f"<openpgp xmlns='{OX}'>{armor}</openpgp>"),
        ("cut", "G-19", "a packet that is cut short",
         f"<openpgp xmlns='{OX}'>{b64(MESSAGE[:-3])}</openpgp>"),
        ("no-packet", "G-19", "octets that are no packet",
         f"<openpgp xmlns='{OX}'>{b64(b'ciphertext')}</openpgp>"),
    ):  # fmt: skip
        yield case(f"openpgp-{case_id}", flag, comment, written(inner, OX), refused())
