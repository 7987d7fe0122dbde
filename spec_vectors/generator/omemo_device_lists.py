"""Device lists of OMEMO: which devices an account announces (XEP-0384 §5.3.1; legacy: 0.2.2 §4.3).

Rule: every list here is read or refused for its shape; no signature of a label is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spec_vectors.generator.case import Case
from spec_vectors.generator.omemo import (
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

SIGNATURE = b64(b"\x51" * 64)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for version in VERSIONS:
        sound = written(version, "<device id='12345'/><device id='4223'/>")
        yield from _sound(version)
        yield from _devices(version)
        yield from no_such_roots(sound, version)
        yield element_case(
            f"{prefix(version)}root-of-other-version",
            ["X-11"],
            "the name that it has in the other version",
            sound.replace("devices" if version == TWO else "list",
                          "list" if version == TWO else "devices"),
            refused(),
        )  # fmt: skip
    yield from _labels()
    yield from hostile_cases(written(TWO, "<device id='12345'/><device id='4223'/>"))


def written(version: str, inside: str) -> str:
    """Return a list."""
    name = "devices" if version == TWO else "list"
    return f"<{name} xmlns='{version}'>{inside}</{name}>"


def read(version: str, *devices: int | tuple[int, str]) -> dict[str, Any]:
    """Return the outcome of a list: ids, or ids with labels."""
    return {
        "outcome": "read",
        "version": version,
        "devices": [
            {"id": device, "label": None}
            if isinstance(device, int)
            else {"id": device[0], "label": {"text": device[1], "signature": SIGNATURE}}
            for device in devices
        ],
    }


def _sound(version: str) -> Iterator[Case]:
    for name, flags, comment, inside, devices in (
        ("two-devices", ["INTEROP"], "as specified", "<device id='12345'/><device id='4223'/>",
         (12345, 4223)),
        ("empty", ["O-14"], "no device: everybody has left", "", ()),
        ("ids-at-the-ends", ["X-24"], "the lowest and the highest id",
         "<device id='1'/><device id='4294967295'/>", (1, 4294967295)),
        ("spaced", ["INTEROP"], "white space and text between",
         "\n <device id='7'></device>\n x <device id='8'/>\n", (7, 8)),
        ("unknown", ["X-27"], "unknown children and attributes",
         "<x xmlns='urn:example:x'><device id='1'/></x><device id='7' trusted='true'><y/></device>"
         "<device xmlns='urn:example:x' id='8'/><Device id='9'/>", (7,)),
        ("most", ["O-14"], "128 devices",
         "".join(f"<device id='{number}'/>" for number in range(1, 129)), tuple(range(1, 129))),
    ):  # fmt: skip
        yield element_case(
            prefix(version) + name, flags, comment, written(version, inside),
            read(version, *devices),
        )  # fmt: skip
    yield element_case(
        f"{prefix(version)}prefixed",
        ["X-12"],
        "the same by prefixes",
        written(version, "<p:device id='7'/>")
        .replace("xmlns", "xmlns:p")
        .replace("<devices", "<p:devices").replace("</devices", "</p:devices")
        .replace("<list", "<p:list").replace("</list", "</p:list"),
        read(version, 7),
    )  # fmt: skip


def _devices(version: str) -> Iterator[Case]:
    for name, comment, text in BAD_IDS:
        yield element_case(
            f"{prefix(version)}id-{name}",
            ["O-14", "X-24"],
            f"one id of two is none: {comment}",
            written(version, f"<device id='4223'/><device id='{text}'/>"),
            refused(),
        )
    for name, flag, comment, inside, code in (
        ("id-missing", "O-14", "a device without an id", "<device/>", "malformed"),
        ("id-prefixed", "X-13", "an id in a namespace",
         "<device xmlns:x='urn:example:x' x:id='7'/>", "malformed"),
        ("id-as-text", "O-14", "an id as text", "<device>7</device>", "malformed"),
        ("id-capitals", "O-14", "an attribute in capitals", "<device ID='7'/>", "malformed"),
        ("twice", "O-14", "a device twice", "<device id='7'/><device id='8'/><device id='7'/>",
         "malformed"),
        ("twice-labelled", "X-14", "a device twice, once with a label",
         f"<device id='7'/><device id='7' label='Dino' labelsig='{SIGNATURE}'/>", "malformed"),
        ("129-devices", "O-14", "one device more than anybody has",
         "".join(f"<device id='{number}'/>" for number in range(1, 130)), "limit-exceeded"),
    ):  # fmt: skip
        yield element_case(
            prefix(version) + name, [flag], comment, written(version, inside), refused(code)
        )


def _labels() -> Iterator[Case]:
    for name, comment, label in (
        ("ordinary", "a label with its signature, which nobody has verified yet", "Gajim on Linux"),
        ("other-script", "a label in another script", "\u96fb\u8a71 \U0001f339"),
        ("joined", "characters joined without width",
         "\U0001f469\u200d\U0001f4bb \u05d2\u05f3\u05d5\u05dc"),
        ("longest", "256 characters", "x" * 256),
    ):  # fmt: skip
        device = f"<device id='7' label='{label}' labelsig='{SIGNATURE}'/>"
        yield element_case(
            f"label-{name}", ["O-33"], comment, written(TWO, device), read(TWO, (7, label))
        )
    for name, comment, attributes in (
        ("unsigned", "no signature, as Libervia writes", "label='Libervia'"),
        ("missing", "a signature of nothing", f"labelsig='{SIGNATURE}'"),
        ("short-signature", "a signature of 63 bytes",
         f"label='Dino' labelsig='{b64(bytes(63))}'"),
        ("no-base64", "a signature that is no base64", "label='Dino' labelsig='~'"),
        ("too-long", "257 characters", f"label='{'x' * 257}' labelsig='{SIGNATURE}'"),
        ("line-feed", "a line of its own", f"label='Dino&#10;verified' labelsig='{SIGNATURE}'"),
        ("turned", "text that is turned around", f"label='&#x202E;oniD' labelsig='{SIGNATURE}'"),
        ("empty", "an empty label", f"label='' labelsig='{SIGNATURE}'"),
    ):  # fmt: skip
        yield element_case(
            f"label-dropped-{name}",
            ["O-33"],
            f"{comment}: the label is dropped, and nothing else",
            written(TWO, f"<device id='7' {attributes}/><device id='8'/>"),
            read(TWO, 7, 8),
        )
    yield element_case(
        "legacy-label-dropped",
        ["O-33"],
        "the legacy version knows no labels",
        written(LEGACY, f"<device id='7' label='Dino' labelsig='{SIGNATURE}'/>"),
        read(LEGACY, 7),
    )
