"""How a case about an element of OMEMO is put together, in both of its versions (XEP-0384).

Rule: form only; the cases stand in ``omemo_device_lists``, ``omemo_bundles``, ``omemo_encrypted``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spec_vectors.generator.case import Case, document
from spec_vectors.generator.hostile_xml import hostile

__all__ = [
    "BAD_BASE64",
    "BAD_IDS",
    "LEGACY",
    "TWO",
    "VERSIONS",
    "b64",
    "element_case",
    "hostile_cases",
    "no_such_roots",
    "prefix",
    "refused",
]

TWO = "urn:xmpp:omemo:2"
LEGACY = "eu.siacs.conversations.axolotl"
VERSIONS = (TWO, LEGACY)

BAD_IDS = (
    ("zero", "zero", "0"),
    ("negative", "a negative number", "-7"),
    ("plus", "a sign", "+7"),
    ("leading-zero", "a leading zero", "07"),
    ("spaced", "blanks around", " 7 "),
    ("empty", "nothing", ""),
    ("too-large", "2**32", "4294967296"),
    ("huge", "a thousand digits", "7" * 1000),
    ("fraction", "a fraction", "7.0"),
    ("exponent", "an exponent", "7e1"),
    ("hexadecimal", "hexadecimal", "0x7"),
    ("arabic", "Arabic digits", "\u0667"),
    ("word", "a word", "seven"),
)
"""What is no id of a device or key: its name, the same for people, the text."""

BAD_BASE64 = (
    ("unpadded", "without padding", lambda text: text.rstrip("=")),
    ("overpadded", "more padding than needed", lambda text: text + "===="),
    ("url-alphabet", "the alphabet for URLs", lambda text: "-_" + text[2:]),
    ("garbage", "a character that is none of base64's", lambda text: text[:4] + "*" + text[5:]),
    ("cut", "a character less", lambda text: text[1:]),
    ("concatenated", "two of them", lambda text: text + text),
    ("no-break-space", "a space that only Unicode calls one", lambda text: text + "\u00a0"),
    ("element", "an element in the middle", lambda text: f"{text[:4]}<x/>{text[4:]}"),
)
"""What becomes of sound and padded base64: a name, the same for people, how."""


def b64(data: bytes) -> str:
    """Return base64."""
    return b64encode(data).decode()


def prefix(version: str) -> str:
    """Return how the ids of a version's cases begin."""
    return "" if version == TWO else "legacy-"


def refused(code: str = "malformed") -> dict[str, Any]:
    """Return the outcome of what must be refused."""
    return {"outcome": code}


def element_case(
    case_id: str,
    flags: Sequence[str],
    comment: str,
    xml: str | bytes,
    expect: Mapping[str, Any],
    **given: Any,
) -> Case:
    """Return a case; ``given`` is what must be known beside the element."""
    source = document(xml.encode() if isinstance(xml, str) else xml)
    return Case(case_id, comment, tuple(flags), {**given, "element": source}, dict(expect))


def no_such_roots(sound: str, version: str, **given: Any) -> Iterator[Case]:
    """Yield a sound element under names that are not its own."""
    name = sound[1 : sound.index(" ")]
    for case_id, comment, xml in (
        ("no-namespace", "in no namespace", sound.replace(f" xmlns='{version}'", "")),
        ("other-version", "a version that is not spoken", sound.replace(version, f"{TWO[:-1]}1")),
        ("other-root", "another name", sound.replace(name, f"{name}s")),
        ("capitals", "its name in capitals", sound.replace(name, name.upper())),
        ("in-item", "the whole item", f"<item id='current'>{sound}</item>"),
        ("in-itself", "inside another of its kind", f"<{name} xmlns='{version}'>{sound}</{name}>"),
    ):
        if case_id == "in-itself" and name in ("devices", "list"):
            continue  # an unknown child in an empty list
        yield element_case(
            f"{prefix(version)}root-{case_id}", ["X-11"], comment, xml, refused(), **given
        )


def hostile_cases(sound: str, **given: Any) -> Iterator[Case]:
    """Yield a sound element as hostile XML."""
    for found in hostile(sound):
        yield element_case(
            f"xml-{found.id}",
            [found.flag],
            found.comment,
            found.document,
            refused(found.code),
            **given,
        )
