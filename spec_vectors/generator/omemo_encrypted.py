"""Encrypted elements of OMEMO: which key in them is ours (XEP-0384 §5.5; legacy: 0.2.2 §4.5).

Rule: every element here is read or refused for its shape; nothing in one decrypts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spec_vectors.generator.case import Case
from spec_vectors.generator.omemo import (
    BAD_BASE64,
    BAD_IDS,
    LEGACY,
    TWO,
    VERSIONS,
    b64,
    element_case,
    hostile_cases,
    no_such_roots,
    prefix,
    refused,
)
from spec_vectors.generator.world import JULIET, NURSE, ROMEO

__all__ = ["cases"]

OWN = {"jid": ROMEO, "device": 31415}
DATA, OTHER_DATA, CIPHERTEXT = b"our key!", b"another's", b"ciphertext"
OUR_KEY = f"<key rid='31415'>{b64(DATA)}</key>"
OTHER_KEY = f"<key rid='12321'>{b64(OTHER_DATA)}</key>"
OURS = f"<keys jid='{ROMEO}'>{OUR_KEY}</keys>"
OTHERS = f"<keys jid='{JULIET}'>{OTHER_KEY}</keys>"
IV, LONG_IV = b"\x77" * 12, b"\x77" * 16
IV_ELEMENT = f"<iv>{b64(IV)}</iv>"
PAYLOAD = f"<payload>{b64(CIPHERTEXT)}</payload>"
NOT_FOR_US = refused("not-for-us")


def written(version: str, header: str, after: str = PAYLOAD) -> str:
    """Return an encrypted element."""
    return f"<encrypted xmlns='{version}'><header sid='27183'>{header}</header>{after}</encrypted>"


def addressed(version: str, own: str = OUR_KEY, others: str = OTHER_KEY) -> str:
    """Return the inside of a header with our key and others'."""
    if version == TWO:
        return f"<keys jid='{JULIET}'>{others}</keys><keys jid='{ROMEO}'>{own}</keys>"
    return others + own + IV_ELEMENT


def read(
    version: str,
    *,
    kex: bool = False,
    payload: bytes | None = CIPHERTEXT,
    iv: bytes | None = IV,
) -> dict[str, Any]:
    """Return the outcome of an element that has a key for us."""
    return {
        "outcome": "read",
        "version": version,
        "sid": 27183,
        "key": {"data": b64(DATA), "exchange": kex},
        "payload": None if payload is None else b64(payload),
        "iv": b64(iv) if version == LEGACY and iv is not None else None,
    }


def case(
    case_id: str, flag: str, comment: str, xml: str | bytes, expect: dict[str, Any]
) -> Case:  # fmt: skip
    """Return a case for our device."""
    return element_case(case_id, [flag], comment, xml, expect, own=OWN)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for version in VERSIONS:
        yield from _sound(version)
        yield from _own_key(version)
        yield from _others_keys(version)
        yield from _headers(version)
        yield from _payloads(version)
        yield from no_such_roots(written(version, addressed(version)), version, own=OWN)
    yield from _accounts()
    yield from _legacy()
    yield from hostile_cases(written(TWO, addressed(TWO)), own=OWN)


def _sound(version: str) -> Iterator[Case]:
    exchange = "kex" if version == TWO else "prekey"
    sound = written(version, addressed(version))
    for name, flag, comment, xml, expect in (
        ("message", "INTEROP", "a key for us, and one for another", sound, read(version)),
        ("no-payload", "INTEROP", "an empty message, or one that transports a key",
         written(version, addressed(version), ""), read(version, payload=None)),
        ("exchange", "INTEROP", "a key exchange", sound.replace(
            "'31415'", f"'31415' {exchange}='true'"), read(version, kex=True)),
        ("exchange-1", "X-25", "a key exchange, as XML Schema may write it", sound.replace(
            "'31415'", f"'31415' {exchange}='1'"), read(version, kex=True)),
        ("exchange-false", "X-25", "no key exchange, though the attribute is there", sound.replace(
            "'31415'", f"'31415' {exchange}='false'"), read(version)),
        ("exchange-prefixed", "X-13", "an attribute in a namespace counts for nothing",
         sound.replace("'31415'", f"'31415' xmlns:x='urn:example:x' x:{exchange}='true'"),
         read(version)),
        ("spaced-base64", "X-23", "white space in base64", sound.replace(
            b64(CIPHERTEXT), f"\n {b64(CIPHERTEXT)[:3]}\n\t{b64(CIPHERTEXT)[3:]} "),
         read(version)),
        ("unknown", "X-27", "unknown children and attributes", written(
            version, "<x xmlns='urn:example:x'/>" + addressed(version).replace(
                "<key ", "<key x='y' "), "<x/>" + PAYLOAD + "<y xmlns='urn:example:x'/>"),
         read(version)),
    ):  # fmt: skip
        yield case(prefix(version) + name, flag, comment, xml, expect)


