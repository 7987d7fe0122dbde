"""Items whose wrapper decides: the key that they name, the node, the base64, what is not encrypted.

Rule: what is inside the OpenPGP message is sound in every case here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.item import encrypted, item_case, opened, refused, secret, writer
from spec_vectors.generator.world import BLOG, ENTRY, FEED, NURSE, OXPS, SECRET, SECRET_ID

__all__ = ["cases"]

_OTHER = "another-secret-of-the-same-node-1234567890"
_MESSAGE = writer("context").sound(ENTRY)
_BASE64 = b64encode(_MESSAGE).decode()


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _keys()
    yield from _places()
    yield from _clear()
    yield from _attributes()
    yield from _base64()


def _keys() -> Iterator[Case]:
    unknown = {"outcome": "unknown-secret"}
    for name, key, known in (
        ("unknown-key", "no-such-id", [secret()]),
        ("no-secret-at-all", SECRET_ID, []),
        ("key-in-other-case", SECRET_ID.upper(), [secret()]),
        ("key-with-space", f" {SECRET_ID}", [secret()]),
        ("list-of-keys", f"{SECRET_ID} other", [secret(), secret(_OTHER, "other")]),
        ("key-of-another-form", "ﬁ", [secret(key="fi")]),
    ):
        yield item_case(
            name,
            ["N-15" if name == "list-of-keys" else "N-07"],
            "the id of a secret is compared as it is",
            encrypted(_MESSAGE, key),
            {**unknown, "secret_id": key},
            secrets=known,
        )
    yield item_case(
        "two-secrets",
        ["N-07"],
        "the one that is named is used, not the newest",
        encrypted(_MESSAGE),
        opened(ENTRY),
        secrets=[secret(), {**secret(_OTHER, "other"), "created": "2026-02-03T04:05:06Z"}],
    )
    yield item_case(
        "other-secret-fits",
        ["N-15"],
        "no other secret is tried than the one that is named",
        encrypted(_MESSAGE),
        refused("cannot-decrypt"),
        secrets=[secret(_OTHER), secret(SECRET, "other")],
    )
    yield item_case(
        "wrong-secret",
        ["N-15"],
        "another passphrase",
        encrypted(_MESSAGE),
        refused("cannot-decrypt"),
        secrets=[secret(_OTHER)],
    )
    yield item_case(
        "secret-in-other-case",
        ["N-15"],
        "a passphrase is compared by its octets",
        encrypted(_MESSAGE),
        refused("cannot-decrypt"),
        secrets=[secret(SECRET.lower())],
    )
    yield item_case(
        "unicode-space-around-secret",
        ["N-08", "X-18"],
        "U+3000 around a secret belongs to it",
        encrypted(_MESSAGE),
        refused("cannot-decrypt"),
        secrets=[secret(f"\u3000{SECRET}\u3000")],
    )


def _places() -> Iterator[Case]:
    for name, stood in (
        ("other-node", {**BLOG, "node": "urn:xmpp:microblog:0:comments"}),
        ("other-service", {**BLOG, "service": NURSE}),
        ("other-service-and-node", FEED),
        ("node-in-other-case", {**BLOG, "node": BLOG["node"].upper()}),
        ("node-with-space", {**BLOG, "node": BLOG["node"] + " "}),
    ):
        yield item_case(
            name,
            ["N-07"],
            "secrets belong to one node; the item stood in another",
            encrypted(_MESSAGE),
            refused("context-mismatch"),
            stood=stood,
        )
        yield item_case(
            f"{name}-clear",
            ["N-07", "N-14"],
            "not even an item in clear is taken from another node",
            ENTRY,
            refused("context-mismatch"),
            stood=stood,
        )
    yield item_case(
        "service-in-other-case",
        ["X-26"],
        "JIDs are prepared before they are compared",
        encrypted(_MESSAGE),
        opened(ENTRY),
        stood={**BLOG, "service": "Juliet@CAPULET.example"},
    )


def _clear() -> Iterator[Case]:
    for name, flag, comment, item in (
        ("clear", "N-14", "an item in clear among encrypted ones", ENTRY),
        (
            "clear-without-namespace",
            "X-11",
            "<encrypted/> in no namespace is no item of ours",
            f"<encrypted key='{SECRET_ID}'>{_BASE64}</encrypted>",
        ),
        (
            "clear-foreign-namespace",
            "X-11",
            "<encrypted/> of another protocol",
            f"<encrypted xmlns='urn:xmpp:omemo:2' key='{SECRET_ID}'>{_BASE64}</encrypted>",
        ),
        (
            "clear-namespace-in-other-case",
            "X-11",
            "namespaces are compared as they are",
            f"<encrypted xmlns='{OXPS.upper()}' key='{SECRET_ID}'>{_BASE64}</encrypted>",
        ),
        (
            "clear-around-encrypted",
            "N-17",
            "<encrypted/> inside something else is not the payload",
            f"<x xmlns='urn:xmpp:pubsub-attachments:1'>{encrypted(_MESSAGE)}</x>",
        ),
    ):
        yield item_case(name, [flag], comment, item, {"outcome": "clear", "payload": item})


def _attributes() -> Iterator[Case]:
    for name, flags, comment, attributes, outcome in (
        ("no-key", ["N-15"], "no key is named", "", refused("malformed")),
        ("empty-key", ["N-15"], "an empty key", "key=''", refused("malformed")),
        (
            "long-key",
            ["N-15"],
            "a key of 257 characters",
            f"key='{'k' * 257}'",
            refused("malformed"),
        ),
        (
            "namespaced-key",
            ["X-13"],
            "p:key is another attribute than key",
            f"xmlns:p='{OXPS}' p:key='{SECRET_ID}'",
            refused("malformed"),
        ),
        (
            "both-keys",
            ["X-13"],
            "p:key beside key is ignored",
            f"xmlns:p='{OXPS}' p:key='other' key='{SECRET_ID}'",
            opened(ENTRY),
        ),
        (
            "unknown-attribute",
            ["X-27"],
            "an unknown attribute is ignored",
            f"key='{SECRET_ID}' id='x'",
            opened(ENTRY),
        ),
    ):
        item = f"<encrypted xmlns='{OXPS}' {attributes}>{_BASE64}</encrypted>"
        yield item_case(name, flags, comment, item, outcome)
    yield item_case(
        "prefixed-item",
        ["X-12"],
        "the same by a prefix",
        f"<p:encrypted xmlns:p='{OXPS}' key='{SECRET_ID}'>{_BASE64}</p:encrypted>",
        opened(ENTRY),
    )


def _base64() -> Iterator[Case]:
    lines = "\n".join(_BASE64[at : at + 64] for at in range(0, len(_BASE64), 64))
    sure = writer("base64-padding").sound(ENTRY + " ")  # one of the two ends in padding
    padded = next(text for text in map(_encode, (_MESSAGE, sure)) if text.endswith("="))
    odd = padded.rstrip("=")
    for name, comment, text in (
        ("lines", "line breaks and spaces are white space", f"\n{lines}\n\t"),
        ("spaces", "white space anywhere", " ".join(_BASE64)),
        ("cdata", "a CDATA section", f"<![CDATA[{_BASE64}]]>"),
    ):
        yield item_case(f"base64-{name}", ["X-23"], comment, encrypted(text), opened(ENTRY))
    for name, comment, text in (
        ("empty", "nothing", ""),
        ("only-space", "white space alone", "  \n"),
        ("garbage", "an asterisk in between", f"{_BASE64[:8]}*{_BASE64[8:]}"),
        ("url-alphabet", "the alphabet for URLs", _BASE64.replace("+", "-").replace("/", "_")),
        ("no-padding", "without its padding", odd),
        ("more-padding", "with more padding", f"{padded}="),
        ("padding-first", "padding first", f"={_BASE64}"),
        ("concatenated", "two texts after each other", padded + padded),
        ("last-bits", "last bits that are not zero", _unclean(padded)),
        (
            "one-character",
            "one character too many",
            f"{padded.rstrip('=')}A"[: len(odd) // 4 * 4 + 1],
        ),
        ("no-break-space", "U+00A0 is no white space", f"\xa0{_BASE64}"),
        ("fullwidth", "digits that only look alike", _BASE64.replace("4", "４")),
        ("hexadecimal", "hexadecimal with a colon", _MESSAGE.hex(":")),
        ("data-url", "a data: URL", f"data:;base64,{_BASE64}"),
    ):
        yield item_case(f"base64-{name}", ["X-23"], comment, encrypted(text), refused("malformed"))


def _encode(message: bytes) -> str:
    return b64encode(message).decode()


def _unclean(padded: str) -> str:
    """Return the text with the lowest bit of its last character set, which no octet needs."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = padded.rstrip("=")
    last = alphabet[alphabet.index(body[-1]) | 1]
    return body[:-1] + last + "=" * (len(padded) - len(body))
