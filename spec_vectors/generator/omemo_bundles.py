"""Bundles of OMEMO: the keys by which a session is built (XEP-0384 §5.3.2; legacy: 0.2.2 §4.3).

Rule: every bundle here is read or refused for its shape; no key is one, and nothing is signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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

__all__ = ["cases"]

IDENTITY, SIGNED, FIRST, SECOND = b"\x11" * 32, b"\x22" * 32, b"\x33" * 32, b"\x44" * 32
SIGNATURE = b"\x55" * 64


@dataclass(frozen=True, slots=True)
class Parts:
    """A bundle in pieces, each written already; ``order`` is how they stand."""

    version: str
    signed: str
    signature: str
    identity: str
    pre_keys: str
    order: str = "{signed}{signature}{identity}{pre_keys}"

    def __str__(self) -> str:
        inside = self.order.format(
            signed=self.signed,
            signature=self.signature,
            identity=self.identity,
            pre_keys=self.pre_keys,
        )
        return f"<bundle xmlns='{self.version}'>{inside}</bundle>"


def curve(version: str) -> bytes:
    """Return what stands before each key."""
    return b"" if version == TWO else b"\x05"


def signed(version: str, key: str, number: str = "1") -> str:
    """Return the signed prekey."""
    if version == TWO:
        return f"<spk id='{number}'>{key}</spk>"
    return f"<signedPreKeyPublic signedPreKeyId='{number}'>{key}</signedPreKeyPublic>"


def pre_key(version: str, key: str, number: str) -> str:
    """Return a prekey."""
    if version == TWO:
        return f"<pk id='{number}'>{key}</pk>"
    return f"<preKeyPublic preKeyId='{number}'>{key}</preKeyPublic>"


def signature(version: str, text: str) -> str:
    """Return the signature."""
    name = "spks" if version == TWO else "signedPreKeySignature"
    return f"<{name}>{text}</{name}>"


def identity(version: str, text: str) -> str:
    """Return the identity key."""
    name = "ik" if version == TWO else "identityKey"
    return f"<{name}>{text}</{name}>"


def sound(version: str) -> Parts:
    """Return a sound bundle of two prekeys."""
    kind = curve(version)
    return Parts(
        version,
        signed(version, b64(kind + SIGNED)),
        signature(version, b64(SIGNATURE)),
        identity(version, b64(kind + IDENTITY)),
        "<prekeys>"
        + pre_key(version, b64(kind + FIRST), "1")
        + pre_key(version, b64(kind + SECOND), "2")
        + "</prekeys>",
    )


def read(
    version: str, *pre_keys: tuple[int, bytes], signed_id: int = 1
) -> dict[str, Any]:  # fmt: skip
    """Return the outcome of a bundle that is read."""
    return {
        "outcome": "read",
        "version": version,
        "identity": b64(IDENTITY),
        "signed_pre_key": {"id": signed_id, "key": b64(SIGNED), "signature": b64(SIGNATURE)},
        "pre_keys": [{"id": number, "key": b64(key)} for number, key in pre_keys],
    }


BOTH = ((1, FIRST), (2, SECOND))


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for version in VERSIONS:
        yield from _sound(version)
        yield from _parts(version)
        yield from _keys(version)
        yield from _numbers(version)
        yield from no_such_roots(str(sound(version)), version)
    for version, other in ((TWO, LEGACY), (LEGACY, TWO)):
        yield element_case(
            f"{prefix(version)}names-of-other-version",
            ["X-11"],
            "the other version's elements in this one's namespace",
            str(replace(sound(other), version=version)),
            refused(),
        )
    yield from hostile_cases(str(sound(TWO)))


def _sound(version: str) -> Iterator[Case]:
    parts = sound(version)
    key = b64(curve(version) + FIRST)
    most = "".join(pre_key(version, key, str(number)) for number in range(1, 201))
    for name, flags, comment, xml, expect in (
        ("two-prekeys", ["INTEROP"], "as specified", parts, read(version, *BOTH)),
        ("other-order", ["INTEROP"], "the parts in another order, with white space",
         replace(parts, order="\n{pre_keys}\n {identity} {signature}{signed}"),
         read(version, *BOTH)),
        ("one-prekey", ["O-17"], "a single prekey is left",
         replace(parts, pre_keys=f"<prekeys>{pre_key(version, key, '9')}</prekeys>"),
         read(version, (9, FIRST))),
        ("200-prekeys", ["O-15"], "twice as many prekeys as anybody has",
         replace(parts, pre_keys=f"<prekeys>{most}</prekeys>"),
         read(version, *((number, FIRST) for number in range(1, 201)))),
        ("largest-ids", ["X-24"], "the highest id; that of a prekey and the signed one may be one",
         replace(parts, signed=signed(version, b64(curve(version) + SIGNED), "4294967295"),
                 pre_keys=f"<prekeys>{pre_key(version, key, '4294967295')}</prekeys>"),
         read(version, (4294967295, FIRST), signed_id=4294967295)),
        ("spaced-base64", ["X-23"], "white space in base64",
         replace(parts, identity=identity(
             version, f"\n {b64(curve(version) + IDENTITY)[:20]}\n\t"
             f"{b64(curve(version) + IDENTITY)[20:]} ")),
         read(version, *BOTH)),
        ("unknown", ["X-27"], "unknown children and attributes",
         replace(parts, order="<x xmlns='urn:example:x'>{identity}</x>{signed}{signature}"
                 "{identity}{pre_keys}<pqpk>AAAA</pqpk>",
                 pre_keys=parts.pre_keys.replace("<prekeys>", "<prekeys x='y'><y/>")),
         read(version, *BOTH)),
    ):  # fmt: skip
        yield element_case(prefix(version) + name, flags, comment, str(xml), expect)
    if version == LEGACY:
        zero = b64(curve(version) + SIGNED)
        yield element_case(
            "legacy-ids-of-zero",
            ["X-24", "INTEROP"],
            "some legacy clients draw the id at random, and zero is one of them",
            str(replace(parts, signed=signed(version, zero, "0"))),
            read(version, *BOTH, signed_id=0),
        )


def _parts(version: str) -> Iterator[Case]:
    parts = sound(version)
    for part in ("signed", "signature", "identity", "pre_keys"):
        text = getattr(parts, part)
        name = text[1 : min(text.index(" ") if " " in text else len(text), text.index(">"))]
        for case_id, flag, comment, change in (
            ("missing", "O-15", "is missing", ""),
            ("twice", "X-14", "is there twice", text * 2),
            ("empty", "O-15", "is empty",
             text[: text.index(">") + 1] + f"</{name}>"),
            ("foreign", "X-11", "is in another namespace",
             text.replace(f"<{name}", f"<{name} xmlns='urn:example:x'", 1)),
            ("nested", "X-11", "is inside something else", f"<x>{text}</x>"),
        ):  # fmt: skip
            yield element_case(
                f"{prefix(version)}{part.replace('_', '')}-{case_id}",
                [flag],
                f"<{name}/> {comment}",
                str(replace(parts, **{part: change})),
                refused(),
            )


def _keys(version: str) -> Iterator[Case]:
    parts, kind = sound(version), curve(version)
    other_form = b"\x05" if version == TWO else b""
    for case_id, comment, raw in (
        ("short", "a byte less", kind + bytes(31)),
        ("long", "a byte more", kind + bytes(33)),
        ("other-form", "as the other version writes it", other_form + bytes(32)),
        *([("other-curve", "the type of another curve", b"\x06" + bytes(32))] if kind else []),
    ):
        text = b64(raw)
        for part, change in (
            ("identity", identity(version, text)),
            ("signed", signed(version, text)),
            ("pre_keys", f"<prekeys>{pre_key(version, text, '1')}</prekeys>"),
        ):
            yield element_case(
                f"{prefix(version)}{part.replace('_', '')}-{case_id}",
                ["O-15"],
                f"a key of the wrong size or kind: {comment}",
                str(replace(parts, **{part: change})),
                refused(),
            )
    for case_id, comment, size in (
        ("short", "63 bytes", 63),
        ("long", "65 bytes", 65),
    ):
        yield element_case(
            f"{prefix(version)}signature-{case_id}",
            ["O-15"],
            f"a signature of {comment}",
            str(replace(parts, signature=signature(version, b64(bytes(size))))),
            refused(),
        )
    for case_id, comment, spoil in BAD_BASE64:
        yield element_case(
            f"{prefix(version)}base64-{case_id}",
            ["X-23"],
            f"a signature in base64 with {comment}",
            str(replace(parts, signature=signature(version, spoil(b64(SIGNATURE))))),
            refused(),
        )


def _numbers(version: str) -> Iterator[Case]:
    parts, kind = sound(version), curve(version)
    key = b64(kind + FIRST)
    for case_id, comment, text in BAD_IDS:
        if case_id == "zero" and version == LEGACY:
            continue
        for part, change in (
            ("signed", signed(version, b64(kind + SIGNED), text)),
            ("pre_keys", f"<prekeys>{pre_key(version, key, text)}</prekeys>"),
        ):
            yield element_case(
                f"{prefix(version)}{part.replace('_', '')}-id-{case_id}",
                ["O-15", "X-24"],
                f"an id that is none: {comment}",
                str(replace(parts, **{part: change})),
                refused(),
            )
    for case_id, flag, comment, pre_keys, code in (
        ("same-id", "X-14", "two prekeys of one id",
         pre_key(version, key, "7") + pre_key(version, b64(kind + SECOND), "7"), "malformed"),
        ("same-prekey", "X-14", "one prekey twice", pre_key(version, key, "7") * 2,
         "malformed"),
        ("no-id", "O-15", "a prekey without an id",
         pre_key(version, key, "7").replace("id=", "number=").replace("preKeyId=", "number="),
         "malformed"),
        ("prefixed-id", "X-13", "a prekey with an id in a namespace",
         pre_key(version, key, "7").replace(" ", " xmlns:x='urn:example:x' x:"), "malformed"),
        ("201", "O-15", "201 prekeys",
         "".join(pre_key(version, key, str(number)) for number in range(1, 202)),
         "limit-exceeded"),
    ):  # fmt: skip
        yield element_case(
            f"{prefix(version)}prekeys-{case_id}",
            [flag],
            comment,
            str(replace(parts, pre_keys=f"<prekeys>{pre_keys}</prekeys>")),
            refused(code),
        )