def _own_key(version: str) -> Iterator[Case]:
    exchange = "kex" if version == TWO else "prekey"
    for name, flag, comment, own in (
        ("twice", "X-14", "two keys for us", OUR_KEY + OUR_KEY.replace("31415'", "31415' x='y'")),
        ("empty", "O-28", "an empty key", "<key rid='31415'/>"),
        ("blank", "O-28", "a key of white space", "<key rid='31415'> \n </key>"),
        ("exchange-word", "X-25", "a boolean that is none",
         OUR_KEY.replace("rid", f"{exchange}='yes' rid")),
        ("exchange-capitals", "X-25", "a boolean in capitals",
         OUR_KEY.replace("rid", f"{exchange}='TRUE' rid")),
        ("exchange-empty", "X-25", "a boolean that is empty",
         OUR_KEY.replace("rid", f"{exchange}='' rid")),
    ):  # fmt: skip
        yield case(
            f"{prefix(version)}own-key-{name}",
            flag,
            comment,
            written(version, addressed(version, own)),
            refused(),
        )
    for name, comment, spoil in BAD_BASE64:
        own = f"<key rid='31415'>{spoil(b64(DATA))}</key>"
        yield case(
            f"{prefix(version)}own-key-base64-{name}",
            "X-23",
            f"base64 with {comment}",
            written(version, addressed(version, own)),
            refused(),
        )
    for name, flag, comment, own in (
        ("other-id", "O-28", "another device's key alone", OUR_KEY.replace("31415", "31416")),
        ("leading-zero", "X-24", "our id with a leading zero", OUR_KEY.replace("31415", "031415")),
        ("spaced", "X-24", "our id with a blank", OUR_KEY.replace("31415", " 31415")),
        ("prefixed", "X-13", "our id in a namespace",
         OUR_KEY.replace("rid", "xmlns:x='urn:example:x' x:rid")),
        ("no-id", "O-28", "a key for nobody", OUR_KEY.replace(" rid='31415'", "")),
        ("foreign", "X-11", "a key in another namespace",
         OUR_KEY.replace("rid", "xmlns='urn:example:x' rid")),
        ("nested", "X-11", "a key inside something else", f"<x>{OUR_KEY}</x>"),
        ("none", "O-28", "no key for us", ""),
    ):  # fmt: skip
        yield case(
            f"{prefix(version)}not-for-us-{name}",
            flag,
            comment,
            written(version, addressed(version, own)),
            NOT_FOR_US,
        )


def _others_keys(version: str) -> Iterator[Case]:
    for name, comment, others in (
        ("empty", "an empty key", "<key rid='12321'/>"),
        ("no-base64", "a key that is no base64", "<key rid='12321'>~</key>"),
        ("no-id", "a key without an id, and one whose id is none",
         "<key>AAAA</key><key rid='zero'>AAAA</key>"),
        ("twice", "two keys for one device", OTHER_KEY * 2),
        ("exchange", "a boolean that is none", "<key rid='1' kex='?' prekey='?'>AAAA</key>"),
    ):  # fmt: skip
        yield case(
            f"{prefix(version)}others-key-{name}",
            "O-28",
            f"{comment}, for somebody else: it spoils nothing",
            written(version, addressed(version, others=others)),
            read(version),
        )
    flood = "".join(f"<key rid='{rid}'>AA==</key>" for rid in range(1, 2049))
    yield case(
        f"{prefix(version)}2049-keys",
        "X-09",
        "2049 keys in one message",
        written(version, addressed(version, others=flood)),
        refused("limit-exceeded"),
    )


def _headers(version: str) -> Iterator[Case]:
    sound = written(version, addressed(version))
    header = sound[sound.index("<header") : sound.index("<payload")]
    for name, flag, comment, xml in (
        ("missing", "O-28", "no header", sound.replace(header, "")),
        ("twice", "X-14", "two headers", sound.replace(header, header * 2)),
        ("foreign", "X-11", "the header in another namespace",
         sound.replace("<header", "<header xmlns='urn:example:x'")),
        ("no-sid", "O-28", "from no device", sound.replace(" sid='27183'", "")),
        ("sid-prefixed", "X-13", "the sender in a namespace",
         sound.replace(" sid", " xmlns:x='urn:example:x' x:sid")),
    ):  # fmt: skip
        yield case(f"{prefix(version)}header-{name}", flag, comment, xml, refused())
    for name, comment, text in BAD_IDS:
        yield case(
            f"{prefix(version)}sid-{name}",
            "X-24",
            f"a sender whose id is none: {comment}",
            sound.replace("27183", text),
            refused(),
        )


def _payloads(version: str) -> Iterator[Case]:
    for name, flag, comment, payload in (
        ("empty", "O-10", "a payload that was emptied", "<payload/>"),
        ("blank", "O-10", "a payload of white space", "<payload> \n\t</payload>"),
        ("twice", "X-14", "two payloads", PAYLOAD * 2),
    ):
        yield case(
            f"{prefix(version)}payload-{name}",
            flag,
            comment,
            written(version, addressed(version), payload),
            refused(),
        )
    for name, comment, spoil in BAD_BASE64:
        yield case(
            f"{prefix(version)}payload-base64-{name}",
            "X-23",
            f"base64 with {comment}",
            written(version, addressed(version), f"<payload>{spoil(b64(CIPHERTEXT))}</payload>"),
            refused(),
        )


def _accounts() -> Iterator[Case]:
    room = OTHERS + f"<keys jid='{NURSE}'><key rid='31415'>AAAA</key></keys>" + OURS
    payload = PAYLOAD.replace("</", "</o:").replace("<p", "<o:p")
    prefixed = "<o:encrypted xmlns:o='urn:xmpp:omemo:2'><o:header sid='27183'>" + "".join(
        part.replace("</", "</o:").replace("<k", "<o:k") for part in (OTHERS, OURS)
    )
    prefixed += f"</o:header>{payload}</o:encrypted>"
    long = "x" * 1000
    for name, flag, comment, xml, expect in (
        ("room", "O-28", "three accounts, of which another has a device of our id",
         written(TWO, room), read(TWO)),
        ("jid-in-other-case", "X-26", "JIDs are prepared before they are compared",
         written(TWO, OTHERS + OURS.replace(ROMEO, "Romeo@MONTAGUE.example.")), read(TWO)),
        ("jid-of-others-broken", "X-26", "an account that is none: it spoils nothing",
         written(TWO, "<keys jid='@'><key rid='31415'>AAAA</key></keys><keys/>" + OURS),
         read(TWO)),
        ("others-account-twice", "X-14", "another account twice: it spoils nothing",
         written(TWO, OTHERS * 2 + OURS), read(TWO)),
        ("prefixed", "X-12", "the same by prefixes", prefixed, read(TWO)),
        ("account-twice", "X-14", "our account twice", written(TWO, OURS * 2), refused()),
        ("account-twice-prepared", "X-26", "our account twice, in other letters",
         written(TWO, OURS + f"<keys jid='ROMEO@montague.example'>{OTHER_KEY}</keys>"), refused()),
        ("other-account", "O-28", "our id, but another's account",
         written(TWO, OURS.replace(ROMEO, JULIET)), NOT_FOR_US),
        ("account-with-resource", "X-26", "our account with a resource",
         written(TWO, OURS.replace(ROMEO, f"{ROMEO}/orchard")), NOT_FOR_US),
        ("account-server", "X-26", "our server", written(TWO, OURS.replace(ROMEO,
                                                                           "montague.example")),
         NOT_FOR_US),
        ("account-cyrillic", "X-26", "a Cyrillic letter",
         written(TWO, OURS.replace(ROMEO, "rom\u0435o@montague.example")), NOT_FOR_US),
        ("account-missing", "O-28", "keys of nobody",
         written(TWO, OURS.replace(f" jid='{ROMEO}'", "")), NOT_FOR_US),
        ("account-prefixed", "X-13", "our account in a namespace",
         written(TWO, OURS.replace("jid", "xmlns:x='urn:example:x' x:jid")), NOT_FOR_US),
        ("no-accounts", "O-28", "a header without keys", written(TWO, ""), NOT_FOR_US),
        ("legacy-header", "X-11", "keys as in the legacy version",
         written(TWO, OUR_KEY + IV_ELEMENT), NOT_FOR_US),
        ("2049-accounts", "X-09", "2049 accounts", written(TWO, "<keys/>" * 2049 + OURS),
         refused("limit-exceeded")),
        ("long-accounts", "X-09", "70,000 characters of JIDs, which take long to prepare",
         written(TWO, "".join(f"<keys jid='{long}{n}@x.example'/>" for n in range(70)) + OURS),
         refused("limit-exceeded")),
    ):  # fmt: skip
        yield case(name, flag, comment, xml, expect)


def _legacy() -> Iterator[Case]:
    keys = OTHER_KEY + OUR_KEY
    for name, flag, comment, header, expect in (
        ("long-iv", "INTEROP", "an IV of 16 bytes", f"{keys}<iv>{b64(LONG_IV)}</iv>",
         read(LEGACY, iv=LONG_IV)),
        ("iv-first", "INTEROP", "the IV before the keys", IV_ELEMENT + keys, read(LEGACY)),
        ("iv-missing", "O-09", "no IV", keys, refused()),
        ("iv-twice", "X-14", "two IVs", keys + IV_ELEMENT * 2, refused()),
        ("iv-empty", "O-09", "an empty IV", f"{keys}<iv/>", refused()),
        ("iv-short", "O-09", "an IV of 11 bytes", f"{keys}<iv>{b64(bytes(11))}</iv>", refused()),
        ("iv-odd", "O-09", "an IV of 13 bytes", f"{keys}<iv>{b64(bytes(13))}</iv>", refused()),
        ("iv-no-base64", "X-23", "an IV that is no base64", f"{keys}<iv>~</iv>", refused()),
        ("accounts", "X-11", "keys as in version 2", OTHERS + OURS + IV_ELEMENT, NOT_FOR_US),
    ):  # fmt: skip
        yield case(f"legacy-{name}", flag, comment, written(LEGACY, header), expect)
